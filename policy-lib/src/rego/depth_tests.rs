use super::super::source::parse_all;
use super::*;

fn problems(text: &str) -> Vec<String> {
    let mut problems = Vec::new();
    let policies = parse_all(&[("rego/a/a.rego", text)], &mut problems);
    check(&policies, &mut problems);
    problems.iter().map(|p| format!("{}:{} {}", p.code, p.line, p.message)).collect()
}

fn chain(rules: usize) -> String {
    let rules: String = (1..rules).map(|i| format!("r{i} if r{}\n", i - 1)).collect();
    format!("package a\nr0 if input.x\n{rules}")
}

#[test]
fn chains_of_rules_are_bounded() {
    assert_eq!(problems(&chain(100)), Vec::<String>::new());
    let deep = problems(&chain(200));
    assert!(
        deep.iter().any(|problem| problem.contains("rule `a.r199` nests too deep")),
        "{deep:?}"
    );
}

#[test]
fn statements_that_loop_in_each_other_are_bounded() {
    let body = |n: usize| {
        format!(
            "package a\nx if {{\n{}}}\n",
            (0..n).map(|i| format!("some x{i} in input.y\n")).collect::<String>()
        )
    };
    assert_eq!(problems(&body(500)), Vec::<String>::new());
    assert_eq!(problems(&body(520)), ["rego_recursion:2 rule `a.x` nests too deep"]);
}

#[test]
fn rules_that_depend_on_themselves_are_found_also_where_they_need_input() {
    let found = problems("package a\nx if { input.a; data.a.y }\ny if not z\nz if x\nok if x\n");
    assert_eq!(
        found,
        [
            "rego_recursion:2 rule `a.x` depends on itself",
            "rego_recursion:3 rule `a.y` depends on itself",
            "rego_recursion:4 rule `a.z` depends on itself"
        ]
    );
    assert_eq!(
        problems("package a\nx := f(1)\nf(x) := x\ny if some z in [1]\nz if y\n"),
        Vec::<String>::new()
    );
}

#[test]
fn operators_in_a_row_are_bounded_at_their_edge() {
    let sum = |n: usize| format!("package a\nx := 1\n{}", " + 1\n".repeat(n));
    assert_eq!(problems(&sum(MAX_OPERATORS - 1)), Vec::<String>::new());
    assert_eq!(problems(&sum(MAX_OPERATORS))[0].split(' ').next(), Some("rego_size:202"));
    let body: String =
        (0..500).map(|i| format!("x{i} := [{i}, 1] | {{2 + 3}}\n y{i} = -x{i}.z\n")).collect();
    assert_eq!(
        problems(&format!("package a\nok if 1 == 1\nx := [{}]\n", "1 + 1,\n".repeat(500))),
        Vec::<String>::new()
    );
    let tokens = problems(&format!("package a\nok if {{\n{body}}}\n"));
    assert!(tokens.iter().all(|problem| !problem.starts_with("rego_size")), "{tokens:?}");
}

/// Unoptimised builds need several times the stack of the ones that serve.
#[test]
fn the_deepest_chain_that_loads_can_be_evaluated() {
    let longest = (100..200).rev().find(|n| problems(&chain(*n)).is_empty()).unwrap();
    assert!(longest > 100);
    let text = chain(longest);
    let evaluated = std::thread::Builder::new().stack_size(16 << 20).spawn(move || {
        let mut engine = regorus::Engine::new();
        engine.add_policy("a.rego".to_owned(), text).unwrap();
        engine.set_input(regorus::Value::from_json_str(r#"{"x": true}"#).unwrap());
        engine.eval_rule(format!("data.a.r{}", longest - 1)).unwrap()
    });
    assert_eq!(evaluated.unwrap().join().unwrap(), regorus::Value::Bool(true));
}

/// The engine itself must not fall over what it is given to parse.
#[test]
fn a_megabyte_of_operators_is_refused_before_it_is_parsed() {
    let line = format!("{}\n", "+1".repeat(500));
    let text = format!("package a\nx := 1\n{}", line.repeat(900));
    assert!(problems(&text)[0].starts_with("rego_size:3"));
}
