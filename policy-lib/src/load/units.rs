//! Scopes of units: where permits count.

use std::collections::BTreeMap;

use lictor_proto::json::node::escape_token;

use super::data::Places;
use crate::diagnostic::Diagnostic;
use crate::engine::Scope;
use crate::known::{Kind, Known};

const FILE: &str = ".manifest";

/// Warns of names that the registry lacks, and of units whose permits can never count.
pub(super) fn check(
    scopes: &BTreeMap<String, Scope>,
    manifest: &str,
    known: &Known<'_>,
    found: &mut Vec<Diagnostic>,
) {
    let places = Places::of(manifest);
    for (unit, scope) in scopes {
        let at = format!("/metadata/lictor/units/{}/scope", escape_token(unit));
        for (member, kind, names) in [
            ("agents", Kind::Agent, &scope.agents),
            ("servers", Kind::Server, &scope.servers),
            ("models", Kind::Model, &scope.models),
        ] {
            let Some(names) = names else { continue };
            for (index, name) in names.iter().enumerate().filter(|(_, name)| !name.ends_with('*')) {
                let Some((_, help)) = known.missing(kind, name) else { continue };
                let message = format!(
                    "unit `{unit}` is scoped to the {} `{name}`, which is not in the registry",
                    kind.said()
                );
                let (line, col) = places.at(&format!("{at}/{member}/{index}"));
                let warning = Diagnostic::warning("name_unknown", FILE, message);
                found.push(warning.at(line, col).help(help));
            }
            let counts = |name: &String| name.ends_with('*') || known.has(kind, name);
            if !names.iter().any(counts) {
                let message = format!(
                    "the scope of unit `{unit}` names no registered {}, so that none of its permits counts",
                    kind.said()
                );
                let (line, col) = places.at(&format!("{at}/{member}"));
                let warning = Diagnostic::warning("manifest_scope", FILE, message);
                let help = format!("name one, or leave `{member}` out for all of them");
                found.push(warning.at(line, col).help(help));
            }
        }
    }
}
