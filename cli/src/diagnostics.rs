//! Load problems as a person, a program or a code-scanning service reads them.

use std::path::{Path, PathBuf};

use lictor_policy_lib::bundle::{Files, VerifyError};
use lictor_policy_lib::diagnostic::mark::width_at;
use lictor_policy_lib::diagnostic::{Diagnostic, Level, codes};
use serde_json::{Value, json};

use crate::exit::{Exit, Failure};
use crate::output::{Paint, shown};

/// Longest source line that is shown, in characters.
const SHOWN_LINE_CHARS: usize = 160;

/// Why a bundle does not load, with the files that the problems point into.
#[derive(Debug)]
pub(crate) struct Problems {
    path: PathBuf,
    diagnostics: Vec<Diagnostic>,
    files: Files,
    /// Where in `files` the files lie that are named without it.
    folder: &'static str,
}

impl Problems {
    /// Problems of the bundle at `path`.
    pub(crate) fn new(path: &Path, diagnostics: Vec<Diagnostic>, files: Files) -> Self {
        Self { path: path.to_owned(), diagnostics, files, folder: "" }
    }

    /// The same of a bundle whose own files were put into `folder`: they are named as
    /// they were.
    pub(crate) fn moved_to(mut self, folder: &'static str) -> Self {
        for diagnostic in &mut self.diagnostics {
            if let Some(name) = diagnostic.file.strip_prefix(folder) {
                diagnostic.file = name.to_owned();
            }
        }
        self.folder = folder;
        self
    }

    /// A bundle that was refused before anything in it was parsed.
    pub(crate) fn refused(path: &Path, error: &VerifyError) -> Self {
        let file = if matches!(error, VerifyError::Manifest(_)) { ".manifest" } else { "" };
        let diagnostic = Diagnostic::error(error.id(), file, error.to_string());
        Self::new(path, vec![diagnostic], Files::default())
    }

    /// Whether the bundle is refused for any of them.
    pub(crate) fn any_error(&self) -> bool {
        self.diagnostics.iter().any(|diagnostic| diagnostic.level == Level::Error)
    }

    /// How many there are of a level.
    pub(crate) fn count(&self, level: Level) -> usize {
        self.diagnostics.iter().filter(|diagnostic| diagnostic.level == level).count()
    }

    /// Every problem with its source line, for people.
    pub(crate) fn pretty(&self, paint: Paint) -> String {
        let blocks: Vec<String> =
            self.diagnostics.iter().map(|diagnostic| self.block(diagnostic, paint)).collect();
        blocks.concat()
    }

    fn block(&self, diagnostic: &Diagnostic, paint: Paint) -> String {
        let level = match diagnostic.level {
            Level::Error => paint.red(&format!("error[{}]", diagnostic.code)),
            Level::Warning => paint.yellow(&format!("warning[{}]", diagnostic.code)),
        };
        let place = self.place(diagnostic);
        let mut text = format!("{}: {level}: {}\n", paint.bold(&place), shown(&diagnostic.message));
        if let Some((line, marks)) = self.source(diagnostic) {
            let number = diagnostic.line.to_string();
            let gap = " ".repeat(number.len());
            text.push_str(&format!("{gap} |\n{number} | {line}\n{gap} | {}\n", paint.red(&marks)));
        }
        if !diagnostic.help.is_empty() {
            text.push_str(&format!("  help: {}\n", shown(&diagnostic.help)));
        }
        text
    }

    /// `path/file:line:col`, as editors make a link of it.
    fn place(&self, diagnostic: &Diagnostic) -> String {
        let mut place = self.path.display().to_string();
        if !diagnostic.file.is_empty() {
            // The file of an archive has no path of its own.
            let separator = if self.path.is_dir() { "/" } else { ":" };
            place = format!("{}{separator}{}", place.trim_end_matches('/'), diagnostic.file);
        }
        if diagnostic.line > 0 {
            place.push_str(&format!(":{}", diagnostic.line));
            if diagnostic.col > 0 {
                place.push_str(&format!(":{}", diagnostic.col));
            }
        }
        place
    }

    /// The source line and the marks under it.
    fn source(&self, diagnostic: &Diagnostic) -> Option<(String, String)> {
        let index = usize::try_from(diagnostic.line).ok()?.checked_sub(1)?;
        let text = self.files.get(&format!("{}{}", self.folder, diagnostic.file));
        let text = std::str::from_utf8(text.or_else(|| self.files.get(&diagnostic.file))?).ok()?;
        let line = text.lines().nth(index)?;
        Some(underline(line, diagnostic.col, diagnostic.end_col))
    }

    /// The problems as JSON values.
    pub(crate) fn json(&self) -> Vec<Value> {
        self.diagnostics.iter().map(|diagnostic| json!(diagnostic)).collect()
    }

    /// SARIF 2.1.0, for code-scanning services.
    pub(crate) fn sarif(&self) -> Value {
        let results: Vec<Value> = self.diagnostics.iter().map(sarif_result).collect();
        let mut rules: Vec<&str> = self.diagnostics.iter().map(|d| d.code).collect();
        rules.sort_unstable();
        rules.dedup();
        let rules: Vec<Value> = rules.into_iter().map(sarif_rule).collect();
        json!({
            "$schema": "https://json.schemastore.org/sarif-2.1.0.json",
            "version": "2.1.0",
            "runs": [{
                "tool": {"driver": {"name": "lictor", "version": env!("CARGO_PKG_VERSION"), "rules": rules}},
                "columnKind": "unicodeCodePoints",
                "results": results,
            }],
        })
    }

    /// The end of a command that needs a bundle that loads.
    pub(crate) fn failure(&self) -> Failure {
        let text = self.pretty(Paint::plain());
        let errors = self.count(Level::Error);
        Failure::new(
            Exit::PolicyInvalid,
            format!("the bundle does not load, {errors} error(s):\n{}", text.trim_end()),
        )
    }
}

fn sarif_level(level: Level) -> &'static str {
    match level {
        Level::Error => "error",
        Level::Warning => "warning",
    }
}

fn sarif_rule(id: &str) -> Value {
    match codes::find(id) {
        None => json!({ "id": id }),
        Some(code) => json!({
            "id": id,
            "shortDescription": {"text": code.text},
            "help": {"text": code.text},
            "defaultConfiguration": {"level": sarif_level(code.level)},
        }),
    }
}

/// The place in its file; without columns it is the whole line.
fn sarif_region(diagnostic: &Diagnostic) -> Value {
    let Diagnostic { line, col, end_col, .. } = diagnostic;
    if *col == 0 {
        json!({"startLine": line})
    } else if end_col > col {
        json!({"startLine": line, "startColumn": col, "endLine": line, "endColumn": end_col})
    } else {
        json!({"startLine": line, "startColumn": col})
    }
}

fn sarif_result(diagnostic: &Diagnostic) -> Value {
    let level = sarif_level(diagnostic.level);
    let mut text = diagnostic.message.clone();
    if !diagnostic.help.is_empty() {
        text.push_str(&format!(" ({})", diagnostic.help));
    }
    let mut result = json!({"ruleId": diagnostic.code, "level": level, "message": {"text": text}});
    if !diagnostic.file.is_empty() {
        let mut place = json!({"artifactLocation": {"uri": diagnostic.file}});
        if diagnostic.line > 0
            && let Some(place) = place.as_object_mut()
        {
            place.insert("region".to_owned(), sarif_region(diagnostic));
        }
        if let Some(result) = result.as_object_mut() {
            result.insert("locations".to_owned(), json!([{"physicalLocation": place}]));
        }
    }
    result
}

/// A line made safe to show, with `^` under what stands from column `col` up to `end_col`
/// (characters, from 1), or under the word there if it has no end; the whole line is marked where
/// the column is not known.
fn underline(line: &str, col: u32, end_col: u32) -> (String, String) {
    let characters: Vec<char> = line.chars().collect();
    let count = |number: u32| usize::try_from(number).unwrap_or(usize::MAX);
    let (start, length) = match col.checked_sub(1) {
        Some(start) => {
            let width = if end_col > col { end_col - col } else { width_at(line, col) };
            (count(start).min(characters.len()), count(width))
        }
        None => {
            let start = characters.iter().take_while(|c| c.is_whitespace()).count();
            (start, line.trim().chars().count())
        }
    };
    let safe = |part: &[char]| shown(&part.iter().collect::<String>().replace('\t', "    "));
    // A long line is shown from a little before its mark.
    let from = if characters.len() > SHOWN_LINE_CHARS { start.saturating_sub(40) } else { 0 };
    let before = safe(characters.get(from..start).unwrap_or_default());
    let rest = characters.get(start..).unwrap_or_default();
    let rest = rest.get(..SHOWN_LINE_CHARS.min(rest.len())).unwrap_or_default();
    let marked = safe(rest.get(..length.min(rest.len())).unwrap_or_default());
    let marks = "^".repeat(marked.chars().count().max(1));
    (format!("{before}{}", safe(rest)), format!("{}{marks}", " ".repeat(before.chars().count())))
}

#[cfg(test)]
mod tests {
    use lictor_policy_lib::bundle::Limits;

    use super::*;

    #[test]
    fn all_of_what_is_meant_is_underlined() {
        let (line, marks) = underline("allow if foo == 1", 10, 0);
        assert_eq!(line, "allow if foo == 1");
        assert_eq!(marks, "         ^^^");
        assert_eq!(underline("allow if foo == 1", 10, 18).1, "         ^^^^^^^^");
        assert_eq!(underline("\tx", 2, 0), ("    x".to_owned(), "    ^".to_owned()));
        assert_eq!(underline("a\tb c", 1, 4).1, "^^^^^^", "a tab is as wide as it is shown");
        assert_eq!(underline("ab", 9, 0).1, "  ^");
        assert_eq!(underline("ab", 1, 99).1, "^^");
        assert_eq!(underline("  ab cd ", 0, 0).1, "  ^^^^^");
    }

    #[test]
    fn a_very_long_line_is_shown_around_its_mark() {
        let long = format!("{}X{}", "a".repeat(1000), "b".repeat(1000));
        let (line, marks) = underline(&long, 1001, 0);
        assert!(line.chars().count() <= SHOWN_LINE_CHARS + 40, "{}", line.len());
        assert!(marks.starts_with(&" ".repeat(40)) && marks.trim_start().starts_with('^'));
    }

    #[test]
    fn a_problem_shows_file_line_column_and_source() {
        let files =
            Files::from_pairs([("data.json", b"{\n  \"a\": x\n}".to_vec())], &Limits::default());
        let diagnostic =
            Diagnostic::error("data_invalid", "data.json", "no value").at(2, 8).help("write one");
        let problems = Problems::new(Path::new("b.tar.gz"), vec![diagnostic], files.unwrap());
        assert_eq!(
            problems.pretty(Paint::plain()),
            "b.tar.gz:data.json:2:8: error[data_invalid]: no value\n  |\n2 |   \"a\": x\n  |        ^\n  help: write one\n"
        );
        assert_eq!(problems.failure().exit(), Exit::PolicyInvalid);
        let sarif = problems.sarif();
        let place = sarif.pointer("/runs/0/results/0/locations/0/physicalLocation").unwrap();
        assert_eq!(place.pointer("/region/startLine").unwrap(), 2);
        assert_eq!(sarif.pointer("/runs/0/tool/driver/rules/0/id").unwrap(), "data_invalid");
    }
}
