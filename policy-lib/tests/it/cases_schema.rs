//! `proto/schema/cases.schema.json`, which editors complete case files by, says the same
//! as the reader of case files.

use std::path::{Path, PathBuf};

use jsonschema::Validator;
use lictor_policy_lib::cases::parse;
use serde_json::Value;

fn validator() -> Validator {
    let schema: Value = serde_json::from_str(lictor_proto::CASES_SCHEMA).unwrap();
    jsonschema::validator_for(&schema).unwrap()
}

fn read(text: &str) -> Value {
    let mut value: yaml_serde::Value = yaml_serde::from_str(text).unwrap();
    for _ in 0..4 {
        value.apply_merge().unwrap();
    }
    yaml_serde::from_value(value).unwrap()
}

/// Every case file of this repository: of its bundles, of test data, of a new bundle.
fn case_files() -> Vec<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let mut folders: Vec<PathBuf> = std::fs::read_dir(root.join("bundles"))
        .unwrap()
        .map(|bundle| bundle.unwrap().path().join("cases"))
        .collect();
    folders.push(root.join("policy-lib/testdata/decisions/cases"));
    let mut files: Vec<PathBuf> = folders
        .iter()
        .filter_map(|folder| std::fs::read_dir(folder).ok())
        .flat_map(|entries| entries.map(|entry| entry.unwrap().path()))
        .collect();
    files.push(root.join("cli/src/init/template/cases.yaml"));
    files
}

#[test]
fn every_case_file_is_as_the_schema_says() {
    let validator = validator();
    let files = case_files();
    assert!(files.len() >= 10, "{files:?}");
    for file in files {
        let text = std::fs::read_to_string(&file).unwrap();
        let value = read(&text);
        let problems: Vec<String> = validator
            .iter_errors(&value)
            .map(|error| format!("{}: {error}", error.instance_path()))
            .collect();
        assert!(problems.is_empty(), "{}: {problems:#?}", file.display());
        parse("c.yaml", &text).unwrap_or_else(|found| panic!("{}: {found:#?}", file.display()));
    }
}

#[test]
fn what_the_schema_refuses_the_reader_refuses_and_the_other_way_round() {
    let validator = validator();
    let case = |inner: &str| format!("cases:\n  - {{name: x, {inner}}}\n");
    let table = |inner: &str| format!("matrix:\n  - {{name: x, {inner}}}\n");
    let good = [
        case("expect: deny"),
        case("skip: later, now: 2027-01-01T00:00:00Z, expect: {effect: ask, reasons: [a.b]}"),
        case(
            "call: {phase: list}, facts: {session: {marks: [x]}}, expect: {effect: allow, limits: [a, {id: b, max: 1}]}",
        ),
        case(
            "expect: {effect: allow, obligations: [a, {id: b, type: mask, properties: {}}], labels: {integrity: trusted}, marks: []}",
        ),
        table("complete: agents, actions: {s/t: }, agents: {a: [deny]}"),
        table(
            "complete: [tools, models], actions: {t: {tool: s/t}}, agents: {a: {t: {effect: deny}}}",
        ),
        "now: 2027-01-01T00:00:00Z\ndefaults: {call: {tenant: t}, facts: {signals: {rate: 1}}}\n"
            .to_owned(),
    ];
    for text in good {
        let problems: Vec<_> = validator.iter_errors(&read(&text)).map(|e| e.to_string()).collect();
        assert!(problems.is_empty(), "{text}: {problems:?}");
        parse("c.yaml", &text).unwrap_or_else(|found| panic!("{text}: {found:?}"));
    }
    let bad = [
        "case:\n  - {name: x, expect: deny}\n".to_owned(),
        case("call: {}"),
        case("expekt: deny, expect: deny"),
        case("expect: {effect: denny}"),
        case("expect: {efect: deny}"),
        case("expect: {effect: deny, reason: [x]}"),
        case("call: {phse: list}, expect: deny"),
        case("call: {resource: {type: tol, id: x}}, expect: deny"),
        case("call: {agent: {name: x}}, expect: deny"),
        case("facts: {sesion: {}}, expect: deny"),
        case("facts: {session: {mark: []}}, expect: deny"),
        case("skip: true, expect: deny"),
        case("expect: {effect: deny, limits: [{id: x, maxx: 1}]}"),
        case("expect: {effect: deny, obligations: [{id: x, type: maskk}]}"),
        case("expect: {effect: deny, labels: {integrity: high}}"),
        "cases:\n  - {expect: deny}\n".to_owned(),
        table("complete: agent, actions: {s/t: }, agents: {a: [deny]}"),
        table("actions: {t: {tol: s/t}}, agents: {a: [deny]}"),
        table("actions: {s/t: }, agents: {a: [dney]}"),
        table("actions: {s/t: }, agents: {}"),
        "defaults: {cal: {}}\n".to_owned(),
    ];
    for text in bad {
        assert!(!validator.is_valid(&read(&text)), "the schema takes {text}");
        assert!(parse("c.yaml", &text).is_err(), "the reader takes {text}");
    }
}

#[test]
fn a_call_is_the_call_of_its_own_schema() {
    let cases: Value = serde_json::from_str(lictor_proto::CASES_SCHEMA).unwrap();
    let call: Value = serde_json::from_str(lictor_proto::CALL_SCHEMA).unwrap();
    for member in ["type", "properties", "additionalProperties"] {
        assert_eq!(cases["$defs"]["call"][member], call[member], "{member}");
    }
    for (name, definition) in call["$defs"].as_object().unwrap() {
        assert_eq!(&cases["$defs"][name], definition, "{name}");
    }
}
