//! Health, the bound on requests at once, hanging up, and shutting down.

use std::sync::Arc;

use http::Method;
use lictor_proto::decide::Outcome;
use tokio::sync::Notify;

use crate::decide::{Fake, allow};
use crate::provider::{Piece, Script, json};
use crate::rig::{Rig, answered, hello, outcomes};

#[tokio::test]
async fn health_needs_no_credential() {
    let rig = Rig::start(Fake::new(|call| Ok(allow(call))), Script::Never).await;
    for path in ["/healthz", "/readyz"] {
        let mut request = rig.request(Method::GET, path, "");
        request.headers_mut().remove("authorization");
        let answer = rig.send(request).await;
        assert_eq!((answer.status.as_u16(), answer.text()), (200, "ok\n"));
    }
    assert!(rig.decide.calls().is_empty());
    assert!(rig.stop().await.is_empty());
}

#[tokio::test]
async fn the_keys_of_assertions_are_published_for_everyone() {
    let rig = Rig::start(Fake::new(|call| Ok(allow(call))), Script::Never).await;
    let mut request = rig.request(Method::GET, "/.well-known/jwks.json", "");
    request.headers_mut().remove("authorization");
    let told = rig.send(request).await;
    assert_eq!(told.status, 200);
    assert_eq!(told.headers["cache-control"], "public, max-age=60");
    let keys = told.json()["keys"].clone();
    assert_eq!((keys.as_array().unwrap().len(), &keys[0]["alg"]), (1, &"EdDSA".into()));
    assert!(keys[0].get("d").is_none(), "{keys}");
}

#[tokio::test]
async fn metrics_are_told_to_who_has_a_credential() {
    let rig = Rig::start(Fake::new(|call| Ok(allow(call))), Script::Never).await;
    let told = rig.get("/metrics").await;
    assert_eq!(told.status.as_u16(), 200);
    assert!(told.text().contains("# TYPE "), "{}", told.text());
    let mut request = rig.request(Method::GET, "/metrics", "");
    request.headers_mut().remove("authorization");
    assert_eq!(rig.send(request).await.status.as_u16(), 401);
}

#[tokio::test]
async fn one_request_too_many_is_refused() {
    let decide = Fake::new(|call| Ok(allow(call)));
    let rig = Rig::start_with(decide, Script::Never, |config, _| {
        config.max_in_flight_requests = 1;
    })
    .await;
    let arrived = Arc::new(Notify::new());
    let tell = arrived.clone();
    rig.provider.on_request(move || tell.notify_one());
    let mut first = Box::pin(rig.chat(hello()));
    tokio::select! {
        _ = &mut first => panic!("the provider never answers"),
        () = arrived.notified() => {}
    }
    let second = rig.chat(hello()).await;
    assert_eq!((second.status.as_u16(), second.code()), (503, "overloaded".to_owned()));

    drop(first);
    rig.provider.hung_up().await;
    assert_eq!(rig.decide.settlement().await.outcome, Outcome::Unknown);
    rig.provider.set(json(&answered("hi")));
    // The slot is free once the abandoned call is settled, which may be a moment after its record.
    while rig.chat(hello()).await.status != 200 {
        tokio::task::yield_now().await;
    }
    let records = rig.stop().await;
    assert_eq!(outcomes(&records), ["allowed", "failed", "allowed", "forwarded"]);
}

#[tokio::test]
async fn calls_under_way_are_answered_before_the_end() {
    let mut rig = Rig::start(Fake::new(|call| Ok(allow(call))), Script::Never).await;
    let gate = Arc::new(Notify::new());
    let arrived = Arc::new(Notify::new());
    let tell = arrived.clone();
    rig.provider.on_request(move || tell.notify_one());
    let frame = b"data: {\"choices\":[]}\n\ndata: [DONE]\n\n".to_vec();
    rig.provider.set(Script::Stream(vec![Piece::Wait(gate.clone()), Piece::Bytes(frame.clone())]));
    let request = rig.request(Method::POST, "/v1/chat/completions", hello());
    let answering = rig.send_later(request);
    arrived.notified().await;
    rig.signal_stop();
    gate.notify_one();
    assert_eq!(answering.await.unwrap().body, frame);
    assert_eq!(outcomes(&rig.stop().await), ["allowed", "forwarded"]);
}

#[tokio::test]
async fn calls_that_outlast_the_drain_are_cut_off_and_told_so() {
    let pieces = vec![Piece::Bytes(b"data: {\"choices\":[]}\n\n".to_vec()), Piece::Hang];
    for (script, status) in [(Script::Stream(pieces), 200), (Script::Never, 503)] {
        let decide = Fake::new(|call| Ok(allow(call)));
        let mut rig =
            Rig::start_with(decide, script, |config, _| config.drain_timeout_ms = 20).await;
        let arrived = Arc::new(Notify::new());
        let tell = arrived.clone();
        rig.provider.on_request(move || tell.notify_one());
        let request = rig.request(Method::POST, "/v1/chat/completions", hello());
        let answering = rig.send_later(request);
        arrived.notified().await;
        rig.signal_stop();
        let answer = answering.await.unwrap();
        assert_eq!(answer.status, status);
        assert!(answer.text().contains("\"code\":\"overloaded\""), "{}", answer.text());
        assert_eq!(rig.decide.settlement().await.outcome, Outcome::Unknown);
        assert_eq!(outcomes(&rig.stop().await), ["allowed", "failed"]);
    }
}

#[tokio::test]
async fn a_server_that_cannot_be_configured_does_not_start() {
    let decide = Fake::new(|call| Ok(allow(call)));
    let rig = Rig::start_with(decide, Script::Never, |config, _| config.upstreams.clear()).await;
    let error = rig.startup_error().await;
    assert!(error.to_string().contains("upstreams"), "{error}");
}
