//! Who is not let in: nobody, strangers, forgers, latecomers, agents that nobody registered, and
//! those who knock at the decision point itself.

use http::Method;
use lictor_tests::client::tool_call;
use lictor_tests::issuer::{ISSUER, Issuer};
use lictor_tests::process::until;
use serde_json::json;

use crate::rig::Rig;

fn credentials(rig: &Rig) -> Vec<(&'static str, String, &'static str)> {
    let (alice, agent) = ("alice@example.com", "expense-report-v1");
    let issuer = &rig.site.issuer;
    let mut elsewhere = Issuer::claims(alice, agent);
    elsewhere["aud"] = json!("somebody-else");
    let mut stranger = Issuer::claims(alice, agent);
    stranger["iss"] = json!(format!("{ISSUER}.evil.example"));
    let good = issuer.token(alice, agent);
    let mut changed: Vec<&str> = good.split('.').collect();
    let other = issuer.token("bob@example.com", agent);
    changed[1] = other.split('.').nth(1).unwrap();
    vec![
        ("no token", String::new(), "token_missing"),
        ("not a token", "sesame".to_owned(), "token_malformed"),
        ("expired", issuer.expired(alice, agent), "token_expired"),
        ("signed by another key", Issuer::new(9).token(alice, agent), "signature_invalid"),
        ("claims of another token", changed.join("."), "signature_invalid"),
        ("unsigned", Issuer::unsigned(alice, agent), "token_malformed"),
        (
            "unsigned but for the looks",
            format!("{}AAAA", Issuer::unsigned(alice, agent)),
            "algorithm_refused",
        ),
        ("for another audience", issuer.sign(&elsewhere), "audience_wrong"),
        ("of another issuer", issuer.sign(&stranger), "issuer_unknown"),
        ("an API key that was never issued", format!("lictor_{}", "a".repeat(52)), ""),
    ]
}

#[tokio::test]
async fn whoever_is_not_known_is_refused_with_a_reason() {
    let rig = Rig::start().await;
    let body =
        tool_call("get_employee_cost_center", &json!({ "employee_id": "alice@example.com" }));
    let chat = json!({ "model": "gpt-5-nano", "messages": [{ "role": "user", "content": "hi" }] });
    for (what, token, id) in credentials(&rig) {
        let mut legacy = body.clone();
        legacy["params"].as_object_mut().unwrap().remove("_meta");
        let mcp = rig.http.post(&rig.mcp("accounting"), &token, legacy.to_string()).await;
        let llm = rig.http.post(&rig.chat(), &token, chat.to_string()).await;
        for answer in [mcp, llm] {
            assert_eq!(answer.status, 401, "{what}: {answer:?}");
            assert!(answer.headers.contains_key("www-authenticate"), "{what}: {answer:?}");
            let id = if id.is_empty() { answer.reasons()[0].clone() } else { id.to_owned() };
            rig.refused(&answer, &id, what);
            let said = String::from_utf8_lossy(&answer.body).into_owned();
            assert!(token.is_empty() || !said.contains(&token), "{what}: the token is repeated");
        }
    }
    assert!(rig.tools.arrived().is_empty() && rig.provider.arrived().is_empty());
    rig.ends_whole().await;
}

#[tokio::test]
async fn agents_and_actors_that_nobody_registered_are_seen_and_not_served() {
    let rig = Rig::start().await;
    let mut delegated = Issuer::claims("alice@example.com", "expense-report-v1");
    delegated["act"]["act"] = json!({ "sub": "nobody-knows-me" });
    let tokens = [
        ("agent", rig.site.issuer.token("alice@example.com", "helpful-agent-v0")),
        ("actor in between", rig.site.issuer.sign(&delegated)),
    ];
    for (what, token) in tokens {
        let args = json!({ "employee_id": "alice@example.com" });
        let answer = rig
            .http
            .call_tool(&rig.mcp("accounting"), &token, "get_employee_cost_center", &args)
            .await;
        rig.refused(&answer, "agent_unknown", what);
        // A record that is bounded is on its way to the log when the answer is.
        until("the decision point's log has it too", || async {
            let decided = rig.logged(lictor_audit::Kind::Decision, "/call_id", &answer.call_id());
            (decided == 1).then_some(())
        })
        .await;
    }
    assert!(rig.tools.arrived().is_empty());
    rig.ends_whole().await;
}

#[tokio::test]
async fn api_keys_work_until_they_are_revoked_from_the_store() {
    let site = lictor_tests::site::Site::new();
    let store = ["--store", "api-keys.json"];
    let mut issue = vec!["keys", "issue", "--agent", "expense-report-v1", "--id", "k1"];
    issue.extend(["--subject", "user:alice@example.com"]);
    issue.extend(store);
    let key = site.ok(&issue).trim().to_owned();
    let rig = Rig::of(site).await;
    let args = json!({ "employee_id": "alice@example.com" });
    let url = rig.mcp("accounting");
    let answer = rig.http.call_tool(&url, &key, "get_employee_cost_center", &args).await;
    assert_eq!(answer.text(), "done", "{answer:?}");
    rig.site.ok(&["keys", "revoke", "k1", "--store", "api-keys.json"]);
    let refused = until("the key is refused", || async {
        let answer = rig.http.call_tool(&url, &key, "get_employee_cost_center", &args).await;
        (answer.status != 200).then(|| (answer.status, answer.reasons()))
    });
    assert_eq!(refused.await, (401, vec!["api_key_revoked".to_owned()]));
    rig.ends_whole().await;
}

#[tokio::test]
async fn nobody_asks_the_decision_point_unknown() {
    let rig = Rig::start().await;
    let paths =
        ["/v1/status", "/v1/decide", "/metrics", "/lictor.v1.DecisionService/Decide", "/nothing"];
    for path in paths {
        for token in ["", "wrong", &rig.site.expense()] {
            let url = format!("{}{path}", rig.up.pdp);
            let authorization = format!("Bearer {token}");
            let headers: &[(&str, &str)] =
                if token.is_empty() { &[] } else { &[("authorization", &authorization)] };
            let answer = rig.http.send(Method::POST, &url, headers, "{}").await.unwrap();
            assert_eq!(answer.status, 401, "{path}: {answer:?}");
        }
    }
    for path in ["/healthz", "/readyz"] {
        let answer = rig.http.get(&format!("{}{path}", rig.up.pdp), "").await.unwrap();
        assert_eq!(answer.status, 200, "{path}");
    }
    let token = std::fs::read_to_string(rig.site.path("state/operator.token")).unwrap();
    let call = r#"{"call_id":"c-1","agent":{"type":"agent","id":"expense-report-v1"}}"#;
    let decide = format!("{}/v1/decide", rig.up.pdp);
    let answer = rig.http.post(&decide, token.trim(), call).await;
    assert_eq!((answer.status, &answer.json()["error"]["id"]), (403, &json!("role_missing")));
    let mode = std::os::unix::fs::PermissionsExt::mode(
        &std::fs::metadata(rig.site.path("state/operator.token")).unwrap().permissions(),
    );
    assert_eq!(mode & 0o777, 0o600);
    rig.ends_whole().await;
}

#[tokio::test]
async fn a_call_that_brings_its_own_facts_is_refused() {
    let rig = Rig::start().await;
    let token = std::fs::read_to_string(rig.site.path("state/pep.token")).unwrap();
    let url = format!("{}/v1/decide", rig.up.pdp);
    let call = r#"{"call_id":"c-1","agent":{"type":"agent","id":"expense-report-v1"},"facts":{}}"#;
    let answer = rig.http.post(&url, token.trim(), call).await;
    assert_eq!(answer.status, 400, "{answer:?}");
    assert_eq!(answer.json()["reasons"][0]["id"], "fact_in_call", "{answer:?}");
    assert_eq!(answer.json()["effect"], "deny");
    until("the refusal is in the log", || async {
        let records = lictor_tests::evidence::records(&rig.site.path("audit"));
        let kind = lictor_audit::Kind::Decision;
        lictor_tests::evidence::names(&records, kind, "fact_in_call").then_some(())
    })
    .await;
    rig.ends_whole().await;
}
