//! Where a bundle says that answers need no second decision, asking for one changes nothing: over
//! the bundles of this repository and their cases, and over generated policies of both engines.

use std::path::{Path, PathBuf};

use lictor_policy_lib::bundle::{Files, Floor, Limits, Require, Source, Window, verify};
use lictor_policy_lib::cases::parse;
use lictor_policy_lib::conclude::dry_run;
use lictor_policy_lib::engine::Budget;
use lictor_policy_lib::evaluate::Verdict;
use lictor_policy_lib::load::{LoadedBundle, Times};
use lictor_proto::call::{Call, Content, Origin, Phase};
use lictor_proto::decide::ResponseCheck;
use lictor_proto::decision::{Confidentiality, Effect, Finding, Integrity, Severity};
use lictor_proto::facts::Facts;
use proptest::prelude::*;
use proptest::strategy::ValueTree as _;
use serde_json::{Value, json};

const NOW_MS: i64 = 1_800_000_000_000;

/// A file of a bundle: its name and its bytes.
type Pair = (String, Vec<u8>);

fn load(pairs: Vec<Pair>) -> LoadedBundle {
    let limits = Limits::default();
    let files = Files::from_pairs(pairs, &limits).unwrap();
    let floor = Floor { min_version: 0, window: Window::Ignored };
    let source = Source::Folder(files);
    let verified = verify(source, &Require::AllowUnsigned, &floor, &limits, NOW_MS).unwrap();
    LoadedBundle::load(verified, Times::Ignored).unwrap_or_else(|found| panic!("{found:#?}"))
}

fn verdict(bundle: &LoadedBundle, call: &Call, facts: Facts) -> Verdict {
    let budget = Budget { time: std::time::Duration::from_secs(60), ..Budget::default() };
    dry_run(bundle, call, facts, NOW_MS, budget).verdict
}

/// An answer, and what has become of the session meanwhile.
#[derive(Debug, Clone)]
struct Answered {
    texts: Vec<(usize, String)>,
    findings: Vec<(String, usize)>,
    calls: u64,
    later_ms: i64,
    repeats: u64,
    secret: bool,
}

const ORIGINS: [Origin; 3] = [Origin::Assistant, Origin::ToolResult, Origin::ToolArgs];
const SEVERITIES: [Severity; 3] = [Severity::Low, Severity::Medium, Severity::High];

fn answered() -> impl Strategy<Value = Answered> {
    let text = prop_oneof![
        "[a-z ]{0,20}",
        Just("ghp_0123456789abcdefghijklmnopqrstuvwxyzAB".to_owned()),
        Just("build7.corp.example.com 4111 1111 1111 1111".to_owned()),
    ];
    let detector = prop_oneof![
        Just("secret/github-pat"),
        Just("pii/card"),
        Just("hidden/bidi"),
        Just("custom/internal-host"),
        Just("uninspected/image"),
    ];
    let texts = proptest::collection::vec((0..3usize, text), 0..4);
    let findings = proptest::collection::vec((detector.prop_map(str::to_owned), 0..3usize), 0..4);
    (texts, findings, 0u64..12, 0i64..100_000_000, 0u64..12, any::<bool>()).prop_map(
        |(texts, findings, calls, later_ms, repeats, secret)| Answered {
            texts,
            findings,
            calls,
            later_ms,
            repeats,
            secret,
        },
    )
}

impl Answered {
    /// The second decision's call and facts, as a decision point has them.
    fn of(&self, call: &Call, facts: &Facts) -> (Call, Facts) {
        let (mut call, mut facts) = (call.clone(), facts.clone());
        call.request_call_id = Some(std::mem::replace(&mut call.call_id, "second".to_owned()));
        call.phase = Phase::Response;
        call.executed = true;
        call.content = (self.texts.iter())
            .map(|(origin, text)| Content {
                origin: ORIGINS[*origin],
                pointer: "/text".to_owned(),
                media: "text/plain".to_owned(),
                text: text.clone(),
            })
            .collect();
        let findings = self.findings.iter().map(|(detector, severity)| Finding {
            detector: detector.clone(),
            category: detector.split('/').next().unwrap().to_owned(),
            severity: SEVERITIES[*severity],
            score: 1.0,
            content: 0,
            start: 0,
            end: 1,
        });
        // Detectors of the bundle run besides; what others found comes with the facts.
        facts.findings = findings.filter(|_| !call.content.is_empty()).collect();
        let resource = call.resource.as_ref().map(|r| r.id.clone()).unwrap_or_default();
        *facts.session.calls.entry(resource.clone()).or_default() += self.calls;
        facts.session.tail.push(resource.clone());
        facts.session.pending.push(resource);
        facts.session.spend_usd_micros += self.calls * 1_000_000;
        facts.session.approvals.clear();
        facts.signals.repeats += self.repeats;
        facts.signals.no_progress += self.repeats;
        facts.signals.rate += self.repeats as f64;
        facts.signals.first_use = false;
        if self.secret {
            facts.session.labels.integrity = Integrity::Untrusted;
            facts.session.labels.confidentiality = Confidentiality::Secret;
        }
        facts.time.now_ms = NOW_MS + self.later_ms;
        facts.time.rfc3339 = "2027-01-15T23:59:59Z".to_owned();
        (call, facts)
    }

    /// What asking would change of a call that was allowed by `first`.
    fn changes(
        &self,
        bundle: &LoadedBundle,
        call: &Call,
        facts: &Facts,
        first: &Verdict,
    ) -> Vec<String> {
        let (call, facts) = self.of(call, facts);
        let second = verdict(bundle, &call, facts);
        let mut changes: Vec<String> = second.reasons.iter().map(|r| r.id.clone()).collect();
        if second.effect != Effect::Allow {
            changes.push(second.effect.as_str().to_owned());
        }
        changes.extend(second.obligations.iter().map(|o| o.kind.as_str().to_owned()));
        changes.extend(second.marks.into_iter().filter(|mark| !first.marks.contains(mark)));
        changes
    }
}

// === the bundles of this repository ===

fn files_of(root: &Path) -> Vec<Pair> {
    let (mut open, mut pairs) = (vec![root.to_owned()], Vec::new());
    while let Some(folder) = open.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                open.push(path);
                continue;
            }
            let name = path.strip_prefix(root).unwrap().to_str().unwrap().to_owned();
            pairs.push((name, std::fs::read(&path).unwrap()));
        }
    }
    pairs
}

/// Every bundle here that has cases, and the same without its detectors.
fn bundles() -> Vec<(String, Vec<Pair>)> {
    let crate_root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut roots: Vec<PathBuf> = std::fs::read_dir(crate_root.join("../bundles"))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.join("data.json").is_file())
        .collect();
    roots.push(crate_root.join("testdata/decisions"));
    roots.sort();
    let mut bundles = Vec::new();
    for root in roots {
        let name = root.file_name().unwrap().to_str().unwrap().to_owned();
        let files = files_of(&root);
        let mut blind = files.clone();
        let (_, data) = blind.iter_mut().find(|(name, _)| name == "data.json").unwrap();
        let mut value: Value = serde_json::from_slice(data).unwrap();
        if value.as_object_mut().unwrap().remove("guardrails").is_some() {
            *data = value.to_string().into_bytes();
            bundles.push((format!("{name}, blind"), blind));
        }
        bundles.push((name, files));
    }
    bundles
}

#[test]
fn asking_about_answers_changes_nothing_where_a_bundle_says_so() {
    let mut runner = proptest::test_runner::TestRunner::deterministic();
    let mut answers = || answered().new_tree(&mut runner).unwrap().current();
    let (mut said_none, mut asked) = (Vec::new(), 0);
    for (name, files) in bundles() {
        let cases: Vec<_> = files
            .iter()
            .filter(|(name, _)| name.starts_with("cases/"))
            .flat_map(|(name, text)| parse(name, std::str::from_utf8(text).unwrap()).unwrap().cases)
            .collect();
        let bundle = load(files);
        let none = bundle.response_check() == ResponseCheck::None;
        let mut mattered = false;
        for case in cases.iter().filter(|case| case.call.phase == Phase::Request) {
            let first = verdict(&bundle, &case.call, case.facts.clone());
            if first.effect != Effect::Allow {
                continue;
            }
            for _ in 0..24 {
                let answer = answers();
                let changes = answer.changes(&bundle, &case.call, &case.facts, &first);
                assert!(!none || changes.is_empty(), "{name}, {}: {changes:?}", case.name);
                mattered |= !changes.is_empty();
                asked += usize::from(none);
            }
        }
        if none {
            said_none.push(name);
        } else {
            let detects = !name.ends_with("blind") && name != "decisions";
            assert!(mattered || detects, "{name} is asked, and nothing ever comes of it");
        }
    }
    assert!(asked > 1_000, "{asked}");
    assert_eq!(said_none, ["agent-baseline", "delegation", "pr-review, blind", "session-rules"]);
}

// === generated policies ===

/// What a rule may look at, in Rego.
const REGO: [&str; 12] = [
    "input.context.args.n > 2",
    "input.agent.id == \"bot\"",
    "data.registry.users[input.subject.id]",
    "input.facts.session.calls[\"s/t\"] > 2",
    "input.facts.time.now_ms > 1800000050000",
    "input.facts.signals.loop > 3",
    "some finding in input.facts.findings; finding.category == \"secret\"",
    "count(input.content) > 1",
    "input.executed",
    "input.phase == \"response\"",
    "_asked",
    "_helped(input.context.args.n)",
];
/// What may stand before that.
const REGO_GUARDS: [&str; 7] = [
    "input.tenant == \"default\"",
    "input.phase == \"request\"",
    "input.phase != \"response\"",
    "_asked",
    "not _asked",
    "input.phase in {\"list\", \"request\"}",
    "_late",
];
/// What a rule may say.
const REGO_HEADS: [&str; 8] = [
    "deny contains {\"id\": \"u.ID\", \"message\": \"m\"}",
    "deny contains {\"id\": \"u.ID\", \"message\": sprintf(\"%d\", [to_number(input.phase)])}",
    "labels contains \"lID\"",
    "labels contains sprintf(\"%s\", [input.phase])",
    "obligations contains {\"id\": \"u.ID\", \"type\": \"mask\", \"properties\": {}}",
    "obligations contains {\"id\": \"u.ID\", \"type\": \"set_header\", \"properties\": {\"name\": \"xID\", \"value\": \"v\"}}",
    "obligations contains {\"id\": \"u.ID\", \"type\": \"log_full\", \"properties\": {}}",
    "ask contains {\"id\": \"u.ID\", \"message\": \"m\"}",
];
const REGO_HELPERS: &str = "
_asked if { input.phase == \"request\"; input.tenant }

_helped(n) if { n > 3; _asked }

_late if input.facts.time.now_ms > 1800000050000

allow if true
";
/// What a policy may look at, in Cedar.
const CEDAR: [&str; 12] = [
    "context.args has n && context.args.n > 2",
    "principal.party == \"own\"",
    "context.request.tenant == \"default\"",
    "context.session.calls_here > 2",
    "context.time.now_ms > 1800000050000",
    "context.signals.loop + 9223372036854775800 > 3",
    "context.finding_categories.contains(\"secret\")",
    "context.executed",
    "context.phase == \"response\"",
    "context.phase == \"request\"",
    "context.phase != \"response\"",
    "[\"list\", \"request\"].contains(context.phase)",
];
const CEDAR_HEADS: [&str; 5] = [
    "@id(\"c.ID\") forbid",
    "@id(\"c.ID\") @ask(\"bob\") forbid",
    "@id(\"c.ID\") permit",
    "@id(\"c.ID\") @obligation(\"{\\\"id\\\": \\\"c.oID\\\", \\\"type\\\": \\\"notify\\\"}\") permit",
    "@id(\"c.ID\") @ask(\"bob\") @obligation(\"{\\\"id\\\": \\\"c.oID\\\", \\\"type\\\": \\\"label\\\", \\\"properties\\\": {}}\") forbid",
];

#[derive(Debug, Clone)]
struct Made {
    rego: Vec<(usize, Option<usize>, usize)>,
    cedar: Vec<(usize, usize, usize, bool)>,
}

fn made() -> impl Strategy<Value = Made> {
    let rego = (0..REGO_HEADS.len(), proptest::option::of(0..REGO_GUARDS.len()), 0..REGO.len());
    let cedar = (0..CEDAR_HEADS.len(), 0..CEDAR.len(), 0..CEDAR.len(), any::<bool>());
    (proptest::collection::vec(rego, 0..3), proptest::collection::vec(cedar, 0..3))
        .prop_map(|(rego, cedar)| Made { rego, cedar })
}

impl Made {
    fn load(&self) -> LoadedBundle {
        let mut rego = format!("package lictor.u\n{REGO_HELPERS}");
        for (number, (head, guard, body)) in self.rego.iter().enumerate() {
            let head = REGO_HEADS[*head].replace("ID", &number.to_string());
            let guard = guard.map(|guard| format!("{}; ", REGO_GUARDS[guard])).unwrap_or_default();
            rego.push_str(&format!("\n{head} if {{ {guard}{} }}\n", REGO[*body]));
        }
        let mut cedar = "@id(\"c.all\") permit(principal, action, resource);\n".to_owned();
        for (number, (head, first, then, both)) in self.cedar.iter().enumerate() {
            let head = CEDAR_HEADS[*head].replace("ID", &number.to_string());
            let join = if *both { "&&" } else { "||" };
            let (first, then) = (CEDAR[*first], CEDAR[*then]);
            cedar.push_str(&format!(
                "{head} (principal, action, resource) when {{ ({first}) {join} ({then}) }};\n"
            ));
        }
        let schema = json!({"type": "object", "properties": {"n": {"type": "integer"}}});
        let data = json!({"registry": {
            "users": {"alice": {}, "bob": {}}, "servers": {"s": {}},
            "agents": {"bot": {"owner": "bob", "status": "active"}},
            "tools": {"s/t": {"input_schema": schema}},
        }});
        let manifest = json!({"metadata": {"lictor": {"name": "t", "version": 1}}});
        let text = |name: &str, text: String| (name.to_owned(), text.into_bytes());
        load(vec![
            text(".manifest", manifest.to_string()),
            text("data.json", data.to_string()),
            text("rego/u/u.rego", rego),
            text("cedar/c.cedar", cedar),
        ])
    }
}

fn call(n: u32) -> Call {
    let text = json!({
        "call_id": "c", "subject": {"type": "user", "id": "alice"}, "agent": {"type": "agent", "id": "bot"},
        "credential": {"kind": "jwt", "id": "k"}, "action": {"name": "tools/call"},
        "resource": {"type": "tool", "id": "s/t"}, "context": {"args": {"n": n}},
    });
    Call::from_json(text.to_string().as_bytes()).unwrap()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    #[test]
    fn asking_about_answers_changes_nothing_where_generated_policies_say_so(
        made in made(),
        answers in proptest::collection::vec(answered(), 12),
    ) {
        let bundle = made.load();
        prop_assume!(bundle.response_check() == ResponseCheck::None);
        for n in 0..6 {
            let (call, mut facts) = (call(n), Facts::default());
            facts.session.approvals = (0..3).flat_map(|n| [format!("u.{n}"), format!("c.{n}")]).collect();
            let first = verdict(&bundle, &call, facts.clone());
            if first.effect != Effect::Allow {
                continue;
            }
            for answer in &answers {
                let changes = answer.changes(&bundle, &call, &facts, &first);
                prop_assert!(changes.is_empty(), "{:?}", changes);
            }
        }
    }
}
