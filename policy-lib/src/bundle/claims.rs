//! What a signature says: which files, which bundle, for whom and when.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::files::Files;
use super::json::{self, JsonError};
use super::name;

/// The only hash algorithm.
const HASH_ALGORITHM: &str = "SHA-256";

/// One file of a signature's list. Members are in the order in which they
/// are written.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, expecting = "an object")]
pub(crate) struct FileHash {
    pub(crate) algorithm: String,
    pub(crate) hash: String,
    pub(crate) name: String,
}

/// The payload of a signature. Times are Unix seconds, as in every JWT.
/// Members are in the order in which they are written.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, expecting = "an object")]
pub(crate) struct Claims {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) exp: Option<i64>,
    pub(crate) files: Vec<FileHash>,
    pub(crate) iat: i64,
    pub(crate) name: String,
    pub(crate) scope: String,
    pub(crate) version: u64,
}

/// How a list of files and the files differ.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Difference {
    Listed(String),
    Missing(String),
    Unlisted(String),
    Algorithm(String),
    Hash(String),
}

impl Claims {
    pub(crate) fn parse(payload: &[u8]) -> Result<Self, JsonError> {
        json::from_slice(payload)
    }

    pub(crate) fn to_bytes(&self) -> Result<Vec<u8>, JsonError> {
        serde_json::to_vec(self).map_err(|error| JsonError::Syntax { what: error.to_string() })
    }

    /// Checks that exactly the hashed files are listed, each once.
    pub(crate) fn check_files(&self, hashes: &BTreeMap<&str, String>) -> Result<(), Difference> {
        let mut listed = BTreeMap::new();
        for file in &self.files {
            if listed.insert(file.name.as_str(), file).is_some() {
                return Err(Difference::Listed(file.name.clone()));
            }
        }
        for (name, file) in &listed {
            let Some(hash) = hashes.get(name) else {
                return Err(Difference::Missing(file.name.clone()));
            };
            if file.algorithm != HASH_ALGORITHM {
                return Err(Difference::Algorithm(file.algorithm.clone()));
            }
            if file.hash != *hash {
                return Err(Difference::Hash(file.name.clone()));
            }
        }
        match hashes.keys().find(|name| !listed.contains_key(*name)) {
            Some(name) => Err(Difference::Unlisted((*name).to_owned())),
            None => Ok(()),
        }
    }
}

/// The hash of every file that a signature must list: all but the signature
/// file itself.
pub(crate) fn hash_all(files: &Files) -> BTreeMap<&str, String> {
    files
        .iter()
        .filter(|(entry, _)| *entry != name::SIGNATURES)
        .map(|(entry, bytes)| (entry, super::sha256_hex(bytes)))
        .collect()
}

/// The list of files for a signature.
pub(crate) fn list(hashes: BTreeMap<&str, String>) -> Vec<FileHash> {
    hashes
        .into_iter()
        .map(|(name, hash)| FileHash {
            algorithm: HASH_ALGORITHM.to_owned(),
            hash,
            name: name.to_owned(),
        })
        .collect()
}
