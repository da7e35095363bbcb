//! The shape of the sources: what a reader may rely on in every file.

use std::path::{Path, PathBuf};

use lictor_tests::site::repository;

/// Longest file that a person is asked to read, lines.
const FILE_LINES_MAX: usize = 600;
/// Folders that are not ours or are made by tools.
const SKIPPED: &[&str] = &["target", "node_modules", "proptest-regressions"];

fn files(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let entry = entry.unwrap();
        let name = entry.file_name().to_string_lossy().into_owned();
        if name.starts_with('.') || SKIPPED.contains(&name.as_str()) {
            continue;
        }
        if entry.file_type().unwrap().is_dir() {
            files(&entry.path(), found);
        } else {
            found.push(entry.path());
        }
    }
}

fn read_by_people() -> Vec<(PathBuf, String)> {
    let mut found = Vec::new();
    files(&repository(), &mut found);
    let ours = |path: &PathBuf| {
        let ending = path.extension().and_then(|ending| ending.to_str());
        matches!(ending, Some("rs" | "py" | "rego" | "cedar" | "proto" | "sh" | "mjs"))
    };
    found
        .into_iter()
        .filter(ours)
        .map(|path| (path.clone(), std::fs::read_to_string(&path).unwrap()))
        .collect()
}

#[test]
fn no_file_is_too_long() {
    for (path, text) in read_by_people() {
        let lines = text.lines().count();
        assert!(lines <= FILE_LINES_MAX, "{}: {lines} lines", path.display());
    }
}

#[test]
fn nothing_is_left_for_later() {
    // Put together here, so that this file does not find itself.
    let marks = [["TO", "DO"].concat(), ["FIX", "ME"].concat(), ["XX", "X:"].concat()];
    for (path, text) in read_by_people() {
        for mark in &marks {
            let word = |line: &&str| {
                line.split(|c: char| !c.is_ascii_alphanumeric() && c != ':')
                    .any(|w| w.starts_with(mark.as_str()))
            };
            let line = text.lines().find(word);
            assert!(line.is_none(), "{}: {}", path.display(), line.unwrap_or_default());
        }
    }
}

#[test]
fn every_crate_says_how_it_is_laid_out() {
    let libraries: Vec<_> =
        read_by_people().into_iter().filter(|(path, _)| path.ends_with("src/lib.rs")).collect();
    assert!(libraries.len() >= 9, "the crates were not found");
    for (path, text) in libraries {
        assert!(text.starts_with("//!"), "{}", path.display());
        let layout = text
            .lines()
            .any(|line| line.starts_with("//! # Layout") || line.starts_with("//! Layout"));
        assert!(layout, "{}: no Layout section", path.display());
    }
}
