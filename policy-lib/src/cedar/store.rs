//! The entities, built once at load. They are lent to evaluators and leave this
//! module in no other way, so that no call can copy or change them.

use cedar_policy_core::ast::{Entity, Request};
use cedar_policy_core::entities::{Entities, NoEntitiesSchema, TCComputation};
use cedar_policy_core::evaluator::Evaluator;
use cedar_policy_core::extensions::Extensions;

/// All entities that policies can reach. Deliberately not `Clone`.
#[derive(Debug)]
pub(super) struct Store {
    entities: Entities,
}

impl Store {
    /// Takes the entities and computes who is in which group.
    ///
    /// # Errors
    /// Cedar's text, if an entity occurs twice or groups contain each other.
    pub(super) fn new(entities: Vec<Entity>) -> Result<Self, String> {
        let extensions = Extensions::all_available();
        let schema: Option<&NoEntitiesSchema> = None;
        Entities::from_entities(entities, schema, TCComputation::ComputeNow, extensions)
            .map(|entities| Self { entities })
            .map_err(|error| error.to_string())
    }

    /// Every entity, for what is made of them at load.
    pub(super) fn iter(&self) -> impl Iterator<Item = &Entity> {
        self.entities.iter()
    }

    /// An evaluator of one request over the entities, without copying them.
    pub(super) fn evaluator(&self, request: Request) -> Evaluator<'_> {
        Evaluator::new(request, &self.entities, Extensions::all_available())
    }
}

#[cfg(test)]
mod tests {
    use super::Store;

    trait Ambiguous<Marker> {
        fn holds() {}
    }
    struct Cloneable;
    impl<T> Ambiguous<()> for T {}
    impl<T: Clone> Ambiguous<Cloneable> for T {}

    /// Does not compile if the store can be cloned: the call would be ambiguous.
    #[test]
    fn entities_cannot_be_cloned_per_call() {
        <Store as Ambiguous<_>>::holds();
    }
}
