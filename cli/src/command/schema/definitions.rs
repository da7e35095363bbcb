//! Definitions of tools as an MCP server gives them, out of a file or from the server itself.

use std::collections::HashSet;
use std::path::{Path, PathBuf};

use clap::Args;
use lictor_proto::json::{Node, ScanError, Value, scan};
use lictor_proto::tool::pin;

use super::live;
use crate::exit::{Failure, io};
use crate::output::shown;

/// Most bytes of all definitions of one server.
pub(super) const LIST_MAX_BYTES: usize = 16 * 1024 * 1024;
/// Most tools of one server.
pub(super) const TOOLS_MAX: usize = 4096;
/// Longest name of a tool, in characters.
const NAME_MAX_CHARS: usize = 128;

/// Where definitions come from.
#[derive(Debug, Args)]
pub(super) struct FromArgs {
    /// What answers `tools/list`: a file with the answer, its `result` or the list alone, or the
    /// URL of a server that speaks Streamable HTTP.
    #[arg(long, value_name = "FILE|URL")]
    pub(super) from: String,
    /// File with a bearer token for the server.
    #[arg(long, value_name = "FILE")]
    pub(super) token_file: Option<PathBuf>,
}

/// One tool as its server defines it.
#[derive(Debug)]
pub(super) struct Definition {
    pub(super) name: String,
    pub(super) node: Node,
}

impl Definition {
    /// The hash of the whole definition.
    pub(super) fn pin(&self) -> String {
        pin(&self.node)
    }
}

/// Why something is no list of tools.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum ListError {
    /// Not JSON that every reader understands alike.
    #[error("{0}")]
    Scan(#[from] ScanError),
    /// A JSON-RPC error.
    #[error("the server answered with the error {code}: {message}")]
    Rpc {
        /// JSON-RPC's code.
        code: String,
        /// What the server says, made safe to show.
        message: String,
    },
    /// Something else.
    #[error("it is no answer to `tools/list`: {0}")]
    Shape(&'static str),
    /// A page of more.
    #[error("it is one page of more (`nextCursor`): give a list of all tools, or the URL")]
    Page,
    /// One definition is wrong.
    #[error("tool {index} (`{name}`): {why}")]
    Tool {
        /// From 0.
        index: usize,
        /// Its name, made safe to show.
        name: String,
        /// What is wrong.
        why: &'static str,
    },
    /// Too many.
    #[error("it has more than {TOOLS_MAX} tools")]
    TooMany,
}

/// All definitions of a server, in its order.
///
/// # Errors
/// What cannot be read or reached, and whatever is no list of tools.
pub(super) fn read(args: &FromArgs) -> Result<Vec<Definition>, Failure> {
    let from = &args.from;
    if from.starts_with("http://") || from.starts_with("https://") {
        return live::list(from, args.token_file.as_deref());
    }
    if from.contains("://") {
        return Err(Failure::usage(format!("`{from}` is neither a file nor `http(s)://`")));
    }
    if args.token_file.is_some() {
        return Err(Failure::usage("`--token-file` is for a server, and `--from` is a file"));
    }
    let path = Path::new(from);
    let bytes = bounded(path)?;
    of_text(&bytes).map_err(|error| Failure::failed(format!("`{from}`: {error}")))
}

fn bounded(path: &Path) -> Result<Vec<u8>, Failure> {
    use std::io::Read as _;
    let file = std::fs::File::open(path).map_err(|error| io("read", path, error))?;
    let mut bytes = Vec::new();
    let mut file = file.take(LIST_MAX_BYTES as u64 + 1);
    file.read_to_end(&mut bytes).map_err(|error| io("read", path, error))?;
    if bytes.len() > LIST_MAX_BYTES {
        let text = format!("`{}` has more than {LIST_MAX_BYTES} bytes", path.display());
        return Err(Failure::failed(text).help("give the answer to `tools/list` of one server"));
    }
    Ok(bytes)
}

/// The definitions in a whole answer, a result or an array.
fn of_text(bytes: &[u8]) -> Result<Vec<Definition>, ListError> {
    let node = scan(bytes)?;
    if let Value::Array(items) = node.value {
        return definitions(items);
    }
    let (tools, next) = page(result_of(node)?)?;
    if next.is_some() { Err(ListError::Page) } else { definitions(tools) }
}

/// What a JSON-RPC message answers; a result by itself is taken for one.
///
/// # Errors
/// An error of the server.
pub(super) fn result_of(message: Node) -> Result<Node, ListError> {
    if let Some(error) = message.get("error") {
        let code = error.get("code").map_or_else(|| "?".to_owned(), Node::compact);
        let message = error.get("message").and_then(Node::as_str).unwrap_or_default();
        return Err(ListError::Rpc { code: shown(&code), message: shown(message) });
    }
    let Value::Object(members) = message.value else {
        return Err(ListError::Shape("neither an object nor an array"));
    };
    let is_message = members.iter().any(|member| &*member.key == "jsonrpc");
    let (span, mut rest) = (message.span, Vec::new());
    for member in members {
        if &*member.key == "result" {
            return Ok(member.value);
        }
        rest.push(member);
    }
    if is_message {
        return Err(ListError::Shape("a JSON-RPC message without `result`"));
    }
    Ok(Node { span, value: Value::Object(rest) })
}

/// The tools of one page, and where the next begins.
///
/// # Errors
/// A result that is no page of tools.
pub(super) fn page(result: Node) -> Result<(Vec<Node>, Option<String>), ListError> {
    if result.get("resultType").is_some_and(|kind| kind.as_str() != Some("complete")) {
        return Err(ListError::Shape("`resultType` is not `complete`"));
    }
    let next = match result.get("nextCursor") {
        None => None,
        Some(cursor) if cursor.is_null() => None,
        Some(cursor) => {
            let text = cursor.as_str().ok_or(ListError::Shape("`nextCursor` is not a string"))?;
            Some(text.to_owned())
        }
    };
    let Value::Object(members) = result.value else {
        return Err(ListError::Shape("`result` is not an object"));
    };
    let tools = members.into_iter().find(|member| &*member.key == "tools");
    match tools.map(|member| member.value.value) {
        Some(Value::Array(items)) => Ok((items, next)),
        Some(_) => Err(ListError::Shape("`tools` is not an array")),
        None => Err(ListError::Shape("there is no `tools`")),
    }
}

/// What tools define, checked.
///
/// # Errors
/// The first that is not a definition, or has the name of one before it.
pub(super) fn definitions(tools: Vec<Node>) -> Result<Vec<Definition>, ListError> {
    if tools.len() > TOOLS_MAX {
        return Err(ListError::TooMany);
    }
    let mut names = HashSet::new();
    let mut found = Vec::with_capacity(tools.len());
    for (index, node) in tools.into_iter().enumerate() {
        let name = node.get("name").and_then(Node::as_str).unwrap_or_default().to_owned();
        let wrong = wrong_with(&node, &name)
            .or_else(|| (!names.insert(name.clone())).then_some("there are two of this name"));
        if let Some(why) = wrong {
            let name = shown(&name.chars().take(NAME_MAX_CHARS).collect::<String>());
            return Err(ListError::Tool { index, name, why });
        }
        found.push(Definition { name, node });
    }
    Ok(found)
}

fn wrong_with(node: &Node, name: &str) -> Option<&'static str> {
    if !node.is_object() {
        return Some("it is not an object");
    }
    if name.is_empty() || name.chars().count() > NAME_MAX_CHARS {
        return Some("its `name` is not a string of 1 to 128 characters");
    }
    if shown(name) != name || name.chars().any(char::is_whitespace) {
        return Some("its `name` has white space or invisible characters");
    }
    if !node.get("inputSchema").is_some_and(Node::is_object) {
        return Some("it has no `inputSchema` object");
    }
    if node.get("outputSchema").is_some_and(|schema| !schema.is_object()) {
        return Some("its `outputSchema` is not an object");
    }
    if node.get("description").is_some_and(|text| text.as_str().is_none()) {
        return Some("its `description` is not a string");
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(text: &str) -> Result<Vec<String>, String> {
        let found = of_text(text.as_bytes()).map_err(|error| error.to_string())?;
        Ok(found.into_iter().map(|definition| definition.name).collect())
    }

    const TOOL: &str = r#"{"name":"a","inputSchema":{}}"#;

    #[test]
    fn answers_results_and_lists_are_read() {
        for text in [
            format!("[{TOOL}]"),
            format!(r#"{{"tools":[{TOOL}],"nextCursor":null}}"#),
            format!(
                r#"{{"jsonrpc":"2.0","id":1,"result":{{"tools":[{TOOL}],"resultType":"complete"}}}}"#
            ),
        ] {
            assert_eq!(names(&text), Ok(vec!["a".to_owned()]), "{text}");
        }
        assert_eq!(names("[]"), Ok(Vec::new()));
    }

    #[test]
    fn what_is_no_list_of_tools_is_refused_with_the_reason() {
        let long = "x".repeat(NAME_MAX_CHARS + 1);
        for (text, why) in [
            ("7".to_owned(), "neither an object nor an array"),
            ("{}".to_owned(), "there is no `tools`"),
            (r#"{"jsonrpc":"2.0","id":1}"#.to_owned(), "without `result`"),
            (r#"{"result":[]}"#.to_owned(), "`result` is not an object"),
            (r#"{"tools":{}}"#.to_owned(), "`tools` is not an array"),
            (r#"{"tools":[],"resultType":"input_required"}"#.to_owned(), "`resultType`"),
            (r#"{"tools":[],"nextCursor":"2"}"#.to_owned(), "one page of more"),
            (
                r#"{"error":{"code":-32601,"message":"no\u001b such"}}"#.to_owned(),
                "error -32601: no\\u{1b} such",
            ),
            (r#"{"tools":[],"tools":[]}"#.to_owned(), "duplicate member"),
            (format!("[{TOOL},{TOOL}]"), "tool 1 (`a`): there are two"),
            (r#"[1]"#.to_owned(), "it is not an object"),
            (r#"[{"inputSchema":{}}]"#.to_owned(), "its `name`"),
            (format!(r#"[{{"name":"{long}","inputSchema":{{}}}}]"#), "1 to 128"),
            (r#"[{"name":"a b","inputSchema":{}}]"#.to_owned(), "white space"),
            (r#"[{"name":"a\u200b","inputSchema":{}}]"#.to_owned(), "invisible"),
            (r#"[{"name":"a"}]"#.to_owned(), "`inputSchema`"),
            (r#"[{"name":"a","inputSchema":{},"outputSchema":1}]"#.to_owned(), "`outputSchema`"),
            (r#"[{"name":"a","inputSchema":{},"description":1}]"#.to_owned(), "`description`"),
        ] {
            let said = names(&text).unwrap_err();
            assert!(said.contains(why), "{said} for {text}");
        }
        let exact = format!(r#"[{{"name":"{}","inputSchema":{{}}}}]"#, "x".repeat(NAME_MAX_CHARS));
        assert!(names(&exact).is_ok());
    }

    #[test]
    fn tools_end_at_the_limit() {
        let list = |count: usize| {
            let tools: Vec<String> =
                (0..count).map(|n| format!(r#"{{"name":"t{n}","inputSchema":{{}}}}"#)).collect();
            names(&format!("[{}]", tools.join(","))).map(|names| names.len())
        };
        assert_eq!(list(TOOLS_MAX), Ok(TOOLS_MAX));
        assert_eq!(list(TOOLS_MAX + 1), Err(ListError::TooMany.to_string()));
    }
}
