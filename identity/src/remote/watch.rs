//! Files that are read again when they change.

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::task::{AbortHandle, spawn_blocking};
use tokio::time::{MissedTickBehavior, interval};

use crate::config::ConfigError;

/// Reads a file and puts what it says into effect, or leaves everything as it was.
type Apply = Box<dyn Fn(&Path) -> Result<(), ConfigError> + Send>;

/// What tells one state of a file from another without reading it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Stamp {
    device: u64,
    inode: u64,
    size: u64,
    modified: (i64, i64),
    changed: (i64, i64),
}

impl Stamp {
    /// Of what the path leads to, also through links.
    fn of(path: &Path) -> Option<Self> {
        let metadata = fs::metadata(path).ok()?;
        Some(Self {
            device: metadata.dev(),
            inode: metadata.ino(),
            size: metadata.size(),
            modified: (metadata.mtime(), metadata.mtime_nsec()),
            // The mode as well: a secret that others can read is refused.
            changed: (metadata.ctime(), metadata.ctime_nsec()),
        })
    }
}

/// One file and what its content is for.
pub(crate) struct Watched {
    path: PathBuf,
    seen: Seen,
    apply: Apply,
}

/// The state in which the file was last read, well or not.
#[derive(Debug, PartialEq, Eq)]
enum Seen {
    Never,
    Missing,
    At(Stamp),
}

impl Watched {
    pub(crate) fn new(
        path: &Path,
        apply: impl Fn(&Path) -> Result<(), ConfigError> + Send + 'static,
    ) -> Self {
        Self { path: path.to_owned(), seen: Seen::Never, apply: Box::new(apply) }
    }

    /// Reads the file if it has changed. One that cannot be used leaves the last good one in
    /// effect, and is told of once.
    fn check(&mut self) {
        // Before reading: what changes meanwhile is read again next time.
        let found = Stamp::of(&self.path).map_or(Seen::Missing, Seen::At);
        if found == self.seen {
            return;
        }
        let first = self.seen == Seen::Never;
        self.seen = found;
        let file = self.path.display();
        match (self.apply)(&self.path) {
            Ok(()) if first => {}
            Ok(()) => tracing::info!(%file, "a changed file is in effect"),
            Err(error) => {
                tracing::warn!(%file, %error, "a changed file cannot be used; the last good one stays in effect");
            }
        }
    }
}

/// The task that looks after the files until it is dropped.
#[derive(Debug)]
pub(crate) struct Watch {
    task: AbortHandle,
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Watch {
    /// Looks at every file each `period`.
    pub(crate) fn start(mut files: Vec<Watched>, period: Duration) -> Self {
        let task = tokio::spawn(async move {
            let mut ticks = interval(period);
            ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
            loop {
                ticks.tick().await;
                // Away from the requests: a file system may take its time.
                let checked = spawn_blocking(move || {
                    files.iter_mut().for_each(Watched::check);
                    files
                });
                match checked.await {
                    Ok(back) => files = back,
                    Err(error) => {
                        tracing::error!(%error, "files are no longer watched: restart to apply changes");
                        return;
                    }
                }
            }
        });
        Self { task: task.abort_handle() }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::Mutex;

    use super::*;
    use crate::files::read_public;

    /// Takes every text but `bad`, and counts the tries.
    fn watched(path: &Path) -> (Watched, Arc<Mutex<(u32, String)>>) {
        let taken = Arc::new(Mutex::new((0, String::new())));
        let target = Arc::clone(&taken);
        let watched = Watched::new(path, move |path| {
            let mut target = target.lock().unwrap();
            target.0 += 1;
            let text = read_public(path)?;
            if text == "bad" {
                return Err(ConfigError::Algorithm { iss: "i".into(), name: text });
            }
            target.1 = text;
            Ok(())
        });
        (watched, taken)
    }

    #[test]
    fn a_file_is_read_when_it_changes_and_only_then() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("f");
        fs::write(&path, "one").unwrap();
        let (mut file, taken) = watched(&path);
        let now = |file: &mut Watched| {
            file.check();
            taken.lock().unwrap().clone()
        };
        assert_eq!(now(&mut file), (1, "one".to_owned()));
        assert_eq!(now(&mut file), (1, "one".to_owned()));
        fs::write(dir.path().join("g"), "two").unwrap();
        fs::rename(dir.path().join("g"), &path).unwrap();
        assert_eq!(now(&mut file), (2, "two".to_owned()));
        fs::write(dir.path().join("g"), "bad").unwrap();
        fs::rename(dir.path().join("g"), &path).unwrap();
        assert_eq!(now(&mut file), (3, "two".to_owned()));
        assert_eq!(now(&mut file), (3, "two".to_owned()), "told of once");
        fs::remove_file(&path).unwrap();
        assert_eq!(now(&mut file), (4, "two".to_owned()));
        assert_eq!(now(&mut file), (4, "two".to_owned()));
        fs::write(&path, "three").unwrap();
        assert_eq!(now(&mut file), (5, "three".to_owned()));
    }
}
