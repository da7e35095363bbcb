use lictor_proto::json::scan;

use super::*;

fn refused(body: &str) -> ChatError {
    let root = scan(body.as_bytes()).unwrap();
    ChatRequest::read(&root).expect_err(body)
}

fn content(body: &str) -> Vec<(Origin, String, String)> {
    let root = scan(body.as_bytes()).unwrap();
    let parts = ChatRequest::read(&root).unwrap().content();
    parts.into_iter().map(|part| (part.origin, part.pointer, part.text)).collect()
}

fn part(origin: Origin, pointer: &str, text: &str) -> (Origin, String, String) {
    (origin, pointer.to_owned(), text.to_owned())
}

#[test]
fn every_role_has_its_origin() {
    let body = r#"{"model":"m","messages":[
        {"role":"developer","content":"a"},{"role":"system","content":"b"},
        {"role":"user","content":[{"type":"text","text":"c"},{"type":"text","text":"d"}]},
        {"role":"assistant","content":null,"tool_calls":[
            {"type":"function","id":"call_1","function":{"name":"f","arguments":"{}"}}]},
        {"role":"tool","tool_call_id":"call_1","content":"e"}]}"#;
    let expected = [
        part(Origin::System, "/messages/0/content", "a"),
        part(Origin::System, "/messages/1/content", "b"),
        part(Origin::User, "/messages/2/content/0/text", "c"),
        part(Origin::User, "/messages/2/content/1/text", "d"),
        part(Origin::Assistant, "/messages/3/tool_calls/0/id", "call_1"),
        part(Origin::Assistant, "/messages/3/tool_calls/0/function/name", "f"),
        part(Origin::ToolArgs, "/messages/3/tool_calls/0/function/arguments", "{}"),
        part(Origin::ToolResult, "/messages/4/tool_call_id", "call_1"),
        part(Origin::ToolResult, "/messages/4/content", "e"),
    ];
    assert_eq!(content(body), expected);
}

#[test]
fn tools_and_stray_members_are_texts_too() {
    let body = r#"{"model":"m","messages":[{"role":"user","content":"hi"}],"temperature":0.5,
        "reasoning_effort":"low","tools":[{"type":"function","function":{"name":"f","description":"Do it",
        "parameters":{"type":"object","properties":{"obey the next line":{"type":"string"}}}}}],
        "stop":["STOP NOW"],"a/b":"x y"}"#;
    let at = "/tools/0/function";
    let expected = [
        part(Origin::User, "/messages/0/content", "hi"),
        part(Origin::ToolDefinition, &format!("{at}/name"), "f"),
        part(Origin::ToolDefinition, &format!("{at}/description"), "Do it"),
        part(Origin::ToolDefinition, &format!("{at}/parameters/properties"), "obey the next line"),
        part(Origin::User, "/stop/0", "STOP NOW"),
        part(Origin::User, "", "a/b"),
        part(Origin::User, "/a~1b", "x y"),
    ];
    assert_eq!(content(body), expected);
}

#[test]
fn what_can_be_read_in_two_ways_is_refused() {
    let message = r#""messages":[{"role":"user","content":"x"}]"#;
    let case = |name: &str| ChatError::CaseVariant(name.to_owned());
    assert_eq!(refused(&format!(r#"{{"model":"m","Model":"n",{message}}}"#)), case("Model"));
    assert_eq!(
        refused(r#"{"model":"m","messages":[{"role":"user","Content":"x"}]}"#),
        case("Content")
    );
    assert_eq!(
        refused(r#"{"model":"m","messages":[{"role":"user","content":[{"Text":"x"}]}]}"#),
        case("Text")
    );
    // A long s folds to `s` for readers that fold by Unicode.
    let long_s = "\u{17f}tream";
    assert_eq!(refused(&format!(r#"{{"model":"m","{long_s}":true,{message}}}"#)), case(long_s));
    let root = |name: &str| refused(&format!(r#"{{"model":{name},{message}}}"#));
    assert_eq!(root("\"\""), MODEL);
    assert_eq!(root("1"), MODEL);
    assert!(matches!(refused("[]"), ChatError::Member("body", _)));
    assert!(matches!(refused(r#"{"model":"m"}"#), ChatError::Member("messages", _)));
    assert!(matches!(refused(r#"{"model":"m","messages":[]}"#), ChatError::Member("messages", _)));
    assert!(matches!(
        refused(r#"{"model":"m","messages":["x"]}"#),
        ChatError::Member("messages[].role", _)
    ));
    assert!(matches!(
        refused(r#"{"model":"m","messages":[{"role":"root","content":""}]}"#),
        ChatError::Role(role) if role == "root"
    ));
    for (name, value) in
        [("stream", "1"), ("max_tokens", "-1"), ("n", "1.5"), ("max_tokens", "\"9\"")]
    {
        let error = refused(&format!(r#"{{"model":"m","{name}":{value},{message}}}"#));
        assert!(matches!(error, ChatError::Member(member, _) if member == name), "{name}");
    }
}

#[test]
fn no_other_model_or_provider_rides_along() {
    let message = r#""messages":[{"role":"user","content":"x"}]"#;
    for name in STEERING {
        for value in [r#"["other"]"#, r#""other""#, "null"] {
            let error = refused(&format!(r#"{{"model":"m",{message},"{name}":{value}}}"#));
            assert_eq!(error, ChatError::Steers(name));
        }
    }
    let error = refused(&format!(r#"{{"model":"m",{message},"Models":["other"]}}"#));
    assert_eq!(error, ChatError::CaseVariant("Models".to_owned()));
}

#[test]
fn secrets_in_member_names_are_seen() {
    let body = r#"{"model":"m","messages":[{"role":"user","content":"x"}],
        "metadata":{"AKIAIOSFODNN7EXAMPLE":1,"additionalProperties":2}}"#;
    let texts: Vec<String> = content(body).into_iter().map(|(_, _, text)| text).collect();
    assert_eq!(texts, ["x", "AKIAIOSFODNN7EXAMPLE"]);
}

#[test]
fn usage_is_estimated_from_texts_and_bounds() {
    let body = r#"{"model":"m","messages":[{"role":"user","content":"12345"}],"n":3,
        "max_tokens":10,"max_completion_tokens":20,"stream":true}"#;
    let root = scan(body.as_bytes()).unwrap();
    let request = ChatRequest::read(&root).unwrap();
    let usage = request.usage(&request.content());
    assert_eq!((usage.input_tokens, usage.max_output_tokens), (2, 60));
}

#[test]
fn another_model_is_named_by_one_edit() {
    let body = r#"{ "model" : "a\u002fb" , "messages":[{"role":"user","content":"x"}] }"#;
    let root = scan(body.as_bytes()).unwrap();
    let request = ChatRequest::read(&root).unwrap();
    assert_eq!(request.model(), "a/b");
    let mut edits = Edits::new();
    request.rename_model(&mut edits, "b");
    let out = edits.apply(body.as_bytes()).unwrap();
    let expected = body.replace(r#""a\u002fb""#, r#""b""#);
    assert_eq!(String::from_utf8(out).unwrap(), expected);
}

#[test]
fn member_names_are_texts_past_the_edge() {
    let longest = "n".repeat(MAX_NAME_BYTES);
    for (name, seen) in [(longest.clone(), false), (format!("{longest}n"), true)] {
        let body =
            format!(r#"{{"model":"m","messages":[{{"role":"user","content":"x"}}],"{name}":1}}"#);
        let texts: Vec<String> = content(&body).into_iter().map(|(_, _, text)| text).collect();
        assert_eq!(texts.contains(&name), seen);
    }
}
