//! Whole decisions of the standard policy, which reads the session of each call: over gRPC one by
//! one and on streams, over TCP and a Unix socket, with budgets in either store, and in process.
//! What they are compared with is a bare echo of the same messages.

use std::path::{Path, PathBuf};
use std::process::Command;

use lictor_tests::process::{Server, binary};
use lictor_tests::redis;
use lictor_tests::standard::Shape;
use tempfile::TempDir;

use crate::grpc_client::{Asked, Way, load, over_socket, over_tcp};
use crate::measure::{Case, Load};
use crate::proc::Process;
use crate::section::{Chosen, Section, Started, Target, tried};
use crate::{serve, worker};

const PDP_SAYS: &str = "decision point listening address=";
/// What the bundle is signed for.
const SCOPE: &str = "bench";
/// Tools of the registry.
const TOOLS: usize = 100;

/// Names with what they are compared with: echo, then what is asked in the same way.
const TARGETS: [(&str, &str); 12] = [
    ("echo, TCP, unary", "echo, TCP, unary"),
    ("decision, TCP, unary", "echo, TCP, unary"),
    ("echo, TCP, stream", "echo, TCP, stream"),
    ("decision, TCP, stream", "echo, TCP, stream"),
    ("echo, socket, unary", "echo, socket, unary"),
    ("decision, socket, unary", "echo, socket, unary"),
    ("echo, socket, stream", "echo, socket, stream"),
    ("decision, socket, stream", "echo, socket, stream"),
    ("decision, socket, stream, three budgets, embedded store", "echo, socket, stream"),
    ("decision, socket, stream, three budgets, Redis", "echo, socket, stream"),
    ("decision, in process", "echo, socket, stream"),
    ("decision, in process, three budgets, embedded store", "echo, socket, stream"),
];

pub(crate) fn section() -> Section {
    Section {
        name: "gRPC",
        targets: TARGETS.iter().map(|(what, base)| Target::new(what, base)).collect(),
        one_at_a_time: false,
        start: |chosen| Box::pin(start(chosen)),
    }
}

/// A folder with a signed bundle and what it takes to serve it.
struct Point {
    folder: TempDir,
}

impl Point {
    fn new(limits: bool) -> Result<Self, String> {
        let point = Self { folder: tempfile::tempdir().map_err(|error| error.to_string())? };
        for (name, text) in (Shape { limits, ..Shape::standard(TOOLS) }).files() {
            point.write(&format!("source/{name}"), &text)?;
        }
        point.lictor(&["keys", "new", "bundle", "-o", "keys"])?;
        point.lictor(&["build", "source", "-o", "built.tar.gz"])?;
        let key = ["--key", "keys/bundle.key", "--scope", SCOPE, "-o", "bundle.tar.gz"];
        point.lictor(&[["sign", "built.tar.gz"].as_slice(), &key].concat())?;
        Ok(point)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn write(&self, name: &str, text: &str) -> Result<(), String> {
        let path = self.path(name);
        let folder = path.parent().unwrap_or(&path);
        std::fs::create_dir_all(folder).map_err(|error| error.to_string())?;
        std::fs::write(&path, text).map_err(|error| error.to_string())
    }

    fn lictor(&self, args: &[&str]) -> Result<(), String> {
        let mut command = Command::new(binary("lictor"));
        command.args(args).current_dir(self.folder.path());
        let output = command.output().map_err(|error| error.to_string())?;
        let said = || String::from_utf8_lossy(&output.stderr).into_owned();
        if output.status.success() { Ok(()) } else { Err(format!("lictor {args:?}: {}", said())) }
    }

    /// Writes the configuration, with further lines of `[pdp]`.
    fn configure(&self, more: &str) -> Result<(), String> {
        let root = self.folder.path().display();
        self.write(
            "pdp.toml",
            &format!(
                r#"[audit]
dir = "{root}/audit"
deployment = "bench"
durability = "bounded"

[pdp]
listen = "127.0.0.1:0"
socket = "{root}/pdp.sock"
bundle = "{root}/bundle.tar.gz"
trust_keys = ["{root}/keys/bundle.pub"]
scope = "{SCOPE}"
state_dir = "{root}/state"
{more}
"#
            ),
        )
    }

    async fn serve(&self, more: &str) -> Result<Server, String> {
        self.configure(more)?;
        let args = ["-c", "pdp.toml"];
        Server::start("lictor-pdp", &args, self.folder.path(), PDP_SAYS).await
    }

    fn asked(&self, channels: Vec<tonic::transport::Channel>) -> Result<Asked, String> {
        let token = std::fs::read_to_string(self.path("state/pep.token"));
        let token = token.map_err(|error| error.to_string())?.trim().to_owned();
        Ok(Asked { channels, allows: true, token })
    }
}

/// A connection for each core, as enforcement points make them.
async fn sockets(path: &Path) -> Result<Vec<tonic::transport::Channel>, String> {
    let mut channels = Vec::new();
    for _ in 0..cores() {
        channels.push(over_socket(path.to_owned()).await?);
    }
    Ok(channels)
}

fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, std::num::NonZero::get)
}

/// Makes the load for so many in flight.
type Loads = Box<dyn Fn(usize) -> Load>;

/// What a row is made of.
struct Source {
    what: &'static str,
    processes: Vec<Process>,
    loads: Loads,
}

fn asking(what: &'static str, asked: Asked, servers: &[(&'static str, u32)]) -> Source {
    let way = if what.contains("unary") { Way::Unary } else { Way::Stream };
    let mut processes: Vec<_> =
        servers.iter().map(|(name, pid)| Process::new(name, *pid)).collect();
    processes.push(Process::client());
    Source { what, processes, loads: Box::new(move |n| load(asked.clone(), way, n)) }
}

async fn start(chosen: Chosen) -> Result<Started, String> {
    let (mut sources, first) = plain().await?;
    let (mut keep, mut failed) = (vec![first], Vec::new());
    for (at, (what, _)) in TARGETS.iter().enumerate().skip(sources.len()) {
        if !chosen.targets.iter().any(|target| target.what == *what) {
            continue;
        }
        let started = match at {
            8 | 9 => tried(with_budgets(what, at == 9)).await,
            _ => tried(inside(what, at == 11)).await,
        };
        match started {
            Ok((source, own)) => {
                sources.push(source);
                keep.push(own);
            }
            Err(error) => failed.push(((*what).to_owned(), error)),
        }
    }
    let mut cases = Vec::new();
    for in_flight in &chosen.in_flight {
        for target in &chosen.targets {
            let Some(source) = sources.iter().find(|source| source.what == target.what) else {
                continue;
            };
            cases.push(Case {
                what: target.what.clone(),
                base: target.base.clone(),
                in_flight: *in_flight,
                processes: source.processes.clone(),
                load: (source.loads)(*in_flight),
                allocations: None,
                note: note(&target.what).to_owned(),
            });
        }
    }
    Ok(Started { cases, failed, missing: Vec::new(), keep: Box::new(keep) })
}

/// What is on.
fn note(what: &str) -> &'static str {
    match what {
        _ if what.starts_with("echo") => "",
        _ if what.contains("budgets") => "session and limits on, bounded audit",
        _ => "session on, bounded audit",
    }
}

/// Servers and folders.
type Keep = Box<dyn std::any::Any>;

/// Echo and decision point in every way.
async fn plain() -> Result<(Vec<Source>, Keep), String> {
    let point = Point::new(false)?;
    let pdp = point.serve("").await?;
    let socket = point.path("echo.sock");
    let args = ["--socket", &socket.display().to_string()];
    let echo = serve::start("echo", point.folder.path(), &args).await?;
    let mut sources = Vec::new();
    for (what, _) in TARGETS.iter().take(8) {
        let allows = what.starts_with("decision");
        let (server, name) = if allows { (&pdp, "pdp") } else { (&echo, "echo") };
        let channels = if what.contains("socket") {
            sockets(&point.path(if allows { "pdp.sock" } else { "echo.sock" })).await?
        } else {
            let says = if allows { PDP_SAYS } else { serve::READY };
            let mut channels = Vec::new();
            for _ in 0..cores() {
                channels.push(over_tcp(server.address(says)).await?);
            }
            channels
        };
        let asked = Asked { allows, ..point.asked(channels)? };
        sources.push(asking(what, asked, &[(name, server.pid())]));
    }
    Ok((sources, Box::new((pdp, echo, point))))
}

/// A decision point with budgets.
async fn with_budgets(what: &'static str, shared: bool) -> Result<(Source, Keep), String> {
    let point = Point::new(true)?;
    let store = if shared { Some(redis::Server::start().await) } else { None };
    let lines = store
        .as_ref()
        .map(|store| format!("state = {{ kind = \"redis\", redis = {:?} }}", store.url()));
    let pdp = point.serve(&lines.unwrap_or_default()).await?;
    let channels = sockets(&point.path("pdp.sock")).await?;
    let mut servers = vec![("pdp", pdp.pid())];
    servers.extend(store.as_ref().map(|store| ("redis", store.pid())));
    let source = asking(what, point.asked(channels)?, &servers);
    Ok((source, Box::new((pdp, point, store))))
}

/// A decision point in the process that asks it.
async fn inside(what: &'static str, limits: bool) -> Result<(Source, Keep), String> {
    let point = Point::new(limits)?;
    point.configure("")?;
    let config = point.path("pdp.toml").display().to_string();
    let server = serve::start("inside", point.folder.path(), &["--config", &config]).await?;
    let address = serve::address(&server);
    let processes = vec![Process::new("both", server.pid())];
    let source = Source { what, processes, loads: Box::new(move |n| worker::load(address, n)) };
    Ok((source, Box::new((server, point))))
}
