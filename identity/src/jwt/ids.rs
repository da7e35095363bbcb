//! What can name a party, a key or a token.

use lictor_proto::json::Node;
use unicode_normalization::is_nfc;

use crate::error::AuthError;

/// Longest id of a party, key or token that is accepted, bytes.
pub(crate) const ID_MAX_BYTES: usize = 512;

/// Characters that are not seen, or that change how their neighbours are shown: two ids that
/// differ only in these look the same to whoever writes a policy or reads a log.
const UNSEEN: [std::ops::RangeInclusive<char>; 13] = [
    '\u{ad}'..='\u{ad}',
    '\u{34f}'..='\u{34f}',
    '\u{61c}'..='\u{61c}',
    '\u{115f}'..='\u{1160}',
    '\u{17b4}'..='\u{17b5}',
    '\u{180b}'..='\u{180f}',
    '\u{200b}'..='\u{200f}',
    '\u{2028}'..='\u{202e}',
    '\u{2060}'..='\u{206f}',
    '\u{fe00}'..='\u{fe0f}',
    '\u{feff}'..='\u{feff}',
    '\u{fff0}'..='\u{fffd}',
    '\u{e0000}'..='\u{e0fff}',
];

/// Why `id` cannot name anything. Ids become parts of keys, records and log lines.
pub(crate) fn id_fault(id: &str) -> Option<&'static str> {
    if id.is_empty() {
        Some("it is empty")
    } else if id.len() > ID_MAX_BYTES {
        Some("it is longer than 512 bytes")
    } else if id.chars().any(char::is_control) {
        Some("it has control characters")
    } else if id.is_ascii() {
        padded(id)
    } else if id.chars().any(|c| UNSEEN.iter().any(|range| range.contains(&c))) {
        Some("it has characters that are not seen")
    } else if id.chars().any(|c| c.is_whitespace() && c != ' ') {
        Some("it has white space other than spaces")
    } else if !is_nfc(id) {
        Some("it is not in Unicode's composed form (NFC)")
    } else {
        padded(id)
    }
}

fn padded(id: &str) -> Option<&'static str> {
    let padded = id.starts_with(' ') || id.ends_with(' ');
    padded.then_some("it begins or ends with a space")
}

/// The text of a string that can name something.
pub(crate) fn id_text<'a>(node: &'a Node, name: &str) -> Result<&'a str, AuthError> {
    let text =
        node.as_str().ok_or_else(|| AuthError::claim_invalid(name, "it must be a string"))?;
    match id_fault(text) {
        Some(why) => Err(AuthError::claim_invalid(name, why)),
        None => Ok(text),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_end_where_they_say() {
        assert_eq!(id_fault(&"x".repeat(ID_MAX_BYTES)), None);
        assert!(id_fault(&"x".repeat(ID_MAX_BYTES + 1)).is_some());
        assert!(id_fault("").is_some());
        assert!(id_fault("a\nb").is_some());
        assert_eq!(id_fault("alice@example.com"), None);
    }

    #[test]
    fn an_id_is_what_it_looks_like() {
        for good in ["Jürgen Müller", "李雷", "алиса", "a b", "a|b", "ａ"] {
            assert_eq!(id_fault(good), None, "{good}");
        }
        for bad in [
            "alice\u{200b}",
            "\u{202e}ecila",
            "a\u{2066}b",
            "alice\u{feff}",
            "al\u{ad}ice",
            "alice\u{fe0f}",
            "alice\u{e0041}",
            "alice\u{2028}",
            "alice\u{a0}",
            "alice\u{3000}bob",
            "Ju\u{308}rgen",
            " alice",
            "alice ",
            "\u{7f}",
            "\u{85}",
        ] {
            assert!(id_fault(bad).is_some(), "{bad:?}");
        }
    }
}
