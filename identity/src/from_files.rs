//! Something read from files, read again when they change.

use std::convert::Infallible;
use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use arc_swap::ArcSwap;

/// How often files are looked at, milliseconds.
pub const RELOAD_INTERVAL_MS: u64 = 2_000;

/// What became of a look at the files.
#[derive(Debug)]
pub enum Reloaded<E> {
    /// They are what is live.
    Unchanged,
    /// They changed and are live now.
    Live,
    /// They changed and cannot be used; what was live stays so.
    Refused(E),
    /// They did not change since they were refused, and still cannot be used.
    StillRefused,
}

/// How the files are read.
type Read<T, E> = Box<dyn Fn() -> Result<T, E> + Send + Sync>;

/// A value and the files that it came from.
pub(crate) struct FromFiles<T, E> {
    live: ArcSwap<T>,
    files: Vec<PathBuf>,
    read: Option<Read<T, E>>,
    seen: Mutex<Seen>,
}

/// What the files looked like.
#[derive(Default)]
struct Seen {
    /// When they became live.
    live: Stamp,
    /// When they were refused, so that it is said once.
    refused: Option<Stamp>,
}

/// Device, inode, size and times of change of each file; `None` for one that is not there.
pub(crate) type Stamp = Vec<Option<[i64; 7]>>;

impl<T, E> FromFiles<T, E> {
    /// A value that comes from no file.
    pub(crate) fn fixed(value: T) -> Self {
        let live = ArcSwap::from_pointee(value);
        Self { live, files: Vec::new(), read: None, seen: Mutex::default() }
    }

    /// The value as it is now.
    pub(crate) fn current(&self) -> Arc<T> {
        self.live.load_full()
    }
}

impl<T, E> FromFiles<T, E> {
    /// The value that `read` makes of `files`. `what` names it in the log.
    pub(crate) fn load(
        files: Vec<PathBuf>,
        read: impl Fn() -> Result<T, E> + Send + Sync + 'static,
    ) -> Result<Self, E> {
        // The stamp first: a change between the two is then seen as one.
        let seen = Mutex::new(Seen { live: stamp(&files), refused: None });
        let live = ArcSwap::from_pointee(read()?);
        Ok(Self { live, files, read: Some(Box::new(read)), seen })
    }

    /// Looks at the files and takes them over if they changed and can be used.
    pub(crate) fn reload(&self) -> Reloaded<E> {
        let Some(read) = &self.read else {
            return Reloaded::Unchanged;
        };
        let now = stamp(&self.files);
        // A panic between two assignments leaves both whole.
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        if now == seen.live {
            seen.refused = None;
            return Reloaded::Unchanged;
        }
        match read() {
            Ok(value) => {
                self.live.store(Arc::new(value));
                *seen = Seen { live: now, refused: None };
                Reloaded::Live
            }
            // Tried again, though: a file may have been unreadable for a moment only.
            Err(_) if seen.refused.as_ref() == Some(&now) => Reloaded::StillRefused,
            Err(error) => {
                seen.refused = Some(now);
                Reloaded::Refused(error)
            }
        }
    }
}

/// Calls `reload` again and again where waiting does no harm, until dropped.
pub(crate) async fn every_so_often(reload: impl Fn() + Send + Sync + 'static) -> Infallible {
    let reload = Arc::new(reload);
    loop {
        tokio::time::sleep(Duration::from_millis(RELOAD_INTERVAL_MS)).await;
        let reload = Arc::clone(&reload);
        if tokio::task::spawn_blocking(move || reload()).await.is_err() {
            tracing::error!("looking at changed files failed");
        }
    }
}

pub(crate) fn stamp(files: &[PathBuf]) -> Stamp {
    files.iter().map(|path| stamp_of(path)).collect()
}

fn stamp_of(path: &Path) -> Option<[i64; 7]> {
    let found = fs::metadata(path).ok()?;
    Some([
        found.dev().cast_signed(),
        found.ino().cast_signed(),
        found.size().cast_signed(),
        found.mtime(),
        found.mtime_nsec(),
        found.ctime(),
        found.ctime_nsec(),
    ])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn number(path: &Path) -> Result<FromFiles<u32, String>, String> {
        let file = path.to_owned();
        FromFiles::load(vec![path.to_owned()], move || {
            let text = fs::read_to_string(&file).map_err(|error| error.to_string())?;
            text.parse().map_err(|_| format!("`{text}` is no number"))
        })
    }

    #[test]
    fn what_cannot_be_used_changes_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("n");
        assert!(number(&path).is_err());
        fs::write(&path, "1").unwrap();
        let held = number(&path).unwrap();
        assert!(matches!(held.reload(), Reloaded::Unchanged));
        fs::write(&path, "22").unwrap();
        assert!(matches!(held.reload(), Reloaded::Live));
        assert_eq!(*held.current(), 22);
        fs::write(&path, "no").unwrap();
        assert!(matches!(held.reload(), Reloaded::Refused(_)));
        assert!(matches!(held.reload(), Reloaded::StillRefused));
        fs::remove_file(&path).unwrap();
        assert!(matches!(held.reload(), Reloaded::Refused(_)));
        assert_eq!(*held.current(), 22);
        fs::write(&path, "333").unwrap();
        assert!(matches!(held.reload(), Reloaded::Live));
        assert_eq!(*held.current(), 333);
    }

    #[test]
    fn what_comes_from_no_file_stays() {
        let held: FromFiles<u32, String> = FromFiles::fixed(1);
        assert!(matches!(held.reload(), Reloaded::Unchanged));
        assert_eq!(*held.current(), 1);
    }
}
