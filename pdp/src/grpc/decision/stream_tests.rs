//! Streams whose decisions are made up.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures::FutureExt as _;
use lictor_proto::call::Call;
use lictor_proto::decide::{Answer, DecideError, Hints};
use lictor_proto::decision::{Decision, Reason};
use lictor_proto::wire;
use tokio::sync::{Notify, mpsc, oneshot};
use tokio::task::JoinHandle;
use tokio::time::advance;
use tokio_stream::wrappers::UnboundedReceiverStream;

use super::super::ask::answered;
use super::*;

type Messages = mpsc::UnboundedSender<Result<pb::DecideRequest, Status>>;

/// What the made up decisions see and wait for.
#[derive(Default)]
struct Point {
    decided: Mutex<Vec<(String, Duration)>>,
    opened: Notify,
}

/// A stream on its own task.
struct Talk {
    messages: Messages,
    sending: Sending,
    point: Arc<Point>,
    stop: oneshot::Sender<()>,
    task: JoinHandle<()>,
}

fn request(id: &str) -> pb::DecideRequest {
    let call = Call { call_id: id.to_owned(), ..Call::default() };
    pb::DecideRequest { call: Some(wire::call_to_pb(&call)), budget_ms: 0, dry_run: false }
}

/// Calls named `waits…` wait, and `panics…` panic; any other is denied at once.
async fn decide(point: &Point, question: Question) -> Result<Answer, DecideError> {
    let call_id = question.request.call.unwrap_or_default().call_id;
    let seen = (call_id.clone(), question.arrived.elapsed());
    point.decided.lock().unwrap().push(seen);
    if call_id.starts_with("waits") {
        point.opened.notified().await;
    }
    assert!(!call_id.starts_with("panics"), "as told");
    let decision = Decision::denied("d", &call_id, Reason::new("no", "no"));
    Ok(Answer { decision, hints: Hints::default() })
}

impl Talk {
    fn begin() -> Self {
        Self::with(|| true)
    }

    fn with(holds: impl FnMut() -> bool + Send + 'static) -> Self {
        let (messages, calls) = mpsc::unbounded_channel();
        let (replies, sending) = replies();
        let (stop, stopped) = oneshot::channel::<()>();
        let point = Arc::new(Point::default());
        let task = tokio::spawn({
            let point = Arc::clone(&point);
            async move {
                let (polls, point) = (AtomicUsize::new(0), &point);
                let decide = |question| answered(question, move |question| decide(point, question));
                let calls = UnboundedReceiverStream::new(calls);
                let talk = Conversation::new(calls, holds, decide, replies, &polls);
                talk.run(async { drop(stopped.await) }).await;
            }
        });
        Self { messages, sending, point, stop, task }
    }

    fn send(&self, id: &str) {
        self.messages.send(Ok(request(id))).unwrap();
    }

    fn decided(&self) -> usize {
        self.point.decided.lock().unwrap().len()
    }

    /// The next answer that is there: its call and why there is no decision.
    async fn next(&mut self) -> Option<Result<(String, Option<String>), Code>> {
        let next = self.sending.next().await?;
        let seen = |answer: pb::DecideResponse| (answer.call_id, answer.error.map(|e| e.id));
        Some(next.map(seen).map_err(|status| status.code()))
    }

    async fn error(&mut self) -> (String, Option<String>) {
        self.next().await.unwrap().unwrap()
    }

    /// Lets the stream do all that it can.
    async fn settle(&self) {
        for _ in 0..STREAM_IN_FLIGHT_MAX {
            yield_now().await;
        }
    }
}

fn plain(id: &str) -> (String, Option<String>) {
    (id.to_owned(), None)
}

fn refused(id: &str, reason: &str) -> (String, Option<String>) {
    (id.to_owned(), Some(reason.to_owned()))
}

#[tokio::test]
async fn what_waits_holds_up_nothing_behind_it() {
    let mut talk = Talk::begin();
    ["waits", "a", "b"].iter().for_each(|id| talk.send(id));
    assert_eq!((talk.error().await, talk.error().await), (plain("a"), plain("b")));
    talk.point.opened.notify_one();
    assert_eq!(talk.error().await, plain("waits"));
}

#[tokio::test]
async fn what_came_together_is_answered_in_one_go() {
    let mut talk = Talk::begin();
    (0..POLLS_A_TURN).for_each(|n| talk.send(&n.to_string()));
    talk.settle().await;
    for n in 0..POLLS_A_TURN {
        let there = talk.next().now_or_never();
        assert_eq!(there, Some(Some(Ok(plain(&n.to_string())))));
    }
}

#[tokio::test]
async fn others_have_the_worker_every_few_decisions() {
    let talk = Talk::begin();
    (0..500).for_each(|n| talk.send(&n.to_string()));
    let mut before = 0;
    while before < 500 {
        yield_now().await;
        let now = talk.decided();
        assert!(now - before <= POLLS_A_TURN, "{before} {now}");
        before = now;
    }
}

/// Lets every task that can go on have one turn.
async fn one_turn() {
    let mut had = false;
    poll_fn(|context| {
        if std::mem::replace(&mut had, true) {
            return Poll::Ready(());
        }
        context.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}

#[tokio::test]
async fn decisions_that_go_on_take_turns_as_well() {
    let mut talk = Talk::begin();
    (0..100).for_each(|n| talk.send(&format!("waits-{n}")));
    talk.settle().await;
    assert_eq!(talk.decided(), 100);
    talk.point.opened.notify_waiters();
    // As a task among others: what the test itself runs in has turns of its own.
    let seen = tokio::spawn(async move {
        let mut turns = Vec::new();
        while turns.iter().sum::<usize>() < 100 {
            one_turn().await;
            turns.push(std::iter::from_fn(|| talk.next().now_or_never()).count());
        }
        turns
    });
    let turns = seen.await.unwrap();
    // It may come late to its first look.
    assert!(turns.iter().skip(1).all(|seen| *seen <= POLLS_A_TURN), "{turns:?}");
}

#[tokio::test]
async fn all_that_was_announced_is_decided_though_nobody_reads() {
    let mut talk = Talk::begin();
    (0..STREAM_IN_FLIGHT_MAX).for_each(|n| talk.send(&n.to_string()));
    talk.settle().await;
    assert_eq!(talk.decided(), STREAM_IN_FLIGHT_MAX);
    talk.send("beyond");
    talk.settle().await;
    assert_eq!(talk.decided(), STREAM_IN_FLIGHT_MAX);
    for n in 0..STREAM_IN_FLIGHT_MAX {
        assert_eq!(talk.error().await, plain(&n.to_string()));
    }
    assert_eq!(talk.error().await, refused("beyond", reason::OVERLOADED));
    talk.send("again");
    assert_eq!(talk.error().await, plain("again"), "there is room again");
}

#[tokio::test]
async fn a_call_that_is_being_decided_is_in_flight_as_well() {
    let mut talk = Talk::begin();
    (0..STREAM_IN_FLIGHT_MAX).for_each(|n| talk.send(&format!("waits-{n}")));
    talk.send("beyond");
    assert_eq!(talk.error().await, refused("beyond", reason::OVERLOADED), "at once");
    talk.settle().await;
    talk.point.opened.notify_one();
    assert!(talk.error().await.0.starts_with("waits-"));
    talk.send("next");
    assert_eq!(talk.error().await, plain("next"));
}

#[tokio::test]
async fn whoever_does_not_read_refusals_either_loses_the_stream() {
    let most = STREAM_IN_FLIGHT_MAX + STREAM_REFUSALS_MAX;
    let mut talk = Talk::begin();
    (0..most).for_each(|n| talk.send(&n.to_string()));
    talk.settle().await;
    assert!(!talk.task.is_finished());
    talk.send("one more");
    talk.settle().await;
    assert!(talk.task.is_finished());
    assert_eq!(talk.next().await, Some(Err(Code::ResourceExhausted)), "nothing is kept");
    assert_eq!(talk.next().await, None);
}

#[tokio::test(start_paused = true)]
async fn a_budget_counts_from_when_the_message_was_read() {
    let talk = Talk::begin();
    (0..POLLS_A_TURN + 1).for_each(|n| talk.send(&n.to_string()));
    yield_now().await;
    assert_eq!(talk.decided(), POLLS_A_TURN, "the last one has to wait for its turn");
    advance(Duration::from_millis(300)).await;
    talk.settle().await;
    let waited: Vec<_> = talk.point.decided.lock().unwrap().iter().map(|seen| seen.1).collect();
    assert_eq!(waited.first(), Some(&Duration::ZERO));
    assert_eq!(waited.last(), Some(&Duration::from_millis(300)));
}

#[tokio::test]
async fn a_large_call_is_refused_and_the_stream_goes_on() {
    let mut talk = Talk::begin();
    let mut large = request("large");
    large.call.as_mut().unwrap().tenant = "x".repeat(CALL_BYTES_MAX);
    talk.messages.send(Ok(large)).unwrap();
    talk.send("a");
    assert_eq!(talk.error().await, refused("large", reason::BODY_TOO_LARGE));
    assert_eq!(talk.error().await, plain("a"));
}

#[tokio::test]
async fn a_panic_ends_one_call() {
    let mut talk = Talk::begin();
    ["waits", "panics", "a"].iter().for_each(|id| talk.send(id));
    assert_eq!(talk.error().await, refused("panics", reason::POLICY_ERROR));
    assert_eq!(talk.error().await, plain("a"));
    talk.point.opened.notify_one();
    assert_eq!(talk.error().await, plain("waits"));
}

#[tokio::test]
async fn a_credential_that_ended_lets_go_on_what_was_read_and_nothing_more() {
    let mut left = 2;
    let mut talk = Talk::with(move || {
        left -= 1;
        left >= 0
    });
    ["waits", "a", "b", "c"].iter().for_each(|id| talk.send(id));
    assert_eq!(talk.error().await, plain("a"));
    talk.point.opened.notify_one();
    assert_eq!(talk.error().await, plain("waits"));
    assert_eq!(talk.next().await, Some(Err(Code::Unauthenticated)));
    assert_eq!((talk.next().await, talk.decided()), (None, 2));
}

#[tokio::test]
async fn an_end_of_questions_and_a_stop_let_what_was_read_be_answered() {
    for stops in [false, true] {
        let mut talk = Talk::begin();
        ["waits", "a"].iter().for_each(|id| talk.send(id));
        assert_eq!(talk.error().await, plain("a"));
        let Talk { messages, mut sending, point, stop, task } = talk;
        let kept = if stops {
            drop(stop);
            (Some(messages), None)
        } else {
            drop(messages);
            (None, Some(stop))
        };
        yield_now().await;
        assert!(!task.is_finished());
        point.opened.notify_one();
        assert_eq!(sending.next().await.unwrap().unwrap().call_id, "waits");
        assert!(sending.next().await.is_none());
        drop(kept);
    }
}

#[tokio::test]
async fn whoever_is_gone_is_not_decided_for() {
    let talk = Talk::begin();
    talk.send("waits");
    talk.settle().await;
    let Talk { messages, sending, task, stop, .. } = talk;
    drop(sending);
    messages.send(Ok(request("a"))).unwrap();
    task.await.unwrap();
    drop(stop);
}
