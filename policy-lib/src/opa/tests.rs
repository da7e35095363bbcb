//! `testdata/opa`: a bundle as OPA's users have it, converted, tested and decided.

use std::path::{Path, PathBuf};

use super::*;
use crate::bundle::{Floor, Require, Source, Window, pack, verify};
use crate::cases;
use crate::engine::{Budget, Scope};
use crate::load::{LoadedBundle, Times};
use crate::rego::{RegoSource, run_tests};

const NOW_MS: i64 = 1_800_000_000_000;

fn testdata() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata/opa")
}

fn gather(folder: &Path, prefix: &str, found: &mut Vec<(String, Vec<u8>)>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = format!("{prefix}{}", path.file_name().unwrap().to_str().unwrap());
        if path.is_dir() {
            gather(&path, &format!("{name}/"), found);
        } else {
            found.push((name, std::fs::read(&path).unwrap()));
        }
    }
}

fn authz() -> Vec<(String, Vec<u8>)> {
    let mut found = Vec::new();
    gather(&testdata().join("authz"), "", &mut found);
    found
}

fn of(pairs: Vec<(String, Vec<u8>)>) -> OpaBundle {
    OpaBundle::from_pairs(pairs, &Limits::default()).unwrap()
}

fn small(files: &[(&str, &str)]) -> OpaBundle {
    of(files.iter().map(|(name, text)| ((*name).to_owned(), text.as_bytes().to_vec())).collect())
}

fn options(entrypoint: &'static str) -> Options<'static> {
    Options { entrypoint, name: "authz", version: 3, registry: None, input: None }
}

fn loaded(converted: &Converted) -> LoadedBundle {
    load(converted).unwrap_or_else(|problems| panic!("{problems:#?}"))
}

fn load(converted: &Converted) -> Result<LoadedBundle, Vec<Diagnostic>> {
    let floor = Floor { min_version: 0, window: Window::Ignored };
    let archive = pack(&converted.files);
    let verified = verify(
        Source::Archive(&archive),
        &Require::AllowUnsigned,
        &floor,
        &Limits::default(),
        NOW_MS,
    )
    .unwrap();
    LoadedBundle::load(verified, Times::Ignored)
}

fn complete() -> Converted {
    let registry = std::fs::read(testdata().join("registry.json")).unwrap();
    let input = std::fs::read(testdata().join("input.json")).unwrap();
    let options =
        Options { registry: Some(&registry), input: Some(&input), ..options("authz/decision") };
    convert(&of(authz()), &options).unwrap_or_else(|problems| panic!("{problems:#?}"))
}

/// Effect and reasons of a call of `user` for `tool`.
fn decided(bundle: &LoadedBundle, user: &str, tool: &str, args: &str) -> (String, Vec<String>) {
    let text = format!(
        "cases: [{{name: x, call: {{subject: {{type: user, id: {user}}}, agent: {{type: agent, id: helper}}, \
         action: {{name: tools/call}}, resource: {{type: tool, id: {tool}}}, context: {{args: {args}}}}}, \
         expect: {{effect: allow}}}}]"
    );
    let case = cases::parse("cases/x.yaml", &text).unwrap().cases.remove(0);
    let decision = cases::run(bundle, &case, NOW_MS, Budget::default()).outcome.decision;
    let reasons =
        decision.reasons.iter().map(|reason| format!("{}: {}", reason.id, reason.message));
    let reasons = reasons.filter(|reason| reason != "permit: ");
    (decision.effect.as_str().to_owned(), reasons.collect())
}

#[test]
fn a_converted_bundle_decides_as_opa_does() {
    let bundle = loaded(&complete());
    let ask = |user, tool, args| decided(&bundle, user, tool, args);
    assert_eq!(ask("bob@example.com", "tickets/read", "{}"), ("allow".to_owned(), vec![]));
    assert_eq!(ask("alice@example.com", "tickets/write", "{}").0, "allow");
    assert_eq!(
        ask("bob@example.com", "tickets/write", "{}"),
        ("deny".to_owned(), vec!["no_permit: no policy permits this".to_owned()])
    );
    assert_eq!(
        ask("alice@example.com", "tickets/write", "{attachments: [\"https://example.org/x\"]}"),
        ("deny".to_owned(), vec!["opa.denied: E17: no attachments from outside".to_owned()])
    );
    assert_eq!(
        ask("alice@example.com", "tickets/write", "{text: abc, sha256: x}").1,
        ["opa.denied: the ticket was changed since it was read"]
    );
    let digest = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
    let args = format!("{{text: abc, sha256: {digest}}}");
    assert_eq!(ask("alice@example.com", "tickets/write", &args).0, "allow");
}

#[test]
fn its_manifest_and_data_are_kept() {
    let converted = complete();
    let bundle = loaded(&converted);
    assert_eq!(
        (
            bundle.reference().name.as_str(),
            bundle.reference().version,
            bundle.reference().revision.as_str()
        ),
        ("authz", 3, "9f3c1d7")
    );
    let data: Value = serde_json::from_slice(converted.files.get("data.json").unwrap()).unwrap();
    assert_eq!(data["roles"]["members"]["bob@example.com"], json!(["reader"]));
    assert_eq!(data["roles"]["hours"], json!([9, 17]));
    assert_eq!(data["authz"]["permissions"]["reader"], json!(["tickets/read"]));
    let manifest: Value =
        serde_json::from_slice(converted.files.get(".manifest").unwrap()).unwrap();
    assert_eq!(manifest["metadata"]["team"], "platform");
    let told: Vec<String> =
        converted.warnings.iter().map(|w| format!("{} {}", w.code, w.file)).collect();
    assert_eq!(told, ["opa_file notes.txt"]);
}

#[test]
fn its_own_tests_run() {
    let converted = complete();
    let scopes: std::collections::BTreeMap<String, Scope> = Default::default();
    let text = |name: &str| std::str::from_utf8(converted.files.get(name).unwrap()).unwrap();
    let names = converted.files.iter().map(|(name, _)| name).filter(|name| name.ends_with(".rego"));
    let source = RegoSource {
        files: names.map(|name| (name, text(name))).collect(),
        data: text("data.json"),
        scopes: &scopes,
    };
    let report = run_tests(&source, None).unwrap_or_else(|problems| panic!("{problems:#?}"));
    assert!(report.passed(), "{report:#?}");
    assert_eq!(report.results.len(), 7, "{report:#?}");
}

#[test]
fn without_a_registry_nothing_is_allowed() {
    let converted = convert(&of(authz()), &options("authz/decision")).unwrap();
    let bundle = loaded(&converted);
    assert_eq!(
        decided(&bundle, "bob@example.com", "tickets/read", "{}").1.first().map(String::as_str),
        Some("agent_unknown: the agent `helper` is not in the registry")
    );
}

/// What a decision of this text comes to.
fn effect(rules: &str) -> (String, Vec<String>) {
    let registry = std::fs::read(testdata().join("registry.json")).unwrap();
    let options = Options { registry: Some(&registry), ..options("p/decision") };
    let text = format!("package p\n\n{rules}\n");
    let converted = convert(&small(&[("p.rego", &text)]), &options).unwrap();
    decided(&loaded(&converted), "bob@example.com", "tickets/read", "{}")
}

#[test]
fn every_form_of_a_decision_is_followed() {
    let denied = |reasons: &[&str]| {
        ("deny".to_owned(), reasons.iter().map(|reason| (*reason).to_owned()).collect::<Vec<_>>())
    };
    let allowed = ("allow".to_owned(), vec![]);
    let on_input = "if input.action.name == \"tools/call\"";
    assert_eq!(effect(&format!("decision {on_input}")), allowed);
    assert_eq!(
        effect("decision if input.action.name == \"x\""),
        denied(&["no_permit: no policy permits this"])
    );
    assert_eq!(effect("default decision := false"), denied(&["no_permit: no policy permits this"]));
    assert_eq!(effect("decision := {\"allow\": true}"), allowed);
    assert_eq!(effect("decision := {\"allowed\": true, \"headers\": {}}"), allowed);
    assert_eq!(
        effect("decision := {\"allow\": false, \"allowed\": true}"),
        denied(&["no_permit: no policy permits this"])
    );
    assert_eq!(
        effect("decision := {\"allow\": \"true\"}"),
        denied(&["no_permit: no policy permits this"])
    );
    assert_eq!(
        effect("decision := {\"allow\": false, \"reason\": \"closed\"}"),
        denied(&["opa.denied: closed"])
    );
    assert_eq!(
        effect(
            "decision := {\"allow\": false, \"reasons\": {\"a\", {\"msg\": \"b\"}, {\"c\": 1}}}"
        ),
        denied(&["opa.denied: a", "opa.denied: b", "opa.denied: {\"c\":1}"])
    );
    assert_eq!(
        effect("decision := {\"allow\": true, \"deny\": [\"but no\"]}"),
        denied(&["opa.denied: but no"])
    );
    assert_eq!(effect("decision contains \"no\" if input.action.name == \"x\""), allowed);
    assert_eq!(
        effect(&format!("decision contains \"no\" {on_input}")),
        denied(&["opa.denied: no"])
    );
    for text in ["7", "\"yes\"", "null"] {
        let want = denied(&["opa.decision: the answer of the policy is not understood"]);
        assert_eq!(effect(&format!("decision := {text}")), want, "{text}");
    }
    assert_eq!(
        effect(&format!("decision := to_number(\"x\") {on_input}")).1,
        ["policy_error: a policy could not be evaluated for this call"],
        "an error is never a permit"
    );
    let long = effect(&format!("decision contains \"{}\" {on_input}", "x".repeat(900))).1;
    assert_eq!(long.first().map(String::len), Some(900 + "opa.denied: ".len()));
    let long = effect(&format!(
        "decision contains concat(\"\", [\"{0}\",\n\"{0}\"]) {on_input}",
        "x".repeat(900)
    ))
    .1;
    assert_eq!(long.first().map(String::len), Some(1000 + "opa.denied: ".len()));
}

/// `code file` of everything that stands in the way.
fn refused(bundle: &OpaBundle, options: &Options<'_>) -> Vec<String> {
    let problems = convert(bundle, options).unwrap_err();
    let errors = problems.iter().filter(|p| p.level == Level::Error);
    errors.map(|p| format!("{} {}: {}", p.code, p.file, p.message)).collect()
}

#[test]
fn what_stands_in_the_way_is_named() {
    let rego = ("p.rego", "package p\n\nallow if true\n");
    let cases: &[(&[(&str, &str)], &str)] = &[
        (
            &[rego, (".manifest", "{\"rego_version\": 0}")],
            "opa_rego_version .manifest: the bundle is Rego v0",
        ),
        (
            &[rego, (".manifest", "{\"file_rego_versions\": {\"/a.rego\": 2}}")],
            "opa_rego_version .manifest: the bundle is Rego v2",
        ),
        (&[rego, (".manifest", "{\"wasm\": [{}]}")], "opa_manifest .manifest: compiled"),
        (
            &[rego, (".manifest", "{\"metadata\": {\"lictor\": {}}}")],
            "opa_manifest .manifest: the bundle has a `metadata.lictor`",
        ),
        (&[rego, (".manifest", "[]")], "opa_manifest .manifest"),
        (
            &[rego, (".manifest", "{\"roots\": [\"p\"]}"), ("data.json", "{\"q\": 1}")],
            "opa_roots .manifest: `q`",
        ),
        (&[rego, ("policy.wasm", "")], "opa_file policy.wasm"),
        (&[rego, ("patch.json", "{}")], "bundle_delta"),
        (&[("data.json", "{}")], "opa_file : the bundle has no `.rego` file"),
        (&[rego, ("data.json", "[1]")], "opa_data data.json: the data is not an object"),
        (&[rego, ("data.json", "{\"a\": 1, \"a\": 2}")], "opa_data data.json"),
        (&[rego, ("x/data.yaml", "a: [")], "opa_data x/data.yaml"),
        (
            &[rego, ("data.json", "{\"x\": {\"a\": 1}}"), ("x/data.json", "{\"a\": 2}")],
            "opa_data x/data.json: `x.a`",
        ),
        (&[rego, ("registry/data.json", "{\"a\": 2}")], "opa_data : `registry` in the data"),
    ];
    for (files, what) in cases {
        let pairs = files.iter().map(|(name, text)| (*name, text.as_bytes().to_vec()));
        let said = match OpaBundle::from_pairs(pairs, &Limits::default()) {
            Ok(bundle) => refused(&bundle, &options("p/allow")).join("; "),
            Err(error) => error.id().to_owned(),
        };
        assert!(said.contains(what), "{what}: {said}");
    }
}

#[test]
fn options_that_make_no_sense_are_named() {
    let bundle = small(&[("p.rego", "package p\n\nallow if true\n")]);
    for entrypoint in ["", "allow", "p/allow-it", "data", "p/_lictor_x"] {
        assert!(
            refused(&bundle, &options(entrypoint))
                .join("")
                .contains("is not the path of a decision"),
            "{entrypoint}"
        );
    }
    let with = |input: &'static str| {
        refused(&bundle, &Options { input: Some(input.as_bytes()), ..options("p/allow") })
            .join("; ")
    };
    assert!(with("[]").contains("`--input` is not a JSON object"));
    assert!(with("{").contains("the file of `--input`"));
    assert!(with("{\"a\": [1]}").contains("`a` of `--input` is a list"));
    assert!(with("{\"a\": {\"b\": \"input.x-y\"}}").contains("`input.x-y` of `--input`"));
}

#[test]
fn negations_that_mean_something_else_are_warned_of() {
    let text = "package p

allow if not blocked(input.user)

blocked(x) if x == \"a\"

a if not input.user == \"x\"

b if not input.n > 5

c if not input.role in {\"a\"}

d if not input.blocked

e if { x := input.user; not blocked(x) }

f if not input.n + 1 == 2
";
    let places = |text: &str| {
        let converted = convert(&small(&[("p.rego", text)]), &options("p/allow")).unwrap();
        converted.warnings.iter().map(|w| (w.code, w.line)).collect::<Vec<_>>()
    };
    assert_eq!(
        places(text),
        [("opa_negation", 3), ("opa_negation", 9), ("opa_negation", 11), ("opa_negation", 17)]
    );
    let asked = text.replacen('\n', "\n\nimport future.keywords.not\n", 1);
    assert_eq!(places(&asked), []);
}

#[test]
fn archives_are_read_whatever_they_hold_and_however_they_are_named() {
    let mut builder = tar::Builder::new(flate2::write::GzEncoder::new(
        Vec::new(),
        flate2::Compression::default(),
    ));
    for (name, text) in [
        ("/p/p.rego", "package p\n\nallow if true\n"),
        ("/data.json", "{\"q\": 1}"),
        ("/x/y.txt", "z"),
    ] {
        let mut header = tar::Header::new_ustar();
        header.as_mut_bytes()[..name.len()].copy_from_slice(name.as_bytes());
        header.set_size(text.len() as u64);
        header.set_mode(0o644);
        header.set_cksum();
        builder.append(&header, text.as_bytes()).unwrap();
    }
    let archive = builder.into_inner().unwrap().finish().unwrap();
    let bundle = OpaBundle::from_archive(&archive, &Limits::default()).unwrap();
    let converted = convert(&bundle, &options("p/allow")).unwrap();
    let names: Vec<&str> = converted.files.iter().map(|(name, _)| name).collect();
    assert_eq!(
        names,
        [".manifest", "data.json", "rego/opa/adapter.rego", "rego/opa/bundle/p/p.rego"]
    );
    assert!(crate::bundle::read_archive(&archive, &Limits::default()).is_err());
}

/// Data may lie beside the rules of a package, and not in their place.
#[test]
fn data_in_the_place_of_a_rule_is_refused_when_it_loads() {
    let text = "package p.q\n\nallow if data.p.q.users[input.subject.id]\n\na.b := 1\n";
    let with = |data: &str| {
        let bundle = small(&[("p.rego", text), ("p/q/data.json", data)]);
        let converted = convert(&bundle, &options("p/q/allow")).unwrap();
        match load(&converted) {
            Ok(_) => Vec::new(),
            Err(problems) => {
                let errors = problems.into_iter().filter(|p| p.level == Level::Error);
                errors.map(|p| format!("{}: {}", p.code, p.message)).collect::<Vec<_>>()
            }
        }
    };
    assert_eq!(with(r#"{"users": {"x": true}, "a": {"c": 1}}"#), Vec::<String>::new());
    let place = "rego_data: `p.q.allow` in the data stands in the place of rule `p.q.allow`";
    assert_eq!(with(r#"{"users": {}, "allow": true}"#), [place]);
    let place = "rego_data: `p.q.a` in the data stands in the place of rule `p.q.a.b`";
    assert_eq!(with(r#"{"users": {}, "a": 5}"#), [place]);
    let place = "rego_data: `p.q.a.b` in the data stands in the place of rule `p.q.a.b`";
    assert_eq!(with(r#"{"users": {}, "a": {"b": {}}}"#), [place]);
}

#[test]
fn limits_end_at_their_edges() {
    let rego = "package p\n\nallow if true\n";
    let left_out = |count: usize| {
        let mut pairs = vec![("p.rego".to_owned(), rego.as_bytes().to_vec())];
        pairs.extend((0..count).map(|at| (format!("n{at}.txt"), Vec::new())));
        let warnings = convert(&of(pairs), &options("p/allow")).unwrap().warnings;
        let more = warnings.iter().any(|warning| warning.message.contains("more files"));
        (warnings.len(), more)
    };
    assert_eq!(left_out(MAX_TOLD), (MAX_TOLD, false));
    assert_eq!(left_out(MAX_TOLD + 1), (MAX_TOLD + 1, true));
    let nested = |depth: usize| {
        let input = format!("{}1{}", "{\"a\":".repeat(depth), "}".repeat(depth));
        let options = Options { input: Some(input.as_bytes()), ..options("p/allow") };
        convert(&small(&[("p.rego", rego)]), &options).is_ok()
    };
    assert!(nested(16) && !nested(17));
    let yaml = |bytes: usize| {
        let text = format!("a: {}", "x".repeat(bytes - 3));
        convert(&small(&[("p.rego", rego), ("data.yaml", &text)]), &options("p/allow")).is_ok()
    };
    assert!(yaml(read::YAML_BYTES_MAX) && !yaml(read::YAML_BYTES_MAX + 1));
}
