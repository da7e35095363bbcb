//! File names of a log: `<dir>/<writer>-<epoch>.jsonl`, beside it `.checkpoints` and `.side`, and
//! per writer `<writer>.side-key` and `<writer>.lock`.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

/// Longest writer name, in bytes.
pub const MAX_WRITER_BYTES: usize = 64;
/// Longest deployment name, in bytes.
pub const MAX_DEPLOYMENT_BYTES: usize = 128;
/// Length of an epoch: 128 random bits in lowercase hexadecimal.
pub const EPOCH_HEX_BYTES: usize = 32;

/// Suffix of the records.
const LOG: &str = "jsonl";
/// Suffix of the checkpoints.
const CHECKPOINTS: &str = "checkpoints";
/// Suffix of records that are not a log yet: the epoch is still being opened.
const OPENING: &str = "jsonl.opening";

/// Which log: one writer process, one incarnation.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LogName {
    /// The writer, such as `pdp`.
    pub writer: String,
    /// The epoch, 32 hexadecimal digits.
    pub epoch: String,
}

impl fmt::Display for LogName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.writer, self.epoch)
    }
}

impl LogName {
    /// Reads `<writer>-<epoch>`.
    #[must_use]
    pub fn parse(stem: &str) -> Option<Self> {
        let (writer, epoch) = stem.rsplit_once('-')?;
        (valid_writer(writer) && valid_epoch(epoch))
            .then(|| Self { writer: writer.to_owned(), epoch: epoch.to_owned() })
    }

    /// Path of the records.
    #[must_use]
    pub fn log(&self, dir: &Path) -> PathBuf {
        dir.join(format!("{self}.{LOG}"))
    }

    /// Path of the checkpoints.
    #[must_use]
    pub fn checkpoints(&self, dir: &Path) -> PathBuf {
        dir.join(format!("{self}.{CHECKPOINTS}"))
    }

    /// Path of the side store.
    #[must_use]
    pub fn side(&self, dir: &Path) -> PathBuf {
        dir.join(format!("{self}.side"))
    }

    /// Path of the records while the epoch is being opened.
    pub(crate) fn opening(&self, dir: &Path) -> PathBuf {
        dir.join(format!("{self}.{OPENING}"))
    }
}

/// Path of the key that seals a writer's side stores.
#[must_use]
pub fn side_key(dir: &Path, writer: &str) -> PathBuf {
    dir.join(format!("{writer}.side-key"))
}

/// Path of the file that is locked by the one process that writes.
pub(crate) fn lock(dir: &Path, writer: &str) -> PathBuf {
    dir.join(format!("{writer}.lock"))
}

/// Whether `name` may name a writer: `[a-z0-9][a-z0-9_-]*`.
#[must_use]
pub fn valid_writer(name: &str) -> bool {
    let plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit();
    name.len() <= MAX_WRITER_BYTES
        && name.bytes().next().is_some_and(plain)
        && name.bytes().all(|b| plain(b) || b == b'_' || b == b'-')
}

/// Whether `name` may name a deployment: `[A-Za-z0-9._/-]+`.
#[must_use]
pub fn valid_deployment(name: &str) -> bool {
    !name.is_empty()
        && name.len() <= MAX_DEPLOYMENT_BYTES
        && name.bytes().all(|b| b.is_ascii_alphanumeric() || b"._/-".contains(&b))
}

pub(crate) fn valid_epoch(epoch: &str) -> bool {
    epoch.len() == EPOCH_HEX_BYTES
        && epoch.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b))
}

/// What a directory holds, each list sorted.
#[derive(Debug, Default)]
pub(crate) struct Listing {
    pub(crate) logs: Vec<LogName>,
    pub(crate) checkpoints: Vec<LogName>,
    pub(crate) opening: Vec<LogName>,
}

/// Lists the logs of a directory.
pub(crate) fn list(dir: &Path) -> io::Result<Listing> {
    let mut found = Listing::default();
    for entry in std::fs::read_dir(dir)? {
        let name = entry?.file_name();
        let Some((stem, suffix)) = name.to_str().and_then(|n| n.split_once('.')) else {
            continue;
        };
        let Some(log) = LogName::parse(stem) else {
            continue;
        };
        match suffix {
            LOG => found.logs.push(log),
            CHECKPOINTS => found.checkpoints.push(log),
            OPENING => found.opening.push(log),
            _ => {}
        }
    }
    found.logs.sort();
    found.checkpoints.sort();
    found.opening.sort();
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_back() {
        let epoch = "0123456789abcdef0123456789abcdef";
        let name = LogName::parse(&format!("pep-mcp-{epoch}")).unwrap();
        assert_eq!((name.writer.as_str(), name.epoch.as_str()), ("pep-mcp", epoch));
        assert_eq!(LogName::parse(&name.to_string()).unwrap(), name);
        for odd in [
            "pdp",
            "pdp-12",
            "-0123456789abcdef0123456789abcdef",
            "PDP-0123456789abcdef0123456789abcdef",
        ] {
            assert!(LogName::parse(odd).is_none(), "{odd}");
        }
    }

    #[test]
    fn name_limits_at_their_edge() {
        assert!(valid_writer(&"a".repeat(MAX_WRITER_BYTES)));
        assert!(!valid_writer(&"a".repeat(MAX_WRITER_BYTES + 1)));
        assert!(!valid_writer("") && !valid_writer("a b") && !valid_writer("../x"));
        assert!(valid_deployment(&"a".repeat(MAX_DEPLOYMENT_BYTES)));
        assert!(!valid_deployment(&"a".repeat(MAX_DEPLOYMENT_BYTES + 1)));
        assert!(!valid_deployment("") && !valid_deployment("a b") && !valid_deployment("a\nb"));
    }
}
