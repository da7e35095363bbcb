//! The enforcement point over real sockets, between a client, a fake decision point and a mock provider.

mod answers;
mod decide;
mod forwarding;
mod lists;
mod provider;
mod refusals;
mod rig;
mod server;
mod streams;
