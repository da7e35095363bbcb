//! Where the decision points are.

use std::net::IpAddr;
use std::path::PathBuf;

use http::Uri;
use lictor_identity::tls::TlsError;
use serde::{Deserialize, Serialize};

use super::token::MAX_TOKEN_BYTES;

/// Most decision points of one client.
pub const MAX_ENDPOINTS: usize = 16;

/// Why there can be no client.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// Not an address that is understood.
    #[error(
        "`{0}` is no decision point: use `https://HOST:PORT`, `http://HOST:PORT` or `unix:/PATH`"
    )]
    Target(String),
    /// None, or too many.
    #[error("`pdp` names {0} decision points: name 1 to {MAX_ENDPOINTS}")]
    Count(usize),
    /// One twice.
    #[error("`pdp` names `{0}` twice: name each decision point once")]
    Twice(String),
    /// Certificates for connections that are not encrypted.
    #[error("`pdp_tls` is for decision points at `https://`, and `pdp` names none: change either")]
    UnusedTls,
    /// Certificates that cannot be used.
    #[error("the decision point cannot be called over TLS: {0}")]
    Tls(#[from] TlsError),
    /// A name that no certificate could carry.
    #[error("`{0}` is not a name that a certificate could carry: set `server_name` in `pdp_tls`")]
    ServerName(String),
    /// The token file cannot be read.
    #[error("the token file `{path}` cannot be read")]
    TokenFile {
        /// Which file.
        path: PathBuf,
        /// The cause.
        #[source]
        source: std::io::Error,
    },
    /// The token is empty, too large, or not one line of visible ASCII.
    #[error(
        "the token in `{0}` must be one line of visible ASCII of at most {MAX_TOKEN_BYTES} bytes"
    )]
    Token(PathBuf),
}

/// Where one decision point is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Target {
    /// `http://host:port`
    Tcp(Uri),
    /// `https://host:port`
    Tls(Uri),
    /// `unix:/path`
    Unix(PathBuf),
}

impl Target {
    /// Reads `https://HOST:PORT`, `http://HOST:PORT` or `unix:/PATH`.
    ///
    /// # Errors
    /// [`ClientError::Target`].
    pub fn parse(text: &str) -> Result<Self, ClientError> {
        let wrong = || ClientError::Target(text.to_owned());
        if let Some(path) = text.strip_prefix("unix:") {
            let path = path.strip_prefix("//").unwrap_or(path);
            let absolute = path.starts_with('/') && path.len() > 1;
            return if absolute { Ok(Self::Unix(path.into())) } else { Err(wrong()) };
        }
        let uri: Uri = text.parse().map_err(|_| wrong())?;
        let named = uri.port_u16().is_some() && uri.host().is_some_and(|host| !host.is_empty());
        let bare = matches!(uri.path(), "" | "/") && uri.query().is_none() && !text.contains('@');
        match uri.scheme_str() {
            Some("http") if named && bare => Ok(Self::Tcp(uri)),
            Some("https") if named && bare => Ok(Self::Tls(uri)),
            _ => Err(wrong()),
        }
    }

    /// The address as messages and metrics show it, the same for every spelling.
    #[must_use]
    pub fn shown(&self) -> String {
        let authority = |uri: &Uri| uri.authority().map(|a| a.as_str().to_owned());
        match self {
            Self::Tcp(uri) => format!("http://{}", authority(uri).unwrap_or_default()),
            Self::Tls(uri) => format!("https://{}", authority(uri).unwrap_or_default()),
            Self::Unix(path) => format!("unix:{}", path.display()),
        }
    }

    /// Whether what is sent there can be read on the way.
    pub(crate) fn is_open(&self) -> bool {
        let Self::Tcp(uri) = self else { return false };
        let host = uri.host().unwrap_or_default().trim_matches(['[', ']']);
        let here = match host.parse::<IpAddr>() {
            Ok(address) => address.to_canonical().is_loopback(),
            Err(_) => host.eq_ignore_ascii_case("localhost"),
        };
        !here
    }
}

/// The key `pdp`: one decision point, or several that decide alike.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Addresses {
    /// One.
    One(String),
    /// Several.
    Many(Vec<String>),
}

impl From<&str> for Addresses {
    fn from(address: &str) -> Self {
        Self::One(address.to_owned())
    }
}

impl Addresses {
    /// Reads each.
    ///
    /// # Errors
    /// [`ClientError`] for an address that is not understood, none, too many, or one twice.
    pub fn targets(&self) -> Result<Vec<Target>, ClientError> {
        let texts = match self {
            Self::One(text) => std::slice::from_ref(text),
            Self::Many(texts) => texts.as_slice(),
        };
        if texts.is_empty() || texts.len() > MAX_ENDPOINTS {
            return Err(ClientError::Count(texts.len()));
        }
        let mut targets: Vec<Target> = Vec::with_capacity(texts.len());
        for text in texts {
            let target = Target::parse(text)?;
            if targets.iter().any(|other| other.shown() == target.shown()) {
                return Err(ClientError::Twice(text.clone()));
            }
            targets.push(target);
        }
        Ok(targets)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_read_strictly() {
        assert!(matches!(Target::parse("http://127.0.0.1:7070"), Ok(Target::Tcp(_))));
        assert!(matches!(Target::parse("http://localhost:7070/"), Ok(Target::Tcp(_))));
        assert!(matches!(Target::parse("https://pdp.internal:7070"), Ok(Target::Tls(_))));
        assert_eq!(Target::parse("unix:/run/p").unwrap(), Target::Unix("/run/p".into()));
        assert_eq!(Target::parse("unix:///run/p").unwrap(), Target::Unix("/run/p".into()));
        for wrong in [
            "",
            "unix:",
            "unix:/",
            "unix:p",
            "https://h",
            "http://h",
            "http://h:1/x",
            "h:1",
            "https://h:1?x",
            "http://user:secret@h:1",
            "ftp://h:1",
            "http://:1",
        ] {
            assert!(Target::parse(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn one_address_or_a_list_of_different_ones() {
        let read = |text: &str| serde_json::from_str::<Addresses>(text).unwrap();
        for text in [r#""unix:/run/p""#, r#"["https://a:1","https://b:1"]"#] {
            assert_eq!(serde_json::to_string(&read(text)).unwrap(), text);
        }
        assert_eq!(read(r#"["https://a:1","https://b:1"]"#).targets().unwrap().len(), 2);
        assert!(matches!(read("[]").targets(), Err(ClientError::Count(0))));
        let twice = read(r#"["https://a:1","https://a:1/"]"#).targets();
        assert!(matches!(twice, Err(ClientError::Twice(_))));
        let named = |count: usize| {
            Addresses::Many((0..count).map(|n| format!("http://h:{}", n + 1)).collect()).targets()
        };
        assert!(named(MAX_ENDPOINTS).is_ok());
        assert!(matches!(named(MAX_ENDPOINTS + 1), Err(ClientError::Count(17))));
    }

    #[test]
    fn only_plain_connections_to_elsewhere_are_open() {
        for (text, open) in [
            ("http://10.0.0.1:1", true),
            ("http://pdp:1", true),
            ("http://127.0.0.1:1", false),
            ("http://[::1]:1", false),
            ("http://localhost:1", false),
            ("https://10.0.0.1:1", false),
            ("unix:/run/p", false),
        ] {
            assert_eq!(Target::parse(text).unwrap().is_open(), open, "{text}");
        }
    }
}
