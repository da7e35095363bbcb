//! Which of the engine's functions policies may call, and the wrappers that keep
//! one call from taking all time and memory: the engine's timer does not stop it.
//!
//! A wrapper is installed under the name of what it wraps, which takes precedence.
//! `with` still replaces it in tests.

use std::collections::BTreeSet;

use regorus::unstable::{BUILTINS, Expr, Ref, Source, Span};
use regorus::{Engine, Value};

use super::guards::{self, Guard};

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

/// Functions that would make two evaluations of one call differ, or leave the
/// process. Some of them the engine does not even have here.
const REFUSED: &[(&str, &str)] = &[
    ("http.send", "policies do no I/O; put what they need into data or facts"),
    ("io.jwt.", "tokens are verified before policy; read `input.subject.claims`"),
    ("net.lookup_ip_addr", "policies do no I/O; put what they need into data or facts"),
    ("opa.runtime", "policies do not see the machine they run on"),
    ("rand.intn", "decisions must be repeatable"),
    ("rego.metadata.", "annotations cannot be read at run time"),
    ("test.sleep", "policies do not wait"),
    ("time.now_ns", "decisions must be repeatable; use `input.facts.time.now_ms`"),
    ("trace", "use `print`"),
    ("uuid.", "decisions must be repeatable"),
    ("__builtin_", "it is the engine's own"),
];

/// What `name` is.
pub(crate) fn lookup(name: &str) -> Known {
    if name == "print" {
        return Known::Print;
    }
    let refused = REFUSED.iter().find(|(banned, _)| {
        name == *banned || (banned.ends_with(['.', '_']) && name.starts_with(banned))
    });
    if let Some((_, why)) = refused {
        return Known::Refused(why);
    }
    match BUILTINS.get_key_value(name) {
        Some((name, _)) => Known::Allowed(name),
        None => Known::Not,
    }
}

/// Every name that may be called.
pub(crate) fn names() -> impl Iterator<Item = &'static str> {
    BUILTINS.keys().copied().filter(|name| matches!(lookup(name), Known::Allowed(_)))
}

/// How many arguments a builtin takes.
pub(crate) fn arity(name: &str) -> usize {
    BUILTINS.get(name).map_or(0, |(_, params)| usize::from(*params))
}

/// Puts the wrappers of the builtins in `used` into `engine`.
///
/// # Errors
/// What the engine says.
pub(crate) fn install(engine: &mut Engine, used: &BTreeSet<&'static str>) -> Result<(), String> {
    for name in used {
        if let Some(guard) = guards::of(name) {
            wrap(engine, name, guard).map_err(|error| format!("builtin `{name}`: {error}"))?;
        }
    }
    Ok(())
}

fn wrap(engine: &mut Engine, name: &'static str, guard: Guard) -> Result<(), String> {
    let Some(&(call, params)) = BUILTINS.get(name) else { return Ok(()) };
    // The builtins name the place of their arguments in errors; the engine puts
    // the place of the call before ours, so these need only exist.
    let source = Source::from_contents(name.to_owned(), name.to_owned()).map_err(|e| e.to_string())?;
    let span = Span { source, line: 1, col: 1, start: 0, end: 1 };
    let argument = || Ref::new(Expr::Null { span: span.clone(), value: Value::Null, eidx: 0 });
    let arguments: Vec<Ref<Expr>> = (0..params).map(|_| argument()).collect();
    let wrapper = move |values: Vec<Value>| match guard(&values) {
        Ok(()) => call(&span, &arguments, &values, true),
        Err(refusal) => Err(refusal.into()),
    };
    engine.add_extension(name.to_owned(), params, Box::new(wrapper)).map_err(|e| e.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_builtin_is_sorted_into_allowed_or_refused() {
        assert_eq!(lookup("sprintf"), Known::Allowed("sprintf"));
        for name in ["http.send", "rand.intn", "time.now_ns", "trace", "uuid.rfc4122", "io.jwt.decode", "opa.runtime", "__builtin_sets.union"] {
            assert!(matches!(lookup(name), Known::Refused(_)), "{name}");
        }
        assert_eq!(lookup("crypto.sha256"), Known::Not);
        assert_eq!(lookup("print"), Known::Print);
        assert_eq!(arity("regex.template_match"), 4);
    }

    /// A new version of the engine may bring functions that grow: each must be
    /// looked at and named in one of the two lists.
    #[test]
    fn every_allowed_builtin_is_guarded_or_known_to_be_small() {
        let unknown: Vec<&str> =
            names().filter(|name| guards::of(name).is_none() && !guards::BOUNDED.contains(name)).collect();
        assert_eq!(unknown, Vec::<&str>::new());
        let both: Vec<&&str> = guards::BOUNDED.iter().filter(|name| guards::of(name).is_some()).collect();
        assert_eq!(both, Vec::<&&str>::new());
    }
}
