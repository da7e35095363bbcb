//! Decisions over gRPC: one by one and pipelined on one stream, over TCP and a Unix socket, beside
//! an echo that takes and gives the same messages.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use futures::future::join_all;
use hyper_util::rt::TokioIo;
use lictor_proto::call::Call;
use lictor_proto::pb::decision_service_client::DecisionServiceClient;
use lictor_proto::{pb, wire};
use lictor_tests::process::Server;
use lictor_tests::site::Site;
use serde_json::json;
use tokio_stream::StreamExt as _;
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::{Channel, Endpoint, Uri};

use crate::measure::{Case, Comparison, Load};
use crate::serve;

const PDP_SAYS: &str = "decision point listening address=";
const IN_FLIGHT: [usize; 2] = [1, 64];
/// Callers that take turns.
const CALLERS: u64 = 1_024;

/// Makes calls that differ by their id.
struct Calls {
    call: pb::Call,
    number: AtomicU64,
    token: String,
}

impl Calls {
    fn new(token: String) -> Self {
        let call = json!({
            "subject": { "type": "user", "id": "alice@example.com" },
            "agent": { "type": "agent", "id": "expense-report-v1" },
            "action": { "name": "tools/call" },
            "credential": { "kind": "api_key", "id": "benchmark" },
            "resource": { "type": "tool", "id": "accounting/get_employee_cost_center" },
            "context": { "args": { "employee_id": "alice@example.com" }, "protocol": "mcp/2026-07-28" },
            "content": [{ "origin": "tool_args", "pointer": "/employee_id", "media": "text/plain", "text": "alice@example.com" }],
        });
        let call = Call::from_json(call.to_string().as_bytes()).unwrap();
        Self { call: wire::call_to_pb(&call), number: AtomicU64::new(0), token }
    }

    fn next(&self) -> (String, pb::DecideRequest) {
        let number = self.number.fetch_add(1, Ordering::Relaxed);
        let call_id = format!("01a1fc6f-0000-7000-8000-{number:012}");
        let mut call = pb::Call { call_id: call_id.clone(), ..self.call.clone() };
        if let Some(credential) = &mut call.credential {
            // Callers of their own, and so sessions of their own.
            credential.id = format!("benchmark-{}", number % CALLERS);
        }
        (call_id, pb::DecideRequest { call: Some(call), budget_ms: 10_000, dry_run: false })
    }

    /// A request with the credential that a decision point wants; the echo carries it too.
    fn proved<T>(&self, message: T) -> tonic::Request<T> {
        let mut request = tonic::Request::new(message);
        let bearer = format!("Bearer {}", self.token).parse().unwrap();
        request.metadata_mut().insert("authorization", bearer);
        request
    }
}

/// Every answer must be one; the echo's has no effect, a decision point's must be to allow.
fn check(answer: &pb::DecideResponse, allow: bool) {
    let decision = answer.decision.as_ref().unwrap_or_else(|| panic!("{answer:?}"));
    let allowed = decision.effect == pb::Effect::Allow as i32;
    assert!(allowed == allow, "{answer:?}");
}

async fn unary(
    channel: Channel,
    calls: Arc<Calls>,
    allow: bool,
    in_flight: usize,
    end: Instant,
) -> Vec<u64> {
    let workers = (0..in_flight).map(|_| {
        let (mut client, calls) = (DecisionServiceClient::new(channel.clone()), calls.clone());
        tokio::spawn(async move {
            let mut took = Vec::new();
            while Instant::now() < end {
                let began = Instant::now();
                let (_, request) = calls.next();
                check(client.decide(calls.proved(request)).await.unwrap().get_ref(), allow);
                took.push(nanos(began));
            }
            took
        })
    });
    join_all(workers).await.into_iter().flat_map(Result::unwrap).collect()
}

async fn stream(
    channel: Channel,
    calls: Arc<Calls>,
    allow: bool,
    in_flight: usize,
    end: Instant,
) -> Vec<u64> {
    let (writer, queue) = tokio::sync::mpsc::channel(in_flight);
    let mut began = HashMap::new();
    for _ in 0..in_flight {
        let (call_id, request) = calls.next();
        began.insert(call_id, Instant::now());
        writer.send(request).await.unwrap();
    }
    let mut client = DecisionServiceClient::new(channel);
    let request = calls.proved(ReceiverStream::new(queue));
    let mut answers = client.decide_stream(request).await.unwrap().into_inner();
    let mut took = Vec::new();
    while let Some(answer) = answers.next().await {
        let answer = answer.unwrap();
        check(&answer, allow);
        took.push(nanos(began.remove(&answer.call_id).unwrap()));
        if Instant::now() < end {
            let (call_id, request) = calls.next();
            began.insert(call_id, Instant::now());
            writer.send(request).await.unwrap();
        } else if began.is_empty() {
            break;
        }
    }
    took
}

fn nanos(began: Instant) -> u64 {
    u64::try_from(began.elapsed().as_nanos()).unwrap_or(u64::MAX)
}

async fn over_tcp(address: std::net::SocketAddr) -> Channel {
    let endpoint = Endpoint::from_shared(format!("http://{address}")).unwrap();
    endpoint.tcp_nodelay(true).connect().await.unwrap()
}

async fn over_socket(path: PathBuf) -> Channel {
    let dial = tower::service_fn(move |_: Uri| {
        let path = path.clone();
        async move { tokio::net::UnixStream::connect(path).await.map(TokioIo::new) }
    });
    Endpoint::from_static("http://localhost").connect_with_connector(dial).await.unwrap()
}

async fn decision_point(site: &Site) -> Server {
    let socket = site.path("pdp.sock");
    let config = site.common("audit", &format!("socket = {socket:?}"));
    site.write("pdp.toml", &config);
    Server::start("lictor-pdp", &["-c", "pdp.toml"], site.root(), PDP_SAYS).await.unwrap()
}

fn token(path: &Path) -> String {
    std::fs::read_to_string(path).unwrap().trim().to_owned()
}

/// Echo and decision point, in every way.
pub(crate) async fn comparison() -> Comparison {
    let site = Site::new();
    let echo = serve::start("echo", site.root()).await;
    let pdp = decision_point(&site).await;
    let calls = Arc::new(Calls::new(token(&site.path("state/pep.token"))));
    let channels = [
        ("TCP", over_tcp(serve::address(&echo)).await, over_tcp(pdp.address(PDP_SAYS)).await),
        (
            "socket",
            over_socket(site.path("echo.sock")).await,
            over_socket(site.path("pdp.sock")).await,
        ),
    ];
    let mut cases = Vec::new();
    for in_flight in IN_FLIGHT {
        for (way, echo_channel, pdp_channel) in &channels {
            for pipelined in [false, true] {
                let servers = [(echo_channel, echo.pid(), false), (pdp_channel, pdp.pid(), true)];
                for (channel, pid, allow) in servers {
                    let name = name(way, pipelined, allow);
                    let load = load(channel.clone(), calls.clone(), allow, in_flight, pipelined);
                    // The decision point comes right after its echo.
                    let base = cases.len() - usize::from(allow);
                    cases.push(Case { name, in_flight, base, pids: vec![pid], load });
                }
            }
        }
    }
    Comparison { cases, _keep: Box::new((echo, pdp, site)) }
}

fn load(
    channel: Channel,
    calls: Arc<Calls>,
    allow: bool,
    in_flight: usize,
    pipelined: bool,
) -> Load {
    Box::new(move |end| {
        let (channel, calls) = (channel.clone(), calls.clone());
        Box::pin(async move {
            if pipelined {
                stream(channel, calls, allow, in_flight, end).await
            } else {
                unary(channel, calls, allow, in_flight, end).await
            }
        })
    })
}

fn name(way: &str, pipelined: bool, decided: bool) -> &'static str {
    match (way, pipelined, decided) {
        ("TCP", false, false) => "echo, TCP, unary",
        ("TCP", false, true) => "decision, TCP, unary",
        ("TCP", true, false) => "echo, TCP, stream",
        ("TCP", true, true) => "decision, TCP, stream",
        (_, false, false) => "echo, socket, unary",
        (_, false, true) => "decision, socket, unary",
        (_, true, false) => "echo, socket, stream",
        (_, true, true) => "decision, socket, stream",
    }
}
