use lictor_proto::call::{Action, Resource, ResourceKind};

use super::*;

fn pep(id: &str) -> PepConfig {
    PepConfig {
        id: id.into(),
        token_file: None,
        spiffe_id: None,
        dns: None,
        allow: Allow::default(),
    }
}

fn call(action: &str, kind: ResourceKind, id: &str) -> Call {
    Call {
        tenant: "default".into(),
        action: Action { name: action.into() },
        resource: Some(Resource { kind, id: id.into() }),
        ..Call::default()
    }
}

fn refused(peps: &[PepConfig]) -> String {
    Registered::new(peps, &[], true).unwrap_err().to_string()
}

#[test]
fn a_token_names_its_peer_and_the_one_before_counts_for_its_overlap() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("pep-1.token");
    let peps = [PepConfig { token_file: Some(path.clone()), ..pep("pep-1") }];
    let all = Registered::new(&peps, &[], false).unwrap();
    let first = std::fs::read_to_string(&path).unwrap().trim().to_owned();
    assert_eq!(all.by_token(&first, 0).unwrap().name, "peer:pep-1");
    assert!(all.by_token("x", 0).is_none() && all.by_token("", 0).is_none());
    std::fs::remove_file(&path).unwrap();
    all.reload(1);
    assert!(all.by_token(&first, 1).is_some(), "a lost file changes nothing");
    let second = "b".repeat(64);
    lictor_identity::files::create_private(&path, &second).unwrap();
    all.reload(1_000);
    assert!(all.by_token(&second, 1_000).is_some());
    assert!(all.by_token(&first, 1_000 + TOKEN_OVERLAP_MS - 1).is_some());
    assert!(all.by_token(&first, 1_000 + TOKEN_OVERLAP_MS).is_none());
}

#[test]
fn a_certificate_names_its_peer_by_one_name() {
    let spiffe = "spiffe://example.org/pep/http";
    let peps = [
        PepConfig { spiffe_id: Some(spiffe.into()), ..pep("a") },
        PepConfig { dns: Some("PEP2.internal".into()), ..pep("b") },
    ];
    let all = Registered::new(&peps, &[], true).unwrap();
    let shown = |names: &[&str], uri: Option<&str>| {
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        let mut params = rcgen::CertificateParams::new(names).unwrap();
        if let Some(uri) = uri {
            let uri = rcgen::SanType::URI(uri.try_into().unwrap());
            params.subject_alt_names.push(uri);
        }
        let key = rcgen::KeyPair::generate().unwrap();
        ClientCertificate::new(params.self_signed(&key).unwrap().der())
    };
    let at = |shown: &ClientCertificate, now_ms| {
        all.by_certificate(shown, now_ms).map(|peer| peer.name.clone())
    };
    let name = |names: &[&str], uri| at(&shown(names, uri), 0);
    assert_eq!(name(&[], Some(spiffe)).as_deref(), Some("peer:a"));
    assert_eq!(name(&["pep2.internal"], None).as_deref(), Some("peer:b"));
    assert_eq!(name(&["pep2.internal"], Some(spiffe)), None, "two peers at once are none");
    assert_eq!(name(&["other.internal"], None), None);
    let own = shown(&[], Some(spiffe));
    let end_ms = own.contents().unwrap().not_after_ms;
    assert_eq!(at(&own, end_ms - 1).as_deref(), Some("peer:a"));
    assert_eq!(at(&own, end_ms), None, "a connection may outlive its certificate");
}

#[test]
fn a_new_token_that_another_peer_has_is_not_taken() {
    let dir = tempfile::tempdir().unwrap();
    let path = |id: &str| dir.path().join(id);
    let peps = ["a", "b"].map(|id| PepConfig { token_file: Some(path(id)), ..pep(id) });
    let all = Registered::new(&peps, &[], false).unwrap();
    let [of_a, of_b] = ["a", "b"].map(|id| std::fs::read_to_string(path(id)).unwrap());
    std::fs::remove_file(path("b")).unwrap();
    lictor_identity::files::create_private(&path("b"), &of_a).unwrap();
    all.reload(1);
    let name = |token: &str| all.by_token(token.trim(), 1).map(|peer| peer.name.clone());
    assert_eq!(name(&of_a).as_deref(), Some("peer:a"));
    assert_eq!(name(&of_b).as_deref(), Some("peer:b"));
}

#[test]
fn a_peer_asks_only_for_what_it_is_registered_for() {
    let allow = Allow {
        tenants: vec!["default".into()],
        actions: vec!["tools/*".into(), "mcp/connect".into()],
        resources: vec!["tool:accounting/*".into(), "server:accounting".into()],
    };
    let ok = call("tools/call", ResourceKind::Tool, "accounting/pay");
    assert_eq!(allow.refuses(&ok), None);
    assert_eq!(allow.refuses(&call("mcp/connect", ResourceKind::Server, "accounting")), None);
    for other in [
        call("llm/chat", ResourceKind::Tool, "accounting/pay"),
        call("tools/call", ResourceKind::Tool, "mail/send"),
        call("tools/call", ResourceKind::Server, "accounting/pay"),
        Call { tenant: "other".into(), ..ok },
    ] {
        let reason = allow.refuses(&other).unwrap();
        assert_eq!(reason.id, reason::PEP_NOT_REGISTERED_FOR, "{other:?}");
    }
    assert_eq!(Allow::default().refuses(&call("llm/chat", ResourceKind::Model, "m")), None);
}

#[test]
fn registrations_that_could_not_work_are_refused() {
    let named = |id: &str| PepConfig { dns: Some(format!("{id}.x")), ..pep(id) };
    assert!(refused(&[named("A")]).contains("`A`"));
    assert!(refused(&[named(&"a".repeat(ID_MAX_BYTES + 1))]).contains("1 to 128"));
    assert!(Registered::new(&[named(&"a".repeat(ID_MAX_BYTES))], &[], true).is_ok());
    assert!(refused(&[named("a"), named("a")]).contains("twice"));
    let same = PepConfig { dns: Some("a.x".into()), ..pep("b") };
    assert!(refused(&[named("a"), same]).contains("twice"));
    assert!(refused(&[pep("a")]).contains("token_file"));
    let error = Registered::new(&[named("a")], &[], false).unwrap_err().to_string();
    assert!(error.contains("client_ca"), "{error}");
    let approver = OperatorConfig {
        id: "o".into(),
        spiffe_id: None,
        dns: Some("o.x".into()),
        roles: vec![Role::Approver],
    };
    let error = Registered::new(&[], &[approver], true).unwrap_err().to_string();
    assert!(error.contains("`approver`"), "{error}");
}
