//! A call that needs a person, from outside: asked, told, answered on the command line or over
//! REST, carried out once; and whoever waits for it.

use axum::Router;
use bytes::Bytes;
use http::HeaderMap;
use lictor_audit::Kind;
use lictor_tests::client::{Answer, Http};
use lictor_tests::evidence::records;
use lictor_tests::process::until;
use lictor_tests::site::{Ended, Site, Up, repository};
use lictor_tests::upstream::Upstream;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use crate::rig::whole;

const SECRET: &str = "whsec_MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=";
/// Milliseconds; longer than any test may take.
const LONG_MS: u32 = 120_000;

/// Everything in one process, people with keys of their own, and a receiver of events.
struct Desk {
    site: Site,
    up: Up,
    http: Http,
    receiver: Receiver,
    _upstreams: [Upstream; 2],
}

/// Gets events until it is dropped.
struct Receiver {
    told: mpsc::UnboundedReceiver<(HeaderMap, Value)>,
    task: JoinHandle<()>,
}

impl Drop for Receiver {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Receiver {
    async fn listen() -> (String, Self) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/hook", listener.local_addr().unwrap());
        let (tell, told) = mpsc::unbounded_channel();
        let router = Router::new().fallback(move |headers: HeaderMap, body: Bytes| {
            let tell = tell.clone();
            async move {
                // Nobody listens any more when a test is over.
                drop(tell.send((headers, serde_json::from_slice(&body).unwrap())));
            }
        });
        let task = tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        (url, Self { told, task })
    }

    /// The next event about the approval `id`.
    async fn next(&mut self, id: &str) -> Value {
        loop {
            let (headers, event) = self.told.recv().await.unwrap();
            assert!(headers["webhook-signature"].to_str().unwrap().starts_with("v1,"));
            if event["approval"]["id"] == id {
                return event;
            }
        }
    }
}

impl Desk {
    async fn start(wait_ms: u32) -> Self {
        let site = Site::new();
        for name in ["alice", "bob"] {
            let subject = format!("user:{name}@example.com");
            let issue = ["keys", "issue", "--store", "api-keys.json", "--role", "approver"];
            let key = site.ok(&[&issue[..], &["--subject", &subject]].concat());
            private(&site, name, &key);
        }
        private(&site, "hook.secret", SECRET);
        let (url, receiver) = Receiver::listen().await;
        let tools = Upstream::tools(&repository().join("bundles")).await;
        let provider = Upstream::provider().await;
        let secret = site.path("hook.secret");
        let hook =
            format!("[[pdp.approvals.webhooks]]\nurl = \"{url}\"\nsecret_file = {secret:?}\n");
        let wait = format!("wait_for_approval_ms = {wait_ms}");
        let config = site.common("audit", &hook)
            + &site.pep_http(&provider, "")
            + &site.pep_mcp(&tools, &wait);
        let up = Up::start(&site, &config).await.unwrap();
        let _upstreams = [tools, provider];
        Self { site, up, http: Http::default(), receiver, _upstreams }
    }

    async fn report(&self, amount: u32) -> Answer {
        let url = format!("{}/accounting", self.up.mcp);
        report(&self.http, &url, &self.site.expense(), amount).await
    }

    /// `lictor approvals …` as a person with access to the operators' token; it ends with `code`.
    #[track_caller]
    fn approvals(&self, args: &[&str], code: i32) -> Ended {
        let pdp = ["--pdp", &self.up.pdp, "--pdp-token-file", "state/operator.token"];
        self.site.lictor(&[&["approvals"], args, &pdp, &["--format", "json"]].concat()).code(code)
    }

    /// A person's own key.
    fn key(&self, name: &str) -> String {
        std::fs::read_to_string(self.site.path(name)).unwrap().trim().to_owned()
    }

    /// What `GET /v1/approvals…` answers.
    async fn get(&self, what: &str, token: &str) -> Answer {
        let url = format!("{}/v1/approvals{what}", self.up.pdp);
        self.http.get(&url, token).await.unwrap()
    }

    /// The only approval that waits, once there is one.
    async fn waiting(&self) -> Value {
        until("an approval waits", || async {
            let listed = self.approvals(&["list", "--state", "pending"], 0);
            let listed: Value = serde_json::from_str(&listed.out).unwrap();
            let all = listed["approvals"].as_array().unwrap().clone();
            assert!(all.len() < 2, "{all:?}");
            all.into_iter().next()
        })
        .await
    }

    async fn metric(&self, name: &str) -> String {
        let token = std::fs::read_to_string(self.site.path("state/operator.token")).unwrap();
        let url = format!("{}/metrics", self.up.pdp);
        let text = self.http.get(&url, token.trim()).await.unwrap().body;
        let text = String::from_utf8(text.to_vec()).unwrap();
        let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        line.unwrap_or_default().to_owned()
    }

    /// Ends it in order and verifies every log; what the decision point recorded of answers.
    async fn answers(self) -> Vec<Value> {
        let Self { site, up, .. } = self;
        assert!(up.server.terminate().await.success());
        whole(&site);
        let all = records(&site.path("audit")).into_iter();
        let answers = all.filter(|r| r.kind == Kind::Approval && r.str_at("/outcome").is_some());
        answers.map(|record| record.body).collect()
    }
}

fn private(site: &Site, name: &str, text: &str) {
    use std::os::unix::fs::PermissionsExt as _;
    site.write(name, text);
    std::fs::set_permissions(site.path(name), std::fs::Permissions::from_mode(0o600)).unwrap();
}

async fn report(http: &Http, url: &str, token: &str, amount: u32) -> Answer {
    let args = json!({ "employee_id": "alice@example.com", "amount": amount });
    http.call_tool(url, token, "create_expense_report", &args).await
}

/// The approval that an answer asks for.
#[track_caller]
fn asked(answer: &Answer) -> String {
    assert_eq!(answer.reasons(), ["expense.manager"], "{answer:?}");
    let refusal = answer.refusal().unwrap();
    refusal["approval"]["id"].as_str().unwrap().to_owned()
}

fn json_of(ended: &Ended) -> Value {
    serde_json::from_str(&ended.out).unwrap_or_else(|error| panic!("{error}: {ended:?}"))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_person_agreed_to_is_done_once_and_nothing_else() {
    let mut desk = Desk::start(0).await;
    let id = asked(&desk.report(900).await);
    assert_eq!(asked(&desk.report(900).await), id, "the same question is the same approval");
    let shown = json_of(&desk.approvals(&["show", &id], 0));
    assert_eq!(shown["approvers"], json!(["bob@example.com"]));
    assert_eq!(shown["bundle_live"], true);
    // The receiver's event tells how to answer; the answer is bound to what it shows.
    let event = desk.receiver.next(&id).await;
    assert_eq!(event["type"], "approval.opened");
    let command = event["answer"]["approve"].as_str().unwrap();
    let digest = command.split("--digest ").nth(1).unwrap();
    assert_eq!(shown["binding_digest"], digest);
    let pending = desk.approvals(&["wait", &id, "--timeout", "2020-01-01T00:00:00Z"], 4);
    assert_eq!(json_of(&pending)["state"], "pending");
    let own = desk.approvals(&["approve", &id, "--token", "alice"], 1);
    assert!(own.err.contains("approval_own_call"), "{own:?}");
    let other = desk.approvals(&["approve", &id, "--token", "bob", "--digest", "00"], 1);
    assert!(other.err.contains("approval_other_call"), "{other:?}");
    let given = desk.approvals(&["approve", &id, "--token", "bob", "--digest", digest], 0);
    assert_eq!(json_of(&given)["state"], "approved");
    assert_eq!(desk.receiver.next(&id).await["type"], "approval.approved");
    desk.approvals(&["wait", &id], 0);
    let another = asked(&desk.report(901).await);
    assert_ne!(another, id, "another amount is another question");
    let done = desk.report(900).await;
    assert_eq!(done.text(), "done", "{done:?}");
    let third = asked(&desk.report(900).await);
    assert!(third != id && third != another, "single use");
    assert_eq!(desk.receiver.next(&id).await["type"], "approval.used");
    desk.approvals(&["deny", &third, "--token", "bob", "--reason", "once is enough"], 0);
    let twice = desk.approvals(&["approve", &third, "--token", "bob"], 1);
    assert!(twice.err.contains("approval_denied"), "{twice:?}");
    desk.approvals(&["wait", &third], 3);
    let answers = desk.answers().await;
    let told: Vec<[&str; 3]> = answers
        .iter()
        .map(|answer| {
            let text = |name: &str| answer[name].as_str().unwrap_or_default();
            [text("approver"), text("answer"), text("refused")]
        })
        .collect();
    let (alice, bob) = ("alice@example.com", "bob@example.com");
    let wanted = [
        [alice, "approve", "approval_own_call"],
        [bob, "approve", "approval_other_call"],
        [bob, "approve", ""],
        [bob, "deny", ""],
        [bob, "approve", "approval_denied"],
    ];
    assert_eq!(told, wanted);
    assert_eq!(answers[2]["outcome"], "approved");
    assert_eq!(answers[2]["args_digest"], shown["args_digest"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_call_that_waits_is_carried_out_when_a_person_agrees() {
    let desk = Desk::start(LONG_MS).await;
    let (http, token) = (desk.http.clone(), desk.site.expense());
    let url = format!("{}/accounting", desk.up.mcp);
    let call = tokio::spawn(async move { report(&http, &url, &token, 900).await });
    let id = desk.waiting().await["id"].as_str().unwrap().to_owned();
    desk.approvals(&["approve", &id, "--token", "bob"], 0);
    let done = call.await.unwrap();
    assert_eq!(done.text(), "done", "{done:?}");
    let used = json_of(&desk.approvals(&["show", &id], 0));
    assert_eq!(used["state"], "used");
    // A refusal ends the waiting too.
    let (http, token) = (desk.http.clone(), desk.site.expense());
    let url = format!("{}/accounting", desk.up.mcp);
    let call = tokio::spawn(async move { report(&http, &url, &token, 950).await });
    let id = desk.waiting().await["id"].as_str().unwrap().to_owned();
    desk.approvals(&["deny", &id, "--token", "bob"], 0);
    assert_eq!(asked(&call.await.unwrap()), id);
    assert_eq!(desk.answers().await.len(), 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nobody_waits_for_a_client_that_is_gone() {
    let desk = Desk::start(LONG_MS).await;
    let gauge = "lictor_approval_waiters";
    let waiters = |wanted: &'static str| {
        let desk = &desk;
        async move { (desk.metric(gauge).await == wanted).then_some(()) }
    };
    // A connection of its own, which closes with its client.
    let (token, mcp) = (desk.site.expense(), format!("{}/accounting", desk.up.mcp));
    let call = tokio::spawn(async move { report(&Http::default(), &mcp, &token, 900).await });
    until("the call waits", || waiters("1")).await;
    call.abort();
    until("nobody waits for the call", || waiters("0")).await;
    let id = desk.waiting().await["id"].as_str().unwrap().to_owned();
    let (key, url) = (desk.key("bob"), format!("{}/v1/approvals/{id}?wait_ms=60000", desk.up.pdp));
    let asked = tokio::spawn(async move { Http::default().get(&url, &key).await });
    until("the question waits", || waiters("1")).await;
    asked.abort();
    until("nobody waits", || waiters("0")).await;
    assert!(desk.answers().await.is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn approvals_are_listed_shown_and_answered_over_rest() {
    let desk = Desk::start(0).await;
    let id = asked(&desk.report(900).await);
    let operator = std::fs::read_to_string(desk.site.path("state/operator.token")).unwrap();
    let pep = std::fs::read_to_string(desk.site.path("state/pep.token")).unwrap();
    let (operator, pep) = (operator.trim(), pep.trim());
    let (alice, bob) = (desk.key("alice"), desk.key("bob"));
    let all = desk.get("?state=pending", operator).await;
    assert_eq!((all.status, &all.json()["approvals"][0]["id"]), (200, &json!(id)));
    assert_eq!(desk.get("?state=open", operator).await.status, 400);
    assert_eq!(desk.get("?page=2", operator).await.status, 400);
    for (what, token, status) in [("", pep, 403), ("", "x", 401), ("/a-1", operator, 404)] {
        assert_eq!(desk.get(what, token).await.status, status, "{what}");
    }
    let shown = desk.get(&format!("/{id}"), &bob).await;
    let seen = shown.json()["binding_digest"].as_str().unwrap().to_owned();
    let post = |what: &str, token: &str, body: Value| {
        let url = format!("{}/v1/approvals/{id}/{what}", desk.up.pdp);
        let (http, token) = (desk.http.clone(), token.to_owned());
        async move {
            let answer = http.post(&url, &token, body.to_string()).await;
            let error = answer.json()["error"]["id"].as_str().unwrap_or_default().to_owned();
            (answer.status, error, answer)
        }
    };
    let with = |token: &str| json!({ "approver_token": token });
    for (token, body, status, error) in [
        (pep, with(&bob), 403, "role_missing"),
        (operator, json!({}), 403, "token_missing"),
        (operator, with("lictor_x"), 403, ""),
        (operator, with(&alice), 409, "approval_own_call"),
        (alice.as_str(), json!({}), 409, "approval_own_call"),
        (bob.as_str(), json!({ "binding_digest": "00" }), 409, "approval_other_call"),
        (bob.as_str(), json!({ "amount": 1 }), 400, "call_invalid"),
    ] {
        let (got, id, answer) = post("approve", token, body).await;
        assert_eq!(got, status, "{answer:?}");
        assert!(error.is_empty() || id == error, "{error}: {answer:?}");
    }
    let (status, _, answer) = post("approve", &bob, json!({ "binding_digest": seen })).await;
    assert_eq!((status, &answer.json()["state"]), (200, &json!("approved")));
    assert_eq!(post("deny", &bob, json!({})).await.1, "approval_given");
    // An approver's own key opens nothing else.
    let status = desk.http.get(&format!("{}/v1/status", desk.up.pdp), &bob).await.unwrap();
    assert_eq!(status.status, 401);
    let waited = desk.get(&format!("/{id}?wait_ms=60000"), &bob).await;
    assert_eq!(waited.json()["approved_by"], json!(["bob@example.com"]));
    // An enforcement point learns where it stands, and no more.
    assert_eq!(desk.report(900).await.text(), "done");
}
