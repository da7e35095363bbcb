//! `guardrails` of `data.json`: every entry that is refused, and the detectors if none is.

use serde::de::DeserializeOwned;
use serde_json::Value;

use super::data::Places;
use crate::detect::{CompileError, Config, DetectorConfig, Detectors, RegexConfig};
use crate::diagnostic::Diagnostic;

/// The configuration, and its detectors if nothing of it is refused.
pub(super) fn read(
    data: &Value,
    places: &Places<'_>,
    found: &mut Vec<Diagnostic>,
) -> (Config, Option<Detectors>) {
    let mut config = Config::default();
    let before = found.len();
    if let Some(value) = data.get("guardrails") {
        match serde_json::from_value::<Config>(value.clone()) {
            Ok(whole) => config = whole,
            Err(error) => {
                config.detectors = entries::<DetectorConfig>(value, "detectors", places, found);
                config.regexes = entries::<RegexConfig>(value, "regexes", places, found);
                if found.len() == before {
                    let message = format!("guardrails: {error}");
                    found.push(problem(places, "/guardrails", message));
                }
            }
        }
    }
    let whole = found.len() == before;
    let detectors = compile(config.clone(), places, found);
    (config, detectors.filter(|_| whole))
}

fn problem(places: &Places<'_>, pointer: &str, message: String) -> Diagnostic {
    let (line, col) = places.at(pointer);
    // Patterns are drawn on several lines.
    let message = message.split_whitespace().collect::<Vec<_>>().join(" ");
    Diagnostic::error("guardrails_invalid", "data.json", message).at(line, col)
}

/// The entries of a list that can be read.
fn entries<T: DeserializeOwned>(
    value: &Value,
    list: &str,
    places: &Places<'_>,
    found: &mut Vec<Diagnostic>,
) -> Vec<T> {
    let items = value.get(list).and_then(Value::as_array).into_iter().flatten();
    let mut read = Vec::new();
    for (index, item) in items.enumerate() {
        match serde_json::from_value(item.clone()) {
            Ok(item) => read.push(item),
            Err(error) => {
                let message = format!("`guardrails.{list}[{index}]`: {error}");
                found.push(problem(places, &format!("/guardrails/{list}/{index}"), message));
            }
        }
    }
    read
}

/// Compiles, again without each entry that is refused.
fn compile(
    mut config: Config,
    places: &Places<'_>,
    found: &mut Vec<Diagnostic>,
) -> Option<Detectors> {
    // Where the entries that are left stood.
    let mut detectors: Vec<usize> = (0..config.detectors.len()).collect();
    let mut regexes: Vec<usize> = (0..config.regexes.len()).collect();
    let mut whole = true;
    loop {
        let mut error = match Detectors::compile(&config) {
            Ok(compiled) => return Some(compiled).filter(|_| whole),
            Err(error) => error,
        };
        whole = false;
        let Some((list, index, member)) = place(&error) else {
            found.push(problem(places, "/guardrails", error.to_string()));
            return None;
        };
        let stood = if list == "detectors" { &mut detectors } else { &mut regexes };
        if index >= stood.len() {
            found.push(problem(places, "/guardrails", error.to_string()));
            return None;
        }
        let original = stood.remove(index);
        set_index(&mut error, original);
        if list == "detectors" {
            config.detectors.remove(index);
        } else {
            config.regexes.remove(index);
        }
        let entry = format!("/guardrails/{list}/{original}");
        let at = format!("{entry}/{member}");
        let pointer = if places.at(&at).0 > 0 { at } else { entry };
        found.push(problem(places, &pointer, error.to_string()));
    }
}

/// The list, the index in it, and the member that an error is about.
fn place(error: &CompileError) -> Option<(&'static str, usize, &'static str)> {
    Some(match error {
        CompileError::UnknownDetector { index, .. } | CompileError::NothingLeft { index, .. } => {
            ("detectors", *index, "id")
        }
        CompileError::UnknownRule { index, member, .. } => ("detectors", *index, member),
        CompileError::BadRegexId { index, .. } => ("regexes", *index, "id"),
        CompileError::BadPattern { index, .. } => ("regexes", *index, "pattern"),
        CompileError::EmptyText { index, member, .. } => ("regexes", *index, member),
        CompileError::TooManyRegexes { .. } | CompileError::BuiltIn { .. } => return None,
    })
}

fn set_index(error: &mut CompileError, original: usize) {
    match error {
        CompileError::UnknownDetector { index, .. }
        | CompileError::NothingLeft { index, .. }
        | CompileError::UnknownRule { index, .. }
        | CompileError::BadRegexId { index, .. }
        | CompileError::BadPattern { index, .. }
        | CompileError::EmptyText { index, .. } => *index = original,
        CompileError::TooManyRegexes { .. } | CompileError::BuiltIn { .. } => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(text: &str) -> (bool, Vec<String>) {
        let mut found = Vec::new();
        let data = serde_json::from_str(text).unwrap();
        let (_, detectors) = read(&data, &Places::of(text), &mut found);
        let lines = found.iter().map(|d| format!("{}:{} {}", d.line, d.col, d.message)).collect();
        (detectors.is_some(), lines)
    }

    #[test]
    fn every_entry_that_is_refused_is_reported_at_its_place() {
        let (compiled, lines) = lines(
            r#"{"guardrails": {"detectors": [
  {"id": "secrets"},
  {"id": "pii/card"},
  {"id": "hidden", "only": ["bidy"]}],
 "regexes": [
  {"id": "custom/a", "pattern": "(", "category": "c", "severity": "low"},
  {"id": "custom/b", "pattern": "b+", "category": "c", "severity": "low"}]}}"#,
        );
        assert!(!compiled);
        assert_eq!(lines.len(), 3, "{lines:#?}");
        assert!(lines[0].starts_with("2:10 `guardrails.detectors[0].id` names no detector"));
        assert!(lines[1].starts_with("4:20 `guardrails.detectors[2].only`"), "{}", lines[1]);
        assert!(lines[2].starts_with("6:33 `guardrails.regexes[0].pattern`"), "{}", lines[2]);
    }

    #[test]
    fn entries_of_another_form_do_not_hide_the_others() {
        let (compiled, lines) = lines(
            r#"{"guardrails": {"detectors": [
  {"id": "secret", "severity": "awful"},
  {"id": "nonsense"}]}}"#,
        );
        assert!(!compiled);
        assert_eq!(lines.len(), 2, "{lines:#?}");
        assert!(lines[0].starts_with("2:3 "), "{lines:#?}");
    }

    #[test]
    fn good_ones_compile() {
        assert!(lines("{}").0);
        assert!(lines(r#"{"guardrails": {"detectors": [{"id": "pii/card"}]}}"#).0);
    }
}
