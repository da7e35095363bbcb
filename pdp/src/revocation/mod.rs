//! What is revoked: the decision point's own list, which operators change, united with a
//! configured one that somebody else signs.
//!
//! # Layout
//!
//! - this file: both lists as decisions see them.
//! - [`config`]: `[pdp.revocations]` of `lictor.toml`.
//! - [`own`]: the own list on disk.
//! - [`configured`]: the configured list and when it counts.
//! - [`operate`]: revoking and taking back, with voiding and records.
//! - [`ledger`]: what was changed at whichever decision point of a store, pure; [`share`]: telling
//!   the others, and adopting what they changed.
//! - [`keep`]: what happens in the background, and what enforcement points are told.

pub mod config;
pub mod configured;
pub mod keep;
pub mod ledger;
pub mod operate;
pub mod own;
pub mod share;
#[cfg(test)]
mod tests;

use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use arc_swap::ArcSwap;
use lictor_policy_lib::revocation::{Verified, check, stale};
use lictor_proto::call::Call;
use lictor_proto::decision::Reason;
use lictor_proto::revocation::{Entry, Involved, Kind};
use sha2::{Digest as _, Sha256};
use tokio::sync::watch;

use self::config::RevocationsConfig;
use self::configured::{Configured, Stamp};
use self::ledger::Ledger;
use self::own::Own;
use self::share::Book;
use crate::live::Refusal;

/// Name of the decision point's own list.
pub const OWN: &str = "own";
/// Name of the configured list.
pub const CONFIGURED: &str = "configured";

/// Both lists and where they come from.
pub struct Revocations {
    own: Own,
    configured: Option<Configured>,
    live: ArcSwap<Lists>,
    /// The version of what is live, for those who wait for another one.
    version: watch::Sender<u64>,
    /// Serialises changes; readers never wait.
    changing: tokio::sync::Mutex<Book>,
    seen: Mutex<Seen>,
}

/// What the background task remembers.
#[derive(Default)]
struct Seen {
    stamp: Option<Stamp>,
    refused: Option<Refusal>,
    /// Who was revoked while the state did not answer.
    unvoided: Vec<(Kind, String)>,
}

/// The lists at one moment.
struct Lists {
    own: Arc<Verified>,
    configured: Listed,
    /// Names the entries of both.
    fingerprint: u64,
}

/// The configured list.
#[derive(Clone)]
enum Listed {
    /// None is configured.
    None,
    /// One is configured and was never there.
    Missing,
    /// The newest one.
    Live { list: Arc<Verified>, max_age_ms: Option<i64> },
}

/// One list, for operators.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListStatus {
    /// [`OWN`] or [`CONFIGURED`].
    pub name: &'static str,
    /// The newest list; `None` if there never was one.
    pub list: Option<Arc<Verified>>,
    /// Whether every decision is denied because of it.
    pub stale: bool,
    /// Why the newest candidate was refused.
    pub refused: Option<Refusal>,
}

impl Revocations {
    /// The own list in `state_dir`, made there at first start, and the last good copy of the
    /// configured one.
    ///
    /// # Errors
    /// [`own::OpenError`] for an own list that is not ours; [`configured::ConfiguredError`] for
    /// keys that cannot be read.
    pub fn open(
        state_dir: &Path,
        config: Option<&RevocationsConfig>,
        now_ms: i64,
    ) -> anyhow::Result<Self> {
        let (own, list) = Own::open(state_dir, now_ms)?;
        let book = Book::new(Ledger::of(list.list(), &own.taken_back()));
        let configured = config.map(|config| Configured::new(config, state_dir)).transpose()?;
        let listed = match &configured {
            None => Listed::None,
            Some(source) => source.kept().map_or(Listed::Missing, |list| source.listed(list)),
        };
        let lists = Lists::new(Arc::new(list), listed);
        let version = watch::Sender::new(lists.version(now_ms));
        let live = ArcSwap::from_pointee(lists);
        let (changing, seen) = (tokio::sync::Mutex::new(book), Mutex::default());
        Ok(Self { own, configured, live, version, changing, seen })
    }

    /// Whether `call` is to be denied: it came as `received`, and agents may have other names
    /// there.
    #[must_use]
    pub fn check(
        &self,
        call: &Call,
        received: &Call,
        session: Option<&str>,
        now_ms: i64,
    ) -> Option<Reason> {
        self.live.load().check(call, received, session, now_ms)
    }

    /// Every list, for operators.
    #[must_use]
    pub fn lists(&self, now_ms: i64) -> Vec<ListStatus> {
        let lists = self.live.load();
        let (name, list) = (OWN, Some(Arc::clone(&lists.own)));
        let own = ListStatus { name, list, stale: false, refused: None };
        let mut all = vec![own];
        if !matches!(lists.configured, Listed::None) {
            all.push(ListStatus {
                name: CONFIGURED,
                list: lists.configured.list().cloned(),
                stale: lists.configured.is_stale(now_ms),
                refused: self.seen().refused.clone(),
            });
        }
        all
    }

    fn seen(&self) -> MutexGuard<'_, Seen> {
        // Every change is one statement, so a panic elsewhere leaves nothing half done.
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Makes other lists live and tells those who wait.
    fn swap(&self, own: Arc<Verified>, configured: Listed, now_ms: i64) {
        self.live.store(Arc::new(Lists::new(own, configured)));
        self.tell(now_ms);
    }

    /// Time alone can make a list stale.
    fn tell(&self, now_ms: i64) {
        let version = self.live.load().version(now_ms);
        self.version.send_if_modified(|told| std::mem::replace(told, version) != version);
    }
}

impl Lists {
    fn new(own: Arc<Verified>, configured: Listed) -> Self {
        let fingerprint = fingerprint(
            own.set()
                .entries()
                .chain(configured.list().into_iter().flat_map(|list| list.set().entries())),
        );
        Self { own, configured, fingerprint }
    }

    fn all(&self) -> impl Iterator<Item = &Arc<Verified>> {
        [&self.own].into_iter().chain(self.configured.list())
    }

    fn check(
        &self,
        call: &Call,
        received: &Call,
        session: Option<&str>,
        now_ms: i64,
    ) -> Option<Reason> {
        let own = |call: &Call| {
            let set = self.own.set();
            let involved = (!set.is_empty()).then(|| Involved::of(call, session))?;
            set.find(&involved, now_ms).map(|found| found.reason())
        };
        let listed = |call: &Call| {
            let list = self.configured.list()?;
            check(list, call, session, now_ms)
        };
        let any = |call: &Call| own(call).or_else(|| listed(call));
        let renamed = (!std::ptr::eq(call, received)).then_some(received);
        any(call).or_else(|| any(renamed?)).or_else(|| self.configured.is_stale(now_ms).then(stale))
    }

    /// The own list is ours to renew: whatever we signed last holds, also past its time.
    fn is_stale(&self, now_ms: i64) -> bool {
        self.configured.is_stale(now_ms)
    }

    /// Names what is revoked at `now_ms`, never 0: the last bit says whether a list is stale.
    fn version(&self, now_ms: i64) -> u64 {
        let fingerprint = (self.fingerprint | 2) & !1;
        fingerprint | u64::from(self.is_stale(now_ms))
    }
}

impl Listed {
    fn list(&self) -> Option<&Arc<Verified>> {
        match self {
            Self::None | Self::Missing => None,
            Self::Live { list, .. } => Some(list),
        }
    }

    fn is_stale(&self, now_ms: i64) -> bool {
        match self {
            Self::None => false,
            Self::Missing => true,
            Self::Live { list, max_age_ms } => {
                let age_ms = now_ms.saturating_sub(list.list().issued_at_ms);
                list.is_stale(now_ms) || max_age_ms.is_some_and(|max| age_ms >= max)
            }
        }
    }
}

/// Prometheus text of the lists.
pub(crate) fn metrics_text(lists: &[ListStatus]) -> String {
    let mut text = String::from(
        "# TYPE lictor_revocations_version gauge\n# TYPE lictor_revocations_entries gauge\n\
         # TYPE lictor_revocations_stale gauge\n# TYPE lictor_revocations_refused gauge\n",
    );
    for ListStatus { name, list, stale, refused } in lists {
        let version = list.as_ref().map_or(0, |list| list.list().version);
        let entries = list.as_ref().map_or(0, |list| list.set().len());
        let flags = (u8::from(*stale), u8::from(refused.is_some()));
        text.push_str(&format!(
            "lictor_revocations_version{{list=\"{name}\"}} {version}\n\
             lictor_revocations_entries{{list=\"{name}\"}} {entries}\n\
             lictor_revocations_stale{{list=\"{name}\"}} {}\n\
             lictor_revocations_refused{{list=\"{name}\"}} {}\n",
            flags.0, flags.1
        ));
    }
    text
}

/// A number that names the entries, whatever their order and reasons.
fn fingerprint<'a>(entries: impl Iterator<Item = &'a Entry>) -> u64 {
    let mut all: Vec<_> = entries.map(|e| (e.kind, e.id.as_str(), e.until_ms)).collect();
    all.sort_unstable();
    all.dedup();
    let mut hash = Sha256::new();
    for (kind, id, until_ms) in all {
        hash.update(kind.as_str());
        hash.update((id.len() as u64).to_be_bytes());
        hash.update(id);
        hash.update(until_ms.unwrap_or(i64::MAX).to_be_bytes());
    }
    let digest = hash.finalize();
    digest.iter().take(8).fold(0, |number, byte| (number << 8) | u64::from(*byte))
}
