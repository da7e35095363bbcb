//! What callers are told that a limit allows: its size and window, never whom it counts for.

use lictor_policy_lib::limits::{LimitKind, LimitRequest, Unit, Window};
use lictor_proto::decide::{Quota, QuotaUnit};
use lictor_proto::decision::Decision;

/// The quotas of the limits that `decision` tells of.
pub(crate) fn quotas(decision: &Decision, limits: &[LimitRequest]) -> Vec<Quota> {
    if decision.limits.is_empty() {
        return Vec::new();
    }
    limits.iter().map(quota).collect()
}

fn quota(limit: &LimitRequest) -> Quota {
    let unit = match (limit.kind, limit.unit) {
        (LimitKind::Concurrent, _) => QuotaUnit::Concurrent,
        (LimitKind::Rate | LimitKind::Once, _) | (_, Unit::Calls) => QuotaUnit::Calls,
        (_, Unit::Tokens) => QuotaUnit::Tokens,
        (_, Unit::UsdMicros) => QuotaUnit::UsdMicros,
        (_, Unit::Bytes) => QuotaUnit::Bytes,
    };
    let window_s = match (limit.kind, limit.window) {
        (LimitKind::Concurrent, _) | (_, Window::Session) => 0,
        (_, Window::Sliding { ms }) => ms.div_ceil(1_000),
        (_, Window::Calendar { start_ms, end_ms }) => {
            u64::try_from(end_ms.saturating_sub(start_ms)).unwrap_or(0) / 1_000
        }
    };
    Quota { id: limit.id.clone(), max: limit.max, window_s, unit }
}

#[cfg(test)]
mod tests {
    use lictor_policy_lib::limits::OnError;

    use super::*;

    fn limit(kind: LimitKind, unit: Unit, window: Window) -> LimitRequest {
        LimitRequest {
            id: "l".into(),
            kind,
            key: r#"["alice"]"#.into(),
            max: 9,
            burst: 9,
            window,
            unit,
            cost: 1,
            on_error: OnError::Deny,
            refund_on_failure: false,
            prices: None,
        }
    }

    #[test]
    fn windows_are_whole_seconds() {
        let of = |kind, window| quota(&limit(kind, Unit::Tokens, window)).window_s;
        assert_eq!(of(LimitKind::Budget, Window::Session), 0);
        assert_eq!(of(LimitKind::Budget, Window::Sliding { ms: 60_000 }), 60);
        assert_eq!(of(LimitKind::Budget, Window::Sliding { ms: 1 }), 1);
        let day = Window::Calendar { start_ms: 1_000, end_ms: 86_401_000 };
        assert_eq!(of(LimitKind::Budget, day), 86_400);
        assert_eq!(of(LimitKind::Concurrent, Window::Sliding { ms: 60_000 }), 0);
    }

    #[test]
    fn whom_a_limit_counts_for_is_not_told() {
        let quota = quota(&limit(LimitKind::Budget, Unit::UsdMicros, Window::Session));
        assert_eq!((quota.max, quota.unit), (9, QuotaUnit::UsdMicros));
        assert!(!format!("{quota:?}").contains("alice"));
        let quota = super::quota(&limit(LimitKind::Concurrent, Unit::Calls, Window::Session));
        assert_eq!(quota.unit, QuotaUnit::Concurrent);
    }
}
