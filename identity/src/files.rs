//! Secrets in files: created for their owner only, never overwritten by accident,
//! refused when others can read them.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use zeroize::Zeroizing;

use crate::door::DOOR_TOKEN_PREFIX;
use crate::secret::Secret;

/// Largest file that is read, bytes.
pub const FILE_MAX_BYTES: usize = 1024 * 1024;
/// Mode of a secret file.
const PRIVATE_MODE: u32 = 0o600;
/// Mode of a file that anyone may read.
const PUBLIC_MODE: u32 = 0o644;
/// Mode of a directory made for secrets.
const DIRECTORY_MODE: u32 = 0o700;
/// Permission bits of anyone but the owner.
const OTHERS: u32 = 0o077;
/// Random bytes of a generated door token.
const TOKEN_RANDOM_BYTES: usize = 32;

/// Why a file could not be used.
#[derive(Debug, thiserror::Error)]
pub enum FileError {
    /// The system refused.
    #[error("`{path}` could not be {action}: {source}")]
    Io {
        /// The file.
        path: PathBuf,
        /// What was tried.
        action: &'static str,
        /// The system's reason.
        source: io::Error,
    },
    /// A secret that is none.
    #[error(
        "`{path}` holds a secret and others may read it (mode {mode:04o}): run `chmod 600` on it, and replace the secret if they are not trusted"
    )]
    OpenToOthers {
        /// The file.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// A directory, pipe or device.
    #[error("`{path}` is not a regular file")]
    NotAFile {
        /// The path.
        path: PathBuf,
    },
    /// More than [`FILE_MAX_BYTES`].
    #[error("`{path}` is larger than the {FILE_MAX_BYTES} bytes that are read")]
    TooLarge {
        /// The file.
        path: PathBuf,
    },
    /// Not UTF-8.
    #[error("`{path}` is not a text file")]
    NotText {
        /// The file.
        path: PathBuf,
    },
    /// Something is there already.
    #[error("`{path}` exists and is never overwritten: move it away first")]
    Exists {
        /// The file.
        path: PathBuf,
    },
    /// The system has no randomness.
    #[error("no random bytes from the system: {0}")]
    Random(String),
}

fn failed(path: &Path, action: &'static str) -> impl FnOnce(io::Error) -> FileError {
    let path = path.to_owned();
    move |source| FileError::Io { path, action, source }
}

/// Random bytes from the system.
///
/// # Errors
/// [`FileError::Random`].
pub fn random<const N: usize>() -> Result<[u8; N], FileError> {
    let mut bytes = [0u8; N];
    getrandom::fill(&mut bytes).map_err(|error| FileError::Random(error.to_string()))?;
    Ok(bytes)
}

/// Reads a secret text; refuses a file with any permission for group or others.
///
/// # Errors
/// [`FileError`].
pub fn read_private(path: &Path) -> Result<Secret, FileError> {
    read(path, OTHERS).map(Secret::new)
}

/// Reads a text that is no secret.
///
/// # Errors
/// [`FileError`].
pub fn read_public(path: &Path) -> Result<String, FileError> {
    let mut text = read(path, 0)?;
    Ok(std::mem::take(&mut *text))
}

fn read(path: &Path, forbidden: u32) -> Result<Zeroizing<String>, FileError> {
    // Opening a pipe would wait for its other end.
    let before = fs::metadata(path).map_err(failed(path, "read"))?;
    if !before.is_file() {
        return Err(FileError::NotAFile { path: path.to_owned() });
    }
    let file = File::open(path).map_err(failed(path, "read"))?;
    // Of the open file, so that what is checked is what is read.
    let metadata = file.metadata().map_err(failed(path, "read"))?;
    let mode = metadata.permissions().mode() & 0o7777;
    if mode & forbidden != 0 {
        return Err(FileError::OpenToOthers { path: path.to_owned(), mode });
    }
    // The whole capacity at once: growing would leave copies of a secret behind.
    let mut bytes = Zeroizing::new(Vec::with_capacity(FILE_MAX_BYTES.min(4096)));
    if let Ok(size) = usize::try_from(metadata.len()) {
        bytes.reserve(size.min(FILE_MAX_BYTES) + 1);
    }
    let limit = FILE_MAX_BYTES as u64 + 1;
    file.take(limit).read_to_end(&mut bytes).map_err(failed(path, "read"))?;
    if bytes.len() > FILE_MAX_BYTES {
        return Err(FileError::TooLarge { path: path.to_owned() });
    }
    match String::from_utf8(std::mem::take(&mut *bytes)) {
        Ok(text) => Ok(Zeroizing::new(text)),
        Err(error) => {
            drop(Zeroizing::new(error.into_bytes()));
            Err(FileError::NotText { path: path.to_owned() })
        }
    }
}

/// Creates a directory for secrets (mode 0700) where none is; leaves one that is
/// there as it is.
///
/// # Errors
/// [`FileError::Io`].
pub fn ensure_directory(path: &Path) -> Result<(), FileError> {
    let mut builder = DirBuilder::new();
    builder.recursive(true).mode(DIRECTORY_MODE).create(path).map_err(failed(path, "created"))
}

/// Creates a file that only its owner can read (mode 0600).
///
/// # Errors
/// [`FileError::Exists`] if anything is there; otherwise [`FileError`].
pub fn create_private(path: &Path, text: &str) -> Result<(), FileError> {
    create(path, text, PRIVATE_MODE)
}

/// Creates a file that anyone may read (mode 0644).
///
/// # Errors
/// As [`create_private`].
pub fn create_public(path: &Path, text: &str) -> Result<(), FileError> {
    create(path, text, PUBLIC_MODE)
}

/// Replaces a file at once by one that only its owner can read: a reader sees the
/// old text or the new one, also after a crash.
///
/// # Errors
/// [`FileError`].
pub fn replace_private(path: &Path, text: &str) -> Result<(), FileError> {
    let draft = Draft::write(path, text, PRIVATE_MODE)?;
    fs::rename(&draft.path, path).map_err(failed(path, "replaced"))?;
    sync_directory(path)
}

/// A link, unlike a rename, fails where something is; and the file has its name
/// only once it is whole.
fn create(path: &Path, text: &str, mode: u32) -> Result<(), FileError> {
    let draft = Draft::write(path, text, mode)?;
    fs::hard_link(&draft.path, path).map_err(|source| match source.kind() {
        io::ErrorKind::AlreadyExists => FileError::Exists { path: path.to_owned() },
        _ => FileError::Io { path: path.to_owned(), action: "created", source },
    })?;
    drop(draft);
    sync_directory(path)
}

/// A complete file under a name of its own beside the wanted one, removed when dropped.
struct Draft {
    path: PathBuf,
}

impl Draft {
    fn write(wanted: &Path, text: &str, mode: u32) -> Result<Self, FileError> {
        let mut name = std::ffi::OsString::from(".");
        name.push(wanted.file_name().unwrap_or_default());
        name.push(format!(".{}.tmp", hex::encode(random::<8>()?)));
        let path = wanted.with_file_name(name);
        let mut file = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(mode)
            .open(&path)
            .map_err(failed(wanted, "created"))?;
        let draft = Self { path };
        file.write_all(text.as_bytes()).map_err(failed(wanted, "written"))?;
        file.sync_all().map_err(failed(wanted, "written"))?;
        Ok(draft)
    }
}

impl Drop for Draft {
    fn drop(&mut self) {
        // After a rename nothing is left to remove; otherwise a draft that stays is
        // as private as the file itself.
        drop(fs::remove_file(&self.path));
    }
}

fn directory_of(path: &Path) -> &Path {
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty());
    parent.unwrap_or(Path::new("."))
}

fn sync_directory(path: &Path) -> Result<(), FileError> {
    let parent = directory_of(path);
    File::open(parent).and_then(|dir| dir.sync_all()).map_err(failed(parent, "synchronised"))
}

/// The bearer token in the file, generated into it (0600, its directory 0700) where
/// none is there.
/// Processes that start at once end up with the same token.
///
/// # Errors
/// [`FileError`]; an empty or short token is for
/// [`DoorTokens::add`](crate::DoorTokens::add) to refuse.
pub fn ensure_token_file(path: &Path) -> Result<Secret, FileError> {
    if !path.exists() {
        ensure_directory(directory_of(path))?;
        let secret = Zeroizing::new(random::<TOKEN_RANDOM_BYTES>()?);
        let line =
            Zeroizing::new(format!("{DOOR_TOKEN_PREFIX}{}\n", hex::encode(secret.as_slice())));
        match create_private(path, &line) {
            Ok(()) | Err(FileError::Exists { .. }) => {}
            Err(error) => return Err(error),
        }
    }
    let text = read_private(path)?;
    Ok(Secret::new(Zeroizing::new(text.trim().to_owned())))
}
