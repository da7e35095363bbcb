//! An OPA bundle, from `--opa` to a decision point that serves it.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use lictor_pdp::clock::Clock;
use lictor_pdp::config::{AuditConfig, PdpConfig};
use lictor_pdp::server;
use lictor_pep_core::client::{GrpcDecide, Target, TokenSource};
use lictor_proto::call::Call;
use lictor_proto::decide::Decide as _;
use tokio::runtime::Runtime;

use crate::run::{Bench, Ended};

fn testdata() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../policy-lib/testdata/opa")
}

fn copy(from: &Path, bench: &Bench, name: &str) {
    for entry in std::fs::read_dir(from).unwrap() {
        let path = entry.unwrap().path();
        let name = format!("{name}/{}", path.file_name().unwrap().to_str().unwrap());
        if path.is_dir() {
            copy(&path, bench, &name);
        } else {
            bench.write(&name, &std::fs::read_to_string(&path).unwrap());
        }
    }
}

/// The OPA bundle in `opa/authz`, registry and input beside it.
fn bench() -> Bench {
    let bench = Bench::new();
    copy(&testdata(), &bench, "opa");
    bench
}

fn with(bench: &Bench, command: &[&str]) -> Ended {
    let opa =
        ["--opa", "authz/decision", "--registry", "opa/registry.json", "--input", "opa/input.json"];
    bench.run(&[command, &opa].concat())
}

fn call(tool: &str, args: &str) -> String {
    format!(
        r#"{{"subject":{{"type":"user","id":"alice@example.com"}},"agent":{{"type":"agent","id":"helper"}},
            "action":{{"name":"tools/call"}},"resource":{{"type":"tool","id":"{tool}"}},"context":{{"args":{args}}}}}"#
    )
}

#[test]
fn an_opa_bundle_is_checked_built_tested_and_decided() {
    let bench = bench();
    let checked = with(&bench, &["check", "opa/authz", "--format", "json"]).code(0).json();
    let codes: Vec<&str> = checked["diagnostics"]
        .as_array()
        .unwrap()
        .iter()
        .map(|d| d["code"].as_str().unwrap())
        .collect();
    assert_eq!(codes, ["opa_file"]);
    let build = [
        "build",
        "opa/authz",
        "-o",
        "t.tgz",
        "--name",
        "tickets",
        "--bundle-version",
        "7",
        "--format",
        "json",
    ];
    let built = with(&bench, &build).code(0).json();
    assert_eq!(
        (&built["name"], &built["version"], &built["revision"]),
        (&"tickets".into(), &7.into(), &"9f3c1d7".into())
    );
    bench.run(&["check", "t.tgz"]).code(0);
    let tested = bench.run(&["test", "t.tgz", "--format", "json"]).code(0).json();
    assert_eq!((&tested["failed"], &tested["valid"]), (&0.into(), &true.into()));
    bench.write("call.json", &call("tickets/write", "{}"));
    bench.run(&["decide", "-b", "t.tgz", "-i", "call.json"]).code(0);
    bench
        .write("call.json", &call("tickets/write", r#"{"attachments":["https://example.org/x"]}"#));
    let decided = bench.run(&["decide", "-b", "t.tgz", "-i", "call.json"]).code(3);
    assert!(decided.out.contains("E17: no attachments from outside"), "{decided:?}");
}

#[test]
fn a_converted_bundle_is_signed_and_served() {
    let bench = bench();
    with(&bench, &["build", "opa/authz", "-o", "t.tgz"]).code(0);
    bench.run(&["keys", "new", "bundle", "-o", "k"]).code(0);
    bench.run(&["sign", "t.tgz", "--key", "k/bundle.key"]).code(0);
    bench.run(&["verify", "t.tgz", "--key", "k/bundle.pub"]).code(0);
    let config = PdpConfig {
        listen: "127.0.0.1:0".parse().unwrap(),
        bundle: bench.path("t.tgz").into(),
        trust_keys: vec![bench.path("k/bundle.pub")],
        state_dir: bench.path("state"),
        ..PdpConfig::default()
    };
    let audit = AuditConfig { dir: bench.path("audit"), ..AuditConfig::default() };
    Runtime::new().unwrap().block_on(async {
        let running = server::start(config, &audit, None, Clock::system()).await.unwrap();
        let token = TokenSource::file(&bench.path("state/pep.token")).unwrap();
        let target = Target::parse(&format!("http://{}", running.address())).unwrap();
        let client = GrpcDecide::connect(&target, token).unwrap();
        for (id, args, effect) in
            [("c1", "{}", "allow"), ("c2", r#"{"text":"a","sha256":"b"}"#, "deny")]
        {
            let mut call = Call::from_json(call("tickets/write", args).as_bytes()).unwrap();
            call.call_id = id.to_owned();
            let decision = client.decide(Arc::new(call), 5_000).await.unwrap().decision;
            assert_eq!(decision.effect.as_str(), effect, "{decision:?}");
        }
        running.stop("test").await;
    });
}

#[test]
fn what_stands_in_the_way_of_an_import_is_told() {
    let bench = bench();
    bench.run(&["check", "opa/authz"]).code(5);
    bench.write("opa/authz/.manifest", "{\"rego_version\": 0}");
    bench.write("opa/authz/old.rego", "package old\n\nallow { true }\n");
    let checked = with(&bench, &["check", "opa/authz"]).code(5);
    assert!(checked.out.contains("opa_rego_version"), "{checked:?}");
    bench.write("opa/authz/.manifest", "{}");
    let checked = with(&bench, &["check", "opa/authz"]).code(5);
    assert!(checked.out.contains("opa/authz/old.rego:3:1: error[rego_dialect]"), "{checked:?}");
    assert!(checked.out.contains("3 | allow { true }"), "{checked:?}");
    let built = with(&bench, &["build", "opa/authz", "-o", "t.tgz"]).code(5);
    assert!(built.err.contains("rego_dialect") && !bench.path("t.tgz").exists(), "{built:?}");
    bench.run(&["build", "opa/authz", "opa/authz", "-o", "t.tgz", "--opa", "authz/allow"]).code(2);
    bench.run(&["check", "opa/authz", "--registry", "opa/registry.json"]).code(2);
}
