//! Reading records: all, those of one call, decision or session, with side values put back if
//! asked. Nothing is verified here; [`crate::verify()`] does that.

use std::cmp::Ordering;
use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use serde::Serialize;
use serde_json::{Map, Value};

use crate::layout;
use crate::lines::Lines;
use crate::record::{Kind, RESERVED_MEMBERS};
use crate::side::{SideKey, SideLine, read_line};
use crate::verify::{Place, ReadError, commits_of, io_error, places, read};

/// A record as it was read.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Record {
    /// `<writer>-<epoch>`.
    pub log: String,
    /// Number in the log.
    pub seq: u64,
    /// When it happened, in unix milliseconds.
    pub ts_ms: i64,
    /// What it is about.
    pub kind: Kind,
    /// The members that the caller gave, with revealed values at their pointers.
    pub body: Value,
    /// Commitments by JSON pointer.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub commits: BTreeMap<String, String>,
    /// JSON text of revealed values by pointer, exactly as it was recorded.
    #[serde(skip)]
    pub revealed: BTreeMap<String, String>,
    /// The line, exactly as it stands in the file.
    #[serde(skip)]
    pub line: String,
}

impl Record {
    /// Reads a line of `log`; `None` if it is not a record.
    #[must_use]
    pub fn read(log: &str, line: &[u8]) -> Option<Self> {
        let line = std::str::from_utf8(line).ok()?;
        let mut body: Map<String, Value> = serde_json::from_str(line).ok()?;
        let seq = body.get("seq")?.as_u64()?;
        let ts_ms = body.get("ts_ms")?.as_i64()?;
        let kind = Kind::parse(body.get("kind")?.as_str()?)?;
        let commits = commits_of(line.as_bytes());
        for member in RESERVED_MEMBERS {
            body.remove(member);
        }
        Some(Self {
            log: log.to_owned(),
            seq,
            ts_ms,
            kind,
            body: Value::Object(body),
            commits,
            revealed: BTreeMap::new(),
            line: line.to_owned(),
        })
    }

    /// The text at a JSON pointer of the body.
    #[must_use]
    pub fn str_at(&self, pointer: &str) -> Option<&str> {
        self.body.pointer(pointer)?.as_str()
    }

    /// The call that the record is about.
    #[must_use]
    pub fn call_id(&self) -> Option<&str> {
        self.str_at("/call_id")
    }

    /// The decision that the record is about.
    #[must_use]
    pub fn decision_id(&self) -> Option<&str> {
        self.str_at("/decision_id")
    }

    /// The session that the record is about: `session`, or `handle` or `id` of it.
    #[must_use]
    pub fn session(&self) -> Option<&str> {
        ["/session", "/session/handle", "/session/id"]
            .iter()
            .find_map(|pointer| self.str_at(pointer))
    }

    fn reveal(&mut self, key: &SideKey, side: &SideLine) {
        for (pointer, sealed) in side.fields.iter().filter(|_| side.key == key.id()) {
            let value =
                self.commits.get(pointer).and_then(|commit| key.open(pointer, sealed, commit));
            if let Some(text) = value {
                put(&mut self.body, pointer, &text);
                self.revealed.insert(pointer.clone(), text);
            }
        }
    }

    fn order(&self, other: &Self) -> Ordering {
        (self.ts_ms, &self.log, self.seq).cmp(&(other.ts_ms, &other.log, other.seq))
    }
}

/// Puts a value at its pointer. Objects that are missing on the way are made; a pointer that leads
/// through anything else is left alone.
fn put(body: &mut Value, pointer: &str, text: &str) {
    let Ok(value) = serde_json::from_str::<Value>(text) else {
        return;
    };
    let mut place = body;
    for token in pointer.split('/').skip(1) {
        let token = token.replace("~1", "/").replace("~0", "~");
        if place.is_null() {
            *place = Value::Object(Map::new());
        }
        let next = match place {
            Value::Object(members) => Some(members.entry(token).or_insert(Value::Null)),
            Value::Array(items) => token.parse().ok().and_then(|index: usize| {
                if index == items.len() {
                    items.push(Value::Null);
                }
                items.get_mut(index)
            }),
            _ => None,
        };
        let Some(next) = next else { return };
        place = next;
    }
    *place = value;
}

/// The logs of some directories.
#[derive(Debug, Clone)]
pub struct Logs {
    places: Vec<Place>,
}

impl Logs {
    /// Finds the logs of directories and single `.jsonl` files.
    ///
    /// # Errors
    /// [`ReadError`] if a path cannot be read or there are no logs.
    pub fn open(paths: &[PathBuf]) -> Result<Self, ReadError> {
        let places = places(paths)?.into_keys().collect();
        Ok(Self { places })
    }

    /// The names of the logs, `<writer>-<epoch>`.
    #[must_use]
    pub fn names(&self) -> Vec<String> {
        self.places.iter().map(|place| place.name.to_string()).collect()
    }

    pub(crate) fn places(&self) -> &[Place] {
        &self.places
    }

    pub(crate) fn place(&self, log: &str) -> Option<&Place> {
        self.places.iter().find(|place| place.name.to_string() == log)
    }

    /// Every record for which `wanted` holds, by time; with side values if `reveal`.
    ///
    /// # Errors
    /// [`ReadError`] if a file cannot be read or a whole line is not a record.
    pub fn records(
        &self,
        reveal: bool,
        mut wanted: impl FnMut(&Record) -> bool,
    ) -> Result<Vec<Record>, ReadError> {
        self.collect(reveal, |_| true, &mut wanted)
    }

    /// The records of a call, by time.
    ///
    /// # Errors
    /// As [`Self::records`].
    pub fn call(&self, call_id: &str, reveal: bool) -> Result<Vec<Record>, ReadError> {
        self.with_text(call_id, reveal, |record| record.call_id() == Some(call_id))
    }

    /// The records of a decision, by time.
    ///
    /// # Errors
    /// As [`Self::records`].
    pub fn decision(&self, decision_id: &str, reveal: bool) -> Result<Vec<Record>, ReadError> {
        self.with_text(decision_id, reveal, |record| record.decision_id() == Some(decision_id))
    }

    /// The records of a session, by time: those that name it, and those of any log that share a
    /// `call_id` with one of them.
    ///
    /// # Errors
    /// As [`Self::records`].
    pub fn session(&self, session: &str, reveal: bool) -> Result<Vec<Record>, ReadError> {
        let named = self.with_text(session, false, |record| record.session() == Some(session))?;
        let calls: BTreeSet<&str> = named.iter().filter_map(Record::call_id).collect();
        self.collect(reveal, |_| true, &mut |record| {
            record.session() == Some(session)
                || record.call_id().is_some_and(|id| calls.contains(id))
        })
    }

    /// Records that hold `text`, and `wanted`. Most lines are passed over without being parsed.
    fn with_text(
        &self,
        text: &str,
        reveal: bool,
        mut wanted: impl FnMut(&Record) -> bool,
    ) -> Result<Vec<Record>, ReadError> {
        // Text with escapes may stand in the line in several ways.
        let plain = text.bytes().all(|b| b.is_ascii_graphic() && b != b'"' && b != b'\\');
        self.collect(reveal, |line| !plain || line.contains(text), &mut wanted)
    }

    fn collect(
        &self,
        reveal: bool,
        likely: impl Fn(&str) -> bool,
        wanted: &mut dyn FnMut(&Record) -> bool,
    ) -> Result<Vec<Record>, ReadError> {
        let mut found = Vec::new();
        for place in &self.places {
            let start = found.len();
            let log = place.name.to_string();
            let bytes = read(&place.name.log(&place.dir))?.unwrap_or_default();
            // A last line without its newline is still being written, or was never acknowledged.
            for (line, number) in Lines::new(&bytes).filter(|line| line.complete).zip(1..) {
                if std::str::from_utf8(line.bytes).is_ok_and(|line| !likely(line)) {
                    continue;
                }
                let record = Record::read(&log, line.bytes);
                let record =
                    record.ok_or_else(|| ReadError::BadLine { log: log.clone(), line: number })?;
                if wanted(&record) {
                    found.push(record);
                }
            }
            if reveal {
                reveal_all(place, found.get_mut(start..).unwrap_or_default())?;
            }
        }
        found.sort_by(Record::order);
        Ok(found)
    }
}

/// Puts the side values of one log back into its records, which are in order.
fn reveal_all(place: &Place, records: &mut [Record]) -> Result<(), ReadError> {
    let path = layout::side_key(&place.dir, &place.name.writer);
    let Some(key) = SideKey::load(&path).map_err(|cause| io_error(&path, cause))? else {
        return Ok(());
    };
    let side = read(&place.name.side(&place.dir))?.unwrap_or_default();
    for line in Lines::new(&side).filter_map(|line| read_line(line.bytes)) {
        if let Ok(at) = records.binary_search_by_key(&line.seq, |record| record.seq)
            && let Some(record) = records.get_mut(at).filter(|_| line.epoch == place.name.epoch)
        {
            record.reveal(&key, &line);
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn values_go_back_to_their_pointers() {
        let mut body = json!({"args": {"a": 1}, "content": [{"origin": "user"}], "note": "x"});
        put(&mut body, "/args/e~1mail", "\"e\"");
        put(&mut body, "/content/0/text", "\"t\"");
        put(&mut body, "/content/1", "{}");
        put(&mut body, "/content/9", "9");
        put(&mut body, "/new/deep", "[1]");
        put(&mut body, "/note/below", "1");
        assert_eq!(
            body,
            json!({"args": {"a": 1, "e/mail": "e"}, "content": [{"origin": "user", "text": "t"}, {}],
                "note": "x", "new": {"deep": [1]}})
        );
    }

    #[test]
    fn a_line_is_taken_apart() {
        let line = br#"{"seq":3,"prev":"00","writer":"pdp","epoch":"e","ts_ms":7,"kind":"decision","call_id":"c","session":{"handle":"s"}}"#;
        let record = Record::read("pdp-e", line).unwrap();
        assert_eq!((record.seq, record.ts_ms, record.kind), (3, 7, Kind::Decision));
        assert_eq!(record.body, json!({"call_id": "c", "session": {"handle": "s"}}));
        assert_eq!((record.call_id(), record.session()), (Some("c"), Some("s")));
        assert_eq!(record.decision_id(), None);
        assert!(Record::read("pdp-e", b"{}").is_none());
    }
}
