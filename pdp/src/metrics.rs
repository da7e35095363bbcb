//! What the decision point counts, for Prometheus.

use std::fmt::Write as _;
use std::sync::atomic::Ordering;

use crate::decide::Pdp;
use crate::{shadow, webhook};

/// Prometheus text of what the decision point counts.
#[must_use]
pub fn metrics_text(pdp: &Pdp) -> String {
    let mut text = String::from("# TYPE lictor_decisions_total counter\n");
    let counts = &pdp.counts;
    for (effect, count) in [("allow", &counts.allow), ("deny", &counts.deny), ("ask", &counts.ask)]
    {
        let value = count.load(Ordering::Relaxed);
        let _ = writeln!(text, "lictor_decisions_total{{effect=\"{effect}\"}} {value}");
    }
    let audit = pdp.audit.status();
    let _ = writeln!(text, "# TYPE lictor_audit_writable gauge");
    let _ = writeln!(text, "lictor_audit_writable {}", u8::from(audit.writable));
    let _ = writeln!(text, "# TYPE lictor_audit_records_total counter");
    let _ = writeln!(text, "lictor_audit_records_total {}", audit.appended);
    let _ = writeln!(text, "# TYPE lictor_ready gauge\nlictor_ready {}", u8::from(pdp.ready()));
    text.push_str(&crate::live::metrics::text(&pdp.live.all()));
    text.push_str(&pdp.counts.limits.text());
    text.push_str(&pdp.counts.shadow_rules.text());
    text.push_str(&pdp.shadow.as_deref().map(shadow::metrics_text).unwrap_or_default());
    text.push_str(&crate::revocation::metrics_text(&pdp.revocation_lists()));
    text.push_str(
        &pdp.webhooks.get().map(|counts| webhook::metrics_text(counts)).unwrap_or_default(),
    );
    let waiting = pdp.approval_changes.waiting();
    let _ =
        writeln!(text, "# TYPE lictor_approval_waiters gauge\nlictor_approval_waiters {waiting}");
    let issuers = pdp.approver.as_ref().map(|approver| approver.health()).unwrap_or_default();
    text.push_str(&lictor_identity::remote::health::metrics_text(&issuers, pdp.clock.now_ms()));
    text
}
