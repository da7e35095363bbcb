//! `--coverage`: what tests and cases reached of the policies, as a table for people,
//! in the JSON of the results, and as files for other tools.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use clap::{Args, ValueEnum};
use lictor_policy_lib::coverage::{FileReport, Report, lcov};
use serde_json::{Value, json};

use crate::args::bundle::write_whole;
use crate::exit::{Failure, io};
use crate::output::{Paint, shown, table, to_json_line};

/// Most missing places that are listed for people.
const MISSING_SHOWN_MAX: usize = 50;

/// What is asked about coverage.
#[derive(Debug, Args)]
pub(super) struct CoverageArgs {
    /// Show what tests and cases reached of the policies of both engines.
    #[arg(long)]
    coverage: bool,
    /// Fail if less than so many percent of the policies is covered.
    #[arg(long, value_name = "PERCENT", requires = "coverage", value_parser = clap::value_parser!(u8).range(..=100))]
    threshold: Option<u8>,
    /// Write what is covered to this file as well.
    #[arg(long, value_name = "FILE", requires = "coverage")]
    coverage_out: Option<PathBuf>,
    /// How it is written; `json` to a file that ends in `.json`, otherwise `lcov`.
    #[arg(long, value_enum, requires = "coverage_out")]
    coverage_format: Option<CoverageFormat>,
}

/// How coverage is written for other tools.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum CoverageFormat {
    /// For editors and review tools.
    Lcov,
    /// The member `coverage` of the results.
    Json,
}

impl CoverageArgs {
    /// Whether it is asked for.
    pub(super) fn wanted(&self) -> bool {
        self.coverage
    }

    /// Writes the file that is asked for; `bundle` is where the policies lie.
    ///
    /// # Errors
    /// What the system refuses.
    pub(super) fn write(&self, bundle: &Path, report: &Report) -> Result<(), Failure> {
        let Some(path) = &self.coverage_out else { return Ok(()) };
        if path.is_dir() {
            return Err(io("write", path, "it is a folder"));
        }
        let is_json = path.extension().is_some_and(|extension| extension == "json");
        let by_name = if is_json { CoverageFormat::Json } else { CoverageFormat::Lcov };
        let text = match self.coverage_format.unwrap_or(by_name) {
            CoverageFormat::Json => to_json_line(&json(report))?,
            CoverageFormat::Lcov => lcov(report, |file| bundle.join(file).display().to_string()),
        };
        write_whole(path, text.as_bytes())
    }

    /// Why the threshold is not held, with what is missing; nothing if it is.
    pub(super) fn too_low(&self, bundle: &Path, report: &Report) -> Option<String> {
        let threshold = self.threshold?;
        if report.percent >= f64::from(threshold) {
            return None;
        }
        let all: Vec<String> = report
            .files
            .iter()
            .flat_map(|file| {
                let path = bundle.join(&file.file).display().to_string();
                file.missing.iter().map(move |missing| {
                    format!("  {}:{}: {}", shown(&path), missing.line, shown(&missing.what))
                })
            })
            .collect();
        let mut text = format!(
            "{:.1} % of the policies is covered, {threshold} % is required; not covered:\n{}",
            report.percent,
            all.iter().take(MISSING_SHOWN_MAX).cloned().collect::<Vec<_>>().join("\n")
        );
        if let Some(more) = all.len().checked_sub(MISSING_SHOWN_MAX).filter(|more| *more > 0) {
            text.push_str(&format!("\n  and {more} more: see `--coverage-out FILE`"));
        }
        Some(text)
    }
}

/// One row for each file, and the sum.
pub(super) fn pretty(report: &Report, paint: Paint) -> String {
    let row = |name: &str, covered: usize, total: usize, percent: f64, lines: String| {
        vec![name.to_owned(), format!("{percent:5.1} %"), format!("{covered}/{total}"), lines]
    };
    let titles = ["coverage", "", "items", "not covered, by line"].map(str::to_owned).to_vec();
    let mut rows = vec![titles];
    for file in &report.files {
        let lines = ranges(file);
        rows.push(row(&shown(&file.file), file.covered, file.total, file.percent, lines));
    }
    rows.push(row("all", report.covered, report.total, report.percent, String::new()));
    let text = table(&rows);
    let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
    if let Some(title) = lines.first_mut() {
        *title = paint.bold(title);
    }
    if let Some(sum) = lines.last_mut() {
        *sum = paint.bold(sum);
    }
    format!("{}\n", lines.join("\n"))
}

/// `3, 7-9`: the lines with something missing.
fn ranges(file: &FileReport) -> String {
    let mut ranges: Vec<(u32, u32)> = Vec::new();
    for line in file.missing.iter().map(|missing| missing.line) {
        match ranges.last_mut() {
            Some((_, end)) if line <= *end + 1 => *end = line,
            _ => ranges.push((line, line)),
        }
    }
    let told = ranges.into_iter().map(|(start, end)| {
        if start == end { start.to_string() } else { format!("{start}-{end}") }
    });
    told.collect::<Vec<_>>().join(", ")
}

/// The stable form: members are added, never changed.
pub(super) fn json(report: &Report) -> Value {
    let files: BTreeMap<&str, Value> =
        report.files.iter().map(|file| (file.file.as_str(), of_file(file))).collect();
    json!({
        "percent": report.percent, "covered": report.covered, "total": report.total,
        "files": files,
    })
}

fn of_file(file: &FileReport) -> Value {
    let lines = |wanted: bool| -> Vec<u32> {
        let lines = file.lines.iter().filter(|line| (line.covered == line.total) == wanted);
        lines.map(|line| line.line).collect()
    };
    json!({
        "engine": file.engine, "percent": file.percent,
        "items": {"covered": file.covered, "total": file.total},
        "covered": lines(true), "not_covered": lines(false),
        "rules": file.rules, "clauses": file.clauses, "missing": file.missing,
    })
}

#[cfg(test)]
mod tests {
    use lictor_policy_lib::coverage::{LineReport, Missing};

    use super::*;

    fn report(lines: &[u32]) -> Report {
        let missing = |line: &u32| Missing { line: *line, what: "`x` never held".to_owned() };
        let file = FileReport {
            file: "rego/u/u.rego".to_owned(),
            engine: "rego",
            covered: 1,
            total: 1 + lines.len(),
            percent: 25.0,
            rules: Vec::new(),
            clauses: Vec::new(),
            lines: vec![LineReport { line: 1, covered: 1, total: 1, evaluated: true }],
            missing: lines.iter().map(missing).collect(),
        };
        Report { covered: 1, total: 1 + lines.len(), percent: 25.0, files: vec![file] }
    }

    fn args(threshold: Option<u8>) -> CoverageArgs {
        CoverageArgs { coverage: true, threshold, coverage_out: None, coverage_format: None }
    }

    #[test]
    fn a_threshold_lists_what_is_missing_up_to_a_bound() {
        let few = report(&[3, 4, 9]);
        let text = args(Some(90)).too_low(Path::new("b"), &few).unwrap();
        assert!(text.starts_with("25.0 % of the policies is covered, 90 % is required"), "{text}");
        assert!(text.contains("\n  b/rego/u/u.rego:9: `x` never held"), "{text}");
        assert_eq!(args(Some(25)).too_low(Path::new("b"), &few), None);
        assert_eq!(args(None).too_low(Path::new("b"), &few), None);
        let lines: Vec<u32> = (1..=51).collect();
        let text = args(Some(90)).too_low(Path::new("b"), &report(&lines)).unwrap();
        assert!(text.ends_with("and 1 more: see `--coverage-out FILE`"), "{text}");
    }

    #[test]
    fn files_are_rows_with_ranges_of_lines() {
        let text = pretty(&report(&[3, 4, 5, 9]), Paint::plain());
        assert!(text.contains("rego/u/u.rego   25.0 %  1/5    3-5, 9\n"), "{text}");
        assert!(text.lines().last().unwrap().starts_with("all"), "{text}");
    }

    #[test]
    fn the_json_names_lines_and_items() {
        let value = json(&report(&[3]));
        let file = value.pointer("/files/rego~1u~1u.rego").unwrap();
        assert_eq!(file.pointer("/covered").unwrap(), &json!([1]));
        assert_eq!(file.pointer("/items/total").unwrap(), 2);
        assert_eq!(file.pointer("/missing/0/line").unwrap(), 3);
    }
}
