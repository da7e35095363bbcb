//! Whether one decision point is to be asked: who fails again and again is left alone for a while,
//! then asked with one call.

/// Lost connections and missed deadlines in a row that send a decision point away.
pub const FAILURES_BEFORE_EJECTION: u32 = 3;
/// First wait after a failure, milliseconds; doubles up to [`BACKOFF_MAX_MS`].
pub const BACKOFF_MIN_MS: u64 = 100;
/// Longest wait after a failure, milliseconds.
pub const BACKOFF_MAX_MS: u64 = 5_000;

/// Waits that double, each cut by up to half, so that those who failed together do not come back
/// together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Backoff {
    next_ms: u64,
}

impl Default for Backoff {
    fn default() -> Self {
        Self { next_ms: BACKOFF_MIN_MS }
    }
}

impl Backoff {
    /// The next wait, milliseconds, from any number.
    pub(crate) fn next(&mut self, random: u64) -> u64 {
        let full = self.next_ms;
        self.next_ms = full.saturating_mul(2).min(BACKOFF_MAX_MS);
        let half = full / 2;
        full.saturating_sub(random.checked_rem(half.saturating_add(1)).unwrap_or(0))
    }
}

/// A number that differs between processes and between calls.
pub(crate) fn random() -> u64 {
    use std::hash::{BuildHasher as _, Hasher as _, RandomState};
    RandomState::new().build_hasher().finish()
}

/// Whether to ask.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Standing {
    /// Yes; after an ejection, with one call at a time.
    Welcome,
    /// Not before the others.
    Ejected,
}

/// What became of the last calls.
#[derive(Debug, Default)]
pub(crate) struct Health {
    failures: u32,
    ejected: Option<Ejection>,
}

#[derive(Debug)]
struct Ejection {
    until_ms: u64,
    backoff: Backoff,
    probing: bool,
}

impl Health {
    /// Whether to ask at `now_ms`.
    pub(crate) fn standing(&self, now_ms: u64) -> Standing {
        match &self.ejected {
            Some(ejection) if now_ms < ejection.until_ms || ejection.probing => Standing::Ejected,
            _ => Standing::Welcome,
        }
    }

    /// A call is sent; after an ejection no other follows until it came to an end.
    pub(crate) fn sent(&mut self) {
        if let Some(ejection) = &mut self.ejected {
            ejection.probing = true;
        }
    }

    /// It was answered.
    pub(crate) fn answered(&mut self) {
        *self = Self::default();
    }

    /// Its caller went away before anything could be known.
    pub(crate) fn left(&mut self) {
        if let Some(ejection) = &mut self.ejected {
            ejection.probing = false;
        }
    }

    /// The connection was lost, or nothing came before the deadline.
    pub(crate) fn failed(&mut self, now_ms: u64, random: u64) {
        self.failures = self.failures.saturating_add(1);
        if self.ejected.is_none() && self.failures < FAILURES_BEFORE_EJECTION {
            return;
        }
        let mut backoff = self.ejected.as_ref().map(|e| e.backoff).unwrap_or_default();
        // Calls that were under way when it was sent away say nothing new.
        if self.ejected.as_ref().is_some_and(|e| now_ms < e.until_ms) {
            return;
        }
        let until_ms = now_ms.saturating_add(backoff.next(random));
        self.ejected = Some(Ejection { until_ms, backoff, probing: false });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_up_to_the_longest_and_vary_by_half() {
        let mut backoff = Backoff::default();
        let waits: Vec<_> = (0..8).map(|_| backoff.next(0)).collect();
        assert_eq!(waits, [100, 200, 400, 800, 1_600, 3_200, 5_000, 5_000]);
        for random in [0, 1, 50, 51, u64::MAX] {
            let wait = Backoff::default().next(random);
            assert!((BACKOFF_MIN_MS / 2..=BACKOFF_MIN_MS).contains(&wait), "{wait}");
        }
    }

    #[test]
    fn failures_in_a_row_eject_and_an_answer_in_between_does_not() {
        let mut health = Health::default();
        for _ in 0..FAILURES_BEFORE_EJECTION - 1 {
            health.failed(0, 0);
        }
        assert_eq!(health.standing(0), Standing::Welcome);
        health.answered();
        for _ in 0..FAILURES_BEFORE_EJECTION - 1 {
            health.failed(0, 0);
        }
        assert_eq!(health.standing(0), Standing::Welcome);
        health.failed(0, 0);
        assert_eq!(health.standing(BACKOFF_MIN_MS - 1), Standing::Ejected);
        assert_eq!(health.standing(BACKOFF_MIN_MS), Standing::Welcome);
    }

    #[test]
    fn after_an_ejection_one_call_at_a_time_is_tried_and_the_wait_doubles() {
        let mut health = Health::default();
        (0..FAILURES_BEFORE_EJECTION).for_each(|_| health.failed(0, 0));
        let back = BACKOFF_MIN_MS;
        health.sent();
        assert_eq!(health.standing(back), Standing::Ejected, "one is on its way");
        health.left();
        assert_eq!(health.standing(back), Standing::Welcome);
        health.sent();
        health.failed(back, 0);
        assert_eq!(health.standing(back + 2 * BACKOFF_MIN_MS - 1), Standing::Ejected);
        assert_eq!(health.standing(back + 2 * BACKOFF_MIN_MS), Standing::Welcome);
        health.answered();
        health.failed(back, 0);
        assert_eq!(health.standing(back), Standing::Welcome);
    }

    #[test]
    fn what_was_under_way_at_the_ejection_does_not_make_it_longer() {
        let mut health = Health::default();
        (0..10).for_each(|_| health.failed(0, 0));
        assert_eq!(health.standing(BACKOFF_MIN_MS), Standing::Welcome);
    }
}
