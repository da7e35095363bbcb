//! `testdata/call/*.input.json` with what must come out of each. To accept a
//! deliberate change of the contract, run with `LICTOR_BLESS=1` and read the diff.

use std::path::{Path, PathBuf};

use lictor_proto::call::Call;
use lictor_proto::facts::Facts;
use lictor_proto::{CALL_SCHEMA, FACTS_SCHEMA};

fn inputs() -> Vec<PathBuf> {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata/call");
    let entries = std::fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path());
    let mut inputs: Vec<PathBuf> =
        entries.filter(|path| path.to_string_lossy().ends_with(".input.json")).collect();
    inputs.sort();
    inputs
}

fn expect(path: &Path, text: &str) {
    if std::env::var_os("LICTOR_BLESS").is_some() {
        std::fs::write(path, text).unwrap();
    }
    assert_eq!(std::fs::read_to_string(path).unwrap(), text, "{}", path.display());
}

#[test]
fn calls_come_out_whole_and_digested_as_recorded() {
    assert!(inputs().len() >= 2);
    for input in inputs() {
        let call = Call::from_json(&std::fs::read(&input).unwrap()).unwrap();
        let name = input.to_string_lossy().replace(".input.json", "");
        expect(Path::new(&format!("{name}.output.json")), &format!("{}\n", call.to_json()));
        let digests = format!("{}\n{}\n", call.args_digest(), call.request_digest());
        expect(Path::new(&format!("{name}.digests.txt")), &digests);
    }
}

#[test]
fn the_published_schema_accepts_what_we_write_and_refuses_what_we_refuse() {
    let schema = serde_json::from_str(CALL_SCHEMA).unwrap();
    let validator = jsonschema::validator_for(&schema).unwrap();
    for input in inputs() {
        let call = Call::from_json(&std::fs::read(&input).unwrap()).unwrap();
        let value = serde_json::from_str(&call.to_json()).unwrap();
        assert!(validator.is_valid(&value), "{}", input.display());
    }
    for bad in [
        r#"{"phase":"before"}"#,
        r#"{"unknown":1}"#,
        r#"{"questions":["all"]}"#,
        r#"{"resource":{"type":"tool"}}"#,
        r#"{"usage":{"input_tokens":-1}}"#,
        r#"{"facts":{}}"#,
        r#"{"executed":"yes"}"#,
        r#"[]"#,
        r#"{"subject":["user","alice",{}]}"#,
        r#"{"delegation":[["agent","x",{}]]}"#,
        r#"{"delegation":{"type":"agent"}}"#,
        r#"{"action":["tools/call"]}"#,
        r#"{"usage":[1,2,3]}"#,
    ] {
        assert!(Call::from_json(bad.as_bytes()).is_err(), "{bad}");
        assert!(!validator.is_valid(&serde_json::from_str(bad).unwrap()), "{bad}");
    }
}

#[test]
fn the_published_schema_of_facts_has_every_member_and_no_other() {
    let schema = serde_json::from_str(FACTS_SCHEMA).unwrap();
    let validator = jsonschema::validator_for(&schema).unwrap();
    let full = serde_json::json!({
        "subject": {"attrs": {"a": 1}}, "agent": {"attrs": {}}, "delegation": [{"attrs": {}}],
        "resource": {"attrs": {}},
        "session": {"calls": {"a/b": 1}, "tail": ["a/b"], "pending": ["a/b"],
            "labels": {"integrity": "trusted", "confidentiality": "secret"}, "approvals": ["x"],
            "spend_usd_micros": 1, "kind": "implicit", "marks": ["m"]},
        "findings": [{"detector": "d", "category": "c", "severity": "high", "score": 0.5,
            "content": 0, "start": 0, "end": 1}],
        "signals": {"loop": 1, "no_progress": 1, "first_use": true, "rate": 1.5},
        "provenance": {"/a": ["user"]}, "time": {"now_ms": 1, "rfc3339": "x"},
    });
    for value in [serde_json::to_value(Facts::default()).unwrap(), full, serde_json::json!({})] {
        assert!(serde_json::from_value::<Facts>(value.clone()).is_ok(), "{value}");
        let found: Vec<String> = validator.iter_errors(&value).map(|e| e.to_string()).collect();
        assert!(found.is_empty(), "{found:?}");
    }
    let known = serde_json::to_value(Facts::default()).unwrap();
    let declared = |pointer: &str| -> Vec<String> {
        let members = schema.pointer(pointer).unwrap().as_object().unwrap();
        members.keys().cloned().collect()
    };
    let written = |pointer: &str| -> Vec<String> {
        known.pointer(pointer).unwrap().as_object().unwrap().keys().cloned().collect()
    };
    for (at, pointer) in [
        ("", "/properties"),
        ("/session", "/properties/session/properties"),
        ("/signals", "/properties/signals/properties"),
        ("/time", "/properties/time/properties"),
        ("/agent", "/$defs/attributes/properties"),
    ] {
        let sorted = |mut names: Vec<String>| {
            names.sort();
            names
        };
        assert_eq!(sorted(declared(pointer)), sorted(written(at)), "{at}");
    }
    for wrong in [serde_json::json!({"x": 1}), serde_json::json!({"session": {"kind": "new"}})] {
        assert!(!validator.is_valid(&wrong) && serde_json::from_value::<Facts>(wrong).is_err());
    }
}
