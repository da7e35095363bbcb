//! Calls whose answers are on their way, by call id, as many as the decision point takes.

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use lictor_proto::decide::DecideError;
use lictor_proto::{pb, reason};
use tokio::sync::oneshot;

use super::failure::Failure;

/// Most calls in flight on one stream, whatever the decision point announces.
pub(crate) const MAX_IN_FLIGHT_CALLS: usize = 4096;

type Waiting = HashMap<String, oneshot::Sender<Result<pb::DecideResponse, Failure>>>;

/// The waiting calls of one stream. Once failed, it takes no more.
#[derive(Clone)]
pub(crate) struct Pending(Arc<Shared>);

struct Shared {
    /// Most calls in flight.
    credit: usize,
    /// Calls that were sent and not answered; those that nobody waits for any more as well, since
    /// the other side still has them.
    in_flight: AtomicUsize,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    waiting: Waiting,
    failed: Option<String>,
}

/// One waiting call. Dropping it forgets the call, so that a late answer goes nowhere.
pub(crate) struct Ticket {
    pending: Pending,
    call_id: String,
    answer: oneshot::Receiver<Result<pb::DecideResponse, Failure>>,
}

impl Pending {
    /// For a stream on which `credit` calls may be in flight.
    pub(crate) fn new(credit: usize) -> Self {
        let credit = credit.clamp(1, MAX_IN_FLIGHT_CALLS);
        let (in_flight, state) = (AtomicUsize::new(0), Mutex::default());
        Self(Arc::new(Shared { credit, in_flight, state }))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // The map is whole after every statement, so a panic elsewhere leaves nothing half done.
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Calls that were sent and not answered.
    pub(crate) fn in_flight(&self) -> usize {
        self.0.in_flight.load(Ordering::Relaxed)
    }

    /// Waits for the answer to `call_id`, which is to be sent at once.
    ///
    /// # Errors
    /// The stream has failed, is full, or already waits for this id.
    pub(crate) fn wait_for(&self, call_id: &str) -> Result<Ticket, Failure> {
        let (sender, answer) = oneshot::channel();
        let mut state = self.state();
        if let Some(why) = &state.failed {
            return Err(Failure::Connection(why.clone()));
        }
        let refused = |id: &str, message: String| {
            Err(Failure::Unasked(DecideError::Refused { id: id.to_owned(), message }))
        };
        if state.waiting.contains_key(call_id) {
            let message = "the same call is already being decided".to_owned();
            return refused(reason::CALL_ID_REUSED, message);
        }
        if self.in_flight() >= self.0.credit {
            let message = format!(
                "{} calls already wait for the decision point, which takes no more: try again later",
                self.0.credit
            );
            return refused(reason::OVERLOADED, message);
        }
        self.0.in_flight.fetch_add(1, Ordering::Relaxed);
        state.waiting.insert(call_id.to_owned(), sender);
        drop(state);
        Ok(Ticket { pending: self.clone(), call_id: call_id.to_owned(), answer })
    }

    /// Hands an answer to whoever waits for its call; nobody waiting is no error.
    pub(crate) fn answer(&self, response: pb::DecideResponse) {
        let waiter = {
            let mut state = self.state();
            let left = self.in_flight().saturating_sub(1);
            self.0.in_flight.store(left, Ordering::Relaxed);
            state.waiting.remove(&response.call_id)
        };
        if let Some(waiter) = waiter {
            // The waiter may have gone away meanwhile; then the answer is not used.
            drop(waiter.send(Ok(response)));
        }
    }

    /// Fails every waiting call at once, and all that come later.
    pub(crate) fn fail(&self, why: &str) {
        let waiting = {
            let mut state = self.state();
            state.failed = Some(why.to_owned());
            std::mem::take(&mut state.waiting)
        };
        for (_, waiter) in waiting {
            let _ = waiter.send(Err(Failure::Connection(why.to_owned())));
        }
    }

    /// Whether no call waits.
    #[cfg(test)]
    fn is_empty(&self) -> bool {
        self.state().waiting.is_empty()
    }
}

impl Ticket {
    /// The answer.
    ///
    /// # Errors
    /// The stream failed.
    pub(crate) async fn answered(mut self) -> Result<pb::DecideResponse, Failure> {
        let lost = || Failure::Connection("the stream ended".to_owned());
        (&mut self.answer).await.unwrap_or_else(|_| Err(lost()))
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        self.pending.state().waiting.remove(&self.call_id);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(call_id: &str) -> pb::DecideResponse {
        pb::DecideResponse { call_id: call_id.to_owned(), ..Default::default() }
    }

    fn refused(pending: &Pending, call_id: &str) -> Option<String> {
        match pending.wait_for(call_id) {
            Err(Failure::Unasked(error)) => Some(error.reason_id().to_owned()),
            _ => None,
        }
    }

    #[tokio::test]
    async fn answers_find_their_calls_in_any_order() {
        let pending = Pending::new(9);
        let (a, b) = (pending.wait_for("a").unwrap(), pending.wait_for("b").unwrap());
        ["b", "nobody", "a"].iter().for_each(|id| pending.answer(answer(id)));
        assert_eq!(a.answered().await.unwrap().call_id, "a");
        assert_eq!(b.answered().await.unwrap().call_id, "b");
        assert!(pending.is_empty());
    }

    #[tokio::test]
    async fn failing_answers_all_and_takes_no_more() {
        let pending = Pending::new(9);
        let ticket = pending.wait_for("a").unwrap();
        pending.fail("gone");
        assert!(matches!(ticket.answered().await, Err(Failure::Connection(_))));
        assert!(matches!(pending.wait_for("b"), Err(Failure::Connection(_))));
    }

    #[test]
    fn a_dropped_ticket_frees_its_id_and_a_waiting_one_keeps_it() {
        let pending = Pending::new(9);
        let ticket = pending.wait_for("a").unwrap();
        assert_eq!(refused(&pending, "a").as_deref(), Some(reason::CALL_ID_REUSED));
        drop(ticket);
        assert!(pending.wait_for("a").is_ok());
    }

    #[test]
    fn no_more_than_announced_are_in_flight_whether_somebody_waits_or_not() {
        for (announced, credit) in [(3, 3), (0, 1), (usize::MAX, MAX_IN_FLIGHT_CALLS)] {
            let pending = Pending::new(announced);
            let one = |n: usize| pending.wait_for(&n.to_string()).unwrap();
            let mut tickets: Vec<_> = (0..credit).map(one).collect();
            assert_eq!(pending.in_flight(), credit);
            assert_eq!(refused(&pending, "more").as_deref(), Some(reason::OVERLOADED));
            // The other side still has it.
            tickets.clear();
            assert_eq!(refused(&pending, "more").as_deref(), Some(reason::OVERLOADED));
            pending.answer(answer("0"));
            assert!(pending.wait_for("more").is_ok());
        }
    }
}
