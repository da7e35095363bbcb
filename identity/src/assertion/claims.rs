//! What tokens for servers say, checked: nothing is signed that nobody here would read back.

use serde_json::{Map, Value, json};

use super::{ASSERTION_MAX_TTL_S, AssertionError};
use crate::jwt::{DELEGATION_MAX_ACTORS, id_fault};

/// What is asserted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Assertion<'a> {
    /// On whose authority.
    pub sub: &'a str,
    /// The actors, the agent first, then the delegation as in a call. May be empty.
    pub act: &'a [&'a str],
    /// The one server that it is for.
    pub aud: &'a str,
    /// The decision that permits the call.
    pub decision_id: &'a str,
    /// The tool or model that is called.
    pub tool: &'a str,
    /// `sha256:…` of the arguments.
    pub args_digest: &'a str,
    /// How long it holds, seconds, 1 to [`ASSERTION_MAX_TTL_S`].
    pub ttl_s: u32,
}

/// What a call belongs to, for whoever is told of it further on in the same trust domain.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TransactionToken<'a> {
    /// Names the transaction; the same in all that belongs to it.
    pub txn: &'a str,
    /// On whose authority.
    pub sub: &'a str,
    /// The trust domain in which it holds (`aud`).
    pub trust_domain: &'a str,
    /// What the transaction may do: the action that was decided.
    pub scope: &'a str,
    /// The workload that asks: the agent (`req_wl`).
    pub req_wl: &'a str,
    /// The decision that permits the call.
    pub decision_id: &'a str,
    /// The tool or model that is called.
    pub tool: &'a str,
    /// `sha256:…` of the arguments.
    pub args_digest: &'a str,
    /// How long it holds, seconds, 1 to [`ASSERTION_MAX_TTL_S`].
    pub ttl_s: u32,
}

impl Assertion<'_> {
    pub(super) fn payload(
        &self,
        issuer: &str,
        now_ms: i64,
        jti: &str,
    ) -> Result<Value, AssertionError> {
        let (issued_s, expires_s) = times(now_ms, self.ttl_s)?;
        let mut payload = texts(&[
            ("iss", issuer),
            ("sub", self.sub),
            ("aud", self.aud),
            ("decision_id", self.decision_id),
            ("tool", self.tool),
            ("args_digest", self.args_digest),
            ("jti", jti),
        ])?;
        payload.extend([
            ("iat".to_owned(), issued_s.into()),
            ("nbf".to_owned(), issued_s.into()),
            ("exp".to_owned(), expires_s.into()),
        ]);
        if let Some(act) = actors(self.act)? {
            payload.insert("act".to_owned(), act);
        }
        Ok(Value::Object(payload))
    }
}

impl TransactionToken<'_> {
    pub(super) fn payload(&self, issuer: &str, now_ms: i64) -> Result<Value, AssertionError> {
        let (issued_s, expires_s) = times(now_ms, self.ttl_s)?;
        let mut payload = texts(&[
            ("iss", issuer),
            ("txn", self.txn),
            ("sub", self.sub),
            ("aud", self.trust_domain),
            ("scope", self.scope),
            ("req_wl", self.req_wl),
        ])?;
        let context = texts(&[
            ("tool", self.tool),
            ("args_digest", self.args_digest),
            ("decision_id", self.decision_id),
        ])?;
        payload.extend([
            ("iat".to_owned(), issued_s.into()),
            ("exp".to_owned(), expires_s.into()),
            ("tctx".to_owned(), Value::Object(context)),
        ]);
        Ok(Value::Object(payload))
    }
}

/// When a token is issued and when it ends, unix seconds.
fn times(now_ms: i64, ttl_s: u32) -> Result<(u64, u64), AssertionError> {
    if !(1..=ASSERTION_MAX_TTL_S).contains(&ttl_s) {
        return Err(AssertionError::Ttl { ttl_s });
    }
    let now_s = u64::try_from(now_ms.div_euclid(1_000)).map_err(|_| AssertionError::Clock)?;
    Ok((now_s, now_s.saturating_add(u64::from(ttl_s))))
}

fn texts(members: &[(&'static str, &str)]) -> Result<Map<String, Value>, AssertionError> {
    let checked = members.iter().map(|(name, text)| {
        check(name, text)?;
        Ok(((*name).to_owned(), Value::from(*text)))
    });
    checked.collect()
}

/// `{"sub": agent, "act": {"sub": …}}`, the agent outermost (RFC 8693).
fn actors(chain: &[&str]) -> Result<Option<Value>, AssertionError> {
    if chain.len() > DELEGATION_MAX_ACTORS {
        return Err(AssertionError::TooManyActors);
    }
    let mut inner: Option<Value> = None;
    for actor in chain.iter().rev() {
        check("act.sub", actor)?;
        inner = Some(match inner {
            Some(act) => json!({"sub": actor, "act": act}),
            None => json!({"sub": actor}),
        });
    }
    Ok(inner)
}

pub(super) fn check(name: &'static str, text: &str) -> Result<(), AssertionError> {
    match id_fault(text) {
        Some(why) => Err(AssertionError::Text { name, why }),
        None => Ok(()),
    }
}
