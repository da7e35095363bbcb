//! What policies insist on, as small numbers. A mark stands for one constraint on a
//! principal, an action or a resource. Each entity bears the marks of the constraints
//! that hold for it, so that whether a scope holds is a search in a short list.

use std::collections::HashMap;

use cedar_policy_core::ast::{EntityType, EntityUID};

/// The number of a constraint.
pub(super) type Mark = u32;

/// The mark of no constraint, which every entity bears. Lists of marks leave it out.
pub(super) const ANY: Mark = 0;

/// What can be insisted on without being able to fail, whatever the entity is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Constraint<'a> {
    /// Nothing.
    Any,
    /// `== X`
    Same(&'a EntityUID),
    /// `in X`
    Within(&'a EntityUID),
    /// `is T`
    Type(&'a EntityType),
    /// `is T in X`
    TypeWithin(&'a EntityType, &'a EntityUID),
}

/// The constraints of all policies on the entities of one role.
#[derive(Debug, Default)]
pub(super) struct Marks {
    by_entity: HashMap<EntityUID, OfEntity>,
    by_type: HashMap<EntityType, Mark>,
    last: Mark,
}

/// The constraints that name one entity.
#[derive(Debug, Default)]
struct OfEntity {
    same: Option<Mark>,
    within: Option<Mark>,
    typed: Vec<(EntityType, Mark)>,
}

impl Marks {
    /// The mark of a constraint; equal ones have the same.
    pub(super) fn mark(&mut self, constraint: Constraint<'_>) -> Mark {
        let next = self.last.saturating_add(1);
        let mark = match constraint {
            Constraint::Any => return ANY,
            Constraint::Same(entity) => *self.of(entity).same.get_or_insert(next),
            Constraint::Within(entity) => *self.of(entity).within.get_or_insert(next),
            Constraint::Type(ty) => *self.by_type.entry(ty.clone()).or_insert(next),
            Constraint::TypeWithin(ty, entity) => {
                let typed = &mut self.of(entity).typed;
                match typed.iter().find(|(known, _)| known == ty) {
                    Some((_, mark)) => *mark,
                    None => {
                        typed.push((ty.clone(), next));
                        next
                    }
                }
            }
        };
        self.last = self.last.max(mark);
        mark
    }

    fn of(&mut self, entity: &EntityUID) -> &mut OfEntity {
        // Most entities are named often: only the first time costs a copy.
        if !self.by_entity.contains_key(entity) {
            self.by_entity.insert(entity.clone(), OfEntity::default());
        }
        self.by_entity.entry(entity.clone()).or_default()
    }

    /// The marks that an entity with these ancestors bears, in order.
    pub(super) fn borne<'a>(
        &self,
        entity: &EntityUID,
        ancestors: impl Iterator<Item = &'a EntityUID>,
    ) -> Box<[Mark]> {
        let ty = entity.entity_type();
        let mut marks: Vec<Mark> = self.by_type.get(ty).copied().into_iter().collect();
        if let Some(own) = self.by_entity.get(entity) {
            marks.extend(own.same);
            own.add_within(ty, &mut marks);
        }
        for named in ancestors.filter_map(|ancestor| self.by_entity.get(ancestor)) {
            named.add_within(ty, &mut marks);
        }
        marks.sort_unstable();
        marks.dedup();
        marks.into_boxed_slice()
    }
}

impl OfEntity {
    /// Adds what holds for whoever of this type is the entity or below it.
    fn add_within(&self, ty: &EntityType, marks: &mut Vec<Mark>) {
        marks.extend(self.within);
        marks.extend(self.typed.iter().filter(|(wanted, _)| wanted == ty).map(|(_, mark)| *mark));
    }
}

#[cfg(test)]
mod tests {
    use super::{ANY, Constraint, Mark, Marks};
    use cedar_policy_core::ast::{EntityType, EntityUID};

    fn uid(text: &str) -> EntityUID {
        text.parse().unwrap()
    }

    #[test]
    fn equal_constraints_have_one_mark_and_different_ones_two() {
        let mut marks = Marks::default();
        let (a, b) = (uid("A::T::\"a\""), uid("A::T::\"b\""));
        let (t, u): (EntityType, EntityType) = ("A::T".parse().unwrap(), "A::U".parse().unwrap());
        let all = [
            Constraint::Same(&a),
            Constraint::Same(&b),
            Constraint::Within(&a),
            Constraint::Type(&t),
            Constraint::Type(&u),
            Constraint::TypeWithin(&t, &a),
            Constraint::TypeWithin(&u, &a),
            Constraint::TypeWithin(&u, &b),
        ];
        let first: Vec<Mark> = all.iter().map(|constraint| marks.mark(*constraint)).collect();
        let again: Vec<Mark> = all.iter().map(|constraint| marks.mark(*constraint)).collect();
        assert_eq!(first, (1..=8).collect::<Vec<Mark>>());
        assert_eq!(again, first);
        assert_eq!(marks.mark(Constraint::Any), ANY);
    }

    #[test]
    fn an_entity_bears_what_holds_for_it_and_its_ancestors() {
        let mut marks = Marks::default();
        let (a, group) = (uid("A::T::\"a\""), uid("A::G::\"g\""));
        let (t, g): (EntityType, EntityType) = ("A::T".parse().unwrap(), "A::G".parse().unwrap());
        let same = marks.mark(Constraint::Same(&a));
        let within_itself = marks.mark(Constraint::Within(&a));
        let same_group = marks.mark(Constraint::Same(&group));
        let within = marks.mark(Constraint::Within(&group));
        let ty = marks.mark(Constraint::Type(&t));
        let typed = marks.mark(Constraint::TypeWithin(&t, &group));
        let other = marks.mark(Constraint::TypeWithin(&g, &group));
        let borne = |uid: &EntityUID, ancestors: &[&EntityUID]| {
            marks.borne(uid, ancestors.iter().copied()).into_vec()
        };
        assert_eq!(borne(&a, &[&group]), [same, within_itself, within, ty, typed]);
        assert_eq!(borne(&a, &[]), [same, within_itself, ty]);
        assert_eq!(borne(&group, &[]), [same_group, within, other]);
        assert_eq!(borne(&uid("A::T::\"unknown\""), &[]), [ty]);
        assert!(borne(&uid("A::X::\"unknown\""), &[]).is_empty());
    }
}
