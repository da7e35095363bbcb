//! A report in the format of lcov, which editors and review tools read.
//!
//! `DA` are the lines on which something is counted, `FN` the bodies of Rego rules
//! and the Cedar policies, by whether they held, `BRDA` the clauses of Cedar: branch 0
//! is true, branch 1 is false.

use std::fmt::Write as _;

use super::{FileReport, Report};

/// The report as lcov; `path_of` says where a file of the bundle lies.
#[must_use]
pub fn lcov(report: &Report, path_of: impl Fn(&str) -> String) -> String {
    let mut text = String::new();
    for file in &report.files {
        write_file(&mut text, file, &path_of(&file.file));
    }
    text
}

fn write_file(text: &mut String, file: &FileReport, path: &str) {
    // Writing to a string does not fail.
    let _ = writeln!(text, "TN:lictor\nSF:{path}");
    for rule in &file.rules {
        let _ = writeln!(text, "FN:{},{}:{}", rule.line, rule.name, rule.line);
    }
    for rule in &file.rules {
        let _ = writeln!(text, "FNDA:{},{}:{}", u8::from(rule.held), rule.name, rule.line);
    }
    let held = file.rules.iter().filter(|rule| rule.held).count();
    let _ = writeln!(text, "FNF:{}\nFNH:{held}", file.rules.len());
    for (block, clause) in file.clauses.iter().enumerate() {
        let evaluated = clause.seen_true || clause.seen_false;
        for (branch, seen) in [clause.seen_true, clause.seen_false].into_iter().enumerate() {
            let taken = if evaluated { u8::from(seen).to_string() } else { "-".to_owned() };
            let _ = writeln!(text, "BRDA:{},{block},{branch},{taken}", clause.line);
        }
    }
    if !file.clauses.is_empty() {
        let halves =
            file.clauses.iter().map(|c| usize::from(c.seen_true) + usize::from(c.seen_false));
        let _ = writeln!(text, "BRF:{}\nBRH:{}", file.clauses.len() * 2, halves.sum::<usize>());
    }
    for line in &file.lines {
        let _ = writeln!(text, "DA:{},{}", line.line, u8::from(line.evaluated));
    }
    let evaluated = file.lines.iter().filter(|line| line.evaluated).count();
    let _ = writeln!(text, "LF:{}\nLH:{evaluated}\nend_of_record", file.lines.len());
}
