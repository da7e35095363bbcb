//! Keys that change while we run: fetched from issuers on the network, read again from files.
//!
//! # Layout
//!
//! - [`place`]: where keys are, and which URLs may be asked for them.
//! - `client`, `discovery`: one bounded GET; from an issuer to its key set.
//! - `demand`: how requests that miss a key reach the task that fetches, and wait together.
//! - `refresher`: that task, one per issuer; `schedule` says when it is due.
//! - `watch`: files that are read again when they change.
//! - [`health`]: how all this is doing.
//!
//! An issuer that cannot be reached keeps nobody from starting: its last keys hold until their
//! bound, then its tokens are refused, and it recovers by itself.

pub(crate) mod client;
pub(crate) mod demand;
mod discovery;
pub mod health;
pub mod place;
mod refresher;
mod schedule;
mod watch;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use reqwest::Certificate;
use tokio::time::Instant;

use crate::config::{ConfigError, IdentityConfig, IssuerConfig, read_api_keys, read_jwks};
use crate::files::read_public;
use crate::from_files::Reloaded;
use crate::keyring::KeyRing;
use crate::settings::Settings;
use crate::trust::AuthorityConfig;

pub use client::METADATA_MAX_BYTES;
pub use health::Health;
pub use place::{Discovery, KeysAt, PlaceError};
pub use schedule::REFRESH_MIN_S;

use discovery::Remote;
use place::Source;
use refresher::{Lifetime, Refresher};
use watch::{Watch, Watched};

/// Tells the time: unix milliseconds.
pub type Now = Arc<dyn Fn() -> i64 + Send + Sync>;

/// Longest that a request waits for keys that it misses.
pub const WAIT_MAX: Duration = Duration::from_secs(2);
/// How many fetches one request may wait for: one that had begun before it asked, and its own.
pub(crate) const WAIT_MAX_FETCHES: usize = 2;

/// Times that a deployment has no reason to change, and a test has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Timing {
    /// Longest time of one GET, from the connection to the last byte.
    pub fetch_timeout: Duration,
    /// Shortest time from one fetch that requests demanded to the next, also after failures. It
    /// bounds what somebody who makes up key names can cause.
    pub demand_interval: Duration,
    /// Longest that a start waits for the first keys.
    pub start_wait_max: Duration,
    /// How often files are looked at.
    pub watch_period: Duration,
}

impl Default for Timing {
    fn default() -> Self {
        Self {
            fetch_timeout: Duration::from_secs(5),
            demand_interval: Duration::from_secs(5),
            start_wait_max: Duration::from_secs(5),
            watch_period: Duration::from_secs(1),
        }
    }
}

/// Everything that keeps settings up to date. Dropping it ends that; the keys of issuers on the
/// network then end at their bound.
pub struct Upkeep {
    refreshers: Vec<Refresher>,
    _watch: Option<Watch>,
}

impl fmt::Debug for Upkeep {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Upkeep").field("health", &self.health()).finish_non_exhaustive()
    }
}

impl Upkeep {
    /// Begins to keep up to date what `settings` hold and `config` names, and waits a little for
    /// the first keys. Needs a tokio runtime.
    ///
    /// # Errors
    /// [`ConfigError`] for what could never work; an issuer that does not answer is no error.
    pub(crate) async fn start(
        config: &IdentityConfig,
        settings: &Settings,
        now: &Now,
        timing: &Timing,
    ) -> Result<Self, ConfigError> {
        let mut refreshers = Vec::new();
        let mut files = Vec::new();
        for issuer in &config.issuers {
            let kept = settings.issuers.iter().find(|kept| kept.iss == issuer.name());
            let Some(ring) = kept.map(|kept| kept.keys.clone()) else { continue };
            match (&issuer.jwks, issuer.source()?) {
                (_, Some(source)) => {
                    refreshers.push(refresher(issuer, ring, source, now, timing)?);
                }
                (Some(KeysAt::File(path)), None) => files.push(Watched::new(path, move |path| {
                    ring.replace(Arc::new(read_jwks(path)?), None);
                    Ok(())
                })),
                (_, None) => {}
            }
        }
        if let (Some(path), Some(keys)) = (&config.api_keys, settings.api_keys.clone()) {
            files.push(Watched::new(path, move |path| {
                keys.replace(read_api_keys(path)?);
                Ok(())
            }));
        }
        for path in config.certificates.iter().flat_map(AuthorityConfig::files) {
            let trust = settings.certificates.clone();
            files.push(Watched::new(path, move |_| match trust.reload() {
                Reloaded::Refused(error) => Err(error.into()),
                Reloaded::Live | Reloaded::Unchanged | Reloaded::StillRefused => Ok(()),
            }));
        }
        let watch = (!files.is_empty()).then(|| Watch::start(files, timing.watch_period));
        let deadline = Instant::now() + timing.start_wait_max;
        for refresher in &refreshers {
            refresher.first(deadline).await;
        }
        Ok(Self { refreshers, _watch: watch })
    }

    /// How the keys of each issuer on the network are doing.
    #[must_use]
    pub fn health(&self) -> Vec<Health> {
        self.refreshers.iter().map(Refresher::health).collect()
    }
}

fn refresher(
    issuer: &IssuerConfig,
    ring: KeyRing,
    source: Source,
    now: &Now,
    timing: &Timing,
) -> Result<Refresher, ConfigError> {
    let refused = |why: String| ConfigError::Client { iss: issuer.name(), why };
    let roots = match &issuer.ca_file {
        None => Vec::new(),
        Some(path) => {
            let pem = read_public(path)?;
            let roots = Certificate::from_pem_bundle(pem.as_bytes()).unwrap_or_default();
            if roots.is_empty() {
                let why = "it holds no certificate in PEM (`BEGIN CERTIFICATE`)";
                return Err(refused(format!("`{}`: {why}", path.display())));
            }
            roots
        }
    };
    let fetcher = client::Fetcher::new(roots, timing.fetch_timeout, source.is_local());
    let fetcher = fetcher.map_err(refused)?;
    let remote = Remote { iss: issuer.name(), source, fetcher };
    let lifetime = Lifetime { keys_max_age_s: issuer.keys_max_age_s, refresh_s: issuer.refresh_s };
    Ok(Refresher::start(&issuer.name(), ring, remote, lifetime, timing, Arc::clone(now)))
}
