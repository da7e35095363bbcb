//! The enforcement point over real sockets, between a client, a fake decision point and a mock provider.

#[cfg(test)]
mod answers;
#[cfg(test)]
mod binary;
#[cfg(test)]
mod credentials;
#[cfg(test)]
mod decide;
#[cfg(test)]
mod encrypted;
#[cfg(test)]
mod forwarding;
#[cfg(test)]
mod lists;
#[cfg(test)]
mod possession;
#[cfg(test)]
mod provider;
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
