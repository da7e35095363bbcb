//! Looks at a source again and again, and tells a sink what comes of it. Calls go on with what is
//! live meanwhile.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use lictor_audit::AppendError;
use lictor_policy_lib::load::LoadedBundle;
use tokio::sync::watch;
use tokio::time::Instant;

use super::ask::{Answer, Asked, Content, Mark};
use super::{BundleSource, Rejected, SourceError};
use crate::clock::Clock;
use crate::live::{Origin, Refusal, RefusedBundle};

/// Longest time for the first answer of a source while nothing is served, milliseconds.
pub const START_WAIT_MS: u64 = 5_000;
/// Longest time for any answer, beyond what a place allows itself, milliseconds.
const ANSWER_MAX_MS: u64 = 3_600_000;
/// When what was refused for a reason that may pass is looked at again, milliseconds.
pub const AGAIN_AFTER_MS: i64 = 10_000;
/// First step of the delays after failures, milliseconds.
const BACKOFF_FIRST_MS: u64 = 1_000;
/// Pause after something new from a source that waits if it is asked to, milliseconds.
const AFTER_NEWS_MS: u64 = 1_000;
/// Shortest pause between two questions, whatever chance says, milliseconds.
const PAUSE_MIN_MS: u64 = 10;

/// Who is told of bundles.
#[async_trait]
pub trait Sink: Send + Sync {
    /// The lowest version that others who share this decision point's store have seen live; 0
    /// where there are none.
    async fn floor(&self) -> u64 {
        0
    }

    /// What is live. The next bundle takes over from it what is the same.
    fn current(&self) -> Option<Arc<LoadedBundle>> {
        None
    }

    /// A bundle passed every check and is to be live.
    ///
    /// # Errors
    /// It cannot be recorded, and so is not live; it is offered again.
    async fn live(&self, bundle: LoadedBundle, origin: Origin) -> Result<(), AppendError>;

    /// A candidate is refused; told once for each.
    ///
    /// # Errors
    /// It cannot be recorded.
    async fn refuse(&self, refused: RefusedBundle) -> Result<(), AppendError>;

    /// The source was asked and did not answer; `first` of those since it last did.
    ///
    /// # Errors
    /// It cannot be recorded.
    async fn unreachable(&self, why: Refusal, first: bool) -> Result<(), AppendError>;

    /// The source answered, at `now_ms`.
    fn answered(&self, now_ms: i64);

    /// At start neither the source nor the kept copy gave a bundle.
    fn nothing(&self, kept: &SourceError) {
        tracing::error!(%kept, "no bundle is live: everything is denied");
    }
}

/// A source and who is told of it.
pub struct Watch<S> {
    source: BundleSource,
    sink: S,
    clock: Clock,
    random: fn() -> u16,
    /// What was judged last, without its content.
    known: Option<Mark>,
    /// Digest of what was judged last.
    judged: Option<String>,
    /// The refusal that was told last.
    told: Option<(&'static str, String, Offered)>,
    /// When what was refused is looked at again.
    again_at_ms: Option<i64>,
    failures: u32,
    /// Whether the source waits if it is asked to; `None` while that is not known.
    long_poll: Option<bool>,
    /// How long the last answer took, and what came of it.
    last: (Duration, Looked),
}

/// What a source said, and how long that took.
struct Heard {
    answer: Result<Answer, SourceError>,
    took: Duration,
}

/// What was refused.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Offered {
    /// Content of this digest.
    Content(String),
    /// Something that was not read to its end.
    Unread(Option<Mark>),
}

/// What came of one look.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Looked {
    Live,
    Same,
    Refused,
    Failed,
}

impl<S: Sink> Watch<S> {
    /// Nothing is asked yet. `random` spreads the questions of many decision points.
    pub fn new(source: BundleSource, sink: S, clock: Clock, random: fn() -> u16) -> Self {
        Self {
            source,
            sink,
            clock,
            random,
            known: None,
            judged: None,
            told: None,
            again_at_ms: None,
            failures: 0,
            long_poll: None,
            last: (Duration::ZERO, Looked::Failed),
        }
    }

    /// Takes what the source offers, or else what was good last. Without either, nothing is live,
    /// and [`Watch::run`] goes on asking.
    ///
    /// # Errors
    /// What is live cannot be recorded.
    pub async fn start(&mut self) -> Result<(), AppendError> {
        let heard = self.ask(false, Duration::from_millis(START_WAIT_MS)).await;
        if self.judge(heard, false).await? == Looked::Live {
            return Ok(());
        }
        let floor = self.sink.floor().await;
        match self.source.load_last_good(floor, self.clock.now_ms()).await {
            Ok(bundle) => {
                let name = &bundle.reference().name;
                tracing::warn!(name, "the source gave no bundle, the last good one is live again");
                self.sink.live(bundle, Origin::last_good(&self.source.shown())).await
            }
            Err(error) => {
                self.sink.nothing(&error);
                Ok(())
            }
        }
    }

    /// Looks again and again until `down`.
    pub async fn run(mut self, mut down: watch::Receiver<bool>) {
        loop {
            let pause = self.pause();
            tokio::select! {
                () = tokio::time::sleep(pause) => {}
                _ = down.wait_for(|down| *down) => return,
            }
            let due = self.is_due();
            let heard = tokio::select! {
                heard = self.ask(due, Duration::from_millis(ANSWER_MAX_MS)) => heard,
                _ = down.wait_for(|down| *down) => return,
            };
            if let Err(error) = self.judge(heard, due).await {
                tracing::error!(%error, "a bundle change could not be recorded");
            }
        }
    }

    /// One look, now.
    #[cfg(test)]
    pub(crate) async fn look(&mut self) -> Result<(), AppendError> {
        let due = self.is_due();
        let heard = self.ask(due, Duration::from_millis(ANSWER_MAX_MS)).await;
        self.judge(heard, due).await.map(|_| ())
    }

    fn pause(&self) -> Duration {
        let pace = self.source.place.pace();
        let random = (self.random)();
        if self.failures > 0 {
            return backoff(self.failures, pace.max, random);
        }
        let wait = pace.long_poll.filter(|_| self.long_poll == Some(true));
        match (wait, self.last) {
            // It waited by itself. One that answers at once does not, whatever it says.
            (Some(wait), (took, Looked::Same)) if took >= wait / 2 => {
                Duration::from_millis(PAUSE_MIN_MS)
            }
            (Some(_), (_, Looked::Live | Looked::Refused)) => Duration::from_millis(AFTER_NEWS_MS),
            _ => between(pace.min, pace.max, random),
        }
    }

    /// Whether what was refused is looked at again although it is the same.
    fn is_due(&self) -> bool {
        self.again_at_ms.is_some_and(|at_ms| at_ms <= self.clock.now_ms())
    }

    /// Asks once, and waits at most `patience` for the answer.
    async fn ask(&self, due: bool, patience: Duration) -> Heard {
        let place = &self.source.place;
        let known = self.known.as_ref().filter(|_| !due);
        let wait = place.pace().long_poll.filter(|_| self.long_poll != Some(false));
        let began = Instant::now();
        let asked = tokio::time::timeout(patience, place.ask(known, wait)).await;
        let slow = |_| Err(SourceError::Slow { place: place.shown() });
        Heard { answer: asked.unwrap_or_else(slow), took: began.elapsed() }
    }

    async fn judge(&mut self, heard: Heard, again: bool) -> Result<Looked, AppendError> {
        self.last = (heard.took, Looked::Failed);
        let looked = match heard.answer {
            Ok(answer) => self.heard(answer, again).await,
            Err(error) => self.failed(&error).await,
        }?;
        self.last = (heard.took, looked);
        Ok(looked)
    }

    async fn heard(&mut self, answer: Answer, again: bool) -> Result<Looked, AppendError> {
        self.failures = 0;
        self.long_poll = answer.long_poll.or(self.long_poll);
        self.sink.answered(self.clock.now_ms());
        match answer.asked {
            Asked::Same => Ok(Looked::Same),
            Asked::Unusable { error, mark } => {
                self.known.clone_from(&mark);
                self.judged = None;
                self.refuse(error.into(), Offered::Unread(mark)).await
            }
            Asked::Found { content, mark } => {
                let (content, digest) = match digested(content).await {
                    Ok(both) => both,
                    Err(error) => return self.failed(&error).await,
                };
                self.known = mark;
                if self.judged.as_ref() == Some(&digest) && !again {
                    return Ok(Looked::Same);
                }
                self.judged = Some(digest.clone());
                self.take(content, digest).await
            }
        }
    }

    async fn take(&mut self, content: Content, digest: String) -> Result<Looked, AppendError> {
        let floor = self.sink.floor().await;
        let current = self.sink.current();
        match self.source.take(content, floor, self.clock.now_ms(), current).await {
            Ok(bundle) => {
                let lived = self.sink.live(bundle, Origin::source(&self.source.shown())).await;
                self.again_at_ms = lived.is_err().then(|| self.again());
                self.told = None;
                lived.map(|()| Looked::Live)
            }
            Err(rejected) => self.refuse(rejected, Offered::Content(digest)).await,
        }
    }

    /// What is refused again and again for the same is told once.
    async fn refuse(
        &mut self,
        rejected: Rejected,
        offered: Offered,
    ) -> Result<Looked, AppendError> {
        let Rejected { error, version } = rejected;
        self.again_at_ms = error.may_pass().then(|| self.again());
        let (id, message) = (error.id(), error.to_string());
        let told = Some((id, message.clone(), offered.clone()));
        if self.told == told {
            return Ok(Looked::Refused);
        }
        self.told = told;
        let digest = match offered {
            Offered::Content(digest) => Some(digest),
            Offered::Unread(_) => None,
        };
        let why = Refusal { id: id.to_owned(), message, at_ms: self.clock.now_ms() };
        self.sink.refuse(RefusedBundle { why, version, digest }).await?;
        Ok(Looked::Refused)
    }

    async fn failed(&mut self, error: &SourceError) -> Result<Looked, AppendError> {
        self.failures = self.failures.saturating_add(1);
        self.long_poll = None;
        let at_ms = self.clock.now_ms();
        let why = Refusal { id: error.id().to_owned(), message: error.to_string(), at_ms };
        self.sink.unreachable(why, self.failures == 1).await?;
        Ok(Looked::Failed)
    }

    fn again(&self) -> i64 {
        self.clock.now_ms().saturating_add(AGAIN_AFTER_MS)
    }
}

/// The content with its digest, which takes long for a large one.
async fn digested(content: Content) -> Result<(Content, String), SourceError> {
    let work = move || {
        let digest = content.digest();
        (content, digest)
    };
    tokio::task::spawn_blocking(work).await.map_err(|_| SourceError::Crashed)
}

/// Full jitter: anything up to a step that doubles with each failure, never over `max`.
fn backoff(failures: u32, max: Duration, random: u16) -> Duration {
    let doubled = BACKOFF_FIRST_MS.checked_shl(failures.saturating_sub(1)).unwrap_or(u64::MAX);
    // A shift can lose bits without failing.
    let step = if failures > 32 { max } else { Duration::from_millis(doubled).min(max) };
    between(Duration::from_millis(PAUSE_MIN_MS), step, random)
}

fn between(min: Duration, max: Duration, random: u16) -> Duration {
    let span = max.saturating_sub(min);
    min + span.mul_f64(f64::from(random) / f64::from(u16::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn delays_after_failures_are_anything_up_to_a_doubling_step() {
        let max = Duration::from_secs(120);
        let most = |failures| backoff(failures, max, u16::MAX).as_millis();
        assert_eq!(most(1), 1_000);
        assert_eq!(most(2), 2_000);
        assert_eq!(most(7), 64_000);
        for failures in [8, 9, 33, 63, 64, 65, u32::MAX] {
            assert_eq!(most(failures), 120_000, "{failures}");
            assert_eq!(backoff(failures, max, 0).as_millis(), u128::from(PAUSE_MIN_MS));
        }
        let half = backoff(2, max, u16::MAX / 2).as_millis();
        assert!((900..1_100).contains(&half), "{half}");
        assert_eq!(backoff(9, Duration::from_millis(500), u16::MAX).as_millis(), 500);
    }

    #[test]
    fn pauses_are_spread_between_the_shortest_and_the_longest() {
        let (min, max) = (Duration::from_secs(60), Duration::from_secs(120));
        assert_eq!(between(min, max, 0), min);
        assert_eq!(between(min, max, u16::MAX), max);
        assert_eq!(between(max, min, u16::MAX), max);
    }
}
