//! What a bundle has under which name, for the checks that look for names which it lacks.
//!
//! # Layout
//!
//! - this file: [`Known`], the names of one bundle.
//! - [`domain`]: which members of the input hold which names, or one of a closed set.

use std::collections::BTreeSet;

use lictor_proto::call::ResourceKind;

use crate::diagnostic::suggest;
use crate::registry::Registry;

pub(crate) mod domain;

/// The maps of a registry.
pub(crate) const MAPS: [&str; 7] =
    ["agents", "models", "servers", "teams", "tools", "users", "virtual_servers"];

/// A kind of names.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Kind {
    Agent,
    /// A user or a team.
    Approver,
    Detector,
    Category,
    Label,
    Limit,
    Model,
    /// Anything that calls can be about.
    Resource,
    Server,
    /// A user or an agent.
    Subject,
    Team,
    Tool,
    User,
}

impl Kind {
    /// The map of the registry with this name.
    pub(crate) fn of_map(map: &str) -> Option<Self> {
        Some(match map {
            "agents" => Self::Agent,
            "models" => Self::Model,
            "servers" => Self::Server,
            "teams" => Self::Team,
            "tools" => Self::Tool,
            "users" => Self::User,
            _ => return None,
        })
    }

    /// How messages speak of it.
    pub(crate) fn said(self) -> &'static str {
        match self {
            Self::Agent => "agent",
            Self::Approver => "user or team",
            Self::Detector => "detector",
            Self::Category => "category of findings",
            Self::Label => "label",
            Self::Limit => "limit",
            Self::Model => "model",
            Self::Resource => "tool, model, server or agent",
            Self::Server => "server",
            Self::Subject => "user",
            Self::Team => "team",
            Self::Tool => "tool",
            Self::User => "user",
        }
    }

    /// What to do where no other name is near.
    fn remedy(self) -> &'static str {
        match self {
            Self::Detector | Self::Category => "switch it on in `guardrails`, or mend the name",
            Self::Label => "give it by a rule `labels`, or mend the name",
            Self::Limit => "add it to `limits`, or say `kind`, `max` and `per` in the rule",
            _ => "add it to the registry, or mend the name",
        }
    }

    /// Where such names are given.
    fn home(self) -> &'static str {
        match self {
            Self::Detector | Self::Category => "`guardrails` switches on",
            Self::Label => "a rule `labels` or the registry gives",
            Self::Limit => "`limits` has",
            _ => "the registry has",
        }
    }
}

/// The names of one bundle. What could not be read is taken to have every name.
#[derive(Debug, Clone)]
pub(crate) struct Known<'a> {
    pub(crate) registry: &'a Registry,
    /// Maps of the registry that could not be read whole.
    pub(crate) unread: BTreeSet<&'static str>,
    /// `None` if they could not be read.
    pub(crate) limits: Option<BTreeSet<&'a str>>,
    /// Names and categories of what may be found; `None` if they could not be read.
    pub(crate) detectors: Option<(BTreeSet<String>, BTreeSet<String>)>,
    /// The time of the check.
    pub(crate) now_ms: i64,
}

impl Known<'_> {
    /// Whether there is a `kind` called `id`, or there may be.
    pub(crate) fn has(&self, kind: Kind, id: &str) -> bool {
        let registry = self.registry;
        match kind {
            Kind::Agent => self.unread.contains("agents") || registry.agents.contains_key(id),
            Kind::Approver => self.has(Kind::User, id) || self.has(Kind::Team, id),
            Kind::Subject => self.has(Kind::User, id) || self.has(Kind::Agent, id),
            Kind::Detector => self.detectors.as_ref().is_none_or(|(names, _)| {
                names.contains(id)
                    || id.starts_with("uninspected/")
                    || id.starts_with("detector_failed/")
            }),
            Kind::Category => self.detectors.as_ref().is_none_or(|(_, categories)| {
                categories.contains(id) || matches!(id, "uninspected" | "detector_failed")
            }),
            // Labels are given by policies, which know them.
            Kind::Label => true,
            Kind::Limit => self.limits.as_ref().is_none_or(|limits| limits.contains(id)),
            Kind::Model => self.unread.contains("models") || registry.models.contains_key(id),
            Kind::Server => {
                self.unread.contains("servers")
                    || self.unread.contains("virtual_servers")
                    || registry.servers.contains_key(id)
                    || registry.virtual_servers.contains_key(id)
            }
            Kind::Team => self.unread.contains("teams") || registry.teams.contains_key(id),
            Kind::Tool => self.unread.contains("tools") || registry.tools.contains_key(id),
            Kind::User => self.unread.contains("users") || registry.users.contains_key(id),
            Kind::Resource => self.is_open(id) || !self.kinds_of(id).is_empty(),
        }
    }

    /// Whether resources without an entry may be called `id`.
    fn is_open(&self, id: &str) -> bool {
        let server = id.split('/').next().unwrap_or_default();
        !self.unread.is_empty()
            || !self.registry.open_types.is_empty()
            || self.registry.servers.get(server).is_some_and(|server| server.open)
    }

    /// What a resource called `id` can be; nothing if that is not known.
    pub(crate) fn kinds_of(&self, id: &str) -> BTreeSet<ResourceKind> {
        let registry = self.registry;
        let kinds = [
            (ResourceKind::Tool, registry.tools.contains_key(id)),
            (ResourceKind::Model, registry.models.contains_key(id)),
            (
                ResourceKind::Server,
                registry.servers.contains_key(id) || registry.virtual_servers.contains_key(id),
            ),
            (ResourceKind::Agent, registry.agents.contains_key(id)),
        ];
        kinds.into_iter().filter(|(_, has)| *has).map(|(kind, _)| kind).collect()
    }

    /// Whether every resource is listed, so that what `id` can be is known for certain.
    pub(crate) fn is_closed(&self, id: &str) -> bool {
        !self.is_open(id)
    }

    /// Whether any resource has a name that starts so, or may have.
    pub(crate) fn has_prefix(&self, prefix: &str) -> bool {
        let starts = |id: &str| id.starts_with(prefix) || prefix.starts_with(&format!("{id}/"));
        self.is_open(prefix)
            || self.registry.servers.iter().any(|(id, server)| server.open && starts(id))
            || self.names(Kind::Resource).any(|id| id.starts_with(prefix))
    }

    fn names(&self, kind: Kind) -> Box<dyn Iterator<Item = &str> + '_> {
        let registry = self.registry;
        match kind {
            Kind::Agent => Box::new(registry.agents.keys().map(String::as_str)),
            Kind::Approver => Box::new(self.names(Kind::User).chain(self.names(Kind::Team))),
            Kind::Subject | Kind::User => Box::new(registry.users.keys().map(String::as_str)),
            Kind::Detector => Box::new(
                self.detectors.iter().flat_map(|(names, _)| names.iter().map(String::as_str)),
            ),
            Kind::Category => {
                Box::new(self.detectors.iter().flat_map(|(_, all)| all.iter().map(String::as_str)))
            }
            Kind::Label => Box::new(std::iter::empty()),
            Kind::Limit => Box::new(self.limits.iter().flatten().copied()),
            Kind::Model => Box::new(registry.models.keys().map(String::as_str)),
            Kind::Server => Box::new(
                registry.servers.keys().chain(registry.virtual_servers.keys()).map(String::as_str),
            ),
            Kind::Team => Box::new(registry.teams.keys().map(String::as_str)),
            Kind::Tool => Box::new(registry.tools.keys().map(String::as_str)),
            Kind::Resource => Box::new(
                self.names(Kind::Tool)
                    .chain(self.names(Kind::Model))
                    .chain(self.names(Kind::Server))
                    .chain(self.names(Kind::Agent)),
            ),
        }
    }

    /// What is wrong with the name, and what may have been meant; nothing if it is there.
    pub(crate) fn missing(&self, kind: Kind, id: &str) -> Option<(String, String)> {
        if self.has(kind, id) {
            return None;
        }
        let alias = self.registry.resolve_model(id);
        if matches!(kind, Kind::Model | Kind::Resource) && alias != id {
            let message = format!(
                "`{id}` is another name of the model `{alias}`, which calls never have here"
            );
            return Some((message, format!("write `{alias}`")));
        }
        let message = format!("{} no {} called `{id}`", kind.home(), kind.said());
        let help = suggest(id, self.names(kind)).map(|near| format!("did you mean `{near}`?"));
        Some((message, help.unwrap_or_else(|| kind.remedy().to_owned())))
    }
}
