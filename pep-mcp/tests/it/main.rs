//! The MCP enforcement point over real sockets, between a client, a made-up decision point and a
//! made-up server.

#[cfg(test)]
mod binary;
#[cfg(test)]
mod eras;
#[cfg(test)]
mod faults;
#[cfg(test)]
mod forward;
#[cfg(test)]
mod lists;
#[cfg(test)]
mod masks;
#[cfg(test)]
mod oracle;
#[cfg(test)]
mod refusals;
#[cfg(test)]
mod rig;
#[cfg(test)]
mod server;
#[cfg(test)]
mod sessions;
#[cfg(test)]
mod streams;
