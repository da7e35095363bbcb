//! `[identity]` of `lictor.toml`: which files hold keys, read into [`Settings`].

use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::api_key::{ApiKeyError, ApiKeyStore};
use crate::dpop::NonceKey;
use crate::files::{FileError, read_private, read_public};
use crate::jwks::{Algorithm, Jwks, JwksError};
use crate::keyring::KeyRing;
use crate::remote::place::{self, Source};
pub use crate::remote::{Discovery, KeysAt};
use crate::remote::{Now, PlaceError, REFRESH_MIN_S, Timing, Upkeep};
pub use crate::rules::{ClaimsConfig, DpopConfig, Kind, RequiredClaims};
pub use crate::settings::Profile;
use crate::settings::{IssuerSettings, Settings};
use crate::trust::{AuthorityConfig, CertificateTrust, TrustError};

/// Shortest time that fetched keys are believed, seconds.
pub const KEYS_AGE_MIN_S: u32 = 60;
/// Longest time that fetched keys are believed, seconds.
pub const KEYS_AGE_MAX_S: u32 = 86_400;
/// `keys_max_age_s` where it is not given.
const KEYS_AGE_DEFAULT_S: u32 = 3_600;
/// `refresh_s` where it is not given.
const REFRESH_DEFAULT_S: u32 = 300;

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
    /// Authorities of callers' certificates.
    pub certificates: Vec<AuthorityConfig>,
    /// What tokens must come with, of every issuer that says nothing else.
    pub dpop: DpopConfig,
}

/// One issuer of signed tokens.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct IssuerConfig {
    /// Its name, compared with `iss` byte by byte. One of `kind = "spiffe"` needs none.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub iss: String,
    /// What its tokens are: `tokens` (access tokens), `spiffe` (JWT-SVID) or `txn` (transaction
    /// tokens).
    #[serde(default)]
    pub kind: Kind,
    /// Whose workloads an issuer of `kind = "spiffe"` vouches for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trust_domain: Option<String>,
    /// Our name or names; a token must be meant for one of them.
    pub aud: Audience,
    /// Its public keys as a JWK set (RFC 7517): a file, read again when it changes, or a URL.
    /// Where neither this nor `discovery` is given, the issuer is asked where they are.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub jwks: Option<KeysAt>,
    /// Whether the issuer's metadata says where its keys are (OpenID Connect Discovery, RFC 8414),
    /// or the URL of that metadata.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub discovery: Option<Discovery>,
    /// How long fetched keys are believed after the last good fetch, seconds.
    #[serde(default = "keys_age_default_s")]
    pub keys_max_age_s: u32,
    /// How often keys are fetched, seconds; the issuer's `Cache-Control` may make it more often.
    #[serde(default = "refresh_default_s")]
    pub refresh_s: u32,
    /// Certificates (PEM) that vouch for the issuer's server beside those of the platform.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ca_file: Option<PathBuf>,
    /// What it may sign with; empty means EdDSA, ES256, RS256 and PS256.
    #[serde(default)]
    pub algorithms: Vec<String>,
    /// The tenant of its tokens.
    #[serde(default)]
    pub tenant: Option<String>,
    /// Claims that name the agent where no `act` is there, first found; the same as
    /// `claims.agent`.
    #[serde(default)]
    pub agent_claims: Vec<String>,
    /// How much its access tokens must say: `jwt` (RFC 7519), or `at+jwt` (RFC 9068).
    #[serde(default)]
    pub profile: Profile,
    /// Whether it also issues transaction tokens.
    #[serde(default)]
    pub transaction_tokens: bool,
    /// Whether a token may be for others as well as for us.
    #[serde(default)]
    pub several_audiences: bool,
    /// The tenants that `claims.tenant` may name.
    #[serde(default)]
    pub tenants: Vec<String>,
    /// Longest time from `iat` to `exp`, seconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_lifetime_s: Option<u32>,
    /// Claims that must be there: a list of names, or a map of names to accepted values.
    #[serde(default)]
    pub required_claims: RequiredClaims,
    /// Which claims say who.
    #[serde(default)]
    pub claims: ClaimsConfig,
    /// What its tokens must come with, where not as in `identity.dpop`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dpop: Option<DpopConfig>,
}

fn keys_age_default_s() -> u32 {
    KEYS_AGE_DEFAULT_S
}

fn refresh_default_s() -> u32 {
    REFRESH_DEFAULT_S
}

impl IssuerConfig {
    /// An issuer that is asked where its keys are, with everything else as by default.
    #[must_use]
    pub fn new(iss: &str, aud: &str) -> Self {
        Self {
            iss: iss.to_owned(),
            kind: Kind::default(),
            trust_domain: None,
            aud: Audience::One(aud.to_owned()),
            jwks: None,
            discovery: None,
            keys_max_age_s: KEYS_AGE_DEFAULT_S,
            refresh_s: REFRESH_DEFAULT_S,
            ca_file: None,
            algorithms: Vec::new(),
            tenant: None,
            agent_claims: Vec::new(),
            profile: Profile::default(),
            transaction_tokens: false,
            several_audiences: false,
            tenants: Vec::new(),
            max_lifetime_s: None,
            required_claims: RequiredClaims::default(),
            claims: ClaimsConfig::default(),
            dpop: None,
        }
    }
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
    /// Keys that cannot be had from there.
    #[error(transparent)]
    Place(#[from] PlaceError),
    /// A time out of its range.
    #[error("issuer `{iss}`: `{name}` is {seconds} and must be from {min} to {max} seconds")]
    Seconds {
        /// Which issuer.
        iss: String,
        /// The setting.
        name: &'static str,
        /// Its value.
        seconds: u32,
        /// Least.
        min: u32,
        /// Most.
        max: u32,
    },
    /// Nothing could be fetched with this.
    #[error("issuer `{iss}`: its keys cannot be fetched: {why}")]
    Client {
        /// Which issuer.
        iss: String,
        /// What is wrong.
        why: String,
    },
    /// Settings of an issuer that do not go together.
    #[error("issuer `{iss}`: {why}")]
    Issuer {
        /// Which issuer.
        iss: String,
        /// What is wrong, and how to mend it.
        why: &'static str,
    },
    /// No randomness for nonces.
    #[error("no random bytes for the key of nonces")]
    Random,
    /// Authorities of certificates that cannot be used.
    #[error(transparent)]
    Trust(#[from] TrustError),
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
        let files = self.issuers.iter_mut().flat_map(IssuerConfig::paths);
        files.chain(&mut self.api_keys).for_each(|path| *path = base.join(&*path));
        self.certificates.iter_mut().for_each(|authority| authority.take_paths_from(base));
    }

    /// Reads the files that it names. Keys of issuers on the network are still missing then, and
    /// nothing changes afterwards: [`IdentityConfig::open`] is for what runs.
    ///
    /// # Errors
    /// [`ConfigError`] names the file and what is wrong with it.
    pub fn load(&self) -> Result<Settings, ConfigError> {
        let nonces = nonce_key()?;
        let load = |issuer: &IssuerConfig| {
            let mut settings = issuer.load()?;
            settings.dpop = issuer.dpop.unwrap_or(self.dpop).rule(&nonces);
            Ok::<_, ConfigError>(settings)
        };
        Ok(Settings {
            issuers: self.issuers.iter().map(load).collect::<Result<_, _>>()?,
            api_keys: self.api_keys.as_deref().map(read_api_keys).transpose()?.map(Into::into),
            tenant: self.tenant.clone().unwrap_or_else(|| Settings::default().tenant),
            certificates: CertificateTrust::load(&self.certificates)?,
            upkeep: None,
        })
    }

    /// Reads the files that it names, begins to fetch what is on the network, and keeps both up
    /// to date as long as the settings, or an authenticator made of them, are there. Waits a
    /// little for first keys; an issuer that does not answer stops nobody from starting. Needs a
    /// tokio runtime.
    ///
    /// # Errors
    /// As [`IdentityConfig::load`].
    pub async fn open(&self, now: Now) -> Result<Settings, ConfigError> {
        self.open_with(now, &Timing::default()).await
    }

    /// As [`IdentityConfig::open`], with other times.
    ///
    /// # Errors
    /// As [`IdentityConfig::load`].
    pub async fn open_with(&self, now: Now, timing: &Timing) -> Result<Settings, ConfigError> {
        let mut settings = self.load()?;
        let upkeep = Upkeep::start(self, &settings, &now, timing).await?;
        settings.upkeep = Some(Arc::new(upkeep));
        Ok(settings)
    }
}

impl IssuerConfig {
    fn load(&self) -> Result<IssuerSettings, ConfigError> {
        let keys = self.keys()?;
        let aud: Vec<&str> = match &self.aud {
            Audience::One(name) => vec![name],
            Audience::Several(names) => names.iter().map(String::as_str).collect(),
        };
        let mut settings = match (self.kind, &self.trust_domain) {
            (Kind::Spiffe, Some(domain)) => IssuerSettings::spiffe(domain, &aud, keys),
            _ => IssuerSettings::with_keys(&self.iss, &aud, keys),
        };
        settings.iss = self.name();
        if !self.algorithms.is_empty() {
            let named = self.algorithms.iter().map(|name| self.algorithm(name));
            settings.algorithms = named.collect::<Result<_, _>>()?;
        }
        self.apply_rules(&mut settings)?;
        settings.tenant.clone_from(&self.tenant);
        Ok(settings)
    }

    /// What it names below the folder of the configuration file.
    fn paths(&mut self) -> impl Iterator<Item = &mut PathBuf> {
        let jwks = match &mut self.jwks {
            Some(KeysAt::File(path)) => Some(path),
            Some(KeysAt::Url(_)) | None => None,
        };
        jwks.into_iter().chain(&mut self.ca_file)
    }

    /// Where its keys are fetched from; `None` for those of a file.
    pub(crate) fn source(&self) -> Result<Option<Source>, PlaceError> {
        place::source(&self.name(), self.jwks.as_ref(), self.discovery.as_ref())
    }

    fn keys(&self) -> Result<KeyRing, ConfigError> {
        let refresh_min_s = u32::try_from(REFRESH_MIN_S).unwrap_or(u32::MAX);
        self.seconds("keys_max_age_s", self.keys_max_age_s, KEYS_AGE_MIN_S)?;
        self.seconds("refresh_s", self.refresh_s, refresh_min_s)?;
        match (self.source()?, &self.jwks) {
            (None, Some(KeysAt::File(path))) => Ok(KeyRing::fixed(read_jwks(path)?)),
            _ => Ok(KeyRing::remote()),
        }
    }

    fn seconds(&self, name: &'static str, seconds: u32, min: u32) -> Result<(), ConfigError> {
        let max = KEYS_AGE_MAX_S;
        if (min..=max).contains(&seconds) {
            return Ok(());
        }
        Err(ConfigError::Seconds { iss: self.name(), name, seconds, min, max })
    }

    fn algorithm(&self, name: &str) -> Result<Algorithm, ConfigError> {
        let unknown = || ConfigError::Algorithm { iss: self.name(), name: name.to_owned() };
        Algorithm::from_name(name).ok_or_else(unknown)
    }
}

/// A key that lives as long as the process.
fn nonce_key() -> Result<NonceKey, ConfigError> {
    let mut bytes = [0; 32];
    getrandom::fill(&mut bytes).map_err(|_| ConfigError::Random)?;
    Ok(NonceKey::new(&bytes))
}

pub(crate) fn read_jwks(path: &Path) -> Result<Jwks, ConfigError> {
    let text = read_public(path)?;
    Jwks::parse(text.as_bytes()).map_err(|error| ConfigError::Jwks { path: path.to_owned(), error })
}

pub(crate) fn read_api_keys(path: &Path) -> Result<ApiKeyStore, ConfigError> {
    let text = read_private(path)?;
    ApiKeyStore::from_json(text.as_bytes())
        .map_err(|error| ConfigError::ApiKeys { path: path.to_owned(), error })
}

#[cfg(test)]
#[path = "config_tests.rs"]
mod tests;
