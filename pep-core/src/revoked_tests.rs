use std::sync::Mutex;

use async_trait::async_trait;
use lictor_proto::call::{Party, Resource, ResourceKind};
use lictor_proto::decide::{Answer, Settle};
use lictor_proto::revocation::{Entry, Kind};
use tokio::sync::mpsc;

use super::*;

/// Tells what the test sends it, and notes which versions it was asked about.
struct Teller {
    answers: tokio::sync::Mutex<mpsc::UnboundedReceiver<Result<Revocations, DecideError>>>,
    known: Mutex<Vec<u64>>,
}

#[async_trait]
impl Decide for Teller {
    async fn decide(&self, _: Arc<Call>, _: u32) -> Result<Answer, DecideError> {
        Err(DecideError::Unavailable("not asked here".into()))
    }

    async fn decide_batch(&self, _: Vec<Arc<Call>>, _: u32) -> Result<Vec<Answer>, DecideError> {
        Err(DecideError::Unavailable("not asked here".into()))
    }

    async fn settle(&self, _: Settle) -> Result<(), DecideError> {
        Ok(())
    }

    async fn exchange_checkpoint(&self, _: &str, _: &str) -> Result<String, DecideError> {
        Ok(String::new())
    }

    async fn revocations(&self, known: u64) -> Result<Revocations, DecideError> {
        self.known.lock().unwrap().push(known);
        let answer = self.answers.lock().await.recv().await;
        answer.unwrap_or_else(|| Err(DecideError::Unavailable("gone".into())))
    }
}

struct Rig {
    teller: Arc<Teller>,
    say: mpsc::UnboundedSender<Result<Revocations, DecideError>>,
    revoked: Revoked,
}

impl Rig {
    fn start() -> Self {
        let (say, answers) = mpsc::unbounded_channel();
        let answers = tokio::sync::Mutex::new(answers);
        let teller = Arc::new(Teller { answers, known: Mutex::default() });
        let revoked = Revoked::watch(teller.clone());
        Self { teller, say, revoked }
    }

    fn guard(&self, call: Call, hints: &Hints) -> Guard {
        Guard {
            involved: Arc::new(involved(&call, hints)),
            call: Arc::new(call),
            decision_id: "d".into(),
            standing: self.revoked.standing.clone(),
            clock: Clock::fixed(100),
        }
    }

    fn tell(&self, version: u64, ids: &[&str]) {
        let entries = ids.iter().map(|id| entry(Kind::Agent, id)).collect();
        self.say.send(Ok(Revocations { version, entries, stale: false })).unwrap();
    }
}

fn entry(kind: Kind, id: &str) -> Entry {
    Entry { kind, id: id.into(), reason: String::new(), since_ms: 0, until_ms: None }
}

fn call() -> Call {
    Call {
        call_id: "c".into(),
        agent: Some(Party::new("agent", "client-7")),
        resource: Some(Resource { kind: ResourceKind::Tool, id: "mail/send".into() }),
        ..Call::default()
    }
}

fn hints() -> Hints {
    Hints { agents: vec!["bot".into()], session_id: Some("s".into()), ..Hints::default() }
}

#[tokio::test(start_paused = true)]
async fn a_guard_trips_by_every_name_and_only_by_its_own() {
    for (kind, id, reason) in [
        (Kind::Agent, "bot", "agent_revoked"),
        (Kind::Agent, "client-7", "agent_revoked"),
        (Kind::Session, "s", "session_revoked"),
        (Kind::Server, "mail", "server_revoked"),
    ] {
        let rig = Rig::start();
        rig.tell(1, &["other"]);
        let mut guard = rig.guard(call(), &hints());
        let news = rig.revoked.standing.clone().changed().await;
        assert!(news.is_ok() && guard.refusal().is_none() && !guard.is_listed());
        let entries = vec![entry(kind, id)];
        rig.say.send(Ok(Revocations { version: 2, entries, stale: false })).unwrap();
        let refusal = guard.tripped().await;
        assert!(refusal.has(reason) && refusal.executed(), "{refusal:?}");
        assert_eq!((refusal.call_id(), refusal.decision_id()), ("c", "d"));
        assert!(guard.is_listed());
        assert_eq!(rig.revoked.refusal(&call(), &hints(), 0).unwrap().id(), reason);
        assert_eq!(rig.revoked.refusal(&Call::default(), &Hints::default(), 0), None);
    }
}

#[tokio::test(start_paused = true)]
async fn the_next_question_names_what_is_known_and_keeps_it() {
    let rig = Rig::start();
    let mut news = rig.revoked.standing.clone();
    rig.tell(7, &["bot"]);
    news.changed().await.unwrap();
    // Nothing new: the entries are left out and the set stays.
    rig.tell(7, &[]);
    rig.tell(8, &["bot", "more"]);
    news.changed().await.unwrap();
    assert_eq!(rig.revoked.standing.borrow().set.len(), 2);
    assert_eq!(rig.teller.known.lock().unwrap().get(..3).unwrap(), [0, 7, 7]);
    assert!(rig.guard(call(), &hints()).is_listed());
}

#[tokio::test(start_paused = true)]
async fn a_stale_list_trips_everything_until_it_is_fresh() {
    let rig = Rig::start();
    let mut guard = rig.guard(call(), &Hints::default());
    rig.say.send(Ok(Revocations { version: 1, entries: vec![], stale: true })).unwrap();
    assert!(guard.tripped().await.has(reason::REVOCATION_STALE));
    assert!(!guard.is_listed(), "nobody was named");
    let mut news = rig.revoked.news();
    rig.tell(2, &[]);
    news.changed().await;
    assert!(guard.refusal().is_none());
}

#[tokio::test(start_paused = true)]
async fn silence_trips_everything_after_its_time_and_not_before() {
    let rig = Rig::start();
    rig.tell(1, &[]);
    rig.revoked.standing.clone().changed().await.unwrap();
    let mut guard = rig.guard(call(), &Hints::default());
    let since = Instant::now();
    let refusal = guard.tripped().await;
    let silent = Duration::from_millis(REVOCATIONS_MAX_SILENCE_MS);
    assert!(refusal.has(reason::PDP_UNAVAILABLE), "{refusal:?}");
    let took = since.elapsed();
    assert!(
        took >= silent - Duration::from_millis(1) && took <= silent + Duration::from_millis(2),
        "{took:?}"
    );
    assert!(!guard.is_listed());
    let mut news = rig.revoked.news();
    rig.tell(1, &[]);
    news.changed().await;
    assert!(guard.refusal().is_none(), "it was heard again");
}

#[tokio::test(start_paused = true)]
async fn failing_answers_are_silence_too_and_asked_for_with_pauses() {
    let rig = Rig::start();
    let mut guard = rig.guard(call(), &Hints::default());
    drop(rig.say);
    let refusal = guard.tripped().await;
    assert!(refusal.has(reason::PDP_UNAVAILABLE), "{refusal:?}");
    let most = REVOCATIONS_MAX_SILENCE_MS / QUESTION_PAUSE_MS + 1;
    let asked = rig.teller.known.lock().unwrap().len() as u64;
    assert!(asked > 1 && asked <= most, "{asked} questions");
}

#[test]
fn outside_of_a_runtime_everything_is_lost() {
    let (_say, answers) = mpsc::unbounded_channel();
    let answers = tokio::sync::Mutex::new(answers);
    let revoked = Revoked::watch(Arc::new(Teller { answers, known: Mutex::default() }));
    let refusal = revoked.refusal(&call(), &Hints::default(), 0).unwrap();
    assert_eq!(refusal.id(), reason::PDP_UNAVAILABLE);
}
