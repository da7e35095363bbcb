//! What makes a match harmless: allowlists and low entropy.

use aho_corasick::AhoCorasick;
use regex::bytes::{Regex, RegexBuilder};

use super::gitleaks::{AllowSpec, Target};

/// Most memory that one compiled pattern may take.
const MAX_REGEX_BYTES: usize = 16 << 20;

/// Most bytes of a line that are looked at on each side of a match.
const MAX_LINE_SIDE_BYTES: usize = 1024;

/// A compiled allowlist.
#[derive(Debug)]
pub(crate) struct Allowlist {
    all: bool,
    target: Target,
    patterns: Vec<Regex>,
    stopwords: Option<AhoCorasick>,
}

/// A match, as allowlists see it.
pub(crate) struct Candidate<'a> {
    pub(crate) secret: &'a [u8],
    pub(crate) whole: &'a [u8],
    pub(crate) lines: &'a [u8],
}

impl Allowlist {
    /// Compiles one allowlist.
    pub(crate) fn compile(spec: &AllowSpec) -> Result<Self, String> {
        let patterns = spec.patterns.iter().map(|p| byte_regex(p));
        Ok(Self {
            all: spec.all,
            target: spec.target,
            patterns: patterns.collect::<Result<_, _>>()?,
            stopwords: if spec.stopwords.is_empty() { None } else { Some(words(&spec.stopwords)?) },
        })
    }

    /// Whether the match is harmless.
    pub(crate) fn allows(&self, candidate: &Candidate<'_>) -> bool {
        let target = match self.target {
            Target::Secret => candidate.secret,
            Target::Match => candidate.whole,
            Target::Line => candidate.lines,
        };
        let by_pattern = || self.patterns.iter().any(|p| p.is_match(target));
        let by_word = || self.stopwords.as_ref().is_some_and(|w| w.is_match(candidate.secret));
        if self.all {
            (self.patterns.is_empty() || by_pattern()) && (self.stopwords.is_none() || by_word())
        } else {
            by_word() || by_pattern()
        }
    }
}

/// A pattern matched on bytes with ASCII classes: more than ten times as fast as with Unicode classes.
pub(crate) fn byte_regex(pattern: &str) -> Result<Regex, String> {
    RegexBuilder::new(pattern)
        .unicode(false)
        .size_limit(MAX_REGEX_BYTES)
        .build()
        .map_err(|e| e.to_string())
}

fn words(list: &[String]) -> Result<AhoCorasick, String> {
    AhoCorasick::builder().ascii_case_insensitive(true).build(list).map_err(|e| e.to_string())
}

/// Shannon entropy in bits per byte.
pub(crate) fn entropy(bytes: &[u8]) -> f64 {
    let mut counts = [0_u32; 256];
    for byte in bytes {
        if let Some(count) = counts.get_mut(usize::from(*byte)) {
            *count += 1;
        }
    }
    let total = bytes.len() as f64;
    counts
        .iter()
        .filter(|count| **count > 0)
        .map(|count| f64::from(*count) / total)
        .map(|share| -share * share.log2())
        .sum()
}

/// The lines of `text` that `start..end` touches, without the last line break. Of a long line only the
/// nearest [`MAX_LINE_SIDE_BYTES`] on each side: each match would else read all of a text of one line.
pub(crate) fn lines_around(text: &[u8], start: usize, end: usize) -> &[u8] {
    let first = start.saturating_sub(MAX_LINE_SIDE_BYTES);
    let last = end.saturating_add(MAX_LINE_SIDE_BYTES).min(text.len());
    let before = text.get(first..start).unwrap_or_default();
    let after = text.get(end..last).unwrap_or_default();
    let from = before.iter().rposition(|b| *b == b'\n').map_or(first, |at| first + at + 1);
    let to = after.iter().position(|b| *b == b'\n').map_or(last, |at| end + at);
    text.get(from..to).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn candidate<'a>(secret: &'a str, whole: &'a str, lines: &'a str) -> Candidate<'a> {
        Candidate { secret: secret.as_bytes(), whole: whole.as_bytes(), lines: lines.as_bytes() }
    }

    fn list(all: bool, target: Target, patterns: &[&str], stopwords: &[&str]) -> Allowlist {
        Allowlist::compile(&AllowSpec {
            all,
            target,
            patterns: patterns.iter().map(|p| (*p).to_owned()).collect(),
            stopwords: stopwords.iter().map(|p| (*p).to_owned()).collect(),
        })
        .unwrap()
    }

    #[test]
    fn entropy_is_in_bits() {
        assert_eq!(entropy(b""), 0.0);
        assert_eq!(entropy(b"aaaa"), 0.0);
        assert_eq!(entropy(b"abab"), 1.0);
        assert_eq!(entropy(b"abcdefgh"), 3.0);
    }

    #[test]
    fn patterns_look_at_their_target() {
        let seen = candidate("s3cret", "key=s3cret", "let key=s3cret; // sample");
        assert!(list(false, Target::Secret, &["^s3"], &[]).allows(&seen));
        assert!(!list(false, Target::Secret, &["key"], &[]).allows(&seen));
        assert!(list(false, Target::Match, &["^key"], &[]).allows(&seen));
        assert!(!list(false, Target::Match, &["sample"], &[]).allows(&seen));
        assert!(list(false, Target::Line, &["sample$"], &[]).allows(&seen));
    }

    #[test]
    fn one_criterion_is_enough_unless_all_are_asked_for() {
        let seen = candidate("S3CRET", "", "");
        assert!(list(false, Target::Secret, &["nope"], &["cret"]).allows(&seen));
        assert!(!list(true, Target::Secret, &["nope"], &["cret"]).allows(&seen));
        assert!(list(true, Target::Secret, &["^S3"], &["cret"]).allows(&seen));
        assert!(list(true, Target::Secret, &["^S3"], &[]).allows(&seen));
        assert!(!list(false, Target::Secret, &[], &["other"]).allows(&seen));
    }

    #[test]
    fn lines_are_whole() {
        let text = b"one\ntwo three\nfour\nfive";
        assert_eq!(lines_around(text, 5, 7), b"two three");
        assert_eq!(lines_around(text, 5, 16), b"two three\nfour");
        assert_eq!(lines_around(text, 20, 23), b"five");
        assert_eq!(lines_around(text, 0, 1), b"one");
    }

    #[test]
    fn long_lines_are_cut_on_both_sides() {
        let text = [b'x'; 2 * MAX_LINE_SIDE_BYTES + 3];
        let middle = MAX_LINE_SIDE_BYTES + 1;
        assert_eq!(lines_around(&text, middle, middle + 1).len(), 2 * MAX_LINE_SIDE_BYTES + 1);
        assert_eq!(lines_around(&text, 1, 2).len(), MAX_LINE_SIDE_BYTES + 2);
    }
}
