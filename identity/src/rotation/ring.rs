//! The keys as an enforcement point has them: one that signs now, some that are published, and all
//! of them read again when the files change.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use arc_swap::ArcSwap;
use serde_json::{Value, json};

use super::plan::Plan;
use super::store::{self, RotationError, Stored};
use crate::from_files::{Reloaded, Stamp, stamp};
use crate::keys::Purpose;
use crate::remote::Now;
use crate::token_key::TokenKey;

/// How often the files are looked at, milliseconds; a changed plan is in effect within
/// [`PICK_UP_MS`](super::plan::PICK_UP_MS).
pub const LOOK_INTERVAL_MS: u64 = 1_000;

/// Keys that sign tokens, one at a time.
#[derive(Debug)]
pub struct SigningRing {
    live: ArcSwap<Live>,
    /// Where they come from, if from files.
    dir: Option<PathBuf>,
    seen: Mutex<Seen>,
}

#[derive(Debug)]
struct Live {
    plan: Plan,
    keys: Vec<Arc<TokenKey>>,
}

impl Live {
    fn key(&self, kid: &str) -> Option<&Arc<TokenKey>> {
        self.keys.iter().find(|key| key.kid() == kid)
    }
}

/// What the files looked like.
#[derive(Debug, Default)]
struct Seen {
    /// When they became live.
    live: Stamp,
    /// When they were refused, so that it is said once.
    refused: Option<Stamp>,
}

impl SigningRing {
    /// A ring of one key, in no file.
    #[must_use]
    pub fn of(key: TokenKey) -> Self {
        let plan = Plan::single(key.kid(), "");
        Self::new(Live { plan, keys: vec![Arc::new(key)] }, None, Stamp::new())
    }

    /// The keys in `dir`, the first made there where there is none.
    ///
    /// # Errors
    /// [`RotationError`].
    pub fn open(dir: &Path) -> Result<Self, RotationError> {
        let Stored { plan, keys } = store::ensure(dir)?;
        let keys = keys.into_iter().map(Arc::new).collect();
        // Nothing is taken for seen, so that a change since then is one at the first look.
        Ok(Self::new(Live { plan, keys }, Some(dir.to_owned()), Stamp::new()))
    }

    fn new(live: Live, dir: Option<PathBuf>, seen: Stamp) -> Self {
        let seen = Mutex::new(Seen { live: seen, refused: None });
        Self { live: ArcSwap::from_pointee(live), dir, seen }
    }

    /// The key that signs at `now_ms`.
    #[must_use]
    pub fn signer(&self, now_ms: i64) -> Option<Arc<TokenKey>> {
        let live = self.live.load();
        live.plan.signer(now_ms).and_then(|planned| live.key(&planned.kid)).cloned()
    }

    /// The key set at `now_ms` (RFC 7517). It may be kept for
    /// [`JWKS_MAX_AGE_S`](super::JWKS_MAX_AGE_S).
    #[must_use]
    pub fn jwks_json(&self, now_ms: i64) -> String {
        let live = self.live.load();
        let published = live.plan.published(now_ms).filter_map(|planned| live.key(&planned.kid));
        let keys: Vec<Value> = published.map(|key| key.jwk()).collect();
        json!({ "keys": keys }).to_string()
    }

    /// Looks at the files and follows their plan if they changed and can be used.
    pub fn reload(&self, now_ms: i64) -> Reloaded<RotationError> {
        let Some(dir) = &self.dir else {
            return Reloaded::Unchanged;
        };
        // Before reading: what changes meanwhile is read again next time.
        let found = stamp(&[store::plan_path(dir), Purpose::Assertion.private_path(dir)]);
        // A panic between two assignments leaves both whole.
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        if found == seen.live {
            seen.refused = None;
            return Reloaded::Unchanged;
        }
        match self.followed(dir, now_ms) {
            Ok(live) => {
                let changed = live.plan != self.live.load().plan;
                self.live.store(Arc::new(live));
                *seen = Seen { live: found, refused: None };
                if changed { Reloaded::Live } else { Reloaded::Unchanged }
            }
            // Tried again, though: a file may have been unreadable for a moment only.
            Err(_) if seen.refused.as_ref() == Some(&found) => Reloaded::StillRefused,
            Err(error) => {
                seen.refused = Some(found);
                Reloaded::Refused(error)
            }
        }
    }

    fn followed(&self, dir: &Path, now_ms: i64) -> Result<Live, RotationError> {
        let read = store::read(dir)?;
        let before = self.live.load();
        let plan = before.plan.adopting(&read.plan, now_ms);
        let plan = plan.map_err(|source| RotationError::Plan { dir: dir.to_owned(), source })?;
        let mut keys: Vec<Arc<TokenKey>> = read.keys.into_iter().map(Arc::new).collect();
        // A key of which tokens may be about stays, also where its file is gone.
        keys.extend(before.keys.iter().cloned());
        keys.retain(|key| plan.keys().iter().any(|planned| planned.kid == key.kid()));
        Ok(Live { plan, keys })
    }

    /// Follows the files until dropped.
    pub async fn follow(self: Arc<Self>, now: Now) {
        loop {
            tokio::time::sleep(Duration::from_millis(LOOK_INTERVAL_MS)).await;
            let (ring, now) = (Arc::clone(&self), Arc::clone(&now));
            // Away from the requests: a file system may take its time.
            if tokio::task::spawn_blocking(move || tell(&ring.reload(now()))).await.is_err() {
                tracing::error!("looking at the assertion keys failed");
            }
        }
    }
}

fn tell(reloaded: &Reloaded<RotationError>) {
    match reloaded {
        Reloaded::Live => tracing::info!("a changed plan of assertion keys is in effect"),
        Reloaded::Refused(error) => {
            tracing::error!(%error, "the changed assertion keys cannot be used; those before stay in effect");
        }
        Reloaded::Unchanged | Reloaded::StillRefused => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::files::replace_private;
    use crate::jwks::Jwks;
    use crate::rotation::plan::{LEAD_MIN_MS, RETAIN_MS};
    use crate::rotation::store::{Takeover, plan_path, rotate};
    use crate::token_key::{TokenAlgorithm, generate};

    fn published(ring: &SigningRing, now_ms: i64) -> usize {
        let set: Value = serde_json::from_str(&ring.jwks_json(now_ms)).unwrap();
        set["keys"].as_array().unwrap().len()
    }

    #[test]
    fn a_running_ring_follows_a_rotation() {
        let dir = tempfile::tempdir().unwrap();
        let ring = SigningRing::open(dir.path()).unwrap();
        let first = ring.signer(0).unwrap().kid().to_owned();
        assert!(matches!(ring.reload(0), Reloaded::Unchanged));
        let es256 = Some(TokenAlgorithm::Es256);
        let stored = rotate(dir.path(), es256, Takeover::From(LEAD_MIN_MS), 0).unwrap();
        assert_eq!(published(&ring, 0), 1);
        assert!(matches!(ring.reload(1_000), Reloaded::Live));
        assert!(matches!(ring.reload(2_000), Reloaded::Unchanged));
        let second = stored.plan.keys()[1].kid.clone();
        let jwks = Jwks::parse(ring.jwks_json(1_000).as_bytes()).unwrap();
        assert!(jwks.named(&first, false).is_some() && jwks.named(&second, false).is_some());
        assert_eq!(ring.signer(LEAD_MIN_MS - 1).unwrap().kid(), first);
        assert_eq!(ring.signer(LEAD_MIN_MS).unwrap().kid(), second);
        assert_eq!(published(&ring, LEAD_MIN_MS + RETAIN_MS - 1), 2);
        assert_eq!(published(&ring, LEAD_MIN_MS + RETAIN_MS), 1);
    }

    #[test]
    fn a_key_that_replaces_all_signs_at_once() {
        let dir = tempfile::tempdir().unwrap();
        let ring = SigningRing::open(dir.path()).unwrap();
        let stored = rotate(dir.path(), None, Takeover::AtOnce, 5).unwrap();
        assert!(matches!(ring.reload(1_000), Reloaded::Live));
        assert_eq!(ring.signer(1_000).unwrap().kid(), stored.keys[0].kid());
        assert_eq!(published(&ring, 1_000), 1);
    }

    #[test]
    fn what_cannot_be_used_changes_nothing_and_is_said_once() {
        let dir = tempfile::tempdir().unwrap();
        let ring = SigningRing::open(dir.path()).unwrap();
        let first = ring.signer(0).unwrap().kid().to_owned();
        replace_private(&plan_path(dir.path()), "{}").unwrap();
        assert!(matches!(ring.reload(0), Reloaded::Refused(_)));
        assert!(matches!(ring.reload(0), Reloaded::StillRefused));
        assert_eq!(ring.signer(0).unwrap().kid(), first);
        std::fs::remove_file(plan_path(dir.path())).unwrap();
        assert!(matches!(ring.reload(0), Reloaded::Unchanged));
    }

    #[test]
    fn a_key_file_put_in_place_of_the_first_follows_in_its_time() {
        let dir = tempfile::tempdir().unwrap();
        let ring = SigningRing::open(dir.path()).unwrap();
        let first = ring.signer(0).unwrap().kid().to_owned();
        let pair = generate(TokenAlgorithm::Es256).unwrap();
        replace_private(&dir.path().join("assertion.key"), &pair.private_pem).unwrap();
        assert!(matches!(ring.reload(0), Reloaded::Live));
        assert_eq!((ring.signer(0).unwrap().kid(), published(&ring, 0)), (first.as_str(), 2));
        assert_eq!(ring.signer(LEAD_MIN_MS).unwrap().kid(), pair.kid);
    }

    #[tokio::test(start_paused = true)]
    async fn a_change_is_in_effect_within_two_seconds() {
        let dir = tempfile::tempdir().unwrap();
        let ring = Arc::new(SigningRing::open(dir.path()).unwrap());
        let following = tokio::spawn(Arc::clone(&ring).follow(Arc::new(|| 0)));
        rotate(dir.path(), None, Takeover::From(LEAD_MIN_MS), 0).unwrap();
        tokio::time::sleep(Duration::from_millis(2_000)).await;
        assert_eq!(published(&ring, 0), 2);
        following.abort();
    }
}
