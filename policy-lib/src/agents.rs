//! Which registered agent a credential means: names of identity providers, SPIFFE IDs and DNS
//! names become registry ids before anything else looks at a call.
//!
//! Resolving is idempotent: a registry id stays what it is, so that a recorded call replays.

use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap};

use lictor_proto::call::{Call, CredentialKind, Party};
use lictor_proto::json::node::{Member, Span};
use lictor_proto::json::{Node, Open, Value};

use crate::registry::{AgentName, Registry};

/// Claim of a resolved agent that holds the name that its credential gave.
pub const PRESENTED_AS: &str = "presented_as";
/// Claim that names an issuer (RFC 7519, RFC 8693).
const ISSUER: &str = "iss";

/// Names of agents, made once a bundle.
#[derive(Debug, Default)]
pub(crate) struct AgentNames {
    /// By client id, then by issuer; `None` counts with any.
    clients: HashMap<String, BTreeMap<Option<String>, String>>,
    spiffe: HashMap<String, String>,
    /// In lower case.
    dns: HashMap<String, String>,
}

/// Two agents that one credential could mean.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Clash {
    /// The agent whose name it is.
    pub(crate) agent: String,
    /// Its position in `identities`.
    pub(crate) position: usize,
    /// The name.
    pub(crate) name: String,
    /// The agent that has it already, as its id or as one of its names.
    pub(crate) other: String,
}

impl AgentNames {
    /// The names of a registry, and those that do not lead to exactly one agent.
    pub(crate) fn of(registry: &Registry) -> (Self, Vec<Clash>) {
        let mut names = Self::default();
        let mut clashes = Vec::new();
        for (agent, entry) in &registry.agents {
            for (position, name) in entry.identities.iter().enumerate() {
                let text = name.text();
                let taken = match registry.agents.contains_key(text) && text != agent {
                    true => Some(text.to_owned()),
                    false => names.add(agent, name),
                };
                clashes.extend(taken.map(|other| Clash {
                    agent: agent.clone(),
                    position,
                    name: text.to_owned(),
                    other,
                }));
            }
        }
        (names, clashes)
    }

    /// Adds a name; whose it is already, if anybody's.
    fn add(&mut self, agent: &str, name: &AgentName) -> Option<String> {
        match name {
            AgentName::Client(client) => {
                let issuers = self.clients.entry(client.client_id.clone()).or_default();
                let overlaps = |issuer: &Option<String>| {
                    issuer.is_none() || client.issuer.is_none() || *issuer == client.issuer
                };
                let taken = issuers.iter().find(|(issuer, _)| overlaps(issuer));
                let taken = taken.map(|(_, other)| other.clone());
                issuers.entry(client.issuer.clone()).or_insert_with(|| agent.to_owned());
                taken
            }
            AgentName::Spiffe(name) => self.spiffe.insert(name.spiffe_id.clone(), agent.to_owned()),
            AgentName::Dns(name) => {
                self.dns.insert(name.dns.to_ascii_lowercase(), agent.to_owned())
            }
        }
    }

    /// The agent that `party` is, whatever it calls itself; `None` if nobody of that name is known.
    fn find(&self, party: &Party, name: &str, proof: Proof<'_>) -> Option<&str> {
        let client = || {
            let issuers = self.clients.get(name)?;
            let issuer = own_issuer(party).or(proof.issuer).map(ToOwned::to_owned);
            issuers.get(&issuer).or_else(|| issuers.get(&None))
        };
        let spiffe = || self.spiffe.get(name);
        let found = match proof.kind? {
            CredentialKind::Jwt => client().or_else(spiffe),
            CredentialKind::Spiffe => spiffe(),
            CredentialKind::Mtls => self.dns.get(&name.to_ascii_lowercase()).or_else(spiffe),
            // Their agents are named in our own files, by registry id.
            CredentialKind::ApiKey | CredentialKind::Peer => None,
        };
        found.map(String::as_str)
    }

    /// The call with registry ids in the place of names that credentials use. Borrowed if nothing
    /// changes.
    pub(crate) fn resolve<'a>(&self, registry: &Registry, call: &'a Call) -> Cow<'a, Call> {
        let proof = Proof::of(call);
        let resolved = |party: &Party| self.party(registry, party, proof);
        let agent = call.agent.as_ref().and_then(resolved);
        let actors: Vec<(usize, Party)> = call
            .delegation
            .iter()
            .enumerate()
            .filter_map(|(position, actor)| Some((position, resolved(actor)?)))
            .collect();
        let last = match call.delegation.len().checked_sub(1) {
            Some(end) => actors.last().filter(|(position, _)| *position == end).map(|(_, a)| a),
            None => agent.as_ref(),
        };
        let last = last.or(call.delegation.last()).or(call.agent.as_ref()).map(|by| &*by.id);
        let subject = call.subject.as_ref();
        let subject = subject.and_then(|subject| self.behind(registry, subject, last, proof));
        if agent.is_none() && subject.is_none() && actors.is_empty() {
            return Cow::Borrowed(call);
        }
        let mut call = call.clone();
        call.agent = agent.or(call.agent);
        call.subject = subject.or(call.subject);
        for (position, actor) in actors {
            if let Some(place) = call.delegation.get_mut(position) {
                *place = actor;
            }
        }
        Cow::Owned(call)
    }

    /// The subject as it should be, if that is not as it is: where it is an agent for whom `last`
    /// acts, it is one by whatever name, also if its token did not say so. Tokens of a client's own
    /// name it in `sub` (RFC 9068, 2.2) and rarely say of what type it is.
    fn behind(
        &self,
        registry: &Registry,
        subject: &Party,
        last: Option<&str>,
        proof: Proof<'_>,
    ) -> Option<Party> {
        if subject.kind == AGENT {
            return self.party(registry, subject, proof);
        }
        if registry.users.contains_key(&subject.id) {
            return None;
        }
        let (id, presented_as) = match registry.agents.contains_key(&subject.id) {
            true => (subject.id.as_str(), None),
            false => (self.find(subject, &subject.id, proof)?, Some(subject.id.as_str())),
        };
        let agent = || Party { kind: AGENT.to_owned(), ..with_claim(subject, id, presented_as) };
        (last != Some(id)).then(agent)
    }

    /// The party as it should be, if that is not as it is.
    fn party(&self, registry: &Registry, party: &Party, proof: Proof<'_>) -> Option<Party> {
        if registry.agents.contains_key(&party.id) {
            // What a token says about its own name counts only if the name is the agent's.
            let presented = party.claims.node().get(PRESENTED_AS)?;
            let named = presented.as_str().and_then(|name| self.find(party, name, proof));
            return (named != Some(party.id.as_str())).then(|| with_claim(party, &party.id, None));
        }
        let agent = self.find(party, &party.id, proof)?;
        Some(with_claim(party, agent, Some(&party.id)))
    }
}

/// Type of a party that is an agent.
pub(crate) const AGENT: &str = "agent";

/// What a call is proved with.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Proof<'a> {
    /// The sort of credential.
    pub(crate) kind: Option<CredentialKind>,
    /// Who issued it, if it is a token.
    pub(crate) issuer: Option<&'a str>,
}

impl<'a> Proof<'a> {
    pub(crate) fn of(call: &'a Call) -> Self {
        let kind = call.credential.as_ref().map(|credential| credential.kind);
        let token = matches!(kind, Some(CredentialKind::Jwt | CredentialKind::Spiffe));
        // Whose key it was counts before what is written there: a SPIFFE document's `iss` is
        // whatever its trust domain likes. Only a token has claims; the subject's are all of them.
        let vouches = call.credential.as_ref().map(|credential| credential.issuer.as_str());
        let vouches = vouches.filter(|issuer| !issuer.is_empty());
        let issuer = vouches.or_else(|| call.subject.as_ref().and_then(own_issuer));
        Self { kind, issuer: issuer.filter(|_| token) }
    }
}

/// The issuer that a party's own claims name.
pub(crate) fn own_issuer(party: &Party) -> Option<&str> {
    party.claims.node().get(ISSUER)?.as_str()
}

/// The party under another id, and with this and no other [`PRESENTED_AS`].
fn with_claim(party: &Party, id: &str, presented_as: Option<&str>) -> Party {
    let others = party.claims.node().members().iter().filter(|m| &*m.key != PRESENTED_AS);
    let claim = presented_as.map(|name| Member {
        key: PRESENTED_AS.into(),
        key_span: Span::default(),
        value: Node { span: Span::default(), value: Value::String(name.into()) },
    });
    let members = others.cloned().chain(claim).collect();
    let claims = Node { span: Span::default(), value: Value::Object(members) };
    Party { kind: party.kind.clone(), id: id.to_owned(), claims: Open::from_node(claims) }
}

#[cfg(test)]
#[path = "agents_tests.rs"]
mod tests;
