//! A person is waited for, and meanwhile the caller's credential ends.

use std::sync::Arc;

use async_trait::async_trait;
use lictor_identity::{ApiKeyStore, ApiKeys, Authenticator, IssueRequest, PartyRef, Settings};
use lictor_pep_core::setup::{self, AuditConfig};
use lictor_pep_core::{Clock, Ids, Pep, PepParts, Proof, Request};
use lictor_proto::call::{Call, ResourceKind};
use lictor_proto::decide::{Answer, Decide, DecideError, Hints, Revocations, Settle};
use lictor_proto::decision::{Approval, Decision, Effect, Reason, Standing};

const NOW_MS: i64 = 1_800_000_000_000;

/// Asks a person once, who agrees; the keys may be others by then.
struct Person {
    keys: ApiKeys,
    then: ApiKeyStore,
    asked: std::sync::Mutex<Vec<String>>,
}

#[async_trait]
impl Decide for Person {
    async fn decide(&self, call: Arc<Call>, _: u32) -> Result<Answer, DecideError> {
        let first = {
            let mut asked = self.asked.lock().unwrap();
            asked.push(call.call_id.clone());
            asked.len() == 1
        };
        let mut decision = Decision::denied("d", &call.call_id, Reason::new("big", "a person"));
        decision.request_digest = call.request_digest();
        decision.effect = if first { Effect::Ask } else { Effect::Allow };
        decision.approval = first.then(|| Approval {
            id: "a".to_owned(),
            expires: "2027-01-15T09:00:00Z".to_owned(),
            approvers: vec!["bob".to_owned()],
            count: 1,
        });
        Ok(Answer { decision, hints: Hints::default() })
    }

    async fn decide_batch(&self, _: Vec<Arc<Call>>, _: u32) -> Result<Vec<Answer>, DecideError> {
        Err(DecideError::Unavailable("not here".to_owned()))
    }

    async fn settle(&self, _: Settle) -> Result<(), DecideError> {
        Ok(())
    }

    async fn exchange_checkpoint(&self, _: &str, _: &str) -> Result<String, DecideError> {
        Ok(String::new())
    }

    async fn revocations(&self, _: u64) -> Result<Revocations, DecideError> {
        std::future::pending().await
    }

    async fn approval(&self, _: &str, _: u32) -> Result<Standing, DecideError> {
        self.keys.replace(self.then.clone());
        Ok(Standing::Approved)
    }
}

/// How often was asked, and whether it was allowed in the end.
async fn asked(revoked: bool) -> (usize, bool) {
    let mut store = ApiKeyStore::default();
    let request = IssueRequest {
        id: "k".to_owned(),
        tenant: "default".to_owned(),
        subject: Some(PartyRef::new("user", "alice")),
        agent: Some(PartyRef::new("agent", "bot")),
        ..IssueRequest::default()
    };
    let (key, _) = store.issue(&request, 1, [7; 32]).unwrap();
    let keys = ApiKeys::from(store.clone());
    let then = if revoked { ApiKeyStore::default() } else { store };
    let person = Arc::new(Person { keys: keys.clone(), then, asked: Default::default() });
    let dir = tempfile::tempdir().unwrap();
    let clock = Clock::fixed(NOW_MS);
    let audit = AuditConfig { dir: dir.path().join("audit"), ..AuditConfig::default() };
    let settings = Settings { api_keys: Some(keys), ..Settings::default() };
    let pep = Pep::new(PepParts {
        decide: person.clone(),
        authenticator: Arc::new(Authenticator::new(settings).unwrap()),
        audit: setup::audit_log(&audit, "pep", &dir.path().join("keys"), &clock).unwrap(),
        clock,
        ids: Ids::counting(),
        abilities: &[],
        budget_ms: 5_000,
    });
    let pep = pep.with_approval_wait(1_000);
    let request = Request::new(Proof::bearer(&key), "tools/call", ResourceKind::Tool, "s/t");
    let allowed = pep.decide(request).await.is_ok();
    let asked = person.asked.lock().unwrap().len();
    (asked, allowed)
}

#[tokio::test]
async fn a_key_that_was_revoked_while_a_person_was_asked_does_nothing_more() {
    assert_eq!(asked(false).await, (2, true));
    assert_eq!(asked(true).await, (1, false));
}
