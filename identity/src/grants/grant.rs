//! What is asked of a token endpoint.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::client::{Issued, Stamp, TokenClient};
use super::client_auth::ClientAuth;
use super::error::GrantError;
use super::form::Form;

/// Sort of a token (RFC 8693 section 3, and the identity assertion grant).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TokenType {
    /// An access token.
    AccessToken,
    /// An ID token of OpenID Connect.
    IdToken,
    /// A refresh token.
    RefreshToken,
    /// Any JWT.
    Jwt,
    /// An identity assertion for another server (ID-JAG).
    IdJag,
}

impl TokenType {
    /// Its name in requests and answers.
    #[must_use]
    pub fn urn(self) -> &'static str {
        match self {
            Self::AccessToken => "urn:ietf:params:oauth:token-type:access_token",
            Self::IdToken => "urn:ietf:params:oauth:token-type:id_token",
            Self::RefreshToken => "urn:ietf:params:oauth:token-type:refresh_token",
            Self::Jwt => "urn:ietf:params:oauth:token-type:jwt",
            Self::IdJag => "urn:ietf:params:oauth:token-type:id-jag",
        }
    }
}

/// For what a token is wanted. Nothing is asked for that is not named.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Wanted<'a> {
    /// Scopes, separated by spaces. An answer with more is refused.
    pub scope: Option<&'a str>,
    /// The name of the service, or of the server that is to take an identity assertion.
    pub audience: Option<&'a str>,
    /// The URL of the service (RFC 8707).
    pub resource: Option<&'a str>,
}

/// The token that is exchanged.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Subject<'a> {
    /// The secret.
    pub token: &'a str,
    /// What it is.
    pub kind: TokenType,
}

impl fmt::Debug for Subject<'_> {
    /// The token is a secret and is not shown.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Subject({:?}, <{} bytes>)", self.kind, self.token.len())
    }
}

/// One grant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Grant<'a> {
    /// In our own name (RFC 6749 section 4.4).
    ClientCredentials(Wanted<'a>),
    /// In the name of whoever the subject token is about (RFC 8693).
    Exchange {
        /// What we have.
        subject: Subject<'a>,
        /// What we want.
        requested: TokenType,
        /// For what.
        wanted: Wanted<'a>,
    },
    /// By an assertion of somebody whom the server believes (RFC 7523 section 2.1). Its scopes
    /// are in the assertion; `wanted` is what the answer is measured against.
    JwtBearer {
        /// The assertion, a subject of its own.
        assertion: Subject<'a>,
        /// What was asked for when the assertion was issued.
        wanted: Wanted<'a>,
    },
}

impl<'a> Grant<'a> {
    pub(super) fn form(&self) -> Form {
        let mut form = Form::new();
        match self {
            Self::ClientCredentials(wanted) => {
                form.add("grant_type", "client_credentials");
                add_wanted(&mut form, wanted);
            }
            Self::Exchange { subject, requested, wanted } => {
                form.add("grant_type", "urn:ietf:params:oauth:grant-type:token-exchange");
                form.add("subject_token", subject.token);
                form.add("subject_token_type", subject.kind.urn());
                form.add("requested_token_type", requested.urn());
                add_wanted(&mut form, wanted);
            }
            Self::JwtBearer { assertion, .. } => {
                form.add("grant_type", "urn:ietf:params:oauth:grant-type:jwt-bearer");
                form.add("assertion", assertion.token);
            }
        }
        form
    }

    /// The token that must never come back as the answer.
    pub(super) fn sent_token(&self) -> Option<&'a str> {
        match self {
            Self::ClientCredentials(_) => None,
            Self::Exchange { subject, .. } => Some(subject.token),
            Self::JwtBearer { assertion, .. } => Some(assertion.token),
        }
    }

    /// The sort that the answer must name (RFC 8693 section 2.2.1); `None` where it names none.
    pub(super) fn requested(&self) -> Option<TokenType> {
        match self {
            Self::Exchange { requested, .. } => Some(*requested),
            Self::ClientCredentials(_) | Self::JwtBearer { .. } => None,
        }
    }

    pub(super) fn scope(&self) -> Option<&'a str> {
        match self {
            Self::ClientCredentials(wanted)
            | Self::Exchange { wanted, .. }
            | Self::JwtBearer { wanted, .. } => wanted.scope,
        }
    }
}

fn add_wanted(form: &mut Form, wanted: &Wanted<'_>) {
    form.add_some("audience", wanted.audience);
    form.add_some("resource", wanted.resource);
    form.add_some("scope", wanted.scope);
}

/// The identity assertion grant: `idp`, which knows the subject, issues an assertion for the
/// server whose issuer is `wanted.audience`; `server` issues a token of its own by it.
///
/// # Errors
/// [`GrantError`] of either step.
pub async fn identity_assertion(
    idp: (&TokenClient, &ClientAuth),
    server: (&TokenClient, &ClientAuth),
    subject: Subject<'_>,
    wanted: Wanted<'_>,
    stamp: &Stamp<'_>,
) -> Result<Issued, GrantError> {
    let requested = TokenType::IdJag;
    let asked = Grant::Exchange { subject, requested, wanted };
    let assertion = idp.0.ask(idp.1, &asked, stamp).await?;
    let assertion = Subject { token: &assertion.token, kind: requested };
    // A proof of its own for the second server: none may be taken twice.
    let jti = format!("{}-2", stamp.jti);
    let stamp = Stamp { jti: &jti, ..*stamp };
    let issued = server.0.ask(server.1, &Grant::JwtBearer { assertion, wanted }, &stamp).await?;
    if *issued.token == *subject.token {
        return Err(server.0.unusable(super::answer::ECHOED));
    }
    Ok(issued)
}
