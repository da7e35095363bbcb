//! A decision point that says what the test tells it to.

use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use lictor_proto::call::{Call, Phase};
use lictor_proto::decide::{Answer, Decide, DecideError, Hints, ResponseCheck, Settle, ToolEffect};
use lictor_proto::decision::{
    Decision, Effect, Finding, Obligation, ObligationKind, Reason, Severity,
};
use lictor_proto::json::Open;
use tokio::sync::Notify;

type Policy = dyn Fn(&Call) -> Result<Answer, DecideError> + Send + Sync;

/// The fake: a function, and what it was asked.
pub(crate) struct Fake {
    policy: Box<Policy>,
    calls: Mutex<Vec<Call>>,
    settled: Mutex<Vec<Settle>>,
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
