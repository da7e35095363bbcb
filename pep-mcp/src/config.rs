//! `[pep_mcp]` of `lictor.toml`, as read and as checked.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};

use axum::http::Uri;
use lictor_pep_core::AuthConfig;
use lictor_pep_core::client::{Addresses, ClientTlsConfig};
use lictor_pep_core::listen::ServerTlsConfig;
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
    /// The decision point: `https://HOST:PORT`, `http://HOST:PORT` or `unix:/PATH`; or a list of
    /// several that decide alike.
    pub pdp: Addresses,
    /// Authorities, and a certificate of its own, for decision points at `https://`.
    pub pdp_tls: Option<ClientTlsConfig>,
    /// File with this enforcement point's bearer token for the decision point.
    pub pdp_token_file: Option<PathBuf>,
    /// The MCP servers behind this enforcement point.
    pub servers: Vec<ServerConfig>,
    /// How a denied `tools/call` is told.
    pub denials: Denials,
    /// The URL by which clients reach this enforcement point; default `http://<listen>`, or
    /// `https://<listen>` with `tls`.
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
    /// Milliseconds that a call waits for a person's approval; 0 refuses it at once, with the
    /// approval's id.
    pub wait_for_approval_ms: u32,
    /// Milliseconds that a server may take to begin its answer, and again to end one that is not
    /// streamed; 0 means 120,000.
    pub upstream_timeout_ms: u64,
    /// Largest request body, bytes.
    pub max_body_bytes: usize,
    /// Largest answer, or event of a streamed one, bytes.
    pub max_answer_bytes: usize,
    /// The trust domain in which transaction tokens hold (their `aud`); needed where a server gets
    /// them.
    pub trust_domain: Option<String>,
    /// Directory of this enforcement point's keys; default the audit directory.
    pub state_dir: Option<PathBuf>,
    /// Certificate and key of the listener, and whose certificates callers may show. Without it
    /// the listener is not encrypted.
    pub tls: Option<ServerTlsConfig>,
}

impl Config {
    /// By what each server knows us.
    pub(crate) fn auths(&self) -> Vec<(String, AuthConfig)> {
        self.servers.iter().map(|server| (server.id.clone(), server.auth())).collect()
    }

    /// Makes relative paths ones below `base`, the folder of the configuration file.
    pub fn take_paths_from(&mut self, base: &Path) {
        let optional = [&mut self.pdp_token_file, &mut self.state_dir];
        optional.into_iter().flatten().for_each(|path| *path = base.join(&*path));
        let auths = self.servers.iter_mut().filter_map(|server| server.auth.as_mut());
        auths.for_each(|auth| auth.take_paths_from(base));
        self.tls.iter_mut().for_each(|tls| tls.take_paths_from(base));
        self.pdp_tls.iter_mut().for_each(|tls| tls.take_paths_from(base));
    }
}

impl Default for Config {
    fn default() -> Self {
        Self {
            listen: DEFAULT_LISTEN,
            pdp: "http://127.0.0.1:7070".into(),
            pdp_tls: None,
            pdp_token_file: None,
            servers: Vec::new(),
            denials: Denials::default(),
            public_url: None,
            authorization_servers: Vec::new(),
            allowed_origins: Vec::new(),
            allowed_hosts: Vec::new(),
            forward_headers: Vec::new(),
            decision_budget_ms: 0,
            wait_for_approval_ms: 0,
            upstream_timeout_ms: 0,
            max_body_bytes: MAX_BODY_BYTES,
            max_answer_bytes: MAX_ANSWER_BYTES,
            trust_domain: None,
            state_dir: None,
            tls: None,
        }
    }
}

/// One MCP server.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ServerConfig {
    /// Its registry id; its tools are `<id>/<tool>`.
    pub id: String,
    /// Its endpoint.
    pub url: String,
    /// By what it knows us; default an assertion about each call.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub auth: Option<AuthConfig>,
    /// Whether it gets a transaction token in `Txn-Token`, beside its credential: for servers of
    /// our own trust domain, which pass it on to whom they call.
    #[serde(default)]
    pub txn_token: bool,
}

impl ServerConfig {
    /// Its credential, said or by default.
    #[must_use]
    pub fn auth(&self) -> AuthConfig {
        self.auth.clone().unwrap_or_else(|| AuthConfig::Assertion(Default::default()))
    }
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
    /// Transaction tokens for nowhere.
    #[error(
        "server `{0}` has `txn_token`: name the trust domain in which the tokens hold in `pep_mcp.trust_domain`"
    )]
    TrustDomainMissing(String),
    /// The public URL.
    #[error(
        "`pep_mcp.public_url` must be http(s)://host[:port][/path] and nothing more, not `{0}`"
    )]
    PublicUrl(String),
}

/// One server, checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Server {
    pub(crate) id: String,
    pub(crate) url: String,
    pub(crate) uri: Uri,
    /// Whether it knows us by an assertion.
    pub(crate) asserted: bool,
    /// The trust domain of its transaction tokens; `None` where it gets none.
    pub(crate) trust_domain: Option<String>,
}

/// The servers, checked.
#[derive(Debug, Clone, Default)]
pub(crate) struct Servers(BTreeMap<String, Server>);

impl Servers {
    pub(crate) fn new(
        configured: &[ServerConfig],
        trust_domain: Option<&str>,
    ) -> Result<Self, ConfigError> {
        let mut servers = BTreeMap::new();
        for server in configured {
            let checked = Server::new(server, trust_domain)?;
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
    fn new(config: &ServerConfig, trust_domain: Option<&str>) -> Result<Self, ConfigError> {
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
        let asserted = matches!(config.auth(), AuthConfig::Assertion(_));
        let trust_domain = trust_domain.filter(|domain| config.txn_token && !domain.is_empty());
        if config.txn_token && trust_domain.is_none() {
            return Err(ConfigError::TrustDomainMissing(config.id.clone()));
        }
        let trust_domain = trust_domain.map(str::to_owned);
        Ok(Self { id: config.id.clone(), url: config.url.clone(), uri, asserted, trust_domain })
    }
}

impl Config {
    /// The URL by which clients reach this enforcement point, without a slash at its end.
    ///
    /// # Errors
    /// [`ConfigError::PublicUrl`].
    pub fn public_url(&self, listen: SocketAddr) -> Result<String, ConfigError> {
        let Some(url) = &self.public_url else {
            let scheme = if self.tls.is_some() { "https" } else { "http" };
            return Ok(format!("{scheme}://{listen}"));
        };
        let web = url.starts_with("http://") || url.starts_with("https://");
        let plain = |uri: &Uri| {
            let host = uri.authority().is_some_and(|authority| !authority.as_str().contains('@'));
            host && uri.query().is_none() && !url.contains('#')
        };
        let parsed = url.parse::<Uri>().ok().filter(|uri| web && plain(uri));
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
        let server = |(id, url): &(&str, &str)| ServerConfig {
            id: (*id).into(),
            url: (*url).into(),
            ..ServerConfig::default()
        };
        Servers::new(&pairs.iter().map(server).collect::<Vec<_>>(), None)
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
    fn transaction_tokens_need_a_trust_domain() {
        let text = "trust_domain = 'corp.example'\n[[servers]]\nid = 'a'\nurl = 'http://h/'\n\
                    txn_token = true\n[[servers]]\nid = 'b'\nurl = 'http://h/'\n";
        let config: Config = toml::from_str(text).unwrap();
        let printed = toml::to_string_pretty(&config).unwrap();
        assert_eq!(toml::from_str::<Config>(&printed).unwrap(), config);
        let servers = Servers::new(&config.servers, config.trust_domain.as_deref()).unwrap();
        let domain = |id| servers.select(Some(id)).unwrap().trust_domain.as_deref();
        assert_eq!((domain("a"), domain("b")), (Some("corp.example"), None));
        for nowhere in [None, Some("")] {
            let refused = Servers::new(&config.servers, nowhere).unwrap_err();
            assert_eq!(refused, ConfigError::TrustDomainMissing("a".into()));
        }
    }

    #[test]
    fn certificates_are_read_and_printed_and_make_the_url_https() {
        let listen = "127.0.0.1:7090".parse().unwrap();
        assert_eq!(Config::default().public_url(listen).unwrap(), "http://127.0.0.1:7090");
        let text = "[tls]\ncert = 'a'\nkey = 'b'\nclient_ca = ['c']\nclient_auth = 'optional'\n";
        let mut config: Config = toml::from_str(text).unwrap();
        let printed = toml::to_string_pretty(&config).unwrap();
        assert_eq!(toml::from_str::<Config>(&printed).unwrap(), config);
        assert_eq!(config.public_url(listen).unwrap(), "https://127.0.0.1:7090");
        config.public_url = Some("https://gate.example/tools/".to_owned());
        assert_eq!(config.public_url(listen).unwrap(), "https://gate.example/tools");
        for url in [
            "gate.example",
            "ftp://gate.example",
            "https://a@gate.example",
            "https://g/?x",
            "https://g/#x",
        ] {
            config.public_url = Some(url.to_owned());
            assert!(matches!(config.public_url(listen), Err(ConfigError::PublicUrl(_))), "{url}");
        }
        config.take_paths_from(Path::new("/etc"));
        assert_eq!(config.tls.unwrap().client_ca, [Path::new("/etc/c")]);
        assert!(toml::from_str::<Config>("[tls]\ncert = 'a'\nkey = 'b'\nca = 'c'\n").is_err());
    }

    #[test]
    fn a_server_knows_us_by_an_assertion_unless_said() {
        let text = "[[servers]]\nid = 'a'\nurl = 'http://h/'\n[[servers]]\nid = 'b'\nurl = 'http://h/'\nauth = { kind = 'key', file = 'k' }\n[[servers]]\nid = 'c'\nurl = 'http://h/'\nauth = { kind = 'none' }\n";
        let mut config: Config = toml::from_str(text).unwrap();
        let printed = toml::to_string_pretty(&config).unwrap();
        assert_eq!(toml::from_str::<Config>(&printed).unwrap(), config);
        let servers = Servers::new(&config.servers, None).unwrap();
        let asserted = |id| servers.select(Some(id)).unwrap().asserted;
        assert_eq!(["a", "b", "c"].map(asserted), [true, false, false]);
        config.take_paths_from(Path::new("/etc"));
        let file = AuthConfig::of_key(None, Some(Path::new("/etc/k")));
        assert_eq!(config.servers[1].auth, file);
        assert!(toml::from_str::<Config>(&text.replace("file", "fill")).is_err());
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
