//! `lictor diff`: what differs in meaning, and what the cases make of it.

use crate::run::Bench;

/// A bundle `b`, and `c`, which is `b` after some edits.
fn two(edits: &[(&str, &str, &str)]) -> Bench {
    let bench = Bench::with_bundle();
    bench.run(&["init", "c"]).code(0);
    for (file, from, to) in edits {
        let path = bench.path("c").join(file);
        let text = std::fs::read_to_string(&path).unwrap();
        assert!(text.contains(from), "{from} is not in {text}");
        let text = text.replacen(from, to, 1);
        std::fs::write(path, text).unwrap();
    }
    // The name is that of the folder.
    for file in [".manifest", "README.md"] {
        std::fs::copy(bench.path("b").join(file), bench.path("c").join(file)).unwrap();
    }
    bench
}

#[test]
fn a_bundle_is_the_same_as_itself() {
    let bench = Bench::with_bundle();
    let ended = bench.run(&["diff", "b", "b", "--fail-on", "any"]).code(0);
    assert!(ended.out.contains("the same bundle"), "{}", ended.out);
    let said = bench.run(&["diff", "b", "b", "--format", "json"]).code(0).json();
    assert_eq!((&said["same"], &said["changes"]), (&true.into(), &serde_json::json!([])));
}

#[test]
fn a_comment_is_no_change_of_meaning() {
    let bench = two(&[("rego/tickets/tickets.rego", "allow if {", "# a comment\nallow if {")]);
    let said =
        bench.run(&["diff", "b", "c", "--format", "json", "--fail-on", "any"]).code(0).json();
    assert_eq!(said["changes"][0]["what"], "layout");
    assert_eq!(said["changes"].as_array().unwrap().len(), 1);
    assert_eq!(said["flips"], serde_json::json!([]));
}

#[test]
fn a_rule_that_is_gone_shows_in_the_cases() {
    let bench = Bench::with_bundle();
    bench.run(&["init", "c"]).code(0);
    std::fs::copy(bench.path("b/.manifest"), bench.path("c/.manifest")).unwrap();
    std::fs::remove_file(bench.path("c/cedar/tickets.cedar")).unwrap();
    let text = bench.run(&["diff", "b", "c"]).code(0).out;
    assert!(text.contains("cedar"), "{text}");
    let said = bench.run(&["diff", "c", "b", "--format", "json"]).code(0).json();
    let added = said["changes"].as_array().unwrap().iter().filter(|c| c["area"] == "cedar");
    assert!(added.clone().count() > 0 && added.clone().all(|c| c["what"] == "added"), "{said}");
    assert!(said["cases"].as_u64().unwrap() > 0, "{said}");
}

#[test]
fn what_is_newly_denied_ends_with_eight() {
    let bench = two(&[("data.json", "\"status\": \"active\"", "\"status\": \"suspended\"")]);
    let ended = bench.run(&["diff", "b", "c", "--fail-on", "newly-denied"]).code(8);
    assert!(ended.out.contains("newly denied"), "{}", ended.out);
    assert!(ended.out.contains("agent_inactive"), "{}", ended.out);
    bench.run(&["diff", "b", "c", "--fail-on", "newly-allowed,widens"]).code(0);
    bench.run(&["diff", "c", "b", "--fail-on", "newly-allowed"]).code(8);
    bench.run(&["diff", "c", "b", "--fail-on", "widens"]).code(8);
    bench.run(&["diff", "c", "b", "--no-cases", "--fail-on", "newly-allowed"]).code(0);
}

#[test]
fn a_bundle_that_does_not_load_is_not_compared() {
    let bench = two(&[("rego/tickets/tickets.rego", "allow if {", "allow iff {")]);
    let ended = bench.run(&["diff", "b", "c"]).code(5);
    assert!(ended.err.contains("tickets.rego"), "{}", ended.err);
    bench.run(&["diff", "b", "nowhere"]).code(1);
}
