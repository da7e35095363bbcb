//! Secrets stay where they belong: the built binaries, with a secret in every place that holds
//! one, log at every level while calls succeed and fail, and nothing that they say or write holds
//! any of them.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use axum::extract::State;
use axum::response::{IntoResponse as _, Response};
use axum::routing::post;
use axum::{Json, Router};
use bytes::Bytes;
use http::StatusCode;
use lictor_tests::client::{Answer, Http};
use lictor_tests::process::{Server, binary};
use lictor_tests::site::{Site, repository};
use lictor_tests::upstream::Upstream;
use serde_json::json;

/// Begins every secret but those that callers bring.
const SENTINEL: &str = "sentinel-91d4";
/// What the parts say once they listen.
const PDP_SAYS: &str = "decision point listening address=";
const MCP_SAYS: &str = "enforcement point listens listen=";
const HTTP_SAYS: &str = "listening address=";
const TOOL: &str = "get_employee_cost_center";
const CHAT: &str = r#"{"model":"gpt-5-nano","messages":[{"role":"user","content":"hello"}]}"#;
const REASON: &str = "upstream_credential_unavailable";
/// Files that hold the secrets themselves.
const HOLDERS: [&str; 3] = ["client.secret", "provider.key", "api-keys.json"];

/// A token endpoint that repeats what it was sent in its errors.
#[derive(Clone, Default)]
struct Issuing {
    bodies: Arc<Mutex<Vec<String>>>,
    issued: Arc<AtomicUsize>,
    failing: Arc<AtomicBool>,
}

impl Issuing {
    async fn start(&self) -> SocketAddr {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let router = Router::new().route("/token", post(issue)).with_state(self.clone());
        tokio::spawn(async move { axum::serve(listener, router).await });
        address
    }
}

async fn issue(State(server): State<Issuing>, body: Bytes) -> Response {
    let body = String::from_utf8_lossy(&body).into_owned();
    server.bodies.lock().unwrap().push(body.clone());
    if server.failing.load(Ordering::Relaxed) {
        let error = json!({ "error": body, "error_description": format!("{SENTINEL}-error") });
        return (StatusCode::BAD_REQUEST, Json(error)).into_response();
    }
    let number = server.issued.fetch_add(1, Ordering::Relaxed);
    let token = format!("{SENTINEL}-issued-{number}");
    let kind = "urn:ietf:params:oauth:token-type:access_token";
    Json(json!({
        "access_token": token, "issued_token_type": kind, "token_type": "Bearer", "expires_in": 60,
    }))
    .into_response()
}

/// Starts a binary that logs everything.
async fn start(site: &Site, name: &str, config: &str, ready: &str) -> Server {
    let program = binary(name).display().to_string();
    let args = ["RUST_LOG=trace", &program, "-c", config];
    Server::start_program(name, Path::new("/usr/bin/env"), &args, site.root(), ready).await.unwrap()
}

fn write_secret(site: &Site, name: &str, text: &str) {
    use std::os::unix::fs::PermissionsExt as _;
    site.write(name, text);
    std::fs::set_permissions(site.path(name), std::fs::Permissions::from_mode(0o600)).unwrap();
}

/// Everything below `folder` but the files that hold secrets.
fn files(folder: &Path, into: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let holder = HOLDERS.iter().any(|holder| path.ends_with(holder));
        match path.metadata() {
            Ok(metadata) if metadata.is_dir() => files(&path, into),
            Ok(metadata) if metadata.is_file() && !holder => into.push(path),
            _ => {}
        }
    }
}

/// Whether a running process may leave its memory in a file.
fn dumps_cores(server: &Server) -> bool {
    let limits = std::fs::read_to_string(format!("/proc/{}/limits", server.pid())).unwrap();
    let line = limits.lines().find(|line| line.starts_with("Max core file size")).unwrap();
    line.split_whitespace().nth(4) != Some("0") || line.split_whitespace().nth(5) != Some("0")
}

#[tokio::test]
async fn nothing_that_the_binaries_say_or_write_holds_a_secret() {
    let site = Site::new();
    let root = site.root().display().to_string();
    let server = Issuing::default();
    let tokens = server.start().await;
    write_secret(&site, "client.secret", &format!("{SENTINEL}-client"));
    write_secret(&site, "provider.key", &format!("{SENTINEL}-provider"));
    let api_key = site.api_keys("alice@example.com", "expense-report-v1", 1).remove(0);
    let tools = Upstream::tools(&repository().join("bundles")).await;
    let provider = Upstream::provider().await;
    let uid = rustix::process::geteuid().as_raw();
    let door = format!("socket = \"{root}/pdp.sock\"\npeers = {{ \"{uid}\" = [\"pep\"] }}");
    site.write("pdp.toml", &site.common("pdp-audit", &door));
    let pdp = start(&site, "lictor-pdp", "pdp.toml", PDP_SAYS).await;
    let common = |audit| site.common(audit, "");
    let link =
        |state: &str| format!("pdp = \"unix:{root}/pdp.sock\"\nstate_dir = \"{root}/{state}\"");
    let (tool, chat) = (tools.address, provider.address);
    let mcp = format!(
        "{}[pep_mcp]\nlisten = \"127.0.0.1:0\"\n{}\n[[pep_mcp.servers]]\nid = \"accounting\"\n\
         url = \"http://{tool}/accounting\"\n[pep_mcp.servers.auth]\nkind = \"token_exchange\"\n\
         audience = \"accounting\"\nserver = {{ token_url = \"http://{tokens}/token\", client_id = \
         \"gate\", client_auth = \"client_secret_post\", secret_file = \"client.secret\" }}\n",
        common("mcp-audit"),
        link("mcp-state"),
    );
    let http = format!(
        "{}[pep_http]\nlisten = \"127.0.0.1:0\"\n{}\n[[pep_http.upstreams]]\nid = \"openai\"\n\
         base_url = \"http://{chat}/v1\"\nauth = {{ kind = \"key\", command = [\"cat\", \
         \"{root}/provider.key\"] }}\n",
        common("http-audit"),
        link("http-state"),
    );
    site.write("mcp.toml", &mcp);
    site.write("http.toml", &http);
    let pep_mcp = start(&site, "lictor-pep-mcp", "mcp.toml", MCP_SAYS).await;
    let pep_http = start(&site, "lictor-pep-http", "http.toml", HTTP_SAYS).await;
    for server in [&pdp, &pep_mcp, &pep_http] {
        assert!(!dumps_cores(server), "{server:?}");
    }
    let mcp = format!("http://{}", pep_mcp.address(MCP_SAYS));
    let http = format!("http://{}", pep_http.address(HTTP_SAYS));
    let (client, caller) = (Http::default(), site.expense());
    let other = site.issuer.token("bob@example.com", "expense-report-v1");
    let forged = format!("{caller}x");
    let args = json!({ "employee_id": "alice@example.com" });
    let mut told = String::new();
    let mut hear = |answer: Answer| -> u16 {
        told.push_str(&format!("{answer:?}{}", String::from_utf8_lossy(&answer.body)));
        answer.status
    };
    let tool_url = format!("{mcp}/mcp/accounting");
    let chat_url = format!("{http}/v1/chat/completions");
    // Good calls: each server is shown its own credential.
    assert_eq!(hear(client.call_tool(&tool_url, &caller, TOOL, &args).await), 200);
    let shown = tools.calls().pop().unwrap().headers["authorization"].clone();
    assert_eq!(shown, format!("Bearer {SENTINEL}-issued-0"));
    assert_eq!(hear(client.post(&chat_url, &caller, CHAT).await), 200);
    let shown = provider.arrived().pop().unwrap().headers["authorization"].clone();
    assert_eq!(shown, format!("Bearer {SENTINEL}-provider"));
    assert!(server.bodies.lock().unwrap()[0].contains(&caller));
    // Calls that fail: nobody known, a key that cannot be exchanged, a server that refuses.
    for url in [&tool_url, &chat_url] {
        assert_eq!(hear(client.post(url, &forged, CHAT).await), 401);
    }
    hear(client.call_tool(&tool_url, &api_key, TOOL, &args).await);
    server.failing.store(true, Ordering::Relaxed);
    hear(client.call_tool(&tool_url, &other, TOOL, &args).await);
    for (url, token) in [(&mcp, &caller), (&http, &caller)] {
        assert_eq!(hear(client.get(&format!("{url}/metrics"), token).await.unwrap()), 200);
    }
    assert!(told.matches(REASON).count() > 1, "{told}");
    assert_eq!(tools.calls().len(), 1, "a call without its credential went on");
    for server in [pep_mcp, pep_http, pdp] {
        assert!(server.terminate().await.success());
    }
    let mut all = Vec::new();
    files(site.root(), &mut all);
    let seen = |name: &str| all.iter().any(|path| path.display().to_string().contains(name));
    assert!(
        ["lictor-pdp.0.log", "lictor-pep-mcp.0.log", "mcp-audit/", "pdp-audit/"].map(seen)
            == [true; 4]
    );
    for name in ["lictor-pep-mcp.0.log", "lictor-pep-http.0.log"] {
        let said = std::fs::read_to_string(site.path(name)).unwrap();
        assert!(said.contains("TRACE"), "`{name}` does not hold everything that can be logged");
    }
    let signature = caller.rsplit('.').next().unwrap();
    for secret in [SENTINEL, signature, other.rsplit('.').next().unwrap(), &api_key] {
        assert!(!told.contains(secret), "an answer holds `{secret}`");
        for path in &all {
            let bytes = std::fs::read(path).unwrap();
            let text = String::from_utf8_lossy(&bytes);
            let line = text.lines().find(|line| line.contains(secret));
            assert_eq!(line, None, "`{}` holds `{secret}`", path.display());
        }
    }
}
