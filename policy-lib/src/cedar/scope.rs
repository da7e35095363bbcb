//! What a policy insists on before anything of it can fail, and the rest of it.
//!
//! A policy's condition is its scope and then its `when`s and `unless`es, one after
//! the other. A constraint of the scope, and a conjunct that is written like one and
//! stands before all others, compares an entity with a named one: it comes out true
//! or false and never fails, also for entities that do not exist. So a policy of
//! which one of these is false comes out false, and one of which all are true comes
//! out, value or error, as its rest does. That is why a call may pass over the
//! former, and evaluate only the rest of the latter.

use std::sync::Arc;

use cedar_policy_core::ast::{
    ActionConstraint, BinaryOp, EntityReference, EntityType, EntityUID, Expr, ExprBuilder,
    ExprKind, Literal, PrincipalOrResourceConstraint, StaticPolicy, UnaryOp, Var,
};
use cedar_policy_core::expr_builder::ExprBuilder as _;

use super::marks::{Constraint, Mark, Marks};

/// The constraints of all policies, by role.
#[derive(Debug, Default)]
pub(super) struct RoleMarks {
    pub(super) principal: Marks,
    pub(super) action: Marks,
    pub(super) resource: Marks,
}

/// What a policy insists on.
#[derive(Debug)]
pub(super) struct Insists {
    pub(super) principal: Mark,
    /// One of these must be borne.
    pub(super) actions: Box<[Mark]>,
    pub(super) resource: Mark,
    /// Whom the policy is said to concern.
    pub(super) concern: Concern,
}

/// Whom a policy concerns: the first of these that its scope names. An argument that
/// policies cannot read exactly denies a call if a policy that concerns it reads the
/// argument, also where the rest of the scope does not hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Concern {
    /// `resource ==`
    Resource,
    /// `action ==`, `action in`
    Action,
    /// `principal ==`
    Principal,
    /// Everyone.
    All,
}

/// A constraint that owns what it names.
#[derive(Debug, Clone, Default)]
enum Insist {
    #[default]
    Any,
    Same(EntityUID),
    Within(EntityUID),
    Type(EntityType),
    TypeWithin(EntityType, EntityUID),
}

/// What a policy insists on, and what it asks besides: nothing, or an expression that
/// comes out as the whole condition does wherever all that is insisted on holds.
pub(super) fn split(policy: &StaticPolicy, marks: &mut RoleMarks) -> (Insists, Option<Expr>) {
    let mut roles = Roles {
        principal: Insist::of(policy.principal_constraint().as_inner()),
        actions: match policy.action_constraint() {
            ActionConstraint::Any => vec![Insist::Any],
            ActionConstraint::Eq(action) => vec![Insist::Same((**action).clone())],
            ActionConstraint::In(actions) => {
                actions.iter().map(|action| Insist::Within((**action).clone())).collect()
            }
        },
        resource: Insist::of(policy.resource_constraint().as_inner()),
    };
    let concern = roles.concern();
    let mut rest = policy.non_scope_constraints().cloned();
    while let Some(expr) = rest.take() {
        let (first, others) = first_conjunct(&expr);
        if !roles.take(first) {
            rest = Some(expr);
            break;
        }
        rest = others;
    }
    let insists = Insists {
        principal: marks.principal.mark(roles.principal.borrowed()),
        actions: roles.actions.iter().map(|one| marks.action.mark(one.borrowed())).collect(),
        resource: marks.resource.mark(roles.resource.borrowed()),
        concern,
    };
    (insists, rest.map(|rest| as_truth(without_places(rest))))
}

struct Roles {
    principal: Insist,
    actions: Vec<Insist>,
    resource: Insist,
}

impl Roles {
    fn concern(&self) -> Concern {
        let is_same = |insist: &Insist| matches!(insist, Insist::Same(_));
        if is_same(&self.resource) {
            Concern::Resource
        } else if !matches!(self.actions.as_slice(), [] | [Insist::Any]) {
            Concern::Action
        } else if is_same(&self.principal) {
            Concern::Principal
        } else {
            Concern::All
        }
    }

    /// Adds a conjunct to the constraints, if it is one and nothing is in its place.
    fn take(&mut self, conjunct: &Expr) -> bool {
        let Some((var, found)) = constraint(conjunct) else { return false };
        let slot = match var {
            Var::Principal => Some(&mut self.principal),
            Var::Resource => Some(&mut self.resource),
            Var::Action => match self.actions.as_mut_slice() {
                [only @ Insist::Any] => Some(only),
                _ => None,
            },
            Var::Context => None,
        };
        let Some(slot) = slot else { return false };
        let both = match (&*slot, found) {
            (Insist::Any, found) => found,
            (Insist::Type(ty), Insist::Within(entity)) => Insist::TypeWithin(ty.clone(), entity),
            (Insist::Within(entity), Insist::Type(ty)) => Insist::TypeWithin(ty, entity.clone()),
            _ => return false,
        };
        *slot = both;
        true
    }
}

impl Insist {
    fn of(constraint: &PrincipalOrResourceConstraint) -> Self {
        use PrincipalOrResourceConstraint::{Any, Eq, In, Is, IsIn};
        // A slot is refused at load. Were one here, no constraint would be the safe
        // thing: the policy is asked, and fails on the slot.
        match constraint {
            Any | Eq(EntityReference::Slot(_)) | In(EntityReference::Slot(_)) => Self::Any,
            Eq(EntityReference::EUID(entity)) => Self::Same((**entity).clone()),
            In(EntityReference::EUID(entity)) => Self::Within((**entity).clone()),
            Is(ty) | IsIn(ty, EntityReference::Slot(_)) => Self::Type((**ty).clone()),
            IsIn(ty, EntityReference::EUID(entity)) => {
                Self::TypeWithin((**ty).clone(), (**entity).clone())
            }
        }
    }

    fn borrowed(&self) -> Constraint<'_> {
        match self {
            Self::Any => Constraint::Any,
            Self::Same(entity) => Constraint::Same(entity),
            Self::Within(entity) => Constraint::Within(entity),
            Self::Type(ty) => Constraint::Type(ty),
            Self::TypeWithin(ty, entity) => Constraint::TypeWithin(ty, entity),
        }
    }
}

/// The conjunct that is evaluated first, and the others.
fn first_conjunct(expr: &Expr) -> (&Expr, Option<Expr>) {
    let ExprKind::And { left, right } = expr.expr_kind() else { return (expr, None) };
    let (first, others) = first_conjunct(left);
    let others = match others {
        None => (**right).clone(),
        Some(others) => Expr::and(others, (**right).clone()),
    };
    (first, Some(others))
}

/// `principal == X`, `principal in X`, `principal is T`, and the same of others.
fn constraint(expr: &Expr) -> Option<(Var, Insist)> {
    let var = |expr: &Expr| match expr.expr_kind() {
        ExprKind::Var(var) => Some(*var),
        _ => None,
    };
    match expr.expr_kind() {
        ExprKind::Is { expr, entity_type } => Some((var(expr)?, Insist::Type(entity_type.clone()))),
        ExprKind::BinaryApp { op, arg1, arg2 } => {
            let ExprKind::Lit(Literal::EntityUID(entity)) = arg2.expr_kind() else { return None };
            let insist = match op {
                BinaryOp::Eq => Insist::Same,
                BinaryOp::In => Insist::Within,
                _ => return None,
            };
            Some((var(arg1)?, insist((**entity).clone())))
        }
        _ => None,
    }
}

/// The expression as a conjunct is: an error where it comes out as no truth value.
fn as_truth(expr: Expr) -> Expr {
    let is_truth = match expr.expr_kind() {
        ExprKind::Lit(literal) => matches!(literal, Literal::Bool(_)),
        ExprKind::And { .. }
        | ExprKind::Or { .. }
        | ExprKind::HasAttr { .. }
        | ExprKind::ExtHasAttr { .. }
        | ExprKind::Like { .. }
        | ExprKind::Is { .. } => true,
        ExprKind::UnaryApp { op, .. } => matches!(op, UnaryOp::Not | UnaryOp::IsEmpty),
        ExprKind::BinaryApp { op, .. } => match op {
            BinaryOp::Add | BinaryOp::Sub | BinaryOp::Mul | BinaryOp::GetTag => false,
            BinaryOp::Eq
            | BinaryOp::Less
            | BinaryOp::LessEq
            | BinaryOp::In
            | BinaryOp::Contains
            | BinaryOp::ContainsAll
            | BinaryOp::ContainsAny
            | BinaryOp::HasTag => true,
        },
        _ => false,
    };
    if is_truth { expr } else { Expr::and(Expr::val(true), expr) }
}

/// The expression without the places of its parts in the text. Evaluation copies the
/// place of each part into what comes out, and no message shows them.
fn without_places(expr: Expr) -> Expr {
    let each = |parts: Arc<Vec<Expr>>| {
        let parts = Arc::unwrap_or_clone(parts);
        Arc::new(parts.into_iter().map(without_places).collect::<Vec<_>>())
    };
    let kind = match expr.into_expr_kind() {
        leaf @ (ExprKind::Lit(_) | ExprKind::Var(_) | ExprKind::Slot(_) | ExprKind::Unknown(_)) => {
            leaf
        }
        ExprKind::If { test_expr, then_expr, else_expr } => ExprKind::If {
            test_expr: part(test_expr),
            then_expr: part(then_expr),
            else_expr: part(else_expr),
        },
        ExprKind::And { left, right } => ExprKind::And { left: part(left), right: part(right) },
        ExprKind::Or { left, right } => ExprKind::Or { left: part(left), right: part(right) },
        ExprKind::UnaryApp { op, arg } => ExprKind::UnaryApp { op, arg: part(arg) },
        ExprKind::BinaryApp { op, arg1, arg2 } => {
            ExprKind::BinaryApp { op, arg1: part(arg1), arg2: part(arg2) }
        }
        ExprKind::ExtensionFunctionApp { fn_name, args } => {
            ExprKind::ExtensionFunctionApp { fn_name, args: each(args) }
        }
        ExprKind::GetAttr { expr, attr } => ExprKind::GetAttr { expr: part(expr), attr },
        ExprKind::HasAttr { expr, attr } => ExprKind::HasAttr { expr: part(expr), attr },
        ExprKind::ExtHasAttr { expr, attrs } => ExprKind::ExtHasAttr { expr: part(expr), attrs },
        ExprKind::Like { expr, pattern } => ExprKind::Like { expr: part(expr), pattern },
        ExprKind::Is { expr, entity_type } => ExprKind::Is { expr: part(expr), entity_type },
        ExprKind::Set(items) => ExprKind::Set(each(items)),
        ExprKind::Record(members) => {
            let members = Arc::unwrap_or_clone(members).into_iter();
            let members = members.map(|(name, value)| (name, without_places(value)));
            ExprKind::Record(Arc::new(members.collect()))
        }
    };
    ExprBuilder::<()>::new().with_expr_kind(kind)
}

fn part(expr: Arc<Expr>) -> Arc<Expr> {
    Arc::new(without_places(Arc::unwrap_or_clone(expr)))
}

#[cfg(test)]
mod tests {
    use super::{Concern, RoleMarks, split};
    use crate::cedar::marks::ANY;
    use cedar_policy_core::parser::parse_policy;

    /// The marks of one policy by role, and what is left of it.
    fn insists(text: &str) -> ([usize; 3], Concern, Option<String>) {
        let mut marks = RoleMarks::default();
        let (insists, rest) = split(&parse_policy(None, text).unwrap(), &mut marks);
        let count = |mark| usize::from(mark != ANY);
        let actions = insists.actions.iter().map(|mark| count(*mark)).sum();
        let marks = [count(insists.principal), actions, count(insists.resource)];
        (marks, insists.concern, rest.map(|rest| rest.to_string()))
    }

    #[test]
    fn a_scope_is_insisted_on_and_leaves_nothing() {
        let text = "permit(principal == A::P::\"p\", action in [A::Action::\"x\", A::Action::\"y\"], resource is A::T in A::S::\"s\");";
        assert_eq!(insists(text), ([1, 2, 1], Concern::Action, None));
        let any = "permit(principal, action, resource);";
        assert_eq!(insists(any), ([0, 0, 0], Concern::All, None));
        let none = "permit(principal, action in [], resource);";
        assert_eq!(insists(none), ([0, 0, 0], Concern::All, None));
        let owner = "permit(principal in A::P::\"p\", action, resource == A::T::\"t\");";
        assert_eq!(insists(owner), ([1, 0, 1], Concern::Resource, None));
        let one = "permit(principal == A::P::\"p\", action, resource in A::S::\"s\");";
        assert_eq!(insists(one), ([1, 0, 1], Concern::Principal, None));
    }

    #[test]
    fn the_first_conjuncts_count_as_the_scope_as_far_as_they_are_like_it() {
        let when = |text: &str| {
            let text = format!("permit(principal, action, resource) when {{ {text} }};");
            let (marks, concern, rest) = insists(&text);
            assert_eq!(concern, Concern::All, "only the scope itself says whom it concerns");
            (marks, rest.unwrap_or_default())
        };
        assert_eq!(when("principal in A::G::\"g\""), ([1, 0, 0], String::new()));
        let (marks, rest) = when(
            "principal in A::G::\"g\" && resource is A::T && action == A::Action::\"x\" && context.n == 1",
        );
        assert_eq!((marks, rest.as_str()), ([1, 1, 1], "context.n == 1"));
        // What comes behind something that can fail stays where it is.
        let (marks, rest) = when("context.n == 1 && principal in A::G::\"g\"");
        assert_eq!(marks, [0, 0, 0]);
        assert!(rest.contains("&& (principal in"), "{rest}");
        // A place holds one constraint, or a type and a group.
        let (marks, rest) = when(
            "principal is A::P && principal in A::G::\"g\" && principal in A::G::\"h\" && true",
        );
        assert_eq!(marks, [1, 0, 0]);
        assert!(rest.starts_with("(principal in A::G::\"h\")"), "{rest}");
        for other in
            ["principal in [A::G::\"g\"]", "principal != A::P::\"p\"", "context.a in A::G::\"g\""]
        {
            assert_eq!(when(other).0, [0, 0, 0], "{other}");
        }
    }

    #[test]
    fn what_is_left_fails_where_it_is_no_truth() {
        let text =
            "permit(principal, action, resource) when { principal in A::G::\"g\" && context.n };";
        assert_eq!(insists(text).2.as_deref(), Some("true && context.n"));
        let text = "permit(principal, action, resource) when { context.n } unless { context.m };";
        let rest = insists(text).2.unwrap();
        assert!(rest.starts_with("context.n &&"), "{rest}");
    }
}
