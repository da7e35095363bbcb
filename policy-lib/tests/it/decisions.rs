//! `testdata/decisions`: a small bundle with a case for every way that a decision can come out.

use std::path::Path;

use lictor_policy_lib::bundle::{Files, Floor, Limits, Require, Source, Window, verify};
use lictor_policy_lib::cases::{parse, run};
use lictor_policy_lib::engine::Budget;
use lictor_policy_lib::load::{LoadedBundle, Times};
use lictor_proto::decide::{ResponseCheck, ToolEffect};
use lictor_proto::decision::{Confidentiality, Integrity};

const NOW_MS: i64 = 1_800_000_000_000;

fn files(manifest: Option<&str>) -> Files {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata/decisions");
    let read = |name: &str| (name.to_owned(), std::fs::read(root.join(name)).unwrap());
    let names = ["data.json", "rego/small/small.rego", "cedar/small.cedar", "cases/cases.yaml"];
    let mut pairs: Vec<_> = names.into_iter().map(read).collect();
    pairs.push(match manifest {
        Some(text) => (".manifest".to_owned(), text.as_bytes().to_vec()),
        None => read(".manifest"),
    });
    Files::from_pairs(pairs, &Limits::default()).unwrap()
}

fn bundle(manifest: Option<&str>, times: Times) -> LoadedBundle {
    let floor = Floor { min_version: 0, window: Window::Ignored };
    let source = Source::Folder(files(manifest));
    let limits = Limits::default();
    let verified = verify(source, &Require::AllowUnsigned, &floor, &limits, NOW_MS).unwrap();
    LoadedBundle::load(verified, times).unwrap()
}

fn cases() -> Vec<lictor_policy_lib::cases::Case> {
    let files = files(None);
    let text = String::from_utf8(files.get("cases/cases.yaml").unwrap().to_vec()).unwrap();
    parse("cases/cases.yaml", &text).unwrap().cases
}

#[test]
fn every_case_comes_out_as_written() {
    let bundle = bundle(None, Times::Ignored);
    let cases = cases();
    assert!(cases.len() >= 29, "{}", cases.len());
    for case in &cases {
        let result = run(&bundle, case, NOW_MS, Budget::default());
        let reasons = &result.outcome.decision.reasons;
        assert!(
            result.differences.is_empty(),
            "{}: {:?} {reasons:?}",
            case.name,
            result.differences
        );
    }
}

#[test]
fn a_wrong_expectation_fails_its_case() {
    let bundle = bundle(None, Times::Ignored);
    let text =
        "cases:\n  - {name: x, call: {}, expect: {effect: allow, reasons: [a], limits: [b]}}\n";
    let case = parse("c.yaml", text).unwrap().cases.remove(0);
    let differences = run(&bundle, &case, NOW_MS, Budget::default()).differences;
    assert_eq!(differences.len(), 3, "{differences:?}");
}

#[test]
fn merges_build_upon_each_other_up_to_the_bound() {
    use lictor_policy_lib::cases::MERGE_LEVELS_MAX;
    let levels = |count: usize| {
        let mut text =
            "cases:\n  - {name: n0, call: &c0 {tenant: t, call_id: c}, expect: {effect: deny}}\n"
                .to_owned();
        for n in 1..=count {
            let merge = format!("&c{n} {{<<: *c{}, call_id: c{n}}}", n - 1);
            text.push_str(&format!(
                "  - {{name: n{n}, call: {merge}, expect: {{effect: deny}}}}\n"
            ));
        }
        parse("c.yaml", &text)
    };
    let cases = levels(MERGE_LEVELS_MAX).unwrap().cases;
    let last = &cases.last().unwrap().call;
    assert_eq!((last.tenant.as_str(), last.call_id.as_str()), ("t", "c15"));
    assert!(levels(MERGE_LEVELS_MAX + 1).is_err());
}

#[test]
fn what_a_tool_reads_and_where_it_comes_from_raises_the_labels() {
    let bundle = bundle(None, Times::Ignored);
    let case = cases().into_iter().next().unwrap();
    let outcome = run(&bundle, &case, NOW_MS, Budget::default()).outcome;
    let labels = outcome.decision.labels;
    assert_eq!(labels.integrity, Integrity::Untrusted);
    assert_eq!(labels.confidentiality, Confidentiality::Secret);
    let plan = lictor_policy_lib::plan::plan(&bundle, &case.call, NOW_MS).unwrap();
    assert_eq!(plan.hints.effect, ToolEffect::None);
    assert_eq!(plan.hints.response_check, ResponseCheck::Whole);
    assert!(plan.wants_session, "a policy reads the session's labels");
}

#[test]
fn an_expired_or_stale_bundle_denies_everything_where_times_are_enforced() {
    let case = cases().into_iter().next().unwrap();
    let ids = |member: &str, times| {
        let manifest = format!(
            r#"{{"revision":"t","metadata":{{"lictor":{{"name":"d","version":1,{member}}}}}}}"#
        );
        let outcome =
            run(&bundle(Some(&manifest), times), &case, NOW_MS, Budget::default()).outcome;
        let reasons = outcome.decision.reasons.into_iter().map(|reason| reason.id);
        reasons.collect::<Vec<_>>()
    };
    let expired = r#""expires":"2020-01-01T00:00:00Z""#;
    assert_eq!(ids(expired, Times::Enforced), ["bundle_expired"]);
    let early = r#""not_before":"2099-01-01T00:00:00Z""#;
    assert_eq!(ids(early, Times::Enforced), ["bundle_expired"]);
    // Unsigned, so nothing proves how fresh it is.
    assert_eq!(ids(r#""max_staleness":60"#, Times::Enforced), ["bundle_stale"]);
    assert_eq!(ids(expired, Times::Ignored), ["small.grant", "small.use"]);
}

#[test]
fn the_same_call_comes_out_the_same_every_time() {
    let bundle = bundle(None, Times::Ignored);
    for case in cases() {
        let once = run(&bundle, &case, NOW_MS, Budget::default()).outcome;
        let again = run(&bundle, &case, NOW_MS, Budget::default()).outcome;
        assert_eq!(once, again, "{}", case.name);
    }
}
