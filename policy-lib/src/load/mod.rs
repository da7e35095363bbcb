//! A verified bundle -> what decides. Every check that can be made once is made
//! here, and all problems are reported together.
//!
//! # Layout
//!
//! - this file: [`LoadedBundle`] and the order of the checks.
//! - [`agents`]: agents of the registry: their names, and what they hand on.
//! - [`data`]: the registry out of `data.json`, [`tools`], [`limits`] and [`guardrails`] of it;
//!   [`salvage`]: what can be read of a registry that is not valid.
//! - [`units`]: where the permits of units count.
//! - [`sources`]: the texts as the engines take them.
//! - [`reach`]: what policies can reach, so that a decision does no more than needed.

mod agents;
mod data;
mod guardrails;
mod limits;
mod reach;
mod salvage;
mod sources;
mod tools;
mod units;

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::Arc;

use lictor_proto::call::Call;
use lictor_proto::decide::ResponseCheck;
use lictor_proto::decision::{BundleRef, Confidentiality};
use lictor_proto::json::Node;
use serde_json::{Map, Value};

use crate::bundle::{Kind, VerifiedBundle, kind};
use crate::cedar::{self, CedarEngine, CedarSource, Validated};
use crate::delegation::Agents;
use crate::detect::Detectors;
use crate::diagnostic::mark::fill_ends;
use crate::diagnostic::{Diagnostic, Level};
use crate::engine::{Engine, Scope, Way};
use crate::known::{self, Known};
use crate::limits::LimitSpec;
use crate::registry::{AgentParty, Registry};
use crate::rego::{RegoEngine, RegoSource};
use crate::work::Threads;

pub(crate) use sources::Sources;
use tools::LoadedTools;
pub use tools::{ArgsSchema, SCHEMAS_COMPILED_MAX, ToolSchema};

/// Whether a bundle's own times deny decisions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Times {
    /// An expired or stale bundle denies everything. What servers use.
    Enforced,
    /// Times do not matter: for tests, dry runs of a file and replay. Calls are evaluated
    /// [`Way::Both`], unless [`LoadedBundle::evaluate_by`] says otherwise.
    Ignored,
}

/// How a load goes about its work. What is loaded is the same for any.
#[derive(Debug, Clone, Copy, Default)]
pub struct Loading<'a> {
    /// How many threads work at it.
    pub threads: Threads,
    /// The bundle before, of which is taken over what is the same.
    pub previous: Option<&'a LoadedBundle>,
}

/// A bundle that decides. Immutable; a call holds one `Arc` of it to its end.
pub struct LoadedBundle {
    verified: VerifiedBundle,
    reference: BundleRef,
    registry: Registry,
    attributes: BTreeMap<(&'static str, String), Map<String, Value>>,
    limits: BTreeMap<String, LimitSpec>,
    detectors: Detectors,
    tools: LoadedTools,
    agents: agents::Agents,
    engines: Vec<Box<dyn Engine>>,
    response_check: ResponseCheck,
    reads_session: bool,
    reads_signals: bool,
    marks_session: bool,
    validated: Arc<Validated>,
    times: Times,
    warnings: Vec<Diagnostic>,
}

impl std::fmt::Debug for LoadedBundle {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("LoadedBundle").field("reference", &self.reference).finish_non_exhaustive()
    }
}

/// Most of a large registry is what no decision looks at: it stays in the bundle's files.
fn forget_definitions(registry: &mut Registry) {
    for tool in registry.tools.values_mut() {
        (tool.input_schema, tool.output_schema) = (None, None);
        tool.declared = Map::new();
    }
}

/// Whether a tool makes a session more confidential.
fn raises_labels(registry: &Registry) -> bool {
    let mut reads = registry.tools.values().filter_map(|tool| tool.annotations.reads);
    reads.any(|reads| reads != Confidentiality::Public)
}

/// Where arguments do not fit their schema.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SchemaProblem {
    /// JSON pointer into the arguments.
    pub pointer: String,
    /// What is wrong, for the operator.
    pub message: String,
}

impl ToolSchema {
    /// Checks arguments.
    ///
    /// # Errors
    /// The first problem, in the order of the instance.
    pub fn check(&self, args: &Node) -> Result<(), SchemaProblem> {
        let Self::Checked(schema) = self else { return Ok(()) };
        let Some(validator) = schema.validator() else {
            let message = "the schema of the tool cannot be compiled".to_owned();
            return Err(SchemaProblem { pointer: String::new(), message });
        };
        // The scanner refused every number that this conversion could change.
        let value: Value = serde_json::from_str(&args.compact()).map_err(|error| {
            SchemaProblem { pointer: String::new(), message: error.to_string() }
        })?;
        validator.validate(&value).map_err(|error| SchemaProblem {
            pointer: error.instance_path().to_string(),
            message: error.to_string(),
        })
    }
}

impl LoadedBundle {
    /// Runs every load check and prepares both engines.
    ///
    /// # Errors
    /// All problems of the bundle, errors and warnings, sorted by place.
    pub fn load(verified: VerifiedBundle, times: Times) -> Result<Self, Vec<Diagnostic>> {
        Self::load_with(verified, times, Loading::default())
    }

    /// The same in the way that `loading` says.
    ///
    /// # Errors
    /// The same.
    pub fn load_with(
        verified: VerifiedBundle,
        times: Times,
        loading: Loading<'_>,
    ) -> Result<Self, Vec<Diagnostic>> {
        let mut found = Vec::new();
        let texts = texts(&verified, &mut found);
        let data_text = texts.get("data.json").map_or("{}", String::as_str);
        let places = data::Places::of(data_text);
        let parsed: Option<Value> = data::parse(&places, &mut found);
        let none = Value::Null;
        let raw = parsed.as_ref().unwrap_or(&none);
        let read = data::read_registry(raw.get("registry").unwrap_or(&none), &places, &mut found);
        let limits = limits::read(raw, &places, &mut found);
        let (guardrails, detectors) = guardrails::read(raw, &places, &mut found);
        let now_ms = verified.verified_at_ms();
        let names = Names { data: parsed.as_ref(), read: &read, detectors: detectors.as_ref() };
        let known = names.known(now_ms);
        let mut own = Vec::new();
        let before = loading.previous.map(|previous| &previous.tools);
        let how = (loading.threads, before);
        let tools = tools::read(&read.registry, raw, &places, how, &mut own);
        let agents = agents::read(&read.registry, &places, now_ms, &mut own);
        // What is missing of a broken registry would be missed here again.
        own.retain(|problem| read.valid || problem.level == Level::Error);
        found.extend(own);
        limits::check_names(&limits, &places, &known, &mut found);
        let scopes = scopes(&verified);
        let manifest_text = texts.get(".manifest").map(String::as_str).unwrap_or_default();
        units::check(&scopes, manifest_text, &known, &mut found);
        let (engines, validated) =
            engines(&texts, parsed.is_some(), &scopes, &known, loading, &mut found);
        fill_ends(&mut found, |file| texts.get(file).map(String::as_str));
        found.sort();
        found.dedup();
        let errors = found.iter().any(|diagnostic| diagnostic.level == Level::Error);
        let (Some(detectors), Some(mut engines), false) = (detectors, engines, errors) else {
            return Err(found);
        };
        if times == Times::Ignored {
            // Whoever tries a bundle learns of an engine that fails; servers have no time for it.
            engines.iter_mut().for_each(|engine| engine.evaluate_by(Way::Both));
        }
        let mut registry = read.registry;
        forget_definitions(&mut registry);
        let manifest = verified.manifest();
        Ok(Self {
            reference: BundleRef {
                name: manifest.name.clone(),
                revision: manifest.revision.clone(),
                version: manifest.version,
                digest: verified.digest().to_owned(),
            },
            attributes: attributes(raw),
            response_check: reach::response_check(&engines, &guardrails),
            reads_session: reach::reads_session(&texts),
            reads_signals: reach::reads_signals(&texts),
            marks_session: reach::marks_session(&texts) || raises_labels(&registry),
            verified,
            registry,
            limits,
            detectors,
            tools,
            agents,
            engines,
            validated,
            times,
            warnings: found,
        })
    }

    /// The bundle this was loaded from.
    #[must_use]
    pub fn verified(&self) -> &VerifiedBundle {
        &self.verified
    }

    /// How decisions name the bundle.
    #[must_use]
    pub fn reference(&self) -> &BundleRef {
        &self.reference
    }

    /// The signed registry, without what only definitions of tools hold: their schemas, and what
    /// servers declare beside.
    #[must_use]
    pub fn registry(&self) -> &Registry {
        &self.registry
    }

    /// `data.limits`.
    #[must_use]
    pub fn limits(&self) -> &BTreeMap<String, LimitSpec> {
        &self.limits
    }

    /// The compiled detectors.
    #[must_use]
    pub fn detectors(&self) -> &Detectors {
        &self.detectors
    }

    /// The engines, Rego first.
    #[must_use]
    pub fn engines(&self) -> &[Box<dyn Engine>] {
        &self.engines
    }

    /// How calls are evaluated from now on.
    pub fn evaluate_by(&mut self, way: Way) {
        for engine in &mut self.engines {
            engine.evaluate_by(way);
        }
    }

    /// Whether any engine has a policy. Without one nothing is allowed.
    #[must_use]
    pub fn has_policies(&self) -> bool {
        self.engines.iter().any(|engine| engine.has_policies())
    }

    /// How answers must be checked.
    #[must_use]
    pub fn response_check(&self) -> ResponseCheck {
        self.response_check
    }

    /// Whether any policy may read what a session has done, so that decisions must
    /// be made again when it changed meanwhile.
    #[must_use]
    pub fn reads_session(&self) -> bool {
        self.reads_session
    }

    /// Whether any policy may read what only the store of the decision point knows: what a session
    /// has done, or the signals made of it.
    #[must_use]
    pub fn reads_state(&self) -> bool {
        self.reads_session || self.reads_signals
    }

    /// Whether what a session did can matter to any later call: policies read it, ask people, or
    /// label it. Where it cannot, nobody has to look at it or to keep it.
    #[must_use]
    pub fn uses_session(&self) -> bool {
        self.reads_state() || self.marks_session
    }

    /// Digest of a tool's whole registry entry; empty if there is none.
    #[must_use]
    pub fn tool_digest(&self, tool: &str) -> &str {
        self.tools.get(tool).map(|tool| tool.digest.as_str()).unwrap_or_default()
    }

    /// Whether the bundle's own times deny decisions.
    #[must_use]
    pub fn times_enforced(&self) -> bool {
        self.times == Times::Enforced
    }

    /// What the load checks had to say although the bundle loads.
    #[must_use]
    pub fn warnings(&self) -> &[Diagnostic] {
        &self.warnings
    }

    /// The schema of a tool; `None` means that it is not callable.
    #[must_use]
    pub fn schema_of(&self, tool: &str) -> Option<&ToolSchema> {
        self.tools.get(tool)?.schema.as_ref()
    }

    /// The call with registry ids in the place of the names that credentials use for agents, which
    /// stay visible as the claim [`crate::agents::PRESENTED_AS`]. Everything that a decision is
    /// made of looks at this call; only its digest is that of the call as it came. Resolving what
    /// is resolved changes nothing.
    #[must_use]
    pub fn resolve<'a>(&self, call: &'a Call) -> Cow<'a, Call> {
        self.agents.names.resolve(&self.registry, call)
    }

    /// The agents, as they stand at `now_ms`.
    pub(crate) fn agents_at(&self, now_ms: i64) -> Agents<'_> {
        Agents { registry: &self.registry, rules: &self.agents.rules, now_ms }
    }

    /// The registry entry `id` of `map` (`agents`, `users`, `tools`, …) as written,
    /// without a tool's schema and with every agent's `party`; empty if there is none.
    #[must_use]
    pub fn attributes(&self, map: &'static str, id: &str) -> Map<String, Value> {
        if map == "tools" {
            return self.tools.get(id).map(|tool| tool.attributes.clone()).unwrap_or_default();
        }
        self.attributes.get(&(map, id.to_owned())).cloned().unwrap_or_default()
    }
}

/// Every text file of the bundle by name.
fn texts(verified: &VerifiedBundle, found: &mut Vec<Diagnostic>) -> BTreeMap<String, String> {
    let mut texts = BTreeMap::new();
    for (name, bytes) in verified.files().iter() {
        match std::str::from_utf8(bytes) {
            Ok(text) => {
                texts.insert(name.to_owned(), text.to_owned());
            }
            Err(error) => {
                let message = format!("not UTF-8 at byte {}", error.valid_up_to());
                found.push(Diagnostic::error("not_utf8", name, message));
            }
        }
    }
    texts
}

fn scopes(verified: &VerifiedBundle) -> BTreeMap<String, Scope> {
    let units = verified.manifest().units.iter();
    units
        .filter_map(|(unit, settings)| {
            let scope = settings.scope.clone()?;
            let scope =
                Scope { agents: scope.agents, servers: scope.servers, models: scope.models };
            Some((unit.clone(), scope))
        })
        .collect()
}

/// What the names of a bundle are read from.
struct Names<'a> {
    /// `data.json`, if it can be read.
    data: Option<&'a Value>,
    read: &'a data::ReadRegistry,
    detectors: Option<&'a Detectors>,
}

impl<'a> Names<'a> {
    fn known(&self, now_ms: i64) -> Known<'a> {
        let mut unread = self.read.unread.clone();
        if self.data.is_none() {
            unread.extend(known::MAPS);
        }
        let limits = self.data.map(|data| data.get("limits").and_then(Value::as_object));
        let detectors = self.detectors.map(Detectors::names);
        Known {
            registry: &self.read.registry,
            unread,
            limits: limits
                .map(|limits| limits.into_iter().flatten().map(|(id, _)| id.as_str()).collect()),
            detectors: detectors.map(|names| (names.detectors.clone(), names.categories.clone())),
            now_ms,
        }
    }
}

fn engines(
    texts: &BTreeMap<String, String>,
    data_is_read: bool,
    scopes: &BTreeMap<String, Scope>,
    known: &Known<'_>,
    loading: Loading<'_>,
    found: &mut Vec<Diagnostic>,
) -> (Option<Vec<Box<dyn Engine>>>, Arc<Validated>) {
    let text = |name: &str| texts.get(name).map(String::as_str);
    let data = text("data.json").filter(|_| data_is_read).unwrap_or("{}");
    let rego = RegoSource {
        files: of_kind(texts, |kind| matches!(kind, Kind::Rego { .. })),
        data,
        scopes,
    };
    let cedar = CedarSource {
        policies: of_kind(texts, |kind| matches!(kind, Kind::Cedar { .. })),
        schema: text("cedar/schema.cedarschema"),
        entities: text("cedar/entities.json"),
        scopes,
        registry: known.registry,
    };
    let before = loading.previous.map(|previous| previous.validated.as_ref());
    let how = cedar::Loading { threads: loading.threads, before };
    let ((rego, mut problems), (cedar, of_cedar)) = loading.threads.both(
        || RegoEngine::load_checked(&rego, Some(known)),
        || CedarEngine::load_checked(&cedar, Some(known), how),
    );
    // Data that cannot be read may have anything.
    problems.retain(|problem| data_is_read || problem.code != "rego_data_unknown");
    found.extend(problems);
    found.extend(of_cedar);
    let validated = cedar.as_ref().map(CedarEngine::validated).unwrap_or_default();
    let both = rego.zip(cedar);
    (both.map(|(rego, cedar)| vec![Box::new(rego) as _, Box::new(cedar) as _]), validated)
}

fn of_kind(
    texts: &BTreeMap<String, String>,
    wanted: impl Fn(Kind<'_>) -> bool,
) -> Vec<(&str, &str)> {
    let named = texts.iter().filter(|(name, _)| kind(name).is_some_and(&wanted));
    named.map(|(name, text)| (name.as_str(), text.as_str())).collect()
}

/// Registry entries but tools as written, for facts.
fn attributes(data: &Value) -> BTreeMap<(&'static str, String), Map<String, Value>> {
    let mut attributes = BTreeMap::new();
    let registry = data.get("registry").and_then(Value::as_object);
    for map in ["agents", "users", "teams", "models", "servers"] {
        let entries = registry.and_then(|r| r.get(map)).and_then(Value::as_object);
        for (id, entry) in entries.into_iter().flatten() {
            let mut entry = entry.as_object().cloned().unwrap_or_default();
            if map == "agents" {
                // Policies compare it, and what is absent compares with nothing.
                let party = Value::from(AgentParty::default().as_str());
                entry.entry("party").or_insert(party);
            }
            attributes.insert((map, id.clone()), entry);
        }
    }
    attributes
}
