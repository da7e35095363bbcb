//! The MCP enforcement point over real sockets, between a client, a made-up decision point and a
//! made-up server.

#[cfg(test)]
mod binary;
#[cfg(test)]
mod credentials;
#[cfg(test)]
#[path = "../../../pep-http/tests/it/encrypted.rs"]
mod encrypted;
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
mod minted;
#[cfg(test)]
mod oracle;
#[cfg(test)]
mod possession;
#[cfg(test)]
mod refusals;
#[cfg(test)]
mod revoked;
#[cfg(test)]
mod rig;
#[cfg(test)]
mod server;
#[cfg(test)]
mod sessions;
#[cfg(test)]
mod streams;
#[cfg(test)]
#[path = "../../../identity/tests/it/hostile/table.rs"]
mod table;
