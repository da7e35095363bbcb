//! Text that a reader does not see: zero-width and direction characters, tag characters, bytes in variation
//! selectors. Says where it is, and gives the texts that are behind it for another scan.

use unicode_normalization::UnicodeNormalization;

use super::chars::{
    BLACK_FLAG, BYTE_ORDER_MARK, CANCEL_TAG, JOINER, KEYCAP, NON_JOINER, Unseen, ZERO_SPACE,
    is_dash, is_direction_mark, is_emoji, is_right_to_left, is_skin_tone, may_fold, selector_value,
    tag_value, takes_joiners, takes_selector, takes_zero_space, unseen,
};
use super::view::{Rewrite, View};

/// How far from a direction mark the letter may be that it is for.
const NEAR_CHARS: usize = 8;

/// Fewest and most tag characters between a black flag and the cancel tag: two letters for the country and
/// one to four for its part.
const FLAG_TAGS: std::ops::RangeInclusive<usize> = 3..=6;

/// A stretch of characters of one kind that are not at home where they stand.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Run {
    pub(crate) kind: Unseen,
    pub(crate) start: usize,
    pub(crate) end: usize,
}

/// What was found.
#[derive(Debug, Default)]
pub(crate) struct Revealed {
    pub(crate) runs: Vec<Run>,
    /// The text as it is read: without what does not show, look-alikes of ASCII as ASCII.
    pub(crate) plain: Option<View>,
    /// What tag characters and variation selectors spell.
    pub(crate) smuggled: Option<View>,
}

/// Looks for text that does not show. Plain ASCII, and text with nothing of that kind, costs one pass.
pub(crate) fn reveal(text: &str) -> Revealed {
    if text.is_ascii() || !text.chars().any(|c| may_fold(c) || unseen(c).is_some()) {
        return Revealed::default();
    }
    let chars: Vec<(usize, char)> = text.char_indices().collect();
    let flags = flag_tags(&chars);
    let mut found = Revealed::default();
    let mut plain = Rewrite::of(text);
    let mut smuggled = Rewrite::of(text);
    let mut changed = false;
    for (index, &(start, c)) in chars.iter().enumerate() {
        let end = start + c.len_utf8();
        let Some(kind) = unseen(c) else {
            if let Some(folded) = fold(c) {
                plain.replace(start, end, &folded);
                changed = true;
            }
            continue;
        };
        if let Some(value) = tag_value(c).filter(|_| kind == Unseen::Tag) {
            smuggled.put(start, end, value.encode_utf8(&mut [0; 4]));
        }
        let in_flag = kind == Unseen::Tag && flags.get(index).copied().unwrap_or_default();
        if in_flag || at_home(&chars, index, kind) {
            continue;
        }
        if let Some(value) = selector_value(c).filter(|b| matches!(b, b' '..=b'~' | b'\n')) {
            smuggled.put(start, end, char::from(value).encode_utf8(&mut [0; 4]));
        }
        plain.replace(start, end, "");
        changed = true;
        note(&mut found.runs, kind, start, end);
    }
    found.plain = changed.then(|| plain.with_rest());
    found.smuggled = Some(smuggled.without_rest()).filter(|view| !view.text().is_empty());
    found
}

/// Adds a character to the run that it continues, or begins one.
fn note(runs: &mut Vec<Run>, kind: Unseen, start: usize, end: usize) {
    match runs.last_mut() {
        Some(last) if last.kind == kind && last.end == start => last.end = end,
        _ => runs.push(Run { kind, start, end }),
    }
}

/// The ASCII text that a look-alike stands for.
fn fold(c: char) -> Option<String> {
    if is_dash(c) {
        return Some("-".to_owned());
    }
    if !may_fold(c) {
        return None;
    }
    let folded: String = std::iter::once(c).nfkc().collect();
    folded.is_ascii().then_some(folded)
}

/// For each character, whether it is a tag of a flag emoji such as Scotland's.
fn flag_tags(chars: &[(usize, char)]) -> Vec<bool> {
    let mut inside = vec![false; chars.len()];
    let flags = chars.iter().enumerate().filter(|(_, (_, c))| *c == BLACK_FLAG);
    for (flag, _) in flags {
        let tags = chars.iter().skip(flag + 1);
        let names = tags
            .clone()
            .take(FLAG_TAGS.end() + 1)
            .map_while(|(_, c)| tag_value(*c))
            .take_while(|c| c.is_ascii_lowercase() || c.is_ascii_digit());
        let count = names.clone().count();
        let country = names.take(2).all(|c| c.is_ascii_lowercase());
        let closed = tags.clone().nth(count).is_some_and(|(_, c)| *c == CANCEL_TAG);
        if FLAG_TAGS.contains(&count) && country && closed {
            for mark in inside.iter_mut().skip(flag + 1).take(count + 1) {
                *mark = true;
            }
        }
    }
    inside
}

/// Whether an unseen character has work to do where it stands.
fn at_home(chars: &[(usize, char)], index: usize, kind: Unseen) -> bool {
    let at = |index: Option<usize>| index.and_then(|i| chars.get(i)).map(|(_, c)| *c);
    let Some(c) = at(Some(index)) else {
        return false;
    };
    let before = at(index.checked_sub(1));
    let after = at(index.checked_add(1));
    match kind {
        Unseen::Tag => false,
        Unseen::Bidi => is_direction_mark(c) && near_right_to_left(chars, index),
        Unseen::Variation => {
            let keycap = matches!(before, Some('0'..='9' | '#' | '*'))
                && c == '\u{FE0F}'
                && after == Some(KEYCAP);
            keycap || before.is_some_and(|base| takes_selector(base, c))
        }
        Unseen::ZeroWidth => match c {
            BYTE_ORDER_MARK => index == 0,
            ZERO_SPACE => [before, after].iter().all(|side| side.is_some_and(takes_zero_space)),
            JOINER if joins_emoji(chars, index) => true,
            JOINER | NON_JOINER => {
                let ends = after.is_none_or(|c| {
                    c.is_whitespace() || c.is_ascii_punctuation() || takes_joiners(c)
                });
                before.is_some_and(takes_joiners) && ends
            }
            _ => false,
        },
    }
}

/// Whether the joiner stands between two emoji; a skin tone or one variation selector may follow the first.
fn joins_emoji(chars: &[(usize, char)], index: usize) -> bool {
    let after = chars.get(index + 1).is_some_and(|(_, c)| is_emoji(*c));
    let mut before = chars.get(..index).unwrap_or_default().iter().rev().map(|(_, c)| *c);
    let base = match before.next() {
        Some('\u{FE0F}') => before.next(),
        Some(c) if is_skin_tone(c) => before.next(),
        other => other,
    };
    after && base.is_some_and(is_emoji)
}

fn near_right_to_left(chars: &[(usize, char)], index: usize) -> bool {
    let from = index.saturating_sub(NEAR_CHARS);
    chars
        .iter()
        .skip(from)
        .take(index - from + NEAR_CHARS + 1)
        .any(|(_, c)| !is_direction_mark(*c) && is_right_to_left(*c))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kinds(text: &str) -> Vec<Unseen> {
        reveal(text).runs.into_iter().map(|run| run.kind).collect()
    }

    fn tags(text: &str) -> String {
        text.chars().map(|c| char::from_u32(0xE0000 + u32::from(c)).unwrap()).collect()
    }

    fn selectors(text: &str) -> String {
        text.bytes()
            .map(|b| {
                let code = u32::from(b);
                char::from_u32(if code < 16 { 0xFE00 + code } else { 0xE0100 + code - 16 }).unwrap()
            })
            .collect()
    }

    #[test]
    fn ordinary_text_hides_nothing() {
        for text in [
            "plain text\r\n\twith tabs",
            "Grüße, naïve café",
            "\u{FEFF}a file with a byte order mark",
            "\u{1F469}\u{200D}\u{1F4BB} and \u{1F469}\u{1F3FD}\u{200D}\u{1F692}",
            "\u{2764}\u{FE0F}\u{200D}\u{1F525} \u{1F3F3}\u{FE0F}\u{200D}\u{1F308} 1\u{FE0F}\u{20E3}",
            "\u{645}\u{6CC}\u{200C}\u{62E}\u{648}\u{627}\u{647}\u{645}",
            "\u{0915}\u{094D}\u{200D}\u{0937} \u{0D28}\u{0D4D}\u{200D} \u{0915}\u{094D}\u{200C}\u{0937}",
            "\u{5E9}\u{5DC}\u{5D5}\u{5DD}!\u{200F} ok",
            "\u{0E01}\u{0E02}\u{200B}\u{0E04}",
            "\u{908A}\u{E0100}",
            "\u{2229}\u{FE00}",
        ] {
            assert_eq!(kinds(text), [], "{text:?}");
        }
        let scotland = format!("\u{1F3F4}{}{CANCEL_TAG}", tags("gbsct"));
        assert_eq!(kinds(&format!("go {scotland}!")), []);
    }

    #[test]
    fn hidden_characters_are_found_where_they_have_no_work() {
        for (text, kind) in [
            ("pass\u{200B}word", Unseen::ZeroWidth),
            ("pass\u{200C}word", Unseen::ZeroWidth),
            ("pass\u{200D}word", Unseen::ZeroWidth),
            ("pass\u{AD}word", Unseen::ZeroWidth),
            ("a\u{FEFF}b", Unseen::ZeroWidth),
            ("\u{1F600}\u{200D}x", Unseen::ZeroWidth),
            ("\u{645}\u{200C}x", Unseen::ZeroWidth),
            ("a\u{202E}b", Unseen::Bidi),
            ("a\u{2066}b", Unseen::Bidi),
            ("a\u{200E}b", Unseen::Bidi),
            ("a\u{FE0F}b", Unseen::Variation),
            ("1\u{FE0F}2", Unseen::Variation),
            ("\u{1F600}\u{E0121}", Unseen::Variation),
            ("a\u{E0041}b", Unseen::Tag),
            ("\u{E0001}", Unseen::Tag),
        ] {
            assert_eq!(kinds(text), [kind], "{text:?}");
        }
    }

    #[test]
    fn a_run_is_one_span_and_spans_are_whole_characters() {
        let text = "ab\u{200B}\u{200C}\u{2060}cd\u{202E}";
        assert_eq!(
            reveal(text).runs,
            [
                Run { kind: Unseen::ZeroWidth, start: 2, end: 11 },
                Run { kind: Unseen::Bidi, start: 13, end: 16 }
            ]
        );
    }

    #[test]
    fn a_run_of_joiners_between_letters_is_no_spelling() {
        assert_eq!(kinds("\u{645}\u{200C}\u{200D}\u{200C}\u{6CC}"), [Unseen::ZeroWidth]);
        assert_eq!(kinds("\u{1F469}\u{200D}\u{200D}\u{1F4BB}"), [Unseen::ZeroWidth]);
    }

    #[test]
    fn flags_of_the_wrong_shape_are_tags() {
        let flag = |name: &str, close: &str| format!("\u{1F3F4}{}{close}", tags(name));
        for (name, close) in [
            ("gb", "\u{E007F}"),
            ("gbsctxx", "\u{E007F}"),
            ("gbsct", ""),
            ("GBSCT", "\u{E007F}"),
            ("1bsct", "\u{E007F}"),
        ] {
            assert_eq!(kinds(&flag(name, close)), [Unseen::Tag], "{name}");
        }
        assert_eq!(kinds(&tags("gbsct")), [Unseen::Tag]);
    }

    #[test]
    fn the_plain_text_is_what_a_reader_sees() {
        let plain = |text: &str| reveal(text).plain.map(|view| view.text().to_owned());
        assert_eq!(plain("p\u{200B}a\u{202E}s\u{E0041}s").as_deref(), Some("pass"));
        assert_eq!(
            plain("\u{FF30}\u{1D41A}\u{24E2}\u{FF53}\u{A0}x\u{2013}y").as_deref(),
            Some("Pass x-y")
        );
        assert_eq!(plain("caf\u{E9} \u{2764}\u{FE0F}"), None);
    }

    #[test]
    fn what_is_spelled_by_tags_and_selectors_is_read() {
        let smuggled = |text: &str| reveal(text).smuggled.map(|view| view.text().to_owned());
        assert_eq!(smuggled(&format!("hi{}!", tags("do it"))).as_deref(), Some("do it"));
        assert_eq!(smuggled(&format!("\u{1F600}{}", selectors("Do it"))).as_deref(), Some("Do it"));
        assert_eq!(smuggled("a\u{200B}b"), None);
    }
}
