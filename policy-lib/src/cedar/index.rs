//! Which policies can hold for a call, by the equalities in their scopes. A policy
//! that is passed over would have been false, never an error: scopes cannot fail.

use std::collections::HashMap;

use cedar_policy_core::ast::{
    ActionConstraint, EntityReference, EntityUID, PrincipalOrResourceConstraint, StaticPolicy,
};

/// Policies, by number, under the entities that their scopes insist on.
#[derive(Debug, Default)]
pub(super) struct Index {
    always: Vec<usize>,
    by_entity: HashMap<EntityUID, Vec<usize>>,
}

impl Index {
    /// Adds the policy of this number.
    pub(super) fn add(&mut self, number: usize, policy: &StaticPolicy) {
        let keys = keys_of(policy);
        if keys.is_empty() {
            self.always.push(number);
        }
        for key in keys {
            self.by_entity.entry(key).or_default().push(number);
        }
    }

    /// The policies that can hold where these entities take part: principal,
    /// resource, action, and the groups of the action. In order, each once.
    pub(super) fn candidates(&self, entities: &[&EntityUID]) -> Vec<usize> {
        let found = entities.iter().filter_map(|entity| self.by_entity.get(*entity)).flatten();
        let mut numbers: Vec<usize> = self.always.iter().chain(found).copied().collect();
        numbers.sort_unstable();
        numbers.dedup();
        numbers
    }
}

/// The entities of which one must take part; empty if the scope insists on none.
fn keys_of(policy: &StaticPolicy) -> Vec<EntityUID> {
    if let Some(resource) = equal_to(policy.resource_constraint().as_inner()) {
        return vec![resource];
    }
    match policy.action_constraint() {
        ActionConstraint::Eq(action) => return vec![(**action).clone()],
        ActionConstraint::In(actions) if !actions.is_empty() => {
            return actions.iter().map(|action| (**action).clone()).collect();
        }
        _ => {}
    }
    equal_to(policy.principal_constraint().as_inner()).into_iter().collect()
}

fn equal_to(constraint: &PrincipalOrResourceConstraint) -> Option<EntityUID> {
    match constraint {
        PrincipalOrResourceConstraint::Eq(EntityReference::EUID(entity)) => {
            Some((**entity).clone())
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::Index;
    use cedar_policy_core::ast::EntityUID;

    const POLICIES: [&str; 6] = [
        "permit(principal, action, resource);",
        "permit(principal, action == A::Action::\"x\", resource);",
        "permit(principal, action in [A::Action::\"x\", A::Action::\"group\"], resource);",
        "permit(principal, action == A::Action::\"x\", resource == A::T::\"t\");",
        "permit(principal == A::P::\"p\", action, resource);",
        "permit(principal in A::P::\"p\", action, resource is A::T);",
    ];

    fn candidates(entities: &[&str]) -> Vec<usize> {
        let mut index = Index::default();
        for (number, text) in POLICIES.iter().enumerate() {
            index.add(number, &cedar_policy_core::parser::parse_policy(None, text).unwrap());
        }
        let entities: Vec<EntityUID> = entities.iter().map(|text| text.parse().unwrap()).collect();
        index.candidates(&entities.iter().collect::<Vec<_>>())
    }

    #[test]
    fn only_scopes_that_cannot_hold_are_passed_over() {
        assert_eq!(candidates(&[]), [0, 5]);
        assert_eq!(candidates(&["A::Action::\"x\"", "A::Action::\"group\""]), [0, 1, 2, 5]);
        assert_eq!(candidates(&["A::Action::\"y\"", "A::Action::\"group\""]), [0, 2, 5]);
        assert_eq!(candidates(&["A::T::\"t\"", "A::P::\"p\""]), [0, 3, 4, 5]);
    }
}
