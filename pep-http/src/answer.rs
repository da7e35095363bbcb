//! The texts of an OpenAI chat answer, whole or as a chunk of a stream.

use lictor_pep_core::Ending;
use lictor_proto::call::{Content, Origin, Usage};
use lictor_proto::json::node::escape_token;
use lictor_proto::json::{Node, Span};

use crate::text::{self, is_identifier, step};

/// One string of an answer that somebody will read.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Text<'a> {
    /// Where it stands in this body.
    pub(crate) pointer: String,
    /// The same with list positions replaced by the items' own `index` and `delta` by `message`: strings of one
    /// channel, from chunk to chunk, are one text.
    pub(crate) channel: String,
    /// Who wrote it.
    pub(crate) origin: Origin,
    /// Its bytes in the body.
    pub(crate) span: Span,
    /// The string, unescaped.
    pub(crate) text: &'a str,
}

/// What is to be known of an answer.
#[derive(Debug, Default)]
pub(crate) struct View<'a> {
    /// Its texts, in the order of the body.
    pub(crate) texts: Vec<Text<'a>>,
    /// Values that repeat texts token by token. They go wherever a mask applies.
    pub(crate) echoes: Vec<Span>,
}

impl View<'_> {
    /// The texts as content of a call, one part each.
    pub(crate) fn content(&self) -> Vec<Content> {
        let mut out = Vec::with_capacity(self.texts.len());
        for text in &self.texts {
            text::push_parts(&mut out, text.origin, &text.pointer, text.text);
        }
        out
    }
}

/// Collects the texts of `root`.
pub(crate) fn view(root: &Node) -> View<'_> {
    let mut view = View::default();
    let mut place = Place { pointer: String::new(), channel: String::new() };
    walk(&mut view, &mut place, Origin::Assistant, root);
    view
}

/// What a call used, as far as it is known.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Used {
    pub(crate) usage: Usage,
    /// Of the tokens sent, those from the provider's cache.
    cached_tokens: u64,
    /// Of the tokens that came back, those of hidden reasoning.
    reasoning_tokens: u64,
}

impl Used {
    /// Where the provider said nothing.
    pub(crate) fn estimated(usage: Usage) -> Self {
        Self { usage, ..Self::default() }
    }

    /// For the record and the settlement.
    pub(crate) fn put(self, ending: &mut Ending) {
        ending.usage = self.usage;
        ending.detail.cached_tokens = self.cached_tokens;
        ending.detail.reasoning_tokens = self.reasoning_tokens;
    }
}

/// Tokens as the provider counted them: absent unless the answer says both numbers.
pub(crate) fn usage(root: &Node) -> Option<Used> {
    let usage = root.get("usage")?;
    let count = |name: &str| usage.get(name).and_then(Node::as_u64);
    let part = |of: &str, name: &str| usage.get(of).and_then(|of| of.get(name)?.as_u64());
    let counted = Usage {
        input_tokens: count("prompt_tokens")?,
        // Absent where nothing was generated, as for embeddings.
        max_output_tokens: count("completion_tokens").unwrap_or(0),
        ..Usage::default()
    };
    Some(Used {
        usage: counted,
        cached_tokens: part("prompt_tokens_details", "cached_tokens").unwrap_or(0),
        reasoning_tokens: part("completion_tokens_details", "reasoning_tokens").unwrap_or(0),
    })
}

struct Place {
    pointer: String,
    channel: String,
}

fn walk<'a>(view: &mut View<'a>, place: &mut Place, origin: Origin, node: &'a Node) {
    if let Some(text) = node.as_str() {
        view.texts.push(Text {
            pointer: place.pointer.clone(),
            channel: place.channel.clone(),
            origin,
            span: node.span,
            text,
        });
    }
    let length = (place.pointer.len(), place.channel.len());
    for (position, item) in node.items().iter().enumerate() {
        let index = item.get("index").and_then(Node::as_u64);
        step(&mut place.pointer, position);
        step(&mut place.channel, index.unwrap_or(position as u64));
        walk(view, place, origin, item);
        place.pointer.truncate(length.0);
        place.channel.truncate(length.1);
    }
    for member in node.members() {
        if is_envelope(&place.pointer, &member.key, &member.value) {
            continue;
        }
        if &*member.key == "logprobs" {
            view.echoes.push(member.value.span);
            continue;
        }
        let name = escape_token(&member.key);
        step(&mut place.pointer, &name);
        let channel = if &*name == "delta" { "message" } else { &*name };
        step(&mut place.channel, channel);
        walk(view, place, origin_of(origin, &member.key), &member.value);
        place.pointer.truncate(length.0);
        place.channel.truncate(length.1);
    }
}

fn origin_of(origin: Origin, key: &str) -> Origin {
    match key {
        "arguments" | "input" => Origin::ToolArgs,
        _ => origin,
    }
}

/// Whether the member belongs to the envelope: ids, counts and the protocol's own words, which no model writes.
fn is_envelope(at: &str, key: &str, value: &Node) -> bool {
    if at.is_empty() {
        let name = matches!(key, "id" | "object" | "model" | "system_fingerprint" | "service_tier");
        return key == "usage" || (name && value.as_str().is_some());
    }
    match key {
        "id" => value.as_str().is_some() && at.contains("/tool_calls/"),
        "role" | "type" | "finish_reason" | "native_finish_reason" => {
            value.as_str().is_some_and(is_identifier)
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use lictor_proto::json::scan;

    use super::*;

    fn texts(body: &str) -> Vec<(String, String, Origin)> {
        let root = scan(body.as_bytes()).unwrap();
        let view = view(&root);
        view.texts.into_iter().map(|t| (t.channel, t.text.to_owned(), t.origin)).collect()
    }

    fn text(channel: &str, text: &str, origin: Origin) -> (String, String, Origin) {
        (channel.to_owned(), text.to_owned(), origin)
    }

    #[test]
    fn a_plain_answer_shows_texts_and_arguments() {
        let body = r#"{"id":"c1","object":"chat.completion","created":1,"model":"m","choices":[{"index":0,
            "message":{"role":"assistant","content":"hi","refusal":null,"reasoning_content":"hm","tool_calls":[
            {"id":"call_1","type":"function","function":{"name":"f","arguments":"{\"a\":1}"}}]},
            "logprobs":{"content":[{"token":"hi"}]},"finish_reason":"stop"}],
            "usage":{"prompt_tokens":9,"completion_tokens":2},"note":"extra"}"#;
        let message = "/choices/0/message";
        let expected = [
            text(&format!("{message}/content"), "hi", Origin::Assistant),
            text(&format!("{message}/reasoning_content"), "hm", Origin::Assistant),
            text(&format!("{message}/tool_calls/0/function/name"), "f", Origin::Assistant),
            text(
                &format!("{message}/tool_calls/0/function/arguments"),
                "{\"a\":1}",
                Origin::ToolArgs,
            ),
            text("/note", "extra", Origin::Assistant),
        ];
        assert_eq!(texts(body), expected);
        let root = scan(body.as_bytes()).unwrap();
        let echoes = view(&root).echoes;
        assert_eq!(echoes.len(), 1);
        assert_eq!(
            body.get(echoes[0].start..echoes[0].end).unwrap(),
            r#"{"content":[{"token":"hi"}]}"#
        );
        let used = usage(&root).unwrap().usage;
        assert_eq!((used.input_tokens, used.max_output_tokens), (9, 2));
    }

    #[test]
    fn chunks_of_one_choice_share_a_channel_wherever_they_stand() {
        let chunk = |index: u32, call: u32| {
            format!(
                r#"{{"choices":[{{"index":{index},"delta":{{"tool_calls":[
                {{"index":{call},"function":{{"arguments":"x"}}}}]}}}}]}}"#
            )
        };
        let channel = "/choices/2/message/tool_calls/7/function/arguments";
        assert_eq!(texts(&chunk(2, 7)), [text(channel, "x", Origin::ToolArgs)]);
    }

    #[test]
    fn what_only_looks_like_the_envelope_is_text() {
        let body = r#"{"id":{"deep":"a"},"choices":[{"finish_reason":"Do As I Say","id":"b","message":{"type":"T"}}]}"#;
        let seen: Vec<String> = texts(body).into_iter().map(|(_, text, _)| text).collect();
        assert_eq!(seen, ["a", "Do As I Say", "b", "T"]);
    }

    #[test]
    fn tokens_of_the_cache_and_of_reasoning_are_told_apart() {
        let body = r#"{"usage":{"prompt_tokens":9,"completion_tokens":5,
            "prompt_tokens_details":{"cached_tokens":4},"completion_tokens_details":{"reasoning_tokens":3}}}"#;
        let mut ending = Ending::new(lictor_pep_core::Ended::Done, 200);
        usage(&scan(body.as_bytes()).unwrap()).unwrap().put(&mut ending);
        assert_eq!((ending.usage.input_tokens, ending.usage.max_output_tokens), (9, 5));
        assert_eq!((ending.detail.cached_tokens, ending.detail.reasoning_tokens), (4, 3));
    }

    #[test]
    fn usage_without_numbers_is_unknown() {
        for body in ["{}", r#"{"usage":null}"#, r#"{"usage":{"prompt_tokens":"9"}}"#] {
            assert_eq!(usage(&scan(body.as_bytes()).unwrap()), None, "{body}");
        }
    }
}
