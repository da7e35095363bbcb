//! Enforcement point in front of MCP servers.
//!
//! # Layout
//!
//! In the order that a message flows:
//!
//! - [`config`]: `[pep_mcp]` of `lictor.toml`
//! - [`server`]: the listener, health, metadata, shutdown; `guard`: `Host` and `Origin`
//! - `ingress`: bytes and headers to one message, to a request of the five stages; `methods`: the
//!   one table of methods; `texts`: what detectors look at
//! - `flow`: one message from there to its answer, the stages in their order
//! - `upstream`: the way to the server behind; `told`: what it is told of the call
//! - `answer`: the way back, whole or streamed; `response`: the second decision and masks; `lists`: what a caller may see of a list
//! - `stream`: streamed answers; [`sse`]: events without changing a byte
//! - `sessions`: legacy sessions and who made them
//! - [`refusal`]: refusals in the shape of the protocol
//!
//! Messages stay raw JSON: they are scanned once, and forwarded byte for byte unless an obligation
//! touches them, and then only the touched members change.

mod answer;
pub mod config;
mod flow;
mod guard;
mod ingress;
mod lists;
mod methods;
pub mod refusal;
mod response;
pub mod server;
mod sessions;
pub mod sse;
mod stream;
mod texts;
mod told;
mod upstream;

pub use config::{Config, Denials, ServerConfig};
pub use server::{Deps, ServeError, serve};
