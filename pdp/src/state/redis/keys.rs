//! Names of keys. Whoever reads them in a console sees what each is for.

use std::borrow::Cow;

use lictor_policy_lib::limits::{LimitKind, LimitRequest, Window};
use lictor_proto::revocation::Kind;
use sha2::{Digest as _, Sha256};

use crate::state::SessionKey;
use crate::state::approval::Binding;

/// Bytes of a digest that a key keeps.
const DIGEST_BYTES: usize = 16;

/// Names of keys below one prefix.
#[derive(Debug, Clone)]
pub(super) struct Keys {
    prefix: String,
}

impl Keys {
    pub(super) fn new(prefix: &str) -> Self {
        Self { prefix: prefix.to_owned() }
    }

    /// One hash tag a tenant: its keys are on one node of a cluster.
    fn of(&self, tenant: &str, kind: &str, id: &str) -> String {
        format!("{}{{{}}}:{kind}:{id}", self.prefix, escaped(tenant))
    }

    pub(super) fn tenants(&self) -> String {
        format!("{}tenants", self.prefix)
    }

    /// Of no tenant, so it is on any one node.
    pub(super) fn shared(&self) -> String {
        format!("{}revocations", self.prefix)
    }

    /// The lowest version of a bundle that may be live.
    pub(super) fn floor(&self, tenant: &str) -> String {
        self.of(tenant, "floor", "bundle")
    }

    pub(super) fn call(&self, tenant: &str, id: &str) -> String {
        self.of(tenant, "call", id)
    }

    pub(super) fn session(&self, session: &SessionKey) -> String {
        self.of(&session.tenant, "session", &session.id)
    }

    pub(super) fn tail(&self, session: &SessionKey) -> String {
        self.of(&session.tenant, "tail", &session.id)
    }

    pub(super) fn recent(&self, session: &SessionKey) -> String {
        self.of(&session.tenant, "recent", &session.id)
    }

    pub(super) fn pending(&self, session: &SessionKey) -> String {
        self.of(&session.tenant, "pending", &session.id)
    }

    /// What an agent did with a resource, in whichever session.
    pub(super) fn habit(&self, binding: &Binding) -> String {
        let mut hash = Sha256::new();
        for part in [&binding.agent, &binding.resource] {
            hash.update((part.len() as u64).to_be_bytes());
            hash.update(part.as_bytes());
        }
        let digest = hash.finalize();
        let short = digest.get(..DIGEST_BYTES).unwrap_or_default();
        self.of(&binding.tenant, "habit", &hex::encode(short))
    }

    pub(super) fn approval(&self, tenant: &str, id: &str) -> String {
        self.of(tenant, "approval", id)
    }

    pub(super) fn approvals(&self, tenant: &str) -> String {
        self.of(tenant, "approvals", "all")
    }

    /// Sessions that end when somebody is revoked.
    pub(super) fn owned(&self, tenant: &str, kind: Kind, id: &str) -> String {
        let digest = Sha256::digest(id.as_bytes());
        let short = digest.get(..DIGEST_BYTES).unwrap_or_default();
        self.of(tenant, "owned", &format!("{}:{}", kind.as_str(), hex::encode(short)))
    }

    /// The names of all counters.
    pub(super) fn counters(&self, tenant: &str) -> String {
        self.of(tenant, "counters", "all")
    }

    /// When operators emptied which counter.
    pub(super) fn emptied(&self, tenant: &str) -> String {
        self.of(tenant, "emptied", "all")
    }

    pub(super) fn bound(&self, binding: &Binding) -> String {
        self.of(&binding.tenant, "bound", &binding.digest())
    }

    /// A budget of a session is a member of the session's own key: it lives and dies with it.
    pub(super) fn counter(&self, session: &SessionKey, limit: &LimitRequest) -> String {
        let mut hash = Sha256::new();
        let (window, owner) = match limit.window {
            Window::Session => ("session".to_owned(), session.id.as_str()),
            Window::Sliding { ms } => (ms.to_string(), ""),
            Window::Calendar { start_ms, end_ms } => (format!("{start_ms}-{end_ms}"), ""),
        };
        let kind = match limit.kind {
            LimitKind::Rate => "rate",
            LimitKind::Budget => "budget",
            LimitKind::Concurrent => "concurrent",
            LimitKind::Once => "once",
        };
        for part in [limit.id.as_str(), kind, &window, owner, &limit.key] {
            hash.update((part.len() as u64).to_be_bytes());
            hash.update(part.as_bytes());
        }
        let digest = hash.finalize();
        let short = digest.get(..DIGEST_BYTES).unwrap_or_default();
        self.of(&session.tenant, "limit", &format!("{}:{}", limit.id, hex::encode(short)))
    }
}

/// Braces in a tenant's name would end the hash tag.
fn escaped(tenant: &str) -> Cow<'_, str> {
    if !tenant.contains(['%', '{', '}']) {
        return Cow::Borrowed(tenant);
    }
    tenant.replace('%', "%25").replace('{', "%7B").replace('}', "%7D").into()
}

#[cfg(test)]
mod tests {
    use lictor_policy_lib::limits::{OnError, Unit};

    use super::*;

    fn session(tenant: &str, id: &str) -> SessionKey {
        SessionKey { tenant: tenant.into(), id: id.into(), implicit: true }
    }

    #[test]
    fn a_tenant_cannot_leave_its_tag() {
        let keys = Keys::new("lictor:");
        assert_eq!(keys.call("default", "c1"), "lictor:{default}:call:c1");
        assert_eq!(keys.call("a}:{b", "c1"), "lictor:{a%7D:%7Bb}:call:c1");
        assert_ne!(keys.call("a%7D", "c1"), keys.call("a}", "c1"));
    }

    #[test]
    fn a_counter_is_of_one_limit_one_key_and_one_window() {
        let keys = Keys::new("");
        let limit = LimitRequest {
            id: "l".into(),
            kind: LimitKind::Budget,
            key: "k".into(),
            max: 1,
            window: Window::Sliding { ms: 1_000 },
            unit: Unit::Calls,
            cost: 1,
            on_error: OnError::Deny,
            refund_on_failure: false,
            burst: 1,
            prices: None,
        };
        let of = |limit: &LimitRequest, id: &str| keys.counter(&session("t", id), limit);
        assert_eq!(of(&limit, "s1"), of(&limit, "s2"), "a window of time is shared by sessions");
        let own = LimitRequest { window: Window::Session, ..limit.clone() };
        assert_ne!(of(&own, "s1"), of(&own, "s2"));
        for other in [
            LimitRequest { id: "m".into(), ..limit.clone() },
            LimitRequest { key: "j".into(), ..limit.clone() },
            LimitRequest { kind: LimitKind::Rate, ..limit.clone() },
            LimitRequest { window: Window::Sliding { ms: 2_000 }, ..limit.clone() },
        ] {
            assert_ne!(of(&limit, "s1"), of(&other, "s1"));
        }
    }
}
