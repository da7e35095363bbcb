//! Reading case files.

use super::*;
use crate::diagnostic::Diagnostic;

fn refused(text: &str) -> Vec<Diagnostic> {
    parse("cases/c.yaml", text).unwrap_err()
}

fn read(text: &str) -> CaseFile {
    parse("cases/c.yaml", text).unwrap_or_else(|problems| panic!("{problems:#?}"))
}

fn only(text: &str) -> Diagnostic {
    let mut problems = refused(text);
    assert_eq!(problems.len(), 1, "{problems:#?}");
    problems.remove(0)
}

#[test]
fn every_case_knows_its_line() {
    let file = read(
        "# cases\ncases:\n  - name: a\n    expect: deny\n\n  # b\n  -\n    name: b\n    expect: {effect: deny}\n",
    );
    let lines: Vec<(u32, &str)> = file.cases.iter().map(|c| (c.line, c.name.as_str())).collect();
    assert_eq!(lines, [(3, "a"), (8, "b")]);
    let flow = read("cases: [{name: a, expect: deny},\n  {name: b, expect: deny}]\n");
    assert_eq!(flow.cases.iter().map(|c| c.line).collect::<Vec<_>>(), [1, 1]);
}

#[test]
fn every_problem_is_told_with_its_place_and_a_suggestion() {
    let problems = refused(
        "cases:\n  - name: a\n    call:\n      phse: list\n    expect: {effect: deny}\n  - name: b\n    fcts: {}\n    expect: deny\n  - name: c\n    facts: {session: {mark: []}}\n    expect: {effect: denny}\n",
    );
    let told: Vec<(u32, u32, &str, &str)> =
        problems.iter().map(|p| (p.line, p.col, p.message.as_str(), p.help.as_str())).collect();
    assert_eq!(
        told,
        [
            (4, 7, "case `a`: call: unknown member `phse`", "did you mean `phase`?"),
            (7, 5, "a case: unknown member `fcts`", "did you mean `facts`?"),
            (9, 0, "case `c`: expect: `denny` is none of allow, deny, ask", "did you mean `deny`?"),
            (10, 23, "case `c`: facts: unknown member `mark`", "did you mean `marks`?"),
        ]
    );
    assert!(problems.iter().all(|p| p.code == "case_invalid" && p.file == "cases/c.yaml"));
}

#[test]
fn a_file_that_is_no_case_file_is_refused_with_its_place() {
    let typo = only("case:\n  - name: a\n");
    assert_eq!((typo.line, typo.col, typo.help.as_str()), (1, 1, "did you mean `cases`?"));
    let broken = only("cases:\n  - name: \"a\n");
    assert!(broken.line >= 2, "{broken:?}");
    assert_eq!(only("5").message, "invalid type: integer `5`, expected an object");
    let twice = only("cases:\n  - name: a\n    name: b\n    expect: deny\n");
    assert!(twice.message.contains("duplicate"), "{twice:?}");
}

#[test]
fn a_name_is_used_once_in_a_file() {
    let twice = only("cases:\n  - {name: x, expect: deny}\n  - {name: x, expect: deny}\n");
    assert_eq!(twice.line, 3);
    assert_eq!(twice.message, "case `x`: line 2 has a case of the same name");
}

#[test]
fn a_file_may_have_as_many_bytes_as_are_allowed() {
    let text = |bytes: usize| {
        let head = "cases: []\n#";
        format!("{head}{}", "x".repeat(bytes - head.len()))
    };
    assert!(parse("c.yaml", &text(CASE_FILE_BYTES_MAX)).is_ok());
    let large = only(&text(CASE_FILE_BYTES_MAX + 1));
    assert!(large.message.contains("4194305 bytes"), "{large:?}");
}

#[test]
fn defaults_lie_under_every_case() {
    let file = read(
        "defaults:
  call:
    agent: {type: agent, id: a}
    context: {args: {x: 1}, source_ip: 10.0.0.1}
  facts: {session: {spend_usd_micros: 7, marks: [m]}}
cases:
  - name: as they are
    expect: deny
  - name: changed
    call: {agent: {id: b}, context: {args: {y: 2}}}
    facts: {session: {marks: []}}
    expect: deny
  - name: taken away
    call: {agent: null}
    expect: deny
",
    );
    let calls: Vec<&Call> = file.cases.iter().map(|case| &case.call).collect();
    assert_eq!(calls[0].agent.as_ref().unwrap().id, "a");
    let changed = calls[1].agent.as_ref().unwrap();
    assert_eq!((changed.kind.as_str(), changed.id.as_str()), ("agent", "b"));
    assert_eq!(calls[1].context.args.node().compact(), r#"{"y":2}"#);
    assert_eq!(calls[1].context.source_ip, "10.0.0.1");
    assert_eq!(calls[2].agent, None);
    let session = &file.cases[1].facts.session;
    assert_eq!((session.spend_usd_micros, session.marks.len()), (7, 0));
}

#[test]
fn a_case_may_say_when_it_happens() {
    let file = read(
        "now: 2027-01-01T00:00:00Z\ncases:\n  - {name: a, expect: deny}\n  - {name: b, now: \"2027-01-01T01:00:00+01:00\", expect: deny}\n  - {name: c, now: 1970-01-01T00:00:01Z, expect: deny}\n",
    );
    let times: Vec<_> = file.cases.iter().map(|case| case.now_ms).collect();
    assert_eq!(times, [Some(1_798_761_600_000), Some(1_798_761_600_000), Some(1000)]);
    let wrong = only("cases:\n  - name: a\n    now: tomorrow\n    expect: deny\n");
    assert_eq!((wrong.line, wrong.col), (3, 5));
    let wrong = only("now: noon\ncases: []\n");
    assert_eq!((wrong.line, wrong.message.as_str()), (1, "now: `noon` is not a time in RFC 3339"));
    let both = only(
        "cases:\n  - {name: a, now: 2027-01-01T00:00:00Z, facts: {time: {now_ms: 1}}, expect: deny}\n",
    );
    assert!(both.message.contains("both `now` and `facts.time`"), "{both:?}");
}

#[test]
fn a_case_may_be_skipped_for_a_reason() {
    let file = read("cases:\n  - {name: a, skip: waits for the registry, expect: deny}\n");
    assert_eq!(file.cases[0].skip.as_deref(), Some("waits for the registry"));
    let wrong = only("cases:\n  - {name: a, skip: true, expect: deny}\n");
    assert!(wrong.message.contains("expected a string"), "{wrong:?}");
}

const TABLE: &str = "matrix:
  - name: tools
    complete: [agents, tools]
    call: {subject: {type: user, id: u}}
    facts: {signals: {rate: 1}}
    actions:
      s/read:
      write: {tool: s/write, args: {x: 1}}
      chat:  {model: p/m}
      open:  {action: session/open, facts: {signals: {first_use: true}}}
    agents:
      #     s/read  write  chat  open
      a-1: [allow,  ask,   deny, allow]
      a-2: {s/read: allow, write: {effect: deny, reasons: [no_permit]}, chat: deny, open: ask}
";

#[test]
fn a_table_is_expanded_into_cases() {
    let file = read(TABLE);
    let names: Vec<(u32, &str)> = file.cases.iter().map(|c| (c.line, c.name.as_str())).collect();
    assert_eq!(names[0], (13, "tools: a-1 × s/read"));
    assert_eq!(names[7], (14, "tools: a-2 × open"));
    assert_eq!(names.len(), 8);
    let resource = |index: usize| file.cases[index].call.resource.clone().map(|r| r.id);
    assert_eq!(resource(0).as_deref(), Some("s/read"));
    assert_eq!(resource(2).as_deref(), Some("p/m"));
    assert_eq!(resource(3), None);
    let actions: Vec<&str> = file.cases.iter().map(|c| c.call.action.name.as_str()).collect();
    assert_eq!(actions[..4], ["tools/call", "tools/call", "llm/chat", "session/open"]);
    let write = &file.cases[5];
    assert_eq!(write.call.agent.as_ref().unwrap().id, "a-2");
    assert_eq!(write.call.subject.as_ref().unwrap().id, "u");
    assert_eq!(write.call.context.args.node().compact(), r#"{"x":1}"#);
    assert_eq!(write.expect.reasons.as_deref(), Some(&["no_permit".to_owned()][..]));
    assert!(file.cases[3].facts.signals.first_use && !file.cases[0].facts.signals.first_use);
}

#[test]
fn a_complete_table_lacks_what_the_registry_has_more() {
    let complete = &read(TABLE).complete[0];
    assert_eq!((complete.line, complete.name.as_str()), (3, "tools: complete"));
    let registry = |agents: &[&str], tools: &[&str]| {
        let mut registry = crate::registry::Registry::default();
        for id in agents {
            let agent = serde_json::json!({"owner": "u", "status": "active"});
            registry.agents.insert((*id).to_owned(), serde_json::from_value(agent).unwrap());
        }
        registry.tools.extend(tools.iter().map(|id| ((*id).to_owned(), Default::default())));
        registry.models.insert("p/other".to_owned(), Default::default());
        registry
    };
    assert_eq!(complete.lacks(&registry(&["a-1", "a-2"], &["s/read", "s/write"])), [""; 0]);
    assert_eq!(
        complete.lacks(&registry(&["a-1", "a-2", "a-3"], &["s/read", "s/write", "s/drop"])),
        [
            "the registry's agent `a-3` has no row: add it under `agents`",
            "the registry's tool `s/drop` has no column: add it under `actions`",
        ]
    );
    assert!(read(&TABLE.replace("complete: [agents, tools]", "")).complete.is_empty());
    let models = read(&TABLE.replace("[agents, tools]", "models")).complete.remove(0);
    assert_eq!(models.lacks(&registry(&[], &[])).len(), 1);
}

#[test]
fn a_cell_that_is_not_written_is_an_error() {
    let changed = |from: &str, to: &str| only(&TABLE.replace(from, to));
    let short = changed("[allow,  ask,   deny, allow]", "[allow, ask, deny]");
    assert_eq!(short.line, 13);
    assert_eq!(
        short.message,
        "matrix `tools`: agent `a-1`: the row has 3 cells and the table 4 actions"
    );
    let missing = changed(", open: ask}", "}");
    assert_eq!((missing.line, missing.col), (14, 0));
    assert!(missing.message.ends_with("the row says nothing of open"), "{missing:?}");
    let other = changed("open: ask}", "open: ask, opn: ask}");
    assert_eq!(other.help, "did you mean `open`?");
    let word = changed("chat: deny,", "chat: alow,");
    assert!(word.message.contains("`alow` is none of"), "{word:?}");
    let empty = changed("chat: deny,", "chat: ,");
    assert!(empty.message.contains("expect: it is missing"), "{empty:?}");
}

#[test]
fn a_column_says_what_is_done_to_what() {
    let changed = |to: &str| only(&TABLE.replace("{model: p/m}", to));
    assert!(changed("{}").message.contains("neither what is done nor to what"));
    assert!(changed("{model: p/m, tool: s/t}").message.contains("both a tool and a model"));
    let again = changed("{model: p/m, resource: {type: model, id: x}}");
    assert!(again.message.contains("says again"), "{again:?}");
    assert_eq!(changed("{modl: p/m}").help, "did you mean `model`?");
    // A call that cannot be read is said of its column once, not for every agent.
    let call = changed("{model: p/m, call: {phase: later}}");
    assert!(call.message.contains("`later` is none of"), "{call:?}");
    let kind = only(&TABLE.replace("[agents, tools]", "[agent]"));
    assert_eq!((kind.line, kind.help.as_str()), (3, "did you mean `agents`?"));
}

#[test]
fn a_table_may_have_as_many_cells_as_are_allowed() {
    let table = |rows: usize| {
        let actions: Vec<String> = (0..100).map(|n| format!("s/t{n}: ")).collect();
        let row = format!("[{}]", vec!["deny"; 100].join(", "));
        let rows: Vec<String> = (0..rows).map(|n| format!("      a{n}: {row}\n")).collect();
        format!(
            "matrix:\n  - name: m\n    actions: {{{}}}\n    agents:\n{}",
            actions.join(", "),
            rows.concat()
        )
    };
    assert_eq!(matrix::MATRIX_CELLS_MAX, 100 * 100);
    assert_eq!(read(&table(100)).cases.len(), 10_000);
    assert!(only(&table(101)).message.contains("10100 cells"));
    assert!(only(&table(0).replace("agents:\n", "agents: {}\n")).message.contains("0 cells"));
}
