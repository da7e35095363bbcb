//! What must come out of a case. An absent member is not looked at.

use lictor_proto::decision::{Confidentiality, Effect, Integrity, ObligationKind};
use serde::de::{DeserializeOwned, Error as _};
use serde::{Deserialize, Deserializer};
use serde_json::Value;

use super::problem::Complaint;

/// What must come out of a case. An absent member is not looked at.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Expect {
    /// The effect.
    pub effect: Effect,
    /// Ids of reasons: of a denial or an ask all of them, of an allow some.
    #[serde(default)]
    pub reasons: Option<Vec<String>>,
    /// All obligations.
    #[serde(default)]
    pub obligations: Option<Vec<ExpectedObligation>>,
    /// All limits that the call draws on.
    #[serde(default)]
    pub limits: Option<Vec<ExpectedLimit>>,
    /// Detectors of all findings.
    #[serde(default)]
    pub findings: Option<Vec<String>>,
    /// The session's labels once the call is permitted.
    #[serde(default)]
    pub labels: Option<ExpectedLabels>,
    /// All marks that the session gains.
    #[serde(default)]
    pub marks: Option<Vec<String>>,
}

/// An obligation: its id alone, or with what else is looked at.
#[derive(Debug, Clone, PartialEq)]
pub struct ExpectedObligation {
    /// Its id.
    pub id: String,
    /// What sort; not looked at if absent.
    pub kind: Option<ObligationKind>,
    /// What exactly, compared as a whole; not looked at if absent.
    pub properties: Option<Value>,
}

/// A limit: its id alone, or with what else is looked at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExpectedLimit {
    /// Its id.
    pub id: String,
    /// Whose counter, in its canonical text; not looked at if absent.
    pub key: Option<String>,
    /// Largest amount; not looked at if absent.
    pub max: Option<u64>,
    /// Units that the call takes; not looked at if absent.
    pub cost: Option<u64>,
}

/// Labels; an absent one is not looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ExpectedLabels {
    /// Whether untrusted text came in.
    pub integrity: Option<Integrity>,
    /// The most confidential thing that was read.
    pub confidentiality: Option<Confidentiality>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ObligationObject {
    id: String,
    #[serde(default, rename = "type")]
    kind: Option<ObligationKind>,
    #[serde(default)]
    properties: Option<Value>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct LimitObject {
    id: String,
    #[serde(default)]
    key: Option<String>,
    #[serde(default)]
    max: Option<u64>,
    #[serde(default)]
    cost: Option<u64>,
}

impl<'de> Deserialize<'de> for ExpectedObligation {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Ok(match id_or_object::<D, ObligationObject>(deserializer)? {
            IdOr::Id(id) => Self { id, kind: None, properties: None },
            IdOr::Object(o) => Self { id: o.id, kind: o.kind, properties: o.properties },
        })
    }
}

impl<'de> Deserialize<'de> for ExpectedLimit {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Ok(match id_or_object::<D, LimitObject>(deserializer)? {
            IdOr::Id(id) => Self { id, key: None, max: None, cost: None },
            IdOr::Object(o) => Self { id: o.id, key: o.key, max: o.max, cost: o.cost },
        })
    }
}

enum IdOr<T> {
    Id(String),
    Object(T),
}

fn id_or_object<'de, D, T>(deserializer: D) -> Result<IdOr<T>, D::Error>
where
    D: Deserializer<'de>,
    T: DeserializeOwned,
{
    match Value::deserialize(deserializer)? {
        Value::String(id) => Ok(IdOr::Id(id)),
        object @ Value::Object(_) => {
            serde_json::from_value(object).map(IdOr::Object).map_err(D::Error::custom)
        }
        other => Err(D::Error::custom(format!("`{other}` is neither an id nor an object"))),
    }
}

/// `allow`, or an object.
pub(super) fn read(value: Value) -> Result<Expect, Complaint> {
    let value = match value {
        Value::Null => {
            return Err(Complaint::new("it is missing")
                .help("say what must come out, such as `expect: {effect: allow}`"));
        }
        Value::String(effect) => serde_json::json!({"effect": effect}),
        other => other,
    };
    serde_json::from_value(value).map_err(|error| Complaint::read(&error.to_string()))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_word_is_an_effect() {
        assert_eq!(read(json!("ask")).unwrap(), read(json!({"effect": "ask"})).unwrap());
        assert_eq!(
            read(json!("maybe")).unwrap_err().message,
            "`maybe` is none of allow, deny, ask"
        );
        assert!(read(Value::Null).unwrap_err().message.contains("missing"));
    }

    #[test]
    fn obligations_and_limits_are_ids_or_objects() {
        let expect = read(json!({
            "effect": "allow",
            "obligations": ["a", {"id": "b", "type": "mask", "properties": {"x": 1}}],
            "limits": ["c", {"id": "d", "max": 3}],
            "labels": {"integrity": "untrusted"},
        }))
        .unwrap();
        let obligations = expect.obligations.unwrap();
        assert_eq!((obligations[0].id.as_str(), &obligations[0].properties), ("a", &None));
        assert_eq!(obligations[1].kind, Some(ObligationKind::Mask));
        let limits = expect.limits.unwrap();
        assert_eq!((limits[0].max, limits[1].max), (None, Some(3)));
        let wrong = |value| read(json!({"effect": "deny", "limits": [value]})).unwrap_err();
        assert_eq!(wrong(json!({"id": "x", "maxx": 1})).help, "did you mean `max`?");
        assert!(wrong(json!(5)).message.contains("neither an id nor an object"));
    }
}
