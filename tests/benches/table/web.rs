//! The enforcement points beside the servers behind them, everything on: all in one process, and as
//! processes of their own with the decision point over a Unix socket.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures::future::join_all;
use lictor_tests::client::{MODERN, tool_call};
use lictor_tests::http1::{Connection, post};
use lictor_tests::process::Server;
use lictor_tests::site::{Site, Up};
use serde_json::json;

use crate::measure::{Case, Done, Load, nanos};
use crate::peers::{self, Peers};
use crate::proc::Process;
use crate::section::{Chosen, Section, Started, Target, tried};
use crate::{Options, serve};

const PDP_SAYS: &str = "decision point listening address=";
const MCP_SAYS: &str = "enforcement point listens listen=";
const HTTP_SAYS: &str = "listening address=";

/// What ours do.
const ON: &str = "everything on, bounded audit";
const DIRECTLY: &str = "the server behind, directly";
const ONE: &str = "one process";
const APART: &str = "PEP, and PDP over a Unix socket";

/// What is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// A chat of about 1 KB each way.
    Chat,
    /// The same, answered in 50 pieces.
    Stream,
    /// A call of one tool.
    Tool,
}

impl Kind {
    const fn section(self) -> &'static str {
        match self {
            Self::Chat => "chat",
            Self::Stream => "chat stream",
            Self::Tool => "tools/call",
        }
    }

    /// What every right answer has in it.
    const fn mark(self) -> &'static str {
        match self {
            Self::Chat => "\"finish_reason\":",
            Self::Stream => "[DONE]",
            Self::Tool => "\"isError\":false",
        }
    }

    const fn paths(self) -> [&'static str; 2] {
        match self {
            Self::Chat | Self::Stream => ["/v1/chat/completions"; 2],
            Self::Tool => ["/accounting", "/mcp/accounting"],
        }
    }

    /// What is said before the address, by everything in one process and by the part alone.
    const fn says(self) -> [&'static str; 2] {
        match self {
            Self::Chat | Self::Stream => ["LLM providers    http://", HTTP_SAYS],
            Self::Tool => ["MCP servers      http://", MCP_SAYS],
        }
    }

    const fn caller(self) -> [&'static str; 2] {
        match self {
            Self::Chat | Self::Stream => ["dave@example.com", "pr-review-v1"],
            Self::Tool => ["alice@example.com", "expense-report-v1"],
        }
    }

    fn message(self) -> Message {
        let mut headers = vec![("content-type", "application/json".to_owned())];
        let body = if self == Self::Tool {
            let tool = "get_employee_cost_center";
            headers.push(("accept", "application/json, text/event-stream".to_owned()));
            headers.push(("mcp-protocol-version", MODERN.to_owned()));
            headers.push(("mcp-method", "tools/call".to_owned()));
            headers.push(("mcp-name", tool.to_owned()));
            tool_call(tool, &json!({ "employee_id": "alice@example.com" }))
        } else {
            let sentence = "Say in a few words what the report of the third quarter is about. ";
            let messages = json!([{ "role": "user", "content": sentence.repeat(12) }]);
            let mut body = json!({ "model": "gpt-5-mini", "messages": messages });
            if self == Self::Stream {
                body["stream"] = json!(true);
                body["stream_options"] = json!({ "include_usage": true });
            }
            body
        };
        Message { headers, body: body.to_string(), mark: self.mark() }
    }
}

/// The sections, with rows for the peers that are wanted.
pub(crate) fn sections(options: &Options) -> [Section; 3] {
    [
        section(options, Kind::Chat, |chosen| Box::pin(start(Kind::Chat, chosen))),
        section(options, Kind::Stream, |chosen| Box::pin(start(Kind::Stream, chosen))),
        section(options, Kind::Tool, |chosen| Box::pin(start(Kind::Tool, chosen))),
    ]
}

fn section(options: &Options, kind: Kind, start: crate::section::Start) -> Section {
    let mut names = vec![DIRECTLY, ONE, APART];
    if options.peers && kind != Kind::Tool {
        names.extend(peers::NAMES);
    }
    Section {
        name: kind.section(),
        targets: names.into_iter().map(|name| Target::new(name, DIRECTLY)).collect(),
        one_at_a_time: false,
        start,
    }
}

/// One request that is sent again and again.
#[derive(Debug, Clone)]
pub(crate) struct Message {
    headers: Vec<(&'static str, String)>,
    body: String,
    mark: &'static str,
}

/// Where it is sent, and as whom.
#[derive(Debug, Clone)]
pub(crate) struct To {
    pub(crate) what: &'static str,
    pub(crate) address: SocketAddr,
    pub(crate) path: &'static str,
    /// Each client has a credential, and so a session, of its own.
    pub(crate) keys: Arc<Vec<String>>,
    /// Headers that only this server wants.
    pub(crate) headers: Vec<(&'static str, String)>,
    pub(crate) processes: Vec<Process>,
}

impl To {
    fn load(&self, message: &Message, in_flight: usize) -> Load {
        let requests: Vec<Arc<Vec<u8>>> =
            (0..in_flight).map(|client| Arc::new(self.request(message, client))).collect();
        let (address, mark) = (self.address, message.mark);
        Box::new(move |seconds| {
            let began = Instant::now();
            let end = began + Duration::from_secs_f64(seconds);
            let clients: Vec<_> = requests
                .iter()
                .map(|request| tokio::spawn(client(address, Arc::clone(request), mark, end)))
                .collect();
            Box::pin(async move {
                let mut all = Vec::new();
                for took in join_all(clients).await {
                    all.extend(took.map_err(|error| error.to_string())??);
                }
                Ok(Done::of(all, began))
            })
        })
    }

    fn request(&self, message: &Message, client: usize) -> Vec<u8> {
        let authorization = format!("Bearer {}", self.keys[client % self.keys.len()]);
        let mut headers = vec![("authorization", authorization.as_str())];
        let more = message.headers.iter().chain(&self.headers);
        headers.extend(more.map(|(name, value)| (*name, value.as_str())));
        post(self.address, self.path, &headers, &message.body)
    }

    /// Sends one request.
    pub(crate) async fn try_once(&self, message: &Message) -> Result<(), String> {
        let request = self.request(message, 0);
        once(&mut Connection::new(self.address), &request, message.mark).await
    }
}

async fn client(
    address: SocketAddr,
    request: Arc<Vec<u8>>,
    mark: &'static str,
    end: Instant,
) -> Result<Vec<u64>, String> {
    let mut connection = Connection::new(address);
    let mut took = Vec::new();
    while Instant::now() < end {
        let began = Instant::now();
        once(&mut connection, &request, mark).await?;
        took.push(nanos(began));
    }
    Ok(took)
}

/// One request, whose answer must be right.
async fn once(connection: &mut Connection, request: &[u8], mark: &str) -> Result<(), String> {
    let answer = connection.send(request).await?;
    if answer.status == 200 && answer.has(mark) {
        return Ok(());
    }
    let body = String::from_utf8_lossy(&answer.body);
    let body: String = body.chars().take(300).collect();
    Err(format!("status {}: {body}", answer.status))
}

async fn start(kind: Kind, chosen: Chosen) -> Result<Started, String> {
    let site = Site::new();
    let behind = serve::start("behind", site.root(), &[]).await?;
    let address = serve::address(&behind);
    let [subject, agent] = kind.caller();
    let ours = chosen.any(ONE) || chosen.any(APART);
    let count = if ours { chosen.most() } else { 1 };
    let keys = Arc::new(site.api_keys(subject, agent, count));
    let [path, mcp_path] = kind.paths();
    let to = |what, address, path, processes: &[(&'static str, u32)]| {
        let mut all: Vec<_> =
            processes.iter().map(|(name, pid)| Process::new(name, *pid)).collect();
        all.extend([Process::new("behind", behind.pid()), Process::client()]);
        To { what, address, path, keys: Arc::clone(&keys), headers: Vec::new(), processes: all }
    };
    let mut targets = vec![to(DIRECTLY, address, path, &[])];
    let mut keep: Vec<Box<dyn std::any::Any>> = Vec::new();
    let mut failed = Vec::new();
    if chosen.any(ONE) {
        match tried(one_process(&site, address)).await {
            Ok(up) => {
                let address = up.server.address(kind.says()[0]);
                targets.push(to(ONE, address, mcp_path, &[("lictor", up.server.pid())]));
                keep.push(Box::new(up));
            }
            Err(error) => failed.push((ONE.to_owned(), error)),
        }
    }
    if chosen.any(APART) {
        match tried(apart(kind, &site, address)).await {
            Ok((apart, pep, pdp)) => {
                let processes = [("pep", pep.pid()), ("pdp", pdp.pid())];
                targets.push(to(APART, pep.address(kind.says()[1]), mcp_path, &processes));
                keep.push(Box::new((pep, pdp, apart)));
            }
            Err(error) => failed.push((APART.to_owned(), error)),
        }
    }
    let message = kind.message();
    let names: Vec<&str> = chosen.targets.iter().map(|target| target.what.as_str()).collect();
    let mut peers = Peers::start(&names, &chosen.options, address, &message).await?;
    for target in &mut peers.targets {
        target.processes.extend([Process::new("behind", behind.pid()), Process::client()]);
    }
    targets.append(&mut peers.targets);
    let missing = std::mem::take(&mut peers.missing);
    keep.push(Box::new((peers, behind, site)));
    let cases = cases(&targets, &chosen, &message);
    Ok(Started { cases, failed, missing, keep: Box::new(keep) })
}

fn cases(targets: &[To], chosen: &Chosen, message: &Message) -> Vec<Case> {
    let of = |in_flight: usize| {
        targets.iter().map(move |to| Case {
            what: to.what.to_owned(),
            base: DIRECTLY.to_owned(),
            in_flight,
            processes: to.processes.clone(),
            load: to.load(message, in_flight),
            allocations: None,
            note: if [ONE, APART].contains(&to.what) { ON.to_owned() } else { String::new() },
        })
    };
    chosen.in_flight.iter().copied().flat_map(of).collect()
}

async fn one_process(site: &Site, behind: SocketAddr) -> Result<Up, String> {
    let config = bounded(&site.common("audit", "")) + &http(site, behind, "") + &mcp(behind, "");
    Up::start(site, &config).await
}

/// Enforcement point and decision point, with the folder that they live in.
async fn apart(
    kind: Kind,
    one: &Site,
    behind: SocketAddr,
) -> Result<(Site, Server, Server), String> {
    let site = Site::new();
    let copied = std::fs::copy(one.path("api-keys.json"), site.path("api-keys.json"));
    copied.map_err(|error| error.to_string())?;
    let socket = site.path("pdp.sock");
    let uid = rustix::process::geteuid().as_raw();
    let door = format!("socket = {socket:?}\npeers = {{ \"{uid}\" = [\"pep\"] }}");
    site.write("pdp.toml", &bounded(&site.common("audit", &door)));
    let pdp = Server::start("lictor-pdp", &["-c", "pdp.toml"], site.root(), PDP_SAYS).await?;
    let state = site.path("pep");
    let way = format!("pdp = \"unix:{}\"\nstate_dir = {state:?}", socket.display());
    let (program, section) = if kind == Kind::Tool {
        ("lictor-pep-mcp", mcp(behind, &way))
    } else {
        ("lictor-pep-http", http(&site, behind, &way))
    };
    site.write("pep.toml", &(bounded(&site.common("pep-audit", "")) + &section));
    let pep = Server::start(program, &["-c", "pep.toml"], site.root(), kind.says()[1]).await?;
    Ok((site, pep, pdp))
}

/// What a record on stable storage costs is the disk's matter.
fn bounded(config: &str) -> String {
    config.replacen("[audit]\n", "[audit]\ndurability = \"bounded\"\n", 1)
}

fn http(site: &Site, behind: SocketAddr, more: &str) -> String {
    let key = site.path("provider.key");
    format!(
        "[pep_http]\nlisten = \"127.0.0.1:0\"\nupstreams = [{{ id = \"openai\", base_url = \"http://{behind}/v1\", key_file = {key:?} }}]\n{more}\n"
    )
}

fn mcp(behind: SocketAddr, more: &str) -> String {
    format!(
        "[pep_mcp]\nlisten = \"127.0.0.1:0\"\nservers = [{{ id = \"accounting\", url = \"http://{behind}/accounting\" }}]\n{more}\n"
    )
}
