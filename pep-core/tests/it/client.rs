//! `GrpcDecide` over TCP and a Unix socket.

use std::sync::Arc;

use lictor_pep_core::client::{GrpcDecide, STREAM_MAX_CONTENT_BYTES, Target, TokenSource};
use lictor_proto::call::{Call, Content, Origin, Usage};
use lictor_proto::decide::{Decide as _, DecideError, Detail, Outcome, Settle};
use lictor_proto::decision::Effect;
use lictor_proto::revocation::Kind;
use tokio::net::{TcpListener, UnixListener};
use tokio_stream::wrappers::{TcpListenerStream, UnixListenerStream};

use crate::pdp::{GROUP, Pdp, Running};

const BUDGET_MS: u32 = 5_000;

fn call(id: &str, action: &str) -> Arc<Call> {
    let mut call = Call { call_id: id.into(), ..Call::default() };
    call.action.name = action.into();
    Arc::new(call)
}

fn sized(id: &str, bytes: usize) -> Arc<Call> {
    let mut call = Call::clone(&call(id, "single"));
    let arguments = call.context.args.text().len();
    call.content = vec![Content {
        origin: Origin::User,
        pointer: String::new(),
        media: "text/plain".into(),
        text: "x".repeat(bytes - arguments),
    }];
    Arc::new(call)
}

/// A listener whose socket the server's own runtime will take over.
fn listen(listener: std::net::TcpListener) -> impl FnOnce() -> TcpListenerStream {
    listener.set_nonblocking(true).unwrap();
    move || TcpListenerStream::new(TcpListener::from_std(listener).unwrap())
}

/// A server on `listener`, whose stream of connections is made lazily on its own runtime.
pub(crate) fn start_tcp(pdp: &Pdp, listener: std::net::TcpListener) -> Running {
    use futures::StreamExt as _;
    let make = listen(listener);
    let incoming = futures::stream::once(async move { make() }).flatten();
    Running::start(pdp.clone(), Box::pin(incoming))
}

async fn tcp(pdp: &Pdp) -> (Running, GrpcDecide) {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let target = Target::parse(&format!("http://{}", listener.local_addr().unwrap())).unwrap();
    let running = start_tcp(pdp, listener);
    (running, GrpcDecide::connect(&target, TokenSource::none()).unwrap())
}

#[tokio::test]
async fn answers_in_another_order_find_their_questions() {
    let pdp = Pdp::default();
    let (_running, client) = tcp(&pdp).await;
    let asked = (0..GROUP * 25).map(|n| {
        let client = client.clone();
        async move {
            let call = call(&format!("c-{n}"), "grouped");
            let answer = client.decide(call.clone(), BUDGET_MS).await.unwrap();
            assert_eq!(answer.decision.call_id, call.call_id);
            assert_eq!(answer.decision.request_digest, call.request_digest());
            assert_eq!(answer.decision.effect, Effect::Allow);
        }
    });
    futures::future::join_all(asked).await;
    assert!(pdp.ways().iter().all(|way| *way == "stream"));
    assert_eq!(pdp.ways().len(), GROUP * 25);
}

#[tokio::test]
async fn much_content_goes_by_itself() {
    let pdp = Pdp::default();
    let (_running, client) = tcp(&pdp).await;
    client.decide(sized("small", STREAM_MAX_CONTENT_BYTES), BUDGET_MS).await.unwrap();
    client.decide(sized("large", STREAM_MAX_CONTENT_BYTES + 1), BUDGET_MS).await.unwrap();
    assert_eq!(pdp.ways(), ["stream", "unary"]);
}

#[tokio::test]
async fn batches_settlements_and_checkpoints() {
    let pdp = Pdp::default();
    let (_running, client) = tcp(&pdp).await;
    let calls = vec![call("a", "x"), call("b", "x")];
    let answers = client.decide_batch(calls, BUDGET_MS).await.unwrap();
    let ids: Vec<_> = answers.iter().map(|a| a.decision.call_id.as_str()).collect();
    assert_eq!(ids, ["a", "b"]);
    let settle = |id: &str| Settle {
        call_id: id.into(),
        outcome: Outcome::Done,
        usage: Usage::default(),
        detail: Detail::default(),
    };
    client.settle(settle("a")).await.unwrap();
    let unknown = client.settle(settle("unknown")).await;
    assert!(matches!(unknown, Err(DecideError::Refused { .. })));
    assert_eq!(client.exchange_checkpoint("pep", "mine").await.unwrap(), "after mine");
}

#[tokio::test]
async fn what_is_revoked_is_told_at_once_and_then_waited_for() {
    let pdp = Pdp::default();
    let (_running, client) = tcp(&pdp).await;
    let told = client.revocations(0).await.unwrap();
    let entry = told.entries.first().unwrap();
    assert_eq!((told.version, entry.kind, &*entry.id), (1, Kind::Agent, "killed"));
    // A question that waits holds up no other.
    tokio::select! {
        biased;
        again = client.revocations(1) => panic!("there is nothing new: {again:?}"),
        answer = client.decide(call("a", "single"), BUDGET_MS) => {
            assert_eq!(answer.unwrap().decision.effect, Effect::Allow);
        }
    }
}

#[tokio::test]
async fn an_error_in_place_of_an_answer_keeps_its_reason() {
    let pdp = Pdp::default();
    let (_running, client) = tcp(&pdp).await;
    let error = client.decide(call("a", "refuse"), BUDGET_MS).await.unwrap_err();
    assert_eq!(error.reason_id(), "bundle_missing");
}

#[tokio::test]
async fn the_token_goes_with_every_question() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("token");
    std::fs::write(&path, "pep-token\n").unwrap();
    let pdp = Pdp::default();
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let target = Target::parse(&format!("http://{}", listener.local_addr().unwrap())).unwrap();
    let _running = start_tcp(&pdp, listener);
    let client = GrpcDecide::connect(&target, TokenSource::file(&path).unwrap()).unwrap();
    client.decide(call("a", "x"), BUDGET_MS).await.unwrap();
    client.decide(sized("b", STREAM_MAX_CONTENT_BYTES + 1), BUDGET_MS).await.unwrap();
    client.decide_batch(vec![call("c", "x")], BUDGET_MS).await.unwrap();
    let asked = pdp.asked.lock().unwrap().clone();
    assert_eq!(asked.len(), 3);
    let token = Some("Bearer pep-token".to_owned());
    assert!(asked.iter().all(|asked| asked.authorization == token));
}

#[tokio::test]
async fn a_unix_socket_works_the_same() {
    use futures::StreamExt as _;
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("pdp.sock");
    let listener = std::os::unix::net::UnixListener::bind(&path).unwrap();
    listener.set_nonblocking(true).unwrap();
    let make = move || UnixListenerStream::new(UnixListener::from_std(listener).unwrap());
    let incoming = futures::stream::once(async move { make() }).flatten();
    let pdp = Pdp::default();
    let _running = Running::start(pdp.clone(), Box::pin(incoming));
    let target = Target::parse(&format!("unix:{}", path.display())).unwrap();
    let client = GrpcDecide::connect(&target, TokenSource::none()).unwrap();
    client.decide(call("a", "x"), BUDGET_MS).await.unwrap();
    assert_eq!(pdp.ways(), ["stream"]);
}

#[tokio::test]
async fn a_lost_connection_fails_what_waits_and_is_made_again() {
    let pdp = Pdp { silent: true, ..Pdp::default() };
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let running = start_tcp(&pdp, listener);
    let target = Target::parse(&format!("http://{address}")).unwrap();
    let client = GrpcDecide::connect(&target, TokenSource::none()).unwrap();
    let waiting = client.decide(call("a", "x"), BUDGET_MS);
    let killed = async {
        while pdp.ways().is_empty() {
            tokio::task::yield_now().await;
        }
        running.kill().await;
    };
    let (answered, ()) = tokio::join!(waiting, killed);
    assert!(matches!(answered, Err(DecideError::Unavailable(_))));
    let pdp = Pdp::default();
    let _again = start_tcp(&pdp, std::net::TcpListener::bind(address).unwrap());
    loop {
        match client.decide(call("b", "x"), BUDGET_MS).await {
            Ok(answer) => break assert_eq!(answer.decision.call_id, "b"),
            Err(error) => assert!(matches!(error, DecideError::Unavailable(_)), "{error}"),
        }
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn where_nobody_listens_there_is_no_decision() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let target = Target::parse(&format!("http://{}", listener.local_addr().unwrap())).unwrap();
    drop(listener);
    let client = GrpcDecide::connect(&target, TokenSource::none()).unwrap();
    for content in [1024, STREAM_MAX_CONTENT_BYTES + 1] {
        let error = client.decide(sized("a", content), BUDGET_MS).await.unwrap_err();
        assert!(matches!(error, DecideError::Unavailable(_)), "{error}");
    }
}
