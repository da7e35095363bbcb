//! A bundle on this machine: an archive or a folder. Looked at from outside; read when it changed.

use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use async_trait::async_trait;
use lictor_policy_lib::bundle::{Files, Limits};

use super::SourceError;
use super::ask::{Answer, Ask, Asked, Content, Mark, Pace};

/// The only files of a bundle whose names begin with a dot.
const BUNDLE_DOT_FILES: [&str; 2] = [".manifest", ".signatures.json"];
/// Deepest folder of a bundle.
const FOLDER_LEVELS_MAX: usize = 8;

/// An archive or a folder.
#[derive(Debug)]
pub(super) struct FilePlace {
    path: PathBuf,
    every: Duration,
}

impl FilePlace {
    pub(super) fn new(path: &Path, every: Duration) -> Self {
        Self { path: path.to_owned(), every }
    }
}

#[async_trait]
impl Ask for FilePlace {
    fn shown(&self) -> String {
        self.path.display().to_string()
    }

    fn pace(&self) -> Pace {
        Pace { min: self.every, max: self.every, long_poll: None }
    }

    async fn ask(&self, known: Option<&Mark>, _: Option<Duration>) -> Result<Answer, SourceError> {
        let (path, known) = (self.path.clone(), known.cloned());
        let look = move || {
            let mark = Mark::File(Stamp::of(&path));
            if known.as_ref() == Some(&mark) {
                return Asked::Same;
            }
            match read(&path, &Limits::default()) {
                Ok(content) => Asked::Found { content, mark: Some(mark) },
                Err(error) => Asked::Unusable { error, mark: Some(mark) },
            }
        };
        let asked = tokio::task::spawn_blocking(look).await.map_err(|_| SourceError::Crashed)?;
        Ok(Answer { asked, long_poll: Some(false) })
    }
}

fn io(path: &Path) -> impl FnOnce(std::io::Error) -> SourceError + '_ {
    |error| SourceError::Io { path: path.to_owned(), error }
}

fn read(path: &Path, limits: &Limits) -> Result<Content, SourceError> {
    if path.is_dir() {
        return read_folder(path, limits).map(Content::Folder);
    }
    read_archive_file(path, limits).map(Content::Archive)
}

/// The bytes of an archive: no more than one byte over what verification takes, so that it is
/// verification that says why a larger one is refused.
pub(super) fn read_archive_file(path: &Path, limits: &Limits) -> Result<Vec<u8>, SourceError> {
    use std::io::Read as _;
    let file = std::fs::File::open(path).map_err(io(path))?;
    let mut bytes = Vec::new();
    let most = (limits.archive_bytes as u64).saturating_add(1);
    file.take(most).read_to_end(&mut bytes).map_err(io(path))?;
    Ok(bytes)
}

/// Reads a folder as a bundle. Links are not followed.
///
/// # Errors
/// [`SourceError`] names the file.
pub fn read_folder(root: &Path, limits: &Limits) -> Result<Files, SourceError> {
    let mut pairs: Vec<(String, Vec<u8>)> = Vec::new();
    collect(root, "", 0, limits, &mut pairs)?;
    Ok(Files::from_pairs(pairs, limits)?)
}

fn collect(
    dir: &Path,
    prefix: &str,
    level: usize,
    limits: &Limits,
    pairs: &mut Vec<(String, Vec<u8>)>,
) -> Result<(), SourceError> {
    let refuse = |path: &Path, why: &str| {
        Err(io(path)(std::io::Error::new(std::io::ErrorKind::InvalidInput, why.to_owned())))
    };
    if level > FOLDER_LEVELS_MAX {
        return refuse(dir, "nested deeper than 8 folders");
    }
    let entries = std::fs::read_dir(dir).map_err(io(dir))?;
    for entry in entries {
        let path = entry.map_err(io(dir))?.path();
        let Some(name) = path.file_name().and_then(|name| name.to_str()) else {
            return refuse(&path, "the name is not UTF-8");
        };
        // An author's folder has files of other tools, such as `.git`.
        if name.starts_with('.') && !(prefix.is_empty() && BUNDLE_DOT_FILES.contains(&name)) {
            continue;
        }
        let name = if prefix.is_empty() { name.to_owned() } else { format!("{prefix}/{name}") };
        let meta = std::fs::symlink_metadata(&path).map_err(io(&path))?;
        if meta.is_dir() {
            collect(&path, &name, level + 1, limits, pairs)?;
        } else if meta.is_file() {
            if pairs.len() >= limits.entries || meta.len() > limits.file_bytes as u64 {
                return refuse(&path, "too many files, or too large a file, for a bundle");
            }
            pairs.push((name, std::fs::read(&path).map_err(io(&path))?));
        } else {
            return refuse(&path, "neither a file nor a folder: links are not followed");
        }
    }
    Ok(())
}

/// What files look like from outside. Cheap: no content is read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Stamp(Vec<Look>);

/// One file: its inode too, because a clock that ticks slowly gives two files of one size one
/// time.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Look {
    path: PathBuf,
    /// Size, inode, and when it was changed, in seconds and nanoseconds; `None` for what is not
    /// there.
    seen: Option<(u64, u64, i64, i64)>,
}

impl Stamp {
    fn of(path: &Path) -> Self {
        let mut entries = Vec::new();
        stamp(path, 0, &mut entries);
        entries.sort();
        Self(entries)
    }
}

fn stamp(path: &Path, level: usize, entries: &mut Vec<Look>) {
    let look = |seen| Look { path: path.to_owned(), seen };
    let Ok(meta) = std::fs::metadata(path) else {
        entries.push(look(None));
        return;
    };
    if !meta.is_dir() {
        let seen = (meta.len(), meta.ino(), meta.mtime(), meta.mtime_nsec());
        entries.push(look(Some(seen)));
        return;
    }
    if level > FOLDER_LEVELS_MAX {
        return;
    }
    for entry in std::fs::read_dir(path).into_iter().flatten().flatten() {
        stamp(&entry.path(), level + 1, entries);
    }
}
