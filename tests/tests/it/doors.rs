//! Both enforcement points inside this process, over real connections, with one clock that a test
//! sets.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use http::Method;
use lictor_audit::AuditLog;
use lictor_identity::{Authenticator, Role};
use lictor_pdp::config::{AuditConfig, PdpConfig};
use lictor_pdp::peer::{Peer, PeerHandle};
use lictor_pdp::server::Running;
use lictor_pep_core::setup::{self, DurabilityRule};
use lictor_pep_core::{Clock, Ids, PepParts};
use lictor_proto::decide::Decide;
use lictor_tests::client::{Answer, Http, MODERN, tool_call};
use lictor_tests::evidence::{names, of_call};
use lictor_tests::site::{SCOPE, Site, repository};
use lictor_tests::upstream::Upstream;
use serde::de::DeserializeOwned;
use serde_json::json;
use tokio::net::TcpListener;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

/// The time that everything believes, unix milliseconds. Cloning shares it.
#[derive(Clone)]
pub(crate) struct Time(Arc<AtomicI64>);

impl Time {
    pub(crate) fn at(now_ms: i64) -> Self {
        Self(Arc::new(AtomicI64::new(now_ms)))
    }

    pub(crate) fn now_ms(&self) -> i64 {
        self.0.load(Ordering::SeqCst)
    }

    pub(crate) fn set(&self, now_ms: i64) {
        self.0.store(now_ms, Ordering::SeqCst);
    }

    fn of_pep(&self) -> Clock {
        let time = self.clone();
        Clock::of(move || time.now_ms() * 1000)
    }
}

/// Which of the two.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Which {
    /// The one in front of MCP servers.
    Tools,
    /// The one in front of model providers.
    Models,
}

/// One enforcement point.
struct Door {
    address: SocketAddr,
    stop: oneshot::Sender<()>,
    served: JoinHandle<()>,
    audit: AuditLog,
}

pub(crate) struct Doors {
    site: Site,
    tools: Upstream,
    provider: Upstream,
    pdp: Running,
    llm: Door,
    mcp: Door,
    http: Http,
}

impl Doors {
    /// Opens both for whoever these know: each has an authenticator of its own, as in processes of
    /// their own.
    pub(crate) async fn open(of_llm: Authenticator, of_mcp: Authenticator, time: &Time) -> Self {
        let site = Site::new();
        let tools = Upstream::tools(&repository().join("bundles")).await;
        let provider = Upstream::provider().await;
        let pdp = start_pdp(&site, time).await;
        let handle = PeerHandle::new(pdp.pdp().clone(), Peer::new("tests", &[Role::Pep]));
        let decide: Arc<dyn Decide> = Arc::new(handle);
        let llm = open_llm(&site, &provider, decide.clone(), Arc::new(of_llm), time).await;
        let mcp = open_mcp(&site, &tools, decide, Arc::new(of_mcp), time).await;
        Self { site, tools, provider, pdp, llm, mcp, http: Http::default() }
    }

    /// Where requests to one of them go.
    pub(crate) fn url(&self, which: Which) -> String {
        match which {
            Which::Tools => format!("http://{}/mcp/accounting", self.mcp.address),
            Which::Models => format!("http://{}/v1/chat/completions", self.llm.address),
        }
    }

    /// A tool call for alice, or a chat, by whoever sends these headers.
    pub(crate) async fn send(&self, which: Which, headers: &[(&str, &str)]) -> Answer {
        const TOOL: &str = "get_employee_cost_center";
        let mut all = vec![("content-type", "application/json")];
        all.extend(headers);
        let body = match which {
            Which::Tools => {
                all.push(("accept", "application/json, text/event-stream"));
                all.push(("mcp-protocol-version", MODERN));
                all.extend([("mcp-method", "tools/call"), ("mcp-name", TOOL)]);
                tool_call(TOOL, &json!({ "employee_id": "alice@example.com" }))
            }
            Which::Models => {
                let hello = json!([{ "role": "user", "content": "hi" }]);
                json!({ "model": "gpt-5-nano", "messages": hello })
            }
        };
        let url = self.url(which);
        self.http.send(Method::POST, &url, &all, body.to_string()).await.unwrap()
    }

    /// How many calls got through one of them.
    pub(crate) fn arrived(&self, which: Which) -> usize {
        match which {
            Which::Tools => self.tools.calls().len(),
            Which::Models => self.provider.arrived().len(),
        }
    }

    /// The same token at both.
    pub(crate) async fn ask(&self, token: &str) -> [Answer; 2] {
        let shown = format!("Bearer {token}");
        let headers = [("authorization", shown.as_str())];
        [self.send(Which::Tools, &headers).await, self.send(Which::Models, &headers).await]
    }

    /// Both let the token through.
    pub(crate) async fn served(&self, token: &str, what: &str) {
        for answer in self.ask(token).await {
            let refused = answer.refusal();
            assert!(answer.status == 200 && refused.is_none(), "{what}: {answer:?}");
        }
    }

    /// Both refuse the token for `id`.
    pub(crate) async fn refused(&self, token: &str, id: &str, what: &str) {
        for answer in self.ask(token).await {
            assert_eq!((answer.status, answer.reasons()), (401, vec![id.to_owned()]), "{what}");
        }
    }

    /// The refusal of a call that was answered is in the log of whoever refused it.
    pub(crate) fn logged(&self, answer: &Answer, id: &str) {
        let records = of_call(&self.site.path("audit"), &answer.call_id());
        assert!(names(&records, lictor_audit::Kind::Enforcement, id), "{id}: {records:#?}");
    }

    /// Ends everything in order and verifies every log.
    pub(crate) async fn close(self) {
        for Door { stop, served, audit, .. } in [self.llm, self.mcp] {
            drop(stop);
            served.await.unwrap();
            audit.close("test").await.unwrap();
        }
        self.pdp.stop("test").await;
        let keys = ["pdp/audit.pub", "llm/audit.pub", "mcp/audit.pub"];
        self.site.verify(&["audit"], &keys);
    }
}

async fn start_pdp(site: &Site, time: &Time) -> Running {
    let config = PdpConfig {
        listen: "127.0.0.1:0".parse().unwrap(),
        bundle: site.path("bundle.tar.gz").into(),
        trust_keys: vec![site.path("keys/bundle.pub")],
        scope: SCOPE.to_owned(),
        state_dir: site.path("pdp"),
        ..PdpConfig::default()
    };
    let time = time.clone();
    let clock = lictor_pdp::clock::Clock::from_fn(move || time.now_ms());
    lictor_pdp::server::start(config, &audit(site), None, clock).await.unwrap()
}

fn audit(site: &Site) -> AuditConfig {
    AuditConfig { dir: site.path("audit"), ..AuditConfig::default() }
}

/// One section of `lictor.toml`.
fn section<Section: DeserializeOwned>(text: &str, name: &str) -> Section {
    let mut file: toml::Table = text.parse().unwrap();
    file.remove(name).unwrap().try_into().unwrap()
}

async fn open_llm(
    site: &Site,
    provider: &Upstream,
    decide: Arc<dyn Decide>,
    authenticator: Arc<Authenticator>,
    time: &Time,
) -> Door {
    let config = section(&site.pep_http(provider, ""), "pep_http");
    let clock = time.of_pep();
    let audit = setup::audit_log(&audit(site), "pep-http", &site.path("llm"), &clock).unwrap();
    let parts = PepParts {
        decide,
        authenticator,
        audit: audit.clone(),
        clock,
        ids: Ids::random(),
        abilities: &[],
        budget_ms: 0,
    };
    let ring = setup::signing_ring(&site.path("llm")).unwrap();
    let deps = lictor_pep_http::Deps { parts, durability: DurabilityRule::default(), ring };
    serve(audit, |listener, stopped| async {
        lictor_pep_http::serve(config, deps, listener, stopped).await.unwrap();
    })
    .await
}

async fn open_mcp(
    site: &Site,
    tools: &Upstream,
    decide: Arc<dyn Decide>,
    authenticator: Arc<Authenticator>,
    time: &Time,
) -> Door {
    let config = section(&site.pep_mcp(tools, ""), "pep_mcp");
    let clock = time.of_pep();
    let keys = site.path("mcp");
    let audit = setup::audit_log(&audit(site), "pep-mcp", &keys, &clock).unwrap();
    let minter = setup::minter(&keys, "http://127.0.0.1:7090").unwrap();
    let deps = lictor_pep_mcp::Deps {
        decide,
        authenticator,
        audit: audit.clone(),
        durability: DurabilityRule::default(),
        minter: Arc::new(minter),
        clock,
    };
    serve(audit, |listener, stopped| async {
        lictor_pep_mcp::serve(config, deps, listener, stopped).await.unwrap();
    })
    .await
}

/// Runs `server` on a free port until its door is closed.
async fn serve<Served: Future<Output = ()> + Send + 'static>(
    audit: AuditLog,
    server: impl FnOnce(TcpListener, std::pin::Pin<Box<dyn Future<Output = ()> + Send>>) -> Served,
) -> Door {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (stop, stopped) = oneshot::channel::<()>();
    let stopped = Box::pin(async move { drop(stopped.await) });
    let served = tokio::spawn(server(listener, stopped));
    Door { address, stop, served, audit }
}
