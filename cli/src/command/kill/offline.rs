//! A signed list in a file, for many decision points: read, changed, signed again, replaced.

use std::path::{Path, PathBuf};

use clap::Args;
use ed25519_dalek::SigningKey;
use lictor_identity::keys::load_signing;
use lictor_policy_lib::bundle::TrustedKey;
use lictor_policy_lib::revocation::{
    LIST_MAX_BYTES, List, RevocationError, Verified, sign, verify,
};
use lictor_proto::pb;
use lictor_proto::revocation::Entry;
use lictor_proto::wire::revocation_to_pb;
use serde_json::json;

use super::{Named, Target, told};
use crate::args::bundle::write_whole;
use crate::command::keys::Lock;
use crate::exit::{Exit, Failure, io};
use crate::output::{Format, Paint, print, print_json};
use crate::time::{When, now_ms, rfc3339};

/// How long a list holds unless told otherwise, milliseconds.
const LIFE_MS: i64 = 24 * 3_600_000;
/// How the entries of a file are marked.
const FILE: &str = "file";

/// A list in a file instead of a decision point.
#[derive(Debug, Args)]
pub(super) struct FileArgs {
    /// Change the signed list in FILE instead of asking a decision point. Without FILE and without
    /// KIND: show what is revoked.
    #[arg(long, value_name = "FILE", num_args = 0..=1)]
    pub(super) list: Option<Option<PathBuf>>,
    /// The private key that signs the list, as `lictor keys new revocation` writes it.
    #[arg(long, value_name = "FILE", requires = "list")]
    key: Option<PathBuf>,
    /// When the list expires: `2026-12-31T00:00:00Z`, or `24h` from now, which is the default.
    #[arg(long, value_name = "TIME", value_parser = When::parse, requires = "list")]
    expires: Option<When>,
    /// Begin a list where there is none.
    #[arg(long, requires = "list")]
    create: bool,
}

/// A list that is being changed. Nobody else changes it meanwhile.
struct Editing<'a> {
    path: &'a Path,
    key: SigningKey,
    list: List,
    _lock: Lock,
}

impl<'a> Editing<'a> {
    fn open(named: &Named, path: &'a Path) -> Result<Self, Failure> {
        let key = key_of(named)?;
        let lock = Lock::take(path)?;
        let list = match read(path, &key)? {
            Some(verified) => verified.list().clone(),
            None if named.file.create => List::empty(0, 0),
            None => {
                let text = format!("there is no list `{}`", path.display());
                return Err(Failure::failed(text).help("begin one with `--create`"));
            }
        };
        Ok(Self { path, key, list, _lock: lock })
    }

    /// The next version of the list, signed and in place of the old one.
    fn write(self, named: &Named) -> Result<List, Failure> {
        let now = now_ms();
        let expires_ms = named.file.expires.map_or(LIFE_MS + now, |when| when.at_ms(now));
        if expires_ms <= now {
            let text = "the list would have expired already";
            return Err(Failure::usage(text).help("give `--expires` a later time"));
        }
        let list = self.list.renewed(now, expires_ms - now);
        let text = sign(&list, &self.key);
        // What is written must be what everybody else reads.
        verify(text.as_bytes(), &trusted(&self.key), now, list.version)
            .map_err(|error| refused(self.path, &error))?;
        write_whole(self.path, text.as_bytes())?;
        Ok(list)
    }
}

fn key_of(named: &Named) -> Result<SigningKey, Failure> {
    let path = named.file.key.as_deref().ok_or_else(|| {
        Failure::usage("`--list FILE` needs `--key FILE`")
            .help("make a key with `lictor keys new revocation`")
    })?;
    load_signing(path).map_err(|error| Failure::error(&error))
}

fn trusted(key: &SigningKey) -> Vec<TrustedKey> {
    vec![TrustedKey::new(key.verifying_key())]
}

fn read(path: &Path, key: &SigningKey) -> Result<Option<Verified>, Failure> {
    let size = match std::fs::metadata(path) {
        Ok(meta) => meta.len(),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(io("read", path, error)),
    };
    if size > LIST_MAX_BYTES as u64 {
        let bytes = usize::try_from(size).unwrap_or(usize::MAX);
        return Err(refused(path, &RevocationError::TooLarge { bytes }));
    }
    let bytes = std::fs::read(path).map_err(|error| io("read", path, error))?;
    // Whoever holds the key may change a list that has expired.
    let verified = verify(&bytes, &trusted(key), i64::MAX, 0);
    verified.map(Some).map_err(|error| refused(path, &error))
}

fn refused(path: &Path, error: &RevocationError) -> Failure {
    Failure::new(Exit::Broken, format!("`{}`: {error} ({})", path.display(), error.id()))
}

/// Puts something on the list.
pub(super) fn put(
    named: &Named,
    path: &Path,
    target: Target,
    until_ms: Option<i64>,
) -> Result<Exit, Failure> {
    let mut editing = Editing::open(named, path)?;
    let Target { kind, id, reason } = target;
    editing.list.put(Entry { kind, id, reason, since_ms: now_ms(), until_ms });
    let list = editing.write(named)?;
    told(named, path, &list, "revoked")
}

/// Takes something from the list.
pub(super) fn remove(named: &Named, path: &Path, target: &Target) -> Result<Exit, Failure> {
    let mut editing = Editing::open(named, path)?;
    if !editing.list.remove(target.kind, &target.id) {
        let (kind, id) = (target.kind.as_str(), crate::output::shown(&target.id));
        let text = format!("the {kind} `{id}` is not on `{}`", path.display());
        return Err(Failure::failed(text).help("`lictor kill --list FILE --key FILE` shows it"));
    }
    let list = editing.write(named)?;
    told(named, path, &list, "no longer revoked")
}

/// Signs the list again as it is.
pub(super) fn renew(named: &Named) -> Result<Exit, Failure> {
    let path = named.file()?.ok_or_else(|| {
        Failure::usage("`--renew` is for a list in a file").help("name it with `--list FILE`")
    })?;
    let list = Editing::open(named, path)?.write(named)?;
    told(named, path, &list, "renewed")
}

fn told(named: &Named, path: &Path, list: &List, what: &str) -> Result<Exit, Failure> {
    let expires = rfc3339(list.expires_ms);
    match named.format {
        Format::Json => print_json(&json!({
            "path": path, "version": list.version, "entries": list.entries.len(),
            "expires": expires,
        }))?,
        Format::Pretty => print(&format!(
            "{}: {} is version {} with {} entries, until {expires}",
            Paint::stdout().green(what),
            path.display(),
            list.version,
            list.entries.len()
        ))?,
    }
    Ok(Exit::Ok)
}

/// Shows the list.
pub(super) fn show(named: &Named, path: &Path) -> Result<Exit, Failure> {
    let key = key_of(named)?;
    let Some(verified) = read(path, &key)? else {
        return Err(Failure::failed(format!("there is no list `{}`", path.display())));
    };
    let list = verified.list();
    let now = now_ms();
    let holding = list.entries.iter().filter(|entry| entry.holds(now));
    let entries: Vec<_> = holding.map(|entry| revocation_to_pb(entry, FILE)).collect();
    let shown = pb::RevocationList {
        name: FILE.to_owned(),
        version: list.version,
        entries: list.entries.len() as u64,
        issued_at_ms: list.issued_at_ms,
        expires_ms: list.expires_ms,
        stale: verified.is_stale(now),
        kid: verified.kid().to_owned(),
        ..pb::RevocationList::default()
    };
    told::show(&entries, &[shown], named.format)
}
