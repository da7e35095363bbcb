use async_trait::async_trait;
use lictor_proto::call::Call;
use lictor_proto::decide::{Answer, Revocations, Settle};

use super::*;

/// What the made-up decision point says.
#[derive(Clone, Copy, PartialEq)]
enum Says {
    Yes,
    No,
    Gone,
    Nothing,
}

struct Point {
    says: Mutex<Says>,
    heard: Mutex<Vec<String>>,
}

#[async_trait]
impl Decide for Point {
    async fn decide(&self, _: Arc<Call>, _: u32) -> Result<Answer, DecideError> {
        Err(DecideError::Unavailable("not asked here".into()))
    }

    async fn decide_batch(&self, _: Vec<Arc<Call>>, _: u32) -> Result<Vec<Answer>, DecideError> {
        Ok(Vec::new())
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

    async fn extend(&self, call_id: &str) -> Result<(), DecideError> {
        self.heard.lock().unwrap().push(call_id.to_owned());
        let says = *self.says.lock().unwrap();
        match says {
            Says::Yes => Ok(()),
            Says::No => Err(DecideError::Refused { id: "r".into(), message: "over".into() }),
            Says::Gone => Err(DecideError::Unavailable("gone".into())),
            Says::Nothing => std::future::pending().await,
        }
    }
}

fn point(says: Says) -> (Arc<Point>, Leases) {
    let point = Arc::new(Point { says: Mutex::new(says), heard: Mutex::default() });
    let leases = Leases::keep(point.clone());
    (point, leases)
}

impl Point {
    fn heard(&self) -> usize {
        self.heard.lock().unwrap().len()
    }
}

async fn pass(ms: u64) {
    tokio::time::sleep(Duration::from_millis(ms)).await;
}

#[tokio::test(start_paused = true)]
async fn a_short_call_is_not_told_of_and_a_long_one_again_and_again() {
    let (point, leases) = point(Says::Yes);
    let short = leases.begin("short");
    pass(EXTEND_EVERY_MS - 1).await;
    drop(short);
    pass(EXTEND_EVERY_MS).await;
    assert_eq!(point.heard(), 0);
    let long = leases.begin("long");
    // An hour of streaming. No pause between two words is as long as a place is held.
    let mut words = 0;
    for _ in 0..3_600_000 / 150_000 {
        pass(150_000).await;
        assert!(point.heard() > words, "two and a half minutes without a word");
        words = point.heard();
    }
    assert!(words <= 3_600_000 / usize::try_from(EXTEND_EVERY_MS).unwrap(), "{words}");
    drop(long);
    pass(600_000).await;
    assert_eq!(point.heard(), words, "it is over");
    assert!(lock(&leases.known).is_empty());
}

#[tokio::test(start_paused = true)]
async fn what_failed_is_told_again_soon_and_what_is_refused_is_not() {
    for (says, again) in [(Says::Gone, true), (Says::Nothing, true), (Says::No, false)] {
        let (point, leases) = point(says);
        let _lease = leases.begin("call");
        pass(EXTEND_EVERY_MS + LOOK_EVERY_MS).await;
        let first = point.heard();
        assert!(first >= 1);
        pass(2 * LOOK_EVERY_MS).await;
        assert_eq!(point.heard() > first, again);
        *point.says.lock().unwrap() = Says::Yes;
        pass(LOOK_EVERY_MS).await;
        assert!(point.heard.lock().unwrap().iter().all(|call_id| call_id == "call"));
    }
}

#[tokio::test(start_paused = true)]
async fn many_calls_are_told_of_each() {
    let (point, leases) = point(Says::Yes);
    let held: Vec<Lease> = (0..1_000).map(|n| leases.begin(&format!("c{n}"))).collect();
    pass(EXTEND_EVERY_MS + LOOK_EVERY_MS).await;
    let mut heard = point.heard.lock().unwrap().clone();
    heard.sort();
    heard.dedup();
    assert_eq!(heard.len(), held.len());
}

#[tokio::test(start_paused = true)]
async fn the_task_ends_with_the_last_clone() {
    let (point, leases) = point(Says::Yes);
    let lease = leases.begin("call");
    drop(leases.clone());
    pass(EXTEND_EVERY_MS + LOOK_EVERY_MS).await;
    assert_eq!(point.heard(), 1);
    drop(leases);
    pass(10 * EXTEND_EVERY_MS).await;
    assert_eq!(point.heard(), 1);
    drop(lease);
}
