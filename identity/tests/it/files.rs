//! Keys and tokens on disk.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use ed25519_dalek::Signer as _;
use lictor_identity::files::{
    FILE_MAX_BYTES, FileError, create_private, ensure_token_file, read_private, read_public,
    replace_private,
};
use lictor_identity::keys::{
    KeyError, ensure_signing, generate, key_id, load_signing, load_verifying,
};
use lictor_identity::{DoorTokens, Purpose, Role};
use tempfile::tempdir;

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o777
}

fn set_mode(path: &Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

fn names(dir: &Path) -> Vec<String> {
    let entries = fs::read_dir(dir).unwrap();
    let mut names: Vec<String> =
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

#[test]
fn a_written_pair_is_loaded_and_belongs_together() {
    let dir = tempdir().unwrap();
    let dir = dir.path().join("state");
    for purpose in Purpose::ALL {
        let pair = generate(purpose).unwrap();
        let (private, public) = pair.write_pair(&dir).unwrap();
        assert_eq!((mode(&private), mode(&public)), (0o600, 0o644));
        let (signing, verifying) =
            (load_signing(&private).unwrap(), load_verifying(&public).unwrap());
        assert_eq!(key_id(&verifying), pair.kid);
        assert!(verifying.verify_strict(b"m", &signing.sign(b"m")).is_ok());
        assert!(jsonwebtoken::EncodingKey::from_ed_pem(pair.private_pem.as_bytes()).is_ok());
        assert!(jsonwebtoken::DecodingKey::from_ed_pem(pair.public_pem.as_bytes()).is_ok());
        assert!(!format!("{pair:?}").contains("PRIVATE"));
    }
    assert_eq!(mode(&dir), 0o700);
    assert_eq!(names(&dir).len(), 2 * Purpose::ALL.len(), "no drafts stay");
}

#[test]
fn a_pair_is_never_overwritten() {
    let dir = tempdir().unwrap();
    let first = generate(Purpose::Bundle).unwrap();
    let (private, public) = first.write_pair(dir.path()).unwrap();
    let before = fs::read_to_string(&private).unwrap();
    let again = || generate(Purpose::Bundle).unwrap().write_pair(dir.path());
    assert!(matches!(again(), Err(KeyError::File(FileError::Exists { .. }))));
    fs::remove_file(&public).unwrap();
    assert!(matches!(again(), Err(KeyError::File(FileError::Exists { .. }))));
    assert!(!public.exists());
    assert_eq!(fs::read_to_string(&private).unwrap(), before);
    fs::remove_file(&private).unwrap();
    fs::write(&public, "mine").unwrap();
    assert!(matches!(again(), Err(KeyError::File(FileError::Exists { .. }))));
    assert!(!private.exists());
    assert_eq!(names(dir.path()), ["bundle.pub"]);
}

#[test]
fn a_key_that_others_may_read_is_refused() {
    let dir = tempdir().unwrap();
    let (private, public) = generate(Purpose::Audit).unwrap().write_pair(dir.path()).unwrap();
    for open in [0o640, 0o604, 0o620, 0o602, 0o610, 0o601, 0o644] {
        set_mode(&private, open);
        let error = load_signing(&private).unwrap_err();
        assert!(matches!(error, KeyError::File(FileError::OpenToOthers { .. })), "{open:o}");
        let message = error.to_string();
        assert!(
            message.contains(&format!("{open:04o}")) && message.contains("chmod 600"),
            "{message}"
        );
    }
    for closed in [0o600, 0o400] {
        set_mode(&private, closed);
        assert!(load_signing(&private).is_ok(), "{closed:o}");
    }
    assert!(matches!(load_signing(&public), Err(KeyError::File(FileError::OpenToOthers { .. }))));
    set_mode(&public, 0o600);
    assert!(matches!(load_signing(&public), Err(KeyError::NotPrivate { .. })));
    assert!(matches!(load_verifying(&private), Err(KeyError::NotPublic { .. })));
    let text = load_verifying(&private).unwrap_err().to_string();
    assert!(!text.contains("BEGIN PRIVATE"), "{text}");
}

#[test]
fn other_files_are_refused() {
    let dir = tempdir().unwrap();
    let path = dir.path().join("file");
    assert!(matches!(read_private(&path), Err(FileError::Io { .. })));
    assert!(matches!(read_private(dir.path()), Err(FileError::NotAFile { .. })));
    fs::write(&path, vec![b'a'; FILE_MAX_BYTES]).unwrap();
    assert_eq!(read_public(&path).unwrap().len(), FILE_MAX_BYTES);
    fs::write(&path, vec![b'a'; FILE_MAX_BYTES + 1]).unwrap();
    assert!(matches!(read_public(&path), Err(FileError::TooLarge { .. })));
    fs::write(&path, [0xff, 0xfe]).unwrap();
    assert!(matches!(read_public(&path), Err(FileError::NotText { .. })));
}

#[test]
fn replacing_leaves_no_draft_and_closes_the_file() {
    let dir = tempdir().unwrap();
    let path = dir.path().join("keys.json");
    fs::write(&path, "old").unwrap();
    set_mode(&path, 0o644);
    replace_private(&path, "new").unwrap();
    assert_eq!(&*read_private(&path).unwrap(), "new");
    assert_eq!(mode(&path), 0o600);
    assert!(matches!(create_private(&path, "x"), Err(FileError::Exists { .. })));
    assert_eq!(names(dir.path()), ["keys.json"]);
}

#[test]
fn a_token_file_is_made_once_also_by_many_at_once() {
    let dir = tempdir().unwrap();
    let dir = dir.path().join("state");
    let path = dir.join("pdp.token");
    let found: Vec<String> = std::thread::scope(|scope| {
        let start = || scope.spawn(|| ensure_token_file(&path).unwrap().to_string());
        let all: Vec<_> = (0..8).map(|_| start()).collect();
        all.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    assert!(found.iter().all(|token| *token == found[0]));
    assert_eq!(found[0].len(), "lictordoor_".len() + 64);
    assert_eq!(mode(&path), 0o600);
    assert_eq!(names(&dir), ["pdp.token"]);
    let mut tokens = DoorTokens::default();
    tokens.add(&found[0], &[Role::Pep]).unwrap();
    set_mode(&path, 0o640);
    assert!(matches!(ensure_token_file(&path), Err(FileError::OpenToOthers { .. })));
}

#[test]
fn a_first_start_makes_the_key_and_a_second_one_finds_it() {
    let dir = tempdir().unwrap();
    let first = ensure_signing(dir.path(), Purpose::Session).unwrap();
    let second = ensure_signing(dir.path(), Purpose::Session).unwrap();
    assert_eq!(first.to_bytes(), second.to_bytes());
    fs::remove_file(Purpose::Session.private_path(dir.path())).unwrap();
    let refused = ensure_signing(dir.path(), Purpose::Session);
    assert!(matches!(refused, Err(KeyError::File(FileError::Exists { .. }))));
}
