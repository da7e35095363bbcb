//! One function from what was presented to who is calling.

use std::fmt;
use std::sync::Arc;

use crate::api_key::{ApiKeys, text};
use crate::cache::{self, TokenCache};
use crate::certificate::ClientCertificate;
use crate::credential::{Digest, digest_of};
use crate::door::{DOOR_TOKEN_PREFIX, DoorTokens, PeerRoles};
use crate::dpop;
use crate::dpop::replay::{ReplayMemory, Use};
use crate::error::{AuthError, DpopError, TOKEN_MAX_BYTES};
use crate::identity::Identity;
use crate::jwt::{self, Issuers, Transaction, Verified};
use crate::keyring::KeyRing;
use crate::presented::{Presented, Scheme, Token};
use crate::remote::{self, Health, Upkeep};
use crate::settings::{Settings, SettingsError};
use crate::trust::CertificateTrust;

/// Believes what its settings say and nothing else. Shared between threads; made
/// anew when settings change. Keys of issuers and API keys may change under it: what was
/// verified by a replaced key is forgotten at once.
pub struct Authenticator {
    issuers: Issuers,
    api_keys: Option<ApiKeys>,
    certificates: CertificateTrust,
    tenant: String,
    tokens: DoorTokens,
    peers: PeerRoles,
    verified: TokenCache<Verified>,
    transactions: TokenCache<Transaction>,
    used_proofs: ReplayMemory,
    /// Keeps issuers and API keys up to date as long as this is there.
    upkeep: Option<Arc<Upkeep>>,
}

impl fmt::Debug for Authenticator {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Authenticator")
            .field("issuers", &self.issuers.names())
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
        Ok(Self {
            issuers: Issuers::new(settings.issuers),
            api_keys: settings.api_keys,
            certificates: settings.certificates,
            tenant: settings.tenant,
            tokens: DoorTokens::default(),
            peers: PeerRoles::default(),
            verified: TokenCache::default(),
            transactions: TokenCache::default(),
            used_proofs: ReplayMemory::default(),
            upkeep: settings.upkeep,
        })
    }

    /// How many issuers are believed whose tokens say who calls.
    #[must_use]
    pub fn issuers(&self) -> usize {
        self.issuers.of_callers()
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

    /// Who is calling at `now_ms` (unix milliseconds). A proof of possession that was accepted is
    /// used up by it: the same one is refused from then on.
    ///
    /// # Errors
    /// [`AuthError`]; its [`AuthError::id`] is the reason id of the denial.
    pub fn authenticate(
        &self,
        presented: Presented<'_>,
        now_ms: i64,
    ) -> Result<Identity, AuthError> {
        let (identity, proof) = match (presented.token, presented.certificate, presented.peer) {
            (Some(token), ..) if token.text.len() > TOKEN_MAX_BYTES => {
                return Err(AuthError::TokenTooLarge { bytes: token.text.len() });
            }
            (Some(token), ..) if !token.text.is_empty() => self.token(token, &presented, now_ms)?,
            // Where nobody is believed about certificates, one only encrypts the connection.
            (None, Some(certificate), _) if !self.certificates.is_empty() => {
                (self.certificate(certificate, now_ms)?, None)
            }
            (None, _, Some(uid)) => {
                let peer = self.peers.identity(uid, &self.tenant);
                (peer.ok_or(AuthError::PeerUnknown { uid })?, None)
            }
            _ => return Err(AuthError::TokenMissing),
        };
        let identity = match presented.transaction {
            None => identity,
            Some(transaction) => self.within(identity, transaction, now_ms)?,
        };
        // Last: what is refused for another reason uses nothing up.
        if let Some(proof) = proof {
            self.used_proofs.admit(&proof, now_ms)?;
        }
        Ok(identity)
    }

    /// As [`Authenticator::authenticate`], and where an issuer on the network may have changed its
    /// keys, asks for them and tries again, within [`remote::WAIT_MAX`]. Waits for nothing where
    /// the keys are known.
    ///
    /// # Errors
    /// As [`Authenticator::authenticate`].
    pub async fn identify(
        &self,
        presented: Presented<'_>,
        now_ms: i64,
    ) -> Result<Identity, AuthError> {
        let mut outcome = self.authenticate(presented, now_ms);
        let mut deadline = None;
        for _ in 0..remote::WAIT_MAX_FETCHES {
            let Some(ring) = self.outdated(outcome.as_ref().err(), presented) else { break };
            let deadline =
                *deadline.get_or_insert_with(|| tokio::time::Instant::now() + remote::WAIT_MAX);
            if !ring.renewed(deadline).await {
                break;
            }
            outcome = self.authenticate(presented, now_ms);
        }
        outcome
    }

    /// Who is calling still, by what [`Authenticator::authenticate`] accepted before: everything is
    /// asked again but its proof of possession, which is used up. Never of what was not accepted:
    /// a token without its proof may be anybody's.
    ///
    /// # Errors
    /// As [`Authenticator::authenticate`].
    pub fn again(&self, accepted: Presented<'_>, now_ms: i64) -> Result<Identity, AuthError> {
        let bound = accepted.token.filter(|token| token.scheme == Scheme::Dpop);
        let Some(token) = bound else { return self.authenticate(accepted, now_ms) };
        let verified = self.signed(token.text, digest_of(token.text), now_ms)?;
        verified.binding.check_certificate(accepted.certificate)?;
        match accepted.transaction {
            None => Ok(verified.identity.clone()),
            Some(transaction) => self.within(verified.identity.clone(), transaction, now_ms),
        }
    }

    /// How the keys of each issuer on the network are doing.
    #[must_use]
    pub fn health(&self) -> Vec<Health> {
        self.upkeep.as_ref().map(|upkeep| upkeep.health()).unwrap_or_default()
    }

    /// The keys of the issuer that the token names, where newer ones may change `refusal`.
    fn outdated(&self, refusal: Option<&AuthError>, presented: Presented<'_>) -> Option<&KeyRing> {
        let (token, cause, ring) = match refusal? {
            AuthError::TxnToken(cause) => {
                let token = presented.transaction?;
                (token, &**cause, self.issuers.keys_of_transaction(token))
            }
            cause => {
                let token = presented.token?.text;
                (token, cause, self.issuers.keys_of(token))
            }
        };
        let may_help = match cause {
            AuthError::KeyUnknown { .. } | AuthError::IssuerUnavailable { .. } => true,
            // A token without a key name is held against the one key there is, which may be old.
            AuthError::SignatureInvalid => jwt::is_unnamed(token),
            _ => false,
        };
        ring.filter(|ring| may_help && ring.demand().is_some())
    }

    /// Whom a certificate names that came without a token.
    fn certificate(
        &self,
        certificate: &ClientCertificate,
        now_ms: i64,
    ) -> Result<Identity, AuthError> {
        self.certificates.identify(certificate, &self.tenant, now_ms)
    }

    /// Whom a token stands for, and the proof that is used up by it.
    fn token(
        &self,
        token: Token<'_>,
        presented: &Presented<'_>,
        now_ms: i64,
    ) -> Result<(Identity, Option<Use>), AuthError> {
        let digest = digest_of(token.text);
        let door = self.tokens.identity(&digest, &self.tenant);
        let is_key = text::is_meant(token.text);
        if door.is_none() && !is_key && !token.text.starts_with(DOOR_TOKEN_PREFIX) {
            let verified = self.signed(token.text, digest, now_ms)?;
            let proof = possession(&verified, token, presented, now_ms)?;
            return Ok((verified.identity.clone(), proof));
        }
        // Keys and door tokens are bound to nothing.
        if token.scheme == Scheme::Dpop {
            return Err(DpopError::Unbound.into());
        }
        match door {
            Some(identity) => Ok((identity, None)),
            None if is_key => Ok((self.api_key(token.text, &digest, now_ms)?, None)),
            None => Err(AuthError::TokenUnknown),
        }
    }

    fn api_key(&self, key: &str, digest: &Digest, now_ms: i64) -> Result<Identity, AuthError> {
        if !text::is_well_formed(key) {
            let why = "its check digits are wrong; was it copied whole?";
            return Err(AuthError::TokenMalformed { part: "API key", why });
        }
        let store = self.api_keys.as_ref().map(ApiKeys::now);
        let record = store.as_ref().and_then(|store| store.by_digest(digest));
        record.ok_or(AuthError::ApiKeyUnknown)?.identity(now_ms)
    }

    fn signed(&self, token: &str, digest: Digest, now_ms: i64) -> Result<Arc<Verified>, AuthError> {
        if let Some(known) = self.verified.get(&digest, now_ms) {
            return Ok(known);
        }
        let (verified, keys) = jwt::identify(token, &self.issuers, &self.tenant, now_ms)?;
        let expires_ms = verified.identity.expires_ms;
        let entry = cache::Token { digest, bytes: token.len(), expires_ms };
        let verified = Arc::new(verified);
        self.verified.put_signed(&entry, Arc::clone(&verified), keys, now_ms);
        Ok(verified)
    }

    /// `identity` within a transaction, which must be its own.
    fn within(
        &self,
        mut identity: Identity,
        token: &str,
        now_ms: i64,
    ) -> Result<Identity, AuthError> {
        let transaction = self.transaction(token, now_ms);
        let transaction = transaction.map_err(|cause| AuthError::TxnToken(Box::new(cause)))?;
        // Two tenants may have subjects of one name.
        let at_home = transaction.tenant.as_ref().is_none_or(|own| *own == identity.tenant);
        match &mut identity.subject {
            Some(subject) if at_home && subject.id == transaction.sub => transaction.enter(subject),
            _ => return Err(AuthError::TxnTokenMismatch),
        }
        let end_ms = identity.expires_ms.unwrap_or(transaction.expires_ms);
        identity.expires_ms = Some(end_ms.min(transaction.expires_ms));
        Ok(identity)
    }

    fn transaction(&self, token: &str, now_ms: i64) -> Result<Arc<Transaction>, AuthError> {
        let digest = digest_of(token);
        if let Some(known) = self.transactions.get(&digest, now_ms) {
            return Ok(known);
        }
        let (transaction, keys) = jwt::transaction(token, &self.issuers, now_ms)?;
        let expires_ms = Some(transaction.expires_ms);
        let entry = cache::Token { digest, bytes: token.len(), expires_ms };
        let transaction = Arc::new(transaction);
        self.transactions.put_signed(&entry, Arc::clone(&transaction), keys, now_ms);
        Ok(transaction)
    }
}

/// Whether whoever sent `token` holds what it is bound to. Asked every time: that the token holds
/// says nothing about who sent it.
fn possession(
    verified: &Verified,
    token: Token<'_>,
    presented: &Presented<'_>,
    now_ms: i64,
) -> Result<Option<Use>, AuthError> {
    verified.binding.check_certificate(presented.certificate)?;
    match (&verified.binding.key, token.scheme) {
        (None, Scheme::Bearer) if verified.dpop.required => Err(DpopError::Required.into()),
        (None, Scheme::Bearer) => Ok(None),
        (None, Scheme::Dpop) => Err(DpopError::Unbound.into()),
        (Some(_), Scheme::Bearer) => Err(AuthError::TokenBound),
        (Some(key), Scheme::Dpop) => {
            let proof = presented.dpop.ok_or(DpopError::Missing)?;
            let nonces = verified.dpop.nonces.as_ref();
            Ok(Some(dpop::check(&proof, token.text, key, nonces, now_ms)?))
        }
    }
}
