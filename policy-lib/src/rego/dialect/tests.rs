//! Each thing of another dialect, by name; and that Rego v1 is left alone.

use crate::rego::tests::Bundle;

fn said(text: &str) -> Vec<String> {
    let problems = Bundle::of(&[("rego/h/h.rego", text)]).problems();
    problems
        .iter()
        .map(|p| format!("{}:{}:{} {} | {}", p.code, p.line, p.col, p.message, p.help))
        .collect()
}

#[track_caller]
fn refused(rules: &str, place: &str, what: &str, instead: &str) {
    let said = said(&format!("package h\n\n{rules}\n"));
    assert!(
        said.iter().any(|line| line.starts_with(&format!("rego_dialect:{place} "))
            && line.contains(what)
            && line.contains(instead)),
        "{said:#?}"
    );
    assert!(said.iter().all(|line| line.starts_with("rego_dialect")), "{said:#?}");
}

#[test]
fn imports_of_other_versions_are_named() {
    refused(
        "import rego.v2",
        "3:13",
        "`import rego.v2` is not evaluated",
        "write `import rego.v1`",
    );
    refused(
        "import rego.v0",
        "3:13",
        "`import rego.v0` is not evaluated",
        "write `import rego.v1`",
    );
    refused("import future.keywords.and", "3:24", "the keyword `and`", "two statements");
    refused("import future.keywords.or", "3:24", "the keyword `or`", "two rules");
    refused("import future.keywords.xor", "3:24", "the keyword `xor`", "in Rego v1");
}

#[test]
fn imports_of_what_is_on_already_change_nothing() {
    for import in [
        "rego.v1",
        "future.keywords",
        "future.keywords.if",
        "future.keywords.in",
        "future.keywords.every",
        "future.keywords.contains",
        "future.keywords.not",
    ] {
        let text = format!("package h\n\nimport {import}\n\np if 1 in [1]\n\nq if not p\n");
        assert_eq!(said(&text), Vec::<String>::new(), "{import}");
    }
}

#[test]
fn template_strings_are_named() {
    refused("x := $\"hello {input.action.name}\"", "3:6", "template strings", "sprintf");
    refused("x := $`hello {input.action.name}`", "3:6", "template strings", "sprintf");
    refused("x := $\"a { f(\"b\") } c\"\n\ny := $\"z\"", "5:6", "template strings", "sprintf");
}

#[test]
fn infix_words_are_named() {
    refused("p if input.a and input.b", "3:14", "the keyword `and`", "two statements");
    refused("p if {\n\tinput.a == 1 or input.b == 2\n}", "4:15", "the keyword `or`", "two rules");
    refused("p if { (input.a) or (input.b) }", "3:18", "the keyword `or`", "two rules");
}

#[test]
fn rules_of_version_0_are_named() {
    refused("allow { input.a }", "3:1", "`allow { ... }` is Rego v0", "write `allow if { ... }`");
    refused(
        "allow = true {\n\tinput.a\n}",
        "3:1",
        "is Rego v0",
        "write `allow := value if { ... }`",
    );
    refused(
        "deny[msg] {\n\tmsg := \"x\"\n}",
        "3:1",
        "is Rego v0",
        "write `deny contains x if { ... }`",
    );
    refused(
        "m[k] = v {\n\tv := input[k]\n}",
        "3:1",
        "is Rego v0",
        "write `m[key] := value if { ... }`",
    );
    refused("f(x) = y {\n\ty := x + 1\n}", "3:1", "is Rego v0", "write `f := value if { ... }`");
    refused(
        "p if input.a\n\nq { input.b }",
        "5:1",
        "`q { ... }` is Rego v0",
        "write `q if { ... }`",
    );
    refused(
        "p := 1 if {\n\tinput.a\n} else = 2 {\n\tinput.b\n}",
        "5:3",
        "is Rego v0",
        "write `else := x if { ... }`",
    );
    refused(
        "allow {\n\ta := {\"x\": {1, 2}}\n}\n\ndeny[x] { x := 1 }",
        "7:1",
        "is Rego v0",
        "contains",
    );
}

#[test]
fn version_1_is_left_alone() {
    let text = r#"package h

import rego.v1

# an `and` in a comment, $"a template" too
default p := false

p if { input.context.args.a == "x and y or z" }

q contains {"and": 1, "$": "$\"x\""} if some i in [1, 2]

r[k] := v if some k, v in {"or": {"a"}}

f(x) := {"k": x} if {
	x > 1
} else := {"k": 0}

g(and) := and

t := g(1)

u := {x | x := [1, 2][_]}
"#;
    assert_eq!(said(text), Vec::<String>::new());
}

#[test]
fn other_mistakes_are_still_the_parsers() {
    let said = said("package h\n\np if {\n\tinput.x[\"a\"] ==\n}\n");
    assert!(said.iter().all(|line| line.starts_with("rego_parse:")), "{said:?}");
}
