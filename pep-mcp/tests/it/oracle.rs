//! A decision point whose rule the test writes down.

use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use lictor_proto::call::{Call, Phase};
use lictor_proto::decide::{
    Answer, Decide, DecideError, Hints, Outcome, Quota, QuotaUnit, ResponseCheck, Revocations,
    Settle, ToolEffect,
};
use lictor_proto::decision::{
    Approval, Decision, Effect, Finding, LimitState, Obligation, ObligationKind, Reason, Severity,
};
use lictor_proto::json::Open;
use lictor_proto::revocation::{Entry, Kind};
use tokio::sync::watch;

pub(crate) type Rule = Box<dyn Fn(&Call) -> Result<Answer, DecideError> + Send + Sync>;

pub(crate) struct Oracle {
    rule: Rule,
    calls: Mutex<Vec<Call>>,
    settled: Mutex<Vec<Settle>>,
    /// What is revoked, and the version that the enforcement point asked with last.
    revoked: watch::Sender<Revocations>,
    known: watch::Sender<u64>,
    batches: Mutex<Vec<usize>>,
}

impl Oracle {
    pub(crate) fn new(
        rule: impl Fn(&Call) -> Result<Answer, DecideError> + Send + Sync + 'static,
    ) -> Arc<Self> {
        Arc::new(Self {
            rule: Box::new(rule),
            calls: Mutex::default(),
            settled: Mutex::default(),
            revoked: watch::Sender::new(Revocations { version: 1, ..Revocations::default() }),
            known: watch::Sender::new(0),
            batches: Mutex::default(),
        })
    }

    pub(crate) fn calls(&self) -> Vec<Call> {
        self.calls.lock().unwrap().clone()
    }

    pub(crate) fn batches(&self) -> Vec<usize> {
        self.batches.lock().unwrap().clone()
    }

    pub(crate) fn outcomes(&self) -> Vec<Outcome> {
        self.settled.lock().unwrap().iter().map(|settle| settle.outcome).collect()
    }

    /// Digests of the results of what was settled.
    pub(crate) fn result_digests(&self) -> Vec<String> {
        let settled = self.settled.lock().unwrap();
        settled.iter().map(|settle| settle.detail.result_digest.clone()).collect()
    }

    fn ask(&self, call: &Call) -> Result<Answer, DecideError> {
        self.calls.lock().unwrap().push(call.clone());
        (self.rule)(call)
    }
}

impl Oracle {
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
impl Decide for Oracle {
    async fn decide(&self, call: Arc<Call>, _budget_ms: u32) -> Result<Answer, DecideError> {
        self.ask(&call)
    }

    async fn decide_batch(
        &self,
        calls: Vec<Arc<Call>>,
        _budget_ms: u32,
    ) -> Result<Vec<Answer>, DecideError> {
        self.batches.lock().unwrap().push(calls.len());
        calls.iter().map(|call| self.ask(call)).collect()
    }

    async fn settle(&self, settle: Settle) -> Result<(), DecideError> {
        self.settled.lock().unwrap().push(settle);
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

/// Allowed, and no second decision is needed.
pub(crate) fn allow(call: &Call) -> Result<Answer, DecideError> {
    let mut decision = Decision::denied("decision-1", &call.call_id, Reason::new("x", "x"));
    decision.effect = Effect::Allow;
    decision.reasons.clear();
    decision.request_digest = call.request_digest();
    decision.executed = call.executed;
    let hints = Hints {
        effect: ToolEffect::None,
        response_check: ResponseCheck::None,
        session_id: Some("session-1".into()),
        ..Hints::default()
    };
    Ok(Answer { decision, hints })
}

/// Allowed, and the answer must be asked about.
pub(crate) fn allow_checked(call: &Call) -> Result<Answer, DecideError> {
    let mut answer = allow(call)?;
    answer.hints.response_check = ResponseCheck::Whole;
    Ok(answer)
}

pub(crate) fn deny(call: &Call, id: &str) -> Result<Answer, DecideError> {
    let mut answer = allow(call)?;
    answer.decision.effect = Effect::Deny;
    answer.decision.reasons =
        vec![Reason::new(id, "it is not allowed").with_detail("FOR-OPERATORS-ONLY")];
    Ok(answer)
}

pub(crate) fn ask(call: &Call) -> Result<Answer, DecideError> {
    let mut answer = deny(call, "expense.manager")?;
    answer.decision.effect = Effect::Ask;
    answer.decision.approval = Some(Approval {
        id: "approval-1".into(),
        expires: "2026-01-01T00:00:00Z".into(),
        approvers: vec!["bob@example.com".into()],
        count: 1,
    });
    Ok(answer)
}

/// Allowed, with a limit that it drew on and what that allows.
pub(crate) fn drawing(call: &Call) -> Result<Answer, DecideError> {
    let mut answer = allow(call)?;
    let (id, retry_after_ms) = ("team.calls".to_owned(), 0);
    let reset_at = String::new();
    answer.decision.limits =
        vec![LimitState { id: id.clone(), reserved: 1, remaining: 9, reset_at, retry_after_ms }];
    answer.hints.quotas = vec![Quota { id, max: 10, window_s: 0, unit: QuotaUnit::Calls }];
    Ok(answer)
}

pub(crate) fn limited(call: &Call) -> Result<Answer, DecideError> {
    let mut answer = deny(call, "limit.team")?;
    answer.decision.limits = vec![LimitState {
        id: "team".into(),
        reserved: 0,
        remaining: 0,
        reset_at: String::new(),
        retry_after_ms: 2_500,
    }];
    Ok(answer)
}

pub(crate) fn oblige(answer: &mut Answer, kind: ObligationKind, properties: &str) {
    answer.decision.obligations.push(Obligation {
        id: "obligation".into(),
        kind,
        properties: Open::parse(properties.as_bytes()).unwrap(),
    });
}

/// A finding for every place where `needle` stands in the call's texts.
pub(crate) fn find(answer: &mut Answer, call: &Call, needle: &str) {
    for (index, part) in call.content.iter().enumerate() {
        for (start, _) in part.text.match_indices(needle) {
            answer.decision.findings.push(Finding {
                detector: "secret/test".into(),
                category: "secret".into(),
                severity: Severity::High,
                score: 1.0,
                content: u32::try_from(index).unwrap(),
                start: start as u64,
                end: (start + needle.len()) as u64,
            });
        }
    }
}

pub(crate) fn is_response(call: &Call) -> bool {
    call.phase == Phase::Response
}
