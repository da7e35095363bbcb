use super::super::source::parse_all;
use super::*;

fn generated(text: &str) -> Generated {
    let mut problems = Vec::new();
    let policies = parse_all(&[("rego/u/a-b.rego", text)], &mut problems);
    let generated = generate(&policies, &mut problems);
    assert_eq!(problems, []);
    generated
}

#[test]
fn copies_hold_head_and_body_and_their_lines() {
    let text = "package lictor.u\n\ndeny contains {\n\t\"id\": \"a\", # if {\n} if {\n\tinput.x\n}\n\nallow if input.if\n";
    let generated = generated(text);
    let [served] = generated.served.as_slice() else { panic!() };
    let expected = format!(
        "{text}
_lictor_deny contains {{\"at\": 0, \"v\": [_lictor_v | _lictor_v := (
              {{\n\t\"id\": \"a\", # if {{\n}}
)]}} if
     {{\n\tinput.x\n}}
_lictor_allow contains {{\"at\": 1, \"v\": [true]}} if
         input.if
"
    );
    assert_eq!(served.text, expected);
    // A line of the user's own, one of the head's copy, one of the body's.
    for (line, marker) in served.text.lines().enumerate().map(|(i, line)| (i as u32 + 1, line)) {
        if marker.starts_with("_lictor") || marker.starts_with(')') {
            continue;
        }
        let original = served.original_line(line);
        let own = text.lines().nth(original as usize - 1).unwrap_or_default();
        assert!(
            own.ends_with(marker.trim_start()) || own.contains(marker.trim_start()),
            "{line} -> {original}: {marker:?}, {own:?}"
        );
    }
    assert_eq!(generated.sites[0].policy, "rego/u/a-b.rego:3");
    assert_eq!(generated.sites[0].id, "a_b.3");
    assert_eq!(generated.sites[1].decision, Decision::Allow);
}

#[test]
fn the_aggregate_asks_each_copy_by_phase() {
    let text = "package lictor.u\nallow if true\ndeny contains \"x\"\nlabels contains \"x\"\nlist if true\n";
    let aggregate = generated(text).aggregate;
    let lines: Vec<&str> =
        aggregate.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
    let ask = |rule: &str| format!("[x | some x in data.lictor.u._lictor_{rule}],");
    assert_eq!(
        lines,
        [
            "package _lictor",
            "request := [",
            &ask("allow"),
            &ask("deny"),
            &ask("labels"),
            "]",
            "list := [",
            &ask("list"),
            "]",
            "response := [",
            &ask("deny"),
            &ask("labels"),
            "]"
        ]
    );
}

#[test]
fn prints_leave_offsets_and_lines_alone() {
    let text = "package lictor.u\nallow if {\n\tprint(\"é)\",\n\t\t1)\n\tinput.x\n}\n";
    let generated = generated(text);
    let served = &generated.served[0].text;
    assert!(served.starts_with("package lictor.u\nallow if {\n\ttrue"));
    assert_eq!(served.find("input.x"), text.find("input.x"));
}
