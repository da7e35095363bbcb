//! `testdata/check`: what the load checks say of bundles with planted mistakes, and that no text
//! makes them panic.
//!
//! A folder is a bundle. A single file is put into the bundle `base`: `x.rego` as
//! `rego/u/x.rego`, with `x_test.rego` if there is one, `x.cedar` as `cedar/u.cedar`,
//! `x.data.json` as `data.json`. Beside each stands `<name>.expected`, one line for each problem.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use lictor_policy_lib::bundle::{Files, Floor, Limits, Require, Source, Window, verify};
use lictor_policy_lib::diagnostic::{Diagnostic, Level, codes};
use lictor_policy_lib::load::{LoadedBundle, Times};
use proptest::prelude::*;

/// 2026-06-01T00:00:00Z
const NOW_MS: i64 = 1_780_272_000_000;

type Pairs = BTreeMap<String, Vec<u8>>;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata/check")
}

/// The files of a bundle's folder.
fn folder(root: &Path) -> Pairs {
    let mut pairs = Pairs::new();
    let mut folders = vec![(root.to_owned(), String::new())];
    while let Some((folder, prefix)) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            let name = format!("{prefix}{}", path.file_name().unwrap().to_str().unwrap());
            if path.is_dir() {
                folders.push((path, format!("{name}/")));
            } else {
                pairs.insert(name, fs::read(&path).unwrap());
            }
        }
    }
    pairs
}

/// Everything that is said about a bundle; nothing if it is refused before it is parsed.
fn problems(pairs: &Pairs) -> Option<Vec<Diagnostic>> {
    let pairs = pairs.iter().map(|(name, bytes)| (name.clone(), bytes.clone()));
    let files = Files::from_pairs(pairs, &Limits::default()).ok()?;
    let floor = Floor { min_version: 0, window: Window::Ignored };
    let source = Source::Folder(files);
    let verified = verify(source, &Require::AllowUnsigned, &floor, &Limits::default(), NOW_MS);
    Some(match LoadedBundle::load(verified.ok()?, Times::Ignored) {
        Ok(loaded) => loaded.warnings().to_vec(),
        Err(found) => {
            assert!(found.iter().any(|problem| problem.level == Level::Error), "{found:?}");
            found
        }
    })
}

/// Every bundle of the corpus by name.
fn corpus() -> Vec<(String, Pairs)> {
    let base = folder(&root().join("base"));
    let mut bundles = Vec::new();
    let mut entries: Vec<PathBuf> =
        fs::read_dir(root()).unwrap().map(|entry| entry.unwrap().path()).collect();
    entries.sort();
    for path in entries {
        let name = path.file_name().unwrap().to_str().unwrap().to_owned();
        if path.is_dir() {
            bundles.push((name, folder(&path)));
            continue;
        }
        let mut pairs = base.clone();
        let text = fs::read(&path).unwrap();
        if let Some(stem) = name.strip_suffix(".rego").filter(|stem| !stem.ends_with("_test")) {
            pairs.insert(format!("rego/u/{name}"), text);
            let test = format!("{stem}_test.rego");
            if let Ok(text) = fs::read(root().join(&test)) {
                pairs.insert(format!("rego/u/{test}"), text);
            }
        } else if name.ends_with(".cedar") {
            pairs.insert("cedar/u.cedar".to_owned(), text);
        } else if name.ends_with(".data.json") {
            pairs.insert("data.json".to_owned(), text);
        } else {
            continue;
        }
        bundles.push((name, pairs));
    }
    bundles
}

fn line(problem: &Diagnostic) -> String {
    let Diagnostic { file, line, col, end_col, level, code, message, help } = problem;
    let level = if *level == Level::Error { "error" } else { "warning" };
    let help = if help.is_empty() { String::new() } else { format!(" | {help}") };
    format!("{file}:{line}:{col}-{end_col} {level} {code}: {message}{help}\n")
}

#[test]
fn every_bundle_has_the_problems_that_are_written_beside_it() {
    let mut wrong = Vec::new();
    let bundles = corpus();
    assert!(bundles.len() >= 26, "{}", bundles.len());
    for (name, pairs) in bundles {
        let found: String = problems(&pairs).unwrap().iter().map(line).collect();
        let path = root().join(format!("{name}.expected"));
        let expected = fs::read_to_string(&path).unwrap_or_default();
        if found != expected {
            wrong.push(format!("=== {name}.expected\n{found}"));
        }
    }
    assert!(wrong.is_empty(), "these differ, as found:\n{}", wrong.concat());
}

#[test]
fn every_problem_has_an_explained_code_and_marks_what_it_means() {
    for (name, pairs) in corpus() {
        for problem in problems(&pairs).unwrap() {
            let code = codes::find(problem.code).unwrap_or_else(|| panic!("{problem}"));
            if code.level == Level::Warning {
                assert_eq!(problem.level, Level::Warning, "{name}: {problem}");
            }
            assert_eq!(problem.end_col > 0, problem.col > 0, "{name}: {problem:?}");
            assert!(problem.end_col == 0 || problem.end_col > problem.col, "{name}: {problem:?}");
        }
    }
}

#[test]
fn our_own_bundles_are_free_of_warnings() {
    let bundles = Path::new(env!("CARGO_MANIFEST_DIR")).join("../bundles");
    let mut seen = 0;
    for entry in fs::read_dir(bundles).unwrap() {
        let path = entry.unwrap().path();
        if path.join(".manifest").exists() {
            let found: String = problems(&folder(&path)).unwrap().iter().map(line).collect();
            assert_eq!(found, "", "{}", path.display());
            seen += 1;
        }
    }
    assert!(seen >= 5, "{seen}");
}

/// Pieces that are likely to bring a parser or a check into a corner.
const PIECES: &[&str] = &[
    "",
    "\n",
    " ",
    "{",
    "}",
    "(",
    ")",
    "[",
    "]",
    "\"",
    "`",
    ":=",
    "==",
    "if",
    "in",
    "some x in ",
    "every k, v in input { k }",
    "not ",
    "else := ",
    "default ",
    "contains ",
    "import data.x\n",
    "input.facts.session.calls[\"a\"]",
    "input[_].x[y]",
    "_a if _a\n",
    "\u{feff}",
    "\u{202e}é😀",
    "null",
    "-1",
    "1e999",
    "\\",
    "@id(\"x\")",
    "Lictor::Action::\"x/y\"",
    "?principal",
    "with input as {}",
    "\"shadow\": true, \"until\": \"2020-01-01\"",
    "/*",
    "//",
    "#",
    "\0",
    ",",
    ",,",
    ":",
];

fn cut(bytes: &[u8], at: usize) -> usize {
    at % (bytes.len() + 1)
}

/// One edit of a file.
fn edit(bytes: &mut Vec<u8>, (what, at, length, piece): (u8, usize, usize, usize)) {
    let start = cut(bytes, at);
    let end = (start + length % 40).min(bytes.len());
    match what % 4 {
        0 => drop(bytes.drain(start..end)),
        1 => {
            let piece = PIECES[piece % PIECES.len()];
            bytes.splice(start..start, piece.bytes());
        }
        2 => {
            let copied = bytes[start..end].to_vec();
            bytes.splice(end..end, copied);
        }
        _ => {
            if let Some(byte) = bytes.get_mut(start) {
                *byte = u8::try_from(piece % 256).unwrap();
            }
        }
    }
}

fn real_bundles() -> Vec<Pairs> {
    let bundles = Path::new(env!("CARGO_MANIFEST_DIR")).join("../bundles");
    let mut names: Vec<PathBuf> =
        fs::read_dir(bundles).unwrap().map(|entry| entry.unwrap().path()).collect();
    names.retain(|path| path.join(".manifest").exists());
    names.sort();
    names.iter().map(|path| folder(path)).collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 192, ..ProptestConfig::default() })]

    #[test]
    fn no_edit_of_a_real_bundle_makes_the_checks_panic(
        bundle in 0usize..5,
        file in any::<prop::sample::Index>(),
        edits in prop::collection::vec((any::<u8>(), any::<usize>(), any::<usize>(), any::<usize>()), 1..6),
    ) {
        let mut pairs = real_bundles().swap_remove(bundle);
        let names: Vec<String> = pairs.keys().filter(|name| *name != "README.md").cloned().collect();
        let bytes = pairs.get_mut(file.get(&names)).unwrap();
        edits.into_iter().for_each(|one| edit(bytes, one));
        for problem in problems(&pairs).unwrap_or_default() {
            prop_assert!(codes::find(problem.code).is_some(), "{problem}");
            prop_assert!(problem.end_col == 0 || problem.end_col > problem.col, "{problem:?}");
        }
    }
}
