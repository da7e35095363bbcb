use std::sync::Mutex;

use async_trait::async_trait;
use lictor_proto::decide::{Hints, Revocations};
use lictor_proto::decision::{Decision, Reason};

use super::*;

/// What the made-up decision point does at its n-th question.
#[derive(Clone, Copy)]
enum Step {
    Answer,
    Fail,
    Hang,
    Refuse,
    /// One answer too few.
    Short,
}

struct Scripted {
    steps: Vec<Step>,
    asked: Mutex<Vec<(String, u32)>>,
    settled: Mutex<Vec<Settle>>,
    /// Whether approvals are pending at once, however long one waits.
    hasty: bool,
    /// Where approvals stand when it is asked last.
    standing: Standing,
}

impl Default for Scripted {
    fn default() -> Self {
        let (steps, asked, settled) = (Vec::new(), Mutex::default(), Mutex::default());
        Self { steps, asked, settled, hasty: false, standing: Standing::Pending }
    }
}

impl Scripted {
    fn new(steps: &[Step]) -> Arc<Self> {
        Arc::new(Self { steps: steps.to_vec(), ..Self::default() })
    }

    async fn step(&self, call_id: &str, budget_ms: u32) -> Result<Step, DecideError> {
        let step = {
            let mut asked = self.asked.lock().unwrap();
            let step = self.steps[asked.len()];
            asked.push((call_id.to_owned(), budget_ms));
            step
        };
        match step {
            Step::Answer | Step::Short => Ok(step),
            Step::Fail => Err(DecideError::Unavailable("gone".into())),
            Step::Hang => std::future::pending().await,
            Step::Refuse => {
                Err(DecideError::Refused { id: reason::OVERLOADED.into(), message: "full".into() })
            }
        }
    }

    fn asked(&self) -> Vec<String> {
        self.asked.lock().unwrap().iter().map(|(id, _)| id.clone()).collect()
    }
}

fn answer(call: &Call) -> Answer {
    let decision = Decision::denied("d", &call.call_id, Reason::new("r", "m"));
    Answer { decision, hints: Hints::default() }
}

#[async_trait]
impl Decide for Scripted {
    async fn decide(&self, call: Arc<Call>, budget_ms: u32) -> Result<Answer, DecideError> {
        self.step(&call.call_id, budget_ms).await.map(|_| answer(&call))
    }

    async fn decide_batch(
        &self,
        calls: Vec<Arc<Call>>,
        budget_ms: u32,
    ) -> Result<Vec<Answer>, DecideError> {
        let step = self.step(&calls.len().to_string(), budget_ms).await?;
        let left_out = usize::from(matches!(step, Step::Short));
        Ok(calls.iter().skip(left_out).map(|call| answer(call)).collect())
    }

    async fn settle(&self, settle: Settle) -> Result<(), DecideError> {
        self.settled.lock().unwrap().push(settle);
        Ok(())
    }

    async fn exchange_checkpoint(&self, _: &str, _: &str) -> Result<String, DecideError> {
        Ok(String::new())
    }

    async fn revocations(&self, _: u64) -> Result<Revocations, DecideError> {
        std::future::pending().await
    }

    async fn approval(&self, id: &str, wait_ms: u32) -> Result<Standing, DecideError> {
        self.step(id, wait_ms).await?;
        if self.hasty {
            return Ok(Standing::Pending);
        }
        if self.asked().len() < self.steps.len() || self.standing == Standing::Pending {
            tokio::time::sleep(Duration::from_millis(u64::from(wait_ms))).await;
            return Ok(Standing::Pending);
        }
        Ok(self.standing)
    }
}

async fn approved(steps: &[Step], standing: Standing, wait_ms: u32) -> (bool, Vec<(String, u32)>) {
    let scripted = Scripted { steps: steps.to_vec(), standing, ..Scripted::default() };
    let scripted = Arc::new(scripted);
    let approved = Inquirer::new(scripted.clone(), 0).is_approved("a", wait_ms).await;
    let asked = scripted.asked.lock().unwrap().clone();
    (approved, asked)
}

#[tokio::test(start_paused = true)]
async fn an_approval_is_waited_for_only_as_long_as_configured() {
    assert_eq!(approved(&[], Standing::Approved, 0).await, (false, vec![]));
    let once = [Step::Answer];
    let (given, asked) = approved(&once, Standing::Approved, 90_000).await;
    assert_eq!((given, asked), (true, vec![("a".to_owned(), WAIT_MAX_MS)]));
    for standing in Standing::ALL.into_iter().filter(|standing| *standing != Standing::Approved) {
        let twice = [Step::Answer, Step::Answer];
        assert!(!approved(&twice, standing, 90_000).await.0, "{standing:?}");
    }
    let again = [Step::Answer, Step::Answer];
    let (given, asked) = approved(&again, Standing::Approved, 90_000).await;
    assert_eq!((given, asked[1].1), (true, 30_000), "what is left of the time");
    assert!(!approved(&[Step::Hang], Standing::Approved, 90_000).await.0);
    assert!(!approved(&[Step::Fail], Standing::Approved, 90_000).await.0);
}

#[tokio::test(start_paused = true)]
async fn a_decision_point_that_does_not_wait_is_not_asked_without_a_pause() {
    let steps = vec![Step::Answer; 20];
    let scripted = Arc::new(Scripted { steps, hasty: true, ..Scripted::default() });
    assert!(!Inquirer::new(scripted.clone(), 0).is_approved("a", 10_000).await);
    let left: Vec<u32> = scripted.asked.lock().unwrap().iter().map(|(_, left)| *left).collect();
    assert_eq!(left, (1..=10).rev().map(|s| s * 1_000).collect::<Vec<u32>>());
}

fn call(id: &str) -> Arc<Call> {
    Arc::new(Call { call_id: id.into(), ..Call::default() })
}

async fn ask(steps: &[Step]) -> (Result<Answer, Refusal>, Arc<Scripted>) {
    let scripted = Scripted::new(steps);
    let inquirer = Inquirer::new(scripted.clone(), 0);
    let asked = inquirer.ask(&call("c-1")).await;
    inquirer.drained().await;
    (asked, scripted)
}

#[tokio::test(start_paused = true)]
async fn a_lost_question_is_repeated_once_with_the_same_id() {
    let (answered, scripted) = ask(&[Step::Fail, Step::Answer]).await;
    assert_eq!(answered.unwrap().decision.call_id, "c-1");
    assert_eq!(scripted.asked(), ["c-1", "c-1"]);
    assert!(scripted.settled.lock().unwrap().is_empty());
}

#[tokio::test(start_paused = true)]
async fn two_failures_give_up_and_say_so() {
    let (answered, scripted) = ask(&[Step::Fail, Step::Fail]).await;
    let refusal = answered.unwrap_err();
    assert_eq!((refusal.id(), refusal.status()), (reason::PDP_UNAVAILABLE, 503));
    assert_eq!(refusal.call_id(), "c-1");
    let settled = scripted.settled.lock().unwrap();
    assert_eq!((settled[0].call_id.as_str(), settled[0].outcome), ("c-1", Outcome::NotSent));
}

#[tokio::test(start_paused = true)]
async fn the_deadline_holds_for_both_tries_together() {
    for steps in [&[Step::Hang][..], &[Step::Fail, Step::Hang]] {
        let began = Instant::now();
        let (answered, scripted) = ask(steps).await;
        assert_eq!(answered.unwrap_err().id(), reason::PDP_UNAVAILABLE);
        assert_eq!(began.elapsed().as_millis(), u128::from(DEFAULT_BUDGET_MS));
        assert_eq!(scripted.asked().len(), steps.len());
        assert_eq!(scripted.settled.lock().unwrap().len(), 1);
    }
}

#[tokio::test(start_paused = true)]
async fn a_refusal_is_not_repeated() {
    let (answered, scripted) = ask(&[Step::Refuse]).await;
    let refusal = answered.unwrap_err();
    assert_eq!((refusal.id(), refusal.status()), (reason::OVERLOADED, 503));
    assert!(!refusal.message().contains("full"), "the decision point's words are for operators");
    assert_eq!(scripted.asked().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_batch_is_cut_to_what_the_wire_takes() {
    let scripted = Scripted::new(&[Step::Answer, Step::Answer]);
    let inquirer = Inquirer::new(scripted.clone(), 0);
    let calls: Vec<_> = (0..=MAX_BATCH_CALLS).map(|n| call(&n.to_string())).collect();
    let answers = inquirer.ask_all(&calls).await.unwrap();
    assert_eq!(scripted.asked(), ["1024", "1"]);
    let in_order = answers.iter().zip(&calls).all(|(a, c)| a.decision.call_id == c.call_id);
    assert!(in_order && answers.len() == calls.len());
}

#[tokio::test(start_paused = true)]
async fn a_batch_with_answers_missing_decides_nothing() {
    let scripted = Scripted::new(&[Step::Short]);
    let inquirer = Inquirer::new(scripted.clone(), 0);
    let mut listed = Call::clone(&call("b"));
    listed.phase = Phase::List;
    let refusal = inquirer.ask_all(&[call("a"), Arc::new(listed)]).await.unwrap_err();
    inquirer.drained().await;
    assert_eq!(refusal.id(), reason::PDP_UNAVAILABLE);
    let settled = scripted.settled.lock().unwrap();
    let given_back: Vec<_> = settled.iter().map(|settle| settle.call_id.as_str()).collect();
    assert_eq!(given_back, ["a"], "an entry of a list holds nothing to give back");
}
