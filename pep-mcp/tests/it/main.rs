//! The MCP enforcement point over real sockets, between a client, a made-up decision point and a
//! made-up server.

mod eras;
mod faults;
mod forward;
mod lists;
mod masks;
mod oracle;
mod refusals;
mod rig;
mod server;
mod sessions;
mod streams;
