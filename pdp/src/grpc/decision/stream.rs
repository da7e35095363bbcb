//! A `DecideStream`. One task reads messages and decides them inline on its worker; only waiting
//! (state, audit, detectors elsewhere) leaves it, so that a slow record holds up no call behind it.
//!
//! Reading never waits for sending: how much there is at once is bounded by what was announced.
//! A call is in flight from when it is read until its answer is taken to be sent.

use std::collections::VecDeque;
use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};

use futures::Stream;
use futures::stream::{FuturesUnordered, StreamExt as _};
use lictor_proto::stream::{CALL_BYTES_MAX, fits};
use lictor_proto::{pb, reason};
use tokio::task::yield_now;
use tokio::time::Instant;
use tonic::{Code, Status};

use super::ask::{Asker, Question, refusal};
use super::replies::{Replies, Sending, replies};
use crate::door::Pass;
use crate::grpc::{outlived, status};

/// Most calls of one stream that are in flight: read, and their answers not taken. Announced to
/// whoever opens it.
pub const STREAM_IN_FLIGHT_MAX: usize = 1_024;
/// Most refusals of calls beyond [`STREAM_IN_FLIGHT_MAX`] that wait to be taken: one more and the
/// stream ends.
pub(super) const STREAM_REFUSALS_MAX: usize = 1_024;
/// How often decisions of one stream are gone on with before others have the worker.
pub(super) const POLLS_A_TURN: usize = 8;
/// Messages of one stream that are read before others have the worker.
pub(super) const MESSAGES_A_TURN: usize = 64;

/// Serves one stream until `stop`. It ends with the credential that it was opened with: a call
/// after that is not looked at.
pub(super) fn serve(
    asker: Asker,
    pass: Pass,
    calls: impl Stream<Item = Result<pb::DecideRequest, Status>> + Send + Unpin + 'static,
    stop: impl Future<Output = ()> + Send + 'static,
) -> Sending {
    let (replies, sending) = replies();
    tokio::spawn(async move {
        let mut looked_ms = None;
        let holds = || {
            // The clock's own steps: within one nothing can have changed.
            let now_ms = Some(asker.now_ms());
            looked_ms == now_ms || {
                looked_ms = now_ms;
                now_ms.is_some_and(|now_ms| pass.holds(now_ms))
            }
        };
        let (decide, polls) = (|question| asker.answer(question), AtomicUsize::new(0));
        Conversation::new(calls, holds, decide, replies, &polls).run(stop).await;
    });
    sending
}

/// One stream.
struct Conversation<'a, C, H, D, F> {
    calls: C,
    /// Whether the credential still counts.
    holds: H,
    decide: D,
    replies: Replies,
    /// Read, and not begun.
    waiting: VecDeque<Question>,
    /// Begun, and waiting for something else.
    deciding: FuturesUnordered<Paced<'a, F>>,
    /// Done, and not handed over.
    ready: Vec<pb::DecideResponse>,
    polls: &'a AtomicUsize,
    reading: bool,
    over: Option<Over>,
}

/// Why a stream ends before its peer ends it.
enum Over {
    /// After the calls that were read.
    After(Status),
    /// At once.
    Now(Status),
}

/// What follows a turn.
enum Next {
    /// Another, after others had theirs.
    Yield,
    /// Nothing.
    End,
}

impl<'a, C, H, D, F> Conversation<'a, C, H, D, F>
where
    C: Stream<Item = Result<pb::DecideRequest, Status>> + Unpin,
    H: FnMut() -> bool,
    D: Fn(Question) -> F,
    F: Future<Output = pb::DecideResponse>,
{
    fn new(calls: C, holds: H, decide: D, replies: Replies, polls: &'a AtomicUsize) -> Self {
        Self {
            calls,
            holds,
            decide,
            replies,
            waiting: VecDeque::new(),
            deciding: FuturesUnordered::new(),
            ready: Vec::new(),
            polls,
            reading: true,
            over: None,
        }
    }

    async fn run(mut self, stop: impl Future<Output = ()>) {
        let mut stop = pin!(stop);
        loop {
            let next = poll_fn(|context| {
                if self.reading && stop.as_mut().poll(context).is_ready() {
                    self.reading = false;
                }
                self.turn(context)
            });
            match next.await {
                Next::Yield => yield_now().await,
                Next::End => break,
            }
        }
        match self.over {
            Some(Over::Now(status)) => self.replies.cut(status),
            Some(Over::After(status)) => self.replies.end(Some(status)),
            None => self.replies.end(None),
        }
    }

    /// Goes on with what waited, reads, begins what is next, and hands over all that is ready.
    fn turn(&mut self, context: &mut Context<'_>) -> Poll<Next> {
        self.polls.store(0, Ordering::Relaxed);
        self.resume(context);
        let unread = self.read(context);
        self.begin(context);
        // Those just begun are told whom to wake.
        self.resume(context);
        let taken = self.replies.hand_over(&mut self.ready);
        if !taken || matches!(self.over, Some(Over::Now(_))) {
            return Poll::Ready(Next::End);
        }
        if unread || !self.waiting.is_empty() {
            return Poll::Ready(Next::Yield);
        }
        if !self.reading && self.deciding.is_empty() {
            return Poll::Ready(Next::End);
        }
        Poll::Pending
    }

    fn resume(&mut self, context: &mut Context<'_>) {
        while let Poll::Ready(Some(answer)) = self.deciding.poll_next_unpin(context) {
            self.ready.push(answer);
        }
    }

    /// Reads what is there, as long as it is this stream's turn. Whether there may be more.
    fn read(&mut self, context: &mut Context<'_>) -> bool {
        let mut arrived = None;
        let mut in_flight = None;
        for _ in 0..MESSAGES_A_TURN {
            if !self.reading {
                return false;
            }
            let request = match self.calls.poll_next_unpin(context) {
                Poll::Pending => return false,
                Poll::Ready(Some(Ok(request))) if (self.holds)() => request,
                Poll::Ready(Some(Ok(_))) => {
                    self.stop_reading(Over::After(outlived()));
                    return false;
                }
                Poll::Ready(Some(Err(_)) | None) => {
                    self.reading = false;
                    return false;
                }
            };
            let arrived = *arrived.get_or_insert_with(Instant::now);
            let in_flight = in_flight.get_or_insert_with(|| self.in_flight());
            self.admit(Question { request, arrived }, *in_flight);
            *in_flight += 1;
        }
        self.reading
    }

    fn in_flight(&self) -> usize {
        self.waiting.len() + self.deciding.len() + self.ready.len() + self.replies.waiting()
    }

    /// Takes a question on, or refuses it at once, where `in_flight` are there already.
    fn admit(&mut self, question: Question, in_flight: usize) {
        let request = &question.request;
        if in_flight >= STREAM_IN_FLIGHT_MAX + STREAM_REFUSALS_MAX {
            let message = "too many answers wait on this stream: read them";
            let status = status(Code::ResourceExhausted, reason::OVERLOADED, message);
            self.stop_reading(Over::Now(status));
        } else if in_flight >= STREAM_IN_FLIGHT_MAX {
            let message = format!(
                "more than {STREAM_IN_FLIGHT_MAX} calls are in flight on this stream: wait for answers"
            );
            self.ready.push(refusal(request, reason::OVERLOADED, &message));
        } else if !fits(request) {
            let message = format!(
                "the call is larger than {CALL_BYTES_MAX} bytes: send it by `Decide` or `Inspect`"
            );
            self.ready.push(refusal(request, reason::BODY_TOO_LARGE, &message));
        } else {
            self.waiting.push_back(question);
        }
    }

    fn stop_reading(&mut self, over: Over) {
        (self.reading, self.over) = (false, Some(over));
    }

    /// Begins what is next, as long as it is this stream's turn. What needs no waiting is done.
    fn begin(&mut self, context: &mut Context<'_>) {
        while self.polls.load(Ordering::Relaxed) < POLLS_A_TURN {
            let Some(question) = self.waiting.pop_front() else { return };
            self.polls.fetch_add(1, Ordering::Relaxed);
            let mut decision = Box::pin((self.decide)(question));
            match decision.as_mut().poll(context) {
                Poll::Ready(answer) => self.ready.push(answer),
                Poll::Pending => {
                    self.deciding.push(Paced { decision, polls: self.polls, begun: false });
                }
            }
        }
    }
}

/// A decision that waits for something: gone on with as often as its stream's turn allows.
struct Paced<'a, F> {
    decision: Pin<Box<F>>,
    polls: &'a AtomicUsize,
    /// Whether it knows whom to wake; that costs no turn.
    begun: bool,
}

impl<F: Future> Future for Paced<'_, F> {
    type Output = F::Output;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<F::Output> {
        if self.begun && self.polls.fetch_add(1, Ordering::Relaxed) >= POLLS_A_TURN {
            context.waker().wake_by_ref();
            return Poll::Pending;
        }
        self.begun = true;
        self.decision.as_mut().poll(context)
    }
}

#[cfg(test)]
#[path = "stream_tests.rs"]
mod tests;
