//! Whoever is killed is out within five seconds, open streams included: with everything in one
//! process, and with the decision point in a process of its own; by an operator, and by a signed
//! list that somebody else keeps.

use std::time::Duration;

use lictor_audit::Kind;
use lictor_tests::client::{Answer, Http};
use lictor_tests::evidence::{names, records};
use lictor_tests::process::{Server, until};
use lictor_tests::site::{Site, Up, repository};
use lictor_tests::upstream::{ENDLESS, Upstream};
use serde_json::{Value, json};

use crate::vertical::start_pdp;

/// Longest time from a kill to its last effect.
const KILL_TAKES_S: u64 = 5;
const AGENT: &str = "expense-report-v1";
const HTTP_SAYS: &str = "listening address=";

/// What is killed, and where.
struct Scene {
    site: Site,
    provider: Upstream,
    /// The chats of the LLM enforcement point.
    chats: String,
    pdp: String,
    /// Where the enforcement point's log is.
    audit: &'static str,
}

impl Scene {
    async fn chat(&self, text: &str) -> Answer {
        let messages = json!([{ "role": "user", "content": text }]);
        let stream = text == ENDLESS;
        let body = json!({ "model": "gpt-5-nano", "stream": stream, "messages": messages });
        Http::default().post(&self.chats, &self.site.expense(), body.to_string()).await
    }

    fn operate(&self, args: &[&str]) -> Value {
        let door = ["--pdp", &self.pdp, "--token", "state/operator.token", "--format", "json"];
        serde_json::from_str(&self.site.ok(&[args, &door].concat())).unwrap()
    }

    /// A stream is open; the agent is killed; then it is taken back.
    async fn play(&self) {
        assert_eq!(self.chat("hi").await.status, 200);
        let before = self.provider.arrived().len();
        let streaming = async {
            let answer = self.chat(ENDLESS).await;
            String::from_utf8_lossy(&answer.body).into_owned()
        };
        let killing = async {
            until("the stream is open", || async {
                (self.provider.arrived().len() > before).then_some(())
            })
            .await;
            self.operate(&["kill", "agent", AGENT, "--reason", "it was taken over"])
        };
        let mut streaming = std::pin::pin!(streaming);
        let killed = tokio::select! {
            text = &mut streaming => panic!("the stream ended by itself: {text}"),
            killed = killing => killed,
        };
        assert_eq!(killed["revoked"]["id"], AGENT);
        let patience = Duration::from_secs(KILL_TAKES_S);
        let said = tokio::time::timeout(patience, streaming).await.unwrap();
        assert!(said.contains("result_withheld") && said.contains("agent_revoked"), "{said}");
        assert!(!said.contains("[DONE]"), "{said}");
        let reached = self.provider.arrived().len();
        let denied = self.chat("hi").await;
        assert_eq!((denied.status, denied.reasons()), (403, vec!["agent_revoked".to_owned()]));
        assert_eq!(self.provider.arrived().len(), reached, "nothing passes");
        self.operate(&["unkill", "agent", AGENT, "--reason", "it is ours again"]);
        assert_eq!(self.chat("hi").await.status, 200);
    }

    /// Everything is on record, on both sides.
    fn told(&self, pdp_audit: &str) {
        let ours = records(&self.site.path(self.audit));
        let cut = |record: &&lictor_audit::query::Record| {
            record.kind == Kind::Enforcement && record.str_at("/outcome") == Some("withheld")
        };
        let cut: Vec<_> = ours.iter().filter(cut).cloned().collect();
        assert!(names(&cut, Kind::Enforcement, "agent_revoked"), "{cut:#?}");
        let theirs = records(&self.site.path(pdp_audit));
        let outcome = |record: &&lictor_audit::query::Record| record.kind == Kind::Revocation;
        let outcomes: Vec<_> =
            theirs.iter().filter(outcome).filter_map(|r| r.str_at("/outcome")).collect();
        assert_eq!(outcomes, ["killed", "unkilled"]);
        assert!(names(&theirs, Kind::Decision, "agent_revoked"));
    }
}

#[tokio::test]
async fn a_killed_agent_is_out_in_one_process() {
    let site = Site::new();
    let tools = Upstream::tools(&repository().join("bundles")).await;
    let provider = Upstream::provider().await;
    let config =
        site.common("audit", "") + &site.pep_http(&provider, "") + &site.pep_mcp(&tools, "");
    let up = Up::start(&site, &config).await.unwrap();
    let (chats, pdp) = (format!("{}/chat/completions", up.http), up.pdp.clone());
    let scene = Scene { site, provider, chats, pdp, audit: "audit" };
    scene.play().await;
    assert!(up.server.terminate().await.success());
    scene.told("audit");
    crate::rig::whole(&scene.site);
}

#[tokio::test]
async fn a_killed_agent_is_out_over_the_wire() {
    let site = Site::new();
    let provider = Upstream::provider().await;
    let root = site.root().display().to_string();
    let server = start_pdp(&site).await;
    let pdp = format!("http://{}", server.address("decision point listening address="));
    let more = format!(
        "pdp = \"{pdp}\"\npdp_token_file = \"{root}/state/pep.token\"\nstate_dir = \"{root}/pep-state\""
    );
    site.write("pep.toml", &(site.common("pep-audit", "") + &site.pep_http(&provider, &more)));
    let args = ["-c", "pep.toml"];
    let pep = Server::start("lictor-pep-http", &args, site.root(), HTTP_SAYS).await.unwrap();
    let chats = format!("http://{}/v1/chat/completions", pep.address(HTTP_SAYS));
    let scene = Scene { site, provider, chats, pdp, audit: "pep-audit" };
    scene.play().await;
    assert!(pep.terminate().await.success());
    assert!(server.terminate().await.success());
    scene.told("pdp-audit");
    let keys = ["state/audit.pub", "pep-state/audit.pub"];
    scene.site.verify(&["pdp-audit", "pep-audit"], &keys);
}

/// The list that somebody else keeps.
const LISTED: [&str; 4] = ["--list", "r.jws", "--key", "lists/revocation.key"];

impl Scene {
    /// Changes the list as its keeper does.
    fn keep(&self, args: &[&str]) {
        self.site.ok(&[args, &LISTED].concat());
    }

    /// Puts a file in place of the list, all at once.
    fn replace(&self, text: &[u8]) {
        std::fs::write(self.site.path("r.new"), text).unwrap();
        std::fs::rename(self.site.path("r.new"), self.site.path("r.jws")).unwrap();
    }

    /// Waits until a chat is refused for `reason`, or passes where there is none.
    async fn chat_is(&self, reason: Option<&str>) {
        let wanted: Vec<String> = reason.into_iter().map(str::to_owned).collect();
        let patience = Duration::from_secs(KILL_TAKES_S);
        let what = format!("a chat is {wanted:?}");
        let changed =
            until(&what, || async { (self.chat("hi").await.reasons() == wanted).then_some(()) });
        tokio::time::timeout(patience, changed).await.unwrap();
    }

    /// Waits until the newest list is refused for `id`, which changes nothing.
    async fn refuses_list(&self, id: &str) {
        let what = format!("the list is refused for {id}");
        let refused = until(&what, || async {
            let told = self.operate(&["kill", "--list"]);
            let refused = told["lists"][1]["refused"].as_str().unwrap().to_owned();
            refused.starts_with(id).then_some(())
        });
        tokio::time::timeout(Duration::from_secs(KILL_TAKES_S), refused).await.unwrap();
        assert_eq!(self.chat("hi").await.reasons(), ["subject_revoked"], "{id}");
    }
}

#[tokio::test]
async fn a_signed_list_is_obeyed_and_nothing_is_allowed_past_its_time() {
    let site = Site::new();
    site.ok(&["keys", "new", "revocation", "-o", "lists"]);
    site.ok(&["keys", "new", "revocation", "-o", "others"]);
    let tools = Upstream::tools(&repository().join("bundles")).await;
    let provider = Upstream::provider().await;
    let root = site.root().display();
    let section = format!(
        "[pdp.revocations]\nfile = \"{root}/r.jws\"\ntrust_keys = [\"{root}/lists/revocation.pub\"]\n"
    );
    let config = site.common("audit", "")
        + &section
        + &site.pep_http(&provider, "")
        + &site.pep_mcp(&tools, "");
    let up = Up::start(&site, &config).await.unwrap();
    let (chats, pdp) = (format!("{}/chat/completions", up.http), up.pdp.clone());
    let scene = Scene { site, provider, chats, pdp, audit: "audit" };
    scene.chat_is(Some("revocation_stale")).await;
    scene.keep(&["kill", "agent", "somebody-else", "--reason", "gone", "--create"]);
    let first = std::fs::read(scene.site.path("r.jws")).unwrap();
    scene.chat_is(None).await;
    scene.keep(&["kill", "user", "alice@example.com", "--reason", "left"]);
    scene.chat_is(Some("subject_revoked")).await;
    let second = std::fs::read(scene.site.path("r.jws")).unwrap();

    scene.replace(&first);
    scene.refuses_list("revocations_version").await;
    let others = ["--list", "o.jws", "--key", "others/revocation.key", "--create"];
    scene.site.ok(&[&["kill", "agent", "x", "--reason", "r"][..], &others].concat());
    scene.replace(&std::fs::read(scene.site.path("o.jws")).unwrap());
    scene.refuses_list("revocations_key_unknown").await;
    let mut broken = second.clone();
    let last = broken.len() - 10;
    broken[last] = if broken[last] == b'A' { b'B' } else { b'A' };
    scene.replace(&broken);
    scene.refuses_list("revocations_signature_invalid").await;
    scene.replace(&second);
    scene.keep(&["unkill", "user", "alice@example.com", "--reason", "is back"]);
    scene.chat_is(None).await;

    // A list that is about to expire, and a stream that would go on for ever.
    scene.keep(&["kill", "--renew", "--expires", "4s"]);
    let patience = Duration::from_secs(4 + KILL_TAKES_S);
    let cut = tokio::time::timeout(patience, scene.chat(ENDLESS)).await.unwrap();
    let said = String::from_utf8_lossy(&cut.body).into_owned();
    assert!(said.contains("result_withheld") && said.contains("revocation_stale"), "{said}");
    scene.chat_is(Some("revocation_stale")).await;
    assert!(up.server.terminate().await.success());
    let ours = records(&scene.site.path("audit"));
    let refused = |id| names_list(&ours, id);
    assert!(refused("revocations_version") && refused("revocations_key_unknown"));
    assert!(refused("revocations_signature_invalid"));
    crate::rig::whole(&scene.site);
}

/// Whether it is on record that a list was refused for `id`.
fn names_list(records: &[lictor_audit::query::Record], id: &str) -> bool {
    records.iter().any(|record| {
        record.kind == Kind::Revocation
            && record.str_at("/outcome") == Some("refused")
            && record.str_at("/reason") == Some(id)
    })
}
