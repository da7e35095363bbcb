//! A decision point that says what the test tells it to.

use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use lictor_proto::call::{Call, Phase};
use lictor_proto::decide::{
    Answer, Decide, DecideError, Hints, Quota, QuotaUnit, ResponseCheck, Revocations, Settle,
    ToolEffect,
};
use lictor_proto::decision::{
    Decision, Effect, Finding, LimitState, Obligation, ObligationKind, Reason, Severity,
};
use lictor_proto::json::Open;
use lictor_proto::revocation::{Entry, Kind};
use tokio::sync::{Notify, watch};

type Policy = dyn Fn(&Call) -> Result<Answer, DecideError> + Send + Sync;

/// The fake: a function, and what it was asked.
pub(crate) struct Fake {
    policy: Box<Policy>,
    calls: Mutex<Vec<Call>>,
    settled: Mutex<Vec<Settle>>,
    /// What is revoked, and the version that the enforcement point asked with last.
    revoked: watch::Sender<Revocations>,
    known: watch::Sender<u64>,
    news: Notify,
}

impl Fake {
    pub(crate) fn new(
        policy: impl Fn(&Call) -> Result<Answer, DecideError> + Send + Sync + 'static,
    ) -> Arc<Self> {
        Arc::new(Self {
            policy: Box::new(policy),
            calls: Mutex::default(),
            settled: Mutex::default(),
            revoked: watch::Sender::new(Revocations { version: 1, ..Revocations::default() }),
            known: watch::Sender::new(0),
            news: Notify::new(),
        })
    }

    /// Everything that was asked.
    pub(crate) fn calls(&self) -> Vec<Call> {
        self.calls.lock().unwrap().clone()
    }

    /// Waits for the settlement of the first call.
    pub(crate) async fn settlement(&self) -> Settle {
        let call_id = self.calls.lock().unwrap().first().unwrap().call_id.clone();
        loop {
            let news = self.news.notified();
            let settled = self.settled.lock().unwrap().clone();
            if let Some(settle) = settled.into_iter().find(|settle| settle.call_id == call_id) {
                return settle;
            }
            news.await;
        }
    }
}

impl Fake {
    /// Revokes, and returns once the enforcement point knows.
    pub(crate) async fn kill(&self, kind: Kind, id: &str) {
        let (id, reason) = (id.to_owned(), String::new());
        let entry = Entry { kind, id, reason, since_ms: 0, until_ms: None };
        self.tell(vec![entry], false).await;
    }

    /// Tells the enforcement point what is revoked, and returns once it knows.
    pub(crate) async fn tell(&self, entries: Vec<Entry>, stale: bool) {
        let version = self.revoked.borrow().version + 1;
        self.revoked.send_replace(Revocations { version, entries, stale });
        self.known.subscribe().wait_for(|known| *known == version).await.unwrap();
    }
}

#[async_trait]
impl Decide for Fake {
    async fn decide(&self, call: Arc<Call>, _budget_ms: u32) -> Result<Answer, DecideError> {
        self.calls.lock().unwrap().push(Call::clone(&call));
        match (self.policy)(&call) {
            // An answer that never comes.
            Err(DecideError::Unavailable(why)) if why == "hang" => std::future::pending().await,
            answer => answer,
        }
    }

    async fn decide_batch(
        &self,
        calls: Vec<Arc<Call>>,
        budget_ms: u32,
    ) -> Result<Vec<Answer>, DecideError> {
        let mut answers = Vec::new();
        for call in calls {
            answers.push(self.decide(call, budget_ms).await?);
        }
        Ok(answers)
    }

    async fn settle(&self, settle: Settle) -> Result<(), DecideError> {
        self.settled.lock().unwrap().push(settle);
        self.news.notify_waiters();
        Ok(())
    }

    async fn exchange_checkpoint(&self, _: &str, _: &str) -> Result<String, DecideError> {
        Ok(String::new())
    }

    async fn revocations(&self, known: u64) -> Result<Revocations, DecideError> {
        self.known.send_replace(known);
        let mut revoked = self.revoked.subscribe();
        let news = revoked.wait_for(|revoked| revoked.version != known).await;
        news.map(|revoked| revoked.clone()).map_err(|_| DecideError::Unavailable("gone".into()))
    }
}

/// An answer that allows, with no second decision asked for.
pub(crate) fn allow(call: &Call) -> Answer {
    let id = format!("decision-{:?}", call.phase).to_lowercase();
    let mut decision = Decision::denied(&id, &call.call_id, Reason::new("none", ""));
    decision.effect = Effect::Allow;
    decision.reasons.clear();
    decision.executed = call.executed;
    decision.request_digest = call.request_digest();
    let hints =
        Hints { effect: ToolEffect::None, response_check: ResponseCheck::None, ..Hints::default() };
    Answer { decision, hints }
}

/// The same with a second decision.
pub(crate) fn allow_and_check(call: &Call) -> Answer {
    let mut answer = allow(call);
    answer.hints.response_check = ResponseCheck::Stream;
    answer
}

pub(crate) fn deny(call: &Call, id: &str, message: &str) -> Answer {
    let mut answer = allow(call);
    answer.decision.effect = Effect::Deny;
    answer.decision.reasons = vec![Reason::new(id, message).with_detail("DETAIL-FOR-OPERATORS")];
    answer
}

/// The same with a limit that it drew on, and what that allows.
pub(crate) fn drawing(call: &Call) -> Answer {
    let mut answer = allow(call);
    let reset_at = "2999-01-01T00:00:00Z".to_owned();
    let (id, retry_after_ms) = ("team.tokens".to_owned(), 0);
    answer.decision.limits =
        vec![LimitState { id: id.clone(), reserved: 10, remaining: 990, reset_at, retry_after_ms }];
    answer.hints.quotas = vec![Quota { id, max: 1_000, window_s: 60, unit: QuotaUnit::Tokens }];
    answer
}

pub(crate) fn oblige(answer: &mut Answer, kind: ObligationKind, properties: &str) {
    answer.decision.obligations.push(Obligation {
        id: format!("test.{}", kind.as_str()),
        kind,
        properties: Open::parse(properties.as_bytes()).unwrap(),
    });
}

/// Masks every occurrence of `secret` in the call's content.
pub(crate) fn mask_secret(call: &Call, answer: &mut Answer, secret: &str) {
    oblige(answer, ObligationKind::Mask, r#"{"categories":["secret"]}"#);
    for (content, part) in call.content.iter().enumerate() {
        for (start, found) in part.text.match_indices(secret) {
            answer.decision.findings.push(Finding {
                detector: "secret/test".to_owned(),
                category: "secret".to_owned(),
                severity: Severity::High,
                score: 1.0,
                content: u32::try_from(content).unwrap(),
                start: start as u64,
                end: (start + found.len()) as u64,
            });
        }
    }
}

/// Allows and checks; masks `secret` in answers.
pub(crate) fn masking(secret: &'static str) -> Arc<Fake> {
    Fake::new(move |call| {
        let mut answer = allow_and_check(call);
        if call.phase == Phase::Response {
            mask_secret(call, &mut answer, secret);
        }
        Ok(answer)
    })
}
