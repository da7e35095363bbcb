//! The section `[pep_http]` of `lictor.toml`.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};

use http::Uri;
use lictor_pep_core::client::{Addresses, ClientTlsConfig};
use lictor_pep_core::listen::ServerTlsConfig;
use lictor_pep_core::upstream_auth::{AuthConfig, AuthConfigError};
use serde::{Deserialize, Serialize};

/// Where the enforcement point listens unless configured.
const DEFAULT_PORT: u16 = 7080;
/// Largest request body unless configured, bytes.
pub const DEFAULT_MAX_BODY_BYTES: usize = 8 * 1024 * 1024;
/// Largest answer that is read before it is released unless configured, bytes.
pub const DEFAULT_MAX_ANSWER_BYTES: usize = 32 * 1024 * 1024;
/// How long the head of an answer may take unless configured, milliseconds: models think before they speak.
pub const DEFAULT_HEAD_TIMEOUT_MS: u64 = 300_000;
/// How long a body may pause in either direction unless configured, milliseconds.
pub const DEFAULT_IDLE_TIMEOUT_MS: u64 = 120_000;
/// Most requests at once unless configured.
pub const DEFAULT_MAX_IN_FLIGHT_REQUESTS: usize = 4096;
/// How long calls under way may still take once the server is to stop, unless configured, milliseconds.
pub const DEFAULT_DRAIN_TIMEOUT_MS: u64 = 10_000;
/// Longest id of an upstream, bytes.
pub const MAX_UPSTREAM_ID_BYTES: usize = 64;

/// The section `[pep_http]`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Where to listen.
    #[serde(default = "default_listen")]
    pub listen: SocketAddr,
    /// The URL by which callers reach this enforcement point, which proofs of possession (DPoP)
    /// must name; default `http://<listen>`, or `https://<listen>` with `tls`.
    #[serde(default)]
    pub public_url: Option<String>,
    /// The decision point: `https://host:port`, `http://host:port` or `unix:/path`; or a list of
    /// several that decide alike. Read by whoever makes the client for it.
    #[serde(default = "default_pdp")]
    pub pdp: Addresses,
    /// Authorities, and a certificate of its own, for decision points at `https://`.
    #[serde(default)]
    pub pdp_tls: Option<ClientTlsConfig>,
    /// File with this enforcement point's bearer token for the decision point.
    #[serde(default)]
    pub pdp_token_file: Option<PathBuf>,
    /// The providers, the first being the one for models without a prefix.
    #[serde(default)]
    pub upstreams: Vec<UpstreamConfig>,
    /// Largest request body, bytes.
    #[serde(default = "default_max_body")]
    pub max_body_bytes: usize,
    /// Largest answer that is read before it is released, bytes.
    #[serde(default = "default_max_answer")]
    pub max_answer_bytes: usize,
    /// How long the head of an answer may take, milliseconds.
    #[serde(default = "default_head_timeout")]
    pub head_timeout_ms: u64,
    /// How long a body may pause in either direction, milliseconds.
    #[serde(default = "default_idle_timeout")]
    pub idle_timeout_ms: u64,
    /// Most requests at once; one more is refused `overloaded`.
    #[serde(default = "default_max_in_flight")]
    pub max_in_flight_requests: usize,
    /// How long calls under way may still take once the server is to stop, milliseconds.
    #[serde(default = "default_drain_timeout")]
    pub drain_timeout_ms: u64,
    /// Milliseconds that one decision may take; 0 means 250.
    #[serde(default)]
    pub decision_budget_ms: u32,
    /// Milliseconds that a call waits for a person's approval; 0 refuses it at once, with the
    /// approval's id.
    #[serde(default)]
    pub wait_for_approval_ms: u32,
    /// Directory of this enforcement point's keys; default the audit directory.
    #[serde(default)]
    pub state_dir: Option<PathBuf>,
    /// Certificate and key of the listener, and whose certificates callers may show. Without it
    /// the listener is not encrypted.
    #[serde(default)]
    pub tls: Option<ServerTlsConfig>,
}

/// One provider.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct UpstreamConfig {
    /// First part of the models' registry ids.
    pub id: String,
    /// Where its API is, with the version: `https://api.openai.com/v1`.
    pub base_url: String,
    /// The environment variable that holds its key.
    #[serde(default)]
    pub key_env: Option<String>,
    /// The file that holds its key, if no variable does; read again when it changes.
    #[serde(default)]
    pub key_file: Option<PathBuf>,
    /// Any other credential, or the key with more said about it; not beside `key_env` and
    /// `key_file`. Without all three the provider gets no credential.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub auth: Option<AuthConfig>,
}

/// What is wrong with the configuration.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// No upstream.
    #[error("`pep_http.upstreams` is empty: name at least one provider")]
    NoUpstreams,
    /// An id that cannot be part of a registry id.
    #[error(
        "the upstream id `{0}` must have 1 to {MAX_UPSTREAM_ID_BYTES} of the characters a-z, 0-9, `_`, `-` and `.`"
    )]
    Id(String),
    /// An id twice.
    #[error("the upstream id `{0}` is used twice: give each provider its own")]
    DuplicateId(String),
    /// Not a base URL.
    #[error(
        "the base_url `{url}` of the upstream `{id}` must be http(s)://host[:port][/path] and nothing more"
    )]
    BaseUrl {
        /// The upstream.
        id: String,
        /// Its URL.
        url: String,
    },
    /// The public URL.
    #[error(
        "`pep_http.public_url` must be http(s)://host[:port][/path] and nothing more, not `{0}`"
    )]
    PublicUrl(String),
    /// A size or time of zero.
    #[error("`pep_http.{0}` must not be 0")]
    Zero(&'static str),
    /// Two credentials.
    #[error("the upstream `{0}` has more than one of `key_env`, `key_file` and `auth`: leave one")]
    TwoKeys(String),
    /// A sort of credential that is not for providers.
    #[error(
        "the `auth` of the upstream `{0}` has `kind = \"assertion\"`, which is for MCP servers: use `key`, `none` or a grant"
    )]
    Assertion(String),
    /// A credential that cannot be had.
    #[error(transparent)]
    Auth(#[from] AuthConfigError),
}

fn default_listen() -> SocketAddr {
    SocketAddr::from((Ipv4Addr::LOCALHOST, DEFAULT_PORT))
}

fn default_pdp() -> Addresses {
    "http://127.0.0.1:7070".into()
}

fn default_max_body() -> usize {
    DEFAULT_MAX_BODY_BYTES
}

fn default_max_answer() -> usize {
    DEFAULT_MAX_ANSWER_BYTES
}

fn default_head_timeout() -> u64 {
    DEFAULT_HEAD_TIMEOUT_MS
}

fn default_idle_timeout() -> u64 {
    DEFAULT_IDLE_TIMEOUT_MS
}

fn default_drain_timeout() -> u64 {
    DEFAULT_DRAIN_TIMEOUT_MS
}

fn default_max_in_flight() -> usize {
    DEFAULT_MAX_IN_FLIGHT_REQUESTS
}

impl Config {
    /// Makes relative paths ones below `base`, the folder of the configuration file.
    pub fn take_paths_from(&mut self, base: &Path) {
        let keys = self.upstreams.iter_mut().map(|upstream| &mut upstream.key_file);
        let files = keys.chain([&mut self.pdp_token_file, &mut self.state_dir]);
        files.flatten().for_each(|path| *path = base.join(&*path));
        let auths = self.upstreams.iter_mut().filter_map(|upstream| upstream.auth.as_mut());
        auths.for_each(|auth| auth.take_paths_from(base));
        self.tls.iter_mut().for_each(|tls| tls.take_paths_from(base));
        self.pdp_tls.iter_mut().for_each(|tls| tls.take_paths_from(base));
    }

    /// A configuration with defaults for everything but the providers.
    #[must_use]
    pub fn new(upstreams: Vec<UpstreamConfig>) -> Self {
        Self {
            listen: default_listen(),
            public_url: None,
            pdp: default_pdp(),
            pdp_tls: None,
            pdp_token_file: None,
            upstreams,
            max_body_bytes: DEFAULT_MAX_BODY_BYTES,
            max_answer_bytes: DEFAULT_MAX_ANSWER_BYTES,
            head_timeout_ms: DEFAULT_HEAD_TIMEOUT_MS,
            idle_timeout_ms: DEFAULT_IDLE_TIMEOUT_MS,
            max_in_flight_requests: DEFAULT_MAX_IN_FLIGHT_REQUESTS,
            drain_timeout_ms: DEFAULT_DRAIN_TIMEOUT_MS,
            decision_budget_ms: 0,
            wait_for_approval_ms: 0,
            state_dir: None,
            tls: None,
        }
    }

    /// The URL by which callers reach this enforcement point, without a slash at its end.
    ///
    /// # Errors
    /// [`ConfigError::PublicUrl`].
    pub fn public_url(&self, listen: SocketAddr) -> Result<String, ConfigError> {
        let Some(url) = &self.public_url else {
            let scheme = if self.tls.is_some() { "https" } else { "http" };
            return Ok(format!("{scheme}://{listen}"));
        };
        let parsed = url.parse::<Uri>().ok();
        if parsed.as_ref().is_some_and(is_base) && !url.contains('#') {
            return Ok(url.trim_end_matches('/').to_owned());
        }
        Err(ConfigError::PublicUrl(url.clone()))
    }

    /// Checks what the types cannot.
    ///
    /// # Errors
    /// The first thing that is wrong.
    pub fn validate(&self) -> Result<(), ConfigError> {
        if self.upstreams.is_empty() {
            return Err(ConfigError::NoUpstreams);
        }
        for (index, upstream) in self.upstreams.iter().enumerate() {
            upstream.validate()?;
            if self.upstreams.iter().take(index).any(|earlier| earlier.id == upstream.id) {
                return Err(ConfigError::DuplicateId(upstream.id.clone()));
            }
        }
        let sizes = [
            ("max_body_bytes", self.max_body_bytes),
            ("max_answer_bytes", self.max_answer_bytes),
            ("max_in_flight_requests", self.max_in_flight_requests),
        ];
        let times =
            [("head_timeout_ms", self.head_timeout_ms), ("idle_timeout_ms", self.idle_timeout_ms)];
        let zero = sizes.iter().find(|(_, size)| *size == 0).map(|(name, _)| *name);
        let zero =
            zero.or_else(|| times.iter().find(|(_, time)| *time == 0).map(|(name, _)| *name));
        zero.map_or(Ok(()), |name| Err(ConfigError::Zero(name)))
    }
}

impl UpstreamConfig {
    fn validate(&self) -> Result<(), ConfigError> {
        let plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b"_-.".contains(&b);
        if !(1..=MAX_UPSTREAM_ID_BYTES).contains(&self.id.len()) || !self.id.bytes().all(plain) {
            return Err(ConfigError::Id(self.id.clone()));
        }
        let named = [self.key_env.is_some(), self.key_file.is_some(), self.auth.is_some()];
        if named.iter().filter(|named| **named).count() > 1 {
            return Err(ConfigError::TwoKeys(self.id.clone()));
        }
        if matches!(self.auth, Some(AuthConfig::Assertion(_))) {
            return Err(ConfigError::Assertion(self.id.clone()));
        }
        let url = self.base_url.parse::<Uri>().ok();
        if url.as_ref().is_some_and(is_base) && !self.base_url.contains('#') {
            return Ok(());
        }
        Err(ConfigError::BaseUrl { id: self.id.clone(), url: self.base_url.clone() })
    }

    /// Its credential, however the configuration says it.
    pub(crate) fn auth(&self) -> AuthConfig {
        let key = || AuthConfig::of_key(self.key_env.as_deref(), self.key_file.as_deref());
        self.auth.clone().or_else(key).unwrap_or_default()
    }
}

fn is_base(url: &Uri) -> bool {
    let http = matches!(url.scheme_str(), Some("http" | "https"));
    let host = url.authority().is_some_and(|authority| !authority.as_str().contains('@'));
    http && host && url.query().is_none()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn upstream(id: &str, base_url: &str) -> UpstreamConfig {
        UpstreamConfig {
            id: id.to_owned(),
            base_url: base_url.to_owned(),
            key_env: None,
            key_file: None,
            auth: None,
        }
    }

    #[test]
    fn the_shape_of_the_contract_is_read() {
        let text = "upstreams = [{id = \"openai\", base_url = \"https://api.openai.com/v1\", key_env = \"K\"}]";
        let config: Config = toml::from_str(text).unwrap();
        assert_eq!(config.listen.to_string(), "127.0.0.1:7080");
        assert_eq!(config.pdp, "http://127.0.0.1:7070".into());
        config.validate().unwrap();
        let mut expected = upstream("openai", "https://api.openai.com/v1");
        expected.key_env = Some("K".to_owned());
        assert_eq!(config, Config::new(vec![expected]));
    }

    #[test]
    fn certificates_are_read_and_printed_as_they_are() {
        let text = "upstreams = []\n[tls]\ncert = \"a\"\nkey = \"b\"\nclient_ca = [\"c\"]\n";
        let mut config: Config = toml::from_str(text).unwrap();
        let printed = toml::to_string_pretty(&config).unwrap();
        assert_eq!(toml::from_str::<Config>(&printed).unwrap(), config);
        config.take_paths_from(Path::new("/etc/lictor"));
        let tls = config.tls.unwrap();
        assert_eq!((tls.cert, tls.key), ("/etc/lictor/a".into(), "/etc/lictor/b".into()));
        assert_eq!(tls.client_ca, [Path::new("/etc/lictor/c")]);
        assert!(toml::from_str::<Config>("[tls]\ncert = \"a\"").is_err());
    }

    #[test]
    fn unknown_keys_are_errors() {
        assert!(toml::from_str::<Config>("upstreams = []\nlisten_on = \"x\"").is_err());
        let text = "upstreams = [{id = \"a\", base_url = \"http://a\", key = \"k\"}]";
        assert!(toml::from_str::<Config>(text).is_err());
    }

    #[test]
    fn ids_are_bounded_and_unique() {
        let longest = "a".repeat(MAX_UPSTREAM_ID_BYTES);
        assert!(Config::new(vec![upstream(&longest, "http://a")]).validate().is_ok());
        for id in ["", "A", "a/b", &format!("{longest}a")] {
            let error = Config::new(vec![upstream(id, "http://a")]).validate().unwrap_err();
            assert!(matches!(error, ConfigError::Id(_)), "{id}");
        }
        let twice = Config::new(vec![upstream("a", "http://a"), upstream("a", "http://b")]);
        assert!(matches!(twice.validate(), Err(ConfigError::DuplicateId(_))));
        assert!(matches!(Config::new(vec![]).validate(), Err(ConfigError::NoUpstreams)));
    }

    #[test]
    fn a_base_url_is_nothing_more() {
        for url in ["http://a:1/v1", "https://a", "http://[::1]:9/x/y"] {
            assert!(Config::new(vec![upstream("a", url)]).validate().is_ok(), "{url}");
        }
        for url in ["a", "/v1", "ftp://a/v1", "http://u:p@a/v1", "http://a/v1?x=1", "http://a/#x"] {
            let error = Config::new(vec![upstream("a", url)]).validate().unwrap_err();
            assert!(matches!(error, ConfigError::BaseUrl { .. }), "{url}");
        }
    }

    #[test]
    fn callers_reach_it_where_the_configuration_says() {
        let listen = default_listen();
        let mut config = Config::new(Vec::new());
        assert_eq!(config.public_url(listen).unwrap(), "http://127.0.0.1:7080");
        config.public_url = Some("https://gate.example/llm/".to_owned());
        assert_eq!(config.public_url(listen).unwrap(), "https://gate.example/llm");
        for url in ["gate.example", "ftp://a", "https://u@a/", "https://a/?x", "https://a/#x"] {
            config.public_url = Some(url.to_owned());
            assert!(matches!(config.public_url(listen), Err(ConfigError::PublicUrl(_))), "{url}");
        }
    }

    #[test]
    fn zero_is_no_bound() {
        let changes: [fn(&mut Config); 5] = [
            |c| c.max_body_bytes = 0,
            |c| c.max_answer_bytes = 0,
            |c| c.head_timeout_ms = 0,
            |c| c.idle_timeout_ms = 0,
            |c| c.max_in_flight_requests = 0,
        ];
        for change in changes {
            let mut config = Config::new(vec![upstream("a", "http://a")]);
            change(&mut config);
            assert!(matches!(config.validate(), Err(ConfigError::Zero(_))));
        }
    }

    #[test]
    fn an_upstream_has_one_credential() {
        let mut upstream = upstream("a", "http://a");
        assert_eq!(upstream.auth(), AuthConfig::default());
        upstream.key_env = Some("K".to_owned());
        assert_eq!(upstream.auth(), AuthConfig::of_key(Some("K"), None).unwrap());
        upstream.auth = AuthConfig::of_key(None, Some(Path::new("k")));
        assert!(matches!(upstream.validate(), Err(ConfigError::TwoKeys(_))));
        upstream.key_env = None;
        upstream.validate().unwrap();
        assert_eq!(upstream.auth(), AuthConfig::of_key(None, Some(Path::new("k"))).unwrap());
        upstream.key_file = Some("k".into());
        assert!(matches!(upstream.validate(), Err(ConfigError::TwoKeys(_))));
        upstream.key_file = None;
        upstream.auth = Some(AuthConfig::Assertion(Default::default()));
        assert!(matches!(upstream.validate(), Err(ConfigError::Assertion(_))));
    }

    #[test]
    fn a_credential_is_read_and_printed_as_it_is() {
        let text =
            "[[upstreams]]\nid = 'a'\nbase_url = 'http://a'\nauth = { kind = 'key', file = 'k' }\n";
        let mut config: Config = toml::from_str(text).unwrap();
        let printed = toml::to_string_pretty(&config).unwrap();
        assert_eq!(toml::from_str::<Config>(&printed).unwrap(), config);
        config.take_paths_from(Path::new("/etc/lictor"));
        let file = AuthConfig::of_key(None, Some(Path::new("/etc/lictor/k")));
        assert_eq!(config.upstreams[0].auth, file);
        let text = text.replace("file", "fill");
        assert!(toml::from_str::<Config>(&text).unwrap_err().to_string().contains("fill"));
    }
}
