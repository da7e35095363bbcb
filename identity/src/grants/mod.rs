//! Tokens that we ask for ourselves: OAuth 2.0 grants without a person at a browser.
//!
//! # Layout
//!
//! - [`client`]: one token endpoint, asked with one grant at a time.
//! - [`grant`]: what is asked: client credentials (RFC 6749 section 4.4), token exchange
//!   (RFC 8693), JWT bearer (RFC 7523), and the two steps of the identity assertion grant.
//! - [`client_auth`]: how we prove who asks; `client_key` signs that proof.
//! - `form`: what is sent, wiped afterwards; `answer`: the strict reading of what comes back.
//! - [`error`]: why there is no token. No message holds a word of the server's or a secret.
//!
//! Nothing here remembers anything: whoever asks keeps what it got.

pub mod client;
pub mod client_auth;
mod client_key;
pub mod error;
pub mod grant;

mod answer;
mod form;

pub use answer::{ACCESS_TOKEN_MAX_BYTES, ANSWER_MAX_BYTES, LIFE_MAX_S, LIFE_UNSAID_S};
pub use client::{Issued, Stamp, TokenClient};
pub use client_auth::{CLIENT_ASSERTION_TTL_S, ClientAuth, ClientProof};
pub use client_key::ClientKey;
pub use error::{GrantError, GrantSetupError};
pub use grant::{Grant, Subject, TokenType, Wanted, identity_assertion};
