//! API keys: long random texts, shown once and stored hashed.
//!
//! # Layout
//!
//! - `text`: the form `lictor_<64 hex digits>_<8 hex digits>`.
//! - [`record`]: what is stored about one key.
//! - [`store`]: the file of all keys.
//! - [`shared`]: the store that is in effect, replaced while requests run.

pub mod record;
pub mod shared;
pub mod store;
pub(crate) mod text;

pub use record::{ApiKeyRecord, IssueRequest, PartyRef};
pub use shared::ApiKeys;
pub use store::ApiKeyStore;

/// Why keys could not be read, issued or revoked.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ApiKeyError {
    /// The file is not strict JSON of the right shape.
    #[error("the API key file cannot be read: {0}")]
    File(String),
    /// Two records of one id.
    #[error("the API key id `{id}` is taken: choose another")]
    IdTaken {
        /// The id.
        id: String,
    },
    /// Two records of one key.
    #[error("the API key `{id}` has the hash of an earlier one: remove one")]
    HashTaken {
        /// The later id.
        id: String,
    },
    /// No record of that id.
    #[error("there is no API key `{id}`: list them with `lictor keys list`")]
    IdUnknown {
        /// The id.
        id: String,
    },
    /// A record that could not be meant.
    #[error("the API key `{id}` is not acceptable: {why}")]
    Record {
        /// The id.
        id: String,
        /// What is wrong with it.
        why: &'static str,
    },
}
