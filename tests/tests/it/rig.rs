//! Everything in one process, for the tests that send something to it.

use lictor_tests::client::{Answer, Http};
use lictor_tests::evidence::{names, of_call, records};
use lictor_tests::process::until;
use lictor_tests::site::{Site, Up, repository};
use lictor_tests::upstream::Upstream;
use serde_json::Value;

pub(crate) struct Rig {
    pub(crate) site: Site,
    pub(crate) tools: Upstream,
    pub(crate) provider: Upstream,
    pub(crate) up: Up,
    pub(crate) http: Http,
    config: String,
}

impl Rig {
    pub(crate) async fn start() -> Self {
        Self::of(Site::new()).await
    }

    pub(crate) async fn of(site: Site) -> Self {
        Self::with(site, |config| config).await
    }

    /// With another configuration.
    pub(crate) async fn with(site: Site, change: impl FnOnce(String) -> String) -> Self {
        let tools = Upstream::tools(&repository().join("bundles")).await;
        let provider = Upstream::provider().await;
        let config = change(config(&site, &tools, &provider));
        let up = Up::start(&site, &config).await.unwrap();
        Self { site, tools, provider, up, http: Http::default(), config }
    }

    /// The same folder and servers behind, in a new process.
    pub(crate) async fn again(self) -> Self {
        let Self { site, tools, provider, up, http, config } = self;
        drop(up);
        let up = Up::start(&site, &config).await.unwrap();
        Self { site, tools, provider, up, http, config }
    }

    /// The enforcement point's endpoint of a tool server.
    pub(crate) fn mcp(&self, server: &str) -> String {
        format!("{}/{server}", self.up.mcp)
    }

    pub(crate) fn chat(&self) -> String {
        format!("{}/chat/completions", self.up.http)
    }

    /// A harmless call that is always allowed.
    pub(crate) async fn harmless(&self) -> Answer {
        self.harmless_by(&self.site.expense()).await
    }

    /// The same by whoever holds `token`.
    pub(crate) async fn harmless_by(&self, token: &str) -> Answer {
        let args = serde_json::json!({ "employee_id": "alice@example.com" });
        let url = self.mcp("accounting");
        self.http.call_tool(&url, token, "get_employee_cost_center", &args).await
    }

    /// What the decision point says of itself.
    pub(crate) async fn status(&self) -> Value {
        let token = std::fs::read_to_string(self.site.path("state/operator.token")).unwrap();
        let url = format!("{}/v1/status", self.up.pdp);
        self.http.get(&url, token.trim()).await.unwrap().json()
    }

    /// Waits until a member of the live bundle's status has a value.
    pub(crate) async fn bundle_is(&self, member: &str, value: &Value) {
        until(&format!("the bundle's {member} is {value}"), || async {
            let status = self.status().await;
            (status["bundles"][0][member] == *value).then_some(())
        })
        .await;
    }

    /// The refusal `id` is in the answer, and in the log under the id of the answer's call.
    #[track_caller]
    pub(crate) fn refused(&self, answer: &Answer, id: &str, what: &str) {
        assert!(answer.reasons().iter().any(|reason| reason == id), "{what}: {id}: {answer:?}");
        let records = of_call(&self.site.path("audit"), &answer.call_id());
        assert!(names(&records, lictor_audit::Kind::Enforcement, id), "{what}: {id}: {records:#?}");
    }

    /// Records of a kind with a value at a pointer.
    pub(crate) fn logged(&self, kind: lictor_audit::Kind, pointer: &str, value: &str) -> usize {
        let all = records(&self.site.path("audit"));
        all.iter().filter(|r| r.kind == kind && r.str_at(pointer) == Some(value)).count()
    }

    /// Ends it in order and verifies every log.
    pub(crate) async fn ends_whole(self) {
        let Self { site, up, .. } = self;
        assert!(up.server.terminate().await.success());
        whole(&site);
    }
}

/// Verifies the logs of all three writers.
#[track_caller]
pub(crate) fn whole(site: &Site) -> String {
    let keys = ["state/audit.pub", "state/pep-http/audit.pub", "state/pep-mcp/audit.pub"];
    site.verify(&["audit"], &keys)
}

fn config(site: &Site, tools: &Upstream, provider: &Upstream) -> String {
    site.common("audit", "") + &site.pep_http(provider, "") + &site.pep_mcp(tools, "")
}
