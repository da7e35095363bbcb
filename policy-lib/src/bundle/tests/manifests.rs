//! The manifest, the version floor and times.

use super::*;

fn parse(lictor: &str) -> Result<Manifest, ManifestError> {
    Manifest::parse(format!("{{\"metadata\":{{\"lictor\":{lictor}}}}}").as_bytes())
}

fn error_id(lictor: &str) -> &'static str {
    parse(lictor).map_or_else(|error| error.id(), |_| "accepted")
}

fn with_manifest(lictor: &str) -> Files {
    let mut pairs = pairs();
    pairs[0].1 = format!("{{\"metadata\":{{\"lictor\":{lictor}}}}}").into_bytes();
    Files::from_pairs(pairs, &Limits::default()).unwrap()
}

#[test]
fn a_full_manifest_is_read() {
    let manifest = Manifest::parse(
        br#"{"revision": "abc", "roots": ["lictor", "registry"], "rego_version": 1, "metadata": {"other": {"x": 1}, "lictor": {
            "name": "demo", "version": 12, "not_before": "2026-01-01T00:00:00Z", "expires": "2026-02-01T01:00:00+01:00",
            "max_staleness": 3600, "permit_from": "any",
            "units": {"expense": {"scope": {"agents": ["a"], "servers": []}}, "other": {}}}}}"#,
    )
    .unwrap();
    assert_eq!((manifest.name.as_str(), manifest.version), ("demo", 12));
    assert_eq!(manifest.revision, "abc");
    assert_eq!(manifest.not_before_ms, Some(1_767_225_600_000));
    assert_eq!(manifest.expires_ms, Some(1_769_904_000_000));
    assert_eq!(manifest.max_staleness_s, Some(3600));
    assert_eq!(manifest.permit_from, PermitFrom::Any);
    let scope = manifest.units["expense"].scope.clone().unwrap();
    assert_eq!(scope.agents, Some(vec!["a".to_owned()]));
    assert_eq!(scope.servers, Some(Vec::new()));
    assert_eq!(scope.models, None);
    assert_eq!(manifest.units["other"].scope, None);
}

#[test]
fn what_is_left_out_has_a_default() {
    let manifest = parse(r#"{"name":"demo","version":1}"#).unwrap();
    assert_eq!(manifest.revision, "");
    assert_eq!(manifest.roots, None);
    assert_eq!(manifest.permit_from, PermitFrom::All);
    assert!(manifest.units.is_empty());
}

#[test]
fn every_value_is_checked() {
    for (lictor, expected) in [
        (r#"{"name":"d","version":1}"#, "accepted"),
        (r#"{"name":"d"}"#, "bundle_manifest_invalid"),
        (r#"{"version":1}"#, "bundle_manifest_invalid"),
        (r#"{"name":"d","version":"1"}"#, "bundle_manifest_invalid"),
        (r#"{"name":"d","version":1,"x":1}"#, "bundle_manifest_invalid"),
        (r#"{"name":"d","version":1,"version":2}"#, "bundle_manifest_invalid"),
        (r#"{"name":"d","version":1,"units":{"a":{},"a":{}}}"#, "bundle_manifest_invalid"),
        (r#"{"name":"d","version":1,"units":{"a":{"scop":{}}}}"#, "bundle_manifest_invalid"),
        (r#"{"name":"d","version":1,"permit_from":"none"}"#, "bundle_manifest_invalid"),
        (r#"{"name":"","version":1}"#, "bundle_manifest_value"),
        (r#"{"name":"a\nb","version":1}"#, "bundle_manifest_value"),
        (r#"{"name":"d","version":0}"#, "bundle_manifest_value"),
        (r#"{"name":"d","version":-1}"#, "bundle_manifest_value"),
        (r#"{"name":"d","version":1.5}"#, "bundle_manifest_value"),
        (r#"{"name":"d","version":9007199254740991}"#, "accepted"),
        (r#"{"name":"d","version":9007199254740992}"#, "bundle_manifest_value"),
        (r#"{"name":"d","version":1,"max_staleness":0}"#, "bundle_manifest_value"),
        (r#"{"name":"d","version":1,"expires":"tomorrow"}"#, "bundle_manifest_value"),
        (r#"{"name":"d","version":1,"units":{"Ex":{}}}"#, "bundle_unit_name"),
        (
            r#"{"name":"d","version":1,"not_before":"2026-01-01T00:00:00Z","expires":"2026-01-01T00:00:00Z"}"#,
            "bundle_manifest_value",
        ),
    ] {
        assert_eq!(error_id(lictor), expected, "{lictor}");
    }
}

#[test]
fn names_and_the_file_end_at_their_limits() {
    let named = |length: usize| format!(r#"{{"name":"{}","version":1}}"#, "n".repeat(length));
    assert_eq!(error_id(&named(128)), "accepted");
    assert_eq!(error_id(&named(129)), "bundle_manifest_value");
    let padded = |length: usize| {
        let mut bytes = MANIFEST.as_bytes().to_vec();
        bytes.resize(length, b' ');
        Manifest::parse(&bytes).map_or_else(|error| error.id(), |_| "accepted")
    };
    assert_eq!(padded(1 << 20), "accepted");
    assert_eq!(padded((1 << 20) + 1), "bundle_manifest_too_large");
}

#[test]
fn fields_of_opa_are_checked_too() {
    let tail = r#","metadata":{"lictor":{"name":"d","version":1}}}"#;
    let id = |head: &str| {
        Manifest::parse(format!("{{{head}{tail}").as_bytes())
            .map_or_else(|error| error.id(), |_| "accepted")
    };
    assert_eq!(id(r#""rego_version":1"#), "accepted");
    assert_eq!(id(r#""rego_version":0"#), "bundle_rego_version");
    assert_eq!(id(r#""rego_version":2"#), "bundle_rego_version");
    assert_eq!(id(r#""wasm":[]"#), "bundle_manifest_invalid");
    assert_eq!(id(r#""roots":["a","b/c","b/d","bb"]"#), "accepted");
    assert_eq!(id(r#""roots":["b/c","a","b"]"#), "bundle_roots_overlap");
    assert_eq!(id(r#""roots":["a","/a/"]"#), "bundle_roots_overlap");
    assert_eq!(id(r#""roots":["","a"]"#), "bundle_roots_overlap");
}

#[test]
fn a_bundle_without_manifest_is_refused() {
    let files = Files::from_pairs(pairs().split_off(1), &Limits::default()).unwrap();
    let error = verify_unsigned(Source::Folder(files)).unwrap_err();
    assert_eq!(error.id(), "bundle_manifest_missing");
}

#[test]
fn settings_for_a_unit_without_policies_are_refused() {
    let files = with_manifest(r#"{"name":"d","version":1,"units":{"expenses":{}}}"#);
    let error = verify_unsigned(Source::Folder(files)).unwrap_err();
    assert_eq!(error.id(), "bundle_unit_unknown");
    let files = with_manifest(r#"{"name":"d","version":1,"units":{"expense":{}}}"#);
    assert!(verify_unsigned(Source::Folder(files)).is_ok());
}

#[test]
fn the_version_may_equal_the_floor_and_not_fall_below() {
    let id = |min_version| {
        let floor = Floor { min_version, window: Window::Ignored };
        let source = Source::Folder(files());
        verify(source, &Require::AllowUnsigned, &floor, &Limits::default(), NOW_MS)
            .map_or_else(|error| error.id(), |_| "accepted")
    };
    assert_eq!(id(7), "accepted");
    assert_eq!(id(8), "bundle_version_lower");
}

#[test]
fn a_bundle_lives_from_not_before_until_expires() {
    let lictor = r#"{"name":"d","version":1,"not_before":"2026-01-31T12:00:00Z","expires":"2026-02-01T00:00:00Z"}"#;
    let expires_ms = NOW_MS + 12 * 3_600_000;
    let at = |window, now_ms| {
        let floor = Floor { min_version: 0, window };
        let source = Source::Folder(with_manifest(lictor));
        verify(source, &Require::AllowUnsigned, &floor, &Limits::default(), now_ms)
            .map_or_else(|error| error.id(), |_| "accepted")
    };
    assert_eq!(at(Window::Enforced, NOW_MS - 1), "bundle_not_yet_valid");
    assert_eq!(at(Window::Enforced, NOW_MS), "accepted");
    assert_eq!(at(Window::Enforced, expires_ms - 1), "accepted");
    assert_eq!(at(Window::Enforced, expires_ms), "bundle_expired");
    assert_eq!(at(Window::Ignored, NOW_MS - 1), "accepted");
    assert_eq!(at(Window::Ignored, expires_ms), "accepted");
}

#[test]
fn staleness_counts_from_the_signature() {
    let stale = with_manifest(r#"{"name":"d","version":1,"max_staleness":60}"#);
    let signed = sign(&stale, &key(1), &options()).unwrap();
    let bundle = verify_signed(Source::Folder(signed)).unwrap();
    assert_eq!(bundle.staleness(NOW_MS), Staleness::Fresh { left_ms: 60_000 });
    assert_eq!(bundle.staleness(NOW_MS + 60_000), Staleness::Fresh { left_ms: 0 });
    assert_eq!(bundle.staleness(NOW_MS + 60_001), Staleness::Stale { over_ms: 1 });
    let unsigned = verify_unsigned(Source::Folder(stale)).unwrap();
    assert_eq!(unsigned.staleness(NOW_MS), Staleness::Unproven);
    let unlimited = verify_unsigned(Source::Folder(files())).unwrap();
    assert_eq!(unlimited.staleness(i64::MAX), Staleness::Unlimited);
}
