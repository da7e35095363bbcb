//! The counts of a replay, for people and as JSON.

use lictor_policy_lib::replay::{Cause, Change};
use lictor_proto::decision::BundleRef;
use serde_json::{Value, json};

use super::Replay;
use super::tally::{Counted, Example, Group, Key, Skipped, Tally};
use crate::output::{Paint, shown};
use crate::time::rfc3339;

/// For people: the sums, then every group with the most calls first.
pub(super) fn pretty(replay: &Replay, paint: Paint) -> String {
    let Replay { bundles, source, tally, .. } = replay;
    let mut text = format!("candidate {}\n", bundle(bundles.candidate.reference()));
    if let Some(baseline) = &bundles.baseline {
        text.push_str(&format!("baseline  {}\n", bundle(baseline.reference())));
    }
    let verified = match source.verified() {
        "trusted_keys" => "verified by trusted keys".to_owned(),
        "own_keys" => "consistent with the keys they name".to_owned(),
        _ => paint.red("NOT VERIFIED"),
    };
    let logs = source.names().len();
    text.push_str(&format!("logs      {logs}, {verified}\n"));
    text.push_str(&format!("decisions {}\n", decisions(tally)));
    if tally.tenants.len() > 1 {
        let names: Vec<String> = tally.tenants.keys().map(|name| shown(name)).collect();
        let names = names.join(", ");
        text.push_str(&format!("tenants   {names}: `--tenant` replays those of one\n"));
    }
    text.push_str(&reproduced(tally, paint));
    text.push_str(&changes(tally, paint));
    text.push_str(&not_replayed(tally, paint));
    text
}

fn bundle(reference: &BundleRef) -> String {
    let BundleRef { name, version, digest, .. } = reference;
    format!("{} version {version} {}", shown(name), shown(digest))
}

fn decisions(tally: &Tally) -> String {
    let mut parts = vec![format!("{}, {} replayed", tally.decisions, tally.replayed)];
    if let Some((first, last)) = tally.span_ms {
        parts.push(format!("{} to {}", rfc3339(first), rfc3339(last)));
    }
    if tally.left_out > 0 {
        parts.push(format!("{} left out as asked", tally.left_out));
    }
    parts.join(", ")
}

fn reproduced(tally: &Tally, paint: Paint) -> String {
    let same = tally.same_bundle;
    if same == 0 {
        return String::new();
    }
    let good = same - tally.faults.count;
    let sum = format!("{good} of {same} reproduced");
    if tally.faults.count == 0 {
        let verdict = paint.green(&sum);
        return format!("same bundle: {verdict}\n");
    }
    let members: Vec<String> =
        tally.faulty_members.iter().map(|(member, count)| format!("{member} {count}")).collect();
    let verdict = paint.red(&format!("FAULT: {sum}"));
    let examples = examples(&tally.faults.examples);
    format!("same bundle: {verdict}, different: {}\n{examples}", members.join(", "))
}

fn changes(tally: &Tally, paint: Paint) -> String {
    let mut text = format!("unchanged {}\n", tally.unchanged);
    for change in Change::ALL {
        let count = tally.changes.get(&change).copied().unwrap_or_default();
        if count == 0 && !change.is_flip() {
            continue;
        }
        let head = format!("{} {count}", words(change));
        let head = match change {
            _ if count == 0 => head,
            Change::NewlyAllowed | Change::NewlyDenied => paint.red(&head),
            _ => paint.yellow(&head),
        };
        text.push_str(&format!("{head}\n"));
        let mut groups: Vec<(&Key, &Group)> =
            tally.groups.iter().filter(|(key, _)| key.change == change).collect();
        groups.sort_by_key(|(key, group)| (std::cmp::Reverse(group.calls.count), *key));
        for (key, group) in groups {
            text.push_str(&group_line(key, group));
        }
    }
    if tally.limits_unknown > 0 {
        text.push_str(&format!(
            "limits unknown {}: these calls draw on limits whose room the records do not tell\n",
            tally.limits_unknown
        ));
    }
    text
}

fn words(change: Change) -> &'static str {
    match change {
        Change::NewlyAllowed => "newly allowed",
        Change::NewlyDenied => "newly denied",
        Change::NewlyAsked => "newly asked",
        Change::Reasons => "other reasons",
        Change::Obligations => "other obligations",
        Change::Limits => "other limits",
        Change::Findings => "other findings",
        Change::Labels => "other labels",
    }
}

fn group_line(key: &Key, group: &Group) -> String {
    let mut parts: Vec<String> =
        [&key.tool, &key.agent].iter().filter(|t| !t.is_empty()).map(|t| shown(t)).collect();
    if !key.before.is_empty() || !key.after.is_empty() {
        parts.push(format!("{} -> {}", listed(&key.before), listed(&key.after)));
    }
    if group.limits_unknown > 0 {
        parts.push(format!("({} if limits have room)", group.limits_unknown));
    }
    let line = format!("{:>8}  {}", group.calls.count, parts.join("  "));
    format!("{}\n{}", line.trim_end(), examples(&group.calls.examples))
}

fn listed(ids: &[String]) -> String {
    if ids.is_empty() { "-".to_owned() } else { shown(&ids.join(" ")) }
}

fn examples(examples: &[Example]) -> String {
    let line = |example: &Example| {
        let (call, log) = (shown(&example.call_id), shown(&example.log));
        format!("          call {call}, record {} of {log}\n", example.seq)
    };
    examples.iter().map(line).collect()
}

fn not_replayed(tally: &Tally, paint: Paint) -> String {
    let count: u64 = tally.skipped.values().map(|skipped| skipped.calls.count).sum();
    let mut text = String::new();
    if count > 0 {
        text.push_str(&format!("{}\n", paint.yellow(&format!("not replayed {count}"))));
    }
    for (cause, skipped) in &tally.skipped {
        let reasons: Vec<String> =
            skipped.reasons.iter().map(|(id, count)| format!("{} {count}", shown(id))).collect();
        let count = skipped.calls.count;
        let more =
            if reasons.is_empty() { String::new() } else { format!(" ({})", reasons.join(", ")) };
        text.push_str(&format!("{count:>8}  {}{more}\n", cause.meaning()));
    }
    if tally.unreadable > 0 {
        text.push_str(&format!("lines that are no records {}\n", tally.unreadable));
    }
    if tally.other_kinds > 0 {
        text.push_str(&format!("records that are no decisions {}\n", tally.other_kinds));
    }
    text
}

/// One JSON document.
pub(super) fn json(replay: &Replay) -> Value {
    let Replay { bundles, source, tally, failed_on } = replay;
    let changes: serde_json::Map<String, Value> = Change::ALL
        .iter()
        .map(|change| {
            let count = tally.changes.get(change).copied().unwrap_or_default();
            (change.as_str().to_owned(), count.into())
        })
        .collect();
    let decided_by: Vec<Value> = tally
        .bundles
        .iter()
        .map(|(by, count)| {
            json!({"name": by.name, "version": by.version, "digest": by.digest, "decisions": count})
        })
        .collect();
    json!({
        "candidate": bundles.candidate.reference(),
        "baseline": bundles.baseline.as_ref().map(|baseline| baseline.reference()),
        "logs": {"verified": source.verified(), "names": source.names()},
        "decisions": tally.decisions,
        "left_out": tally.left_out,
        "other_kinds": tally.other_kinds,
        "unreadable": tally.unreadable,
        "first": tally.span_ms.map(|(first, _)| rfc3339(first)),
        "last": tally.span_ms.map(|(_, last)| rfc3339(last)),
        "tenants": tally.tenants,
        "decided_by": decided_by,
        "replayed": tally.replayed,
        "unchanged": tally.unchanged,
        "same_bundle": {
            "decisions": tally.same_bundle,
            "reproduced": tally.same_bundle - tally.faults.count,
            "faults": counted(&tally.faults, json!({"members": tally.faulty_members})),
        },
        "limits_unknown": tally.limits_unknown,
        "changes": changes,
        "groups": tally.groups.iter().map(group_json).collect::<Vec<_>>(),
        "not_replayed": tally.skipped.iter().map(skipped_json).collect::<Vec<_>>(),
        "failed_on": failed_on,
    })
}

fn counted(counted: &Counted, mut object: Value) -> Value {
    if let Some(members) = object.as_object_mut() {
        members.insert("count".to_owned(), counted.count.into());
        members.insert("examples".to_owned(), json!(counted.examples));
    }
    object
}

fn group_json((key, group): (&Key, &Group)) -> Value {
    let object = json!({
        "change": key.change, "tool": key.tool, "agent": key.agent,
        "before": key.before, "after": key.after, "limits_unknown": group.limits_unknown,
    });
    counted(&group.calls, object)
}

fn skipped_json((cause, skipped): (&Cause, &Skipped)) -> Value {
    let object = json!({
        "cause": cause, "meaning": cause.meaning(), "reasons": skipped.reasons,
    });
    counted(&skipped.calls, object)
}
