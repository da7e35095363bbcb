//! The engine's one answer to an outcome.

use std::collections::BTreeMap;

use regorus::Value;

use super::elements::{ElementError, Reader, Said};
use super::generate::Site;
use super::names::Decision;
use super::output::Meter;
use crate::engine::{EngineError, Fired, Outcome, Query, Scope, Shadow, Would};

/// Reads what the rules of `sites` said.
pub(crate) fn read(
    answer: &Value,
    sites: &[Site],
    scopes: &BTreeMap<String, Scope>,
    query: &Query<'_>,
) -> Outcome {
    let mut outcome = Outcome::default();
    let mut meter = Meter::new(query.budget.output_bytes);
    let Value::Array(rules) = answer else {
        return Outcome::failed(EngineError::fatal("the policies gave no answer", ""));
    };
    let spoken = rules.iter().flat_map(|rule| match rule {
        Value::Array(copies) => copies.as_slice(),
        _ => &[],
    });
    for copy in spoken {
        let Some((site, heads)) = site_of(copy, sites) else {
            return Outcome::failed(EngineError::fatal(
                "the policies gave an answer of another shape",
                "",
            ));
        };
        if heads.is_empty() {
            let message = format!(
                "the body of `{}` holds, but its head is undefined: a member that it names is missing",
                site.decision.name()
            );
            outcome.errors.push(EngineError::fatal(message, site.policy.as_str()));
        }
        for head in heads {
            let mut reader = Reader { meter: &mut meter, now_ms: query.facts.time.now_ms };
            if let Err(error) = add(&mut outcome, &mut reader, head, site, scopes, query) {
                let message = format!("`{}`: {error}", site.decision.name());
                outcome.errors.push(EngineError::fatal(message, site.policy.as_str()));
            }
        }
    }
    sort(&mut outcome);
    outcome
}

fn site_of<'a>(copy: &'a Value, sites: &'a [Site]) -> Option<(&'a Site, &'a [Value])> {
    let Value::Object(members) = copy else { return None };
    let at = members.get(&Value::from("at"))?.as_u64().ok()?;
    let site = sites.get(usize::try_from(at).ok()?)?;
    match members.get(&Value::from("v"))? {
        Value::Array(heads) => Some((site, heads.as_slice())),
        _ => None,
    }
}

fn add(
    outcome: &mut Outcome,
    reader: &mut Reader<'_>,
    head: &Value,
    site: &Site,
    scopes: &BTreeMap<String, Scope>,
    query: &Query<'_>,
) -> Result<(), ElementError> {
    let shadows = &mut outcome.shadows;
    match site.decision {
        Decision::Allow | Decision::List => {
            let id = reader.permit(head)?;
            if scopes.get(&site.unit).is_none_or(|scope| scope.covers(query.call)) {
                if query.call.phase == lictor_proto::call::Phase::List {
                    outcome.listed = true;
                } else {
                    outcome.permits.push(Fired { policy: site.policy.clone(), id });
                }
            }
        }
        Decision::Deny => {
            let said = reader.deny(head, site)?;
            enforce(said, site, &mut outcome.denies, shadows, Would::Deny);
        }
        Decision::Ask => {
            let said = reader.ask(head, site)?;
            enforce(said, site, &mut outcome.asks, shadows, Would::Ask);
        }
        Decision::Obligations => {
            let said = reader.obligation(head, site)?;
            enforce(said, site, &mut outcome.obligations, shadows, Would::Oblige);
        }
        Decision::Limits => {
            let said = reader.limit(head, site)?;
            enforce(said, site, &mut outcome.limits, shadows, Would::Draw);
        }
        Decision::Labels => outcome.labels.push(reader.label(head)?),
    }
    Ok(())
}

fn enforce<T>(
    said: Said<T>,
    site: &Site,
    enforced: &mut Vec<T>,
    shadows: &mut Vec<Shadow>,
    would: impl FnOnce(T) -> Would,
) {
    if said.shadow {
        shadows.push(Shadow {
            rule: site.decision.name().to_owned(),
            id: said.id,
            policy: site.policy.clone(),
            would: vec![would(said.what)],
        });
    } else {
        enforced.push(said.what);
    }
}

/// One call always gives the same outcome, in the same order.
fn sort(outcome: &mut Outcome) {
    outcome.permits.sort();
    outcome.permits.dedup();
    outcome.denies.sort();
    outcome.denies.dedup();
    outcome.asks.sort();
    outcome.asks.dedup();
    outcome.obligations.sort_by(|a, b| {
        let key = |duty: &crate::engine::Duty| {
            (
                duty.obligation.id.clone(),
                duty.obligation.kind,
                duty.obligation.properties.text().to_owned(),
                duty.policy.clone(),
            )
        };
        key(a).cmp(&key(b))
    });
    outcome.limits.sort();
    outcome.limits.dedup();
    outcome.labels.sort();
    outcome.labels.dedup();
    crate::shadow::sort(&mut outcome.shadows);
    outcome.errors.sort();
    outcome.errors.dedup();
}
