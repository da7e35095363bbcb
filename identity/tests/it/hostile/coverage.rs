//! No reason that this crate can give is without a case, here or in a test that is named.

use std::collections::BTreeSet;

use super::table::all;
use crate::forge::site;

/// Where the reasons are given, each as `=> "its_id"`.
const SOURCES: [&str; 2] =
    [include_str!("../../../src/error.rs"), include_str!("../../../src/dpop/error.rs")];
/// Fewer would mean that they are given elsewhere by now.
const REASONS_MIN: usize = 72;

const ACCEPTED: &str = include_str!("../accepted.rs");
const BOUND: &str = include_str!("../bound.rs");
const CERTIFICATES: &str = include_str!("../certificates.rs");
const REPLAY: &str = include_str!("../../../src/dpop/replay.rs");

/// Reasons that no request can have by its headers alone, the test that covers each, and what
/// there says so.
const ELSEWHERE: [(&str, &str, &str); 10] = [
    // The state of keys and of the network.
    ("issuer_unavailable", BOUND, "Err(\"issuer_unavailable\")"),
    ("txn_token_issuer_unavailable", BOUND, "Err(\"txn_token_issuer_unavailable\")"),
    ("api_key_expired", ACCEPTED, "\"api_key_expired\""),
    ("api_key_revoked", ACCEPTED, "\"api_key_revoked\""),
    // What came with the connection.
    ("certificate_unknown", CERTIFICATES, "\"certificate_unknown\""),
    ("certificate_expired", CERTIFICATES, "\"certificate_expired\""),
    ("certificate_not_yet_valid", CERTIFICATES, "\"certificate_not_yet_valid\""),
    ("certificate_invalid", CERTIFICATES, "\"certificate_invalid\""),
    ("peer_unknown", ACCEPTED, "\"peer_unknown\""),
    // A million of them.
    ("dpop_memory_full", REPLAY, "DpopError::MemoryFull"),
];

/// Every reason id in the sources.
fn reasons() -> BTreeSet<&'static str> {
    let lines = SOURCES.iter().flat_map(|source| source.lines());
    let ids = lines.filter_map(|line| line.split_once("=> \"")?.1.split_once('"'));
    // Texts for people have spaces.
    ids.map(|(id, _)| id).filter(|id| !id.contains(' ')).collect()
}

#[test]
fn every_reason_has_a_case_or_a_test_that_is_named() {
    let reasons = reasons();
    assert!(reasons.len() >= REASONS_MIN, "{reasons:?}");
    let walked: BTreeSet<&str> = all(&site()).iter().map(|case| case.id).collect();
    let named: BTreeSet<&str> = ELSEWHERE.iter().map(|(id, ..)| *id).collect();
    assert_eq!(walked.intersection(&named).count(), 0, "named and walked: {named:?}");
    let covered: BTreeSet<&str> = walked.union(&named).copied().collect();
    let uncovered: Vec<_> = reasons.difference(&covered).collect();
    assert!(uncovered.is_empty(), "without a case: {uncovered:?}");
    let unknown: Vec<_> = covered.difference(&reasons).collect();
    assert!(unknown.is_empty(), "nobody gives these reasons: {unknown:?}");
    for (id, source, says) in ELSEWHERE {
        assert!(source.contains(says), "{id}");
    }
}
