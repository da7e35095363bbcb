//! Several decision points as one: which is asked, what happens when it is lost, what is remembered.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use lictor_identity::tls::ClientTlsConfig;
use lictor_proto::decide::DecideError;
use tokio::sync::watch;
use tokio::time::{Instant, timeout_at};

use super::choose::{Seen, best, number_of};
use super::dial::Dial;
use super::failure::Failure;
use super::health::{Health, Standing, random};
use super::lines::Lines;
use super::stream::{Link, Up};
use super::target::{ClientError, Target};
use super::token::TokenSource;

/// How close to its deadline a question counts as late when its caller goes away: whoever bounds
/// it from outside may have looked at the clock a moment earlier.
const LATE_MARGIN_MS: u64 = 5;

/// One decision point.
pub(crate) struct Endpoint {
    shown: String,
    number: u64,
    lines: Lines,
    health: Mutex<Health>,
    in_flight: AtomicUsize,
    answered: AtomicU64,
    failed: AtomicU64,
}

/// All of them.
pub(crate) struct Pool {
    endpoints: Vec<Endpoint>,
    changes: watch::Sender<u64>,
    start: Instant,
}

/// Whom to ask.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Way {
    /// This one, as long as it is there.
    pub(crate) pinned: Option<usize>,
    /// The nearest to this.
    pub(crate) key: Option<u64>,
}

/// Someone to ask, and by which stream.
#[derive(Clone)]
pub(crate) struct Chosen {
    pub(crate) index: usize,
    pub(crate) up: Arc<Up>,
}

/// Who was lost, and when that was seen.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Lost {
    index: usize,
    at: Instant,
}

impl Chosen {
    /// It was lost just now.
    pub(crate) fn lost(&self) -> Lost {
        Lost { index: self.index, at: Instant::now() }
    }
}

impl Pool {
    pub(crate) fn start(
        targets: Vec<Target>,
        tls: Option<&ClientTlsConfig>,
        token: &TokenSource,
    ) -> Result<Self, ClientError> {
        let (changes, start) = (watch::Sender::new(0), Instant::now());
        let mut endpoints = Vec::with_capacity(targets.len());
        for target in targets {
            if target.is_open() {
                tracing::warn!(
                    pdp = target.shown(),
                    "THE WAY TO THE DECISION POINT IS NOT ENCRYPTED: whoever sits between sees calls \
                     and the token; use `https://`"
                );
            }
            let shown = target.shown();
            let dial = Dial::new(target, tls);
            // What could never work is an error now, not a decision point that stays away.
            drop(dial.channel()?);
            endpoints.push(Endpoint {
                number: number_of(&shown),
                shown,
                lines: Lines::start(dial, token.clone(), changes.clone(), start),
                health: Mutex::default(),
                in_flight: AtomicUsize::new(0),
                answered: AtomicU64::new(0),
                failed: AtomicU64::new(0),
            });
        }
        Ok(Self { endpoints, changes, start })
    }

    /// Asks for a decision within `budget_ms`: once, and where the connection was lost before an
    /// answer came, once more by another. `sent` is told who is asked, each time before it is.
    pub(crate) async fn ask<T, F>(
        &self,
        way: Way,
        budget_ms: u32,
        sent: impl Fn(usize),
        ask: impl Fn(Arc<Up>, u32) -> F,
    ) -> Result<(usize, T), DecideError>
    where
        F: Future<Output = Result<T, Failure>>,
    {
        let deadline = Instant::now() + Duration::from_millis(u64::from(budget_ms));
        let first = self.within(way, deadline, None).await?;
        let lost = match self.attempt(&first, deadline, &sent, &ask).await {
            Err(Failure::Connection(_)) => first.lost(),
            settled => return settled.map(|answer| (first.index, answer)).map_err(Into::into),
        };
        let second = self.within(way, deadline, Some(&lost)).await?;
        let answered = self.attempt(&second, deadline, &sent, &ask).await;
        answered.map(|answer| (second.index, answer)).map_err(Into::into)
    }

    async fn attempt<T, F>(
        &self,
        chosen: &Chosen,
        deadline: Instant,
        sent: &impl Fn(usize),
        ask: &impl Fn(Arc<Up>, u32) -> F,
    ) -> Result<T, Failure>
    where
        F: Future<Output = Result<T, Failure>>,
    {
        let Some(endpoint) = self.endpoints.get(chosen.index) else {
            return Err(Failure::Connection("no such decision point".to_owned()));
        };
        let left = deadline.saturating_duration_since(Instant::now()).as_millis();
        let left_ms = u32::try_from(left).unwrap_or(u32::MAX).max(1);
        sent(chosen.index);
        let watched = Watched::begin(self, endpoint, deadline);
        let answer = timeout_at(deadline, ask(Arc::clone(&chosen.up), left_ms)).await;
        match answer {
            Ok(Err(Failure::Connection(why))) => {
                watched.ended(false);
                Err(Failure::Connection(why))
            }
            Ok(Err(Failure::Unasked(error))) => Err(Failure::Unasked(error)),
            Ok(answered) => {
                watched.ended(true);
                answered
            }
            Err(_) => {
                watched.ended(false);
                Err(Failure::Answered(late()))
            }
        }
    }

    /// Whom to ask, by `deadline`.
    async fn within(
        &self,
        way: Way,
        deadline: Instant,
        lost: Option<&Lost>,
    ) -> Result<Chosen, DecideError> {
        timeout_at(deadline, self.choose(way, lost)).await.unwrap_or_else(|_| Err(late()))
    }

    /// Whom to ask: waits as long as a connection is being made that could do. `lost` is a stream
    /// that is not asked again.
    pub(crate) async fn choose(
        &self,
        way: Way,
        lost: Option<&Lost>,
    ) -> Result<Chosen, DecideError> {
        if let Some(chosen) = self.look(way, lost)? {
            return Ok(chosen);
        }
        let mut changes = self.changes.subscribe();
        loop {
            if let Some(chosen) = self.look(way, lost)? {
                return Ok(chosen);
            }
            if changes.changed().await.is_err() {
                return Err(DecideError::Unavailable("the client is being closed".to_owned()));
            }
        }
    }

    fn look(&self, way: Way, lost: Option<&Lost>) -> Result<Option<Chosen>, DecideError> {
        if let ([only], None) = (self.endpoints.as_slice(), lost)
            && let Link::Up(up) = only.lines.link()
        {
            return Ok(Some(Chosen { index: 0, up }));
        }
        let now_ms = self.now_ms();
        let each = self.endpoints.iter().enumerate();
        let links: Vec<_> = each.map(|(index, e)| e.usable(index, lost)).collect();
        let seen: Vec<_> =
            self.endpoints.iter().zip(&links).map(|(e, l)| e.seen(l, now_ms)).collect();
        let pinned = way.pinned.filter(|pinned| {
            seen.get(*pinned).is_some_and(|s| s.connected && s.standing == Standing::Welcome)
        });
        let index = pinned.or_else(|| best(&seen, way.key, lost.map(|lost| lost.index)));
        if let Some((index, Link::Up(up))) = index.and_then(|i| Some((i, links.get(i)?))) {
            return Ok(Some(Chosen { index, up: Arc::clone(up) }));
        }
        if links.iter().any(|link| matches!(link, Link::Connecting)) {
            return Ok(None);
        }
        self.endpoints.iter().for_each(|endpoint| endpoint.lines.wake());
        let why = links.iter().find_map(|link| match link {
            Link::Down(why) => Some(why.clone()),
            Link::Connecting | Link::Up(_) => None,
        });
        Err(DecideError::Unavailable(why.unwrap_or_default()))
    }

    /// The stream of one decision point, once it is there.
    pub(crate) async fn of(&self, index: usize, lost: Option<&Lost>) -> Option<Chosen> {
        let endpoint = self.endpoints.get(index)?;
        let mut changes = self.changes.subscribe();
        loop {
            if let Link::Up(up) = endpoint.usable(index, lost) {
                return Some(Chosen { index, up });
            }
            endpoint.lines.wake();
            changes.changed().await.ok()?;
        }
    }

    fn now_ms(&self) -> u64 {
        u64::try_from(self.start.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    /// Prometheus text.
    pub(crate) fn metrics_text(&self) -> String {
        use std::fmt::Write as _;
        let mut text = String::from(
            "# TYPE lictor_pdp_connected gauge\n# TYPE lictor_pdp_streams gauge\n\
             # TYPE lictor_pdp_ejected gauge\n\
             # TYPE lictor_pdp_in_flight gauge\n# TYPE lictor_pdp_questions_total counter\n",
        );
        for endpoint in &self.endpoints {
            let seen = endpoint.seen(&endpoint.lines.link(), self.now_ms());
            let name = endpoint.shown.replace(['\\', '"', '\n'], "_");
            let (connected, ejected) =
                (u8::from(seen.connected), u8::from(seen.standing == Standing::Ejected));
            let answered = endpoint.answered.load(Ordering::Relaxed);
            let failed = endpoint.failed.load(Ordering::Relaxed);
            // Writing to a text cannot fail.
            let _ = write!(
                text,
                "lictor_pdp_connected{{pdp=\"{name}\"}} {connected}\n\
                 lictor_pdp_streams{{pdp=\"{name}\"}} {}\n\
                 lictor_pdp_ejected{{pdp=\"{name}\"}} {ejected}\n\
                 lictor_pdp_in_flight{{pdp=\"{name}\"}} {}\n\
                 lictor_pdp_questions_total{{pdp=\"{name}\",outcome=\"answered\"}} {answered}\n\
                 lictor_pdp_questions_total{{pdp=\"{name}\",outcome=\"failed\"}} {failed}\n",
                endpoint.lines.open(),
                seen.in_flight
            );
        }
        text
    }
}

impl Endpoint {
    fn seen(&self, link: &Link, now_ms: u64) -> Seen {
        Seen {
            connected: matches!(link, Link::Up(_)),
            standing: self.health().standing(now_ms),
            in_flight: self.in_flight.load(Ordering::Relaxed),
            name: self.number,
        }
    }

    /// Its link, for whoever lost one before.
    fn usable(&self, index: usize, lost: Option<&Lost>) -> Link {
        match lost {
            Some(lost) if lost.index == index => self.lines.link_after(lost.at),
            _ => self.lines.link(),
        }
    }

    fn health(&self) -> MutexGuard<'_, Health> {
        // Plain numbers: a panic elsewhere leaves nothing half done.
        self.health.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn late() -> DecideError {
    DecideError::Unavailable("no answer before the deadline".to_owned())
}

/// One question on its way. Dropped before its end, it counts as late if its time was up.
struct Watched<'a> {
    pool: &'a Pool,
    endpoint: &'a Endpoint,
    deadline: Instant,
    ended: bool,
}

impl<'a> Watched<'a> {
    fn begin(pool: &'a Pool, endpoint: &'a Endpoint, deadline: Instant) -> Self {
        endpoint.in_flight.fetch_add(1, Ordering::Relaxed);
        endpoint.health().sent();
        Self { pool, endpoint, deadline, ended: false }
    }

    fn ended(mut self, answered: bool) {
        self.ended = true;
        if answered {
            self.endpoint.answered.fetch_add(1, Ordering::Relaxed);
            self.endpoint.health().answered();
        } else {
            self.failed();
        }
    }

    fn failed(&self) {
        self.endpoint.failed.fetch_add(1, Ordering::Relaxed);
        self.endpoint.health().failed(self.pool.now_ms(), random());
    }
}

impl Drop for Watched<'_> {
    fn drop(&mut self) {
        self.endpoint.in_flight.fetch_sub(1, Ordering::Relaxed);
        if self.ended {
            return;
        }
        if Instant::now() + Duration::from_millis(LATE_MARGIN_MS) >= self.deadline {
            self.failed();
        } else {
            self.endpoint.health().left();
        }
    }
}
