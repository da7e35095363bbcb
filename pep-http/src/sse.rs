//! Server-sent events: bytes in any cutting to events, and back.

use std::ops::Range;

/// Most bytes of one event; the longest event that is read has exactly so many.
pub(crate) const MAX_EVENT_BYTES: usize = 1024 * 1024;

/// The data of the event that ends a stream of OpenAI's.
pub(crate) const DONE: &[u8] = b"[DONE]";

/// An event is longer than [`MAX_EVENT_BYTES`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("an event of the stream is longer than {MAX_EVENT_BYTES} bytes")]
pub(crate) struct EventTooLong;

/// One event with the bytes that it came in, its blank line included.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Event {
    /// The bytes as received.
    pub(crate) raw: Vec<u8>,
    /// The `data` lines joined with line feeds; absent in an event of comments and other fields only.
    pub(crate) data: Option<Vec<u8>>,
}

impl Event {
    /// The data if it is JSON rather than nothing or the end.
    pub(crate) fn json(&self) -> Option<&[u8]> {
        let data = self.data.as_deref()?;
        (!matches!(data.trim_ascii(), b"" | DONE)).then_some(data)
    }

    /// Whether this event ends the stream.
    pub(crate) fn is_done(&self) -> bool {
        self.data.as_deref().is_some_and(|data| data.trim_ascii() == DONE)
    }
}

/// Finds the events in a stream of bytes.
#[derive(Debug, Default)]
pub(crate) struct Parser {
    buffer: Vec<u8>,
    /// Where the present event begins.
    event: usize,
    /// Where its present line begins.
    line: usize,
    /// How far was searched for the end of that line.
    searched: usize,
}

impl Parser {
    /// Takes the next bytes and returns the events that are complete now.
    ///
    /// # Errors
    /// [`EventTooLong`]; the parser must not be used any more.
    pub(crate) fn push(&mut self, bytes: &[u8]) -> Result<Vec<Event>, EventTooLong> {
        self.buffer.extend_from_slice(bytes);
        let mut events = Vec::new();
        while let Some((end_of_line, next)) = self.line_end() {
            let blank = end_of_line == self.line;
            self.line = next;
            self.searched = next;
            if blank {
                let raw = self.buffer.get(self.event..next).unwrap_or_default();
                if raw.len() > MAX_EVENT_BYTES {
                    return Err(EventTooLong);
                }
                events.push(event_of(raw.to_vec()));
                self.event = next;
            }
        }
        self.buffer.drain(..self.event);
        self.line -= self.event;
        self.searched -= self.event;
        self.event = 0;
        if self.buffer.len() > MAX_EVENT_BYTES {
            return Err(EventTooLong);
        }
        Ok(events)
    }

    /// The event that the end of the stream cuts off, if any. The standard drops it, laxer readers do not.
    pub(crate) fn finish(&mut self) -> Option<Event> {
        let raw = std::mem::take(&mut self.buffer);
        *self = Self::default();
        (!raw.is_empty()).then(|| event_of(raw))
    }

    /// The end of the present line and the start of the next. A carriage return at the end of the buffer waits,
    /// since a line feed may follow.
    fn line_end(&mut self) -> Option<(usize, usize)> {
        let rest = self.buffer.get(self.searched..)?;
        let Some(found) = rest.iter().position(|byte| matches!(byte, b'\n' | b'\r')) else {
            self.searched = self.buffer.len();
            return None;
        };
        let at = self.searched + found;
        if self.buffer.get(at) == Some(&b'\n') {
            return Some((at, at + 1));
        }
        self.searched = at;
        match self.buffer.get(at + 1) {
            Some(b'\n') => Some((at, at + 2)),
            Some(_) => Some((at, at + 1)),
            None => None,
        }
    }
}

fn event_of(raw: Vec<u8>) -> Event {
    let mut data: Option<Vec<u8>> = None;
    for line in raw.split(|byte| matches!(byte, b'\n' | b'\r')) {
        let Some(range) = data_value(line) else {
            continue;
        };
        let value = line.get(range).unwrap_or_default();
        match &mut data {
            Some(data) => {
                data.push(b'\n');
                data.extend_from_slice(value);
            }
            None => data = Some(value.to_vec()),
        }
    }
    Event { raw, data }
}

/// Where the value stands in a `data` line.
fn data_value(line: &[u8]) -> Option<Range<usize>> {
    // A byte order mark may open the stream.
    let mark = if line.starts_with(b"\xef\xbb\xbf") { 3 } else { 0 };
    let rest = line.get(mark..)?.strip_prefix(b"data")?;
    let start = mark + 4;
    match rest.first() {
        None => Some(start..start),
        Some(b':') if rest.get(1) == Some(&b' ') => Some(start + 2..line.len()),
        Some(b':') => Some(start + 1..line.len()),
        Some(_) => None,
    }
}

/// An event with `data` alone.
pub(crate) fn encode(data: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(data.len() + 8);
    for line in data.split(|byte| matches!(byte, b'\n' | b'\r')) {
        out.extend_from_slice(b"data: ");
        out.extend_from_slice(line);
        out.push(b'\n');
    }
    out.push(b'\n');
    out
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn data_of(events: &[Event]) -> Vec<Option<String>> {
        events
            .iter()
            .map(|event| event.data.clone().map(|data| String::from_utf8(data).unwrap()))
            .collect()
    }

    fn all(stream: &[u8]) -> Vec<Event> {
        let mut parser = Parser::default();
        let mut events = parser.push(stream).unwrap();
        events.extend(parser.finish());
        events
    }

    #[test]
    fn fields_comments_and_line_ends_are_told_apart() {
        let events = all(
            b": hi\n\nevent: x\r\ndata:one\r\ndata: two\r\n\r\ndata\r\rdatax: no\n\ndata:  three",
        );
        let expected = [None, Some("one\ntwo"), Some(""), None, Some(" three")];
        assert_eq!(data_of(&events), expected.map(|data| data.map(str::to_owned)));
        assert_eq!(events[1].raw, b"event: x\r\ndata:one\r\ndata: two\r\n\r\n");
    }

    #[test]
    fn a_byte_order_mark_hides_nothing() {
        assert_eq!(data_of(&all(b"\xef\xbb\xbfdata: x\n\n")), [Some("x".to_owned())]);
    }

    #[test]
    fn the_length_of_an_event_is_bounded_at_its_edge() {
        let mut event = vec![b':'; MAX_EVENT_BYTES - 2];
        event.extend_from_slice(b"\n\n");
        assert_eq!(Parser::default().push(&event).unwrap().len(), 1);
        event.insert(0, b':');
        assert_eq!(Parser::default().push(&event), Err(EventTooLong));
        let endless = vec![b'x'; MAX_EVENT_BYTES + 1];
        assert_eq!(Parser::default().push(&endless), Err(EventTooLong));
        assert_eq!(Parser::default().push(&endless[1..]), Ok(vec![]));
    }

    proptest! {
        /// Cutting the stream changes nothing, and raw bytes add up to the stream.
        #[test]
        fn any_cutting_gives_the_same_events(
            stream in "(data: ?[a-z]{0,3}|:x|\n|\r|\r\n|event: y){0,20}",
            cuts in proptest::collection::vec(0usize..80, 0..10),
        ) {
            let stream = stream.as_bytes();
            let whole = all(stream);
            let mut cuts: Vec<usize> = cuts.into_iter().map(|c| c.min(stream.len())).collect();
            cuts.extend([0, stream.len()]);
            cuts.sort_unstable();
            let mut parser = Parser::default();
            let mut events = Vec::new();
            for pair in cuts.windows(2) {
                events.extend(parser.push(&stream[pair[0]..pair[1]]).unwrap());
            }
            events.extend(parser.finish());
            prop_assert_eq!(data_of(&events), data_of(&whole));
            let raw: Vec<u8> = events.into_iter().flat_map(|event| event.raw).collect();
            prop_assert_eq!(raw, stream);
        }

        #[test]
        fn what_is_encoded_is_read_back(data in "[a-z \n:]{0,30}") {
            let events = all(&encode(data.as_bytes()));
            prop_assert_eq!(data_of(&events), [Some(data)]);
        }
    }
}
