//! `lictor audit session`: one session, told from the records of the decision point and
//! of every enforcement point, joined by call id.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use clap::Args;
use lictor_audit::Kind;
use lictor_audit::query::{Logs, Record};
use lictor_audit::report::sign_report;
use lictor_audit::verify::{Report, VerifyOptions};
use lictor_identity::keys::load_signing;
use serde::Serialize;
use serde_json::Value;

use super::told;
use crate::args::bundle::write_whole;
use crate::args::logs::{LogArgs, unreadable};
use crate::exit::{Exit, Failure};
use crate::output::{Format, Paint, print, say, to_json};
use crate::time::rfc3339;

/// Last part of the name that reports are signed as; the deployment stands before it.
const REPORT_NAME: &str = "audit-report";

/// Arguments of `audit session`.
#[derive(Debug, Args)]
pub(super) struct SessionArgs {
    /// The session, as records name it.
    #[arg(value_name = "ID")]
    session: String,
    #[command(flatten)]
    logs: LogArgs,
    /// A private key: the report is signed, and `lictor audit verify --report` checks it.
    #[arg(long, value_name = "FILE")]
    key: Option<PathBuf>,
    /// Where the report goes; standard output without this.
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
    /// How the session is told.
    #[arg(long, value_enum, default_value_t)]
    format: Format,
}

/// A session as its records tell it.
#[derive(Debug, Default, Serialize)]
pub(super) struct Session {
    pub(super) session: String,
    pub(super) tenants: BTreeSet<String>,
    pub(super) subjects: BTreeSet<String>,
    pub(super) agents: BTreeSet<String>,
    pub(super) delegation: Vec<String>,
    pub(super) bundles: BTreeSet<String>,
    pub(super) first: String,
    pub(super) last: String,
    pub(super) calls: Vec<CallTold>,
    /// Every policy that took part in a decision.
    pub(super) policies: BTreeSet<String>,
    /// Approvals, the end of the session, ….
    pub(super) events: Vec<Event>,
    pub(super) chain: Chain,
}

/// One call, from every record that names it.
#[derive(Debug, Default, Serialize)]
pub(super) struct CallTold {
    pub(super) call_id: String,
    pub(super) at: String,
    pub(super) phase: String,
    pub(super) request_call_id: Option<String>,
    pub(super) action: String,
    pub(super) resource: String,
    pub(super) decision_id: String,
    pub(super) effect: String,
    pub(super) reasons: Vec<String>,
    pub(super) policies: BTreeSet<String>,
    pub(super) engines: Vec<String>,
    pub(super) decision_us: Option<u64>,
    /// What the enforcement point did; absent if its log is not among those read.
    pub(super) outcome: Option<String>,
    pub(super) executed: bool,
    pub(super) duration_us: Option<u64>,
    pub(super) logs: BTreeSet<String>,
}

/// A record that is not about one call's decision or enforcement.
#[derive(Debug, Serialize)]
pub(super) struct Event {
    pub(super) at: String,
    pub(super) kind: Kind,
    pub(super) body: Value,
}

/// What verifying the logs gave.
#[derive(Debug, Default, Serialize)]
pub(super) struct Chain {
    pub(super) whole: bool,
    pub(super) records: u64,
    pub(super) logs: Vec<String>,
}

/// Runs the command.
pub(super) fn run(args: &SessionArgs) -> Result<Exit, Failure> {
    let logs = args.logs.open()?;
    let records = records(&logs, &args.session)?;
    if records.is_empty() {
        let text = format!("no record names the session `{}`", args.session);
        return Err(Failure::failed(text)
            .help("`lictor audit show DIR --kind decision` lists decisions with their sessions"));
    }
    let report = lictor_audit::verify(&args.logs.paths()?, &VerifyOptions::default())
        .map_err(|error| unreadable(&error))?;
    let session = tell(&args.session, &records, &report);
    let text = match args.format {
        Format::Json => escape_controls(&to_json(&session)?),
        Format::Pretty => {
            let plain = args.key.is_some() || args.output.is_some();
            told::pretty(&session, if plain { Paint::plain() } else { Paint::stdout() })
        }
    };
    let text = if session.chain.whole { signed(args, text, &report)? } else { text };
    match &args.output {
        Some(path) => write_whole(path, text.as_bytes())?,
        None => print(&text)?,
    }
    if !session.chain.whole {
        say("the logs are broken, so nothing was signed: `lictor audit verify` says where");
        return Ok(Exit::Broken);
    }
    Ok(Exit::Ok)
}

/// The records of a session, and those of the approvals that it waited for, by time.
fn records(logs: &Logs, session: &str) -> Result<Vec<Record>, Failure> {
    let mut records = logs.session(session, false).map_err(|error| unreadable(&error))?;
    let approvals: BTreeSet<String> = records
        .iter()
        .filter_map(|record| record.str_at("/approval").map(ToOwned::to_owned))
        .collect();
    if approvals.is_empty() {
        return Ok(records);
    }
    let answers = logs.records(false, |record| {
        let id = record.str_at("/approval");
        record.kind == Kind::Approval && id.is_some_and(|id| approvals.contains(id))
    });
    for answer in answers.map_err(|error| unreadable(&error))? {
        let known = |record: &Record| record.log == answer.log && record.seq == answer.seq;
        if !records.iter().any(known) {
            records.push(answer);
        }
    }
    records.sort_by(|a, b| (a.ts_ms, &a.log, a.seq).cmp(&(b.ts_ms, &b.log, b.seq)));
    Ok(records)
}

fn signed(args: &SessionArgs, text: String, report: &Report) -> Result<String, Failure> {
    let Some(path) = &args.key else {
        return Ok(text);
    };
    let key = load_signing(path).map_err(|error| Failure::error(&error))?;
    let deployment =
        report.logs.iter().map(|log| log.deployment.as_str()).find(|name| !name.is_empty());
    let name = format!("{}/{REPORT_NAME}", deployment.unwrap_or("lictor"));
    sign_report(&text, &name, &key).map_err(|error| Failure::error(&error))
}

/// A signed text has no control characters but line ends; JSON may name them instead.
fn escape_controls(json: &str) -> String {
    let mut text = String::with_capacity(json.len());
    for character in json.chars() {
        if character.is_control() && character != '\n' {
            text.push_str(&format!("\\u{:04x}", u32::from(character)));
        } else {
            text.push(character);
        }
    }
    text
}

/// Tells a session from its records, which are in order of time.
fn tell(id: &str, records: &[Record], report: &Report) -> Session {
    let at = |record: Option<&Record>| record.map(|r| rfc3339(r.ts_ms)).unwrap_or_default();
    let mut session = Session {
        session: id.to_owned(),
        first: at(records.first()),
        last: at(records.last()),
        chain: Chain {
            whole: report.ok,
            records: report.records,
            logs: report.logs.iter().map(|log| log.log.clone()).collect(),
        },
        ..Session::default()
    };
    let mut calls: BTreeMap<String, CallTold> = BTreeMap::new();
    let mut order: Vec<String> = Vec::new();
    for record in records {
        let Some(call_id) = record.call_id().map(ToOwned::to_owned) else {
            session.events.push(event(record));
            continue;
        };
        if !matches!(record.kind, Kind::Decision | Kind::Enforcement) {
            session.events.push(event(record));
            continue;
        }
        who(&mut session, record);
        if !calls.contains_key(&call_id) {
            order.push(call_id.clone());
        }
        let call = calls.entry(call_id).or_insert_with_key(|id| CallTold {
            call_id: id.clone(),
            at: rfc3339(record.ts_ms),
            ..CallTold::default()
        });
        call.add(record);
    }
    session.calls = order.iter().filter_map(|id| calls.remove(id)).collect();
    session.policies = session.calls.iter().flat_map(|call| call.policies.clone()).collect();
    session
}

fn event(record: &Record) -> Event {
    Event { at: rfc3339(record.ts_ms), kind: record.kind, body: record.body.clone() }
}

fn who(session: &mut Session, record: &Record) {
    // The decision point names a party by type and id, an enforcement point by id.
    let named = |member: &str| {
        let text = record.str_at(&format!("/{member}/id")).or(record.str_at(&format!("/{member}")));
        text.map(ToOwned::to_owned)
    };
    session.tenants.extend(named("tenant"));
    session.subjects.extend(named("subject"));
    session.agents.extend(named("agent"));
    let chain = record.body.get("delegation").and_then(Value::as_array).into_iter().flatten();
    for actor in chain.filter_map(|actor| actor.get("id").and_then(Value::as_str)) {
        if !session.delegation.iter().any(|known| known == actor) {
            session.delegation.push(actor.to_owned());
        }
    }
    if let Some(name) = record.str_at("/bundle/name") {
        let version =
            record.body.pointer("/bundle/version").and_then(Value::as_u64).unwrap_or_default();
        let digest = record.str_at("/bundle/digest").unwrap_or_default();
        session.bundles.insert(format!("{name} version {version} {digest}"));
    }
}

impl CallTold {
    fn add(&mut self, record: &Record) {
        self.logs.insert(record.log.clone());
        let text = |member: &str| record.str_at(member).unwrap_or_default().to_owned();
        fill(&mut self.action, text("/action"));
        fill(&mut self.resource, text("/resource/id"));
        fill(&mut self.decision_id, text("/decision_id"));
        fill(&mut self.effect, text("/effect"));
        if record.body.get("executed").and_then(Value::as_bool) == Some(true) {
            self.executed = true;
        }
        let duration_us = record.body.get("duration_us").and_then(Value::as_u64);
        if record.kind == Kind::Decision {
            self.phase = text("/phase");
            self.request_call_id = record.str_at("/request_call_id").map(ToOwned::to_owned);
            self.decision_us = duration_us;
            self.engines = strings(record, "engines");
            self.policies.extend(strings(record, "policies"));
        } else {
            self.outcome = record.str_at("/outcome").map(ToOwned::to_owned);
            self.duration_us = duration_us;
        }
        for reason in record.body.get("reasons").and_then(Value::as_array).into_iter().flatten() {
            let id = reason.get("id").unwrap_or(reason).as_str().unwrap_or_default();
            if !id.is_empty() && !self.reasons.iter().any(|known| known == id) {
                self.reasons.push(id.to_owned());
            }
            let policy = reason.get("policy").and_then(Value::as_str);
            self.policies.extend(policy.filter(|p| !p.is_empty()).map(ToOwned::to_owned));
        }
    }
}

/// What one record says the others say too; the first that says anything counts.
fn fill(place: &mut String, text: String) {
    if place.is_empty() {
        *place = text;
    }
}

fn strings(record: &Record, member: &str) -> Vec<String> {
    let items = record.body.get(member).and_then(Value::as_array).into_iter().flatten();
    items.filter_map(Value::as_str).map(ToOwned::to_owned).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(log: &str, kind: &str, ts_ms: i64, body: &str) -> Record {
        let line = format!(
            r#"{{"seq":1,"prev":"","writer":"w","epoch":"e","ts_ms":{ts_ms},"kind":"{kind}",{body}}}"#
        );
        Record::read(log, line.as_bytes()).unwrap()
    }

    #[test]
    fn records_of_both_sides_are_one_call() {
        let records = [
            record(
                "pdp-e",
                "decision",
                1,
                r#""call_id":"c","decision_id":"d","session":"s","phase":"request","subject":{"type":"user","id":"alice"},"agent":{"type":"agent","id":"bot"},"action":"tools/call","resource":{"type":"tool","id":"a/b"},"effect":"allow","reasons":[{"id":"permit","policy":"rego/x.rego:3"}],"policies":["cedar.x"],"engines":["rego","cedar"],"duration_us":40"#,
            ),
            record(
                "pep-e",
                "enforcement",
                2,
                r#""call_id":"c","subject":"alice","agent":"bot","outcome":"allowed","reasons":["permit"],"duration_us":9"#,
            ),
            record(
                "pep-e",
                "enforcement",
                3,
                r#""call_id":"c","outcome":"forwarded","executed":true,"duration_us":900"#,
            ),
            record("pdp-e", "approval", 4, r#""approval_id":"x""#),
        ];
        let report = Report {
            ok: true,
            records: 4,
            missing: Vec::new(),
            unresolved_refs: 0,
            logs: Vec::new(),
        };
        let told = tell("s", &records, &report);
        assert_eq!(told.subjects, BTreeSet::from(["alice".to_owned()]));
        let [call] = told.calls.as_slice() else { panic!("{:?}", told.calls) };
        assert_eq!((call.outcome.as_deref(), call.duration_us), (Some("forwarded"), Some(900)));
        assert_eq!((call.decision_us, call.executed), (Some(40), true));
        assert_eq!(call.reasons, ["permit"]);
        assert_eq!(
            told.policies,
            BTreeSet::from(["cedar.x".to_owned(), "rego/x.rego:3".to_owned()])
        );
        assert_eq!(told.events.len(), 1);
        let text = told::pretty(&told, Paint::plain());
        assert!(
            text.contains("bot for alice") && text.contains("a/b") && text.contains("forwarded"),
            "{text}"
        );
    }

    #[test]
    fn control_characters_are_named() {
        assert_eq!(escape_controls("a\u{7f}\n\u{85}"), "a\\u007f\n\\u0085");
    }
}
