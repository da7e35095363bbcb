//! One question, from its message to its answer: every message gets one.

use std::any::Any;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt as _;
use lictor_identity::Role;
use lictor_proto::decide::{Answer, DEFAULT_BUDGET_MS, DecideError};
use lictor_proto::decision::Reason;
use lictor_proto::facts::Facts;
use lictor_proto::{pb, reason, wire};
use tokio::time::Instant;

use crate::decide::Pdp;
use crate::peer::Peer;

/// A message, and when it was read: its budget counts from there.
pub(super) struct Question {
    pub(super) request: pb::DecideRequest,
    pub(super) arrived: Instant,
}

/// Whoever asks, and whom.
pub(super) struct Asker {
    pdp: Arc<Pdp>,
    peer: Peer,
}

impl Question {
    fn call_id(&self) -> String {
        self.request.call.as_ref().map(|call| call.call_id.clone()).unwrap_or_default()
    }
}

impl Asker {
    pub(super) fn new(pdp: Arc<Pdp>, peer: Peer) -> Self {
        Self { pdp, peer }
    }

    /// The time that credentials are compared with.
    pub(super) fn now_ms(&self) -> i64 {
        self.pdp.clock.now_ms()
    }

    /// Answers: a malformed call is a denial, and so is one that a panic ended.
    pub(super) async fn answer(&self, question: Question) -> pb::DecideResponse {
        answered(question, |question| self.decided(question)).await
    }

    async fn decided(&self, question: Question) -> Result<Answer, DecideError> {
        let Question { request, arrived } = question;
        // Before the call is looked at: whoever may not ask leaves no record of a decision.
        let needed = if request.dry_run { Role::Operator } else { Role::Pep };
        if !self.peer.has(needed) {
            let message = format!("this needs the role `{}`", needed.as_str());
            return Err(refused(reason::ROLE_MISSING, &message));
        }
        let budget_ms = left_of(request.budget_ms, arrived.elapsed())?;
        let Some(mut call) = request.call else {
            return Err(refused(reason::CALL_INVALID, "the request holds no call"));
        };
        let facts = if request.dry_run { dry_facts(&mut call)? } else { Facts::default() };
        let call_id = call.call_id.clone();
        let call = match wire::call_from_pb(call) {
            Ok(call) => call,
            Err(error) => {
                let reason = Reason::new(error.id, error.message);
                return self.pdp.refuse_malformed(&self.peer, &call_id, reason).await;
            }
        };
        if request.dry_run {
            return self.pdp.dry_run(&self.peer, &call, facts);
        }
        if call.call_id.is_empty() {
            return Err(refused(reason::CALL_INVALID, "the call has no `call_id`"));
        }
        self.pdp.decide(&self.peer, Arc::new(call), budget_ms).await
    }
}

/// What `decide` says as a message. A panic anywhere in it is this one call's denial.
pub(super) async fn answered<F>(
    question: Question,
    decide: impl FnOnce(Question) -> F,
) -> pb::DecideResponse
where
    F: Future<Output = Result<Answer, DecideError>>,
{
    let call_id = question.call_id();
    let deciding = async { decide(question).await.map(wire::answer_into_pb) };
    let decided = AssertUnwindSafe(deciding).catch_unwind().await;
    match decided.unwrap_or_else(|panic| Err(panicked(&call_id, &*panic))) {
        Ok(answer) => answer,
        Err(error) => wire::error_to_pb(&call_id, &error),
    }
}

/// A refusal without a look at the call.
pub(super) fn refusal(request: &pb::DecideRequest, id: &str, message: &str) -> pb::DecideResponse {
    let call_id = request.call.as_ref().map(|call| call.call_id.as_str()).unwrap_or_default();
    wire::error_to_pb(call_id, &refused(id, message))
}

fn panicked(call_id: &str, _: &(dyn Any + Send)) -> DecideError {
    tracing::error!(call_id, "a question panicked");
    refused(reason::POLICY_ERROR, "the decision failed")
}

/// What is left of a budget after `waited`. Nobody waits any more for an answer that comes after it.
fn left_of(budget_ms: u32, waited: Duration) -> Result<u32, DecideError> {
    let whole_ms = if budget_ms == 0 { DEFAULT_BUDGET_MS } else { budget_ms };
    let waited_ms = u32::try_from(waited.as_millis()).unwrap_or(u32::MAX);
    match whole_ms.checked_sub(waited_ms) {
        Some(left_ms) if left_ms > 0 => Ok(left_ms),
        _ => Err(refused(
            reason::DEADLINE_PASSED,
            "the call's budget ran out before its turn: it was not decided",
        )),
    }
}

/// Only a dry run may state facts.
fn dry_facts(call: &mut pb::Call) -> Result<Facts, DecideError> {
    let bytes = std::mem::take(&mut call.facts);
    if bytes.is_empty() {
        return Ok(Facts::default());
    }
    serde_json::from_slice(&bytes)
        .map_err(|error| refused(reason::CALL_INVALID, &format!("facts: {error}")))
}

fn refused(id: &str, message: &str) -> DecideError {
    DecideError::Refused { id: id.to_owned(), message: message.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_budget_counts_from_the_arrival_and_ends_at_its_last_millisecond() {
        let left = |budget_ms, waited_ms| {
            let left = left_of(budget_ms, Duration::from_millis(waited_ms));
            left.map_err(|error| error.reason_id().to_owned())
        };
        let passed = || Err(reason::DEADLINE_PASSED.to_owned());
        assert_eq!((left(30, 0), left(30, 29)), (Ok(30), Ok(1)));
        assert_eq!((left(30, 30), left(30, 31)), (passed(), passed()));
        assert_eq!(left(0, 0), Ok(DEFAULT_BUDGET_MS));
        assert_eq!(left(0, u64::from(DEFAULT_BUDGET_MS)), passed());
        assert_eq!(left(u32::MAX, u64::MAX), passed());
    }

    /// A decision point without a bundle: it denies whatever it looks at.
    async fn point(root: &std::path::Path) -> crate::server::Running {
        let config = crate::config::PdpConfig {
            listen: ([127, 0, 0, 1], 0).into(),
            bundle: root.join("bundle").into(),
            state_dir: root.join("state"),
            insecure_dev: true,
            ..Default::default()
        };
        let audit = crate::config::AuditConfig { dir: root.join("audit"), ..Default::default() };
        crate::server::start(config, &audit, None, crate::clock::Clock::system()).await.unwrap()
    }

    #[tokio::test]
    async fn a_call_whose_budget_ran_out_is_not_looked_at() {
        let root = tempfile::tempdir().unwrap();
        let running = point(root.path()).await;
        let asker = Asker::new(Arc::clone(running.pdp()), Peer::new("pep", &[Role::Pep]));
        let call = lictor_proto::call::Call { call_id: "a".to_owned(), ..Default::default() };
        let request = pb::DecideRequest {
            call: Some(wire::call_to_pb(&call)),
            budget_ms: 60_000,
            dry_run: false,
        };
        let ask = async |waited_ms| {
            let arrived = Instant::now().checked_sub(Duration::from_millis(waited_ms)).unwrap();
            let question = Question { request: request.clone(), arrived };
            let decided = asker.answer(question).await;
            let counts = &running.pdp().counts;
            let denied = counts.deny.load(std::sync::atomic::Ordering::Relaxed);
            (decided.error.map(|error| error.id), denied)
        };
        assert_eq!(ask(60_000).await, (Some(reason::DEADLINE_PASSED.to_owned()), 0));
        assert_eq!(ask(1).await, (None, 1));
        running.stop("test").await;
    }

    #[tokio::test]
    async fn a_panic_is_the_denial_of_its_call() {
        let call = pb::Call { call_id: "a".to_owned(), ..Default::default() };
        let request = pb::DecideRequest { call: Some(call), ..Default::default() };
        let question = Question { request, arrived: Instant::now() };
        let answer = answered(question, |_| async { panic!("a policy's fault") }).await;
        let id = answer.error.map(|error| error.id);
        assert_eq!((answer.call_id.as_str(), id.as_deref()), ("a", Some(reason::POLICY_ERROR)));
    }
}
