//! Adding signatures.

use super::super::signature::SIGNATURES_MAX;
use super::*;

fn id(files: &Files) -> &'static str {
    verify_signed(Source::Folder(files.clone())).map_or_else(|error| error.id(), |_| "accepted")
}

#[test]
fn signing_again_replaces_ones_own_signature() {
    let later = SignOptions { iat_s: NOW_S + 1, ..options() };
    let again = sign(&signed(), &key(1), &later).unwrap();
    assert_eq!(again, sign(&files(), &key(1), &later).unwrap());
}

#[test]
fn the_order_of_signing_does_not_matter() {
    let ab = sign(&signed(), &key(2), &options()).unwrap();
    let b = sign(&files(), &key(2), &options()).unwrap();
    let ba = sign(&b, &key(1), &options()).unwrap();
    assert_eq!(pack(&ab), pack(&ba));
}

#[test]
fn signing_changed_files_refuses_to_keep_old_signatures() {
    let mut changed = signed();
    changed.set("README.md", b"# changed\n".to_vec());
    let error = sign(&changed, &key(2), &options()).unwrap_err();
    assert_eq!(error, SignError::Changed { kid: kid(1) });
    let other_scope = SignOptions { scope: "test".into(), ..options() };
    let error = sign(&signed(), &key(2), &other_scope).unwrap_err();
    assert_eq!(error, SignError::Changed { kid: kid(1) });
    // The only signature is one's own: it is replaced.
    let own = sign(&changed, &key(1), &options()).unwrap();
    assert_eq!(id(&own), "accepted");
}

#[test]
fn signing_needs_a_manifest_and_a_future() {
    let mut without = files();
    without.remove(".manifest");
    assert_eq!(
        sign(&without, &key(1), &options()).unwrap_err(),
        SignError::Manifest(ManifestError::Missing)
    );
    let past = SignOptions { exp_s: Some(NOW_S), ..options() };
    assert!(matches!(sign(&files(), &key(1), &past), Err(SignError::Expiry { .. })));
}

#[test]
fn signing_ends_at_the_most_signatures() {
    let mut files = files();
    for seed in 1..=SIGNATURES_MAX as u8 {
        files = sign(&files, &key(seed), &options()).unwrap();
    }
    assert_eq!(id(&files), "accepted");
    let error = sign(&files, &key(99), &options()).unwrap_err();
    assert_eq!(error, SignError::TooMany);
}
