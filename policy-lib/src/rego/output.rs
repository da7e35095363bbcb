//! Values that a policy made, checked on their way out. The engine's own printing
//! panics on large integers and writes `"<undefined>"` for what is not there.

use lictor_proto::json::text::quote;
use regorus::Value;

/// Deepest nesting of what a policy says.
const MAX_DEPTH_LEVELS: usize = 32;

/// How much one evaluation may still say.
pub(crate) struct Meter {
    left_bytes: usize,
}

/// Why a value cannot be passed on.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub(crate) enum OutputError {
    #[error("the policies say more than may be passed on")]
    TooLarge,
    #[error("nested deeper than {MAX_DEPTH_LEVELS} levels")]
    TooDeep,
    #[error("an undefined value")]
    Undefined,
    #[error("an integer that does not fit 64 bits")]
    Integer,
    #[error("a number that is not finite")]
    NotFinite,
    #[error("a member name that is not a string")]
    Key,
}

impl Meter {
    pub(crate) fn new(left_bytes: usize) -> Self {
        Self { left_bytes }
    }

    pub(crate) fn spend(&mut self, bytes: usize) -> Result<(), OutputError> {
        self.left_bytes = self.left_bytes.checked_sub(bytes).ok_or(OutputError::TooLarge)?;
        Ok(())
    }

    /// Compact JSON with sorted members, the canonical form; sets become arrays.
    pub(crate) fn json(&mut self, value: &Value) -> Result<String, OutputError> {
        let mut out = String::new();
        self.write(value, &mut out, 0)?;
        Ok(out)
    }

    fn write(&mut self, value: &Value, out: &mut String, depth: usize) -> Result<(), OutputError> {
        if depth > MAX_DEPTH_LEVELS {
            return Err(OutputError::TooDeep);
        }
        match value {
            Value::Null => self.push(out, "null"),
            Value::Bool(true) => self.push(out, "true"),
            Value::Bool(false) => self.push(out, "false"),
            Value::Number(_) => {
                let text = number(value)?;
                self.push(out, &text)
            }
            Value::String(text) => self.quoted(out, text),
            Value::Array(items) => self.items(items.iter(), out, depth),
            Value::Set(items) => self.items(items.iter_sorted(), out, depth),
            Value::Object(members) => {
                self.push(out, "{")?;
                for (index, (key, value)) in members.iter_sorted().enumerate() {
                    let Value::String(key) = key else { return Err(OutputError::Key) };
                    if index > 0 {
                        self.push(out, ",")?;
                    }
                    self.quoted(out, key)?;
                    self.push(out, ":")?;
                    self.write(value, out, depth + 1)?;
                }
                self.push(out, "}")
            }
            Value::Undefined => Err(OutputError::Undefined),
        }
    }

    fn items<'a>(
        &mut self,
        items: impl Iterator<Item = &'a Value>,
        out: &mut String,
        depth: usize,
    ) -> Result<(), OutputError> {
        self.push(out, "[")?;
        for (index, item) in items.enumerate() {
            if index > 0 {
                self.push(out, ",")?;
            }
            self.write(item, out, depth + 1)?;
        }
        self.push(out, "]")
    }

    fn push(&mut self, out: &mut String, text: &str) -> Result<(), OutputError> {
        self.spend(text.len())?;
        out.push_str(text);
        Ok(())
    }

    fn quoted(&mut self, out: &mut String, text: &str) -> Result<(), OutputError> {
        self.spend(text.len() + 2)?;
        quote(out, text);
        Ok(())
    }
}

/// A number's text: integers exactly, or not at all.
fn number(value: &Value) -> Result<String, OutputError> {
    if let Some(integer) = unsigned(value) {
        return Ok(integer.to_string());
    }
    let Value::Number(number) = value else { return Err(OutputError::Undefined) };
    if number.as_big().is_some() {
        return number.as_i64().map(|integer| integer.to_string()).ok_or(OutputError::Integer);
    }
    let double = number.as_f64().ok_or(OutputError::NotFinite)?;
    serde_json::Number::from_f64(double).map(|n| n.to_string()).ok_or(OutputError::NotFinite)
}

/// An integer within `u64`. A double that is a whole number counts up to 2^53.
pub(crate) fn unsigned(value: &Value) -> Option<u64> {
    match value {
        Value::Number(number) => number.as_big().and_then(|_| number.as_u64()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(value: &Value) -> Result<String, OutputError> {
        Meter::new(1000).json(value)
    }

    #[test]
    fn integers_are_exact_or_refused() {
        for text in ["18446744073709551615", "-9223372036854775808", "0", "1.5", "-2.25"] {
            assert_eq!(written(&Value::from_json_str(text).unwrap()).as_deref(), Ok(text));
        }
        for text in
            ["18446744073709551616", "-9223372036854775809", "100000000000000000000000000000000000"]
        {
            assert_eq!(
                written(&Value::from_numeric_string(text).unwrap()),
                Err(OutputError::Integer)
            );
        }
        let huge = Value::from_numeric_string(&"9".repeat(4000)).unwrap();
        assert_eq!(written(&huge), Err(OutputError::Integer));
    }

    #[test]
    fn undefined_never_becomes_a_string() {
        assert_eq!(written(&Value::Undefined), Err(OutputError::Undefined));
        assert_eq!(written(&Value::from(vec![Value::Undefined])), Err(OutputError::Undefined));
    }

    #[test]
    fn size_and_depth_are_bounded_at_their_edges() {
        assert_eq!(Meter::new(5).json(&Value::from("abc")).as_deref(), Ok("\"abc\""));
        assert_eq!(Meter::new(4).json(&Value::from("abc")), Err(OutputError::TooLarge));
        let nested = |n: usize| (0..n).fold(Value::Null, |inner, _| Value::from(vec![inner]));
        assert!(written(&nested(MAX_DEPTH_LEVELS)).is_ok());
        assert_eq!(written(&nested(MAX_DEPTH_LEVELS + 1)), Err(OutputError::TooDeep));
    }

    #[test]
    fn members_are_sorted_and_sets_are_arrays() {
        let value = Value::from_json_str(r#"{"b":[1,"x\n"],"a":null}"#).unwrap();
        assert_eq!(written(&value).as_deref(), Ok(r#"{"a":null,"b":[1,"x\n"]}"#));
        let keyed =
            Value::from(std::collections::BTreeMap::from([(Value::from(1u64), Value::Null)]));
        assert_eq!(written(&keyed), Err(OutputError::Key));
    }
}
