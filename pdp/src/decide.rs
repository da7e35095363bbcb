//! The path of one decision: live bundle, plan, facts, evaluate, commit, conclude,
//! record. The order is DESIGN's; every way out of it is a denial with a reason. [`opening`] is what
//! sessions begin and go on with, [`outage`] what happens while the store does not answer,
//! [`revoked`] what a revocation does to a call that is being decided on, [`reasons`] why the
//! decision point itself denies, [`watched`] what policy sees that only watches.

mod opening;
mod outage;
mod reasons;
mod revoked;
mod watched;

use std::borrow::Cow;
use std::panic::AssertUnwindSafe;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use futures::FutureExt as _;
use lictor_audit::AuditLog;
use lictor_identity::Role;
use lictor_policy_lib::conclude::{CommitResult, Ids, conclude, dry_run};
use lictor_policy_lib::engine::Budget;
use lictor_policy_lib::evaluate::{Verdict, complete_facts, evaluate};
use lictor_policy_lib::limits;
use lictor_policy_lib::load::LoadedBundle;
use lictor_policy_lib::plan::{Plan, plan};
use lictor_policy_lib::replay::How;
use lictor_proto::call::{Call, Phase};
use lictor_proto::decide::{Answer, DEFAULT_BUDGET_MS, DecideError, Hints, Outcome, Settle};
use lictor_proto::decision::{Decision, Effect, Reason};
use lictor_proto::facts::Facts;
use lictor_proto::reason;
use lictor_proto::revocation::Involved;

use self::reasons::{abandoned, reused, state_failure, unknown_session};
use crate::approvals;
use crate::approvals::wait::Changes;
use crate::clock::{Clock, new_id};
use crate::limits::metrics::LimitCounts;
use crate::limits::quota::quotas;
use crate::live::Live;
use crate::peer::Peer;
use crate::record::{self, Recorded};
use crate::revocation::Revocations;
use crate::session::{self, Handles, Turns};
use crate::shadow::Shadow;
use crate::shadow::counts::RuleCounts;
use crate::state::approval::Binding;
use crate::state::{
    Commit, Committed, Reservation, SessionKey, Snapshot, State, StateError, Stored,
};

/// How often a decision is made again because its session changed meanwhile.
pub const RETRIES_MAX: usize = 3;
/// The least time that an engine gets, in milliseconds.
const ENGINE_MS_MIN: u64 = 5;
/// What an engine may take of the call's budget: the rest is for the way.
const ENGINE_SHARE_PERCENT: u64 = 40;

/// The decision point.
pub struct Pdp {
    pub(crate) live: Live,
    pub(crate) revocations: Revocations,
    pub(crate) state: Arc<dyn State>,
    pub(crate) audit: AuditLog,
    pub(crate) durability: crate::config::DurabilityRule,
    pub(crate) handles: Handles,
    pub(crate) turns: Turns,
    pub(crate) clock: Clock,
    pub(crate) counts: Counts,
    pub(crate) draining: AtomicBool,
    pub(crate) approval_changes: Changes,
    pub(crate) webhooks: OnceLock<Arc<crate::webhook::Counts>>,
    pub(crate) approver: Option<Arc<lictor_identity::Authenticator>>,
    pub(crate) shadow: Option<Arc<Shadow>>,
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
    pub(crate) limits: LimitCounts,
    pub(crate) shadow_rules: RuleCounts,
}

/// One call on its way, with everything that is fixed before it is evaluated.
struct Asked<'a> {
    peer: &'a Peer,
    call: &'a Arc<Call>,
    bundle: Arc<LoadedBundle>,
    session: SessionKey,
    ids: Ids,
    budget: Budget,
}

/// Everything that one decision is made of, on its way to the record.
struct Made {
    decision: Decision,
    verdict: Arc<Verdict>,
    facts: Facts,
    hints: Hints,
    session: String,
    /// The call with its agents under their registry ids, where it came with other names.
    resolved: Option<Arc<Call>>,
    /// Whether it was made without the store.
    state_unavailable: bool,
    /// How it came about, for whoever makes it again.
    how: How,
    /// Whether what sessions do is kept and read, so that the facts tell it.
    session_kept: bool,
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
        // A panic in an engine ends in a denial of this one call.
        let making = AssertUnwindSafe(self.make(peer, &call, budget(budget_ms)));
        let made = match making.catch_unwind().await {
            Ok(made) => made,
            Err(_) => self.panicked(&call),
        };
        let made = self.unless_revoked(peer, &call, made).await;
        self.released(peer, &call, made, started.elapsed()).await
    }

    /// Denies what is no call at all, with a record like that of any other denial.
    ///
    /// # Errors
    /// [`DecideError::Refused`] if the record cannot be written.
    pub async fn refuse_malformed(
        &self,
        peer: &Peer,
        call_id: &str,
        reason: Reason,
    ) -> Result<Answer, DecideError> {
        let call = Arc::new(Call { call_id: call_id.to_owned(), ..Call::default() });
        let ids = Ids {
            decision_id: new_id(self.clock.now_ms()),
            request_digest: String::new(),
            bundle: self.live.of(&call.tenant).map(|bundle| bundle.reference().clone()),
        };
        let made = denied(&call, &ids, reason, "");
        self.released(peer, &call, made, Duration::ZERO).await
    }

    /// The record comes before the answer.
    async fn released(
        &self,
        peer: &Peer,
        call: &Arc<Call>,
        made: Made,
        took: Duration,
    ) -> Result<Answer, DecideError> {
        self.record(peer, call, &made, took).await?;
        let effect = made.decision.effect;
        let made = self.unless_revoked(peer, call, made).await;
        if made.decision.effect != effect {
            // Revoked while its record was written: that decision was never given.
            self.record(peer, call, &made, took).await?;
        }
        self.count(made.decision.effect);
        self.counts.limits.count(&made.decision);
        Ok(self.watched(call, made))
    }

    async fn record(
        &self,
        peer: &Peer,
        call: &Call,
        made: &Made,
        took: Duration,
    ) -> Result<(), DecideError> {
        let recorded = Recorded {
            peer: &peer.name,
            call: made.resolved.as_deref().unwrap_or(call),
            received: call,
            decision: &made.decision,
            verdict: &made.verdict,
            facts: &made.facts,
            session: &made.session,
            state_unavailable: made.state_unavailable,
            how: made.how,
            session_kept: made.session_kept,
            duration_us: u64::try_from(took.as_micros()).unwrap_or(u64::MAX),
        };
        let unrecorded =
            |error: &dyn std::error::Error| refused(reason::AUDIT_UNAVAILABLE, &error.to_string());
        let entry = record::decision(&recorded, self.clock.now_ms());
        let entry = entry.map_err(|error| unrecorded(&error))?;
        let durability =
            record::durability(self.durability, made.hints.effect, made.decision.effect);
        self.audit.record(&entry, durability).await.map_err(|error| unrecorded(&error))
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
            return Err(refused(reason::BUNDLE_MISSING, "no policy bundle is live"));
        };
        let outcome = dry_run(&bundle, call, facts, now_ms, Budget::default());
        let mut decision = outcome.decision;
        let named = bundle.resolve(call);
        let session = self.handles.session_of(&named, now_ms).ok();
        let session = session.as_ref().map(|session| session.id.as_str());
        if let Some(reason) = self.revocations.check(&named, call, session, now_ms) {
            decision = Decision { dry_run: true, ..Decision::denied("", &call.call_id, reason) };
        }
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
        // A peer's calls may be of any tenant it serves; call ids are unique. What will never be
        // sent is told to each: one that does not know the call must not decide it late either.
        let mut taken = false;
        for tenant in self.tenants() {
            match self.state.settle(&tenant, &peer.name, settle, now_ms).await {
                Err(StateError::Settle(crate::state::SettleError::Unknown)) => {}
                Ok(()) if settle.outcome == Outcome::NotSent => taken = true,
                Ok(()) => return Ok(()),
                Err(StateError::Unavailable(why)) => return Err(DecideError::Unavailable(why)),
                Err(error) => return Err(refused("settle_refused", &error.to_string())),
            }
        }
        if taken {
            return Ok(());
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
        let mut ids = Ids {
            decision_id: new_id(now_ms),
            request_digest: call.request_digest(),
            bundle: None,
        };
        let Some(bundle) = self.live.of(&call.tenant) else {
            let message = "no policy bundle is live, so nothing is allowed";
            let missing = || Reason::new(reason::BUNDLE_MISSING, message);
            return denied(call, &ids, peer.refuses(call).unwrap_or_else(missing), "");
        };
        ids.bundle = Some(bundle.reference().clone());
        let session_kept = !self.state.is_far() || bundle.uses_session();
        let resolved = match bundle.resolve(call) {
            Cow::Borrowed(_) => None,
            Cow::Owned(call) => Some(Arc::new(call)),
        };
        // The digest stays that of the call as it came: by it the peer knows its own question.
        let named = resolved.as_ref().unwrap_or(call);
        let session = self.handles.session_of(named, now_ms);
        let id = session.as_ref().map(|session| session.id.clone()).unwrap_or_default();
        let foreign = peer.refuses(named);
        let revoked = || self.revocations.check(named, call, Some(&id), now_ms);
        let mut made = match (foreign.or_else(revoked), session) {
            (Some(reason), _) => denied(named, &ids, reason, &id),
            (None, Ok(session)) => {
                self.judged(Asked { peer, call: named, bundle, session, ids, budget }).await
            }
            (None, Err(error)) => denied(named, &ids, unknown_session(error), ""),
        };
        if let Some(named) = &resolved {
            let mut involved = Involved::default();
            involved.also(named);
            made.hints.agents = involved.agents;
        }
        Made { resolved, session_kept, ..made }
    }

    async fn judged(&self, asked: Asked<'_>) -> Made {
        if asked.call.phase != Phase::Request {
            return self.evaluate_only(&asked).await;
        }
        // Where nothing has to be read first, the commit itself says whether it was decided before.
        if self.leaves_unread(&asked) {
            return self.evaluate_and_commit(&asked).await;
        }
        match self.again(&asked).await {
            Ok(Some(made)) => made,
            Ok(None) => self.evaluate_and_commit(&asked).await,
            // Not asked a second time: its answer is waited for as long as a decision may take.
            Err(error) => asked.without_state(&error, self.clock.now_ms()),
        }
    }

    /// The same call again gets what was stored, without another evaluation.
    async fn again(&self, asked: &Asked<'_>) -> Result<Option<Made>, StateError> {
        let Asked { peer, call, .. } = asked;
        let stored = self.state.stored(&call.tenant, &peer.name, &call.call_id).await?;
        let Some(stored) = stored.filter(|s| s.request_digest == asked.ids.request_digest) else {
            return Ok(None);
        };
        let plan = plan(&asked.bundle, call, self.clock.now_ms()).ok();
        let hints = plan.map(|plan| plan.hints).unwrap_or_default();
        Ok(Some(asked.repeated(stored, hints)))
    }

    /// Phases list and response change nothing.
    async fn evaluate_only(&self, asked: &Asked<'_>) -> Made {
        let now_ms = self.clock.now_ms();
        let binding = approvals::binding(asked.call, &asked.bundle, &asked.session);
        match self.state.read(&asked.session, &binding, now_ms).await {
            Ok(snapshot) => {
                let (plan, verdict, facts) = asked.judge(snapshot, now_ms);
                asked.uncommitted(verdict, facts, plan.hints)
            }
            Err(error) => asked.without_state(&error, now_ms),
        }
    }

    async fn evaluate_and_commit(&self, asked: &Asked<'_>) -> Made {
        // Where policy reads the session, its calls take turns in this process: they would make
        // each other stale. Other decision points are what compare-and-set is for.
        let _turn = match asked.bundle.reads_session() {
            true => Some(self.turns.of(&asked.session).lock().await),
            false => None,
        };
        for _ in 0..=RETRIES_MAX {
            let now_ms = self.clock.now_ms();
            let binding = approvals::binding(asked.call, &asked.bundle, &asked.session);
            let snapshot = match self.snapshot(asked, &binding, now_ms).await {
                Ok(snapshot) => snapshot,
                Err(error) => return asked.without_state(&error, now_ms),
            };
            let version = snapshot.version;
            let (plan, verdict, facts) = asked.judge(snapshot, now_ms);
            let version = plan.wants_session.then_some(version);
            let commit = asked.commit(binding, &verdict, version, now_ms);
            match self.state.commit(commit, now_ms).await {
                Ok(Committed::Stored(stored)) if stored.decision_id != asked.ids.decision_id => {
                    return asked.repeated(stored, plan.hints);
                }
                Ok(Committed::Stored(stored)) => {
                    if verdict.effect == Effect::Ask || !verdict.approvals_used.is_empty() {
                        self.approval_changes.tell();
                    }
                    let mut made = asked.concluded(stored, plan.hints, facts);
                    self.open_session(asked, &mut made, now_ms).await;
                    return made;
                }
                Ok(Committed::Stale) => tokio::task::yield_now().await,
                Ok(Committed::Reused) => return asked.denied(reused()),
                Ok(Committed::Abandoned) => return asked.denied(abandoned()),
                Err(error) => return asked.commit_failed(verdict, facts, plan.hints, &error),
            }
        }
        let message = "other calls of this session came at the same time: try again";
        asked.denied(Reason::new(reason::SESSION_CONFLICT, message))
    }

    /// What the session did; not asked of a store that is far where nobody would look at it.
    async fn snapshot(
        &self,
        asked: &Asked<'_>,
        binding: &Binding,
        now_ms: i64,
    ) -> Result<Snapshot, StateError> {
        if self.leaves_unread(asked) {
            return Ok(Snapshot::unread());
        }
        self.state.read(&asked.session, binding, now_ms).await
    }

    /// Whether nobody would look at what a store that is far knows of the session.
    fn leaves_unread(&self, asked: &Asked<'_>) -> bool {
        self.state.is_far() && asked.session.implicit && !asked.bundle.uses_session()
    }

    fn panicked(&self, call: &Call) -> Made {
        tracing::error!(call_id = call.call_id, "a decision panicked");
        let ids = Ids {
            decision_id: new_id(self.clock.now_ms()),
            request_digest: call.request_digest(),
            bundle: None,
        };
        let reason = Reason::new(reason::POLICY_ERROR, "the decision failed");
        denied(call, &ids, reason, "")
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

impl Asked<'_> {
    fn judge(&self, read: Snapshot, now_ms: i64) -> (Plan, Arc<Verdict>, Facts) {
        let facts = Facts { session: read.facts, signals: read.signals, ..Facts::default() };
        let mut facts = complete_facts(&self.bundle, self.call, facts, now_ms);
        match plan(&self.bundle, self.call, now_ms) {
            Ok(plan) => {
                let known = facts.findings.len();
                let verdict = evaluate(&self.bundle, self.call, &plan, &mut facts, self.budget);
                // What the detectors found is in the verdict; whoever decides this again has its own.
                facts.findings.truncate(known);
                (plan, Arc::new(verdict), facts)
            }
            Err(reason) => (Plan::nothing(), Arc::new(Verdict::denied(reason)), facts),
        }
    }

    fn commit(
        &self,
        binding: Binding,
        verdict: &Arc<Verdict>,
        version: Option<u64>,
        now_ms: i64,
    ) -> Commit {
        let call = self.call;
        let (cost_usd_micros, prices) = limits::money(call, self.bundle.registry());
        let opens = (verdict.effect == Effect::Ask)
            .then(|| approvals::new_approval(&self.bundle, call, verdict, &self.peer.name, now_ms));
        Commit {
            session: self.session.clone(),
            implicit: (!self.session.implicit).then(|| session::implicit(call)),
            version,
            call_id: call.call_id.clone(),
            request_digest: self.ids.request_digest.clone(),
            decision_id: self.ids.decision_id.clone(),
            peer: self.peer.name.clone(),
            cost_usd_micros,
            prices,
            resource: call.resource.as_ref().map(|r| r.id.clone()).unwrap_or_default(),
            binding,
            opens,
            permits: verdict.effect == Effect::Allow && call.asks_all(),
            watched: self.bundle.uses_session(),
            verdict: Arc::clone(verdict),
        }
    }

    fn uncommitted(&self, verdict: Arc<Verdict>, facts: Facts, hints: Hints) -> Made {
        let commit =
            CommitResult::Committed { limits: Vec::new(), approval: None, labels: verdict.labels };
        let decision = conclude(self.call, &verdict, &commit, &self.ids);
        let made = made(decision, verdict, facts, hints, &self.session.id);
        Made { how: How::Evaluated, ..made }
    }

    /// Decided before: what was found now explains nothing of it.
    fn repeated(&self, stored: Stored, hints: Hints) -> Made {
        Made { how: How::Repeated, ..self.concluded(stored, hints, Facts::default()) }
    }

    /// The stored decision keeps its own id, whoever asks again.
    fn concluded(&self, stored: Stored, hints: Hints, facts: Facts) -> Made {
        let (how, commit) = match stored.reservation {
            Reservation::Held(limits) => (
                How::Committed,
                CommitResult::Committed {
                    limits,
                    approval: stored.approval,
                    labels: stored.labels,
                },
            ),
            Reservation::Short { short, limits } => {
                (How::Short, CommitResult::Short { short, limits })
            }
        };
        let ids = Ids { decision_id: stored.decision_id, ..self.ids.clone() };
        let decision = conclude(self.call, &stored.verdict, &commit, &ids);
        let made = made(decision, stored.verdict, facts, hints, &self.session.id);
        Made { how, ..made }
    }

    fn denied(&self, reason: Reason) -> Made {
        denied(self.call, &self.ids, reason, &self.session.id)
    }
}

/// A denial that no policy made.
fn denied(call: &Call, ids: &Ids, reason: Reason, session: &str) -> Made {
    let verdict = Arc::new(Verdict::denied(reason));
    let commit =
        CommitResult::Committed { limits: Vec::new(), approval: None, labels: verdict.labels };
    let decision = conclude(call, &verdict, &commit, ids);
    made(decision, verdict, Facts::default(), Hints::default(), session)
}

fn made(
    decision: Decision,
    verdict: Arc<Verdict>,
    facts: Facts,
    mut hints: Hints,
    session: &str,
) -> Made {
    hints.session_id = Some(session.to_owned());
    hints.quotas = quotas(&decision, &verdict.limits);
    let session = session.to_owned();
    Made {
        decision,
        verdict,
        facts,
        hints,
        session,
        resolved: None,
        state_unavailable: false,
        how: How::Refused,
        session_kept: false,
    }
}

fn refused(id: &str, message: &str) -> DecideError {
    DecideError::Refused { id: id.to_owned(), message: message.to_owned() }
}

fn budget(budget_ms: u32) -> Budget {
    let ms = u64::from(if budget_ms == 0 { DEFAULT_BUDGET_MS } else { budget_ms });
    let share = (ms * ENGINE_SHARE_PERCENT / 100).max(ENGINE_MS_MIN);
    Budget { time: Duration::from_millis(share), ..Budget::default() }
}
