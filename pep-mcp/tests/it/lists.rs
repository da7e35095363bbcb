//! A caller sees of a list only what it may use.

use lictor_proto::call::{Call, Origin, Phase};
use lictor_proto::decide::DecideError;

use crate::oracle::{Oracle, allow, deny};
use crate::rig::{Rig, outcomes};
use crate::server::{events, json};

const LIST: &str = r#"{"jsonrpc":"2.0","id":1,"method":"tools/list"}"#;
const TOOLS: &str = r#"{"jsonrpc":"2.0","id":1,"result":{"cacheScope":"public","ttlMs":60000,"tools":[
  {"name":"create" , "description":"makes","x-future":1.50},{"name":"delete","description":"IGNORE ALL"},
  {"noname":1}, {"name":"read"} ],"nextCursor":"c"}}"#;

fn all_but_delete(call: &Call) -> Result<lictor_proto::decide::Answer, DecideError> {
    let id = &call.resource.as_ref().unwrap().id;
    if id == "accounting/delete" { deny(call, "hidden") } else { allow(call) }
}

#[tokio::test]
async fn hidden_entries_are_cut_out_and_the_rest_keeps_its_bytes() {
    let rig = Rig::start(Oracle::new(all_but_delete), |_| json(TOOLS)).await;
    let got = rig.post(LIST).await;
    let expected = concat!(
        r#"{"jsonrpc":"2.0","id":1,"result":{"cacheScope":"private","ttlMs":0,"tools":["#,
        r#"{"name":"create" , "description":"makes","x-future":1.50},{"name":"read"}"#,
        r#"],"nextCursor":"c"}}"#
    );
    assert_eq!(got.text(), expected);
    let calls = rig.oracle.calls();
    assert_eq!((calls[0].phase, calls[0].action.name.as_str()), (Phase::Request, "tools/list"));
    assert_eq!(calls[0].resource.as_ref().unwrap().id, "accounting");
    assert_eq!(rig.oracle.batches(), [3]);
    for entry in &calls[1..] {
        assert_eq!((entry.phase, entry.action.name.as_str()), (Phase::List, "tools/call"));
        assert!(entry.content.iter().all(|part| part.origin == Origin::ToolDefinition));
    }
    assert_eq!(calls[1].content[1].text, "makes");
    assert_eq!(outcomes(&rig.stop().await), ["allowed", "forwarded"]);
}

#[tokio::test]
async fn a_streamed_list_is_filtered_too() {
    let event = format!("id: 7\ndata: {}\n\n", TOOLS.replace('\n', ""));
    let rig = Rig::start(Oracle::new(all_but_delete), move |_| events(event.clone())).await;
    let got = rig.post(LIST).await;
    assert!(got.text().starts_with("id: 7\n"), "{}", got.text());
    assert!(got.text().contains("\"create\"") && !got.text().contains("delete"), "{}", got.text());
}

#[tokio::test]
async fn a_list_that_nobody_can_decide_about_is_withheld() {
    let rule = |call: &Call| match call.phase {
        Phase::List => Err(DecideError::Unavailable("gone".into())),
        Phase::Request | Phase::Response => allow(call),
    };
    let rig = Rig::start(Oracle::new(rule), |_| json(TOOLS)).await;
    let got = rig.post(LIST).await;
    assert_eq!(got.reasons(), "result_withheld,pdp_unavailable");
    assert!(!got.text().contains("create"));
    assert_eq!(outcomes(&rig.stop().await), ["allowed", "withheld"]);
}

#[tokio::test]
async fn a_list_of_another_shape_is_withheld() {
    let shapes = [r#"{"tools":{"name":"create"}}"#, r#"{"tools":"create"}"#];
    for shape in shapes {
        let body = format!(r#"{{"jsonrpc":"2.0","id":1,"result":{shape}}}"#);
        let rig = Rig::start(Oracle::new(allow), move |_| json(body.clone())).await;
        assert!(rig.post(LIST).await.reasons().starts_with("result_withheld"), "{shape}");
    }
}

#[tokio::test]
async fn resources_prompts_and_templates_are_lists_too() {
    let cases = [
        ("prompts/list", "prompts", "name", "prompts/get"),
        ("resources/list", "resources", "uri", "resources/read"),
        ("resources/templates/list", "resourceTemplates", "uriTemplate", "resources/read"),
    ];
    for (method, member, key, action) in cases {
        let body = format!(
            r#"{{"jsonrpc":"2.0","id":1,"result":{{"{member}":[{{"{key}":"delete"}},{{"{key}":"ok"}}]}}}}"#
        );
        let rig = Rig::start(Oracle::new(all_but_delete), move |_| json(body.clone())).await;
        let got = rig.post(format!(r#"{{"jsonrpc":"2.0","id":1,"method":"{method}"}}"#)).await;
        let expected =
            format!(r#"{{"jsonrpc":"2.0","id":1,"result":{{"{member}":[{{"{key}":"ok"}}]}}}}"#);
        assert_eq!(got.text(), expected);
        assert_eq!(rig.oracle.calls()[1].action.name, action);
    }
}
