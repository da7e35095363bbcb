//! What a builtin's arguments may be. Each guard bounds the result, or the time,
//! of one call before it is made.

use regorus::Value;

use super::weigh::{bits, count_nodes, items, weigh, weigh_all};

/// Longest text that one call makes, in bytes.
pub(crate) const MAX_TEXT_BYTES: usize = 4 << 20;
/// Longest text that one call parses, in bytes.
pub(crate) const MAX_PARSED_BYTES: usize = 1 << 20;
/// Most elements of a collection that one call makes.
pub(crate) const MAX_ITEMS: usize = 100_000;
/// Most comparisons of characters or elements in one call.
pub(crate) const MAX_STEPS: usize = 1 << 27;
/// Longest shift, in bits.
pub(crate) const MAX_SHIFT_BITS: u64 = 1024;
/// Largest integer that is written out or multiplied, in bits.
pub(crate) const MAX_NUMBER_BITS: u64 = 1 << 14;
/// Largest exponent of a number in a text.
pub(crate) const MAX_EXPONENT: u32 = 400;
/// Widest field of a format, in characters.
pub(crate) const MAX_WIDTH_CHARS: u32 = 1000;
/// Most `copy` operations of one patch; each can double the document.
pub(crate) const MAX_COPIES: usize = 10;

/// Why a call is not made. It ends the evaluation.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub(crate) enum Refusal {
    #[error("the result would be larger than {limit} {unit}")]
    TooLarge { limit: usize, unit: &'static str },
    #[error("the arguments would take too long")]
    TooLong,
    #[error("the number is too large")]
    Number,
    #[error(
        "the format asks for a field wider than {MAX_WIDTH_CHARS} characters, or for a digit that is none"
    )]
    Width,
    #[error("YAML aliases are not followed")]
    Alias,
    #[error("time zone `Local` would differ from machine to machine: name a zone")]
    LocalTime,
    #[error("the text to look for is empty")]
    EmptyNeedle,
}

/// Looks at the arguments of one call.
pub(crate) type Guard = fn(&[Value]) -> Result<(), Refusal>;

/// Builtins whose result and time are bounded by their arguments.
#[cfg(test)]
pub(crate) const BOUNDED: &[&str] = &[
    "abs",
    "array.reverse",
    "array.slice",
    "base64.decode",
    "base64.encode",
    "base64.is_valid",
    "base64url.decode",
    "base64url.encode",
    "base64url.encode_no_pad",
    "bits.and",
    "bits.negate",
    "bits.or",
    "bits.rsh",
    "bits.xor",
    "ceil",
    "contains",
    "count",
    "endswith",
    "floor",
    "glob.match",
    "glob.quote_meta",
    "graph.reachable",
    "hex.decode",
    "hex.encode",
    "intersection",
    "is_array",
    "is_boolean",
    "is_null",
    "is_number",
    "is_object",
    "is_set",
    "is_string",
    "json.filter",
    "json.remove",
    "lower",
    "max",
    "min",
    "net.cidr_contains",
    "net.cidr_is_valid",
    "object.filter",
    "object.get",
    "object.keys",
    "object.remove",
    "object.subset",
    "object.union",
    "object.union_n",
    "rego.metadata.chain",
    "rego.metadata.rule",
    "round",
    "semver.compare",
    "semver.is_valid",
    "sort",
    "startswith",
    "strings.reverse",
    "substring",
    "sum",
    "time.parse_duration_ns",
    "time.parse_ns",
    "time.parse_rfc3339_ns",
    "trim_prefix",
    "trim_space",
    "trim_suffix",
    "type_name",
    "upper",
    "urlquery.decode",
    "urlquery.decode_object",
    "urlquery.encode",
    "urlquery.encode_object",
];

/// The guard of a builtin, if it needs one.
pub(crate) fn of(name: &str) -> Option<Guard> {
    Some(match name {
        "numbers.range" | "numbers.range_step" => range,
        "net.cidr_expand" => cidr,
        "bits.lsh" => shift,
        "product" => product,
        "array.concat" => join_items,
        "union" => union,
        "concat" => concat,
        "replace" => replace,
        "strings.replace_n" => replace_n,
        "split" => split,
        "sprintf" => sprintf,
        "format_int" => written_number,
        "to_number" | "units.parse" | "units.parse_bytes" => read_number,
        "indexof" | "indexof_n" | "trim" | "trim_left" | "trim_right" => pairs_of_bytes,
        "strings.count" => count,
        "strings.any_prefix_match" | "strings.any_suffix_match" => pairs_of_items,
        "json.marshal" | "yaml.marshal" | "json.match_schema" | "json.verify_schema" => written,
        "json.marshal_with_options" => indented,
        "json.unmarshal" | "json.is_valid" => parsed,
        "yaml.unmarshal" | "yaml.is_valid" => parsed_yaml,
        "json.patch" => patch,
        "regex.match" | "regex.is_valid" | "regex.template_match" => pattern,
        "regex.find_n" | "regex.find_all_string_submatch_n" | "regex.split" => matches,
        "regex.replace" => regex_replace,
        "graph.reachable_paths" => super::paths::guard,
        "walk" => walk,
        "time.add_date" | "time.clock" | "time.date" | "time.diff" | "time.format"
        | "time.weekday" => zone,
        _ => return super::extra::of(name).map(|extra| extra.guard),
    })
}

const TOO_MANY: Refusal = Refusal::TooLarge { limit: MAX_ITEMS, unit: "elements" };
const TOO_LONG_TEXT: Refusal = Refusal::TooLarge { limit: MAX_TEXT_BYTES, unit: "bytes" };

fn text(args: &[Value], index: usize) -> Option<&str> {
    match args.get(index) {
        Some(Value::String(text)) => Some(text),
        _ => None,
    }
}

fn length(args: &[Value], index: usize) -> usize {
    text(args, index).map_or(0, str::len)
}

fn at_most(amount: Option<usize>, limit: usize, refusal: Refusal) -> Result<(), Refusal> {
    if amount.is_some_and(|amount| amount <= limit) { Ok(()) } else { Err(refusal) }
}

/// An integer of 64 bits. What is no number at all the builtin refuses itself.
fn integer(args: &[Value], index: usize) -> Result<i128, Refusal> {
    match args.get(index) {
        Some(Value::Number(number)) if number.is_integer() => number
            .as_i64()
            .map(i128::from)
            .or_else(|| number.as_u64().map(i128::from))
            .ok_or(Refusal::Number),
        _ => Ok(0),
    }
}

fn range(args: &[Value]) -> Result<(), Refusal> {
    let distance = integer(args, 1)?.abs_diff(integer(args, 0)?);
    let step = if args.len() > 2 { integer(args, 2)?.unsigned_abs().max(1) } else { 1 };
    at_most(usize::try_from(distance / step + 1).ok(), MAX_ITEMS, TOO_MANY)
}

fn cidr(args: &[Value]) -> Result<(), Refusal> {
    let Some((address, prefix)) = text(args, 0).and_then(|block| block.split_once('/')) else {
        return Ok(());
    };
    let width: u32 = if address.contains(':') { 128 } else { 32 };
    let Ok(prefix) = prefix.parse::<u32>() else { return Ok(()) };
    let hosts = 1usize
        .checked_shl(width.saturating_sub(prefix))
        .filter(|_| width.saturating_sub(prefix) < usize::BITS);
    at_most(hosts, MAX_ITEMS, TOO_MANY)
}

fn shift(args: &[Value]) -> Result<(), Refusal> {
    let by = u64::try_from(integer(args, 1)?).unwrap_or(0);
    let small =
        by <= MAX_SHIFT_BITS && args.first().is_some_and(|value| bits(value) <= MAX_NUMBER_BITS);
    if small { Ok(()) } else { Err(Refusal::Number) }
}

fn product(args: &[Value]) -> Result<(), Refusal> {
    let total: u64 = match args.first() {
        Some(Value::Array(factors)) => factors.iter().map(bits).sum(),
        Some(Value::Set(factors)) => factors.iter().map(bits).sum(),
        _ => 0,
    };
    if total <= MAX_NUMBER_BITS { Ok(()) } else { Err(Refusal::Number) }
}

fn join_items(args: &[Value]) -> Result<(), Refusal> {
    at_most(Some(args.iter().map(items).sum()), MAX_ITEMS, TOO_MANY)
}

fn union(args: &[Value]) -> Result<(), Refusal> {
    let total = match args.first() {
        Some(Value::Set(sets)) => sets.iter().map(items).sum(),
        _ => 0,
    };
    at_most(Some(total), MAX_ITEMS, TOO_MANY)
}

fn concat(args: &[Value]) -> Result<(), Refusal> {
    let between = args.get(1).map_or(0, items).checked_mul(length(args, 0));
    let parts = args.get(1).and_then(|parts| weigh(parts, MAX_TEXT_BYTES));
    at_most(between.zip(parts).and_then(|(a, b)| a.checked_add(b)), MAX_TEXT_BYTES, TOO_LONG_TEXT)
}

/// The length of `text` after every `old` has become `new`.
fn replaced(text: usize, occurrences: usize, old: usize, new: usize) -> Option<usize> {
    text.checked_sub(occurrences.checked_mul(old)?)?.checked_add(occurrences.checked_mul(new)?)
}

fn replace(args: &[Value]) -> Result<(), Refusal> {
    let (Some(subject), Some(old), Some(new)) = (text(args, 0), text(args, 1), text(args, 2))
    else {
        return Ok(());
    };
    let result = replaced(subject.len(), subject.matches(old).count(), old.len(), new.len());
    at_most(result, MAX_TEXT_BYTES, TOO_LONG_TEXT)
}

/// The replacements follow each other, so that each can feed the next.
fn replace_n(args: &[Value]) -> Result<(), Refusal> {
    let (Some(Value::Object(pairs)), Some(subject)) = (args.first(), text(args, 1)) else {
        return Ok(());
    };
    let mut subject = subject.to_owned();
    for pair in pairs.iter_sorted() {
        let (Value::String(old), Value::String(new)) = pair else { return Ok(()) };
        let result =
            replaced(subject.len(), subject.matches(old.as_ref()).count(), old.len(), new.len());
        at_most(result, MAX_TEXT_BYTES, TOO_LONG_TEXT)?;
        subject = subject.replace(old.as_ref(), new);
    }
    Ok(())
}

fn split(args: &[Value]) -> Result<(), Refusal> {
    let (Some(subject), Some(delimiter)) = (text(args, 0), text(args, 1)) else { return Ok(()) };
    at_most(Some(subject.matches(delimiter).count() + 1), MAX_ITEMS, TOO_MANY)
}

/// A quoted character takes at most ten.
const QUOTED_GROWTH: usize = 10;

fn sprintf(args: &[Value]) -> Result<(), Refusal> {
    let Some(format) = text(args, 0) else { return Ok(()) };
    let mut total = format.len();
    let mut rest = format.split('%').skip(1);
    while let Some(verb) = rest.next() {
        if verb.is_empty() {
            // `%%` is a character, and what follows it is text.
            rest.next();
            continue;
        }
        let width: String = verb
            .chars()
            .take_while(|c| *c == '.' || c.is_numeric())
            .filter(|c| *c != '.')
            .collect();
        let width = if width.is_empty() { 0 } else { width.parse().map_err(|_| Refusal::Width)? };
        if width > MAX_WIDTH_CHARS {
            return Err(Refusal::Width);
        }
        total = total.saturating_add(width as usize);
    }
    let values = args.get(1).and_then(|values| weigh(values, MAX_TEXT_BYTES / QUOTED_GROWTH));
    let total = values.and_then(|values| values.checked_mul(QUOTED_GROWTH)?.checked_add(total));
    at_most(total, MAX_TEXT_BYTES, TOO_LONG_TEXT)
}

fn written_number(args: &[Value]) -> Result<(), Refusal> {
    if args.iter().all(|value| bits(value) <= MAX_NUMBER_BITS) {
        Ok(())
    } else {
        Err(Refusal::Number)
    }
}

/// Whether a number's text has a size that can be worked with.
fn readable_number(text: &str) -> bool {
    let (digits, exponent) = text.split_once(['e', 'E']).unwrap_or((text, "0"));
    let exponent: String = exponent.chars().filter(char::is_ascii_digit).collect();
    let small = exponent.is_empty()
        || exponent.parse::<u32>().is_ok_and(|exponent| exponent <= MAX_EXPONENT);
    small && digits.len() <= MAX_EXPONENT as usize
}

fn read_number(args: &[Value]) -> Result<(), Refusal> {
    if text(args, 0).is_none_or(readable_number) { Ok(()) } else { Err(Refusal::Number) }
}

fn pairs_of_bytes(args: &[Value]) -> Result<(), Refusal> {
    at_most(length(args, 0).checked_mul(length(args, 1)), MAX_STEPS, Refusal::TooLong)
}

fn count(args: &[Value]) -> Result<(), Refusal> {
    if text(args, 1).is_some_and(str::is_empty) {
        return Err(Refusal::EmptyNeedle);
    }
    pairs_of_bytes(args)
}

fn pairs_of_items(args: &[Value]) -> Result<(), Refusal> {
    let of = |index| args.get(index).map_or(0, items).max(1);
    at_most(of(0).checked_mul(of(1)), MAX_ITEMS, Refusal::TooLong)
}

fn written(args: &[Value]) -> Result<(), Refusal> {
    at_most(weigh_all(args, MAX_TEXT_BYTES), MAX_TEXT_BYTES, TOO_LONG_TEXT)
}

fn indented(args: &[Value]) -> Result<(), Refusal> {
    let option = |name: &str| match args.get(1) {
        Some(Value::Object(options)) => match options.get(&Value::from(name)) {
            Some(Value::String(text)) => text.len(),
            _ => 1,
        },
        _ => 1,
    };
    let nodes = args.first().and_then(|value| weigh(value, MAX_TEXT_BYTES));
    // Texts nest at most 64 levels deep.
    let margin = option("indent").saturating_mul(64).saturating_add(option("prefix"));
    at_most(nodes.and_then(|nodes| nodes.checked_mul(margin)), MAX_TEXT_BYTES, TOO_LONG_TEXT)
}

fn parsed(args: &[Value]) -> Result<(), Refusal> {
    at_most(Some(length(args, 0)), MAX_PARSED_BYTES, Refusal::TooLong)
}

/// An alias stands for a whole part of the text, and may stand in such a part.
fn parsed_yaml(args: &[Value]) -> Result<(), Refusal> {
    parsed(args)?;
    let text = text(args, 0).unwrap_or_default();
    let aliased = text.match_indices('*').any(|(at, _)| {
        let before = text.get(..at).and_then(|head| head.chars().next_back());
        let after = text.get(at + 1..).and_then(|tail| tail.chars().next());
        before.is_none_or(|c| c.is_whitespace() || "[{,:-".contains(c))
            && after.is_some_and(|c| !c.is_whitespace())
    });
    if aliased { Err(Refusal::Alias) } else { Ok(()) }
}

fn patch(args: &[Value]) -> Result<(), Refusal> {
    let Some(Value::Array(operations)) = args.get(1) else { return Ok(()) };
    let (name, copy) = (Value::from("op"), Value::from("copy"));
    let copies = operations
        .iter()
        .filter(|operation| matches!(operation, Value::Object(members) if members.get(&name) == Some(&copy)))
        .count();
    at_most(Some(copies), MAX_COPIES, Refusal::TooLong)?;
    at_most(Some(operations.len()), MAX_ITEMS, Refusal::TooLong)
}

fn pattern(args: &[Value]) -> Result<(), Refusal> {
    at_most(length(args, 0).checked_mul(length(args, 1).max(1)), MAX_STEPS, Refusal::TooLong)
}

/// Longest text in which every match is looked for, in bytes: in the worst case
/// each match scans to the end.
pub(crate) const MAX_MATCHED_BYTES: usize = 256 << 10;

fn matches(args: &[Value]) -> Result<(), Refusal> {
    pattern(args)?;
    at_most(Some(length(args, 1)), MAX_MATCHED_BYTES, Refusal::TooLong)
}

fn regex_replace(args: &[Value]) -> Result<(), Refusal> {
    let (subject, value) = (length(args, 0), length(args, 2));
    at_most(Some(subject), MAX_MATCHED_BYTES, Refusal::TooLong)?;
    pattern(args)?;
    let references = text(args, 2).map_or(0, |value| value.matches('$').count()) + 1;
    let literal = (subject + 1).checked_mul(value);
    let total = literal.zip(subject.checked_mul(references)).and_then(|(a, b)| a.checked_add(b));
    at_most(total, MAX_TEXT_BYTES, TOO_LONG_TEXT)
}

fn walk(args: &[Value]) -> Result<(), Refusal> {
    at_most(args.first().and_then(|value| count_nodes(value, MAX_ITEMS)), MAX_ITEMS, TOO_MANY)
}

fn zone(args: &[Value]) -> Result<(), Refusal> {
    let local = |arg: &Value| match arg {
        Value::Array(parts) => {
            matches!(parts.get(1), Some(Value::String(zone)) if zone.as_ref() == "Local")
        }
        _ => false,
    };
    if args.iter().any(local) { Err(Refusal::LocalTime) } else { Ok(()) }
}

#[cfg(test)]
#[path = "guards_tests.rs"]
mod tests;
