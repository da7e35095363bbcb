//! Unusual behaviour, from what a session and an agent did before. Pure. Signals are facts for
//! policy and stop nothing by themselves.
//!
//! - `loop`: how often the cycle that this call continues has been gone through already, within
//!   [`LOOP_WINDOW_MS`]. A cycle is one to [`CYCLE_CALLS_MAX`] calls long, so A-A-A is seen as well
//!   as A-B-A-B. `no_progress` counts only where the earlier round had the same results too.
//! - `first_use`: the agent was never permitted to use this resource before.
//! - `rate`: the agent's present rate on this resource (a mean that forgets within a minute) over
//!   its usual one (a mean that forgets within a day). 1 until there is something usual.

use std::collections::VecDeque;

use lictor_proto::facts::Signals;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use super::approval::Binding;

/// Calls further back than this are no part of a loop, milliseconds.
pub const LOOP_WINDOW_MS: i64 = 60_000;
/// Longest cycle that is seen, calls.
pub const CYCLE_CALLS_MAX: usize = 8;
/// Last calls of a session that are remembered.
pub const RECENT_CALLS_MAX: usize = 64;
/// Time in which the present rate forgets, milliseconds.
pub const PRESENT_MS: f64 = 60_000.0;
/// Time in which the usual rate forgets, milliseconds.
pub const USUAL_MS: f64 = 86_400_000.0;
/// A rate is usual after so many calls.
pub const USUAL_AFTER_CALLS: u64 = 20;
/// A rate is usual after so much time, milliseconds.
pub const USUAL_AFTER_MS: i64 = 600_000;
/// What an agent did with a resource is forgotten after this time without a call.
pub const HABIT_KEPT_MS: i64 = 90 * 86_400_000;

/// One permitted call of a session.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Recent {
    /// The call's own id, shortened by [`short`].
    pub id: u64,
    /// What was called, see [`fingerprint`].
    pub call: u64,
    /// When, Unix milliseconds.
    pub at_ms: i64,
    /// Digest of what came back, shortened; 0 until it is known.
    pub result: u64,
}

/// What an agent did with one resource so far.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Habit {
    /// When it began, Unix milliseconds.
    pub since_ms: i64,
    /// The last call, Unix milliseconds.
    pub last_ms: i64,
    /// Permitted calls.
    pub calls: u64,
    /// Calls, each forgotten within [`PRESENT_MS`].
    pub present: f64,
    /// Calls, each forgotten within [`USUAL_MS`].
    pub usual: f64,
}

/// Names a call by what it does: the same action, resource and arguments have one name.
#[must_use]
pub fn fingerprint(binding: &Binding) -> u64 {
    let mut hash = Sha256::new();
    for part in [&binding.action, &binding.resource, &binding.args_digest] {
        hash.update((part.len() as u64).to_be_bytes());
        hash.update(part.as_bytes());
    }
    first(&hash.finalize())
}

/// A short name for a text. Two that share one are taken for the same call or result, which makes
/// a loop of what is none once in many billions.
#[must_use]
pub fn short(text: &str) -> u64 {
    if text.is_empty() { 0 } else { first(&Sha256::digest(text.as_bytes())) }
}

fn first(digest: &[u8]) -> u64 {
    digest.first_chunk().map_or(0, |bytes| u64::from_be_bytes(*bytes))
}

/// The signals of a call at `now_ms`, before it is permitted.
#[must_use]
pub fn signals(
    recent: &VecDeque<Recent>,
    habit: Option<&Habit>,
    call: u64,
    now_ms: i64,
) -> Signals {
    let live: Vec<&Recent> =
        recent.iter().filter(|entry| entry.at_ms > now_ms.saturating_sub(LOOP_WINDOW_MS)).collect();
    Signals {
        repeats: cycles(&live, call, |a, b| a.call == b.call),
        no_progress: cycles(&live, call, |a, b| {
            a.call == b.call && a.result == b.result && a.result != 0
        }),
        first_use: habit.is_none(),
        rate: habit.map_or(1.0, |habit| habit.rate(now_ms)),
    }
}

/// How often the cycle that `call` continues was gone through, for the cycle that was most often.
fn cycles(live: &[&Recent], call: u64, same: impl Fn(&Recent, &Recent) -> bool) -> u64 {
    let most = (1..=CYCLE_CALLS_MAX).map(|length| {
        // The call at hand continues the cycle if it is what came one round before.
        let begins = live.len().checked_sub(length).and_then(|at| live.get(at));
        if begins.is_none_or(|earlier| earlier.call != call) {
            return 0;
        }
        let newest_first = live.iter().rev();
        let pairs = newest_first.clone().zip(newest_first.skip(length));
        let matched = pairs.take_while(|(later, earlier)| same(later, earlier)).count();
        (matched + 1).checked_div(length).unwrap_or(0) as u64
    });
    most.max().unwrap_or(0)
}

impl Habit {
    /// The habit of a first call.
    #[must_use]
    pub fn begun(now_ms: i64) -> Self {
        Self { since_ms: now_ms, last_ms: now_ms, calls: 1, present: 1.0, usual: 1.0 }
    }

    /// Counts a permitted call.
    pub fn count(&mut self, now_ms: i64) {
        let passed = self.passed(now_ms);
        self.present = self.present * (-passed / PRESENT_MS).exp() + 1.0;
        self.usual = self.usual * (-passed / USUAL_MS).exp() + 1.0;
        self.last_ms = self.last_ms.max(now_ms);
        self.calls = self.calls.saturating_add(1);
    }

    /// Whether it is forgotten.
    #[must_use]
    pub fn is_over(&self, now_ms: i64) -> bool {
        self.last_ms.saturating_add(HABIT_KEPT_MS) <= now_ms
    }

    /// Milliseconds since the last call; time that ran back has not passed.
    fn passed(&self, now_ms: i64) -> f64 {
        number(now_ms.saturating_sub(self.last_ms).max(0))
    }

    /// The present rate over the usual one. Both means are divided by how much of their time has
    /// passed at all, so that a young habit is not taken for a slow one.
    fn rate(&self, now_ms: i64) -> f64 {
        let age = now_ms.saturating_sub(self.since_ms);
        if self.calls < USUAL_AFTER_CALLS || age < USUAL_AFTER_MS {
            return 1.0;
        }
        let passed = self.passed(now_ms);
        let mean = |held: f64, time: f64| {
            held * (-passed / time).exp() / (time * (1.0 - (-number(age) / time).exp()))
        };
        let (present, usual) = (mean(self.present, PRESENT_MS), mean(self.usual, USUAL_MS));
        if usual > 0.0 { present / usual } else { 1.0 }
    }
}

#[expect(clippy::cast_precision_loss, reason = "milliseconds of centuries are exact in a double")]
fn number(ms: i64) -> f64 {
    ms as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    fn recent(calls: &str) -> VecDeque<Recent> {
        let entry = |(n, c): (usize, char)| Recent {
            id: n as u64,
            call: u64::from(c),
            at_ms: n as i64,
            result: if c.is_uppercase() { u64::MAX } else { n as u64 + 1 },
        };
        calls.chars().enumerate().map(entry).collect()
    }

    fn of(calls: &str, call: &str) -> (u64, u64) {
        let call = u64::from(call.chars().next().unwrap());
        let signals = signals(&recent(calls), None, call, 100);
        (signals.repeats, signals.no_progress)
    }

    #[test]
    fn repetitions_and_longer_cycles_are_seen() {
        assert_eq!(of("", "a").0, 0);
        assert_eq!(of("a", "a").0, 1);
        assert_eq!(of("aaaa", "a").0, 4);
        assert_eq!(of("ab", "a").0, 0, "one round is not through yet");
        assert_eq!(of("aba", "b").0, 1);
        assert_eq!(of("ababa", "b").0, 2);
        assert_eq!(of("abcabcab", "c").0, 2);
        assert_eq!(of("xabcdefghabcdefg", "h").0, 1, "eight calls are a cycle");
        assert_eq!(of("xabcdefghiabcdefgh", "i").0, 0, "nine are not");
        assert_eq!(of("aaab", "a").0, 0);
    }

    #[test]
    fn no_progress_means_the_same_results_too() {
        assert_eq!(of("AAAA", "A"), (4, 4));
        assert_eq!(of("aaaa", "a").0, 4);
        assert_eq!(of("aaaa", "a").1, 1, "each time something else came back");
    }

    #[test]
    fn what_is_long_ago_is_no_loop() {
        let seen = |now_ms| signals(&recent("aaaa"), None, u64::from('a'), now_ms).repeats;
        assert_eq!(seen(LOOP_WINDOW_MS - 1), 4);
        assert_eq!(seen(LOOP_WINDOW_MS + 1), 2);
        assert_eq!(seen(LOOP_WINDOW_MS + 3), 0);
    }

    fn habit(every_ms: i64, calls: i64) -> (Habit, i64) {
        let mut habit = Habit::begun(0);
        for n in 1..calls {
            habit.count(n * every_ms);
        }
        (habit, (calls - 1) * every_ms)
    }

    #[test]
    fn a_steady_rate_is_usual_and_a_burst_is_not() {
        let (mut steady, now_ms) = habit(10_000, 2_000);
        let usual = steady.rate(now_ms);
        assert!((0.7..1.4).contains(&usual), "{usual}");
        for n in 0..60 {
            steady.count(now_ms + n * 100);
        }
        let burst = steady.rate(now_ms + 6_000);
        assert!(burst > 5.0, "{burst}");
        let later = steady.rate(now_ms + 600_000);
        assert!(later < 1.0, "{later}");
    }

    #[test]
    fn nothing_is_unusual_before_something_is_usual() {
        let (few, now_ms) = habit(60_000, 19);
        assert_eq!(few.rate(now_ms), 1.0);
        let (young, now_ms) = habit(1, 500);
        assert_eq!(young.rate(now_ms), 1.0);
    }

    #[test]
    fn time_that_runs_back_counts_as_none() {
        let (mut habit, now_ms) = habit(10_000, 100);
        habit.count(now_ms - 500_000);
        assert_eq!(habit.last_ms, now_ms);
        assert!(habit.rate(now_ms).is_finite());
    }
}
