//! What the load checks say: a stable code and a place in the user's own text.
//!
//! # Layout
//!
//! - this file: [`Diagnostic`], and the known name nearest to one that is not.
//! - [`codes`]: every code that there is, explained.
//! - [`mark`]: how far the word at a place reaches.

use std::fmt;

use serde::Serialize;

pub mod codes;
pub mod mark;

/// One problem in a bundle.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Diagnostic {
    /// File in the bundle, empty if it concerns the whole.
    pub file: String,
    /// Line, from 1; 0 if unknown.
    pub line: u32,
    /// Column in characters, from 1; 0 if unknown.
    pub col: u32,
    /// Column behind the last character that is meant, on the same line; 0 if unknown.
    pub end_col: u32,
    /// Whether the bundle is refused for it.
    pub level: Level,
    /// Stable code, `rego_parse`, `cedar_invalid`, ….
    pub code: &'static str,
    /// What is wrong, with the user's own words in backticks.
    pub message: String,
    /// What to do about it; may be empty.
    pub help: String,
}

/// Whether the bundle is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Level {
    /// The bundle is refused.
    Error,
    /// The bundle loads.
    Warning,
}

impl Diagnostic {
    /// An error in `file` without a place.
    #[must_use]
    pub fn error(code: &'static str, file: &str, message: impl Into<String>) -> Self {
        Self {
            file: file.to_owned(),
            line: 0,
            col: 0,
            end_col: 0,
            level: Level::Error,
            code,
            message: message.into(),
            help: String::new(),
        }
    }

    /// A warning in `file` without a place.
    #[must_use]
    pub fn warning(code: &'static str, file: &str, message: impl Into<String>) -> Self {
        Self { level: Level::Warning, ..Self::error(code, file, message) }
    }

    /// The same at a place.
    #[must_use]
    pub fn at(mut self, line: u32, col: u32) -> Self {
        self.line = line;
        self.col = col;
        self.end_col = 0;
        self
    }

    /// The same reaching up to a column, which is behind the last character.
    #[must_use]
    pub fn to(mut self, end_col: u32) -> Self {
        self.end_col = if end_col > self.col { end_col } else { 0 };
        self
    }

    /// The same with what to do.
    #[must_use]
    pub fn help(mut self, help: impl Into<String>) -> Self {
        self.help = help.into();
        self
    }
}

impl fmt::Display for Diagnostic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let level = match self.level {
            Level::Error => "error",
            Level::Warning => "warning",
        };
        if !self.file.is_empty() {
            write!(f, "{}:{}:{}: ", self.file, self.line, self.col)?;
        }
        write!(f, "{level}[{}]: {}", self.code, self.message)?;
        if !self.help.is_empty() {
            write!(f, " ({})", self.help)?;
        }
        Ok(())
    }
}

/// The known name nearest to `name`, if it is near enough to be meant.
#[must_use]
pub fn suggest<'a>(name: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let near = name.len() / 3 + 1;
    known
        .into_iter()
        .map(|candidate| (edit_distance(name, candidate), candidate))
        .filter(|(distance, _)| *distance <= near)
        .min()
        .map(|(_, candidate)| candidate)
}

fn edit_distance(a: &str, b: &str) -> usize {
    let mut row: Vec<usize> = (0..=b.chars().count()).collect();
    for (i, x) in a.chars().enumerate() {
        let mut diagonal = i;
        let mut left = i + 1;
        if let Some(first) = row.first_mut() {
            *first = left;
        }
        for (y, cell) in b.chars().zip(row.iter_mut().skip(1)) {
            let best = (diagonal + usize::from(x != y)).min(*cell + 1).min(left + 1);
            diagonal = *cell;
            *cell = best;
            left = best;
        }
    }
    row.last().copied().unwrap_or(usize::MAX)
}

#[cfg(test)]
mod tests {
    use super::suggest;

    #[test]
    fn near_names_are_suggested_and_far_ones_are_not() {
        let known = ["deny", "allow", "obligations"];
        assert_eq!(suggest("denny", known), Some("deny"));
        assert_eq!(suggest("obligation", known), Some("obligations"));
        assert_eq!(suggest("frobnicate", known), None);
    }
}
