//! What a decision reads, out of a script's answer.

use std::collections::{BTreeMap, VecDeque};

use lictor_proto::decision::{Confidentiality, Integrity, Labels};
use lictor_proto::facts::{SessionFacts, SessionKind};
use redis::{FromRedisValue, ParsingError, Value};

use super::codec;
use crate::state::approval::Binding;
use crate::state::signals::{Habit, Recent, fingerprint, signals};
use crate::state::{Snapshot, StateError};

/// The answer of `read.lua`, in its order.
pub(super) struct Read {
    now_ms: i64,
    fields: BTreeMap<String, String>,
    tail: Vec<String>,
    asks: Vec<String>,
    recent: Vec<String>,
    pending: Vec<String>,
    habit: Vec<String>,
}

impl FromRedisValue for Read {
    fn from_redis_value(value: Value) -> Result<Self, ParsingError> {
        let (now_ms, fields, tail, asks, recent, pending, habit) =
            FromRedisValue::from_redis_value(value)?;
        Ok(Self { now_ms, fields, tail, asks, recent, pending, habit })
    }
}

impl Read {
    pub(super) fn fields(&self) -> &BTreeMap<String, String> {
        &self.fields
    }

    /// The session's facts; an implicit one that is not there yet is as it begins.
    pub(super) fn snapshot(self, binding: &Binding) -> Result<Snapshot, StateError> {
        let recent: VecDeque<Recent> = self.recent.iter().filter_map(|text| recent(text)).collect();
        let habit = habit(&self.habit).filter(|habit| !habit.is_over(self.now_ms));
        let signals = signals(&recent, habit.as_ref(), fingerprint(binding), self.now_ms);
        let version = self.number("v").unwrap_or(0);
        let mut facts = self.facts();
        facts.approvals = codec::asks(&self.asks)?;
        Ok(Snapshot { facts, signals, version })
    }

    fn number(&self, name: &str) -> Option<u64> {
        self.fields.get(name).and_then(|text| text.parse().ok())
    }

    fn of(&self, start: &'static str) -> impl Iterator<Item = (&str, &String)> {
        let fields = self.fields.iter();
        fields.filter_map(move |(name, value)| Some((name.strip_prefix(start)?, value)))
    }

    fn facts(&self) -> SessionFacts {
        if self.fields.is_empty() {
            let labels = Labels::default();
            return SessionFacts { kind: SessionKind::Implicit, labels, ..SessionFacts::default() };
        }
        let opened = self.fields.get("k").is_some_and(|kind| kind == "o");
        let mut marks: Vec<(u64, &str)> =
            self.of("m:").map(|(name, at)| (at.parse().unwrap_or_default(), name)).collect();
        marks.sort_unstable();
        let calls = self.of("n:").filter_map(|(name, n)| Some((name.to_owned(), n.parse().ok()?)));
        let pending = self.pending.iter().filter_map(|member| member.split_once('\n'));
        SessionFacts {
            calls: calls.collect(),
            tail: self.tail.clone(),
            pending: pending.map(|(_, resource)| resource.to_owned()).collect(),
            labels: self.labels(),
            spend_usd_micros: self.number("d").unwrap_or(0),
            kind: if opened { SessionKind::Opened } else { SessionKind::Implicit },
            marks: marks.into_iter().map(|(_, name)| name.to_owned()).collect(),
            ..SessionFacts::default()
        }
    }

    /// What cannot be read is taken for the worst.
    fn labels(&self) -> Labels {
        Labels {
            integrity: match self.number("i") {
                Some(0) => Integrity::Trusted,
                _ => Integrity::Untrusted,
            },
            confidentiality: match self.number("c") {
                Some(0) => Confidentiality::Public,
                Some(1) => Confidentiality::Internal,
                _ => Confidentiality::Secret,
            },
        }
    }
}

fn recent(text: &str) -> Option<Recent> {
    let mut parts = text.split(' ');
    let mut name = || u64::from_str_radix(parts.next()?, 16).ok();
    let (id, call) = (name()?, name()?);
    let at_ms = parts.next()?.parse().ok()?;
    let result = u64::from_str_radix(parts.next()?, 16).ok()?;
    Some(Recent { id, call, at_ms, result })
}

fn habit(fields: &[String]) -> Option<Habit> {
    let field = |index: usize| fields.get(index);
    Some(Habit {
        since_ms: field(0)?.parse().ok()?,
        last_ms: field(1)?.parse().ok()?,
        calls: field(2)?.parse().ok()?,
        present: field(3)?.parse().ok()?,
        usual: field(4)?.parse().ok()?,
    })
}
