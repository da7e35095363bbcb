//! What Cedar text says, without how it is written: for whoever rewrites text and must not change
//! it. Finer than what the engine evaluates: two texts that only evaluate alike differ here.

use std::collections::HashMap;

use cedar_policy_core::ast::PolicyID;
use cedar_policy_core::est;
use cedar_policy_core::extensions::Extensions;
use cedar_policy_core::parser::parse_policyset_to_ests_and_pset;
use cedar_policy_core::validator::RawName;
use cedar_policy_core::validator::json_schema::Fragment;

use super::nesting;
use super::place::File;
use crate::diagnostic::{Diagnostic, Level};

/// The policies and templates of a text: their syntax trees by their place among the others.
#[derive(Debug, Clone, PartialEq)]
pub struct Meaning(HashMap<PolicyID, est::Policy>);

impl Meaning {
    /// How many policies and templates there are.
    #[must_use]
    pub fn policies(&self) -> usize {
        self.0.len()
    }
}

/// What the policies in `text` say. `path` is for the places of problems.
///
/// # Errors
/// Everything that Cedar's parser finds wrong.
pub fn of_policies(path: &str, text: &str) -> Result<Meaning, Vec<Diagnostic>> {
    let file = File::new(path, text);
    if let Some(problem) = nesting::refuse(&file, "cedar_parse") {
        return Err(vec![problem]);
    }
    let parsed = parse_policyset_to_ests_and_pset(text);
    parsed.map(|(policies, _)| Meaning(policies)).map_err(|errors| {
        errors.iter().map(|error| file.cedar("cedar_parse", Level::Error, error)).collect()
    })
}

/// What a Cedar schema says.
#[derive(Debug, Clone, PartialEq)]
pub struct SchemaMeaning(Fragment<RawName>);

/// What the schema in `text` says. `path` is for the place of the problem.
///
/// # Errors
/// What Cedar's parser finds wrong.
pub fn of_schema(path: &str, text: &str) -> Result<SchemaMeaning, Vec<Diagnostic>> {
    let file = File::new(path, text);
    if let Some(problem) = nesting::refuse(&file, "cedar_schema") {
        return Err(vec![problem]);
    }
    match Fragment::from_cedarschema_str(text, Extensions::all_available()) {
        Ok((fragment, _)) => Ok(SchemaMeaning(fragment)),
        Err(error) => Err(vec![file.cedar("cedar_schema", Level::Error, &error)]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn layout_and_comments_say_nothing_and_everything_else_does() {
        let says = |text: &str| of_policies("x.cedar", text).unwrap();
        let one = says("permit(principal, action, resource) when { 1 < 2 && true };");
        let laid_out =
            "// why\npermit (\n  principal, action,\n  resource\n) when { 1 < 2\n && true };";
        assert_eq!(one, says(laid_out));
        assert_eq!(one.policies(), 1);
        for other in [
            "permit(principal, action, resource) when { 1 < 2 };",
            "permit(principal, action, resource) when { 2 > 1 && true };",
            "forbid(principal, action, resource) when { 1 < 2 && true };",
            "@id(\"a\") permit(principal, action, resource) when { 1 < 2 && true };",
            "permit(principal, action, resource) when { 1 < 2 } when { true };",
        ] {
            assert_ne!(one, says(other), "{other}");
        }
        let template = says("permit(principal == ?principal, action, resource);");
        assert_ne!(template, says("permit(principal in ?principal, action, resource);"));
    }

    #[test]
    fn what_is_no_cedar_is_said_with_its_place() {
        let found = of_policies("x.cedar", "permit(principal,\n action resource);").unwrap_err();
        assert_eq!(found.first().map(|d| (d.line, d.col)), Some((2, 9)), "{found:?}");
        let found = of_schema("s.cedarschema", "entity A;\nentity;").unwrap_err();
        assert_eq!(found.first().map(|d| d.line), Some(2), "{found:?}");
        let says = |text: &str| of_schema("s.cedarschema", text).unwrap();
        assert_eq!(says("entity A in [B]; entity B;"), says("// x\nentity A in\n[B];\nentity B;"));
        assert_ne!(says("entity A;"), says("entity B;"));
    }
}
