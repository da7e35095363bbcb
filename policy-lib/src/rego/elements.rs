//! What one element of a decision rule may look like. Anything else is an error,
//! which denies the call.

use std::collections::BTreeMap;

use lictor_proto::decision::{Obligation, ObligationKind, Reason};
use lictor_proto::json::Open;
use regorus::Value;

use super::generate::Site;
use super::names::{Decision, is_id};
use super::output::{Meter, OutputError, unsigned};
use crate::diagnostic::suggest;
use crate::engine::{Ask, Denial, Duty, LimitWant};

/// Longest wait for an approval, in seconds.
pub(crate) const MAX_EXPIRES_S: u64 = 366 * 86_400;
/// Longest label, in bytes.
pub(crate) const MAX_LABEL_BYTES: usize = 256;
/// Longest id, in bytes.
pub(crate) const MAX_ID_BYTES: usize = 256;

const DENY: &[&str] = &["id", "message", "detail", "shadow", "until"];
const ASK: &[&str] =
    &["id", "message", "detail", "approvers", "count", "expires", "shadow", "until"];
const OBLIGATION: &[&str] = &["id", "type", "properties", "shadow", "until"];
const LIMIT: &[&str] = &["id", "kind", "key", "max", "per", "unit", "shadow", "until"];

/// The members of a decision's elements, if these are objects.
pub(crate) fn members_of(decision: Decision) -> Option<&'static [&'static str]> {
    match decision {
        Decision::Deny => Some(DENY),
        Decision::Ask => Some(ASK),
        Decision::Obligations => Some(OBLIGATION),
        Decision::Limits => Some(LIMIT),
        Decision::Allow | Decision::Labels | Decision::List => None,
    }
}

/// Why an element is not understood.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub(crate) enum ElementError {
    #[error("the element is {0}, but {1} was expected")]
    Type(&'static str, &'static str),
    #[error("member `{0}` is {1}, but {2} was expected")]
    Member(String, &'static str, &'static str),
    #[error("member `{0}` is missing")]
    Missing(&'static str),
    #[error("member `{0}` means nothing here{1}")]
    Unknown(String, String),
    #[error("`{0}` is not an id: use `[a-z0-9_.]+`")]
    Id(String),
    #[error("`{value}` is not a value of `{member}`{help}")]
    Value { member: &'static str, value: String, help: String },
    #[error("`shadow` needs `until`, the day after which the rule is enforced")]
    ShadowWithoutEnd,
    #[error("`until` without `\"shadow\": true` means nothing")]
    EndWithoutShadow,
    #[error("{0}")]
    Output(#[from] OutputError),
}

/// An element, and whether it only watches.
pub(crate) struct Said<T> {
    pub(crate) what: T,
    pub(crate) id: String,
    pub(crate) shadow: bool,
}

/// Reads elements of one evaluation.
pub(crate) struct Reader<'a> {
    pub(crate) meter: &'a mut Meter,
    pub(crate) now_ms: i64,
}

struct Members<'a> {
    by_name: BTreeMap<&'a str, &'a Value>,
}

impl Reader<'_> {
    pub(crate) fn deny(
        &mut self,
        value: &Value,
        site: &Site,
    ) -> Result<Said<Denial>, ElementError> {
        let (reason, shadow) = match value {
            Value::String(message) => {
                self.meter.spend(message.len())?;
                let reason = Reason {
                    id: site.id.clone(),
                    message: message.to_string(),
                    detail: String::new(),
                    policy: site.policy.clone(),
                };
                (reason, false)
            }
            _ => {
                let members = self.members(value, DENY)?;
                (self.reason(&members, site)?, self.shadow(&members)?)
            }
        };
        Ok(Said { id: reason.id.clone(), what: Denial { reason }, shadow })
    }

    pub(crate) fn ask(&mut self, value: &Value, site: &Site) -> Result<Said<Ask>, ElementError> {
        let members = self.members(value, ASK)?;
        let reason = self.reason(&members, site)?;
        let approvers = match members.get("approvers") {
            None => Vec::new(),
            Some(value) => self.texts("approvers", value)?,
        };
        let ask = Ask {
            approvers,
            count: match members.get("count") {
                None => 1,
                Some(value) => count(value)?,
            },
            expires_s: match members.get("expires") {
                None => 0,
                Some(value) => expires(value)?,
            },
            reason,
        };
        Ok(Said { id: ask.reason.id.clone(), what: ask, shadow: self.shadow(&members)? })
    }

    pub(crate) fn obligation(
        &mut self,
        value: &Value,
        site: &Site,
    ) -> Result<Said<Duty>, ElementError> {
        let members = self.members(value, OBLIGATION)?;
        let id = self.id(&members)?;
        let kind = self.text(&members, "type")?.ok_or(ElementError::Missing("type"))?;
        let kind = obligation_kind(&kind)?;
        let properties = match members.get("properties") {
            None => Open::default(),
            Some(value @ Value::Object(_)) => {
                let text = self.meter.json(value)?;
                Open::parse(text.as_bytes()).map_err(|error| ElementError::Value {
                    member: "properties",
                    value: text.chars().take(80).collect(),
                    help: format!(": {error}"),
                })?
            }
            Some(other) => return Err(wrong("properties", other, "an object")),
        };
        let duty = Duty {
            obligation: Obligation { id: id.clone(), kind, properties },
            only_on_allow: false,
            policy: site.policy.clone(),
        };
        Ok(Said { id, what: duty, shadow: self.shadow(&members)? })
    }

    pub(crate) fn limit(
        &mut self,
        value: &Value,
        site: &Site,
    ) -> Result<Said<LimitWant>, ElementError> {
        let members = self.members(value, LIMIT)?;
        let id = self.id(&members)?;
        let key = members.get("key").ok_or(ElementError::Missing("key"))?;
        let want = LimitWant {
            id: id.clone(),
            key: self.meter.json(key)?,
            kind: self.word(&members, "kind", &["rate", "budget", "concurrent", "once"])?,
            max: match members.get("max") {
                None => None,
                Some(value) => {
                    Some(unsigned(value).ok_or_else(|| wrong("max", value, "a whole number"))?)
                }
            },
            per: self.text(&members, "per")?,
            unit: self.word(&members, "unit", &["calls", "tokens", "usd_micros", "bytes"])?,
            policy: site.policy.clone(),
        };
        Ok(Said { id, what: want, shadow: self.shadow(&members)? })
    }

    pub(crate) fn label(&mut self, value: &Value) -> Result<String, ElementError> {
        let Value::String(label) = value else {
            return Err(ElementError::Type(type_of(value), "a string"));
        };
        if label.is_empty() || label.len() > MAX_LABEL_BYTES {
            let value = label.chars().take(80).collect();
            return Err(ElementError::Value { member: "labels", value, help: String::new() });
        }
        self.meter.spend(label.len())?;
        Ok(label.to_string())
    }

    /// `true`, or the id of `allow contains "id"`.
    pub(crate) fn permit(&mut self, value: &Value) -> Result<String, ElementError> {
        match value {
            Value::Bool(true) => Ok(String::new()),
            Value::String(id) => self.checked_id(id),
            other => Err(ElementError::Type(type_of(other), "an id")),
        }
    }

    fn members<'v>(
        &mut self,
        value: &'v Value,
        known: &[&'static str],
    ) -> Result<Members<'v>, ElementError> {
        let Value::Object(object) = value else {
            return Err(ElementError::Type(type_of(value), "an object"));
        };
        let mut by_name = BTreeMap::new();
        for (key, value) in object.iter() {
            let Value::String(name) = key else { return Err(OutputError::Key.into()) };
            if !known.contains(&&**name) {
                let help = suggest(name, known.iter().copied());
                let help = help.map_or(String::new(), |meant| format!("; did you mean `{meant}`?"));
                return Err(ElementError::Unknown(shown(name), help));
            }
            by_name.insert(&**name, value);
        }
        Ok(Members { by_name })
    }

    fn reason(&mut self, members: &Members<'_>, site: &Site) -> Result<Reason, ElementError> {
        Ok(Reason {
            id: self.id(members)?,
            message: self.text(members, "message")?.unwrap_or_default(),
            detail: self.text(members, "detail")?.unwrap_or_default(),
            policy: site.policy.clone(),
        })
    }

    fn id(&mut self, members: &Members<'_>) -> Result<String, ElementError> {
        let id = self.text(members, "id")?.ok_or(ElementError::Missing("id"))?;
        self.checked_id(&id)
    }

    fn checked_id(&mut self, id: &str) -> Result<String, ElementError> {
        self.meter.spend(id.len())?;
        if is_id(id) && id.len() <= MAX_ID_BYTES {
            Ok(id.to_owned())
        } else {
            Err(ElementError::Id(shown(id)))
        }
    }

    fn text(
        &mut self,
        members: &Members<'_>,
        name: &'static str,
    ) -> Result<Option<String>, ElementError> {
        match members.get(name) {
            None => Ok(None),
            Some(Value::String(text)) => {
                self.meter.spend(text.len())?;
                Ok(Some(text.to_string()))
            }
            Some(other) => Err(wrong(name, other, "a string")),
        }
    }

    /// One of a closed set of words.
    fn word(
        &mut self,
        members: &Members<'_>,
        name: &'static str,
        words: &[&'static str],
    ) -> Result<Option<String>, ElementError> {
        match self.text(members, name)? {
            Some(word) if !words.contains(&word.as_str()) => {
                let help = format!(": use one of {}", words.join(", "));
                Err(ElementError::Value { member: name, value: shown(&word), help })
            }
            word => Ok(word),
        }
    }

    fn texts(&mut self, name: &'static str, value: &Value) -> Result<Vec<String>, ElementError> {
        let items: Vec<&Value> = match value {
            Value::Array(items) => items.iter().collect(),
            Value::Set(items) => items.iter_sorted().collect(),
            other => return Err(wrong(name, other, "a list of strings")),
        };
        items
            .into_iter()
            .map(|item| match item {
                Value::String(text) if !text.is_empty() => {
                    self.meter.spend(text.len())?;
                    Ok(text.to_string())
                }
                other => Err(wrong(name, other, "a list of strings")),
            })
            .collect()
    }

    /// Whether the element only watches: until its day comes.
    fn shadow(&mut self, members: &Members<'_>) -> Result<bool, ElementError> {
        let shadow = match members.get("shadow") {
            None => false,
            Some(Value::Bool(shadow)) => *shadow,
            Some(other) => return Err(wrong("shadow", other, "a boolean")),
        };
        match (shadow, self.text(members, "until")?) {
            (false, None) => Ok(false),
            (false, Some(_)) => Err(ElementError::EndWithoutShadow),
            (true, None) => Err(ElementError::ShadowWithoutEnd),
            (true, Some(until)) => Ok(self.now_ms < until_ms(&until)?),
        }
    }
}

impl<'a> Members<'a> {
    fn get(&self, name: &str) -> Option<&'a Value> {
        self.by_name.get(name).copied()
    }
}

fn wrong(member: &str, value: &Value, expected: &'static str) -> ElementError {
    ElementError::Member(member.to_owned(), type_of(value), expected)
}

fn shown(text: &str) -> String {
    text.chars().take(80).collect()
}

/// What a value is, for messages.
pub(super) fn type_of(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "a string",
        Value::Array(_) => "an array",
        Value::Set(_) => "a set",
        Value::Object(_) => "an object",
        Value::Undefined => "undefined",
    }
}

/// The obligation called `name`.
pub(crate) fn obligation_kind(name: &str) -> Result<ObligationKind, ElementError> {
    const KINDS: [ObligationKind; 10] = [
        ObligationKind::Mask,
        ObligationKind::Route,
        ObligationKind::CapTokens,
        ObligationKind::SetHeader,
        ObligationKind::StripTools,
        ObligationKind::Spotlight,
        ObligationKind::StepUp,
        ObligationKind::Notify,
        ObligationKind::Label,
        ObligationKind::LogFull,
    ];
    KINDS.into_iter().find(|kind| kind.as_str() == name).ok_or_else(|| ElementError::Value {
        member: "type",
        value: shown(name),
        help: format!(": use one of {}", KINDS.map(ObligationKind::as_str).join(", ")),
    })
}

fn count(value: &Value) -> Result<u32, ElementError> {
    unsigned(value)
        .and_then(|count| u32::try_from(count).ok())
        .filter(|count| *count > 0)
        .ok_or_else(|| wrong("count", value, "a whole number of at least 1"))
}

/// Seconds, or a text such as `90s`, `15m`, `1h`, `2d`.
fn expires(value: &Value) -> Result<u64, ElementError> {
    let seconds = match value {
        Value::String(text) => duration_s(text),
        other => unsigned(other),
    };
    seconds.filter(|seconds| (1..=MAX_EXPIRES_S).contains(seconds)).ok_or_else(|| {
        wrong("expires", value, "seconds or a text such as `15m`, `1h`, `2d`, up to a year")
    })
}

fn duration_s(text: &str) -> Option<u64> {
    let factor = match text.chars().next_back()? {
        's' => 1,
        'm' => 60,
        'h' => 3600,
        'd' => 86_400,
        _ => return None,
    };
    let digits = text.get(..text.len() - 1)?;
    let plain = !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit());
    plain.then(|| digits.parse::<u64>().ok()?.checked_mul(factor)).flatten()
}

/// The moment a day begins (UTC), or a moment itself.
pub(crate) fn until_ms(text: &str) -> Result<i64, ElementError> {
    let day = text.parse::<jiff::civil::Date>().ok().filter(|_| text.len() == "2026-01-01".len());
    let moment = match day {
        Some(day) => day.to_zoned(jiff::tz::TimeZone::UTC).ok().map(|zoned| zoned.timestamp()),
        None => text.parse::<jiff::Timestamp>().ok(),
    };
    moment.map(jiff::Timestamp::as_millisecond).ok_or_else(|| ElementError::Value {
        member: "until",
        value: shown(text),
        help: ": use a day such as `2026-12-31`".to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_have_one_unit() {
        for (text, seconds) in
            [("90s", Some(90)), ("15m", Some(900)), ("1h", Some(3600)), ("2d", Some(172_800))]
        {
            assert_eq!(duration_s(text), seconds);
        }
        for text in ["", "h", "1", "1w", "-1h", "1.5h", "+1h", "99999999999999999999h"] {
            assert_eq!(duration_s(text), None, "{text}");
        }
        assert!(expires(&Value::from(MAX_EXPIRES_S)).is_ok());
        assert!(expires(&Value::from(MAX_EXPIRES_S + 1)).is_err());
        assert!(expires(&Value::from(0u64)).is_err());
    }

    #[test]
    fn a_day_begins_at_midnight_in_utc() {
        assert_eq!(until_ms("1970-01-02"), Ok(86_400_000));
        assert_eq!(until_ms("1970-01-02T01:00:00+01:00"), Ok(86_400_000));
        assert!(until_ms("tomorrow").is_err());
        assert!(until_ms("2026-13-01").is_err());
    }

    #[test]
    fn every_obligation_has_its_name() {
        assert_eq!(obligation_kind("cap_tokens"), Ok(ObligationKind::CapTokens));
        assert!(obligation_kind("capTokens").is_err());
    }
}
