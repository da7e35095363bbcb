//! The unit `lictor.opa`, which asks the OPA decision and says it in our words.

use std::fmt::Write as _;

use serde_json::{Map, Value};

use crate::diagnostic::Diagnostic;
use crate::rego::{data_path, is_identifier};

/// Longest message that is passed on, in characters.
const MESSAGE_CHARS: usize = 1000;
/// Deepest `--input`.
const INPUT_DEPTH: usize = 16;

/// Its text.
pub(super) fn text(
    entrypoint: &str,
    input: Option<&Map<String, Value>>,
    problems: &mut Vec<Diagnostic>,
) -> String {
    let parts: Vec<String> = entrypoint
        .split(['/', '.'])
        .map(ToOwned::to_owned)
        .skip_while(|part| part == "data")
        .collect();
    if parts.len() < 2
        || !parts.iter().all(|part| is_identifier(part) && !part.starts_with("_lictor"))
    {
        let message = format!("`{entrypoint}` is not the path of a decision");
        let problem = Diagnostic::error("opa_option", "", message);
        problems.push(problem.help("give package and rule, such as `authz/allow`"));
    }
    let path = data_path(&parts);
    let asked = if input.is_some() { format!("{path} with input as _input") } else { path };
    let mut text = HEAD.replace("ENTRYPOINT", entrypoint).replace("ASKED", &asked);
    text.push_str(&BODY.replace("LENGTH", &MESSAGE_CHARS.to_string()));
    if let Some(members) = input {
        text.push_str("\n# The input that the policies expect. What a call lacks is left out.\n");
        text.push_str("_input := object.union_n([part | some part in _parts])\n");
        let mut leaves = Vec::new();
        leaf(&Value::Object(members.clone()), &mut Vec::new(), &mut leaves, problems);
        for (path, value) in leaves {
            let _ = write!(text, "\n{}", part(&path, &value));
        }
    }
    text
}

const HEAD: &str = "# Made from an OPA bundle whose decision is `ENTRYPOINT`.
# `true` permits; so does an object whose `allow` or `allowed` is true, and an empty
# set of messages. Messages deny.
package lictor.opa

# What comes back from a tool is not asked about.
_decision := decision if {
	input.phase != \"response\"
	decision := ASKED
}
";

const BODY: &str = r#"
allow if _permits

_permits if _decision == true

_permits if {
	is_object(_decision)
	object.get(_decision, "allow", object.get(_decision, "allowed", false)) == true
}

_permits if {
	_is_list(_decision)
	count(_decision) == 0
}

_is_list(x) if is_set(x)

_is_list(x) if is_array(x)

deny contains {"id": "opa.denied", "message": _text(message)} if some message in _messages

# Any other answer is a mistake in the decision's path.
deny contains {"id": "opa.decision", "message": "the answer of the policy is not understood"} if {
	type_name(_decision) in {"null", "number", "string"}
}

_messages contains message if {
	_is_list(_decision)
	some message in _decision
}

_messages contains message if {
	is_object(_decision)
	some name in ["deny", "violations"]
	_is_list(_decision[name])
	some message in _decision[name]
}

_messages contains message if {
	is_object(_decision)
	not _permits
	some name in ["reason", "message", "msg"]
	message := _decision[name]
	is_string(message)
}

_messages contains message if {
	is_object(_decision)
	not _permits
	some name in ["reason", "reasons", "messages"]
	_is_list(_decision[name])
	some message in _decision[name]
}

_text(x) := substring(x, 0, LENGTH) if {
	is_string(x)
} else := substring(x.msg, 0, LENGTH) if {
	is_object(x)
	is_string(x.msg)
} else := substring(x.message, 0, LENGTH) if {
	is_object(x)
	is_string(x.message)
} else := substring(json.marshal(x), 0, LENGTH)
"#;

/// The leaves of the expected input, each with its path.
fn leaf(
    value: &Value,
    path: &mut Vec<String>,
    found: &mut Vec<(Vec<String>, Value)>,
    problems: &mut Vec<Diagnostic>,
) {
    match value {
        Value::Object(members) if path.len() < INPUT_DEPTH => {
            for (key, value) in members {
                path.push(key.clone());
                leaf(value, path, found, problems);
                path.pop();
            }
        }
        Value::Array(_) | Value::Object(_) => {
            let message = format!("`{}` of `--input` is a list, or nests too deep", path.join("."));
            let problem = Diagnostic::error("opa_option", "", message);
            problems
                .push(problem.help("give texts, numbers and booleans, or name a list of the call"));
        }
        Value::String(text) if text == "input" || text.starts_with("input.") => {
            let parts = text.split('.').map(ToOwned::to_owned).collect::<Vec<_>>();
            if parts.iter().all(|part| is_identifier(part)) {
                found.push((path.clone(), value.clone()));
            } else {
                let message = format!("`{text}` of `--input` is not a path in the input");
                problems.push(Diagnostic::error("opa_option", "", message));
            }
        }
        _ => found.push((path.clone(), value.clone())),
    }
}

fn part(path: &[String], value: &Value) -> String {
    let nested = |inner: &str| {
        path.iter().rev().fold(inner.to_owned(), |inner, key| {
            format!("{{{}: {inner}}}", Value::String(key.clone()))
        })
    };
    match value {
        Value::String(text) if text == "input" || text.starts_with("input.") => {
            format!("_parts contains {} if value := {text}\n", nested("value"))
        }
        other => format!("_parts contains {}\n", nested(&other.to_string())),
    }
}
