//! `array.flatten` and `strings.split_n`.

use regorus::Value;

use super::{Fault, text, wrong};
use crate::rego::guards::{MAX_ITEMS, Refusal};

const TOO_MANY: Refusal = Refusal::TooLarge { limit: MAX_ITEMS, unit: "elements" };

fn at_most(amount: usize) -> Result<(), Refusal> {
    if amount <= MAX_ITEMS { Ok(()) } else { Err(TOO_MANY) }
}

pub(super) fn bounded(args: &[Value]) -> Result<(), Refusal> {
    let Some(Value::Array(items)) = args.first() else { return Ok(()) };
    let inner = |item: &Value| match item {
        Value::Array(inner) => inner.len(),
        _ => 1,
    };
    at_most(items.iter().map(inner).sum())
}

/// Unpacks the arrays in an array, one level; what is no array stays.
pub(super) fn flatten(args: &[Value]) -> Result<Value, Fault> {
    let Some(Value::Array(items)) = args.first() else {
        return Err(wrong(0, "an array", args.first()));
    };
    let mut flat = Vec::with_capacity(items.len());
    for item in items.iter() {
        match item {
            Value::Array(inner) => flat.extend(inner.iter().cloned()),
            other => flat.push(other.clone()),
        }
    }
    Ok(Value::from(flat))
}

pub(super) fn bounded_split(args: &[Value]) -> Result<(), Refusal> {
    let (Ok(subject), Ok(delimiter)) = (text(args, 0), text(args, 1)) else { return Ok(()) };
    at_most(subject.matches(delimiter).count() + 1)
}

/// The first `n` parts of a text, or the last ones where `n` is negative.
pub(super) fn split_n(args: &[Value]) -> Result<Value, Fault> {
    let (subject, delimiter) = (text(args, 0)?, text(args, 1)?);
    let wanted = match args.get(2) {
        Some(Value::Number(number)) if number.is_integer() => number.as_i64(),
        _ => None,
    };
    let wanted = wanted.ok_or_else(|| wrong(2, "an integer of 64 bits", args.get(2)))?;
    let parts: Vec<&str> = if delimiter.is_empty() {
        // Between any two characters, but not around them.
        subject.split("").filter(|part| !part.is_empty()).collect()
    } else {
        subject.split(delimiter).collect()
    };
    let count = usize::try_from(wanted.unsigned_abs()).unwrap_or(usize::MAX).min(parts.len());
    let skipped = if wanted < 0 { parts.len() - count } else { 0 };
    let chosen = parts.into_iter().skip(skipped).take(count).map(Value::from);
    Ok(Value::from(chosen.collect::<Vec<_>>()))
}
