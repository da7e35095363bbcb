//! A file that does not parse: what of it does, so that one slip hides no other.

use std::collections::BTreeSet;

use super::source::{Policy, parse};
use crate::diagnostic::Diagnostic;

/// Most rules of a file that are tried one by one.
const RULES_MAX: usize = 1_000;
/// Largest file whose rules are tried, in bytes.
const FILE_BYTES_MAX: usize = 256 << 10;

/// The rest of a file, and all problems with what had to be left out.
///
/// `found` is why the whole does not parse.
pub(crate) fn rest(
    name: &str,
    text: &str,
    found: Vec<Diagnostic>,
) -> (Option<Policy>, Vec<Diagnostic>) {
    let syntax = found.iter().all(|problem| problem.code == "rego_parse");
    if !syntax || text.len() > FILE_BYTES_MAX {
        return (stub(name, text), found);
    }
    let (text, mut problems) = without_double_imports(name, text);
    if !problems.is_empty()
        && let Ok(policy) = parse(name, &text)
    {
        return (Some(policy), problems);
    }
    match by_rule(name, &text) {
        Some((policy, more)) => {
            problems.extend(more);
            (Some(policy), problems)
        }
        None => (stub(name, &text), found),
    }
}

/// The rules that parse on their own, and the problems of the others.
fn by_rule(name: &str, text: &str) -> Option<(Policy, Vec<Diagnostic>)> {
    let starts = rule_starts(text);
    let header = text.get(..*starts.first()?)?;
    if starts.len() > RULES_MAX || parse(name, header).is_err() {
        return None;
    }
    let mut kept = header.to_owned();
    let mut lost = BTreeSet::new();
    let mut problems = Vec::new();
    let ends = starts.iter().skip(1).copied().chain([text.len()]);
    for (start, end) in starts.iter().copied().zip(ends) {
        let rule = text.get(start..end)?;
        let before = text.get(header.len()..start)?;
        let alone = format!("{header}{}{rule}", blank(before));
        match parse(name, &alone) {
            Ok(_) => kept.push_str(rule),
            Err(problem) => {
                problems.push(problem);
                lost.extend(head_word(rule).map(str::to_owned));
                kept.push_str(&blank(rule));
            }
        }
    }
    if problems.is_empty() {
        return None;
    }
    let mut policy = parse(name, &kept).ok()?;
    policy.lost = lost;
    Some((policy, problems))
}

/// Nothing but the package, with the names that the file seems to define.
fn stub(name: &str, text: &str) -> Option<Policy> {
    let line = text.lines().find(|line| line.starts_with("package "))?;
    let mut policy = parse(name, &format!("{line}\n")).ok()?;
    let rules = rule_starts(text).into_iter().filter_map(|start| head_word(text.get(start..)?));
    policy.lost = rules.map(str::to_owned).collect();
    Some(policy)
}

/// Where lines begin with a word, as rules do; packages and imports left out.
fn rule_starts(text: &str) -> Vec<usize> {
    let mut starts = Vec::new();
    let mut at = 0;
    for line in text.split_inclusive('\n') {
        let word = line.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_');
        let header = ["package ", "import "].iter().any(|keyword| line.starts_with(keyword));
        // `else` goes on with the rule before it.
        if word && !header && !line.starts_with("else") {
            starts.push(at);
        }
        at += line.len();
    }
    starts
}

/// The name of the rule that a text begins with.
fn head_word(rule: &str) -> Option<&str> {
    let rule = rule.strip_prefix("default ").unwrap_or(rule).trim_start();
    let word = rule.split(|c: char| !c.is_ascii_alphanumeric() && c != '_').next()?;
    (!word.is_empty()).then_some(word)
}

/// As many lines, with nothing in them.
fn blank(text: &str) -> String {
    "\n".repeat(text.matches('\n').count())
}

/// The text without imports that stand there a second time, which the parser takes for the end.
fn without_double_imports(name: &str, text: &str) -> (String, Vec<Diagnostic>) {
    let mut seen = BTreeSet::new();
    let mut problems = Vec::new();
    let mut kept = String::with_capacity(text.len());
    for (index, line) in text.split_inclusive('\n').enumerate() {
        let said = line.split('#').next().unwrap_or_default().trim_end();
        let import = said.strip_prefix("import ").map(str::trim);
        let double = import.is_some_and(|import| !seen.insert(import));
        if !double {
            kept.push_str(line);
            continue;
        }
        let width = u32::try_from(said.chars().count()).unwrap_or(u32::MAX - 1);
        let row = u32::try_from(index + 1).unwrap_or(u32::MAX);
        let message = format!("`{}` is imported already", import.unwrap_or_default());
        let problem = Diagnostic::error("rego_import", name, message).at(row, 1).to(width + 1);
        problems.push(problem.help("remove it"));
        kept.push_str(&blank(line));
    }
    (kept, problems)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> (Option<Policy>, Vec<String>) {
        let found = parse("rego/u/u.rego", text).err().into_iter().collect();
        let (policy, problems) = rest("rego/u/u.rego", text, found);
        let lines = problems.iter().map(|p| format!("{}:{}:{}", p.code, p.line, p.col)).collect();
        (policy, lines)
    }

    #[test]
    fn every_broken_rule_is_reported_and_the_others_are_kept() {
        let text = "package lictor.u\n\nimport rego.v1\n\n_a if {\n\tx =\n}\n\n_b if true\n\n_c := [1,\n\n_d(x) := x\n";
        let (policy, problems) = read(text);
        assert_eq!(problems.len(), 2, "{problems:?}");
        assert!(
            problems[0].starts_with("rego_parse:7:") || problems[0].starts_with("rego_parse:6:")
        );
        let policy = policy.unwrap();
        assert_eq!(policy.module.policy.len(), 2);
        assert_eq!(policy.lost.iter().map(String::as_str).collect::<Vec<_>>(), ["_a", "_c"]);
        assert_eq!(policy.module.policy[1].span().line, 13);
    }

    #[test]
    fn a_missing_bracket_is_reported_at_the_end_of_its_own_rule() {
        let (policy, problems) = read("package lictor.u\n_a if {\n\ttrue\n\n_b if true\n");
        assert_eq!(problems.len(), 1, "{problems:?}");
        assert!(problems[0].starts_with("rego_parse:5:1"), "{problems:?}");
        assert_eq!(policy.unwrap().module.policy.len(), 1);
    }

    #[test]
    fn a_file_of_which_nothing_parses_leaves_its_names() {
        let (policy, problems) =
            read("package lictor.u\nimport data.\n\n_a if true\ndefault _b := 1\n");
        assert_eq!(problems.len(), 1);
        let policy = policy.unwrap();
        assert_eq!(policy.package, ["lictor", "u"]);
        assert_eq!(policy.lost.iter().map(String::as_str).collect::<Vec<_>>(), ["_a", "_b"]);
        assert!(read("nothing at all").0.is_none());
    }

    #[test]
    fn imports_that_are_there_twice_are_left_out() {
        let (policy, problems) =
            read("package lictor.u\nimport data.a\nimport data.a # again\n\n_x := a.b\n");
        assert_eq!(problems, ["rego_import:3:1"]);
        assert_eq!(policy.unwrap().module.policy.len(), 1);
    }
}
