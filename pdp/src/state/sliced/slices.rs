//! The arithmetic of slices, pure: what one decision point holds of each limit, takes of it and
//! gives back.

use std::collections::HashMap;

use lictor_policy_lib::limits::{LimitKind, LimitRequest, Window};
use lictor_proto::decision::LimitState;

use crate::state::approval::rfc3339;
use crate::state::redis::lease::{Correction, Grant, Want};

/// A slice that holds less than this part of what it may is filled up before it is empty.
const LOW_PART: u64 = 4;

/// How large slices are and how long they are held.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Slicing {
    /// A slice is at most the limit's largest amount divided by this.
    pub divisor: u64,
    /// A slice goes back after this, milliseconds.
    pub life_ms: i64,
}

impl Slicing {
    /// Largest slice of a limit, units; 0 where it cannot be sliced.
    #[must_use]
    pub fn slice_units(&self, limit: &LimitRequest) -> u64 {
        let lasting = match limit.window {
            Window::Sliding { ms } => i64::try_from(ms).unwrap_or(i64::MAX) > 2 * self.life_ms,
            Window::Calendar { .. } => true,
            Window::Session => false,
        };
        let sliced = lasting && limit.kind == LimitKind::Budget;
        if sliced { limit.max / self.divisor.max(1) } else { 0 }
    }

    /// Units by which `points` decision points together can go over the limit within one window.
    /// A slice is counted when it is taken. In a sliding window that moment may have left while
    /// the slice is still being used, so that what every decision point held then comes on top; a
    /// slice of a calendar window ends with it.
    #[must_use]
    pub fn overshoot_units(&self, limit: &LimitRequest, points: u64) -> u64 {
        match limit.window {
            Window::Sliding { .. } => self.slice_units(limit).saturating_mul(points),
            Window::Calendar { .. } | Window::Session => 0,
        }
    }
}

/// Which slice. Another largest amount is another slice: a lowered limit counts at once.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct SliceKey {
    tenant: String,
    id: String,
    key: String,
    window: Window,
    max: u64,
}

impl SliceKey {
    pub(super) fn of(tenant: &str, limit: &LimitRequest) -> Self {
        Self {
            tenant: tenant.to_owned(),
            id: limit.id.clone(),
            key: limit.key.clone(),
            window: limit.window,
            max: limit.max,
        }
    }
}

/// What is held of one limit.
#[derive(Debug)]
struct Slice {
    limit: LimitRequest,
    left: u64,
    /// The earliest of its units, by the store's clock: what goes back goes back to there.
    taken_ms: i64,
    from_ms: i64,
    until_ms: i64,
    /// Units that others may still take, when it was last seen.
    elsewhere: u64,
    reset_ms: i64,
    /// There was nothing to be had: until then nobody asks again.
    dry_until_ms: i64,
    /// Units that are on their way: with `left` never more than a slice.
    asked: u64,
}

impl Slice {
    fn nothing(limit: &LimitRequest) -> Self {
        Self {
            limit: LimitRequest { cost: 0, ..limit.clone() },
            left: 0,
            taken_ms: 0,
            from_ms: 0,
            until_ms: i64::MIN,
            elsewhere: 0,
            reset_ms: 0,
            dry_until_ms: 0,
            asked: 0,
        }
    }
}

/// What one call took of one limit.
#[derive(Debug, Clone)]
pub(super) struct Held {
    pub(super) limit: LimitRequest,
    pub(super) taken_ms: i64,
}

/// What came of taking.
#[derive(Debug)]
pub(super) enum Taken {
    /// All of it.
    All {
        states: Vec<LimitState>,
        held: Vec<Held>,
        /// What is to be had before it is missing.
        low: Vec<Want>,
    },
    /// Nothing: these must be had first.
    Missing(Vec<Want>),
    /// Nothing, and there is nothing to be had.
    Dry,
}

/// Everything that this decision point holds.
#[derive(Debug)]
pub(super) struct Slices {
    slicing: Slicing,
    slices: HashMap<SliceKey, Slice>,
    /// What goes back, by tenant.
    corrections: HashMap<String, Vec<Correction>>,
}

impl Slices {
    pub(super) fn new(slicing: Slicing) -> Self {
        Self { slicing, slices: HashMap::new(), corrections: HashMap::new() }
    }

    /// Whether calls with these limits can be decided here.
    pub(super) fn can_take(&self, limits: &[LimitRequest]) -> bool {
        limits.iter().all(|limit| {
            let units = self.slicing.slice_units(limit);
            units > 0 && limit.cost <= units
        })
    }

    /// Takes the cost of all of `limits`, or nothing.
    pub(super) fn take(&mut self, tenant: &str, limits: &[LimitRequest], now_ms: i64) -> Taken {
        let mut missing = Vec::new();
        // One limit may be wanted twice in one call, with one key.
        let mut wanted: HashMap<SliceKey, u64> = HashMap::new();
        for limit in limits {
            let key = SliceKey::of(tenant, limit);
            let cost = wanted.entry(key.clone()).or_default();
            *cost = cost.saturating_add(limit.cost);
            let cost = *cost;
            let slice = self.live(&key, now_ms);
            let left = slice.as_ref().map_or(0, |slice| slice.left);
            if left >= cost {
                continue;
            }
            let dry = slice.is_some_and(|slice| slice.dry_until_ms > now_ms);
            if dry || cost > self.slicing.slice_units(limit) {
                return Taken::Dry;
            }
            missing.push(Want { limit: limit.clone(), units: 0, least: cost - left });
        }
        if missing.is_empty() {
            return self.take_all(tenant, limits);
        }
        Taken::Missing(missing)
    }

    fn take_all(&mut self, tenant: &str, limits: &[LimitRequest]) -> Taken {
        let (mut states, mut held, mut low) = (Vec::new(), Vec::new(), Vec::new());
        for limit in limits {
            let units = self.slicing.slice_units(limit);
            let Some(slice) = self.slices.get_mut(&SliceKey::of(tenant, limit)) else { continue };
            slice.left = slice.left.saturating_sub(limit.cost);
            states.push(LimitState {
                id: limit.id.clone(),
                reserved: limit.cost,
                remaining: slice.left.saturating_add(slice.elsewhere),
                reset_at: rfc3339(slice.reset_ms),
                retry_after_ms: 0,
            });
            held.push(Held { limit: limit.clone(), taken_ms: slice.taken_ms });
            if slice.left < units / LOW_PART && slice.elsewhere > 0 && slice.asked == 0 {
                low.push(Want { limit: limit.clone(), units: 0, least: 1 });
            }
        }
        Taken::All { states, held, low }
    }

    /// The slice, if it may still be used. A clock that ran back makes it one of the past.
    fn live(&mut self, key: &SliceKey, now_ms: i64) -> Option<&mut Slice> {
        let alive = self.slices.get(key).map(|s| s.from_ms <= now_ms && now_ms < s.until_ms)?;
        if !alive {
            self.end(key);
            return None;
        }
        self.slices.get_mut(key)
    }

    /// What is left of it goes back; what is on its way to it will still find it.
    fn end(&mut self, key: &SliceKey) {
        let Some(slice) = self.slices.get_mut(key) else { return };
        let (left, taken_ms, asked) = (slice.left, slice.taken_ms, slice.asked);
        (slice.left, slice.until_ms) = (0, i64::MIN);
        let limit = slice.limit.clone();
        if left > 0 {
            self.correct(&key.tenant, &limit, left, 0, taken_ms);
        }
        if asked == 0 {
            self.slices.remove(key);
        }
    }

    /// Says how much of each limit may be leased now, and that it is on its way until it is
    /// [put](Self::put) or [lost](Self::lost).
    pub(super) fn ask(&mut self, tenant: &str, wants: &mut [Want], now_ms: i64) {
        for want in wants {
            let most = self.slicing.slice_units(&want.limit);
            let key = SliceKey::of(tenant, &want.limit);
            self.live(&key, now_ms);
            let slice = self.slices.entry(key).or_insert_with(|| Slice::nothing(&want.limit));
            want.units = most.saturating_sub(slice.left).saturating_sub(slice.asked);
            slice.asked = slice.asked.saturating_add(want.units);
        }
    }

    /// Nothing came: whatever the store took is lost until its window is over.
    pub(super) fn lost(&mut self, tenant: &str, wants: &[Want]) {
        for want in wants {
            if let Some(slice) = self.slices.get_mut(&SliceKey::of(tenant, &want.limit)) {
                slice.asked = slice.asked.saturating_sub(want.units);
            }
        }
    }

    /// Puts what was granted where it is taken from. `asked_ms` is the time here before it was
    /// asked for.
    pub(super) fn put(&mut self, tenant: &str, want: &Want, grant: Grant, asked_ms: i64) {
        let key = SliceKey::of(tenant, &want.limit);
        let life = self.slicing.life_ms;
        let mut until_ms = asked_ms.saturating_add(life);
        if let Window::Calendar { end_ms, .. } = want.limit.window {
            until_ms = until_ms.min(end_ms);
        }
        self.live(&key, asked_ms);
        let slice = self.slices.entry(key).or_insert_with(|| Slice::nothing(&want.limit));
        slice.asked = slice.asked.saturating_sub(want.units);
        if slice.left == 0 {
            (slice.taken_ms, slice.from_ms, slice.until_ms) = (grant.taken_ms, asked_ms, until_ms);
        }
        slice.left = slice.left.saturating_add(grant.units);
        slice.taken_ms = slice.taken_ms.min(grant.taken_ms);
        (slice.elsewhere, slice.reset_ms) = (grant.remaining, grant.reset_ms);
        if grant.units < want.least {
            slice.dry_until_ms = asked_ms.saturating_add(life / 2);
        }
    }

    /// A call did not need `units` of what it took: back to the slice where there is room for
    /// them, to the store otherwise.
    pub(super) fn refund(&mut self, tenant: &str, held: &Held, units: u64, now_ms: i64) {
        let most = self.slicing.slice_units(&held.limit);
        let key = SliceKey::of(tenant, &held.limit);
        let fits = |slice: &&mut Slice| {
            slice.left.saturating_add(slice.asked).saturating_add(units) <= most
        };
        match self.live(&key, now_ms).filter(fits) {
            Some(slice) => {
                slice.left = slice.left.saturating_add(units);
                slice.taken_ms = slice.taken_ms.min(held.taken_ms);
                slice.dry_until_ms = 0;
            }
            None => self.correct(tenant, &held.limit, units, 0, held.taken_ms),
        }
    }

    /// A call used `units` more than it took: they count even past the limit.
    pub(super) fn book(&mut self, tenant: &str, held: &Held, units: u64, now_ms: i64) {
        let key = SliceKey::of(tenant, &held.limit);
        let mut rest = units;
        if let Some(slice) = self.live(&key, now_ms) {
            rest = units.saturating_sub(slice.left);
            slice.left = slice.left.saturating_sub(units);
        }
        if rest > 0 {
            self.correct(tenant, &held.limit, 0, rest, now_ms);
        }
    }

    fn correct(&mut self, tenant: &str, limit: &LimitRequest, back: u64, beyond: u64, at_ms: i64) {
        let limit = LimitRequest { cost: 0, ..limit.clone() };
        let all = self.corrections.entry(tenant.to_owned()).or_default();
        all.push(Correction { limit, back, beyond, taken_ms: at_ms });
    }

    /// What goes back to the store now: of slices past their time, or of all of them.
    pub(super) fn due(&mut self, now_ms: i64, all: bool) -> Vec<(String, Vec<Correction>)> {
        let over = |slice: &Slice| all || now_ms < slice.from_ms || now_ms >= slice.until_ms;
        let keys: Vec<SliceKey> = self
            .slices
            .iter()
            .filter(|(_, slice)| over(slice))
            .map(|(key, _)| key.clone())
            .collect();
        keys.iter().for_each(|key| self.end(key));
        self.corrections.drain().collect()
    }

    /// The store could not be told: later.
    pub(super) fn put_off(&mut self, tenant: String, corrections: Vec<Correction>) {
        self.corrections.entry(tenant).or_default().extend(corrections);
    }

    /// An operator emptied the limit: what is held of it is nothing that goes back.
    pub(super) fn forget(&mut self, tenant: &str, id: &str, key: &str) {
        self.slices.retain(|slice, _| slice.tenant != tenant || slice.id != id || slice.key != key);
    }

    #[cfg(test)]
    pub(super) fn left(&self) -> u64 {
        self.slices.values().map(|slice| slice.left).sum()
    }
}

#[cfg(test)]
#[path = "slices_tests.rs"]
mod tests;
