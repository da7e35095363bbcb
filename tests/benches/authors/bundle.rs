//! A bundle of 50 departments: each has tools, an agent, five Rego rules and five Cedar
//! policies, a table of cells and single cases, and two Rego tests.

use std::fmt::Write as _;
use std::path::Path;

use serde_json::{Value, json};

/// Departments; with ten policies and twenty cases each.
const DEPARTMENTS: usize = 50;
/// Tools of each department.
const TOOLS: usize = 4;
/// Single cases of each department; its table has one for each tool.
const CASES: usize = 16;

/// Writes the bundle.
pub(crate) fn write(path: &Path) {
    let put = |name: &str, text: String| {
        let path = path.join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    };
    let manifest =
        json!({"revision": "large", "metadata": {"lictor": {"name": "large", "version": 1}}});
    put(".manifest", manifest.to_string());
    put("data.json", serde_json::to_string_pretty(&data()).unwrap());
    for n in 0..DEPARTMENTS {
        put(&format!("rego/d{n}/d{n}.rego"), rego(n));
        put(&format!("rego/d{n}/d{n}_test.rego"), rego_tests(n));
        put(&format!("cedar/d{n}.cedar"), cedar(n));
        put(&format!("cases/d{n}.yaml"), cases(n));
    }
}

fn data() -> Value {
    let mut registry = json!({"agents": {}, "users": {"owner@example.com": {"department": "all"}}, "teams": {}, "servers": {}, "tools": {}});
    let mut most = json!({});
    let mut put = |map: &str, id: String, value: Value| registry[map][id] = value;
    for n in 0..DEPARTMENTS {
        let agent =
            json!({"owner": "owner@example.com", "team": format!("t{n}"), "status": "active"});
        put("agents", format!("a{n}"), agent);
        put("teams", format!("t{n}"), json!({"description": "a department"}));
        put("servers", format!("s{n}"), json!({}));
        most[format!("d{n}")] = json!(100 * (n + 1));
        for t in 0..TOOLS {
            let schema = json!({
                "type": "object", "additionalProperties": false, "required": ["amount"],
                "properties": {"amount": {"type": "integer"}, "to": {"type": "string"}},
            });
            let tool = json!({"input_schema": schema, "annotations": {"source": "trusted", "reads": "public", "effect": "mutate"}});
            put("tools", format!("s{n}/t{t}"), tool);
        }
    }
    json!({"most": most, "registry": registry})
}

fn rego(n: usize) -> String {
    format!(
        r#"package lictor.d{n}

_ours if startswith(input.resource.id, "s{n}/")

_amount := input.context.args.amount

allow contains "d{n}.tool" if {{
	_ours
	input.action.name == "tools/call"
	data.registry.users[input.subject.id]
}}

list if _ours

deny contains {{"id": "d{n}.negative", "message": "amounts are not negative"}} if {{
	_ours
	_amount < 0
}}

deny contains {{"id": "d{n}.most", "message": sprintf("at most %v", [data.most.d{n}])}} if {{
	_ours
	_amount > data.most.d{n}
}}

ask contains {{"id": "d{n}.outside", "message": "it leaves the house", "approvers": ["owner@example.com"]}} if {{
	_ours
	to := input.context.args.to
	not endswith(to, "@example.com")
}}
"#
    )
}

fn rego_tests(n: usize) -> String {
    format!(
        r#"package lictor.d{n}_test

import data.lictor.d{n}

_call(amount) := {{"subject": {{"id": "owner@example.com"}}, "action": {{"name": "tools/call"}}, "resource": {{"id": "s{n}/t1"}}, "context": {{"args": {{"amount": amount}}}}}}

test_allowed_d{n} if d{n}.allow == {{"d{n}.tool"}} with input as _call(1)

test_most_d{n} if {{
	d{n}.deny[_].id == "d{n}.most" with input as _call(1000000)
}}
"#
    )
}

fn cedar(n: usize) -> String {
    let mut text = String::new();
    for t in 0..TOOLS {
        writeln!(
            text,
            "@id(\"d{n}.grant.t{t}\")\npermit (principal in Lictor::Team::\"t{n}\", action == Lictor::Action::\"s{n}/t{t}\", resource);\n"
        )
        .unwrap();
    }
    writeln!(
        text,
        "@id(\"d{n}.seven\")\n@reason(\"seven is nobody's amount\")\nforbid (principal, action == Lictor::Action::\"s{n}/t0\", resource) when {{ context.args.amount == 7 }};"
    )
    .unwrap();
    text
}

fn cases(n: usize) -> String {
    let other = (n + 1) % DEPARTMENTS;
    let mut text = format!(
        "defaults:\n  call:\n    subject: {{type: user, id: owner@example.com}}\n    agent: {{type: agent, id: a{n}}}\n    action: {{name: tools/call}}\n\nmatrix:\n  - name: own and others\n    actions:\n"
    );
    for t in 0..TOOLS / 2 {
        writeln!(text, "      s{n}/t{t}: {{args: {{amount: 1}}}}").unwrap();
    }
    writeln!(
        text,
        "    agents:\n      a{n}: [allow, allow]\n      a{other}: [deny, deny]\n\ncases:"
    )
    .unwrap();
    for c in 0..CASES {
        let (tool, amount, to, expect) = match c % 4 {
            0 => (0, 7, "b@example.com", format!("{{effect: deny, reasons: [d{n}.seven]}}")),
            1 => (
                1,
                10 + c,
                "b@example.com",
                format!("{{effect: allow, reasons: [d{n}.tool, d{n}.grant.t1]}}"),
            ),
            2 => (2, 1_000_000, "b@example.com", format!("{{effect: deny, reasons: [d{n}.most]}}")),
            _ => (3, 10, "b@example.org", format!("{{effect: ask, reasons: [d{n}.outside]}}")),
        };
        writeln!(
            text,
            "  - name: case {c}\n    call: {{resource: {{type: tool, id: s{n}/t{tool}}}, context: {{args: {{amount: {amount}, to: {to}}}}}}}\n    expect: {expect}"
        )
        .unwrap();
    }
    text
}
