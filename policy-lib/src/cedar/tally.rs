//! What the policies said about one call, gathered into an outcome.

use std::collections::{BTreeMap, BTreeSet};

use lictor_proto::call::{Call, Phase};
use lictor_proto::decision::Reason;
use lictor_proto::reason::{ARGS_UNREPRESENTABLE, POLICY_ERROR};

use crate::engine::{Ask, Denial, Duty, EngineError, Fired, Outcome, Shadow};

use super::policy::{Kind, Policy};

/// What all policies said for all principals.
#[derive(Default)]
pub(super) struct Tally<'a> {
    /// Policies that hold, with the principals that they hold for.
    pub(super) held: BTreeMap<usize, Vec<&'a str>>,
    /// Policies that failed, with Cedar's text.
    pub(super) failed: BTreeMap<usize, String>,
    /// Principals that nothing permits.
    pub(super) unpermitted: Vec<&'a str>,
    /// Policies that can hold for any of the principals.
    pub(super) candidates: BTreeSet<usize>,
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
        for (number, principals) in &tally.held {
            let Some(policy) = self.policies.get(*number) else {
                continue;
            };
            if policy.notes.shadow {
                add_shadows(policy, &mut outcome);
                continue;
            }
            match policy.kind {
                Kind::Permit if all_permitted && !listing => outcome.permits.push(fired(policy)),
                Kind::Permit => {}
                Kind::Forbid => {
                    outcome.denies.push(Denial { reason: self.reason(policy, principals) });
                }
                Kind::Ask if listing => {}
                Kind::Ask => outcome.asks.extend(self.asked(policy, principals)),
            }
            if !listing {
                outcome.obligations.extend(duties(policy));
            }
        }
        self.add_errors(misfits, &mut outcome);
        let hidden = !outcome.denies.is_empty() || outcome.errors.iter().any(|error| error.fatal);
        outcome.listed = listing && all_permitted && !hidden;
        sort(&mut outcome);
        outcome
    }

    fn add_errors(&self, misfits: &[String], outcome: &mut Outcome) {
        let tally = self.tally;
        for (number, why) in &tally.failed {
            let Some(policy) = self.policies.get(*number) else {
                continue;
            };
            outcome.errors.push(EngineError {
                fatal: policy.kind != Kind::Permit && !policy.notes.shadow,
                id: POLICY_ERROR,
                message: format!("the policy `{}` failed: {why}", policy.notes.id),
                policy: policy.place.clone(),
            });
        }
        for pointer in misfits {
            let reader = tally
                .candidates
                .iter()
                .filter_map(|number| self.policies.get(*number))
                .find(|policy| !policy.notes.shadow && policy.reads_argument(pointer));
            if let Some(policy) = reader {
                outcome.errors.push(EngineError {
                    fatal: true,
                    id: ARGS_UNREPRESENTABLE,
                    message: format!(
                        "the argument `{pointer}` has a value that policies cannot read exactly"
                    ),
                    policy: policy.place.clone(),
                });
            }
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

fn add_shadows(policy: &Policy, outcome: &mut Outcome) {
    let rule = match policy.kind {
        Kind::Permit => "allow",
        Kind::Forbid => "deny",
        Kind::Ask => "ask",
    };
    let shadow = |rule: &str, id: &str| Shadow {
        rule: rule.to_owned(),
        id: id.to_owned(),
        policy: policy.place.clone(),
    };
    outcome.shadows.push(shadow(rule, &policy.notes.id));
    let obligations = policy.notes.obligations.iter();
    outcome.shadows.extend(obligations.map(|obligation| shadow("obligations", &obligation.id)));
}

/// The order of policies in Cedar's sets says nothing and must not show.
fn sort(outcome: &mut Outcome) {
    outcome.permits.sort();
    outcome.denies.sort();
    outcome.asks.sort();
    outcome.errors.sort();
    outcome.shadows.sort();
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
