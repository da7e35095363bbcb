//! Stage 5: what was done about a decision, appended to the audit log before anything that it
//! describes is released.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use lictor_audit::{AppendError, AuditLog, Durability, Entry, Kind};
use lictor_identity::Identity;
use lictor_proto::call::{Call, Usage};
use lictor_proto::decide::{Detail, Hints, Outcome, ToolEffect};
use lictor_proto::decision::{Decision, Effect, Reason};
use lictor_proto::reason;
use serde::Serialize;

use crate::lease::Lease;
use crate::rate_limit::RateLimit;
use crate::refusal::{Refusal, RefusalKind};
use crate::setup::DurabilityRule;

/// Most bytes of a result that `log_full` keeps in the side store.
pub const MAX_LOGGED_RESULT_BYTES: usize = 8 * 1024 * 1024;

/// What the enforcement point did about a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Deed {
    /// It was permitted and is about to be forwarded.
    Allowed,
    /// It was refused.
    Denied,
    /// A person must agree first.
    Asked,
    /// It was carried out and its result released as it came.
    Forwarded,
    /// It was sent and failed, or nobody knows how it ended.
    Failed,
    /// It was carried out and its result withheld.
    Withheld,
    /// It was carried out and its result released with parts masked.
    Masked,
    /// It was permitted and never sent.
    NotSent,
}

impl Deed {
    /// Every deed, in the order of their numbers.
    const ALL: [Self; 8] = [
        Self::Allowed,
        Self::Denied,
        Self::Asked,
        Self::Forwarded,
        Self::Failed,
        Self::Withheld,
        Self::Masked,
        Self::NotSent,
    ];

    /// The word in records and metrics.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Allowed => "allowed",
            Self::Denied => "denied",
            Self::Asked => "asked",
            Self::Forwarded => "forwarded",
            Self::Failed => "failed",
            Self::Withheld => "withheld",
            Self::Masked => "masked",
            Self::NotSent => "not_sent",
        }
    }
}

/// How often each deed was done since start.
#[derive(Debug, Default)]
struct Counts {
    deeds: [AtomicU64; Deed::ALL.len()],
    unrecorded: AtomicU64,
}

impl Counts {
    fn add(&self, deed: Deed) {
        let slots = Deed::ALL.iter().zip(&self.deeds);
        for (_, count) in slots.filter(|(known, _)| **known == deed) {
            count.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Prometheus text.
    fn text(&self) -> String {
        let mut text = String::from(
            "# HELP lictor_pep_deeds_total What the enforcement point did about calls.\n\
             # TYPE lictor_pep_deeds_total counter\n",
        );
        for (deed, count) in Deed::ALL.iter().zip(&self.deeds) {
            let (deed, count) = (deed.as_str(), count.load(Ordering::Relaxed));
            text.push_str(&format!("lictor_pep_deeds_total{{outcome=\"{deed}\"}} {count}\n"));
        }
        let unrecorded = self.unrecorded.load(Ordering::Relaxed);
        text.push_str(
            "# HELP lictor_pep_unrecorded_total Records that could not be written.\n\
             # TYPE lictor_pep_unrecorded_total counter\n",
        );
        text.push_str(&format!("lictor_pep_unrecorded_total {unrecorded}\n"));
        text
    }
}

/// How a forwarded call ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Ended {
    /// Answered, and released as it came.
    Done,
    /// Answered, and released with parts masked.
    Masked,
    /// Answered, and the result withheld.
    Withheld,
    /// Sent, and the other side failed or said that it failed.
    Failed,
    /// Sent, and nobody knows what happened: the answer was lost or cut.
    Unknown,
    /// Nothing was sent.
    NotSent,
}

impl Ended {
    fn deed(self) -> Deed {
        match self {
            Self::Done => Deed::Forwarded,
            Self::Masked => Deed::Masked,
            Self::Withheld => Deed::Withheld,
            Self::Failed | Self::Unknown => Deed::Failed,
            Self::NotSent => Deed::NotSent,
        }
    }

    pub(crate) fn outcome(self) -> Outcome {
        match self {
            Self::Done | Self::Masked | Self::Withheld => Outcome::Done,
            Self::Failed => Outcome::Failed,
            Self::Unknown => Outcome::Unknown,
            Self::NotSent => Outcome::NotSent,
        }
    }

    pub(crate) fn executed(self) -> bool {
        self != Self::NotSent
    }
}

/// How a call ended, with what is to be recorded about it.
#[derive(Debug, Clone)]
pub struct Ending {
    /// How it ended.
    pub ended: Ended,
    /// What was used of a model.
    pub usage: Usage,
    /// What is known of it beyond that.
    pub detail: Detail,
    /// The status of the other side's answer; 0 if none came.
    pub http_status: u16,
    /// Why a result is not released as it came.
    pub reasons: Vec<Reason>,
    /// The second decision, where one was asked for.
    pub response_decision_id: Option<String>,
    /// The released result as JSON text, kept only where `log_full` obliges.
    pub result: Option<String>,
}

impl Ending {
    /// An ending without use of a model and without reasons.
    #[must_use]
    pub fn new(ended: Ended, http_status: u16) -> Self {
        Self {
            ended,
            usage: Usage::default(),
            detail: Detail::default(),
            http_status,
            reasons: Vec::new(),
            response_decision_id: None,
            result: None,
        }
    }

    /// The same call with its result withheld, because of `refusal`.
    #[must_use]
    pub(crate) fn withheld(mut self, refusal: &Refusal) -> Self {
        if matches!(self.ended, Ended::Done | Ended::Masked) {
            self.ended = Ended::Withheld;
        }
        self.result = None;
        self.because(refusal)
    }

    /// The same, because of `refusal`.
    #[must_use]
    pub fn because(mut self, refusal: &Refusal) -> Self {
        self.reasons.extend(refusal.reasons().iter().map(|t| Reason::new(&t.id, &t.message)));
        self
    }
}

/// A permitted call on its way. Ends with [`crate::Pep::finish`], in every case: what is dropped
/// instead stays unsettled and counts as spent.
#[must_use = "a call on its way must be finished"]
pub struct Flight {
    pub(crate) call: Arc<Call>,
    pub(crate) digest: String,
    pub(crate) decision: Decision,
    pub(crate) hints: Hints,
    pub(crate) identity: Arc<Identity>,
    pub(crate) forwarded_digest: String,
    pub(crate) started_us: i64,
    /// Keeps what the call holds; dropped before the settlement.
    pub(crate) lease: Option<Lease>,
}

impl fmt::Debug for Flight {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut flight = f.debug_struct("Flight");
        flight.field("call_id", &self.call.call_id).field("lease", &self.lease.is_some());
        flight.finish_non_exhaustive()
    }
}

impl Flight {
    /// The call.
    #[must_use]
    pub fn call(&self) -> &Arc<Call> {
        &self.call
    }

    /// The decision that permitted it.
    #[must_use]
    pub fn decision(&self) -> &Decision {
        &self.decision
    }

    /// What the registry says about the resource.
    #[must_use]
    pub fn hints(&self) -> &Hints {
        &self.hints
    }

    /// What the caller is told of limits, as of when it was decided.
    #[must_use]
    pub fn rate_limit(&self) -> RateLimit {
        RateLimit::of(&self.decision.limits, &self.hints.quotas, self.started_us / 1000)
    }

    /// Who calls.
    #[must_use]
    pub fn identity(&self) -> &Arc<Identity> {
        &self.identity
    }

    /// A refusal of this call's result: `result_withheld`, executed.
    #[must_use]
    pub fn withhold(&self, id: &str, message: impl Into<String>) -> Refusal {
        Refusal::new(id, message).of_call(&self.call, &self.decision.decision_id).after_effect()
    }

    /// A refusal of this call where nothing was done.
    #[must_use]
    pub fn refuse(&self, id: &str, message: impl Into<String>) -> Refusal {
        Refusal::new(id, message).of_call(&self.call, &self.decision.decision_id)
    }
}

#[derive(Serialize)]
struct Body<'a> {
    call_id: &'a str,
    decision_id: &'a str,
    response_decision_id: Option<&'a str>,
    session: Option<&'a str>,
    tenant: &'a str,
    subject: Option<&'a str>,
    agent: Option<&'a str>,
    action: &'a str,
    resource: Option<&'a lictor_proto::call::Resource>,
    effect: &'a str,
    reasons: Vec<&'a str>,
    outcome: Deed,
    decided_digest: &'a str,
    forwarded_digest: &'a str,
    duration_us: i64,
    http_status: u16,
    protocol: &'a str,
    executed: bool,
}

/// Appends enforcement records.
#[derive(Clone)]
pub(crate) struct Recorder {
    audit: AuditLog,
    mode: DurabilityRule,
    counts: Arc<Counts>,
}

impl Recorder {
    pub(crate) fn new(audit: AuditLog) -> Self {
        Self { audit, mode: DurabilityRule::ByEffect, counts: Arc::default() }
    }

    pub(crate) fn with_mode(mut self, mode: DurabilityRule) -> Self {
        self.mode = mode;
        self
    }

    /// Counts of what was done, as Prometheus text.
    pub(crate) fn metrics_text(&self) -> String {
        self.counts.text()
    }

    /// The head of this log, signed; none before the first.
    pub(crate) fn head(&self) -> Option<String> {
        self.audit.last_checkpoint()
    }

    /// Keeps the head of another log, so that it cannot be cut unseen.
    pub(crate) async fn keep_head(&self, note: &str, now_ms: i64) -> Result<(), AppendError> {
        let entry = Entry::checkpoint_ref(now_ms, note);
        self.audit.append(entry, Durability::Bounded).await.map(|_| ())
    }

    /// Whether records can be written.
    pub(crate) fn writable(&self) -> bool {
        self.audit.status().writable
    }

    /// By default, effects on the world are on disk before they are released.
    fn durability(&self, effect: ToolEffect) -> Durability {
        self.mode.of(effect != ToolEffect::None)
    }

    /// The call is permitted and about to be forwarded.
    pub(crate) async fn allowed(&self, flight: &Flight, now_us: i64) -> Result<(), Refusal> {
        let body = flight_body(flight, Deed::Allowed, now_us);
        let sensitive = sensitive_of(&flight.call, &flight.decision.reasons);
        self.append(&body, sensitive, self.durability(flight.hints.effect), now_us)
            .await
            .map_err(|refusal| refusal.of_call(&flight.call, &flight.decision.decision_id))
    }

    /// The call has ended; what the record describes may be released once this returns.
    pub(crate) async fn ended(
        &self,
        flight: &Flight,
        ending: &Ending,
        now_us: i64,
    ) -> Result<(), Refusal> {
        let mut body = flight_body(flight, ending.ended.deed(), now_us);
        body.reasons.extend(ending.reasons.iter().map(|reason| reason.id.as_str()));
        body.response_decision_id = ending.response_decision_id.as_deref();
        body.http_status = ending.http_status;
        body.executed = ending.ended.executed();
        let mut sensitive = Vec::new();
        push_details(&mut sensitive, &ending.reasons);
        if let Some(result) = &ending.result {
            let kept = result.len() <= MAX_LOGGED_RESULT_BYTES;
            let text = if kept { result.clone() } else { "\"too large to keep\"".to_owned() };
            sensitive.push(("/result".to_owned(), text));
        }
        self.append(&body, sensitive, self.durability(flight.hints.effect), now_us)
            .await
            .map_err(|refusal| refusal.of_call(&flight.call, &flight.decision.decision_id))
    }

    /// The call was refused before anything was sent.
    pub(crate) async fn refused(
        &self,
        call: &Call,
        decision: Option<&Decision>,
        refusal: &Refusal,
        took_us: i64,
        now_us: i64,
    ) -> Result<(), Refusal> {
        let body = refusal_body(call, refusal, took_us);
        let reasons: Vec<Reason> = match decision {
            Some(decision) => decision.reasons.clone(),
            None => refusal.reasons().iter().map(|t| Reason::new(&t.id, &t.message)).collect(),
        };
        let sensitive = sensitive_of(call, &reasons);
        self.append(&body, sensitive, self.durability(ToolEffect::None), now_us)
            .await
            .map_err(|failed| failed.of_call(call, refusal.decision_id()))
    }

    async fn append(
        &self,
        body: &Body<'_>,
        sensitive: Vec<(String, String)>,
        durability: Durability,
        now_us: i64,
    ) -> Result<(), Refusal> {
        let unavailable = |cause: String| {
            tracing::error!(cause, "an enforcement record could not be written");
            self.counts.unrecorded.fetch_add(1, Ordering::Relaxed);
            Refusal::new(reason::AUDIT_UNAVAILABLE, "the audit log cannot be written")
        };
        let outcome = body.outcome;
        let body = serde_json::to_string(body).map_err(|error| unavailable(error.to_string()))?;
        let entry = Entry { kind: Kind::Enforcement, ts_ms: now_us / 1000, body, sensitive };
        let appended = self.audit.append(entry, durability).await;
        appended.map_err(|error| unavailable(error.to_string()))?;
        self.counts.add(outcome);
        Ok(())
    }
}

fn flight_body(flight: &Flight, outcome: Deed, now_us: i64) -> Body<'_> {
    Body {
        decision_id: &flight.decision.decision_id,
        session: flight.hints.session_id.as_deref(),
        effect: flight.decision.effect.as_str(),
        reasons: flight.decision.reasons.iter().map(|reason| reason.id.as_str()).collect(),
        decided_digest: &flight.digest,
        forwarded_digest: &flight.forwarded_digest,
        duration_us: now_us.saturating_sub(flight.started_us),
        outcome,
        ..call_body(&flight.call)
    }
}

fn refusal_body<'a>(call: &'a Call, refusal: &'a Refusal, took_us: i64) -> Body<'a> {
    let asked = refusal.kind() == RefusalKind::Ask;
    Body {
        decision_id: refusal.decision_id(),
        effect: if asked { Effect::Ask.as_str() } else { Effect::Deny.as_str() },
        reasons: refusal.reasons().iter().map(|told| told.id.as_str()).collect(),
        outcome: if asked { Deed::Asked } else { Deed::Denied },
        duration_us: took_us,
        http_status: refusal.status(),
        ..call_body(call)
    }
}

fn call_body(call: &Call) -> Body<'_> {
    Body {
        call_id: &call.call_id,
        decision_id: "",
        response_decision_id: None,
        session: None,
        tenant: &call.tenant,
        subject: call.subject.as_ref().map(|party| party.id.as_str()),
        agent: call.agent.as_ref().map(|party| party.id.as_str()),
        action: &call.action.name,
        resource: call.resource.as_ref(),
        effect: "",
        reasons: Vec::new(),
        outcome: Deed::Denied,
        decided_digest: "",
        forwarded_digest: "",
        duration_us: 0,
        http_status: 0,
        protocol: &call.context.protocol,
        executed: false,
    }
}

/// Values that the line only commits to.
fn sensitive_of(call: &Call, reasons: &[Reason]) -> Vec<(String, String)> {
    let mut sensitive = Vec::new();
    if !call.context.args.is_empty_object() {
        sensitive.push(("/args".to_owned(), call.context.args.text().to_owned()));
    }
    if !call.context.source_ip.is_empty() {
        sensitive.push(("/source_ip".to_owned(), quoted(&call.context.source_ip)));
    }
    push_details(&mut sensitive, reasons);
    sensitive
}

fn push_details(sensitive: &mut Vec<(String, String)>, reasons: &[Reason]) {
    if reasons.is_empty() {
        return;
    }
    let details: Vec<_> =
        reasons.iter().map(|r| [&r.id, &r.message, &r.detail, &r.policy]).collect();
    if let Ok(text) = serde_json::to_string(&details) {
        sensitive.push(("/reason_messages".to_owned(), text));
    }
}

fn quoted(text: &str) -> String {
    let mut out = String::new();
    lictor_proto::json::text::quote(&mut out, text);
    out
}
