//! What is revoked, as the decision point tells it, and what that means for calls under way.
//!
//! One task for each [`crate::Pep`] asks the decision point and waits there for changes. Whatever
//! is under way for longer holds a [`Guard`], which trips once somebody with part in its call is
//! revoked, once the list is past its time, and once nothing was heard of the decision point for
//! [`REVOCATIONS_MAX_SILENCE_MS`]: a kill must not be missed because nobody could tell of it.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use lictor_proto::call::Call;
use lictor_proto::decide::{Decide, DecideError, Hints, Revocations};
use lictor_proto::reason;
use lictor_proto::revocation::{Involved, Set};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep_until, timeout};

use crate::clock::Clock;
use crate::record::Flight;
use crate::refusal::Refusal;

/// Longest time without an answer of the decision point, milliseconds; streams then end.
pub const REVOCATIONS_MAX_SILENCE_MS: u64 = 15_000;
/// How long one question may wait, milliseconds. The decision point answers after ten seconds
/// where nothing changes.
const QUESTION_TIMEOUT_MS: u64 = 13_000;
/// Least time between two questions that brought nothing new, milliseconds.
const QUESTION_PAUSE_MS: u64 = 250;

/// What holds now.
#[derive(Debug, Default)]
struct Standing {
    version: u64,
    set: Arc<Set>,
    stale: bool,
    lost: bool,
}

/// Why something may not go on.
struct Why {
    id: &'static str,
    message: String,
}

impl Standing {
    fn is_quiet(&self) -> bool {
        self.set.is_empty() && !self.stale && !self.lost
    }

    fn listed(&self, involved: &Involved, now_ms: i64) -> Option<Why> {
        let found = self.set.find(involved, now_ms)?;
        Some(Why { id: found.kind.reason_id(), message: found.reason().message })
    }

    fn why(&self, involved: &Involved, now_ms: i64) -> Option<Why> {
        self.listed(involved, now_ms).or_else(|| {
            if self.stale {
                let message = "the list of revocations is past its time".to_owned();
                return Some(Why { id: reason::REVOCATION_STALE, message });
            }
            self.lost.then(unheard)
        })
    }
}

fn unheard() -> Why {
    let message = "the decision point was not heard of for too long".to_owned();
    Why { id: reason::PDP_UNAVAILABLE, message }
}

/// What is revoked. Cloning shares it; the task ends with the last clone.
#[derive(Clone)]
pub(crate) struct Revoked {
    standing: watch::Receiver<Standing>,
    _task: Arc<Task>,
}

struct Task(Option<JoinHandle<()>>);

impl Drop for Task {
    fn drop(&mut self) {
        if let Some(task) = &self.0 {
            task.abort();
        }
    }
}

impl Revoked {
    /// Begins to ask `decide`. Outside of a runtime nobody can: then everything is held to be lost.
    pub(crate) fn watch(decide: Arc<dyn Decide>) -> Self {
        let (told, standing) = watch::channel(Standing::default());
        let task = match tokio::runtime::Handle::try_current() {
            Ok(runtime) => Some(runtime.spawn(listen(decide, told))),
            Err(_) => {
                tracing::error!("without a runtime revocations are not heard of");
                told.send_modify(|standing| standing.lost = true);
                None
            }
        };
        Self { standing, _task: Arc::new(Task(task)) }
    }

    /// Why the call may not go on now.
    pub(crate) fn refusal(&self, call: &Call, hints: &Hints, now_ms: i64) -> Option<Refusal> {
        let standing = self.standing.borrow();
        if standing.is_quiet() {
            return None;
        }
        let why = standing.why(&involved(call, hints), now_ms)?;
        Some(Refusal::new(why.id, why.message))
    }

    /// A guard of `flight`.
    pub(crate) fn guard(&self, flight: &Flight, clock: Clock) -> Guard {
        Guard {
            call: Arc::clone(&flight.call),
            decision_id: flight.decision.decision_id.as_str().into(),
            involved: Arc::new(involved(&flight.call, &flight.hints)),
            standing: self.standing.clone(),
            clock,
        }
    }

    /// Waits for changes from now on.
    pub(crate) fn news(&self) -> News {
        let mut standing = self.standing.clone();
        standing.mark_unchanged();
        News(standing)
    }
}

fn involved(call: &Call, hints: &Hints) -> Involved {
    let mut involved = Involved::of(call, hints.session_id.as_deref());
    involved.agents.extend(hints.agents.iter().cloned());
    involved
}

/// Trips when a call under way may not go on. Cloning is cheap.
#[derive(Clone)]
pub struct Guard {
    call: Arc<Call>,
    decision_id: Arc<str>,
    involved: Arc<Involved>,
    standing: watch::Receiver<Standing>,
    clock: Clock,
}

impl fmt::Debug for Guard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Guard").field("call_id", &self.call.call_id).finish_non_exhaustive()
    }
}

impl Guard {
    /// Why the call may not go on, as `result_withheld`, executed.
    #[must_use]
    pub fn refusal(&self) -> Option<Refusal> {
        let why = self.standing.borrow().why(&self.involved, self.clock.now_ms())?;
        Some(self.refuse(why))
    }

    /// Whether somebody or something with part in the call is revoked; silence does not count.
    #[must_use]
    pub fn is_listed(&self) -> bool {
        self.standing.borrow().listed(&self.involved, self.clock.now_ms()).is_some()
    }

    /// Resolves when the call may not go on. May be dropped and asked again at any time.
    pub async fn tripped(&mut self) -> Refusal {
        loop {
            self.standing.mark_unchanged();
            if let Some(refusal) = self.refusal() {
                return refusal;
            }
            if self.standing.changed().await.is_err() {
                // Nobody listens any more.
                return self.refuse(unheard());
            }
        }
    }

    fn refuse(&self, why: Why) -> Refusal {
        Refusal::new(why.id, why.message).of_call(&self.call, &self.decision_id).after_effect()
    }
}

/// Changes of what is revoked.
pub struct News(watch::Receiver<Standing>);

impl fmt::Debug for News {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("News")
    }
}

impl News {
    /// Resolves at the next change; never where there can be none any more.
    pub async fn changed(&mut self) {
        if self.0.changed().await.is_err() {
            std::future::pending::<()>().await;
        }
    }
}

/// Asks for as long as it is polled.
async fn listen(decide: Arc<dyn Decide>, told: watch::Sender<Standing>) {
    let mut heard = Instant::now();
    loop {
        let asked = Instant::now();
        let known = told.borrow().version;
        let silence = Duration::from_millis(REVOCATIONS_MAX_SILENCE_MS);
        let answer = {
            let patience = Duration::from_millis(QUESTION_TIMEOUT_MS);
            let mut question = std::pin::pin!(timeout(patience, decide.revocations(known)));
            tokio::select! {
                answer = &mut question => answer,
                () = lost_at(heard + silence, &told) => question.await,
            }
        };
        let news = match answer {
            Ok(Ok(revocations)) => {
                heard = Instant::now();
                take(revocations, known, &told)
            }
            Ok(Err(error)) => failed(&error),
            Err(_) => failed(&DecideError::Unavailable("no answer in time".to_owned())),
        };
        if !news {
            let pause = asked + Duration::from_millis(QUESTION_PAUSE_MS);
            let mut pause = std::pin::pin!(sleep_until(pause));
            tokio::select! {
                () = &mut pause => {}
                () = lost_at(heard + silence, &told) => pause.await,
            }
        }
    }
}

/// Says at `silent` that nobody was heard of, and is done; never if that was said before.
async fn lost_at(silent: Instant, told: &watch::Sender<Standing>) {
    if told.borrow().lost {
        return std::future::pending().await;
    }
    sleep_until(silent).await;
    tracing::error!("the decision point was not heard of for too long: streams are cut");
    told.send_modify(|standing| standing.lost = true);
}

/// Whether it was anything new.
fn take(revocations: Revocations, known: u64, told: &watch::Sender<Standing>) -> bool {
    let Revocations { version, entries, stale } = revocations;
    let new = version != known;
    let set = new.then(|| Arc::new(entries.into_iter().collect::<Set>()));
    told.send_if_modified(|standing| {
        let changed = new || standing.lost || standing.stale != stale;
        standing.set = set.unwrap_or_else(|| Arc::clone(&standing.set));
        (standing.version, standing.stale, standing.lost) = (version, stale, false);
        changed
    });
    new
}

fn failed(error: &DecideError) -> bool {
    tracing::debug!(%error, "the decision point did not say what is revoked");
    false
}

#[cfg(test)]
#[path = "revoked_tests.rs"]
mod tests;
