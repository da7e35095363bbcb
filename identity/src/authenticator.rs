//! One function from what was presented to who is calling.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

use crate::api_key::{ApiKeyStore, text};
use crate::cache::TokenCache;
use crate::credential::{Digest, digest_of};
use crate::door::{DOOR_TOKEN_PREFIX, DoorTokens, PeerRoles};
use crate::error::{AuthError, TOKEN_MAX_BYTES};
use crate::identity::Identity;
use crate::jwt::{self, Issuers};
use crate::presented::Presented;
use crate::settings::{IssuerSettings, Settings, SettingsError};

/// Believes what its settings say and nothing else. Shared between threads; made
/// anew when settings, key sets or API keys change, which also forgets every
/// remembered token.
pub struct Authenticator {
    issuers: Issuers,
    api_keys: Option<ApiKeyStore>,
    tenant: String,
    tokens: DoorTokens,
    peers: PeerRoles,
    cache: TokenCache,
}

impl fmt::Debug for Authenticator {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Authenticator")
            .field("issuers", &self.issuers.keys())
            .field("tenant", &self.tenant)
            .finish_non_exhaustive()
    }
}

impl Authenticator {
    /// An authenticator without door tokens and socket peers.
    ///
    /// # Errors
    /// [`SettingsError`] for settings that could not work.
    pub fn new(settings: Settings) -> Result<Self, SettingsError> {
        settings.check()?;
        let by_name = |issuer: IssuerSettings| (issuer.iss.clone(), issuer);
        Ok(Self {
            issuers: settings.issuers.into_iter().map(by_name).collect::<HashMap<_, _>>(),
            api_keys: settings.api_keys,
            tenant: settings.tenant,
            tokens: DoorTokens::default(),
            peers: PeerRoles::default(),
            cache: TokenCache::default(),
        })
    }

    /// Also accepts the door tokens of the decision point.
    #[must_use]
    pub fn with_door_tokens(mut self, tokens: DoorTokens) -> Self {
        self.tokens = tokens;
        self
    }

    /// Also accepts peers of the decision point's socket.
    #[must_use]
    pub fn with_peers(mut self, peers: PeerRoles) -> Self {
        self.peers = peers;
        self
    }

    /// Who is calling at `now_ms` (unix milliseconds).
    ///
    /// # Errors
    /// [`AuthError`]; its [`AuthError::id`] is the reason id of the denial.
    pub fn authenticate(
        &self,
        presented: Presented<'_>,
        now_ms: i64,
    ) -> Result<Identity, AuthError> {
        match (presented.token, presented.peer) {
            (Some(token), _) if token.text.len() > TOKEN_MAX_BYTES => {
                Err(AuthError::TokenTooLarge { bytes: token.text.len() })
            }
            (Some(token), _) if !token.text.is_empty() => self.bearer(token.text, now_ms),
            (None, Some(uid)) => {
                self.peers.identity(uid, &self.tenant).ok_or(AuthError::PeerUnknown { uid })
            }
            _ => Err(AuthError::TokenMissing),
        }
    }

    fn bearer(&self, bearer: &str, now_ms: i64) -> Result<Identity, AuthError> {
        let digest = digest_of(bearer);
        if let Some(identity) = self.tokens.identity(&digest, &self.tenant) {
            return Ok(identity);
        }
        if bearer.starts_with(DOOR_TOKEN_PREFIX) {
            return Err(AuthError::TokenUnknown);
        }
        if text::is_meant(bearer) {
            return self.api_key(bearer, &digest, now_ms);
        }
        self.signed(bearer, digest, now_ms)
    }

    fn api_key(&self, key: &str, digest: &Digest, now_ms: i64) -> Result<Identity, AuthError> {
        if !text::is_well_formed(key) {
            let why = "its check digits are wrong; was it copied whole?";
            return Err(AuthError::TokenMalformed { part: "API key", why });
        }
        let record = self.api_keys.as_ref().and_then(|store| store.by_digest(digest));
        record.ok_or(AuthError::ApiKeyUnknown)?.identity(now_ms)
    }

    fn signed(&self, token: &str, digest: Digest, now_ms: i64) -> Result<Identity, AuthError> {
        if let Some(known) = self.cache.get(&digest, now_ms) {
            return Ok(Identity::clone(&known));
        }
        let identity = jwt::identify(token, &self.issuers, &self.tenant, now_ms)?;
        let known = Arc::new(identity.clone());
        self.cache.put(digest, token.len(), known, now_ms);
        Ok(identity)
    }
}
