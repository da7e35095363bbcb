//! What a shadow rule is said to flip is what the bundle decides once the rule is enforced: for
//! every kind of rule of both engines, in every phase, alone and all together.

use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;

use lictor_policy_lib::bundle::{Files, Floor, Limits, Require, Source, Window, verify};
use lictor_policy_lib::conclude::dry_run;
use lictor_policy_lib::engine::Budget;
use lictor_policy_lib::evaluate::Verdict;
use lictor_policy_lib::load::{LoadedBundle, Times};
use lictor_proto::call::{Call, Party, Phase, Question};
use lictor_proto::decision::Effect;
use lictor_proto::facts::Facts;
use proptest::prelude::*;
use serde_json::{Value, json};

const NOW_MS: i64 = 1_800_000_000_000;

/// Rego rules by id. `@` is where `"shadow": true` goes.
const REGO: [(&str, &str); 9] = [
    ("u.deny", r#"deny contains {"id": "u.deny", "message": "m"@} if input.context.args.a0"#),
    (
        "u.each",
        r#"deny contains {"id": "u.each", "message": sprintf("%d", [n])@} if some n in input.context.args.n"#,
    ),
    ("u.ask", r#"ask contains {"id": "u.ask", "message": "m"@} if input.context.args.a1"#),
    (
        "u.one",
        r#"obligations contains {"id": "u.one", "type": "route", "properties": {"to": "x"}@} if input.context.args.a2"#,
    ),
    (
        "u.two",
        r#"obligations contains {"id": "u.two", "type": "route", "properties": {"to": "y"}@} if input.context.args.a3"#,
    ),
    (
        "u.cap",
        r#"obligations contains {"id": "u.cap", "type": "cap_tokens"@} if input.context.args.a4"#,
    ),
    (
        "u.label",
        r#"obligations contains {"id": "u.label", "type": "label", "properties": {"confidentiality": "secret"}@} if input.context.args.a5"#,
    ),
    (
        "u.draw",
        r#"limits contains {"id": "u.draw", "key": "k", "kind": "budget", "max": 1, "per": "1h"@} if input.context.args.a6"#,
    ),
    ("u.half", r#"limits contains {"id": "u.half", "key": "k"@} if input.context.args.a7"#),
];

/// Cedar policies by id. `@mode` is where `@mode("shadow")` goes.
const CEDAR: [(&str, &str); 9] = [
    ("c.bot", r#"permit(principal == Lictor::Agent::"bot", action, resource)"#),
    ("c.helper", r#"permit(principal == Lictor::Agent::"helper", action, resource)"#),
    (
        "c.any",
        "permit(principal, action, resource) when { context.args has b0 && context.args.b0 }",
    ),
    (
        "c.duty",
        r#"@obligation("{\"id\": \"c.route\", \"type\": \"route\", \"properties\": {\"to\": \"z\"}}")
           permit(principal, action, resource) when { context.args has b1 && context.args.b1 }"#,
    ),
    ("c.no", "forbid(principal, action, resource) when { context.args has b2 && context.args.b2 }"),
    (
        "c.no_helper",
        r#"@obligation("{\"id\": \"c.tell\", \"type\": \"notify\"}")
           forbid(principal == Lictor::Agent::"helper", action, resource)"#,
    ),
    (
        "c.ask",
        r#"@ask("bob") forbid(principal, action, resource) when { context.args has b3 && context.args.b3 }"#,
    ),
    (
        "c.fails",
        "forbid(principal, action, resource) when { context.subject_type == \"user\" && context.time.now_ms + 9223372036854775807 > 0 }",
    ),
    (
        "c.reads",
        "forbid(principal, action, resource) when { context.args has amount && context.args.amount.greaterThan(decimal(\"9.0\")) }",
    ),
];

const RULES: usize = REGO.len() + CEDAR.len();
const PERMIT_FROM: [&str; 4] = ["all", "any", "cedar", "rego"];

/// Which rules a bundle has, and which of them only watch: a bit each. What is left out leaves its
/// lines empty, so that places stay the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct Made {
    has: u32,
    watches: u32,
    permit_from: usize,
}

impl Made {
    fn watches(self, rule: usize) -> bool {
        self.has & self.watches & (1 << rule) != 0
    }

    fn enforcing(self, rules: u32) -> Self {
        Self { watches: self.watches & !rules, ..self }
    }

    fn rego(self) -> String {
        let mut text = String::from(
            "package lictor.u\n\nallow if not input.context.args.silent\n\nlist if true\n",
        );
        for (number, (_, rule)) in REGO.iter().enumerate() {
            if self.has & (1 << number) != 0 {
                let shadow = r#", "shadow": true, "until": "2090-01-01""#;
                let shadow = if self.watches(number) { shadow } else { "" };
                text.push_str(&format!("\n{}\n", rule.replacen('@', shadow, 1)));
            } else {
                text.push_str("\n\n");
            }
        }
        text
    }

    /// With one policy that counts, so that enforcing another does not make the engine take part.
    fn cedar(self) -> String {
        if self.has >> REGO.len() == 0 {
            return String::new();
        }
        let mut text =
            "@id(\"c.never\") forbid(principal, action, resource) when { false };\n".to_owned();
        for (number, (id, rule)) in CEDAR.iter().enumerate() {
            let number = REGO.len() + number;
            if self.has & (1 << number) != 0 {
                let mode = if self.watches(number) { "@mode(\"shadow\") " } else { "" };
                text.push_str(&format!("@id(\"{id}\") {mode}{rule};\n"));
            } else {
                text.push_str(&"\n".repeat(rule.lines().count()));
            }
        }
        text
    }

    fn load(self) -> LoadedBundle {
        self.load_with(&self.cedar())
    }

    fn load_with(self, cedar: &str) -> LoadedBundle {
        let names: Vec<String> = (0..8).flat_map(|n| [format!("a{n}"), format!("b{n}")]).collect();
        let mut properties: Value =
            names.into_iter().map(|name| (name, json!({"type": "boolean"}))).collect();
        properties["amount"] = json!({"type": "number"});
        properties["silent"] = json!({"type": "boolean"});
        properties["n"] = json!({"type": "array", "items": {"type": "integer"}});
        let active = json!({"owner": "bob", "status": "active"});
        let data = json!({"registry": {
            "users": {"alice": {}, "bob": {}}, "agents": {"bot": active, "helper": active}, "servers": {"s": {}},
            "tools": {"s/t": {"input_schema": {"type": "object", "properties": properties}}},
        }})
        .to_string();
        let from = PERMIT_FROM[self.permit_from];
        let manifest =
            json!({"metadata": {"lictor": {"name": "t", "version": 1, "permit_from": from}}})
                .to_string();
        let mut pairs =
            vec![(".manifest", manifest), ("data.json", data), ("rego/u/u.rego", self.rego())];
        if !cedar.is_empty() {
            pairs.push(("cedar/c.cedar", cedar.to_owned()));
        }
        let pairs = pairs.into_iter().map(|(name, text)| (name.to_owned(), text.into_bytes()));
        let limits = Limits::default();
        let files = Files::from_pairs(pairs.collect::<Vec<_>>(), &limits).unwrap();
        let floor = Floor { min_version: 0, window: Window::Ignored };
        let source = Source::Folder(files);
        let verified = verify(source, &Require::AllowUnsigned, &floor, &limits, NOW_MS).unwrap();
        LoadedBundle::load(verified, Times::Ignored).unwrap_or_else(|found| panic!("{found:#?}"))
    }
}

thread_local! {
    static LOADED: RefCell<HashMap<Made, Rc<LoadedBundle>>> = RefCell::default();
}

fn bundle(made: Made) -> Rc<LoadedBundle> {
    LOADED
        .with_borrow_mut(|known| Rc::clone(known.entry(made).or_insert_with(|| made.load().into())))
}

#[derive(Debug, Clone)]
struct Asked {
    args: u32,
    amount: Option<&'static str>,
    numbers: Vec<u32>,
    phase: Phase,
    delegated: bool,
    approved: bool,
    questions: Vec<Question>,
}

impl Asked {
    fn call(&self) -> Call {
        let named = |n: u32| if n < 8 { format!("a{n}") } else { format!("b{}", n - 8) };
        let mut args: Value =
            (0..16).map(|n| (named(n), json!(self.args & (1 << n) != 0))).collect();
        args["silent"] = json!(self.args & (1 << 16) != 0);
        args["n"] = json!(self.numbers);
        let mut text = json!({
            "call_id": "c", "subject": {"type": "user", "id": "alice"}, "agent": {"type": "agent", "id": "bot"},
            "credential": {"kind": "jwt", "id": "k"}, "action": {"name": "tools/call"},
            "resource": {"type": "tool", "id": "s/t"}, "context": {"args": args},
        })
        .to_string();
        if let Some(amount) = self.amount {
            text = text.replacen("\"args\":{", &format!("\"args\":{{\"amount\":{amount},"), 1);
        }
        let mut call = Call::from_json(text.as_bytes()).unwrap();
        call.phase = self.phase;
        call.questions = self.questions.clone();
        if self.delegated {
            call.delegation.push(Party::new("agent", "helper"));
        }
        call
    }

    fn verdict(&self, made: Made) -> Verdict {
        let mut facts = Facts::default();
        if self.approved {
            facts.session.approvals = vec!["u.ask".to_owned(), "c.ask".to_owned()];
        }
        let budget = Budget { time: std::time::Duration::from_secs(60), ..Budget::default() };
        dry_run(&bundle(made), &self.call(), facts, NOW_MS, budget).verdict
    }
}

fn id_of(rule: usize) -> &'static str {
    REGO.iter().chain(&CEDAR).nth(rule).unwrap().0
}

/// What the verdict says that a rule would do; a rule that did not fire flips nothing.
fn said(verdict: &Verdict, rule: usize) -> Effect {
    let own = |told: &&lictor_policy_lib::shadow::Weighed| {
        // The duties of a Cedar policy are told besides, by ids of their own.
        told.id == id_of(rule)
    };
    let told: Vec<_> = verdict.shadows.rules.iter().filter(own).collect();
    assert!(told.len() <= 1, "{told:?}");
    told.first().and_then(|told| told.flips).unwrap_or(verdict.effect)
}

fn check(made: Made, asked: &Asked) {
    let watching = asked.verdict(made);
    for rule in (0..RULES).filter(|rule| made.watches(*rule)) {
        let enforced = asked.verdict(made.enforcing(1 << rule));
        let told = said(&watching, rule);
        assert_eq!(
            told,
            enforced.effect,
            "{} in {made:?} for {asked:?}: {watching:#?}",
            id_of(rule)
        );
    }
    let enforced = asked.verdict(made.enforcing(u32::MAX));
    let told = watching.shadows.together.unwrap_or(watching.effect);
    assert_eq!(told, enforced.effect, "{made:?} for {asked:?}: {watching:#?}");
    // The rules themselves change nothing.
    let cedar = made.has >> REGO.len() != 0 && (made.has & !made.watches) >> REGO.len() == 0;
    if !cedar {
        let without = asked.verdict(Made { has: made.has & !made.watches, watches: 0, ..made });
        let told = |verdict: &Verdict| {
            (
                verdict.effect,
                verdict.reasons.clone(),
                verdict.obligations.clone(),
                verdict.limits.clone(),
            )
        };
        assert_eq!(told(&watching), told(&without), "{made:?} for {asked:?}");
    }
}

fn asked() -> impl Strategy<Value = Asked> {
    let amount =
        prop_oneof![Just(None), Just(Some("1.5")), Just(Some("12.5")), Just(Some("0.00001"))];
    let phase =
        prop_oneof![4 => Just(Phase::Request), 2 => Just(Phase::List), 1 => Just(Phase::Response)];
    let questions = prop_oneof![
        4 => Just(Question::ALL.to_vec()),
        1 => Just(vec![Question::Guardrail]),
        1 => Just(vec![Question::Authz]),
        1 => Just(vec![Question::Quota]),
    ];
    let numbers = proptest::collection::vec(0..5u32, 0..3);
    // About a third of the conditions hold.
    let args = (any::<u32>(), any::<u32>()).prop_map(|(a, b)| a & b & 0x1_ffff);
    (args, amount, numbers, phase, any::<bool>(), any::<bool>(), questions).prop_map(
        |(args, amount, numbers, phase, delegated, approved, questions)| Asked {
            args,
            amount,
            numbers,
            phase,
            delegated,
            approved,
            questions,
        },
    )
}

fn made() -> impl Strategy<Value = Made> {
    let rules = 0..(1u32 << RULES);
    (rules.clone(), rules, 0..PERMIT_FROM.len()).prop_map(|(has, watches, permit_from)| Made {
        has,
        watches,
        permit_from,
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 40, ..ProptestConfig::default() })]

    #[test]
    fn a_flip_is_what_enforcing_the_rule_decides(
        made in made(),
        calls in proptest::collection::vec(asked(), 12),
    ) {
        for asked in &calls {
            check(made, asked);
        }
        LOADED.with_borrow_mut(HashMap::clear);
    }
}

fn request(args: &[&str]) -> Asked {
    let bit = |name: &&str| {
        let number: u32 = name.trim_start_matches(['a', 'b']).parse().unwrap();
        1 << (number + if name.starts_with('b') { 8 } else { 0 })
    };
    Asked {
        args: args.iter().map(bit).sum(),
        amount: None,
        numbers: Vec::new(),
        phase: Phase::Request,
        delegated: false,
        approved: false,
        questions: Question::ALL.to_vec(),
    }
}

#[test]
fn an_engine_whose_policies_all_watch_takes_no_part() {
    let text = "@id(\"c.no\") @mode(\"shadow\") forbid(principal, action, resource) when { context.args has b2 && context.args.b2 };\n";
    let asked = request(&["b2"]);
    let verdict = |cedar: &str| {
        let bundle = Made { has: 0, watches: 0, permit_from: 0 }.load_with(cedar);
        dry_run(&bundle, &asked.call(), Facts::default(), NOW_MS, Budget::default()).verdict
    };
    let watching = verdict(text);
    assert_eq!((watching.effect, watching.engines), (Effect::Allow, vec!["rego"]));
    assert_eq!(watching.shadows.rules[0].flips, Some(Effect::Deny));
    assert_eq!(verdict(&text.replace("@mode(\"shadow\")", "")).effect, Effect::Deny);
}

/// A bundle whose permit for the bot counts, with these rules that watch.
fn watching(rules: &[&str]) -> Made {
    let bit = |id: &&str| 1 << (0..RULES).find(|rule| id_of(*rule) == *id).unwrap();
    let watches: u32 = rules.iter().map(bit).sum();
    Made { has: watches | bit(&"c.bot"), watches, permit_from: 0 }
}

/// What the rules would flip to, by id.
fn flips(made: Made, asked: &Asked) -> Vec<(String, String, Option<Effect>)> {
    check(made, asked);
    let rules = asked.verdict(made).shadows.rules;
    rules.into_iter().map(|rule| (rule.rule, rule.id, rule.flips)).collect()
}

fn row(rule: &str, id: &str, flips: Option<Effect>) -> (String, String, Option<Effect>) {
    (rule.to_owned(), id.to_owned(), flips)
}

#[test]
fn what_would_deny_or_ask_flips_an_allow_and_what_would_add_or_draw_does_not() {
    let made = watching(&["u.deny", "u.ask", "u.one", "u.draw"]);
    let (deny, ask) = (Some(Effect::Deny), Some(Effect::Ask));
    assert_eq!(
        flips(made, &request(&["a0", "a1", "a2", "a6"])),
        [
            row("ask", "u.ask", ask),
            row("deny", "u.deny", deny),
            row("limits", "u.draw", None),
            row("obligations", "u.one", None)
        ]
    );
    let verdict = request(&["a0", "a1"]).verdict(made);
    assert_eq!((verdict.effect, verdict.shadows.together), (Effect::Allow, deny));
    assert!(verdict.limits.is_empty());
}

#[test]
fn a_rule_that_says_several_things_is_one_rule() {
    let asked = Asked { numbers: vec![1, 2, 3], ..request(&[]) };
    assert_eq!(flips(watching(&["u.each"]), &asked), [row("deny", "u.each", Some(Effect::Deny))]);
}

#[test]
fn duties_that_contradict_only_together_flip_only_together() {
    let made = watching(&["u.one", "u.two"]);
    let asked = request(&["a2", "a3"]);
    let [one, two] = [row("obligations", "u.one", None), row("obligations", "u.two", None)];
    assert_eq!(flips(made, &asked), [one, two]);
    assert_eq!(asked.verdict(made).shadows.together, Some(Effect::Deny));
}

#[test]
fn a_permit_that_watches_flips_a_denial() {
    let mut made = watching(&["c.bot"]);
    assert_eq!(flips(made, &request(&[])), [row("allow", "c.bot", Some(Effect::Allow))]);
    // Each permits one of the chain; both together permit it.
    made = watching(&["c.bot", "c.helper"]);
    let asked = Asked { delegated: true, ..request(&[]) };
    assert_eq!(flips(made, &asked), [row("allow", "c.bot", None), row("allow", "c.helper", None)]);
    assert_eq!(asked.verdict(made).shadows.together, Some(Effect::Allow));
}

#[test]
fn a_rule_that_would_fail_would_deny() {
    let fails = flips(watching(&["c.fails"]), &request(&[]));
    assert_eq!(fails, [row("deny", "c.fails", Some(Effect::Deny))]);
    let asked = Asked { amount: Some("0.00001"), ..request(&[]) };
    assert_eq!(flips(watching(&["c.reads"]), &asked), [row("deny", "c.reads", Some(Effect::Deny))]);
    assert_eq!(
        flips(watching(&["u.half"]), &request(&["a7"])),
        [row("limits", "u.half", Some(Effect::Deny))]
    );
}

#[test]
fn a_limit_that_lacked_room_was_no_flip_to_a_denial() {
    let shadows = request(&["a0", "a1"]).verdict(watching(&["u.deny", "u.ask"])).shadows;
    let against: Vec<_> =
        shadows.against(Effect::Deny).rules.iter().map(|rule| rule.flips).collect();
    assert_eq!(against, [Some(Effect::Ask), None]);
    assert_eq!(shadows.against(Effect::Deny).together, None);
    assert_eq!(shadows.against(Effect::Allow), shadows);
}
