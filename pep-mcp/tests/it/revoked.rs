//! What is under way ends with whoever is revoked.

use axum::body::Body;
use axum::http::Method;
use bytes::Bytes;
use futures::StreamExt as _;
use http_body_util::BodyExt as _;
use lictor_proto::decide::Outcome;
use lictor_proto::revocation::Kind;
use tokio::sync::mpsc;

use crate::oracle::{Oracle, allow};
use crate::rig::{Rig, call, outcomes};
use crate::server::{Seen, events, json, said};

const INITIALIZE: &str =
    r#"{"jsonrpc":"2.0","id":1,"method":"initialize","params":{"protocolVersion":"2025-11-25"}}"#;
const AGENT: &str = "expense-report-v1";

type Feed = mpsc::UnboundedSender<Bytes>;

/// Bodies that the test feeds, one for each request in their order.
fn bodies(count: usize) -> (Vec<Feed>, impl Fn() -> Body) {
    let (feeds, sources): (Vec<_>, Vec<_>) =
        (0..count).map(|_| mpsc::unbounded_channel::<Bytes>()).unzip();
    let sources = std::sync::Mutex::new(sources.into_iter());
    let next = move || {
        let source = sources.lock().unwrap().next().unwrap();
        let stream = tokio_stream::wrappers::UnboundedReceiverStream::new(source);
        Body::from_stream(stream.map(Ok::<_, std::convert::Infallible>))
    };
    (feeds, next)
}

#[tokio::test]
async fn an_open_stream_is_cut_and_says_so() {
    let ping = Bytes::from_static(b": ping\n\n");
    for (kind, id, reason) in [
        (Kind::Agent, AGENT, "agent_revoked"),
        (Kind::User, "alice@example.com", "subject_revoked"),
        (Kind::Session, "session-1", "session_revoked"),
        (Kind::Tool, "accounting/t", "tool_revoked"),
        (Kind::Server, "accounting", "server_revoked"),
    ] {
        let (feeds, body) = bodies(1);
        let rig = Rig::start(Oracle::new(allow), move |_| events(body())).await;
        let request = rig.request(Method::POST, "/mcp", &[], call("t", "{}"));
        let mut answer = rig.begin(request).await.into_body();
        feeds[0].send(ping.clone()).unwrap();
        assert_eq!(answer.frame().await.unwrap().unwrap().into_data().unwrap(), ping);
        rig.oracle.kill(Kind::Agent, "somebody-else").await;
        rig.oracle.kill(kind, id).await;
        let text = answer.collect().await.unwrap().to_bytes();
        let text = String::from_utf8_lossy(&text).into_owned();
        let data = text.lines().find_map(|line| line.strip_prefix("data: ")).unwrap();
        let message: serde_json::Value = serde_json::from_str(data).unwrap();
        let told = &message["error"]["data"]["lictor"];
        assert_eq!((&message["id"], &told["executed"]), (&1.into(), &true.into()), "{kind:?}");
        assert_eq!(told["reasons"][1]["id"], reason);
        // The server notices that nobody listens.
        feeds[0].closed().await;
        let oracle = rig.oracle.clone();
        let records = rig.stop().await;
        assert_eq!(outcomes(&records), ["allowed", "withheld"]);
        assert_eq!(records[1]["reasons"], serde_json::json!(["result_withheld", reason]));
        assert_eq!(oracle.outcomes(), [Outcome::Done]);
    }
}

#[tokio::test]
async fn a_result_that_comes_later_is_withheld() {
    let (feeds, body) = bodies(1);
    let rig = Rig::start(Oracle::new(allow), move |_: &Seen| json(body())).await;
    let request = rig.request(Method::POST, "/mcp", &[], call("t", "{}"));
    let (answer, ()) = tokio::join!(rig.send(request), async {
        while rig.server.seen().is_empty() {
            tokio::task::yield_now().await;
        }
        rig.oracle.kill(Kind::Agent, AGENT).await;
        feeds[0].send(said("TOP SECRET").into()).unwrap();
        drop(feeds);
    });
    assert!(!answer.text().contains("TOP SECRET"), "{}", answer.text());
    assert_eq!(answer.reasons(), "result_withheld,agent_revoked");
    assert_eq!(answer.lictor()["executed"], true);
    assert_eq!(outcomes(&rig.stop().await), ["allowed", "withheld"]);
}

#[tokio::test]
async fn nothing_is_sent_for_whoever_is_revoked_already() {
    let rig = Rig::start(Oracle::new(allow), |_: &Seen| json(said("done"))).await;
    rig.oracle.kill(Kind::Agent, AGENT).await;
    let answer = rig.post(call("t", "{}")).await;
    assert_eq!(answer.reasons(), "agent_revoked");
    assert_eq!(answer.lictor()["executed"], false);
    assert!(rig.server.seen().is_empty());
    let oracle = rig.oracle.clone();
    assert_eq!(outcomes(&rig.stop().await), ["not_sent"]);
    assert_eq!(oracle.outcomes(), [Outcome::NotSent]);
}

#[tokio::test]
async fn a_legacy_session_ends_with_its_streams() {
    let (feeds, body) = bodies(1);
    let reply = move |seen: &Seen| match seen.method {
        Method::GET => events(body()),
        _ => {
            let mut response = json(said("ok"));
            response.headers_mut().insert("mcp-session-id", "s-1".parse().unwrap());
            response
        }
    };
    let rig = Rig::start(Oracle::new(allow), reply).await;
    let session = ("mcp-session-id", "s-1");
    assert_eq!(rig.post(INITIALIZE).await.status, 200);
    assert_eq!(rig.post_with(call("t", "{}"), &[session]).await.text(), said("ok"));
    let listen = [session, ("accept", "text/event-stream")];
    let listening = rig.begin(rig.request(Method::GET, "/mcp", &listen, "")).await.into_body();
    rig.oracle.kill(Kind::Agent, AGENT).await;
    assert!(listening.collect().await.unwrap().to_bytes().is_empty());
    feeds[0].closed().await;
    // Taken back: the old session stays ended, a new one can be made.
    rig.oracle.tell(vec![], false).await;
    let gone = || async { rig.post_with(call("t", "{}"), &[session]).await };
    while gone().await.status == 200 {
        tokio::task::yield_now().await;
    }
    assert_eq!(gone().await.status, 404);
    assert_eq!(rig.post(INITIALIZE).await.status, 200);
    assert_eq!(gone().await.text(), said("ok"));
}
