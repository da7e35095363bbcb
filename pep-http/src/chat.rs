//! An OpenAI chat request as policy sees it: a view of the scanned body.

use lictor_pep_core::edit::Edits;
use lictor_proto::call::{Content, Origin, Usage};
use lictor_proto::json::Node;
use lictor_proto::json::node::escape_token;

use crate::text::{self, is_identifier};

/// Longest member name that is not shown to the detectors as a text of its own, bytes.
const MAX_NAME_BYTES: usize = 64;
/// Names with a digit are shown from this length on, bytes: keys and numbers of cards look so.
const MIN_KEY_BYTES: usize = 12;

/// Members that decide what is asked for; a name that differs from one of them only in case could be read as it
/// by a laxer reader.
const REQUEST_NAMES: [&str; 9] = [
    "model",
    "messages",
    "stream",
    "stream_options",
    "max_tokens",
    "max_completion_tokens",
    "n",
    "tools",
    "functions",
];
/// The same within a message and its parts.
const MESSAGE_NAMES: [&str; 8] =
    ["role", "content", "type", "text", "tool_calls", "function", "arguments", "refusal"];

/// Members by which gateways and OpenAI-compatible providers choose models, addresses or keys beside `model`. What
/// was decided about is `model` alone.
const STEERING: [&str; 14] = [
    "models",
    "fallbacks",
    "context_window_fallbacks",
    "content_policy_fallbacks",
    "route",
    "provider",
    "engine",
    "deployment_id",
    "model_list",
    "custom_llm_provider",
    "api_base",
    "base_url",
    "api_key",
    "extra_body",
];

/// Why a body is not a chat request.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum ChatError {
    /// A member is missing or has another type.
    #[error("`{0}` {1}")]
    Member(&'static str, &'static str),
    /// A role that the protocol does not have.
    #[error(
        "the role `{0}` is not known: use system, developer, user, assistant, tool or function"
    )]
    Role(String),
    /// A member by which some providers take another model or another provider than `model` says.
    #[error("`{0}` would let the provider answer with another model than `model`: leave it out")]
    Steers(&'static str),
    /// A name that equals a known one only under case folding.
    #[error("the member `{0}` differs from a known one only in case: use lower case")]
    CaseVariant(String),
}

/// A chat request over the tree of its body.
#[derive(Debug)]
pub(crate) struct ChatRequest<'a> {
    root: &'a Node,
    model: &'a Node,
    name: &'a str,
    max_output_tokens: u64,
}

impl<'a> ChatRequest<'a> {
    /// Reads what steers the request and refuses what could be read in two ways.
    ///
    /// # Errors
    /// [`ChatError`] names the member.
    pub(crate) fn read(root: &'a Node) -> Result<Self, ChatError> {
        if !root.is_object() {
            return Err(ChatError::Member("body", "must be an object"));
        }
        refuse_case_variants(root, &REQUEST_NAMES)?;
        refuse_case_variants(root, &STEERING)?;
        if let Some(name) = STEERING.into_iter().find(|name| root.get(name).is_some()) {
            return Err(ChatError::Steers(name));
        }
        let model = root.get("model").ok_or(MODEL)?;
        let name = model.as_str().filter(|name| !name.is_empty()).ok_or(MODEL)?;
        check_flag(root, "stream")?;
        let request = Self { root, model, name, max_output_tokens: max_output_tokens(root)? };
        if request.messages().is_empty() {
            return Err(ChatError::Member("messages", "must be a list with at least one message"));
        }
        for message in request.messages() {
            role_origin(message)?;
            check_names(message)?;
        }
        Ok(request)
    }

    /// The model as the caller names it, never empty.
    pub(crate) fn model(&self) -> &'a str {
        self.name
    }

    /// Names another model.
    pub(crate) fn rename_model(&self, edits: &mut Edits, name: &str) {
        edits.replace_with_string(self.model, name);
    }

    fn messages(&self) -> &'a [Node] {
        self.root.get("messages").map_or(&[], Node::items)
    }

    /// Every text that goes to the model or provider: messages by their role, tool definitions, and whatever
    /// other strings the body has, as text of the user.
    pub(crate) fn content(&self) -> Vec<Content> {
        let mut out = Vec::new();
        for (index, message) in self.messages().iter().enumerate() {
            // `read` has refused unknown roles.
            let origin = role_origin(message).unwrap_or(Origin::User);
            walk(&mut out, origin, &mut format!("/messages/{index}"), message);
        }
        for member in self.root.members() {
            let origin = match &*member.key {
                "messages" | "model" => continue,
                "tools" | "functions" => Origin::ToolDefinition,
                "response_format" => Origin::System,
                _ => Origin::User,
            };
            if member.value.as_str().is_some_and(is_identifier) {
                continue;
            }
            push_name(&mut out, origin, "", &member.key);
            walk(&mut out, origin, &mut format!("/{}", escape_token(&member.key)), &member.value);
        }
        out
    }

    /// What the request may use. Input tokens are an estimate, four bytes of text each and rounded up; output
    /// tokens are what the request allows, for every choice asked for, and 0 where it sets no bound.
    pub(crate) fn usage(&self, content: &[Content]) -> Usage {
        Usage {
            input_tokens: text::estimated_tokens(text::text_bytes(content)),
            max_output_tokens: self.max_output_tokens,
            ..Usage::default()
        }
    }
}

const MODEL: ChatError = ChatError::Member("model", "must be a text that names the model");

fn refuse_case_variants(node: &Node, known: &[&str]) -> Result<(), ChatError> {
    match node.case_variant_of(known) {
        Some(name) => Err(ChatError::CaseVariant(name.to_owned())),
        None => Ok(()),
    }
}

/// Checks the names in a message, its parts and its tool calls.
fn check_names(message: &Node) -> Result<(), ChatError> {
    refuse_case_variants(message, &MESSAGE_NAMES)?;
    for list in ["content", "tool_calls"] {
        for item in message.get(list).map_or(&[][..], Node::items) {
            refuse_case_variants(item, &MESSAGE_NAMES)?;
            if let Some(function) = item.get("function") {
                refuse_case_variants(function, &MESSAGE_NAMES)?;
            }
        }
    }
    Ok(())
}

fn check_flag(root: &Node, name: &'static str) -> Result<(), ChatError> {
    match root.get(name) {
        Some(node) if !node.is_null() && node.as_bool().is_none() => {
            Err(ChatError::Member(name, "must be true or false"))
        }
        _ => Ok(()),
    }
}

fn count(root: &Node, name: &'static str) -> Result<Option<u64>, ChatError> {
    match root.get(name) {
        None => Ok(None),
        Some(node) if node.is_null() => Ok(None),
        Some(node) => node
            .as_u64()
            .map(Some)
            .ok_or(ChatError::Member(name, "must be a whole number, not negative")),
    }
}

/// The larger of both names of the bound, for every choice.
fn max_output_tokens(root: &Node) -> Result<u64, ChatError> {
    let bound = count(root, "max_tokens")?.max(count(root, "max_completion_tokens")?);
    let choices = count(root, "n")?.unwrap_or(1).max(1);
    Ok(bound.unwrap_or(0).saturating_mul(choices))
}

fn role_origin(message: &Node) -> Result<Origin, ChatError> {
    let role = message.get("role").and_then(Node::as_str);
    let role = role.ok_or(ChatError::Member("messages[].role", "must be a text"))?;
    match role {
        "system" | "developer" => Ok(Origin::System),
        "user" => Ok(Origin::User),
        "assistant" => Ok(Origin::Assistant),
        "tool" | "function" => Ok(Origin::ToolResult),
        other => Err(ChatError::Role(other.chars().take(MAX_NAME_BYTES).collect())),
    }
}

/// Collects every string below `node`, but for roles and the protocol's own type words.
fn walk(out: &mut Vec<Content>, origin: Origin, at: &mut String, node: &Node) {
    if let Some(text) = node.as_str() {
        text::push_parts(out, origin, at, text);
    }
    let length = at.len();
    for (index, item) in node.items().iter().enumerate() {
        text::step(at, index);
        walk(out, origin, at, item);
        at.truncate(length);
    }
    for member in node.members() {
        let word = member.value.as_str().is_some_and(is_identifier);
        if word && matches!(&*member.key, "role" | "type") {
            continue;
        }
        push_name(out, origin, at, &member.key);
        text::step(at, escape_token(&member.key));
        walk(out, origin_below(origin, &member.key), at, &member.value);
        at.truncate(length);
    }
}

/// What an assistant message passes to tools is an argument, not its talk.
fn origin_below(origin: Origin, key: &str) -> Origin {
    match (origin, key) {
        (Origin::Assistant, "arguments" | "input") => Origin::ToolArgs,
        _ => origin,
    }
}

/// A member name that is no plain name is a text too: a model reads it like any other.
fn push_name(out: &mut Vec<Content>, origin: Origin, at: &str, name: &str) {
    let keyish = name.len() >= MIN_KEY_BYTES && name.bytes().any(|b| b.is_ascii_digit());
    let plain = name.len() <= MAX_NAME_BYTES
        && !keyish
        && name
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-' | b'.' | b'$'));
    if !plain {
        // The pointer is that of the object, so that no mask can take the name for its value.
        out.push(text::part(origin, at, "text/plain", name));
    }
}

#[cfg(test)]
#[path = "chat_tests.rs"]
mod tests;
