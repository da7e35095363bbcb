//! Who is calling: tokens, keys and socket peers become an [`Identity`].
//!
//! # Layout
//!
//! In the order that a credential flows:
//!
//! - [`presented`]: what came with the request; [`certificate`]: what came with its connection.
//! - [`settings`]: which issuers, keys and tenants are believed; [`config`] reads
//!   them from files, `rules` what tokens must say.
//! - [`authenticator`]: one function from the one to an [`Identity`], or an
//!   [`AuthError`] with a reason id.
//! - [`keyring`]: the keys of an issuer as they are now; [`remote`] fetches them and reads
//!   changed files again.
//! - [`jwks`], `jwt`, `cache`: signed tokens; strict reading, signatures, claims,
//!   the delegation chain, and a short memory of verified tokens.
//! - [`dpop`]: proof that the caller holds the key that its token is bound to.
//! - [`api_key`]: long random keys, stored hashed.
//! - [`trust`]: whom certificates name, and who vouches for them; [`spiffe`]: SPIFFE IDs.
//! - [`tls`]: encrypted connections, accepted and made; `from_files`: what is read again when
//!   its files change.
//! - [`door`]: the decision point's own door: token file and socket peers.
//!
//! And what Lictor signs itself:
//!
//! - [`keys`]: one Ed25519 key per purpose.
//! - [`token_key`]: the keys that sign tokens, Ed25519 or P-256.
//! - [`rotation`]: which of them signs when, and how long each is published.
//! - [`assertion`]: short-lived tokens for the servers behind an enforcement point.
//! - [`grants`]: tokens that we ask other servers for.
//! - [`memory`]: no core dumps of a process with secrets.
//! - [`secret`]: texts that are wiped and not shown.
//! - [`files`]: the only file access here: secrets in files that nobody else reads.
//!
//! All but [`files`], [`config`], [`remote`], [`grants`], [`tls`] and the loaders of [`keys`] and [`trust`] is
//! pure over bytes and `now_ms` (unix milliseconds).

pub mod api_key;
pub mod assertion;
pub mod authenticator;
mod cache;
pub mod certificate;
pub mod config;
mod credential;
pub mod door;
pub mod dpop;
pub mod error;
pub mod files;
mod from_files;
pub mod grants;
pub mod identity;
pub mod jwks;
mod jwt;
pub mod keyring;
pub mod keys;
pub mod memory;
pub mod presented;
pub mod remote;
pub mod rotation;
mod rules;
pub mod secret;
pub mod settings;
pub mod spiffe;
pub mod tls;
pub mod token_key;
pub mod trust;

pub use api_key::{ApiKeyError, ApiKeyRecord, ApiKeyStore, ApiKeys, IssueRequest, PartyRef};
pub use assertion::{Assertion, AssertionError, AssertionMinter, TransactionToken};
pub use authenticator::Authenticator;
pub use certificate::ClientCertificate;
pub use door::{DoorError, DoorTokens, PeerRoles};
pub use dpop::{DpopRule, NonceKey};
pub use error::{AuthError, DpopError};
pub use identity::{Identity, Role};
pub use jwks::{Algorithm, Jwks, JwksError};
pub use keyring::KeyRing;
pub use keys::{KeyError, KeyPair, Purpose};
pub use presented::{Dpop, Presented, Scheme, Token, token_of};
pub use remote::{Health, Now, Timing, Upkeep};
pub use rotation::{RotationError, SigningRing};
pub use secret::Secret;
pub use settings::{
    ClaimMap, IssuerKind, IssuerSettings, Profile, RequiredClaim, Settings, SettingsError,
};
pub use spiffe::SpiffeId;
pub use token_key::{TokenAlgorithm, TokenKey};
pub use trust::{AgentMap, Authority, AuthorityConfig, CertificateTrust, TrustError};
