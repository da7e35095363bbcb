//! The arithmetic of one limit with one key. Pure: time is a parameter, and time
//! that runs backwards never gives units back early.

use std::collections::{HashMap, VecDeque};

use lictor_policy_lib::limits::{LimitKind, LimitRequest, Window};
use serde::{Deserialize, Serialize};

/// A sliding window is kept in at most this many parts; a part leaves only when
/// it is wholly outside the window, so a budget is never overspent.
const WINDOW_PARTS: u64 = 64;
/// A call that is never settled frees its place in a `concurrent` limit after this.
pub const CONCURRENT_LEASE_MS: i64 = 300_000;
/// A counter of a calendar period is kept for so long after the period: by the clock of another
/// decision point it may not be over yet.
pub const PERIOD_KEPT_MS: i64 = 86_400_000;
/// Never resets by itself.
const NEVER_MS: i64 = i64::MAX;

/// One counter.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Counter {
    /// GCRA: when the next unit would be in time, in microseconds.
    Rate {
        /// Theoretical arrival time.
        tat_us: i64,
    },
    /// Units by the part of the window they were taken in.
    Budget {
        /// (start of the part in milliseconds, units), oldest first.
        parts: VecDeque<(i64, u64)>,
    },
    /// Leases by call.
    Concurrent {
        /// When each lease ends, in milliseconds.
        leases: HashMap<String, i64>,
    },
}

/// Whether there is room, and what is left.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Room {
    /// Whether the cost fits.
    pub fits: bool,
    /// Units left for others; after taking, if it fits.
    pub remaining: u64,
    /// When it is full again, in Unix milliseconds; `i64::MAX` for never.
    pub reset_ms: i64,
    /// When to try again, in milliseconds from now; 0 if it fits or never will.
    pub retry_after_ms: u64,
}

impl Counter {
    /// A fresh counter for a limit.
    #[must_use]
    pub fn new(kind: LimitKind) -> Self {
        match kind {
            LimitKind::Rate => Self::Rate { tat_us: i64::MIN },
            LimitKind::Budget | LimitKind::Once => Self::Budget { parts: VecDeque::new() },
            LimitKind::Concurrent => Self::Concurrent { leases: HashMap::new() },
        }
    }

    /// Looks without taking.
    #[must_use]
    pub fn room(&self, limit: &LimitRequest, now_ms: i64) -> Room {
        match self {
            Self::Rate { tat_us } => rate_room(*tat_us, limit, now_ms),
            Self::Budget { parts } => budget_room(parts, limit, now_ms),
            Self::Concurrent { leases } => concurrent_room(leases, limit, now_ms),
        }
    }

    /// Takes what [`Counter::room`] said fits.
    pub fn take(&mut self, limit: &LimitRequest, call_id: &str, now_ms: i64) {
        match self {
            Self::Rate { tat_us } => {
                let start = (*tat_us).max(us(now_ms));
                *tat_us =
                    start.saturating_add(emission_us(limit).saturating_mul(signed(limit.cost)));
            }
            Self::Budget { parts } => {
                drop_old(parts, limit, now_ms);
                add(parts, part_start(limit, now_ms), limit.cost);
            }
            Self::Concurrent { leases } => {
                leases.insert(call_id.to_owned(), now_ms.saturating_add(CONCURRENT_LEASE_MS));
            }
        }
    }

    /// Gives back what a call took at `taken_ms`.
    pub fn refund(&mut self, limit: &LimitRequest, call_id: &str, taken_ms: i64, units: u64) {
        match self {
            Self::Rate { tat_us } => {
                *tat_us = tat_us.saturating_sub(emission_us(limit).saturating_mul(signed(units)));
            }
            Self::Budget { parts } => {
                let start = part_start(limit, taken_ms);
                if let Some((_, held)) = parts.iter_mut().find(|(at, _)| *at == start) {
                    *held = held.saturating_sub(units);
                }
            }
            Self::Concurrent { leases } => {
                leases.remove(call_id);
            }
        }
    }

    /// Books units beyond the reservation, even past the limit: they were used.
    pub fn book(&mut self, limit: &LimitRequest, now_ms: i64, units: u64) {
        match self {
            Self::Rate { .. } | Self::Concurrent { .. } => {}
            Self::Budget { parts } => add(parts, part_start(limit, now_ms), units),
        }
    }

    /// Whether nothing is held any more, so that the counter can be forgotten.
    #[must_use]
    pub fn is_idle(&self, limit: &LimitRequest, now_ms: i64) -> bool {
        match self {
            Self::Rate { tat_us } => *tat_us <= us(now_ms),
            Self::Budget { parts } => {
                parts.iter().all(|(start, units)| *units == 0 || is_past(limit, *start, now_ms))
            }
            Self::Concurrent { leases } => leases.values().all(|until| *until <= now_ms),
        }
    }
}

fn us(ms: i64) -> i64 {
    ms.saturating_mul(1_000)
}

fn signed(units: u64) -> i64 {
    i64::try_from(units).unwrap_or(i64::MAX)
}

/// Length of a sliding window.
fn window_ms(limit: &LimitRequest) -> Option<i64> {
    match limit.window {
        Window::Session | Window::Calendar { .. } => None,
        Window::Sliding { ms } => Some(signed(ms)),
    }
}

/// Time that one unit takes, rounded up: a rate never gives more than it says, and no unit is free.
fn emission_us(limit: &LimitRequest) -> i64 {
    let window = us(window_ms(limit).unwrap_or(NEVER_MS / 1_000)).unsigned_abs();
    signed(window.div_ceil(limit.max.max(1)).max(1))
}

fn rate_room(tat_us: i64, limit: &LimitRequest, now_ms: i64) -> Room {
    let now_us = us(now_ms);
    let emission = emission_us(limit);
    let burst = emission.saturating_mul(signed(limit.burst));
    let wanted = emission.saturating_mul(signed(limit.cost));
    let after = tat_us.max(now_us).saturating_add(wanted);
    // A time that no number holds is later than every burst.
    let fits = limit.max > 0 && after < i64::MAX && after.saturating_sub(now_us) <= burst;
    let held = if fits { after } else { tat_us.max(now_us) };
    let free = burst.saturating_sub(held.saturating_sub(now_us));
    let never = limit.max == 0 || wanted > burst;
    let wait_us = after.saturating_sub(now_us).saturating_sub(burst);
    Room {
        fits,
        remaining: u64::try_from(free / emission.max(1)).unwrap_or(0),
        reset_ms: held.saturating_add(999) / 1_000,
        retry_after_ms: if fits || never { 0 } else { wait_ms(wait_us) },
    }
}

/// Microseconds rounded up to at least one millisecond.
fn wait_ms(us: i64) -> u64 {
    u64::try_from(us.saturating_add(999) / 1_000).unwrap_or(0).max(1)
}

fn part_ms(limit: &LimitRequest) -> i64 {
    let parts = signed(WINDOW_PARTS);
    window_ms(limit).map_or(NEVER_MS, |window| (window / parts).max(1))
}

fn part_start(limit: &LimitRequest, now_ms: i64) -> i64 {
    match limit.window {
        Window::Session => 0,
        Window::Calendar { start_ms, .. } => start_ms,
        Window::Sliding { .. } => now_ms - now_ms.rem_euclid(part_ms(limit)),
    }
}

/// Whether a part counts still. That of a calendar period always does: which period it is was
/// said by whoever asks, whose clock may be behind.
fn is_live(limit: &LimitRequest, start: i64, now_ms: i64) -> bool {
    matches!(limit.window, Window::Calendar { .. }) || part_end(limit, start) > now_ms
}

/// Whether nobody can ask for a part any more.
fn is_past(limit: &LimitRequest, start: i64, now_ms: i64) -> bool {
    let kept_ms = match limit.window {
        Window::Calendar { .. } => PERIOD_KEPT_MS,
        Window::Session | Window::Sliding { .. } => 0,
    };
    part_end(limit, start).saturating_add(kept_ms) <= now_ms
}

/// When a part is wholly outside the window.
fn part_end(limit: &LimitRequest, start: i64) -> i64 {
    match limit.window {
        Window::Session => NEVER_MS,
        Window::Calendar { end_ms, .. } => end_ms,
        Window::Sliding { ms } => start.saturating_add(part_ms(limit)).saturating_add(signed(ms)),
    }
}

fn drop_old(parts: &mut VecDeque<(i64, u64)>, limit: &LimitRequest, now_ms: i64) {
    parts.retain(|(start, units)| *units > 0 && is_live(limit, *start, now_ms));
}

fn add(parts: &mut VecDeque<(i64, u64)>, start: i64, units: u64) {
    if units == 0 {
        return;
    }
    match parts.iter_mut().find(|(at, _)| *at == start) {
        Some((_, held)) => *held = held.saturating_add(units),
        None => parts.push_back((start, units)),
    }
}

fn budget_room(parts: &VecDeque<(i64, u64)>, limit: &LimitRequest, now_ms: i64) -> Room {
    let live = || parts.iter().filter(|(start, _)| is_live(limit, *start, now_ms));
    let held = live().fold(0u64, |sum, (_, units)| sum.saturating_add(*units));
    // A sum that no number holds is over every limit.
    let fits = held.checked_add(limit.cost).is_some_and(|after| after <= limit.max);
    let after = held.saturating_add(limit.cost);
    let units = live().filter(|(_, units)| *units > 0);
    let reset_ms = units.map(|(start, _)| part_end(limit, *start)).max().unwrap_or(now_ms);
    Room {
        fits,
        remaining: limit.max.saturating_sub(if fits { after } else { held }),
        reset_ms,
        retry_after_ms: if fits { 0 } else { budget_wait(parts, limit, now_ms, after) },
    }
}

/// Until enough parts have left that the cost fits; 0 if it never will.
fn budget_wait(parts: &VecDeque<(i64, u64)>, limit: &LimitRequest, now_ms: i64, after: u64) -> u64 {
    if limit.cost > limit.max {
        return 0;
    }
    let mut ends: Vec<(i64, u64)> =
        parts.iter().map(|(start, units)| (part_end(limit, *start), *units)).collect();
    ends.sort_unstable();
    let mut excess = after.saturating_sub(limit.max);
    let calendar = matches!(limit.window, Window::Calendar { .. });
    for (end, units) in ends.into_iter().filter(|(end, _)| calendar || *end > now_ms) {
        excess = excess.saturating_sub(units);
        if excess == 0 {
            let never = end == NEVER_MS;
            return if never {
                0
            } else {
                u64::try_from(end.saturating_sub(now_ms)).unwrap_or(0).max(1)
            };
        }
    }
    0
}

fn concurrent_room(leases: &HashMap<String, i64>, limit: &LimitRequest, now_ms: i64) -> Room {
    let live: Vec<i64> = leases.values().copied().filter(|until| *until > now_ms).collect();
    let held = live.len() as u64;
    let fits = held < limit.max;
    // Whoever only looks takes no place.
    let taken = u64::from(fits && limit.cost > 0);
    let first = live.iter().min().copied().unwrap_or(now_ms);
    Room {
        fits,
        remaining: limit.max.saturating_sub(held + taken),
        reset_ms: live.iter().max().copied().unwrap_or(now_ms),
        retry_after_ms: if fits { 0 } else { u64::try_from(first - now_ms).unwrap_or(0).max(1) },
    }
}

#[cfg(test)]
#[path = "counter_tests.rs"]
mod tests;
