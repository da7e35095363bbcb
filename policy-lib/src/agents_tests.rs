use proptest::prelude::*;

use super::*;

fn registry() -> Registry {
    serde_json::from_str(
        r#"{"agents": {
            "planner": {"owner": "o", "status": "active", "identities": [
                {"issuer": "https://a", "client_id": "c-1"}, {"spiffe_id": "spiffe://d/planner"}]},
            "mailer": {"owner": "o", "status": "active", "identities": [
                {"issuer": "https://b", "client_id": "c-1"}, {"client_id": "c-2"}, {"dns": "Mailer.Example"}]}
        }}"#,
    )
    .unwrap()
}

/// A call by `agent` with this credential; claims are those of a token of `https://a`.
fn call(kind: &str, agent: &str) -> Call {
    let text = format!(
        r#"{{"subject": {{"type": "user", "id": "alice", "claims": {{"iss": "https://a"}}}},
            "agent": {{"type": "agent", "id": "{agent}", "claims": {{"x": 1}}}},
            "credential": {{"kind": "{kind}", "id": "k"}}}}"#
    );
    Call::from_json(text.as_bytes()).unwrap()
}

fn names() -> AgentNames {
    let (names, clashes) = AgentNames::of(&registry());
    assert_eq!(clashes, []);
    names
}

/// The agent's id and what it was presented as.
fn agent(call: &Call) -> (String, Option<String>) {
    let resolved = names().resolve(&registry(), call).into_owned();
    let agent = resolved.agent.unwrap();
    let presented = agent.claims.node().get(PRESENTED_AS).and_then(Node::as_str);
    (agent.id.clone(), presented.map(ToOwned::to_owned))
}

fn id(kind: &str, name: &str) -> String {
    agent(&call(kind, name)).0
}

#[test]
fn a_name_of_a_credential_becomes_the_registry_id() {
    assert_eq!(agent(&call("jwt", "c-1")), ("planner".into(), Some("c-1".into())));
    assert_eq!(id("jwt", "c-2"), "mailer", "of any issuer");
    assert_eq!(id("spiffe", "spiffe://d/planner"), "planner");
    assert_eq!(id("mtls", "spiffe://d/planner"), "planner");
    assert_eq!(id("mtls", "mailer.EXAMPLE"), "mailer");
    let mut other = call("jwt", "c-1");
    other.subject.as_mut().unwrap().claims = Open::parse(br#"{"iss": "https://b"}"#).unwrap();
    assert_eq!(agent(&other).0, "mailer", "the same client id of another issuer");
    let resolved = names().resolve(&registry(), &call("jwt", "c-1")).into_owned();
    assert_eq!(resolved.agent.unwrap().claims.text(), r#"{"x":1,"presented_as":"c-1"}"#);
}

#[test]
fn a_name_counts_only_in_its_own_sort_of_credential() {
    for (kind, name) in [
        ("api_key", "c-2"),
        ("peer", "c-2"),
        ("spiffe", "c-2"),
        ("mtls", "c-2"),
        ("jwt", "mailer.example"),
        ("spiffe", "mailer.example"),
        ("jwt", "nobody"),
    ] {
        assert_eq!(agent(&call(kind, name)), (name.to_owned(), None), "{kind}");
    }
    let mut without = call("jwt", "c-2");
    without.credential = None;
    assert_eq!(agent(&without).0, "c-2");
}

#[test]
fn without_an_issuer_only_names_of_any_issuer_count() {
    let mut bare = call("jwt", "c-1");
    bare.subject = None;
    assert_eq!(agent(&bare).0, "c-1");
    bare.agent = Some(Party::new("agent", "c-2"));
    assert_eq!(agent(&bare).0, "mailer");
}

#[test]
fn nothing_is_copied_where_nothing_changes() {
    for name in ["planner", "nobody"] {
        let call = call("jwt", name);
        assert!(matches!(names().resolve(&registry(), &call), Cow::Borrowed(_)));
    }
}

#[test]
fn actors_and_an_agent_subject_are_resolved_too() {
    let mut call = call("jwt", "planner");
    let mut own = Party::new("agent", "c-1");
    own.claims = Open::parse(br#"{"iss": "https://b"}"#).unwrap();
    call.delegation = vec![Party::new("agent", "nobody"), own, Party::new("agent", "c-1")];
    let subject = call.subject.as_mut().unwrap();
    (subject.kind, subject.id) = ("agent".to_owned(), "c-2".to_owned());
    let resolved = names().resolve(&registry(), &call).into_owned();
    let ids: Vec<&str> = resolved.delegation.iter().map(|actor| actor.id.as_str()).collect();
    assert_eq!(ids, ["nobody", "mailer", "planner"], "an actor's own issuer comes first");
    assert_eq!(resolved.subject.unwrap().id, "mailer");
    // A person is never taken for an agent.
    let mut person = call.clone();
    person.subject.as_mut().unwrap().kind = "user".to_owned();
    let mut people = registry();
    people.users = serde_json::from_str(r#"{"c-2": {}}"#).unwrap();
    let resolved = names().resolve(&people, &person).into_owned();
    assert_eq!(resolved.subject.unwrap().id, "c-2");
    // Whoever is no person, and has an agent's name, is that agent.
    let resolved = names().resolve(&registry(), &person).into_owned().subject.unwrap();
    assert_eq!((resolved.kind.as_str(), resolved.id.as_str()), ("agent", "mailer"));
}

#[test]
fn what_a_token_says_about_its_own_name_is_checked() {
    let with = |name: &str| {
        let mut call = call("jwt", "planner");
        let claims = format!(r#"{{"presented_as": {name}}}"#);
        call.agent.as_mut().unwrap().claims = Open::parse(claims.as_bytes()).unwrap();
        agent(&call)
    };
    assert_eq!(with(r#""c-1""#), ("planner".into(), Some("c-1".into())));
    for forged in [r#""c-2""#, r#""planner""#, "7", "null"] {
        assert_eq!(with(forged), ("planner".into(), None), "{forged}");
    }
}

#[test]
fn names_that_lead_to_two_agents_are_found() {
    let clashes = |identities: &str| {
        let text = format!(
            r#"{{"agents": {{
                "a": {{"owner": "o", "status": "active", "identities": [
                    {{"client_id": "x", "issuer": "i"}}, {{"spiffe_id": "spiffe://d/a"}}, {{"dns": "a.example"}}]}},
                "b": {{"owner": "o", "status": "active", "identities": [{identities}]}}}}}}"#
        );
        let (_, clashes) = AgentNames::of(&serde_json::from_str(&text).unwrap());
        clashes.into_iter().map(|c| (c.agent, c.position, c.other)).collect::<Vec<_>>()
    };
    let one = |other: &str| vec![("b".to_owned(), 0, other.to_owned())];
    assert_eq!(clashes(r#"{"client_id": "x", "issuer": "i"}"#), one("a"));
    assert_eq!(clashes(r#"{"client_id": "x"}"#), one("a"), "any issuer is also this one");
    assert_eq!(clashes(r#"{"client_id": "x", "issuer": "j"}"#), []);
    assert_eq!(clashes(r#"{"spiffe_id": "spiffe://d/a"}"#), one("a"));
    assert_eq!(clashes(r#"{"dns": "A.example"}"#), one("a"));
    assert_eq!(clashes(r#"{"client_id": "a"}"#), one("a"), "another agent's id");
    assert_eq!(clashes(r#"{"client_id": "b"}"#), [], "its own id");
    let twice = r#"{"client_id": "y"}, {"client_id": "y", "issuer": "i"}"#;
    assert_eq!(clashes(twice), vec![("b".to_owned(), 1, "b".to_owned())]);
}

fn name() -> impl Strategy<Value = String> {
    let known = ["planner", "mailer", "c-1", "c-2", "mailer.example", "spiffe://d/planner", "z"];
    prop::sample::select(known.map(str::to_owned).to_vec())
}

fn party() -> impl Strategy<Value = Party> {
    let claims = prop::sample::select(vec![
        "{}",
        r#"{"iss":"https://a"}"#,
        r#"{"iss":"https://b","presented_as":"c-1"}"#,
        r#"{"iss":7,"presented_as":"c-2"}"#,
    ]);
    (name(), claims, any::<bool>()).prop_map(|(id, claims, agent)| Party {
        kind: if agent { "agent" } else { "user" }.to_owned(),
        id,
        claims: Open::parse(claims.as_bytes()).unwrap(),
    })
}

proptest! {
    /// So that a record of a resolved call replays, and that a second pass does no harm.
    #[test]
    fn resolving_is_idempotent(
        subject in party(),
        agent in party(),
        delegation in prop::collection::vec(party(), 0..4),
        kind in prop::sample::select(vec!["jwt", "spiffe", "mtls", "api_key", "peer"]),
    ) {
        let credential = call(kind, "x").credential;
        let call = Call {
            subject: Some(subject), agent: Some(agent), delegation, credential, ..Call::default()
        };
        let (names, registry) = (names(), registry());
        let once = names.resolve(&registry, &call).into_owned();
        let again = names.resolve(&registry, &once);
        prop_assert!(matches!(again, Cow::Borrowed(_)), "{once:?}");
    }
}
