//! Tests of the engine as a whole.
//!
//! - [`loading`]: what is refused, where, and what is only warned about.
//! - [`deciding`]: what policies can say.
//! - [`traps`]: each way in which Cedar, used carelessly, would fail open.
//! - [`generated`]: the schema is what the values are, for any registry and call.
//! - [`indexed`]: what is passed over and left out changes nothing.

mod deciding;
mod generated;
mod indexed;
mod loading;
mod traps;

use std::collections::BTreeMap;

use lictor_proto::call::Call;
use lictor_proto::facts::Facts;

use super::{CedarEngine, CedarSource};
use crate::diagnostic::{Diagnostic, Level};
use crate::engine::{Budget, Engine, Outcome, Query, Scope};
use crate::registry::Registry;

const EXPENSE: &str = include_str!("../../../testdata/cedar/expense.cedar");
const GENERAL: &str = include_str!("../../../testdata/cedar/general.cedar");
const SCHEMA: &str = include_str!("../../../testdata/cedar/schema.cedarschema");
const ENTITIES: &str = include_str!("../../../testdata/cedar/entities.json");
const CALL: &str = include_str!("../../../testdata/cedar/call.json");

/// Permits everything.
const PERMIT: &str = "@id(\"any\") permit(principal, action, resource);";

fn registry() -> Registry {
    serde_json::from_str(include_str!("../../../testdata/cedar/registry.json")).unwrap()
}

/// A loaded bundle with its registry.
struct World {
    registry: Registry,
    engine: CedarEngine,
}

fn try_load(source: &CedarSource<'_>) -> (Option<CedarEngine>, Vec<Diagnostic>) {
    let (engine, diagnostics) = CedarEngine::load(source);
    let errors = diagnostics.iter().any(|found| found.level == Level::Error);
    assert_eq!(engine.is_none(), errors, "{diagnostics:#?}");
    (engine, diagnostics)
}

/// Everything that loading these files says.
fn diagnose(files: &[(&str, &str)]) -> Vec<Diagnostic> {
    diagnose_with(files, None, None)
}

fn diagnose_with(
    files: &[(&str, &str)],
    schema: Option<&str>,
    entities: Option<&str>,
) -> Vec<Diagnostic> {
    let (scopes, registry) = (BTreeMap::new(), registry());
    let source = CedarSource {
        policies: files.to_vec(),
        schema,
        entities,
        scopes: &scopes,
        registry: &registry,
    };
    let diagnostics = try_load(&source).1;
    // Every bundle of these tests has this tool.
    diagnostics.into_iter().filter(|found| found.code != "cedar_untyped").collect()
}

fn codes(diagnostics: &[Diagnostic]) -> Vec<&'static str> {
    diagnostics.iter().map(|found| found.code).collect()
}

fn world(files: &[(&str, &str)]) -> World {
    scoped(files, &[])
}

fn scoped(files: &[(&str, &str)], scopes: &[(&str, Scope)]) -> World {
    let registry = registry();
    let scopes = scopes.iter().map(|(unit, scope)| ((*unit).to_owned(), scope.clone())).collect();
    let source = CedarSource {
        policies: files.to_vec(),
        schema: Some(SCHEMA),
        entities: Some(ENTITIES),
        scopes: &scopes,
        registry: &registry,
    };
    let (engine, diagnostics) = try_load(&source);
    let engine = engine.unwrap_or_else(|| panic!("{diagnostics:#?}"));
    World { registry, engine }
}

/// A world of one file.
fn one(policies: &str) -> World {
    world(&[("cedar/one.cedar", policies)])
}

fn call() -> Call {
    Call::from_json(CALL.as_bytes()).unwrap()
}

fn with_args(json: &str) -> Call {
    let mut call = call();
    call.context.args = lictor_proto::json::Open::parse(json.as_bytes()).unwrap();
    call
}

/// The expense report with this amount.
fn amount(number: &str) -> Call {
    with_args(&format!(r#"{{"employee_id":"alice@example.com","amount":{number}}}"#))
}

fn on(action: &str, kind: lictor_proto::call::ResourceKind, id: &str) -> Call {
    let mut call = call();
    call.action.name = action.to_owned();
    call.resource = Some(lictor_proto::call::Resource { kind, id: id.to_owned() });
    call.context.args = lictor_proto::json::Open::default();
    call
}

impl World {
    fn ask(&self, call: &Call) -> Outcome {
        self.ask_with(call, &Facts::default())
    }

    fn ask_with(&self, call: &Call, facts: &Facts) -> Outcome {
        self.ask_within(
            call,
            facts,
            Budget { time: std::time::Duration::from_secs(60), ..Budget::default() },
        )
    }

    fn ask_within(&self, call: &Call, facts: &Facts, budget: Budget) -> Outcome {
        self.engine.evaluate(&Query { call, facts, registry: &self.registry, budget })
    }
}

fn permits(outcome: &Outcome) -> Vec<&str> {
    outcome.permits.iter().map(|fired| fired.id.as_str()).collect()
}

fn denies(outcome: &Outcome) -> Vec<&str> {
    outcome.denies.iter().map(|denial| denial.reason.id.as_str()).collect()
}

/// Ids of the fatal errors.
fn fatal(outcome: &Outcome) -> Vec<&str> {
    outcome.errors.iter().filter(|error| error.fatal).map(|error| error.id).collect()
}

/// Whether the outcome, by itself, lets the call pass.
fn passes(outcome: &Outcome) -> bool {
    !outcome.permits.is_empty() && outcome.denies.is_empty() && fatal(outcome).is_empty()
}
