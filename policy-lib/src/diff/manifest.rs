//! Name, version, times, where permits count.

use std::collections::BTreeSet;

use super::{Area, Change, Effect, What};
use crate::bundle::{Manifest, PermitFrom, Scope};

pub(super) fn compare(before: &Manifest, after: &Manifest, changes: &mut Vec<Change>) {
    let mut change = |subject: &str, effect, values: (String, String)| {
        if values.0 != values.1 {
            let change = Change::new(Area::Manifest, subject, What::Changed, effect);
            changes.push(change.values(&values.0, &values.1).place(".manifest"));
        }
    };
    let times = |time: Option<i64>| time.map(rfc3339).unwrap_or_else(|| "never".to_owned());
    change("name", Effect::Nothing, (before.name.clone(), after.name.clone()));
    change("revision", Effect::Nothing, (before.revision.clone(), after.revision.clone()));
    let version = (before.version.to_string(), after.version.to_string());
    change("version", Effect::Nothing, version);
    let later = later(before.expires_ms, after.expires_ms);
    change("expires", later, (times(before.expires_ms), times(after.expires_ms)));
    let always = |time: Option<i64>| time.map_or_else(|| "always".to_owned(), rfc3339);
    let from = (always(before.not_before_ms), always(after.not_before_ms));
    change("not_before", Effect::Nothing, from);
    let staleness = |seconds: Option<u64>| {
        seconds.map_or_else(|| "any".to_owned(), |seconds| format!("{seconds} s"))
    };
    let values = (staleness(before.max_staleness_s), staleness(after.max_staleness_s));
    let longer = self::later(signed(before.max_staleness_s), signed(after.max_staleness_s));
    change("max_staleness", longer, values);
    let permits = (name(before.permit_from), name(after.permit_from));
    let (old, new) = (rank(before.permit_from), rank(after.permit_from));
    let effect = match old.cmp(&new) {
        _ if old == new => Effect::Unclear,
        std::cmp::Ordering::Less => Effect::Widens,
        _ => Effect::Narrows,
    };
    change("permit_from", effect, (permits.0.to_owned(), permits.1.to_owned()));
    units(before, after, changes);
}

/// `None` is without end.
fn later(before: Option<i64>, after: Option<i64>) -> Effect {
    let (before, after) = (before.unwrap_or(i64::MAX), after.unwrap_or(i64::MAX));
    if after > before { Effect::Widens } else { Effect::Narrows }
}

fn signed(seconds: Option<u64>) -> Option<i64> {
    seconds.map(|seconds| i64::try_from(seconds).unwrap_or(i64::MAX))
}

fn rfc3339(ms: i64) -> String {
    jiff::Timestamp::from_millisecond(ms).map(|time| time.to_string()).unwrap_or_default()
}

fn name(from: PermitFrom) -> &'static str {
    match from {
        PermitFrom::All => "all",
        PermitFrom::Cedar => "cedar",
        PermitFrom::Rego => "rego",
        PermitFrom::Any => "any",
    }
}

/// Whoever needs fewer permits allows more.
fn rank(from: PermitFrom) -> u8 {
    match from {
        PermitFrom::All => 0,
        PermitFrom::Cedar | PermitFrom::Rego => 1,
        PermitFrom::Any => 2,
    }
}

fn units(before: &Manifest, after: &Manifest, changes: &mut Vec<Change>) {
    let names: BTreeSet<&String> = before.units.keys().chain(after.units.keys()).collect();
    for unit in names {
        let scope = |manifest: &Manifest| manifest.units.get(unit).and_then(|u| u.scope.clone());
        let (old, new) = (scope(before), scope(after));
        if old == new {
            continue;
        }
        let effect = match (&old, &new) {
            (_, None) => Effect::Widens,
            (None, _) => Effect::Narrows,
            (Some(old), Some(new)) => narrower(old, new),
        };
        let subject = format!("scope of unit `{unit}`");
        let change = Change::new(Area::Manifest, subject, What::Changed, effect);
        changes.push(change.values(&shown(old.as_ref()), &shown(new.as_ref())).place(".manifest"));
    }
}

fn narrower(old: &Scope, new: &Scope) -> Effect {
    let pairs =
        [(&old.agents, &new.agents), (&old.servers, &new.servers), (&old.models, &new.models)];
    let within = |inner: &Option<Vec<String>>, outer: &Option<Vec<String>>| match (inner, outer) {
        (_, None) => true,
        (None, Some(_)) => false,
        (Some(inner), Some(outer)) => inner.iter().all(|name| outer.contains(name)),
    };
    if pairs.iter().all(|(old, new)| within(old, new)) {
        return Effect::Widens;
    }
    if pairs.iter().all(|(old, new)| within(new, old)) {
        return Effect::Narrows;
    }
    Effect::Unclear
}

fn shown(scope: Option<&Scope>) -> String {
    let Some(scope) = scope else { return "everywhere".to_owned() };
    let parts = [("agents", &scope.agents), ("servers", &scope.servers), ("models", &scope.models)];
    let parts = parts.into_iter().filter_map(|(name, list)| {
        list.as_ref().map(|list| format!("{name}: {}", list.join(", ")))
    });
    parts.collect::<Vec<_>>().join("; ")
}
