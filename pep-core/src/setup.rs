//! From the sections of `lictor.toml` that every enforcement point has to the values that its
//! stages are made of. The only file access of this crate, at start.

use std::path::{Path, PathBuf};
use std::sync::Arc;

pub use lictor_audit::config::{AuditConfig, DurabilityRule};
use lictor_audit::{AuditLog, Options};
use lictor_identity::config::ConfigError;
pub use lictor_identity::config::IdentityConfig;
use lictor_identity::files::{self, FileError};
use lictor_identity::{
    AssertionError, AssertionMinter, Authenticator, KeyError, Purpose, SettingsError, keys,
};

use crate::clock::Clock;

/// Why an enforcement point cannot start.
#[derive(Debug, thiserror::Error)]
pub enum SetupError {
    /// A file.
    #[error(transparent)]
    File(#[from] FileError),
    /// `[identity]`.
    #[error(transparent)]
    Identity(#[from] ConfigError),
    /// Settings that could not work.
    #[error(transparent)]
    Settings(#[from] SettingsError),
    /// A key of our own.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// The minter.
    #[error(transparent)]
    Assertion(#[from] AssertionError),
    /// The log.
    #[error("the audit log in `{dir}` cannot be opened")]
    Audit {
        /// Which directory.
        dir: PathBuf,
        /// The cause.
        #[source]
        source: Box<lictor_audit::OpenError>,
    },
}

/// Who is believed, from `[identity]`.
///
/// # Errors
/// [`SetupError`] for files that cannot be read and settings that could not work.
pub fn authenticator(config: &IdentityConfig) -> Result<Authenticator, SetupError> {
    Ok(Authenticator::new(config.load()?)?)
}

/// The log of `writer` (`pep-http`, `pep-mcp`), opened. Its key is in `keys_dir`, made at first
/// start.
///
/// # Errors
/// [`SetupError`] where the key or the log cannot be had: then nothing may start.
pub fn audit_log(
    config: &AuditConfig,
    writer: &str,
    keys_dir: &Path,
    clock: &Clock,
) -> Result<AuditLog, SetupError> {
    files::ensure_directory(keys_dir)?;
    let key = keys::ensure_signing(keys_dir, Purpose::Audit)?;
    let clock = clock.clone();
    let now_ms = Arc::new(move || clock.now_ms());
    let options = Options::new(&config.dir, writer, &config.deployment, key, now_ms);
    AuditLog::open(options)
        .map_err(|source| SetupError::Audit { dir: config.dir.clone(), source: Box::new(source) })
}

/// The minter of assertions, whose key is in `keys_dir`, made at first start. `issuer` is the URL
/// whose `/.well-known/jwks.json` holds the public key.
///
/// # Errors
/// [`SetupError`] where the key cannot be had.
pub fn minter(keys_dir: &Path, issuer: &str) -> Result<AssertionMinter, SetupError> {
    files::ensure_directory(keys_dir)?;
    let key = keys::ensure_signing(keys_dir, Purpose::Assertion)?;
    Ok(AssertionMinter::from_key(key, issuer)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_made_at_first_start_and_kept() {
        let dir = tempfile::tempdir().unwrap();
        let keys_dir = dir.path().join("keys");
        let first = minter(&keys_dir, "http://127.0.0.1:7090").unwrap();
        let second = minter(&keys_dir, "http://127.0.0.1:7090").unwrap();
        assert_eq!(first.kid(), second.kid());
    }

    #[tokio::test]
    async fn a_log_opens_and_closes() {
        let dir = tempfile::tempdir().unwrap();
        let config = AuditConfig { dir: dir.path().join("audit"), ..AuditConfig::default() };
        let keys_dir = dir.path().join("keys");
        let log = audit_log(&config, "pep-mcp", &keys_dir, &Clock::fixed(1_000)).unwrap();
        assert!(log.status().writable);
        log.close("test").await.unwrap();
    }
}
