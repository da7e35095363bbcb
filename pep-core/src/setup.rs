//! From the sections of `lictor.toml` that every enforcement point has to the values that its
//! stages are made of. The only file access of this crate, at start.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use lictor_audit::{AuditLog, Options};
use lictor_identity::files::{self, FileError};
use lictor_identity::{
    Algorithm, ApiKeyError, ApiKeyStore, AssertionError, AssertionMinter, Authenticator,
    IssuerSettings, Jwks, JwksError, KeyError, Purpose, Settings, SettingsError, keys,
};
use serde::{Deserialize, Serialize};

use crate::clock::Clock;

/// `[identity]`: who is believed.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct IdentityConfig {
    /// Issuers of signed tokens.
    pub issuers: Vec<IssuerConfig>,
    /// File of hashed API keys, as `lictor keys issue` writes it.
    pub api_keys: Option<PathBuf>,
    /// The tenant of issuers that name none.
    pub tenant: Option<String>,
}

/// One issuer of signed tokens.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct IssuerConfig {
    /// Compared with `iss` byte by byte.
    pub iss: String,
    /// Our names in `aud`: one, or a list.
    pub aud: Names,
    /// File with its public keys (JWKS).
    pub jwks: PathBuf,
    /// Signature algorithms, by their JOSE names; none means the safe default.
    #[serde(default)]
    pub algorithms: Vec<String>,
    /// The tenant of its tokens.
    #[serde(default)]
    pub tenant: Option<String>,
}

/// One name or several.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Names {
    /// One.
    One(String),
    /// Several.
    Many(Vec<String>),
}

impl Names {
    /// All of them.
    #[must_use]
    pub fn all(&self) -> Vec<&str> {
        match self {
            Self::One(name) => vec![name],
            Self::Many(names) => names.iter().map(String::as_str).collect(),
        }
    }
}

/// `[audit]`: where evidence is kept.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct AuditConfig {
    /// Where the files are; keys too unless a state directory is configured.
    pub dir: PathBuf,
    /// Which records are on disk before anything is released.
    pub durability: DurabilityMode,
    /// Names the deployment in checkpoints.
    pub deployment: String,
}

impl Default for AuditConfig {
    fn default() -> Self {
        Self {
            dir: PathBuf::from("lictor-audit"),
            durability: DurabilityMode::default(),
            deployment: "lictor".to_owned(),
        }
    }
}

/// Which records are on stable storage before anything is released.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum DurabilityMode {
    /// Those of calls that change something, send something out or run code.
    #[default]
    Effect,
    /// All.
    Sync,
    /// None: each is within 10 ms.
    Bounded,
}

/// Why an enforcement point cannot start.
#[derive(Debug, thiserror::Error)]
pub enum SetupError {
    /// A file.
    #[error(transparent)]
    File(#[from] FileError),
    /// A key set.
    #[error("the key set `{path}` cannot be used")]
    Jwks {
        /// Which file.
        path: PathBuf,
        /// The cause.
        #[source]
        source: JwksError,
    },
    /// A key set on the network.
    #[error("the key set `{0}` must be a file: fetch it and name the file in `identity.issuers`")]
    JwksUrl(String),
    /// The API keys.
    #[error("the API keys in `{path}` cannot be used")]
    ApiKeys {
        /// Which file.
        path: PathBuf,
        /// The cause.
        #[source]
        source: ApiKeyError,
    },
    /// An algorithm.
    #[error(
        "`{0}` is no signature algorithm that is known here: use one such as `EdDSA` or `ES256`"
    )]
    Algorithm(String),
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
    let mut settings = Settings::default();
    if let Some(tenant) = &config.tenant {
        settings.tenant.clone_from(tenant);
    }
    settings.issuers = config
        .issuers
        .iter()
        .map(issuer)
        .collect::<Result<_, _>>()?;
    if let Some(path) = &config.api_keys {
        let text = files::read_private(path)?;
        let store = ApiKeyStore::from_json(text.as_bytes());
        settings.api_keys = Some(store.map_err(|source| SetupError::ApiKeys {
            path: path.clone(),
            source,
        })?);
    }
    Ok(Authenticator::new(settings)?)
}

fn issuer(config: &IssuerConfig) -> Result<IssuerSettings, SetupError> {
    let shown = config.jwks.to_string_lossy();
    if shown.starts_with("http://") || shown.starts_with("https://") {
        return Err(SetupError::JwksUrl(shown.into_owned()));
    }
    let text = files::read_public(&config.jwks)?;
    let jwks = Jwks::parse(text.as_bytes()).map_err(|source| SetupError::Jwks {
        path: config.jwks.clone(),
        source,
    })?;
    let mut settings = IssuerSettings::new(&config.iss, &config.aud.all(), jwks);
    settings.tenant.clone_from(&config.tenant);
    if !config.algorithms.is_empty() {
        let known = |name: &String| {
            Algorithm::from_name(name).ok_or_else(|| SetupError::Algorithm(name.clone()))
        };
        settings.algorithms = config
            .algorithms
            .iter()
            .map(known)
            .collect::<Result<_, _>>()?;
    }
    Ok(settings)
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
    AuditLog::open(options).map_err(|source| SetupError::Audit {
        dir: config.dir.clone(),
        source: Box::new(source),
    })
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

    fn identity(jwks: &str) -> IdentityConfig {
        IdentityConfig {
            issuers: vec![IssuerConfig {
                iss: "https://issuer.example".into(),
                aud: Names::One("lictor".into()),
                jwks: jwks.into(),
                algorithms: Vec::new(),
                tenant: None,
            }],
            ..IdentityConfig::default()
        }
    }

    #[test]
    fn a_key_set_must_be_a_readable_file() {
        let url = authenticator(&identity("https://issuer.example/jwks")).unwrap_err();
        assert!(matches!(url, SetupError::JwksUrl(_)));
        assert!(matches!(
            authenticator(&identity("/nonexistent")),
            Err(SetupError::File(_))
        ));
    }

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
        let config = AuditConfig {
            dir: dir.path().join("audit"),
            ..AuditConfig::default()
        };
        let keys_dir = dir.path().join("keys");
        let log = audit_log(&config, "pep-mcp", &keys_dir, &Clock::fixed(1_000)).unwrap();
        assert!(log.status().writable);
        log.close("test").await.unwrap();
    }
}
