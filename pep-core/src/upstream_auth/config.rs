//! `auth` of an upstream in `lictor.toml`.

use std::path::{Path, PathBuf};

use lictor_identity::files::FileError;
use lictor_identity::grants::{GrantSetupError, TokenType};
use serde::{Deserialize, Serialize};

use super::server::TokenServer;
use super::source::{self, Source};

/// How often a command is run again unless configured, seconds.
pub const DEFAULT_REFRESH_S: u32 = 300;
/// Longest time between two runs of a command, seconds.
pub const REFRESH_MAX_S: u32 = 86_400;

/// `auth`: the credential of this enforcement point at one upstream.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum AuthConfig {
    /// No credential.
    None(NoAuth),
    /// A short-lived statement of our own about the call; in front of MCP servers only.
    Assertion(AssertionAuth),
    /// A key of the provider.
    Key(KeyAuth),
    /// A token in our own name.
    ClientCredentials(ClientCredentialsAuth),
    /// A token in the caller's name, by token exchange (RFC 8693).
    TokenExchange(TokenExchangeAuth),
    /// A token in the caller's name, by an identity assertion (ID-JAG) of its provider.
    IdJag(IdJagAuth),
}

/// `kind = "none"`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NoAuth {}

/// `kind = "assertion"`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AssertionAuth {}

/// `kind = "key"`: a key from exactly one of `env`, `file` and `command`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct KeyAuth {
    /// The environment variable that holds it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub env: Option<String>,
    /// The file that holds it, readable by nobody else; read again when it changes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub file: Option<PathBuf>,
    /// The program that prints it, and its arguments; run without a shell.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub command: Vec<String>,
    /// Seconds between two runs of the command; default 300.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub refresh_s: Option<u32>,
    /// The header that carries it as it is; default `authorization`, as `Bearer <key>`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub header: Option<String>,
}

/// `kind = "client_credentials"`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ClientCredentialsAuth {
    /// Who issues the token.
    pub server: TokenServer,
    /// Scopes, separated by spaces.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scope: Option<String>,
    /// The upstream's name at the server.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub audience: Option<String>,
    /// The upstream's URL (RFC 8707).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resource: Option<String>,
}

/// `kind = "token_exchange"`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TokenExchangeAuth {
    /// Who exchanges.
    pub server: TokenServer,
    /// The only issuer whose tokens are sent to the server; any that is believed where not said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subject_issuer: Option<String>,
    /// What callers' tokens are; default `access_token`.
    #[serde(default = "access_token")]
    pub subject_token_type: TokenType,
    /// What is asked for: `access_token` (default) or `jwt`.
    #[serde(default = "access_token")]
    pub requested_token_type: TokenType,
    /// Scopes, separated by spaces.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scope: Option<String>,
    /// The upstream's name at the server.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub audience: Option<String>,
    /// The upstream's URL (RFC 8707).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resource: Option<String>,
}

/// `kind = "id_jag"`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct IdJagAuth {
    /// Who knows the caller and issues the assertion.
    pub idp: TokenServer,
    /// Who takes the assertion and issues the token.
    pub server: TokenServer,
    /// The issuer name of `server`, for whom the assertion is.
    pub audience: String,
    /// The only issuer whose tokens are sent to `idp`; any that is believed where not said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subject_issuer: Option<String>,
    /// What callers' tokens are; default `id_token`.
    #[serde(default = "id_token")]
    pub subject_token_type: TokenType,
    /// The upstream's URL.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resource: Option<String>,
    /// Scopes, separated by spaces.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scope: Option<String>,
}

fn access_token() -> TokenType {
    TokenType::AccessToken
}

fn id_token() -> TokenType {
    TokenType::IdToken
}

/// Why an `auth` cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum AuthConfigError {
    /// One upstream's.
    #[error("the `auth` of the upstream `{id}` cannot be used: {fault}")]
    Upstream {
        /// Which upstream.
        id: String,
        /// What is wrong.
        #[source]
        fault: Box<AuthFault>,
    },
}

impl AuthConfigError {
    pub(super) fn of(id: &str) -> impl Fn(AuthFault) -> Self + '_ {
        move |fault| Self::Upstream { id: id.to_owned(), fault: Box::new(fault) }
    }
}

/// What is wrong with an `auth`. No message holds a secret.
#[derive(Debug, thiserror::Error)]
pub enum AuthFault {
    /// None or several places of one secret.
    #[error("name exactly one of {names}")]
    Places {
        /// The keys.
        names: &'static str,
    },
    /// A key that belongs to another.
    #[error("`{key}` says nothing without `{other}`: remove it, or name that too")]
    Unused {
        /// The key.
        key: &'static str,
        /// What it belongs to.
        other: &'static str,
    },
    /// A number out of its bounds.
    #[error("`refresh_s` must be 1 to {REFRESH_MAX_S}")]
    Refresh,
    /// No name of a header that can carry a key.
    #[error(
        "`header = \"{0}\"` cannot carry a key: name a header of the provider's own, as `x-api-key`"
    )]
    Header(String),
    /// A secret that cannot be sent.
    #[error("{from} is empty, too long or has characters that a header cannot carry")]
    Text {
        /// Where it came from.
        from: String,
    },
    /// The variable.
    #[error("the environment variable `{0}` is not set")]
    Variable(String),
    /// The file.
    #[error(transparent)]
    File(#[from] FileError),
    /// The program.
    #[error("the command `{program}` {why}")]
    Command {
        /// Its first word.
        program: String,
        /// What happened.
        why: String,
    },
    /// The token endpoint.
    #[error(transparent)]
    Grant(#[from] GrantSetupError),
    /// A token for nobody in particular.
    #[error(
        "name an `audience` or a `resource`: a token in a caller's name must be for one upstream"
    )]
    NoAudience,
    /// A sort of token that cannot be had or sent so.
    #[error("`{key}` cannot be that sort of token here")]
    Kind {
        /// The key.
        key: &'static str,
    },
    /// A text that cannot be a parameter.
    #[error("`{key}` is empty or has characters other than printable ASCII")]
    Parameter {
        /// The key.
        key: &'static str,
    },
    /// Tokens of one issuer would go to another's server.
    #[error(
        "name a `subject_issuer`: several issuers are believed, and the tokens of one must not be sent to another's server"
    )]
    Issuers,
    /// Not a credential for this sort of upstream.
    #[error("`kind = \"assertion\"` is for MCP servers: use `key`, `none` or a grant")]
    NotHere,
}

impl AuthConfig {
    /// Whether any believed token would be sent to its token endpoint.
    pub(super) fn sends_tokens_of_any_issuer(&self) -> bool {
        match self {
            Self::TokenExchange(auth) => auth.subject_issuer.is_none(),
            Self::IdJag(auth) => auth.subject_issuer.is_none(),
            Self::None(_) | Self::Assertion(_) | Self::Key(_) | Self::ClientCredentials(_) => false,
        }
    }
}

impl Default for AuthConfig {
    fn default() -> Self {
        Self::None(NoAuth {})
    }
}

impl AuthConfig {
    /// What `key_env` or `key_file` of an upstream mean; `None` where neither is named.
    #[must_use]
    pub fn of_key(env: Option<&str>, file: Option<&Path>) -> Option<Self> {
        let key = KeyAuth {
            env: env.map(str::to_owned),
            file: file.map(Path::to_owned),
            ..KeyAuth::default()
        };
        (env.is_some() || file.is_some()).then_some(Self::Key(key))
    }

    /// Makes relative paths ones below `base`, the folder of the configuration file. A command's
    /// first word with a slash in it is such a path too; others are looked for in `PATH`.
    pub fn take_paths_from(&mut self, base: &Path) {
        match self {
            Self::None(_) | Self::Assertion(_) => {}
            Self::Key(key) => {
                key.file.iter_mut().for_each(|path| *path = base.join(&*path));
                let program = key.command.first_mut().filter(|program| program.contains('/'));
                if let Some(program) = program {
                    *program = base.join(&*program).to_string_lossy().into_owned();
                }
            }
            Self::ClientCredentials(own) => own.server.take_paths_from(base),
            Self::TokenExchange(exchange) => exchange.server.take_paths_from(base),
            Self::IdJag(jag) => {
                jag.idp.take_paths_from(base);
                jag.server.take_paths_from(base);
            }
        }
    }

    /// Checks what the types cannot.
    ///
    /// # Errors
    /// The first thing that is wrong.
    pub fn validate(&self) -> Result<(), AuthFault> {
        match self {
            Self::None(_) | Self::Assertion(_) => Ok(()),
            Self::Key(key) => key.header_name().and(key.source()).map(drop),
            Self::ClientCredentials(own) => {
                own.server.validate()?;
                parameters([
                    ("scope", &own.scope),
                    ("audience", &own.audience),
                    ("resource", &own.resource),
                ])
            }
            Self::TokenExchange(exchange) => exchange.validate(),
            Self::IdJag(jag) => jag.validate(),
        }
    }
}

impl KeyAuth {
    pub(super) fn source(&self) -> Result<Source, AuthFault> {
        if self.refresh_s.is_some() && self.command.is_empty() {
            return Err(AuthFault::Unused { key: "refresh_s", other: "command" });
        }
        let refresh_s = self.refresh_s.unwrap_or(DEFAULT_REFRESH_S);
        if !(1..=REFRESH_MAX_S).contains(&refresh_s) {
            return Err(AuthFault::Refresh);
        }
        let command = (!self.command.is_empty()).then_some((&*self.command, refresh_s));
        source::only(
            "`env`, `file` and `command`",
            self.env.as_deref(),
            self.file.as_deref(),
            command,
        )
    }
}

impl TokenExchangeAuth {
    fn validate(&self) -> Result<(), AuthFault> {
        self.server.validate()?;
        if self.audience.is_none() && self.resource.is_none() {
            return Err(AuthFault::NoAudience);
        }
        if self.subject_token_type == TokenType::IdJag {
            return Err(AuthFault::Kind { key: "subject_token_type" });
        }
        if !matches!(self.requested_token_type, TokenType::AccessToken | TokenType::Jwt) {
            return Err(AuthFault::Kind { key: "requested_token_type" });
        }
        let issuer = ("subject_issuer", &self.subject_issuer);
        parameters([
            issuer,
            ("scope", &self.scope),
            ("audience", &self.audience),
            ("resource", &self.resource),
        ])
    }
}

impl IdJagAuth {
    fn validate(&self) -> Result<(), AuthFault> {
        self.idp.validate()?;
        self.server.validate()?;
        if self.subject_token_type == TokenType::IdJag {
            return Err(AuthFault::Kind { key: "subject_token_type" });
        }
        let audience = Some(self.audience.clone());
        let issuer = ("subject_issuer", &self.subject_issuer);
        parameters([
            issuer,
            ("scope", &self.scope),
            ("audience", &audience),
            ("resource", &self.resource),
        ])
    }
}

fn parameters<const N: usize>(all: [(&'static str, &Option<String>); N]) -> Result<(), AuthFault> {
    let printable =
        |text: &str| !text.is_empty() && text.bytes().all(|b| (b' '..=b'~').contains(&b));
    let wrong = all.iter().find(|(_, text)| text.as_deref().is_some_and(|text| !printable(text)));
    wrong.map_or(Ok(()), |(key, _)| Err(AuthFault::Parameter { key }))
}
