//! `GrpcDecide` over TCP and a Unix socket.

use std::sync::Arc;

use lictor_pep_core::client::{CALL_BYTES_MAX, GrpcDecide, Target, TokenSource};
use lictor_proto::call::{Call, Content, Origin, Usage};
use lictor_proto::decide::{Decide as _, DecideError, Detail, Outcome, Settle};
use lictor_proto::decision::Effect;
use lictor_proto::revocation::Kind;
use lictor_proto::stream::fits;
use lictor_proto::{pb, reason, wire};
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
    call.content = vec![Content {
        origin: Origin::User,
        pointer: String::new(),
        media: "text/plain".into(),
        text: "x".repeat(bytes),
    }];
    Arc::new(call)
}

/// The most text with which a call fits on a stream.
fn most_text(id: &str) -> usize {
    let fitting = |bytes: &usize| {
        let call = Some(wire::call_to_pb(&sized(id, *bytes)));
        fits(&pb::DecideRequest { call, budget_ms: BUDGET_MS, dry_run: false })
    };
    (0..CALL_BYTES_MAX).rev().find(fitting).unwrap()
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
    let most = most_text("small");
    client.decide(sized("small", most), BUDGET_MS).await.unwrap();
    client.decide(sized("large", most + 1), BUDGET_MS).await.unwrap();
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
    client.decide(sized("b", CALL_BYTES_MAX), BUDGET_MS).await.unwrap();
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
    for content in [1024, CALL_BYTES_MAX] {
        let error = client.decide(sized("a", content), BUDGET_MS).await.unwrap_err();
        assert!(matches!(error, DecideError::Unavailable(_)), "{error}");
    }
}

#[tokio::test]
async fn no_more_than_announced_are_in_flight_and_one_more_is_refused_at_once() {
    let pdp = Pdp { silent: true, in_flight: Some(3), ..Pdp::default() };
    let (_running, client) = tcp(&pdp).await;
    let ask = |id: String| {
        let client = client.clone();
        tokio::spawn(async move { client.decide(call(&id, "x"), BUDGET_MS).await })
    };
    let waiting: Vec<_> = (0..3).map(|n| ask(format!("c-{n}"))).collect();
    while pdp.ways().len() < 3 {
        tokio::task::yield_now().await;
    }
    let refused = client.decide(call("more", "x"), BUDGET_MS).await.unwrap_err();
    assert_eq!(refused.reason_id(), reason::OVERLOADED);
    // Who gives up leaves the call with the decision point.
    waiting.iter().for_each(tokio::task::JoinHandle::abort);
    for given_up in waiting {
        assert!(given_up.await.unwrap_err().is_cancelled());
    }
    let refused = client.decide(call("more", "x"), BUDGET_MS).await.unwrap_err();
    assert_eq!(refused.reason_id(), reason::OVERLOADED);
    assert_eq!(pdp.ways().len(), 3);
    // What goes by itself is not on the stream.
    assert!(client.decide(sized("large", CALL_BYTES_MAX), BUDGET_MS).await.is_ok());
}

/// Waits for a number of open streams.
async fn open(client: &GrpcDecide, streams: usize) {
    let told = |line: &str| {
        line.starts_with("lictor_pdp_streams{") && line.ends_with(&format!("}} {streams}"))
    };
    while !client.metrics_text().lines().any(told) {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn calls_spread_over_as_many_connections_as_are_announced() {
    let pdp = Pdp { streams: Some(3), ..Pdp::default() };
    let (_running, client) = tcp(&pdp).await;
    open(&client, 3).await;
    assert_eq!(pdp.opened.lock().unwrap().len(), 3);
    // Answers wait until there are as many of them on one stream: each has its part.
    let calls: Vec<_> = (0..3 * GROUP).map(|n| call(&format!("c-{n}"), "grouped")).collect();
    let asked = calls.into_iter().map(|call| client.decide(call, BUDGET_MS));
    for answer in futures::future::join_all(asked).await {
        assert_eq!(answer.unwrap().decision.effect, Effect::Allow);
    }
    assert_eq!(*pdp.opened.lock().unwrap(), [GROUP, GROUP, GROUP]);
}

#[tokio::test]
async fn a_stream_that_breaks_costs_no_call_and_is_opened_again() {
    let pdp = Pdp { streams: Some(2), ..Pdp::default() };
    let (_running, client) = tcp(&pdp).await;
    open(&client, 2).await;
    for n in 0..20 {
        let broken = client.decide(call(&format!("b-{n}"), "break"), BUDGET_MS);
        let others = (0..8).map(|m| client.decide(call(&format!("{n}-{m}"), "single"), BUDGET_MS));
        let others = futures::future::join_all(others);
        let (broken, others) = tokio::join!(broken, others);
        assert!(broken.is_ok(), "{broken:?}");
        assert!(others.iter().all(Result::is_ok), "{others:?}");
    }
    open(&client, 2).await;
    assert!(pdp.opened.lock().unwrap().len() > 20);
}
