//! What the audit logs say.

use std::path::Path;

use lictor_audit::Kind;
use lictor_audit::query::{Logs, Record};
use serde_json::Value;

/// Every record of the logs in `dir`, with the values of the side store.
///
/// # Panics
/// They cannot be read.
#[must_use]
pub fn records(dir: &Path) -> Vec<Record> {
    let logs = Logs::open(&[dir.to_owned()]).unwrap();
    logs.records(true, |_| true).unwrap()
}

/// The records about one call.
///
/// # Panics
/// The logs cannot be read.
#[must_use]
pub fn of_call(dir: &Path, call_id: &str) -> Vec<Record> {
    assert!(!call_id.is_empty(), "the answer names no call");
    records(dir).into_iter().filter(|record| record.call_id() == Some(call_id)).collect()
}

/// The ids of a record's reasons: texts, or objects with an `id`.
#[must_use]
pub fn reasons(record: &Record) -> Vec<String> {
    let list = record.body.get("reasons").and_then(Value::as_array);
    let id = |reason: &Value| {
        let id = reason.as_str().or_else(|| reason.get("id")?.as_str());
        id.map(str::to_owned)
    };
    list.into_iter().flatten().filter_map(id).collect()
}

/// Whether a record of `kind` names the reason `id`.
#[must_use]
pub fn names(records: &[Record], kind: Kind, id: &str) -> bool {
    records.iter().any(|record| record.kind == kind && reasons(record).iter().any(|r| r == id))
}
