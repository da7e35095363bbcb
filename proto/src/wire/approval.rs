//! Approvals as Lictor JSON, the same over REST and on the command line.

use serde_json::{Value, json};

use crate::pb;

/// One approval with everything that its answer depends on.
#[must_use]
pub fn approval_record_to_json(record: &pb::ApprovalRecord) -> Value {
    let approval = record.approval.clone().unwrap_or_default();
    let reasons = record.reasons.iter();
    let reasons: Vec<Value> = reasons
        .map(|reason| json!({"id": reason.id, "message": reason.message, "policy": reason.policy}))
        .collect();
    let parts = record.parts.iter();
    let parts: Vec<Value> = parts
        .map(|part| json!({"ask": part.ask, "approvers": part.approvers, "count": part.count}))
        .collect();
    json!({
        "id": approval.id, "state": record.state, "expires": approval.expires,
        "approvers": approval.approvers, "count": approval.count, "opened": record.opened,
        "tenant": record.tenant, "subject": record.subject, "agent": record.agent,
        "delegation": record.delegation, "session": record.session,
        "action": record.action, "resource": record.resource, "args": record.args,
        "args_digest": record.args_digest, "content_digest": record.content_digest,
        "tool_digest": record.tool_digest, "bundle_digest": record.bundle_digest,
        "binding_digest": record.binding_digest, "bundle_live": record.bundle_live,
        "parts": parts, "reasons": reasons,
        "agreed": record.approved_by.len(), "approved_by": record.approved_by,
        "denied_by": (!record.denied_by.is_empty()).then_some(&record.denied_by),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_member_is_told_and_nobody_who_refused_is_null() {
        let record = pb::ApprovalRecord {
            approval: Some(pb::Approval { id: "a1".into(), count: 2, ..Default::default() }),
            approved_by: vec!["bob".into()],
            ..Default::default()
        };
        let told = approval_record_to_json(&record);
        assert_eq!(
            (&told["id"], &told["count"], &told["agreed"]),
            (&"a1".into(), &2.into(), &1.into())
        );
        assert_eq!(told["denied_by"], Value::Null);
        let denied = pb::ApprovalRecord { denied_by: "carol".into(), ..record };
        assert_eq!(approval_record_to_json(&denied)["denied_by"], "carol");
    }
}
