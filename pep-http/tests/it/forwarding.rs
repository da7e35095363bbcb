//! What the provider gets.

use http::Method;
use lictor_proto::call::{Origin, Phase, ResourceKind};
use lictor_proto::decision::ObligationKind;

use crate::decide::{Fake, allow, mask_secret, oblige};
use crate::provider::json;
use crate::rig::{Numbers, PROVIDER_KEY, Rig, answered, hello, outcomes, upstream};

/// JSON that is unusual and not ambiguous: every serializer would change something of it.
fn odd_body(numbers: &mut Numbers) -> String {
    const SPACE: [&str; 5] = ["", " ", "\n\t", "\r\n", "   "];
    const TEXT: [&str; 8] = [
        "plain",
        "\\u0041\\/b",
        "\\ud83d\\ude00 \u{1f600}",
        "é\\t\\\"",
        "",
        "\\u0000\u{7f}\u{2028}",
        "\u{feff}x\\b\\f",
        "\\\\u0041",
    ];
    const EXTRA: [&str; 8] = [
        "\"seed\":18446744073709551615",
        "\"temperature\":1.50",
        "\"top_p\":1e-1",
        "\"\\u0078\":[[],{},[null,true , false]]",
        "\"logit_bias\":{\"50256\":-100}",
        "\"stop\":[\"\\n\\n\",\"END\"]",
        "\"user\":\"u\\u002d1\"",
        "\"stream_options\":null",
    ];
    let space = |numbers: &mut Numbers| SPACE[numbers.below(SPACE.len())];
    let mut members = vec!["\"model\":\"gpt-5\"".to_owned()];
    let mut messages = Vec::new();
    for _ in 0..=numbers.below(3) {
        let text = TEXT[numbers.below(TEXT.len())];
        let role = ["user", "system", "assistant"][numbers.below(3)];
        let gap = space(numbers);
        messages.push(format!("{{\"content\"{gap}:\"{text}\",\"role\":\"{role}\"{gap}}}"));
    }
    let gap = space(numbers);
    members.push(format!("\"messages\":{gap}[{}]", messages.join(&format!("{gap},"))));
    for (index, extra) in EXTRA.iter().enumerate() {
        if numbers.below(3) == index % 3 {
            members.insert(numbers.below(members.len() + 1), (*extra).to_owned());
        }
    }
    let gap = space(numbers);
    format!("{gap}{{{gap}{}{gap}}}{gap}", members.join(&format!("{gap},{gap}")))
}

#[tokio::test]
async fn two_hundred_odd_bodies_arrive_byte_for_byte() {
    let reply = answered("hi\u{1f600}").replace("\"c-1\"", "\"c\\u002d1\"");
    let rig = Rig::start(Fake::new(|call| Ok(allow(call))), json(&reply)).await;
    let mut numbers = Numbers::new(7);
    for round in 0..200 {
        let body = odd_body(&mut numbers);
        let answer = rig.chat(body.clone()).await;
        assert_eq!(answer.status, 200, "{round}: {body}\n{}", answer.text());
        assert_eq!(answer.body, reply.as_bytes());
        let seen = rig.provider.seen();
        assert_eq!(seen.last().unwrap().body, body.as_bytes(), "{round}");
    }
    let records = rig.stop().await;
    assert_eq!(records.len(), 400);
    assert!(records.iter().all(|record| record["decided_digest"] != ""));
}

#[tokio::test]
async fn the_provider_gets_its_own_key_and_nothing_of_the_callers() {
    let rig = Rig::start(Fake::new(|call| Ok(allow(call))), json(&answered("hi"))).await;
    let mut request = rig.request(Method::POST, "/v1/chat/completions?key=k", hello());
    for name in [
        "x-api-key",
        "cookie",
        "openai-organization",
        "api-key",
        "x-forwarded-for",
        "lictor-session",
    ] {
        request.headers_mut().insert(name, "callers-own".parse().unwrap());
    }
    request.headers_mut().insert("x-stainless-lang", "rust".parse().unwrap());
    request.headers_mut().insert("accept-encoding", "gzip".parse().unwrap());
    let answer = rig.send(request).await;
    assert_eq!(answer.status, 200);
    assert_eq!(answer.headers["x-request-id"], "req-1");
    let call = &rig.decide.calls()[0];
    assert_eq!(answer.headers["lictor-call-id"], call.call_id.as_str());

    let seen = &rig.provider.seen()[0];
    assert_eq!((seen.method.as_str(), seen.path.as_str()), ("POST", "/v1/chat/completions"));
    let keys: Vec<_> = seen.headers.get_all("authorization").iter().collect();
    assert_eq!(keys, [&format!("Bearer {PROVIDER_KEY}")]);
    assert_eq!(seen.headers["accept-encoding"], "identity");
    assert_eq!(seen.headers["x-stainless-lang"], "rust");
    let all = format!("{:?}", seen.headers);
    assert!(!all.contains(&rig.key) && !all.contains("callers-own"), "{all}");
}

#[tokio::test]
async fn the_decision_point_gets_the_whole_question() {
    let rig = Rig::start(Fake::new(|call| Ok(allow(call))), json(&answered("hi"))).await;
    let body = r#"{"model":"gpt-5","max_tokens":9,"tools":[{"type":"function","function":{"name":"f",
        "description":"Does it"}}],"messages":[{"role":"system","content":"Be kind"},
        {"role":"user","content":"hello"}]}"#;
    let mut request = rig.request(Method::POST, "/v1/chat/completions", body);
    request.headers_mut().insert("lictor-session", "handle-1".parse().unwrap());
    rig.send(request).await;
    let call = &rig.decide.calls()[0];
    assert_eq!(call.phase, Phase::Request);
    assert!(call.asks_all());
    assert_eq!(call.action.name, "llm/chat");
    let resource = call.resource.as_ref().unwrap();
    assert_eq!((resource.kind, resource.id.as_str()), (ResourceKind::Model, "openai/gpt-5"));
    assert_eq!(call.subject.as_ref().unwrap().id, "alice@example.com");
    assert_eq!(call.agent.as_ref().unwrap().id, "expense-report-v1");
    assert_eq!(call.session.as_ref().unwrap().handle, "handle-1");
    assert_eq!(call.context.protocol, "openai/chat");
    assert_eq!(call.context.source_ip, "127.0.0.1");
    assert_eq!((call.usage.input_tokens, call.usage.max_output_tokens), (5, 9));
    let parts: Vec<(Origin, &str)> =
        call.content.iter().map(|part| (part.origin, part.text.as_str())).collect();
    let expected = [
        (Origin::System, "Be kind"),
        (Origin::User, "hello"),
        (Origin::ToolDefinition, "f"),
        (Origin::ToolDefinition, "Does it"),
    ];
    assert_eq!(parts, expected);
}

#[tokio::test]
async fn a_prefix_selects_the_provider_and_is_taken_off() {
    let decide = Fake::new(|call| Ok(allow(call)));
    let other = crate::provider::Provider::start(json(&answered("other"))).await;
    let url = other.base_url.clone();
    let rig = Rig::start_with(decide, json(&answered("first")), |config, dir| {
        config.upstreams.push(upstream("local", &url, dir));
    })
    .await;
    let body = hello().replace("gpt-5", "local/meta/llama");
    let answer = rig.chat(body.clone()).await;
    assert!(answer.text().contains("other"));
    assert_eq!(other.seen()[0].body, body.replace("local/meta", "meta").as_bytes());
    assert!(rig.chat(hello()).await.text().contains("first"));
    let ids: Vec<String> =
        rig.decide.calls().into_iter().map(|call| call.resource.unwrap().id).collect();
    assert_eq!(ids, ["local/meta/llama", "openai/gpt-5"]);
}

#[tokio::test]
async fn obligations_change_only_what_they_name() {
    let decide = Fake::new(|call| {
        let mut answer = allow(call);
        mask_secret(call, &mut answer, "SECRET");
        oblige(&mut answer, ObligationKind::CapTokens, r#"{"max":100}"#);
        oblige(&mut answer, ObligationKind::StripTools, r#"{"tools":["send"]}"#);
        oblige(&mut answer, ObligationKind::SetHeader, r#"{"name":"x-team","value":"eng"}"#);
        oblige(&mut answer, ObligationKind::Notify, "{}");
        Ok(answer)
    });
    let rig = Rig::start(decide, json(&answered("hi"))).await;
    let body = r#"{ "model":"gpt-5", "max_tokens": 500,"messages":[{"role":"user","content":"my \u0053ECRET\n"}],
        "tools":[{"type":"function","function":{"name":"send"}}], "seed":1.50}"#;
    assert_eq!(rig.chat(body).await.status, 200);
    let seen = &rig.provider.seen()[0];
    let expected = r#"{ "model":"gpt-5", "max_tokens": 100,"messages":[{"role":"user","content":"my [masked]\n"}],
        "tools":null, "seed":1.50}"#;
    assert_eq!(seen.body, expected.as_bytes());
    assert_eq!(seen.headers["x-team"], "eng");
    let records = rig.stop().await;
    assert_eq!(outcomes(&records), ["allowed", "forwarded"]);
}
