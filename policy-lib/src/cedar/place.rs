//! Byte offsets to lines and columns, and Cedar's own diagnostics to ours.

use crate::diagnostic::{Diagnostic, Level};

/// One file of the bundle with the starts of its lines.
#[derive(Debug)]
pub(super) struct File<'a> {
    /// Path in the bundle.
    pub(super) path: &'a str,
    /// Its text.
    pub(super) text: &'a str,
    starts: Vec<usize>,
}

impl<'a> File<'a> {
    pub(super) fn new(path: &'a str, text: &'a str) -> Self {
        let ends = text.bytes().enumerate().filter(|(_, byte)| *byte == b'\n');
        let starts = std::iter::once(0).chain(ends.map(|(at, _)| at + 1)).collect();
        Self { path, text, starts }
    }

    /// Line and column, both from 1, of a byte offset. An offset past the end is
    /// taken for the end.
    pub(super) fn line_col(&self, offset: usize) -> (u32, u32) {
        let offset = offset.min(self.text.len());
        let line = self.starts.partition_point(|start| *start <= offset);
        let start = self.starts.get(line.saturating_sub(1)).copied().unwrap_or(0);
        let before = self.text.get(start..offset).unwrap_or_default();
        let col = before.chars().count() + 1;
        (u32::try_from(line).unwrap_or(u32::MAX), u32::try_from(col).unwrap_or(u32::MAX))
    }

    /// `<path>:<line>` of a byte offset.
    pub(super) fn place(&self, offset: usize) -> String {
        format!("{}:{}", self.path, self.line_col(offset).0)
    }

    /// An error of ours at a byte offset.
    pub(super) fn error(
        &self,
        code: &'static str,
        offset: usize,
        message: impl Into<String>,
    ) -> Diagnostic {
        let (line, col) = self.line_col(offset);
        Diagnostic::error(code, self.path, message).at(line, col)
    }

    /// The same as a warning.
    pub(super) fn warning(
        &self,
        code: &'static str,
        offset: usize,
        message: impl Into<String>,
    ) -> Diagnostic {
        Diagnostic { level: Level::Warning, ..self.error(code, offset, message) }
    }

    /// A diagnostic of Cedar's, at the place of its first label, with its help.
    pub(super) fn cedar(
        &self,
        code: &'static str,
        level: Level,
        cedar: &dyn miette::Diagnostic,
    ) -> Diagnostic {
        let label = cedar.labels().and_then(|mut labels| labels.next());
        let (line, col) = label.as_ref().map_or((0, 0), |label| self.line_col(label.offset()));
        let end_col = label.as_ref().map_or(0, |label| self.end_col(label.offset(), label.len()));
        let hints = [
            label.as_ref().and_then(|label| label.label()).map(str::to_owned),
            cedar.help().map(|help| help.to_string()),
        ];
        let help = hints.into_iter().flatten().collect::<Vec<_>>().join("; ");
        let message = cedar.to_string();
        let diagnostic = Diagnostic { level, ..Diagnostic::error(code, self.path, message) };
        diagnostic.at(line, col).to(end_col).help(help)
    }

    /// The column behind so many bytes, at most at the end of their first line; 0 if there are none.
    fn end_col(&self, offset: usize, length: usize) -> u32 {
        let said = self.text.get(offset..offset.saturating_add(length)).unwrap_or_default();
        let said = said.lines().next().unwrap_or_default();
        if said.is_empty() { 0 } else { self.line_col(offset + said.len()).1 }
    }
}

#[cfg(test)]
mod tests {
    use super::File;

    #[test]
    fn offsets_become_lines_and_columns_in_characters() {
        let file = File::new("cedar/a.cedar", "ab\nçd\n");
        assert_eq!(file.line_col(0), (1, 1));
        assert_eq!(file.line_col(2), (1, 3));
        assert_eq!(file.line_col(3), (2, 1));
        assert_eq!(file.line_col(5), (2, 2), "a two-byte character is one column");
        assert_eq!(file.line_col(99), (3, 1));
        assert_eq!(file.place(4), "cedar/a.cedar:2");
    }
}
