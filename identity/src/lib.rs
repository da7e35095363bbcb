//! Who is calling: tokens, keys and socket peers become an [`Identity`].
//!
//! # Layout
//!
//! In the order that a credential flows:
//!
//! - [`presented`]: what came with the request; [`certificate`]: what came with its connection.
//! - [`settings`]: which issuers, keys and tenants are believed; [`config`] reads
//!   them from files.
//! - [`authenticator`]: one function from the one to an [`Identity`], or an
//!   [`AuthError`] with a reason id.
//! - [`keyring`]: the keys of an issuer as they are now.
//! - [`jwks`], `jwt`, `cache`: signed tokens; strict reading, signatures, claims,
//!   the delegation chain, and a short memory of verified tokens.
//! - [`api_key`]: long random keys, stored hashed.
//! - [`door`]: the decision point's own door: token file and socket peers.
//!
//! And what Lictor signs itself:
//!
//! - [`keys`]: one Ed25519 key per purpose.
//! - [`assertion`]: short-lived tokens for the servers behind an enforcement point.
//! - [`secret`]: texts that are wiped and not shown.
//! - [`files`]: the only file access here: secrets in files that nobody else reads.
//!
//! All but [`files`], [`config`] and the loaders of [`keys`] is pure over bytes and `now_ms`
//! (unix milliseconds).

pub mod api_key;
pub mod assertion;
pub mod authenticator;
mod cache;
pub mod certificate;
pub mod config;
mod credential;
pub mod door;
pub mod error;
pub mod files;
pub mod identity;
pub mod jwks;
mod jwt;
pub mod keyring;
pub mod keys;
pub mod presented;
pub mod secret;
pub mod settings;

pub use api_key::{ApiKeyError, ApiKeyRecord, ApiKeyStore, IssueRequest, PartyRef};
pub use assertion::{Assertion, AssertionError, AssertionMinter};
pub use authenticator::Authenticator;
pub use certificate::ClientCertificate;
pub use door::{DoorError, DoorTokens, PeerRoles};
pub use error::AuthError;
pub use identity::{Identity, Role};
pub use jwks::{Algorithm, Jwks, JwksError};
pub use keyring::KeyRing;
pub use keys::{KeyError, KeyPair, Purpose};
pub use presented::{Dpop, Presented, Scheme, Token, token_of};
pub use secret::Secret;
pub use settings::{ClaimMap, IssuerSettings, Settings, SettingsError};
