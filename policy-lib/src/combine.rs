//! Engines' outcomes -> one provisional effect. DESIGN's steps 1 and 3 to 5; steps
//! 2 (unknown names) and 6-7 (limits) stand in `plan` and `conclude`. The truth
//! table is the test below.

use std::collections::{BTreeMap, BTreeSet};

use lictor_proto::call::{Phase, Question};
use lictor_proto::decision::{Effect, Obligation, ObligationKind, Reason};
use lictor_proto::json::Open;
use lictor_proto::reason;
use serde_json::{Map, Value};

use crate::bundle::PermitFrom;
use crate::engine::{Ask, Duty, Outcome};

/// One engine's part in the decision.
#[derive(Debug, Clone, PartialEq)]
pub struct Voice {
    /// `rego` or `cedar`.
    pub engine: &'static str,
    /// Whether the bundle has policies for it.
    pub has_policies: bool,
    /// What it said.
    pub outcome: Outcome,
}

/// What is asked, and by which rules it is combined.
#[derive(Debug, Clone, Copy)]
pub struct Terms<'a> {
    /// The phase of the call.
    pub phase: Phase,
    /// What the call asks.
    pub questions: &'a [Question],
    /// Which engines must permit.
    pub permit_from: PermitFrom,
    /// Ids of asks that a granted approval covers.
    pub approved: &'a [String],
}

/// The provisional effect: `Allow` still has to pass the limits.
#[derive(Debug, Clone, PartialEq)]
pub struct Combined {
    /// What is to happen.
    pub effect: Effect,
    /// Why, sorted.
    pub reasons: Vec<Reason>,
    /// Merged duties that hold for this effect.
    pub obligations: Vec<Obligation>,
    /// Asks that no approval covers, if the effect is `Ask`.
    pub asks: Vec<Ask>,
}

/// Combines what the engines said.
#[must_use]
pub fn combine(terms: Terms<'_>, voices: &[Voice]) -> Combined {
    let (effect, mut reasons, asks) = effect_of(terms, voices);
    reasons.sort();
    reasons.dedup();
    match merge(terms.phase, effect, voices) {
        Ok(obligations) => Combined { effect, reasons, obligations, asks },
        Err(conflict) => Combined {
            effect: Effect::Deny,
            reasons: vec![conflict],
            obligations: Vec::new(),
            asks: Vec::new(),
        },
    }
}

type Effected = (Effect, Vec<Reason>, Vec<Ask>);

fn effect_of(terms: Terms<'_>, voices: &[Voice]) -> Effected {
    let errors = fatal_errors(voices);
    if !errors.is_empty() {
        return (Effect::Deny, errors, Vec::new());
    }
    match terms.phase {
        Phase::List => return listed(terms, voices),
        Phase::Response => return response(voices),
        Phase::Request => {}
    }
    let authz = terms.questions.contains(&Question::Authz);
    let guardrail = terms.questions.contains(&Question::Guardrail);
    if authz || guardrail {
        let denials = denials(voices);
        if !denials.is_empty() {
            return (Effect::Deny, denials, Vec::new());
        }
    }
    if !authz {
        return (Effect::Allow, Vec::new(), Vec::new());
    }
    if let Some(reason) = missing_permit(terms.permit_from, voices) {
        return (Effect::Deny, vec![reason], Vec::new());
    }
    let asks = unmet_asks(terms.approved, voices);
    if !asks.is_empty() {
        let reasons = asks.iter().map(|ask| ask.reason.clone()).collect();
        return (Effect::Ask, reasons, asks);
    }
    (Effect::Allow, permits(voices), Vec::new())
}

fn fatal_errors(voices: &[Voice]) -> Vec<Reason> {
    let errors = voices.iter().flat_map(|voice| &voice.outcome.errors);
    errors
        .filter(|error| error.fatal)
        .map(|error| Reason {
            id: error.id.to_owned(),
            message: "a policy could not be evaluated for this call".to_owned(),
            detail: error.message.clone(),
            policy: error.policy.clone(),
        })
        .collect()
}

fn denials(voices: &[Voice]) -> Vec<Reason> {
    let denies = voices.iter().flat_map(|voice| &voice.outcome.denies);
    denies.map(|denial| denial.reason.clone()).collect()
}

fn permits(voices: &[Voice]) -> Vec<Reason> {
    let permits = voices.iter().flat_map(|voice| &voice.outcome.permits);
    permits
        .map(|fired| Reason {
            id: if fired.id.is_empty() { "permit".to_owned() } else { fired.id.clone() },
            message: String::new(),
            detail: String::new(),
            policy: fired.policy.clone(),
        })
        .collect()
}

/// The same rule for permits and for lists: which engines must say yes.
fn missing_yes(from: PermitFrom, voices: &[Voice], yes: impl Fn(&Voice) -> bool) -> Option<Reason> {
    let taking_part: Vec<&Voice> = voices.iter().filter(|voice| voice.has_policies).collect();
    if taking_part.is_empty() {
        return Some(Reason::new(
            reason::NO_POLICIES,
            "the bundle has no policies, so nothing is allowed",
        ));
    }
    let one = |name: &str| voices.iter().any(|v| v.engine == name && v.has_policies && yes(v));
    let silent: Vec<&str> =
        taking_part.iter().filter(|v| !yes(v)).map(|voice| voice.engine).collect();
    let permitted = match from {
        PermitFrom::All => silent.is_empty(),
        PermitFrom::Any => silent.len() < taking_part.len(),
        PermitFrom::Cedar => one("cedar"),
        PermitFrom::Rego => one("rego"),
    };
    if permitted {
        return None;
    }
    let detail = format!("no permit from: {}", silent.join(", "));
    Some(Reason::new(reason::NO_PERMIT, "no policy permits this").with_detail(detail))
}

fn missing_permit(from: PermitFrom, voices: &[Voice]) -> Option<Reason> {
    missing_yes(from, voices, |voice| !voice.outcome.permits.is_empty())
}

fn listed(terms: Terms<'_>, voices: &[Voice]) -> Effected {
    match missing_yes(terms.permit_from, voices, |voice| voice.outcome.listed) {
        None => (Effect::Allow, Vec::new(), Vec::new()),
        Some(reason) => (Effect::Deny, vec![reason], Vec::new()),
    }
}

/// After the effect only a denial counts, and it says that retrying is wrong.
fn response(voices: &[Voice]) -> Effected {
    let mut denials = denials(voices);
    if denials.is_empty() {
        return (Effect::Allow, Vec::new(), Vec::new());
    }
    denials.push(withheld());
    (Effect::Deny, denials, Vec::new())
}

fn withheld() -> Reason {
    Reason::new(
        reason::RESULT_WITHHELD,
        "the call was carried out but its result is withheld: do not retry it",
    )
}

fn unmet_asks(approved: &[String], voices: &[Voice]) -> Vec<Ask> {
    let asks = voices.iter().flat_map(|voice| &voice.outcome.asks);
    let mut unmet: Vec<Ask> =
        asks.filter(|ask| !approved.contains(&ask.reason.id)).cloned().collect();
    unmet.sort();
    unmet.dedup();
    unmet
}

// === obligations ===

fn merge(phase: Phase, effect: Effect, voices: &[Voice]) -> Result<Vec<Obligation>, Reason> {
    let duties = voices.iter().flat_map(|voice| &voice.outcome.obligations);
    let holds = |duty: &&Duty| {
        (effect == Effect::Allow || !duty.only_on_allow) && counts(phase, duty.obligation.kind)
    };
    let mut merger = Merger::default();
    for duty in duties.filter(holds) {
        merger.add(&duty.obligation)?;
    }
    Ok(merger.finish())
}

fn counts(phase: Phase, kind: ObligationKind) -> bool {
    match phase {
        Phase::Request => true,
        Phase::List => false,
        Phase::Response => counts_for_answers(kind),
    }
}

/// Whether an answer can be put under such a duty.
pub(crate) fn counts_for_answers(kind: ObligationKind) -> bool {
    matches!(
        kind,
        ObligationKind::Mask
            | ObligationKind::Label
            | ObligationKind::Notify
            | ObligationKind::LogFull
    )
}

/// Masks and strip lists are united, caps take the minimum; two routes or two
/// values of one header contradict each other.
#[derive(Default)]
struct Merger {
    kept: BTreeMap<(ObligationKind, String, String), Obligation>,
    cap: Option<(u64, Obligation)>,
    strip: Option<(BTreeSet<String>, Obligation)>,
    single: BTreeMap<String, String>,
}

impl Merger {
    fn add(&mut self, obligation: &Obligation) -> Result<(), Reason> {
        match obligation.kind {
            ObligationKind::CapTokens => return self.cap(obligation),
            ObligationKind::StripTools => return self.strip(obligation),
            ObligationKind::Route => self.only("route", obligation)?,
            ObligationKind::SetHeader => {
                let name = obligation.properties.node().get("name").and_then(|n| n.as_str());
                let name = name.ok_or_else(|| broken(obligation, "`name`"))?;
                self.only(&format!("header {}", name.to_ascii_lowercase()), obligation)?;
            }
            _ => {}
        }
        let key =
            (obligation.kind, obligation.properties.node().canonical(), obligation.id.clone());
        self.kept.insert(key, obligation.clone());
        Ok(())
    }

    fn only(&mut self, what: &str, obligation: &Obligation) -> Result<(), Reason> {
        let value = obligation.properties.node().canonical();
        match self.single.insert(what.to_owned(), value.clone()) {
            Some(earlier) if earlier != value => Err(Reason::new(
                reason::OBLIGATION_CONFLICT,
                "policies put contradicting duties on this call",
            )
            .with_detail(format!("two different values for {what}"))),
            _ => Ok(()),
        }
    }

    fn cap(&mut self, obligation: &Obligation) -> Result<(), Reason> {
        let max = obligation.properties.node().get("max").and_then(|n| n.as_u64());
        let max = max.ok_or_else(|| broken(obligation, "`max`"))?;
        if self.cap.as_ref().is_none_or(|(least, _)| max < *least) {
            self.cap = Some((max, obligation.clone()));
        }
        Ok(())
    }

    fn strip(&mut self, obligation: &Obligation) -> Result<(), Reason> {
        let tools = obligation.properties.node().get("tools");
        let tools = tools.ok_or_else(|| broken(obligation, "`tools`"))?;
        let (united, _) = self.strip.get_or_insert_with(|| (BTreeSet::new(), obligation.clone()));
        for tool in tools.items() {
            let name = tool.as_str().ok_or_else(|| broken(obligation, "`tools`"))?;
            united.insert(name.to_owned());
        }
        Ok(())
    }

    fn finish(self) -> Vec<Obligation> {
        let mut merged: Vec<Obligation> = self.kept.into_values().collect();
        merged.extend(self.cap.map(|(_, obligation)| obligation));
        merged.extend(self.strip.map(|(tools, mut obligation)| {
            let tools: Vec<Value> = tools.into_iter().map(Value::String).collect();
            let object = Map::from_iter([("tools".to_owned(), Value::Array(tools))]);
            let text = Value::Object(object).to_string();
            // Text that serde_json wrote from strings is always scannable.
            obligation.properties = Open::parse(text.as_bytes()).unwrap_or_default();
            obligation
        }));
        merged.sort_by(|a, b| (a.kind, &a.id).cmp(&(b.kind, &b.id)));
        merged
    }
}

fn broken(obligation: &Obligation, member: &str) -> Reason {
    Reason::new(reason::POLICY_ERROR, "a policy's obligation is incomplete").with_detail(format!(
        "obligation `{}` of type `{}` needs {member} in `properties`",
        obligation.id,
        obligation.kind.as_str()
    ))
}

#[cfg(test)]
#[path = "combine_tests.rs"]
mod tests;
