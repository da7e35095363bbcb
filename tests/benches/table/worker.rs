//! Decisions without any transport, each sort in a process of its own, so that its time and memory
//! are its own. A line on a loopback connection says for how many seconds and how many at once; a
//! line of JSON says what came of it.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use futures::future::join_all;
use lictor_identity::Role;
use lictor_pdp::clock::Clock;
use lictor_pdp::config::{AuditConfig, PdpConfig};
use lictor_pdp::peer::{Peer, PeerHandle};
use lictor_proto::call::Call;
use lictor_proto::decide::Decide as _;
use lictor_proto::decision::Effect;
use lictor_tests::pure::Ready;
use lictor_tests::standard::call;
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::{TcpListener, TcpStream};

use crate::measure::{Done, Load, nanos};
use crate::serve::READY;

/// Callers, each with a session of its own, that take turns in one process.
const CALLERS: u64 = 256;
/// Different calls of each: more than the longest cycle that counts as a loop.
const CALLS_OF_EACH: u64 = 16;
/// What a decision may take here, milliseconds: nothing may be late.
const BUDGET_MS: u32 = 10_000;

/// What the worker is asked.
#[derive(Serialize, Deserialize)]
struct Order {
    seconds: f64,
    in_flight: usize,
}

/// What decides.
enum Decider {
    Pure(Box<Ready>),
    Inside { handle: PeerHandle, calls: Vec<Arc<Call>>, next: AtomicUsize },
}

/// Serves pure decisions of the bundle of that name, until it is killed.
pub(crate) async fn pure(name: &str) {
    let began = Instant::now();
    let ready = Ready::named(name).unwrap();
    let note = format!("{}; loaded in {} ms", ready.engines(), began.elapsed().as_millis());
    serve(Decider::Pure(Box::new(ready)), &note).await;
}

/// The sections of `lictor.toml` that matter here.
#[derive(Deserialize)]
struct File {
    pdp: PdpConfig,
    audit: AuditConfig,
}

/// Serves whole decisions by a decision point in this process, asked as `lictor up` asks it.
pub(crate) async fn inside(config: &Path) {
    let file: File = toml::from_str(&std::fs::read_to_string(config).unwrap()).unwrap();
    let running = lictor_pdp::server::start(file.pdp, &file.audit, None, Clock::system());
    let running = running.await.unwrap();
    let peer = Peer::new("bench", &[Role::Pep]);
    let handle = PeerHandle::new(Arc::clone(running.pdp()), peer);
    let make = |n| Arc::new(Call::from_json(call(n, n % CALLERS).as_bytes()).unwrap());
    let calls = (0..CALLERS * CALLS_OF_EACH).map(make).collect();
    serve(Decider::Inside { handle, calls, next: AtomicUsize::new(0) }, "").await;
}

async fn serve(decider: Decider, note: &str) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    println!("{READY}{}", listener.local_addr().unwrap());
    let (decider, note) = (Arc::new(decider), note.to_owned());
    loop {
        let (stream, _) = listener.accept().await.unwrap();
        let (decider, note) = (Arc::clone(&decider), note.clone());
        tokio::spawn(async move {
            let (reader, mut writer) = stream.into_split();
            let mut lines = BufReader::new(reader).lines();
            while let Ok(Some(line)) = lines.next_line().await {
                let answer = match serde_json::from_str::<Order>(&line) {
                    Ok(order) => serde_json::to_string(&decider.run(&order).await).unwrap(),
                    Err(_) => note.clone(),
                };
                if writer.write_all(format!("{answer}\n").as_bytes()).await.is_err() {
                    break;
                }
            }
        });
    }
}

impl Decider {
    async fn run(self: &Arc<Self>, order: &Order) -> Result<Done, String> {
        let began = Instant::now();
        let end = began + Duration::from_secs_f64(order.seconds);
        let worker = |_| {
            let own = Arc::clone(self);
            tokio::spawn(async move {
                let mut took = Vec::new();
                while Instant::now() < end {
                    let began = Instant::now();
                    own.once().await?;
                    took.push(nanos(began));
                    // Without it a decision that waits for nothing keeps the others from a core.
                    tokio::task::yield_now().await;
                }
                Ok(took)
            })
        };
        let mut all = Vec::new();
        for took in join_all((0..order.in_flight).map(worker)).await {
            let took: Result<Vec<u64>, String> = took.map_err(|error| error.to_string())?;
            all.extend(took?);
        }
        Ok(Done::of(all, began))
    }

    async fn once(&self) -> Result<(), String> {
        let (handle, calls, next) = match self {
            Self::Pure(ready) => {
                return if ready.decide() { Ok(()) } else { Err("denied".to_owned()) };
            }
            Self::Inside { handle, calls, next } => (handle, calls, next),
        };
        let number = next.fetch_add(1, Ordering::Relaxed);
        let mut call = Call::clone(&calls[number % calls.len()]);
        call.call_id = format!("01900000-0000-7000-8000-{number:012}");
        let answer = handle.decide(Arc::new(call), BUDGET_MS).await;
        let decision = answer.map_err(|error| error.to_string())?.decision;
        let allowed = decision.effect == Effect::Allow;
        if allowed { Ok(()) } else { Err(format!("denied: {:?}", decision.reasons)) }
    }
}

/// Asks a worker.
pub(crate) fn load(address: SocketAddr, in_flight: usize) -> Load {
    Box::new(move |seconds| {
        Box::pin(async move {
            let order = Order { seconds, in_flight };
            let answer = ask(address, &serde_json::to_string(&order).unwrap()).await?;
            serde_json::from_str::<Result<Done, String>>(&answer)
                .map_err(|error| format!("{error}: `{answer}`"))?
        })
    })
}

/// What a worker says of itself.
pub(crate) async fn note(address: SocketAddr) -> Result<String, String> {
    ask(address, "what are you").await
}

async fn ask(address: SocketAddr, line: &str) -> Result<String, String> {
    let told = |error: std::io::Error| error.to_string();
    let mut stream = TcpStream::connect(address).await.map_err(told)?;
    stream.write_all(format!("{line}\n").as_bytes()).await.map_err(told)?;
    let mut answer = String::new();
    let mut reader = BufReader::new(&mut stream).take(1 << 20);
    reader.read_line(&mut answer).await.map_err(told)?;
    if answer.is_empty() { Err("it ended".to_owned()) } else { Ok(answer.trim().to_owned()) }
}
