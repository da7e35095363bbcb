//! A bundle on disk, as a folder or an archive.

use std::fs;
use std::path::{Path, PathBuf};

use lictor_policy_lib::bundle::{
    ArchiveError, Files, Floor, Limits, Require, Source, VerifiedBundle, VerifyError, Window,
    read_archive, verify,
};
use lictor_policy_lib::diagnostic::Diagnostic;
use lictor_policy_lib::load::{LoadedBundle, Times};

use crate::diagnostics::Problems;
use crate::exit::{Failure, io};

/// The bytes of a bundle, nothing about them believed yet.
#[derive(Debug)]
pub(crate) enum Raw {
    /// An archive.
    Archive(Vec<u8>),
    /// The files of a folder.
    Folder(Files),
}

impl Raw {
    fn source(&self) -> Source<'_> {
        match self {
            Self::Archive(bytes) => Source::Archive(bytes),
            Self::Folder(files) => Source::Folder(files.clone()),
        }
    }

    /// The files.
    ///
    /// # Errors
    /// An archive that is refused.
    pub(crate) fn files(&self) -> Result<Files, ArchiveError> {
        match self {
            Self::Archive(bytes) => read_archive(bytes, &Limits::default()),
            Self::Folder(files) => Ok(files.clone()),
        }
    }

    /// Verifies the bundle: the one path that the server takes too.
    ///
    /// # Errors
    /// [`VerifyError`].
    pub(crate) fn verify(
        &self,
        require: &Require,
        floor: &Floor,
        now_ms: i64,
    ) -> Result<VerifiedBundle, VerifyError> {
        verify(self.source(), require, floor, &Limits::default(), now_ms)
    }

    /// Verifies everything but signatures and times, for authors' commands.
    ///
    /// # Errors
    /// [`VerifyError`].
    pub(crate) fn verify_unsigned(&self) -> Result<VerifiedBundle, VerifyError> {
        self.verify_unsigned_at(0)
    }

    /// The same, for checks that say what has ended by `now_ms`.
    ///
    /// # Errors
    /// [`VerifyError`].
    pub(crate) fn verify_unsigned_at(&self, now_ms: i64) -> Result<VerifiedBundle, VerifyError> {
        let floor = Floor { min_version: 0, window: Window::Ignored };
        self.verify(&Require::AllowUnsigned, &floor, now_ms)
    }
}

/// Reads the archive or folder at `path`. The outer error is of the system, the inner
/// one of the bundle.
///
/// # Errors
/// What cannot be read.
pub(crate) fn read(path: &Path) -> Result<Result<Raw, ArchiveError>, Failure> {
    if path.is_dir() {
        return Ok(read_folder(path)?.map(Raw::Folder));
    }
    read_archive_bytes(path).map(|bytes| Ok(Raw::Archive(bytes)))
}

/// The bytes of an archive.
///
/// # Errors
/// What cannot be read, or is too large.
pub(crate) fn read_archive_bytes(path: &Path) -> Result<Vec<u8>, Failure> {
    let metadata = fs::metadata(path).map_err(|error| {
        io("read", path, error).help("give a bundle folder, or an archive made by `lictor build`")
    })?;
    let bytes = usize::try_from(metadata.len()).unwrap_or(usize::MAX);
    let max = Limits::default().archive_bytes;
    if bytes > max {
        return Err(Failure::failed(format!(
            "`{}` has {bytes} bytes, a bundle has at most {max}",
            path.display()
        )));
    }
    fs::read(path).map_err(|error| io("read", path, error))
}

/// Reads a bundle's folder. Files and folders whose name begins with a dot are passed
/// over (version control, editors), but for `.manifest` and `.signatures.json`.
///
/// # Errors
/// What cannot be read, and links.
pub(crate) fn read_folder(root: &Path) -> Result<Result<Files, ArchiveError>, Failure> {
    read_folder_as(root, Files::from_pairs)
}

/// The same, made into what `make` makes of names and bytes.
///
/// # Errors
/// What cannot be read, and links.
pub(crate) fn read_folder_as<T>(
    root: &Path,
    make: impl Fn(Vec<(String, Vec<u8>)>, &Limits) -> Result<T, ArchiveError>,
) -> Result<Result<T, ArchiveError>, Failure> {
    let limits = Limits::default();
    let mut pairs: Vec<(String, Vec<u8>)> = Vec::new();
    let mut total_bytes = 0_usize;
    let mut folders = vec![(root.to_owned(), String::new())];
    while let Some((folder, prefix)) = folders.pop() {
        let entries = fs::read_dir(&folder).map_err(|error| io("read", &folder, error))?;
        for entry in entries {
            let entry = entry.map_err(|error| io("read", &folder, error))?;
            let path = entry.path();
            let Some(name) = entry.file_name().to_str().map(ToOwned::to_owned) else {
                return Err(io("use", &path, "its name is not UTF-8"));
            };
            if name.starts_with('.') && name != ".manifest" && name != ".signatures.json" {
                continue;
            }
            let kind = entry.file_type().map_err(|error| io("read", &path, error))?;
            let name = format!("{prefix}{name}");
            if kind.is_dir() {
                folders.push((path, format!("{name}/")));
                continue;
            }
            if !kind.is_file() {
                return Err(io("use", &path, "a bundle holds plain files, no links or devices"));
            }
            let bytes = entry.metadata().map_err(|error| io("read", &path, error))?.len();
            if usize::try_from(bytes).is_ok_and(|bytes| bytes > limits.file_bytes) {
                return Ok(Err(ArchiveError::FileTooLarge { name, bytes, max: limits.file_bytes }));
            }
            let content = fs::read(&path).map_err(|error| io("read", &path, error))?;
            total_bytes = total_bytes.saturating_add(content.len());
            pairs.push((name, content));
            if total_bytes > limits.total_bytes || pairs.len() > limits.entries {
                return Ok(make(pairs, &limits));
            }
        }
    }
    pairs.sort();
    Ok(make(pairs, &limits))
}

/// A bundle, or why it does not load.
pub(crate) type Loading<T> = Result<T, Problems>;

/// Verifies the bundle at `path` without looking at signatures and times.
///
/// # Errors
/// What cannot be read; the inner error is the bundle's.
pub(crate) fn verified(path: &Path) -> Result<Loading<VerifiedBundle>, Failure> {
    verified_at(path, 0)
}

/// The same, saying what has ended by `now_ms`.
///
/// # Errors
/// What cannot be read; the inner error is the bundle's.
pub(crate) fn verified_at(path: &Path, now_ms: i64) -> Result<Loading<VerifiedBundle>, Failure> {
    let refused = |error: VerifyError| Problems::refused(path, &error);
    Ok(match read(path)? {
        Err(error) => Err(refused(error.into())),
        Ok(raw) => raw.verify_unsigned_at(now_ms).map_err(refused),
    })
}

/// Loads the bundle at `path` for a command that makes no promises: signatures and
/// times are not looked at.
///
/// # Errors
/// What cannot be read; the inner error is the bundle's.
pub(crate) fn loaded(path: &Path) -> Result<Loading<LoadedBundle>, Failure> {
    Ok(verified(path)?.and_then(|verified| load(path, verified)))
}

/// Runs every load check.
///
/// # Errors
/// All problems of the bundle.
pub(crate) fn load(path: &Path, verified: VerifiedBundle) -> Loading<LoadedBundle> {
    let files = verified.files().clone();
    LoadedBundle::load(verified, Times::Ignored)
        .map_err(|diagnostics: Vec<Diagnostic>| Problems::new(path, diagnostics, files))
}

/// Writes `bytes` to `path` so that a reader sees the old file or the new one whole.
///
/// # Errors
/// What the system refuses.
pub(crate) fn write_whole(path: &Path, bytes: &[u8]) -> Result<(), Failure> {
    let folder = match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    };
    let failed = |error: std::io::Error| io("write", path, error);
    let mut draft = tempfile::Builder::new()
        .prefix(".lictor-")
        .permissions(std::os::unix::fs::PermissionsExt::from_mode(0o644))
        .tempfile_in(folder)
        .map_err(failed)?;
    std::io::Write::write_all(&mut draft, bytes).map_err(failed)?;
    draft.as_file().sync_all().map_err(failed)?;
    draft.persist(path).map(drop).map_err(|error| failed(error.error))
}

/// The path of an output, refused if it is a folder.
///
/// # Errors
/// A folder.
pub(crate) fn output_path(path: PathBuf) -> Result<PathBuf, Failure> {
    if path.is_dir() {
        let text = format!("`{}` is a folder", path.display());
        return Err(Failure::usage(text).help("give the name of a file, such as `bundle.tar.gz`"));
    }
    Ok(path)
}
