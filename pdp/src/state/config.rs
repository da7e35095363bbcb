//! `[pdp.state]` of `lictor.toml`: where limits, sessions and approvals are kept. [`address`] is
//! what must not be shown of it.

mod address;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};

pub use self::address::StoreUrl;
use self::address::{NODE_FORMS, SERVER_FORMS};

use super::State;
use super::memory::{Memory, OpenError, Recovery};
use super::redis::connection::{
    ANSWER_TIMEOUT_MS, CONNECT_TIMEOUT_MAX_MS, CONNECT_TIMEOUT_MS, ConnectError, Connection,
    Patience,
};
use super::redis::{Clock, Redis};
use super::sliced::Sliced;
use super::sliced::slices::Slicing;

/// Folder of the journal, below the state directory.
const JOURNAL_DIR: &str = "state";

/// `[pdp.state]`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct StateConfig {
    /// Which store.
    pub kind: StoreKind,
    /// Where the shared store is; only with `kind = "redis"`. One URL alone stands for a single
    /// server there.
    #[serde(skip_serializing_if = "Option::is_none", deserialize_with = "address::store")]
    pub redis: Option<RedisConfig>,
}

/// Which store.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum StoreKind {
    /// In this process, with a journal in `<state_dir>/state`: for one decision point.
    #[default]
    Embedded,
    /// In Redis or Valkey: shared by several decision points.
    Redis,
    /// In this process and lost with it.
    Memory,
}

impl StoreKind {
    /// Its name in the configuration and in records.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Embedded => "embedded",
            Self::Redis => "redis",
            Self::Memory => "memory",
        }
    }
}

/// `[pdp.state.redis]`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct RedisConfig {
    /// `redis://`, `rediss://` (TLS) or `unix:`, with user and password if any. A single server
    /// has one; of a cluster some nodes.
    #[serde(deserialize_with = "address::urls")]
    pub urls: Vec<StoreUrl>,
    /// Whether they are nodes of a cluster.
    pub cluster: bool,
    /// Every key begins with it.
    pub prefix: String,
    /// How long an answer may take, milliseconds. A decision that waits longer goes by `on_error`.
    pub answer_timeout_ms: u64,
    /// How long a connection may take to be made, milliseconds.
    pub connect_timeout_ms: u64,
    /// Authorities (PEM) that may sign the server's certificate, in place of the system's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ca_file: Option<PathBuf>,
    /// Parts of budgets that this decision point leases, so that most decisions need no round
    /// trip. Without it every budget is exact.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub slices: Option<SlicesConfig>,
}

/// `slices` of `[pdp.state.redis]`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct SlicesConfig {
    /// A slice is at most the limit's largest amount divided by this, 2 to 10,000.
    pub divisor: u64,
    /// What is left of a slice goes back after this, milliseconds, 100 to 60,000.
    pub life_ms: u64,
}

impl Default for SlicesConfig {
    fn default() -> Self {
        Self { divisor: 100, life_ms: 2_000 }
    }
}

impl SlicesConfig {
    fn slicing(self) -> Slicing {
        Slicing { divisor: self.divisor, life_ms: i64::try_from(self.life_ms).unwrap_or(i64::MAX) }
    }

    fn is_usable(self) -> bool {
        (2..=10_000).contains(&self.divisor) && (100..=60_000).contains(&self.life_ms)
    }
}

impl Default for RedisConfig {
    fn default() -> Self {
        Self {
            urls: Vec::new(),
            cluster: false,
            prefix: "lictor:".to_owned(),
            answer_timeout_ms: ANSWER_TIMEOUT_MS,
            connect_timeout_ms: CONNECT_TIMEOUT_MS,
            ca_file: None,
            slices: None,
        }
    }
}

/// Why there is no store.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// What does not belong together.
    #[error("`[pdp.state]`: {0}")]
    Config(&'static str),
    /// An address of another sort.
    #[error("`pdp.state.redis.urls`: `{0:?}` is not of the form {1}")]
    Url(StoreUrl, &'static str),
    /// The embedded store.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// The shared store.
    #[error(transparent)]
    Connect(#[from] ConnectError),
    /// The authorities.
    #[error("`pdp.state.redis.ca_file`: `{path}` cannot be read: {source}")]
    Authorities {
        /// Which file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
}

/// A store that is open.
pub struct Opened {
    /// The store.
    pub state: Arc<dyn State>,
    /// The same where it has a journal to look after.
    pub journaled: Option<Arc<Memory>>,
    /// What was found of an earlier process; nothing is known of a shared one.
    pub recovery: Option<Recovery>,
}

impl StateConfig {
    /// A store in this process that is lost with it.
    #[must_use]
    pub fn memory() -> Self {
        Self { kind: StoreKind::Memory, redis: None }
    }

    /// A shared store at `urls`.
    #[must_use]
    pub fn redis(urls: &[&str]) -> Self {
        let urls = urls.iter().map(|url| StoreUrl::new(url)).collect();
        Self { kind: StoreKind::Redis, redis: Some(RedisConfig { urls, ..RedisConfig::default() }) }
    }

    /// Makes relative paths ones below `base`.
    pub fn take_paths_from(&mut self, base: &Path) {
        let authorities = self.redis.iter_mut().filter_map(|redis| redis.ca_file.as_mut());
        authorities.for_each(|path| *path = base.join(&*path));
    }

    /// Checks what belongs together.
    ///
    /// # Errors
    /// [`StoreError::Config`] says what to change.
    pub fn check(&self) -> Result<(), StoreError> {
        match (self.kind, &self.redis) {
            (StoreKind::Redis, Some(redis)) => redis.check(),
            (StoreKind::Redis, None) => {
                Err(StoreError::Config("`kind = \"redis\"` needs `redis = { urls = [..] }`"))
            }
            (_, Some(_)) => {
                Err(StoreError::Config("`redis` is there, but `kind` is not \"redis\""))
            }
            (_, None) => Ok(()),
        }
    }

    /// Opens the store. A shared one is connected when it is first used, or as soon as it answers.
    ///
    /// # Errors
    /// [`StoreError`]: a journal that is damaged is never taken for an empty one.
    pub async fn open(
        &self,
        state_dir: &Path,
        clock: &crate::clock::Clock,
    ) -> Result<Opened, StoreError> {
        self.check()?;
        match (self.kind, &self.redis) {
            (StoreKind::Redis, Some(redis)) => {
                let connection = redis.connect()?;
                let shared = Redis::new(connection, &redis.prefix, Clock::Store);
                let state: Arc<dyn State> = match redis.slices {
                    None => Arc::new(shared),
                    Some(slices) => {
                        let sliced = Sliced::new(shared, slices.slicing());
                        let clock = clock.clone();
                        sliced.tend(slices.slicing().life_ms, move || clock.now_ms());
                        Arc::new(sliced)
                    }
                };
                Ok(Opened { state, journaled: None, recovery: None })
            }
            (StoreKind::Embedded, _) => {
                let (memory, recovery) = Memory::open(&state_dir.join(JOURNAL_DIR))?;
                let memory = Arc::new(memory);
                let journaled = Some(Arc::clone(&memory));
                Ok(Opened { state: memory, journaled, recovery: Some(recovery) })
            }
            _ => Ok(Opened { state: Arc::new(Memory::new()), journaled: None, recovery: None }),
        }
    }
}

impl RedisConfig {
    fn check(&self) -> Result<(), StoreError> {
        let wrong = if self.urls.is_empty() {
            "`redis.urls` is empty: name at least one, such as `redis://127.0.0.1:6379`"
        } else if !self.cluster && self.urls.len() > 1 {
            "`redis.urls` names several servers: set `cluster = true`, or name one"
        } else if self.prefix.contains(['{', '}']) {
            "`redis.prefix` must be without braces: they mark which keys belong together"
        } else if !(1..=CONNECT_TIMEOUT_MAX_MS).contains(&self.answer_timeout_ms)
            || !(1..=CONNECT_TIMEOUT_MAX_MS).contains(&self.connect_timeout_ms)
        {
            "`redis.answer_timeout_ms` and `redis.connect_timeout_ms` are from 1 to 60000"
        } else if self.slices.is_some_and(|slices| !slices.is_usable()) {
            "`redis.slices`: `divisor` is from 2 to 10000 and `life_ms` from 100 to 60000"
        } else {
            return self.check_urls();
        };
        Err(StoreError::Config(wrong))
    }

    fn check_urls(&self) -> Result<(), StoreError> {
        let wrong = self.urls.iter().find(|url| !url.is_of(self.cluster));
        match wrong {
            Some(url) if self.cluster => Err(StoreError::Url(url.clone(), NODE_FORMS)),
            Some(url) => Err(StoreError::Url(url.clone(), SERVER_FORMS)),
            None => Ok(()),
        }
    }

    fn connect(&self) -> Result<Connection, StoreError> {
        let patience = Patience {
            answer: Duration::from_millis(self.answer_timeout_ms),
            connect: Duration::from_millis(self.connect_timeout_ms),
        };
        let read = |path: &PathBuf| {
            let error = |source| StoreError::Authorities { path: path.clone(), source };
            std::fs::read(path).map_err(error)
        };
        let authorities = self.ca_file.as_ref().map(read).transpose()?;
        let urls: Vec<String> = self.urls.iter().map(|url| url.secret().to_owned()).collect();
        Ok(match urls.as_slice() {
            [url] if !self.cluster => Connection::single(url, authorities, patience)?,
            urls => Connection::cluster(urls, authorities, patience)?,
        })
    }
}

#[cfg(test)]
#[path = "config_tests.rs"]
mod tests;
