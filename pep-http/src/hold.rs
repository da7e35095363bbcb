//! Holding a stream back until policy has seen all of it, and letting it go masked.
//!
//! A text arrives in deltas that cut it anywhere, inside a secret as well. So nothing is let go before the text
//! is whole: the deltas of each channel are put together, decided on as one text, and given out again in the
//! frames that they came in, with what each frame may show of the masked text.

use indexmap::IndexMap;
use lictor_pep_core::edit::Edits;
use lictor_proto::call::{Content, Origin, Usage};
use lictor_proto::json::{ScanError, Span, scan};

use crate::answer::{self, Used};
use crate::mask::{self, Spans, Unmaskable};
use crate::sse::{self, Event, EventTooLong, Parser};
use crate::text;

/// Most text of one choice that is held, bytes; a choice with exactly so many passes.
pub(crate) const MAX_HELD_TEXT_BYTES: usize = 64 * 1024;
/// Most bytes of frames that are held for one stream.
pub(crate) const MAX_HELD_FRAME_BYTES: usize = 16 * 1024 * 1024;

/// Why a stream cannot be held.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum HoldError {
    /// One choice has too much text.
    #[error(
        "one choice of the answer is longer than {MAX_HELD_TEXT_BYTES} bytes and cannot be checked"
    )]
    TextTooLong,
    /// All frames together are too long.
    #[error("the stream is longer than {MAX_HELD_FRAME_BYTES} bytes and cannot be checked")]
    StreamTooLong,
    /// One frame is too long.
    #[error(transparent)]
    Event(#[from] EventTooLong),
    /// A frame is no JSON that everybody reads alike.
    #[error("a frame of the stream is not acceptable: {0}")]
    Frame(#[from] ScanError),
    /// A mask cannot be carried out.
    #[error(transparent)]
    Mask(#[from] Unmaskable),
}

/// A stream that is being held.
#[derive(Debug, Default)]
pub(crate) struct Held {
    parser: Parser,
    frames: Vec<Frame>,
    frame_bytes: usize,
    channels: IndexMap<String, Channel>,
    /// Bytes of text of each choice.
    choices: IndexMap<String, usize>,
    usage: Option<Used>,
    done: bool,
}

/// All text of one channel so far.
#[derive(Debug)]
struct Channel {
    origin: Origin,
    text: String,
}

#[derive(Debug)]
struct Frame {
    event: Event,
    fragments: Vec<Fragment>,
    echoes: Vec<Span>,
}

/// A string of a frame: which part of which channel it is.
#[derive(Debug)]
struct Fragment {
    channel: usize,
    span: Span,
    from: usize,
    to: usize,
}

impl Held {
    /// Takes the next bytes of the stream.
    ///
    /// # Errors
    /// [`HoldError`]; the stream must then end without anything of it being let go.
    pub(crate) fn push(&mut self, bytes: &[u8]) -> Result<(), HoldError> {
        for event in self.parser.push(bytes)? {
            self.take(event)?;
        }
        Ok(())
    }

    /// Takes what the end of the stream cut off.
    ///
    /// # Errors
    /// As [`Held::push`].
    pub(crate) fn finish(&mut self) -> Result<(), HoldError> {
        match self.parser.finish() {
            Some(event) => self.take(event),
            None => Ok(()),
        }
    }

    /// Whether the frame that ends the stream has come; what follows it is not read.
    pub(crate) fn is_done(&self) -> bool {
        self.done
    }

    /// Tokens as the provider counted them, or an estimate of the output from its text.
    pub(crate) fn usage(&self, asked: Usage) -> Used {
        let bytes = self.channels.values().map(|channel| channel.text.len() as u64).sum();
        let estimated = Usage { max_output_tokens: text::estimated_tokens(bytes), ..asked };
        self.usage.unwrap_or(Used::estimated(estimated))
    }

    /// One part per channel, in the order in which they began.
    pub(crate) fn content(&self) -> Vec<Content> {
        let part = |(pointer, channel): (&String, &Channel)| {
            let media = text::binary_media(pointer, &channel.text);
            let shown = if media.is_some() { "" } else { &channel.text };
            let media = media.as_deref().unwrap_or("text/plain");
            text::part(channel.origin, pointer, media, shown)
        };
        self.channels.iter().map(part).collect()
    }

    /// The frames with `spans` (by index into [`Held::content`]) masked. Without spans they are what came in, byte
    /// for byte.
    ///
    /// # Errors
    /// [`HoldError::Mask`] if a span is on nothing that can be rewritten.
    pub(crate) fn release(&self, spans: &Spans) -> Result<Vec<Vec<u8>>, HoldError> {
        if spans.is_empty() {
            return Ok(self.frames.iter().map(|frame| frame.event.raw.clone()).collect());
        }
        for (index, spans) in spans {
            let found = self.channels.get_index(*index);
            let (pointer, channel) = found.ok_or(Unmaskable::Part(String::new()))?;
            if text::binary_media(pointer, &channel.text).is_some() {
                return Err(Unmaskable::Part(pointer.clone()).into());
            }
            mask::whole(pointer, &channel.text, spans)?;
        }
        self.frames.iter().filter_map(|frame| self.masked(frame, spans).transpose()).collect()
    }

    /// One frame masked. A frame of comments is left out, since it could say anything.
    fn masked(&self, frame: &Frame, spans: &Spans) -> Result<Option<Vec<u8>>, HoldError> {
        let Some(data) = &frame.event.data else {
            return Ok(None);
        };
        let mut edits = Edits::new();
        for echo in &frame.echoes {
            edits.replace_span(*echo, "null");
        }
        for fragment in &frame.fragments {
            let Some(spans) = spans.get(&fragment.channel) else {
                continue;
            };
            let found = self.channels.get_index(fragment.channel);
            let (_, channel) = found.ok_or(Unmaskable::Part(String::new()))?;
            let shown = mask::fragment(&channel.text, spans, fragment.from, fragment.to);
            mask::replace_with_string(&mut edits, fragment.span, &shown);
        }
        let data = edits.apply(data).map_err(|_| Unmaskable::Overlap)?;
        Ok(Some(sse::encode(&data)))
    }

    fn take(&mut self, event: Event) -> Result<(), HoldError> {
        if self.done {
            return Ok(());
        }
        self.frame_bytes += event.raw.len();
        if self.frame_bytes > MAX_HELD_FRAME_BYTES {
            return Err(HoldError::StreamTooLong);
        }
        self.done = event.is_done();
        let (fragments, echoes) = match event.json() {
            Some(data) => self.read(data)?,
            None => Default::default(),
        };
        self.frames.push(Frame { event, fragments, echoes });
        Ok(())
    }

    fn read(&mut self, data: &[u8]) -> Result<(Vec<Fragment>, Vec<Span>), HoldError> {
        let root = scan(data)?;
        self.usage = answer::usage(&root).or(self.usage);
        let view = answer::view(&root);
        let mut fragments = Vec::with_capacity(view.texts.len());
        for text in view.texts {
            self.count(&text.channel, text.text.len())?;
            let entry = self.channels.entry(text.channel);
            let index = entry.index();
            let channel =
                entry.or_insert_with(|| Channel { origin: text.origin, text: String::new() });
            let from = channel.text.len();
            channel.text.push_str(text.text);
            let to = channel.text.len();
            fragments.push(Fragment { channel: index, span: text.span, from, to });
        }
        Ok((fragments, view.echoes))
    }

    fn count(&mut self, channel: &str, bytes: usize) -> Result<(), HoldError> {
        let choice = choice_of(channel);
        let sum = match self.choices.get_mut(choice) {
            Some(sum) => sum,
            None => self.choices.entry(choice.to_owned()).or_default(),
        };
        *sum += bytes;
        if *sum > MAX_HELD_TEXT_BYTES {
            return Err(HoldError::TextTooLong);
        }
        Ok(())
    }
}

/// The choice that a channel belongs to; all that belong to none count as one.
fn choice_of(channel: &str) -> &str {
    let rest = channel.strip_prefix("/choices/").unwrap_or_default();
    rest.split('/').next().unwrap_or_default()
}

#[cfg(test)]
#[path = "hold_tests.rs"]
mod tests;
