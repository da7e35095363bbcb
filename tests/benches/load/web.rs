//! The enforcement points beside the servers behind them, everything on: all in one process, and as
//! processes of their own with the decision point over a Unix socket.

use std::time::Instant;

use futures::future::join_all;
use http::Method;
use lictor_tests::client::{Http, MODERN, tool_call};
use lictor_tests::process::Server;
use lictor_tests::site::{Site, Up};
use serde_json::json;

use crate::measure::{Case, Comparison, Load};
use crate::serve;

const PDP_SAYS: &str = "decision point listening address=";
const MCP_SAYS: &str = "enforcement point listens listen=";
const HTTP_SAYS: &str = "listening address=";
const IN_FLIGHT: [usize; 2] = [1, 32];

/// One target of a comparison.
struct Target {
    name: &'static str,
    url: String,
    pids: Vec<u32>,
}

/// One request that is sent again and again.
#[derive(Clone)]
struct Message {
    /// Each client has a credential, and so a session, of its own.
    keys: Vec<String>,
    headers: Vec<(&'static str, &'static str)>,
    body: String,
}

fn load(url: String, message: Message, in_flight: usize) -> Load {
    let http = Http::default();
    Box::new(move |end| {
        let workers: Vec<_> = (0..in_flight)
            .map(|number| {
                tokio::spawn(worker(http.clone(), url.clone(), message.clone(), number, end))
            })
            .collect();
        Box::pin(
            async move { join_all(workers).await.into_iter().flat_map(Result::unwrap).collect() },
        )
    })
}

async fn worker(
    http: Http,
    url: String,
    message: Message,
    number: usize,
    end: Instant,
) -> Vec<u64> {
    let authorization = format!("Bearer {}", message.keys[number]);
    let mut headers = message.headers.clone();
    let own = [("content-type", "application/json"), ("authorization", authorization.as_str())];
    let headers: Vec<(&str, &str)> = own.into_iter().chain(headers.drain(..)).collect();
    let mut took = Vec::new();
    while Instant::now() < end {
        let began = Instant::now();
        let answer = http.send(Method::POST, &url, &headers, message.body.clone()).await.unwrap();
        assert!(answer.status == 200 && answer.refusal().is_none(), "{answer:?}");
        took.push(u64::try_from(began.elapsed().as_nanos()).unwrap_or(u64::MAX));
    }
    took
}

fn cases(targets: &[Target], message: &Message) -> Vec<Case> {
    let mut cases = Vec::new();
    for in_flight in IN_FLIGHT {
        let base = cases.len();
        for Target { name, url, pids } in targets {
            let load = load(url.clone(), message.clone(), in_flight);
            cases.push(Case { name, in_flight, base, pids: pids.clone(), load });
        }
    }
    cases
}

/// Both enforcement points in one process with the decision point, and all as processes.
struct Everything {
    behind: Server,
    up: Up,
    pdp: Server,
    pep_http: Server,
    pep_mcp: Server,
    keys: Vec<String>,
    _sites: [Site; 2],
}

impl Everything {
    async fn start(subject: &str, agent: &str) -> Self {
        let sites = [Site::new(), Site::new()];
        let [one, apart] = &sites;
        let keys = one.api_keys(subject, agent, IN_FLIGHT[1]);
        std::fs::copy(one.path("api-keys.json"), apart.path("api-keys.json")).unwrap();
        let behind = serve::start("behind", one.root()).await;
        let address = serve::address(&behind);
        let config = one.common("audit", "") + &http(one, address, "") + &mcp(address, "");
        let up = Up::start(one, &config).await.unwrap();
        let socket = apart.path("pdp.sock");
        let uid = rustix::process::geteuid().as_raw();
        let door = format!("socket = {socket:?}\npeers = {{ \"{uid}\" = [\"pep\"] }}");
        apart.write("pdp.toml", &apart.common("audit", &door));
        let start = |name: &'static str, config: &'static str, ready: &'static str| {
            let root = apart.root();
            async move { Server::start(name, &["-c", config], root, ready).await.unwrap() }
        };
        let pdp = start("lictor-pdp", "pdp.toml", PDP_SAYS).await;
        let way = |name: &str| {
            let state = apart.path(name);
            format!("pdp = \"unix:{}\"\nstate_dir = {state:?}", socket.display())
        };
        apart.write(
            "http.toml",
            &(apart.common("http-audit", "") + &http(apart, address, &way("http"))),
        );
        apart.write("mcp.toml", &(apart.common("mcp-audit", "") + &mcp(address, &way("mcp"))));
        let pep_http = start("lictor-pep-http", "http.toml", HTTP_SAYS).await;
        let pep_mcp = start("lictor-pep-mcp", "mcp.toml", MCP_SAYS).await;
        Self { behind, up, pdp, pep_http, pep_mcp, keys, _sites: sites }
    }
}

fn http(site: &Site, behind: std::net::SocketAddr, more: &str) -> String {
    let key = site.path("provider.key");
    format!(
        "[pep_http]\nlisten = \"127.0.0.1:0\"\nupstreams = [{{ id = \"openai\", base_url = \"http://{behind}/v1\", key_file = {key:?} }}]\n{more}\n"
    )
}

fn mcp(behind: std::net::SocketAddr, more: &str) -> String {
    format!(
        "[pep_mcp]\nlisten = \"127.0.0.1:0\"\nservers = [{{ id = \"accounting\", url = \"http://{behind}/accounting\" }}]\n{more}\n"
    )
}

/// Chats of about 1 KB each way.
pub(crate) async fn chat() -> Comparison {
    let all = Everything::start("dave@example.com", "pr-review-v1").await;
    let content = "Say in a few words what the report of the third quarter is about. ".repeat(12);
    let body =
        json!({ "model": "gpt-5-mini", "messages": [{ "role": "user", "content": content }] });
    let message = Message { keys: all.keys.clone(), headers: Vec::new(), body: body.to_string() };
    let path = "/v1/chat/completions";
    let targets = [
        Target {
            name: "provider directly",
            url: format!("http://{}{path}", serve::address(&all.behind)),
            pids: vec![all.behind.pid()],
        },
        Target {
            name: "one process",
            url: format!("{}/chat/completions", all.up.http),
            pids: vec![all.up.server.pid()],
        },
        Target {
            name: "PDP over a socket: both",
            url: format!("http://{}{path}", all.pep_http.address(HTTP_SAYS)),
            pids: vec![all.pep_http.pid(), all.pdp.pid()],
        },
        Target {
            name: "PDP over a socket: PEP alone",
            url: format!("http://{}{path}", all.pep_http.address(HTTP_SAYS)),
            pids: vec![all.pep_http.pid()],
        },
    ];
    Comparison { cases: cases(&targets, &message), _keep: Box::new(all) }
}

/// Calls of one tool.
pub(crate) async fn tools() -> Comparison {
    let all = Everything::start("alice@example.com", "expense-report-v1").await;
    let tool = "get_employee_cost_center";
    let body = tool_call(tool, &json!({ "employee_id": "alice@example.com" })).to_string();
    let headers =
        vec![("mcp-protocol-version", MODERN), ("mcp-method", "tools/call"), ("mcp-name", tool)];
    let message = Message { keys: all.keys.clone(), headers, body };
    let targets = [
        Target {
            name: "tool server directly",
            url: format!("http://{}/accounting", serve::address(&all.behind)),
            pids: vec![all.behind.pid()],
        },
        Target {
            name: "one process",
            url: format!("{}/accounting", all.up.mcp),
            pids: vec![all.up.server.pid()],
        },
        Target {
            name: "PDP over a socket: both",
            url: format!("http://{}/mcp/accounting", all.pep_mcp.address(MCP_SAYS)),
            pids: vec![all.pep_mcp.pid(), all.pdp.pid()],
        },
        Target {
            name: "PDP over a socket: PEP alone",
            url: format!("http://{}/mcp/accounting", all.pep_mcp.address(MCP_SAYS)),
            pids: vec![all.pep_mcp.pid()],
        },
    ];
    Comparison { cases: cases(&targets, &message), _keep: Box::new(all) }
}
