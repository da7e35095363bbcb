//! The Cedar types that JSON can have here, in both directions: as schema text,
//! and as values built from a message with typed constructors. Caller data never
//! passes Cedar's JSON parser, whose `__entity` escape would name entities.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use cedar_policy_core::ast::{Name, PartialValue, Value};
use cedar_policy_core::extensions::Extensions;
use lictor_proto::json::node::escape_token;
use lictor_proto::json::{Node, Value as Json};

use super::super::reads::Cursor;
use super::number;

/// A type that a JSON value can take in Cedar.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Type {
    /// `true` or `false`.
    Bool,
    /// An integer of 64 bits.
    Long,
    /// A number with four places.
    Decimal,
    /// A text.
    String,
    /// A set of scalars: order and repetition are lost.
    Set(Box<Type>),
    /// An object with known members.
    Record(Record),
}

/// The members of an object by name.
pub(super) type Record = BTreeMap<String, Field>;

/// One member of an object.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Field {
    /// Whether it is always there and never `null`.
    pub(super) required: bool,
    /// Its type.
    pub(super) ty: Type,
}

impl Type {
    /// Whether values of the type may be elements of a set.
    pub(super) fn is_scalar(&self) -> bool {
        !matches!(self, Self::Set(_) | Self::Record(_))
    }

    /// Appends the type in Cedar's schema syntax.
    pub(super) fn write(&self, out: &mut String) {
        match self {
            Self::Bool => out.push_str("Bool"),
            Self::Long => out.push_str("Long"),
            Self::Decimal => out.push_str("decimal"),
            Self::String => out.push_str("String"),
            Self::Set(element) => {
                out.push_str("Set<");
                element.write(out);
                out.push('>');
            }
            Self::Record(record) => write_record(record, out),
        }
    }
}

/// Appends a record type in Cedar's schema syntax.
pub(super) fn write_record<'a>(
    record: impl IntoIterator<Item = (&'a String, &'a Field)>,
    out: &mut String,
) {
    out.push('{');
    for (index, (name, field)) in record.into_iter().enumerate() {
        let comma = if index == 0 { "" } else { ", " };
        let optional = if field.required { "" } else { "?" };
        // Writing to a string cannot fail.
        let _ = write!(out, "{comma}{}{optional}: ", quoted(name));
        field.ty.write(out);
    }
    out.push('}');
}

/// `text` as a Cedar string literal.
pub(super) fn quoted(text: &str) -> String {
    format!("\"{}\"", text.escape_debug())
}

/// Makes values of Cedar's extension types.
#[derive(Debug)]
pub(in super::super) struct Makers {
    decimal: Name,
    ip: Name,
}

impl Makers {
    /// `None` only if this build of Cedar lacks an extension.
    pub(in super::super) fn new() -> Option<Self> {
        let name = |text| {
            let name = Name::parse_unqualified_name(text).ok()?;
            Extensions::all_available().func(&name).is_ok().then_some(name)
        };
        Some(Self { decimal: name("decimal")?, ip: name("ip")? })
    }

    /// A decimal of so many ten-thousandths.
    pub(super) fn decimal(&self, ten_thousandths: i64) -> Option<Value> {
        make(&self.decimal, number::decimal_text(ten_thousandths))
    }

    /// An address or a range of addresses.
    pub(super) fn ip(&self, text: &str) -> Option<Value> {
        make(&self.ip, text.to_owned())
    }
}

fn make(constructor: &Name, text: String) -> Option<Value> {
    let function = Extensions::all_available().func(constructor).ok()?;
    match function.call(&[Value::from(text)]).ok()? {
        PartialValue::Value(value) => Some(value),
        PartialValue::Residual(_) => None,
    }
}

/// Builds values of a message. Only what policies read is built.
#[derive(Debug)]
pub(super) struct Builder<'a> {
    makers: &'a Makers,
    /// The names of the members down to the one that is built.
    at: Vec<&'a str>,
    /// Pointers of what a policy reads and what does not fit its type.
    pub(super) misfits: Vec<String>,
}

impl<'a> Builder<'a> {
    pub(super) fn new(makers: &'a Makers) -> Self {
        Self { makers, at: Vec::new(), misfits: Vec::new() }
    }

    /// The members of an object that fit and are read.
    pub(super) fn record(&mut self, node: &'a Node, record: &Record, cursor: Cursor<'_>) -> Value {
        let mut members = Vec::new();
        for member in node.members() {
            let below = cursor.member(&member.key);
            if !below.is_read() {
                continue;
            }
            self.at.push(&member.key);
            if let Some(value) = self.member(&member.value, record.get(&*member.key), below) {
                members.push((&*member.key, value));
            }
            self.at.pop();
        }
        Value::record(members, None)
    }

    /// A member's value, or nothing where it is `null` or does not fit.
    fn member(
        &mut self,
        node: &'a Node,
        field: Option<&Field>,
        cursor: Cursor<'_>,
    ) -> Option<Value> {
        let Some(field) = field else {
            self.misfit(cursor);
            return None;
        };
        if node.is_null() {
            // Absent, as policy is told; but policy is also told that a required
            // member is never absent.
            if field.required {
                self.misfit(cursor);
            }
            return None;
        }
        if let (Type::Record(record), true) = (&field.ty, node.is_object()) {
            return Some(self.record(node, record, cursor));
        }
        let value = self.leaf(node, &field.ty);
        if value.is_none() {
            self.misfit(cursor);
        }
        value
    }

    fn leaf(&self, node: &Node, ty: &Type) -> Option<Value> {
        match (ty, &node.value) {
            (Type::Bool, Json::Bool(value)) => Some(Value::from(*value)),
            (Type::Long, Json::Number(value)) => number::long(value.text()).map(Value::from),
            (Type::Decimal, Json::Number(value)) => {
                self.makers.decimal(number::ten_thousandths(value.text())?)
            }
            (Type::String, Json::String(text)) => Some(Value::from(&**text)),
            (Type::Set(element), Json::Array(items)) => {
                let items: Option<Vec<Value>> =
                    items.iter().map(|item| self.leaf(item, element)).collect();
                items.map(|items| Value::set(items, None))
            }
            _ => None,
        }
    }

    fn misfit(&mut self, cursor: Cursor<'_>) {
        if cursor.is_read() {
            let tokens = self.at.iter().map(|name| format!("/{}", escape_token(name)));
            self.misfits.push(tokens.collect());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Builder, Field, Makers, Record, Type, quoted, write_record};
    use crate::cedar::reads::{Reader, Reads};
    use cedar_policy_core::ast::{Value, ValueKind};

    fn record(fields: &[(&str, bool, Type)]) -> Record {
        fields
            .iter()
            .map(|(name, required, ty)| {
                ((*name).to_owned(), Field { required: *required, ty: ty.clone() })
            })
            .collect()
    }

    /// The text of the value and the misfits, where `condition` reads `context`.
    fn build(json: &str, shape: &Record, condition: &str) -> (String, Vec<String>) {
        let mut reads = Reads::default();
        reads.add(&condition.parse().unwrap(), Reader::Live);
        let makers = Makers::new().unwrap();
        let mut builder = Builder::new(&makers);
        let node = lictor_proto::json::scan(json.as_bytes()).unwrap();
        let value = builder.record(&node, shape, reads.cursor());
        (value.to_string(), builder.misfits)
    }

    const ALL: &str = "context == {}";

    #[test]
    fn types_are_written_as_cedar_schema() {
        let inner = record(&[("x", true, Type::Decimal)]);
        let shape = record(&[
            ("a b", false, Type::Set(Box::new(Type::String))),
            ("quo\"te", true, Type::Record(inner)),
        ]);
        let mut out = String::new();
        write_record(&shape, &mut out);
        assert_eq!(out, r#"{"a b"?: Set<String>, "quo\"te": {"x": decimal}}"#);
        assert_eq!(quoted("a\\b"), r#""a\\b""#);
    }

    #[test]
    fn values_are_built_by_their_types() {
        let shape = record(&[
            ("n", true, Type::Long),
            ("d", true, Type::Decimal),
            ("s", true, Type::Set(Box::new(Type::String))),
            ("o", false, Type::Record(record(&[("t", true, Type::Bool)]))),
        ]);
        let json = r#"{"n":5,"d":127.5,"s":["b","a","b"],"o":{"t":true}}"#;
        let (text, misfits) = build(json, &shape, ALL);
        assert_eq!(text, r#"{d: decimal("127.5000"), n: 5, o: {t: true}, s: ["a", "b"]}"#);
        assert_eq!(misfits, Vec::<String>::new());
    }

    #[test]
    fn null_is_absent_and_a_required_null_is_a_misfit() {
        let shape = record(&[("a", false, Type::Long), ("b", true, Type::Long)]);
        let (text, misfits) = build(r#"{"a":null,"b":null}"#, &shape, ALL);
        assert_eq!((text.as_str(), misfits), ("{}", vec!["/b".to_owned()]));
    }

    #[test]
    fn what_does_not_fit_is_named_only_where_it_is_read() {
        let inner = record(&[("n", true, Type::Long)]);
        let shape = record(&[
            ("a", true, Type::Long),
            ("l", true, Type::Set(Box::new(Type::Long))),
            ("o", true, Type::Record(inner)),
        ]);
        let json = r#"{"a":1.5,"l":[1,"x"],"o":{"n":"x"},"extra":1}"#;
        let (_, misfits) = build(json, &shape, ALL);
        assert_eq!(misfits, ["/a", "/l", "/o/n", "/extra"]);
        let (_, misfits) = build(json, &shape, "context.o.n == 1");
        assert_eq!(misfits, ["/o/n"]);
        let (text, misfits) = build(json, &shape, "context has other");
        assert_eq!((text.as_str(), misfits.len()), ("{}", 0));
    }

    #[test]
    fn pointers_are_escaped() {
        let (_, misfits) = build(r#"{"a/b~c":1}"#, &record(&[]), ALL);
        assert_eq!(misfits, ["/a~1b~0c"]);
    }

    #[test]
    fn makers_refuse_what_is_no_address() {
        let makers = Makers::new().unwrap();
        let is_extension = |value: Option<Value>| {
            value.is_some_and(|value| matches!(value.value, ValueKind::ExtensionValue(_)))
        };
        assert!(is_extension(makers.ip("10.0.0.7")));
        assert!(is_extension(makers.decimal(i64::MIN)));
        assert!(makers.ip("not an address").is_none());
        assert!(makers.ip("").is_none());
    }
}
