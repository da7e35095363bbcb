use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use regex::Regex;

use super::*;

/// Every source file of the crates that make diagnostics.
fn sources() -> Vec<(PathBuf, String)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let mut found = Vec::new();
    let mut folders = vec![root.join("policy-lib/src"), root.join("cli/src")];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let text = fs::read_to_string(&path).unwrap();
                found.push((path, text));
            }
        }
    }
    found
}

/// The text before the unit tests.
fn shipped(text: &str) -> &str {
    text.split("#[cfg(test)]\nmod tests {").next().unwrap_or(text)
}

fn is_test(path: &Path) -> bool {
    let path = path.to_string_lossy();
    path.ends_with("tests.rs") || path.contains("/tests/")
}

/// Codes that the sources say, with where they do.
fn said() -> BTreeSet<(String, String)> {
    let made = Regex::new(
        r#"(?:Diagnostic::|\.|\b)(?:error|warning|error_at|warning_at|at_span|cedar)\(\s*"([a-z][a-z0-9_]*)"\s*,"#,
    )
    .unwrap();
    let mapped = Regex::new(r#"=> "((?:cedar|bundle)_[a-z0-9_]+)""#).unwrap();
    let constant = Regex::new(r#"const CODE: &str = "([a-z0-9_]+)""#).unwrap();
    let mut codes = BTreeSet::new();
    for (path, text) in sources().iter().filter(|(path, _)| !is_test(path)) {
        if path.ends_with("diagnostic/codes.rs") {
            continue;
        }
        let path = path.to_string_lossy();
        let refusals = ["/bundle/", "/cedar/"].iter().any(|folder| path.contains(folder));
        let patterns = [Some(&made), Some(&constant), Some(&mapped).filter(|_| refusals)];
        for pattern in patterns.into_iter().flatten() {
            for found in pattern.captures_iter(shipped(text)) {
                codes.insert((found[1].to_owned(), path.to_string()));
            }
        }
    }
    codes
}

#[test]
fn every_code_of_the_sources_is_explained() {
    let said = said();
    assert!(said.len() > 80, "the sources were not read: {}", said.len());
    let missing: Vec<_> = said.iter().filter(|(code, _)| find(code).is_none()).collect();
    assert_eq!(missing, Vec::<&(String, String)>::new());
}

#[test]
fn every_explained_code_is_said_somewhere() {
    let all: String = sources()
        .iter()
        .filter(|(path, _)| !path.ends_with("diagnostic/codes.rs") && !is_test(path))
        .map(|(_, text)| shipped(text).to_owned())
        .collect();
    let idle: Vec<&str> =
        CODES.iter().map(|code| code.id).filter(|id| !all.contains(&format!("\"{id}\""))).collect();
    assert_eq!(idle, Vec::<&str>::new());
}

#[test]
fn codes_are_sorted_and_explained_in_one_sentence() {
    assert!(CODES.is_sorted_by(|a, b| a.id < b.id));
    for code in CODES {
        assert!(code.text.ends_with('.') && !code.text.contains(". "), "{}", code.id);
        assert_eq!(find(code.id), Some(code));
    }
    assert_eq!(find("nothing"), None);
}
