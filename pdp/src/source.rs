//! Where bundles come from: a file or a folder, looked at again and again. The
//! last good archive is kept and verified again when read; the version floor only
//! rises.

use std::path::{Path, PathBuf};
use std::time::SystemTime;

use lictor_policy_lib::bundle::{
    self, Files, Floor, Limits, Require, Source, TrustPolicy, TrustedKey, VerifiedBundle, Window,
    verifying_key_from_pem,
};
use lictor_policy_lib::diagnostic::Diagnostic;
use lictor_policy_lib::load::{LoadedBundle, Times};

/// Name of the kept archive in the state directory.
const LAST_GOOD: &str = "last-good.tar.gz";
/// Name of the version floor in the state directory.
const FLOOR: &str = "version-floor";
/// The only files of a bundle whose names begin with a dot.
const BUNDLE_DOT_FILES: [&str; 2] = [".manifest", ".signatures.json"];
/// Deepest folder of a bundle.
const FOLDER_LEVELS_MAX: usize = 8;

/// A bundle on disk and how it is verified.
#[derive(Debug, Clone)]
pub struct BundleSource {
    path: PathBuf,
    require: Require,
    min_version: u64,
    state_dir: PathBuf,
}

/// Why a candidate is refused.
#[derive(Debug, thiserror::Error)]
pub enum SourceError {
    /// A file cannot be read or written.
    #[error("{path}: {error}")]
    Io {
        /// Which file.
        path: PathBuf,
        /// Why.
        error: std::io::Error,
    },
    /// A key cannot be used.
    #[error("{path}: {message}")]
    Key {
        /// Which file.
        path: PathBuf,
        /// Why.
        message: String,
    },
    /// Verification refused it.
    #[error(transparent)]
    Refused(#[from] bundle::VerifyError),
    /// A folder holds something that a bundle may not.
    #[error(transparent)]
    Files(#[from] bundle::ArchiveError),
    /// Its policies are invalid.
    #[error("the bundle has {} problem(s), first: {}", .0.len(), first(.0))]
    Invalid(Vec<Diagnostic>),
    /// The kept version floor cannot be read.
    #[error(
        "{0}: the version floor is not a number: restore the file or remove the state directory"
    )]
    Floor(PathBuf),
}

fn first(problems: &[Diagnostic]) -> String {
    problems.first().map(ToString::to_string).unwrap_or_default()
}

impl SourceError {
    /// Stable id.
    #[must_use]
    pub fn id(&self) -> &'static str {
        match self {
            Self::Io { .. } => "bundle_unreadable",
            Self::Key { .. } => "bundle_key_unusable",
            Self::Refused(error) => error.id(),
            Self::Files(error) => error.id(),
            Self::Invalid(_) => "bundle_invalid",
            Self::Floor(_) => "bundle_floor_unreadable",
        }
    }
}

fn io(path: &Path) -> impl FnOnce(std::io::Error) -> SourceError + '_ {
    |error| SourceError::Io { path: path.to_owned(), error }
}

/// What changed since the last look. Cheap: no content is read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stamp(Vec<(PathBuf, u64, Option<SystemTime>)>);

impl BundleSource {
    /// A source that demands signatures.
    ///
    /// # Errors
    /// [`SourceError::Key`].
    pub fn signed(
        path: &Path,
        keys: &[PathBuf],
        required: usize,
        scope: &str,
        min_version: u64,
        state_dir: &Path,
    ) -> Result<Self, SourceError> {
        let mut trusted = Vec::new();
        for path in keys {
            let pem = std::fs::read_to_string(path).map_err(io(path))?;
            let key = verifying_key_from_pem(&pem).map_err(|error| SourceError::Key {
                path: path.clone(),
                message: error.to_string(),
            })?;
            trusted.push(TrustedKey::new(key));
        }
        let policy = TrustPolicy::new(trusted, required, scope.to_owned()).map_err(|error| {
            SourceError::Key { path: path.to_owned(), message: error.to_string() }
        })?;
        Ok(Self::with(path, Require::Signed(policy), min_version, state_dir))
    }

    /// A source that accepts unsigned bundles.
    #[must_use]
    pub fn unsigned(path: &Path, min_version: u64, state_dir: &Path) -> Self {
        Self::with(path, Require::AllowUnsigned, min_version, state_dir)
    }

    fn with(path: &Path, require: Require, min_version: u64, state_dir: &Path) -> Self {
        Self { path: path.to_owned(), require, min_version, state_dir: state_dir.to_owned() }
    }

    /// What the files look like from outside.
    #[must_use]
    pub fn stamp(&self) -> Stamp {
        let mut entries = Vec::new();
        stamp(&self.path, 0, &mut entries);
        entries.sort();
        Stamp(entries)
    }

    /// Reads, verifies and loads the candidate, and keeps it as the last good one.
    ///
    /// # Errors
    /// [`SourceError`]; what was live stays live.
    pub fn load(&self, now_ms: i64) -> Result<LoadedBundle, SourceError> {
        let floor = self.floor()?;
        let (verified, archive) = self.verify(&self.path, floor, now_ms)?;
        let version = verified.manifest().version;
        let loaded = LoadedBundle::load(verified, Times::Enforced).map_err(SourceError::Invalid)?;
        self.keep(&archive, version.max(floor))?;
        Ok(loaded)
    }

    /// Reads, verifies and loads the bundle that was good before. It goes the same
    /// way as any other: what lies on disk is not trusted.
    ///
    /// # Errors
    /// [`SourceError`].
    pub fn load_last_good(&self, now_ms: i64) -> Result<LoadedBundle, SourceError> {
        let floor = self.floor()?;
        let (verified, _) = self.verify(&self.state_dir.join(LAST_GOOD), floor, now_ms)?;
        LoadedBundle::load(verified, Times::Enforced).map_err(SourceError::Invalid)
    }

    fn verify(
        &self,
        path: &Path,
        min_version: u64,
        now_ms: i64,
    ) -> Result<(VerifiedBundle, Vec<u8>), SourceError> {
        let floor = Floor { min_version, window: Window::Enforced };
        let limits = Limits::default();
        if path.is_dir() {
            let files = read_folder(path, &limits)?;
            let archive = bundle::pack(&files);
            let verified =
                bundle::verify(Source::Folder(files), &self.require, &floor, &limits, now_ms)?;
            return Ok((verified, archive));
        }
        let bytes = std::fs::read(path).map_err(io(path))?;
        let verified =
            bundle::verify(Source::Archive(&bytes), &self.require, &floor, &limits, now_ms)?;
        Ok((verified, bytes))
    }

    /// The highest of what is configured and what was ever live.
    fn floor(&self) -> Result<u64, SourceError> {
        let path = self.state_dir.join(FLOOR);
        match std::fs::read_to_string(&path) {
            Ok(text) => {
                let kept: u64 = text.trim().parse().map_err(|_| SourceError::Floor(path))?;
                Ok(kept.max(self.min_version))
            }
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(self.min_version),
            Err(error) => Err(io(&path)(error)),
        }
    }

    /// The archive before the floor: a floor without its bundle could lock out
    /// everything after a crash in between.
    fn keep(&self, archive: &[u8], version: u64) -> Result<(), SourceError> {
        replace(&self.state_dir.join(LAST_GOOD), archive)?;
        replace(&self.state_dir.join(FLOOR), version.to_string().as_bytes())
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

fn stamp(path: &Path, level: usize, entries: &mut Vec<(PathBuf, u64, Option<SystemTime>)>) {
    let Ok(meta) = std::fs::metadata(path) else {
        entries.push((path.to_owned(), u64::MAX, None));
        return;
    };
    if !meta.is_dir() {
        entries.push((path.to_owned(), meta.len(), meta.modified().ok()));
        return;
    }
    if level > FOLDER_LEVELS_MAX {
        return;
    }
    for entry in std::fs::read_dir(path).into_iter().flatten().flatten() {
        stamp(&entry.path(), level + 1, entries);
    }
}
