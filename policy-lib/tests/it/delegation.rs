//! Who acts for whom: what the registry says about agents holds before any policy is asked, and
//! an actor more never lets a call do more.

use lictor_policy_lib::bundle::{Files, Floor, Limits, Require, Source, Window, verify};
use lictor_policy_lib::conclude::dry_run;
use lictor_policy_lib::diagnostic::Diagnostic;
use lictor_policy_lib::engine::Budget;
use lictor_policy_lib::load::{LoadedBundle, Times};
use lictor_policy_lib::registry::DELEGATION_HOPS_MAX;
use lictor_proto::call::{Call, Party};
use lictor_proto::decision::Effect;
use lictor_proto::facts::Facts;
use lictor_proto::json::Open;
use proptest::prelude::*;
use serde_json::{Value, json};

const NOW_MS: i64 = 1_800_000_000_000;
const MANIFEST: &str = r#"{"revision":"t","metadata":{"lictor":{"name":"t","version":1}}}"#;
/// Permits everything.
const ANYTHING: &str = "@id(\"any\") permit(principal, action, resource);";

/// A bundle of these agents over the tools `s/0` to `s/3`; whole registry members may be added.
fn bundle(agents: &Value, more: &Value, cedar: &str, rego: &str) -> LoadedBundle {
    load(agents, more, cedar, rego).unwrap_or_else(|found| panic!("{found:#?}"))
}

fn load(
    agents: &Value,
    more: &Value,
    cedar: &str,
    rego: &str,
) -> Result<LoadedBundle, Vec<Diagnostic>> {
    let tools: Value = (0..4).map(|n| (format!("s/{n}"), json!({"schema": "any"}))).collect();
    let mut registry = json!({
        "users": {"alice": {"department": "eng"}}, "servers": {"s": {}}, "tools": tools, "agents": agents,
    });
    for (name, value) in more.as_object().unwrap() {
        registry[name] = value.clone();
    }
    let data = json!({ "registry": registry }).to_string();
    let mut pairs = vec![(".manifest", MANIFEST), ("data.json", &data)];
    let policies = [("cedar/t.cedar", cedar), ("rego/t/t.rego", rego)];
    pairs.extend(policies.into_iter().filter(|(_, text)| !text.is_empty()));
    let pairs = pairs.into_iter().map(|(name, text)| (name.to_owned(), text.as_bytes().to_vec()));
    let limits = Limits::default();
    let files = Files::from_pairs(pairs.collect::<Vec<_>>(), &limits).unwrap();
    let floor = Floor { min_version: 0, window: Window::Ignored };
    let verified =
        verify(Source::Folder(files), &Require::AllowUnsigned, &floor, &limits, NOW_MS).unwrap();
    LoadedBundle::load(verified, Times::Ignored)
}

/// Agents `a` to `i`, changed by `change`.
fn agents(change: Value) -> Value {
    let mut agents: Value = ('a'..='i')
        .map(|id| (id.to_string(), json!({"owner": "alice", "status": "active"})))
        .collect();
    for (id, members) in change.as_object().unwrap() {
        for (name, value) in members.as_object().unwrap() {
            agents[id][name] = value.clone();
        }
    }
    agents
}

/// A call of `tool` by the first of `chain`, for the next, for …, for alice.
fn call(chain: &[&str], tool: &str) -> Call {
    let text = json!({
        "subject": {"type": "user", "id": "alice", "claims": {"iss": "https://idp"}},
        "action": {"name": "tools/call"}, "resource": {"type": "tool", "id": tool},
        "credential": {"kind": "jwt", "id": "k"},
    });
    let mut call = Call::from_json(text.to_string().as_bytes()).unwrap();
    let mut parties = chain.iter().map(|id| Party::new("agent", id));
    call.agent = parties.next();
    call.delegation = parties.collect();
    call
}

/// The reasons of a denial, nothing for an allow.
fn denied(bundle: &LoadedBundle, call: &Call) -> Vec<String> {
    let decision = dry_run(bundle, call, Facts::default(), NOW_MS, Budget::default()).decision;
    match decision.effect {
        Effect::Allow => Vec::new(),
        _ => decision.reasons.into_iter().map(|reason| reason.id).collect(),
    }
}

/// The same where everything is permitted by policy.
fn refused(change: Value, call: &Call) -> Vec<String> {
    denied(&bundle(&agents(change), &json!({}), ANYTHING, ""), call)
}

const NONE: [&str; 0] = [];

#[test]
fn an_agent_acts_only_by_its_own_issuers() {
    let bound = json!({"a": {"issuers": ["https://idp", "https://sts"]}});
    let with = |change: &dyn Fn(&mut Call)| {
        let mut call = call(&["a"], "s/0");
        change(&mut call);
        refused(bound.clone(), &call)
    };
    let claims = |text: &str| Open::parse(text.as_bytes()).unwrap();
    assert_eq!(with(&|_| {}), NONE);
    let issuer = |text: &'static str| {
        with(&move |call| call.subject.as_mut().unwrap().claims = claims(text))
    };
    assert_eq!(issuer(r#"{"iss": "https://sts"}"#), NONE);
    for other in [r#"{"iss": "https://evil"}"#, r#"{"iss": ["https://idp"]}"#, "{}"] {
        assert_eq!(issuer(other), ["agent_issuer_refused"], "{other}");
    }
    // A key names no issuer, whatever its party says.
    for kind in ["api_key", "mtls", "peer"] {
        let credential = serde_json::from_value(json!({"kind": kind, "id": "k"})).unwrap();
        let credential: lictor_proto::call::Credential = credential;
        let said = with(&|call| call.credential = Some(credential.clone()));
        assert_eq!(said, ["agent_issuer_refused"], "{kind}");
    }
    assert_eq!(with(&|call| call.credential = None), ["agent_issuer_refused"]);
    // The name that the token's issuer gives it is another issuer's.
    let own =
        |text: &'static str| with(&move |call| call.agent.as_mut().unwrap().claims = claims(text));
    assert_eq!(own(r#"{"iss": "https://sts"}"#), NONE);
    assert_eq!(own(r#"{"iss": "https://evil"}"#), ["agent_issuer_refused"]);
    // Every hop is bound, not only the agent.
    let mut behind = call(&["b", "a"], "s/0");
    assert_eq!(refused(bound.clone(), &behind), NONE);
    behind.subject.as_mut().unwrap().claims = claims(r#"{"iss": "https://evil"}"#);
    assert_eq!(refused(bound, &behind), ["agent_issuer_refused"]);
}

#[test]
fn an_agent_acts_only_by_its_own_sorts_of_credential() {
    let bound = json!({"a": {"credentials": ["spiffe", "jwt"]}});
    assert_eq!(refused(bound.clone(), &call(&["a"], "s/0")), NONE);
    let mut key = call(&["a"], "s/0");
    key.credential = serde_json::from_value(json!({"kind": "api_key", "id": "k"})).unwrap();
    assert_eq!(refused(bound.clone(), &key), ["agent_credential_refused"]);
    assert_eq!(refused(json!({"a": {"credentials": []}}), &key), NONE);
    let mut behind = call(&["b", "a"], "s/0");
    behind.credential.clone_from(&key.credential);
    assert_eq!(refused(bound.clone(), &behind), NONE, "only the agent presents it");
    key.credential = None;
    assert_eq!(refused(bound, &key), ["agent_credential_refused"]);
}

#[test]
fn every_agent_of_a_chain_is_known_and_served() {
    for (member, value) in [
        ("status", json!("suspended")),
        ("owner", json!("nobody")),
        ("expires", json!("2027-01-15T08:00:00Z")),
    ] {
        let change = json!({"b": {member: value}});
        for chain in [&["b"][..], &["a", "b"], &["a", "b", "c"], &["a", "c", "b"]] {
            assert_eq!(
                refused(change.clone(), &call(chain, "s/0")),
                ["agent_inactive"],
                "{chain:?}"
            );
        }
        assert_eq!(refused(change, &call(&["a", "c"], "s/0")), NONE);
    }
    let alive = json!({"b": {"expires": "2027-01-15T08:00:00.001Z"}});
    assert_eq!(refused(alive, &call(&["a", "b"], "s/0")), NONE);
    for chain in [&["z"][..], &["a", "z"], &["a", "z", "b"], &["a", "alice"]] {
        assert_eq!(refused(json!({}), &call(chain, "s/0")), ["agent_unknown"], "{chain:?}");
    }
}

#[test]
fn an_agent_acts_only_for_its_parents() {
    let parents = json!({"a": {"parents": ["b"]}, "b": {"parents": []}});
    let said = |chain: &[&str]| refused(parents.clone(), &call(chain, "s/0"));
    assert_eq!(said(&["a"]), NONE, "for a person it needs no parent");
    assert_eq!(said(&["a", "b"]), NONE);
    assert_eq!(said(&["a", "c"]), ["delegation_refused"]);
    assert_eq!(said(&["a", "b", "c"]), ["delegation_refused"], "nobody delegates to b");
    assert_eq!(said(&["c", "a", "b"]), NONE);
    assert_eq!(said(&["c", "b", "a"]), ["delegation_refused"], "the other way round");
}

#[test]
fn a_delegation_is_no_deeper_than_the_registry_and_each_agent_allow() {
    let chain = ["a", "b", "c", "d", "e", "f", "g", "h", "i"];
    let hops = |n: usize| call(chain.get(..=n).unwrap(), "s/0");
    assert_eq!(refused(json!({}), &hops(7)), NONE);
    assert_eq!(refused(json!({}), &hops(8)), ["delegation_too_deep"]);
    let two = bundle(&agents(json!({})), &json!({"max_delegation_depth": 2}), ANYTHING, "");
    assert_eq!(denied(&two, &hops(2)), NONE);
    assert_eq!(denied(&two, &hops(3)), ["delegation_too_deep"]);
    // Wherever the agent stands.
    for id in ["a", "b", "c"] {
        let change = json!({id: {"max_delegation_depth": 2}});
        assert_eq!(refused(change.clone(), &hops(2)), NONE, "{id}");
        assert_eq!(refused(change, &hops(3)), ["delegation_too_deep"], "{id}");
    }
    let alone = json!({"b": {"max_delegation_depth": 0}});
    assert_eq!(refused(alone.clone(), &call(&["b"], "s/0")), NONE);
    assert_eq!(refused(alone, &hops(1)), ["delegation_too_deep"]);
}

#[test]
fn nobody_stands_in_a_chain_twice() {
    for chain in [&["a", "a"][..], &["a", "b", "a"], &["a", "b", "b"], &["c", "a", "b", "a"]] {
        assert_eq!(refused(json!({}), &call(chain, "s/0")), ["delegation_loop"], "{chain:?}");
    }
    // By another name it is still the same agent.
    let named = json!({"a": {"identities": [{"issuer": "https://idp", "client_id": "client-a"}]}});
    let said = refused(named, &call(&["a", "b", "client-a"], "s/0"));
    assert_eq!(said, ["delegation_loop"]);
}

#[test]
fn an_agent_as_the_subject_is_the_end_of_the_chain() {
    let subject = |chain: &[&str], kind: &str, id: &str, change: Value| {
        let mut call = call(chain, "s/0");
        let subject = call.subject.as_mut().unwrap();
        (subject.kind, subject.id) = (kind.to_owned(), id.to_owned());
        refused(change, &call)
    };
    assert_eq!(subject(&["a"], "agent", "a", json!({})), NONE, "it acts for itself");
    assert_eq!(subject(&["b", "a"], "agent", "a", json!({})), NONE);
    assert_eq!(subject(&["a", "b"], "agent", "a", json!({})), ["delegation_loop"]);
    assert_eq!(subject(&["a"], "agent", "z", json!({})), ["agent_unknown"]);
    let parents = json!({"a": {"parents": ["b"]}});
    assert_eq!(subject(&["a"], "agent", "b", parents.clone()), NONE);
    assert_eq!(subject(&["a"], "agent", "c", parents.clone()), ["delegation_refused"]);
    // Without a type that says so, what is registered as an agent and as nobody else is one.
    assert_eq!(subject(&["a"], "user", "c", parents.clone()), ["delegation_refused"]);
    assert_eq!(subject(&["a"], "user", "mallory", parents), NONE);
    let suspended = json!({"c": {"status": "suspended"}});
    assert_eq!(subject(&["a"], "agent", "c", suspended), ["agent_inactive"]);
    // Cedar asks about it as about every other agent of the chain.
    let only_a = "@id(\"a\") permit(principal == Lictor::Agent::\"a\", action, resource);";
    let bundle = bundle(&agents(json!({})), &json!({}), only_a, "");
    let mut for_b = call(&["a"], "s/0");
    assert_eq!(denied(&bundle, &for_b), NONE);
    for_b.subject = Some(Party::new("agent", "b"));
    assert_eq!(denied(&bundle, &for_b), ["no_permit"]);
}

#[test]
fn an_agent_behind_another_is_one_by_each_of_its_names() {
    // A client's own token has its client id as `sub`, and nothing that says what it is.
    let named = |member: &str, value: Value| {
        let identities = json!([{"issuer": "https://idp", "client_id": "client-c"}]);
        json!({"c": {"identities": identities, member: value}})
    };
    let said = |subject: &str, change: Value| {
        let mut call = call(&["a"], "s/0");
        call.subject.as_mut().unwrap().id = subject.to_owned();
        refused(change, &call)
    };
    for subject in ["c", "client-c"] {
        let suspended = named("status", json!("suspended"));
        assert_eq!(said(subject, suspended), ["agent_inactive"], "{subject}");
        let nothing = named("transferable", json!([]));
        assert_eq!(said(subject, nothing), ["delegation_not_transferable"], "{subject}");
        assert_eq!(said(subject, named("party", json!("first"))), NONE, "{subject}");
    }
    assert_eq!(said("client-d", named("transferable", json!([]))), NONE, "nobody's name");
    // It acts for itself where nobody else acts for it.
    let mut own = call(&["client-c"], "s/0");
    own.subject.as_mut().unwrap().id = "client-c".to_owned();
    assert_eq!(refused(named("transferable", json!([])), &own), NONE);
    // Policy reads an agent there, whatever the token left out.
    let rego = "package lictor.t\n\nallow if input.subject.type != \"agent\"\n";
    let bundle = bundle(&agents(named("party", json!("first"))), &json!({}), "", rego);
    let mut behind = call(&["a"], "s/0");
    assert_eq!(denied(&bundle, &behind), NONE);
    behind.subject.as_mut().unwrap().id = "client-c".to_owned();
    assert_eq!(denied(&bundle, &behind), ["no_permit"]);
}

#[test]
fn the_issuer_of_a_document_is_who_vouches_for_it() {
    // A trust domain can write any `iss` into a document of its own.
    let bound = json!({"a": {"issuers": ["https://idp"]}});
    let mut document = call(&["a"], "s/0");
    let credential = json!({"kind": "spiffe", "id": "k", "issuer": "spiffe://evil"});
    document.credential = serde_json::from_value(credential).unwrap();
    assert_eq!(refused(bound, &document), ["agent_issuer_refused"]);
    let by_domain = json!({"a": {"issuers": ["spiffe://evil"]}});
    assert_eq!(refused(by_domain, &document), NONE);
}

#[test]
fn what_is_handed_on_is_what_the_registry_says() {
    let scopes = json!({"scopes": {"reading": ["tools/call s/0", "tools/list"]}});
    let said = |transferable: Value, chain: &[&str], tool: &str| {
        let agents = agents(json!({"b": {"transferable": transferable}}));
        denied(&bundle(&agents, &scopes, ANYTHING, ""), &call(chain, tool))
    };
    let refusal = ["delegation_not_transferable"];
    assert_eq!(said(json!(["reading"]), &["a", "b"], "s/0"), NONE);
    assert_eq!(said(json!(["reading"]), &["a", "b"], "s/1"), refusal);
    assert_eq!(said(json!(["reading", "tools/call s/1"]), &["a", "b"], "s/1"), NONE);
    assert_eq!(said(json!(["tools/call s/*"]), &["a", "b"], "s/3"), NONE);
    assert_eq!(said(json!([]), &["a", "b"], "s/0"), refusal);
    assert_eq!(said(json!([]), &["b"], "s/0"), NONE, "it may still do so itself");
    assert_eq!(said(json!([]), &["b", "a"], "s/0"), NONE, "and for others");
    assert_eq!(said(json!(["reading"]), &["a", "b", "c"], "s/1"), refusal, "in the middle");
    assert_eq!(said(json!(["reading"]), &["a", "c", "b"], "s/1"), refusal, "at the root");
}

#[test]
fn an_agent_that_is_not_served_is_not_spoken_to() {
    let to = |id: &str, change: Value| {
        let mut message = call(&["a"], "s/0");
        message.action.name = "a2a/message".to_owned();
        let kind = lictor_proto::call::ResourceKind::Agent;
        message.resource = Some(lictor_proto::call::Resource { kind, id: id.to_owned() });
        refused(change, &message)
    };
    assert_eq!(to("b", json!({})), NONE);
    assert_eq!(to("b", json!({"b": {"status": "suspended"}})), ["agent_inactive"]);
    assert_eq!(to("z", json!({})), ["resource_unknown"]);
}

#[test]
fn a_reason_names_the_entry_that_it_comes_from() {
    let change = json!({"b": {"status": "suspended"}});
    let bundle = bundle(&agents(change), &json!({}), ANYTHING, "");
    let call = call(&["a", "b"], "s/0");
    let decision = dry_run(&bundle, &call, Facts::default(), NOW_MS, Budget::default()).decision;
    assert_eq!(decision.reasons[0].policy, "registry/agents/b");
}

#[test]
fn both_engines_see_the_whole_chain_with_what_the_registry_says_of_it() {
    let change = json!({
        "b": {"party": "third", "transferable": ["*"], "parents": ["c"]},
        "c": {"identities": [{"client_id": "client-c"}]},
    });
    let cedar = r#"
        @id("any") permit(principal, action, resource);
        @id("third") forbid(principal, action, resource == Lictor::Tool::"s/1")
        when { context.delegation_parties.contains("third") };
        @id("own") forbid(principal, action, resource == Lictor::Tool::"s/2")
        when { principal.party == "third" && principal has parents && principal.parents.contains("c")
               && principal has transferable && principal.transferable.contains("*") };"#;
    let rego = r#"package lictor.t

allow if true

deny contains {"id": "third", "message": "m"} if {
	input.resource.id == "s/3"
	some i, actor in input.facts.delegation
	actor.attrs.party == "third"
	input.delegation[i].id == "b"
	input.facts.agent.attrs.party == "first"
	input.agent.claims.presented_as == "client-c"
}
"#;
    let bundle = bundle(&agents(change), &json!({}), cedar, rego);
    assert_eq!(denied(&bundle, &call(&["a", "b", "c"], "s/1")), ["third"]);
    assert_eq!(denied(&bundle, &call(&["b", "c"], "s/1")), NONE, "the agent is no actor");
    assert_eq!(denied(&bundle, &call(&["b", "c"], "s/2")), ["own"]);
    assert_eq!(denied(&bundle, &call(&["client-c", "b", "c"], "s/3")), ["delegation_loop"]);
    assert_eq!(denied(&bundle, &call(&["client-c", "b"], "s/3")), ["third"]);
    assert_eq!(denied(&bundle, &call(&["client-c", "a"], "s/3")), NONE);
    let said =
        dry_run(&bundle, &call(&["a", "b"], "s/0"), Facts::default(), NOW_MS, Budget::default());
    assert_eq!(said.facts.delegation[0].attrs["party"], "third");
    assert_eq!(said.facts.agent.attrs["party"], "first", "also where the registry says nothing");
}

#[test]
fn an_entry_of_the_wrong_form_is_refused_with_its_place() {
    let refused = |change: Value, more: Value| {
        let found = load(&agents(change), &more, ANYTHING, "").err().unwrap_or_default();
        found.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")
    };
    for (member, value) in [
        ("party", json!("second")),
        ("issuers", json!("https://idp")),
        ("issuers", json!([""])),
        ("credentials", json!(["password"])),
        ("identities", json!([{}])),
        ("identities", json!([{"client_id": "c", "dns": "a"}])),
        ("identities", json!([{"issuer": "https://idp"}])),
        ("identities", json!([{"spiffe_id": "https://d/x"}])),
        ("identities", json!([{"dns": "*.example"}])),
        ("parents", json!("b")),
        ("transferable", json!([7])),
        ("max_delegation_depth", json!(DELEGATION_HOPS_MAX + 1)),
        ("max_delegation_depth", json!(-1)),
        ("parent", json!(["b"])),
    ] {
        let said = refused(json!({"b": {member: value}}), json!({}));
        assert!(said.starts_with("data.json:1:"), "{member}: {said}");
        assert!(said.contains("registry_invalid") && said.contains("/registry/agents/b"), "{said}");
    }
    let deepest = json!({"b": {"max_delegation_depth": DELEGATION_HOPS_MAX}});
    assert_eq!(refused(deepest, json!({"max_delegation_depth": DELEGATION_HOPS_MAX})), "");
    let more = json!({"max_delegation_depth": DELEGATION_HOPS_MAX + 1});
    assert!(refused(json!({}), more).contains("/registry/max_delegation_depth"));
    assert!(refused(json!({}), json!({"scopes": {"a/b": []}})).contains("registry_invalid"));
    let twice = json!({"a": {"identities": [{"client_id": "b"}]}});
    assert!(refused(twice, json!({})).contains("agent_identity"));
    assert!(refused(json!({"a": {"team": "none"}}), json!({})).contains("`none`"));
}

/// An agent with anything that can only take away.
fn any_agent() -> impl Strategy<Value = Value> {
    let grant = prop::sample::select(vec![
        "tools/call s/0",
        "tools/call s/*",
        "*",
        "tools/list",
        "reading",
    ]);
    let transferable = prop::option::of(prop::collection::btree_set(grant, 0..3));
    let depth = prop::option::of(0..5usize);
    let status = prop::sample::select(vec!["active", "active", "active", "suspended"]);
    (transferable, depth, status, any::<bool>()).prop_map(|(transferable, depth, status, third)| {
        let mut agent = json!({"owner": "alice", "status": status, "party": if third { "third" } else { "first" }});
        if let Some(transferable) = transferable {
            agent["transferable"] = json!(transferable);
        }
        if let Some(depth) = depth {
            agent["max_delegation_depth"] = json!(depth);
        }
        agent
    })
}

/// A policy over agents `a` to `e` and tools `s/0` to `s/3`.
fn any_policy() -> impl Strategy<Value = String> {
    let permit = prop::bool::weighted(0.8);
    let agent = prop::option::of(prop::sample::select(vec!["a", "b", "c", "d", "e"]));
    (permit, agent, prop::option::of(0..4usize), any::<bool>()).prop_map(
        |(permit, agent, tool, party)| {
            let principal = agent.map_or("principal".to_owned(), |id| {
                format!("principal == Lictor::Agent::\"{id}\"")
            });
            let resource = tool
                .map_or("resource".to_owned(), |n| format!("resource == Lictor::Tool::\"s/{n}\""));
            let when = if party { "when { principal.party == \"third\" }" } else { "" };
            let effect = if permit { "permit" } else { "forbid" };
            format!("{effect}({principal}, action, {resource}) {when};\n")
        },
    )
}

/// A Cedar-only bundle.
fn any_bundle() -> impl Strategy<Value = LoadedBundle> {
    let agents = prop::collection::vec(any_agent(), 5..=5);
    (agents, prop::collection::vec(any_policy(), 1..6)).prop_map(|(entries, policies)| {
        let agents: Value = "abcde".chars().map(String::from).zip(entries).collect();
        let policies = policies.iter().enumerate();
        let cedar: String = policies.map(|(n, text)| format!("@id(\"p{n}\") {text}")).collect();
        bundle(&agents, &json!({"scopes": {"reading": ["tools/call s/1"]}}), &cedar, "")
    })
}

/// An order of the agents.
fn any_chain() -> impl Strategy<Value = Vec<&'static str>> {
    let all = vec!["a", "b", "c", "d", "e"];
    (Just(all).prop_shuffle(), 1..=4usize).prop_map(|(mut all, length)| {
        all.truncate(length);
        all
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, failure_persistence: None, ..ProptestConfig::default() })]

    /// Wherever the actor is put, and whoever it is.
    #[test]
    fn an_actor_more_never_turns_a_denial_into_an_allow(
        bundle in any_bundle(),
        chain in any_chain(),
        more in prop::sample::select(vec!["a", "b", "c", "d", "e", "stranger"]),
        place in any::<prop::sample::Index>(),
        tool in 0..4usize,
    ) {
        let tool = format!("s/{tool}");
        let before = denied(&bundle, &call(&chain, &tool));
        let mut longer = chain.clone();
        longer.insert(place.index(chain.len() + 1), more);
        let after = denied(&bundle, &call(&longer, &tool));
        prop_assert!(before.is_empty() || !after.is_empty(), "{chain:?} {before:?} {longer:?}");
    }

    /// What every agent of a chain may do alone is a bound of what the chain may do, and so is
    /// what each but the first hands on.
    #[test]
    fn a_chain_never_does_what_its_root_may_not(
        bundle in any_bundle(), chain in any_chain(), tool in 0..4usize,
    ) {
        let tool = format!("s/{tool}");
        if denied(&bundle, &call(&chain, &tool)).is_empty() {
            for agent in &chain {
                prop_assert_eq!(denied(&bundle, &call(&[agent], &tool)), NONE, "{}", agent);
            }
            for agent in chain.iter().skip(1) {
                let grants = bundle.registry().agents[*agent].transferable.clone();
                let whole = format!("tools/call {tool}");
                let covers = |grant: &String| match grant.as_str() {
                    "reading" => tool == "s/1",
                    "*" | "tools/call s/*" => true,
                    grant => grant == whole,
                };
                prop_assert!(grants.is_none_or(|grants| grants.iter().any(covers)), "{}", agent);
            }
        }
    }

    /// With `parents` too, an agent put behind the last one never helps.
    #[test]
    fn a_root_behind_the_root_never_helps(
        chain in any_chain(),
        parents in prop::collection::vec(prop::option::of(prop::collection::btree_set(
            prop::sample::select(vec!["a", "b", "c", "d", "e"]), 0..4)), 5..=5),
        more in prop::sample::select(vec!["a", "b", "c", "d", "e"]),
    ) {
        let mut change = json!({});
        for (id, parents) in ["a", "b", "c", "d", "e"].into_iter().zip(parents) {
            change[id] = parents.map_or(json!({}), |parents| json!({"parents": parents}));
        }
        let before = refused(change.clone(), &call(&chain, "s/0"));
        let longer: Vec<&str> = chain.iter().copied().chain([more]).collect();
        let after = refused(change, &call(&longer, "s/0"));
        prop_assert!(before.is_empty() || !after.is_empty(), "{:?} {:?}", chain, more);
    }
}
