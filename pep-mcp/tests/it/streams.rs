//! Streamed answers.

use axum::body::Body;
use axum::http::Method;
use bytes::Bytes;
use futures::StreamExt as _;
use http_body_util::BodyExt as _;
use lictor_proto::call::Call;
use lictor_proto::decide::{Answer, DecideError, Outcome};
use lictor_proto::decision::ObligationKind;
use tokio::sync::mpsc;

use crate::oracle::{Oracle, allow, allow_checked, deny, find, is_response, oblige};
use crate::rig::{Rig, call, outcomes};
use crate::server::{Seen, events, json, said};

fn event(data: &str) -> String {
    format!("event: message\ndata: {data}\n\n")
}

const PROGRESS: &str =
    r#"{"jsonrpc":"2.0","method":"notifications/progress","params":{"message":"half AKIA"}}"#;

/// A body that is fed by the test.
fn fed()
-> (mpsc::UnboundedSender<Bytes>, impl Fn(&Seen) -> axum::http::Response<Body> + Send + Sync) {
    let (feed, source) = mpsc::unbounded_channel::<Bytes>();
    let source = std::sync::Mutex::new(Some(source));
    let reply = move |_: &Seen| {
        let source = source.lock().unwrap().take().unwrap();
        let stream = tokio_stream::wrappers::UnboundedReceiverStream::new(source);
        events(Body::from_stream(stream.map(Ok::<_, std::convert::Infallible>)))
    };
    (feed, reply)
}

async fn next(body: &mut hyper::body::Incoming) -> String {
    let frame = body.frame().await.unwrap().unwrap();
    String::from_utf8(frame.into_data().unwrap().to_vec()).unwrap()
}

#[tokio::test]
async fn events_pass_one_by_one_and_byte_for_byte() {
    let (feed, reply) = fed();
    let rig = Rig::start(Oracle::new(allow), reply).await;
    let request = rig.request(Method::POST, "/mcp", &[], call("t", "{}"));
    let response = rig.begin(request).await;
    assert_eq!(response.headers()["content-type"], "text/event-stream");
    assert_eq!(response.headers()["x-accel-buffering"], "no");
    let mut body = response.into_body();
    for text in [": ping\r\n\r\n".to_owned(), format!("id: 1\nretry: 5\ndata:{PROGRESS}\n\n")] {
        feed.send(text.clone().into()).unwrap();
        assert_eq!(next(&mut body).await, text);
    }
    let last = format!("data: {}\ndata: \n\n", said("done"));
    feed.send(last.clone().into()).unwrap();
    assert_eq!(next(&mut body).await, last);
    drop(feed);
    assert!(body.frame().await.is_none());
    let oracle = rig.oracle.clone();
    assert_eq!(outcomes(&rig.stop().await), ["allowed", "forwarded"]);
    assert_eq!(oracle.outcomes(), [Outcome::Done]);
}

fn mask_secret(call: &Call) -> Result<Answer, DecideError> {
    if !is_response(call) {
        return allow_checked(call);
    }
    let mut answer = allow(call)?;
    find(&mut answer, call, "AKIA");
    oblige(&mut answer, ObligationKind::Mask, "{}");
    Ok(answer)
}

#[tokio::test]
async fn a_checked_stream_is_masked_event_by_event_at_any_chunking() {
    let text = format!("{}{}", event(PROGRESS), event(&said("key AKIA end")));
    let expected = text.replace("AKIA", "[masked]");
    for size in [1, 7, text.len()] {
        let chunks: Vec<_> = text.as_bytes().chunks(size).map(Bytes::copy_from_slice).collect();
        let reply = move |_: &Seen| {
            let stream = futures::stream::iter(chunks.clone());
            events(Body::from_stream(stream.map(Ok::<_, std::convert::Infallible>)))
        };
        let rig = Rig::start(Oracle::new(mask_secret), reply).await;
        assert_eq!(rig.post(call("t", "{}")).await.text(), expected);
        assert_eq!(outcomes(&rig.stop().await), ["allowed", "masked"]);
    }
}

#[tokio::test]
async fn a_refused_answer_becomes_an_error_in_the_stream() {
    let rule = |call: &Call| {
        if is_response(call) { deny(call, "leak") } else { allow_checked(call) }
    };
    let text = format!("{}{}", event(PROGRESS), event(&said("TOP SECRET")));
    let rig = Rig::start(Oracle::new(rule), move |_| events(text.clone())).await;
    let got = rig.post(call("t", "{}")).await;
    assert!(!got.text().contains("TOP SECRET") && !got.text().contains("half"), "{}", got.text());
    let data = got.text().lines().find_map(|line| line.strip_prefix("data: ")).unwrap();
    let message: serde_json::Value = serde_json::from_str(data).unwrap();
    assert_eq!(message["id"], 1);
    assert_eq!(message["error"]["data"]["lictor"]["executed"], true);
    assert_eq!(outcomes(&rig.stop().await), ["allowed", "withheld"]);
}

#[tokio::test]
async fn what_cannot_be_read_is_never_passed() {
    let foreign = event(r#"{"jsonrpc":"2.0","id":99,"result":{"text":"OF ANOTHER"}}"#);
    let twice = event(r#"{"jsonrpc":"2.0","id":1,"result":{"text":"TWICE"},"result":{}}"#);
    let text = format!("{foreign}{twice}");
    let rig = Rig::start(Oracle::new(allow), move |_| events(text.clone())).await;
    let got = rig.post(call("t", "{}")).await;
    assert!(!got.text().contains("OF ANOTHER") && !got.text().contains("TWICE"), "{}", got.text());
    assert!(got.text().contains("result_withheld"));
    let rig = Rig::start(Oracle::new(allow), |_| events(&b"data: \"\xff\"\n\n"[..])).await;
    assert!(rig.post(call("t", "{}")).await.text().contains("result_withheld"));
}

#[tokio::test]
async fn a_stream_without_an_answer_ends_as_unknown() {
    let rig = Rig::start(Oracle::new(allow), |_| events(event(PROGRESS))).await;
    assert_eq!(rig.post(call("t", "{}")).await.text(), event(PROGRESS));
    let oracle = rig.oracle.clone();
    assert_eq!(outcomes(&rig.stop().await), ["allowed", "failed"]);
    assert_eq!(oracle.outcomes(), [Outcome::Unknown]);
}

#[tokio::test]
async fn an_answer_on_the_sessions_stream_belongs_to_its_call() {
    let reply = |seen: &Seen| {
        let body = String::from_utf8_lossy(&seen.body).into_owned();
        if seen.method == Method::GET {
            events(format!("id: 9\n{}", event(&said("key AKIA"))))
        } else if body.contains("initialize") {
            let mut response = json(said("ok"));
            response.headers_mut().insert("mcp-session-id", "s-1".parse().unwrap());
            response
        } else {
            // The server ends the stream of the call and answers on the session's.
            events("id: 8\ndata:\n\n")
        }
    };
    let rule = |call: &Call| {
        let tool = call.resource.as_ref().unwrap().id == "accounting/t";
        if tool { mask_secret(call) } else { allow(call) }
    };
    let rig = Rig::start(Oracle::new(rule), reply).await;
    rig.post(r#"{"jsonrpc":"2.0","id":0,"method":"initialize"}"#).await;
    let session = ("mcp-session-id", "s-1");
    assert_eq!(rig.post_with(call("t", "{}"), &[session]).await.text(), "id: 8\ndata:\n\n");
    let resume = [session, ("last-event-id", "8"), ("accept", "text/event-stream")];
    let got = rig.send(rig.request(Method::GET, "/mcp", &resume, "")).await;
    assert!(got.text().contains("key [masked]"), "{}", got.text());
    let again = rig.send(rig.request(Method::GET, "/mcp", &resume, "")).await;
    assert_eq!(again.text(), "", "nobody waits for it any more");
    let records = rig.stop().await;
    let tool: Vec<_> = records.into_iter().filter(|r| r["action"] == "tools/call").collect();
    assert_eq!(outcomes(&tool), ["allowed", "masked"]);
}

#[tokio::test]
async fn a_client_that_hangs_up_leaves_a_record() {
    let (feed, reply) = fed();
    let rig = Rig::start(Oracle::new(allow), reply).await;
    let response = rig.begin(rig.request(Method::POST, "/mcp", &[], call("t", "{}"))).await;
    let mut body = response.into_body();
    feed.send(event(PROGRESS).into()).unwrap();
    assert_eq!(next(&mut body).await, event(PROGRESS));
    drop(body);
    // The server notices that nobody listens once the enforcement point has let go.
    feed.closed().await;
    let oracle = rig.oracle.clone();
    let records = rig.stop().await;
    assert_eq!(outcomes(&records), ["allowed", "failed"]);
    assert_eq!(oracle.outcomes(), [Outcome::Unknown]);
}

#[tokio::test]
async fn a_modern_stream_carries_no_requests_and_nothing_with_two_faces() {
    let asks = r#"{"jsonrpc":"2.0","id":9,"method":"sampling/createMessage","params":{}}"#;
    let two_faced = r#"{"jsonrpc":"2.0","id":1,"method":"x","result":{"content":[]}}"#;
    let meta = r#""_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28"}"#;
    let body = format!(
        r#"{{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{{"name":"t",{meta}}}}}"#
    );
    let headers =
        [("mcp-protocol-version", "2026-07-28"), ("mcp-method", "tools/call"), ("mcp-name", "t")];
    let text = format!("{}{}", event(asks), event(&said("done")));
    let rig = Rig::start(Oracle::new(allow), move |_| events(Body::from(text.clone()))).await;
    assert_eq!(rig.post_with(body.clone(), &headers).await.text(), event(&said("done")));
    let rig = Rig::start(Oracle::new(allow), move |_| events(Body::from(event(two_faced)))).await;
    let got = rig.post_with(body, &headers).await;
    let got = got.text();
    assert!(got.contains("result_withheld") && !got.contains("\"content\""), "{got}");
}
