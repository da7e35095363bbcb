//! What outlives the process: the archive that was good last, and the version that nothing may
//! fall below.

use std::path::{Path, PathBuf};

use lictor_policy_lib::bundle::Limits;

use super::SourceError;
use super::file::read_archive_file;

/// Name of the kept archive in the state directory.
const LAST_GOOD: &str = "last-good.tar.gz";
/// Name of the version floor in the state directory.
const FLOOR: &str = "version-floor";

/// A folder with both.
#[derive(Debug, Clone)]
pub(super) struct Kept {
    dir: PathBuf,
}

fn io(path: &Path) -> impl FnOnce(std::io::Error) -> SourceError + '_ {
    |error| SourceError::Keep { path: path.to_owned(), error }
}

impl Kept {
    pub(super) fn new(dir: &Path) -> Self {
        Self { dir: dir.to_owned() }
    }

    /// The archive that was good last; it is not trusted for lying here.
    pub(super) fn archive(&self) -> Result<Vec<u8>, SourceError> {
        read_archive_file(&self.dir.join(LAST_GOOD), &Limits::default())
    }

    /// The highest version that was ever live here; 0 before the first.
    pub(super) fn floor(&self) -> Result<u64, SourceError> {
        let path = self.dir.join(FLOOR);
        match std::fs::read_to_string(&path) {
            Ok(text) => text.trim().parse().map_err(|_| SourceError::Floor(path)),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(0),
            Err(error) => Err(io(&path)(error)),
        }
    }

    /// The archive before the floor: a floor without its bundle could lock out
    /// everything after a crash in between.
    pub(super) fn keep(&self, archive: &[u8], version: u64) -> Result<(), SourceError> {
        std::fs::create_dir_all(&self.dir).map_err(io(&self.dir))?;
        replace(&self.dir.join(LAST_GOOD), archive)?;
        replace(&self.dir.join(FLOOR), version.to_string().as_bytes())
    }
}

/// Writes beside and renames, so that a crash leaves the old file or the new one.
fn replace(path: &Path, bytes: &[u8]) -> Result<(), SourceError> {
    use std::io::Write as _;
    let beside = path.with_extension("new");
    let write = || {
        let mut file = std::fs::File::create(&beside)?;
        file.write_all(bytes)?;
        file.sync_all()?;
        std::fs::rename(&beside, path)?;
        // The rename itself must survive a power cut.
        match path.parent() {
            Some(dir) => std::fs::File::open(dir)?.sync_all(),
            None => Ok(()),
        }
    };
    write().map_err(io(path))
}
