//! The file of all API keys.

use std::collections::HashMap;

use lictor_proto::json::scan;
use serde::{Deserialize, Serialize};
use zeroize::Zeroize as _;

use super::ApiKeyError;
use super::record::{ApiKeyRecord, IssueRequest};
use super::text;
use crate::credential::{Digest, digest_of};
use crate::error::shown;
use crate::secret::Secret;

/// All API keys of an installation.
///
/// A key is found through an ordinary hash map of its SHA-256: what the time of a
/// lookup could tell is the hash of the presented text, and 256 random bits cannot
/// be approached through their hash, so a comparison in constant time gains nothing.
#[derive(Debug, Clone, Default)]
pub struct ApiKeyStore {
    records: Vec<ApiKeyRecord>,
    /// Positions in `records`, which only grows.
    by_digest: HashMap<Digest, usize>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    keys: Vec<ApiKeyRecord>,
}

impl ApiKeyStore {
    /// Reads the JSON file `{"keys": […]}`.
    ///
    /// # Errors
    /// [`ApiKeyError`]: not strict JSON of this shape, an id or hash twice, or a
    /// record that could not be meant.
    pub fn from_json(bytes: &[u8]) -> Result<Self, ApiKeyError> {
        scan(bytes).map_err(|error| ApiKeyError::File(error.to_string()))?;
        let file: File =
            serde_json::from_slice(bytes).map_err(|error| ApiKeyError::File(error.to_string()))?;
        let mut store = Self::default();
        for record in file.keys {
            store.add(record)?;
        }
        Ok(store)
    }

    /// The JSON file, ending with a newline.
    ///
    /// # Errors
    /// [`ApiKeyError::File`] if a time is outside the years that RFC 3339 can write.
    pub fn to_json(&self) -> Result<String, ApiKeyError> {
        let file = File { keys: self.records.clone() };
        let mut text = serde_json::to_string_pretty(&file)
            .map_err(|error| ApiKeyError::File(error.to_string()))?;
        text.push('\n');
        Ok(text)
    }

    /// Makes a key from 32 random bytes and stores its hash. The text is returned
    /// here and nowhere again.
    ///
    /// # Errors
    /// [`ApiKeyError`]: the id is taken, or the request could not be meant.
    pub fn issue(
        &mut self,
        request: &IssueRequest,
        now_ms: i64,
        mut random: [u8; text::SECRET_BYTES],
    ) -> Result<(Secret, ApiKeyRecord), ApiKeyError> {
        let key = text::make(&random);
        random.zeroize();
        let record = ApiKeyRecord::new(request, &digest_of(&key), now_ms);
        self.add(record.clone())?;
        Ok((key, record))
    }

    /// Takes a key back. Taking it back twice is not an error.
    ///
    /// # Errors
    /// [`ApiKeyError::IdUnknown`].
    pub fn revoke(&mut self, id: &str) -> Result<&ApiKeyRecord, ApiKeyError> {
        match self.records.iter_mut().find(|record| record.id == id) {
            Some(record) => {
                record.revoked = true;
                Ok(record)
            }
            None => Err(ApiKeyError::IdUnknown { id: shown(id) }),
        }
    }

    /// The record of a key's text, also if expired or revoked.
    #[must_use]
    pub fn lookup(&self, key: &str) -> Option<&ApiKeyRecord> {
        self.by_digest(&digest_of(key))
    }

    /// All records, oldest first.
    #[must_use]
    pub fn records(&self) -> &[ApiKeyRecord] {
        &self.records
    }

    pub(crate) fn by_digest(&self, digest: &Digest) -> Option<&ApiKeyRecord> {
        self.records.get(*self.by_digest.get(digest)?)
    }

    fn add(&mut self, record: ApiKeyRecord) -> Result<(), ApiKeyError> {
        let id = || shown(&record.id);
        if let Some(why) = record.fault() {
            return Err(ApiKeyError::Record { id: id(), why });
        }
        if self.records.iter().any(|earlier| earlier.id == record.id) {
            return Err(ApiKeyError::IdTaken { id: id() });
        }
        let Some(digest) = record.digest() else {
            return Err(ApiKeyError::Record { id: id(), why: "`hash` is not a SHA-256" });
        };
        if self.by_digest.contains_key(&digest) {
            return Err(ApiKeyError::HashTaken { id: id() });
        }
        self.by_digest.insert(digest, self.records.len());
        self.records.push(record);
        Ok(())
    }
}

#[cfg(test)]
#[path = "store_tests.rs"]
mod tests;
