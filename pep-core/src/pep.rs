//! [`Pep`]: the five stages in their order.

use std::sync::Arc;

use lictor_audit::AuditLog;
use lictor_identity::{Authenticator, Identity};
use lictor_proto::call::{Action, Call, Content, Phase, Question, Resource};
use lictor_proto::decide::{Answer, Decide, Hints};
use lictor_proto::decision::{Decision, Effect, ObligationKind};
use lictor_proto::json::Open;
use lictor_proto::reason;

use crate::clock::{Clock, Ids};
use crate::enforce::{self, PERMIT_TTL_MS, Permit, Permitted};
use crate::identity::Doorkeeper;
use crate::lease::{Lease, Leases};
use crate::proof::Proof;
use crate::query::Inquirer;
use crate::rate_limit::RateLimit;
use crate::record::{Ended, Ending, Flight, Recorder};
use crate::refusal::Refusal;
use crate::request::{Request, check_content};
use crate::revoked::{Guard, News, Revoked};
use crate::setup::DurabilityRule;
use crate::witness::WitnessError;

/// Obligations that change nothing on the way: the decision point and the audit log carry them.
const SILENT: [ObligationKind; 3] =
    [ObligationKind::Label, ObligationKind::Notify, ObligationKind::LogFull];

/// What a [`Pep`] is made of.
pub struct PepParts {
    /// The decision point, in process or over gRPC.
    pub decide: Arc<dyn Decide>,
    /// Who calls.
    pub authenticator: Arc<Authenticator>,
    /// This enforcement point's own log.
    pub audit: AuditLog,
    /// The time.
    pub clock: Clock,
    /// Ids of calls.
    pub ids: Ids,
    /// The obligations that this enforcement point can carry out on a request.
    pub abilities: &'static [ObligationKind],
    /// Milliseconds that one decision may take; 0 means the default of 250.
    pub budget_ms: u32,
}

/// The five stages. Cloning shares everything.
#[derive(Clone)]
pub struct Pep {
    door: Doorkeeper,
    inquirer: Inquirer,
    revoked: Revoked,
    leases: Leases,
    recorder: Recorder,
    clock: Clock,
    ids: Ids,
    abilities: &'static [ObligationKind],
    approval_ms: u32,
}

/// One entry of a list, asked about in phase `list`.
#[derive(Debug, Clone)]
pub struct Entry {
    /// The action that uses the entry.
    pub action: String,
    /// The entry.
    pub resource: Resource,
    /// Its texts for the detectors.
    pub content: Vec<Content>,
}

/// A result that may be released once `decision`'s masks are applied.
#[derive(Debug, Clone)]
pub struct Reviewed {
    /// The decision of phase `response`; `None` where no check was needed.
    pub decision: Option<Decision>,
}

impl Pep {
    /// Puts the stages together, and begins to ask what is revoked: to be called in a runtime.
    #[must_use]
    pub fn new(parts: PepParts) -> Self {
        Self {
            door: Doorkeeper::new(parts.authenticator),
            revoked: Revoked::watch(Arc::clone(&parts.decide)),
            leases: Leases::keep(Arc::clone(&parts.decide)),
            inquirer: Inquirer::new(parts.decide, parts.budget_ms),
            recorder: Recorder::new(parts.audit),
            clock: parts.clock,
            ids: parts.ids,
            abilities: parts.abilities,
            approval_ms: 0,
        }
    }

    /// With another durability of records than by effect.
    #[must_use]
    pub fn with_durability(mut self, mode: DurabilityRule) -> Self {
        self.recorder = self.recorder.with_mode(mode);
        self
    }

    /// Waits up to `wait_ms` milliseconds for a person before a call that needs one is refused; 0
    /// refuses at once, with the approval's id for the caller's next try.
    #[must_use]
    pub fn with_approval_wait(mut self, wait_ms: u32) -> Self {
        self.approval_ms = wait_ms;
        self
    }

    /// Whether calls could go through: records can be written.
    #[must_use]
    pub fn ready(&self) -> bool {
        self.recorder.writable()
    }

    /// Counts of what was done since start, as Prometheus text.
    #[must_use]
    pub fn metrics_text(&self) -> String {
        let issuers = self.door.metrics_text(self.clock.now_ms());
        let points = self.inquirer.metrics_text();
        format!("{}{issuers}{points}", self.recorder.metrics_text())
    }

    /// Gives the head of this side's log to the decision point, and records the head of theirs.
    /// Returns theirs, or nothing where there was none, or still `known`.
    ///
    /// # Errors
    /// [`WitnessError`]; calls go on.
    pub async fn exchange_heads(
        &self,
        writer: &str,
        known: &str,
    ) -> Result<Option<String>, WitnessError> {
        let Some(ours) = self.recorder.head() else {
            return Ok(None);
        };
        let asked = self.inquirer.exchange(writer, &ours).await;
        let theirs = asked.map_err(WitnessError::Decide)?;
        if theirs.is_empty() || theirs == known {
            return Ok(None);
        }
        self.recorder.keep_head(&theirs, self.clock.now_ms()).await?;
        Ok(Some(theirs))
    }

    /// The time.
    #[must_use]
    pub fn clock(&self) -> &Clock {
        &self.clock
    }

    /// The source of call ids.
    #[must_use]
    pub fn ids(&self) -> &Ids {
        &self.ids
    }

    /// Milliseconds that one decision may take.
    #[must_use]
    pub fn budget_ms(&self) -> u32 {
        self.inquirer.budget_ms()
    }

    /// Who presented `proof`, without asking for anything.
    ///
    /// # Errors
    /// A refusal of kind `Unauthenticated`.
    pub async fn identify(&self, proof: &Proof) -> Result<Arc<Identity>, Refusal> {
        self.door.identify(proof, self.clock.now_ms()).await
    }

    /// Stages 1 to 4: from a request to an allowed call whose obligations are still to be carried
    /// out. A refusal is recorded before it is returned.
    ///
    /// # Errors
    /// Every way not to be allowed, as a [`Refusal`].
    pub async fn decide(&self, request: Request) -> Result<Permitted, Refusal> {
        self.decide_while(request, std::future::pending()).await
    }

    /// As [`Pep::decide`], for a caller who may leave while a person is waited for, which `gone`
    /// tells: then nobody is waited for any more, and nothing is done.
    ///
    /// # Errors
    /// As [`Pep::decide`].
    pub async fn decide_while(
        &self,
        mut request: Request,
        gone: impl Future<Output = ()> + Send,
    ) -> Result<Permitted, Refusal> {
        let started_us = self.clock.now_us();
        let (call, identity) = self.open(&mut request, started_us).await?;
        let answer = match self.inquirer.ask(&call).await {
            Ok(answer) => answer,
            Err(refusal) => return Err(self.refused(&call, None, refusal, started_us).await),
        };
        let (targets, asked) = (request.targets.clone(), Arc::clone(&call));
        match self.judge(targets, call, identity, answer, started_us).await {
            Err(refusal) => self.after_approval(request, &asked, refusal, gone).await,
            permitted => permitted,
        }
    }

    /// Where a person is asked and this enforcement point waits for that: the same request once
    /// more, as a new call. Every rule runs again; the approval alone permits nothing. `asked` is
    /// the call of the first time, which has the request's content.
    async fn after_approval(
        &self,
        mut request: Request,
        asked: &Call,
        refusal: Refusal,
        gone: impl Future<Output = ()> + Send,
    ) -> Result<Permitted, Refusal> {
        let Some(approval) = refusal.approval().map(|approval| approval.id.clone()) else {
            return Err(refusal);
        };
        let approved = tokio::select! {
            biased;
            () = gone => false,
            approved = self.inquirer.is_approved(&approval, self.approval_ms) => approved,
        };
        if !approved {
            return Err(refusal);
        }
        let started_us = self.clock.now_us();
        let now_ms = started_us / 1000;
        // Keys are taken back and tokens end while a person thinks.
        let Ok(identity) = self.door.again(&request.proof, now_ms).map(Arc::new) else {
            return Err(refusal);
        };
        request.content.clone_from(&asked.content);
        let Ok(call) = request.take_call(self.ids.next(now_ms), &identity) else {
            return Err(refusal);
        };
        let call = Arc::new(call);
        let answer = match self.inquirer.ask(&call).await {
            Ok(answer) => answer,
            Err(refusal) => return Err(self.refused(&call, None, refusal, started_us).await),
        };
        self.judge(request.targets, call, identity, answer, started_us).await
    }

    /// As [`Pep::decide`], for alternatives of which at most one will be used: one round trip,
    /// results in the order of `requests`. What is not used must be given up.
    ///
    /// # Errors
    /// Where no decision could be had for any of them.
    pub async fn decide_candidates(
        &self,
        requests: Vec<Request>,
    ) -> Result<Vec<Result<Permitted, Refusal>>, Refusal> {
        let started_us = self.clock.now_us();
        let mut opened = Vec::with_capacity(requests.len());
        for mut request in requests {
            let (call, identity) = self.open(&mut request, started_us).await?;
            opened.push((request.targets, call, identity));
        }
        let calls: Vec<_> = opened.iter().map(|(_, call, _)| call.clone()).collect();
        let answers = match self.inquirer.ask_all(&calls).await {
            Ok(answers) => answers,
            Err(mut refusal) => {
                for call in &calls {
                    refusal = self.refused(call, None, refusal, started_us).await;
                }
                return Err(refusal);
            }
        };
        let mut judged = Vec::with_capacity(answers.len());
        for ((targets, call, identity), answer) in opened.into_iter().zip(answers) {
            judged.push(self.judge(targets, call, identity, answer, started_us).await);
        }
        Ok(judged)
    }

    /// Gives an allowed call back: nothing will be sent. Recorded as `not_sent`.
    ///
    /// # Errors
    /// `audit_unavailable`; the reservation is given back all the same.
    pub async fn give_up(&self, permitted: Permitted, because: &Refusal) -> Result<(), Refusal> {
        let ending = Ending::new(Ended::NotSent, 0).because(because);
        self.finish(flight_of(permitted, String::new(), None), ending).await
    }

    /// Stages 4 and 5 before forwarding: `bytes` are what is to be sent after every obligation.
    /// The intention is in the audit log when this returns.
    ///
    /// # Errors
    /// Too late, or `audit_unavailable`; the call is given back.
    pub async fn permit(
        &self,
        permitted: Permitted,
        bytes: &[u8],
    ) -> Result<(Permit, Flight), Refusal> {
        let permit = match enforce::permit(&permitted, bytes, self.clock.now_ms()) {
            Ok(permit) => permit,
            Err(refusal) => {
                self.give_up(permitted, &refusal).await?;
                return Err(refusal);
            }
        };
        let (call, hints) = (permitted.call(), permitted.hints());
        if let Some(refusal) = self.revoked.refusal(call, hints, self.clock.now_ms()) {
            let refusal = refusal.of_call(call, &permitted.decision().decision_id);
            self.give_up(permitted, &refusal).await?;
            return Err(refusal);
        }
        let lease = self.leases.begin(&permitted.call.call_id);
        let flight = flight_of(permitted, permit.digest_text(), Some(lease));
        if let Err(refusal) = self.recorder.allowed(&flight, self.clock.now_us()).await {
            self.inquirer.give_up(&flight.call.call_id).await;
            return Err(refusal);
        }
        Ok((permit, flight))
    }

    /// Asks whether a call whose arguments were changed by an obligation would still be allowed,
    /// without charging anything again.
    ///
    /// # Errors
    /// The refusal of the changed call.
    pub async fn revalidate(&self, permitted: &Permitted, args: Open) -> Result<(), Refusal> {
        let now_ms = self.clock.now_ms();
        let mut call = copy_of(&permitted.call, self.ids.next(now_ms), Vec::new());
        call.questions = vec![Question::Authz];
        call.context.args = args;
        let call = Arc::new(call);
        let answer = self.inquirer.ask(&call).await?;
        enforce::check_answer(&call, &call.request_digest(), &answer, self.abilities)
    }

    /// Which entries of a list may be seen, in their order: one batch in phase `list`. An entry
    /// that cannot be asked about stays hidden.
    ///
    /// # Errors
    /// No decision, for the whole list.
    pub async fn visible(
        &self,
        flight: &Flight,
        entries: Vec<Entry>,
    ) -> Result<Vec<bool>, Refusal> {
        let now_ms = self.clock.now_ms();
        let calls: Vec<_> = entries
            .into_iter()
            .map(|entry| Arc::new(self.entry_call(&flight.call, entry, now_ms)))
            .collect();
        let answers = self.inquirer.ask_all(&calls).await.map_err(|refusal| {
            refusal.of_call(&flight.call, &flight.decision.decision_id).after_effect()
        })?;
        let seen = |(call, answer): (&Arc<Call>, &Answer)| {
            let decision = &answer.decision;
            decision.effect == Effect::Allow
                && decision.call_id == call.call_id
                && decision.request_digest == call.request_digest()
        };
        Ok(calls.iter().zip(&answers).map(seen).collect())
    }

    /// The second decision, in phase `response`: may this result be released, and how? Masks are
    /// in the decision, for the caller to apply.
    ///
    /// # Errors
    /// `result_withheld`, executed, with the reasons.
    pub async fn review(
        &self,
        flight: &Flight,
        content: Vec<Content>,
    ) -> Result<Reviewed, Refusal> {
        let withheld = |refusal: Refusal| refusal.of_call(&flight.call, "").after_effect();
        check_content(&content).map_err(withheld)?;
        let mut call = copy_of(&flight.call, self.ids.next(self.clock.now_ms()), content);
        call.phase = Phase::Response;
        call.request_call_id = Some(flight.call.call_id.clone());
        call.executed = true;
        let call = Arc::new(call);
        let answer = self.inquirer.ask(&call).await.map_err(withheld)?;
        let known: Vec<_> = SILENT.into_iter().chain([ObligationKind::Mask]).collect();
        enforce::check_answer(&call, &call.request_digest(), &answer, &known).map_err(withheld)?;
        Ok(Reviewed { decision: Some(answer.decision) })
    }

    /// Trips when the call of `flight` may not go on, for whatever is under way for longer.
    #[must_use]
    pub fn guard(&self, flight: &Flight) -> Guard {
        self.revoked.guard(flight, self.clock.clone())
    }

    /// Changes of what is revoked, from now on.
    #[must_use]
    pub fn revocation_news(&self) -> News {
        self.revoked.news()
    }

    /// Stage 5 after forwarding: the outcome is appended, then settled in the background. Only
    /// when this returns `Ok` may the result be released. The result of a call that may not go on
    /// any more is recorded as withheld, whatever `ending` says.
    ///
    /// # Errors
    /// `audit_unavailable`, or who is revoked; after the effect as `result_withheld`, executed.
    pub async fn finish(&self, flight: Flight, ending: Ending) -> Result<(), Refusal> {
        let revoked = match ending.ended {
            Ended::Done | Ended::Masked | Ended::Failed => self.guard_refusal(&flight),
            Ended::Withheld | Ended::Unknown | Ended::NotSent => None,
        };
        let ending = match &revoked {
            Some(refusal) => ending.withheld(refusal),
            None => ending,
        };
        let recorded = self.recorder.ended(&flight, &ending, self.clock.now_us()).await;
        let (outcome, executed) = (ending.ended.outcome(), ending.ended.executed());
        let Ending { usage, detail, .. } = ending;
        self.inquirer.settle(&flight.call.call_id, outcome, usage, detail).await;
        match recorded {
            Err(refusal) if executed => Err(refusal.after_effect()),
            Err(refusal) => Err(refusal),
            Ok(()) => revoked.map_or(Ok(()), Err),
        }
    }

    fn guard_refusal(&self, flight: &Flight) -> Option<Refusal> {
        let Flight { call, decision, hints, .. } = flight;
        let refusal = self.revoked.refusal(call, hints, self.clock.now_ms())?;
        Some(refusal.of_call(call, &decision.decision_id).after_effect())
    }

    /// Records the refusal of something that never became a request: not parsed, too large, an
    /// unknown method. Returns what the caller is to be told.
    pub async fn refuse_unread(
        &self,
        protocol: &str,
        source_ip: &str,
        action: &str,
        refusal: Refusal,
    ) -> Refusal {
        let now_us = self.clock.now_us();
        let mut call = Call { action: Action { name: action.to_owned() }, ..Call::default() };
        call.call_id = self.ids.next(now_us / 1000);
        call.context.protocol = protocol.to_owned();
        call.context.source_ip = source_ip.to_owned();
        self.refused(&call, None, refusal, now_us).await
    }

    /// Waits until no settlement is under way.
    pub async fn drained(&self) {
        self.inquirer.drained().await;
    }

    /// Stages 1 and 2.
    async fn open(
        &self,
        request: &mut Request,
        started_us: i64,
    ) -> Result<(Arc<Call>, Arc<Identity>), Refusal> {
        let now_ms = started_us / 1000;
        let call_id = self.ids.next(now_ms);
        let opened =
            self.door.identify(&request.proof, now_ms).await.and_then(|identity| {
                Ok((request.take_call(call_id.clone(), &identity)?, identity))
            });
        match opened {
            Ok((call, identity)) => Ok((Arc::new(call), identity)),
            Err(refusal) => {
                let call = unknown_caller(request, call_id);
                Err(self.refused(&call, None, refusal, started_us).await)
            }
        }
    }

    /// Stage 4 over an answer.
    async fn judge(
        &self,
        targets: Vec<String>,
        call: Arc<Call>,
        identity: Arc<Identity>,
        answer: Answer,
        started_us: i64,
    ) -> Result<Permitted, Refusal> {
        let digest = call.request_digest();
        if let Err(refusal) = enforce::check_answer(&call, &digest, &answer, self.abilities) {
            let (limits, quotas) = (&answer.decision.limits, &answer.hints.quotas);
            let told = RateLimit::of(limits, quotas, self.clock.now_ms());
            let refusal = refusal.with_rate_limit(told);
            if answer.decision.effect == Effect::Allow {
                self.inquirer.give_up(&call.call_id).await;
            }
            return Err(self.refused(&call, Some(&answer.decision), refusal, started_us).await);
        }
        let deadline_ms = self.clock.now_ms().saturating_add(PERMIT_TTL_MS);
        Ok(Permitted { call, digest, answer, identity, targets, started_us, deadline_ms })
    }

    /// Records a refusal; if that fails, the refusal is that there is no record.
    async fn refused(
        &self,
        call: &Call,
        decision: Option<&Decision>,
        refusal: Refusal,
        started_us: i64,
    ) -> Refusal {
        let refusal = refusal.of_call(call, "");
        let now_us = self.clock.now_us();
        let took_us = now_us.saturating_sub(started_us);
        match self.recorder.refused(call, decision, &refusal, took_us, now_us).await {
            Ok(()) => refusal,
            Err(failed) => failed,
        }
    }

    fn entry_call(&self, list: &Call, entry: Entry, now_ms: i64) -> Call {
        let mut call = copy_of(list, self.ids.next(now_ms), entry.content);
        call.phase = Phase::List;
        call.action = Action { name: entry.action };
        call.resource = Some(entry.resource);
        call.context.args = Open::default();
        call
    }
}

/// The same call under another id and with other content, which is most of what a call is made of.
fn copy_of(call: &Call, call_id: String, content: Vec<Content>) -> Call {
    Call {
        call_id,
        content,
        phase: call.phase,
        tenant: call.tenant.clone(),
        questions: call.questions.clone(),
        subject: call.subject.clone(),
        agent: call.agent.clone(),
        delegation: call.delegation.clone(),
        action: call.action.clone(),
        credential: call.credential.clone(),
        request_call_id: call.request_call_id.clone(),
        executed: call.executed,
        resource: call.resource.clone(),
        context: call.context.clone(),
        session: call.session.clone(),
        usage: call.usage,
    }
}

impl Reviewed {
    /// A result that needs no second decision, because the bundle can say nothing about it.
    #[must_use]
    pub fn unneeded(hints: &Hints) -> Option<Self> {
        let none = hints.response_check == lictor_proto::decide::ResponseCheck::None;
        none.then_some(Self { decision: None })
    }
}

fn flight_of(permitted: Permitted, forwarded_digest: String, lease: Option<Lease>) -> Flight {
    Flight {
        call: permitted.call,
        digest: permitted.digest,
        decision: permitted.answer.decision,
        hints: permitted.answer.hints,
        identity: permitted.identity,
        forwarded_digest,
        started_us: permitted.started_us,
        lease,
    }
}

/// What is known about a request whose caller is not: enough for a record, and no claim of who.
fn unknown_caller(request: &Request, call_id: String) -> Call {
    let mut call = Call { call_id, ..Call::default() };
    call.action = Action { name: request.action.clone() };
    call.resource = Some(request.resource.clone());
    call.context.protocol = request.protocol.clone();
    call.context.source_ip = request.source_ip.clone();
    call
}

/// The refusal of a request whose body is larger than `limit_bytes`.
#[must_use]
pub fn body_too_large(limit_bytes: usize) -> Refusal {
    Refusal::new(
        reason::BODY_TOO_LARGE,
        format!("the body is larger than {limit_bytes} bytes: send less"),
    )
}
