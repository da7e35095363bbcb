//! What the policies said about one call, gathered into an outcome.

use lictor_proto::call::{Call, Phase};
use lictor_proto::decision::Reason;
use lictor_proto::reason::{ARGS_UNREPRESENTABLE, POLICY_ERROR};

use crate::engine::{Ask, Denial, Duty, EngineError, Fired, Outcome, Shadow, Would};

use super::index::Number;
use super::policy::{Kind, Policy};

/// What all policies said for all principals. After [`settle`](Tally::settle) all is
/// in the order of the policies.
#[derive(Default)]
pub(super) struct Tally<'a> {
    /// Policies that hold, each with a principal that it holds for.
    pub(super) held: Vec<(Number, &'a str)>,
    /// Policies that failed, with Cedar's text.
    pub(super) failed: Vec<(Number, String)>,
    /// Principals that nothing permits.
    pub(super) unpermitted: Vec<&'a str>,
    /// Where an argument does not fit: policies that concern any of the principals.
    pub(super) concerned: Vec<Number>,
    /// Shadow permits, each with a principal that it would permit.
    pub(super) would_permit: Vec<(Number, &'a str)>,
}

impl<'a> Tally<'a> {
    /// Notes whom a shadow permit would permit.
    pub(super) fn note_shadow(&mut self, number: Number, policy: &Policy, principal: &'a str) {
        if policy.notes.shadow && policy.kind == Kind::Permit {
            self.would_permit.push((number, principal));
        }
    }

    /// Brings together what was said of each policy, principals in their order. Of
    /// several failures of a policy the last one is told.
    pub(super) fn settle(&mut self) {
        self.held.sort_by_key(|(number, _)| *number);
        self.would_permit.sort_by_key(|(number, _)| *number);
        self.failed.reverse();
        self.failed.sort_by_key(|(number, _)| *number);
        self.failed.dedup_by_key(|(number, _)| *number);
        self.concerned.sort_unstable();
        self.concerned.dedup();
    }

    /// For whom a policy holds.
    fn holds_for(&self, number: Number) -> Vec<&'a str> {
        principals(&self.held, number)
    }
}

/// The principals of one policy.
fn principals<'a>(of: &[(Number, &'a str)], wanted: Number) -> Vec<&'a str> {
    let start = of.partition_point(|(number, _)| *number < wanted);
    let these = of.iter().skip(start).take_while(|(number, _)| *number == wanted);
    these.map(|(_, principal)| *principal).collect()
}

/// A tally with what it is about.
pub(super) struct Said<'a> {
    pub(super) policies: &'a [Policy],
    pub(super) call: &'a Call,
    pub(super) tally: &'a Tally<'a>,
}

impl Said<'_> {
    /// Everything, sorted. `misfits` are pointers of arguments that do not fit.
    pub(super) fn outcome(&self, misfits: &[String]) -> Outcome {
        let tally = self.tally;
        let mut outcome = Outcome::default();
        let listing = self.call.phase == Phase::List;
        let all_permitted = tally.unpermitted.is_empty();
        for (number, policy) in self.holding().filter(|(_, policy)| !policy.notes.shadow) {
            match policy.kind {
                Kind::Permit if all_permitted && !listing => outcome.permits.push(fired(policy)),
                Kind::Permit => {}
                Kind::Forbid => {
                    let reason = self.reason(policy, &tally.holds_for(number));
                    outcome.denies.push(Denial { reason });
                }
                Kind::Ask if listing => {}
                Kind::Ask => outcome.asks.extend(self.asked(policy, &tally.holds_for(number))),
            }
            if !listing {
                outcome.obligations.extend(duties(policy));
            }
        }
        self.add_errors(misfits, &mut outcome);
        let hidden = !outcome.denies.is_empty() || outcome.errors.iter().any(|error| error.fatal);
        outcome.listed = listing && all_permitted && !hidden;
        if !tally.would_permit.is_empty() {
            self.add_held_back(&mut outcome);
        }
        self.add_shadows(misfits, &mut outcome);
        sort(&mut outcome);
        outcome
    }

    fn policy(&self, number: Number) -> Option<&Policy> {
        usize::try_from(number).ok().and_then(|at| self.policies.get(at))
    }

    /// The policies that hold, each once.
    fn holding(&self) -> impl Iterator<Item = (Number, &Policy)> {
        let groups = self.tally.held.chunk_by(|a, b| a.0 == b.0);
        let numbers = groups.filter_map(|group| group.first()).map(|(number, _)| *number);
        numbers.filter_map(|number| Some((number, self.policy(number)?)))
    }

    /// What permits lack that shadow permits may give.
    fn add_held_back(&self, outcome: &mut Outcome) {
        let unpermitted = &self.tally.unpermitted;
        outcome.unpermitted = unpermitted.iter().map(|&name| name.to_owned()).collect();
        if unpermitted.is_empty() || self.call.phase == Phase::List {
            return;
        }
        let held = self.holding().map(|(_, policy)| policy);
        let permits = held.filter(|policy| policy.kind == Kind::Permit && !policy.notes.shadow);
        outcome.held_back = permits.map(fired).collect();
    }

    /// What shadow policies would say; one that does not hold may fail, or read what does not fit.
    fn add_shadows(&self, misfits: &[String], outcome: &mut Outcome) {
        for (number, policy) in self.shadows() {
            let mut would = self.would(number, policy);
            let misread = misfits.iter().find(|pointer| policy.reads_argument(pointer));
            would.extend(misread.map(|pointer| Would::Fail(unrepresentable(pointer, policy))));
            let holds = !self.tally.holds_for(number).is_empty();
            if !holds && would.is_empty() {
                continue;
            }
            let rule = match policy.kind {
                Kind::Permit => "allow",
                Kind::Forbid => "deny",
                Kind::Ask => "ask",
            };
            outcome.shadows.push(shadow(rule, &policy.notes.id, policy, would));
            if holds {
                outcome.shadows.extend(duties(policy).map(|duty| {
                    let id = duty.obligation.id.clone();
                    shadow("obligations", &id, policy, vec![Would::Oblige(duty)])
                }));
            }
        }
    }

    /// The shadow policies that can have something to say, in order.
    fn shadows(&self) -> impl Iterator<Item = (Number, &Policy)> {
        let tally = self.tally;
        let held = tally.held.iter().chain(&tally.would_permit).map(|(number, _)| *number);
        let failed = tally.failed.iter().map(|(number, _)| *number);
        let said = held.chain(failed).chain(tally.concerned.iter().copied());
        let mut numbers: Vec<Number> = said
            .filter(|number| self.policy(*number).is_some_and(|policy| policy.notes.shadow))
            .collect();
        numbers.sort_unstable();
        numbers.dedup();
        numbers.into_iter().filter_map(|number| Some((number, self.policy(number)?)))
    }

    /// What the outcome would have besides, were this policy enforced.
    fn would(&self, number: Number, policy: &Policy) -> Vec<Would> {
        let listing = self.call.phase == Phase::List;
        let mut would = Vec::new();
        let failed = self.tally.failed.iter().find(|(of, _)| *of == number);
        let failed = failed.filter(|_| policy.kind != Kind::Permit);
        would.extend(failed.map(|(_, why)| Would::Fail(failure(policy, why, true))));
        let permitted = principals(&self.tally.would_permit, number);
        if !permitted.is_empty() {
            let principals = permitted.into_iter().map(str::to_owned).collect();
            let fired = (!listing).then(|| fired(policy));
            would.push(Would::Permit { fired, principals });
        }
        let principals = self.tally.holds_for(number);
        if principals.is_empty() {
            return would;
        }
        match policy.kind {
            Kind::Permit => {}
            Kind::Forbid => {
                would.push(Would::Deny(Denial { reason: self.reason(policy, &principals) }));
            }
            Kind::Ask if listing => {}
            Kind::Ask => would.extend(self.asked(policy, &principals).map(Would::Ask)),
        }
        if !listing {
            would.extend(duties(policy).map(Would::Oblige));
        }
        would
    }

    fn add_errors(&self, misfits: &[String], outcome: &mut Outcome) {
        let tally = self.tally;
        for (number, why) in &tally.failed {
            let Some(policy) = self.policy(*number) else {
                continue;
            };
            let fatal = policy.kind != Kind::Permit && !policy.notes.shadow;
            outcome.errors.push(failure(policy, why, fatal));
        }
        for pointer in misfits {
            let reader = tally
                .concerned
                .iter()
                .filter_map(|number| self.policy(*number))
                .find(|policy| !policy.notes.shadow && policy.reads_argument(pointer));
            outcome.errors.extend(reader.map(|policy| unrepresentable(pointer, policy)));
        }
        if !self.call.delegation.is_empty() {
            outcome.errors.extend(tally.unpermitted.iter().map(|principal| EngineError {
                fatal: false,
                id: POLICY_ERROR,
                message: format!("nothing permits `{principal}` of the delegation chain"),
                policy: String::new(),
            }));
        }
    }

    fn reason(&self, policy: &Policy, principals: &[&str]) -> Reason {
        let detail = if self.call.delegation.is_empty() {
            String::new()
        } else {
            let names: Vec<String> = principals.iter().map(|name| format!("`{name}`")).collect();
            format!("holds for {}", names.join(", "))
        };
        Reason {
            id: policy.notes.id.clone(),
            message: policy.notes.message.clone(),
            detail,
            policy: policy.place.clone(),
        }
    }

    fn asked(&self, policy: &Policy, principals: &[&str]) -> Option<Ask> {
        let terms = policy.notes.ask.as_ref()?;
        Some(Ask {
            reason: self.reason(policy, principals),
            approvers: terms.approvers.clone(),
            count: terms.count,
            expires_s: terms.expires_s,
        })
    }
}

fn fired(policy: &Policy) -> Fired {
    Fired { policy: policy.place.clone(), id: policy.notes.id.clone() }
}

fn duties(policy: &Policy) -> impl Iterator<Item = Duty> + '_ {
    policy.notes.obligations.iter().map(|obligation| Duty {
        obligation: obligation.clone(),
        only_on_allow: policy.kind == Kind::Permit,
        policy: policy.place.clone(),
    })
}

fn failure(policy: &Policy, why: &str, fatal: bool) -> EngineError {
    EngineError {
        fatal,
        id: POLICY_ERROR,
        message: format!("the policy `{}` failed: {why}", policy.notes.id),
        policy: policy.place.clone(),
    }
}

fn unrepresentable(pointer: &str, policy: &Policy) -> EngineError {
    EngineError {
        fatal: true,
        id: ARGS_UNREPRESENTABLE,
        message: format!("the argument `{pointer}` has a value that policies cannot read exactly"),
        policy: policy.place.clone(),
    }
}

fn shadow(rule: &str, id: &str, policy: &Policy, would: Vec<Would>) -> Shadow {
    Shadow { rule: rule.to_owned(), id: id.to_owned(), policy: policy.place.clone(), would }
}

/// The order of policies in Cedar's sets says nothing and must not show.
fn sort(outcome: &mut Outcome) {
    outcome.permits.sort();
    outcome.denies.sort();
    outcome.asks.sort();
    outcome.errors.sort();
    outcome.held_back.sort();
    crate::shadow::sort(&mut outcome.shadows);
    outcome
        .obligations
        .sort_by(|a, b| (&a.obligation.id, &a.policy).cmp(&(&b.obligation.id, &b.policy)));
}

/// About how long the outcome is when written down.
pub(super) fn size_bytes(outcome: &Outcome) -> usize {
    let reason = |reason: &Reason| {
        reason.id.len() + reason.message.len() + reason.detail.len() + reason.policy.len()
    };
    let permits = outcome.permits.iter().map(|fired| fired.policy.len() + fired.id.len());
    let denies = outcome.denies.iter().map(|denial| reason(&denial.reason));
    let asks = outcome
        .asks
        .iter()
        .map(|ask| reason(&ask.reason) + ask.approvers.iter().map(String::len).sum::<usize>());
    let duties = outcome.obligations.iter().map(|duty| {
        duty.obligation.id.len() + duty.obligation.properties.text().len() + duty.policy.len()
    });
    let errors = outcome.errors.iter().map(|error| error.message.len() + error.policy.len());
    let shadows = outcome.shadows.iter().map(|shadow| shadow.id.len() + shadow.policy.len());
    permits.chain(denies).chain(asks).chain(duties).chain(errors).chain(shadows).sum()
}
