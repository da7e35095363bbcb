//! When a source is asked: on a clock that jumps.

use std::collections::VecDeque;
use std::time::Duration;

use tokio::sync::watch as tell;
use tokio::time::Instant;

use super::super::SourceError;
use super::super::ask::{Answer, Ask, Asked, Mark, Pace};
use super::*;

/// What the place says next, and how many seconds that takes.
#[derive(Debug, Clone, Copy)]
enum Step {
    Same(u64, Option<bool>),
    Fails,
}

/// A place that follows a script, and then says nothing any more.
#[derive(Debug)]
struct Script {
    pace: Pace,
    steps: Mutex<VecDeque<Step>>,
    began: Instant,
    /// When it was asked, milliseconds, and for how long it was asked to wait, seconds.
    asked: Mutex<Vec<(u128, Option<u64>)>>,
}

#[async_trait]
impl Ask for Script {
    fn shown(&self) -> String {
        "script".to_owned()
    }

    fn pace(&self) -> Pace {
        self.pace
    }

    async fn ask(&self, _: Option<&Mark>, wait: Option<Duration>) -> Result<Answer, SourceError> {
        let at_ms = self.began.elapsed().as_millis();
        self.asked.lock().unwrap().push((at_ms, wait.map(|wait| wait.as_secs())));
        let step = self.steps.lock().unwrap().pop_front();
        match step {
            Some(Step::Same(took_s, long_poll)) => {
                tokio::time::sleep(Duration::from_secs(took_s)).await;
                Ok(Answer { asked: Asked::Same, long_poll })
            }
            Some(Step::Fails) => Err(SourceError::Slow { place: self.shown() }),
            None => std::future::pending().await,
        }
    }
}

/// When and how a place with a pause of 60 to 120 seconds and a wait of 30 is asked.
async fn asked(steps: &[Step], random: fn() -> u16) -> Vec<(u128, Option<u64>)> {
    let seconds = Duration::from_secs;
    let pace = Pace { min: seconds(60), max: seconds(120), long_poll: Some(seconds(30)) };
    let place = Arc::new(Script {
        pace,
        steps: Mutex::new(steps.iter().copied().collect()),
        began: Instant::now(),
        asked: Mutex::default(),
    });
    let home = Home::new();
    let source = BundleSource::open(&home.config("none")).unwrap().at(place.clone());
    let (end, down) = tell::channel(false);
    let watch = Watch::new(source, Told::default(), home.clock(), random);
    let running = tokio::spawn(watch.run(down));
    while place.asked.lock().unwrap().len() <= steps.len() {
        tokio::time::sleep(seconds(1)).await;
    }
    end.send_replace(true);
    // It ends although the last question was never answered.
    running.await.unwrap();
    place.asked.lock().unwrap().clone()
}

fn seconds(asked: &[(u128, Option<u64>)]) -> Vec<u128> {
    let after = asked.windows(2).map(|pair| (pair[1].0 - pair[0].0) / 1_000);
    after.collect()
}

#[tokio::test(start_paused = true)]
async fn after_failures_the_pauses_double_up_to_the_longest() {
    let asked = asked(&[Step::Fails; 9], || u16::MAX).await;
    assert_eq!(asked[0].0, 120_000);
    assert_eq!(seconds(&asked), [1, 2, 4, 8, 16, 32, 64, 120, 120]);
}

#[tokio::test(start_paused = true)]
async fn chance_spreads_the_questions_and_one_answer_ends_the_doubling() {
    let short = Step::Same(0, Some(false));
    let some = asked(&[short, Step::Fails, Step::Fails, short, Step::Fails, short], || 0).await;
    assert_eq!(some[0].0, 60_000);
    assert_eq!(seconds(&some), [60, 0, 0, 60, 0, 60], "full jitter goes down to nothing");
    let half = asked(&[short, Step::Fails, Step::Fails, short, Step::Fails], || u16::MAX / 2).await;
    assert_eq!(seconds(&half), [90, 0, 1, 90, 0]);
}

#[tokio::test(start_paused = true)]
async fn a_source_that_waits_is_asked_again_at_once_and_one_that_does_not_is_left_alone() {
    let (waits, at_once) = (Step::Same(30, Some(true)), Step::Same(0, Some(true)));
    let steps = [waits, waits, at_once, waits, Step::Same(30, None), waits];
    let asked = asked(&steps, || 0).await;
    assert_eq!(seconds(&asked), [30, 30, 60, 30, 30, 30]);
    assert!(asked.iter().all(|(_, wait)| *wait == Some(30)), "{asked:?}");
}

#[tokio::test(start_paused = true)]
async fn a_source_that_does_not_wait_is_not_asked_to_until_it_was_away() {
    let short = Step::Same(0, Some(false));
    let asked = asked(&[short, short, Step::Fails, Step::Same(1, Some(true))], || 0).await;
    let waits: Vec<_> = asked.iter().map(|(_, wait)| *wait).collect();
    assert_eq!(waits, [Some(30), None, None, Some(30), Some(30)]);
}
