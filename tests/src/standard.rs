//! The bundles that decisions are measured with, as files, and a call that each of them allows.
//!
//! The standard policy is `policy-lib/testdata/standard`: 20 Rego rules, 21 Cedar policies, calls of
//! 10 arguments. Besides it there are policies by the number, of one engine alone, of which one
//! permits the call.

use std::fmt::Write as _;

const REGO: &str = include_str!("../../policy-lib/testdata/standard/rego/standard/rules.rego");
const CEDAR: &str = include_str!("../../policy-lib/testdata/standard/cedar/standard.cedar");

/// What a tool of 10 arguments takes.
const SCHEMA: &str = r#"{"type":"object","properties":{"path":{"type":"string"},"rows":{"type":"integer"},"mode":{"type":"string"},"host":{"type":"string"},"command":{"type":"string"},"query":{"type":"string"},"note":{"type":"string"},"dry":{"type":"boolean"},"limit":{"type":"integer"},"tags":{"type":"array","items":{"type":"string"}}}}"#;
/// Agents of the registry.
const AGENTS: usize = 50;
/// Teams of the registry; agents are in the first.
const TEAMS: usize = 10;
/// Place of the called tool, and of the policy that permits the call.
const CALLED: usize = 7;

/// What is measured, by name.
pub const SHAPES: [(&str, Shape); 14] = [
    ("standard policy, 100 tools", Shape::standard(100)),
    ("standard policy, 10,000 tools", Shape::standard(10_000)),
    (
        "standard policy and 10,000 Cedar policies, 10,000 tools",
        Shape { cedar: 10_000, ..Shape::standard(10_000) },
    ),
    ("10 Cedar policies, 100 tools", Shape::cedar(10, 100)),
    ("100 Cedar policies, 100 tools", Shape::cedar(100, 100)),
    ("1,000 Cedar policies, 100 tools", Shape::cedar(1_000, 100)),
    ("10,000 Cedar policies, 100 tools", Shape::cedar(10_000, 100)),
    ("10 Cedar policies, 10,000 tools", Shape::cedar(10, 10_000)),
    ("100 Cedar policies, 10,000 tools", Shape::cedar(100, 10_000)),
    ("1,000 Cedar policies, 10,000 tools", Shape::cedar(1_000, 10_000)),
    ("10,000 Cedar policies, 10,000 tools", Shape::cedar(10_000, 10_000)),
    ("10 Rego rules, 100 tools", Shape::rego(10, 100)),
    ("100 Rego rules, 100 tools", Shape::rego(100, 100)),
    ("1,000 Rego rules, 100 tools", Shape::rego(1_000, 100)),
];

/// What a bundle holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Shape {
    /// Tools of the registry, at least 10.
    pub tools: usize,
    /// Whether the standard policy is in it.
    pub standard: bool,
    /// Cedar policies besides, none or at least 10.
    pub cedar: usize,
    /// Rego rules besides, none or at least 10.
    pub rego: usize,
    /// Whether each call draws on three budgets.
    pub limits: bool,
}

impl Shape {
    /// The standard policy over so many tools.
    #[must_use]
    pub const fn standard(tools: usize) -> Self {
        Self { tools, standard: true, cedar: 0, rego: 0, limits: false }
    }

    /// So many Cedar policies alone.
    #[must_use]
    pub const fn cedar(policies: usize, tools: usize) -> Self {
        Self { standard: false, cedar: policies, ..Self::standard(tools) }
    }

    /// So many Rego rules alone.
    #[must_use]
    pub const fn rego(rules: usize, tools: usize) -> Self {
        Self { standard: false, rego: rules, ..Self::standard(tools) }
    }

    /// The files of the bundle: names and contents.
    #[must_use]
    pub fn files(&self) -> Vec<(&'static str, String)> {
        let manifest = r#"{"revision":"1","metadata":{"lictor":{"name":"standard","version":1,"permit_from":"any"}}}"#;
        let mut files = vec![(".manifest", manifest.to_owned()), ("data.json", self.data())];
        if self.standard {
            files.push(("rego/standard/rules.rego", REGO.to_owned()));
            files.push(("cedar/standard.cedar", CEDAR.to_owned()));
        }
        if self.cedar > 0 {
            files.push(("cedar/many.cedar", cedar(self.cedar, self.tools)));
        }
        if self.rego > 0 {
            files.push(("rego/many/many.rego", rego(self.rego, self.tools)));
        }
        files
    }

    fn data(&self) -> String {
        let agent = |i| {
            format!(
                r#""agent-{i}":{{"owner":"ops","team":"team-0","status":"active","attrs":{{"tenant":"default","roles":["reader","writer"],"teams":["team-0"]}}}}"#
            )
        };
        let tool = |i| {
            format!(
                r#""s/t{i}":{{"input_schema":{SCHEMA},"annotations":{{"source":"trusted","reads":"internal","effect":"mutate"}},"attrs":{{"area":"files","owners":["ops"],"max_rows":5000,"off":false,"sensitive":false}}}}"#
            )
        };
        let list = |count: usize, member: &dyn Fn(usize) -> String| {
            (0..count).map(member).collect::<Vec<_>>().join(",")
        };
        let (agents, tools) = (list(AGENTS, &agent), list(self.tools, &tool));
        let teams = list(TEAMS, &|i| format!(r#""team-{i}":{{}}"#));
        let limits = if self.limits { limits() } else { String::new() };
        format!(
            r#"{{"registry":{{"users":{{"ops":{{}}}},"teams":{{{teams}}},"servers":{{"s":{{}}}},"agents":{{{agents}}},"tools":{{{tools}}}}},"limits":{{{limits}}},"roles_of_team":{{"team-0":["reader"]}},"areas_of_role":{{"reader":["files"],"writer":["files"]}},"hosts":["a.example","b.example"]}}"#
        )
    }
}

/// Budgets that never run out.
fn limits() -> String {
    let budget = |id: &str, per: &str, key: &str| {
        format!(
            r#""{id}":{{"kind":"budget","max":1000000000000000,"per":"{per}","unit":"calls","key":["{key}"],"match":{{"resources":["s/*"]}}}}"#
        )
    };
    [("user", "1h", "subject"), ("agent", "24h", "agent"), ("tool", "1h", "resource")]
        .map(|(id, per, key)| budget(id, per, key))
        .join(",")
}

/// Each permits one team one tool.
fn cedar(policies: usize, tools: usize) -> String {
    let mut text = String::new();
    for i in 0..policies {
        let (tool, team) = (i % tools, (i / tools) % TEAMS);
        let most = 1_000 + i;
        let _ = writeln!(
            text,
            "@id(\"many.{i}\")\npermit (principal in Lictor::Team::\"team-{team}\", action == Lictor::Action::\"s/t{tool}\", resource)\nwhen {{ context.args has rows && context.args.rows < {most} }};\n"
        );
    }
    text
}

/// Each permits one tool with one argument.
fn rego(rules: usize, tools: usize) -> String {
    let mut text = String::from("package lictor.many\n");
    for i in 0..rules {
        let tool = i % tools;
        let _ = write!(
            text,
            "\nallow contains \"many.{i}\" if {{\n\tinput.resource.id == \"s/t{tool}\"\n\tinput.context.args.limit == {i}\n}}\n"
        );
    }
    text
}

/// A call as Lictor JSON. Calls of other numbers have another id and another argument; calls of
/// other callers have another credential, and so another session.
#[must_use]
pub fn call(number: u64, caller: u64) -> String {
    format!(
        r#"{{"call_id":"01900000-0000-7000-8000-{number:012}","subject":{{"type":"user","id":"ops"}},"agent":{{"type":"agent","id":"agent-7"}},"action":{{"name":"tools/call"}},"credential":{{"kind":"api_key","id":"caller-{caller:012}"}},"resource":{{"type":"tool","id":"s/t{CALLED}"}},"context":{{"args":{{"path":"/files/a/b.txt","rows":100,"mode":"write","host":"a.example","command":"ls -l","query":"select 1","note":"quarterly figures {number:012}","dry":false,"limit":{CALLED},"tags":["x","y"]}}}}}}"#
    )
}
