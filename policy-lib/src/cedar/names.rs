//! The Cedar names of what the registry and the protocols have.

use cedar_policy_core::ast::{Eid, EntityType, EntityUID, Name};
use lictor_proto::call::ResourceKind;

/// The namespace of everything that Lictor makes.
pub(super) const NAMESPACE: &str = "Lictor";
/// The group of every tool's action; never an action of a call by itself.
pub(super) const TOOL_GROUP: &str = "tools/call";
/// The action that may lack a resource: its resource is then the agent itself.
pub(super) const SESSION_OPEN: &str = "session/open";

/// Entity types that only the registry makes.
pub(super) const REGISTRY_TYPES: [&str; 6] = ["Agent", "Model", "Server", "Team", "Tool", "User"];

/// An action that is no tool.
#[derive(Debug)]
pub(super) struct ActionRow {
    /// Its name.
    pub(super) name: &'static str,
    /// What it can be done to.
    pub(super) resources: &'static [ResourceKind],
}

const fn row(name: &'static str, resources: &'static [ResourceKind]) -> ActionRow {
    ActionRow { name, resources }
}

use ResourceKind::{Agent, Memory, Model, Prompt, Resource, Server, Tool};

/// Every action but the tools' own, by name.
pub(super) const ACTIONS: [ActionRow; 27] = [
    row("a2a/message", &[Agent]),
    row("completion/complete", &[Prompt, Resource, Server]),
    row("elicitation/create", &[Server]),
    row("llm/chat", &[Model]),
    row("llm/embed", &[Model]),
    row("llm/other", &[Model, Server]),
    row("llm/responses", &[Model]),
    row("logging/setLevel", &[Server]),
    row("mcp/connect", &[Server]),
    row("prompts/get", &[Prompt]),
    row("prompts/list", &[Server]),
    row("resources/list", &[Server]),
    row("resources/read", &[Memory, Resource]),
    row("resources/subscribe", &[Resource, Server]),
    row("resources/templates/list", &[Server]),
    row("resources/unsubscribe", &[Resource, Server]),
    row("roots/list", &[Server]),
    row("sampling/createMessage", &[Server]),
    row("server/discover", &[Server]),
    row(SESSION_OPEN, &[Agent, Server]),
    row("subscriptions/listen", &[Server]),
    row("tasks/cancel", &[Server, Tool]),
    row("tasks/get", &[Server, Tool]),
    row("tasks/list", &[Server, Tool]),
    row("tasks/result", &[Server, Tool]),
    row("tasks/update", &[Server, Tool]),
    row("tools/list", &[Server]),
];

/// The row of an action that is no tool.
pub(super) fn action_row(name: &str) -> Option<&'static ActionRow> {
    ACTIONS.iter().find(|row| row.name == name)
}

/// The entity type of a resource, without namespace.
pub(super) fn type_of(kind: ResourceKind) -> &'static str {
    match kind {
        Agent => "Agent",
        Memory => "Memory",
        Model => "Model",
        Prompt => "Prompt",
        Resource => "Resource",
        Server => "Server",
        Tool => "Tool",
    }
}

/// The entity types of namespace `Lictor`, parsed once.
#[derive(Debug)]
pub(super) struct Names {
    action: EntityType,
    agent: EntityType,
    memory: EntityType,
    model: EntityType,
    prompt: EntityType,
    resource: EntityType,
    server: EntityType,
    team: EntityType,
    tool: EntityType,
    user: EntityType,
}

impl Names {
    /// `None` only if Cedar does not take the names for names.
    pub(super) fn new() -> Option<Self> {
        let ty = |name: &str| format!("{NAMESPACE}::{name}").parse::<Name>().ok().map(Into::into);
        Some(Self {
            action: ty("Action")?,
            agent: ty("Agent")?,
            memory: ty("Memory")?,
            model: ty("Model")?,
            prompt: ty("Prompt")?,
            resource: ty("Resource")?,
            server: ty("Server")?,
            team: ty("Team")?,
            tool: ty("Tool")?,
            user: ty("User")?,
        })
    }

    pub(super) fn action(&self, id: &str) -> EntityUID {
        uid(&self.action, id)
    }

    pub(super) fn agent(&self, id: &str) -> EntityUID {
        uid(&self.agent, id)
    }

    pub(super) fn server(&self, id: &str) -> EntityUID {
        uid(&self.server, id)
    }

    pub(super) fn team(&self, id: &str) -> EntityUID {
        uid(&self.team, id)
    }

    pub(super) fn user(&self, id: &str) -> EntityUID {
        uid(&self.user, id)
    }

    pub(super) fn resource(&self, kind: ResourceKind, id: &str) -> EntityUID {
        uid(self.resource_type(kind), id)
    }

    pub(super) fn action_type(&self) -> &EntityType {
        &self.action
    }

    pub(super) fn resource_type(&self, kind: ResourceKind) -> &EntityType {
        match kind {
            Agent => &self.agent,
            Memory => &self.memory,
            Model => &self.model,
            Prompt => &self.prompt,
            Resource => &self.resource,
            Server => &self.server,
            Tool => &self.tool,
        }
    }
}

fn uid(ty: &EntityType, id: &str) -> EntityUID {
    EntityUID::from_components(ty.clone(), Eid::new(id), None)
}

#[cfg(test)]
mod tests {
    use super::{ACTIONS, Names, SESSION_OPEN, TOOL_GROUP, action_row};

    #[test]
    fn actions_are_sorted_and_the_group_is_none_of_them() {
        assert!(ACTIONS.is_sorted_by_key(|row| row.name));
        assert!(action_row(TOOL_GROUP).is_none());
        assert!(action_row(SESSION_OPEN).is_some());
    }

    #[test]
    fn ids_are_taken_as_they_are() {
        let names = Names::new().unwrap();
        let uid = names.agent("a\"b\\c\n");
        assert_eq!(uid.eid().as_ref() as &str, "a\"b\\c\n");
        assert_eq!(uid.entity_type().to_string(), "Lictor::Agent");
    }
}
