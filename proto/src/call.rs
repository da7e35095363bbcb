//! The call: one request through an enforcement point, as policy sees it.

use serde::{Deserialize, Serialize};

use crate::json::{self, Open, ScanError};

/// Domain of [`Call::args_digest`].
pub const ARGS_DOMAIN: &str = "lictor/args/1";
/// Domain of [`Call::request_digest`].
pub const REQUEST_DOMAIN: &str = "lictor/request/1";
/// The tenant where none is configured.
pub const DEFAULT_TENANT: &str = "default";

/// One question to the decision point. Every declared member is present when
/// serialised; on reading, absent members take their defaults (cases, `--input`).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Call {
    /// UUID v7, made by the enforcement point; names the call everywhere.
    pub call_id: String,
    /// Which moment of the call is asked about.
    pub phase: Phase,
    /// Isolation boundary, from the credential or listener, never from a body.
    pub tenant: String,
    /// What is asked; only all three together can make a permit.
    pub questions: Vec<Question>,
    /// On whose authority.
    pub subject: Option<Party>,
    /// The software that acts.
    pub agent: Option<Party>,
    /// Actors between subject and agent, `delegation[0]` nearest the agent.
    pub delegation: Vec<Party>,
    /// What is to be done.
    pub action: Action,
    /// How the caller proved itself.
    pub credential: Option<Credential>,
    /// In phase `response`: the call this answers.
    pub request_call_id: Option<String>,
    /// Whether the effect has already happened (phase `response`).
    pub executed: bool,
    /// What it is to be done to.
    pub resource: Option<Resource>,
    /// Arguments and circumstances.
    pub context: Context,
    /// Texts for the detectors.
    pub content: Vec<Content>,
    /// The session the caller names, if any.
    pub session: Option<SessionRef>,
    /// Estimated or settled use of a model.
    pub usage: Usage,
}

impl Default for Call {
    fn default() -> Self {
        Self {
            call_id: String::new(),
            phase: Phase::Request,
            tenant: DEFAULT_TENANT.to_owned(),
            questions: Question::ALL.to_vec(),
            subject: None,
            agent: None,
            delegation: Vec::new(),
            action: Action::default(),
            credential: None,
            request_call_id: None,
            executed: false,
            resource: None,
            context: Context::default(),
            content: Vec::new(),
            session: None,
            usage: Usage::default(),
        }
    }
}

/// The moment of a call that is asked about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Phase {
    /// Before anything is forwarded.
    #[default]
    Request,
    /// Whether an entry may be seen in a list.
    List,
    /// After the answer came, before it is released.
    Response,
}

impl Phase {
    /// The name in Lictor JSON.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Request => "request",
            Self::List => "list",
            Self::Response => "response",
        }
    }
}

/// One of the questions a call can ask.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Question {
    /// May it be done? Combining steps 1-5.
    Authz,
    /// What do detectors see? Detectors with steps 1, 3 and obligations.
    Guardrail,
    /// Is there room in the limits? Steps 1 and 6.
    Quota,
}

impl Question {
    /// All three, the default.
    pub const ALL: [Self; 3] = [Self::Authz, Self::Guardrail, Self::Quota];

    /// The name in Lictor JSON.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Authz => "authz",
            Self::Guardrail => "guardrail",
            Self::Quota => "quota",
        }
    }
}

/// A subject, an agent or an actor of the delegation chain.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Party {
    /// `user`, `agent`, `service`, …
    #[serde(rename = "type")]
    pub kind: String,
    /// The id that the registry knows.
    pub id: String,
    /// Claims of the credential, as they were.
    pub claims: Open,
}

impl Party {
    /// A party without claims.
    #[must_use]
    pub fn new(kind: &str, id: &str) -> Self {
        Self { kind: kind.to_owned(), id: id.to_owned(), claims: Open::default() }
    }
}

/// What is to be done: an MCP method or `llm/chat`, `session/open`, ….
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Action {
    /// The name.
    pub name: String,
}

/// How the caller proved itself; the secret itself is never here.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Credential {
    /// What sort of proof.
    pub kind: CredentialKind,
    /// A digest that names the credential.
    pub id: String,
    /// Who vouches for it: the issuer of a token (`iss`), the trust domain of a SPIFFE document,
    /// the authority of a certificate. Empty where our own files do.
    #[serde(default)]
    pub issuer: String,
}

/// The sort of a credential.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CredentialKind {
    /// A signed token.
    Jwt,
    /// A long random key, stored hashed.
    ApiKey,
    /// A client certificate.
    Mtls,
    /// A SPIFFE document.
    Spiffe,
    /// The peer of a Unix socket.
    Peer,
}

impl CredentialKind {
    /// The name in Lictor JSON.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Jwt => "jwt",
            Self::ApiKey => "api_key",
            Self::Mtls => "mtls",
            Self::Spiffe => "spiffe",
            Self::Peer => "peer",
        }
    }
}

/// What the action is done to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Resource {
    /// Which map of the registry it is in.
    #[serde(rename = "type")]
    pub kind: ResourceKind,
    /// The registry id, after alias and virtual-name resolution.
    pub id: String,
}

/// The closed set of resource types.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ResourceKind {
    /// A tool of an MCP server, `<server>/<tool>`.
    Tool,
    /// A model, `<provider>/<model>`.
    Model,
    /// An MCP server.
    Server,
    /// An MCP resource.
    Resource,
    /// An MCP prompt.
    Prompt,
    /// Another agent.
    Agent,
    /// A memory store.
    Memory,
}

impl ResourceKind {
    /// The name in Lictor JSON.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Tool => "tool",
            Self::Model => "model",
            Self::Server => "server",
            Self::Resource => "resource",
            Self::Prompt => "prompt",
            Self::Agent => "agent",
            Self::Memory => "memory",
        }
    }
}

/// Arguments and circumstances of a call.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Context {
    /// The tool's arguments, as received.
    pub args: Open,
    /// Where the caller connects from, empty where unknown.
    pub source_ip: String,
    /// W3C trace id, empty where none came. Not part of the request digest.
    pub trace_id: String,
    /// `mcp/<version>`, `openai/chat`, ….
    pub protocol: String,
}

/// A text for the detectors.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Content {
    /// Who wrote it.
    pub origin: Origin,
    /// Where in the body or arguments it stands (RFC 6901).
    #[serde(default)]
    pub pointer: String,
    /// Media type.
    #[serde(default = "text_plain")]
    pub media: String,
    /// The text; finding offsets are bytes of it.
    #[serde(default)]
    pub text: String,
}

fn text_plain() -> String {
    "text/plain".to_owned()
}

/// Who wrote a text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Origin {
    /// The application.
    System,
    /// The user role.
    User,
    /// The model.
    Assistant,
    /// What a tool returned.
    ToolResult,
    /// What a tool is called with.
    ToolArgs,
    /// A tool's description and schema.
    ToolDefinition,
    /// Retrieved documents.
    Retrieved,
}

impl Origin {
    /// The name in Lictor JSON.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::System => "system",
            Self::User => "user",
            Self::Assistant => "assistant",
            Self::ToolResult => "tool_result",
            Self::ToolArgs => "tool_args",
            Self::ToolDefinition => "tool_definition",
            Self::Retrieved => "retrieved",
        }
    }
}

/// A reference to an opened session.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SessionRef {
    /// The signed handle that `session/open` returned.
    pub handle: String,
}

/// Use of a model: estimated before the call, actual after it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Usage {
    /// Tokens sent.
    pub input_tokens: u64,
    /// Most tokens that may come back (before), tokens that came back (after).
    pub max_output_tokens: u64,
    /// Cost in millionths of a US dollar.
    pub cost_usd_micros: u64,
}

/// Why a text is not a call.
#[derive(Debug, thiserror::Error)]
pub enum CallError {
    /// Not strict JSON.
    #[error("the call is not acceptable JSON: {0}")]
    Json(#[from] ScanError),
    /// A caller states facts, which only the decision point may.
    #[error("the call carries `facts`: only the decision point states facts, remove the member")]
    Facts,
    /// Not of the call's shape.
    #[error("the call has the wrong shape: {0}")]
    Shape(String),
}

impl CallError {
    /// The reason id of this refusal.
    #[must_use]
    pub fn reason_id(&self) -> &'static str {
        match self {
            Self::Json(error) => error.reason_id(),
            Self::Facts => crate::reason::FACT_IN_CALL,
            Self::Shape(_) => crate::reason::CALL_INVALID,
        }
    }
}

impl Call {
    /// Reads Lictor JSON strictly: no duplicate names, no unknown members, no facts.
    ///
    /// # Errors
    /// [`CallError`] names what was refused.
    pub fn from_json(bytes: &[u8]) -> Result<Self, CallError> {
        let node = json::scan(bytes)?;
        if node.get("facts").is_some() {
            return Err(CallError::Facts);
        }
        objects_only(&node)?;
        serde_json::from_slice(bytes).map_err(|error| CallError::Shape(error.to_string()))
    }

    /// Lictor JSON, every declared member present.
    #[must_use]
    pub fn to_json(&self) -> String {
        crate::written::call(self)
    }

    /// `sha256:…` of the arguments alone.
    #[must_use]
    pub fn args_digest(&self) -> String {
        json::digest_bytes(ARGS_DOMAIN, self.context.args.canonical().as_bytes())
    }

    /// `sha256:…` of the call without `trace_id`: the same question has the same
    /// digest however it is traced.
    #[must_use]
    pub fn request_digest(&self) -> String {
        json::digest_bytes(REQUEST_DOMAIN, crate::canonical::of_call(self).as_bytes())
    }

    /// Whether `question` is asked.
    #[must_use]
    pub fn asks(&self, question: Question) -> bool {
        self.questions.contains(&question)
    }

    /// Whether all three questions are asked, without which there is no permit.
    #[must_use]
    pub fn asks_all(&self) -> bool {
        Question::ALL.iter().all(|question| self.asks(*question))
    }
}

/// Members that are objects, alone or as elements of a list. A derived reader
/// would also take a list of their values in order, which nobody means.
const OBJECTS: [&str; 10] = [
    "subject",
    "agent",
    "delegation",
    "action",
    "credential",
    "resource",
    "context",
    "content",
    "session",
    "usage",
];

fn objects_only(node: &json::Node) -> Result<(), CallError> {
    let wrong = |what: &str| Err(CallError::Shape(format!("{what} must be an object")));
    if !node.is_object() {
        return wrong("the call");
    }
    for member in node.members().iter().filter(|m| OBJECTS.contains(&&*m.key)) {
        let listed = matches!(&*member.key, "delegation" | "content");
        let fits = |node: &json::Node| node.is_object();
        let good = match &member.value.value {
            json::Value::Array(items) => listed && items.iter().all(fits),
            json::Value::Null => !listed,
            _ => fits(&member.value) && !listed,
        };
        if !good {
            return wrong(&format!("`{}`", member.key));
        }
    }
    Ok(())
}
