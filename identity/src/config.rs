//! `[identity]` of `lictor.toml`: which files hold keys, read into [`Settings`].

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::api_key::{ApiKeyError, ApiKeyStore};
use crate::files::{FileError, read_private, read_public};
use crate::jwks::{Algorithm, Jwks, JwksError};
use crate::settings::{ClaimMap, IssuerSettings, Settings};

/// `[identity]`. Paths are relative to the folder of the configuration file.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct IdentityConfig {
    /// Issuers of signed tokens.
    pub issuers: Vec<IssuerConfig>,
    /// Store of hashed API keys, made by `lictor keys issue`.
    pub api_keys: Option<PathBuf>,
    /// The tenant of issuers that name none; default `default`.
    pub tenant: Option<String>,
}

/// One issuer of signed tokens.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct IssuerConfig {
    /// Its name, compared with `iss` byte by byte.
    pub iss: String,
    /// Our name or names; a token must be meant for one of them.
    pub aud: Audience,
    /// File with its public keys as a JWK set.
    pub jwks: PathBuf,
    /// What it may sign with; empty means EdDSA, ES256, RS256 and PS256.
    #[serde(default)]
    pub algorithms: Vec<String>,
    /// The tenant of its tokens.
    #[serde(default)]
    pub tenant: Option<String>,
    /// Claims that name the agent where no `act` is there, first found.
    #[serde(default)]
    pub agent_claims: Vec<String>,
}

/// One name, or several.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Audience {
    /// One.
    One(String),
    /// Several.
    Several(Vec<String>),
}

/// Why `[identity]` cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// A file cannot be read.
    #[error(transparent)]
    File(#[from] FileError),
    /// A key set is refused.
    #[error("{path}: {error}")]
    Jwks {
        /// Which file.
        path: PathBuf,
        /// Why.
        error: JwksError,
    },
    /// A key set on the network.
    #[error("the key set `{0}` must be a file: fetch it and name the file in `identity.issuers`")]
    JwksUrl(String),
    /// The key store is refused.
    #[error("{path}: {error}")]
    ApiKeys {
        /// Which file.
        path: PathBuf,
        /// Why.
        error: ApiKeyError,
    },
    /// Not an algorithm that we verify.
    #[error(
        "issuer `{iss}`: `{name}` is not a signature algorithm we verify: use EdDSA, ES256, RS256, PS256 or their longer forms"
    )]
    Algorithm {
        /// Which issuer.
        iss: String,
        /// The text.
        name: String,
    },
}

impl IdentityConfig {
    /// Makes relative paths ones below `base`, the folder of the configuration file.
    pub fn take_paths_from(&mut self, base: &Path) {
        let jwks = self.issuers.iter_mut().map(|issuer| &mut issuer.jwks);
        // The text of a URL must reach the message that refuses it.
        let files = jwks.filter(|path| !is_url(path));
        files.chain(&mut self.api_keys).for_each(|path| *path = base.join(&*path));
    }

    /// Reads the files that it names.
    ///
    /// # Errors
    /// [`ConfigError`] names the file and what is wrong with it.
    pub fn load(&self) -> Result<Settings, ConfigError> {
        Ok(Settings {
            issuers: self.issuers.iter().map(IssuerConfig::load).collect::<Result<_, _>>()?,
            api_keys: self.api_keys.as_deref().map(api_keys).transpose()?,
            tenant: self.tenant.clone().unwrap_or_else(|| Settings::default().tenant),
        })
    }
}

fn is_url(path: &Path) -> bool {
    ["http://", "https://"].iter().any(|scheme| path.to_string_lossy().starts_with(scheme))
}

impl IssuerConfig {
    fn load(&self) -> Result<IssuerSettings, ConfigError> {
        let path = &self.jwks;
        if is_url(path) {
            return Err(ConfigError::JwksUrl(path.to_string_lossy().into_owned()));
        }
        let text = read_public(path)?;
        let jwks = Jwks::parse(text.as_bytes())
            .map_err(|error| ConfigError::Jwks { path: path.clone(), error })?;
        let aud: Vec<&str> = match &self.aud {
            Audience::One(name) => vec![name],
            Audience::Several(names) => names.iter().map(String::as_str).collect(),
        };
        let mut settings = IssuerSettings::new(&self.iss, &aud, jwks);
        if !self.algorithms.is_empty() {
            let named = self.algorithms.iter().map(|name| self.algorithm(name));
            settings.algorithms = named.collect::<Result<_, _>>()?;
        }
        if !self.agent_claims.is_empty() {
            settings.claims = ClaimMap { agent: self.agent_claims.clone(), ..ClaimMap::default() };
        }
        settings.tenant.clone_from(&self.tenant);
        Ok(settings)
    }

    fn algorithm(&self, name: &str) -> Result<Algorithm, ConfigError> {
        let unknown = || ConfigError::Algorithm { iss: self.iss.clone(), name: name.to_owned() };
        Algorithm::from_name(name).ok_or_else(unknown)
    }
}

fn api_keys(path: &Path) -> Result<ApiKeyStore, ConfigError> {
    let text = read_private(path)?;
    ApiKeyStore::from_json(text.as_bytes())
        .map_err(|error| ConfigError::ApiKeys { path: path.to_owned(), error })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_file_is_named() {
        let mut config =
            IdentityConfig { api_keys: Some("keys.json".into()), ..Default::default() };
        config.take_paths_from(Path::new("/nowhere"));
        let error = config.load().unwrap_err().to_string();
        assert!(error.contains("/nowhere/keys.json"), "{error}");
    }

    #[test]
    fn a_key_set_on_the_network_is_refused_by_its_name() {
        let text = r#"{"issuers":[{"iss":"i","aud":"a","jwks":"https://issuer.example/jwks"}]}"#;
        let mut config: IdentityConfig = serde_json::from_str(text).unwrap();
        config.take_paths_from(Path::new("/etc/lictor"));
        let error = config.load().unwrap_err();
        assert!(
            matches!(&error, ConfigError::JwksUrl(url) if url == "https://issuer.example/jwks")
        );
    }

    #[test]
    fn one_audience_or_several() {
        let read = |text: &str| serde_json::from_str::<Audience>(text).unwrap();
        assert_eq!(read(r#""a""#), Audience::One("a".into()));
        assert_eq!(read(r#"["a","b"]"#), Audience::Several(vec!["a".into(), "b".into()]));
    }
}
