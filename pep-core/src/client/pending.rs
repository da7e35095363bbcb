//! Calls whose answers are on their way, by call id.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use lictor_proto::decide::{Answer, DecideError};
use tokio::sync::oneshot;

use super::failure::Failure;

/// Most calls that wait for an answer on one stream; one more is refused at once.
pub(crate) const MAX_IN_FLIGHT_CALLS: usize = 4096;

type Waiting = HashMap<String, oneshot::Sender<Result<Answer, Failure>>>;

/// The waiting calls of one stream. Once failed, it takes no more.
#[derive(Clone, Default)]
pub(crate) struct Pending(Arc<Mutex<State>>);

#[derive(Default)]
struct State {
    waiting: Waiting,
    failed: Option<String>,
}

/// One waiting call. Dropping it forgets the call, so that a late answer goes nowhere.
pub(crate) struct Ticket {
    pending: Pending,
    call_id: String,
    answer: oneshot::Receiver<Result<Answer, Failure>>,
}

impl Pending {
    fn state(&self) -> MutexGuard<'_, State> {
        // The map is whole after every statement, so a panic elsewhere leaves nothing half done.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits for the answer to `call_id`.
    ///
    /// # Errors
    /// The stream has failed, is full, or already waits for this id.
    pub(crate) fn wait_for(&self, call_id: &str) -> Result<Ticket, Failure> {
        let (sender, answer) = oneshot::channel();
        let mut state = self.state();
        if let Some(why) = &state.failed {
            return Err(Failure::Connection(why.clone()));
        }
        if state.waiting.len() >= MAX_IN_FLIGHT_CALLS {
            let full = "too many calls wait for answers".to_owned();
            return Err(Failure::Answered(DecideError::Unavailable(full)));
        }
        if state.waiting.contains_key(call_id) {
            return Err(Failure::Answered(DecideError::Refused {
                id: lictor_proto::reason::CALL_ID_REUSED.to_owned(),
                message: "the same call is already being decided".to_owned(),
            }));
        }
        state.waiting.insert(call_id.to_owned(), sender);
        Ok(Ticket { pending: self.clone(), call_id: call_id.to_owned(), answer })
    }

    /// Hands an answer to whoever waits for `call_id`; nobody waiting is no error.
    pub(crate) fn answer(&self, call_id: &str, answer: Result<Answer, DecideError>) {
        let waiter = self.state().waiting.remove(call_id);
        if let Some(waiter) = waiter {
            // The waiter may have gone away meanwhile; then the answer is not used.
            let _ = waiter.send(answer.map_err(Failure::Answered));
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
    /// As the decision point says, or that the stream failed.
    pub(crate) async fn answered(mut self) -> Result<Answer, Failure> {
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
    use lictor_proto::decide::Hints;
    use lictor_proto::decision::{Decision, Reason};

    use super::*;

    fn answer(call_id: &str) -> Answer {
        let decision = Decision::denied("d", call_id, Reason::new("r", "m"));
        Answer { decision, hints: Hints::default() }
    }

    #[tokio::test]
    async fn answers_find_their_calls_in_any_order() {
        let pending = Pending::default();
        let (a, b) = (pending.wait_for("a").unwrap(), pending.wait_for("b").unwrap());
        pending.answer("b", Ok(answer("b")));
        pending.answer("nobody", Ok(answer("nobody")));
        pending.answer("a", Ok(answer("a")));
        assert_eq!(a.answered().await.unwrap().decision.call_id, "a");
        assert_eq!(b.answered().await.unwrap().decision.call_id, "b");
        assert!(pending.is_empty());
    }

    #[tokio::test]
    async fn failing_answers_all_and_takes_no_more() {
        let pending = Pending::default();
        let ticket = pending.wait_for("a").unwrap();
        pending.fail("gone");
        assert!(matches!(ticket.answered().await, Err(Failure::Connection(_))));
        assert!(matches!(pending.wait_for("b"), Err(Failure::Connection(_))));
    }

    #[test]
    fn a_dropped_ticket_frees_its_id_and_a_waiting_one_keeps_it() {
        let pending = Pending::default();
        let ticket = pending.wait_for("a").unwrap();
        assert!(matches!(
            pending.wait_for("a"),
            Err(Failure::Answered(DecideError::Refused { .. }))
        ));
        drop(ticket);
        assert!(pending.wait_for("a").is_ok());
    }

    #[test]
    fn the_number_of_waiting_calls_is_bounded() {
        let pending = Pending::default();
        let mut tickets: Vec<_> =
            (0..MAX_IN_FLIGHT_CALLS).map(|n| pending.wait_for(&n.to_string()).unwrap()).collect();
        assert!(matches!(pending.wait_for("more"), Err(Failure::Answered(_))));
        tickets.pop();
        assert!(pending.wait_for("more").is_ok());
    }
}
