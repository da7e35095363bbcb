//! What is refused, where, and what is only warned about.

use super::*;

fn single(text: &str) -> Diagnostic {
    let found = diagnose(&[("cedar/one.cedar", text)]);
    let [only] = found.as_slice() else { panic!("{found:#?}") };
    only.clone()
}

#[test]
fn parse_errors_of_all_files_come_with_places_and_what_was_expected() {
    let found = diagnose(&[
        ("cedar/a.cedar", "@id(\"a\")\npermit(principal, action resource);"),
        ("cedar/b.cedar", "@id(\"b\") permit(principal, action, resource) when { x };"),
    ]);
    let places: Vec<_> = found.iter().map(|d| (d.code, d.file.as_str(), d.line, d.col)).collect();
    assert_eq!(
        places,
        [("cedar_parse", "cedar/a.cedar", 2, 26), ("cedar_parse", "cedar/b.cedar", 1, 53)]
    );
    assert!(found[0].help.contains("expected"), "{:?}", found[0]);
    assert!(found[1].help.contains("did you mean to enclose"), "{:?}", found[1]);
}

#[test]
fn strict_validation_names_the_member_and_what_is_near() {
    let found = single(
        "@id(\"a\")
permit(principal, action == Lictor::Action::\"accounting/create_expense_report\", resource)
when { context.args.amont.lessThan(decimal(\"1.0\")) };",
    );
    assert_eq!((found.code, found.line, found.col), ("cedar_invalid", 3, 8));
    assert!(found.message.contains("amont") && found.help.contains("amount"), "{found:?}");
}

#[test]
fn optional_members_must_be_asked_for_first() {
    let found = single(
        "@id(\"a\") permit(principal, action, resource) when { context.subject in Lictor::Team::\"ops\" };",
    );
    assert_eq!(found.code, "cedar_invalid");
    assert!(found.help.contains("has"), "{found:?}");
}

#[test]
fn a_policy_for_many_tools_does_not_repeat_itself() {
    let found = diagnose(&[(
        "cedar/one.cedar",
        "@id(\"a\") permit(principal, action, resource) when { context.args.amount == 1 };",
    )]);
    let [only] = found.as_slice() else { panic!("{found:#?}") };
    assert!(
        only.message.starts_with("for policy `a`") && only.message.ends_with("more like this)")
    );
}

#[test]
fn names_that_the_registry_lacks_are_warnings_with_a_suggestion() {
    let found = diagnose(&[(
        "cedar/one.cedar",
        "@id(\"a\") permit(principal == Lictor::Agent::\"expense-report-v2\", action, resource);
@id(\"b\") forbid(principal in Lictor::Team::\"finanse\", action, resource in Lictor::Server::\"web\");
@id(\"c\") @ask(\"bobby@example.com\") forbid(principal, action, resource == Lictor::Tool::\"web/fetsh\");",
    )]);
    assert!(
        found.iter().all(|d| d.level == Level::Warning && d.code == "name_unknown"),
        "{found:#?}"
    );
    let said: Vec<_> = found.iter().map(|d| (d.line, d.help.as_str())).collect();
    assert_eq!(
        said,
        [
            (1, "did you mean `expense-report-v1`?"),
            (2, "did you mean `finance`?"),
            (3, "did you mean `bob@example.com`?"),
            (3, "did you mean `web/fetch`?"),
        ]
    );
}

#[test]
fn an_action_that_nobody_has_is_an_error_with_a_suggestion() {
    let found = single(
        "@id(\"a\") permit(principal, action == Lictor::Action::\"accounting/create_expense\", resource);",
    );
    assert_eq!((found.code, found.level), ("cedar_action_unknown", Level::Error));
    let found = single(
        "@id(\"a\") permit(principal, action == Lictor::Action::\"tools/lisst\", resource);",
    );
    assert_eq!(found.help, "did you mean `tools/list`?");
}

#[test]
fn templates_are_refused_since_nothing_links_them() {
    let found = single("@id(\"a\")\npermit(principal == ?principal, action, resource);");
    assert_eq!((found.code, found.line), ("cedar_template", 2));
    assert!(found.message.contains("`?principal`"));
}

#[test]
fn impossible_policies_are_warned_about() {
    let found = single(
        "@id(\"a\") permit(principal, action == Lictor::Action::\"llm/chat\", resource is Lictor::Tool);",
    );
    assert_eq!((found.code, found.level), ("cedar_suspect", Level::Warning));
}

#[test]
fn arguments_that_cedar_cannot_type_are_listed() {
    let (scopes, registry) = (BTreeMap::new(), registry());
    let source = CedarSource {
        policies: vec![("cedar/one.cedar", PERMIT)],
        schema: None,
        entities: None,
        scopes: &scopes,
        registry: &registry,
    };
    let found = try_load(&source).1;
    let [only] = found.as_slice() else { panic!("{found:#?}") };
    assert_eq!((only.code, only.level), ("cedar_untyped", Level::Warning));
    assert!(only.message.ends_with("`/meta`, `/rows`"), "{}", only.message);
    let text = CedarEngine::schema_text(&registry);
    assert!(text.contains(
        "// Left out, since Cedar cannot type it: \"accounting/create_expense_report\" \"/rows\""
    ));
}

#[test]
fn the_bundles_schema_may_not_overlap_the_registrys() {
    for overlap in [
        "namespace Lictor { entity Agent; }",
        "namespace Lictor { entity Memory; }",
        "namespace Lictor { type Session = Long; }",
        "namespace Lictor { entity String; }",
        "entity decimal;",
        "namespace Lictor { action \"x/y\" appliesTo { principal: [Agent], resource: [Tool] }; }",
        "namespace Lictor { action \"tools/call\"; }",
    ] {
        let found = diagnose_with(&[("cedar/one.cedar", PERMIT)], Some(overlap), None);
        let refused = found.iter().find(|d| d.level == Level::Error).unwrap();
        let place = (refused.code, refused.file.as_str(), refused.line);
        assert_eq!(place, ("cedar_overlap", "cedar/schema.cedarschema", 1), "{overlap}");
    }
    let own = "namespace Acme { entity Agent; action \"run\"; }";
    let found = diagnose_with(&[("cedar/one.cedar", PERMIT)], Some(own), None);
    assert_eq!(codes(&found), ["cedar_action_unused"]);
    let broken = diagnose_with(&[("cedar/one.cedar", PERMIT)], Some("entity A in [B];\n"), None);
    assert_eq!(codes(&broken), ["cedar_schema"]);
    assert_eq!((broken[0].line, broken[0].file.as_str()), (1, "cedar/schema.cedarschema"));
}

#[test]
fn the_bundles_entities_may_not_overlap_the_registrys() {
    let with = |json: &str| diagnose_with(&[("cedar/one.cedar", PERMIT)], Some(SCHEMA), Some(json));
    for ty in ["Agent", "Model", "Server", "Team", "Tool", "User"] {
        // A type's attributes do not matter: no such entity can be well-formed.
        let json = format!(
            "[\n {{\"uid\": {{\"type\": \"Lictor::{ty}\", \"id\": \"new\"}}, \"attrs\": {{}}, \"parents\": []}}]"
        );
        let found = with(&json);
        assert!(found.iter().any(|d| d.level == Level::Error && d.line == 2), "{ty}: {found:?}");
    }
    let team = r#"[{"uid":{"type":"Lictor::Team","id":"new"},"attrs":{"description":"","models":[],"budget":{},"attrs":{}},"parents":[]}]"#;
    assert_eq!(codes(&with(team)), ["cedar_overlap"]);
    let action = r#"[{"uid":{"type":"Lictor::Action","id":"tools/call"},"attrs":{},"parents":[]}]"#;
    assert_eq!(codes(&with(action)), ["cedar_overlap"]);
    let resource = r#"[{"uid":{"type":"Lictor::Resource","id":"docs/a"},"attrs":{},"parents":[{"type":"Lictor::Server","id":"docs"}]}]"#;
    assert_eq!(codes(&with(resource)), Vec::<&str>::new());
}

#[test]
fn entities_are_read_strictly() {
    let with = |json: &str| {
        codes(&diagnose_with(&[("cedar/one.cedar", PERMIT)], Some(SCHEMA), Some(json)))
    };
    let project = |attrs: &str| {
        format!(r#"{{"uid":{{"type":"Acme::Project","id":"p"}},"attrs":{attrs},"parents":[]}}"#)
    };
    let good = project(r#"{"members":[],"open":true}"#);
    assert_eq!(with(&format!("[{good}]")), Vec::<&str>::new());
    let other = project(r#"{"members":[],"open":false}"#);
    for bad in [
        "{".to_owned(),
        "{}".to_owned(),
        format!("[{}]", project(r#"{"members":[]}"#)),
        format!("[{}]", project(r#"{"members":[],"open":1}"#)),
        format!("[{}]", project(r#"{"members":[],"open":true,"open":false}"#)),
        format!("[{good},{other}]"),
    ] {
        assert_eq!(with(&bad), ["cedar_entities"], "{bad}");
    }
}

#[test]
fn a_tool_may_not_have_the_name_of_an_action() {
    let mut registry = registry();
    let tool = registry.tools["web/raw"].clone();
    registry.tools.insert("resources/read".to_owned(), tool);
    let scopes = BTreeMap::new();
    let mut source = CedarSource {
        policies: vec![("cedar/one.cedar", PERMIT)],
        schema: None,
        entities: None,
        scopes: &scopes,
        registry: &registry,
    };
    let found = try_load(&source).1;
    assert!(
        found.iter().any(|d| d.code == "cedar_overlap" && d.message.contains("`resources/read`"))
    );
    source.policies.clear();
    assert!(try_load(&source).1.is_empty(), "without Cedar there are no actions");
}

#[test]
fn everything_is_reported_at_once_and_sorted() {
    let found = diagnose(&[
        ("cedar/b.cedar", "permit(principal, action, resource);"),
        (
            "cedar/a.cedar",
            "@id(\"x\") @ask(\"\") forbid(principal, action, resource);\n@id(\"y\") @mode(\"\") forbid(principal, action, resource);",
        ),
    ]);
    assert_eq!(codes(&found), ["cedar_ask", "cedar_mode", "cedar_id_missing"]);
    assert!(found.is_sorted());
}

#[test]
fn nothing_in_a_bundle_may_be_unknown() {
    let found = single("@id(\"a\") forbid(principal, action, resource) when { unknown(\"x\") };");
    assert_eq!((found.code, found.level), ("cedar_invalid", Level::Error));
    let entity = r#"[{"uid":{"type":"Acme::Project","id":"p"},"attrs":{"members":[],"open":{"__extn":{"fn":"unknown","arg":"x"}}},"parents":[]}]"#;
    let found = diagnose_with(&[("cedar/one.cedar", PERMIT)], Some(SCHEMA), Some(entity));
    assert_eq!(codes(&found), ["cedar_entities"]);
}
