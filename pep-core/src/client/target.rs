//! Where the decision point is, and how this side proves itself there.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwapOption;
use hyper_util::rt::TokioIo;
use tonic::metadata::{Ascii, MetadataValue};
use tonic::service::Interceptor;
use tonic::transport::{Channel, Endpoint, Uri};
use tonic::{Request, Status};

/// How long a connection may take to be made, milliseconds.
pub const CONNECT_TIMEOUT_MS: u64 = 2_000;
/// How often an idle connection is asked whether it still lives, milliseconds.
pub const KEEP_ALIVE_MS: u64 = 10_000;
/// How long that answer may take, milliseconds.
pub const KEEP_ALIVE_TIMEOUT_MS: u64 = 5_000;
/// Largest token file, bytes.
pub const MAX_TOKEN_BYTES: u64 = 16 * 1024;

/// Why there can be no client.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// Not an address that is understood.
    #[error("`{0}` is no decision point: use `http://HOST:PORT` or `unix:/PATH`")]
    Target(String),
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

/// Where the decision point is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Target {
    /// `http://host:port`
    Tcp(Uri),
    /// `unix:/path`
    Unix(PathBuf),
}

impl Target {
    /// Reads `http://HOST:PORT` or `unix:/PATH`.
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
        let plain = uri.scheme_str() == Some("http") && uri.port_u16().is_some();
        let bare = matches!(uri.path(), "" | "/") && uri.query().is_none();
        if plain && bare { Ok(Self::Tcp(uri)) } else { Err(wrong()) }
    }

    /// One lazily made connection.
    pub(crate) fn channel(&self) -> Result<Channel, ClientError> {
        match self {
            Self::Tcp(uri) => Ok(endpoint(uri.clone()).connect_lazy()),
            Self::Unix(path) => {
                let path = Arc::<Path>::from(path.as_path());
                // The address is never dialled; it only fills `:authority`.
                let name = Uri::from_static("http://pdp.lictor.invalid");
                let connector = tower::service_fn(move |_: Uri| {
                    let path = path.clone();
                    async move { tokio::net::UnixStream::connect(path).await.map(TokioIo::new) }
                });
                Ok(endpoint(name).connect_with_connector_lazy(connector))
            }
        }
    }
}

fn endpoint(uri: Uri) -> Endpoint {
    Endpoint::from(uri)
        .tcp_nodelay(true)
        .connect_timeout(Duration::from_millis(CONNECT_TIMEOUT_MS))
        .http2_keep_alive_interval(Duration::from_millis(KEEP_ALIVE_MS))
        .keep_alive_timeout(Duration::from_millis(KEEP_ALIVE_TIMEOUT_MS))
        .keep_alive_while_idle(true)
}

/// This side's bearer token for the decision point. The file is read again at every reconnection,
/// so that a changed token needs no restart.
#[derive(Clone, Default)]
pub struct TokenSource {
    file: Option<Arc<Path>>,
    value: Arc<ArcSwapOption<MetadataValue<Ascii>>>,
}

impl std::fmt::Debug for TokenSource {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TokenSource").field("file", &self.file).finish_non_exhaustive()
    }
}

impl TokenSource {
    /// No token: the Unix socket's peer user id is proof enough there.
    #[must_use]
    pub fn none() -> Self {
        Self::default()
    }

    /// The token in the first line of `path`.
    ///
    /// # Errors
    /// [`ClientError`] where there is no usable token.
    pub fn file(path: &Path) -> Result<Self, ClientError> {
        let source = Self { file: Some(path.into()), value: Arc::default() };
        source.value.store(Some(Arc::new(read_token(path)?)));
        Ok(source)
    }

    /// Reads the file again; a file that cannot be read leaves the token as it was.
    pub(crate) fn reload(&self) {
        let Some(path) = &self.file else { return };
        match read_token(path) {
            Ok(token) => self.value.store(Some(Arc::new(token))),
            Err(error) => tracing::warn!(%error, "the token file could not be read again"),
        }
    }
}

impl Interceptor for TokenSource {
    fn call(&mut self, mut request: Request<()>) -> Result<Request<()>, Status> {
        if let Some(token) = self.value.load_full() {
            request.metadata_mut().insert("authorization", (*token).clone());
        }
        Ok(request)
    }
}

fn read_token(path: &Path) -> Result<MetadataValue<Ascii>, ClientError> {
    let failed = |source| ClientError::TokenFile { path: path.to_owned(), source };
    if std::fs::metadata(path).map_err(failed)?.len() > MAX_TOKEN_BYTES {
        return Err(ClientError::Token(path.to_owned()));
    }
    let text = std::fs::read_to_string(path).map_err(failed)?;
    let token = text.trim_end_matches(['\n', '\r']);
    let visible = !token.is_empty() && token.bytes().all(|byte| byte.is_ascii_graphic());
    let value = format!("Bearer {token}").parse().ok().filter(|_| visible);
    let mut value: MetadataValue<Ascii> =
        value.ok_or_else(|| ClientError::Token(path.to_owned()))?;
    value.set_sensitive(true);
    Ok(value)
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;

    #[test]
    fn addresses_are_read_strictly() {
        assert!(matches!(Target::parse("http://127.0.0.1:7070"), Ok(Target::Tcp(_))));
        assert!(matches!(Target::parse("http://localhost:7070/"), Ok(Target::Tcp(_))));
        assert_eq!(Target::parse("unix:/run/p").unwrap(), Target::Unix("/run/p".into()));
        assert_eq!(Target::parse("unix:///run/p").unwrap(), Target::Unix("/run/p".into()));
        for wrong in
            ["", "unix:", "unix:/", "unix:p", "https://h:1", "http://h", "http://h:1/x", "h:1"]
        {
            assert!(Target::parse(wrong).is_err(), "{wrong}");
        }
    }

    fn token_of(text: &[u8]) -> Result<TokenSource, ClientError> {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(text).unwrap();
        TokenSource::file(file.path())
    }

    #[test]
    fn a_token_is_one_visible_line() {
        let mut source = token_of(b"abc.def\n").unwrap();
        let request = source.call(Request::new(())).unwrap();
        assert_eq!(request.metadata().get("authorization").unwrap(), "Bearer abc.def");
        let edge = usize::try_from(MAX_TOKEN_BYTES).unwrap();
        assert!(token_of(&vec![b'a'; edge]).is_ok());
        for wrong in [&b""[..], b"\n", b"a b", b"a\nb", "ä".as_bytes(), &vec![b'a'; edge + 1]] {
            assert!(token_of(wrong).is_err(), "{}", wrong.len());
        }
        assert!(TokenSource::file(Path::new("/nonexistent/token")).is_err());
    }

    #[test]
    fn a_changed_file_is_read_again_and_a_lost_one_is_not() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("token");
        std::fs::write(&path, "one").unwrap();
        let source = TokenSource::file(&path).unwrap();
        let now = |source: &TokenSource| source.value.load_full().unwrap();
        std::fs::write(&path, "two").unwrap();
        source.reload();
        assert_eq!(*now(&source), "Bearer two");
        std::fs::remove_file(&path).unwrap();
        source.reload();
        assert_eq!(*now(&source), "Bearer two");
    }
}
