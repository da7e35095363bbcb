//! How this side proves itself at the decision point by a token: the file is read again when it
//! changes, so that a changed token needs no restart.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

use arc_swap::ArcSwapOption;
use tonic::metadata::{Ascii, MetadataValue};
use tonic::service::Interceptor;
use tonic::{Request, Status};

use super::target::ClientError;

/// Largest token file, bytes.
pub const MAX_TOKEN_BYTES: u64 = 16 * 1024;
/// How long a changed token is left before it is used, milliseconds: longer than the decision
/// point takes to see that its own copy changed, and shorter than it takes the old one.
pub const TOKEN_ADOPT_AFTER_MS: u64 = 3_000;

/// This side's bearer token for the decision point. Cloning shares it.
#[derive(Clone, Default)]
pub struct TokenSource {
    file: Option<Arc<Path>>,
    value: Arc<ArcSwapOption<MetadataValue<Ascii>>>,
    seen: Arc<Mutex<Seen>>,
}

/// What the file looked like when its token was taken, and what it looks like since.
#[derive(Default)]
struct Seen {
    taken: Option<Stamp>,
    changed: Option<(Stamp, u64)>,
    generation: u64,
}

type Stamp = (SystemTime, u64);

impl fmt::Debug for TokenSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TokenSource").field("file", &self.file).finish_non_exhaustive()
    }
}

impl TokenSource {
    /// No token: the Unix socket's peer user id, or a certificate, is proof enough there.
    #[must_use]
    pub fn none() -> Self {
        Self::default()
    }

    /// The token in the first line of `path`.
    ///
    /// # Errors
    /// [`ClientError`] where there is no usable token.
    pub fn file(path: &Path) -> Result<Self, ClientError> {
        let source = Self { file: Some(path.into()), ..Self::default() };
        source.seen().taken = stamp(path);
        source.value.store(Some(Arc::new(read_token(path)?)));
        Ok(source)
    }

    /// The token in `path`, or none where no file is named.
    ///
    /// # Errors
    /// As [`TokenSource::file`].
    pub fn optional(path: Option<&Path>) -> Result<Self, ClientError> {
        path.map_or_else(|| Ok(Self::none()), Self::file)
    }

    /// Counts the tokens that were taken: another number means another token.
    pub(crate) fn generation(&self) -> u64 {
        self.seen().generation
    }

    /// Looks at the file, and takes its token over once it stayed changed for
    /// [`TOKEN_ADOPT_AFTER_MS`]. `now_ms` counts from any moment.
    pub(crate) fn look(&self, now_ms: u64) {
        let Some(path) = &self.file else { return };
        let now = stamp(path);
        let due = {
            let mut seen = self.seen();
            match (now, seen.changed) {
                (None, _) => false,
                (Some(_), _) if now == seen.taken => {
                    seen.changed = None;
                    false
                }
                (Some(now), Some((stamp, since_ms))) if stamp == now => {
                    now_ms.saturating_sub(since_ms) >= TOKEN_ADOPT_AFTER_MS
                }
                (Some(now), _) => {
                    seen.changed = Some((now, now_ms));
                    false
                }
            }
        };
        if due {
            self.reload();
        }
    }

    /// Reads the file again at once; a file that cannot be read leaves the token as it was.
    pub(crate) fn reload(&self) {
        let Some(path) = &self.file else { return };
        // Before the text: a file that changes in between is read once more.
        let looked = stamp(path);
        let token = match read_token(path) {
            Ok(token) => token,
            Err(error) => {
                tracing::warn!(%error, "the token file could not be read again");
                return;
            }
        };
        let mut seen = self.seen();
        (seen.taken, seen.changed) = (looked, None);
        if self.value.load().as_deref() != Some(&token) {
            self.value.store(Some(Arc::new(token)));
            seen.generation = seen.generation.wrapping_add(1);
        }
    }

    fn seen(&self) -> MutexGuard<'_, Seen> {
        // Plain values: a panic elsewhere leaves nothing half done.
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
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

fn stamp(path: &Path) -> Option<Stamp> {
    let metadata = std::fs::metadata(path).ok()?;
    Some((metadata.modified().ok()?, metadata.len()))
}

fn read_token(path: &Path) -> Result<MetadataValue<Ascii>, ClientError> {
    let failed = |source| ClientError::TokenFile { path: path.to_owned(), source };
    if std::fs::metadata(path).map_err(failed)?.len() > MAX_TOKEN_BYTES {
        return Err(ClientError::Token(PathBuf::from(path)));
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

    fn token_of(text: &[u8]) -> Result<TokenSource, ClientError> {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(text).unwrap();
        TokenSource::file(file.path())
    }

    fn now(source: &TokenSource) -> String {
        source.value.load_full().unwrap().to_str().unwrap().to_owned()
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
        assert!(TokenSource::optional(None).unwrap().value.load().is_none());
    }

    #[test]
    fn a_changed_file_is_read_again_and_a_lost_one_is_not() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("token");
        std::fs::write(&path, "one").unwrap();
        let source = TokenSource::file(&path).unwrap();
        std::fs::write(&path, "two").unwrap();
        source.reload();
        assert_eq!((now(&source).as_str(), source.generation()), ("Bearer two", 1));
        source.reload();
        assert_eq!(source.generation(), 1);
        std::fs::remove_file(&path).unwrap();
        source.reload();
        assert_eq!((now(&source).as_str(), source.generation()), ("Bearer two", 1));
    }

    #[test]
    fn a_changed_token_is_used_once_the_other_side_has_seen_it_too() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("token");
        std::fs::write(&path, "one").unwrap();
        let source = TokenSource::file(&path).unwrap();
        source.look(0);
        std::fs::write(&path, "second").unwrap();
        source.look(1_000);
        source.look(1_000 + TOKEN_ADOPT_AFTER_MS - 1);
        assert_eq!(now(&source), "Bearer one");
        source.look(1_000 + TOKEN_ADOPT_AFTER_MS);
        assert_eq!((now(&source).as_str(), source.generation()), ("Bearer second", 1));
    }
}
