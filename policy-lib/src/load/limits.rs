//! `limits` of `data.json`, entry by entry.

use std::collections::BTreeMap;

use lictor_proto::json::node::escape_token;
use serde_json::Value;

use super::data::Places;
use crate::diagnostic::{Diagnostic, suggest};
use crate::known::domain::Domain;
use crate::known::{Kind, Known};
use crate::limits::{LimitKind, LimitSpec, Window};

/// What `per` may be.
const PER_HELP: &str = "use `session`, `second`, `minute`, `hour`, `day`, `week`, a number with s, m, h, d up to 366 days, or `calendar hour`, `calendar day`, `calendar week`, `calendar month` with an IANA `time_zone`";

/// Members that a limit may have.
const MEMBERS: &[&str] = &[
    "kind",
    "max",
    "burst",
    "per",
    "time_zone",
    "unit",
    "on_error",
    "refund_on_failure",
    "match",
    "key",
];

/// Reads all limits; one that is refused is reported and missing.
pub(super) fn read(
    data: &Value,
    places: &Places<'_>,
    found: &mut Vec<Diagnostic>,
) -> BTreeMap<String, LimitSpec> {
    let entries = match data.get("limits") {
        None | Some(Value::Null) => return BTreeMap::new(),
        Some(Value::Object(entries)) => entries,
        Some(_) => {
            let message = "`limits` is not an object".to_owned();
            found.push(problem(places, "/limits", message, "write `\"<id>\": {...}` in it"));
            return BTreeMap::new();
        }
    };
    let mut limits = BTreeMap::new();
    for (id, entry) in entries {
        let at = format!("/limits/{}", escape_token(id));
        match serde_json::from_value::<LimitSpec>(entry.clone()) {
            Ok(spec) => {
                check(id, &spec, &at, places, found);
                limits.insert(id.clone(), spec);
            }
            Err(error) => found.push(unread(id, entry, &at, places, &error)),
        }
    }
    limits
}

fn problem(places: &Places<'_>, pointer: &str, message: String, help: &str) -> Diagnostic {
    let (line, col) = places.at(pointer);
    Diagnostic::error("limit_invalid", "data.json", message).at(line, col).help(help)
}

/// An entry of another form, at the member that is meant if that can be told.
fn unread(
    id: &str,
    entry: &Value,
    at: &str,
    places: &Places<'_>,
    error: &serde_json::Error,
) -> Diagnostic {
    let members = entry.as_object().into_iter().flatten();
    for (member, value) in members {
        let pointer = format!("{at}/{}", escape_token(member));
        if !MEMBERS.contains(&member.as_str()) {
            let message = format!("limit `{id}`: there is no `{member}` in a limit");
            let help = match suggest(member, MEMBERS.iter().copied()) {
                Some(near) => format!("did you mean `{near}`?"),
                None => format!("there are {}", MEMBERS.join(", ")),
            };
            return problem(places, &pointer, message, &help);
        }
        // Whether this member alone is what is wrong.
        let alone = serde_json::json!({"kind": "budget", (member.as_str()): value});
        if let Err(error) = serde_json::from_value::<LimitSpec>(alone) {
            let message = format!("limit `{id}`: `{member}`: {error}");
            return problem(places, &pointer, message, "");
        }
    }
    problem(places, at, format!("limit `{id}`: {error}"), "")
}

fn check(id: &str, spec: &LimitSpec, at: &str, places: &Places<'_>, found: &mut Vec<Diagnostic>) {
    let per = format!("{at}/per");
    match spec.span() {
        None => {
            let zone = spec.time_zone.as_deref();
            let zone = zone.map(|zone| format!(" in `{zone}`")).unwrap_or_default();
            let message = format!("limit `{id}`: `per` is `{}`{zone}", spec.per);
            found.push(problem(places, &per, message, PER_HELP));
        }
        Some(span) if spec.kind == LimitKind::Rate => {
            if !matches!(span.at(0), Window::Sliding { .. }) {
                let message = format!("limit `{id}`: a rate cannot be per `{}`", spec.per);
                let help = "a rate needs a duration such as `1s`; a `budget` is what has a period";
                let pointer = if places.at(&per).0 > 0 { per.as_str() } else { at };
                found.push(problem(places, pointer, message, help));
            }
        }
        Some(_) if spec.burst.is_some() => {
            let message = format!("limit `{id}`: `burst` is for rates alone");
            let help = "leave `burst` out, or make it `\"kind\": \"rate\"`";
            found.push(problem(places, &format!("{at}/burst"), message, help));
        }
        Some(_) => {}
    }
    if spec.max == 0 {
        let message = format!("limit `{id}`: `max` is 0, so nothing ever passes");
        let (line, col) = places.at(&format!("{at}/max"));
        let warning = Diagnostic::warning("limit_zero", "data.json", message).at(line, col);
        found.push(warning.help("give it room, or deny by a rule"));
    }
}

/// Warns of what `match` names and nobody has, since such a limit applies to nothing.
pub(super) fn check_names(
    limits: &BTreeMap<String, LimitSpec>,
    places: &Places<'_>,
    known: &Known<'_>,
    found: &mut Vec<Diagnostic>,
) {
    for (id, spec) in limits {
        let Some(matches) = &spec.matches else { continue };
        for (member, domain, names) in [
            ("actions", Domain::Action, &matches.actions),
            ("resources", Domain::Name(Kind::Resource), &matches.resources),
            ("agents", Domain::Name(Kind::Agent), &matches.agents),
        ] {
            for (index, name) in names.iter().enumerate().filter(|(_, name)| !name.ends_with('*')) {
                let refused = domain.refuses(member, name, known);
                let Some((code, message, help)) = refused else { continue };
                let at = format!("/limits/{}/match/{member}/{index}", escape_token(id));
                let (line, col) = places.at(&at);
                let message = format!("limit `{id}`: {message}");
                let warning = Diagnostic::warning(code, "data.json", message);
                found.push(warning.at(line, col).help(help));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(text: &str) -> Vec<String> {
        let mut found = Vec::new();
        let data = serde_json::from_str(text).unwrap();
        read(&data, &Places::of(text), &mut found);
        found.iter().map(|d| format!("{}:{} {}", d.line, d.col, d.message)).collect()
    }

    #[test]
    fn every_broken_entry_is_reported_at_its_member() {
        let text = r#"{"limits": {
  "a": {"kind": "budget", "maxx": 3},
  "b": {"kind": "bucket"},
  "c": {"max": 3},
  "d": {"kind": "budget", "per": "fortnight"},
  "e": {"kind": "rate", "max": 0, "per": "1s"},
  "f": {"kind": "once"}
}}"#;
        let lines = lines(text);
        assert_eq!(lines.len(), 5, "{lines:#?}");
        assert!(lines[0].starts_with("2:35 limit `a`: there is no `maxx`"), "{}", lines[0]);
        assert!(lines[1].starts_with("3:17 limit `b`: `kind`: unknown variant"), "{}", lines[1]);
        assert!(lines[2].starts_with("4:3 limit `c`: missing field `kind`"), "{}", lines[2]);
        assert!(lines[3].starts_with("5:34 limit `d`: `per` is `fortnight`"), "{}", lines[3]);
        assert!(lines[4].starts_with("6:32 limit `e`: `max` is 0"), "{}", lines[4]);
    }

    #[test]
    fn the_listed_members_are_those_that_are_read() {
        for member in MEMBERS {
            let entry = serde_json::json!({"kind": "budget", (*member): "never a value"});
            let error = serde_json::from_value::<LimitSpec>(entry).err();
            let unknown = error.is_some_and(|error| error.to_string().contains("unknown field"));
            assert!(!unknown, "{member}");
        }
    }
}
