//! How many paths a graph has. They can be exponentially many, so they are
//! counted, up to a limit, before the builtin lists them.

use std::collections::BTreeSet;

use regorus::Value;

use super::guards::{MAX_ITEMS, Refusal};

/// Deepest path; the builtin itself recurses.
pub(crate) const MAX_PATH_NODES: usize = 256;

enum Step<'a> {
    Enter(&'a Value),
    Leave(&'a Value),
}

/// Refuses graphs with too many or too long paths.
pub(crate) fn guard(args: &[Value]) -> Result<(), Refusal> {
    let (Some(Value::Object(graph)), Some(start)) = (args.first(), args.get(1)) else {
        return Ok(());
    };
    let mut todo: Vec<Step<'_>> = neighbours(start).into_iter().map(Step::Enter).collect();
    let mut on_path: BTreeSet<&Value> = BTreeSet::new();
    let mut steps = 0usize;
    while let Some(step) = todo.pop() {
        match step {
            Step::Leave(node) => {
                on_path.remove(node);
            }
            Step::Enter(node) => {
                steps += 1;
                let known = graph.get(node);
                if steps > MAX_ITEMS || on_path.len() > MAX_PATH_NODES {
                    return Err(Refusal::TooLarge { limit: MAX_ITEMS, unit: "paths" });
                }
                let Some(next) = known.filter(|_| on_path.insert(node)) else { continue };
                todo.push(Step::Leave(node));
                todo.extend(neighbours(next).into_iter().map(Step::Enter));
            }
        }
    }
    Ok(())
}

fn neighbours(value: &Value) -> Vec<&Value> {
    match value {
        Value::Array(items) => items.iter().collect(),
        Value::Set(items) => items.iter().collect(),
        _ => Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A chain of diamonds has 2^n paths.
    fn diamonds(n: usize) -> Value {
        let mut text = String::from("{");
        for i in 0..n {
            let next = i + 1;
            text.push_str(&format!(
                "\"n{i}\":[\"a{i}\",\"b{i}\"],\"a{i}\":[\"n{next}\"],\"b{i}\":[\"n{next}\"],"
            ));
        }
        text.push_str(&format!("\"n{n}\":[]}}"));
        Value::from_json_str(&text).unwrap()
    }

    #[test]
    fn exponentially_many_paths_are_refused_and_few_are_not() {
        let start = Value::from(vec![Value::from("n0")]);
        assert_eq!(guard(&[diamonds(5), start.clone()]), Ok(()));
        assert!(guard(&[diamonds(40), start]).is_err());
    }

    #[test]
    fn a_cycle_ends() {
        let graph = Value::from_json_str(r#"{"a":["b"],"b":["a"]}"#).unwrap();
        assert_eq!(guard(&[graph, Value::from(vec![Value::from("a")])]), Ok(()));
    }
}
