//! The enforcement point in front of LLM providers: OpenAI chat completions, plain and streaming, and the list
//! of models.
//!
//! # Layout
//!
//! In the order that a request flows:
//!
//! - [`config`]: the section `[pep_http]`
//! - [`server`]: paths, health, the bound on requests at once, shutting down
//! - `ingress`, with `chat` and `text`: the body becomes a protocol-neutral request
//! - `exchange`: one chat through the five stages of `lictor-pep-core`
//! - `obligations`, with `mask`: what the permit obliges to, as edits of single spans
//! - `upstream`: the providers, their keys, and what of a caller's request they get
//! - `response`, with `answer`: the second decision about a whole answer, masks, record, release
//! - `stream`, with `sse`, `tap` and `hold`: the same for streams
//! - `lists`: `/v1/models`
//! - `refusal`: the provider's own error shape
//!
//! Bodies are scanned once and forwarded byte for byte where policy changes nothing.

mod answer;
mod chat;
pub mod config;
mod exchange;
mod hold;
mod ingress;
mod lists;
mod mask;
mod obligations;
mod refusal;
mod response;
pub mod server;
mod sse;
mod stream;
mod tap;
mod text;
mod upstream;

pub use config::{Config, ConfigError, UpstreamConfig};
pub use obligations::ABILITIES;
pub use server::{Deps, ServeError, serve};
