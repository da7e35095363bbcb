//! How large a value is, found without recursion and without writing it out: a
//! value may share its parts and be far larger than its memory.

use regorus::Value;

/// Nodes plus bytes of texts plus digits of numbers, or nothing above `limit`.
pub(crate) fn weigh(value: &Value, limit: usize) -> Option<usize> {
    weigh_all([value], limit)
}

/// The same for several values together.
pub(crate) fn weigh_all<'a>(
    values: impl IntoIterator<Item = &'a Value>,
    limit: usize,
) -> Option<usize> {
    add_up(values, limit, own_weight)
}

/// How many nodes a value has, or nothing above `limit`.
pub(crate) fn count_nodes(value: &Value, limit: usize) -> Option<usize> {
    add_up([value], limit, |_| 0)
}

fn add_up<'a>(
    values: impl IntoIterator<Item = &'a Value>,
    limit: usize,
    own_weight: impl Fn(&Value) -> usize,
) -> Option<usize> {
    let mut todo: Vec<&Value> = values.into_iter().collect();
    let mut weight = 0usize;
    while let Some(value) = todo.pop() {
        weight = weight.checked_add(own_weight(value))?.checked_add(1)?;
        // What waits weighs at least one each.
        if weight.checked_add(todo.len())? > limit {
            return None;
        }
        match value {
            Value::Array(items) => todo.extend(items.iter()),
            Value::Set(items) => todo.extend(items.iter()),
            Value::Object(members) => {
                members.iter().for_each(|(key, value)| todo.extend([key, value]))
            }
            _ => {}
        }
    }
    Some(weight)
}

fn own_weight(value: &Value) -> usize {
    match value {
        Value::String(text) => text.len(),
        Value::Number(_) => usize::try_from(bits(value) / 3).unwrap_or(usize::MAX),
        _ => 0,
    }
}

/// How many bits an integer has; a double counts as 64.
pub(crate) fn bits(value: &Value) -> u64 {
    match value {
        Value::Number(number) => number.as_big().map_or(64, |integer| integer.bits()),
        _ => 0,
    }
}

/// How many elements a collection has.
pub(crate) fn items(value: &Value) -> usize {
    match value {
        Value::Array(items) => items.len(),
        Value::Set(items) => items.len(),
        Value::Object(members) => members.len(),
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shared_parts_are_counted_each_time_and_the_limit_ends_it() {
        let mut value = Value::from("x");
        for _ in 0..60 {
            value = Value::from(vec![value.clone(), value]);
        }
        assert_eq!(weigh(&value, 1_000_000), None);
        let text = Value::from("abcd");
        assert_eq!(weigh(&text, 5), Some(5));
        assert_eq!(weigh(&text, 4), None);
    }
}
