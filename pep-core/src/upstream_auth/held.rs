//! One secret, read again while we run.

use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwapOption;
use lictor_identity::Secret;
use tokio::task::{AbortHandle, spawn_blocking};
use tokio::time::{Instant, sleep};

use super::config::AuthFault;
use super::source::Source;

/// How often files are read again.
pub const FILE_PERIOD: Duration = Duration::from_secs(1);
/// How soon a command that failed is run again, where not due sooner.
pub const RETRY_PERIOD: Duration = Duration::from_secs(10);
/// How long the last good secret holds after it should have been read again.
pub const KEPT_AFTER_FAILURE: Duration = Duration::from_secs(300);

/// Makes of a secret what is used of it, or says why it is none.
type Make<T> = dyn Fn(Secret) -> Result<T, AuthFault> + Send + Sync;

/// What was made of a secret. Dropping it ends the reading.
pub(super) struct Held<T> {
    current: Arc<ArcSwapOption<Good<T>>>,
    /// How long a reading holds; `None` where the source does not change.
    bound: Option<Duration>,
    task: Option<AbortHandle>,
}

struct Good<T> {
    secret: Secret,
    made: Arc<T>,
    read_at: Instant,
}

impl<T> Drop for Held<T> {
    fn drop(&mut self) {
        if let Some(task) = &self.task {
            task.abort();
        }
    }
}

impl<T: Send + Sync + 'static> Held<T> {
    /// Reads the secret for the upstream `id`, and again for as long as this is there.
    ///
    /// # Errors
    /// [`AuthFault`] where there is none; a command that was started and failed is tried again
    /// instead.
    pub(super) async fn open(
        source: Source,
        id: &str,
        make: impl Fn(Secret) -> Result<T, AuthFault> + Send + Sync + 'static,
    ) -> Result<Self, AuthFault> {
        let period = match &source {
            Source::Variable(_) => None,
            Source::File(_) => Some(FILE_PERIOD),
            Source::Command { refresh, .. } => Some(*refresh),
        };
        let mut keeper = Keeper {
            id: id.to_owned(),
            source,
            make: Arc::new(make),
            current: Arc::new(ArcSwapOption::empty()),
            failing: false,
        };
        let current = keeper.current.clone();
        let first = keeper.read().await;
        let task = match (first, period) {
            (Err(fault), _) if !keeper.may_recover(&fault) => return Err(fault),
            (Err(fault), _) => {
                keeper.tell(&fault);
                period
            }
            (Ok(()), period) => period,
        };
        let task = task.map(|period| tokio::spawn(keeper.keep(period)).abort_handle());
        Ok(Self { current, bound: period.map(|period| period + KEPT_AFTER_FAILURE), task })
    }

    /// What was made of the last good secret, unless that is too old.
    pub(super) fn get(&self) -> Option<Arc<T>> {
        let good = self.current.load();
        let good = good.as_ref()?;
        let fresh = self.bound.is_none_or(|bound| good.read_at.elapsed() <= bound);
        fresh.then(|| good.made.clone())
    }
}

struct Keeper<T> {
    id: String,
    source: Source,
    make: Arc<Make<T>>,
    current: Arc<ArcSwapOption<Good<T>>>,
    failing: bool,
}

impl<T: Send + Sync + 'static> Keeper<T> {
    async fn keep(mut self, period: Duration) {
        loop {
            sleep(if self.failing { period.min(RETRY_PERIOD) } else { period }).await;
            match self.read().await {
                Ok(()) if self.failing => {
                    self.failing = false;
                    tracing::info!(upstream = self.id, "the credential could be read again");
                }
                Ok(()) => {}
                Err(fault) => self.tell(&fault),
            }
        }
    }

    fn may_recover(&self, fault: &AuthFault) -> bool {
        self.source.may_recover()
            && !matches!(fault, AuthFault::Command { why, .. } if why.starts_with("could not be started"))
    }

    /// Says it once, not every time.
    fn tell(&mut self, fault: &AuthFault) {
        if !self.failing {
            let kept_s = KEPT_AFTER_FAILURE.as_secs();
            tracing::warn!(upstream = self.id, %fault, kept_s, "the credential cannot be read; the last one holds for a while");
        }
        self.failing = true;
    }

    async fn read(&self) -> Result<(), AuthFault> {
        let read_at = Instant::now();
        let source = self.source.clone();
        let read = spawn_blocking(move || source.read()).await;
        let stopped = || AuthFault::Text { from: self.source.named() };
        let secret = read.map_err(|_| stopped())??;
        let before = self.current.load_full();
        let made = match before.filter(|good| good.secret == secret) {
            Some(same) => same.made.clone(),
            None => Arc::new((self.make)(secret.clone())?),
        };
        self.current.store(Some(Arc::new(Good { secret, made, read_at })));
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::fs::Permissions;
    use std::os::unix::fs::PermissionsExt as _;
    use std::path::Path;

    use tokio::time::{advance, pause};

    use super::*;

    fn write(path: &Path, text: &str) {
        std::fs::write(path, text).unwrap();
        std::fs::set_permissions(path, Permissions::from_mode(0o600)).unwrap();
    }

    async fn open(source: Source) -> Result<Held<String>, AuthFault> {
        Held::open(source, "u", |secret| Ok(secret.to_string())).await
    }

    fn shown(held: &Held<String>) -> Option<String> {
        held.get().map(|text| text.to_string())
    }

    /// Lets the keeper read once more.
    async fn settle(held: &Held<String>, expected: Option<&str>) {
        for _ in 0..20_000 {
            advance(FILE_PERIOD / 100).await;
            // The reading is on a thread of its own.
            spawn_blocking(std::thread::yield_now).await.unwrap();
            if shown(held).as_deref() == expected {
                return;
            }
        }
        assert_eq!(shown(held).as_deref(), expected);
    }

    #[tokio::test]
    async fn a_changed_file_counts_without_a_restart() {
        pause();
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("key");
        write(&path, "one\n");
        let held = open(Source::File(path.clone())).await.unwrap();
        assert_eq!(shown(&held).as_deref(), Some("one"));
        write(&path, "two");
        settle(&held, Some("two")).await;
    }

    #[tokio::test]
    async fn a_lost_file_holds_for_a_while_and_comes_back() {
        pause();
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("key");
        write(&path, "one");
        let held = open(Source::File(path.clone())).await.unwrap();
        std::fs::remove_file(&path).unwrap();
        advance(KEPT_AFTER_FAILURE).await;
        assert_eq!(shown(&held).as_deref(), Some("one"));
        advance(FILE_PERIOD * 3).await;
        settle(&held, None).await;
        write(&path, "two");
        settle(&held, Some("two")).await;
    }

    #[tokio::test]
    async fn what_others_can_read_or_is_empty_is_no_secret() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("key");
        assert!(matches!(open(Source::File(path.clone())).await, Err(AuthFault::File(_))));
        write(&path, " \n");
        assert!(matches!(open(Source::File(path.clone())).await, Err(AuthFault::Text { .. })));
        write(&path, "one");
        std::fs::set_permissions(&path, Permissions::from_mode(0o640)).unwrap();
        assert!(matches!(open(Source::File(path)).await, Err(AuthFault::File(_))));
        let variable = Source::Variable("LICTOR_TEST_NO_SUCH_VARIABLE".to_owned());
        assert!(matches!(open(variable).await, Err(AuthFault::Variable(_))));
    }

    #[tokio::test]
    async fn a_command_that_fails_at_first_is_tried_again() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("key");
        let argv = vec!["cat".to_owned(), path.display().to_string()];
        let held = open(Source::Command { argv, refresh: FILE_PERIOD }).await.unwrap();
        assert_eq!(shown(&held), None);
        write(&path, "one");
        pause();
        settle(&held, Some("one")).await;
        let argv = vec!["/no/such/program".to_owned()];
        assert!(open(Source::Command { argv, refresh: FILE_PERIOD }).await.is_err());
    }
}
