use lictor_proto::decision::{Approval, Effect, LimitState, Reason, Severity};
use lictor_proto::facts::Time;
use lictor_proto::reason;
use serde_json::json;

use super::*;
use crate::bundle::{Files, Floor, Limits, Require, Source, Window, verify};
use crate::conclude::CommitResult;
use crate::load::Times;
use lictor_proto::call::Call;

const NOW_MS: i64 = 1_800_000_000_000;
const DATA: &str = r#"{"registry":{"users":{"alice":{"department":"eng"}},
    "agents":{"bot":{"owner":"alice","status":"active","identities":[{"client_id":"client-7"}]}},"servers":{"s":{}},
    "tools":{"s/t":{"schema":"any","annotations":{"effect":"none"}}}},
    "limits":{"few":{"kind":"budget","max":3,"per":"1h"}},
    "guardrails":{"detectors":[{"id":"pii/card"}]}}"#;
const ALLOW: &str = "allow if input.action.name == \"tools/call\"";
const FEW: &str = "limits contains {\"id\": \"few\", \"key\": input.agent.id}";

/// A bundle whose only unit is `u`.
fn bundle(data: &str, rules: &[&str]) -> LoadedBundle {
    let rules = format!("package lictor.u\n\n{}\n", rules.join("\n\n"));
    let pairs = [
        (".manifest", r#"{"metadata":{"lictor":{"name":"t","version":1}}}"#),
        ("data.json", data),
        ("rego/u/u.rego", rules.as_str()),
    ];
    let pairs = pairs.map(|(name, text)| (name.to_owned(), text.as_bytes().to_vec()));
    let files = Files::from_pairs(pairs, &Limits::default()).unwrap();
    let floor = Floor { min_version: 0, window: Window::Ignored };
    let limits = Limits::default();
    let verified =
        verify(Source::Folder(files), &Require::AllowUnsigned, &floor, &limits, NOW_MS).unwrap();
    LoadedBundle::load(verified, Times::Ignored).unwrap()
}

fn call(more: &str) -> Call {
    let text = format!(
        r#"{{"call_id":"c","subject":{{"type":"user","id":"alice"}},"agent":{{"type":"agent","id":"bot"}},
        "action":{{"name":"tools/call"}},"resource":{{"type":"tool","id":"s/t"}}{more}}}"#
    );
    Call::from_json(text.as_bytes()).unwrap()
}

fn state(id: &str) -> LimitState {
    LimitState { id: id.into(), reserved: 1, remaining: 2, reset_at: "r".into(), retry_after_ms: 5 }
}

/// Decides as a decision point does, with `short` of the limits that are wanted lacking room.
fn decided(bundle: &LoadedBundle, call: &Call, facts: Facts, short: &[&str]) -> Recorded {
    let named = bundle.resolve(call);
    let time = Time { now_ms: NOW_MS, rfc3339: String::new() };
    let mut facts = complete_facts(bundle, &named, Facts { time, ..facts }, NOW_MS);
    let known = facts.clone();
    let plan = plan(bundle, &named, NOW_MS);
    let verdict = match plan {
        Ok(plan) => evaluate(bundle, &named, &plan, &mut facts, Budget::default()),
        Err(reason) => Verdict::denied(reason),
    };
    let limits: Vec<LimitState> = verdict.limits.iter().map(|want| state(&want.id)).collect();
    let approval = Approval { id: "a".into(), expires: "e".into(), approvers: vec![], count: 1 };
    let approval = (verdict.effect == Effect::Ask).then_some(approval);
    let (how, commit) = match short.is_empty() {
        true => {
            (How::Committed, CommitResult::Committed { limits, approval, labels: verdict.labels })
        }
        false => {
            let short = short.iter().map(|id| (*id).to_owned()).collect();
            (How::Short, CommitResult::Short { short, limits })
        }
    };
    let ids = Ids {
        decision_id: "d".into(),
        request_digest: call.request_digest(),
        bundle: Some(bundle.reference().clone()),
    };
    let decision = conclude(&named, &verdict, &commit, &ids);
    let wants = verdict.limits;
    Recorded { call: call.clone(), facts: known, decision, wants, how, session_kept: true }
}

fn again(bundle: &LoadedBundle, recorded: &Recorded) -> Replayed {
    replay(bundle, recorded, Budget::default()).unwrap()
}

#[track_caller]
fn reproduced(bundle: &LoadedBundle, recorded: &Recorded) {
    let replayed = again(bundle, recorded);
    assert!(replayed.same_bundle);
    assert_eq!(replayed.redecided.decision, recorded.decision);
    assert_eq!((replayed.faults, replayed.changes), (vec![], vec![]));
}

#[test]
fn the_same_bundle_decides_the_same() {
    let one = bundle(DATA, &[ALLOW, FEW]);
    reproduced(&one, &decided(&one, &call(""), Facts::default(), &[]));
    let short = decided(&one, &call(""), Facts::default(), &["few"]);
    assert!(short.decision.has_reason("limit.few"));
    reproduced(&one, &short);
    let unknown = call("").clone();
    let unknown = Call { resource: None, ..unknown };
    reproduced(&one, &decided(&one, &unknown, Facts::default(), &[]));
    let asks = bundle(DATA, &[ALLOW, "ask contains {\"id\": \"u.sure\"} if true"]);
    let asked = decided(&asks, &call(""), Facts::default(), &[]);
    assert_eq!(asked.decision.effect, Effect::Ask);
    reproduced(&asks, &asked);
    let mut approved = Facts::default();
    approved.session.approvals = vec!["u.sure".to_owned()];
    let allowed = decided(&asks, &call(""), approved, &[]);
    assert_eq!(allowed.decision.effect, Effect::Allow);
    reproduced(&asks, &allowed);
}

#[test]
fn a_difference_under_the_same_bundle_is_a_fault() {
    let one = bundle(DATA, &[ALLOW, FEW]);
    let mut forged = decided(&one, &call(""), Facts::default(), &[]);
    forged.decision.effect = Effect::Deny;
    forged.decision.reasons = vec![Reason::new("u.no", "")];
    let replayed = again(&one, &forged);
    assert_eq!(replayed.faults, ["effect", "reasons"]);
    assert_eq!(replayed.changes, [Change::NewlyAllowed]);
    let other = again(&bundle(DATA, &[ALLOW]), &forged);
    assert!(!other.same_bundle && other.faults.is_empty());
}

#[test]
fn findings_are_those_of_the_candidates_detectors_and_of_others() {
    let quiet = DATA.replace("{\"id\":\"pii/card\"}", "");
    let refuses = r#"deny contains {"id": "u.pii"} if input.facts.findings[_].category == "pii""#;
    let (looks, blind) = (bundle(DATA, &[ALLOW, refuses]), bundle(&quiet, &[ALLOW, refuses]));
    let told = json!([{"origin": "user", "text": "my card is 4111 1111 1111 1111"}]);
    let call = call(&format!(",\"content\":{told}"));
    let found = decided(&looks, &call, Facts::default(), &[]);
    assert!(found.facts.findings.is_empty() && !found.decision.findings.is_empty());
    reproduced(&looks, &found);
    let without = again(&blind, &found);
    assert_eq!(without.changes, [Change::NewlyAllowed]);
    assert!(without.redecided.decision.findings.is_empty());
    // What somebody else found stays, and is not found twice.
    let elsewhere = lictor_proto::decision::Finding {
        detector: "other/x".into(),
        category: "pii".into(),
        severity: Severity::High,
        score: 1.0,
        content: 0,
        start: 0,
        end: 1,
    };
    let facts = Facts { findings: vec![elsewhere.clone()], ..Facts::default() };
    let both = decided(&looks, &call, facts, &[]);
    reproduced(&looks, &both);
    let own = again(&blind, &both).redecided.decision;
    assert_eq!((own.effect, own.findings), (Effect::Deny, vec![elsewhere]));
}

#[test]
fn attributes_and_names_are_the_candidates() {
    let eng = r#"deny contains {"id": "u.eng"} if input.facts.subject.attrs.department != "eng""#;
    let one = bundle(DATA, &[ALLOW, eng]);
    let recorded = decided(&one, &call(""), Facts::default(), &[]);
    assert_eq!(recorded.decision.effect, Effect::Allow);
    let moved = bundle(&DATA.replace("\"eng\"", "\"sales\""), &[ALLOW, eng]);
    assert_eq!(again(&moved, &recorded).changes, [Change::NewlyDenied]);
    // A token's client is another agent by the candidate's registry.
    let text = call("").to_json().replace("\"bot\"", "\"client-7\"");
    let text = text.replace("\"credential\":null", r#""credential":{"kind":"jwt","id":"k"}"#);
    let by_client = Call::from_json(text.as_bytes()).unwrap();
    let recorded = decided(&one, &by_client, Facts::default(), &[]);
    reproduced(&one, &recorded);
    let renamed = bundle(&DATA.replace("client-7", "client-8"), &[ALLOW, eng]);
    let replayed = again(&renamed, &recorded);
    assert_eq!(replayed.changes, [Change::NewlyDenied]);
    assert!(replayed.redecided.decision.has_reason(reason::AGENT_UNKNOWN));
}

#[test]
fn time_is_the_recorded_time() {
    let rule = format!("allow if input.facts.time.now_ms == {NOW_MS}");
    let one = bundle(DATA, &[&rule]);
    let recorded = decided(&one, &call(""), Facts::default(), &[]);
    assert_eq!(recorded.decision.effect, Effect::Allow);
    reproduced(&one, &recorded);
}

#[test]
fn room_in_limits_is_what_the_record_tells() {
    let few = bundle(DATA, &[ALLOW, FEW]);
    let none = bundle(DATA, &[ALLOW]);
    let max =
        |max: u64| bundle(&DATA.replace("\"max\":3", &format!("\"max\":{max}")), &[ALLOW, FEW]);
    let rekeyed = bundle(DATA, &[ALLOW, &FEW.replace("input.agent.id", "\"all\"")]);
    let held = decided(&few, &call(""), Facts::default(), &[]);
    let short = decided(&few, &call(""), Facts::default(), &["few"]);
    // Candidate, the effect where the limit had room and where it had not, and whether that is known.
    let rows: [(&LoadedBundle, Effect, bool, Effect, bool); 5] = [
        (&few, Effect::Allow, true, Effect::Deny, true),
        (&none, Effect::Allow, true, Effect::Allow, true),
        (&max(4), Effect::Allow, true, Effect::Allow, false),
        (&max(2), Effect::Allow, false, Effect::Deny, true),
        (&rekeyed, Effect::Allow, false, Effect::Allow, false),
    ];
    for (row, (candidate, with_room, known_with, without, known_without)) in
        rows.into_iter().enumerate()
    {
        let (one, other) = (again(candidate, &held), again(candidate, &short));
        let told = |replayed: &Replayed| {
            let redecided = &replayed.redecided;
            (redecided.decision.effect, redecided.limits_unknown.is_empty())
        };
        assert_eq!(told(&one), (with_room, known_with), "row {row}");
        assert_eq!(told(&other), (without, known_without), "row {row}");
    }
    assert_eq!(again(&none, &held).changes, [Change::Limits]);
    assert_eq!(again(&none, &short).changes, [Change::NewlyAllowed]);
    // A call that was denied drew on nothing, so nobody knows.
    let denies = bundle(DATA, &["deny contains {\"id\": \"u.no\"} if true"]);
    let denied = decided(&denies, &call(""), Facts::default(), &[]);
    let allowed = again(&few, &denied);
    assert_eq!(allowed.changes, [Change::NewlyAllowed]);
    assert_eq!(allowed.redecided.limits_unknown, ["few"]);
}

#[test]
fn a_rate_with_other_numbers_is_another_question() {
    let data = |max: u64| {
        let rate = format!("\"kind\":\"rate\",\"max\":{max}");
        DATA.replace("\"kind\":\"budget\",\"max\":3", &rate)
    };
    let one = bundle(&data(3), &[ALLOW, FEW]);
    let held = decided(&one, &call(""), Facts::default(), &[]);
    reproduced(&one, &held);
    let wider = again(&bundle(&data(4), &[ALLOW, FEW]), &held);
    assert_eq!(wider.redecided.limits_unknown, ["few"]);
}

#[test]
fn what_only_a_part_asks_reserves_nothing() {
    let one = bundle(DATA, &[ALLOW, FEW]);
    let quota = call(",\"questions\":[\"quota\"]");
    let mut recorded = decided(&one, &quota, Facts::default(), &[]);
    assert_eq!(recorded.wants.len(), 1);
    recorded.decision.limits.clear();
    reproduced(&one, &recorded);
}

#[test]
fn a_session_that_nobody_kept_is_not_made_up() {
    let one = bundle(DATA, &[ALLOW]);
    let reads = bundle(DATA, &["allow if count(input.facts.session.tail) == 0"]);
    let mut recorded = decided(&one, &call(""), Facts::default(), &[]);
    assert!(again(&reads, &recorded).changes.iter().all(|change| !change.is_flip()));
    recorded.session_kept = false;
    assert_eq!(replay(&reads, &recorded, Budget::default()), Err(Cause::SessionUnknown));
    reproduced(&one, &recorded);
}

#[test]
fn each_sort_of_change_is_told() {
    let rules = |more: &str| bundle(DATA, &[ALLOW, more]);
    let plain = rules("_x := 1");
    let recorded = decided(&plain, &call(""), Facts::default(), &[]);
    let duty =
        rules(r#"obligations contains {"id": "u.tell", "type": "notify", "properties": {}}"#);
    assert_eq!(again(&duty, &recorded).changes, [Change::Obligations]);
    assert_eq!(again(&rules(FEW), &recorded).changes, [Change::Limits]);
    let ask = rules("ask contains {\"id\": \"u.sure\"} if true");
    assert_eq!(again(&ask, &recorded).changes, [Change::NewlyAsked]);
    let deny = |id: &str| rules(&format!("deny contains {{\"id\": \"{id}\"}} if true"));
    let denied = decided(&deny("u.a"), &call(""), Facts::default(), &[]);
    assert_eq!(again(&deny("u.b"), &denied).changes, [Change::Reasons]);
    assert_eq!(again(&plain, &denied).changes, [Change::NewlyAllowed]);
    let raised = DATA.replace("\"effect\":\"none\"", "\"effect\":\"none\",\"reads\":\"secret\"");
    assert_eq!(again(&bundle(&raised, &[ALLOW]), &recorded).changes, [Change::Labels]);
    let (one, other) = (redecide(&plain, &recorded, Budget::default()), &deny("u.a"));
    let other = redecide(other, &recorded, Budget::default()).unwrap();
    assert_eq!(changes(&one.unwrap(), &other), [Change::NewlyDenied]);
}

/// The line and side values of a record.
struct Written {
    line: serde_json::Value,
    side: Vec<(&'static str, String)>,
}

impl Written {
    fn of(recorded: &Recorded) -> Self {
        let line = json!({
            "call_id": "c", "effect": recorded.decision.effect, "made": recorded.how,
            "session_kept": recorded.session_kept,
            "request_digest": recorded.decision.request_digest, "more": [1],
        });
        let text = |value: serde_json::Result<String>| value.unwrap();
        let side = vec![
            (recorded::CALL, recorded.call.to_json()),
            (recorded::FACTS, text(serde_json::to_string(&recorded.facts))),
            (recorded::DECISION, recorded.decision.to_json()),
            (recorded::WANTS, text(serde_json::to_string(&recorded.wants))),
        ];
        Self { line, side }
    }

    fn read(&self, erased: &str) -> Result<Recorded, Cause> {
        Recorded::read(&self.line, |pointer| {
            let found = self.side.iter().find(|(name, _)| *name == pointer);
            match found {
                Some(_) if pointer == erased => Side::Erased,
                Some((_, text)) => Side::Text(text),
                None => Side::Absent,
            }
        })
    }
}

#[test]
fn a_record_is_read_back_or_says_why_not() {
    let one = bundle(DATA, &[ALLOW, FEW]);
    let recorded =
        decided(&one, &call(",\"context\":{\"args\":{\"n\": 1.50}}"), Facts::default(), &[]);
    let written = Written::of(&recorded);
    assert_eq!(written.read("").unwrap(), recorded);
    for pointer in [recorded::CALL, recorded::FACTS, recorded::DECISION, recorded::WANTS] {
        assert_eq!(written.read(pointer), Err(Cause::Erased), "{pointer}");
    }
    let line = |member: &str, value: serde_json::Value| {
        let mut other = Written::of(&recorded);
        other.line[member] = value;
        other.read("").unwrap_err()
    };
    let kinds = [
        ("refused", Cause::NotPolicys),
        ("repeated", Cause::Repeated),
        ("uncounted", Cause::WithoutStore),
        ("late", Cause::OutOfTime),
        ("by_magic", Cause::OtherFormat),
    ];
    for (word, cause) in kinds {
        assert_eq!(line("made", word.into()), cause);
    }
    assert_eq!(line("made", serde_json::Value::Null), Cause::OtherFormat);
    assert_eq!(line("call_id", "other".into()), Cause::Malformed);
    assert_eq!(line("effect", "deny".into()), Cause::Malformed);
    assert_eq!(line("request_digest", "sha256:00".into()), Cause::Malformed);
    let side = |at: usize, text: &str| {
        let mut other = Written::of(&recorded);
        other.side[at].1 = text.to_owned();
        other.read("").unwrap_err()
    };
    for at in 0..4 {
        assert_eq!(side(at, "{"), Cause::Malformed);
    }
    assert_eq!(side(0, &call("").to_json()), Cause::Malformed, "another call than was digested");
    assert_eq!(side(1, "{}"), Cause::NoFacts);
    let mut absent = Written::of(&recorded);
    absent.side.remove(1);
    assert_eq!(absent.read(""), Err(Cause::Malformed));
}

#[test]
fn a_bundle_that_was_out_of_time_then_is_no_difference_now() {
    let one = bundle(DATA, &[ALLOW]);
    let mut recorded = decided(&one, &call(""), Facts::default(), &[]);
    recorded.decision.effect = Effect::Deny;
    for id in [reason::BUNDLE_EXPIRED, reason::BUNDLE_STALE] {
        recorded.decision.reasons = vec![Reason::new(id, "")];
        assert_eq!(Written::of(&recorded).read(""), Err(Cause::BundleTimes));
        // A policy may use the same word for something of its own.
        recorded.decision.reasons =
            vec![Reason { policy: "rego/u/u.rego:3".into(), ..Reason::new(id, "") }];
        assert!(Written::of(&recorded).read("").is_ok());
    }
}

#[test]
fn an_engine_that_ran_out_of_time_is_known_by_its_words() {
    let error = |message: &str| crate::engine::EngineError::fatal(message, "");
    let late =
        [error("the policies took longer than 5 ms"), error("execution exceeded time limit (x)")];
    for error in late {
        assert_eq!(How::Committed.with(&[error]), How::Late);
    }
    assert_eq!(How::Committed.with(&[error("division by zero")]), How::Committed);
    let harmless = crate::engine::EngineError { fatal: false, ..error("took longer than 5 ms") };
    assert_eq!(How::Evaluated.with(&[harmless]), How::Evaluated);
    assert_eq!(How::Refused.with(&[error("took longer than 5 ms")]), How::Refused);
    let one = bundle(DATA, &[ALLOW]);
    let call = call("");
    let now = complete_facts(&one, &call, Facts::default(), NOW_MS);
    let budget = Budget { time: std::time::Duration::ZERO, ..Budget::default() };
    let plan = plan(&one, &call, NOW_MS).unwrap();
    let verdict = evaluate(&one, &call, &plan, &mut now.clone(), budget);
    assert_eq!(How::Committed.with(&verdict.errors), How::Late, "{:?}", verdict.errors);
}
