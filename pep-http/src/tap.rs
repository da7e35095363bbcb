//! Listening to a stream that passes through: what it used, and where it ends.

use indexmap::IndexMap;
use lictor_pep_core::Flight;
use lictor_pep_core::record::MAX_LOGGED_RESULT_BYTES;
use lictor_proto::call::Usage;
use lictor_proto::json::scan;

use crate::answer::Used;
use crate::sse::{Event, Parser};
use crate::{answer, text};

/// What was heard so far.
#[derive(Debug, Default)]
pub(crate) struct Tap {
    /// Absent once an event was too long to be read.
    parser: Option<Parser>,
    text_bytes: u64,
    usage: Option<Used>,
    done: bool,
    /// The text of each channel, where it is to be logged and is not too much.
    log: Option<IndexMap<String, String>>,
}

impl Tap {
    /// Listens; `log` says whether texts are kept.
    pub(crate) fn new(log: bool) -> Self {
        Self { parser: Some(Parser::default()), log: log.then(IndexMap::new), ..Self::default() }
    }

    /// Hears the next bytes; true if the event that ends the stream is among them.
    pub(crate) fn push(&mut self, bytes: &[u8]) -> bool {
        let Some(parser) = &mut self.parser else {
            self.text_bytes += bytes.len() as u64;
            return false;
        };
        match parser.push(bytes) {
            Ok(events) => events.iter().for_each(|event| self.hear(event)),
            Err(_) => {
                self.parser = None;
                self.text_bytes += bytes.len() as u64;
            }
        }
        self.done
    }

    fn hear(&mut self, event: &Event) {
        self.done |= event.is_done();
        let Some(data) = event.json() else {
            return;
        };
        let Ok(root) = scan(data) else {
            self.text_bytes += data.len() as u64;
            return;
        };
        self.usage = answer::usage(&root).or(self.usage);
        for text in answer::view(&root).texts {
            self.text_bytes += text.text.len() as u64;
            if let Some(log) = &mut self.log {
                log.entry(text.channel).or_default().push_str(text.text);
            }
        }
        if self.text_bytes > MAX_LOGGED_RESULT_BYTES as u64 {
            self.log = None;
        }
    }

    /// Tokens as the provider counted them, or an estimate of four bytes of text each.
    pub(crate) fn usage_of(&self, flight: &Flight) -> Used {
        self.usage_after(flight.call().usage)
    }

    fn usage_after(&self, asked: Usage) -> Used {
        let estimate = text::estimated_tokens(self.text_bytes);
        let estimated = Usage { max_output_tokens: estimate, ..asked };
        self.usage.unwrap_or(Used::estimated(estimated))
    }

    /// The texts by channel as a JSON object.
    pub(crate) fn into_log(self) -> Option<String> {
        self.log.and_then(|log| serde_json::to_string(&log).ok())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sse::MAX_EVENT_BYTES;

    const ASKED: Usage = Usage { input_tokens: 7, max_output_tokens: 99, cost_usd_micros: 0 };

    #[test]
    fn texts_are_counted_until_the_provider_counts() {
        let mut tap = Tap::new(true);
        let delta = b"data: {\"choices\":[{\"index\":0,\"delta\":{\"content\":\"12345\"}}]}\n\n";
        let (first, second) = delta.split_at(20);
        assert!(!tap.push(first) && !tap.push(second));
        let used = tap.usage_after(ASKED).usage;
        assert_eq!((used.input_tokens, used.max_output_tokens), (7, 2));
        tap.push(
            b"data: {\"choices\":[],\"usage\":{\"prompt_tokens\":3,\"completion_tokens\":4}}\n\n",
        );
        let used = tap.usage_after(ASKED).usage;
        assert_eq!((used.input_tokens, used.max_output_tokens), (3, 4));
        assert!(tap.push(b"data: [DONE]\n\n"));
        let log = tap.into_log().unwrap();
        assert_eq!(log, r#"{"/choices/0/message/content":"12345"}"#);
    }

    #[test]
    fn what_cannot_be_read_is_counted_by_its_bytes() {
        let mut tap = Tap::new(false);
        tap.push(b"data: {\"a\"\n\n");
        assert_eq!(tap.usage_after(ASKED).usage.max_output_tokens, 1);
        tap.push(&vec![b'x'; MAX_EVENT_BYTES + 1]);
        tap.push(b"data: [DONE]\n\n");
        assert!(tap.usage_after(ASKED).usage.max_output_tokens > MAX_EVENT_BYTES as u64 / 4);
        assert_eq!(tap.into_log(), None);
    }
}
