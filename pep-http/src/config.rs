//! The section `[pep_http]` of `lictor.toml`.

use std::net::{Ipv4Addr, SocketAddr};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use http::Uri;
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

/// Bits of a file's mode that let others than its owner at it.
const OTHERS_MODE: u32 = 0o077;

/// The section `[pep_http]`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Where to listen.
    #[serde(default = "default_listen")]
    pub listen: SocketAddr,
    /// The decision point: `http://host:port` or `unix:/path`. Read by whoever makes the client for it.
    #[serde(default = "default_pdp")]
    pub pdp: String,
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
    /// Directory of this enforcement point's keys; default the audit directory.
    #[serde(default)]
    pub state_dir: Option<PathBuf>,
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
    /// The file that holds its key, if no variable does.
    #[serde(default)]
    pub key_file: Option<PathBuf>,
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
    /// A size or time of zero.
    #[error("`pep_http.{0}` must not be 0")]
    Zero(&'static str),
    /// Two places for one key.
    #[error("the upstream `{0}` has both `key_env` and `key_file`: leave one")]
    TwoKeys(String),
    /// The variable is not set.
    #[error("the environment variable `{variable}` with the key of the upstream `{id}` is not set")]
    KeyVariable {
        /// The upstream.
        id: String,
        /// The variable.
        variable: String,
    },
    /// The file cannot be read.
    #[error("the file `{path}` with the key of the upstream `{id}` cannot be read")]
    KeyFile {
        /// The upstream.
        id: String,
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// Others may read the file.
    #[error(
        "the file `{path}` with the key of the upstream `{id}` can be read by others: run `chmod 600` on it"
    )]
    KeyFileOpen {
        /// The upstream.
        id: String,
        /// The file.
        path: PathBuf,
    },
    /// The key cannot stand in a header.
    #[error("the key of the upstream `{0}` is empty or has characters that a header cannot carry")]
    KeyText(String),
}

fn default_listen() -> SocketAddr {
    SocketAddr::from((Ipv4Addr::LOCALHOST, DEFAULT_PORT))
}

fn default_pdp() -> String {
    "http://127.0.0.1:7070".to_owned()
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
    }

    /// A configuration with defaults for everything but the providers.
    #[must_use]
    pub fn new(upstreams: Vec<UpstreamConfig>) -> Self {
        Self {
            listen: default_listen(),
            pdp: default_pdp(),
            pdp_token_file: None,
            upstreams,
            max_body_bytes: DEFAULT_MAX_BODY_BYTES,
            max_answer_bytes: DEFAULT_MAX_ANSWER_BYTES,
            head_timeout_ms: DEFAULT_HEAD_TIMEOUT_MS,
            idle_timeout_ms: DEFAULT_IDLE_TIMEOUT_MS,
            max_in_flight_requests: DEFAULT_MAX_IN_FLIGHT_REQUESTS,
            drain_timeout_ms: DEFAULT_DRAIN_TIMEOUT_MS,
            decision_budget_ms: 0,
            state_dir: None,
        }
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
        if self.key_env.is_some() && self.key_file.is_some() {
            return Err(ConfigError::TwoKeys(self.id.clone()));
        }
        let url = self.base_url.parse::<Uri>().ok();
        if url.as_ref().is_some_and(is_base) && !self.base_url.contains('#') {
            return Ok(());
        }
        Err(ConfigError::BaseUrl { id: self.id.clone(), url: self.base_url.clone() })
    }

    /// The key, from where the configuration says that it is; none where it says nothing.
    ///
    /// # Errors
    /// If it says where and there is none.
    pub(crate) fn key(&self) -> Result<Option<String>, ConfigError> {
        let key = match (&self.key_env, &self.key_file) {
            (Some(variable), _) => std::env::var(variable).map_err(|_| {
                ConfigError::KeyVariable { id: self.id.clone(), variable: variable.clone() }
            })?,
            (None, Some(path)) => read_key(&self.id, path)?,
            (None, None) => return Ok(None),
        };
        Ok(Some(key.trim().to_owned()))
    }
}

fn read_key(id: &str, path: &Path) -> Result<String, ConfigError> {
    let failed = |source| ConfigError::KeyFile { id: id.to_owned(), path: path.to_owned(), source };
    let mode = std::fs::metadata(path).map_err(failed)?.permissions().mode();
    if mode & OTHERS_MODE != 0 {
        return Err(ConfigError::KeyFileOpen { id: id.to_owned(), path: path.to_owned() });
    }
    std::fs::read_to_string(path).map_err(failed)
}

fn is_base(url: &Uri) -> bool {
    let http = matches!(url.scheme_str(), Some("http" | "https"));
    let host = url.authority().is_some_and(|authority| !authority.as_str().contains('@'));
    http && host && url.query().is_none()
}

#[cfg(test)]
mod tests {
    use std::fs::Permissions;

    use super::*;

    fn upstream(id: &str, base_url: &str) -> UpstreamConfig {
        UpstreamConfig {
            id: id.to_owned(),
            base_url: base_url.to_owned(),
            key_env: None,
            key_file: None,
        }
    }

    #[test]
    fn the_shape_of_the_contract_is_read() {
        let text = "upstreams = [{id = \"openai\", base_url = \"https://api.openai.com/v1\", key_env = \"K\"}]";
        let config: Config = toml::from_str(text).unwrap();
        assert_eq!(config.listen.to_string(), "127.0.0.1:7080");
        assert_eq!(config.pdp, "http://127.0.0.1:7070");
        config.validate().unwrap();
        let mut expected = upstream("openai", "https://api.openai.com/v1");
        expected.key_env = Some("K".to_owned());
        assert_eq!(config, Config::new(vec![expected]));
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
    fn a_key_that_is_said_to_be_somewhere_must_be_there() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("key");
        let mut upstream = upstream("a", "http://a");
        assert_eq!(upstream.key().unwrap(), None);
        upstream.key_file = Some(path.clone());
        assert!(matches!(upstream.key(), Err(ConfigError::KeyFile { .. })));
        std::fs::write(&path, "sk-1\n").unwrap();
        let mode = |mode| std::fs::set_permissions(&path, Permissions::from_mode(mode)).unwrap();
        mode(0o644);
        assert!(matches!(upstream.key(), Err(ConfigError::KeyFileOpen { .. })));
        mode(0o600);
        assert_eq!(upstream.key().unwrap().as_deref(), Some("sk-1"));
        upstream.key_env = Some("LICTOR_TEST_NO_SUCH_VARIABLE".to_owned());
        assert!(matches!(upstream.validate(), Err(ConfigError::TwoKeys(_))));
        assert!(matches!(upstream.key(), Err(ConfigError::KeyVariable { .. })));
    }
}
