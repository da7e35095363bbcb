//! Changes that no decision makes: calls that take longer, sessions that go on, limits that an
//! operator looks at and empties.

use lictor_policy_lib::limits::{LimitKind, Unit};
use lictor_proto::decision::Integrity;
use serde::de::IgnoredAny as Any;

use super::commit::rank;
use super::{Redis, codec};
use crate::state::counter::CONCURRENT_LEASE_MS;
use crate::state::counters::{AMOUNT_MAX, Counted, PAGE_COUNTERS_MAX, Page, Wanted, beginning};
use crate::state::memory::STORED_CALL_MS;
use crate::state::owner::Owner;
use crate::state::{SessionKey, SettleError, StateError};

/// Most counters that one script looks at.
const LOOKED_AT_MAX: usize = 1_000;
/// For so long a call that is under way gives nothing back to a limit that was emptied.
const EMPTIED_KNOWN_MS: i64 = 24 * 3_600_000;
/// After every name that begins alike: no byte of UTF-8.
const LAST_BYTE: u8 = 0xff;

/// Members of a counter's name, in their order: limit, key, session, what scripts read, what is
/// counted, the largest amount, a rate's burst, more for scripts, and what sort it is.
type Name = (String, String, String, Any, Any, Any, Unit, u64, u64, Any, LimitKind);

impl Redis {
    pub(super) async fn extend_call(
        &self,
        tenant: &str,
        peer: &str,
        call_id: &str,
        now_ms: i64,
    ) -> Result<(), StateError> {
        let mut call = self.scripts.extend.prepare_invoke();
        call.key(self.keys.call(tenant, call_id))
            .key(self.keys.emptied(tenant))
            .arg(self.clock.argument(now_ms))
            .arg(codec::measured(peer))
            .arg(STORED_CALL_MS)
            .arg(CONCURRENT_LEASE_MS)
            .arg(call_id);
        let answer: String = self.run(&call).await?;
        match answer.as_str() {
            "done" => Ok(()),
            "unknown" => Err(StateError::Settle(SettleError::Unknown)),
            "twice" => Err(StateError::Settle(SettleError::Twice)),
            "not_yours" => Err(StateError::Settle(SettleError::NotYours)),
            other => Err(StateError::Unavailable(format!("`{other}` is no answer of ours"))),
        }
    }

    pub(super) async fn open(
        &self,
        key: &SessionKey,
        implicit: &SessionKey,
        owner: &Owner,
        expires_ms: i64,
    ) -> Result<(), StateError> {
        let owned: Vec<String> =
            owner.names().map(|(kind, id)| self.keys.owned(&key.tenant, kind, id)).collect();
        let mut call = self.scripts.open.prepare_invoke();
        call.key(self.keys.session(key)).key(self.keys.session(implicit));
        for owned in &owned {
            call.key(owned);
        }
        call.arg(&key.id).arg(expires_ms).arg(rank(Integrity::Trusted)).arg(owned.join("\n"));
        self.run::<i64>(&call).await.map(|_| ())
    }

    pub(super) async fn renew(
        &self,
        key: &SessionKey,
        expires_ms: i64,
        now_ms: i64,
    ) -> Result<(), StateError> {
        let mut call = self.scripts.renew.prepare_invoke();
        call.key(self.keys.session(key))
            .key(self.keys.tail(key))
            .key(self.keys.recent(key))
            .key(self.keys.pending(key))
            .arg(self.clock.argument(now_ms))
            .arg(expires_ms);
        let renewed: i64 = self.run(&call).await?;
        if renewed == 1 { Ok(()) } else { Err(StateError::SessionUnknown) }
    }

    pub(super) async fn page(
        &self,
        tenant: &str,
        wanted: &Wanted,
        now_ms: i64,
    ) -> Result<Page, StateError> {
        let begins = beginning(wanted.id.as_deref(), wanted.key.as_deref());
        let (mut from, to) = range(&begins);
        if let Some(after) = &wanted.after {
            from = [b"(", after.as_bytes()].concat();
        }
        let mut call = self.scripts.counters.prepare_invoke();
        call.key(self.keys.counters(tenant))
            .arg(self.clock.argument(now_ms))
            .arg(from)
            .arg(to)
            .arg(i64::from(wanted.key.is_some()))
            .arg(wanted.key.as_deref().unwrap_or_default())
            .arg(PAGE_COUNTERS_MAX)
            .arg(LOOKED_AT_MAX)
            .arg(self.keys.session(&sessions(tenant)));
        let told: Vec<String> = self.run(&call).await?;
        let mut told = told.into_iter();
        let next = told.next().filter(|last| !last.is_empty());
        let mut page = Page { counters: Vec::new(), next };
        while let (Some(name), Some(remaining), Some(reset)) =
            (told.next(), told.next(), told.next())
        {
            page.counters.push(counted(&name, &remaining, &reset)?);
        }
        Ok(page)
    }

    pub(super) async fn empty(
        &self,
        tenant: &str,
        id: &str,
        key: &str,
        now_ms: i64,
    ) -> Result<u64, StateError> {
        let (from, to) = range(&beginning(Some(id), Some(key)));
        let mut emptied = 0;
        loop {
            let mut call = self.scripts.reset.prepare_invoke();
            call.key(self.keys.counters(tenant))
                .key(self.keys.emptied(tenant))
                .arg(self.clock.argument(now_ms))
                .arg(&from)
                .arg(&to)
                .arg(LOOKED_AT_MAX)
                .arg(self.keys.session(&sessions(tenant)))
                .arg(EMPTIED_KNOWN_MS);
            let (more, looked_at): (u64, usize) = self.run(&call).await?;
            emptied += more;
            if looked_at < LOOKED_AT_MAX {
                return Ok(emptied);
            }
        }
    }
}

/// Whose keys begin like those of every session.
fn sessions(tenant: &str) -> SessionKey {
    SessionKey { tenant: tenant.to_owned(), id: String::new(), implicit: false }
}

/// From the first name that begins so to the last.
fn range(begins: &str) -> (Vec<u8>, Vec<u8>) {
    let from = [b"[", begins.as_bytes()].concat();
    (from, [b"(", begins.as_bytes(), &[LAST_BYTE]].concat())
}

fn counted(name: &str, remaining: &str, reset: &str) -> Result<Counted, StateError> {
    let unreadable = || StateError::Unavailable(format!("`{name}` is no counter of ours"));
    let (id, key, session, _, _, _, unit, max, burst, _, kind): Name =
        serde_json::from_str(name).map_err(|_| unreadable())?;
    let reset_ms: i64 = reset.parse().map_err(|_| unreadable())?;
    let never = reset_ms >= AMOUNT_MAX.cast_signed();
    Ok(Counted {
        id,
        key,
        session,
        kind,
        unit,
        max,
        at_once: if kind == LimitKind::Rate { burst } else { max },
        remaining: remaining.parse().map_err(|_| unreadable())?,
        reset_ms: if never { i64::MAX } else { reset_ms },
    })
}
