//! What operators see of limits: every counter of which something is held, in pages.

use lictor_policy_lib::limits::{LimitKind, LimitRequest, Unit, Window};
use serde_json::json;

/// Most counters of one page.
pub const PAGE_COUNTERS_MAX: usize = 200;
/// Largest amount that a script counts exactly: numbers there are doubles.
pub const AMOUNT_MAX: u64 = (1 << 53) - 1;

/// Which counters are wanted.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Wanted {
    /// Of this limit alone.
    pub id: Option<String>,
    /// With this key alone.
    pub key: Option<String>,
    /// After this place, as [`Page::next`] said it.
    pub after: Option<String>,
}

/// Some counters, by limit and key.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Page {
    /// The counters.
    pub counters: Vec<Counted>,
    /// Where to go on; `None` at the end.
    pub next: Option<String>,
}

/// One counter of which something is held.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Counted {
    /// The limit.
    pub id: String,
    /// The key, canonical.
    pub key: String,
    /// The session, where it counts for one.
    pub session: String,
    /// What sort.
    pub kind: LimitKind,
    /// What is counted.
    pub unit: Unit,
    /// Largest amount, as it was when counting began.
    pub max: u64,
    /// Units that can be held at once: a rate's burst, for other kinds `max`.
    pub at_once: u64,
    /// Units left.
    pub remaining: u64,
    /// When it is full again, Unix milliseconds; `i64::MAX` for never.
    pub reset_ms: i64,
}

/// Names a counter, in the order of pages: by limit, key and session. The store's own name of the
/// counter stands last.
pub(crate) fn name(limit: &LimitRequest, session: &str, kind: &str, stored_as: &str) -> String {
    let (start_ms, window) = match limit.window {
        Window::Session => (0, -1),
        Window::Sliding { ms } => (0, i64::try_from(ms).unwrap_or(i64::MAX)),
        Window::Calendar { start_ms, end_ms } => (start_ms, end_ms),
    };
    let session = if limit.window == Window::Session { session } else { "" };
    let name = (
        &limit.id,
        &limit.key,
        session,
        kind,
        start_ms,
        window,
        limit.unit,
        limit.max.min(AMOUNT_MAX),
        limit.burst.min(AMOUNT_MAX),
        stored_as,
        limit.kind,
    );
    serde_json::to_string(&name).unwrap_or_default()
}

/// What the name of every counter of the limit, or of the limit and key, begins with.
pub(crate) fn beginning(id: Option<&str>, key: Option<&str>) -> String {
    let Some(id) = id else { return String::new() };
    let mut begins = format!("[{},", json!(id));
    if let Some(key) = key {
        begins.push_str(&format!("{},", json!(key)));
    }
    begins
}
