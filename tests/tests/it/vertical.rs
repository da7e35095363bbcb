//! One `tools/call` -> enforcement point -> decision point -> both engines -> a `once` limit ->
//! forward -> two audit logs that verify. Once with each part alone, over the gRPC stream, and once
//! with all in one process.

use std::path::Path;

use lictor_audit::Kind;
use lictor_audit::query::Record;
use lictor_tests::client::{Answer, Http};
use lictor_tests::evidence::{of_call, reasons};
use lictor_tests::process::Server;
use lictor_tests::site::{Site, Up, repository};
use lictor_tests::upstream::Upstream;
use serde_json::json;

const PDP_SAYS: &str = "decision point listening address=";
const MCP_SAYS: &str = "enforcement point listens listen=";

/// The decision point and the MCP enforcement point as processes of their own.
pub(crate) struct Parts {
    pub(crate) pdp: Server,
    pub(crate) pep: Server,
    pub(crate) url: String,
}

/// How the enforcement point reaches the decision point.
#[derive(Clone, Copy, PartialEq)]
pub(crate) enum Way {
    Tcp,
    Socket,
}

/// The decision point alone, with a socket.
pub(crate) async fn start_pdp(site: &Site) -> Server {
    let root = site.root().display();
    let uid = rustix::process::geteuid().as_raw();
    let door = format!("socket = \"{root}/pdp.sock\"\npeers = {{ \"{uid}\" = [\"pep\"] }}");
    site.write("pdp.toml", &site.common("pdp-audit", &door));
    Server::start("lictor-pdp", &["-c", "pdp.toml"], site.root(), PDP_SAYS).await.unwrap()
}

pub(crate) async fn start(site: &Site, tools: &Upstream, way: Way) -> Parts {
    let root = site.root().display();
    let pdp = start_pdp(site).await;
    let how = match way {
        Way::Socket => format!("pdp = \"unix:{root}/pdp.sock\"\n"),
        Way::Tcp => format!(
            "pdp = \"http://{}\"\npdp_token_file = \"{root}/state/pep.token\"\n",
            pdp.address(PDP_SAYS)
        ),
    };
    let more = format!("{how}state_dir = \"{root}/pep-state\"");
    let config = site.common("pep-audit", "") + &site.pep_mcp(tools, &more);
    site.write("pep.toml", &config);
    let pep =
        Server::start("lictor-pep-mcp", &["-c", "pep.toml"], site.root(), MCP_SAYS).await.unwrap();
    let url = format!("http://{}/mcp/accounting", pep.address(MCP_SAYS));
    Parts { pdp, pep, url }
}

async fn read_receipt(url: &str, token: &str, receipt: &str) -> Answer {
    Http::default().call_tool(url, token, "receipt_ocr", &json!({ "receipt_id": receipt })).await
}

fn decision(records: &[Record]) -> &Record {
    let request = |record: &&Record| record.str_at("/phase") == Some("request");
    records.iter().filter(|record| record.kind == Kind::Decision).find(request).unwrap()
}

fn outcome(records: &[Record]) -> &str {
    let last = records.iter().rfind(|record| record.kind == Kind::Enforcement).unwrap();
    last.str_at("/outcome").unwrap()
}

/// Both engines permitted the call, and both sides say so.
fn allowed(pdp_audit: &Path, pep_audit: &Path, answer: &Answer) {
    assert_eq!((answer.status, answer.text().as_str()), (200, "done"), "{answer:?}");
    let decided = of_call(pdp_audit, &answer.call_id());
    let decision = decision(&decided);
    assert_eq!(decision.str_at("/effect"), Some("allow"));
    assert_eq!(reasons(decision), ["expense.grant.tools", "expense.receipt_ocr"]);
    let places = decision.body["reasons"].to_string();
    assert!(places.contains("rego/expense/expense.rego:") && places.contains("cedar"), "{places}");
    assert_eq!(outcome(&of_call(pep_audit, &answer.call_id())), "forwarded");
}

/// The second call found the limit spent, and both sides say so.
fn spent(pdp_audit: &Path, pep_audit: &Path, answer: &Answer) {
    assert_eq!(answer.reasons(), ["limit.expense.ocr_once"], "{answer:?}");
    let refusal = answer.refusal().unwrap();
    let decided = of_call(pdp_audit, &answer.call_id());
    let decision = decision(&decided);
    assert_eq!(decision.str_at("/effect"), Some("deny"));
    assert_eq!(decision.decision_id(), refusal["decision_id"].as_str());
    assert_eq!(outcome(&of_call(pep_audit, &answer.call_id())), "denied");
}

/// What reached the server: our assertion instead of the caller's token.
fn forwarded_once(tools: &Upstream, token: &str) {
    let calls = tools.calls();
    assert_eq!(calls.len(), 1, "{calls:?}");
    let shown = calls[0].headers["authorization"].to_str().unwrap();
    assert!(shown.starts_with("Bearer ey") && !shown.contains(token), "{shown}");
}

async fn over_the_stream(way: Way) {
    let site = Site::new();
    let tools = Upstream::tools(&repository().join("bundles")).await;
    let parts = start(&site, &tools, way).await;
    let token = site.expense();
    let first = read_receipt(&parts.url, &token, "r-1").await;
    let second = read_receipt(&parts.url, &token, "r-2").await;
    assert!(parts.pep.terminate().await.success());
    assert!(parts.pdp.terminate().await.success());
    let (pdp_audit, pep_audit) = (site.path("pdp-audit"), site.path("pep-audit"));
    allowed(&pdp_audit, &pep_audit, &first);
    spent(&pdp_audit, &pep_audit, &second);
    forwarded_once(&tools, &token);
    let keys = ["state/audit.pub", "pep-state/audit.pub"];
    let verified = site.verify(&["pdp-audit", "pep-audit"], &keys);
    assert!(verified.contains("whole") && verified.contains("in 2 log(s)"), "{verified}");
}

#[tokio::test]
async fn one_call_through_parts_on_a_unix_socket() {
    over_the_stream(Way::Socket).await;
}

#[tokio::test]
async fn one_call_through_parts_on_tcp_with_a_token() {
    over_the_stream(Way::Tcp).await;
}

#[tokio::test]
async fn one_call_through_one_process() {
    let site = Site::new();
    let tools = Upstream::tools(&repository().join("bundles")).await;
    let provider = Upstream::provider().await;
    let config =
        site.common("audit", "") + &site.pep_http(&provider, "") + &site.pep_mcp(&tools, "");
    let up = Up::start(&site, &config).await.unwrap();
    let token = site.expense();
    let url = format!("{}/accounting", up.mcp);
    let first = read_receipt(&url, &token, "r-1").await;
    let second = read_receipt(&url, &token, "r-2").await;
    assert!(up.server.terminate().await.success());
    let audit = site.path("audit");
    allowed(&audit, &audit, &first);
    spent(&audit, &audit, &second);
    forwarded_once(&tools, &token);
    let keys = ["state/audit.pub", "state/pep-http/audit.pub", "state/pep-mcp/audit.pub"];
    let verified = site.verify(&["audit"], &keys);
    assert!(verified.contains("in 3 log(s)"), "{verified}");
}
