//! Load checks of parsed policies: strict validation, and names that nobody has.

use std::collections::BTreeSet;

use cedar_policy_core::ast::{
    ActionConstraint, EntityUID, Expr, ExprKind, Literal, PolicySet, StaticPolicy,
};
use cedar_policy_core::parser::Loc;
use cedar_policy_core::validator::{
    ValidationError, ValidationMode, ValidationResult, ValidationWarning, Validator,
};

use crate::diagnostic::{Diagnostic, Level, suggest};
use crate::known::Known;
use crate::registry::Registry;
use crate::work::Threads;

use super::names::{ACTIONS, NAMESPACE};
use super::place::File;
use super::policy::Parsed;
use super::reads::{Reader, Reads, children};
use super::shape::{Schemas, Shape};
use super::validated::{self, Key, Validated};
use super::values;

/// Policies that name their tools are validated so many at a time, against a schema
/// of just these tools: validation takes time in policies times actions.
const POLICIES_PER_SCHEMA: usize = 24;

/// What the policies are checked against.
pub(super) struct Check<'a> {
    pub(super) files: &'a [File<'a>],
    pub(super) registry: &'a Registry,
    pub(super) shape: &'a Shape,
    /// Schemas of it with the bundle's own part.
    pub(super) schemas: &'a Schemas<'a>,
    /// The text of that part.
    pub(super) extra: Option<&'a str>,
    /// Every server that the registry names.
    pub(super) servers: BTreeSet<&'a str>,
    /// What the bundle has under which name, if that is to be looked at.
    pub(super) known: Option<&'a Known<'a>>,
    /// What was found valid before.
    pub(super) before: Option<&'a Validated>,
    pub(super) threads: Threads,
}

/// What came of one policy: what is said of it, and its key if that is nothing.
type Checked = (Vec<Diagnostic>, Option<Key>);

impl<'a> Check<'a> {
    /// Checks all policies, and says which need not be validated again.
    pub(super) fn run(&self, parsed: &[Parsed], diagnostics: &mut Vec<Diagnostic>) -> Validated {
        let said = self.threads.map(parsed, |policy| self.own(policy));
        diagnostics.extend(said.into_iter().flatten());
        // Without its tools every call would be validated against nothing.
        if self.is_unread("tools") || self.is_unread("servers") {
            return Validated::default();
        }
        let (of_tools, general): (Vec<_>, Vec<_>) =
            parsed.iter().partition(|policy| self.names_its_tools(&policy.checked));
        let types = validated::key_of_types(self.shape, self.extra);
        let checked = self.of_tools(&types, &of_tools).into_iter();
        let mut keys = Vec::new();
        for (found, key) in checked.chain(self.general(&types, &general)) {
            diagnostics.extend(found);
            keys.extend(key);
        }
        self.left_out(diagnostics);
        Validated::of(keys)
    }

    /// What is looked at in each policy by itself.
    fn own(&self, policy: &Parsed) -> Vec<Diagnostic> {
        let mut found = Vec::new();
        self.unknowns(policy, &mut found);
        self.names(policy, &mut found);
        self.approvers(policy, &mut found);
        if let (Some(known), Some(file)) = (self.known, self.files.get(policy.file)) {
            values::check(policy, file, known, &mut found);
        }
        found
    }

    /// Policies that name their tools: each depends on these tools alone, so that it does not
    /// matter which of them are validated together.
    fn of_tools(&self, types: &Key, policies: &[&Parsed]) -> Vec<Checked> {
        let keys = self.threads.map(policies, |policy| {
            let actions = self.actions_of(policy);
            let key = validated::with_actions(types, self.shape, &actions);
            self.key_of(&key, policy)
        });
        let (valid, open) = self.split(policies, keys);
        let parts: Vec<_> = open.chunks(POLICIES_PER_SCHEMA).collect();
        let checked = self.threads.map(&parts, |part| self.validate_part(part));
        valid.into_iter().chain(checked.into_iter().flatten()).collect()
    }

    fn validate_part(&self, part: &[(&Parsed, Option<Key>)]) -> Vec<Checked> {
        let actions = part.iter().flat_map(|(policy, _)| self.actions_of(policy)).collect();
        let validator = match self.validator(&actions) {
            Ok(validator) => validator,
            Err(problem) => return vec![(vec![*problem], None)],
        };
        let one = |(policy, key): &(&Parsed, Option<Key>)| {
            let mut found = self.validate(policy, &validator);
            if !found.is_empty() && part.len() > 1 {
                // What is said must not depend on who is validated beside it.
                found = match self.validator(&self.actions_of(policy)) {
                    Ok(alone) => self.validate(policy, &alone),
                    Err(problem) => vec![*problem],
                };
            }
            let key = key.filter(|_| found.is_empty());
            (found, key)
        };
        part.iter().map(one).collect()
    }

    /// Policies for any tool, against one tool for each different type of what they read.
    fn general(&self, types: &Key, policies: &[&Parsed]) -> Vec<Checked> {
        if policies.is_empty() {
            return Vec::new();
        }
        let mut reads = Reads::default();
        for parsed in policies {
            reads.add(&parsed.condition, Reader::Live);
        }
        let (mut actions, read) = self.shape.representatives(&reads);
        let named = policies.iter().flat_map(|policy| self.actions_of(policy)).collect();
        let types = validated::with_text(types, &read);
        let types = validated::with_actions(&types, self.shape, &named);
        actions.extend(ACTIONS.iter().map(|row| row.name));
        actions.extend(named);
        let keys = self.threads.map(policies, |policy| self.key_of(&types, policy));
        let (valid, open) = self.split(policies, keys);
        let mut checked = valid;
        if open.is_empty() {
            return checked;
        }
        match self.validator(&actions) {
            Ok(validator) => checked.extend(self.threads.map(&open, |(policy, key)| {
                let found = self.validate(policy, &validator);
                let key = key.filter(|_| found.is_empty());
                (found, key)
            })),
            Err(problem) => checked.push((vec![*problem], None)),
        }
        checked
    }

    /// Those that were found valid before, and those that were not.
    fn split<'p>(
        &self,
        policies: &[&'p Parsed],
        keys: Vec<Option<Key>>,
    ) -> (Vec<Checked>, Vec<(&'p Parsed, Option<Key>)>) {
        let is_valid = |key: &Key| self.before.is_some_and(|before| before.has(key));
        let (mut valid, mut open) = (Vec::new(), Vec::new());
        for (policy, key) in policies.iter().zip(keys) {
            match key.filter(is_valid) {
                Some(key) => valid.push((Vec::new(), Some(key))),
                None => open.push((*policy, key)),
            }
        }
        (valid, open)
    }

    /// Everything that the validation of a policy depends on; `None` if Cedar does not say where
    /// its text is.
    fn key_of(&self, schema: &Key, parsed: &Parsed) -> Option<Key> {
        let loc = parsed.checked.loc()?;
        let text = self.files.get(parsed.file)?.text.get(loc.start()..loc.end())?;
        Some(validated::with_text(schema, text))
    }

    /// The actions that a policy names, and that there are.
    fn actions_of(&self, parsed: &Parsed) -> BTreeSet<&'a str> {
        let named = named_entities(&parsed.condition).into_iter();
        let actions = named.filter(|(entity, _)| our_type(entity) == Some("Action"));
        actions.filter_map(|(entity, _)| self.shape.action(id_of(&entity))).collect()
    }

    fn validator(&self, actions: &BTreeSet<&str>) -> Result<Validator, Box<Diagnostic>> {
        self.schemas.with(actions).map(Validator::new).map_err(|error| {
            let message = format!("no schema can be made of the registry: {error}");
            Box::new(Diagnostic::error("cedar_schema", "", message))
        })
    }

    /// Strict validation lets `unknown(...)` of partial evaluation pass.
    fn unknowns(&self, parsed: &Parsed, diagnostics: &mut Vec<Diagnostic>) {
        let Some(file) = self.files.get(parsed.file) else {
            return;
        };
        let mut open = vec![&parsed.condition];
        while let Some(expr) = open.pop() {
            let is_unknown = match expr.expr_kind() {
                ExprKind::Unknown(_) => true,
                ExprKind::ExtensionFunctionApp { fn_name, .. } => fn_name.to_string() == "unknown",
                _ => false,
            };
            if is_unknown {
                let at = expr.source_loc().map_or(parsed.offset, Loc::start);
                let message = "`unknown(...)` has no value: a policy cannot decide by it";
                diagnostics.push(file.error("cedar_invalid", at, message));
            }
            open.extend(children(expr));
        }
    }

    /// Whether the scope says which tools the policy is for.
    fn names_its_tools(&self, policy: &StaticPolicy) -> bool {
        let is_tool = |action: &EntityUID| {
            our_type(action) == Some("Action") && self.registry.tools.contains_key(id_of(action))
        };
        match policy.action_constraint() {
            ActionConstraint::Eq(action) => is_tool(action),
            ActionConstraint::In(actions) => {
                !actions.is_empty() && actions.iter().all(|action| is_tool(action))
            }
            ActionConstraint::Any => false,
        }
    }

    fn validate(&self, parsed: &Parsed, validator: &Validator) -> Vec<Diagnostic> {
        let Some(file) = self.files.get(parsed.file) else {
            return Vec::new();
        };
        let mut set = PolicySet::new();
        if set.add_static(parsed.checked.clone()).is_err() {
            // Cannot happen in an empty set; if it does, the policy is unchecked.
            let why = "the policy could not be checked";
            return vec![file.error("cedar_invalid", parsed.offset, why)];
        }
        let result = validator.validate(&set, ValidationMode::Strict);
        per_place(complaints(file, &result))
    }

    /// Entities that a policy names and nobody has.
    fn names(&self, parsed: &Parsed, diagnostics: &mut Vec<Diagnostic>) {
        let Some(file) = self.files.get(parsed.file) else {
            return;
        };
        let mut seen = BTreeSet::new();
        for (entity, loc) in named_entities(&parsed.condition) {
            let Some(ty) = our_type(&entity) else {
                continue;
            };
            let id = id_of(&entity);
            if self.is_known(ty, id) || !seen.insert((ty.to_owned(), id.to_owned())) {
                continue;
            }
            let at = loc.as_ref().map_or(parsed.offset, Loc::start);
            let near = self.suggestion(ty, id);
            let help = near.map(|near| format!("did you mean `{near}`?")).unwrap_or_default();
            let found = if ty == "Action" {
                let message =
                    format!("there is no action `{id}`: no protocol and no registered tool has it");
                file.error("cedar_action_unknown", at, message)
            } else {
                file.warning(
                    "name_unknown",
                    at,
                    format!("the registry has no `{ty}` called `{id}`"),
                )
            };
            diagnostics.push(found.help(help));
        }
    }

    fn is_unread(&self, map: &str) -> bool {
        self.known.is_some_and(|known| known.unread.contains(map))
    }

    fn is_known(&self, ty: &str, id: &str) -> bool {
        let registry = self.registry;
        let map = match ty {
            "Action" => "tools".to_owned(),
            other => format!("{}s", other.to_lowercase()),
        };
        if self.is_unread(&map) {
            return true;
        }
        match ty {
            "Action" => self.shape.has_action(id),
            "Agent" => registry.agents.contains_key(id),
            "Model" => registry.models.contains_key(id),
            "Server" => self.servers.contains(id),
            "Team" => registry.teams.contains_key(id),
            "Tool" => registry.tools.contains_key(id),
            "User" => registry.users.contains_key(id),
            _ => true,
        }
    }

    /// What may have been meant by an unknown id of a type.
    fn suggestion(&self, ty: &str, id: &str) -> Option<&str> {
        let registry = self.registry;
        match ty {
            "Action" => suggest(id, self.shape.action_names()),
            "Agent" => suggest(id, registry.agents.keys().map(String::as_str)),
            "Model" => suggest(id, registry.models.keys().map(String::as_str)),
            "Server" => suggest(id, self.servers.iter().copied()),
            "Team" => suggest(id, registry.teams.keys().map(String::as_str)),
            "Tool" => suggest(id, registry.tools.keys().map(String::as_str)),
            "User" => suggest(id, registry.users.keys().map(String::as_str)),
            _ => None,
        }
    }

    fn approvers(&self, parsed: &Parsed, diagnostics: &mut Vec<Diagnostic>) {
        let (Some(ask), Some(file)) = (&parsed.policy.notes.ask, self.files.get(parsed.file))
        else {
            return;
        };
        let (users, teams) = (&self.registry.users, &self.registry.teams);
        for name in &ask.approvers {
            let unread = self.is_unread("users") || self.is_unread("teams");
            if unread || users.contains_key(name) || teams.contains_key(name) {
                continue;
            }
            let known = users.keys().chain(teams.keys()).map(String::as_str);
            let help = suggest(name, known).map(|near| format!("did you mean `{near}`?"));
            let message = format!("the registry has no user or team `{name}` who could approve");
            let warning = file.warning("name_unknown", parsed.offset, message);
            diagnostics.push(warning.help(help.unwrap_or_default()));
        }
    }

    /// Arguments that no policy can read.
    fn left_out(&self, diagnostics: &mut Vec<Diagnostic>) {
        for (tool, pointers) in self.shape.left_out() {
            let pointers: Vec<String> = pointers.iter().map(|p| format!("`{p}`")).collect();
            let message = format!(
                "Cedar cannot type these arguments of `{tool}`, so no Cedar policy can read them: {}",
                pointers.join(", ")
            );
            diagnostics.push(Diagnostic::warning("cedar_untyped", "data.json", message));
        }
    }
}

/// What the validator says, without what `names` and the validator itself say better.
fn complaints(file: &File<'_>, result: &ValidationResult) -> BTreeSet<Diagnostic> {
    let (unknown, errors): (Vec<_>, Vec<_>) = result
        .validation_errors()
        .partition(|error| matches!(error, ValidationError::UnrecognizedActionId(_)));
    let errors = errors.into_iter().map(|error| file.cedar("cedar_invalid", Level::Error, error));
    let mut found: BTreeSet<Diagnostic> = errors.collect();
    if !unknown.is_empty() {
        return found;
    }
    let warnings: Vec<_> = result.validation_warnings().collect();
    let has_cause = warnings
        .iter()
        .any(|warning| matches!(warning, ValidationWarning::InvalidActionApplication(_)));
    let told = warnings.into_iter().filter(|warning| {
        !(has_cause && matches!(warning, ValidationWarning::ImpossiblePolicy(_)))
    });
    found.extend(told.map(|warning| {
        let told = file.cedar("cedar_suspect", Level::Warning, warning);
        if !told.help.is_empty() {
            return told;
        }
        told.help(match warning {
            ValidationWarning::InvalidActionApplication(_) => {
                "`lictor schema cedar` shows to what each action applies"
            }
            _ => "remove the policy, or mend its conditions",
        })
    }));
    found
}

/// One diagnostic for each place and code: a policy for many tools is wrong once
/// for each of them.
fn per_place(found: BTreeSet<Diagnostic>) -> Vec<Diagnostic> {
    let mut kept: Vec<(Diagnostic, usize)> = Vec::new();
    for next in found {
        let place = |d: &Diagnostic| (d.line, d.col, d.code);
        match kept.last_mut() {
            Some((last, more)) if place(last) == place(&next) => *more += 1,
            _ => kept.push((next, 0)),
        }
    }
    let finished = kept.into_iter().map(|(mut diagnostic, more)| {
        if more > 0 {
            diagnostic.message.push_str(&format!(" (and {more} more like this)"));
        }
        diagnostic
    });
    finished.collect()
}

/// The name of a type in namespace `Lictor`.
fn our_type(entity: &EntityUID) -> Option<&str> {
    let name = entity.entity_type().name();
    let mut path = name.as_ref().namespace_components();
    let (Some(first), None) = (path.next(), path.next()) else {
        return None;
    };
    let namespace: &str = first.as_ref();
    (namespace == NAMESPACE).then(|| name.basename_as_ref().as_ref())
}

fn id_of(entity: &EntityUID) -> &str {
    entity.eid().as_ref()
}

/// Every entity that an expression names, with where it does.
fn named_entities(expr: &Expr) -> Vec<(EntityUID, Option<Loc>)> {
    let mut named = Vec::new();
    let mut open = vec![expr];
    while let Some(expr) = open.pop() {
        if let ExprKind::Lit(Literal::EntityUID(entity)) = expr.expr_kind() {
            let loc = expr.source_loc().or(entity.loc()).cloned();
            named.push(((**entity).clone(), loc));
        }
        open.extend(children(expr));
    }
    named
}
