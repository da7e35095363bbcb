//! Which of the engine's functions policies may call, and the wrappers that keep
//! one call from taking all time and memory: the engine's timer does not stop it.
//!
//! A wrapper is installed under the name of what it wraps, which takes precedence.
//! `with` still replaces it in tests.

use std::collections::BTreeSet;
use std::sync::Arc;

use regorus::unstable::{BUILTINS, Expr, Ref, Source, Span};
use regorus::{Engine, Value};

use super::catalogue::{self, Status};
use super::extra::{self, Extra};
use super::guards::{self, Guard, Refusal};
use super::metadata;

/// What a called name is to the engine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Known {
    /// May be called.
    Allowed(&'static str),
    /// May not, and why.
    Refused(&'static str),
    /// `print`, which is taken out before serving.
    Print,
    /// No such function.
    Not,
}

/// Functions of the engine that OPA does not have.
const ENGINE_ONLY: &[(&str, &str)] =
    &[("__builtin_", "it is the engine's own"), ("test.sleep", "policies do not wait")];

/// What `name` is.
pub(crate) fn lookup(name: &str) -> Known {
    if name == "print" {
        return Known::Print;
    }
    match catalogue::status(name) {
        Some(Status::Present) => {}
        Some(Status::Added) => {
            return extra::of(name).map_or(Known::Not, |e| Known::Allowed(e.name));
        }
        Some(Status::Resolved) => {
            return metadata::NAMES
                .iter()
                .find(|known| **known == name)
                .map_or(Known::Not, |known| Known::Allowed(known));
        }
        Some(Status::Refused(why) | Status::Missing(why)) => return Known::Refused(why),
        None => {
            let own = ENGINE_ONLY.iter().find(|(banned, _)| name.starts_with(banned));
            return own.map_or(Known::Not, |(_, why)| Known::Refused(why));
        }
    }
    match BUILTINS.get_key_value(name) {
        Some((name, _)) => Known::Allowed(name),
        None => Known::Not,
    }
}

/// Every name that may be called.
pub(crate) fn names() -> impl Iterator<Item = &'static str> {
    let known = catalogue::CATALOGUE.iter().map(|(name, _)| *name);
    known.filter(|name| matches!(lookup(name), Known::Allowed(_)))
}

/// How many arguments a builtin takes.
pub(crate) fn arity(name: &str) -> usize {
    match extra::of(name) {
        Some(extra) => usize::from(extra.arity),
        None => BUILTINS.get(name).map_or(0, |(_, params)| usize::from(*params)),
    }
}

/// Whether one more argument may take the result. The engine asks its own list
/// alone.
pub(crate) fn may_take_result(name: &str) -> bool {
    BUILTINS.contains_key(name)
}

/// Builtins that need no guard but may give no value for arguments that they do
/// not like, where others report an error.
const MAY_BE_UNDEFINED: &[&str] = &[
    "array.slice",
    "bits.and",
    "bits.negate",
    "bits.or",
    "bits.rsh",
    "bits.xor",
    "json.filter",
    "json.remove",
    "object.filter",
    "object.keys",
    "object.remove",
    "substring",
];

/// Why a call has no result.
#[derive(Debug, thiserror::Error)]
#[error("`{0}` has no value for these arguments")]
struct NoValue(&'static str);

/// Why a builtin of ours has no result.
#[derive(Debug, thiserror::Error)]
#[error("`{0}`: {1}")]
struct Failed(&'static str, extra::Fault);

/// Puts the wrappers of the builtins in `used`, and the builtins of ours among them,
/// into `engine`.
///
/// # Errors
/// What the engine says.
pub(crate) fn install(engine: &mut Engine, used: &BTreeSet<&'static str>) -> Result<(), String> {
    for name in used {
        let guard = guards::of(name)
            .or_else(|| MAY_BE_UNDEFINED.contains(name).then_some(anything as Guard));
        let installed = match (extra::of(name), guard) {
            (Some(extra), _) => add(engine, extra),
            (None, Some(guard)) => wrap(engine, name, guard),
            (None, None) => Ok(()),
        };
        installed.map_err(|error| format!("builtin `{name}`: {error}"))?;
    }
    Ok(())
}

/// Puts a builtin of ours into the engine.
fn add(engine: &mut Engine, extra: &'static Extra) -> Result<(), String> {
    let called = |values: Vec<Value>| {
        (extra.guard)(&values)?;
        Ok((extra.call)(&values).map_err(|fault| Failed(extra.name, fault))?)
    };
    engine
        .add_extension(extra.name.to_owned(), extra.arity, Box::new(called))
        .map_err(|error| error.to_string())
}

fn anything(_: &[Value]) -> Result<(), Refusal> {
    Ok(())
}

/// The arguments as the builtins want to see them in the text. They only name
/// their place in errors; the engine puts the place of the call before ours, so
/// these need only exist.
struct Written {
    span: Span,
    arguments: Vec<Ref<Expr>>,
}

fn wrap(engine: &mut Engine, name: &'static str, guard: Guard) -> Result<(), String> {
    let Some(&(call, params)) = BUILTINS.get(name) else { return Ok(()) };
    let source =
        Source::from_contents(name.to_owned(), name.to_owned()).map_err(|e| e.to_string())?;
    let span = Span { source, line: 1, col: 1, start: 0, end: 1 };
    let argument = || Ref::new(Expr::Null { span: span.clone(), value: Value::Null, eidx: 0 });
    let arguments = (0..params).map(|_| argument()).collect();
    // Shared, since each evaluation has a copy of the wrapper.
    let written = Arc::new(Written { span, arguments });
    let wrapper = move |values: Vec<Value>| {
        if let Err(refusal) = guard(&values) {
            return Err(refusal.into());
        }
        match call(&written.span, &written.arguments, &values, true) {
            // The arguments have values, so this is an error that says nothing,
            // and a denial would be lost over it.
            Ok(Value::Undefined) => Err(NoValue(name).into()),
            result => result,
        }
    };
    engine.add_extension(name.to_owned(), params, Box::new(wrapper)).map_err(|e| e.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_builtin_is_sorted_into_allowed_or_refused() {
        assert_eq!(lookup("sprintf"), Known::Allowed("sprintf"));
        for name in [
            "http.send",
            "rand.intn",
            "time.now_ns",
            "trace",
            "uuid.rfc4122",
            "io.jwt.decode_verify",
            "opa.runtime",
            "__builtin_sets.union",
            "any",
            "uri.parse",
            "graphql.parse",
        ] {
            assert!(matches!(lookup(name), Known::Refused(_)), "{name}");
        }
        for name in ["crypto.sha256", "io.jwt.decode", "rego.metadata.rule", "uuid.parse"] {
            assert_eq!(lookup(name), Known::Allowed(name));
        }
        assert_eq!(lookup("crypto.sha3"), Known::Not);
        assert_eq!(lookup("print"), Known::Print);
        assert_eq!(arity("regex.template_match"), 4);
    }

    /// A new version of the engine may bring functions that grow: each must be
    /// looked at and named in one of the two lists.
    #[test]
    fn every_allowed_builtin_is_guarded_or_known_to_be_small() {
        let unknown: Vec<&str> = names()
            .filter(|name| guards::of(name).is_none() && !guards::BOUNDED.contains(name))
            .collect();
        assert_eq!(unknown, Vec::<&str>::new());
        let both: Vec<&&str> =
            guards::BOUNDED.iter().filter(|name| guards::of(name).is_some()).collect();
        assert_eq!(both, Vec::<&&str>::new());
    }
}
