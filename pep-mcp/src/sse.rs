//! Event streams, cut into events without changing a byte.

use lictor_proto::json::{Node, scan};

use crate::ingress::ENVELOPE;

/// Cuts a stream of bytes into whole events.
#[derive(Debug)]
pub struct Splitter {
    buffer: Vec<u8>,
    /// Everything before this offset holds no end of an event.
    searched: usize,
    max_event_bytes: usize,
}

/// An event is longer than is read.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("an event of the stream is longer than {0} bytes")]
pub struct EventTooLong(usize);

impl Splitter {
    /// For events of at most so many bytes.
    #[must_use]
    pub fn new(max_event_bytes: usize) -> Self {
        Self { buffer: Vec::new(), searched: 0, max_event_bytes }
    }

    /// Adds bytes as they came.
    pub fn push(&mut self, bytes: &[u8]) {
        self.buffer.extend_from_slice(bytes);
    }

    /// The next whole event with its empty line, or `None` where more bytes are needed.
    ///
    /// # Errors
    /// An event that is longer than is read.
    pub fn next_event(&mut self) -> Result<Option<Vec<u8>>, EventTooLong> {
        match self.end_of_event() {
            Some(end) if end <= self.max_event_bytes => {
                let rest = self.buffer.split_off(end);
                self.searched = 0;
                Ok(Some(std::mem::replace(&mut self.buffer, rest)))
            }
            Some(_) => Err(EventTooLong(self.max_event_bytes)),
            None if self.buffer.len() > self.max_event_bytes => {
                Err(EventTooLong(self.max_event_bytes))
            }
            None => Ok(None),
        }
    }

    /// What is left when the stream ends: an event without its empty line, which clients drop.
    pub(crate) fn rest(self) -> Vec<u8> {
        self.buffer
    }

    /// Offset behind the first empty line. Lines end with LF, CR LF or CR; a CR at the very end
    /// may be half of a CR LF, so it is not judged yet.
    fn end_of_event(&mut self) -> Option<usize> {
        let mut at = self.searched;
        let mut line_start = at;
        while let Some(byte) = self.buffer.get(at) {
            let ends = match byte {
                b'\n' => at + 1,
                b'\r' => match self.buffer.get(at + 1) {
                    Some(b'\n') => at + 2,
                    Some(_) => at + 1,
                    None => break,
                },
                _ => {
                    at += 1;
                    continue;
                }
            };
            if at == line_start {
                return Some(ends);
            }
            at = ends;
            line_start = ends;
        }
        // The next search begins at the line that is not complete.
        self.searched = line_start;
        None
    }
}

/// An event is not UTF-8, so that readers could differ on what it says.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("an event of the stream is not UTF-8")]
pub struct EventNotText;

/// The JSON text in the `data` of an event; `None` for comments and events without data.
///
/// # Errors
/// An event that is not UTF-8.
pub fn data_of(event: &[u8]) -> Result<Option<Vec<u8>>, EventNotText> {
    let text = std::str::from_utf8(event).map_err(|_| EventNotText)?;
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let lines = text.split(['\n', '\r']).filter_map(|line| match line.strip_prefix("data") {
        Some("") => Some(""),
        Some(rest) => rest.strip_prefix(':').map(|data| data.strip_prefix(' ').unwrap_or(data)),
        None => None,
    });
    let data: Vec<&str> = lines.collect();
    let joined = data.join("\n");
    Ok((!joined.is_empty()).then(|| joined.into_bytes()))
}

/// The event with other data; `event`, `id` and `retry` lines stay as they are.
pub(crate) fn with_data(event: &[u8], data: &str) -> Vec<u8> {
    let text = std::str::from_utf8(event).unwrap_or_default();
    let mut out = String::new();
    for line in text.split(['\n', '\r']).filter(|line| !line.is_empty()) {
        let is_data = line == "data" || line.starts_with("data:");
        if !is_data {
            out.push_str(line);
            out.push('\n');
        }
    }
    // JSON text holds no line breaks outside of white space, so this is rarely more than one line.
    for line in data.split(['\n', '\r']) {
        out.push_str("data: ");
        out.push_str(line);
        out.push('\n');
    }
    out.push('\n');
    out.into_bytes()
}

/// An event of our own.
pub(crate) fn message(data: &str) -> Vec<u8> {
    with_data(b"event: message\n", data)
}

/// What the message in an event is.
#[derive(Debug)]
pub enum Heard {
    /// An answer; the id as JSON text, `null` where it names none.
    Answer {
        /// The id.
        id: String,
        /// The whole message.
        node: Node,
    },
    /// A notification or a request of the server.
    Other(Node),
}

/// Why the message of an event is not passed on.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unheard {
    /// Not JSON that every reader understands alike.
    #[error(transparent)]
    Scan(#[from] lictor_proto::json::ScanError),
    /// Neither an answer nor anything else for certain.
    #[error("the message is an answer and a request at once, or none")]
    Ambiguous,
}

/// Reads the message of an event. What a client could take for an answer although it is none, or
/// the other way round, would pass without what is done to answers.
///
/// # Errors
/// A message that is not JSON, or not certainly one or the other.
pub fn heard(data: &[u8]) -> Result<Heard, Unheard> {
    let node = scan(data)?;
    let answers = node.get("result").is_some() || node.get("error").is_some();
    let clear = node.is_object() && node.get("method").is_some() != answers;
    if !clear || node.case_variant_of(&ENVELOPE).is_some() {
        return Err(Unheard::Ambiguous);
    }
    if answers {
        let id = node.get("id").map_or_else(|| "null".to_owned(), Node::compact);
        Ok(Heard::Answer { id, node })
    } else {
        Ok(Heard::Other(node))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn events(chunks: &[&[u8]]) -> Vec<String> {
        let mut splitter = Splitter::new(1024);
        let mut out = Vec::new();
        for chunk in chunks {
            splitter.push(chunk);
            while let Some(event) = splitter.next_event().unwrap() {
                out.push(String::from_utf8(event).unwrap());
            }
        }
        out.push(String::from_utf8(splitter.rest()).unwrap());
        out
    }

    #[test]
    fn events_are_the_same_at_any_chunking() {
        let text = b"id: 1\ndata: {\"a\":\r\ndata: 1}\r\n\r\n: ping\n\ndata: x\r\rdata: half";
        let whole = events(&[text]);
        assert_eq!(whole.len(), 4);
        assert_eq!(whole.concat().as_bytes(), text);
        for cut in 1..text.len() {
            let (a, b) = text.split_at(cut);
            assert_eq!(events(&[a, b]), whole, "cut at {cut}");
        }
        let bytes: Vec<&[u8]> = text.chunks(1).collect();
        assert_eq!(events(&bytes), whole);
    }

    #[test]
    fn data_is_joined_and_replaced() {
        let event = b"id: 7\nevent: message\ndata: {\"a\":\ndata:1}\nretry: 5\n\n";
        assert_eq!(data_of(event).unwrap().unwrap(), b"{\"a\":\n1}");
        let replaced = with_data(event, "{}");
        assert_eq!(replaced, b"id: 7\nevent: message\nretry: 5\ndata: {}\n\n");
        assert_eq!(data_of(b": comment\n\n"), Ok(None));
        assert_eq!(data_of(b"id: 3\ndata:\n\n"), Ok(None));
        assert_eq!(data_of(b"data\ndata: x\n\n").unwrap().unwrap(), b"\nx");
        assert_eq!(data_of(b"database: x\n\n"), Ok(None));
        assert_eq!(data_of(b"data: \xff\n\n"), Err(EventNotText));
    }

    #[test]
    fn the_length_of_an_event_is_bounded() {
        let mut splitter = Splitter::new(8);
        splitter.push(b"data:x\n\n");
        assert_eq!(splitter.next_event().unwrap().unwrap().len(), 8);
        splitter.push(b"data:xy\n\n");
        assert_eq!(splitter.next_event(), Err(EventTooLong(8)));
        let mut endless = Splitter::new(8);
        endless.push(b"data:xyzz");
        assert_eq!(endless.next_event(), Err(EventTooLong(8)));
    }

    #[test]
    fn answers_are_told_from_other_messages() {
        let id = |text: &str| match heard(text.as_bytes()) {
            Ok(Heard::Answer { id, .. }) => Some(id),
            _ => None,
        };
        assert_eq!(id(r#"{"jsonrpc":"2.0","id":"a","result":{}}"#).as_deref(), Some("\"a\""));
        assert_eq!(id(r#"{"jsonrpc":"2.0","id":null,"error":{}}"#).as_deref(), Some("null"));
        assert_eq!(id(r#"{"jsonrpc":"2.0","method":"ping","id":1}"#), None);
        for two_faced in [
            r#"{"id":1,"method":"x","result":{"tools":[]}}"#,
            r#"{"id":1,"method":"x","Result":{"tools":[]}}"#,
            r#"{"id":1,"RESULT":{"tools":[]}}"#,
            r#"[{"id":1,"result":{}}]"#,
        ] {
            let unheard = heard(two_faced.as_bytes()).unwrap_err();
            assert_eq!(unheard, Unheard::Ambiguous, "{two_faced}");
        }
    }
}
