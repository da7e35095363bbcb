//! What is stored about one API key.

use lictor_proto::call::{Credential, CredentialKind, Party};
use serde::{Deserialize, Serialize};

use crate::credential::{Digest, credential};
use crate::error::AuthError;
use crate::identity::{Identity, Role};
use crate::jwt::id_fault;

/// How a stored hash begins.
const HASH_PREFIX: &str = "sha256:";

/// A party by type and id.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PartyRef {
    /// `user`, `agent`, `service`, ….
    #[serde(rename = "type")]
    pub kind: String,
    /// The id that the registry knows.
    pub id: String,
}

impl PartyRef {
    /// A party of `kind`.
    #[must_use]
    pub fn new(kind: &str, id: &str) -> Self {
        Self { kind: kind.to_owned(), id: id.to_owned() }
    }

    fn party(&self) -> Party {
        Party::new(&self.kind, &self.id)
    }
}

/// One key as stored: everything but the key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ApiKeyRecord {
    /// Public name, for lists and revocation.
    pub id: String,
    /// `sha256:<64 hex digits>` of the key's text.
    pub hash: String,
    /// Isolation boundary of whoever uses it.
    pub tenant: String,
    /// On whose authority it is used.
    pub subject: Option<PartyRef>,
    /// The software that uses it.
    pub agent: Option<PartyRef>,
    /// What it may do at the decision point's door.
    pub roles: Vec<Role>,
    /// When it was issued, unix milliseconds (RFC 3339 in the file).
    #[serde(rename = "created", with = "instant")]
    pub created_ms: i64,
    /// When it ends, unix milliseconds (RFC 3339 in the file).
    #[serde(rename = "expires", default, with = "instant::option")]
    pub expires_ms: Option<i64>,
    /// Whether it was taken back.
    #[serde(default)]
    pub revoked: bool,
    /// For people.
    #[serde(default)]
    pub note: String,
}

/// What a new key is for.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct IssueRequest {
    /// Public name, unique in the store.
    pub id: String,
    /// Isolation boundary of whoever uses it.
    pub tenant: String,
    /// On whose authority it is used.
    pub subject: Option<PartyRef>,
    /// The software that uses it.
    pub agent: Option<PartyRef>,
    /// What it may do at the decision point's door.
    pub roles: Vec<Role>,
    /// When it ends, unix milliseconds.
    pub expires_ms: Option<i64>,
    /// For people.
    pub note: String,
}

impl ApiKeyRecord {
    pub(crate) fn new(request: &IssueRequest, hash: &Digest, now_ms: i64) -> Self {
        Self {
            id: request.id.clone(),
            hash: format!("{HASH_PREFIX}{}", hex::encode(hash)),
            tenant: request.tenant.clone(),
            subject: request.subject.clone(),
            agent: request.agent.clone(),
            roles: request.roles.clone(),
            created_ms: now_ms,
            expires_ms: request.expires_ms,
            revoked: false,
            note: request.note.clone(),
        }
    }

    /// How records and revocations name the key. Not the stored hash.
    #[must_use]
    pub fn credential(&self) -> Credential {
        credential(CredentialKind::ApiKey, &[self.hash.as_bytes()])
    }

    pub(crate) fn digest(&self) -> Option<Digest> {
        let digits = self.hash.strip_prefix(HASH_PREFIX)?;
        let mut digest = Digest::default();
        hex::decode_to_slice(digits, &mut digest).ok()?;
        // Upper-case digits would give one key two texts in the file.
        (hex::encode(digest) == digits).then_some(digest)
    }

    /// Why the record could not be meant.
    pub(crate) fn fault(&self) -> Option<&'static str> {
        let parties = [&self.subject, &self.agent].into_iter().flatten();
        let mut names = vec![self.id.as_str(), self.tenant.as_str()];
        names.extend(parties.flat_map(|party| [party.kind.as_str(), party.id.as_str()]));
        if let Some(why) = names.into_iter().find_map(id_fault) {
            return Some(why);
        }
        let user = self.subject.as_ref().is_some_and(|subject| subject.kind == "user");
        if self.roles.contains(&Role::Approver) && !user {
            return Some("an `approver` is a user: give the key a `subject` of type `user`");
        }
        if self.expires_ms.is_some_and(|end_ms| end_ms <= self.created_ms) {
            return Some("it would end before it begins");
        }
        (self.digest().is_none()).then_some("`hash` must be `sha256:` and 64 hex digits")
    }

    pub(crate) fn identity(&self, now_ms: i64) -> Result<Identity, AuthError> {
        if self.revoked {
            return Err(AuthError::ApiKeyRevoked { id: self.id.clone() });
        }
        if self.expires_ms.is_some_and(|end_ms| now_ms >= end_ms) {
            return Err(AuthError::ApiKeyExpired { id: self.id.clone() });
        }
        Ok(Identity {
            tenant: self.tenant.clone(),
            subject: self.subject.as_ref().map(PartyRef::party),
            agent: self.agent.as_ref().map(PartyRef::party),
            delegation: Vec::new(),
            credential: self.credential(),
            expires_ms: self.expires_ms,
            roles: self.roles.clone(),
        })
    }
}

/// Unix milliseconds in code, RFC 3339 in the file.
mod instant {
    use jiff::Timestamp;
    use serde::{Deserialize, Deserializer, Serialize, Serializer, de, ser};

    fn to_text<E: ser::Error>(ms: i64) -> Result<String, E> {
        Timestamp::from_millisecond(ms).map(|time| time.to_string()).map_err(E::custom)
    }

    fn from_text<E: de::Error>(text: &str) -> Result<i64, E> {
        text.parse::<Timestamp>().map(Timestamp::as_millisecond).map_err(E::custom)
    }

    pub(super) fn serialize<S: Serializer>(ms: &i64, serializer: S) -> Result<S::Ok, S::Error> {
        to_text::<S::Error>(*ms)?.serialize(serializer)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<i64, D::Error> {
        from_text(&String::deserialize(deserializer)?)
    }

    pub(super) mod option {
        use super::{Deserialize, Deserializer, Serialize, Serializer, from_text, to_text};

        pub(in super::super) fn serialize<S: Serializer>(
            ms: &Option<i64>,
            serializer: S,
        ) -> Result<S::Ok, S::Error> {
            ms.map(to_text::<S::Error>).transpose()?.serialize(serializer)
        }

        pub(in super::super) fn deserialize<'de, D: Deserializer<'de>>(
            deserializer: D,
        ) -> Result<Option<i64>, D::Error> {
            Option::<String>::deserialize(deserializer)?.as_deref().map(from_text).transpose()
        }
    }
}
