//! State in Redis or Valkey, shared by any number of decision points.
//!
//! # Layout
//!
//! - this file: the trait, each method one script and so one round trip.
//! - [`connection`]: one server or a cluster, reconnecting, every answer in bounded time.
//! - [`keys`]: names of keys. All keys of a tenant share one hash tag, so that a script finds
//!   them on one node.
//! - [`codec`]: what is stored as JSON, and how a decided call is.
//! - [`commit`]: what a decision writes, told to a script.
//! - [`upkeep`]: changes that no decision makes.
//! - [`lease`]: parts of limits for one decision point.
//! - [`read`]: what a decision reads, out of a script's answer.
//! - [`script`]: a script with what it is given.
//! - [`shared`]: one text for all decision points.
//! - `lua/`: the scripts. `limits.lua` is the arithmetic of `counter.rs`; the test suite of the
//!   trait holds both to the same behaviour.
//!
//! Numbers in scripts are doubles, exact below 2^53: larger amounts are cut to that, which no
//! budget in millionths of a dollar reaches.

mod codec;
mod commit;
pub mod connection;
mod keys;
pub(crate) mod lease;
mod read;
mod script;
mod shared;
mod upkeep;

use std::sync::Arc;

use async_trait::async_trait;
use lictor_proto::decide::{Outcome, Settle};
use lictor_proto::revocation::Kind;
use redis::{FromRedisValue, Script, ScriptInvocation};

use self::codec::Kept;
use self::commit::{Taking, name_of, reservation};
use self::connection::Connection;
use self::keys::Keys;
use self::read::Read;
use self::script::Call;
use super::approval::{Answer, ApprovalError, ApprovalRecord, Binding};
use super::counters::{AMOUNT_MAX, Page, Wanted};
use super::memory::STORED_CALL_MS;
use super::signals::short;
use super::{
    Commit, Committed, SessionKey, SettleError, Shared, Snapshot, State, StateError, Stored,
};
use crate::state::owner::{Owner, Voided};

/// How often an answer to an approval is tried again when others answer at the same time.
const ANSWER_TRIES_MAX: usize = 8;

/// State in Redis or Valkey.
pub struct Redis {
    connection: Connection,
    keys: Keys,
    clock: Clock,
    scripts: Scripts,
}

impl std::fmt::Debug for Redis {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Redis").field("connection", &self.connection).finish_non_exhaustive()
    }
}

/// Whose time counts for limits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Clock {
    /// The store's own: several decision points whose clocks differ still share one window.
    #[default]
    Store,
    /// The caller's, for tests.
    Caller,
}

impl Clock {
    fn argument(self, now_ms: i64) -> i64 {
        match self {
            Self::Store => -1,
            Self::Caller => now_ms.max(0),
        }
    }
}

struct Scripts {
    read: Script,
    commit: Script,
    unwatched: Script,
    settle: Script,
    void: Script,
    extend: Script,
    renew: Script,
    open: Script,
    counters: Script,
    reset: Script,
    answer: Script,
    lease: Script,
    correct: Script,
    shared: Script,
    floor: Script,
}

impl Scripts {
    fn new() -> Self {
        const CLOCK: &str = include_str!("lua/clock.lua");
        const LIMITS: &str = include_str!("lua/limits.lua");
        const CALLS: &str = include_str!("lua/calls.lua");
        let with_limits = |text: &str| Script::new(&format!("{CLOCK}\n{LIMITS}\n{text}"));
        // What comes before the arithmetic can end without making its functions.
        let with_calls = |quick: &str, text: &str| {
            Script::new(&format!("{CLOCK}\n{CALLS}\n{quick}\n{LIMITS}\n{text}"))
        };
        Self {
            read: with_limits(include_str!("lua/read.lua")),
            commit: with_calls("", include_str!("lua/commit.lua")),
            unwatched: with_calls(
                include_str!("lua/unwatched_quick.lua"),
                include_str!("lua/unwatched.lua"),
            ),
            settle: with_calls(
                include_str!("lua/settle_quick.lua"),
                include_str!("lua/settle.lua"),
            ),
            void: with_limits(include_str!("lua/void.lua")),
            extend: with_calls("", include_str!("lua/extend.lua")),
            renew: with_limits(include_str!("lua/renew.lua")),
            counters: with_limits(include_str!("lua/counters.lua")),
            reset: with_limits(include_str!("lua/reset.lua")),
            lease: with_limits(include_str!("lua/lease.lua")),
            correct: with_limits(include_str!("lua/correct.lua")),
            answer: Script::new(include_str!("lua/answer.lua")),
            open: Script::new(include_str!("lua/open.lua")),
            shared: shared::script(),
            floor: Script::new(include_str!("lua/floor.lua")),
        }
    }
}

impl Redis {
    /// State behind `connection`, every key beginning with `prefix`.
    #[must_use]
    pub fn new(connection: Connection, prefix: &str, clock: Clock) -> Self {
        Self { connection, keys: Keys::new(prefix), clock, scripts: Scripts::new() }
    }

    async fn run<T: FromRedisValue>(
        &self,
        invocation: &ScriptInvocation<'_>,
    ) -> Result<T, StateError> {
        self.connection.run(invocation).await
    }

    async fn tenants(&self) -> Result<Vec<String>, StateError> {
        let mut command = redis::cmd("SMEMBERS");
        self.connection.query(command.arg(self.keys.tenants())).await
    }

    async fn approval_of(
        &self,
        tenant: &str,
        id: &str,
    ) -> Result<Option<(ApprovalRecord, String)>, StateError> {
        let mut command = redis::cmd("HMGET");
        command.arg(self.keys.approval(tenant, id));
        command.arg(&["record", "opened", "by", "denied", "used", "rev"]);
        let fields: Vec<Option<String>> = self.connection.query(&command).await?;
        codec::approval(&fields)
    }
}

#[async_trait]
impl State for Redis {
    fn is_far(&self) -> bool {
        true
    }

    async fn read(
        &self,
        session: &SessionKey,
        binding: &Binding,
        now_ms: i64,
    ) -> Result<Snapshot, StateError> {
        let mut call = self.scripts.read.prepare_invoke();
        call.key(self.keys.session(session))
            .key(self.keys.tail(session))
            .key(self.keys.bound(binding))
            .key(self.keys.recent(session))
            .key(self.keys.pending(session))
            .key(self.keys.habit(binding))
            .arg(self.clock.argument(now_ms))
            .arg(self.keys.approval(&session.tenant, ""));
        let read: Read = self.run(&call).await?;
        if read.fields().is_empty() && !session.implicit {
            return Err(StateError::SessionUnknown);
        }
        read.snapshot(binding)
    }

    async fn commit(&self, commit: Commit, now_ms: i64) -> Result<Committed, StateError> {
        let taking = Taking::of(&self.keys, &commit);
        let call = self.commit_call(&commit, &taking, now_ms)?;
        let answer: Vec<Vec<u8>> = self.connection.call(&call).await?;
        let told = |index: usize| {
            answer.get(index).and_then(|text| std::str::from_utf8(text).ok()).unwrap_or_default()
        };
        match told(0) {
            "stored" => Ok(Committed::Stored(Stored {
                request_digest: commit.request_digest.clone(),
                decision_id: commit.decision_id.clone(),
                labels: commit.verdict.labels,
                reservation: reservation(taking.limits(), told(1))?,
                approval: codec::public(told(2))?,
                verdict: Arc::clone(&commit.verdict),
            })),
            "again" => {
                let kept = Kept::read(answer.get(1).map(Vec::as_slice).unwrap_or_default())?;
                kept.stored().map(Committed::Stored)
            }
            "stale" => Ok(Committed::Stale),
            "reused" => Ok(Committed::Reused),
            "abandoned" => Ok(Committed::Abandoned),
            "unknown" => Err(StateError::SessionUnknown),
            other => Err(StateError::Unavailable(format!("`{other}` is no answer of ours"))),
        }
    }

    async fn stored(
        &self,
        tenant: &str,
        peer: &str,
        call_id: &str,
    ) -> Result<Option<Stored>, StateError> {
        let mut command = redis::cmd("GET");
        command.arg(self.keys.call(tenant, call_id));
        let text: Option<Vec<u8>> = self.connection.query(&command).await?;
        let Some(text) = text.filter(|text| !codec::is_given_up(text)) else { return Ok(None) };
        let kept = Kept::read(&text)?;
        if kept.peer == peer { kept.stored().map(Some) } else { Ok(None) }
    }

    async fn settle(
        &self,
        tenant: &str,
        peer: &str,
        settle: &Settle,
        now_ms: i64,
    ) -> Result<(), StateError> {
        let usage = settle.usage;
        let mut call = Call::of(&self.scripts.settle, 2);
        call.arg(self.keys.call(tenant, &settle.call_id))
            .arg(self.keys.emptied(tenant))
            .arg(self.clock.argument(now_ms))
            .arg(codec::measured(peer))
            .arg(settle.outcome.as_str())
            .arg(STORED_CALL_MS)
            .arg(format!(
                "{} {} {} {} {} {} {} {}",
                usage.input_tokens.min(AMOUNT_MAX),
                settle.detail.cached_tokens.min(AMOUNT_MAX),
                usage.max_output_tokens.min(AMOUNT_MAX),
                settle.detail.reasoning_tokens.min(AMOUNT_MAX),
                usage.cost_usd_micros.min(AMOUNT_MAX),
                name_of(short(&settle.call_id)),
                name_of(short(&settle.detail.result_digest)),
                settle.call_id,
            ));
        let answer: String = self.connection.call(&call).await?;
        match answer.as_str() {
            "done" => Ok(()),
            "unknown" if settle.outcome != Outcome::NotSent => {
                Err(StateError::Settle(SettleError::Unknown))
            }
            "twice" => Err(StateError::Settle(SettleError::Twice)),
            "not_yours" => Err(StateError::Settle(SettleError::NotYours)),
            other => Err(StateError::Unavailable(format!("`{other}` is no answer of ours"))),
        }
    }

    async fn extend(
        &self,
        tenant: &str,
        peer: &str,
        call_id: &str,
        now_ms: i64,
    ) -> Result<(), StateError> {
        self.extend_call(tenant, peer, call_id, now_ms).await
    }

    async fn counters(
        &self,
        tenant: &str,
        wanted: &Wanted,
        now_ms: i64,
    ) -> Result<Page, StateError> {
        self.page(tenant, wanted, now_ms).await
    }

    async fn reset(
        &self,
        tenant: &str,
        id: &str,
        key: &str,
        now_ms: i64,
    ) -> Result<u64, StateError> {
        self.empty(tenant, id, key, now_ms).await
    }

    async fn renew_session(
        &self,
        key: &SessionKey,
        expires_ms: i64,
        now_ms: i64,
    ) -> Result<(), StateError> {
        self.renew(key, expires_ms, now_ms).await
    }

    async fn open_session(
        &self,
        key: &SessionKey,
        implicit: &SessionKey,
        owner: &Owner,
        expires_ms: i64,
    ) -> Result<(), StateError> {
        self.open(key, implicit, owner, expires_ms).await
    }

    async fn void(
        &self,
        tenant: &str,
        kind: Kind,
        id: &str,
        now_ms: i64,
    ) -> Result<Voided, StateError> {
        let session =
            |id: &str| SessionKey { tenant: tenant.to_owned(), id: id.to_owned(), implicit: false };
        let mut call = self.scripts.void.prepare_invoke();
        call.key(self.keys.owned(tenant, kind, id))
            .key(self.keys.approvals(tenant))
            .arg(self.clock.argument(now_ms))
            .arg(kind.as_str())
            .arg(id)
            .arg(self.keys.session(&session("")))
            .arg(self.keys.tail(&session("")))
            .arg(self.keys.recent(&session("")))
            .arg(self.keys.pending(&session("")))
            .arg(self.keys.approval(tenant, ""))
            .arg(codec::VOIDED);
        let (sessions, approvals) = self.run(&call).await?;
        Ok(Voided { sessions, approvals })
    }

    async fn approvals(&self, _now_ms: i64) -> Result<Vec<ApprovalRecord>, StateError> {
        let mut all = Vec::new();
        for tenant in self.tenants().await? {
            let mut command = redis::cmd("ZREVRANGE");
            command.arg(self.keys.approvals(&tenant)).arg(0).arg(-1);
            let ids: Vec<String> = self.connection.query(&command).await?;
            for id in ids {
                match self.approval_of(&tenant, &id).await? {
                    Some((record, _)) => all.push(record),
                    None => self.forget_approval(&tenant, &id).await?,
                }
            }
        }
        all.sort_by(|a, b| (b.opened_ms, &b.opened.id).cmp(&(a.opened_ms, &a.opened.id)));
        Ok(all)
    }

    async fn approval(&self, id: &str) -> Result<Option<ApprovalRecord>, StateError> {
        for tenant in self.tenants().await? {
            if let Some((record, _)) = self.approval_of(&tenant, id).await? {
                return Ok(Some(record));
            }
        }
        Ok(None)
    }

    async fn resolve(
        &self,
        id: &str,
        answer: Answer,
        now_ms: i64,
    ) -> Result<ApprovalRecord, StateError> {
        for tenant in self.tenants().await? {
            for _ in 0..ANSWER_TRIES_MAX {
                let Some((mut record, revision)) = self.approval_of(&tenant, id).await? else {
                    break;
                };
                record.answer(&answer, now_ms)?;
                if self.write_answer(&tenant, &record, &revision).await? {
                    return Ok(record);
                }
            }
        }
        Err(ApprovalError::Unknown(id.to_owned()).into())
    }

    async fn know_tenant(&self, tenant: &str) -> Result<bool, StateError> {
        let mut command = redis::cmd("SADD");
        command.arg(self.keys.tenants()).arg(tenant);
        self.connection.query::<i64>(&command).await.map(|added| added > 0)
    }

    async fn shared_text(&self, known: &str) -> Result<Option<Shared>, StateError> {
        Redis::shared_text(self, known).await.map(Some)
    }

    async fn put_shared_text(
        &self,
        expected: &str,
        text: &str,
    ) -> Result<Option<String>, StateError> {
        Redis::put_shared_text(self, expected, text).await
    }

    async fn raise_floor(&self, tenant: &str, version: u64) -> Result<Option<u64>, StateError> {
        let mut call = self.scripts.floor.prepare_invoke();
        call.key(self.keys.floor(tenant)).arg(version);
        self.run(&call).await.map(Some)
    }
}

// === parts ===

impl Redis {
    async fn write_answer(
        &self,
        tenant: &str,
        record: &ApprovalRecord,
        revision: &str,
    ) -> Result<bool, StateError> {
        let by = codec::names(&record.approved_by)?;
        let mut call = self.scripts.answer.prepare_invoke();
        call.key(self.keys.approval(tenant, &record.opened.id))
            .arg(revision)
            .arg(by)
            .arg(record.denied_by.as_deref().unwrap_or_default())
            .arg(i64::from(record.met()));
        let written: i64 = self.run(&call).await?;
        Ok(written == 1)
    }

    async fn forget_approval(&self, tenant: &str, id: &str) -> Result<(), StateError> {
        let mut command = redis::cmd("ZREM");
        command.arg(self.keys.approvals(tenant)).arg(id);
        self.connection.query::<i64>(&command).await.map(|_| ())
    }
}
