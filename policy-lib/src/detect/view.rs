//! Rewritten texts that know where every byte came from: detectors read a text with invisible characters
//! taken out or encodings undone, and report spans of the original.

/// A stretch of a rewritten text.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Piece {
    /// Where it begins in the rewritten text.
    at: usize,
    /// The stretch of the source that it stands for.
    from: usize,
    to: usize,
    /// Whether it is the source's own bytes, so that offsets inside carry over.
    verbatim: bool,
}

/// A rewritten text and the way back to its source.
#[derive(Debug, Default)]
pub(crate) struct View {
    text: String,
    /// Sorted by `at`; covers the whole text.
    pieces: Vec<Piece>,
}

impl View {
    /// The rewritten text.
    pub(crate) fn text(&self) -> &str {
        &self.text
    }

    /// The span of the source behind `start..end` of the rewritten text. `None` for a span outside of it.
    fn source_of(&self, start: usize, end: usize) -> Option<(usize, usize)> {
        let first = self.piece_at(start)?;
        let last = self.piece_at(end.checked_sub(1)?)?;
        let from =
            if first.verbatim { first.from + start.checked_sub(first.at)? } else { first.from };
        let to = if last.verbatim { last.from + end.checked_sub(last.at)? } else { last.to };
        (end <= self.text.len()).then_some((from, to))
    }

    fn piece_at(&self, offset: usize) -> Option<&Piece> {
        let after = self.pieces.partition_point(|piece| piece.at <= offset);
        self.pieces.get(after.checked_sub(1)?)
    }
}

/// Builds a [`View`] from left to right.
pub(crate) struct Rewrite<'a> {
    source: &'a str,
    view: View,
    copied: usize,
}

impl<'a> Rewrite<'a> {
    /// A rewrite of `source`, nothing taken over yet.
    pub(crate) fn of(source: &'a str) -> Self {
        Self { source, view: View::default(), copied: 0 }
    }

    /// Copies the source up to `from`, then puts `text` for `from..to`.
    pub(crate) fn replace(&mut self, from: usize, to: usize, text: &str) {
        self.copy_to(from);
        self.put(from, to, text);
    }

    /// Puts `text` for `from..to` and leaves out what lies before.
    pub(crate) fn put(&mut self, from: usize, to: usize, text: &str) {
        if !text.is_empty() {
            self.view.pieces.push(Piece { at: self.view.text.len(), from, to, verbatim: false });
            self.view.text.push_str(text);
        }
        self.copied = to;
    }

    /// The view, with the rest of the source copied.
    pub(crate) fn with_rest(mut self) -> View {
        self.copy_to(self.source.len());
        self.view
    }

    /// The view as it stands, without the rest of the source.
    pub(crate) fn without_rest(self) -> View {
        self.view
    }

    fn copy_to(&mut self, to: usize) {
        let Some(text) = self.source.get(self.copied..to) else {
            return;
        };
        if !text.is_empty() {
            self.view.pieces.push(Piece {
                at: self.view.text.len(),
                from: self.copied,
                to,
                verbatim: true,
            });
            self.view.text.push_str(text);
        }
        self.copied = to;
    }
}

/// A text to scan: the original, or a view of another layer.
#[derive(Clone, Copy)]
pub(crate) struct Layer<'a> {
    text: &'a str,
    via: Option<(&'a View, &'a Layer<'a>)>,
}

impl<'a> Layer<'a> {
    /// The original text.
    pub(crate) fn original(text: &'a str) -> Self {
        Self { text, via: None }
    }

    /// A view of this layer.
    pub(crate) fn seen_through(&'a self, view: &'a View) -> Self {
        Self { text: view.text(), via: Some((view, self)) }
    }

    /// The text to scan.
    pub(crate) fn text(&self) -> &'a str {
        self.text
    }

    /// The span of the original text behind `start..end` of this layer, widened to characters of the original.
    pub(crate) fn in_original(&self, start: usize, end: usize) -> Option<(usize, usize)> {
        match self.via {
            None if start <= end && end <= self.text.len() => {
                Some((floor_boundary(self.text, start), ceil_boundary(self.text, end)))
            }
            None => None,
            Some((view, below)) => {
                let (from, to) = view.source_of(start, end)?;
                below.in_original(from, to)
            }
        }
    }
}

/// The last character boundary at or before `at`.
pub(crate) fn floor_boundary(text: &str, at: usize) -> usize {
    let mut at = at.min(text.len());
    while !text.is_char_boundary(at) {
        at -= 1;
    }
    at
}

/// The first character boundary at or after `at`.
pub(crate) fn ceil_boundary(text: &str, at: usize) -> usize {
    let mut at = at.min(text.len());
    while !text.is_char_boundary(at) {
        at += 1;
    }
    at
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_of_a_rewrite_map_back() {
        let source = "ab__cd==ef";
        let mut rewrite = Rewrite::of(source);
        rewrite.replace(2, 4, "");
        rewrite.replace(6, 8, "XYZ");
        let view = rewrite.with_rest();
        assert_eq!(view.text(), "abcdXYZef");
        let base = Layer::original(source);
        let layer = base.seen_through(&view);
        assert_eq!(layer.in_original(0, 2), Some((0, 2)));
        assert_eq!(layer.in_original(1, 3), Some((1, 5)), "covers what was taken out");
        assert_eq!(layer.in_original(5, 6), Some((6, 8)), "inside a replacement is all of it");
        assert_eq!(layer.in_original(3, 9), Some((5, 10)));
        assert_eq!(layer.in_original(0, 10), None);
        assert_eq!(layer.in_original(3, 0), None);
    }

    #[test]
    fn two_rewrites_compose() {
        let source = "0123456789";
        let mut first = Rewrite::of(source);
        first.replace(2, 6, "ab");
        let first = first.with_rest();
        let mut second = Rewrite::of(first.text());
        second.put(3, 5, "Z");
        let second = second.without_rest();
        assert_eq!((first.text(), second.text()), ("01ab6789", "Z"));
        let base = Layer::original(source);
        let one = base.seen_through(&first);
        assert_eq!(one.seen_through(&second).in_original(0, 1), Some((2, 7)));
    }

    #[test]
    fn boundaries_are_found_both_ways() {
        let text = "aé𝛼b";
        assert_eq!((floor_boundary(text, 2), ceil_boundary(text, 2)), (1, 3));
        assert_eq!((floor_boundary(text, 5), ceil_boundary(text, 5)), (3, 7));
        assert_eq!((floor_boundary(text, 99), ceil_boundary(text, 99)), (8, 8));
        assert_eq!(Layer::original(text).in_original(2, 4), Some((1, 7)));
    }
}
