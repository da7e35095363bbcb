//! Who may depend on whom: the table of the design, held against every `Cargo.toml`, and what the
//! pure core must never see, held against its sources.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use lictor_tests::site::repository;
use toml::{Table, Value};

const PREFIX: &str = "lictor-";
const ENGINES: &[&str] = &["regorus", "cedar-policy", "cedar-policy-core"];
const GRPC: &[&str] = &["tonic", "tonic-prost", "tonic-health", "tonic-reflection"];

/// One row.
struct Row {
    crate_name: &'static str,
    /// Crates of ours that it may depend on.
    may: &'static [&'static str],
    /// Crates of others that it must not name.
    never: &'static [&'static [&'static str]],
    /// What its sources must not name, outside of tests.
    never_in_sources: &'static [&'static str],
}

const fn row(
    crate_name: &'static str,
    may: &'static [&'static str],
    never: &'static [&'static [&'static str]],
) -> Row {
    Row { crate_name, may, never, never_in_sources: &[] }
}

const TABLE: &[Row] = &[
    row("proto", &[], &[ENGINES]),
    Row {
        never_in_sources: &["std::fs", "std::net", "SystemTime", "tokio::", "tonic::"],
        ..row("policy-lib", &["proto"], &[GRPC, &["tokio", "axum", "hyper", "reqwest"]])
    },
    row("audit", &["proto"], &[ENGINES, GRPC]),
    row("identity", &["proto"], &[ENGINES, GRPC]),
    row("pdp", &["proto", "policy-lib", "audit", "identity"], &[]),
    row("pep-core", &["proto", "audit", "identity"], &[ENGINES]),
    row("pep-http", &["pep-core", "proto", "audit"], &[ENGINES]),
    row("pep-mcp", &["pep-core", "proto", "audit"], &[ENGINES]),
];

/// These see everything: the composition root, and the tests.
const FREE: &[&str] = &["cli", "tests"];

/// What crates name in the sections that end up in a build.
fn dependencies(manifest: &Table) -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    let mut add = |table: &Table| {
        for section in ["dependencies", "build-dependencies"] {
            let Some(section) = table.get(section).and_then(Value::as_table) else { continue };
            for (name, value) in section {
                let package = value.get("package").and_then(Value::as_str);
                names.insert(package.unwrap_or(name).to_owned());
            }
        }
    };
    add(manifest);
    for target in manifest.get("target").and_then(Value::as_table).into_iter().flatten() {
        target.1.as_table().into_iter().for_each(&mut add);
    }
    names
}

/// Everything in a manifest that its row does not allow.
fn faults(row: &Row, manifest: &Table) -> Vec<String> {
    let wrong = |name: &String| match name.strip_prefix(PREFIX) {
        Some(ours) => !row.may.contains(&ours),
        None => row.never.iter().any(|group| group.contains(&name.as_str())),
    };
    let named = dependencies(manifest).into_iter().filter(wrong);
    named.map(|name| format!("{} must not depend on {name}", row.crate_name)).collect()
}

/// Rust files below `folder`, those of unit tests left out.
fn sources(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let stem = path.file_stem().unwrap().to_string_lossy().into_owned();
        if stem == "tests" || stem.ends_with("_tests") {
            continue;
        }
        if path.is_dir() {
            found.extend(sources(&path));
        } else if path.extension().is_some_and(|ending| ending == "rs") {
            found.push(path);
        }
    }
    found
}

/// Lines of code that hold one of `words`: comments and the module of unit tests do not count.
fn lines_with(text: &str, words: &[&str]) -> Vec<usize> {
    let code = text.split("#[cfg(test)]\nmod tests {").next().unwrap_or_default();
    let lines = code.lines().enumerate();
    let hits = lines.filter(|(_, line)| {
        let code = line.split("//").next().unwrap_or_default();
        words.iter().any(|word| code.contains(word))
    });
    hits.map(|(number, _)| number + 1).collect()
}

fn manifest(crate_name: &str) -> Table {
    let path = repository().join(crate_name).join("Cargo.toml");
    std::fs::read_to_string(path).unwrap().parse().unwrap()
}

#[test]
fn every_crate_keeps_to_its_row() {
    let root = std::fs::read_to_string(repository().join("Cargo.toml")).unwrap();
    let root: Table = root.parse().unwrap();
    let members = root["workspace"]["members"].as_array().unwrap();
    let members: BTreeSet<&str> = members.iter().map(|member| member.as_str().unwrap()).collect();
    let rows = TABLE.iter().map(|row| row.crate_name).chain(FREE.iter().copied());
    assert_eq!(members, rows.collect(), "a crate without a row, or a row without a crate");
    let faults: Vec<String> =
        TABLE.iter().flat_map(|row| faults(row, &manifest(row.crate_name))).collect();
    assert!(faults.is_empty(), "{faults:#?}");
}

#[test]
fn the_pure_core_sees_no_files_network_or_clock() {
    for row in TABLE.iter().filter(|row| !row.never_in_sources.is_empty()) {
        let files = sources(&repository().join(row.crate_name).join("src"));
        assert!(files.len() > 10, "the sources were not found");
        for file in files {
            let text = std::fs::read_to_string(&file).unwrap();
            let lines = lines_with(&text, row.never_in_sources);
            assert!(lines.is_empty(), "{}: lines {lines:?}", file.display());
        }
    }
}

#[test]
fn versions_stand_in_the_workspace_only() {
    for member in TABLE.iter().map(|row| row.crate_name).chain(FREE.iter().copied()) {
        let manifest = manifest(member);
        for section in ["dependencies", "dev-dependencies", "build-dependencies"] {
            let Some(section) = manifest.get(section).and_then(Value::as_table) else { continue };
            for (name, value) in section {
                let inherited = value.get("workspace").and_then(Value::as_bool);
                assert_eq!(inherited, Some(true), "{member}: {name}");
            }
        }
    }
}

#[test]
fn the_check_finds_what_it_is_for() {
    let named = |text: &str, name: &str| {
        let row = TABLE.iter().find(|row| row.crate_name == name).unwrap();
        faults(row, &text.parse().unwrap()).len()
    };
    assert_eq!(named("[dependencies]\nlictor-proto.workspace = true", "pep-mcp"), 0);
    assert_eq!(named("[dependencies]\nlictor-pep-http.workspace = true", "pep-mcp"), 1);
    assert_eq!(named("[build-dependencies]\nregorus = \"1\"", "pep-core"), 1);
    assert_eq!(named("[dependencies]\nx = { package = \"tokio\" }", "policy-lib"), 1);
    assert_eq!(named("[target.'cfg(unix)'.dependencies]\ntonic = \"1\"", "audit"), 1);
    assert_eq!(named("[dev-dependencies]\ntokio.workspace = true", "policy-lib"), 0);
    let text = "use a;\nuse std::fs; // x\n// std::fs\n#[cfg(test)]\nmod tests {\nuse std::fs;\n}";
    assert_eq!(lines_with(text, &["std::fs"]), [2]);
}
