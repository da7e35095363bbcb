//! Replacing spans of a text.

use super::view::{ceil_boundary, floor_boundary};

/// The text with every span replaced. Spans may be unsorted and may overlap: those that overlap are replaced
/// as one. A span is widened to character boundaries; one outside the text or of no length changes nothing.
#[must_use]
pub fn mask(text: &str, spans: &[(usize, usize)], replacement: &str) -> String {
    let mut sorted: Vec<(usize, usize)> = spans
        .iter()
        .map(|&(start, end)| (floor_boundary(text, start), ceil_boundary(text, end)))
        .filter(|(start, end)| start < end)
        .collect();
    sorted.sort_unstable();
    let mut merged: Vec<(usize, usize)> = Vec::with_capacity(sorted.len());
    for (start, end) in sorted {
        match merged.last_mut() {
            Some(last) if start < last.1 => last.1 = last.1.max(end),
            _ => merged.push((start, end)),
        }
    }
    let mut out = String::with_capacity(text.len());
    let mut done = 0;
    for (start, end) in merged {
        out.push_str(text.get(done..start).unwrap_or_default());
        out.push_str(replacement);
        done = end;
    }
    out.push_str(text.get(done..).unwrap_or_default());
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn overlaps_are_one_and_neighbours_are_two() {
        assert_eq!(mask("abcdefgh", &[(4, 6), (1, 3), (2, 5)], "#"), "a#gh");
        assert_eq!(mask("abcdefgh", &[(0, 2), (2, 4)], "#"), "##efgh");
        assert_eq!(mask("abcdefgh", &[(1, 7), (2, 3)], "#"), "a#h");
    }

    #[test]
    fn spans_are_widened_to_characters() {
        assert_eq!(mask("aéb", &[(2, 3)], "#"), "a#b");
        assert_eq!(mask("aéb", &[(1, 2)], "#"), "a#b");
    }

    #[test]
    fn empty_and_outside_spans_change_nothing() {
        assert_eq!(mask("abc", &[(1, 1), (9, 12), (2, 1)], "#"), "abc");
        assert_eq!(mask("abc", &[(2, 90)], "#"), "ab#");
    }
}
