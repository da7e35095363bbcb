//! The Cedar engine: policies of a bundle over entities made from its registry.
//!
//! # Layout, in the order that data flows
//!
//! At load: [`nesting`] bounds texts; [`policy`] parses them, with [`annotations`] and [`place`];
//! [`scope`] says what they insist on, in [`marks`];
//! [`shape`] makes schema text and entities of the registry, by the [`names`] of
//! types and actions; [`extra`] reads what the bundle adds; [`check`] validates what was not
//! [`validated`] before, and
//! [`values`] looks at what policies compare context members with; [`reach`] says whether any could
//! say something about an answer.
//! Per call: [`shape`] builds `context`, as far as [`reads`] says that policies
//! read it; [`participants`] knows who and what takes part; [`index`] finds the policies
//! that can have a say; [`store`] lends the entities; [`mod@evaluate`] asks; [`tally`] gathers.
//!
//! Beside these, `clauses` are what coverage and explanations look at, `told` is what
//! is explained, [`meaning`] says what a text means, for whoever rewrites it, and `outline`
//! what single policies say, for whoever compares bundles.
//!
//! Cedar skips a policy that errs, also a `forbid`. Here every policy is evaluated
//! on its own, and a `forbid` that errs is a fatal error.

use std::collections::BTreeMap;
use std::sync::Arc;

use cedar_policy_core::ast::{Entity, EntityUID};
use lictor_proto::call::ResourceKind;

use crate::diagnostic::{Diagnostic, Level};
use crate::engine::{Engine, Outcome, Query, Scope};
use crate::known::Known;
use crate::registry::Registry;
use crate::work::Threads;

use check::Check;
use extra::Extra;
use index::{Index, Number};
use names::{Names, TOOL_GROUP, action_row};
use participants::Participants;
use place::File;
use policy::{Parsed, Policy};
use reads::{MemberNames, Reader, Reads};
use scope::RoleMarks;
use shape::{Makers, Schemas, Shape, ToolArgs};
use store::Store;
pub(crate) use validated::Validated;

mod annotations;
mod check;
pub(crate) mod clauses;
mod evaluate;
mod extra;
mod index;
mod marks;
pub mod meaning;
mod names;
mod nesting;
pub(crate) mod outline;
mod participants;
mod place;
mod policy;
mod reach;
mod reads;
mod scope;
mod shape;
mod store;
mod tally;
#[cfg(test)]
mod tests;
mod told;
mod validated;
mod values;

/// Path of a bundle's own schema.
const SCHEMA_PATH: &str = "cedar/schema.cedarschema";
/// Path of a bundle's own entities.
const ENTITIES_PATH: &str = "cedar/entities.json";

/// What a Cedar engine is made of.
#[derive(Debug, Clone)]
pub struct CedarSource<'a> {
    /// `cedar/<unit>.cedar` and its text, for every unit.
    pub policies: Vec<(&'a str, &'a str)>,
    /// `cedar/schema.cedarschema`, if the bundle has it.
    pub schema: Option<&'a str>,
    /// `cedar/entities.json`, if the bundle has it.
    pub entities: Option<&'a str>,
    /// Where the permits of units count, by unit.
    pub scopes: &'a BTreeMap<String, Scope>,
    /// The registry of the same bundle.
    pub registry: &'a Registry,
}

/// The Cedar policies of one bundle, ready to decide.
#[derive(Debug)]
pub struct CedarEngine {
    names: Names,
    makers: Makers,
    shape: Shape,
    policies: Vec<Policy>,
    index: Index,
    participants: Participants,
    reads: Reads,
    speaks_of_answers: bool,
    store: Store,
    /// What calls without a tool have for arguments.
    no_args: ToolArgs,
    validated: Arc<Validated>,
}

/// How a load goes about its work. What comes of it is the same for any.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Loading<'a> {
    pub(crate) threads: Threads,
    /// What the bundle before found valid.
    pub(crate) before: Option<&'a Validated>,
}

impl CedarEngine {
    /// Loads all policies, or says everything that is wrong with them. The engine
    /// is missing exactly if any diagnostic is an error.
    #[must_use]
    pub fn load(source: &CedarSource<'_>) -> (Option<Self>, Vec<Diagnostic>) {
        Self::load_checked(source, None, Loading::default())
    }

    /// The same where it is `known` what of the registry could not be read, and with warnings
    /// about values that context members can never be.
    #[must_use]
    pub(crate) fn load_checked(
        source: &CedarSource<'_>,
        known: Option<&Known<'_>>,
        loading: Loading<'_>,
    ) -> (Option<Self>, Vec<Diagnostic>) {
        let mut diagnostics = Vec::new();
        let engine = Self::load_into(source, known, loading, &mut diagnostics);
        diagnostics.sort();
        diagnostics.dedup();
        let refused = diagnostics.iter().any(|found| found.level == Level::Error);
        (engine.filter(|_| !refused), diagnostics)
    }

    /// The whole schema that policies are validated against, in Cedar's syntax.
    #[must_use]
    pub fn schema_text(registry: &Registry) -> String {
        Shape::of(registry).schema_text()
    }

    /// What the schema lacks, since Cedar cannot type it: where, and the pointers there.
    #[must_use]
    pub fn left_out(registry: &Registry) -> Vec<(String, Vec<String>)> {
        let shape = Shape::of(registry);
        let tools = shape.left_out();
        let tools = tools.map(|(id, pointers)| (format!("arguments of `{id}`"), pointers.to_vec()));
        let attributes = shape.attributes_left_out().into_iter();
        tools.chain(attributes.map(|(place, pointers)| (place.to_owned(), pointers))).collect()
    }

    fn load_into(
        source: &CedarSource<'_>,
        known: Option<&Known<'_>>,
        loading: Loading<'_>,
        diagnostics: &mut Vec<Diagnostic>,
    ) -> Option<Self> {
        let files: Vec<File<'_>> =
            source.policies.iter().map(|(path, text)| File::new(path, text)).collect();
        let mut marks = RoleMarks::default();
        let (threads, scopes) = (loading.threads, source.scopes);
        let parsed = policy::parse_on(threads, &files, scopes, &mut marks, diagnostics);
        let (Some(names), Some(makers)) = (Names::new(), Makers::new()) else {
            diagnostics.push(Diagnostic::error("cedar", "", "this build of Cedar lacks a part"));
            return None;
        };
        let is_used = !parsed.is_empty() || source.schema.is_some() || source.entities.is_some();
        let nothing = Registry::default();
        let registry = if is_used { source.registry } else { &nothing };
        refuse_tools_named_as_actions(registry, diagnostics);
        let shape = Shape::of(registry);
        let extra = own_schema(source, diagnostics);
        let schemas = is_used.then(|| schemas(&shape, extra.as_ref(), source, diagnostics));
        let schemas = schemas.flatten();
        let mut entities = match (&schemas, source.entities) {
            (Some(schemas), Some(text)) => own_entities(schemas, text, diagnostics),
            _ => Vec::new(),
        };
        let check = schemas.as_ref().map(|schemas| Check {
            files: &files,
            registry,
            shape: &shape,
            schemas,
            extra: source.schema,
            servers: shape::server_ids(registry),
            known,
            before: loading.before,
            threads: loading.threads,
        });
        let check = check.filter(|_| !parsed.is_empty());
        let validated = check.map(|check| check.run(&parsed, diagnostics)).unwrap_or_default();
        drop(schemas);
        let mut read = MemberNames::default();
        parsed.iter().for_each(|parsed| read.add(&parsed.condition));
        entities.extend(shape.entities(registry, &names, &makers, Some(&read)));
        entities.extend(action_entities(&shape, &names));
        let store = Store::new(entities)
            .map_err(|why| {
                diagnostics.push(Diagnostic::error("cedar_entities", ENTITIES_PATH, why))
            })
            .ok()?;
        let speaks_of_answers = parsed.iter().any(|parsed| {
            let policy = &parsed.policy;
            reach::speaks_of_answers(policy.kind, &policy.notes, &parsed.condition)
        });
        let (policies, index, reads) = prepare(parsed);
        let participants = Participants::new(store.iter(), &names, marks);
        let no_args = ToolArgs::default();
        Some(Self {
            names,
            makers,
            shape: shape.for_calls(),
            policies,
            index,
            participants,
            reads,
            speaks_of_answers,
            store,
            no_args,
            validated: Arc::new(validated),
        })
    }

    /// What the next bundle need not validate again.
    pub(crate) fn validated(&self) -> Arc<Validated> {
        Arc::clone(&self.validated)
    }

    fn policy(&self, number: Number) -> Option<&Policy> {
        usize::try_from(number).ok().and_then(|at| self.policies.get(at))
    }
}

impl Engine for CedarEngine {
    fn name(&self) -> &'static str {
        "cedar"
    }

    fn has_policies(&self) -> bool {
        // Policies that only watch must not make an engine take part.
        self.policies.iter().any(|policy| !policy.notes.shadow)
    }

    fn speaks_of_answers(&self) -> bool {
        self.speaks_of_answers
    }

    fn evaluate(&self, query: &Query<'_>) -> Outcome {
        if self.policies.is_empty() {
            return Outcome::default();
        }
        evaluate::evaluate(self, query)
    }
}

/// Every action that is no tool's, with what it can be done to.
pub(crate) fn protocol_actions() -> impl Iterator<Item = (&'static str, &'static [ResourceKind])> {
    names::ACTIONS.iter().map(|row| (row.name, row.resources))
}

/// A tool's id is its action, which must not be that of something else.
fn refuse_tools_named_as_actions(registry: &Registry, diagnostics: &mut Vec<Diagnostic>) {
    let taken = |id: &str| id == TOOL_GROUP || action_row(id).is_some();
    for id in registry.tools.keys().filter(|id| taken(id)) {
        let message = format!("the tool `{id}` has the name of a protocol's action");
        let error = Diagnostic::error("cedar_overlap", "data.json", message);
        diagnostics.push(error.help("give its server another id"));
    }
}

/// The bundle's own schema.
fn own_schema(source: &CedarSource<'_>, diagnostics: &mut Vec<Diagnostic>) -> Option<Extra> {
    extra::read_schema(&File::new(SCHEMA_PATH, source.schema?), diagnostics)
}

/// Schemas of the registry with the bundle's own part; without it where it does not fit, which is
/// an error.
fn schemas<'a>(
    shape: &'a Shape,
    extra: Option<&Extra>,
    source: &CedarSource<'_>,
    diagnostics: &mut Vec<Diagnostic>,
) -> Option<Schemas<'a>> {
    let made = Schemas::of(shape, extra).and_then(|schemas| {
        // What does not fit together shows without any action.
        schemas.with(&std::collections::BTreeSet::new())?;
        Ok(schemas)
    });
    match made {
        Ok(schemas) => Some(schemas),
        Err(error) if source.schema.is_some() || source.entities.is_some() => {
            let file = File::new(SCHEMA_PATH, source.schema.unwrap_or_default());
            diagnostics.push(file.cedar("cedar_schema", Level::Error, &*error));
            // Policies are checked all the same.
            Schemas::of(shape, None).ok()
        }
        Err(error) => {
            let message = format!("no schema can be made of the registry: {error}");
            diagnostics.push(Diagnostic::error("cedar_schema", "", message));
            None
        }
    }
}

/// The bundle's own entities.
fn own_entities(
    schemas: &Schemas<'_>,
    text: &str,
    diagnostics: &mut Vec<Diagnostic>,
) -> Vec<Entity> {
    let file = File::new(ENTITIES_PATH, text);
    match schemas.with(&std::collections::BTreeSet::new()) {
        Ok(schema) => extra::read_entities(&file, &schema, diagnostics),
        Err(error) => {
            diagnostics.push(file.cedar("cedar_schema", Level::Error, &*error));
            Vec::new()
        }
    }
}

/// Every action, each tool's in its group.
fn action_entities(shape: &Shape, names: &Names) -> Vec<Entity> {
    let group = names.action(TOOL_GROUP);
    let actions = shape.action_names().map(|name| {
        let is_tool = name != TOOL_GROUP && action_row(name).is_none();
        let parents: Vec<EntityUID> = if is_tool { vec![group.clone()] } else { Vec::new() };
        let none = BTreeMap::new;
        Entity::new_with_attr_partial_value(
            names.action(name),
            none(),
            std::collections::HashSet::new(),
            parents.into_iter().collect(),
            none(),
        )
    });
    actions.collect()
}

/// Policies in the form that calls need.
fn prepare(parsed: Vec<Parsed>) -> (Vec<Policy>, Index, Reads) {
    let mut insists = Vec::new();
    let mut reads = Reads::default();
    let mut policies = Vec::new();
    for parsed in parsed {
        let reader = if parsed.policy.notes.shadow { Reader::Shadow } else { Reader::Live };
        reads.add(&parsed.condition, reader);
        insists.push(parsed.insists);
        policies.push(parsed.policy);
    }
    (policies, Index::new(insists), reads)
}
