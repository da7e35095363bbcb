//! How far the word at a place reaches, so that all of it is underlined.

use std::collections::BTreeMap;

use super::Diagnostic;

/// Gives every diagnostic with a column, but without an end, the end of the word there.
pub fn fill_ends<'t>(found: &mut [Diagnostic], text_of: impl Fn(&str) -> Option<&'t str>) {
    let mut files: BTreeMap<String, Vec<&str>> = BTreeMap::new();
    for diagnostic in found.iter_mut().filter(|d| d.line > 0 && d.col > 0 && d.end_col == 0) {
        let file = diagnostic.file.clone();
        let lines = files
            .entry(file)
            .or_insert_with_key(|file| text_of(file).unwrap_or_default().lines().collect());
        let index = usize::try_from(diagnostic.line - 1).unwrap_or(usize::MAX);
        let Some(line) = lines.get(index) else { continue };
        let width = width_at(line, diagnostic.col);
        diagnostic.end_col = diagnostic.col.saturating_add(width);
    }
}

/// Length of the word at column `col` (from 1) of a line, in characters; at least 1.
#[must_use]
pub fn width_at(line: &str, col: u32) -> u32 {
    let start = usize::try_from(col.saturating_sub(1)).unwrap_or(usize::MAX);
    let rest: Vec<char> = line.chars().skip(start).collect();
    u32::try_from(word_length(&rest).max(1)).unwrap_or(1)
}

/// Length of the word at the start of `rest`: a name, a number, a quoted text, a path such as
/// `A::B::"c"`, an annotation.
fn word_length(rest: &[char]) -> usize {
    if let Some(quote @ ('"' | '`')) = rest.first() {
        return quoted_length(rest, *quote);
    }
    let at = usize::from(rest.first() == Some(&'@'));
    let is_word = |c: &char| c.is_alphanumeric() || matches!(c, '_' | ':');
    let word = rest.get(at..).unwrap_or_default().iter().take_while(|c| is_word(c)).count() + at;
    let after = rest.get(word..).unwrap_or_default();
    let path = word > 0 && rest.get(word - 1) == Some(&':');
    match after.first() {
        Some('"') if path => word + quoted_length(after, '"'),
        // A colon after a name is not part of it.
        _ if path => word - 1,
        _ => word,
    }
}

/// Length of the quoted text at the start, both quotes counted.
fn quoted_length(rest: &[char], quote: char) -> usize {
    let mut escaped = false;
    for (index, character) in rest.iter().enumerate().skip(1) {
        if *character == quote && !escaped {
            return index + 1;
        }
        escaped = quote == '"' && *character == '\\' && !escaped;
    }
    rest.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_word_is_a_name_a_text_a_path_or_an_annotation() {
        for (line, col, width) in [
            ("allow if foo == 1", 10, 3),
            ("\tx", 2, 1),
            ("ab", 9, 1),
            ("a == L::A::\"x/y\",", 6, 11),
            ("@id(\"x\")", 1, 3),
            ("k: v", 1, 1),
            ("  \"a b\\\"c\": 1", 3, 8),
            ("  \"never closed", 3, 13),
            ("x == `a\\`", 6, 4),
            ("  {", 3, 1),
            ("\"max\": 17,", 8, 2),
        ] {
            assert_eq!(width_at(line, col), width, "{line}");
        }
    }

    #[test]
    fn only_what_has_a_column_and_no_end_is_given_one() {
        let mut found = [
            Diagnostic::error("a", "f", "").at(2, 3),
            Diagnostic::error("a", "f", "").at(2, 3).to(9),
            Diagnostic::error("a", "f", "").at(2, 0),
            Diagnostic::error("a", "g", "").at(2, 3),
            Diagnostic::error("a", "f", "").at(9, 3),
        ];
        fill_ends(&mut found, |file| (file == "f").then_some("first\n  word here\n"));
        assert_eq!(found.map(|d| d.end_col), [7, 9, 0, 0, 0]);
    }
}
