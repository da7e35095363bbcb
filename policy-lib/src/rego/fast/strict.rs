//! The calls that stand in the table of a proved program. Each does what the interpreter does with
//! the same arguments, or declines.

use std::sync::LazyLock;
use std::time::Duration;

use regorus::unstable::{BUILTINS, BuiltinFcn, Expr, Ref, Span};
use regorus::{LimitError, Value};

use super::super::guards::{self, Guard};

/// Names of the calls that are no builtins of policies.
pub(super) const ADD: &str = "+";
pub(super) const SUBTRACT: &str = "-";
pub(super) const MULTIPLY: &str = "*";
pub(super) const DIVIDE: &str = "/";
pub(super) const REMAINDER: &str = "%";
/// Gives its argument back if it is a collection.
pub(super) const COLLECTION: &str = "collection";
/// True for whatever is there; for what is not, it is not called.
pub(super) const DEFINED: &str = "defined";
/// Declines if its argument is true.
pub(super) const DECLINE_IF: &str = "decline_if";
/// Declines if the first argument is true and one of the others is a number.
pub(super) const DECLINE_NUMBER: [&str; 7] = [
    "decline_number_1",
    "decline_number_2",
    "decline_number_3",
    "decline_number_4",
    "decline_number_5",
    "decline_number_6",
    "decline_number_7",
];

/// How a call ends the evaluation: like a used up limit, since the machine takes every other error
/// for a missing value.
const DECLINED: LimitError =
    LimitError::TimeLimitExceeded { elapsed: Duration::ZERO, limit: Duration::ZERO };

/// A builtin as the interpreter calls it.
struct Called {
    guard: Option<Guard>,
    call: Option<BuiltinFcn>,
}

impl Called {
    fn new(name: &'static str) -> Self {
        Self { guard: guards::of(name), call: BUILTINS.get(name).copied() }
    }

    fn run(&self, span: &Span, params: &[Ref<Expr>], args: &[Value]) -> Result<Value, LimitError> {
        if self.guard.is_some_and(|guard| guard(args).is_err()) {
            return Err(DECLINED);
        }
        let Some((call, _)) = self.call else { return Err(DECLINED) };
        match call(span, params, args, true) {
            // Some builtins mean an error by no value; the interpreter knows which.
            Err(_) | Ok(Value::Undefined) => Err(DECLINED),
            Ok(value) => Ok(value),
        }
    }
}

/// One strict call for each builtin: the table takes functions, which hold nothing.
macro_rules! strict {
    ($($name:literal)*) => {
        /// The builtins that may stand in a proved program.
        #[cfg(test)]
        pub(super) const NAMES: &[&str] = &[$($name),*];

        /// The strict form of a builtin.
        pub(super) fn of(name: &str) -> Option<BuiltinFcn> {
            Some(match name {
                $($name => {
                    static CALLED: LazyLock<Called> = LazyLock::new(|| Called::new($name));
                    let (_, arity) = CALLED.call?;
                    (|span, params, args, _| Ok(CALLED.run(span, params, args)?), arity)
                })*
                _ => return None,
            })
        }
    };
}

strict! {
    "__builtin_sets.intersection" "__builtin_sets.union" "abs" "array.concat" "array.reverse"
    "array.slice" "base64.decode" "base64.encode" "base64.is_valid" "base64url.decode"
    "base64url.encode" "base64url.encode_no_pad" "bits.and" "bits.lsh" "bits.negate" "bits.or"
    "bits.rsh" "bits.xor" "ceil" "concat" "contains" "count" "endswith" "floor" "format_int"
    "glob.match" "glob.quote_meta" "graph.reachable" "graph.reachable_paths" "hex.decode"
    "hex.encode" "indexof" "indexof_n" "intersection" "is_array" "is_boolean" "is_null"
    "is_number" "is_object" "is_set" "is_string" "json.filter" "json.is_valid" "json.marshal"
    "json.marshal_with_options" "json.match_schema" "json.patch" "json.remove" "json.unmarshal"
    "json.verify_schema" "lower" "max" "min" "net.cidr_contains" "net.cidr_expand"
    "net.cidr_is_valid" "numbers.range" "numbers.range_step" "object.filter" "object.get"
    "object.keys" "object.remove" "object.subset" "object.union" "object.union_n" "product"
    "regex.find_all_string_submatch_n" "regex.find_n" "regex.is_valid" "regex.match"
    "regex.replace" "regex.split" "regex.template_match" "replace" "round" "semver.compare"
    "semver.is_valid" "sort" "split" "sprintf" "startswith" "strings.any_prefix_match"
    "strings.any_suffix_match" "strings.count" "strings.replace_n" "strings.reverse" "substring"
    "sum" "time.add_date" "time.clock" "time.date" "time.diff" "time.format"
    "time.parse_duration_ns" "time.parse_ns" "time.parse_rfc3339_ns" "time.weekday" "to_number"
    "trim" "trim_left" "trim_prefix" "trim_right" "trim_space" "trim_suffix" "type_name" "union"
    "units.parse" "units.parse_bytes" "upper" "urlquery.decode" "urlquery.decode_object"
    "urlquery.encode" "urlquery.encode_object" "yaml.is_valid" "yaml.marshal" "yaml.unmarshal"
}

/// The calls that are no builtins of policies.
pub(super) fn own(name: &str) -> Option<BuiltinFcn> {
    Some(match name {
        ADD => (|_, _, args, _| Ok(arithmetic(Operation::Add, args)?), 2),
        SUBTRACT => (|_, _, args, _| Ok(arithmetic(Operation::Subtract, args)?), 2),
        MULTIPLY => (|_, _, args, _| Ok(arithmetic(Operation::Multiply, args)?), 2),
        DIVIDE => (|_, _, args, _| Ok(arithmetic(Operation::Divide, args)?), 2),
        REMAINDER => (|_, _, args, _| Ok(arithmetic(Operation::Remainder, args)?), 2),
        COLLECTION => (|_, _, args, _| Ok(collection(args)?), 1),
        DEFINED => (|_, _, _, _| Ok(Value::Bool(true)), 1),
        DECLINE_IF => (|_, _, args, _| Ok(decline_if(args)?), 1),
        _ => {
            let arity = DECLINE_NUMBER.iter().position(|own| *own == name)? + 2;
            (|_, _, args, _| Ok(decline_number(args)?), u8::try_from(arity).ok()?)
        }
    })
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Operation {
    Add,
    Subtract,
    Multiply,
    Divide,
    Remainder,
}

fn arithmetic(operation: Operation, args: &[Value]) -> Result<Value, LimitError> {
    if let (Operation::Subtract, [Value::Set(left), Value::Set(right)]) = (operation, args) {
        return Ok(Value::from(left.difference(right)));
    }
    let [Value::Number(left), Value::Number(right)] = args else { return Err(DECLINED) };
    let result = match operation {
        Operation::Add => left.add(right),
        Operation::Subtract => left.sub(right),
        Operation::Multiply => left.mul(right),
        Operation::Divide => left.clone().divide(right),
        Operation::Remainder if !left.is_integer() || !right.is_integer() => return Err(DECLINED),
        Operation::Remainder => left.clone().modulo(right),
    };
    result.map(Value::from).map_err(|_| DECLINED)
}

fn collection(args: &[Value]) -> Result<Value, LimitError> {
    match args {
        [value @ (Value::Array(_) | Value::Object(_) | Value::Set(_))] => Ok(value.clone()),
        _ => Err(DECLINED),
    }
}

fn decline_if(args: &[Value]) -> Result<Value, LimitError> {
    if args == [Value::Bool(false)] { Ok(Value::Bool(false)) } else { Err(DECLINED) }
}

fn decline_number(args: &[Value]) -> Result<Value, LimitError> {
    match args.split_first() {
        Some((Value::Bool(false), _)) => Ok(Value::Bool(false)),
        Some((_, keys)) if !keys.iter().any(|key| matches!(key, Value::Number(_))) => {
            Ok(Value::Bool(false))
        }
        _ => Err(DECLINED),
    }
}
