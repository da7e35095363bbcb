//! The registry's entries as Cedar entities, in both directions: their types as
//! schema text and the entities themselves.

use std::collections::{BTreeMap, BTreeSet, HashSet};

use cedar_policy_core::ast::{Entity, EntityUID, Value};
use lictor_proto::call::ResourceKind;
use lictor_proto::decision::Confidentiality;

use crate::registry::{AgentStatus, Prices, Registry, Source};

use super::super::names::Names;
use super::super::reads::MemberNames;
use super::attrs::Attrs;
use super::types::{Makers, Record, write_record};

/// The fixed part of each entity type; `{}` stands for its free attributes.
const ENTITY_TYPES: [(&str, &str); 6] = [
    (
        "Agent in [Team]",
        r#""owner": String, "team"?: Team, "status": String, "description": String, "party": String, "parents"?: Set<String>, "transferable"?: Set<String>, "attrs": {}"#,
    ),
    (
        "User in [Team]",
        r#""email": String, "manager"?: User, "teams": Set<String>, "roles": Set<String>, "cost_center": String, "department": String, "attrs": {}"#,
    ),
    ("Team", r#""description": String, "models": Set<String>, "budget": {budget}, "attrs": {}"#),
    ("Server", r#""url": String, "description": String, "open": Bool, "attrs": {}"#),
    (
        "Tool in [Server]",
        r#""source": String, "reads"?: String, "effect": String, "destination_args": Set<String>, "attrs": {}"#,
    ),
    (
        "Model in [Server]",
        r#""provider": String, "max_output_tokens": Long, "prices"?: {"input_usd_micros_per_mtok": Long, "output_usd_micros_per_mtok": Long, "cached_usd_micros_per_mtok": Long, "reasoning_usd_micros_per_mtok": Long}, "attrs": {}"#,
    ),
];

/// How the registry's entries look in Cedar.
#[derive(Debug, Default)]
pub(super) struct EntityShapes {
    agents: Attrs,
    users: Attrs,
    teams: Attrs,
    budgets: Attrs,
    servers: Attrs,
    tools: Attrs,
    models: Attrs,
}

impl EntityShapes {
    pub(super) fn of(registry: &Registry) -> Self {
        Self {
            agents: Attrs::of(registry.agents.iter().map(|(id, entry)| (id, &entry.attrs))),
            users: Attrs::of(registry.users.iter().map(|(id, entry)| (id, &entry.attrs))),
            teams: Attrs::of(registry.teams.iter().map(|(id, entry)| (id, &entry.attrs))),
            budgets: Attrs::of(registry.teams.iter().map(|(id, entry)| (id, &entry.budget))),
            servers: Attrs::of(registry.servers.iter().map(|(id, entry)| (id, &entry.attrs))),
            tools: Attrs::of(registry.tools.iter().map(|(id, entry)| (id, &entry.attrs))),
            models: Attrs::of(registry.models.iter().map(|(id, entry)| (id, &entry.attrs))),
        }
    }

    /// Where attributes are that have no type, and their pointers.
    pub(super) fn left_out(&self) -> Vec<(&'static str, Vec<String>)> {
        let all = [
            ("attrs of agents", &self.agents),
            ("attrs of users", &self.users),
            ("attrs of teams", &self.teams),
            ("budget of teams", &self.budgets),
            ("attrs of servers", &self.servers),
            ("attrs of tools", &self.tools),
            ("attrs of models", &self.models),
        ];
        let found = all.map(|(place, attrs)| (place, attrs.left_out()));
        found.into_iter().filter(|(_, pointers)| !pointers.is_empty()).collect()
    }

    /// Appends the declarations of all entity types.
    pub(super) fn declare(&self, out: &mut String) {
        let budget = record_text(&self.budgets.record);
        let free =
            [&self.agents, &self.users, &self.teams, &self.servers, &self.tools, &self.models];
        for ((head, fixed), attrs) in ENTITY_TYPES.iter().zip(free) {
            let fixed = fixed.strip_suffix("{}").unwrap_or(fixed).replace("{budget}", &budget);
            let attrs = record_text(&attrs.record);
            out.push_str(&format!("  entity {head} {{ {fixed}{attrs} }};\n"));
        }
        out.push_str("  entity Resource in [Server];\n  entity Prompt in [Server];\n");
        out.push_str("  entity Memory;\n");
    }

    /// All entities of the registry, with the attributes that are `read`, or all of them.
    pub(super) fn build(
        &self,
        registry: &Registry,
        names: &Names,
        makers: &Makers,
        read: Option<&MemberNames>,
    ) -> Vec<Entity> {
        let maker = Maker { shapes: self, registry, names, makers, read };
        let mut entities = Vec::new();
        entities.extend(registry.agents.keys().filter_map(|id| maker.agent(id)));
        entities.extend(registry.users.keys().filter_map(|id| maker.user(id)));
        entities.extend(registry.teams.keys().filter_map(|id| maker.team(id)));
        entities.extend(registry.tools.keys().filter_map(|id| maker.tool(id)));
        entities.extend(registry.models.keys().filter_map(|id| maker.model(id)));
        entities.extend(server_ids(registry).into_iter().map(|id| maker.server(id)));
        entities
    }
}

fn record_text(record: &Record) -> String {
    let mut text = String::new();
    write_record(record, &mut text);
    text
}

/// The server that a tool, resource or prompt belongs to.
pub(super) fn first_segment(id: &str) -> &str {
    id.split('/').next().unwrap_or_default()
}

/// Who runs a model.
pub(super) fn provider_of<'a>(registry: &'a Registry, model: &'a str) -> &'a str {
    let named = registry.models.get(model).map(|entry| entry.provider.as_str());
    named.filter(|provider| !provider.is_empty()).unwrap_or_else(|| first_segment(model))
}

/// Every server that the registry names, also only as part of a tool or model.
pub(in super::super) fn server_ids(registry: &Registry) -> BTreeSet<&str> {
    let mut ids: BTreeSet<&str> = registry.servers.keys().map(String::as_str).collect();
    ids.extend(registry.virtual_servers.keys().map(String::as_str));
    ids.extend(registry.tools.keys().map(|id| first_segment(id)));
    ids.extend(registry.models.keys().map(|id| provider_of(registry, id)));
    ids
}

struct Maker<'a> {
    shapes: &'a EntityShapes,
    registry: &'a Registry,
    names: &'a Names,
    makers: &'a Makers,
    read: Option<&'a MemberNames>,
}

type Attributes = Vec<(&'static str, Value)>;

impl Maker<'_> {
    fn agent(&self, id: &str) -> Option<Entity> {
        let entry = self.registry.agents.get(id)?;
        let status = match entry.status {
            AgentStatus::Active => "active",
            AgentStatus::Suspended => "suspended",
        };
        let mut attributes = vec![
            ("owner", Value::from(entry.owner.as_str())),
            ("status", Value::from(status)),
            ("description", Value::from(entry.description.as_str())),
            ("party", Value::from(entry.party.as_str())),
            ("attrs", self.free(&self.shapes.agents, id)),
        ];
        let lists = [("parents", &entry.parents), ("transferable", &entry.transferable)];
        let lists = lists.into_iter().filter_map(|(name, list)| Some((name, list.as_ref()?)));
        attributes.extend(lists.map(|(name, list)| (name, strings(list))));
        let teams: Vec<EntityUID> = [entry.team.as_str()]
            .into_iter()
            .filter(|team| self.registry.teams.contains_key(*team))
            .map(|team| self.names.team(team))
            .collect();
        attributes.extend(teams.iter().map(|team| ("team", Value::from(team.clone()))));
        Some(self.entity(self.names.agent(id), attributes, teams))
    }

    fn user(&self, id: &str) -> Option<Entity> {
        let entry = self.registry.users.get(id)?;
        let mut attributes = vec![
            ("email", Value::from(entry.email.as_str())),
            ("teams", strings(&entry.teams)),
            ("roles", strings(&entry.roles)),
            ("cost_center", Value::from(entry.cost_center.as_str())),
            ("department", Value::from(entry.department.as_str())),
            ("attrs", self.free(&self.shapes.users, id)),
        ];
        if self.registry.users.contains_key(&entry.manager) {
            attributes.push(("manager", Value::from(self.names.user(&entry.manager))));
        }
        let teams = entry.teams.iter().map(|team| self.names.team(team)).collect();
        Some(self.entity(self.names.user(id), attributes, teams))
    }

    fn team(&self, id: &str) -> Option<Entity> {
        let entry = self.registry.teams.get(id)?;
        let attributes = vec![
            ("description", Value::from(entry.description.as_str())),
            ("models", strings(&entry.models)),
            ("budget", self.free(&self.shapes.budgets, id)),
            ("attrs", self.free(&self.shapes.teams, id)),
        ];
        Some(self.entity(self.names.team(id), attributes, Vec::new()))
    }

    fn tool(&self, id: &str) -> Option<Entity> {
        let annotations = &self.registry.tools.get(id)?.annotations;
        let source = match annotations.source {
            Source::Trusted => "trusted",
            Source::Untrusted => "untrusted",
            Source::Mixed => "mixed",
        };
        let mut attributes = vec![
            ("source", Value::from(source)),
            ("effect", Value::from(annotations.effect.as_str())),
            ("destination_args", strings(&annotations.destination_args)),
            ("attrs", self.free(&self.shapes.tools, id)),
        ];
        if let Some(reads) = annotations.reads {
            attributes.push(("reads", Value::from(confidentiality(reads))));
        }
        let server = self.names.server(first_segment(id));
        Some(self.entity(self.names.resource(ResourceKind::Tool, id), attributes, vec![server]))
    }

    fn model(&self, id: &str) -> Option<Entity> {
        let entry = self.registry.models.get(id)?;
        let provider = provider_of(self.registry, id);
        let mut attributes = vec![
            ("provider", Value::from(provider)),
            ("max_output_tokens", whole(entry.max_output_tokens)),
            ("attrs", self.free(&self.shapes.models, id)),
        ];
        attributes.extend(entry.prices.as_ref().map(|prices| ("prices", price_list(prices))));
        let server = self.names.server(provider);
        Some(self.entity(self.names.resource(ResourceKind::Model, id), attributes, vec![server]))
    }

    fn server(&self, id: &str) -> Entity {
        let entry = self.registry.servers.get(id);
        let virtual_server = self.registry.virtual_servers.get(id);
        let url = entry.map_or("", |entry| &entry.url);
        let description = entry
            .map(|entry| &entry.description)
            .or(virtual_server.map(|server| &server.description))
            .map_or("", |text| text.as_str());
        let attributes = vec![
            ("url", Value::from(url)),
            ("description", Value::from(description)),
            ("open", Value::from(entry.is_some_and(|entry| entry.open))),
            ("attrs", self.free(&self.shapes.servers, id)),
        ];
        self.entity(self.names.server(id), attributes, Vec::new())
    }

    /// The free attributes of one entry, as far as they are typed.
    fn free(&self, attrs: &Attrs, id: &str) -> Value {
        attrs.value(id, self.makers)
    }

    /// An entity with those of its attributes that any policy names.
    fn entity(&self, uid: EntityUID, attributes: Attributes, parents: Vec<EntityUID>) -> Entity {
        let read = attributes
            .into_iter()
            .filter(|(name, _)| self.read.is_none_or(|read| read.contains(name)));
        let read = read.map(|(name, value)| (name.into(), value.into()));
        let parents: HashSet<EntityUID> = parents.into_iter().collect();
        Entity::new_with_attr_partial_value(uid, read, HashSet::new(), parents, BTreeMap::new())
    }
}

/// Texts as a set.
pub(super) fn strings<'a>(texts: impl IntoIterator<Item = &'a String>) -> Value {
    Value::set(texts.into_iter().map(|text| Value::from(text.as_str())), None)
}

/// A count; one beyond Cedar's integers counts as the largest.
pub(super) fn whole(count: u64) -> Value {
    Value::from(i64::try_from(count).unwrap_or(i64::MAX))
}

/// The name of a confidentiality label in Lictor JSON.
pub(super) fn confidentiality(label: Confidentiality) -> &'static str {
    match label {
        Confidentiality::Public => "public",
        Confidentiality::Internal => "internal",
        Confidentiality::Secret => "secret",
    }
}

fn price_list(prices: &Prices) -> Value {
    let members = [
        ("input_usd_micros_per_mtok", prices.input_usd_micros_per_mtok),
        ("output_usd_micros_per_mtok", prices.output_usd_micros_per_mtok),
        ("cached_usd_micros_per_mtok", prices.cached_usd_micros_per_mtok),
        ("reasoning_usd_micros_per_mtok", prices.reasoning_usd_micros_per_mtok),
    ];
    Value::record(members.map(|(name, price)| (name, whole(price))), None)
}
