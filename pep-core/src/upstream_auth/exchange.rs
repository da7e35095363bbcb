//! A token for one upstream, by one of the grants.

use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use lictor_identity::grants::{
    Grant, Issued, Stamp, Subject, TokenType, Wanted, identity_assertion,
};
use lictor_identity::{Scheme, Secret};
use lictor_proto::call::CredentialKind;
use serde_json::{Map, Value};
use sha2::{Digest as _, Sha256};

use super::config::{AuthFault, ClientCredentialsAuth, IdJagAuth, TokenExchangeAuth};
use super::credential::Credential;
use super::resolver::CredentialError;
use super::server::Endpoint;
use super::tokens::{Bound, EXCHANGED_MAX_MS, Key, Tokens};
use crate::clock::Ids;
use crate::proof::Proof;

/// How tokens for one upstream are had, and those that there are.
pub(super) struct Exchange {
    plan: Arc<Plan>,
    tokens: Tokens,
    /// The only issuer whose tokens may be sent away.
    issuer: Option<String>,
}

struct Plan {
    server: Endpoint,
    by: By,
    scope: Option<String>,
    audience: Option<String>,
    resource: Option<String>,
}

enum By {
    Own,
    Exchange { kind: TokenType, requested: TokenType },
    IdJag { idp: Endpoint, kind: TokenType },
}

/// A caller's token that was checked, and until when it is one.
struct Callers {
    token: Secret,
    bound: Bound,
}

impl Exchange {
    pub(super) async fn own(id: &str, auth: &ClientCredentialsAuth) -> Result<Self, AuthFault> {
        let plan = Plan {
            server: auth.server.open(id).await?,
            by: By::Own,
            scope: auth.scope.clone(),
            audience: auth.audience.clone(),
            resource: auth.resource.clone(),
        };
        Ok(Self::of(plan, None))
    }

    pub(super) async fn exchange(id: &str, auth: &TokenExchangeAuth) -> Result<Self, AuthFault> {
        let (kind, requested) = (auth.subject_token_type, auth.requested_token_type);
        let plan = Plan {
            server: auth.server.open(id).await?,
            by: By::Exchange { kind, requested },
            scope: auth.scope.clone(),
            audience: auth.audience.clone(),
            resource: auth.resource.clone(),
        };
        Ok(Self::of(plan, auth.subject_issuer.clone()))
    }

    pub(super) async fn id_jag(id: &str, auth: &IdJagAuth) -> Result<Self, AuthFault> {
        let plan = Plan {
            server: auth.server.open(id).await?,
            by: By::IdJag { idp: auth.idp.open(id).await?, kind: auth.subject_token_type },
            scope: auth.scope.clone(),
            audience: Some(auth.audience.clone()),
            resource: auth.resource.clone(),
        };
        Ok(Self::of(plan, auth.subject_issuer.clone()))
    }

    fn of(plan: Plan, issuer: Option<String>) -> Self {
        Self { plan: Arc::new(plan), tokens: Tokens::default(), issuer }
    }

    pub(super) async fn credential(
        &self,
        inbound: Option<&Proof>,
        ids: &Ids,
        now_ms: i64,
    ) -> Result<Credential, CredentialError> {
        let callers = match self.plan.by {
            By::Own => None,
            By::Exchange { .. } | By::IdJag { .. } => Some(self.callers(inbound)?),
        };
        let key = callers
            .as_ref()
            .map_or(Key::default(), |callers| Sha256::digest(callers.token.as_bytes()).into());
        let bound = callers.as_ref().map(|callers| callers.bound).unwrap_or_default();
        let (plan, jti) = (self.plan.clone(), ids.clone());
        let fetch = move || async move {
            let jti = jti.next(now_ms);
            let token = callers.as_ref().map(|callers| &*callers.token);
            plan.ask(token, &Stamp { now_ms, jti: &jti }).await
        };
        self.tokens.get(key, now_ms, bound, fetch).await
    }

    /// Whether a token of our own is in `body`.
    pub(super) fn own_is_in(&self, body: &[u8]) -> bool {
        self.tokens.own_is_in(body)
    }

    /// The caller's token. It must have been found good for this very request: a token that
    /// nobody checked is not sent anywhere, and a key of ours is no token.
    fn callers(&self, inbound: Option<&Proof>) -> Result<Callers, CredentialError> {
        let proof = inbound.ok_or(CredentialError::NoSubject)?;
        let identity = proof.known().get().ok_or(CredentialError::NoSubject)?;
        let presented = proof.presented().map_err(|_| CredentialError::NoSubject)?;
        let token = presented.token.ok_or(CredentialError::NoSubject)?;
        if identity.credential.kind != CredentialKind::Jwt {
            return Err(CredentialError::NoSubject);
        }
        if self.issuer.as_ref().is_some_and(|issuer| *issuer != identity.credential.issuer) {
            return Err(CredentialError::OtherIssuer);
        }
        if token.scheme == Scheme::Dpop || is_bound(token.text) {
            return Err(CredentialError::Bound);
        }
        let bound = Bound { for_ms: Some(EXCHANGED_MAX_MS), until_ms: identity.expires_ms };
        Ok(Callers { token: Secret::from(token.text.to_owned()), bound })
    }
}

/// Whether a token says that only the holder of a key may use it (RFC 7800). What cannot be read
/// counts as bound.
fn is_bound(token: &str) -> bool {
    let claims = token.split('.').nth(1).and_then(|part| URL_SAFE_NO_PAD.decode(part).ok());
    let claims = claims.and_then(|text| serde_json::from_slice::<Map<String, Value>>(&text).ok());
    claims.is_none_or(|claims| claims.contains_key("cnf"))
}

impl Plan {
    async fn ask(
        &self,
        callers: Option<&str>,
        stamp: &Stamp<'_>,
    ) -> Result<Issued, CredentialError> {
        let wanted = Wanted {
            scope: self.scope.as_deref(),
            audience: self.audience.as_deref(),
            resource: self.resource.as_deref(),
        };
        let subject = |kind| {
            let token = callers.ok_or(CredentialError::NoSubject)?;
            Ok::<_, CredentialError>(Subject { token, kind })
        };
        let auth = self.server.auth.get().ok_or(CredentialError::Stale)?;
        let server = &self.server.client;
        let issued = match &self.by {
            By::Own => server.ask(&auth, &Grant::ClientCredentials(wanted), stamp).await,
            By::Exchange { kind, requested } => {
                let (subject, requested) = (subject(*kind)?, *requested);
                let grant = Grant::Exchange { subject, requested, wanted };
                server.ask(&auth, &grant, stamp).await
            }
            By::IdJag { idp, kind } => {
                let ours = idp.auth.get().ok_or(CredentialError::Stale)?;
                let (idp, server) = ((&idp.client, &*ours), (server, &*auth));
                identity_assertion(idp, server, subject(*kind)?, wanted, stamp).await
            }
        };
        Ok(issued?)
    }
}
