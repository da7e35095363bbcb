//! Parts that die in the middle of traffic, and logs that cannot be written.

use std::io::Write as _;

use lictor_audit::Kind;
use lictor_tests::client::{Answer, Http};
use lictor_tests::evidence::{names, of_call, records};
use lictor_tests::process::until;
use lictor_tests::site::{Site, Up, repository};
use lictor_tests::upstream::Upstream;
use serde_json::json;

use crate::rig::{Rig, whole};
use crate::vertical::{Parts, Way, start, start_pdp};

async fn harmless(url: &str, token: &str) -> Answer {
    let args = json!({ "employee_id": "alice@example.com" });
    Http::default().call_tool(url, token, "get_employee_cost_center", &args).await
}

#[tokio::test]
async fn a_dead_decision_point_means_no_and_a_new_one_is_found() {
    let site = Site::new();
    let tools = Upstream::tools(&repository().join("bundles")).await;
    let keys = site.api_keys("alice@example.com", "expense-report-v1", 4);
    let Parts { mut pdp, pep, url } = start(&site, &tools, Way::Socket).await;
    let token = site.expense();
    let clients: Vec<_> = keys
        .into_iter()
        .map(|token| {
            let url = url.clone();
            tokio::spawn(async move {
                let mut allowed = 0;
                loop {
                    let answer = harmless(&url, &token).await;
                    if answer.text() != "done" {
                        return (allowed, answer);
                    }
                    allowed += 1;
                }
            })
        })
        .collect();
    until("calls are served", || async { (tools.calls().len() > 20).then_some(()) }).await;
    pdp.kill();
    for client in clients {
        let (allowed, answer) = client.await.unwrap();
        // The death may come between sending and answering a call: then it was carried out, its
        // result is withheld, and the answer says so.
        let refusal = answer.refusal().unwrap();
        let known = ["pdp_unavailable", "result_withheld"];
        assert!(answer.reasons().iter().any(|id| known.contains(&id.as_str())), "{answer:?}");
        assert_eq!(
            refusal["executed"] == true,
            answer.reasons().contains(&"result_withheld".into())
        );
        assert!(allowed > 0, "{answer:?}");
    }
    let answer = harmless(&url, &token).await;
    assert_eq!((answer.status, answer.reasons()), (503, vec!["pdp_unavailable".to_owned()]));
    let noted = of_call(&site.path("pep-audit"), &answer.call_id());
    assert!(names(&noted, Kind::Enforcement, "pdp_unavailable"), "{noted:#?}");
    let reached = tools.calls().len();
    harmless(&url, &token).await;
    assert_eq!(tools.calls().len(), reached, "nothing passes unchecked");
    let pdp = start_pdp(&site).await;
    until("calls are served again", || async {
        (harmless(&url, &token).await.text() == "done").then_some(())
    })
    .await;
    assert!(pep.terminate().await.success());
    assert!(pdp.terminate().await.success());
    let verified =
        site.verify(&["pdp-audit", "pep-audit"], &["state/audit.pub", "pep-state/audit.pub"]);
    assert!(verified.contains("in 3 log(s)"), "{verified}");
}

/// The newest file of a writer's log.
fn newest(site: &Site, writer: &str) -> std::path::PathBuf {
    let files = std::fs::read_dir(site.path("audit")).unwrap().map(|entry| entry.unwrap().path());
    let ours = files.filter(|path| {
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        name.starts_with(writer) && name.ends_with(".jsonl")
    });
    ours.max_by_key(|path| std::fs::metadata(path).unwrap().modified().unwrap()).unwrap()
}

/// What a power cut leaves of a line.
const TORN: &[u8] = b"{\"seq\":99999,\"prev\":\"torn in the mid";

#[tokio::test]
async fn a_power_cut_leaves_logs_that_verify_and_say_what_was_lost() {
    let mut rig = Rig::start().await;
    for _ in 0..20 {
        assert_eq!(rig.harmless().await.text(), "done");
    }
    rig.up.server.kill();
    let torn = newest(&rig.site, "pdp-");
    let mut file = std::fs::OpenOptions::new().append(true).open(&torn).unwrap();
    file.write_all(TORN).unwrap();
    drop(file);
    let rig = rig.again().await;
    assert_eq!(rig.harmless().await.text(), "done");
    let all = records(&rig.site.path("audit"));
    let recoveries: Vec<_> = all
        .iter()
        .filter(|record| record.kind == Kind::Recovery && record.body.get("unclean").is_some())
        .collect();
    for writer in ["pdp-", "pep-http-", "pep-mcp-"] {
        let one = recoveries.iter().find(|record| record.log.starts_with(writer));
        let body = &one.unwrap_or_else(|| panic!("{writer}: {recoveries:#?}")).body;
        assert_eq!((&body["unclean"], &body["corrupt"]), (&json!(true), &json!(false)), "{body}");
    }
    let cut = recoveries.iter().filter_map(|record| record.body["truncated_bytes"].as_u64());
    assert_eq!(cut.sum::<u64>(), TORN.len() as u64, "{recoveries:#?}");
    let said =
        |what: &str| all.iter().filter(|record| record.str_at("/counters") == Some(what)).count();
    assert_eq!((said("began_again"), said("recovered")), (1, 1), "once at each start");
    let Rig { site, up, .. } = rig;
    assert!(up.server.terminate().await.success());
    let verified = whole(&site);
    assert!(verified.contains("in 6 log(s)"), "{verified}");
}

#[tokio::test]
async fn a_changed_byte_is_corruption_and_stays() {
    let mut rig = Rig::start().await;
    assert_eq!(rig.harmless().await.text(), "done");
    rig.up.server.kill();
    let path = newest(&rig.site, "pdp-");
    let text = std::fs::read_to_string(&path).unwrap();
    assert!(text.contains("\"effect\":\"allow\""), "{text}");
    let changed = text.replacen("\"effect\":\"allow\"", "\"effect\":\"deny\" ", 1);
    std::fs::write(&path, &changed).unwrap();
    let rig = rig.again().await;
    assert_eq!(std::fs::read_to_string(&path).unwrap(), changed, "what is wrong is never cut");
    let Rig { site, up, .. } = rig;
    assert!(up.server.terminate().await.success());
    let told = site.lictor(&["audit", "verify", "audit"]).code(7);
    assert!(told.out.contains("broken"), "{told:?}");
}

/// KiB that each file may have when the disk is to run full: more than a bundle, less than a log.
const CRAMPED_KIB: u64 = 256;
/// Calls after which the log must be full.
const CALLS_MAX: usize = 3_000;

struct Cramped {
    site: Site,
    tools: Upstream,
    up: Up,
    _provider: Upstream,
}

impl Cramped {
    async fn start() -> Self {
        let site = Site::new();
        let tools = Upstream::tools(&repository().join("bundles")).await;
        let provider = Upstream::provider().await;
        let peps = site.pep_http(&provider, "") + &site.pep_mcp(&tools, "");
        let config = site.common("audit", "") + &peps;
        let up = Up::start_cramped(&site, &config, CRAMPED_KIB).await.unwrap();
        Self { site, tools, up, _provider: provider }
    }

    async fn call(&self) -> Answer {
        harmless(&format!("{}/accounting", self.up.mcp), &self.site.expense()).await
    }

    /// Calls until one is refused: how many were not, and the refusal.
    async fn fill(&self) -> (usize, Answer) {
        for allowed in 0..CALLS_MAX {
            let answer = self.call().await;
            if answer.text() != "done" {
                return (allowed, answer);
            }
        }
        panic!("the log never ran full");
    }
}

/// What reached the server although its answer did not reach the caller.
fn withheld(answer: &Answer) -> usize {
    usize::from(answer.refusal().unwrap()["executed"] == true)
}

#[tokio::test]
async fn nothing_is_allowed_that_cannot_be_recorded() {
    let cramped = Cramped::start().await;
    // Open files go on being written; a new one cannot be made any more.
    let audit = cramped.site.path("audit");
    std::fs::rename(&audit, cramped.site.path("moved")).unwrap();
    std::fs::write(&audit, "a file where the folder should be").unwrap();
    let (allowed, refused) = cramped.fill().await;
    let known = ["audit_unavailable", "result_withheld"];
    assert!(refused.reasons().iter().any(|id| known.contains(&id.as_str())), "{refused:?}");
    for _ in 0..5 {
        let answer = cramped.call().await;
        assert_eq!((answer.status, answer.reasons()), (503, vec!["audit_unavailable".to_owned()]));
    }
    assert_eq!(
        cramped.tools.calls().len(),
        allowed + withheld(&refused),
        "nothing passes unrecorded"
    );
    let ready = format!("{}/readyz", cramped.up.pdp);
    let (pdp, pep) = (ready, format!("{}/readyz", cramped.up.mcp.trim_end_matches("/mcp")));
    let statuses =
        [pdp, pep].map(|url| async move { Http::default().get(&url, "").await.unwrap().status });
    let statuses = futures::future::join_all(statuses).await;
    assert!(statuses.contains(&503), "{statuses:?}");
}

#[tokio::test]
async fn a_log_that_failed_is_continued_in_a_new_file() {
    let cramped = Cramped::start().await;
    let (allowed, refused) = cramped.fill().await;
    until("calls are served again", || async {
        (cramped.call().await.text() == "done").then_some(())
    })
    .await;
    assert!(cramped.tools.calls().len() > allowed + withheld(&refused));
    assert!(cramped.up.server.terminate().await.success());
    let all = records(&cramped.site.path("audit"));
    let poisoned = all.iter().filter(|record| record.body.get("poisoned") == Some(&json!(true)));
    assert!(poisoned.count() > 0, "the recovery is on record");
    whole(&cramped.site);
}

#[test]
fn without_a_place_for_the_log_nothing_starts() {
    let site = Site::new();
    site.write("taken", "a file where the folder should be");
    site.write("lictor.toml", &site.common("taken", ""));
    let refused = site.lictor(&["up"]).code(1);
    assert!(refused.err.contains("the audit log cannot be opened"), "{refused:?}");
}
