//! Agents of the registry: what their entries name must be there, and what can be read of them
//! once is read here.

use std::collections::BTreeMap;

use lictor_proto::json::node::escape_token;

use super::data::Places;
use crate::agents::{AgentNames, Clash};
use crate::delegation::AgentRules;
use crate::diagnostic::{Diagnostic, suggest};
use crate::registry::{Agent, Registry};
use crate::transfer::{Grant, GrantError, grants_of};

const FILE: &str = "data.json";

/// What the agents of a registry are reduced to.
#[derive(Debug, Default)]
pub(super) struct Agents {
    pub(super) names: AgentNames,
    pub(super) rules: BTreeMap<String, AgentRules>,
}

/// Reads all agents. `now_ms` tells which have expired.
pub(super) fn read(
    registry: &Registry,
    places: &Places<'_>,
    now_ms: i64,
    found: &mut Vec<Diagnostic>,
) -> Agents {
    let (names, clashes) = AgentNames::of(registry);
    found.extend(clashes.iter().map(|clash| clashing(clash, places)));
    let mut reader = Reader { registry, places, now_ms, found };
    reader.scopes();
    let rules = registry.agents.iter().map(|(id, agent)| (id.clone(), reader.agent(id, agent)));
    let rules = rules.collect();
    Agents { names, rules }
}

fn clashing(clash: &Clash, places: &Places<'_>) -> Diagnostic {
    let Clash { agent, position, name, other } = clash;
    let (line, col) = places.at(&pointer(agent, &format!("identities/{position}")));
    let message = match agent == other {
        true => format!("agent `{agent}`: the identity `{name}` is there twice"),
        false => format!("agent `{agent}`: the identity `{name}` is agent `{other}`'s"),
    };
    Diagnostic::error("agent_identity", FILE, message)
        .at(line, col)
        .help("a credential must lead to one agent: remove one of the two")
}

fn pointer(agent: &str, member: &str) -> String {
    format!("/registry/agents/{}/{member}", escape_token(agent))
}

struct Reader<'a> {
    registry: &'a Registry,
    places: &'a Places<'a>,
    now_ms: i64,
    found: &'a mut Vec<Diagnostic>,
}

impl Reader<'_> {
    fn report(&mut self, diagnostic: Diagnostic, pointer: &str, help: impl Into<String>) {
        let (line, col) = self.places.at(pointer);
        self.found.push(diagnostic.at(line, col).help(help));
    }

    fn agent(&mut self, id: &str, agent: &Agent) -> AgentRules {
        self.owner(id, agent);
        self.team(id, agent);
        self.parents(id, agent);
        AgentRules {
            expires_ms: self.expiry(id, agent),
            transferable: self.transferable(id, agent),
        }
    }

    fn owner(&mut self, id: &str, agent: &Agent) {
        let (users, teams) = (&self.registry.users, &self.registry.teams);
        if users.contains_key(&agent.owner) || teams.contains_key(&agent.owner) {
            return;
        }
        let message = format!(
            "agent `{id}` is owned by `{}`, which is no user or team: it is denied",
            agent.owner
        );
        let owners = users.keys().chain(teams.keys());
        let help = meant(&agent.owner, owners.map(String::as_str));
        let warning = Diagnostic::warning("registry_reference", FILE, message);
        self.report(warning, &pointer(id, "owner"), help);
    }

    /// A policy that names a team must not pass over an agent because of a slip.
    fn team(&mut self, id: &str, agent: &Agent) {
        let teams = &self.registry.teams;
        if agent.team.is_empty() || teams.contains_key(&agent.team) {
            return;
        }
        let message =
            format!("agent `{id}` is of team `{}`, which is not in the registry", agent.team);
        let help = meant(&agent.team, teams.keys().map(String::as_str));
        let error = Diagnostic::error("registry_reference", FILE, message);
        self.report(error, &pointer(id, "team"), help);
    }

    fn parents(&mut self, id: &str, agent: &Agent) {
        let agents = &self.registry.agents;
        for (position, parent) in agent.parents.iter().flatten().enumerate() {
            let (message, help) = if parent == id {
                let message = format!("agent `{id}` is among its own `parents`");
                (message, "an agent that acts for itself is a loop and denied".to_owned())
            } else if agents.contains_key(parent) {
                continue;
            } else {
                let message = format!("agent `{id}`: the parent `{parent}` is not in the registry");
                (message, meant(parent, agents.keys().map(String::as_str)))
            };
            let warning = Diagnostic::warning("registry_reference", FILE, message);
            self.report(warning, &pointer(id, &format!("parents/{position}")), help);
        }
    }

    fn expiry(&mut self, id: &str, agent: &Agent) -> Option<i64> {
        let text = agent.expires.as_ref()?;
        let at = pointer(id, "expires");
        let Ok(time) = text.parse::<jiff::Timestamp>() else {
            let message = format!("agent `{id}`: `expires` is `{text}`, not RFC 3339");
            let error = Diagnostic::error("registry_invalid", FILE, message);
            self.report(error, &at, "write a time such as `2030-01-31T00:00:00Z`");
            return None;
        };
        let expires_ms = time.as_millisecond();
        if expires_ms <= self.now_ms {
            let message = format!("agent `{id}` has expired at `{text}`: it is denied");
            let warning = Diagnostic::warning("agent_expired", FILE, message);
            self.report(warning, &at, "remove the agent, or give it a later time");
        }
        Some(expires_ms)
    }

    fn scopes(&mut self) {
        for (name, entries) in &self.registry.scopes {
            for (position, entry) in entries.iter().enumerate() {
                let at = format!("/registry/scopes/{}/{position}", escape_token(name));
                match Grant::read(entry) {
                    Ok(grant) => self.resource_of(&grant, &format!("scope `{name}`"), &at),
                    Err(error) => self.bad_grant(&format!("scope `{name}`"), &error, &at),
                }
            }
        }
    }

    fn transferable(&mut self, id: &str, agent: &Agent) -> Option<Vec<Grant>> {
        let mut grants = Vec::new();
        for (position, entry) in agent.transferable.as_ref()?.iter().enumerate() {
            let at = pointer(id, &format!("transferable/{position}"));
            let what = format!("agent `{id}`");
            match grants_of(entry, &self.registry.scopes) {
                Ok(read) => {
                    // What a scope names is reported where the scope stands.
                    let own = read.iter().filter(|_| !self.registry.scopes.contains_key(entry));
                    own.for_each(|grant| self.resource_of(grant, &what, &at));
                    grants.extend(read);
                }
                Err(error) => self.bad_grant(&what, &error, &at),
            }
        }
        Some(grants)
    }

    fn bad_grant(&mut self, what: &str, error: &GrantError, at: &str) {
        let error = Diagnostic::error("agent_transferable", FILE, format!("{what}: {error}"));
        self.report(error, at, "");
    }

    fn resource_of(&mut self, grant: &Grant, what: &str, at: &str) {
        let Some(resource) = grant.resource() else { return };
        let registry = self.registry;
        // Resources and prompts of a server have no entries of their own.
        let server = resource.split('/').next().unwrap_or_default();
        let open = registry.servers.get(server).is_some_and(|server| server.open);
        let maps = [registry.tools.contains_key(resource), registry.models.contains_key(resource)];
        let others = registry.servers.contains_key(resource)
            || registry.virtual_servers.contains_key(resource)
            || registry.agents.contains_key(resource);
        if open || others || maps.contains(&true) || !registry.open_types.is_empty() {
            return;
        }
        let known =
            registry.tools.keys().chain(registry.agents.keys()).chain(registry.models.keys());
        let help = meant(resource, known.map(String::as_str));
        let message = format!("{what} hands on `{resource}`, which is not in the registry");
        let warning = Diagnostic::warning("registry_reference", FILE, message);
        self.report(warning, at, help);
    }
}

fn meant<'a>(name: &str, known: impl IntoIterator<Item = &'a str>) -> String {
    suggest(name, known).map(|near| format!("did you mean `{near}`?")).unwrap_or_default()
}

#[cfg(test)]
#[path = "agents_tests.rs"]
mod tests;
