//! The visible side of limits: what callers and operators are told of them, giving back what is
//! held, and holding it for longer.
//!
//! # Layout
//!
//! - this file: what operators ask for, and calls that go on
//! - [`quota`]: what callers are told that a limit allows
//! - [`metrics`]: how often each limit lacked room

pub(crate) mod metrics;
pub(crate) mod quota;

use lictor_audit::{Durability, Entry, Kind};
use lictor_identity::Role;
use lictor_policy_lib::limits::LimitKind;
use lictor_proto::decide::DecideError;
use lictor_proto::reason;
use serde_json::{Value, json};

use crate::decide::Pdp;
use crate::peer::Peer;
use crate::state::approval::rfc3339;
use crate::state::counters::{Counted, Page, Wanted};
use crate::state::{SettleError, StateError};

/// Longest id of a limit, and longest key, in bytes.
pub const NAME_MAX_BYTES: usize = 4_096;
/// Longest reason for a reset, in bytes.
pub const REASON_MAX_BYTES: usize = 1_024;

/// Why a limit is not shown or not reset.
#[derive(Debug, thiserror::Error)]
pub enum LimitsError {
    /// The peer lacks the role.
    #[error("this needs the role {0}")]
    Role(&'static str),
    /// What was asked for makes no sense.
    #[error("{0}")]
    Invalid(String),
    /// No bundle of this tenant is live here.
    #[error("there is no tenant `{0}` here")]
    Tenant(String),
    /// Nothing is held of it.
    #[error(
        "nothing is held of the limit `{id}` with the key `{key}`: `lictor limits show` has the names"
    )]
    NothingHeld {
        /// The limit.
        id: String,
        /// The key.
        key: String,
    },
    /// The store did not answer.
    #[error(transparent)]
    State(#[from] StateError),
    /// There is no record.
    #[error("{effect}: it cannot be recorded: {cause}")]
    Unrecorded {
        /// What holds now.
        effect: &'static str,
        /// Why.
        cause: String,
    },
}

/// What holds although the record failed.
const NOT_RESET: &str = "the limit is not reset";
const RESET: &str = "the limit is reset";

impl LimitsError {
    /// Reason id.
    #[must_use]
    pub fn id(&self) -> &'static str {
        match self {
            Self::Role(_) => reason::ROLE_MISSING,
            Self::Invalid(_) => reason::CALL_INVALID,
            Self::Tenant(_) => "tenant_unknown",
            Self::NothingHeld { .. } => "nothing_held",
            Self::State(_) => reason::STATE_UNAVAILABLE,
            Self::Unrecorded { .. } => reason::AUDIT_UNAVAILABLE,
        }
    }
}

/// A limit was given back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reset {
    /// How many counters were emptied.
    pub emptied: u64,
    /// What was held.
    pub before: Page,
    /// What came in meanwhile.
    pub after: Page,
}

impl Pdp {
    /// Counters of which something is held, a page of them.
    ///
    /// # Errors
    /// [`LimitsError`].
    pub async fn show_limits(
        &self,
        peer: &Peer,
        tenant: &str,
        wanted: &Wanted,
    ) -> Result<Page, LimitsError> {
        if !peer.has(Role::Operator) && !peer.has(Role::Auditor) {
            return Err(LimitsError::Role("`operator` or `auditor`"));
        }
        if wanted.key.is_some() && wanted.id.is_none() {
            return Err(LimitsError::Invalid("a key is of one limit: name its id too".to_owned()));
        }
        self.check_tenant(tenant)?;
        Ok(self.state.counters(tenant, wanted, self.clock.now_ms()).await?)
    }

    /// Gives back what is held of the limit `id` with `key`, in every window and session. Who did
    /// it, why and what was held is on record before anything is given back; what came of it
    /// afterwards.
    ///
    /// # Errors
    /// [`LimitsError`] says what holds.
    pub async fn reset_limit(
        &self,
        peer: &Peer,
        tenant: &str,
        (id, key): (&str, &str),
        why: &str,
    ) -> Result<Reset, LimitsError> {
        if !peer.has(Role::Operator) {
            return Err(LimitsError::Role("`operator`"));
        }
        check_names(id, key, why)?;
        self.check_tenant(tenant)?;
        let wanted =
            Wanted { id: Some(id.to_owned()), key: Some(key.to_owned()), ..Wanted::default() };
        let before = self.state.counters(tenant, &wanted, self.clock.now_ms()).await?;
        if before.counters.is_empty() {
            return Err(LimitsError::NothingHeld { id: id.to_owned(), key: key.to_owned() });
        }
        let told = |outcome: &str, more: Value| {
            let mut body = json!({
                "outcome": outcome, "operator": peer.name, "tenant": tenant,
                "limit": id, "key": key, "before": describe(&before),
            });
            if let (Some(body), Value::Object(more)) = (body.as_object_mut(), more) {
                body.extend(more);
            }
            body
        };
        self.limit_on_record(&told("resetting", json!({})), why, NOT_RESET).await?;
        let emptied = match self.state.reset(tenant, id, key, self.clock.now_ms()).await {
            Ok(emptied) => emptied,
            Err(error) => {
                let unknown = told("unknown", json!({ "error": error.to_string() }));
                self.limit_on_record(&unknown, why, "nobody knows whether the limit is reset")
                    .await?;
                return Err(error.into());
            }
        };
        tracing::warn!(limit = id, emptied, operator = peer.name, "a limit was reset");
        let after = self.state.counters(tenant, &wanted, self.clock.now_ms()).await;
        let after = after.unwrap_or_default();
        let more = json!({ "emptied": emptied, "after": describe(&after) });
        self.limit_on_record(&told("reset", more), why, RESET).await?;
        Ok(Reset { emptied, before, after })
    }

    /// A permitted call of `peer` goes on: what it holds begins its time anew.
    ///
    /// # Errors
    /// [`DecideError::Refused`] says why not.
    pub async fn extend(&self, peer: &Peer, call_id: &str) -> Result<(), DecideError> {
        let refused =
            |id: &str, message: String| DecideError::Refused { id: id.to_owned(), message };
        if !peer.has(Role::Pep) {
            let message = "holding for longer needs the role `pep`".to_owned();
            return Err(refused(reason::ROLE_MISSING, message));
        }
        let now_ms = self.clock.now_ms();
        // As for settlements: a peer's calls may be of any tenant, and call ids are unique.
        for tenant in self.live.all().into_keys() {
            match self.state.extend(&tenant, &peer.name, call_id, now_ms).await {
                Err(StateError::Settle(SettleError::Unknown)) => {}
                Ok(()) => return Ok(()),
                Err(StateError::Unavailable(why)) => return Err(DecideError::Unavailable(why)),
                Err(error) => return Err(refused("extend_refused", error.to_string())),
            }
        }
        Err(refused("extend_refused", SettleError::Unknown.to_string()))
    }

    fn check_tenant(&self, tenant: &str) -> Result<(), LimitsError> {
        match self.live.all().contains_key(tenant) {
            true => Ok(()),
            false => Err(LimitsError::Tenant(tenant.to_owned())),
        }
    }

    async fn limit_on_record(
        &self,
        body: &Value,
        why: &str,
        effect: &'static str,
    ) -> Result<(), LimitsError> {
        let mut entry = Entry::new(Kind::Limit, self.clock.now_ms(), body.to_string());
        entry.sensitive.push(("/reason".to_owned(), json!(why).to_string()));
        let appended = self.audit.append(entry, Durability::Sync).await;
        appended
            .map(|_| ())
            .map_err(|error| LimitsError::Unrecorded { effect, cause: error.to_string() })
    }
}

impl Counted {
    /// Units held. A rate holds what its burst lacks.
    #[must_use]
    pub fn used(&self) -> u64 {
        self.at_once.saturating_sub(self.remaining)
    }

    /// When it is full again, Unix milliseconds; `None` for never.
    #[must_use]
    pub fn reset(&self) -> Option<i64> {
        (self.reset_ms != i64::MAX).then_some(self.reset_ms)
    }
}

/// The word for `kind` in bundles.
pub(crate) fn kind_name(kind: LimitKind) -> &'static str {
    match kind {
        LimitKind::Rate => "rate",
        LimitKind::Budget => "budget",
        LimitKind::Concurrent => "concurrent",
        LimitKind::Once => "once",
    }
}

/// What of a page goes on record: which sessions and windows, and how much of each. Says where it
/// is not all.
fn describe(page: &Page) -> Value {
    let one = |counted: &Counted| {
        json!({
            "session": counted.session, "kind": kind_name(counted.kind), "max": counted.max,
            "used": counted.used(), "remaining": counted.remaining,
            "reset_at": counted.reset().map(rfc3339),
        })
    };
    let counters: Vec<Value> = page.counters.iter().map(one).collect();
    json!({ "counters": counters, "more": page.next.is_some() })
}

fn check_names(id: &str, key: &str, why: &str) -> Result<(), LimitsError> {
    let refuse = |text: String| Err(LimitsError::Invalid(text));
    if id.is_empty() || id.len() > NAME_MAX_BYTES || key.len() > NAME_MAX_BYTES {
        return refuse(format!(
            "a limit's id has 1 to {NAME_MAX_BYTES} bytes, its key at most as many"
        ));
    }
    if why.trim().is_empty() || why.len() > REASON_MAX_BYTES {
        return refuse(format!("a reason has 1 to {REASON_MAX_BYTES} bytes"));
    }
    Ok(())
}
