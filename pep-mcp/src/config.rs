//! `[pep_mcp]` of `lictor.toml`, as read and as checked.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};

use axum::http::Uri;
use serde::{Deserialize, Serialize};

/// Largest request body that is read unless configured otherwise.
pub const MAX_BODY_BYTES: usize = 4 * 1024 * 1024;
/// Largest answer, or event of a streamed one, that is read unless configured otherwise.
pub const MAX_ANSWER_BYTES: usize = 16 * 1024 * 1024;
/// Where the enforcement point listens unless configured otherwise.
pub const DEFAULT_LISTEN: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 7090);
/// Longest server id.
pub const MAX_SERVER_ID_BYTES: usize = 64;

/// `[pep_mcp]`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Address and port to listen on.
    pub listen: SocketAddr,
    /// The decision point: `http://HOST:PORT` or `unix:/PATH`.
    pub pdp: String,
    /// File with this enforcement point's bearer token for the decision point.
    pub pdp_token_file: Option<PathBuf>,
    /// The MCP servers behind this enforcement point.
    pub servers: Vec<ServerConfig>,
    /// How a denied `tools/call` is told.
    pub denials: Denials,
    /// The URL by which clients reach this enforcement point; default `http://<listen>`.
    pub public_url: Option<String>,
    /// Issuers named in the RFC 9728 metadata.
    pub authorization_servers: Vec<String>,
    /// Values of `Origin` that are let in beside those of this machine.
    pub allowed_origins: Vec<String>,
    /// Values of `Host` that are let in beside those of this machine; checked on loopback.
    pub allowed_hosts: Vec<String>,
    /// Further headers of callers that servers get; credentials never.
    pub forward_headers: Vec<String>,
    /// Milliseconds that one decision may take; 0 means 250.
    pub decision_budget_ms: u32,
    /// Milliseconds that a server may take to begin its answer, and again to end one that is not
    /// streamed; 0 means 120,000.
    pub upstream_timeout_ms: u64,
    /// Largest request body, bytes.
    pub max_body_bytes: usize,
    /// Largest answer, or event of a streamed one, bytes.
    pub max_answer_bytes: usize,
    /// Directory of this enforcement point's keys; default the audit directory.
    pub state_dir: Option<PathBuf>,
}

impl Config {
    /// Makes relative paths ones below `base`, the folder of the configuration file.
    pub fn take_paths_from(&mut self, base: &Path) {
        let optional = [&mut self.pdp_token_file, &mut self.state_dir];
        optional.into_iter().flatten().for_each(|path| *path = base.join(&*path));
    }
}

impl Default for Config {
    fn default() -> Self {
        Self {
            listen: DEFAULT_LISTEN,
            pdp: "http://127.0.0.1:7070".to_owned(),
            pdp_token_file: None,
            servers: Vec::new(),
            denials: Denials::default(),
            public_url: None,
            authorization_servers: Vec::new(),
            allowed_origins: Vec::new(),
            allowed_hosts: Vec::new(),
            forward_headers: Vec::new(),
            decision_budget_ms: 0,
            upstream_timeout_ms: 0,
            max_body_bytes: MAX_BODY_BYTES,
            max_answer_bytes: MAX_ANSWER_BYTES,
            state_dir: None,
        }
    }
}

/// One MCP server.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ServerConfig {
    /// Its registry id; its tools are `<id>/<tool>`.
    pub id: String,
    /// Its endpoint.
    pub url: String,
}

/// How a denied `tools/call` is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Denials {
    /// As a JSON-RPC error.
    #[default]
    Error,
    /// As a tool result with `isError`, which a model sees.
    ToolResult,
}

/// Why the configuration cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ConfigError {
    /// An id that could be read in two ways.
    #[error(
        "`{0}` cannot be a server's id: use 1 to {MAX_SERVER_ID_BYTES} of `a-z`, `0-9`, `_`, `-`, `.`"
    )]
    Id(String),
    /// The same id twice.
    #[error("the server `{0}` is configured twice in `pep_mcp.servers`")]
    Duplicate(String),
    /// Not an address that can be dialled.
    #[error("the url `{url}` of server `{id}` must be `http://…` or `https://…` without query")]
    Url {
        /// Which server.
        id: String,
        /// As configured.
        url: String,
    },
    /// No server.
    #[error("`pep_mcp.servers` is empty: name at least one `{{id, url}}`")]
    NoServers,
    /// The public URL.
    #[error("`pep_mcp.public_url` must be `http://…` or `https://…`, not `{0}`")]
    PublicUrl(String),
}

/// One server, checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Server {
    pub(crate) id: String,
    pub(crate) url: String,
    pub(crate) uri: Uri,
}

/// The servers, checked.
#[derive(Debug, Clone, Default)]
pub(crate) struct Servers(BTreeMap<String, Server>);

impl Servers {
    pub(crate) fn new(configured: &[ServerConfig]) -> Result<Self, ConfigError> {
        let mut servers = BTreeMap::new();
        for server in configured {
            let checked = Server::new(server)?;
            if servers.insert(server.id.clone(), checked).is_some() {
                return Err(ConfigError::Duplicate(server.id.clone()));
            }
        }
        if servers.is_empty() { Err(ConfigError::NoServers) } else { Ok(Self(servers)) }
    }

    /// The server called `id`; without an id the only one.
    pub(crate) fn select(&self, id: Option<&str>) -> Option<&Server> {
        match id {
            Some(id) => self.0.get(id),
            None if self.0.len() == 1 => self.0.values().next(),
            None => None,
        }
    }

    pub(crate) fn ids(&self) -> impl Iterator<Item = &str> {
        self.0.keys().map(String::as_str)
    }
}

impl Server {
    fn new(config: &ServerConfig) -> Result<Self, ConfigError> {
        let plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b"_-.".contains(&b);
        let length = config.id.len();
        if length == 0 || length > MAX_SERVER_ID_BYTES || !config.id.bytes().all(plain) {
            return Err(ConfigError::Id(config.id.clone()));
        }
        let wrong = || ConfigError::Url { id: config.id.clone(), url: config.url.clone() };
        let uri: Uri = config.url.parse().map_err(|_| wrong())?;
        let web = matches!(uri.scheme_str(), Some("http" | "https"));
        let named = uri.authority().is_some_and(|a| !a.as_str().contains('@'));
        if !web || !named || uri.query().is_some() {
            return Err(wrong());
        }
        Ok(Self { id: config.id.clone(), url: config.url.clone(), uri })
    }
}

impl Config {
    /// The URL by which clients reach this enforcement point, without a slash at its end.
    ///
    /// # Errors
    /// [`ConfigError::PublicUrl`].
    pub(crate) fn public_url(&self, listen: SocketAddr) -> Result<String, ConfigError> {
        let Some(url) = &self.public_url else {
            return Ok(format!("http://{listen}"));
        };
        let web = url.starts_with("http://") || url.starts_with("https://");
        let parsed = url.parse::<Uri>().ok().filter(|uri| web && uri.authority().is_some());
        match parsed {
            Some(_) => Ok(url.trim_end_matches('/').to_owned()),
            None => Err(ConfigError::PublicUrl(url.clone())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn servers(pairs: &[(&str, &str)]) -> Result<Servers, ConfigError> {
        let server =
            |(id, url): &(&str, &str)| ServerConfig { id: (*id).into(), url: (*url).into() };
        Servers::new(&pairs.iter().map(server).collect::<Vec<_>>())
    }

    #[test]
    fn one_server_needs_no_name_and_two_do() {
        let one = servers(&[("a", "http://h/mcp")]).unwrap();
        assert_eq!(one.select(None).unwrap().id, "a");
        assert!(one.select(Some("b")).is_none());
        let two = servers(&[("a", "http://h/mcp"), ("b", "https://h:1/")]).unwrap();
        assert!(two.select(None).is_none());
        assert_eq!(two.select(Some("b")).unwrap().url, "https://h:1/");
    }

    #[test]
    fn ids_and_urls_are_checked() {
        let url = "http://h/mcp";
        assert!(servers(&[(&"a".repeat(MAX_SERVER_ID_BYTES), url)]).is_ok());
        for id in ["", "A", "a/b", "a b", &"a".repeat(MAX_SERVER_ID_BYTES + 1)] {
            assert!(matches!(servers(&[(id, url)]), Err(ConfigError::Id(_))), "{id}");
        }
        for url in ["", "h", "/mcp", "ftp://h/", "http://u@h/", "http://h/?a=b"] {
            assert!(matches!(servers(&[("a", url)]), Err(ConfigError::Url { .. })), "{url}");
        }
        assert!(matches!(servers(&[("a", url), ("a", url)]), Err(ConfigError::Duplicate(_))));
        assert!(matches!(servers(&[]), Err(ConfigError::NoServers)));
    }

    #[test]
    fn unknown_keys_are_errors_and_defaults_are_the_contract() {
        let config: Config = toml::from_str("servers = [{id = 'a', url = 'http://h/'}]").unwrap();
        assert_eq!(config.listen.to_string(), "127.0.0.1:7090");
        assert_eq!(config.denials, Denials::Error);
        assert!(toml::from_str::<Config>("listn = '127.0.0.1:1'").is_err());
        assert!(toml::from_str::<Config>("servers = [{id = 'a', url = 'h', x = 1}]").is_err());
    }
}
