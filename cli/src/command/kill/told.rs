//! How lists of revocations are shown.

use lictor_proto::pb::{Revocation, RevocationList};
use serde_json::{Value, json};

use crate::exit::{Exit, Failure};
use crate::output::{Format, Paint, print, print_json, say, shown, table};
use crate::time::rfc3339;

/// Entries and the lists that they come from.
pub(super) fn show(
    entries: &[Revocation],
    lists: &[RevocationList],
    format: Format,
) -> Result<Exit, Failure> {
    match format {
        Format::Json => {
            let entries: Vec<Value> = entries.iter().map(describe).collect();
            let lists: Vec<Value> = lists.iter().map(describe_list).collect();
            print_json(&json!({ "entries": entries, "lists": lists }))?;
        }
        Format::Pretty => {
            for list in lists {
                say(pretty_list(list, Paint::plain()).trim_end());
            }
            if entries.is_empty() {
                say("nothing is revoked");
            } else {
                print(&rows(entries))?;
            }
        }
    }
    Ok(Exit::Ok)
}

/// A time that is there.
fn time(ms: i64) -> Option<String> {
    (ms != 0).then(|| rfc3339(ms))
}

fn describe(entry: &Revocation) -> Value {
    json!({
        "kind": entry.kind, "id": entry.id, "reason": entry.reason, "list": entry.list,
        "since": time(entry.since_ms), "until": time(entry.until_ms),
    })
}

fn rows(entries: &[Revocation]) -> String {
    let head = ["kind", "id", "since", "until", "list", "reason"].map(str::to_owned).to_vec();
    let row = |entry: &Revocation| {
        vec![
            shown(&entry.kind),
            shown(&entry.id),
            time(entry.since_ms).unwrap_or_default(),
            time(entry.until_ms).unwrap_or_else(|| "-".to_owned()),
            shown(&entry.list),
            shown(&entry.reason),
        ]
    };
    table(&[head].into_iter().chain(entries.iter().map(row)).collect::<Vec<_>>())
}

/// One list for programs.
pub(in crate::command) fn describe_list(list: &RevocationList) -> Value {
    json!({
        "name": list.name, "version": list.version, "entries": list.entries,
        "issued_at": time(list.issued_at_ms), "expires": time(list.expires_ms),
        "stale": list.stale, "kid": list.kid,
        "refused": list.refused, "refused_at": time(list.refused_at_ms),
    })
}

/// One list for people.
pub(in crate::command) fn pretty_list(list: &RevocationList, paint: Paint) -> String {
    let name = shown(&list.name);
    let mut text = match time(list.issued_at_ms) {
        Some(issued) => format!(
            "revocations ({name}): version {}, {} entries, signed {issued}, until {}",
            list.version,
            list.entries,
            time(list.expires_ms).unwrap_or_default()
        ),
        None => format!("revocations ({name}): no list was ever loaded"),
    };
    if list.stale {
        text.push_str(&format!(", {}", paint.red("STALE: every call is denied")));
    }
    text.push('\n');
    if !list.refused.is_empty() {
        let at = time(list.refused_at_ms).unwrap_or_default();
        let refused = format!("refused at {at}: {}", shown(&list.refused));
        text.push_str(&format!("  {}\n", paint.yellow(&refused)));
    }
    text
}
