//! The five stages that every enforcement point shares, in the order that data flows.
//!
//! # Layout
//!
//! 1. [`request`]: the bounded, protocol-neutral request, with its [`proof`]
//! 2. [`identity`]: who calls
//! 3. [`query`]: the decision, within a deadline
//! 4. [`enforce`]: the only maker of a [`Permit`]
//! 5. [`record`]: the outcome, in the audit log before release
//!
//! [`Pep`] composes them: [`Pep::decide`] → [`Pep::permit`] → the forwarder → [`Pep::review`] →
//! [`Pep::finish`]. Each step takes the value that only the step before can make.
//!
//! Beside the stages: [`refusal`] (what a caller is told, one status table), [`challenge`] (how an
//! unknown one is asked for something better), [`clock`] (time and
//! ids as values), [`mask`] and [`edit`] (obligations on texts and JSON), [`headers`] (what passes
//! a proxy), [`forward`] (the reverse-proxy client, which takes a permit), [`client`] (the
//! decision point over gRPC), [`setup`] (configuration to parts, at start),
//! [`rate_limit`] (what callers are told of limits), `lease` (what takes longer keeps what it holds),
//! [`revoked`] (who and what is out of service), [`discard`] (what is left of a refused body), [`session`] (opening a session), [`witness`] (heads of logs, exchanged with the decision point),
//! [`upstream_auth`] (by what we prove ourselves to the servers behind), [`jwks`] (the keys of what we
//! tell them).

pub mod challenge;
pub mod client;
pub mod clock;
pub mod discard;
pub mod edit;
pub mod enforce;
pub mod forward;
pub mod headers;
pub mod identity;
pub mod jwks;
pub(crate) mod lease;
pub mod listen;
pub mod mask;
mod pep;
pub mod proof;
pub mod query;
pub mod rate_limit;
pub mod record;
pub mod refusal;
pub mod request;
pub mod revoked;
pub mod session;
pub mod setup;
pub mod upstream_auth;
pub mod witness;

pub use challenge::Challenge;
pub use clock::{Clock, Ids};
pub use enforce::{Permit, PermitError, Permitted};
pub use forward::{Forwarder, Outgoing};
pub use pep::{Entry, Pep, PepParts, Reviewed, body_too_large};
pub use proof::Proof;
pub use record::{Ended, Ending, Flight};
pub use refusal::{Refusal, RefusalKind, Told};
pub use request::Request;
pub use upstream_auth::{AuthConfig, UpstreamAuth};

/// Who calls, and what is told to the servers behind: the names of the identity crate that the
/// enforcement points need.
pub use lictor_identity::{
    Assertion, AssertionError, AssertionMinter, Authenticator, Identity, SigningRing,
    TransactionToken,
};
