//! From an upstream to the credential that it is sent.

use std::collections::BTreeMap;
use std::fmt;

use http::header::AUTHORIZATION;
use lictor_identity::grants::GrantError;
use lictor_proto::reason;

use super::config::{AuthConfig, AuthConfigError, AuthFault, KeyAuth};
use super::credential::{Credential, key_header};
use super::exchange::Exchange;
use super::held::Held;
use crate::clock::Ids;
use crate::proof::Proof;

/// Why an upstream gets no credential, and so no call. No message holds a secret.
#[derive(Debug, Clone, thiserror::Error)]
pub enum CredentialError {
    /// Nothing was configured under this name.
    #[error("the upstream is not configured")]
    Unknown,
    /// The secret could not be read for too long.
    #[error("our secret could not be read for too long: see the warnings before")]
    Stale,
    /// No token of the caller's that could be exchanged.
    #[error("the caller proved itself by no token that can be exchanged")]
    NoSubject,
    /// A token that only its own caller can use.
    #[error("the caller's token is bound to a key of the caller's own")]
    Bound,
    /// The token is not for the server that exchanges.
    #[error("the caller's token is of another issuer than `subject_issuer`")]
    OtherIssuer,
    /// The grant.
    #[error(transparent)]
    Grant(#[from] GrantError),
    /// The token cannot stand in a header.
    #[error("the token that was issued cannot be sent")]
    Unsendable,
    /// Too many wait for tokens.
    #[error("too many tokens are being asked for")]
    Busy,
    /// The request for it did not end in order.
    #[error("the request for a token broke")]
    Broken,
}

impl CredentialError {
    /// The reason id to refuse with.
    #[must_use]
    pub fn reason_id(&self) -> &'static str {
        reason::UPSTREAM_CREDENTIAL_UNAVAILABLE
    }

    /// What the caller is told; the cause is for operators.
    #[must_use]
    pub fn told(&self) -> &'static str {
        match self {
            Self::NoSubject | Self::OtherIssuer | Self::Bound => {
                "your credential cannot be exchanged for one that the upstream takes"
            }
            _ => "no credential for the upstream could be had",
        }
    }

    pub(super) fn is_outage(&self) -> bool {
        matches!(self, Self::Grant(error) if error.is_outage())
    }
}

/// The credentials of one enforcement point, by the ids of its upstreams.
pub struct UpstreamAuth {
    ways: BTreeMap<String, Way>,
    ids: Ids,
}

/// How one upstream's credential is had.
enum Way {
    /// None here; with `kind = "assertion"` the enforcement point makes it.
    Nothing,
    Key(Held<Credential>),
    Exchange(Box<Exchange>),
}

impl fmt::Debug for UpstreamAuth {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.ways.keys()).finish()
    }
}

impl UpstreamAuth {
    /// No upstream, and so no credential for any.
    #[must_use]
    pub fn empty() -> Self {
        Self { ways: BTreeMap::new(), ids: Ids::random() }
    }

    /// Reads the secrets of all `upstreams`, and again when they change. Needs a tokio runtime.
    /// `issuers` is how many issuers of tokens are believed.
    ///
    /// # Errors
    /// [`AuthConfigError`] for what could never work. A token endpoint that does not answer and a
    /// command that fails are no errors: calls are refused until they do.
    pub async fn open(
        upstreams: Vec<(String, AuthConfig)>,
        issuers: usize,
        ids: Ids,
    ) -> Result<Self, AuthConfigError> {
        let mut ways = BTreeMap::new();
        for (id, auth) in upstreams {
            if issuers > 1 && auth.sends_tokens_of_any_issuer() {
                return Err(AuthConfigError::of(&id)(AuthFault::Issuers));
            }
            let way = Way::open(&id, &auth).await.map_err(AuthConfigError::of(&id))?;
            ways.insert(id, way);
        }
        Ok(Self { ways, ids })
    }

    /// The header that `upstream` is sent; `None` where it gets none from here. `inbound` is the
    /// proof of the caller, whom the decision was about. `now_ms` is unix milliseconds.
    ///
    /// # Errors
    /// [`CredentialError`]: then the call is refused.
    pub async fn credential(
        &self,
        inbound: Option<&Proof>,
        upstream: &str,
        now_ms: i64,
    ) -> Result<Option<Credential>, CredentialError> {
        let had = match self.ways.get(upstream) {
            None => Err(CredentialError::Unknown),
            Some(Way::Nothing) => Ok(None),
            Some(Way::Key(key)) => match key.get() {
                Some(credential) => Ok(Some((*credential).clone())),
                None => Err(CredentialError::Stale),
            },
            Some(Way::Exchange(exchange)) => {
                exchange.credential(inbound, &self.ids, now_ms).await.map(Some)
            }
        };
        had.inspect_err(|error| tracing::warn!(upstream, %error, "no credential for an upstream"))
    }

    /// Whether `body` repeats a key, or a token in our own name, of any upstream.
    #[must_use]
    pub fn is_in(&self, body: &[u8]) -> bool {
        self.ways.values().any(|way| match way {
            Way::Nothing => false,
            Way::Key(key) => key.get().is_some_and(|credential| credential.is_in(body)),
            Way::Exchange(exchange) => exchange.own_is_in(body),
        })
    }

    /// Whether `upstream` is sent a credential from here.
    #[must_use]
    pub fn has(&self, upstream: &str) -> bool {
        !matches!(self.ways.get(upstream), None | Some(Way::Nothing))
    }
}

impl Way {
    async fn open(id: &str, auth: &AuthConfig) -> Result<Self, AuthFault> {
        auth.validate()?;
        Ok(match auth {
            AuthConfig::None(_) | AuthConfig::Assertion(_) => Self::Nothing,
            AuthConfig::Key(key) => Self::Key(held_key(id, key).await?),
            AuthConfig::ClientCredentials(own) => Self::exchange(Exchange::own(id, own).await?),
            AuthConfig::TokenExchange(auth) => Self::exchange(Exchange::exchange(id, auth).await?),
            AuthConfig::IdJag(auth) => Self::exchange(Exchange::id_jag(id, auth).await?),
        })
    }

    fn exchange(exchange: Exchange) -> Self {
        Self::Exchange(Box::new(exchange))
    }
}

async fn held_key(id: &str, key: &KeyAuth) -> Result<Held<Credential>, AuthFault> {
    let source = key.source()?;
    let header = key.header_name()?;
    let from = source.named();
    let make = move |secret| {
        let made = if header == AUTHORIZATION {
            Credential::bearer(&secret)
        } else {
            Credential::plain(header.clone(), &secret)
        };
        made.ok_or_else(|| AuthFault::Text { from: from.clone() })
    };
    Held::open(source, id, make).await
}

impl KeyAuth {
    pub(super) fn header_name(&self) -> Result<http::HeaderName, AuthFault> {
        let Some(name) = &self.header else {
            return Ok(AUTHORIZATION);
        };
        key_header(name).ok_or_else(|| AuthFault::Header(name.clone()))
    }
}
