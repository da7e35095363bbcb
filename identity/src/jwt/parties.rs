//! Subject, agent and the chain between them (RFC 8693 `act`).

use lictor_proto::call::Party;
use lictor_proto::json::{Node, Open, Value};

use super::id_text;
use crate::error::{AuthError, shown};
use crate::settings::ClaimMap;

/// Most actors of one chain, the agent included.
pub(crate) const DELEGATION_MAX_ACTORS: usize = 8;
/// Type of every actor.
const AGENT_TYPE: &str = "agent";
/// Type of a subject that has none of its own.
const SUBJECT_TYPE: &str = "user";
/// Longest type of a subject, bytes.
const TYPE_MAX_BYTES: usize = 32;

/// Whom a token speaks for.
pub(super) struct Parties {
    pub(super) subject: Party,
    pub(super) agent: Option<Party>,
    pub(super) delegation: Vec<Party>,
}

pub(super) fn read(payload: Node, map: &ClaimMap) -> Result<Parties, AuthError> {
    let id = payload.get(&map.subject).ok_or_else(|| AuthError::claim_missing(&map.subject))?;
    let id = id_text(id, &map.subject)?.to_owned();
    let kind = subject_type(&payload, &map.subject_type)?;
    let mut chain = chain(&payload)?.into_iter();
    let agent = match chain.next() {
        Some(actor) => Some(actor),
        None => agent_by_client(&payload, &map.agent)?,
    };
    let delegation = chain.collect();
    let subject = Party { kind, id, claims: Open::from_node(payload) };
    Ok(Parties { subject, agent, delegation })
}

fn subject_type(payload: &Node, claim: &str) -> Result<String, AuthError> {
    let Some(node) = payload.get(claim) else {
        return Ok(SUBJECT_TYPE.to_owned());
    };
    let plain = |text: &&str| {
        text.len() <= TYPE_MAX_BYTES
            && text.starts_with(|c: char| c.is_ascii_lowercase())
            && text.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_')
    };
    node.as_str().filter(plain).map(str::to_owned).ok_or_else(|| {
        AuthError::claim_invalid(
            claim,
            "it must be a short word of lower-case letters, digits and `_`",
        )
    })
}

/// The actors from the outermost, who acts now, inwards to the earliest.
fn chain(payload: &Node) -> Result<Vec<Party>, AuthError> {
    let mut actors: Vec<Party> = Vec::new();
    let mut next = payload.get("act");
    while let Some(act) = next {
        if actors.len() >= DELEGATION_MAX_ACTORS {
            return Err(AuthError::DelegationTooDeep);
        }
        let actor = actor(act)?;
        if actors.iter().any(|earlier| earlier.id == actor.id) {
            return Err(AuthError::DelegationLoop { actor: shown(&actor.id) });
        }
        actors.push(actor);
        next = act.get("act");
    }
    Ok(actors)
}

fn actor(act: &Node) -> Result<Party, AuthError> {
    if !act.is_object() {
        return Err(AuthError::claim_invalid("act", "it must be an object"));
    }
    if let Some(name) = act.case_variant_of(&["sub", "act"]) {
        return Err(AuthError::claim_invalid(name, "it differs from a known claim only by case"));
    }
    let id = act.get("sub").ok_or_else(|| AuthError::claim_missing("act.sub"))?;
    let id = id_text(id, "act.sub")?.to_owned();
    let own = act.members().iter().filter(|member| &*member.key != "act").cloned().collect();
    let claims = Open::from_node(Node { span: act.span, value: Value::Object(own) });
    Ok(Party { kind: AGENT_TYPE.to_owned(), id, claims })
}

/// The client that the token was issued to acts where no actor is named.
fn agent_by_client(payload: &Node, claims: &[String]) -> Result<Option<Party>, AuthError> {
    for claim in claims {
        if let Some(node) = payload.get(claim) {
            return Ok(Some(Party::new(AGENT_TYPE, id_text(node, claim)?)));
        }
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use super::*;
    use lictor_proto::json::scan;

    fn parties(payload: &str) -> Result<Parties, &'static str> {
        let node = scan(payload.as_bytes()).unwrap();
        read(node, &ClaimMap::default()).map_err(|error| error.id())
    }

    fn nested(actors: usize) -> String {
        let mut act = String::new();
        for index in (0..actors).rev() {
            let inner = if act.is_empty() { String::new() } else { format!(",\"act\":{act}") };
            act = format!("{{\"sub\":\"a{index}\"{inner}}}");
        }
        format!("{{\"sub\":\"alice\",\"act\":{act}}}")
    }

    #[test]
    fn the_outermost_actor_is_the_agent() {
        let found = parties(
            r#"{"sub":"alice","client_id":"c","act":{"sub":"a","iss":"i","act":{"sub":"b","act":{"sub":"c"}}}}"#,
        )
        .unwrap();
        let agent = found.agent.unwrap();
        assert_eq!((agent.kind.as_str(), agent.id.as_str()), ("agent", "a"));
        assert_eq!(agent.claims.text(), r#"{"sub":"a","iss":"i"}"#);
        let ids: Vec<&str> = found.delegation.iter().map(|party| party.id.as_str()).collect();
        assert_eq!(ids, ["b", "c"]);
        assert_eq!(found.subject.kind, "user");
        assert!(found.subject.claims.node().pointer("/act/act/sub").is_some());
    }

    #[test]
    fn without_an_actor_the_client_acts() {
        let agent = |payload: &str| parties(payload).map(|found| found.agent.map(|a| a.id));
        assert_eq!(agent(r#"{"sub":"s","client_id":"c","azp":"z"}"#), Ok(Some("c".to_owned())));
        assert_eq!(agent(r#"{"sub":"s","azp":"z"}"#), Ok(Some("z".to_owned())));
        assert_eq!(agent(r#"{"sub":"s"}"#), Ok(None));
        assert_eq!(agent(r#"{"sub":"s","client_id":null,"azp":"z"}"#), Err("claim_invalid"));
    }

    #[test]
    fn the_chain_is_bounded_at_its_edge() {
        let found = parties(&nested(DELEGATION_MAX_ACTORS)).unwrap();
        assert_eq!(found.delegation.len(), DELEGATION_MAX_ACTORS - 1);
        assert_eq!(parties(&nested(DELEGATION_MAX_ACTORS + 1)).err(), Some("delegation_too_deep"));
    }

    #[test]
    fn types_of_subjects_are_plain_words() {
        let kind = |text: &str| {
            parties(&format!("{{\"sub\":\"s\",\"sub_type\":{text}}}"))
                .map(|found| found.subject.kind)
        };
        assert_eq!(kind("\"service\""), Ok("service".to_owned()));
        assert_eq!(
            kind(&format!("\"{}\"", "a".repeat(TYPE_MAX_BYTES))).map(|k| k.len()),
            Ok(TYPE_MAX_BYTES)
        );
        let long = format!("\"{}\"", "a".repeat(TYPE_MAX_BYTES + 1));
        for bad in ["\"\"", "\"User\"", "\"a b\"", "1", "null", "\"a::b\"", &long] {
            assert_eq!(kind(bad).err(), Some("claim_invalid"), "{bad}");
        }
    }
}
