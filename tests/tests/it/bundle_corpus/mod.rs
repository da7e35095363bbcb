//! The stored archives under `tests/corpus/bundles`: one for each way around a
//! verifier of signed bundles.
//!
//! Every one in `accepted` verifies, every one in `refused` fails with the id
//! that its file name begins with. The archives are put together here; run
//! with `LICTOR_BLESS=1` to write them again after adding one.
//!
//! - `make`: honest files, and writers that write whatever they are told
//! - `streams`, `entries`, `signatures`: the attacks
//! - `judges`: the command and a running decision point say the same of each

mod entries;
mod judges;
mod make;
mod signatures;
mod streams;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::PathBuf;

use lictor_policy_lib::bundle::{
    Floor, Limits, Require, Source, TrustPolicy, TrustedKey, Window, verify,
    verifying_key_from_pem, verifying_key_to_pem,
};

use lictor_tests::site::repository;
use make::key;
use signatures::accepted;

/// 2026-01-31T12:00:00Z. What is said of an archive is true at any time from then on for a
/// hundred years, so that it can be said by a clock.
const NOW_S: i64 = 1_769_860_800;
/// 2126-01-01T00:00:00Z.
const FAR_S: i64 = 4_922_985_600;
const SCOPE: &str = "prod";
const MIN_VERSION: u64 = 7;
const KEY_FILE: &str = "trusted.pub.pem";

fn folder(part: &str) -> PathBuf {
    repository().join("tests/corpus/bundles").join(part)
}

/// The id of the verdict on `archive`, judged with the stored key.
fn id(archive: &[u8]) -> &'static str {
    let pem = fs::read_to_string(folder(KEY_FILE)).unwrap();
    let trusted = TrustedKey::new(verifying_key_from_pem(&pem).unwrap());
    let require = Require::Signed(TrustPolicy::new(vec![trusted], 1, SCOPE).unwrap());
    let floor = Floor { min_version: MIN_VERSION, window: Window::Enforced };
    let source = Source::Archive(archive);
    verify(source, &require, &floor, &Limits::default(), NOW_S * 1000)
        .map_or_else(|error| error.id(), |_| "accepted")
}

/// The stored archives of a folder by file name.
fn stored(part: &str) -> BTreeMap<String, Vec<u8>> {
    fs::read_dir(folder(part))
        .unwrap()
        .map(|entry| {
            let entry = entry.unwrap();
            let name = entry.file_name().into_string().unwrap();
            (name, fs::read(entry.path()).unwrap())
        })
        .collect()
}

fn refused() -> BTreeMap<String, Vec<u8>> {
    let all = [streams::refused(), entries::refused(), signatures::refused()].concat();
    let count = all.len();
    let named: BTreeMap<String, Vec<u8>> =
        all.into_iter().map(|(id, what, bytes)| (format!("{id}.{what}.tar.gz"), bytes)).collect();
    assert_eq!(named.len(), count, "two archives have one name");
    named
}

fn bless() {
    fs::create_dir_all(folder("")).unwrap();
    let pem = verifying_key_to_pem(&key(1).verifying_key()).unwrap();
    fs::write(folder(KEY_FILE), pem).unwrap();
    for (part, all) in [("accepted", accepted()), ("refused", refused())] {
        let folder = folder(part);
        if folder.exists() {
            fs::remove_dir_all(&folder).unwrap();
        }
        fs::create_dir_all(&folder).unwrap();
        for (name, bytes) in all {
            fs::write(folder.join(name), bytes).unwrap();
        }
    }
}

#[test]
fn every_stored_archive_gets_the_verdict_in_its_name() {
    if std::env::var_os("LICTOR_BLESS").is_some() {
        bless();
    }
    for (name, bytes) in stored("accepted") {
        assert_eq!(id(&bytes), "accepted", "{name}");
    }
    assert_eq!(misjudged(stored("refused")), Vec::<String>::new());
}

/// The archives that are refused for something else than their name says.
fn misjudged(archives: BTreeMap<String, Vec<u8>>) -> Vec<String> {
    let wrong = archives.into_iter().filter_map(|(name, bytes)| {
        let id = id(&bytes);
        (Some(id) != name.split('.').next()).then(|| format!("{name}: {id}"))
    });
    wrong.collect()
}

#[test]
fn every_archive_that_is_made_is_stored_and_gets_its_verdict() {
    assert_eq!(misjudged(refused()), Vec::<String>::new());
    for (part, made) in [("accepted", accepted()), ("refused", refused())] {
        let made: BTreeSet<String> = made.into_keys().collect();
        let stored: BTreeSet<String> = stored(part).into_keys().collect();
        assert_eq!(made, stored, "run once with LICTOR_BLESS=1");
    }
}

/// Accepted archives are in packed form, so they do not change with the
/// release.
#[test]
fn accepted_archives_are_stored_byte_for_byte() {
    let (stored, made) = (stored("accepted"), accepted());
    assert!(stored == made, "{:?}, {:?}", stored.keys(), made.keys());
}
