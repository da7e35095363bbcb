//! Splits a file into lines, keeping offsets and whether the newline was there.

use std::io::BufRead as _;

/// One line of a file.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Line<'a> {
    /// The bytes without the newline.
    pub(crate) bytes: &'a [u8],
    /// Where the line begins, in bytes from the start of the file.
    pub(crate) offset: usize,
    /// Whether a newline ended it.
    pub(crate) complete: bool,
}

impl Line<'_> {
    /// The offset just behind the line and its newline.
    pub(crate) fn end(&self) -> usize {
        self.offset + self.bytes.len() + usize::from(self.complete)
    }
}

/// Iterates over the lines of a byte slice.
#[derive(Debug, Clone)]
pub(crate) struct Lines<'a> {
    rest: &'a [u8],
    offset: usize,
}

impl<'a> Lines<'a> {
    pub(crate) fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes, offset: 0 }
    }
}

impl<'a> Iterator for Lines<'a> {
    type Item = Line<'a>;

    fn next(&mut self) -> Option<Line<'a>> {
        let mut cursor = self.rest;
        let taken = cursor.skip_until(b'\n').ok().filter(|n| *n > 0)?;
        let (whole, tail) = self.rest.split_at_checked(taken)?;
        let (bytes, complete) = match whole.split_last() {
            Some((b'\n', head)) => (head, true),
            _ => (whole, false),
        };
        let line = Line { bytes, offset: self.offset, complete };
        self.rest = tail;
        self.offset += taken;
        Some(line)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn offsets_and_the_missing_newline_are_kept() {
        let lines: Vec<_> = Lines::new(b"a\n\nbc").collect();
        let seen: Vec<_> = lines.iter().map(|l| (l.bytes, l.offset, l.complete, l.end())).collect();
        assert_eq!(
            seen,
            [(&b"a"[..], 0, true, 2), (&b""[..], 2, true, 3), (&b"bc"[..], 3, false, 5)]
        );
        assert_eq!(Lines::new(b"").count(), 0);
    }
}
