use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::sse::DONE;
use lictor_pep_core::mask::MaskSpan;

fn chunk(index: u32, delta: serde_json::Value) -> Vec<u8> {
    let chunk = json!({"id": "c", "object": "chat.completion.chunk", "created": 1, "model": "m",
        "choices": [{"index": index, "delta": delta, "logprobs": null, "finish_reason": null}]});
    sse::encode(chunk.to_string().as_bytes())
}

fn text_chunk(index: u32, text: &str) -> Vec<u8> {
    chunk(index, json!({ "content": text }))
}

fn done() -> Vec<u8> {
    sse::encode(DONE)
}

fn held(stream: &[u8]) -> Result<Held, HoldError> {
    let mut held = Held::default();
    held.push(stream)?;
    held.finish()?;
    Ok(held)
}

fn mask(content: usize, start: usize, end: usize) -> Spans {
    Spans::from([(content, vec![span(start, end)])])
}

fn span(start: usize, end: usize) -> MaskSpan {
    MaskSpan { start, end, replacement: "[masked]".to_owned() }
}

/// What a client puts together from the frames: the text of every channel.
fn shown(frames: &[Vec<u8>]) -> IndexMap<String, String> {
    let stream = frames.concat();
    let held = held(&stream).unwrap();
    held.channels.into_iter().map(|(pointer, channel)| (pointer, channel.text)).collect()
}

#[test]
fn without_masks_the_stream_is_what_came_in() {
    let stream =
        [b": keep\n\nid: 7\r\n".to_vec(), text_chunk(0, "a"), text_chunk(0, "b"), done()].concat();
    let held = held(&stream).unwrap();
    assert!(held.is_done());
    assert_eq!(held.release(&Spans::new()).unwrap().concat(), stream);
}

#[test]
fn a_secret_over_three_deltas_is_masked_once() {
    let stream = [
        text_chunk(0, "key: SE"),
        text_chunk(0, "CR"),
        text_chunk(0, "ET."),
        chunk(0, json!({})),
        done(),
    ]
    .concat();
    let held = held(&stream).unwrap();
    assert_eq!(held.content()[0].pointer, "/choices/0/message/content");
    assert_eq!(held.content()[0].text, "key: SECRET.");
    let frames = held.release(&mask(0, 5, 11)).unwrap();
    assert_eq!(frames.len(), 5);
    assert_eq!(shown(&frames)["/choices/0/message/content"], "key: [masked].");
    assert_eq!(frames[4], b"data: [DONE]\n\n");
    let kept: serde_json::Value = serde_json::from_slice(&frames[1][6..]).unwrap();
    assert_eq!(kept["choices"][0]["delta"]["content"], "");
    assert_eq!(kept["id"], "c");
}

#[test]
fn choices_and_tool_calls_are_apart() {
    let call = |text: &str| {
        json!({"tool_calls": [{"index": 1, "id": "call_1", "type": "function",
            "function": {"name": "send", "arguments": text}}]})
    };
    let stream = [
        text_chunk(1, "one"),
        chunk(0, call("{\"to\":\"SEC")),
        text_chunk(1, " SECRET"),
        chunk(0, call("RET\"}")),
    ]
    .concat();
    let held = held(&stream).unwrap();
    let content = held.content();
    let arguments = content.iter().position(|part| part.origin == Origin::ToolArgs).unwrap();
    assert_eq!(content[arguments].text, "{\"to\":\"SECRET\"}");
    let frames = held.release(&mask(arguments, 7, 13)).unwrap();
    let shown = shown(&frames);
    assert_eq!(
        shown["/choices/0/message/tool_calls/1/function/arguments"],
        "{\"to\":\"[masked]\"}"
    );
    assert_eq!(shown["/choices/1/message/content"], "one SECRET");
    let broken = held.release(&mask(arguments, 7, 15));
    assert!(matches!(broken, Err(HoldError::Mask(Unmaskable::Json(_)))), "{broken:?}");
}

#[test]
fn comments_and_token_lists_do_not_carry_a_masked_text() {
    let spoken = json!({"choices": [{"index": 0, "delta": {"content": "SECRET"},
        "logprobs": {"content": [{"token": "SECRET"}]}}]});
    let stream = [b": SECRET\n\n".to_vec(), sse::encode(spoken.to_string().as_bytes())].concat();
    let frames = held(&stream).unwrap().release(&mask(0, 0, 6)).unwrap();
    let out = String::from_utf8(frames.concat()).unwrap();
    assert!(!out.contains("SECRET"), "{out}");
    assert!(out.contains("\"logprobs\":null"), "{out}");
}

#[test]
fn one_choice_is_bounded_at_its_edge() {
    let half = "x".repeat(MAX_HELD_TEXT_BYTES / 2);
    let full = [text_chunk(0, &half), text_chunk(0, &half), text_chunk(1, &half)].concat();
    assert!(held(&full).is_ok());
    let over = [full, text_chunk(0, "x")].concat();
    assert_eq!(held(&over).unwrap_err(), HoldError::TextTooLong);
}

#[test]
fn the_stream_is_bounded_at_its_edge() {
    let mut frame = vec![b':'; 1024 - 2];
    frame.extend_from_slice(b"\n\n");
    let mut held = Held::default();
    for _ in 0..MAX_HELD_FRAME_BYTES / 1024 {
        held.push(&frame).unwrap();
    }
    assert_eq!(held.push(b"\n"), Err(HoldError::StreamTooLong));
}

#[test]
fn frames_that_can_be_read_in_two_ways_end_it() {
    for data in ["{\"choices\":[],\"choices\":[]}", "{", "\"\\ud800\"", "x"] {
        let error = held(&sse::encode(data.as_bytes())).unwrap_err();
        assert!(matches!(error, HoldError::Frame(_)), "{data}");
    }
}

#[test]
fn masks_on_nothing_are_refused() {
    let held = held(&text_chunk(0, "text")).unwrap();
    for wrong in [mask(1, 0, 1), mask(0, 3, 5), mask(0, 80, 90)] {
        assert!(matches!(held.release(&wrong), Err(HoldError::Mask(_))));
    }
}

#[test]
fn usage_is_the_providers_or_an_estimate() {
    let asked = Usage { input_tokens: 7, ..Usage::default() };
    let told = json!({"choices": [], "usage": {"prompt_tokens": 3, "completion_tokens": 4}});
    let stream = [text_chunk(0, "12345"), sse::encode(told.to_string().as_bytes())].concat();
    let used = held(&stream).unwrap().usage(asked).usage;
    assert_eq!((used.input_tokens, used.max_output_tokens), (3, 4));
    let used = held(&text_chunk(0, "12345")).unwrap().usage(asked).usage;
    assert_eq!((used.input_tokens, used.max_output_tokens), (7, 2));
}

#[test]
fn what_follows_the_end_is_not_read() {
    let stream = [text_chunk(0, "a"), done(), text_chunk(0, "SECRET")].concat();
    let held = held(&stream).unwrap();
    assert_eq!(held.content()[0].text, "a");
    assert_eq!(held.release(&Spans::new()).unwrap().len(), 2);
}

/// Cuts `text` at the character boundaries nearest to `cuts`.
fn cut<'a>(text: &'a str, cuts: &[usize]) -> Vec<&'a str> {
    let mut at: Vec<usize> = cuts.iter().map(|cut| cut % (text.len() + 1)).collect();
    at.retain(|cut| text.is_char_boundary(*cut));
    at.extend([0, text.len()]);
    at.sort_unstable();
    at.windows(2).map(|pair| text.get(pair[0]..pair[1]).unwrap()).collect()
}

/// A frame whose string escapes every character, as some providers send them.
fn escaped_chunk(index: u32, text: &str) -> Vec<u8> {
    let escaped: String = text.encode_utf16().map(|unit| format!("\\u{unit:04x}")).collect();
    let data =
        format!("{{\"choices\":[{{\"index\":{index},\"delta\":{{\"content\":\"{escaped}\"}}}}]}}");
    sse::encode(data.as_bytes())
}

proptest! {
    /// Nothing of a masked span leaves, however the text is cut into deltas, frames are escaped and bytes are
    /// cut into packets; and what leaves, put together, is the masked text. Secrets are Greek, replacements and
    /// surroundings are not, so that a single character of a secret would be seen.
    #[test]
    fn nothing_of_a_masked_span_leaves_at_any_cutting(
        pieces in proptest::collection::vec(("[a-z \"\\\\\n\u{1f600}é]{0,12}", "[α-ω]{1,12}"), 1..4),
        tail in "[a-z ]{0,8}",
        deltas in proptest::collection::vec(0usize..400, 0..12),
        packets in proptest::collection::vec(0usize..4000, 0..20),
        escaped in any::<bool>(),
    ) {
        let mut text = String::new();
        let mut expected = String::new();
        let mut spans = Vec::new();
        for (plain, secret) in &pieces {
            text.push_str(plain);
            expected.push_str(plain);
            let (start, end) = (text.len(), text.len() + secret.len());
            text.push_str(secret);
            expected.push_str("[masked]");
            spans.push(span(start, end));
        }
        text.push_str(&tail);
        expected.push_str(&tail);
        let mut stream = Vec::new();
        for (index, delta) in cut(&text, &deltas).iter().enumerate() {
            // Another choice speaks in between.
            stream.extend(text_chunk(1, &format!("other {index} ")));
            stream.extend(if escaped { escaped_chunk(0, delta) } else { text_chunk(0, delta) });
        }
        stream.extend(done());

        let mut held = Held::default();
        let mut bounds: Vec<usize> = packets.iter().map(|at| at % (stream.len() + 1)).collect();
        bounds.extend([0, stream.len()]);
        bounds.sort_unstable();
        for pair in bounds.windows(2) {
            held.push(&stream[pair[0]..pair[1]]).unwrap();
        }
        held.finish().unwrap();

        let own = "/choices/0/message/content";
        let content = held.content();
        let index = content.iter().position(|part| part.pointer == own).unwrap();
        prop_assert_eq!(&content[index].text, &text);
        let frames = held.release(&Spans::from([(index, spans)])).unwrap();
        let out = String::from_utf8(frames.concat()).unwrap();
        prop_assert!(!out.contains(|c| ('α'..='ω').contains(&c)), "{}", out);
        prop_assert!(!out.contains("\\u03"), "{}", out);
        let shown = shown(&frames);
        prop_assert_eq!(&shown[own], &expected);
        let others: String = (0..cut(&text, &deltas).len()).map(|i| format!("other {i} ")).collect();
        prop_assert_eq!(&shown["/choices/1/message/content"], &others);
        prop_assert!(out.ends_with("data: [DONE]\n\n"));
    }

    /// Without masks every byte comes out as it went in.
    #[test]
    fn without_masks_nothing_changes(
        texts in proptest::collection::vec("\\PC{0,10}", 0..6),
        packets in proptest::collection::vec(0usize..2000, 0..9),
    ) {
        let stream: Vec<u8> = texts.iter().flat_map(|text| text_chunk(0, text)).chain(done()).collect();
        let mut bounds: Vec<usize> = packets.iter().map(|at| at % (stream.len() + 1)).collect();
        bounds.extend([0, stream.len()]);
        bounds.sort_unstable();
        let mut held = Held::default();
        for pair in bounds.windows(2) {
            held.push(&stream[pair[0]..pair[1]]).unwrap();
        }
        held.finish().unwrap();
        prop_assert_eq!(held.release(&Spans::new()).unwrap().concat(), stream);
    }
}
