//! One bounded GET. What a server answers is foreign until its signatures are checked: how much is
//! read, for how long, and from whom is decided here.

use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

use axum::body::Bytes;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use lictor_identity::Secret;
use lictor_identity::files::read_private;
use lictor_identity::tls::{ClientTlsConfig, client_config};
use reqwest::header::{ACCEPT_ENCODING, AUTHORIZATION, HeaderMap, HeaderName, HeaderValue};
use reqwest::redirect::Policy;
use reqwest::{Client, ClientBuilder, Response, Url};
use zeroize::Zeroizing;

/// How we name ourselves.
const USER_AGENT: &str = concat!("lictor/", env!("CARGO_PKG_VERSION"));

/// Why a bundle could not be fetched.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FetchError {
    /// No answer, or none to its end.
    #[error("`{url}` did not answer: {why}")]
    Unreachable {
        /// Who was asked.
        url: String,
        /// Why.
        why: String,
    },
    /// Another answer than success.
    #[error("`{url}` answered {status}: only 200 counts, and redirects are not followed")]
    Status {
        /// Who was asked.
        url: String,
        /// Its status.
        status: u16,
    },
    /// We may not.
    #[error(
        "`{url}` answered {status}: check `token_file`, `username` and `password_file` of `[pdp.fetch]`"
    )]
    Unauthorized {
        /// Who was asked.
        url: String,
        /// Its status.
        status: u16,
    },
    /// Our own certificate, authorities, token or password cannot be used.
    #[error("`[pdp.fetch]`: {0}")]
    Own(String),
    /// A registry wants to send us, or what we prove ourselves with, where we do not go.
    #[error("`{url}` sends us to `{to}`: {why}")]
    Elsewhere {
        /// Who was asked.
        url: String,
        /// Where it sends us.
        to: String,
        /// Why we do not go.
        why: &'static str,
    },
    /// More than is read.
    #[error("`{url}` offers more than the {max_bytes} bytes that are read")]
    TooLarge {
        /// Who was asked.
        url: String,
        /// How much is read.
        max_bytes: usize,
    },
    /// Something that is no bundle.
    #[error("`{url}` offers {found}, which is no bundle: {hint}")]
    NotABundle {
        /// Who was asked.
        url: String,
        /// What it offers.
        found: String,
        /// What to do.
        hint: &'static str,
    },
    /// Content that is not what its digest says.
    #[error("`{url}` offers content with another digest than `{digest}`")]
    Digest {
        /// Who was asked.
        url: String,
        /// The digest that was asked for.
        digest: String,
    },
}

impl FetchError {
    /// Stable id.
    #[must_use]
    pub fn id(&self) -> &'static str {
        match self {
            Self::Unreachable { .. } => "bundle_unreachable",
            Self::Status { .. } | Self::Elsewhere { .. } => "bundle_fetch_status",
            Self::Unauthorized { .. } => "bundle_fetch_unauthorized",
            Self::Own(_) => "bundle_fetch_config",
            Self::TooLarge { .. } => "bundle_archive_too_large",
            Self::NotABundle { .. } => "bundle_content_type",
            Self::Digest { .. } => "bundle_fetch_digest",
        }
    }

    /// Whether something was offered, and it was that which is wrong.
    pub(super) fn is_refusal(&self) -> bool {
        matches!(self, Self::TooLarge { .. } | Self::NotABundle { .. } | Self::Digest { .. })
    }
}

/// What we prove ourselves with. Files are read for each question.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Credential {
    None,
    Token(PathBuf),
    Basic { username: String, password_file: PathBuf },
}

/// What was read of a [`Credential`].
#[derive(Debug, Clone)]
pub(super) enum Shown {
    Nothing,
    Bearer(Secret),
    Basic { username: String, password: Secret },
}

impl Credential {
    pub(super) async fn read(&self) -> Result<Shown, FetchError> {
        let (path, username) = match self {
            Self::None => return Ok(Shown::Nothing),
            Self::Token(path) => (path.clone(), None),
            Self::Basic { username, password_file } => (password_file.clone(), Some(username)),
        };
        let own = |why: String| FetchError::Own(why);
        let read = tokio::task::spawn_blocking(move || read_private(&path)).await;
        let text = read
            .map_err(|_| own("reading a file ended without a result".to_owned()))?
            .map_err(|error| own(error.to_string()))?;
        let secret = Secret::from(text.trim().to_owned());
        Ok(match username {
            None => Shown::Bearer(secret),
            Some(username) => Shown::Basic { username: username.clone(), password: secret },
        })
    }
}

impl Shown {
    /// The `Authorization` header; `None` for nothing.
    pub(super) fn header(&self) -> Result<Option<HeaderValue>, FetchError> {
        let text = match self {
            Self::Nothing => return Ok(None),
            Self::Bearer(token) => Zeroizing::new(format!("Bearer {}", &**token)),
            Self::Basic { username, password } => {
                let pair = Zeroizing::new(format!("{username}:{}", &**password));
                Zeroizing::new(format!("Basic {}", STANDARD.encode(pair.as_bytes())))
            }
        };
        // The bytes are wiped when the last who holds them lets go.
        let value = HeaderValue::from_maybe_shared(Bytes::from_owner(Wiped(text)));
        let mut value = value.map_err(|_| {
            FetchError::Own("the token or password has characters that cannot be sent".to_owned())
        })?;
        value.set_sensitive(true);
        Ok(Some(value))
    }
}

/// A text as bytes that are wiped when dropped.
struct Wiped(Zeroizing<String>);

impl AsRef<[u8]> for Wiped {
    fn as_ref(&self) -> &[u8] {
        self.0.as_bytes()
    }
}

/// What a GET asks for.
pub(super) struct Get<'a> {
    pub(super) url: &'a Url,
    pub(super) headers: HeaderMap,
    /// What we prove ourselves with.
    pub(super) authorization: Option<HeaderValue>,
    /// How long the server was asked to wait.
    pub(super) wait: Duration,
}

impl<'a> Get<'a> {
    pub(super) fn new(url: &'a Url) -> Self {
        Self { url, headers: HeaderMap::new(), authorization: None, wait: Duration::ZERO }
    }

    pub(super) fn header(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.headers.insert(name, value);
        self
    }

    pub(super) fn proved_by(mut self, authorization: Option<HeaderValue>) -> Self {
        self.authorization = authorization;
        self
    }
}

/// Asks one server.
#[derive(Debug, Clone)]
pub(super) struct Fetcher {
    client: Client,
    timeout: Duration,
    ca: Vec<PathBuf>,
}

impl Fetcher {
    /// A client for `url` and its like. It follows no redirect. One that only talks plainly to
    /// this machine never goes through a proxy, and needs no authorities, which a container may
    /// lack.
    pub(super) fn new(
        url: &Url,
        config: &ClientTlsConfig,
        timeout: Duration,
    ) -> Result<Self, FetchError> {
        let own = |why: String| FetchError::Own(why);
        let builder = if url.scheme() == "http" {
            let plain = bounded(timeout).tls_certs_only([]);
            if is_loopback(url) { plain.no_proxy() } else { plain }
        } else {
            let tls = client_config(config).map_err(|error| own(error.to_string()))?;
            let encrypted = bounded(timeout).https_only(true).tls_backend_preconfigured(tls);
            if is_loopback(url) { encrypted.no_proxy() } else { encrypted }
        };
        let client = builder.build().map_err(|error| own(innermost(&error)))?;
        Ok(Self { client, timeout, ca: config.ca.clone() })
    }

    /// A client for `url`, to which the other sent us: it is not shown our certificate.
    pub(super) fn for_others(&self, url: &Url) -> Result<Self, FetchError> {
        let config = ClientTlsConfig { ca: self.ca.clone(), ..ClientTlsConfig::default() };
        Self::new(url, &config, self.timeout)
    }

    /// The head of an answer, whatever its status.
    pub(super) async fn head(&self, get: Get<'_>) -> Result<Response, FetchError> {
        let mut request = self
            .client
            .get(get.url.clone())
            .headers(get.headers)
            // The digest is over what is sent; nothing is unpacked before it is checked.
            .header(ACCEPT_ENCODING, "identity");
        if let Some(value) = get.authorization {
            request = request.header(AUTHORIZATION, value);
        }
        let patience = self.timeout.saturating_add(get.wait);
        match tokio::time::timeout(patience, request.send()).await {
            Ok(Ok(response)) => Ok(response),
            Ok(Err(error)) => Err(unreachable(get.url, cause(&error))),
            Err(_) => Err(unreachable(get.url, "no answer in time".to_owned())),
        }
    }

    /// The body, of at most `max_bytes`, in the time that an answer may take.
    pub(super) async fn body(
        &self,
        mut response: Response,
        url: &Url,
        max_bytes: usize,
    ) -> Result<Vec<u8>, FetchError> {
        let too_large = || FetchError::TooLarge { url: named(url), max_bytes };
        if response.content_length().is_some_and(|bytes| bytes > max_bytes as u64) {
            return Err(too_large());
        }
        let read = async {
            let mut bytes = Vec::new();
            while let Some(chunk) =
                response.chunk().await.map_err(|error| unreachable(url, cause(&error)))?
            {
                if bytes.len().saturating_add(chunk.len()) > max_bytes {
                    return Err(too_large());
                }
                bytes.extend_from_slice(&chunk);
            }
            Ok(bytes)
        };
        let late = |_| Err(unreachable(url, "no whole answer in time".to_owned()));
        tokio::time::timeout(self.timeout, read).await.unwrap_or_else(late)
    }
}

/// What any status but 200 says.
pub(super) fn status_error(url: &Url, status: u16) -> FetchError {
    match status {
        401 | 403 => FetchError::Unauthorized { url: named(url), status },
        _ => FetchError::Status { url: named(url), status },
    }
}

fn bounded(timeout: Duration) -> ClientBuilder {
    Client::builder()
        .user_agent(USER_AGENT)
        .redirect(Policy::none())
        .referer(false)
        .connect_timeout(timeout)
}

fn unreachable(url: &Url, why: String) -> FetchError {
    FetchError::Unreachable { url: named(url), why }
}

/// The URL without user, password, query and fragment, which may be secrets.
pub(super) fn named(url: &Url) -> String {
    let mut url = url.clone();
    // Neither can be set where there is no host, and then there is neither.
    let _ = (url.set_username(""), url.set_password(None));
    url.set_query(None);
    url.set_fragment(None);
    url.into()
}

/// Whether `url` leads to this machine without a name server having a say.
pub(super) fn is_loopback(url: &Url) -> bool {
    let host = url.host_str().unwrap_or_default();
    let address = host.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>();
    host == "localhost" || address.is_ok_and(|address| address.is_loopback())
}

fn cause(error: &reqwest::Error) -> String {
    if error.is_timeout() {
        return "no answer in time".to_owned();
    }
    let kind = if error.is_connect() { "no connection" } else { "the connection broke" };
    format!("{kind} ({})", innermost(error))
}

/// The innermost reason, which is the one that tells most.
fn innermost(error: &reqwest::Error) -> String {
    let mut inner: &dyn std::error::Error = error;
    while let Some(source) = inner.source() {
        inner = source;
    }
    inner.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_may_be_secret_is_not_shown() {
        let url = Url::parse("https://u:pw@b.example/x?sig=hunter2#y").unwrap();
        assert_eq!(named(&url), "https://b.example/x");
        let shown = Shown::Basic { username: "u".into(), password: Secret::from("pw".to_owned()) };
        let header = shown.header().unwrap().unwrap();
        assert_eq!(header.as_bytes(), b"Basic dTpwdw==");
        assert!(!format!("{header:?} {shown:?}").contains("dTpw"));
        assert!(Shown::Nothing.header().unwrap().is_none());
        let broken = Shown::Bearer(Secret::from("hunter2\n".to_owned())).header().unwrap_err();
        assert!(!broken.to_string().contains("hunter2"), "{broken}");
    }
}
