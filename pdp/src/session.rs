//! Signed session handles, implicit sessions, and whose turn it is in one.
//!
//! A handle is `ls1.<base64url payload>.<base64url signature>`: Ed25519 over the
//! payload with the session key. It is bound to tenant, subject and agent, so a
//! stolen handle is of no use to another principal, and it proves nothing by
//! itself: the session must also be in the store.

use std::collections::HashMap;
use std::hash::BuildHasher as _;
use std::sync::{Arc, Mutex, PoisonError};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as BASE64;
use ed25519_dalek::{Signature, Signer as _, SigningKey};
use lictor_proto::call::{Call, CredentialKind};
use lictor_proto::json;
use serde::{Deserialize, Serialize};

use crate::state::SessionKey;

/// How long an opened session lasts, in milliseconds.
pub const SESSION_MS: i64 = 15 * 60_000;
/// Longest handle that is looked at, in bytes.
pub const HANDLE_BYTES_MAX: usize = 2_048;
/// Handles whose signature is known to be good; with one more, all of them are looked at anew.
const KNOWN_MAX: usize = 4_096;
const PREFIX: &str = "ls1.";
const DOMAIN: &[u8] = b"lictor/session/1\0";

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Payload {
    sid: String,
    tenant: String,
    subject: String,
    agent: String,
    exp_ms: i64,
}

/// Why a handle is refused. Callers learn only `session_unknown`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum HandleError {
    /// Not a handle.
    #[error("the session handle is malformed")]
    Malformed,
    /// Not signed by our key.
    #[error("the session handle's signature is wrong")]
    Signature,
    /// Past its time.
    #[error("the session handle has expired")]
    Expired,
    /// Minted for another principal.
    #[error("the session handle belongs to another tenant, subject or agent")]
    NotYours,
}

/// Mints and reads handles.
pub struct Handles {
    key: SigningKey,
    /// What handles say whose signature was good: looking at one costs more than most decisions,
    /// and the same bytes have the same signature for ever.
    known: Mutex<HashMap<Box<str>, Arc<Payload>>>,
}

impl Handles {
    /// Handles signed with `key`.
    #[must_use]
    pub fn new(key: SigningKey) -> Self {
        Self { key, known: Mutex::default() }
    }

    /// A handle for a session that was opened for `call`.
    #[must_use]
    pub fn mint(&self, call: &Call, sid: &str, exp_ms: i64) -> String {
        let payload = Payload {
            sid: sid.to_owned(),
            tenant: call.tenant.clone(),
            subject: subject_of(call).to_owned(),
            agent: agent_of(call).to_owned(),
            exp_ms,
        };
        let body = BASE64.encode(serde_json::to_vec(&payload).unwrap_or_default());
        let signature = self.key.sign(&signed(&body));
        format!("{PREFIX}{body}.{}", BASE64.encode(signature.to_bytes()))
    }

    /// The session that `call` names, or the implicit one of who calls.
    ///
    /// # Errors
    /// [`HandleError`] if a handle is named that is not good for this call.
    pub fn session_of(&self, call: &Call, now_ms: i64) -> Result<SessionKey, HandleError> {
        let Some(session) = &call.session else { return Ok(implicit(call)) };
        let payload = self.known(&session.handle)?;
        let yours = payload.tenant == call.tenant
            && payload.subject == subject_of(call)
            && payload.agent == agent_of(call);
        if !yours {
            return Err(HandleError::NotYours);
        }
        if payload.exp_ms <= now_ms {
            return Err(HandleError::Expired);
        }
        let (tenant, id) = (payload.tenant.clone(), payload.sid.clone());
        Ok(SessionKey { tenant, id, implicit: false })
    }

    /// What a handle with a good signature says; whether it is good for a call is not said by that.
    fn known(&self, handle: &str) -> Result<Arc<Payload>, HandleError> {
        // A panic elsewhere leaves the map as it was before or after one change.
        let known = || self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(payload) = known().get(handle) {
            return Ok(Arc::clone(payload));
        }
        let payload = Arc::new(self.read(handle)?);
        let mut known = known();
        if known.len() >= KNOWN_MAX {
            known.clear();
        }
        known.insert(handle.into(), Arc::clone(&payload));
        Ok(payload)
    }

    fn read(&self, handle: &str) -> Result<Payload, HandleError> {
        if handle.len() > HANDLE_BYTES_MAX {
            return Err(HandleError::Malformed);
        }
        let parts = handle.strip_prefix(PREFIX).and_then(|rest| rest.split_once('.'));
        let (body, signature) = parts.ok_or(HandleError::Malformed)?;
        let decode = |text: &str| BASE64.decode(text).map_err(|_| HandleError::Malformed);
        let signature =
            Signature::from_slice(&decode(signature)?).map_err(|_| HandleError::Malformed)?;
        self.key
            .verifying_key()
            .verify_strict(&signed(body), &signature)
            .map_err(|_| HandleError::Signature)?;
        serde_json::from_slice(&decode(body)?).map_err(|_| HandleError::Malformed)
    }
}

/// Sessions share this many queues; two that share one wait for each other, no more.
const QUEUES: usize = 1_024;

/// Whose turn it is in a session. Fair: calls are decided in the order they came.
pub struct Turns {
    queues: Vec<tokio::sync::Mutex<()>>,
    hasher: std::collections::hash_map::RandomState,
    /// What an index outside the queues would mean; there is none.
    spare: tokio::sync::Mutex<()>,
}

impl Default for Turns {
    fn default() -> Self {
        Self {
            queues: (0..QUEUES).map(|_| tokio::sync::Mutex::new(())).collect(),
            hasher: std::collections::hash_map::RandomState::new(),
            spare: tokio::sync::Mutex::new(()),
        }
    }
}

impl Turns {
    /// The queue of a session.
    #[must_use]
    pub fn of(&self, session: &SessionKey) -> &tokio::sync::Mutex<()> {
        let hash = self.hasher.hash_one(session);
        let index = usize::try_from(hash % QUEUES as u64).unwrap_or_default();
        self.queues.get(index).unwrap_or(&self.spare)
    }
}

fn signed(body: &str) -> Vec<u8> {
    [DOMAIN, body.as_bytes()].concat()
}

/// Who the subject is, empty for none.
#[must_use]
pub fn subject_of(call: &Call) -> &str {
    call.subject.as_ref().map(|party| party.id.as_str()).unwrap_or_default()
}

/// Which agent acts, empty for none.
#[must_use]
pub fn agent_of(call: &Call) -> &str {
    call.agent.as_ref().map(|party| party.id.as_str()).unwrap_or_default()
}

/// The session that a call without a handle joins. Signed tokens are renewed all
/// the time, so the id of one must not start a session afresh; every other
/// credential is part of the key.
pub(crate) fn implicit(call: &Call) -> SessionKey {
    let credential = match &call.credential {
        Some(credential) if credential.kind == CredentialKind::Jwt => "jwt",
        Some(credential) => credential.id.as_str(),
        None => "",
    };
    let parts = [call.tenant.as_str(), subject_of(call), agent_of(call), credential];
    let text = serde_json::to_string(&parts).unwrap_or_default();
    let digest = json::digest_bytes("lictor/implicit/1", text.as_bytes());
    let digits = digest.strip_prefix("sha256:").unwrap_or_default();
    let short = digits.get(..32).unwrap_or(digits);
    SessionKey { tenant: call.tenant.clone(), id: format!("implicit-{short}"), implicit: true }
}

#[cfg(test)]
mod tests {
    use lictor_proto::call::{Credential, Party, SessionRef};

    use super::*;

    fn handles() -> Handles {
        Handles::new(SigningKey::from_bytes(&[7; 32]))
    }

    fn call(subject: &str, agent: &str) -> Call {
        Call {
            subject: Some(Party::new("user", subject)),
            agent: Some(Party::new("agent", agent)),
            ..Call::default()
        }
    }

    fn with(call: Call, handle: String) -> Call {
        Call { session: Some(SessionRef { handle }), ..call }
    }

    #[test]
    fn a_handle_is_good_for_its_principal_until_it_ends() {
        let handle = handles().mint(&call("alice", "bot"), "s1", 100);
        let named = |call: Call| handles().session_of(&with(call, handle.clone()), 50);
        assert_eq!(named(call("alice", "bot")).unwrap().id, "s1");
        assert_eq!(named(call("bob", "bot")), Err(HandleError::NotYours));
        assert_eq!(named(call("alice", "other")), Err(HandleError::NotYours));
        let tenant = Call { tenant: "other".into(), ..call("alice", "bot") };
        assert_eq!(named(tenant), Err(HandleError::NotYours));
        let late = handles().session_of(&with(call("alice", "bot"), handle.clone()), 100);
        assert_eq!(late, Err(HandleError::Expired));
    }

    #[test]
    fn every_changed_byte_of_a_handle_is_refused() {
        let handle = handles().mint(&call("alice", "bot"), "s1", 100);
        for index in 0..handle.len() {
            let mut bytes = handle.clone().into_bytes();
            bytes[index] = if bytes[index] == b'A' { b'B' } else { b'A' };
            let changed = String::from_utf8(bytes).unwrap();
            if changed == handle {
                continue;
            }
            let refused = handles().session_of(&with(call("alice", "bot"), changed), 50);
            assert!(refused.is_err(), "byte {index}");
        }
        let other = Handles::new(SigningKey::from_bytes(&[8; 32]));
        let refused = other.session_of(&with(call("alice", "bot"), handle), 50);
        assert_eq!(refused, Err(HandleError::Signature));
    }

    #[test]
    fn a_handle_that_is_known_is_looked_at_as_one_that_is_not() {
        let handles = handles();
        let handle = handles.mint(&call("alice", "bot"), "s1", 100);
        for _ in 0..2 {
            let of =
                |who, now_ms| handles.session_of(&with(call(who, "bot"), handle.clone()), now_ms);
            assert_eq!(of("alice", 50).unwrap().id, "s1");
            assert_eq!(of("bob", 50), Err(HandleError::NotYours));
            assert_eq!(of("alice", 100), Err(HandleError::Expired));
        }
        assert_eq!(handles.known.lock().unwrap().len(), 1);
        for n in 1..=KNOWN_MAX {
            let handle = handles.mint(&call("alice", "bot"), &format!("s{n}"), 100);
            handles.session_of(&with(call("alice", "bot"), handle), 50).unwrap();
        }
        assert!(handles.known.lock().unwrap().len() <= KNOWN_MAX);
        let bad = format!("{handle}A");
        assert!(handles.session_of(&with(call("alice", "bot"), bad.clone()), 50).is_err());
        assert!(
            !handles.known.lock().unwrap().contains_key(bad.as_str()),
            "what is refused is forgotten"
        );
    }

    #[test]
    fn a_renewed_token_stays_in_the_implicit_session_and_another_key_does_not() {
        let with_credential = |kind, id: &str| {
            let credential = Some(Credential { kind, id: id.into(), issuer: String::new() });
            let call = Call { credential, ..call("alice", "bot") };
            handles().session_of(&call, 0).unwrap().id
        };
        let (jwt, key) = (CredentialKind::Jwt, CredentialKind::ApiKey);
        assert_eq!(with_credential(jwt, "t1"), with_credential(jwt, "t2"));
        assert_ne!(with_credential(key, "k1"), with_credential(key, "k2"));
        assert_ne!(with_credential(key, "k1"), with_credential(jwt, "k1"));
    }
}
