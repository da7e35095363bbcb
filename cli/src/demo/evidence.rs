//! What the audit logs and the sample servers say about the steps, read after everything
//! has stopped: the client's word alone proves nothing.

use std::path::{Path, PathBuf};

use lictor_audit::query::{Logs, Record};
use lictor_audit::{Kind, Report, VerifyOptions, verify};
use lictor_identity::{Authenticator, IssuerSettings, Jwks, Presented, Purpose, Settings, keys};
use lictor_proto::decision::Effect;
use serde_json::Value;

use super::play::Played;
use super::site::Site;
use super::steps::Ask;
use crate::exit::{Failure, chain, io};

/// A policy that spoke in a decision.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Spoke {
    /// The reason's id.
    pub(crate) id: String,
    /// Its place: file and line in Rego, the `@id` in Cedar, empty for Lictor itself.
    pub(crate) policy: String,
}

impl Spoke {
    /// Who that was.
    pub(crate) fn engine(&self) -> &'static str {
        match self.policy.as_str() {
            "" => "lictor",
            place if place.starts_with("rego/") => "rego",
            _ => "cedar",
        }
    }
}

/// What the logs hold about one step.
#[derive(Debug, Clone, Default)]
pub(crate) struct Evidence {
    /// Who spoke in the decision.
    pub(crate) spoke: Vec<Spoke>,
    /// What the enforcement point says it did last: `forwarded`, `masked`, `denied`, ….
    pub(crate) outcome: String,
    /// The session it was part of, as the logs name it.
    pub(crate) session: String,
    /// How many records there are about it.
    pub(crate) records: usize,
    /// Differences from what was expected.
    pub(crate) differences: Vec<String>,
}

/// Reads every record, with the values of the side store.
///
/// # Errors
/// Logs that cannot be read.
pub(crate) fn records(dir: &Path) -> Result<Vec<Record>, Failure> {
    let logs = Logs::open(&[dir.to_owned()]).map_err(|error| Failure::error(&error))?;
    logs.records(true, |_| true).map_err(|error| Failure::error(&error))
}

/// What `records` say about one step.
pub(crate) fn of_step(played: &Played, records: &[Record]) -> Evidence {
    if matches!(played.step.ask, Ask::Approve) {
        return of_approval(played, records);
    }
    let call_id = played.seen.call_id.as_str();
    if call_id.is_empty() {
        let differences = vec!["the answer names no call, so the logs cannot be joined".to_owned()];
        return Evidence { differences, ..Evidence::default() };
    }
    let own: Vec<&Record> = records.iter().filter(|r| r.call_id() == Some(call_id)).collect();
    let mut evidence = Evidence { records: own.len(), ..Evidence::default() };
    let decision = own.iter().find(|record| is_decision(record));
    match (decision, played.step.expect.decided) {
        (Some(decision), true) => decided(played, decision, &mut evidence),
        (None, true) => {
            evidence.differences.push("the decision point's log: no decision".to_owned())
        }
        (Some(_), false) => {
            evidence
                .differences
                .push("the decision point's log: a decision that was not expected".to_owned());
        }
        (None, false) => {}
    }
    enforced(played, &own, &mut evidence);
    evidence
}

fn is_decision(record: &Record) -> bool {
    record.kind == Kind::Decision && record.str_at("/phase") == Some("request")
}

fn decided(played: &Played, decision: &Record, evidence: &mut Evidence) {
    let expect = played.step.expect;
    evidence.spoke = spoke(decision);
    evidence.session = decision.session().unwrap_or_default().to_owned();
    let effect = decision.str_at("/effect").unwrap_or_default();
    let mut ids: Vec<&str> = evidence.spoke.iter().map(|spoke| spoke.id.as_str()).collect();
    ids.sort_unstable();
    if effect != expect.effect.as_str() || ids != expect.reasons {
        evidence.differences.push(format!(
            "the decision point's log: expected {} {:?}, found {effect} {ids:?}",
            expect.effect.as_str(),
            expect.reasons,
        ));
    }
}

fn spoke(decision: &Record) -> Vec<Spoke> {
    let reasons = decision.body.get("reasons").and_then(Value::as_array).into_iter().flatten();
    let text = |reason: &Value, name: &str| {
        reason.get(name).and_then(Value::as_str).unwrap_or_default().to_owned()
    };
    reasons.map(|reason| Spoke { id: text(reason, "id"), policy: text(reason, "policy") }).collect()
}

fn enforced(played: &Played, own: &[&Record], evidence: &mut Evidence) {
    let expect = played.step.expect;
    let Some(last) = own.iter().rfind(|record| record.kind == Kind::Enforcement) else {
        evidence.differences.push("the enforcement point's log: no record".to_owned());
        return;
    };
    evidence.outcome = last.str_at("/outcome").unwrap_or_default().to_owned();
    let fits = match expect.effect {
        Effect::Allow => matches!(evidence.outcome.as_str(), "forwarded" | "masked"),
        Effect::Deny => evidence.outcome == "denied",
        Effect::Ask => evidence.outcome == "asked",
    };
    let ids = last.body.get("reasons").and_then(Value::as_array).into_iter().flatten();
    let mut ids: Vec<&str> = ids.filter_map(Value::as_str).collect();
    ids.sort_unstable();
    if !fits || ids != expect.reasons {
        let outcome = &evidence.outcome;
        evidence.differences.push(format!(
            "the enforcement point's log: expected {} {:?}, found {outcome} {ids:?}",
            expect.effect.as_str(),
            expect.reasons,
        ));
    }
}

/// The answer of a person leaves two records: that it was given, and what came of it.
fn of_approval(played: &Played, records: &[Record]) -> Evidence {
    let id = played.answered.as_deref().unwrap_or_default();
    let about = |record: &&Record| {
        record.kind == Kind::Approval && record.str_at("/approval") == Some(id) && !id.is_empty()
    };
    let outcomes: Vec<&str> =
        records.iter().filter(about).filter_map(|record| record.str_at("/outcome")).collect();
    let wanted = if played.step.expect.effect == Effect::Allow { "approved" } else { "refused" };
    let found = outcomes.iter().find(|outcome| outcome.starts_with(wanted));
    let mut evidence = Evidence {
        records: records.iter().filter(about).count(),
        outcome: found.map_or_else(String::new, |outcome| (*outcome).to_owned()),
        ..Evidence::default()
    };
    if found.is_none() {
        evidence.differences.push(format!(
            "the decision point's log: expected an approval that is {wanted}, found {outcomes:?}"
        ));
    }
    evidence
}

// === what the servers saw ===

/// What the sample servers saw of credentials, and what of that must not have been.
#[derive(Debug, Default)]
pub(crate) struct Behind {
    /// Requests that reached the tool servers, each with a verified assertion.
    pub(crate) assertions: usize,
    /// Requests that reached the provider, each with the provider's own key.
    pub(crate) provider_keys: usize,
    /// Differences from that.
    pub(crate) differences: Vec<String>,
}

/// Looks at every credential that arrived. `issuer` and `jwks` are the enforcement
/// point's, as it publishes them.
///
/// # Errors
/// A key set that cannot be read.
pub(crate) fn behind(
    site: &Site,
    issuer: &str,
    jwks: &str,
    now_ms: i64,
) -> Result<Behind, Failure> {
    let mut behind = Behind::default();
    for sighting in site.sightings.all() {
        let audience = format!("http://{}/{}", site.tools, sighting.server);
        let verifier = verifier(issuer, &audience, jwks)?;
        let token = sighting.authorization.strip_prefix("Bearer ").unwrap_or_default();
        let what = format!("{} {} {}", sighting.server, sighting.method, sighting.tool);
        if site.people.knows(&sighting.authorization) {
            behind.differences.push(format!("{}: the caller's own token arrived", what.trim()));
        }
        match verifier.authenticate(Presented::bearer(token), now_ms) {
            Ok(identity) if identity.agent.is_some() => behind.assertions += 1,
            Ok(_) => {
                behind.differences.push(format!("{}: the assertion names no agent", what.trim()))
            }
            Err(error) => {
                behind.differences.push(format!("{}: no valid assertion: {error}", what.trim()))
            }
        }
    }
    let wanted = format!("Bearer {}", site.provider_key);
    for key in site.provider_keys.all() {
        if key == wanted {
            behind.provider_keys += 1;
        } else {
            behind.differences.push("the provider was shown another key than its own".to_owned());
        }
    }
    Ok(behind)
}

fn verifier(issuer: &str, audience: &str, jwks: &str) -> Result<Authenticator, Failure> {
    let jwks = Jwks::parse(jwks.as_bytes()).map_err(|error| Failure::error(&error))?;
    let settings = Settings {
        issuers: vec![IssuerSettings::new(issuer, &[audience], jwks)],
        ..Settings::default()
    };
    Authenticator::new(settings).map_err(|error| Failure::error(&error))
}

// === the logs themselves ===

/// Verifies the logs in `dir` against the keys in `key_dirs`.
///
/// # Errors
/// Files that cannot be read.
pub(crate) fn verified(dir: &Path, key_dirs: &[PathBuf]) -> Result<Report, Failure> {
    let load = |dir: &PathBuf| {
        keys::load_verifying(&Purpose::Audit.public_path(dir))
            .map_err(|error| Failure::error(&error))
    };
    let trusted = key_dirs.iter().map(load).collect::<Result<_, _>>()?;
    let options = VerifyOptions { trusted, ..VerifyOptions::default() };
    verify(&[dir.to_owned()], &options).map_err(|error| Failure::failed(chain(&error)))
}

/// A byte that was changed in a copy of the logs.
#[derive(Debug)]
pub(crate) struct Tampered {
    /// The file.
    pub(crate) file: String,
    /// The line, counted from one.
    pub(crate) line: usize,
    /// What stands there now.
    pub(crate) text: String,
}

/// Copies the logs of `from` to `to` and makes the first denial in the decision point's
/// log look like something else, by one byte.
///
/// # Errors
/// Files that cannot be copied, or no denial to change.
pub(crate) fn tamper(from: &Path, to: &Path) -> Result<Tampered, Failure> {
    const DENIAL: &[u8] = b"\"effect\":\"deny\"";
    std::fs::create_dir_all(to).map_err(|error| io("make", to, error))?;
    let mut changed = None;
    for entry in std::fs::read_dir(from).map_err(|error| io("read", from, error))? {
        let path = entry.map_err(|error| io("read", from, error))?.path();
        let Some(name) = path.file_name().map(|name| name.to_string_lossy().into_owned()) else {
            continue;
        };
        let mut bytes = std::fs::read(&path).map_err(|error| io("read", &path, error))?;
        if changed.is_none() && name.starts_with("pdp-") && name.ends_with(".jsonl") {
            let at = bytes.windows(DENIAL.len()).position(|window| window == DENIAL);
            if let Some(byte) = at.and_then(|at| bytes.get_mut(at + DENIAL.len() - 2)) {
                *byte = b't';
                let line = at.and_then(|at| bytes.get(..at)).unwrap_or_default();
                let line = line.iter().filter(|byte| **byte == b'\n').count() + 1;
                let text = "\"effect\":\"dent\"".to_owned();
                changed = Some(Tampered { file: name.clone(), line, text });
            }
        }
        let copy = to.join(&name);
        std::fs::write(&copy, bytes).map_err(|error| io("write", &copy, error))?;
    }
    changed.ok_or_else(|| Failure::failed("the decision point's log holds no denial to change"))
}
