//! fmt.

use std::path::{Path, PathBuf};

use lictor_policy_lib::bundle::{Limits, read_archive};

use crate::run::Bench;

const CEDAR: &str = "// why\n@id(\"a\") permit(principal,action,resource);\n";
const LAID_OUT: &str = "// why\n@id(\"a\")\npermit (principal, action, resource);\n";

/// A folder with a file of every sort.
fn messy() -> Bench {
    let bench = Bench::new();
    bench.write("b/cedar/x.cedar", CEDAR);
    bench.write("b/cedar/schema.cedarschema", "entity  A ;");
    bench.write("b/data.json", "{\"n\":1.50,\n\"big\":18446744073709551615}");
    bench.write("b/.manifest", "{ }");
    bench.write("b/rego/x/x.rego", "package   lictor.x\n");
    bench.write("b/cases/x.yaml", "cases:   []\n");
    bench.write("b/README.md", "#  x\n");
    bench.write("b/.git/data.json", "{ }");
    bench
}

#[test]
fn a_folder_is_formatted_once_and_what_has_no_layout_is_left_alone() {
    let bench = messy();
    let done = bench.run(&["fmt", "b"]).code(0);
    let names: Vec<&str> = done.out.lines().collect();
    assert_eq!(
        names,
        ["b/.manifest", "b/cedar/schema.cedarschema", "b/cedar/x.cedar", "b/data.json"]
    );
    assert!(done.err.contains("4 formatted, 0 unchanged"), "{done:?}");
    assert_eq!(bench.read("b/cedar/x.cedar"), LAID_OUT);
    assert_eq!(
        bench.read("b/data.json"),
        "{\n  \"n\": 1.50,\n  \"big\": 18446744073709551615\n}\n"
    );
    assert_eq!(bench.read("b/rego/x/x.rego"), "package   lictor.x\n");
    assert_eq!(bench.read("b/cases/x.yaml"), "cases:   []\n");
    assert_eq!(bench.read("b/.git/data.json"), "{ }");
    let again = bench.run(&["fmt", "b"]).code(0);
    assert!(again.out.is_empty() && again.err.contains("0 formatted, 4 unchanged"), "{again:?}");
    bench.run(&["fmt", "--check", "b"]).code(0);
}

#[test]
fn check_names_what_is_not_formatted_and_writes_nothing() {
    let bench = messy();
    let checked = bench.run(&["fmt", "--check", "b"]).code(6);
    assert_eq!(checked.out.lines().count(), 4, "{checked:?}");
    assert_eq!(bench.read("b/cedar/x.cedar"), CEDAR);
    let told = bench.run(&["fmt", "--check", "b", "--format", "json"]).code(6).json();
    assert_eq!(told["ok"], false);
    assert_eq!(told["files"][0]["status"], "unformatted");
    let told = bench.run(&["fmt", "b", "--format", "json"]).code(0).json();
    assert_eq!((&told["ok"], &told["files"][0]["status"]), (&true.into(), &"formatted".into()));
}

#[test]
fn diff_shows_what_would_change_and_writes_nothing() {
    let bench = messy();
    let shown = bench.run(&["fmt", "--diff", "b/cedar/x.cedar"]).code(0);
    assert_eq!(
        shown.out,
        "--- b/cedar/x.cedar\n+++ b/cedar/x.cedar\n@@ -1,2 +1,3 @@\n // why\n-@id(\"a\") permit(principal,action,resource);\n+@id(\"a\")\n+permit (principal, action, resource);\n"
    );
    assert_eq!(bench.read("b/cedar/x.cedar"), CEDAR);
    bench.run(&["fmt", "--diff", "--check", "b/cedar/x.cedar"]).code(6);
    bench.write("x.cedar", LAID_OUT);
    assert_eq!(bench.run(&["fmt", "--diff", "--check", "x.cedar"]).code(0).out, "");
}

#[test]
fn standard_input_is_formatted_to_standard_output() {
    let bench = Bench::new();
    assert_eq!(bench.run_with(&["fmt", "--stdin", "cedar"], CEDAR).code(0).out, LAID_OUT);
    assert_eq!(bench.run_with(&["fmt", "--stdin", "json"], "[1]").code(0).out, "[\n  1\n]\n");
    assert_eq!(
        bench.run_with(&["fmt", "--stdin", "cedarschema"], "entity  A;").code(0).out,
        "entity A;\n"
    );
    assert_eq!(bench.run_with(&["fmt", "--stdin", "cedar", "--check"], CEDAR).code(6).out, "");
    bench.run_with(&["fmt", "--stdin", "cedar", "--check"], LAID_OUT).code(0);
    let wrong = bench.run_with(&["fmt", "--stdin", "json"], "{,}").code(5);
    assert!(wrong.out.is_empty() && wrong.err.contains("<stdin>:1:2: error"), "{wrong:?}");
    bench.run_with(&["fmt", "--stdin", "rego"], "").code(2);
    bench.run_with(&["fmt", "--stdin", "json", "x.cedar"], "").code(2);
}

#[test]
fn what_cannot_be_read_stays_as_it_is_and_the_rest_is_formatted() {
    let bench = messy();
    bench.write("b/cedar/wrong.cedar", "permit(principal,\n action resource);");
    bench.write("b/cedar/entities.json", "[1,");
    let done = bench.run(&["fmt", "b"]).code(5);
    assert!(done.err.contains("b/cedar/wrong.cedar:2:9: error"), "{done:?}");
    assert!(done.err.contains("b/cedar/entities.json:1:4: error"), "{done:?}");
    assert!(done.err.contains("2 refused"), "{done:?}");
    assert_eq!(bench.read("b/cedar/wrong.cedar"), "permit(principal,\n action resource);");
    assert_eq!(bench.read("b/cedar/x.cedar"), LAID_OUT);
    let told = bench.run(&["fmt", "b", "--format", "json"]).code(5).json();
    let refused: Vec<&serde_json::Value> =
        told["files"].as_array().unwrap().iter().filter(|f| f["status"] == "refused").collect();
    assert_eq!((refused.len(), &refused[1]["line"]), (2, &2.into()));
}

#[test]
fn files_without_a_layout_are_refused_by_name() {
    let bench = messy();
    for (file, help) in
        [("b/rego/x/x.rego", "opa fmt"), ("b/cases/x.yaml", "comments"), ("b/README.md", "*.cedar")]
    {
        let refused = bench.run(&["fmt", file]).code(2);
        assert!(refused.err.contains(help), "{refused:?}");
    }
    bench.run(&["fmt", "nowhere"]).code(1);
    bench.run(&["fmt"]).code(2);
}

#[test]
fn a_file_may_be_as_large_as_a_bundle_allows() {
    let bench = Bench::new();
    let max = Limits::default().file_bytes;
    let text = |bytes: usize| format!("[\"{}\"]", "x".repeat(bytes - 4));
    bench.write("data.json", &text(max));
    bench.run(&["fmt", "--diff", "data.json"]).code(0);
    bench.write("data.json", &text(max + 1));
    let refused = bench.run(&["fmt", "data.json"]).code(1);
    assert!(refused.err.contains("more than"), "{refused:?}");
}

#[test]
fn links_and_permissions_stay() {
    use std::os::unix::fs::PermissionsExt;
    let bench = Bench::new();
    bench.write("real.cedar", CEDAR);
    std::fs::set_permissions(bench.path("real.cedar"), PermissionsExt::from_mode(0o600)).unwrap();
    std::os::unix::fs::symlink(bench.path("real.cedar"), bench.path("link.cedar")).unwrap();
    bench.run(&["fmt", "link.cedar"]).code(0);
    assert!(bench.path("link.cedar").is_symlink());
    assert_eq!(bench.read("real.cedar"), LAID_OUT);
    let mode = std::fs::metadata(bench.path("real.cedar")).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
}

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let (path, target): (PathBuf, PathBuf) = {
            let entry = entry.unwrap();
            (entry.path(), to.join(entry.file_name()))
        };
        if path.is_dir() {
            copy(&path, &target);
        } else {
            std::fs::copy(path, target).unwrap();
        }
    }
}

#[test]
fn every_bundle_here_decides_the_same_after_it_was_laid_out_anew() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().join("bundles");
    let mut bundles = 0;
    for entry in std::fs::read_dir(root).unwrap() {
        let (bench, from) = (Bench::new(), entry.unwrap().path());
        copy(&from, &bench.path("b"));
        bench.run(&["fmt", "--check", "b"]).code(0);
        let tested = || {
            let told = bench.run(&["test", "b", "--format", "json"]).json();
            let count = |name: &str| told[name].as_u64().unwrap();
            (count("passed"), count("failed"))
        };
        let before_it = tested();
        assert!(before_it.0 > 20);
        bench.run(&["build", "b", "-o", "before.tgz"]).code(0);
        // Everything on one line, as a program writes it.
        let data: serde_json::Value = serde_json::from_str(&bench.read("b/data.json")).unwrap();
        bench.write("b/data.json", &data.to_string());
        bench.run(&["fmt", "b"]).code(0);
        bench.run(&["check", "b"]).code(0);
        assert_eq!(tested(), before_it, "{from:?}");
        bench.run(&["build", "b", "-o", "after.tgz"]).code(0);
        let files = |name: &str| {
            read_archive(&std::fs::read(bench.path(name)).unwrap(), &Limits::default()).unwrap()
        };
        let (before, after) = (files("before.tgz"), files("after.tgz"));
        assert_eq!(before.get("data.json"), after.get("data.json"), "{from:?}");
        assert_eq!(before.get(".manifest"), after.get(".manifest"), "{from:?}");
        bundles += 1;
    }
    assert!(bundles >= 5);
}
