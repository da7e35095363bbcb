//! The path of one decision: live bundle, plan, facts, evaluate, commit, conclude,
//! record. The order is DESIGN's; every way out of it is a denial with a reason.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use lictor_audit::AuditLog;
use lictor_identity::Role;
use lictor_policy_lib::conclude::{self, CommitResult, Ids, conclude};
use lictor_policy_lib::engine::Budget;
use lictor_policy_lib::evaluate::{Verdict, complete_facts, evaluate};
use lictor_policy_lib::limits::OnError;
use lictor_policy_lib::load::LoadedBundle;
use lictor_policy_lib::plan::{Plan, plan};
use lictor_proto::call::{Call, Phase};
use lictor_proto::decide::{Answer, DecideError, DEFAULT_BUDGET_MS, Hints, Settle};
use lictor_proto::decision::{Decision, Effect, Reason};
use lictor_proto::facts::Facts;
use lictor_proto::reason;

use crate::approvals;
use crate::clock::{Clock, new_id};
use crate::live::Live;
use crate::peer::Peer;
use crate::record::{self, Recorded};
use crate::session::{HandleError, Handles, SESSION_MS};
use crate::state::approval::Binding;
use crate::state::{Commit, Committed, Reservation, SessionKey, State, StateError, Stored};

/// How often a decision is made again because its session changed meanwhile.
pub const RETRIES_MAX: usize = 3;
/// The least time that an engine gets, in milliseconds.
const ENGINE_MS_MIN: u64 = 5;
/// What an engine may take of the call's budget: the rest is for the way.
const ENGINE_SHARE_PERCENT: u64 = 40;

/// The decision point.
pub struct Pdp {
    pub(crate) live: Live,
    pub(crate) state: Arc<dyn State>,
    pub(crate) audit: AuditLog,
    pub(crate) durability: crate::config::DurabilityRule,
    pub(crate) handles: Handles,
    pub(crate) clock: Clock,
    pub(crate) counts: Counts,
    pub(crate) draining: AtomicBool,
    pub(crate) approver: Option<lictor_identity::Authenticator>,
    pub(crate) started_ms: i64,
}

/// Decisions since start.
#[derive(Debug, Default)]
pub struct Counts {
    /// Allowed.
    pub allow: AtomicU64,
    /// Denied.
    pub deny: AtomicU64,
    /// Asked.
    pub ask: AtomicU64,
}

/// Everything that one decision is made of, on its way to the record.
struct Made {
    decision: Decision,
    verdict: Arc<Verdict>,
    facts: Facts,
    hints: Hints,
    session: String,
}

impl Pdp {
    /// Decides one call for `peer`.
    ///
    /// # Errors
    /// [`DecideError::Refused`] if the peer may not ask, or the record cannot be
    /// written: without evidence there is no decision.
    pub async fn decide(
        &self,
        peer: &Peer,
        call: Arc<Call>,
        budget_ms: u32,
    ) -> Result<Answer, DecideError> {
        if !peer.has(Role::Pep) {
            return Err(refused(reason::ROLE_MISSING, "asking for decisions needs the role `pep`"));
        }
        if self.draining.load(Ordering::Relaxed) {
            return Err(DecideError::Unavailable("the decision point is shutting down".to_owned()));
        }
        let started = std::time::Instant::now();
        let made = self.make(peer, &call, budget(budget_ms)).await;
        let recorded = Recorded {
            peer: &peer.name,
            call: &call,
            decision: &made.decision,
            verdict: &made.verdict,
            facts: &made.facts,
            session: &made.session,
            duration_us: u64::try_from(started.elapsed().as_micros()).unwrap_or(u64::MAX),
        };
        self.append(record::decision(&recorded, self.clock.now_ms()), &made).await?;
        self.count(made.decision.effect);
        Ok(Answer { decision: made.decision, hints: made.hints })
    }

    /// Decides without reserving or storing anything. Facts that are stated stay.
    ///
    /// # Errors
    /// [`DecideError::Refused`] if the peer is no operator.
    pub fn dry_run(&self, peer: &Peer, call: &Call, facts: Facts) -> Result<Answer, DecideError> {
        if !peer.has(Role::Operator) {
            return Err(refused(reason::ROLE_MISSING, "a dry run needs the role `operator`"));
        }
        let now_ms = self.clock.now_ms();
        let Some(bundle) = self.live.of(&call.tenant) else {
            let mut decision = self.no_bundle(call);
            decision.dry_run = true;
            return Ok(Answer { decision, hints: Hints::default() });
        };
        let outcome = conclude::dry_run(&bundle, call, facts, now_ms, Budget::default());
        let mut decision = outcome.decision;
        decision.decision_id = new_id(now_ms);
        Ok(Answer { decision, hints: Hints::default() })
    }

    /// Takes a settlement.
    ///
    /// # Errors
    /// [`DecideError::Refused`] says why not.
    pub async fn settle(&self, peer: &Peer, settle: &Settle) -> Result<(), DecideError> {
        if !peer.has(Role::Pep) {
            return Err(refused(reason::ROLE_MISSING, "settling needs the role `pep`"));
        }
        let now_ms = self.clock.now_ms();
        // A peer's calls may be of any tenant it serves; call ids are unique.
        for tenant in self.tenants() {
            match self.state.settle(&tenant, &peer.name, settle, now_ms).await {
                Err(StateError::Settle(crate::state::SettleError::Unknown)) => {}
                Ok(()) => return Ok(()),
                Err(error) => return Err(refused("settle_refused", &error.to_string())),
            }
        }
        Err(refused("settle_refused", "no permitted call has this id"))
    }

    fn tenants(&self) -> Vec<String> {
        self.live.all().into_keys().collect()
    }

    /// Keeps the head of a peer's audit log in ours, and returns ours.
    ///
    /// # Errors
    /// [`DecideError`] if it cannot be recorded.
    pub async fn exchange_checkpoint(
        &self,
        peer: &Peer,
        _writer: &str,
        note: &str,
    ) -> Result<String, DecideError> {
        if !peer.has(Role::Pep) {
            return Err(refused(reason::ROLE_MISSING, "exchanging heads needs the role `pep`"));
        }
        let entry = lictor_audit::Entry::checkpoint_ref(self.clock.now_ms(), note);
        self.audit
            .append(entry, lictor_audit::Durability::Bounded)
            .await
            .map_err(|error| refused(reason::AUDIT_UNAVAILABLE, &error.to_string()))?;
        Ok(self.audit.last_checkpoint().unwrap_or_default())
    }

    // === the path ===

    async fn make(&self, peer: &Peer, call: &Arc<Call>, budget: Budget) -> Made {
        let now_ms = self.clock.now_ms();
        let Some(bundle) = self.live.of(&call.tenant) else {
            return plain(self.no_bundle(call), Facts::default(), String::new());
        };
        let session = match self.handles.session_of(call, now_ms) {
            Ok(session) => session,
            Err(error) => {
                return plain(self.unknown_session(call, &bundle, error), Facts::default(), String::new());
            }
        };
        if call.phase == Phase::Request
            && let Some(made) = self.again(peer, call, &bundle, &session).await
        {
            return made;
        }
        self.evaluate_and_commit(peer, call, &bundle, session, budget).await
    }

    /// The same call again gets what was stored, without another evaluation.
    async fn again(
        &self,
        peer: &Peer,
        call: &Call,
        bundle: &LoadedBundle,
        session: &SessionKey,
    ) -> Option<Made> {
        let stored = self.state.stored(&call.tenant, &call.call_id).await.ok()??;
        if stored.request_digest != call.request_digest() {
            return None;
        }
        let plan = plan(bundle, call, self.clock.now_ms()).ok();
        let hints = plan.map(|plan| plan.hints).unwrap_or_default();
        let _ = peer;
        Some(self.conclude_stored(call, bundle, stored, hints, Facts::default(), &session.id))
    }

    async fn evaluate_and_commit(
        &self,
        peer: &Peer,
        call: &Arc<Call>,
        bundle: &Arc<LoadedBundle>,
        session: SessionKey,
        budget: Budget,
    ) -> Made {
        let digest = call.request_digest();
        let decision_id = new_id(self.clock.now_ms());
        for _ in 0..=RETRIES_MAX {
            let now_ms = self.clock.now_ms();
            let binding = approvals::binding(call, bundle, &session);
            let snapshot = match self.state.read(&session, &binding, now_ms).await {
                Ok(snapshot) => snapshot,
                Err(error) => return self.state_failed(call, bundle, &error, &session.id),
            };
            let facts = Facts { session: snapshot.facts, ..Facts::default() };
            let mut facts = complete_facts(bundle, call, facts, now_ms);
            let (plan, verdict) = judge(bundle, call, &mut facts, now_ms, budget);
            let commit = self.commit_of(peer, call, &session, &binding, &verdict, &digest, &decision_id);
            let commit = Commit { version: plan.wants_session.then_some(snapshot.version), ..commit };
            if call.phase != Phase::Request {
                return self.uncommitted(call, bundle, verdict, facts, plan.hints, &session.id, &decision_id);
            }
            match self.state.commit(commit, now_ms).await {
                Ok(Committed::Stored(stored)) => {
                    let mut made =
                        self.conclude_stored(call, bundle, stored, plan.hints, facts, &session.id);
                    self.open_session(call, &mut made, now_ms).await;
                    return made;
                }
                Ok(Committed::Stale) => tokio::task::yield_now().await,
                Ok(Committed::Reused) => {
                    return self.deny(call, bundle, reason::CALL_ID_REUSED, "this call id belongs to another call", &session.id);
                }
                Ok(Committed::Abandoned) => {
                    return self.deny(call, bundle, reason::CALL_ABANDONED, "this call was given up before it was decided", &session.id);
                }
                Err(error) => return self.commit_failed(call, bundle, verdict, facts, plan.hints, &error, &session.id, &decision_id),
            }
        }
        let message = "other calls of this session came at the same time";
        self.deny(call, bundle, reason::SESSION_CONFLICT, message, &session.id)
    }

    #[expect(clippy::too_many_arguments, reason = "the parts of one message, named at the call")]
    fn commit_of(
        &self,
        peer: &Peer,
        call: &Call,
        session: &SessionKey,
        binding: &Binding,
        verdict: &Arc<Verdict>,
        digest: &str,
        decision_id: &str,
    ) -> Commit {
        let now_ms = self.clock.now_ms();
        let permits = verdict.effect == Effect::Allow && call.asks_all();
        Commit {
            session: session.clone(),
            version: None,
            call_id: call.call_id.clone(),
            request_digest: digest.to_owned(),
            decision_id: decision_id.to_owned(),
            peer: peer.name.clone(),
            limits: verdict.limits.clone(),
            resource: call.resource.as_ref().map(|r| r.id.clone()).unwrap_or_default(),
            binding: binding.clone(),
            opens: (verdict.effect == Effect::Ask)
                .then(|| approvals::new_approval(self.live.of(&call.tenant).as_deref(), call, verdict, now_ms)),
            permits,
            verdict: Arc::clone(verdict),
        }
    }

    /// Phases list and response change nothing.
    #[expect(clippy::too_many_arguments, reason = "the parts of one decision")]
    fn uncommitted(
        &self,
        call: &Call,
        bundle: &LoadedBundle,
        verdict: Arc<Verdict>,
        facts: Facts,
        hints: Hints,
        session: &str,
        decision_id: &str,
    ) -> Made {
        let commit = CommitResult::Committed {
            limits: Vec::new(),
            approval: None,
            labels: verdict.labels,
        };
        let decision = conclude(call, &verdict, &commit, &ids(call, bundle, decision_id));
        made(decision, verdict, facts, hints, session)
    }

    fn conclude_stored(
        &self,
        call: &Call,
        bundle: &LoadedBundle,
        stored: Stored,
        hints: Hints,
        facts: Facts,
        session: &str,
    ) -> Made {
        let commit = match stored.reservation {
            Reservation::Held(limits) => {
                CommitResult::Committed { limits, approval: stored.approval, labels: stored.labels }
            }
            Reservation::Short { short, limits } => CommitResult::Short { short, limits },
        };
        let ids = ids(call, bundle, &stored.decision_id);
        let decision = conclude(call, &stored.verdict, &commit, &ids);
        made(decision, stored.verdict, facts, hints, session)
    }

    /// An allowed `session/open` makes the session known and mints its handle.
    async fn open_session(&self, call: &Call, made: &mut Made, now_ms: i64) {
        let opens = call.action.name == "session/open" && made.decision.effect == Effect::Allow;
        if !opens || !call.asks_all() {
            return;
        }
        let key = SessionKey { tenant: call.tenant.clone(), id: new_id(now_ms), implicit: false };
        let expires_ms = now_ms.saturating_add(SESSION_MS);
        match self.state.open_session(&key, expires_ms).await {
            Ok(()) => {
                made.hints.session_handle = Some(self.handles.mint(call, &key.id, expires_ms));
                made.hints.session_id = Some(key.id);
            }
            Err(error) => {
                made.decision.effect = Effect::Deny;
                made.decision.obligations.clear();
                made.decision.reasons =
                    vec![Reason::new(reason::STATE_UNAVAILABLE, error.to_string())];
            }
        }
    }

    // === ways out ===

    /// With the store down a limit's own `on_error` decides; a session that is
    /// read cannot be replaced by a fresh one.
    #[expect(clippy::too_many_arguments, reason = "the parts of one decision")]
    fn commit_failed(
        &self,
        call: &Call,
        bundle: &LoadedBundle,
        verdict: Arc<Verdict>,
        facts: Facts,
        hints: Hints,
        error: &StateError,
        session: &str,
        decision_id: &str,
    ) -> Made {
        let open = !verdict.limits.is_empty()
            && verdict.approvals_used.is_empty()
            && verdict.limits.iter().all(|limit| limit.on_error == OnError::Allow);
        if open {
            return self.uncommitted(call, bundle, verdict, facts, hints, session, decision_id);
        }
        self.state_failed(call, bundle, error, session)
    }

    fn state_failed(
        &self,
        call: &Call,
        bundle: &LoadedBundle,
        error: &StateError,
        session: &str,
    ) -> Made {
        let id = match error {
            StateError::SessionUnknown => reason::SESSION_UNKNOWN,
            _ => reason::STATE_UNAVAILABLE,
        };
        self.deny(call, bundle, id, &error.to_string(), session)
    }

    fn deny(
        &self,
        call: &Call,
        bundle: &LoadedBundle,
        id: &str,
        message: &str,
        session: &str,
    ) -> Made {
        let decision_id = new_id(self.clock.now_ms());
        let mut decision =
            Decision::denied(&decision_id, &call.call_id, Reason::new(id, message));
        decision.bundle = Some(bundle.reference().clone());
        decision.request_digest = call.request_digest();
        decision.executed = call.executed;
        plain(decision, Facts::default(), session.to_owned())
    }

    fn unknown_session(&self, call: &Call, bundle: &LoadedBundle, error: HandleError) -> Decision {
        let message = "the session is unknown or has expired: open a new one";
        let mut made = self.deny(call, bundle, reason::SESSION_UNKNOWN, message, "");
        if let Some(reason) = made.decision.reasons.first_mut() {
            reason.detail = error.to_string();
        }
        made.decision
    }

    fn no_bundle(&self, call: &Call) -> Decision {
        let message = "no policy bundle is live, so nothing is allowed";
        let reason = Reason::new(reason::BUNDLE_MISSING, message);
        Decision::denied(&new_id(self.clock.now_ms()), &call.call_id, reason)
    }

    async fn append(&self, entry: lictor_audit::Entry, made: &Made) -> Result<(), DecideError> {
        let durability =
            record::durability(self.durability, made.hints.effect, made.decision.effect);
        match self.audit.append(entry, durability).await {
            Ok(_) => Ok(()),
            Err(error) => Err(refused(reason::AUDIT_UNAVAILABLE, &error.to_string())),
        }
    }

    fn count(&self, effect: Effect) {
        let counter = match effect {
            Effect::Allow => &self.counts.allow,
            Effect::Deny => &self.counts.deny,
            Effect::Ask => &self.counts.ask,
        };
        counter.fetch_add(1, Ordering::Relaxed);
    }
}

fn judge(
    bundle: &LoadedBundle,
    call: &Call,
    facts: &mut Facts,
    now_ms: i64,
    budget: Budget,
) -> (Plan, Arc<Verdict>) {
    match plan(bundle, call, now_ms) {
        Ok(plan) => {
            let verdict = evaluate(bundle, call, &plan, facts, budget);
            (plan, Arc::new(verdict))
        }
        Err(reason) => {
            let plan = Plan {
                wants_session: false,
                wants_detectors: false,
                wants_engines: false,
                hints: Hints::default(),
            };
            (plan, Arc::new(Verdict::denied(reason)))
        }
    }
}

fn ids(call: &Call, bundle: &LoadedBundle, decision_id: &str) -> Ids {
    Ids {
        decision_id: decision_id.to_owned(),
        request_digest: call.request_digest(),
        bundle: Some(bundle.reference().clone()),
    }
}

fn made(
    decision: Decision,
    verdict: Arc<Verdict>,
    facts: Facts,
    mut hints: Hints,
    session: &str,
) -> Made {
    hints.session_id = Some(session.to_owned());
    Made { decision, verdict, facts, hints, session: session.to_owned() }
}

fn plain(decision: Decision, facts: Facts, session: String) -> Made {
    let reason = decision.reasons.first().cloned().unwrap_or_else(|| Reason::new("", ""));
    let verdict = Arc::new(Verdict::denied(reason));
    made(decision, verdict, facts, Hints::default(), &session)
}

fn refused(id: &str, message: &str) -> DecideError {
    DecideError::Refused { id: id.to_owned(), message: message.to_owned() }
}

fn budget(budget_ms: u32) -> Budget {
    let ms = u64::from(if budget_ms == 0 { DEFAULT_BUDGET_MS } else { budget_ms });
    let share = (ms * ENGINE_SHARE_PERCENT / 100).max(ENGINE_MS_MIN);
    Budget { time: Duration::from_millis(share), ..Budget::default() }
}
