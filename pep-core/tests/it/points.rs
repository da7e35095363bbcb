//! Several decision points behind one client.

use std::net::SocketAddr;
use std::sync::Arc;

use lictor_pep_core::client::health::FAILURES_BEFORE_EJECTION;
use lictor_pep_core::client::{Addresses, ClientError, ClientTlsConfig, GrpcDecide};
use lictor_proto::call::{Call, Party, Usage};
use lictor_proto::decide::{Decide as _, Detail, Outcome, Settle};

use crate::client::start_tcp;
use crate::pdp::{Pdp, Running};

const BUDGET_MS: u32 = 5_000;
/// What a call may take that nobody will answer.
const SHORT_MS: u32 = 60;

struct Points {
    pdps: Vec<Pdp>,
    running: Vec<Option<Running>>,
    addresses: Vec<SocketAddr>,
    client: GrpcDecide,
}

impl Points {
    fn start(pdps: Vec<Pdp>) -> Self {
        let listeners = pdps.iter().map(|_| std::net::TcpListener::bind("127.0.0.1:0").unwrap());
        let listeners: Vec<_> = listeners.collect();
        let addresses: Vec<_> = listeners.iter().map(|l| l.local_addr().unwrap()).collect();
        let named = addresses.iter().map(|address| format!("http://{address}")).collect();
        let started = pdps.iter().zip(listeners).map(|(pdp, l)| Some(start_tcp(pdp, l)));
        let running = started.collect();
        let client = GrpcDecide::configured(&Addresses::Many(named), None, None).unwrap();
        Self { pdps, running, addresses, client }
    }

    async fn kill(&mut self, index: usize) {
        self.running[index].take().unwrap().kill().await;
    }

    /// Who was asked about the call.
    fn asked(&self, id: &str) -> Vec<usize> {
        let asked = |pdp: &&Pdp| pdp.ids().iter().any(|other| other == id);
        let places = self.pdps.iter().enumerate().filter(|(_, pdp)| asked(pdp));
        places.map(|(index, _)| index).collect()
    }

    async fn decide(&self, id: &str, subject: &str) -> usize {
        self.client.decide(call(id, subject), BUDGET_MS).await.unwrap();
        *self.asked(id).last().unwrap()
    }

    /// Waits until every stream is open.
    async fn all_open(&self) {
        let open = "} 1";
        while self.connected().iter().any(|line| !line.ends_with(open)) {
            tokio::task::yield_now().await;
        }
    }

    fn connected(&self) -> Vec<String> {
        let text = self.client.metrics_text();
        let lines = text.lines().filter(|line| line.starts_with("lictor_pdp_connected{"));
        lines.map(str::to_owned).collect()
    }
}

fn call(id: &str, subject: &str) -> Arc<Call> {
    let mut call = Call { call_id: id.into(), ..Call::default() };
    call.action.name = "single".into();
    if !subject.is_empty() {
        call.subject = Some(Party::new("user", subject));
    }
    Arc::new(call)
}

fn settle(id: &str) -> Settle {
    Settle {
        call_id: id.into(),
        outcome: Outcome::Done,
        usage: Usage::default(),
        detail: Detail::default(),
    }
}

#[tokio::test]
async fn a_subject_stays_with_one_and_is_settled_there() {
    let points = Points::start((0..3).map(|_| Pdp::default()).collect());
    points.all_open().await;
    let mut used = [0; 3];
    for n in 0..60 {
        let subject = format!("user-{n}");
        let home = points.decide(&format!("a-{n}"), &subject).await;
        let again = points.decide(&format!("b-{n}"), &subject).await;
        assert_eq!(home, again, "{subject}");
        used[home] += 1;
        let id = format!("a-{n}");
        points.client.settle(settle(&id)).await.unwrap();
        assert!(points.pdps[home].settled.lock().unwrap().contains(&id));
    }
    assert!(used.iter().all(|count| *count > 0), "{used:?}");
}

#[tokio::test]
async fn one_that_dies_under_load_costs_no_call() {
    let mut points = Points::start((0..3).map(|_| Pdp::default()).collect());
    points.all_open().await;
    let client = points.client.clone();
    let load = tokio::spawn(async move {
        for round in 0..200 {
            let calls = (0..16).map(|n| {
                let client = client.clone();
                async move {
                    let call = call(&format!("{round}-{n}"), &format!("user-{n}"));
                    client.decide(call, BUDGET_MS).await
                }
            });
            for answer in futures::future::join_all(calls).await {
                answer.unwrap();
            }
        }
    });
    while points.pdps[1].ids().len() < 20 {
        tokio::task::yield_now().await;
    }
    points.kill(1).await;
    load.await.unwrap();
    // It comes back, and its own subjects with it.
    let listener = std::net::TcpListener::bind(points.addresses[1]).unwrap();
    points.running[1] = Some(start_tcp(&points.pdps[1], listener));
    points.all_open().await;
    let before = points.pdps[1].ids().len();
    for n in 0..60 {
        points.decide(&format!("late-{n}"), &format!("user-{n}")).await;
    }
    assert!(points.pdps[1].ids().len() > before);
}

#[tokio::test]
async fn one_that_never_answers_is_left_alone() {
    let silent = Pdp { silent: true, ..Pdp::default() };
    let points = Points::start(vec![silent, Pdp::default()]);
    points.all_open().await;
    // Those who belong to the silent one are late until it is left alone.
    let ask =
        |n: usize| points.client.decide(call(&format!("c-{n}"), &format!("user-{n}")), SHORT_MS);
    let mut late = Vec::new();
    for n in 0..200 {
        if ask(n).await.is_err() {
            late.push(n);
        }
        if late.len() == usize::try_from(FAILURES_BEFORE_EJECTION).unwrap() {
            break;
        }
    }
    let again = late.first().copied().unwrap();
    // Now and then one call tries whether it is back.
    let mut tries = 0;
    while ask(again).await.is_err() {
        tries += 1;
        assert!(tries < 20, "{}", points.client.metrics_text());
    }
    assert_eq!(points.asked(&format!("c-{again}")), [0, 1]);
}

#[tokio::test]
async fn what_cannot_work_is_said_at_once() {
    let tls = ClientTlsConfig::default();
    let unused = GrpcDecide::configured(&"http://127.0.0.1:1".into(), Some(&tls), None);
    assert!(matches!(unused, Err(ClientError::UnusedTls)));
    let lost = ClientTlsConfig { ca: vec!["/nonexistent/ca.pem".into()], ..Default::default() };
    let lost = GrpcDecide::configured(&"https://127.0.0.1:1".into(), Some(&lost), None);
    assert!(matches!(lost, Err(ClientError::Tls(_))));
}
