//! A whole decision point whose bundle comes from a server: what it decides, and what it tells of
//! its bundle, while the server answers, lies and is away.

use lictor_identity::Role;
use lictor_proto::call::Call;
use lictor_proto::decide::Decide as _;
use lictor_proto::decision::Effect;

use super::super::ask::Content;
use super::web::{Offer, Web};
use super::*;
use crate::clock::new_id;
use crate::config::{AuditConfig, PdpConfig};
use crate::decide::Pdp;
use crate::live::follow::{Deciding, follow};
use crate::peer::{Peer, PeerHandle};
use crate::state::memory::Memory;
use crate::state::{State, servers};

const HOUR_MS: i64 = 3_600_000;

struct Point {
    pdp: Arc<Pdp>,
    watch: Watch<Deciding>,
    handle: PeerHandle,
}

/// A decision point that asked its source once. `run` names its folders.
async fn point(home: &Home, at: &str, run: &str) -> Point {
    point_of(home, at, run, Arc::new(Memory::new())).await
}

async fn point_of(home: &Home, at: &str, run: &str, state: Arc<dyn State>) -> Point {
    let config = PdpConfig {
        bundle: BundleAt::from(at.to_owned()),
        trust_keys: vec![home.path().join("key.pem")],
        scope: SCOPE.to_owned(),
        state_dir: home.path().join("state"),
        ..PdpConfig::default()
    };
    let audit = AuditConfig { dir: home.path().join(run), ..AuditConfig::default() };
    let pdp = crate::server::build(&config, state, &audit, None, home.clock()).unwrap();
    let pdp = Arc::new(pdp);
    let mut watch = follow(&pdp, &config).unwrap();
    watch.start().await.unwrap();
    let handle = PeerHandle::new(Arc::clone(&pdp), Peer::new("pep", &[Role::Pep]));
    Point { pdp, watch, handle }
}

impl Point {
    async fn look(&mut self) {
        self.watch.look().await.unwrap();
    }

    /// The effect of a call, or why it is not decided.
    async fn ask(&self) -> String {
        let text = format!(
            r#"{{"call_id":"{}","subject":{{"type":"user","id":"alice"}},"agent":{{"type":"agent","id":"bot"}},
            "action":{{"name":"tools/call"}},"resource":{{"type":"tool","id":"s/t"}}}}"#,
            new_id(1)
        );
        let call = Arc::new(Call::from_json(text.as_bytes()).unwrap());
        match self.handle.decide(call, 0).await {
            Ok(answer) if answer.decision.effect == Effect::Allow => "allow".to_owned(),
            Ok(answer) => answer.decision.reasons[0].id.clone(),
            Err(error) => error.reason_id().to_owned(),
        }
    }

    fn status(&self) -> lictor_proto::pb::BundleStatus {
        crate::grpc::status::status_of(&self.pdp).bundles.remove(0)
    }

    fn metric(&self, line: &str) -> bool {
        crate::metrics::metrics_text(&self.pdp).lines().any(|found| found == line)
    }
}

/// How many records of bundles there are of each outcome and reason.
fn recorded(home: &Home, run: &str) -> Vec<(String, String)> {
    let logs = lictor_audit::query::Logs::open(&[home.path().join(run)]).unwrap();
    let records = logs.records(false, |record| record.kind == lictor_audit::Kind::Bundle).unwrap();
    let of = |record: &lictor_audit::query::Record, name: &str| {
        record.str_at(name).unwrap_or_default().to_owned()
    };
    records.iter().map(|record| (of(record, "/outcome"), of(record, "/reason"))).collect()
}

#[tokio::test]
async fn freshness_is_proved_by_a_signature_and_by_nothing_else() {
    let fresh = |version| draft(version).with(r#""max_staleness":3600"#);
    let web = Web::new(Offer::new("\"1\"", fresh(1).signed())).await;
    let home = Home::new();
    let mut point = point(&home, &web.url, "audit").await;
    assert_eq!(point.ask().await, "allow");
    home.pass(HOUR_MS);
    point.look().await;
    assert_eq!(point.ask().await, "allow", "an hour is what it may be old");
    home.pass(1);
    point.look().await;
    assert_eq!(point.ask().await, "bundle_stale", "that nothing is new proves nothing");
    web.put(Offer::new("\"2\"", fresh(1).signed()));
    point.look().await;
    assert_eq!(point.ask().await, "bundle_stale", "the old signature again proves nothing");
    web.put(Offer::new("\"3\"", fresh(1).issued(T0_MS + HOUR_MS).signed()));
    point.look().await;
    assert_eq!(point.ask().await, "allow", "the same content, signed again");
}

#[tokio::test]
async fn a_server_that_is_away_leaves_the_bundle_live_until_it_is_stale_also_after_a_restart() {
    let stale = draft(1).with(r#""max_staleness":7200"#);
    let web = Web::new(Offer::new("\"1\"", stale.signed())).await;
    let url = web.url.clone();
    let home = Home::new();
    let mut point1 = point(&home, &url, "audit1").await;
    drop(web);
    for _ in 0..2 {
        home.pass(HOUR_MS);
        point1.look().await;
        assert_eq!(point1.ask().await, "allow");
    }
    let again = point(&home, &url, "audit2").await;
    assert_eq!(again.ask().await, "allow", "from the kept copy");
    home.pass(1);
    point1.look().await;
    assert_eq!(
        (point1.ask().await, again.ask().await),
        ("bundle_stale".into(), "bundle_stale".into())
    );
    let late = point(&home, &url, "audit3").await;
    assert_eq!(late.ask().await, "bundle_stale");
    drop(late);
    let unreachable = ("unreachable".to_owned(), "bundle_unreachable".to_owned());
    let live = ("live".to_owned(), String::new());
    assert_eq!(
        recorded(&home, "audit1"),
        [live.clone(), unreachable.clone()],
        "once, not per question"
    );
    assert_eq!(recorded(&home, "audit2"), [unreachable, live]);
}

#[tokio::test]
async fn nobody_goes_below_what_others_of_the_store_have_seen_live() {
    let web = Web::new(Offer::new("\"1\"", draft(6).signed())).await;
    let (here, there) = (Home::new(), Home::new());
    let mut stores = servers::several(2).await.into_iter().map(|store| Arc::new(store) as Arc<_>);
    let mut first = point_of(&here, &web.url, "audit", stores.next().unwrap()).await;
    web.put(Offer::new("\"2\"", draft(5).signed()));
    let mut second = point_of(&there, &web.url, "audit", stores.next().unwrap()).await;
    assert_eq!(
        (first.ask().await.as_str(), second.ask().await.as_str()),
        ("allow", "bundle_missing")
    );
    assert!(second.status().refused.starts_with("bundle_version_lower"));
    web.put(Offer::new("\"3\"", draft(7).signed()));
    second.look().await;
    assert_eq!(second.ask().await, "allow");
    web.put(Offer::new("\"4\"", draft(6).issued(T0_MS + 1_000).signed()));
    first.look().await;
    assert_eq!(first.ask().await, "allow", "what was live stays live");
    assert_eq!(first.status().refused_version, 6);
}

#[tokio::test]
async fn without_any_bundle_it_starts_denies_and_goes_on_asking() {
    let home = Home::new();
    let web = Web::new(Offer::new("\"1\"", draft(1).unsigned())).await;
    let mut point = point(&home, &web.url, "audit").await;
    assert_eq!(point.ask().await, "bundle_missing");
    assert!(!point.pdp.ready());
    web.put(Offer::new("\"2\"", draft(1).signed()));
    point.look().await;
    assert_eq!(point.ask().await, "allow");
    assert!(point.pdp.ready());
}

#[tokio::test]
async fn status_metrics_and_records_say_what_is_live_and_why_another_is_not() {
    let web = Web::new(Offer::new("\"1\"", draft(5).signed())).await;
    let home = Home::new();
    let mut point = point(&home, &web.url, "audit").await;
    home.pass(60_000);
    web.put(Offer::new("\"2\"", draft(4).signed()));
    for _ in 0..3 {
        point.look().await;
    }
    home.pass(60_000);
    drop(web);
    point.look().await;
    point.look().await;

    let status = point.status();
    let live = status.live.as_ref().unwrap();
    assert_eq!((live.name.as_str(), live.version, live.revision.as_str()), ("t", 5, "r5"));
    assert_eq!((status.from.as_str(), status.since.as_str()), ("source", "2027-01-15T08:00:00Z"));
    assert!(status.place.starts_with("http://127.0.0.1:"), "{}", status.place);
    assert!(status.refused.starts_with("bundle_version_lower: "), "{}", status.refused);
    assert_eq!(status.refused_at, "2027-01-15T08:01:00Z");
    assert_eq!(status.refused_version, 4);
    let offered = Content::Archive(draft(4).signed()).digest();
    assert_eq!(status.refused_digest, offered);
    assert_eq!(status.last_check, "2027-01-15T08:02:00Z");
    assert_eq!(status.last_success, "2027-01-15T08:01:00Z");
    assert_eq!(status.last_error_at, "2027-01-15T08:02:00Z");
    assert!(status.last_error.starts_with("bundle_unreachable: "), "{}", status.last_error);

    let digest = &live.digest;
    for line in [
        &format!(
            "lictor_bundle_info{{tenant=\"default\",name=\"t\",version=\"5\",revision=\"r5\",digest=\"{digest}\"}} 1"
        ),
        "lictor_bundle_live_since_seconds{tenant=\"default\"} 1800000000.000",
        "lictor_bundle_last_check_seconds{tenant=\"default\"} 1800000120.000",
        "lictor_bundle_last_success_seconds{tenant=\"default\"} 1800000060.000",
        "lictor_bundle_refused_total{tenant=\"default\",id=\"bundle_version_lower\"} 1",
        "lictor_bundle_fetch_failures_total{tenant=\"default\"} 2",
        "lictor_bundle_version{tenant=\"default\"} 5",
    ] {
        assert!(point.metric(line), "{line}\n{}", crate::metrics::metrics_text(&point.pdp));
    }
    drop(point);
    let outcomes: Vec<_> = recorded(&home, "audit");
    let outcomes: Vec<_> = outcomes.iter().map(|(a, b)| (a.as_str(), b.as_str())).collect();
    assert_eq!(
        outcomes,
        [("live", ""), ("refused", "bundle_version_lower"), ("unreachable", "bundle_unreachable")]
    );
}
