//! Stage 3: asking for the decision, within a deadline and without retry storms.
//!
//! At most one retry, with the same `call_id`, and only where the first try failed before the
//! deadline. Whoever gives up says so (`not_sent`), which refunds and tombstones the id, so that
//! a late decision can never be used.

use std::sync::Arc;
use std::time::Duration;

use lictor_proto::call::{Call, Phase, Usage};
use lictor_proto::decide::{
    Answer, DEFAULT_BUDGET_MS, Decide, DecideError, Detail, Outcome, Settle, WAIT_MAX_MS,
};
use lictor_proto::decision::Standing;
use lictor_proto::reason;
use tokio::sync::Semaphore;
use tokio::time::{Instant, sleep_until, timeout_at};

use crate::refusal::Refusal;

/// Most settlements that wait in the background; past it the caller waits for its own.
pub const MAX_BACKGROUND_SETTLES: usize = 1024;
/// How long one settlement, or one exchange of checkpoints, may take, milliseconds.
pub const SETTLE_TIMEOUT_MS: u64 = 5_000;
/// Pause before an approval is asked about again whose answer came sooner than it had to,
/// milliseconds.
pub const APPROVAL_PAUSE_MS: u64 = 1_000;
/// Most calls of one batch on the wire.
pub const MAX_BATCH_CALLS: usize = 1024;

/// Asks the decision point.
#[derive(Clone)]
pub(crate) struct Inquirer {
    decide: Arc<dyn Decide>,
    budget_ms: u32,
    background: Arc<Semaphore>,
}

impl Inquirer {
    pub(crate) fn new(decide: Arc<dyn Decide>, budget_ms: u32) -> Self {
        let budget_ms = if budget_ms == 0 { DEFAULT_BUDGET_MS } else { budget_ms };
        Self { decide, budget_ms, background: Arc::new(Semaphore::new(MAX_BACKGROUND_SETTLES)) }
    }

    /// Milliseconds that one decision may take.
    pub(crate) fn budget_ms(&self) -> u32 {
        self.budget_ms
    }

    /// One decision.
    pub(crate) async fn ask(&self, call: &Arc<Call>) -> Result<Answer, Refusal> {
        let answer = self.within(|budget_ms| self.decide.decide(call.clone(), budget_ms)).await;
        match answer {
            Ok(answer) => Ok(answer),
            Err(error) => {
                self.give_up(&call.call_id).await;
                Err(refusal_of(&error).of_call(call, ""))
            }
        }
    }

    /// Several decisions in the order of `calls`, in as few round trips as the wire allows.
    pub(crate) async fn ask_all(&self, calls: &[Arc<Call>]) -> Result<Vec<Answer>, Refusal> {
        let mut answers = Vec::with_capacity(calls.len());
        for chunk in calls.chunks(MAX_BATCH_CALLS) {
            let asked =
                self.within(|budget| self.decide.decide_batch(chunk.to_vec(), budget)).await;
            match asked {
                Ok(more) if more.len() == chunk.len() => answers.extend(more),
                Ok(more) => {
                    self.give_up_all(calls).await;
                    return Err(Refusal::new(
                        reason::PDP_UNAVAILABLE,
                        format!("{} questions got {} answers", chunk.len(), more.len()),
                    ));
                }
                Err(error) => {
                    self.give_up_all(calls).await;
                    return Err(refusal_of(&error));
                }
            }
        }
        Ok(answers)
    }

    async fn within<T, F>(&self, mut ask: impl FnMut(u32) -> F) -> Result<T, DecideError>
    where
        F: Future<Output = Result<T, DecideError>>,
    {
        let deadline = Instant::now() + Duration::from_millis(u64::from(self.budget_ms));
        let late = || DecideError::Unavailable("no answer before the deadline".to_owned());
        match timeout_at(deadline, ask(self.budget_ms)).await {
            Ok(Err(DecideError::Unavailable(_))) => {
                let left = deadline.saturating_duration_since(Instant::now()).as_millis();
                match u32::try_from(left) {
                    Ok(left) if left > 0 => {
                        timeout_at(deadline, ask(left)).await.unwrap_or_else(|_| Err(late()))
                    }
                    _ => Err(late()),
                }
            }
            Ok(answered) => answered,
            Err(_) => Err(late()),
        }
    }

    /// How it stands with the decision points, in Prometheus text.
    pub(crate) fn metrics_text(&self) -> String {
        self.decide.metrics_text()
    }

    /// Whether the approval `id` is given within `wait_ms` milliseconds. Anything else, an error
    /// too, means that it is not.
    pub(crate) async fn is_approved(&self, id: &str, wait_ms: u32) -> bool {
        let deadline = Instant::now() + Duration::from_millis(u64::from(wait_ms));
        loop {
            let asked = Instant::now();
            let left = deadline.saturating_duration_since(asked).as_millis();
            let left = u32::try_from(left).unwrap_or(u32::MAX).min(WAIT_MAX_MS);
            if left == 0 {
                return false;
            }
            match timeout_at(deadline, self.decide.approval(id, left)).await {
                Ok(Ok(Standing::Pending)) => {
                    if asked.elapsed().as_millis() < u128::from(left) {
                        let pause = asked + Duration::from_millis(APPROVAL_PAUSE_MS);
                        sleep_until(pause.min(deadline)).await;
                    }
                }
                Ok(Ok(standing)) => return standing == Standing::Approved,
                Ok(Err(error)) => {
                    tracing::debug!(approval = id, %error, "an approval cannot be waited for");
                    return false;
                }
                Err(_) => return false,
            }
        }
    }

    /// Tells the decision point the head of this side's log, and returns the head of theirs.
    pub(crate) async fn exchange(&self, writer: &str, note: &str) -> Result<String, DecideError> {
        let patience = Duration::from_millis(SETTLE_TIMEOUT_MS);
        let asked = self.decide.exchange_checkpoint(writer, note);
        let late = || DecideError::Unavailable("no answer in time".to_owned());
        tokio::time::timeout(patience, asked).await.unwrap_or_else(|_| Err(late()))
    }

    /// Says in the background that a call will never be made.
    pub(crate) async fn give_up(&self, call_id: &str) {
        self.settle(call_id, Outcome::NotSent, Usage::default(), Detail::default()).await;
    }

    async fn give_up_all(&self, calls: &[Arc<Call>]) {
        // Entries of a list reserve nothing; only a call of phase `request` has to be given back.
        for call in calls.iter().filter(|call| call.phase == Phase::Request) {
            self.give_up(&call.call_id).await;
        }
    }

    /// Says in the background what became of a call. A lost settlement costs the caller's budget,
    /// never the operator's: what nobody settles expires as spent.
    pub(crate) async fn settle(
        &self,
        call_id: &str,
        outcome: Outcome,
        usage: Usage,
        detail: Detail,
    ) {
        let settle = Settle { call_id: call_id.to_owned(), outcome, usage, detail };
        let (decide, background) = (self.decide.clone(), self.background.clone());
        let Ok(permit) = background.acquire_owned().await else {
            return;
        };
        tokio::spawn(async move {
            let call_id = settle.call_id.clone();
            let patience = Duration::from_millis(SETTLE_TIMEOUT_MS);
            match tokio::time::timeout(patience, decide.settle(settle)).await {
                Ok(Ok(())) => {}
                Ok(Err(error)) => tracing::debug!(call_id, %error, "a settlement was not taken"),
                Err(_) => tracing::debug!(call_id, "a settlement was not answered in time"),
            }
            drop(permit);
        });
    }

    /// Waits until no settlement is under way.
    pub(crate) async fn drained(&self) {
        let all = u32::try_from(MAX_BACKGROUND_SETTLES).unwrap_or(u32::MAX);
        // The semaphore is never closed, so this ends when the last settlement does.
        let _ = self.background.acquire_many(all).await;
    }
}

fn refusal_of(error: &DecideError) -> Refusal {
    match error {
        DecideError::Unavailable(_) => Refusal::new(
            reason::PDP_UNAVAILABLE,
            "the decision point did not answer in time: nothing was done, try again later",
        ),
        // The decision point's words about its own door are for operators.
        DecideError::Refused { id, message } => {
            tracing::warn!(id, message, "the decision point refused to decide");
            Refusal::new(id, "the decision point refused to decide this call")
        }
    }
}

#[cfg(test)]
#[path = "query_tests.rs"]
mod tests;
