use lictor_proto::decision::Reason;

use super::*;
use crate::engine::{Denial, Outcome};

fn denial(id: &str) -> Shadow {
    let would = vec![Would::Deny(Denial { reason: Reason::new(id, "") })];
    let text = str::to_owned;
    Shadow { rule: text("deny"), id: text(id), policy: text("p"), would }
}

fn voices(shadows: Vec<Shadow>) -> Vec<Voice> {
    let outcome = Outcome { shadows, ..Outcome::default() };
    vec![Voice { engine: "rego", has_policies: true, outcome }]
}

/// Anything that forbids denies.
fn judge(voices: &[Voice]) -> Effect {
    let forbidden = voices.iter().any(|voice| !voice.outcome.denies.is_empty());
    if forbidden { Effect::Deny } else { Effect::Allow }
}

fn weighed(shadows: Vec<Shadow>) -> Shadows {
    let mut voices = voices(shadows);
    let fired = take(&mut voices);
    assert!(voices.iter().all(|voice| voice.outcome.shadows.is_empty()));
    weigh(fired, voices, Effect::Allow, judge)
}

#[test]
fn rules_past_the_most_are_weighed_together_only() {
    for (number, unweighed) in [(WEIGHED_MAX, 0), (WEIGHED_MAX + 1, 1)] {
        let shadows = weighed((0..number).map(|n| denial(&format!("u.r{n:03}"))).collect());
        let unknown: Vec<_> = shadows.rules.iter().filter(|rule| rule.unweighed).collect();
        assert_eq!((shadows.rules.len(), unknown.len()), (number, unweighed));
        assert!(unknown.iter().all(|rule| rule.flips.is_none()));
        let flips = shadows.rules.iter().filter(|rule| rule.flips == Some(Effect::Deny)).count();
        assert_eq!((flips, shadows.together), (WEIGHED_MAX, Some(Effect::Deny)));
    }
}

#[test]
fn each_rule_is_weighed_without_the_others() {
    let quiet = Shadow { would: Vec::new(), ..denial("u.quiet") };
    let shadows = weighed(vec![denial("u.a"), quiet]);
    let flips: Vec<_> = shadows.rules.iter().map(|rule| rule.flips).collect();
    assert_eq!(flips, [Some(Effect::Deny), None]);
    assert_eq!(weighed(Vec::new()), Shadows::default());
}

#[test]
fn what_one_rule_said_several_times_is_joined() {
    let mut shadows = vec![denial("u.b"), denial("u.a"), denial("u.b")];
    sort(&mut shadows);
    let told: Vec<_> = shadows.iter().map(|s| (s.id.as_str(), s.would.len())).collect();
    assert_eq!(told, [("u.a", 1), ("u.b", 2)]);
}

#[test]
fn a_rule_is_told_as_it_is_recorded() {
    let mut shadows = weighed(vec![denial("u.a")]);
    shadows.rules[0].unweighed = false;
    let told = serde_json::to_value(&shadows.rules).unwrap();
    let row = serde_json::json!([{"rule": "deny", "id": "u.a", "policy": "p", "flips": "deny"}]);
    assert_eq!(told, row);
}
