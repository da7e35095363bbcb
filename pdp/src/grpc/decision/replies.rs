//! Answers on their way from the task that decides to the one that sends them. Whoever decides
//! never waits here: how many there may be is the stream's credit, which the deciding side keeps.

use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use futures::Stream;
use lictor_proto::pb;
use tonic::Status;

/// The side that decides.
pub(super) struct Replies(Arc<Shared>);

/// The side that sends: all that is there comes out of one poll after another without a pause, so
/// that it leaves in one frame.
pub(super) struct Sending(Arc<Shared>);

#[derive(Default)]
struct Shared(Mutex<State>);

#[derive(Default)]
struct State {
    waiting: VecDeque<pb::DecideResponse>,
    sender: Option<Waker>,
    end: End,
    /// Nobody sends any more.
    gone: bool,
}

#[derive(Default)]
enum End {
    #[default]
    Open,
    /// After what waits.
    Over(Option<Status>),
}

pub(super) fn replies() -> (Replies, Sending) {
    let shared = Arc::new(Shared::default());
    (Replies(Arc::clone(&shared)), Sending(shared))
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        // Every statement leaves it whole, so a panic elsewhere leaves nothing half done.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Replies {
    /// How many were not taken yet.
    pub(super) fn waiting(&self) -> usize {
        self.0.state().waiting.len()
    }

    /// Hands over `ready` at once, with one wake-up. False where nobody sends any more.
    pub(super) fn hand_over(&self, ready: &mut Vec<pb::DecideResponse>) -> bool {
        let mut state = self.0.state();
        if state.gone {
            return false;
        }
        if ready.is_empty() {
            return true;
        }
        state.waiting.extend(ready.drain(..));
        let sender = state.sender.take();
        drop(state);
        sender.into_iter().for_each(Waker::wake);
        true
    }

    /// Ends the stream with `status` in place of what waits.
    pub(super) fn cut(self, status: Status) {
        let mut state = self.0.state();
        state.waiting = VecDeque::new();
        state.end = End::Over(Some(status));
    }

    /// Ends the stream after what waits.
    pub(super) fn end(self, status: Option<Status>) {
        self.0.state().end = End::Over(status);
    }
}

impl Drop for Replies {
    fn drop(&mut self) {
        let mut state = self.0.state();
        if matches!(state.end, End::Open) {
            state.end = End::Over(None);
        }
        let sender = state.sender.take();
        drop(state);
        sender.into_iter().for_each(Waker::wake);
    }
}

impl Stream for Sending {
    type Item = Result<pb::DecideResponse, Status>;

    fn poll_next(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let mut state = self.0.state();
        if let Some(answer) = state.waiting.pop_front() {
            return Poll::Ready(Some(Ok(answer)));
        }
        match &mut state.end {
            End::Over(status) => Poll::Ready(status.take().map(Err)),
            End::Open => {
                state.sender = Some(context.waker().clone());
                Poll::Pending
            }
        }
    }
}

impl Drop for Sending {
    fn drop(&mut self) {
        let mut state = self.0.state();
        state.gone = true;
        let waiting = std::mem::take(&mut state.waiting);
        drop(state);
        drop(waiting);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::task::Wake;

    use futures::{FutureExt as _, StreamExt as _};

    use super::*;

    #[derive(Default)]
    struct Wakes(AtomicUsize);

    impl Wake for Wakes {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn answers(count: usize) -> Vec<pb::DecideResponse> {
        let of = |n: usize| pb::DecideResponse { call_id: n.to_string(), ..Default::default() };
        (0..count).map(of).collect()
    }

    fn next(sending: &mut Sending) -> Option<Option<Result<String, tonic::Code>>> {
        let next = sending.next().now_or_never()?;
        Some(next.map(|sent| sent.map(|answer| answer.call_id).map_err(|status| status.code())))
    }

    #[test]
    fn what_is_ready_together_goes_together_with_one_wake_up() {
        let (replies, mut sending) = replies();
        let wakes = Arc::new(Wakes::default());
        let waker = Waker::from(Arc::clone(&wakes));
        let mut context = Context::from_waker(&waker);
        assert!(sending.poll_next_unpin(&mut context).is_pending());
        assert!(replies.hand_over(&mut answers(3)) && replies.hand_over(&mut answers(1)));
        assert_eq!((wakes.0.load(Ordering::Relaxed), replies.waiting()), (1, 4));
        let taken: Vec<_> = (0..4).map(|_| next(&mut sending).unwrap().unwrap().unwrap()).collect();
        assert_eq!(taken, ["0", "1", "2", "0"]);
        assert_eq!((next(&mut sending), replies.waiting()), (None, 0));
    }

    #[test]
    fn an_end_comes_after_what_waits_and_a_cut_in_its_place() {
        let status = || Status::resource_exhausted("x");
        let told = Some(Some(Err(tonic::Code::ResourceExhausted)));
        let (one, mut sending) = replies();
        assert!(one.hand_over(&mut answers(1)));
        one.end(Some(status()));
        assert_eq!(next(&mut sending), Some(Some(Ok("0".to_owned()))));
        assert_eq!((next(&mut sending), next(&mut sending)), (told.clone(), Some(None)));
        let (two, mut sending) = replies();
        assert!(two.hand_over(&mut answers(9)));
        two.cut(status());
        assert_eq!((next(&mut sending), next(&mut sending)), (told, Some(None)));
    }

    #[test]
    fn whoever_sends_being_gone_is_told_and_keeps_nothing() {
        let (replies, sending) = replies();
        assert!(replies.hand_over(&mut answers(2)));
        drop(sending);
        assert!(!replies.hand_over(&mut answers(2)) && !replies.hand_over(&mut Vec::new()));
        assert_eq!(replies.waiting(), 0);
    }
}
