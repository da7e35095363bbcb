//! Whom a certificate names, and every way for it to name nobody.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use std::collections::BTreeMap;
use std::sync::Arc;

use lictor_identity::config::IdentityConfig;
use lictor_identity::{
    AgentMap, AuthError, Authenticator, Authority, AuthorityConfig, CertificateTrust,
    ClientCertificate, Identity, Presented, Settings, Timing, TrustError,
};
use lictor_proto::call::CredentialKind;
use rcgen::{
    CidrSubnet, DnType, ExtendedKeyUsagePurpose, GeneralSubtree, IsCa, KeyUsagePurpose,
    NameConstraints, date_time_ymd,
};

use crate::pki::{Ca, ca, ca_below, dns, document, leaf, uri, write};

/// 2030-01-01.
const NOW_MS: i64 = 1_893_456_000_000;
/// 2035-01-01, the end of every leaf here.
const END_MS: i64 = 2_051_222_400_000;

fn map(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    pairs.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect()
}

fn spiffe_trust(domain: &str, ca: &Ca) -> Authority {
    Authority::new(&[ca.der().clone()], Some(domain)).unwrap()
}

fn dns_trust(ca: &Ca) -> Authority {
    Authority::new(&[ca.der().clone()], None).unwrap()
}

fn trust(authorities: Vec<Authority>) -> CertificateTrust {
    CertificateTrust::new(authorities).unwrap()
}

fn identify(
    trust: &CertificateTrust,
    certificate: &ClientCertificate,
) -> Result<Identity, AuthError> {
    trust.identify(certificate, "default", NOW_MS)
}

fn refusal(trust: &CertificateTrust, certificate: &ClientCertificate) -> &'static str {
    identify(trust, certificate).unwrap_err().id()
}

fn agent(identity: &Identity) -> &str {
    &identity.agent.as_ref().unwrap().id
}

#[test]
fn a_document_of_spiffe_names_a_workload() {
    let ca = ca("a");
    let agents =
        AgentMap::of_spiffe(&map(&[("spiffe://a.example/ns/*/sa/bot", "bot-v1")]), "a.example");
    let authority = spiffe_trust("a.example", &ca).with_agents(agents.unwrap());
    let trust = trust(vec![authority.with_tenant(Some("acme")).unwrap()]);
    let shown = document(&ca, "spiffe://a.example/ns/x/sa/bot");
    let identity = identify(&trust, &shown).unwrap();
    let subject = identity.subject.as_ref().unwrap();
    assert_eq!((&*subject.kind, &*subject.id), ("workload", "spiffe://a.example/ns/x/sa/bot"));
    assert_eq!(agent(&identity), "bot-v1");
    assert_eq!(identity.tenant, "acme");
    assert_eq!(identity.credential.kind, CredentialKind::Spiffe);
    assert!(identity.credential.id.starts_with("sha256:"));
    assert!(identity.credential.issuer.starts_with("spiffe://"), "{:?}", identity.credential);
    assert_eq!(identity.expires_ms, Some(END_MS));
    assert!(identity.roles.is_empty() && identity.delegation.is_empty());
    let claims: serde_json::Value = serde_json::from_str(subject.claims.text()).unwrap();
    let digest = base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(shown.thumbprint());
    assert_eq!(claims["x5t#S256"], digest.as_str());
    assert_eq!(claims["spiffe_id"], "spiffe://a.example/ns/x/sa/bot");
    assert_eq!(claims["issuer"], "CN=a");

    let other = identify(&trust, &document(&ca, "spiffe://a.example/other")).unwrap();
    assert_eq!(agent(&other), "spiffe://a.example/other");
    assert_ne!(other.credential.id, identity.credential.id);
}

#[test]
fn a_certificate_with_dns_names_stands_for_the_one_that_is_an_agent() {
    let ca = ca("a");
    let agents =
        map(&[("bot.example", "bot-v1"), ("*.bots.example", "bot-v1"), ("x.example", "x")]);
    let authority = dns_trust(&ca).with_agents(AgentMap::of_dns(&agents).unwrap());
    let trust = trust(vec![authority]);
    let shown = |names: &[&str]| {
        let names: Vec<_> = names.iter().map(|name| dns(name)).collect();
        leaf(&ca, |params| params.subject_alt_names = names.clone()).shown()
    };
    let identity = identify(&trust, &shown(&["Bot.example"])).unwrap();
    let subject = identity.subject.as_ref().unwrap();
    assert_eq!((&*subject.kind, &*subject.id), ("workload", "bot.example"));
    assert_eq!((agent(&identity), &*identity.tenant), ("bot-v1", "default"));
    assert_eq!(identity.credential.kind, CredentialKind::Mtls);
    let issuer = subject.claims.node().get("issuer").and_then(|name| name.as_str());
    assert_eq!(Some(identity.credential.issuer.as_str()), issuer);
    assert!(issuer.is_some_and(|name| !name.is_empty()), "{issuer:?}");
    let claims: serde_json::Value = serde_json::from_str(subject.claims.text()).unwrap();
    assert_eq!(claims["dns"], "bot.example");

    for (names, expected) in [
        (&["only.example"][..], "only.example"),
        (&["other.example", "bot.example"], "bot-v1"),
        (&["a.bots.example", "b.bots.example"], "bot-v1"),
        (&["*.example", "only.example"], "only.example"),
    ] {
        assert_eq!(agent(&identify(&trust, &shown(names)).unwrap()), expected, "{names:?}");
    }
    for names in [
        &["bot.example", "x.example"][..],
        &["a.example", "b.example"],
        &["*.example"],
        &["a b.example"],
        &[],
    ] {
        assert_eq!(refusal(&trust, &shown(names)), "certificate_invalid", "{names:?}");
    }
}

#[test]
fn no_authority_speaks_for_another() {
    let (a, b, plain, stranger) = (ca("a"), ca("b"), ca("plain"), ca("a"));
    let trust = trust(vec![
        spiffe_trust("a.example", &a),
        spiffe_trust("b.example", &b),
        dns_trust(&plain),
    ]);
    let host = |ca: &Ca| leaf(ca, |params| params.subject_alt_names = vec![dns("h")]).shown();
    assert!(identify(&trust, &document(&a, "spiffe://a.example/w")).is_ok());
    assert!(identify(&trust, &document(&b, "spiffe://b.example/w")).is_ok());
    assert!(identify(&trust, &host(&plain)).is_ok());
    for unknown in [
        document(&a, "spiffe://b.example/w"),
        document(&b, "spiffe://a.example/w"),
        document(&a, "spiffe://c.example/w"),
        document(&plain, "spiffe://a.example/w"),
        document(&stranger, "spiffe://a.example/w"),
        host(&a),
        host(&stranger),
    ] {
        assert_eq!(refusal(&trust, &unknown), "certificate_unknown");
    }
    let nobody = CertificateTrust::default();
    assert_eq!(refusal(&nobody, &host(&plain)), "certificate_unknown");
}

#[test]
fn the_rules_for_documents_of_spiffe_hold() {
    let ca = ca("a");
    let trust = trust(vec![spiffe_trust("a.example", &ca)]);
    let id = "spiffe://a.example/w";
    for uris in [
        &[id, "spiffe://a.example/v"][..],
        &[id, id],
        &[id, "https://a.example/w"],
        &["https://a.example/w", id],
        &["spiffe://a.example"],
        &["spiffe://a.example/"],
        &["spiffe://a.example/w/"],
        &["spiffe://a.example/../w"],
        &["SPIFFE://a.example/w"],
        &["spiffe://A.example/w"],
        &["spiffe://a.example:1/w"],
        &["spiffe://u@a.example/w"],
        &["spiffe://a.example/w?q"],
        &["spiffe:a.example/w"],
    ] {
        let names: Vec<_> = uris.iter().map(|text| uri(text)).collect();
        let shown = leaf(&ca, |params| params.subject_alt_names = names.clone()).shown();
        assert_eq!(refusal(&trust, &shown), "spiffe_id_invalid", "{uris:?}");
    }
    let both = leaf(&ca, |params| params.subject_alt_names = vec![uri(id), dns("h")]).shown();
    assert_eq!(agent(&identify(&trust, &both).unwrap()), id);
    let long = format!("spiffe://a.example/{}", "w".repeat(512));
    assert_eq!(refusal(&trust, &document(&ca, &long)), "spiffe_id_invalid");
}

#[test]
fn keys_may_be_used_for_handshakes_and_nothing_more() {
    use KeyUsagePurpose::{CrlSign, DigitalSignature, KeyAgreement, KeyCertSign};
    let ca = ca("a");
    let trust = trust(vec![spiffe_trust("a.example", &ca), dns_trust(&ca)]);
    let shown = |spiffe: bool, usages: &[KeyUsagePurpose]| {
        let name = if spiffe { uri("spiffe://a.example/w") } else { dns("h") };
        leaf(&ca, |params| {
            params.subject_alt_names = vec![name.clone()];
            params.key_usages = usages.to_vec();
        })
        .shown()
    };
    for spiffe in [true, false] {
        assert!(identify(&trust, &shown(spiffe, &[DigitalSignature])).is_ok());
        for usages in [
            &[KeyAgreement][..],
            &[DigitalSignature, KeyCertSign],
            &[DigitalSignature, CrlSign],
            &[KeyCertSign],
        ] {
            let shown = shown(spiffe, usages);
            assert_eq!(refusal(&trust, &shown), "certificate_invalid", "{usages:?}");
        }
    }
    // SPIFFE wants it said; certificates of others often do not say it.
    assert_eq!(refusal(&trust, &shown(true, &[])), "certificate_invalid");
    assert!(identify(&trust, &shown(false, &[])).is_ok());
}

#[test]
fn what_is_not_for_clients_is_refused() {
    let ca = ca("a");
    let trust = trust(vec![spiffe_trust("a.example", &ca), dns_trust(&ca)]);
    for name in [uri("spiffe://a.example/w"), dns("h")] {
        let with = |change: &dyn Fn(&mut rcgen::CertificateParams)| {
            leaf(&ca, |params| {
                params.subject_alt_names = vec![name.clone()];
                change(params);
            })
            .shown()
        };
        let server = with(&|params| {
            params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        });
        assert_eq!(refusal(&trust, &server), "certificate_invalid");
        let authority = with(&|params| {
            params.is_ca = IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        });
        assert_eq!(refusal(&trust, &authority), "certificate_invalid");
        assert!(identify(&trust, &with(&|params| params.extended_key_usages.clear())).is_ok());
    }
    let common = leaf(&ca, |params| {
        params.distinguished_name.push(DnType::CommonName, "spiffe://a.example/w");
    });
    assert_eq!(refusal(&trust, &common.shown()), "certificate_invalid");
    for garbage in [&b""[..], b"x", &[0x30, 0x82, 0xff, 0xff], &[0x30; 4096]] {
        assert_eq!(refusal(&trust, &ClientCertificate::new(garbage)), "certificate_invalid");
    }
}

#[test]
fn certificates_count_from_their_beginning_to_their_end() {
    let ca = ca("a");
    let trust = || trust(vec![spiffe_trust("a.example", &ca)]);
    let shown = document(&ca, "spiffe://a.example/w");
    let begin_ms = shown.contents().unwrap().not_before_ms;
    let at = |now_ms| {
        let found = trust().identify(&shown, "default", now_ms);
        found.map(|_| "ok").unwrap_or_else(|error| error.id())
    };
    assert_eq!(at(begin_ms - 1), "certificate_not_yet_valid");
    assert_eq!(at(begin_ms), "ok");
    assert_eq!(at(END_MS - 1), "ok");
    assert_eq!(at(END_MS), "certificate_expired");
    assert_eq!(at(-1), "certificate_not_yet_valid");
    // What was verified once is not believed past its end.
    let kept = trust();
    assert!(kept.identify(&shown, "default", END_MS - 1).is_ok());
    assert_eq!(kept.identify(&shown, "default", END_MS).unwrap_err().id(), "certificate_expired");
}

#[test]
fn a_remembered_certificate_keeps_the_tenant_that_it_is_asked_for() {
    let ca = ca("a");
    let trust = trust(vec![spiffe_trust("a.example", &ca)]);
    let shown = document(&ca, "spiffe://a.example/w");
    for tenant in ["one", "two", "one"] {
        assert_eq!(trust.identify(&shown, tenant, NOW_MS).unwrap().tenant, tenant);
    }
}

#[test]
fn the_way_to_an_authority_may_lead_over_others_that_may_issue() {
    let top = ca("top");
    let trust = trust(vec![spiffe_trust("a.example", &top)]);
    let name = |params: &mut rcgen::CertificateParams| {
        params.subject_alt_names = vec![uri("spiffe://a.example/w")];
    };
    let between = ca_below(&top, |_| {});
    let below = leaf(&between, name);
    assert_eq!(refusal(&trust, &below.shown()), "certificate_unknown");
    assert!(identify(&trust, &below.shown_with(&between)).is_ok());

    let short = ca_below(&top, |params| params.not_after = date_time_ymd(2031, 1, 1));
    let below = leaf(&short, name).shown_with(&short);
    let end_ms = identify(&trust, &below).unwrap().expires_ms.unwrap();
    assert!(NOW_MS < end_ms && end_ms < END_MS, "the first end of the way counts");
    assert_eq!(trust.identify(&below, "default", end_ms).unwrap_err().id(), "certificate_expired");

    let no_ca = ca_below(&top, |params| params.is_ca = IsCa::ExplicitNoCa);
    assert_eq!(refusal(&trust, &leaf(&no_ca, name).shown_with(&no_ca)), "certificate_invalid");
    let elsewhere = ca_below(&top, |params| {
        params.name_constraints = Some(NameConstraints {
            permitted_subtrees: Vec::new(),
            excluded_subtrees: vec![
                GeneralSubtree::DnsName("example".to_owned()),
                GeneralSubtree::IpAddress(CidrSubnet::V4([10, 0, 0, 0], [255, 0, 0, 0])),
            ],
        });
    });
    let host = leaf(&elsewhere, |params| params.subject_alt_names = vec![dns("h.example")]);
    let hosts = CertificateTrust::new(vec![dns_trust(&top)]).unwrap();
    assert_eq!(refusal(&hosts, &host.shown_with(&elsewhere)), "certificate_invalid");
}

#[test]
fn authorities_must_be_authorities_and_no_two_share_a_domain() {
    let ca = ca("a");
    let no_ca = leaf(&ca, |_| {}).certificate.der().clone();
    assert!(matches!(Authority::new(&[no_ca], None), Err(TrustError::Anchor { .. })));
    assert!(matches!(Authority::new(&[], None), Err(TrustError::NoAnchors { .. })));
    let twice = vec![spiffe_trust("a", &ca), spiffe_trust("a", &ca)];
    assert!(matches!(CertificateTrust::new(twice), Err(TrustError::TrustDomainTwice { .. })));
    assert!(CertificateTrust::new(vec![dns_trust(&ca), dns_trust(&ca)]).is_ok());
}

#[test]
fn authorities_come_from_files_and_change_with_them() {
    let dir = tempfile::tempdir().unwrap();
    let (old, new) = (ca("old"), ca("new"));
    let bundle = |ca: &Ca| {
        let der = STANDARD.encode(ca.der());
        format!(r#"{{"keys":[{{"kty":"EC","use":"x509-svid","x5c":["{der}"]}}]}}"#)
    };
    let config = AuthorityConfig {
        ca: vec![write(dir.path(), "ca.pem", &old.pem())],
        ..AuthorityConfig::default()
    };
    let spiffe = AuthorityConfig {
        spiffe_bundle: Some(write(dir.path(), "bundle.json", &bundle(&old))),
        trust_domain: Some("a.example".to_owned()),
        ..AuthorityConfig::default()
    };
    let trust = CertificateTrust::load(&[config, spiffe]).unwrap();
    let host = |ca: &Ca| leaf(ca, |params| params.subject_alt_names = vec![dns("h")]).shown();
    let workload = |ca: &Ca| document(ca, "spiffe://a.example/w");
    let (old_host, old_workload) = (host(&old), workload(&old));
    assert!(identify(&trust, &old_host).is_ok() && identify(&trust, &old_workload).is_ok());

    write(dir.path(), "ca.pem", "-----BEGIN CERTIFICATE-----\n");
    trust.reload();
    assert!(identify(&trust, &old_host).is_ok(), "what cannot be used changes nothing");

    write(dir.path(), "ca.pem", &new.pem());
    write(dir.path(), "bundle.json", &bundle(&new));
    trust.reload();
    assert_eq!(refusal(&trust, &old_host), "certificate_unknown");
    assert_eq!(refusal(&trust, &old_workload), "certificate_unknown");
    assert!(identify(&trust, &host(&new)).is_ok() && identify(&trust, &workload(&new)).is_ok());
}

#[test]
fn a_certificate_counts_where_no_token_is_and_somebody_vouches_for_it() {
    let ca = ca("a");
    let shown = document(&ca, "spiffe://a.example/w");
    let certificates = trust(vec![spiffe_trust("a.example", &ca)]);
    let settings = Settings { certificates, ..Settings::default() };
    let authenticator = Authenticator::new(settings).unwrap();
    let id = |presented: Presented<'_>, authenticator: &Authenticator| {
        let found = authenticator.authenticate(presented, NOW_MS);
        found.map(|found| agent(&found).to_owned()).map_err(|error| error.id())
    };
    let with = Presented { certificate: Some(&shown), ..Presented::missing() };
    assert_eq!(id(with, &authenticator), Ok("spiffe://a.example/w".to_owned()));
    assert_eq!(id(Presented::missing(), &authenticator), Err("token_missing"));
    let both = Presented { certificate: Some(&shown), ..Presented::bearer("a.b.c") };
    assert_eq!(id(both, &authenticator), Err("token_malformed"), "a token is never passed over");
    let nobody = Authenticator::new(Settings::default()).unwrap();
    assert_eq!(id(with, &nobody), Err("token_missing"));
}

#[tokio::test(start_paused = true)]
async fn settings_in_use_take_over_changed_authorities() {
    let dir = tempfile::tempdir().unwrap();
    let (old, new) = (ca("old"), ca("new"));
    write(dir.path(), "ca.pem", &old.pem());
    let text = r#"{"certificates":[{"ca":["ca.pem"],"tenant":"acme","agents":{"h":"bot"}}]}"#;
    let mut config: IdentityConfig = serde_json::from_str(text).unwrap();
    config.take_paths_from(dir.path());
    let timing = Timing::default();
    let settings = config.open_with(Arc::new(|| NOW_MS), &timing).await.unwrap();
    let authenticator = Authenticator::new(settings).unwrap();
    let host = |ca: &Ca| leaf(ca, |params| params.subject_alt_names = vec![dns("h")]).shown();
    let (before, after) = (host(&old), host(&new));
    let id = |shown: &ClientCertificate| {
        let presented = Presented { certificate: Some(shown), ..Presented::missing() };
        let found = authenticator.authenticate(presented, NOW_MS);
        found.map(|found| (found.tenant.clone(), agent(&found).to_owned())).map_err(|e| e.id())
    };
    let known = || Ok(("acme".to_owned(), "bot".to_owned()));
    assert_eq!((id(&before), id(&after)), (known(), Err("certificate_unknown")));
    write(dir.path(), "ca.pem", &new.pem());
    for _ in 0..10 {
        tokio::time::sleep(timing.watch_period).await;
    }
    assert_eq!((id(&before), id(&after)), (Err("certificate_unknown"), known()));
}
