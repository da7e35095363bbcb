//! What a bundle says about detectors: `data.guardrails`. `guardrails.schema.json` is the same shape
//! for tools that do not read Rust.

use lictor_proto::call::Origin;
use lictor_proto::decision::Severity;
use serde::{Deserialize, Serialize};

/// JSON Schema (2020-12) of [`Config`] as it stands in a bundle's `data.json`.
pub const GUARDRAILS_SCHEMA: &str = include_str!("guardrails.schema.json");

/// `data.guardrails` of a bundle. Empty means that no detector was asked for.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// The built-in detectors to run, and where.
    pub detectors: Vec<DetectorConfig>,
    /// The bundle's own patterns.
    pub regexes: Vec<RegexConfig>,
}

/// One built-in detector to run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DetectorConfig {
    /// A family (`secret`, `pii`, `hidden`) or one rule of it (`pii/card`).
    pub id: String,
    /// Origins to look at; empty means all.
    #[serde(default)]
    pub origins: Vec<Origin>,
    /// Rules of the family to keep; empty means all.
    #[serde(default)]
    pub only: Vec<String>,
    /// Rules of the family to leave out.
    #[serde(default)]
    pub except: Vec<String>,
    /// Severity of the hits in place of the rule's own. Of several entries that switch one rule on, the highest counts.
    #[serde(default)]
    pub severity: Option<Severity>,
}

/// One pattern of the bundle's own. It is matched on bytes: classes such as `\w` and `\b` mean ASCII
/// unless the pattern switches Unicode on with `(?u:…)`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RegexConfig {
    /// `custom/<name>`, the name out of `[a-z0-9_-]`.
    pub id: String,
    /// The pattern, in the syntax of the `regex` library (linear time, no look-around).
    pub pattern: String,
    /// Class of its hits.
    pub category: String,
    /// Severity of its hits.
    pub severity: Severity,
    /// Words of which one must be in the text before the pattern is tried; ASCII case does not count.
    #[serde(default)]
    pub keywords: Vec<String>,
    /// Origins to look at; empty means all.
    #[serde(default)]
    pub origins: Vec<Origin>,
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    /// Whether serde and the JSON Schema take the value; they must agree.
    fn taken(value: &Value) -> bool {
        let schema: Value = serde_json::from_str(GUARDRAILS_SCHEMA).unwrap();
        let by_schema = jsonschema::validator_for(&schema).unwrap().is_valid(value);
        let by_serde = serde_json::from_value::<Config>(value.clone()).is_ok();
        assert_eq!(by_schema, by_serde, "{value}");
        by_serde
    }

    #[test]
    fn schema_and_type_take_the_same_values() {
        assert!(taken(&json!({})));
        assert!(taken(&json!({
            "detectors": [
                {"id": "secret", "origins": ["tool_result"], "only": ["aws-access-token"], "severity": "critical"},
                {"id": "pii/card", "except": []}
            ],
            "regexes": [{"id": "custom/badge", "pattern": "B-[0-9]{6}", "category": "internal", "severity": "low",
                         "keywords": ["b-"], "origins": ["user"]}]
        })));
    }

    #[test]
    fn schema_and_type_refuse_the_same_values() {
        for value in [
            json!({"detector": []}),
            json!({"detectors": [{"only": ["x"]}]}),
            json!({"detectors": [{"id": "secret", "origin": "user"}]}),
            json!({"detectors": [{"id": "secret", "origins": ["tools"]}]}),
            json!({"detectors": [{"id": "secret", "severity": "bad"}]}),
            json!({"regexes": [{"id": "custom/a", "pattern": "a"}]}),
            json!({"regexes": [{"id": "custom/a", "pattern": 1, "category": "c", "severity": "low"}]}),
        ] {
            assert!(!taken(&value), "{value}");
        }
    }
}
