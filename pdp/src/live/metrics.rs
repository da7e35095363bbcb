//! Live bundles and their sources for Prometheus.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use super::TenantBundle;

/// Metrics of all tenants. Writing to a string does not fail.
pub(crate) fn text(tenants: &BTreeMap<String, TenantBundle>) -> String {
    let mut text = String::new();
    type Line = fn(&mut String, &str, &TenantBundle);
    let metrics: [(&str, &str, Line); 8] = [
        ("lictor_bundle_version", "gauge", |text, tenant, state| {
            let version = state.live.as_ref().map_or(0, |bundle| bundle.reference().version);
            let _ = writeln!(text, "lictor_bundle_version{{tenant=\"{tenant}\"}} {version}");
        }),
        ("lictor_bundle_refused", "gauge", |text, tenant, state| {
            let refused = u8::from(state.refused.is_some());
            let _ = writeln!(text, "lictor_bundle_refused{{tenant=\"{tenant}\"}} {refused}");
        }),
        ("lictor_bundle_info", "gauge", info),
        ("lictor_bundle_live_since_seconds", "gauge", |text, tenant, state| {
            let since = state.live.as_ref().map_or(0, |_| state.since_ms);
            seconds(text, "lictor_bundle_live_since_seconds", tenant, since);
        }),
        ("lictor_bundle_last_check_seconds", "gauge", |text, tenant, state| {
            seconds(text, "lictor_bundle_last_check_seconds", tenant, state.source.checked_ms);
        }),
        ("lictor_bundle_last_success_seconds", "gauge", |text, tenant, state| {
            seconds(text, "lictor_bundle_last_success_seconds", tenant, state.source.answered_ms);
        }),
        ("lictor_bundle_refused_total", "counter", |text, tenant, state| {
            for (id, count) in &state.refusals {
                let _ = writeln!(
                    text,
                    "lictor_bundle_refused_total{{tenant=\"{tenant}\",id=\"{id}\"}} {count}"
                );
            }
        }),
        ("lictor_bundle_fetch_failures_total", "counter", |text, tenant, state| {
            let failures = state.source.failures;
            let _ = writeln!(
                text,
                "lictor_bundle_fetch_failures_total{{tenant=\"{tenant}\"}} {failures}"
            );
        }),
    ];
    for (name, kind, line) in metrics {
        let _ = writeln!(text, "# TYPE {name} {kind}");
        for (tenant, state) in tenants {
            line(&mut text, &escaped(tenant), state);
        }
    }
    text
}

fn info(text: &mut String, tenant: &str, state: &TenantBundle) {
    let Some(live) = &state.live else { return };
    let reference = live.reference();
    let (name, revision) = (escaped(&reference.name), escaped(&reference.revision));
    let (version, digest) = (reference.version, &reference.digest);
    let _ = writeln!(
        text,
        "lictor_bundle_info{{tenant=\"{tenant}\",name=\"{name}\",version=\"{version}\",revision=\"{revision}\",digest=\"{digest}\"}} 1"
    );
}

/// A time in Unix seconds; 0 for never.
fn seconds(text: &mut String, name: &str, tenant: &str, ms: i64) {
    let (whole, part) = (ms.max(0) / 1_000, ms.max(0) % 1_000);
    let _ = writeln!(text, "{name}{{tenant=\"{tenant}\"}} {whole}.{part:03}");
}

/// A label's value as the text format writes it.
fn escaped(value: &str) -> String {
    value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::live::{Live, Refusal, RefusedBundle};

    #[test]
    fn times_are_seconds_and_labels_are_escaped() {
        let live = Live::new();
        let why = |at_ms| Refusal { id: "bundle_unsigned".into(), message: "m".into(), at_ms };
        live.answered("a\"b", 61_007);
        live.unreachable("a\"b", why(62_000));
        for at_ms in [1, 2] {
            let refused = RefusedBundle { why: why(at_ms), version: None, digest: None };
            live.refuse("a\"b", refused);
        }
        let text = text(&live.all());
        for line in [
            "lictor_bundle_last_check_seconds{tenant=\"a\\\"b\"} 62.000",
            "lictor_bundle_last_success_seconds{tenant=\"a\\\"b\"} 61.007",
            "lictor_bundle_live_since_seconds{tenant=\"a\\\"b\"} 0.000",
            "lictor_bundle_refused_total{tenant=\"a\\\"b\",id=\"bundle_unsigned\"} 2",
            "lictor_bundle_fetch_failures_total{tenant=\"a\\\"b\"} 1",
            "lictor_bundle_refused{tenant=\"a\\\"b\"} 1",
        ] {
            assert!(text.contains(line), "{line} is not in\n{text}");
        }
        assert!(!text.contains("lictor_bundle_info{"), "nothing is live\n{text}");
    }
}
