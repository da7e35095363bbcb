//! Who acts for whom: whether every agent of a call may act, and whether each may act for the one
//! behind it. What B does for A is never more than A hands on.
//!
//! The chain of a call is its agent, then the actors of `delegation`, then the subject where that
//! is an agent too: each acts for the one after it. Whether any of them *may* do what is asked is
//! for the engines; Cedar asks about every one of them.

use std::collections::BTreeMap;

use lictor_proto::call::{Call, CredentialKind, Party};
use lictor_proto::decision::Reason;
use lictor_proto::reason;

use crate::agents::{AGENT, Proof, own_issuer};
use crate::registry::{Agent, AgentStatus, DELEGATION_HOPS_MAX, Registry};
use crate::transfer::Grant;

/// What the loader has read of an agent's entry.
#[derive(Debug, Clone, Default)]
pub(crate) struct AgentRules {
    /// When it expires, in Unix milliseconds.
    pub(crate) expires_ms: Option<i64>,
    /// What others may do for it; `None`: all that it may do itself.
    pub(crate) transferable: Option<Vec<Grant>>,
}

/// The agents of a call: who acts, for whom, for whom, …. The subject is the last of them where it
/// is an agent and does not merely act for itself.
pub(crate) fn chain<'a>(call: &'a Call, registry: &Registry) -> Vec<&'a Party> {
    let mut chain: Vec<&Party> = call.agent.iter().chain(&call.delegation).collect();
    if let Some(subject) = call.subject.as_ref().filter(|subject| is_agent(subject, registry)) {
        let itself = chain.last().is_some_and(|last| last.id == subject.id);
        if !itself {
            chain.push(subject);
        }
    }
    chain
}

/// Whether a subject is software that hands on its own authority.
fn is_agent(subject: &Party, registry: &Registry) -> bool {
    let registered = registry.agents.contains_key(&subject.id);
    subject.kind == AGENT || registered && !registry.users.contains_key(&subject.id)
}

/// One call before the agents of the registry.
pub(crate) struct Agents<'a> {
    /// The registry.
    pub(crate) registry: &'a Registry,
    /// What was read of its agents.
    pub(crate) rules: &'a BTreeMap<String, AgentRules>,
    /// The moment, in Unix milliseconds.
    pub(crate) now_ms: i64,
}

impl Agents<'_> {
    /// Checks every agent of a call and every hop between them.
    ///
    /// # Errors
    /// The reason of a denial that no policy can change.
    pub(crate) fn check(&self, call: &Call) -> Result<(), Reason> {
        let Some(agent) = &call.agent else {
            return Err(Reason::new(reason::AGENT_UNKNOWN, "the credential names no agent"));
        };
        let chain = chain(call, self.registry);
        self.depth(&chain)?;
        let proof = Proof::of(call);
        let mut entries = Vec::with_capacity(chain.len());
        for party in &chain {
            let entry = self.active(&party.id)?;
            issuer(party, entry, proof)?;
            entries.push(entry);
        }
        if let Some(entry) = entries.first() {
            credential(agent, entry, proof)?;
        }
        unlooped(&chain)?;
        self.agreed_depth(&chain, &entries)?;
        for (hop, entry) in chain.windows(2).zip(&entries) {
            if let [by, from] = hop {
                accepted(by, from, entry)?;
            }
        }
        chain.iter().skip(1).try_for_each(|from| self.transferable(from, call))
    }

    /// The entry of an agent that is served.
    ///
    /// # Errors
    /// [`reason::AGENT_UNKNOWN`] or [`reason::AGENT_INACTIVE`].
    pub(crate) fn active(&self, id: &str) -> Result<&Agent, Reason> {
        let registry = self.registry;
        let Some(agent) = registry.agents.get(id) else {
            let message = format!("the agent `{id}` is not in the registry");
            return Err(about(id, Reason::new(reason::AGENT_UNKNOWN, message)));
        };
        let inactive = |why: &str| {
            let message = format!("the agent `{id}` is not served");
            Err(about(id, Reason::new(reason::AGENT_INACTIVE, message).with_detail(why)))
        };
        if agent.status != AgentStatus::Active {
            return inactive("its status is `suspended`");
        }
        if !registry.users.contains_key(&agent.owner) && !registry.teams.contains_key(&agent.owner)
        {
            return inactive("its owner is neither a user nor a team of the registry");
        }
        match self.rules.get(id).and_then(|rules| rules.expires_ms) {
            Some(expires_ms) if expires_ms <= self.now_ms => inactive("it has expired"),
            _ => Ok(agent),
        }
    }

    /// The registry's own bound, before anything is done for every actor.
    fn depth(&self, chain: &[&Party]) -> Result<(), Reason> {
        let max = self.registry.max_delegation_depth.unwrap_or(DELEGATION_HOPS_MAX);
        let max = max.min(DELEGATION_HOPS_MAX);
        match chain.len().saturating_sub(1) {
            hops if hops > max => Err(too_deep(hops, max, "the registry")),
            _ => Ok(()),
        }
    }

    fn agreed_depth(&self, chain: &[&Party], entries: &[&Agent]) -> Result<(), Reason> {
        let hops = chain.len().saturating_sub(1);
        for (party, entry) in chain.iter().zip(entries) {
            if let Some(max) = entry.max_delegation_depth.filter(|max| hops > *max) {
                let by = format!("the agent `{}`", party.id);
                return Err(about(&party.id, too_deep(hops, max, &by)));
            }
        }
        Ok(())
    }

    fn transferable(&self, from: &Party, call: &Call) -> Result<(), Reason> {
        let rules = self.rules.get(&from.id);
        let Some(grants) = rules.and_then(|rules| rules.transferable.as_ref()) else {
            return Ok(());
        };
        if grants.iter().any(|grant| grant.covers(call)) {
            return Ok(());
        }
        let resource = call.resource.as_ref().map_or("", |resource| resource.id.as_str());
        let message =
            format!("the agent `{}` does not hand on this part of its authority", from.id);
        let detail = format!("`{}` on `{resource}` is not among `transferable`", call.action.name);
        let refused = Reason::new(reason::DELEGATION_NOT_TRANSFERABLE, message);
        Err(about(&from.id, refused.with_detail(detail)))
    }
}

/// The same reason, with the registry entry that it comes from.
fn about(id: &str, reason: Reason) -> Reason {
    Reason { policy: format!("{REGISTRY_PLACE}{id}"), ..reason }
}

/// What stands before an agent's id where a reason names its registry entry.
pub const REGISTRY_PLACE: &str = "registry/agents/";

fn too_deep(hops: usize, max: usize, by: &str) -> Reason {
    let message = format!("the delegation has {hops} hops, {by} allows {max}");
    Reason::new(reason::DELEGATION_TOO_DEEP, message)
}

/// An agent that is bound to issuers counts only where they are named: by the token, and by the
/// actor's own claim if it makes one.
fn issuer(party: &Party, entry: &Agent, proof: Proof<'_>) -> Result<(), Reason> {
    let listed = |issuer: &str| entry.issuers.iter().any(|known| known == issuer);
    let own = own_issuer(party).is_none_or(listed);
    if entry.issuers.is_empty() || own && proof.issuer.is_some_and(listed) {
        return Ok(());
    }
    let message = format!("the agent `{}` may not act by tokens of this issuer", party.id);
    let detail = match proof.issuer {
        Some(issuer) => format!("the token's issuer is `{issuer}`"),
        None => "the credential names no issuer".to_owned(),
    };
    let refused = Reason::new(reason::AGENT_ISSUER_REFUSED, message).with_detail(detail);
    Err(about(&party.id, refused))
}

/// Only the agent itself presents the credential; those behind it are named by its issuer.
fn credential(agent: &Party, entry: &Agent, proof: Proof<'_>) -> Result<(), Reason> {
    if entry.credentials.is_empty() || proof.kind.is_some_and(|k| entry.credentials.contains(&k)) {
        return Ok(());
    }
    let message = format!("the agent `{}` may not act by this sort of credential", agent.id);
    let detail = format!("it is `{}`", proof.kind.map_or("none", CredentialKind::as_str));
    let refused = Reason::new(reason::AGENT_CREDENTIAL_REFUSED, message).with_detail(detail);
    Err(about(&agent.id, refused))
}

fn unlooped(chain: &[&Party]) -> Result<(), Reason> {
    for (position, party) in chain.iter().enumerate() {
        if chain.iter().skip(position + 1).any(|later| later.id == party.id) {
            let message = format!("the agent `{}` stands in the delegation twice", party.id);
            return Err(about(&party.id, Reason::new(reason::DELEGATION_LOOP, message)));
        }
    }
    Ok(())
}

fn accepted(by: &Party, from: &Party, entry: &Agent) -> Result<(), Reason> {
    match &entry.parents {
        Some(parents) if !parents.contains(&from.id) => {
            let message = format!("the agent `{}` does not act for `{}`", by.id, from.id);
            let detail = "it is not among `parents`";
            let refused = Reason::new(reason::DELEGATION_REFUSED, message).with_detail(detail);
            Err(about(&by.id, refused))
        }
        _ => Ok(()),
    }
}
