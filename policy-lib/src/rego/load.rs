//! A bundle's Rego files to an engine that is ready, or everything that is wrong.

use std::collections::BTreeSet;
use std::num::{NonZeroU32, NonZeroUsize};

use lictor_proto::call::Phase;
use lictor_proto::json::Node;
use regorus::{Engine, PolicyLengthConfig, Value};

use super::generate::{Generated, entry, generate};
use super::names::RESERVED;
use super::place::{Place, engine_message};
use super::source::{MAX_FILE_BYTES, Policy, parse_all, parse_data};
use super::{
    RegoSource, builtins, conflicts, constants, dangling, depth, extra, functions, lint, metadata,
    patterns, references, run, shape, shared, unsafes,
};
use crate::diagnostic::{Diagnostic, Level};
use crate::known::Known;

/// Everything that was read and found good.
pub(crate) struct Loaded {
    pub(crate) policies: Vec<Policy>,
    pub(crate) data: Node,
    pub(crate) used: BTreeSet<&'static str>,
    pub(crate) generated: Generated,
    /// Serves every phase.
    pub(crate) engine: Engine,
}

/// Runs every check; gives what was loaded only if none found an error.
pub(crate) fn load(source: &RegoSource<'_>) -> (Option<Loaded>, Vec<Diagnostic>) {
    load_checked(source, None)
}

/// The same, with the author's warnings where names are `known`.
pub(crate) fn load_checked(
    source: &RegoSource<'_>,
    known: Option<&Known<'_>>,
) -> (Option<Loaded>, Vec<Diagnostic>) {
    let mut problems = Vec::new();
    let mut policies = parse_all(&source.files, &mut problems);
    let mut data = parse_data(source.data, &mut problems);
    shape::check(&policies, &mut problems);
    references::check(&policies, &mut problems);
    references::check_data(&policies, &data, &mut problems);
    dangling::check(&policies, &data, &mut problems);
    let used = functions::check(&policies, &mut problems);
    conflicts::check(&policies, &mut problems);
    if let Some(known) = known {
        lint::check(&policies, known, &mut problems);
    }
    depth::check(&policies, &mut problems);
    unsafes::check(&policies, &mut problems);
    patterns::check(&policies, &mut problems);
    metadata::resolve(&mut policies, &mut data, &mut problems);
    let generated = generate(&policies, &mut problems);
    let loaded = if failed(&problems) {
        None
    } else {
        serve(policies, data, used, generated, &mut problems).filter(|_| !failed(&problems))
    };
    problems.sort();
    problems.dedup();
    (loaded, problems)
}

fn failed(problems: &[Diagnostic]) -> bool {
    problems.iter().any(|problem| problem.level == Level::Error)
}

fn serve(
    policies: Vec<Policy>,
    data: Node,
    used: BTreeSet<&'static str>,
    generated: Generated,
    problems: &mut Vec<Diagnostic>,
) -> Option<Loaded> {
    let texts = generated.served.iter().map(|served| (served.name.as_str(), served.text.as_str()));
    let aggregate = format!("{RESERVED}.rego");
    let texts = texts.chain([(aggregate.as_str(), generated.aggregate.as_str())]);
    let mut engine = match engine(texts, &data, &used) {
        Ok(engine) => engine,
        Err(text) => {
            problems.push(compile_problem(&text, &generated));
            return None;
        }
    };
    engine.set_input(Value::new_object());
    // An entry that is there answers or fails; that it was prepared shows only in
    // what kind of error comes back, so the ready rule is asked first.
    if let Err(text) = run::rule(&mut engine, &ready_path(), run::LOAD_TIME) {
        problems.push(compile_problem(&text, &generated));
        return None;
    }
    constants::check(&policies, &engine, &generated, problems);
    Some(Loaded { policies, data, used, generated, engine })
}

fn compile_problem(text: &str, generated: &Generated) -> Diagnostic {
    let place = Place::find(text).map(|place| generated.original(place)).unwrap_or_default();
    Diagnostic::error("rego_compile", &place.file, engine_message(text)).at(place.line, place.col)
}

/// A rule of the loader's that needs nothing: asking it prepares the engine.
pub(crate) fn ready_path() -> String {
    format!("data.{RESERVED}.ready")
}

fn ready_module(used: &BTreeSet<&'static str>) -> (String, String) {
    let passed_on = extra::mocks::functions(used);
    let text = format!("package {RESERVED}\n\nready := true\n{passed_on}");
    (format!("{RESERVED}_ready.rego"), text)
}

/// Generated texts are longer than the users' own.
fn lengths() -> PolicyLengthConfig {
    let default = PolicyLengthConfig::default();
    PolicyLengthConfig {
        max_col: NonZeroU32::new(4096).unwrap_or(default.max_col),
        max_file_bytes: NonZeroUsize::new(MAX_FILE_BYTES * 16).unwrap_or(default.max_file_bytes),
        max_lines: NonZeroUsize::new(1_000_000).unwrap_or(default.max_lines),
    }
}

/// An engine over `texts`, not yet prepared.
///
/// # Errors
/// The engine's message.
pub(crate) fn engine<'t>(
    texts: impl Iterator<Item = (&'t str, &'t str)>,
    data: &Node,
    used: &BTreeSet<&'static str>,
) -> Result<Engine, String> {
    let mut engine = Engine::new();
    engine.set_policy_length_config(lengths());
    engine.set_strict_builtin_errors(true);
    engine.set_gather_prints(true);
    engine.add_data(shared::value(data)).map_err(|error| error.to_string())?;
    builtins::install(&mut engine, used)?;
    for (name, text) in texts {
        engine.add_policy(name.to_owned(), text.to_owned()).map_err(|error| error.to_string())?;
    }
    let (name, text) = ready_module(used);
    engine.add_policy(name, text).map_err(|error| error.to_string())?;
    Ok(engine)
}

/// The paths that serve, by phase.
pub(crate) fn entry_paths() -> [(Phase, String); 3] {
    [Phase::Request, Phase::List, Phase::Response].map(|phase| (phase, entry(phase)))
}
