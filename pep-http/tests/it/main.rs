//! The enforcement point over real sockets, between a client, a fake decision point and a mock provider.

#[cfg(test)]
mod answers;
#[cfg(test)]
mod binary;
#[cfg(test)]
mod decide;
#[cfg(test)]
mod forwarding;
#[cfg(test)]
mod lists;
#[cfg(test)]
mod provider;
#[cfg(test)]
mod refusals;
#[cfg(test)]
mod rig;
#[cfg(test)]
mod server;
#[cfg(test)]
mod streams;
