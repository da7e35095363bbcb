//! From the sections of `lictor.toml` that every enforcement point has to the values that its
//! stages are made of. The only file access of this crate, at start.

use std::path::{Path, PathBuf};
use std::sync::Arc;

pub use lictor_audit::config::{AuditConfig, DurabilityRule};
use lictor_audit::{AuditLog, Options};
use lictor_identity::config::ConfigError;
pub use lictor_identity::config::IdentityConfig;
use lictor_identity::files::{self, FileError};
pub use lictor_identity::memory::keep_private;
use lictor_identity::{
    AssertionError, AssertionMinter, Authenticator, KeyError, Purpose, RotationError,
    SettingsError, SigningRing, keys,
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
    /// The keys of assertions.
    #[error(transparent)]
    Rotation(#[from] RotationError),
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

/// Who is believed, from `[identity]`: keys on the network are fetched and changed files are read
/// again for as long as the authenticator is there.
///
/// # Errors
/// [`SetupError`] for files that cannot be read and settings that could not work. An issuer that
/// does not answer is no error: its tokens are refused until it does.
pub async fn authenticator(
    config: &IdentityConfig,
    clock: &Clock,
) -> Result<Authenticator, SetupError> {
    let clock = clock.clone();
    let settings = config.open(Arc::new(move || clock.now_ms())).await?;
    Ok(Authenticator::new(settings)?)
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

/// The keys of assertions in `keys_dir`, the first made at first start.
///
/// # Errors
/// [`SetupError`] where they cannot be had.
pub fn signing_ring(keys_dir: &Path) -> Result<Arc<SigningRing>, SetupError> {
    Ok(Arc::new(SigningRing::open(keys_dir)?))
}

/// The minter of assertions, whose keys are in `keys_dir`, the first made at first start. `issuer`
/// is the URL whose `/.well-known/jwks.json` holds the public keys.
///
/// # Errors
/// [`SetupError`] where the keys cannot be had.
pub fn minter(keys_dir: &Path, issuer: &str) -> Result<AssertionMinter, SetupError> {
    Ok(AssertionMinter::with_ring(signing_ring(keys_dir)?, issuer)?)
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
        assert!(first.kid(0).is_some());
        assert_eq!(first.kid(0), second.kid(0));
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
