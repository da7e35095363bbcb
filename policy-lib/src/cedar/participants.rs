//! Who and what takes part in calls: each entity of the store with the marks that it
//! bears, found by its id. Made once at load, so that a call neither makes the name
//! of an entity nor walks its ancestors.

use std::borrow::{Borrow, Cow};
use std::collections::HashSet;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

use cedar_policy_core::ast::{Entity, EntityUID};
use lictor_proto::call::ResourceKind;

use super::marks::{Mark, Marks};
use super::names::Names;
use super::scope::RoleMarks;

const KINDS: [ResourceKind; 7] = [
    ResourceKind::Tool,
    ResourceKind::Model,
    ResourceKind::Server,
    ResourceKind::Resource,
    ResourceKind::Prompt,
    ResourceKind::Agent,
    ResourceKind::Memory,
];

/// One entity that takes part in a call.
#[derive(Debug)]
pub(super) struct Participant<'a> {
    pub(super) uid: Arc<EntityUID>,
    /// What it bears, in order.
    pub(super) marks: Cow<'a, [Mark]>,
}

/// Everything that can take part.
#[derive(Debug)]
pub(super) struct Participants {
    marks: RoleMarks,
    principals: HashSet<Known>,
    actions: HashSet<Known>,
    resources: Vec<(ResourceKind, HashSet<Known>)>,
}

/// An entity of the store under its id; all of one set have the same type.
#[derive(Debug)]
struct Known {
    uid: Arc<EntityUID>,
    marks: Box<[Mark]>,
}

impl Participants {
    /// All entities that can take part, with the marks of all policies.
    pub(super) fn new<'a>(
        entities: impl Iterator<Item = &'a Entity>,
        names: &Names,
        marks: RoleMarks,
    ) -> Self {
        let resources = KINDS.iter().map(|kind| (*kind, HashSet::new())).collect();
        let (principals, actions) = (HashSet::new(), HashSet::new());
        let mut all = Self { marks, principals, actions, resources };
        for entity in entities {
            let ty = entity.uid().entity_type();
            if ty == names.action_type() {
                all.actions.insert(Known::of(entity, &all.marks.action));
                continue;
            }
            if ty == names.resource_type(ResourceKind::Agent) {
                all.principals.insert(Known::of(entity, &all.marks.principal));
            }
            let kinds = all.resources.iter_mut();
            for (_, known) in kinds.filter(|(kind, _)| ty == names.resource_type(*kind)) {
                known.insert(Known::of(entity, &all.marks.resource));
            }
        }
        all
    }

    /// An agent.
    pub(super) fn principal(&self, id: &str, names: &Names) -> Participant<'_> {
        lend(self.principals.get(id), || names.agent(id), &self.marks.principal)
    }

    /// An action.
    pub(super) fn action(&self, name: &str, names: &Names) -> Participant<'_> {
        lend(self.actions.get(name), || names.action(name), &self.marks.action)
    }

    /// What is asked about.
    pub(super) fn resource(&self, kind: ResourceKind, id: &str, names: &Names) -> Participant<'_> {
        let known = self.resources.iter().find(|(of, _)| *of == kind);
        let known = known.and_then(|(_, known)| known.get(id));
        lend(known, || names.resource(kind, id), &self.marks.resource)
    }
}

/// The entity as known, or by itself: one that the store lacks is below nothing.
fn lend<'a>(
    known: Option<&'a Known>,
    uid: impl FnOnce() -> EntityUID,
    marks: &Marks,
) -> Participant<'a> {
    match known {
        Some(known) => Participant { uid: known.uid.clone(), marks: Cow::Borrowed(&known.marks) },
        None => {
            let uid = uid();
            let marks = marks.borne(&uid, std::iter::empty()).into_vec();
            Participant { uid: Arc::new(uid), marks: Cow::Owned(marks) }
        }
    }
}

impl Known {
    fn of(entity: &Entity, marks: &Marks) -> Self {
        let marks = marks.borne(entity.uid(), entity.ancestors());
        Self { uid: Arc::new(entity.uid().clone()), marks }
    }

    fn id(&self) -> &str {
        self.uid.eid().as_ref()
    }
}

impl Borrow<str> for Known {
    fn borrow(&self) -> &str {
        self.id()
    }
}

impl Hash for Known {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.id().hash(state);
    }
}

impl PartialEq for Known {
    fn eq(&self, other: &Self) -> bool {
        self.id() == other.id()
    }
}

impl Eq for Known {}
