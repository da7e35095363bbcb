//! The first record of an epoch: the key that signs its checkpoints, and how the epoch before it
//! ended.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use ed25519_dalek::VerifyingKey;
use serde::{Deserialize, Serialize};

use crate::chain::Hash;
use crate::layout::LogName;
use crate::record::Kind;

/// Version of the log format.
pub const FORMAT_VERSION: u32 = 1;

/// Body of a `genesis` record.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Genesis {
    /// [`FORMAT_VERSION`].
    pub version: u32,
    /// Which deployment the log belongs to.
    pub deployment: String,
    /// The Ed25519 key that signs checkpoints, base64.
    pub public_key: String,
    /// Number of epochs of this writer before this one.
    pub incarnation: u64,
    /// The epoch before this one, if there is one.
    pub previous: Option<Previous>,
    /// What the program says about itself.
    #[serde(default)]
    pub about: serde_json::Value,
}

/// How the epoch before ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Previous {
    /// The epoch.
    pub epoch: String,
    /// Number of its records that count.
    pub records: u64,
    /// Leaf of the last of them, hexadecimal.
    pub last_leaf: String,
    /// How it ended.
    pub end: End,
    /// Its last checkpoint, if it has one.
    pub checkpoint: Option<String>,
}

/// How an epoch ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum End {
    /// With a `close` record.
    Closed,
    /// The process died; a torn tail, if any, was cut.
    Unclean,
    /// Writing failed while the process lived: records behind those that count may be there, but
    /// were not known to be durable.
    Poisoned,
    /// The file was damaged where only tampering or a failing disk damages it; it was left as is.
    Corrupt,
}

/// A genesis record as it stands in a line.
#[derive(Debug, Deserialize)]
struct GenesisLine {
    seq: u64,
    writer: String,
    epoch: String,
    kind: String,
    #[serde(flatten)]
    genesis: Genesis,
}

impl Genesis {
    /// Reads the first line of a log.
    #[must_use]
    pub fn read(line: &[u8]) -> Option<(LogName, Self)> {
        let line: GenesisLine = serde_json::from_slice(line).ok()?;
        let genesis = line.genesis;
        let name = LogName::parse(&format!("{}-{}", line.writer, line.epoch))?;
        let good = line.seq == 0
            && line.kind == Kind::Genesis.as_str()
            && genesis.version == FORMAT_VERSION;
        good.then_some((name, genesis))
    }

    /// The key that signs checkpoints; `None` if it is not a usable one.
    #[must_use]
    pub fn key(&self) -> Option<VerifyingKey> {
        let bytes: [u8; 32] = STANDARD.decode(&self.public_key).ok()?.try_into().ok()?;
        VerifyingKey::from_bytes(&bytes).ok().filter(|key| !key.is_weak())
    }
}

impl Previous {
    /// [`Self::last_leaf`] as a hash.
    pub(crate) fn leaf(&self) -> Option<Hash> {
        crate::chain::parse_hash(&self.last_leaf)
    }
}
