//! What callers are told of their limits: `RateLimit-Policy` and `RateLimit`
//! (draft-ietf-httpapi-ratelimit-headers), structured fields (RFC 9651) whose items are named by
//! limits of the signed bundle. Whom a limit counts for is never in them.

use http::header::{HeaderMap, HeaderName, HeaderValue, RETRY_AFTER};
use jiff::Timestamp;
use lictor_proto::decide::{Quota, QuotaUnit};
use lictor_proto::decision::LimitState;

/// How much the limits have left.
pub const RATE_LIMIT: HeaderName = HeaderName::from_static("ratelimit");
/// What the limits allow.
pub const RATE_LIMIT_POLICY: HeaderName = HeaderName::from_static("ratelimit-policy");

/// Most limits that one answer tells of; the tightest come first.
pub const TOLD_LIMITS_MAX: usize = 16;
/// Largest integer of a structured field (RFC 9651, 3.3.1).
const INTEGER_MAX: u64 = 999_999_999_999_999;

/// What one answer says of limits; nothing where there are none.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct RateLimit {
    policy: Option<HeaderValue>,
    room: Option<HeaderValue>,
}

impl RateLimit {
    /// What is to be told of `limits` at `now_ms` (Unix milliseconds). `quotas` says what they
    /// allow; a limit without one is told of by what it has left alone.
    #[must_use]
    pub fn of(limits: &[LimitState], quotas: &[Quota], now_ms: i64) -> Self {
        if limits.is_empty() {
            return Self::default();
        }
        let told = told(limits);
        let policy = told.iter().filter_map(|limit| quotas.iter().find(|q| q.id == limit.id));
        Self {
            policy: joined(policy.map(policy_item)),
            room: joined(told.iter().map(|limit| room_item(limit, now_ms))),
        }
    }

    /// Adds both headers, in place of what the other side said of its own limits.
    pub fn add(&self, headers: &mut HeaderMap) {
        if let Some(policy) = &self.policy {
            headers.insert(RATE_LIMIT_POLICY, policy.clone());
        }
        if let Some(room) = &self.room {
            headers.insert(RATE_LIMIT, room.clone());
        }
    }
}

/// Adds `Retry-After` in whole seconds, rounded up, where waiting helps.
pub(crate) fn add_retry_after(headers: &mut HeaderMap, retry_after_ms: u64) {
    if retry_after_ms > 0 {
        headers.insert(RETRY_AFTER, HeaderValue::from(retry_after_ms.div_ceil(1000)));
    }
}

/// One state of each name, the tightest: limits with several keys share their name.
fn told(limits: &[LimitState]) -> Vec<&LimitState> {
    let nameable = |limit: &&LimitState| {
        let plain = |b: u8| b == b' ' || (b.is_ascii_graphic() && b != b'"' && b != b'\\');
        !limit.id.is_empty() && limit.id.bytes().all(plain)
    };
    let mut told: Vec<&LimitState> = limits.iter().filter(nameable).collect();
    told.sort_by_key(|limit| (limit.remaining, std::cmp::Reverse(limit.retry_after_ms)));
    let mut known: Vec<&str> = Vec::new();
    told.retain(|limit| {
        let new = !known.contains(&limit.id.as_str());
        if new {
            known.push(&limit.id);
        }
        new
    });
    told.truncate(TOLD_LIMITS_MAX);
    told
}

fn policy_item(quota: &Quota) -> String {
    let mut item = format!("\"{}\";q={}", quota.id, quota.max.min(INTEGER_MAX));
    let unit = match quota.unit {
        QuotaUnit::Calls => None,
        QuotaUnit::Bytes => Some("content-bytes"),
        QuotaUnit::Concurrent => Some("concurrent-requests"),
        // Not in the registry of units; without a word they would be taken for requests.
        QuotaUnit::Tokens => Some("tokens"),
        QuotaUnit::UsdMicros => Some("usd-micros"),
    };
    if let Some(unit) = unit {
        item.push_str(&format!(";qu=\"{unit}\""));
    }
    if quota.window_s > 0 {
        item.push_str(&format!(";w={}", quota.window_s.min(INTEGER_MAX)));
    }
    item
}

fn room_item(limit: &LimitState, now_ms: i64) -> String {
    let mut item = format!("\"{}\";r={}", limit.id, limit.remaining.min(INTEGER_MAX));
    if let Some(seconds) = seconds_left(limit, now_ms) {
        item.push_str(&format!(";t={}", seconds.min(INTEGER_MAX)));
    }
    item
}

/// Until there is room again, or until it is full; nothing for never.
fn seconds_left(limit: &LimitState, now_ms: i64) -> Option<u64> {
    if limit.retry_after_ms > 0 {
        return Some(limit.retry_after_ms.div_ceil(1000));
    }
    let reset: Timestamp = limit.reset_at.parse().ok()?;
    let left_ms = reset.as_millisecond().saturating_sub(now_ms).max(0);
    u64::try_from(left_ms).ok().map(|left_ms| left_ms.div_ceil(1000))
}

fn joined(items: impl Iterator<Item = String>) -> Option<HeaderValue> {
    let items: Vec<String> = items.collect();
    if items.is_empty() { None } else { HeaderValue::from_str(&items.join(", ")).ok() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn limit(id: &str, remaining: u64) -> LimitState {
        LimitState {
            id: id.into(),
            reserved: 1,
            remaining,
            reset_at: "1970-01-01T00:01:00Z".into(),
            retry_after_ms: 0,
        }
    }

    fn quota(id: &str, unit: QuotaUnit, window_s: u64) -> Quota {
        Quota { id: id.into(), max: 100, window_s, unit }
    }

    fn texts(limits: &[LimitState], quotas: &[Quota]) -> (String, String) {
        let mut headers = HeaderMap::new();
        RateLimit::of(limits, quotas, 500).add(&mut headers);
        let text =
            |name| headers.get(name).map(|v| v.to_str().unwrap().to_owned()).unwrap_or_default();
        (text(RATE_LIMIT_POLICY), text(RATE_LIMIT))
    }

    #[test]
    fn limits_become_structured_fields() {
        let limits = [limit("calls", 7), limit("money", 1_250)];
        let quotas =
            [quota("calls", QuotaUnit::Calls, 60), quota("money", QuotaUnit::UsdMicros, 86_400)];
        let (policy, room) = texts(&limits, &quotas);
        assert_eq!(policy, r#""calls";q=100;w=60, "money";q=100;qu="usd-micros";w=86400"#);
        assert_eq!(room, r#""calls";r=7;t=60, "money";r=1250;t=60"#);
    }

    #[test]
    fn what_never_resets_has_no_time_and_what_is_short_says_when_to_come_back() {
        let never = LimitState { reset_at: String::new(), ..limit("once", 0) };
        let quotas = [quota("once", QuotaUnit::Concurrent, 0)];
        let (policy, room) = texts(&[never], &quotas);
        assert_eq!(policy, r#""once";q=100;qu="concurrent-requests""#);
        assert_eq!(room, r#""once";r=0"#);
        let short = LimitState { retry_after_ms: 1_001, ..limit("rate", 0) };
        assert_eq!(texts(&[short], &[]), (String::new(), r#""rate";r=0;t=2"#.to_owned()));
        let past = LimitState { reset_at: "1970-01-01T00:00:00Z".into(), ..limit("rate", 0) };
        assert_eq!(texts(&[past], &[]).1, r#""rate";r=0;t=0"#);
    }

    #[test]
    fn numbers_stay_in_the_range_of_the_fields() {
        let limits = [limit("a", u64::MAX)];
        let quotas =
            [Quota { max: u64::MAX, window_s: u64::MAX, ..quota("a", QuotaUnit::Calls, 0) }];
        let (policy, room) = texts(&limits, &quotas);
        assert_eq!(policy, r#""a";q=999999999999999;w=999999999999999"#);
        assert_eq!(room, r#""a";r=999999999999999;t=60"#);
    }

    #[test]
    fn a_name_comes_once_the_tightest_first_and_only_if_it_fits_a_field() {
        let limits = [
            limit("a", 9),
            limit("b", 3),
            limit("a", 1),
            limit("q\"", 0),
            limit("", 0),
            limit("ä", 0),
        ];
        assert_eq!(texts(&limits, &[]).1, r#""a";r=1;t=60, "b";r=3;t=60"#);
        let many: Vec<LimitState> =
            (0..=TOLD_LIMITS_MAX).map(|n| limit(&format!("l{n}"), n as u64)).collect();
        assert_eq!(texts(&many, &[]).1.matches(";r=").count(), TOLD_LIMITS_MAX);
        assert!(!texts(&many, &[]).1.contains(&format!("\"l{TOLD_LIMITS_MAX}\"")));
    }

    #[test]
    fn without_limits_nothing_is_said_and_the_other_sides_word_stands() {
        let mut headers = HeaderMap::new();
        headers.insert(RATE_LIMIT, HeaderValue::from_static("\"theirs\";r=1"));
        RateLimit::of(&[], &[quota("a", QuotaUnit::Calls, 1)], 0).add(&mut headers);
        assert_eq!(headers.len(), 1);
        assert_eq!(headers[RATE_LIMIT], "\"theirs\";r=1");
        RateLimit::of(&[limit("ours", 2)], &[], 0).add(&mut headers);
        assert_eq!(headers[RATE_LIMIT], "\"ours\";r=2;t=60");
    }
}
