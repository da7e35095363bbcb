//! A plan and its keys as files: `assertion.ring` names the keys and times, each key is a file of
//! its own. Where there is no plan, the one key is `assertion.key`.
//!
//! The order of writing keeps a reader whole at every moment: a new key is there before the plan
//! that names it, and an old one goes after the plan that does not.

use std::fs;
use std::path::{Path, PathBuf};

use serde::Deserialize;
use serde_json::{Value, json};

use super::plan::{Plan, PlanError, PlannedKey};
use crate::files::{self, FileError};
use crate::keys::{KeyError, Purpose};
use crate::token_key::{self, TokenAlgorithm, TokenKey};

/// Name of the plan in its directory.
pub const PLAN_FILE: &str = "assertion.ring";
/// The layout of the plan that is read and written.
const VERSION: u32 = 1;

/// Why a directory of keys cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum RotationError {
    /// A file.
    #[error(transparent)]
    File(#[from] FileError),
    /// A key.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// Not a plan.
    #[error("`{path}` is not a plan of keys as `lictor keys rotate` writes it: {why}")]
    Syntax {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        why: String,
    },
    /// A plan that cannot be followed.
    #[error("the plan of keys in `{dir}` cannot be used: {source}")]
    Plan {
        /// Which directory.
        dir: PathBuf,
        /// What is wrong.
        source: PlanError,
    },
    /// A rotation that would leave someone without a key.
    #[error("the keys in `{dir}` are as they were: {source}")]
    Refused {
        /// Which directory.
        dir: PathBuf,
        /// Why.
        source: PlanError,
    },
    /// A file that holds another key than the plan says.
    #[error("`{path}` holds the key `{found}`, and `{PLAN_FILE}` says `{planned}`")]
    OtherKey {
        /// The file.
        path: PathBuf,
        /// The key in it.
        found: String,
        /// The key that it should hold.
        planned: String,
    },
    /// Nothing to rotate.
    #[error(
        "there is no assertion key in `{dir}`: name the `state_dir` of an enforcement point that has been started, or make a key with `lictor keys new assertion`"
    )]
    NoKey {
        /// Which directory.
        dir: PathBuf,
    },
}

/// The plan as written.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    version: u32,
    at_once: bool,
    keys: Vec<WrittenKey>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct WrittenKey {
    kid: String,
    file: String,
    signs_from_ms: i64,
}

/// A plan and the keys in it, in the same order.
#[derive(Debug)]
pub struct Stored {
    /// Which key signs when.
    pub plan: Plan,
    /// The keys.
    pub keys: Vec<TokenKey>,
}

/// Where the plan of `dir` is.
#[must_use]
pub fn plan_path(dir: &Path) -> PathBuf {
    dir.join(PLAN_FILE)
}

/// Reads the plan of `dir` and its keys, each a file that nobody else may read.
///
/// # Errors
/// [`RotationError`].
pub fn read(dir: &Path) -> Result<Stored, RotationError> {
    let path = plan_path(dir);
    if path.symlink_metadata().is_ok() {
        let plan = parse(&files::read_private(&path)?, &path, dir)?;
        let keys = plan.keys().iter().map(|key| load(dir, key)).collect::<Result<_, _>>()?;
        return Ok(Stored { plan, keys });
    }
    let file = Purpose::Assertion.private_path(dir);
    if file.symlink_metadata().is_err() {
        return Err(RotationError::NoKey { dir: dir.to_owned() });
    }
    let key = TokenKey::load(&file)?;
    Ok(Stored { plan: Plan::single(key.kid(), &first_file()), keys: vec![key] })
}

/// As [`read`], and makes the first key where there is none.
/// Processes that start at once end up with the same key.
///
/// # Errors
/// [`RotationError`].
pub fn ensure(dir: &Path) -> Result<Stored, RotationError> {
    files::ensure_directory(dir)?;
    match read(dir) {
        Err(RotationError::NoKey { .. }) => {}
        done => return done,
    }
    let path = Purpose::Assertion.private_path(dir);
    match token_key::generate(TokenAlgorithm::default())?.write_pair(dir) {
        Ok(_) => {}
        // Another process was faster. A public key alone stays an error.
        Err(KeyError::File(FileError::Exists { .. })) if path.exists() => {}
        Err(error) => return Err(error.into()),
    }
    read(dir)
}

/// How a new key takes over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Takeover {
    /// From then on, unix milliseconds, without a gap.
    From(i64),
    /// At once, and what other keys signed holds no more.
    AtOnce,
}

/// Makes a new key in `dir` and puts it in the plan, and removes the files of keys that have left
/// it. Without `algorithm` the new key is of the kind of the last. Nobody else may change the
/// directory meanwhile; reading it is always possible.
///
/// # Errors
/// [`RotationError`], and then the plan is as it was.
pub fn rotate(
    dir: &Path,
    algorithm: Option<TokenAlgorithm>,
    takeover: Takeover,
    now_ms: i64,
) -> Result<Stored, RotationError> {
    let before = read(dir)?;
    let last = before.keys.last().map(TokenKey::algorithm).unwrap_or_default();
    let pair = token_key::generate(algorithm.unwrap_or(last))?;
    let file = format!("{}-{}.key", Purpose::Assertion.as_str(), pair.kid);
    let plan = match takeover {
        Takeover::From(from_ms) => before.plan.rotated(&pair.kid, &file, from_ms, now_ms),
        Takeover::AtOnce => Ok(Plan::replaced(&pair.kid, &file, now_ms)),
    };
    let plan = plan.map_err(|source| RotationError::Refused { dir: dir.to_owned(), source })?;
    let new = dir.join(&file);
    files::create_private(&new, &pair.private_pem)?;
    // Where this fails the key stays: the plan that names it may be in place nevertheless.
    files::replace_private(&plan_path(dir), &print(&plan))?;
    let gone = before.plan.keys().iter().filter(|key| !plan.keys().contains(key));
    gone.for_each(|key| remove(dir, &key.file));
    read(dir)
}

/// A key file that stays is in nobody's way, so nothing fails for it.
fn remove(dir: &Path, file: &str) {
    let path = dir.join(file);
    if let Err(error) = fs::remove_file(&path) {
        tracing::warn!(file = %path.display(), %error, "the file of a key that left could not be removed");
    }
    if file == first_file() {
        drop(fs::remove_file(Purpose::Assertion.public_path(dir)));
    }
}

fn first_file() -> String {
    format!("{}.key", Purpose::Assertion.as_str())
}

fn load(dir: &Path, planned: &PlannedKey) -> Result<TokenKey, RotationError> {
    let path = dir.join(&planned.file);
    let key = TokenKey::load(&path)?;
    if key.kid() == planned.kid {
        return Ok(key);
    }
    let (found, planned) = (key.kid().to_owned(), planned.kid.clone());
    Err(RotationError::OtherKey { path, found, planned })
}

fn parse(text: &str, path: &Path, dir: &Path) -> Result<Plan, RotationError> {
    let syntax = |why: String| RotationError::Syntax { path: path.to_owned(), why };
    let written: Written = serde_json::from_str(text).map_err(|error| syntax(error.to_string()))?;
    if written.version != VERSION {
        return Err(syntax(format!("its version is {}, not {VERSION}", written.version)));
    }
    let plain = |name: &str| {
        let known = |b: u8| b.is_ascii_alphanumeric() || b"-_.".contains(&b);
        !name.is_empty() && !name.starts_with('.') && name.bytes().all(known)
    };
    if let Some(odd) = written.keys.iter().find(|key| !plain(&key.file)) {
        return Err(syntax(format!("`{}` is not the name of a file beside it", odd.file)));
    }
    let keys = written.keys.into_iter().map(|key| PlannedKey {
        kid: key.kid,
        file: key.file,
        signs_from_ms: key.signs_from_ms,
    });
    Plan::new(keys.collect(), written.at_once)
        .map_err(|source| RotationError::Plan { dir: dir.to_owned(), source })
}

fn print(plan: &Plan) -> String {
    let key = |key: &PlannedKey| json!({"kid": key.kid, "file": key.file, "signs_from_ms": key.signs_from_ms});
    let keys: Vec<Value> = plan.keys().iter().map(key).collect();
    let written = json!({"version": VERSION, "at_once": plan.is_at_once(), "keys": keys});
    format!("{written:#}\n")
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;
    use crate::rotation::plan::{LEAD_MIN_MS, RETAIN_MS};

    fn names(dir: &Path) -> Vec<String> {
        let name = |entry: fs::DirEntry| entry.file_name().into_string().unwrap();
        let mut names: Vec<String> =
            fs::read_dir(dir).unwrap().map(|entry| name(entry.unwrap())).collect();
        names.sort();
        names
    }

    #[test]
    fn keys_come_before_they_sign_and_go_after() {
        let dir = tempfile::tempdir().unwrap();
        let first = ensure(dir.path()).unwrap();
        assert_eq!(ensure(dir.path()).unwrap().plan, first.plan);
        let a = first.plan.keys()[0].kid.clone();
        let takeover = Takeover::From(LEAD_MIN_MS);
        let second = rotate(dir.path(), Some(TokenAlgorithm::Es256), takeover, 0).unwrap();
        assert_eq!(second.keys.iter().map(TokenKey::kid).next(), Some(a.as_str()));
        assert_eq!(second.keys[1].algorithm(), TokenAlgorithm::Es256);
        let b = second.keys[1].kid().to_owned();
        let file = format!("assertion-{b}.key");
        assert_eq!(names(dir.path()), [&file, "assertion.key", "assertion.pub", PLAN_FILE]);
        for name in [file.as_str(), PLAN_FILE] {
            let mode = fs::metadata(dir.path().join(name)).unwrap().permissions().mode();
            assert_eq!(mode & 0o777, 0o600, "{name}");
        }
        let later_ms = LEAD_MIN_MS + RETAIN_MS;
        let takeover = Takeover::From(later_ms + LEAD_MIN_MS);
        let third = rotate(dir.path(), None, takeover, later_ms).unwrap();
        assert_eq!(third.keys.iter().map(TokenKey::kid).next(), Some(b.as_str()));
        assert_eq!(third.keys[1].algorithm(), TokenAlgorithm::Es256);
        assert!(!names(dir.path()).iter().any(|name| name == "assertion.key"));
        let alone = rotate(dir.path(), None, Takeover::AtOnce, later_ms).unwrap();
        assert_eq!((alone.keys.len(), names(dir.path()).len()), (1, 2));
        assert!(alone.plan.is_at_once());
    }

    #[test]
    fn what_is_refused_changes_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let nothing = rotate(dir.path(), None, Takeover::AtOnce, 0);
        assert!(matches!(nothing, Err(RotationError::NoKey { .. })));
        ensure(dir.path()).unwrap();
        let before = names(dir.path());
        let soon = rotate(dir.path(), None, Takeover::From(LEAD_MIN_MS - 1), 0);
        assert!(matches!(soon, Err(RotationError::Refused { source: PlanError::TooSoon, .. })));
        assert_eq!(names(dir.path()), before);
    }

    #[test]
    fn files_that_others_read_or_that_hold_other_keys_are_refused() {
        let dir = tempfile::tempdir().unwrap();
        ensure(dir.path()).unwrap();
        rotate(dir.path(), None, Takeover::From(LEAD_MIN_MS), 0).unwrap();
        for name in names(dir.path()).iter().filter(|name| !name.ends_with(".pub")) {
            let path = dir.path().join(name);
            fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
            let error = read(dir.path()).unwrap_err().to_string();
            assert!(error.contains("chmod 600") && error.contains(name), "{error}");
            fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        }
        let other = token_key::generate(TokenAlgorithm::EdDsa).unwrap();
        files::replace_private(&dir.path().join("assertion.key"), &other.private_pem).unwrap();
        assert!(matches!(read(dir.path()), Err(RotationError::OtherKey { .. })));
    }

    #[test]
    fn a_plan_is_read_strictly() {
        let dir = tempfile::tempdir().unwrap();
        let refused = |text: &str| {
            files::replace_private(&plan_path(dir.path()), text).unwrap();
            read(dir.path()).unwrap_err().to_string()
        };
        let key = |file: &str| {
            format!(
                r#"{{"version":1,"at_once":false,"keys":[{{"kid":"a","file":"{file}","signs_from_ms":0}}]}}"#
            )
        };
        let empty = |version: &str, more: &str| {
            format!(r#"{{"version":{version},"at_once":false,"keys":[]{more}}}"#)
        };
        for text in ["", "{}", &empty("2", ""), &empty("1", r#","x":1"#)] {
            assert!(refused(text).contains("is not a plan of keys"), "{text}");
        }
        assert!(refused(&empty("1", "")).contains("there is no key in it"));
        for file in ["", "../assertion.key", "/etc/shadow", ".hidden", "a b"] {
            assert!(refused(&key(file)).contains("not the name of a file"), "{file}");
        }
        assert!(refused(&key("absent.key")).contains("absent.key"));
    }
}
