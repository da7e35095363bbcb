//! By what an enforcement point proves itself to the servers behind it. The caller's own token is
//! never passed on, and where a credential cannot be had the call is refused: no other is taken.
//!
//! # Layout
//!
//! - [`config`]: `auth = { kind = .. }` of an upstream; `server` is a token endpoint in it.
//! - [`credential`]: one header, wiped when dropped and never printed.
//! - `source`, `command`: where secrets come from; `held` keeps one and reads it again.
//! - `tokens`: issued tokens, kept for a while, and asked for once however many wait.
//! - `exchange`: a token for one upstream, in our own name or in the caller's.
//! - [`resolver`]: [`UpstreamAuth`], all upstreams of one enforcement point.

mod command;
pub mod config;
pub mod credential;
mod exchange;
mod held;
pub mod resolver;
mod server;
mod source;
mod tokens;

#[cfg(test)]
mod config_tests;
#[cfg(test)]
mod resolver_tests;

pub use command::{COMMAND_OUTPUT_MAX_BYTES, COMMAND_TIMEOUT};
pub use config::{
    AssertionAuth, AuthConfig, AuthConfigError, ClientCredentialsAuth, IdJagAuth, KeyAuth, NoAuth,
    TokenExchangeAuth,
};
pub use credential::{Credential, Watcher};
pub use held::{FILE_PERIOD, KEPT_AFTER_FAILURE, RETRY_PERIOD};
pub use resolver::{CredentialError, UpstreamAuth};
pub use server::{ClientAuthKind, GRANT_TIMEOUT, TokenServer};
pub use tokens::{DOWN_HOLD_MS, EXCHANGED_MAX_MS, KEPT_MAX_TOKENS, UNDER_WAY_MAX};
