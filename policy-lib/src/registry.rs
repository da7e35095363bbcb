//! The signed registry: the only source of agents, users, teams, models, servers
//! and tools. Attributes come from here and are never merged with claims.

use std::collections::BTreeMap;

use lictor_proto::call::{CredentialKind, Resource, ResourceKind};
use lictor_proto::decide::ToolEffect;
use lictor_proto::decision::Confidentiality;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// `data.registry` of a bundle, typed. Its JSON Schema is `proto/schema/registry.schema.json`.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Registry {
    /// Agents by id.
    pub agents: BTreeMap<String, Agent>,
    /// People by id.
    pub users: BTreeMap<String, User>,
    /// Teams by id.
    pub teams: BTreeMap<String, Team>,
    /// Models by `<provider>/<model>`.
    pub models: BTreeMap<String, Model>,
    /// MCP servers by id.
    pub servers: BTreeMap<String, Server>,
    /// Tools by `<server>/<tool>`.
    pub tools: BTreeMap<String, Tool>,
    /// Virtual servers by id.
    pub virtual_servers: BTreeMap<String, VirtualServer>,
    /// Resource types that need no entry.
    pub open_types: Vec<ResourceKind>,
    /// What may be done, by a name that `transferable` of an agent can use.
    pub scopes: BTreeMap<String, Vec<String>>,
    /// Longest delegation of any call, in hops; absent means [`DELEGATION_HOPS_MAX`].
    pub max_delegation_depth: Option<usize>,
}

/// Most hops of any delegation, whatever a registry says: a credential names at most one actor
/// more than this.
pub const DELEGATION_HOPS_MAX: usize = 7;

/// An agent.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Agent {
    /// Registry user or team that answers for it; an ownerless agent is denied.
    pub owner: String,
    /// Its team.
    #[serde(default)]
    pub team: String,
    /// Whether it is served.
    pub status: AgentStatus,
    /// RFC 3339; after it the agent is denied.
    #[serde(default)]
    pub expires: Option<String>,
    /// For people.
    #[serde(default)]
    pub description: String,
    /// Whose software it is.
    #[serde(default)]
    pub party: AgentParty,
    /// Token issuers by which it may act; empty means any that is configured.
    #[serde(default)]
    pub issuers: Vec<String>,
    /// Sorts of credential by which it may act; empty means any.
    #[serde(default)]
    pub credentials: Vec<CredentialKind>,
    /// Names by which credentials may call it.
    #[serde(default)]
    pub identities: Vec<AgentName>,
    /// Agents that may delegate to it; absent means any, empty means none.
    #[serde(default)]
    pub parents: Option<Vec<String>>,
    /// What of its authority others may use for it; absent means all that it may do itself.
    #[serde(default)]
    pub transferable: Option<Vec<String>>,
    /// Longest delegation that it takes part in, in hops; absent means the registry's.
    #[serde(default)]
    pub max_delegation_depth: Option<usize>,
    /// Anything the author wants policies to see.
    #[serde(default)]
    pub attrs: Map<String, Value>,
}

/// Whose software an agent is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum AgentParty {
    /// Ours.
    #[default]
    First,
    /// Somebody else's.
    Third,
}

impl AgentParty {
    /// The name in the registry.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::First => "first",
            Self::Third => "third",
        }
    }
}

/// A name by which a credential may call an agent.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(untagged)]
pub enum AgentName {
    /// A client or actor of a token.
    Client(ClientName),
    /// A SPIFFE ID.
    Spiffe(SpiffeName),
    /// A DNS name of a client certificate.
    Dns(DnsName),
}

impl AgentName {
    /// The name itself, without its issuer.
    #[must_use]
    pub fn text(&self) -> &str {
        match self {
            Self::Client(name) => &name.client_id,
            Self::Spiffe(name) => &name.spiffe_id,
            Self::Dns(name) => &name.dns,
        }
    }
}

/// A client or actor of a token.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ClientName {
    /// The issuer in whose tokens the name counts; absent means any that is configured.
    #[serde(default)]
    pub issuer: Option<String>,
    /// `client_id`, `azp` or `act.sub` of the token.
    pub client_id: String,
}

/// A SPIFFE ID.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SpiffeName {
    /// `spiffe://<trust domain>/<path>`.
    pub spiffe_id: String,
}

/// A DNS name of a client certificate.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DnsName {
    /// The whole name, without wildcards; case does not matter.
    pub dns: String,
}

/// Whether an agent is served.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum AgentStatus {
    /// Served.
    Active,
    /// Seen, not served.
    Suspended,
}

/// A person.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct User {
    /// Address.
    pub email: String,
    /// Teams.
    pub teams: Vec<String>,
    /// Registry user.
    pub manager: String,
    /// Roles.
    pub roles: Vec<String>,
    /// Cost centre.
    pub cost_center: String,
    /// Department.
    pub department: String,
    /// Anything the author wants policies to see.
    pub attrs: Map<String, Value>,
}

/// A team.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Team {
    /// For people.
    pub description: String,
    /// Models that the team may use.
    pub models: Vec<String>,
    /// For policies.
    pub budget: Map<String, Value>,
    /// Anything the author wants policies to see.
    pub attrs: Map<String, Value>,
}

/// A model.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Model {
    /// Who runs it.
    pub provider: String,
    /// Other names that callers use.
    pub aliases: Vec<String>,
    /// Prices; absent means unknown, which is not zero.
    pub prices: Option<Prices>,
    /// Most tokens of one answer.
    pub max_output_tokens: u64,
    /// Anything the author wants policies to see.
    pub attrs: Map<String, Value>,
}

/// Prices in millionths of a US dollar for a million tokens.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Prices {
    /// Tokens sent.
    pub input_usd_micros_per_mtok: u64,
    /// Tokens that came back.
    pub output_usd_micros_per_mtok: u64,
    /// Tokens read from the provider's cache; 0 for the price of those sent.
    #[serde(default)]
    pub cached_usd_micros_per_mtok: u64,
    /// Tokens of hidden reasoning; 0 for the price of those that came back.
    #[serde(default)]
    pub reasoning_usd_micros_per_mtok: u64,
}

/// An MCP server or a provider.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Server {
    /// Where it is; informative.
    pub url: String,
    /// For people.
    pub description: String,
    /// Whether its resources and prompts need no entry of their own.
    pub open: bool,
    /// Anything the author wants policies to see.
    pub attrs: Map<String, Value>,
}

/// A tool.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Tool {
    /// For people.
    pub description: String,
    /// JSON Schema of the arguments.
    pub input_schema: Option<Value>,
    /// `any`: callable without a schema.
    pub schema: Option<AnySchema>,
    /// JSON Schema of structured results, as the server declares it.
    pub output_schema: Option<Value>,
    /// SHA-256 of the RFC 8785 form of the server's whole definition.
    pub pin: String,
    /// What else the server's definition says, as it was pinned. Nothing is decided by it.
    pub declared: Map<String, Value>,
    /// What it does to the world.
    pub annotations: Annotations,
    /// Anything the author wants policies to see.
    pub attrs: Map<String, Value>,
}

/// The one value of `schema`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum AnySchema {
    /// Arguments are not checked.
    Any,
}

/// What a tool does to the world. The defaults are the most restrictive.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Annotations {
    /// Where its results come from.
    pub source: Source,
    /// The most confidential thing it reads.
    pub reads: Option<Confidentiality>,
    /// What it does.
    pub effect: ToolEffect,
    /// Pointers of arguments that say where something goes.
    pub destination_args: Vec<String>,
}

/// Where a tool's results come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Source {
    /// From systems of ours.
    Trusted,
    /// From anybody.
    #[default]
    Untrusted,
    /// From both.
    Mixed,
}

/// A server composed of other servers' tools.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct VirtualServer {
    /// Name shown to clients -> registry tool id.
    pub tools: BTreeMap<String, String>,
    /// For people.
    pub description: String,
}

impl Registry {
    /// Whether the registry has `resource`, or opens its type.
    #[must_use]
    pub fn knows(&self, resource: &Resource) -> bool {
        let listed = match resource.kind {
            ResourceKind::Tool => self.tools.contains_key(&resource.id),
            ResourceKind::Model => self.models.contains_key(&resource.id),
            ResourceKind::Server => {
                self.servers.contains_key(&resource.id)
                    || self.virtual_servers.contains_key(&resource.id)
            }
            ResourceKind::Agent => self.agents.contains_key(&resource.id),
            ResourceKind::Resource | ResourceKind::Prompt => {
                let server = resource.id.split('/').next().unwrap_or_default();
                self.servers.get(server).is_some_and(|server| server.open)
            }
            ResourceKind::Memory => false,
        };
        // A tool without an entry has no schema and no annotations: never open.
        listed || (resource.kind != ResourceKind::Tool && self.open_types.contains(&resource.kind))
    }

    /// What the resource does to the world; unknown is taken for the worst.
    #[must_use]
    pub fn effect_of(&self, resource: &Resource) -> ToolEffect {
        match resource.kind {
            ResourceKind::Tool => {
                self.tools.get(&resource.id).map(|t| t.annotations.effect).unwrap_or_default()
            }
            ResourceKind::Server | ResourceKind::Model => ToolEffect::None,
            ResourceKind::Resource | ResourceKind::Prompt => ToolEffect::None,
            ResourceKind::Agent | ResourceKind::Memory => ToolEffect::Egress,
        }
    }

    /// The registry id of a model, after alias resolution.
    #[must_use]
    pub fn resolve_model<'a>(&'a self, id: &'a str) -> &'a str {
        if self.models.contains_key(id) {
            return id;
        }
        self.models
            .iter()
            .find(|(_, model)| model.aliases.iter().any(|alias| alias == id))
            .map_or(id, |(canonical, _)| canonical)
    }
}
