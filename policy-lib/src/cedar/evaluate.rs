//! One evaluation: a call to an outcome. Nothing here denies by leaving something
//! out: what cannot be asked is a fatal error.

use std::sync::Arc;
use std::time::Instant;

use cedar_policy_core::ast::{
    Context, EntityUID, EntityUIDEntry, Expr, ExprKind, Literal, PartialValue, Request, SlotEnv,
    UnaryOp, ValueKind,
};
use cedar_policy_core::evaluator::Evaluator;
use lictor_proto::call::{Call, Party, Phase, Resource, ResourceKind};

use crate::delegation::chain;
use crate::engine::{EngineError, Outcome, Query};

use super::CedarEngine;
use super::index::{Bearers, Number};
use super::names::{SESSION_OPEN, TOOL_GROUP, action_row};
use super::participants::Participant;
use super::policy::{Kind, Policy};
use super::tally::{Said, Tally, size_bytes};

/// What is asked about.
pub(super) struct Target<'a> {
    action: Participant<'a>,
    resource: Participant<'a>,
    tool: Option<&'a str>,
}

/// The context that policies see.
pub(super) struct Contexts {
    /// Complete, or in phase `list` complete but for the arguments.
    pub(super) known: Context,
    /// In phase `list`, for policies that read arguments: the same with these unknown.
    pub(super) partial: Option<Context>,
    /// Arguments that are read and do not fit.
    misfits: Vec<String>,
}

/// How a policy's condition came out.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Held {
    Yes,
    No,
    /// It depends on what phase `list` does not know.
    Open,
    Failed(String),
}

pub(super) type Failure = Box<EngineError>;

fn failure(message: String) -> Failure {
    Box::new(EngineError::fatal(message, ""))
}

/// Evaluates every policy that can have a say.
pub(super) fn evaluate(engine: &CedarEngine, query: &Query<'_>) -> Outcome {
    Evaluation::new(engine, query).run().unwrap_or_else(|error| Outcome::failed(*error))
}

/// One evaluation, step by step.
pub(super) struct Evaluation<'a> {
    engine: &'a CedarEngine,
    query: &'a Query<'a>,
    started: Instant,
}

impl<'a> Evaluation<'a> {
    pub(super) fn new(engine: &'a CedarEngine, query: &'a Query<'a>) -> Self {
        Self { engine, query, started: Instant::now() }
    }

    fn run(&self) -> Result<Outcome, Failure> {
        let target = self.target()?;
        let principals = self.principals()?;
        let contexts = self.contexts(&target)?;
        let mut tally = Tally::default();
        let mut numbers = Vec::new();
        for (position, principal) in principals.iter().enumerate() {
            let asked = Asked { principal, is_actor: position > 0, target: &target };
            let permitted = self.ask(&asked, &contexts, &mut numbers, &mut tally)?;
            if !permitted {
                tally.unpermitted.push(principal);
            }
        }
        tally.settle();
        let said = Said { policies: &self.engine.policies, call: self.query.call, tally: &tally };
        let outcome = said.outcome(&contexts.misfits);
        if size_bytes(&outcome) > self.query.budget.output_bytes {
            let limit = self.query.budget.output_bytes;
            return Err(failure(format!("the policies say more than {limit} bytes")));
        }
        Ok(outcome)
    }

    /// The agent, and every agent on whose behalf it acts.
    pub(super) fn principals(&self) -> Result<Vec<&'a str>, Failure> {
        let call = self.query.call;
        if call.agent.is_none() {
            return Err(failure("the call names no agent".to_owned()));
        }
        let registry = self.query.registry;
        let open = registry.open_types.contains(&ResourceKind::Agent);
        let mut ids = Vec::new();
        for Party { id, .. } in chain(call, registry) {
            if !open && !registry.agents.contains_key(id) {
                return Err(failure(format!("the registry has no agent `{id}`")));
            }
            if !ids.contains(&id.as_str()) {
                ids.push(id);
            }
        }
        Ok(ids)
    }

    /// What is asked about.
    pub(super) fn target(&self) -> Result<Target<'a>, Failure> {
        let call = self.query.call;
        let (names, name) = (&self.engine.names, call.action.name.as_str());
        let resource = match (&call.resource, &call.agent) {
            (Some(resource), _) => (resource.kind, resource.id.as_str()),
            (None, Some(agent)) if name == SESSION_OPEN => (ResourceKind::Agent, agent.id.as_str()),
            _ => return Err(failure(format!("the action `{name}` names no resource"))),
        };
        let (kind, id) = resource;
        let is_asked = if name == TOOL_GROUP {
            kind == ResourceKind::Tool
        } else {
            action_row(name).is_some_and(|row| row.resources.contains(&kind))
        };
        if !is_asked {
            let kind = kind.as_str();
            return Err(failure(format!(
                "no policy can say whether `{name}` on a {kind} is allowed"
            )));
        }
        let is_known = match &call.resource {
            Some(resource) => self.knows(resource),
            None => true,
        };
        if !is_known {
            return Err(failure(format!("the registry has no {} `{id}`", kind.as_str())));
        }
        let tool = (name == TOOL_GROUP).then_some(id);
        let participants = &self.engine.participants;
        Ok(Target {
            action: participants.action(tool.unwrap_or(name), names),
            resource: participants.resource(kind, id, names),
            tool,
        })
    }

    fn knows(&self, resource: &Resource) -> bool {
        let known = self.query.registry.knows(resource);
        // The registry that is asked about must be the one that was loaded.
        known && (resource.kind != ResourceKind::Tool || self.engine.shape.has_action(&resource.id))
    }

    /// What policies see of the call.
    pub(super) fn contexts(&self, target: &Target<'_>) -> Result<Contexts, Failure> {
        let engine = self.engine;
        let parts = engine.shape.parts(
            target.tool,
            &engine.names,
            &engine.makers,
            &engine.reads,
            &engine.no_args,
        );
        if self.query.call.phase != Phase::List {
            let built = parts.concrete(self.query, target.tool.is_some());
            return Ok(Contexts { known: built.context, partial: None, misfits: built.misfits });
        }
        let known = parts.concrete(self.query, false).context;
        let partial = parts.without_args(self.query);
        let partial = partial.ok_or_else(|| failure("the context cannot be made".to_owned()))?;
        Ok(Contexts { known, partial: Some(partial), misfits: Vec::new() })
    }

    /// Asks every policy that can have a say about one principal; whether any permits.
    /// `numbers` is room for their numbers.
    fn ask(
        &self,
        asked: &Asked<'a, '_>,
        contexts: &Contexts,
        numbers: &mut Vec<Number>,
        tally: &mut Tally<'a>,
    ) -> Result<bool, Failure> {
        let (engine, principal) = (self.engine, asked.principal);
        let agent = engine.participants.principal(principal, &engine.names);
        let bearers = asked.target.bearers(&agent);
        engine.index.candidates(bearers, numbers);
        if !contexts.misfits.is_empty() {
            tally.concerned.extend(engine.index.concerned(bearers));
        }
        let evaluator = |context: &Context| self.evaluator(&agent, asked.target, context);
        let known = evaluator(&contexts.known);
        let partial = contexts.partial.as_ref().map(evaluator);
        let actor_call = asked.is_actor.then(|| self.call_of(principal));
        let call = actor_call.as_ref().unwrap_or(self.query.call);
        let mut permitted = false;
        self.check_time()?;
        for number in numbers.iter().copied() {
            let Some(policy) = engine.policy(number) else {
                continue;
            };
            let open = partial.as_ref().filter(|_| policy.reads_args);
            let held = held(open.unwrap_or(&known), policy, open.is_some());
            self.check_time()?;
            let permits = policy.kind == Kind::Permit;
            let counts = !permits || policy.scope.as_ref().is_none_or(|scope| scope.covers(call));
            match held {
                Held::No => {}
                _ if !counts => {}
                Held::Yes => {
                    permitted |= permits && !policy.notes.shadow;
                    tally.held.push((number, principal));
                    tally.note_shadow(number, policy, principal);
                }
                Held::Open => {
                    permitted |= permits && !policy.notes.shadow;
                    tally.note_shadow(number, policy, principal);
                }
                Held::Failed(why) => tally.failed.push((number, why)),
            }
        }
        Ok(permitted)
    }

    /// Evaluates for one principal.
    pub(super) fn evaluator(
        &self,
        agent: &Participant<'_>,
        target: &Target<'_>,
        context: &Context,
    ) -> Evaluator<'a> {
        self.engine.store.evaluator(Request::new_unchecked(
            entry(&agent.uid),
            entry(&target.action.uid),
            entry(&target.resource.uid),
            Some(context.clone()),
        ))
    }

    /// The call as if this actor made it itself, for the scopes of units.
    fn call_of(&self, actor: &str) -> Call {
        let agent = Some(Party::new("agent", actor));
        Call { agent, resource: self.query.call.resource.clone(), ..Call::default() }
    }

    fn check_time(&self) -> Result<(), Failure> {
        let limit = self.query.budget.time;
        if self.started.elapsed() >= limit {
            return Err(failure(format!("evaluation took longer than {} ms", limit.as_millis())));
        }
        Ok(())
    }
}

/// One principal and what it is asked about.
struct Asked<'a, 't> {
    principal: &'a str,
    /// Whether it is behind the agent, which acts for it.
    is_actor: bool,
    target: &'t Target<'a>,
}

impl Target<'_> {
    /// What everybody bears who takes part.
    pub(super) fn bearers<'b>(&'b self, agent: &'b Participant<'_>) -> Bearers<'b> {
        Bearers {
            principal: &agent.marks,
            action: &self.action.marks,
            resource: &self.resource.marks,
        }
    }
}

fn entry(uid: &Arc<EntityUID>) -> EntityUIDEntry {
    EntityUIDEntry::Known { euid: uid.clone(), loc: None }
}

/// How a policy comes out of which everything holds that it insists on; `is_partial`
/// if the context has unknown arguments.
pub(super) fn held(evaluator: &Evaluator<'_>, policy: &Policy, is_partial: bool) -> Held {
    policy.rest.as_ref().map_or(Held::Yes, |rest| came_out(evaluator, rest, is_partial))
}

/// How an expression comes out as a condition.
pub(super) fn came_out(evaluator: &Evaluator<'_>, expr: &Expr, is_partial: bool) -> Held {
    match evaluator.partial_interpret(expr, &SlotEnv::new()) {
        Ok(PartialValue::Value(value)) => match value.value {
            ValueKind::Lit(Literal::Bool(true)) => Held::Yes,
            ValueKind::Lit(Literal::Bool(false)) => Held::No,
            _ => Held::Failed("its condition is neither true nor false".to_owned()),
        },
        Ok(PartialValue::Residual(_)) if !is_partial => {
            Held::Failed("it reads a value that is unknown".to_owned())
        }
        Ok(PartialValue::Residual(rest)) if !can_be_true(&rest) => Held::No,
        Ok(PartialValue::Residual(rest)) if !can_be_false(&rest) => Held::Yes,
        Ok(PartialValue::Residual(_)) => Held::Open,
        Err(error) => Held::Failed(error.to_string()),
    }
}

/// Whether an expression with unknowns can come out true. If not, it comes out
/// false or fails, and a permit made of it never permits.
fn can_be_true(expr: &Expr) -> bool {
    match expr.expr_kind() {
        ExprKind::Lit(literal) => *literal == Literal::Bool(true),
        ExprKind::And { left, right } => can_be_true(left) && can_be_true(right),
        ExprKind::Or { left, right } => can_be_true(left) || can_be_true(right),
        ExprKind::UnaryApp { op: UnaryOp::Not, arg } => can_be_false(arg),
        _ => true,
    }
}

/// Whether an expression with unknowns can come out false. If not, it comes out
/// true or fails, and a forbid made of it hides either way.
fn can_be_false(expr: &Expr) -> bool {
    match expr.expr_kind() {
        ExprKind::Lit(literal) => *literal == Literal::Bool(false),
        ExprKind::And { left, right } => can_be_false(left) || can_be_false(right),
        ExprKind::Or { left, right } => can_be_false(left) && can_be_false(right),
        ExprKind::UnaryApp { op: UnaryOp::Not, arg } => can_be_true(arg),
        _ => true,
    }
}
