//! Entries that a program makes of its own types. Their texts were written by it just now, so they
//! are not read once more to see whether they can be; builds with debug assertions, which all tests
//! are, read them all the same.

use serde::Serialize;

use crate::record::sealed::{Checked, Parts};
use crate::record::{
    Entry, EntryError, Kind, Recordable, check_body, check_pointer, check_total, check_value,
};

/// Depth that every reader can read, in nested arrays and objects.
const DEPTH_MAX: usize = 127;

/// A type whose members make the body of a record: it has named fields, whose names are literals,
/// none of them twice and none of [`RESERVED_MEMBERS`](crate::record::RESERVED_MEMBERS).
pub trait Body: Serialize {}

/// An entry made of this program's own types. Recorded, it is the same line as the [`Entry`] of
/// the same texts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Typed {
    kind: Kind,
    ts_ms: i64,
    body: String,
    values: Vec<(&'static str, String)>,
}

impl Typed {
    /// An entry without sensitive values.
    ///
    /// # Errors
    /// [`EntryError::Body`] if `body` cannot be written as JSON.
    pub fn new(kind: Kind, ts_ms: i64, body: &impl Body) -> Result<Self, EntryError> {
        let body = serde_json::to_string(body).map_err(|e| EntryError::Body(e.to_string()))?;
        Ok(Self { kind, ts_ms, body, values: Vec::new() })
    }

    /// The same with a value that the line only commits to. `text` is JSON that was written from a
    /// value, never one that came from elsewhere.
    #[must_use]
    pub fn with(mut self, pointer: &'static str, text: String) -> Self {
        self.values.push((pointer, text));
        self
    }

    /// The same as an entry whose texts are read before they are recorded.
    #[must_use]
    pub fn into_entry(self) -> Entry {
        let values = self.values.into_iter();
        let sensitive = values.map(|(pointer, text)| (pointer.to_owned(), text)).collect();
        Entry { kind: self.kind, ts_ms: self.ts_ms, body: self.body, sensitive }
    }
}

impl Recordable for Typed {}

impl Parts for Typed {
    fn parts(&self) -> Result<Checked<'_>, EntryError> {
        if self.kind.is_own() {
            return Err(EntryError::OwnKind(self.kind));
        }
        let members = match cfg!(debug_assertions) || is_deep(&self.body) {
            true => check_body(&self.body)?,
            false => inner(&self.body)?,
        };
        let values: Vec<_> = self.values.iter().map(|(p, text)| (*p, text.as_str())).collect();
        check_total(&values)?;
        for (index, (pointer, text)) in values.iter().enumerate() {
            check_pointer(&values, index)?;
            if cfg!(debug_assertions) || text.is_empty() || is_deep(text) {
                check_value(pointer, text)?;
            }
        }
        Ok(Checked { kind: self.kind, ts_ms: self.ts_ms, members, values })
    }
}

/// Whether a text may be nested deeper than readers read: no text is nested deeper than it has
/// opening brackets.
fn is_deep(text: &str) -> bool {
    // Counted in bytes, of which many are added at once; no part has more of them than a byte holds.
    let opening = |part: &[u8]| {
        let one = |count: u8, byte: &u8| count.wrapping_add(u8::from((*byte | 0x20) == b'{'));
        usize::from(part.iter().fold(0, one))
    };
    text.as_bytes().chunks(usize::from(u8::MAX)).map(opening).sum::<usize>() >= DEPTH_MAX
}

fn inner(body: &str) -> Result<&str, EntryError> {
    let inner = body.strip_prefix('{').and_then(|body| body.strip_suffix('}'));
    inner.ok_or_else(|| EntryError::Body("a JSON object is expected".to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::prepare;
    use crate::side::SideKey;

    #[derive(Serialize)]
    struct Told {
        call_id: &'static str,
        nested: Vec<u64>,
        note: String,
    }

    impl Body for Told {}

    fn told(note: &str) -> Told {
        Told { call_id: "c", nested: vec![1, 2], note: note.to_owned() }
    }

    /// A stream that begins anew for each entry.
    fn entropy() -> crate::entropy::Entropy {
        std::sync::Arc::new(|out| {
            out.fill(9);
            true
        })
    }

    #[test]
    fn it_is_recorded_as_the_entry_of_the_same_texts() {
        let typed = Typed::new(Kind::Decision, -7, &told("a \"quote\"\n\u{1}é")).unwrap();
        let typed = typed.with("/call", "{\"a\":[1.50]}".into()).with("/facts", "null".into());
        let key = SideKey::from_bytes([1; 32]);
        let ready = prepare(&typed, 10, &key, &entropy()).unwrap();
        let plain = prepare(&typed.clone().into_entry(), 10, &key, &entropy()).unwrap();
        assert_eq!((ready.rest, ready.side), (plain.rest, plain.side));
    }

    #[test]
    fn what_no_reader_could_read_is_refused() {
        let deep = |depth: usize| format!("{}1{}", "[".repeat(depth), "]".repeat(depth));
        let typed = Typed::new(Kind::Decision, 1, &told("")).unwrap();
        assert!(typed.clone().with("/a", deep(DEPTH_MAX)).parts().is_ok());
        assert!(typed.clone().with("/a", deep(DEPTH_MAX + 1)).parts().is_err());
        assert!(is_deep(&deep(DEPTH_MAX)) && !is_deep(&deep(DEPTH_MAX - 1)));
        assert!(typed.clone().with("/a", String::new()).parts().is_err());
        assert!(typed.clone().with("a", "1".into()).parts().is_err());
        let twice = typed.with("/a", "1".into()).with("/a", "2".into());
        assert_eq!(twice.parts().unwrap_err(), EntryError::Pointer("/a".into()));
        let own = Typed::new(Kind::Close, 1, &told("")).unwrap();
        assert_eq!(own.parts().unwrap_err(), EntryError::OwnKind(Kind::Close));
    }
}
