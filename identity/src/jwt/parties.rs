//! Subject, agent and the chain between them (RFC 8693 `act`).

use lictor_proto::call::Party;
use lictor_proto::json::{Member, Node, Open, Value};

use super::id_text;
use crate::error::{AuthError, shown};
use crate::settings::ClaimMap;

/// Most actors of one chain, the agent included.
pub(crate) const DELEGATION_MAX_ACTORS: usize = 8;
/// Type of every actor.
pub(super) const AGENT_TYPE: &str = "agent";
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

/// Reads whom `payload` speaks for, as its issuer `iss` says it.
pub(super) fn read(payload: Node, map: &ClaimMap, iss: &str) -> Result<Parties, AuthError> {
    let id = payload.get(&map.subject).ok_or_else(|| AuthError::claim_missing(&map.subject))?;
    let id = id_text(id, &map.subject)?.to_owned();
    let kind = subject_type(&payload, &map.subject_type)?;
    let chain = chain(&payload)?;
    check_subject(&chain, &kind, &id, iss)?;
    if let Some(permitted) = payload.get("may_act") {
        check_permitted(permitted, chain.first(), iss)?;
    }
    let mut chain = chain.into_iter();
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
        if actors.iter().any(|earlier| is_same(earlier, &actor.id, iss_of(&actor))) {
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
    if let Some(name) = act.case_variant_of(&["sub", "iss", "act", "cnf"]) {
        return Err(AuthError::claim_invalid(name, "it differs from a known claim only by case"));
    }
    if act.get("cnf").is_some() {
        let why = "an actor of `act` is bound by itself, and only the token's own `cnf` is checked";
        return Err(AuthError::BindingUnknown { why });
    }
    let id = act.get("sub").ok_or_else(|| AuthError::claim_missing("act.sub"))?;
    let id = id_text(id, "act.sub")?.to_owned();
    if let Some(iss) = act.get("iss") {
        id_text(iss, "act.iss")?;
    }
    let own = act.members().iter().filter(|member| &*member.key != "act").cloned().collect();
    let claims = Open::from_node(Node { span: act.span, value: Value::Object(own) });
    Ok(Party { kind: AGENT_TYPE.to_owned(), id, claims })
}

fn iss_of(actor: &Party) -> Option<&str> {
    actor.claims.node().get("iss").and_then(Node::as_str)
}

/// Whether an actor is who `id` of `iss` is. Names are unique with one issuer only, so another
/// issuer makes another actor; where one of the two names no issuer, they count as the same.
fn is_same(actor: &Party, id: &str, iss: Option<&str>) -> bool {
    actor.id == id && iss_of(actor).zip(iss).is_none_or(|(one, other)| one == other)
}

/// An agent that acts for itself through others would hide behind them.
fn check_subject(chain: &[Party], kind: &str, id: &str, iss: &str) -> Result<(), AuthError> {
    let loops = kind == AGENT_TYPE && chain.iter().any(|actor| is_same(actor, id, Some(iss)));
    if loops { Err(AuthError::DelegationLoop { actor: shown(id) }) } else { Ok(()) }
}

/// Holds the actor that acts now against `may_act` (RFC 8693, 4.4): each of its members must be
/// the actor's own. An actor without `iss` is one of the token's issuer.
fn check_permitted(permitted: &Node, actor: Option<&Party>, iss: &str) -> Result<(), AuthError> {
    if !permitted.is_object() {
        return Err(AuthError::claim_invalid("may_act", "it must be an object"));
    }
    if let Some(name) = permitted.case_variant_of(&["sub", "iss"]) {
        return Err(AuthError::claim_invalid(name, "it differs from a known claim only by case"));
    }
    let sub = permitted.get("sub").ok_or_else(|| AuthError::claim_missing("may_act.sub"))?;
    id_text(sub, "may_act.sub")?;
    let Some(actor) = actor else {
        return Ok(());
    };
    let own = actor.claims.node();
    let has = |member: &Member| match own.get(&member.key) {
        Some(value) => value.canonical() == member.value.canonical(),
        None => &*member.key == "iss" && member.value.as_str() == Some(iss),
    };
    if permitted.members().iter().all(has) { Ok(()) } else { Err(AuthError::ActorNotPermitted) }
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
        read(node, &ClaimMap::default(), "i").map_err(|error| error.id())
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
    fn another_issuer_makes_another_actor() {
        let chain = |outer: &str, inner: &str| {
            let act = format!(r#"{{"sub":"a"{outer},"act":{{"sub":"a"{inner}}}}}"#);
            parties(&format!(r#"{{"sub":"alice","act":{act}}}"#)).err()
        };
        assert_eq!(chain(r#","iss":"x""#, r#","iss":"y""#), None);
        assert_eq!(chain(r#","iss":"x""#, r#","iss":"x""#), Some("delegation_loop"));
        assert_eq!(chain(r#","iss":"x""#, ""), Some("delegation_loop"));
        assert_eq!(chain("", ""), Some("delegation_loop"));
        assert_eq!(chain(r#","iss":1"#, ""), Some("claim_invalid"));
    }

    #[test]
    fn an_agent_does_not_act_for_itself_through_others() {
        let ask = |kind: &str, actor: &str| {
            let act = format!(r#"{{"sub":"b","act":{actor}}}"#);
            parties(&format!(r#"{{"sub":"a","sub_type":"{kind}","act":{act}}}"#)).err()
        };
        assert_eq!(ask("agent", r#"{"sub":"a"}"#), Some("delegation_loop"));
        assert_eq!(ask("agent", r#"{"sub":"a","iss":"i"}"#), Some("delegation_loop"));
        assert_eq!(ask("agent", r#"{"sub":"a","iss":"other"}"#), None);
        assert_eq!(ask("user", r#"{"sub":"a"}"#), None);
    }

    #[test]
    fn the_actor_is_the_one_that_the_token_permits() {
        let ask = |may_act: &str, act: &str| {
            parties(&format!(r#"{{"sub":"alice","may_act":{may_act}{act}}}"#)).err()
        };
        let act = r#","act":{"sub":"a","act":{"sub":"b"}}"#;
        assert_eq!(ask(r#"{"sub":"a"}"#, act), None);
        assert_eq!(ask(r#"{"sub":"a","iss":"i"}"#, act), None);
        assert_eq!(ask(r#"{"sub":"b"}"#, ""), None);
        for other in
            [r#"{"sub":"b"}"#, r#"{"sub":"a","iss":"other"}"#, r#"{"sub":"a","sub_profile":"p"}"#]
        {
            assert_eq!(ask(other, act), Some("may_act_mismatch"), "{other}");
        }
        assert_eq!(ask("\"a\"", act), Some("claim_invalid"));
        assert_eq!(ask(r#"{"sub":1}"#, ""), Some("claim_invalid"));
        assert_eq!(ask(r#"{"iss":"i"}"#, act), Some("claim_missing"));
        assert_eq!(ask(r#"{"Sub":"a","sub":"a"}"#, act), Some("claim_invalid"));
    }

    #[test]
    fn what_is_said_about_an_actor_is_kept() {
        let act = r#"{"sub":"a","iss":"x","sub_profile":"ai_agent"}"#;
        let found = parties(&format!(r#"{{"sub":"alice","act":{act}}}"#)).unwrap();
        assert_eq!(found.agent.unwrap().claims.text(), act);
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
