//! Undoes encodings in a text: base64 (both alphabets, also wrapped in lines), hex, percent and `\u` escapes.
//! The result is never longer than the text.

use base64::Engine;
use base64::alphabet::{STANDARD, URL_SAFE};
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};

use super::view::{Rewrite, View};

/// Shortest run of letters that is tried as base64.
const MIN_BASE64_BYTES: usize = 16;
/// Shortest run of digits that is tried as hex.
const MIN_HEX_BYTES: usize = 24;
/// Shortest line that may go on in the next one.
const MIN_WRAPPED_LINE_BYTES: usize = 60;
/// Least share of characters that are no control characters, in percent.
const MIN_PRINTABLE_PERCENT: usize = 90;

const LENIENT: GeneralPurposeConfig = GeneralPurposeConfig::new()
    .with_decode_padding_mode(DecodePaddingMode::Indifferent)
    .with_decode_allow_trailing_bits(true);
const BASE64: GeneralPurpose = GeneralPurpose::new(&STANDARD, LENIENT);
const BASE64_URL: GeneralPurpose = GeneralPurpose::new(&URL_SAFE, LENIENT);

/// The text with every readable encoding undone once; `None` when there is none.
pub(crate) fn decode(text: &str) -> Option<View> {
    let bytes = text.as_bytes();
    let mut rewrite = Rewrite::of(text);
    let mut changed = false;
    let mut at = 0;
    while let Some(byte) = bytes.get(at) {
        let end = match byte {
            b'%' => escaped(bytes, at, &mut rewrite, &mut changed, percent_escape),
            b'\\' => escaped(bytes, at, &mut rewrite, &mut changed, backslash_escape),
            byte if is_run_byte(*byte) => {
                let end = run_end(bytes, at);
                if end - at >= MIN_BASE64_BYTES {
                    changed |= decode_run(text, at, end, &mut rewrite);
                }
                end
            }
            _ => at,
        };
        at = end.max(at + 1);
    }
    changed.then(|| rewrite.with_rest())
}

fn is_run_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/' | b'-' | b'_')
}

/// Where the run that begins at `at` ends; a long line of it goes on after a line break.
fn run_end(bytes: &[u8], mut at: usize) -> usize {
    loop {
        let line = at;
        at += rest(bytes, at).iter().take_while(|b| is_run_byte(**b)).count();
        let full = at - line >= MIN_WRAPPED_LINE_BYTES && (at - line).is_multiple_of(4);
        let skip = match rest(bytes, at) {
            [b'\n', ..] => 1,
            [b'\r', b'\n', ..] => 2,
            _ => return at,
        };
        if !full || !bytes.get(at + skip).copied().is_some_and(is_run_byte) {
            return at;
        }
        at += skip;
    }
}

fn rest(bytes: &[u8], at: usize) -> &[u8] {
    bytes.get(at..).unwrap_or_default()
}

/// Tries a run as a whole, then its parts: `/`, `+`, `-` and `_` are digits of one alphabet and may be
/// separators of the other.
fn decode_run(text: &str, start: usize, end: usize, rewrite: &mut Rewrite<'_>) -> bool {
    let Some(run) = text.get(start..end) else {
        return false;
    };
    if let Some(plain) = undo(run) {
        rewrite.replace(start, end, &plain);
        return true;
    }
    let splits: [&[char]; 3] = [&['-', '_'], &['+', '/'], &['-', '_', '+', '/']];
    for separators in splits.into_iter().filter(|s| run.contains(*s)) {
        let mut at = start;
        let mut changed = false;
        for part in run.split(separators) {
            if let Some(plain) = undo(part) {
                rewrite.replace(at, at + part.len(), &plain);
                changed = true;
            }
            at += part.len() + 1;
        }
        if changed {
            return true;
        }
    }
    false
}

/// What a run of hex or base64 stands for, if it is readable.
fn undo(run: &str) -> Option<String> {
    if run.len() >= MIN_HEX_BYTES
        && run.bytes().all(|b| b.is_ascii_hexdigit())
        && let Some(plain) = hex::decode(run).ok().and_then(readable)
    {
        return Some(plain);
    }
    if run.len() < MIN_BASE64_BYTES || !may_be_base64_of_text(run.as_bytes()) {
        return None;
    }
    let joined: String = run.chars().filter(|c| !matches!(c, '\r' | '\n')).collect();
    // One digit too many cannot belong to it.
    let whole = joined.len() - usize::from(joined.len() % 4 == 1);
    let digits = joined.get(..whole)?;
    let engine = if digits.contains(['-', '_']) { &BASE64_URL } else { &BASE64 };
    readable(engine.decode(digits).ok()?)
}

/// Whether the first groups begin like ASCII text: the first digit of a group is the upper six bits of a byte.
/// Keeps ordinary words and paths cheap.
fn may_be_base64_of_text(run: &[u8]) -> bool {
    run.chunks(4)
        .take(4)
        .filter(|group| matches!(group.first(), Some(b'I'..=b'Z' | b'a'..=b'f' | b'C')))
        .count()
        >= 3
}

/// The bytes as text, unless most of it are control characters.
fn readable(bytes: Vec<u8>) -> Option<String> {
    let text = String::from_utf8(bytes).ok()?;
    let (mut all, mut printable) = (0_usize, 0_usize);
    for c in text.chars() {
        all += 1;
        printable += usize::from(!c.is_control() || matches!(c, '\t' | '\n' | '\r'));
    }
    (all > 0 && printable * 100 >= all * MIN_PRINTABLE_PERCENT).then_some(text)
}

/// One escape at the start of the bytes: what it adds, and its length.
type ReadEscape = fn(&[u8], &mut Vec<u8>) -> Option<usize>;

/// Replaces a run of escapes that begins at `at`, and returns where the run ends.
fn escaped(
    bytes: &[u8],
    at: usize,
    rewrite: &mut Rewrite<'_>,
    changed: &mut bool,
    read: ReadEscape,
) -> usize {
    let mut plain = Vec::new();
    let mut end = at;
    while let Some(length) = read(rest(bytes, end), &mut plain) {
        end += length;
    }
    if let Some(text) = (end > at).then(|| readable(plain)).flatten() {
        rewrite.replace(at, end, &text);
        *changed = true;
    }
    end
}

fn percent_escape(bytes: &[u8], out: &mut Vec<u8>) -> Option<usize> {
    let [b'%', high, low, ..] = bytes else {
        return None;
    };
    let byte = number(&[*high, *low])?;
    out.push(u8::try_from(byte).ok()?);
    Some(3)
}

/// `\u0041`, a pair of surrogates, `\u{41}` or `\x41`.
fn backslash_escape(bytes: &[u8], out: &mut Vec<u8>) -> Option<usize> {
    let (code, length) = match bytes {
        [b'\\', b'u', b'{', tail @ ..] => {
            let digits = tail.iter().take(6).take_while(|b| b.is_ascii_hexdigit()).count();
            let closed = tail.get(digits) == Some(&b'}');
            (number(tail.get(..digits).filter(|_| closed)?)?, digits + 4)
        }
        [b'\\', b'u', tail @ ..] => match (number(tail.get(..4)?)?, tail.get(4..10)) {
            (high @ 0xD800..=0xDBFF, Some([b'\\', b'u', low @ ..])) => {
                let low = number(low)?.checked_sub(0xDC00).filter(|low| *low < 0x400)?;
                (0x10000 + ((high - 0xD800) << 10) + low, 12)
            }
            (code, _) => (code, 6),
        },
        [b'\\', b'x', tail @ ..] => (number(tail.get(..2)?)?, 4),
        _ => return None,
    };
    out.extend_from_slice(char::from_u32(code)?.encode_utf8(&mut [0; 4]).as_bytes());
    Some(length)
}

/// A number of one or more hex digits.
fn number(digits: &[u8]) -> Option<u32> {
    let all_hex = !digits.is_empty() && digits.iter().all(u8::is_ascii_hexdigit);
    let text = std::str::from_utf8(digits).ok().filter(|_| all_hex)?;
    u32::from_str_radix(text, 16).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decoded(text: &str) -> Option<String> {
        decode(text).map(|view| view.text().to_owned())
    }

    const PLAIN: &str = "the quick brown fox? jumps > over~~ the lazy dog";

    #[test]
    fn each_encoding_is_undone_in_place() {
        let percent: String = PLAIN.bytes().map(|b| format!("%{b:02X}")).collect();
        let unicode: String = PLAIN.bytes().map(|b| format!("\\u{b:04x}")).collect();
        let braced: String = PLAIN.bytes().map(|b| format!("\\u{{{b:x}}}")).collect();
        let short: String = PLAIN.bytes().map(|b| format!("\\x{b:02x}")).collect();
        for encoded in [
            BASE64.encode(PLAIN),
            BASE64_URL.encode(PLAIN),
            BASE64.encode(PLAIN).trim_end_matches('=').to_owned(),
            hex::encode(PLAIN),
            hex::encode_upper(PLAIN),
            percent,
            unicode,
            braced,
            short,
        ] {
            assert_eq!(
                decoded(&format!("a={encoded}; b")),
                Some(format!("a={PLAIN}; b")),
                "{encoded}"
            );
        }
    }

    #[test]
    fn padding_stays_outside_and_does_no_harm() {
        assert_eq!(
            decoded(&BASE64.encode("the quick brown fo")),
            Some("the quick brown fo".to_owned())
        );
        assert_eq!(
            decoded(&BASE64.encode("the quick brown f")),
            Some("the quick brown f=".to_owned())
        );
    }

    #[test]
    fn separators_of_the_other_alphabet_do_not_hide_a_run() {
        let run = BASE64.encode("the quick brown fox").trim_end_matches('=').to_owned();
        for prefix in ["key-", "path/to/", "a_b+c-"] {
            assert_eq!(
                decoded(&format!("{prefix}{run}")),
                Some(format!("{prefix}the quick brown fox")),
                "{prefix}"
            );
        }
    }

    #[test]
    fn wrapped_lines_are_one_run() {
        let run = BASE64.encode(PLAIN.repeat(4));
        for line_break in ["\n", "\r\n"] {
            let lines: Vec<&str> = (0..run.len())
                .step_by(76)
                .map(|at| run.get(at..run.len().min(at + 76)).unwrap())
                .collect();
            assert_eq!(decoded(&lines.join(line_break)), Some(PLAIN.repeat(4)));
        }
    }

    #[test]
    fn ordinary_text_and_digests_stay() {
        for text in [
            "internationalization of /usr/local/share/documentation",
            "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
            "123e4567-e89b-12d3-a456-426614174000",
            "100%, 5%off, C:\\users\\xavier, %zz",
            "caf\u{E9} % \\",
        ] {
            assert_eq!(decoded(text), None, "{text}");
        }
    }

    #[test]
    fn short_runs_are_left_alone() {
        let edge = BASE64.encode("abcdefghijkl");
        assert_eq!(edge.len(), MIN_BASE64_BYTES);
        assert!(decoded(&edge).is_some());
        assert_eq!(decoded(&BASE64.encode("abcdefghi")), None);
        let edge = hex::encode("klmnopqrstuv");
        assert_eq!(edge.len(), MIN_HEX_BYTES);
        assert!(decoded(&edge).is_some());
        assert_eq!(decoded(&hex::encode("klmnopqrstu")), None);
    }

    #[test]
    fn surrogates_and_broken_escapes() {
        assert_eq!(decoded("\\ud83d\\ude00"), Some("\u{1F600}".to_owned()));
        assert_eq!(decoded("\\ud83d"), None);
        assert_eq!(decoded("\\u00"), None);
        assert_eq!(decoded("\\u{}"), None);
        assert_eq!(decoded("%E2%82"), None);
        assert_eq!(decoded("%E2%82%AC"), Some("\u{20AC}".to_owned()));
    }
}
