//! Which strings of a body are texts for the detectors.

use lictor_proto::call::{Content, Origin};

/// Longest name that is taken for an identifier of the protocol instead of a text, bytes.
const MAX_IDENTIFIER_BYTES: usize = 24;
/// Most digits of such a name.
const MAX_IDENTIFIER_DIGITS: usize = 8;
/// Bytes that are counted as one token where nobody has counted.
const BYTES_PER_TOKEN: u64 = 4;
/// The media type of a text.
const TEXT: &str = "text/plain";

/// Whether `text` is one of the protocol's own words (`text`, `json_schema`), which say nothing to a model.
pub(crate) fn is_identifier(text: &str) -> bool {
    // Numbers of cards and telephones have more digits than the protocol's words.
    let digits = text.bytes().filter(u8::is_ascii_digit).count();
    (1..=MAX_IDENTIFIER_BYTES).contains(&text.len())
        && digits <= MAX_IDENTIFIER_DIGITS
        && text.bytes().all(|b| {
            b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'_' | b'-' | b'.')
        })
}

/// The media type of the string at `pointer`, if it is not a text: inline files, pictures and sounds, which
/// detectors cannot read and which are therefore named without their bytes.
pub(crate) fn binary_media(pointer: &str, text: &str) -> Option<String> {
    if let Some(rest) = text.strip_prefix("data:") {
        let media = rest.split([';', ',']).next().unwrap_or_default();
        return (!media.starts_with("text/")).then(|| media.to_owned());
    }
    if pointer.ends_with("/input_audio/data") || pointer.ends_with("/audio/data") {
        return Some("audio/unknown".to_owned());
    }
    pointer.ends_with("/file/file_data").then(|| "application/octet-stream".to_owned())
}

/// The content parts that the string at `pointer` stands for.
pub(crate) fn push_parts(out: &mut Vec<Content>, origin: Origin, pointer: &str, text: &str) {
    if let Some(media) = binary_media(pointer, text) {
        out.push(part(origin, pointer, &media, ""));
        return;
    }
    out.push(part(origin, pointer, TEXT, text));
    if pointer.ends_with("/image_url/url") {
        // The provider fetches what the address names, so there is a picture that nobody here has seen.
        out.push(part(origin, pointer, "image/unknown", ""));
    }
}

/// Goes one step further down a pointer.
pub(crate) fn step(pointer: &mut String, token: impl std::fmt::Display) {
    use std::fmt::Write as _;
    // A text takes whatever is written to it.
    let _ = write!(pointer, "/{token}");
}

/// One content part.
pub(crate) fn part(origin: Origin, pointer: &str, media: &str, text: &str) -> Content {
    Content { origin, pointer: pointer.to_owned(), media: media.to_owned(), text: text.to_owned() }
}

/// Tokens of `bytes` of text, estimated at four bytes each and rounded up.
pub(crate) fn estimated_tokens(bytes: u64) -> u64 {
    bytes.div_ceil(BYTES_PER_TOKEN)
}

/// All bytes of the texts.
pub(crate) fn text_bytes(content: &[Content]) -> u64 {
    content.iter().map(|part| part.text.len() as u64).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn inline_files_are_named_and_not_shown() {
        let mut out = Vec::new();
        let at = "/messages/0/content/0/image_url/url";
        push_parts(&mut out, Origin::User, at, "data:image/png;base64,AAAA");
        push_parts(&mut out, Origin::User, at, "https://x.example/a.png");
        push_parts(&mut out, Origin::User, "/messages/0/content/1/input_audio/data", "UklG");
        push_parts(&mut out, Origin::User, "/messages/0/content/2/text", "data:text/plain,hi");
        let seen: Vec<(&str, &str)> = out.iter().map(|part| (&*part.media, &*part.text)).collect();
        let expected = [
            ("image/png", ""),
            ("text/plain", "https://x.example/a.png"),
            ("image/unknown", ""),
            ("audio/unknown", ""),
            ("text/plain", "data:text/plain,hi"),
        ];
        assert_eq!(seen, expected);
    }

    #[test]
    fn tokens_round_up() {
        let of = [0, 1, 4, 5].map(estimated_tokens);
        assert_eq!(of, [0, 1, 1, 2]);
    }

    #[test]
    fn identifiers_are_short_and_plain() {
        assert!(is_identifier("json_schema") && is_identifier(&"a".repeat(MAX_IDENTIFIER_BYTES)));
        assert!(is_identifier("12345678") && !is_identifier("123456789"));
        for text in
            ["", "Text", "two words", "4111111111111111", &"a".repeat(MAX_IDENTIFIER_BYTES + 1)]
        {
            assert!(!is_identifier(text), "{text}");
        }
    }
}
