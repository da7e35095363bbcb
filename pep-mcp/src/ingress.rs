//! What came in becomes one JSON-RPC message whose every part is known, and then a request of the
//! five stages. Nothing here is decided; everything ambiguous is refused.

use axum::http::HeaderMap;
use axum::http::request::Parts;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use lictor_pep_core::listen::ClientCertificate;
use lictor_pep_core::session::handle_of;
use lictor_pep_core::{Proof, Refusal, Request, headers};
use lictor_proto::call::{Origin, ResourceKind};
use lictor_proto::json::{Node, Open, ScanError, scan};
use lictor_proto::reason;

use crate::config::Server;
use crate::methods::{self, Row};
use crate::refusal::Bounce;
use crate::texts::Texts;

/// The stateless revision.
pub(crate) const MODERN_VERSION: &str = "2026-07-28";
/// The revisions with `initialize`, oldest first.
pub(crate) const LEGACY_VERSIONS: [&str; 3] = ["2025-03-26", "2025-06-18", "2025-11-25"];
/// The member of `params._meta` that names the revision.
const META_VERSION: &str = "io.modelcontextprotocol/protocolVersion";
/// The member of `params._meta` that may carry the session handle. It is ours and not forwarded.
const META_SESSION: &str = "dev.lictor/session";
/// Longest JSON-RPC id, bytes of its text.
pub(crate) const MAX_ID_BYTES: usize = 1024;

/// How methods begin that nobody answers.
const NOTIFICATIONS: &str = "notifications/";
/// How headers begin that repeat arguments.
const PARAM_PREFIX: &str = "mcp-param-";

/// Envelope members; a name that equals one only under case folding is refused.
pub(crate) const ENVELOPE: [&str; 6] = ["jsonrpc", "id", "method", "params", "result", "error"];
/// Members of `params` that steer a decision.
const STEERING: [&str; 6] = ["name", "arguments", "uri", "taskId", "_meta", "inputResponses"];

/// JSON-RPC: not JSON at all.
pub(crate) const PARSE_ERROR: i64 = -32700;
/// JSON-RPC: not one request.
pub(crate) const INVALID_REQUEST: i64 = -32600;
/// JSON-RPC: no such method.
pub(crate) const METHOD_NOT_FOUND: i64 = -32601;
/// JSON-RPC: parameters that do not fit.
pub(crate) const INVALID_PARAMS: i64 = -32602;
/// MCP 2026-07-28: headers and body disagree.
pub(crate) const HEADER_MISMATCH: i64 = -32020;
/// MCP 2026-07-28: a revision that is not spoken here.
pub(crate) const VERSION_UNSUPPORTED: i64 = -32022;

/// Which half of the protocol's history a message belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Era {
    /// `initialize` and sessions.
    Legacy,
    /// Every request stands for itself.
    Modern,
}

/// What a message is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Shape {
    /// A request; the id as JSON text.
    Request(String),
    /// A notification.
    Notification,
    /// An answer to a request of the server (legacy).
    Answer,
}

/// One message of a client.
#[derive(Debug, Clone)]
pub(crate) struct Inbound {
    pub(crate) era: Era,
    pub(crate) version: String,
    pub(crate) bytes: Bytes,
    pub(crate) node: Node,
    pub(crate) shape: Shape,
    pub(crate) row: &'static Row,
    pub(crate) resource_id: String,
    pub(crate) session: Option<String>,
}

impl Inbound {
    /// The id to answer with, as JSON text.
    pub(crate) fn id(&self) -> Option<&str> {
        match &self.shape {
            Shape::Request(id) => Some(id),
            Shape::Notification | Shape::Answer => None,
        }
    }

    /// The arguments as a tree; `None` where there are none.
    pub(crate) fn args(&self) -> Option<&Node> {
        args_of(&self.node)
    }

    /// Every text that goes to the server with this message.
    pub(crate) fn texts(&self) -> Texts<'_> {
        let mut texts = Texts::default();
        if self.shape == Shape::Answer {
            for member in ["result", "error"] {
                if let Some(node) = self.node.get(member) {
                    texts.add(node, &format!("/{member}"), Origin::ToolArgs);
                }
            }
            return texts;
        }
        if let Some(args) = self.args() {
            texts.add(args, "", Origin::ToolArgs);
        }
        // Whatever else goes along is read by the server as well.
        let read = ["arguments", self.row.param.unwrap_or_default()];
        for member in self.node.get("params").map_or(&[][..], Node::members) {
            if !read.contains(&&*member.key) {
                texts.add_member(member, "/params", Origin::ToolArgs);
            }
        }
        for member in self.node.members() {
            if !ENVELOPE.contains(&&*member.key) {
                texts.add_member(member, "", Origin::ToolArgs);
            }
        }
        texts
    }

    /// The request of the five stages.
    pub(crate) fn request(
        &self,
        server: &Server,
        headers: &HeaderMap,
        source_ip: String,
        proof: Proof,
    ) -> Request {
        let kind = self.row.kind;
        let mut request = Request::new(proof, self.row.action, kind, &self.resource_id);
        request.args = self.args().map(|node| Open::from_node(node.clone())).unwrap_or_default();
        request.content = self.texts().content;
        request.session.clone_from(&self.session);
        request.protocol = format!("mcp/{}", self.version);
        request.source_ip = source_ip;
        request.trace_id = headers::trace_id(headers).unwrap_or_default();
        request.targets = vec![server.url.clone()];
        request
    }
}

/// The arguments of a scanned message.
pub(crate) fn args_of(node: &Node) -> Option<&Node> {
    node.pointer("/params/arguments")
}

/// How the caller of a request to the enforcement point that is reached at `public_url` proves
/// itself. One for each request: a proof of possession counts only once.
pub(crate) fn proof_of(head: &Parts, public_url: &str) -> Proof {
    let url = format!("{public_url}{}", head.uri.path());
    Proof::from_headers(&head.headers, &head.method, &url)
        .with_certificate(head.extensions.get::<ClientCertificate>().cloned())
}

/// Reads one POST body.
pub(crate) fn read(headers: &HeaderMap, bytes: Bytes, server: &Server) -> Result<Inbound, Bounce> {
    let node = scan(&bytes).map_err(|error| unreadable(&error))?;
    if matches!(node.value, lictor_proto::json::Value::Array(_)) {
        return Err(Bounce::new(
            Refusal::new(reason::BATCH_REFUSED, "JSON-RPC batches are refused: send one message"),
            INVALID_REQUEST,
        ));
    }
    let id = id_of(&node)?;
    let refused = |bounce: Bounce| bounce.answering(id.as_deref());
    let (shape, method) = shape_of(&node, id.clone()).map_err(refused)?;
    let (era, version) = era_of(headers, &node, &shape).map_err(refused)?;
    let refused = |bounce: Bounce| bounce.answering(id.as_deref()).in_era(era);
    let row = match (&shape, method) {
        (Shape::Answer, _) => Some(&methods::ANSWER),
        (_, Some(method)) => methods::row(method),
        (_, None) => None,
    };
    let Some(row) = row else {
        let message = format!("the method `{}` is not known here", method.unwrap_or_default());
        let refusal = Refusal::new(reason::METHOD_UNKNOWN, message);
        return Err(refused(Bounce::new(refusal, METHOD_NOT_FOUND)));
    };
    check_shape(&shape, era, row).map_err(refused)?;
    check_headers(headers, era, &shape, method, row, &node).map_err(refused)?;
    check_params(&node).map_err(refused)?;
    check_repeated(headers, &node).map_err(refused)?;
    let resource_id = resource_id(server, row, &node).map_err(refused)?;
    let session = session_of(headers, &node).map_err(refused)?;
    let bytes = without_session(bytes, &node).map_err(refused)?;
    // The session handle is cut out of the bytes, so the tree is read again where it was there.
    let node = match &bytes {
        Forwarded::AsReceived(_) => node,
        Forwarded::Cut(cut) => scan(cut).map_err(|error| refused(unreadable(&error)))?,
    };
    let bytes = bytes.into_bytes();
    Ok(Inbound { era, version, bytes, node, shape, row, resource_id, session })
}

fn unreadable(error: &ScanError) -> Bounce {
    Bounce::new(Refusal::new(error.reason_id(), error.to_string()), PARSE_ERROR)
}

fn invalid(message: impl Into<String>) -> Bounce {
    Bounce::new(Refusal::new(reason::BODY_INVALID, message), INVALID_REQUEST)
}

fn bad_params(message: impl Into<String>) -> Bounce {
    Bounce::new(Refusal::new(reason::BODY_INVALID, message), INVALID_PARAMS)
}

fn mismatch(message: impl Into<String>) -> Bounce {
    Bounce::new(Refusal::new(reason::HEADER_MISMATCH, message), HEADER_MISMATCH)
}

/// The id as JSON text, if there is one. `null`, fractions and structures are no ids.
fn id_of(node: &Node) -> Result<Option<String>, Bounce> {
    use lictor_proto::json::Value;
    let Some(id) = node.get("id") else {
        return Ok(None);
    };
    let usable = match &id.value {
        Value::String(_) => true,
        Value::Number(number) => number.is_integer(),
        _ => false,
    };
    let text = id.compact();
    if usable && text.len() <= MAX_ID_BYTES {
        Ok(Some(text))
    } else {
        Err(invalid(format!("`id` must be a string or an integer of at most {MAX_ID_BYTES} bytes")))
    }
}

fn shape_of(node: &Node, id: Option<String>) -> Result<(Shape, Option<&str>), Bounce> {
    if !node.is_object() {
        return Err(invalid("the body must be one JSON-RPC object"));
    }
    if let Some(variant) = node.case_variant_of(&ENVELOPE) {
        return Err(invalid(format!("`{variant}` could be taken for a member of the envelope")));
    }
    if node.get("jsonrpc").and_then(Node::as_str) != Some("2.0") {
        return Err(invalid("`jsonrpc` must be \"2.0\""));
    }
    let answers = node.get("result").is_some() || node.get("error").is_some();
    match (node.get("method"), id, answers) {
        (Some(method), id, false) => {
            let method = method.as_str().ok_or_else(|| invalid("`method` must be a string"))?;
            let shape = id.map_or(Shape::Notification, Shape::Request);
            Ok((shape, Some(method)))
        }
        (None, Some(_), true) => Ok((Shape::Answer, None)),
        _ => Err(invalid("the body is neither a request, a notification nor an answer")),
    }
}

/// Requests have an id and notifications have none: what is sent the other way round would be run
/// without anybody who gets its answer. The modern era has no answers of clients.
fn check_shape(shape: &Shape, era: Era, row: &Row) -> Result<(), Bounce> {
    let notifies = row.method.starts_with(NOTIFICATIONS);
    match shape {
        Shape::Request(_) if notifies => Err(invalid("a notification has no `id`")),
        Shape::Notification if !notifies => Err(invalid("this method needs an `id`")),
        Shape::Answer if era == Era::Modern => Err(invalid("this revision has no answers to send")),
        _ => Ok(()),
    }
}

fn era_of(headers: &HeaderMap, node: &Node, shape: &Shape) -> Result<(Era, String), Bounce> {
    let header = single(headers, "mcp-protocol-version")?;
    let meta =
        match node.pointer("/params/_meta").and_then(|meta| meta.get(META_VERSION)) {
            None => None,
            Some(node) => Some(node.as_str().ok_or_else(|| {
                bad_params(format!("`_meta[\"{META_VERSION}\"]` must be a string"))
            })?),
        };
    let named = match (header, meta) {
        (None, None) => return Ok((Era::Legacy, LEGACY_VERSIONS[0].to_owned())),
        (Some(header), Some(meta)) if header != meta => {
            let message = "`MCP-Protocol-Version` and the body name different revisions";
            return Err(mismatch(message).in_era(Era::Modern));
        }
        (None, Some(MODERN_VERSION)) => {
            return Err(mismatch("`MCP-Protocol-Version` is missing").in_era(Era::Modern));
        }
        (Some(MODERN_VERSION), None) if matches!(shape, Shape::Request(_)) => {
            let message = format!("`params._meta[\"{META_VERSION}\"]` is missing");
            return Err(bad_params(message).in_era(Era::Modern));
        }
        (Some(named), _) | (None, Some(named)) => named,
    };
    if named == MODERN_VERSION {
        Ok((Era::Modern, named.to_owned()))
    } else if LEGACY_VERSIONS.contains(&named) {
        Ok((Era::Legacy, named.to_owned()))
    } else {
        Err(unsupported(named))
    }
}

/// The refusal of a revision that is not spoken here.
fn unsupported(requested: &str) -> Bounce {
    let supported: Vec<&str> = LEGACY_VERSIONS.into_iter().chain([MODERN_VERSION]).collect();
    let refusal =
        Refusal::new(reason::BODY_INVALID, "this revision of the protocol is not spoken here");
    Bounce::new(refusal, VERSION_UNSUPPORTED)
        .with_data("supported", serde_json::json!(supported))
        .with_data("requested", serde_json::json!(requested))
        .in_era(Era::Modern)
}

/// The era of a request without a body.
pub(crate) fn era_of_headers(headers: &HeaderMap) -> Result<(Era, String), Bounce> {
    match single(headers, "mcp-protocol-version")? {
        None => Ok((Era::Legacy, LEGACY_VERSIONS[0].to_owned())),
        Some(MODERN_VERSION) => Ok((Era::Modern, MODERN_VERSION.to_owned())),
        Some(named) if LEGACY_VERSIONS.contains(&named) => Ok((Era::Legacy, named.to_owned())),
        Some(named) => Err(unsupported(named)),
    }
}

/// The one value of a header; several are refused, since readers differ on which counts.
fn single<'h>(headers: &'h HeaderMap, name: &str) -> Result<Option<&'h str>, Bounce> {
    let mut values = headers.get_all(name).iter();
    let Some(value) = values.next() else {
        return Ok(None);
    };
    if values.next().is_some() {
        return Err(mismatch(format!("`{name}` came more than once")));
    }
    let text = value.to_str().map_err(|_| mismatch(format!("`{name}` is not visible ASCII")))?;
    Ok(Some(text))
}

/// The modern era must repeat method and name in headers; wherever they are there they must agree
/// with the body, so that nothing in between can be steered by another truth.
fn check_headers(
    headers: &HeaderMap,
    era: Era,
    shape: &Shape,
    method: Option<&str>,
    row: &Row,
    node: &Node,
) -> Result<(), Bounce> {
    let required = era == Era::Modern && matches!(shape, Shape::Request(_));
    agree(headers, "mcp-method", method, required)?;
    let name = row.named.and_then(|member| node.get("params")?.get(member)?.as_str());
    agree(headers, "mcp-name", name, required && row.named.is_some())
}

fn agree(
    headers: &HeaderMap,
    name: &str,
    body: Option<&str>,
    required: bool,
) -> Result<(), Bounce> {
    match (single(headers, name)?, body) {
        (Some(header), Some(body)) if decoded(header).as_deref() == Some(body) => Ok(()),
        (None, _) if !required => Ok(()),
        (None, _) => Err(mismatch(format!("`{name}` is missing"))),
        (Some(_), _) => Err(mismatch(format!("`{name}` does not repeat what the body says"))),
    }
}

/// Headers that repeat arguments must say what some argument says. Which one each repeats stands in
/// the tool's schema, and the server checks that; here no value passes that was not decided about.
fn check_repeated(headers: &HeaderMap, node: &Node) -> Result<(), Bounce> {
    let names = headers.keys().filter(|name| name.as_str().starts_with(PARAM_PREFIX));
    for name in names {
        let value = single(headers, name.as_str())?.and_then(decoded);
        let repeats = value.is_some_and(|value| args_of(node).is_some_and(|n| says(n, &value)));
        if !repeats {
            return Err(mismatch(format!("`{name}` does not repeat an argument")));
        }
    }
    Ok(())
}

/// Whether a scalar below `node` reads as `text`.
fn says(node: &Node, text: &str) -> bool {
    use lictor_proto::json::Value;
    match &node.value {
        Value::String(value) => &**value == text,
        Value::Bool(value) => text == if *value { "true" } else { "false" },
        // Integers are compared as numbers.
        Value::Number(number) => {
            number.text() == text
                || number.as_i64().is_some_and(|number| text.parse() == Ok(number))
        }
        Value::Null => false,
        Value::Array(items) => items.iter().any(|item| says(item, text)),
        Value::Object(members) => members.iter().any(|member| says(&member.value, text)),
    }
}

/// A header value, with the `=?base64?…?=` form undone.
fn decoded(value: &str) -> Option<String> {
    match value.strip_prefix("=?base64?").and_then(|rest| rest.strip_suffix("?=")) {
        None => Some(value.to_owned()),
        Some(coded) => String::from_utf8(STANDARD.decode(coded).ok()?).ok(),
    }
}

fn check_params(node: &Node) -> Result<(), Bounce> {
    let Some(params) = node.get("params") else {
        return Ok(());
    };
    if !params.is_object() {
        return Err(bad_params("`params` must be an object"));
    }
    if let Some(variant) = params.case_variant_of(&STEERING) {
        return Err(bad_params(format!("`params.{variant}` could be taken for another member")));
    }
    let objects = ["arguments", "_meta"];
    let wrong = objects.iter().find(|name| params.get(name).is_some_and(|node| !node.is_object()));
    match wrong {
        Some(name) => Err(bad_params(format!("`params.{name}` must be an object"))),
        None => Ok(()),
    }
}

/// The registry id of what the message is about.
fn resource_id(server: &Server, row: &Row, node: &Node) -> Result<String, Bounce> {
    let Some(param) = row.param else {
        return Ok(server.id.clone());
    };
    let name = node.get("params").and_then(|params| params.get(param)).and_then(Node::as_str);
    match name {
        Some(name) if !name.is_empty() => Ok(entry_id(server, name)),
        _ => Err(bad_params(format!("`params.{param}` must be a string that is not empty"))),
    }
}

/// The registry id of a server's entry. Ids of servers hold no slash, so the two parts cannot be
/// mistaken for others.
pub(crate) fn entry_id(server: &Server, name: &str) -> String {
    format!("{}/{name}", server.id)
}

fn session_of(headers: &HeaderMap, node: &Node) -> Result<Option<String>, Bounce> {
    let header = handle_of(headers);
    let meta = node.pointer("/params/_meta").and_then(|meta| meta.get(META_SESSION));
    let meta =
        match meta {
            None => None,
            Some(node) => Some(node.as_str().map(str::to_owned).ok_or_else(|| {
                bad_params(format!("`_meta[\"{META_SESSION}\"]` must be a string"))
            })?),
        };
    match (header, meta) {
        (Some(header), Some(meta)) if header != meta => {
            Err(mismatch("`Lictor-Session` and the body name different sessions"))
        }
        (header, meta) => Ok(header.or(meta)),
    }
}

enum Forwarded {
    AsReceived(Bytes),
    Cut(Bytes),
}

impl Forwarded {
    fn into_bytes(self) -> Bytes {
        match self {
            Self::AsReceived(bytes) | Self::Cut(bytes) => bytes,
        }
    }
}

/// The body without our own session handle, which is nothing for the server to have.
fn without_session(bytes: Bytes, node: &Node) -> Result<Forwarded, Bounce> {
    let meta = node.pointer("/params/_meta").filter(|meta| meta.get(META_SESSION).is_some());
    let Some(meta) = meta else {
        return Ok(Forwarded::AsReceived(bytes));
    };
    let mut edits = lictor_pep_core::edit::Edits::new();
    edits.remove_member(meta, META_SESSION);
    let cut = edits.apply(&bytes).map_err(|error| invalid(error.to_string()))?;
    Ok(Forwarded::Cut(cut.into()))
}

/// A request without a body (legacy GET and DELETE), as one of the five stages.
pub(crate) fn bodiless(
    server: &Server,
    headers: &HeaderMap,
    version: &str,
    source_ip: String,
    proof: Proof,
) -> Request {
    let row = &methods::SESSION;
    let mut request = Request::new(proof, row.action, ResourceKind::Server, &server.id);
    request.session = handle_of(headers);
    request.protocol = format!("mcp/{version}");
    request.source_ip = source_ip;
    request.trace_id = headers::trace_id(headers).unwrap_or_default();
    request.targets = vec![server.url.clone()];
    request
}

#[cfg(test)]
#[path = "ingress_tests.rs"]
mod tests;
