//! `tools/list` of a running MCP server over Streamable HTTP, in the newest protocol that it
//! speaks: 2026-07-28 without a session, or else 2025-11-25 and older with one. What it answers is
//! as foreign as what a caller sends: sizes, pages and times are bounded, redirects not followed.

use std::collections::HashSet;
use std::path::Path;
use std::time::Duration;

use lictor_identity::Secret;
use lictor_pep_mcp::sse::{Heard, Splitter, data_of, heard};
use lictor_proto::json::{Node, scan};
use reqwest::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, HeaderMap, HeaderValue};
use reqwest::redirect::Policy;
use reqwest::{Client, Response, StatusCode, Url};
use serde_json::{Value, json};

use super::definitions::{
    Definition, LIST_MAX_BYTES, ListError, TOOLS_MAX, definitions, page, result_of,
};
use crate::args::pdp::block_on;
use crate::exit::{Failure, chain, io};
use crate::output::shown;

/// The protocol without sessions.
const MODERN: &str = "2026-07-28";
/// The newest protocol with sessions.
const LEGACY: &str = "2025-11-25";
/// Protocols with sessions that a server may choose instead.
const LEGACY_KNOWN: [&str; 3] = ["2025-11-25", "2025-06-18", "2025-03-26"];
/// How long a connection may take, seconds.
const CONNECT_TIMEOUT_S: u64 = 5;
/// How long one answer may take, seconds.
const ANSWER_TIMEOUT_S: u64 = 30;
/// Most pages of one list.
const PAGES_MAX: usize = 256;
/// Most bytes of an error that are read.
const ERROR_MAX_BYTES: usize = 64 * 1024;
/// Longest file with a token, bytes.
const TOKEN_MAX_BYTES: u64 = 16 * 1024;

/// All definitions of the server at `url`.
///
/// # Errors
/// A URL or token that cannot be used, and a server that gives no list of tools.
pub(super) fn list(url: &str, token_file: Option<&Path>) -> Result<Vec<Definition>, Failure> {
    let url = address(url)?;
    let token = token_file.map(token).transpose()?;
    if token.is_some() && url.scheme() != "https" && !is_local(&url) {
        return Err(Failure::usage(format!("a token would go to `{url}` unprotected"))
            .help("use `https://`, or a server on this machine"));
    }
    let server = Server::new(url, token)?;
    block_on(async { server.tools().await.map_err(|refused| server.failure(&refused)) })
}

fn address(text: &str) -> Result<Url, Failure> {
    let url = Url::parse(text)
        .map_err(|error| Failure::usage(format!("`{text}` is not a URL: {error}")))?;
    if !url.username().is_empty() || url.password().is_some() {
        return Err(Failure::usage("the URL has a user or a password in it")
            .help("put a bearer token into a file and give `--token-file`"));
    }
    Ok(url)
}

fn is_local(url: &Url) -> bool {
    match url.host_str() {
        Some("localhost") => true,
        Some(host) => host
            .trim_start_matches('[')
            .trim_end_matches(']')
            .parse::<std::net::IpAddr>()
            .is_ok_and(|address| address.is_loopback()),
        None => false,
    }
}

fn token(path: &Path) -> Result<Secret, Failure> {
    let size = std::fs::metadata(path).map_err(|error| io("read", path, error))?.len();
    if size > TOKEN_MAX_BYTES {
        return Err(io("use", path, "it is too large for a token"));
    }
    let text = std::fs::read_to_string(path).map_err(|error| io("read", path, error))?;
    let text = Secret::from(text);
    match text.trim() {
        "" => Err(io("use", path, "it is empty")),
        trimmed => Ok(Secret::from(trimmed.to_owned())),
    }
}

/// Why a server gave no list.
#[derive(Debug, thiserror::Error)]
enum Refused {
    #[error("it does not answer: {0}")]
    Unreachable(String),
    #[error("it asks for a credential ({0})")]
    Credential(StatusCode),
    #[error("it answers {status}{}", said(.message))]
    Status { status: StatusCode, message: String },
    #[error("it answers more than {0} bytes")]
    TooLarge(usize),
    #[error("{0}")]
    Answer(String),
    #[error("{0}")]
    List(#[from] ListError),
    #[error("{MODERN}: {modern}; {LEGACY}: {legacy}")]
    Both { modern: Box<Refused>, legacy: Box<Refused> },
}

fn said(message: &str) -> String {
    if message.is_empty() { String::new() } else { format!(": {message}") }
}

impl Refused {
    /// Whether the server may only speak another protocol.
    fn may_be_older(&self) -> bool {
        matches!(self, Self::Status { .. } | Self::Answer(_) | Self::List(ListError::Rpc { .. }))
    }
}

/// What requests carry beside their method.
#[derive(Debug, Default)]
struct Era {
    /// None before it is agreed on.
    version: Option<String>,
    modern: bool,
    session: Option<HeaderValue>,
}

struct Server {
    client: Client,
    url: Url,
    token: Option<Secret>,
}

impl Server {
    fn new(url: Url, token: Option<Secret>) -> Result<Self, Failure> {
        let builder = Client::builder()
            .redirect(Policy::none())
            .connect_timeout(Duration::from_secs(CONNECT_TIMEOUT_S))
            .timeout(Duration::from_secs(ANSWER_TIMEOUT_S))
            .user_agent(concat!("lictor/", env!("CARGO_PKG_VERSION")));
        let builder = if is_local(&url) { builder.no_proxy() } else { builder };
        let client = builder.build().map_err(|error| Failure::error(&error))?;
        Ok(Self { client, url, token })
    }

    fn failure(&self, refused: &Refused) -> Failure {
        let failure = Failure::failed(format!("the MCP server at `{}`: {refused}", self.url));
        match refused {
            Refused::Credential(_) => failure.help("give `--token-file`"),
            Refused::Unreachable(_) => failure.help("check the address, and that it runs"),
            Refused::Both { .. } => failure.help("check the path of the URL, often `/mcp`"),
            _ => failure,
        }
    }

    async fn tools(&self) -> Result<Vec<Definition>, Refused> {
        let modern = Era { version: Some(MODERN.to_owned()), modern: true, session: None };
        match self.pages(&modern).await {
            Err(refused) if refused.may_be_older() => {
                self.legacy().await.map_err(|legacy| match legacy {
                    grave @ (Refused::Unreachable(_) | Refused::Credential(_)) => grave,
                    legacy => Refused::Both { modern: Box::new(refused), legacy: Box::new(legacy) },
                })
            }
            done => done,
        }
    }

    async fn legacy(&self) -> Result<Vec<Definition>, Refused> {
        let params = json!({
            "protocolVersion": LEGACY, "capabilities": {},
            "clientInfo": {"name": "lictor", "version": env!("CARGO_PKG_VERSION")},
        });
        let hello = json!({"jsonrpc": "2.0", "id": 0, "method": "initialize", "params": params});
        let response = self.send(&hello, &Era::default()).await?;
        let session = response.headers().get("mcp-session-id").cloned();
        let (result, _) = answer(response, 0, LIST_MAX_BYTES).await?;
        let version = result.get("protocolVersion").and_then(Node::as_str).unwrap_or_default();
        if !LEGACY_KNOWN.contains(&version) {
            return Err(Refused::Answer(format!("it speaks `{}` only", shown(version))));
        }
        let era = Era { version: Some(version.to_owned()), modern: false, session };
        let ready = json!({"jsonrpc": "2.0", "method": "notifications/initialized"});
        self.send(&ready, &era).await?;
        let listed = self.pages(&era).await;
        if era.session.is_some() {
            // The session is ours to end; whether the server lets us is its own affair.
            let ended = self.client.delete(self.url.clone()).headers(self.headers("", &era)?);
            drop(ended.send().await);
        }
        listed
    }

    async fn pages(&self, era: &Era) -> Result<Vec<Definition>, Refused> {
        let (mut tools, mut seen) = (Vec::new(), HashSet::new());
        let mut room_bytes = LIST_MAX_BYTES;
        let mut cursor: Option<String> = None;
        for id in 1..=PAGES_MAX {
            let body = json!({
                "jsonrpc": "2.0", "id": id, "method": "tools/list",
                "params": params(cursor.as_deref(), era.modern),
            });
            let response = self.send(&body, era).await?;
            let (result, bytes) = answer(response, id, room_bytes).await?;
            room_bytes = room_bytes.saturating_sub(bytes);
            let (more, next) = page(result)?;
            tools.extend(more);
            if tools.len() > TOOLS_MAX {
                return Err(ListError::TooMany.into());
            }
            match next {
                None => return Ok(definitions(tools)?),
                Some(next) if !seen.insert(next.clone()) => {
                    return Err(Refused::Answer("its pages go round in a circle".to_owned()));
                }
                Some(next) => cursor = Some(next),
            }
        }
        Err(Refused::Answer(format!("its list has more than {PAGES_MAX} pages")))
    }

    fn headers(&self, method: &str, era: &Era) -> Result<HeaderMap, Refused> {
        let unusable = |_| Refused::Answer("what it chose cannot be a header".to_owned());
        let mut headers = HeaderMap::new();
        headers.insert(ACCEPT, HeaderValue::from_static("application/json, text/event-stream"));
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        if let Some(version) = &era.version {
            let version = HeaderValue::from_str(version).map_err(unusable)?;
            headers.insert("mcp-protocol-version", version);
        }
        if era.modern {
            headers.insert("mcp-method", HeaderValue::from_str(method).map_err(unusable)?);
        }
        if let Some(session) = &era.session {
            headers.insert("mcp-session-id", session.clone());
        }
        if let Some(token) = &self.token {
            let mut value = HeaderValue::from_str(&format!("Bearer {}", &**token))
                .map_err(|_| Refused::Answer("the token cannot be a header".to_owned()))?;
            value.set_sensitive(true);
            headers.insert(AUTHORIZATION, value);
        }
        Ok(headers)
    }

    async fn send(&self, body: &Value, era: &Era) -> Result<Response, Refused> {
        let method = body.get("method").and_then(Value::as_str).unwrap_or_default();
        let request = self.client.post(self.url.clone()).headers(self.headers(method, era)?);
        let response = request.body(body.to_string()).send().await.map_err(unreachable)?;
        let status = response.status();
        if status.is_success() {
            return Ok(response);
        }
        if matches!(status, StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN) {
            return Err(Refused::Credential(status));
        }
        // Only for people to read.
        let message = match whole(response, ERROR_MAX_BYTES).await {
            Ok(bytes) => error_message(&bytes),
            Err(_) => String::new(),
        };
        Err(Refused::Status { status, message })
    }
}

fn unreachable(error: reqwest::Error) -> Refused {
    // The address is said beside it.
    Refused::Unreachable(chain(&error.without_url()))
}

fn params(cursor: Option<&str>, modern: bool) -> Value {
    let mut params = serde_json::Map::new();
    if let Some(cursor) = cursor {
        params.insert("cursor".to_owned(), cursor.into());
    }
    if modern {
        let meta = json!({
            "io.modelcontextprotocol/protocolVersion": MODERN,
            "io.modelcontextprotocol/clientCapabilities": {},
            "io.modelcontextprotocol/clientInfo":
                {"name": "lictor", "version": env!("CARGO_PKG_VERSION")},
        });
        params.insert("_meta".to_owned(), meta);
    }
    params.into()
}

fn error_message(bytes: &[u8]) -> String {
    let node = scan(bytes).ok();
    let message = node.as_ref().and_then(|node| node.get("error")?.get("message")?.as_str());
    message.map(shown).unwrap_or_default()
}

/// The result with this id, and how many bytes were read for it.
async fn answer(response: Response, id: usize, max_bytes: usize) -> Result<(Node, usize), Refused> {
    let kind = response.headers().get(CONTENT_TYPE).and_then(|value| value.to_str().ok());
    let kind = kind.and_then(|kind| kind.split(';').next()).unwrap_or_default().trim();
    if kind.eq_ignore_ascii_case("text/event-stream") {
        return streamed(response, id, max_bytes).await;
    }
    if !kind.eq_ignore_ascii_case("application/json") {
        let kind = shown(kind);
        return Err(Refused::Answer(format!("it answers `{kind}`, which no MCP server does")));
    }
    let bytes = whole(response, max_bytes).await?;
    let node = scan(&bytes).map_err(ListError::from)?;
    if node.get("id").map(Node::compact) != Some(id.to_string()) && node.get("error").is_none() {
        return Err(Refused::Answer("its answer has another id than the question".to_owned()));
    }
    Ok((result_of(node)?, bytes.len()))
}

async fn whole(mut response: Response, max_bytes: usize) -> Result<Vec<u8>, Refused> {
    let mut bytes = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(unreachable)? {
        if bytes.len() + chunk.len() > max_bytes {
            return Err(Refused::TooLarge(max_bytes));
        }
        bytes.extend_from_slice(&chunk);
    }
    Ok(bytes)
}

/// Notifications before the answer are passed over; a stream may go on behind it.
async fn streamed(
    mut response: Response,
    id: usize,
    max_bytes: usize,
) -> Result<(Node, usize), Refused> {
    let mut splitter = Splitter::new(max_bytes);
    let mut bytes = 0;
    while let Some(chunk) = response.chunk().await.map_err(unreachable)? {
        bytes += chunk.len();
        if bytes > max_bytes {
            return Err(Refused::TooLarge(max_bytes));
        }
        splitter.push(&chunk);
        while let Some(event) = splitter.next_event().map_err(|_| Refused::TooLarge(max_bytes))? {
            let data = data_of(&event).map_err(|error| Refused::Answer(error.to_string()))?;
            let Some(data) = data else { continue };
            match heard(&data).map_err(|error| Refused::Answer(error.to_string()))? {
                Heard::Answer { id: said, node } if said == id.to_string() => {
                    return Ok((result_of(node)?, bytes));
                }
                _ => {}
            }
        }
    }
    Err(Refused::Answer("its stream ends without an answer".to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_goes_only_where_nobody_listens() {
        let token = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(token.path(), "t\n").unwrap();
        let refused = list("http://192.0.2.1/mcp", Some(token.path())).unwrap_err();
        assert!(refused.text().contains("unprotected"), "{}", refused.text());
        for local in ["http://localhost:1/", "http://127.0.0.9/", "http://[::1]:2/"] {
            assert!(is_local(&Url::parse(local).unwrap()), "{local}");
        }
        for far in ["http://localhost.example/", "http://10.0.0.1/", "http://127.0.0.1.example/"] {
            assert!(!is_local(&Url::parse(far).unwrap()), "{far}");
        }
    }

    #[test]
    fn a_password_in_the_url_is_refused_and_not_said() {
        let refused = address("https://u:hunter2@example.com/mcp").unwrap_err().text();
        assert!(refused.contains("--token-file") && !refused.contains("hunter2"), "{refused}");
        assert!(address("https://").is_err());
    }

    #[test]
    fn a_file_is_a_token_unless_it_is_empty_or_large() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), " \n").unwrap();
        assert!(token(file.path()).unwrap_err().text().contains("empty"));
        std::fs::write(file.path(), "abc\n").unwrap();
        assert_eq!(&*token(file.path()).unwrap(), "abc");
        std::fs::write(file.path(), "a".repeat(TOKEN_MAX_BYTES as usize)).unwrap();
        assert!(token(file.path()).is_ok());
        std::fs::write(file.path(), "a".repeat(TOKEN_MAX_BYTES as usize + 1)).unwrap();
        assert!(token(file.path()).unwrap_err().text().contains("too large"));
    }
}
