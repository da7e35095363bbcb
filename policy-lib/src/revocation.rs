//! Signed lists of what is revoked: bytes in, a [`Verified`] list out, and calls held against it.
//!
//! A list is one compact JWS (RFC 7515) with `alg` `EdDSA` (RFC 8037), a `kid` and the type
//! [`TYPE`]; its header is held to the same rules as that of a bundle's signature. The payload is
//! [`List`]. Every list states when it expires: one that is past its time proves nothing about
//! what was revoked since, so everything is denied until a newer one is there.

use std::collections::BTreeSet;

use ed25519_dalek::SigningKey;
use jiff::Timestamp;
use lictor_proto::call::{Call, DEFAULT_TENANT};
use lictor_proto::decision::Reason;
use lictor_proto::reason;
use lictor_proto::revocation::{Entry, Involved, Kind, Set};
use serde::{Deserialize, Serialize};

use crate::bundle::json::{self, JsonError};
use crate::bundle::jws::{self, JwsError, Token};
use crate::bundle::{TrustedKey, key_id};

/// The `typ` of a list.
pub const TYPE: &str = "lictor-revocations+jwt";
/// Largest list, bytes of the JWS.
pub const LIST_MAX_BYTES: usize = 32 << 20;
/// Most entries of one list.
pub const ENTRIES_MAX: usize = 100_000;
/// Longest id, bytes.
pub const ID_MAX_BYTES: usize = 2_048;
/// Longest reason, bytes.
pub const REASON_MAX_BYTES: usize = 1_024;
/// Highest version: the largest whole number that every JSON reader keeps.
pub const VERSION_MAX: u64 = (1 << 53) - 1;
/// How far ahead of our clock a signer's may be, milliseconds.
pub const SIGNER_CLOCK_AHEAD_MAX_MS: i64 = 300_000;

/// Why a list is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RevocationError {
    /// It is larger than is read.
    #[error("the list has {bytes} bytes, {LIST_MAX_BYTES} are allowed")]
    TooLarge {
        /// Its size, in bytes.
        bytes: usize,
    },
    /// It is no compact JWS of our type.
    #[error("the list is refused: {what}")]
    Token {
        /// What is wrong.
        what: String,
    },
    /// Nobody who is trusted signed it.
    #[error(
        "the list is signed by `{kid}`, which is not trusted: add the public key to `trust_keys` or have it signed by a trusted one"
    )]
    KeyUnknown {
        /// The id that it names.
        kid: String,
    },
    /// It names a trusted key and is not by it.
    #[error("the signature by key `{kid}` is wrong: do not use this list")]
    Signature {
        /// The key's id.
        kid: String,
    },
    /// The payload is not strict JSON of the expected form.
    #[error("the list is refused: {0}")]
    Payload(JsonError),
    /// It is for somebody else.
    #[error("the list is for the tenant `{0}`, not for `{DEFAULT_TENANT}`")]
    Tenant(String),
    /// It has too many entries.
    #[error("the list has {count} entries, {ENTRIES_MAX} are allowed")]
    TooMany {
        /// How many there are.
        count: usize,
    },
    /// An entry is out of its range, or there twice.
    #[error("entry {index} of the list is refused: {what}")]
    Entry {
        /// Which, counted from 0.
        index: usize,
        /// What is wrong.
        what: &'static str,
    },
    /// A newer one was there before.
    #[error(
        "the list has version {found}, and version {floor} was there before: sign it again with a higher one"
    )]
    Version {
        /// Its version.
        found: u64,
        /// What it must not fall below.
        floor: u64,
    },
    /// It is from the future.
    #[error("the list is from the future: set the signer's clock")]
    NotYetValid,
    /// Its times make no sense.
    #[error("the list expires before it is issued")]
    Times,
}

impl RevocationError {
    /// The stable id of this refusal.
    #[must_use]
    pub fn id(&self) -> &'static str {
        match self {
            Self::TooLarge { .. } => "revocations_too_large",
            Self::Token { .. } => "revocations_malformed",
            Self::KeyUnknown { .. } => "revocations_key_unknown",
            Self::Signature { .. } => "revocations_signature_invalid",
            Self::Payload(_) => "revocations_payload",
            Self::Tenant(_) => "revocations_tenant",
            Self::TooMany { .. } => "revocations_too_many",
            Self::Entry { .. } => "revocations_entry",
            Self::Version { .. } => "revocations_version",
            Self::NotYetValid => "revocations_not_yet_valid",
            Self::Times => "revocations_times",
        }
    }
}

impl From<JwsError> for RevocationError {
    fn from(error: JwsError) -> Self {
        Self::Token { what: error.to_string() }
    }
}

/// What is signed. Times are RFC 3339 on paper and Unix milliseconds here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct List {
    /// Who issues it; for people.
    pub iss: Option<String>,
    /// Rises with every change.
    pub version: u64,
    /// When it was signed.
    pub issued_at_ms: i64,
    /// From when on it is stale.
    pub expires_ms: i64,
    /// What is revoked, in the order of kinds and ids.
    pub entries: Vec<Entry>,
}

impl List {
    /// A list with nothing on it.
    #[must_use]
    pub fn empty(issued_at_ms: i64, expires_ms: i64) -> Self {
        Self { iss: None, version: 0, issued_at_ms, expires_ms, entries: Vec::new() }
    }

    /// Puts an entry on the list, in place of an older one for the same thing.
    pub fn put(&mut self, entry: Entry) {
        self.remove(entry.kind, &entry.id);
        let key = (entry.kind, entry.id.as_str());
        let at = self.entries.partition_point(|known| (known.kind, known.id.as_str()) < key);
        self.entries.insert(at, entry);
    }

    /// Takes an entry from the list; whether it was there.
    pub fn remove(&mut self, kind: Kind, id: &str) -> bool {
        let before = self.entries.len();
        self.entries.retain(|entry| entry.kind != kind || entry.id != id);
        before != self.entries.len()
    }

    /// The list of the next version, issued now. Entries whose time is over are left out.
    #[must_use]
    pub fn renewed(mut self, now_ms: i64, life_ms: i64) -> Self {
        self.version += 1;
        self.issued_at_ms = now_ms;
        self.expires_ms = now_ms.saturating_add(life_ms);
        self.entries.retain(|entry| entry.holds(now_ms));
        self
    }
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields, expecting = "an object")]
struct Payload {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    iss: Option<String>,
    tenant: String,
    version: u64,
    issued_at: Timestamp,
    expires: Timestamp,
    entries: Vec<PayloadEntry>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields, expecting = "an object")]
struct PayloadEntry {
    kind: Kind,
    id: String,
    reason: String,
    since: Timestamp,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    until: Option<Timestamp>,
}

/// A time that the calendar does not have is the nearest that it has.
fn timestamp(ms: i64) -> Timestamp {
    let nearest = if ms < 0 { Timestamp::MIN } else { Timestamp::MAX };
    Timestamp::from_millisecond(ms).unwrap_or(nearest)
}

impl From<&List> for Payload {
    fn from(list: &List) -> Self {
        let entry = |entry: &Entry| PayloadEntry {
            kind: entry.kind,
            id: entry.id.clone(),
            reason: entry.reason.clone(),
            since: timestamp(entry.since_ms),
            until: entry.until_ms.map(timestamp),
        };
        Self {
            iss: list.iss.clone(),
            tenant: DEFAULT_TENANT.to_owned(),
            version: list.version,
            issued_at: timestamp(list.issued_at_ms),
            expires: timestamp(list.expires_ms),
            entries: list.entries.iter().map(entry).collect(),
        }
    }
}

impl From<PayloadEntry> for Entry {
    fn from(entry: PayloadEntry) -> Self {
        Self {
            kind: entry.kind,
            id: entry.id,
            reason: entry.reason,
            since_ms: entry.since.as_millisecond(),
            until_ms: entry.until.map(Timestamp::as_millisecond),
        }
    }
}

/// A list that somebody who is trusted signed. Only [`verify`] makes one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verified {
    list: List,
    set: Set,
    kid: String,
    digest: String,
}

impl Verified {
    /// What was signed.
    #[must_use]
    pub fn list(&self) -> &List {
        &self.list
    }

    /// Its entries, to be looked up.
    #[must_use]
    pub fn set(&self) -> &Set {
        &self.set
    }

    /// Id of the key that signed it.
    #[must_use]
    pub fn kid(&self) -> &str {
        &self.kid
    }

    /// `sha256:` and the digest of its bytes.
    #[must_use]
    pub fn digest(&self) -> &str {
        &self.digest
    }

    /// Whether it is past its time at `now_ms`.
    #[must_use]
    pub fn is_stale(&self, now_ms: i64) -> bool {
        self.list.expires_ms <= now_ms
    }
}

/// Signs `list`.
#[must_use]
pub fn sign(list: &List, key: &SigningKey) -> String {
    // Structs of texts and numbers always serialise; an empty payload would be refused.
    let payload = serde_json::to_vec(&Payload::from(list)).unwrap_or_default();
    jws::sign_typed(key, &key_id(&key.verifying_key()), TYPE, &payload)
}

/// Verifies a list: signed by one of `keys`, not below version `floor_version`, not from the
/// future at `now_ms`. One that has expired is verified all the same, and stale.
///
/// # Errors
/// [`RevocationError`]; nothing of the list may be used then.
pub fn verify(
    bytes: &[u8],
    keys: &[TrustedKey],
    now_ms: i64,
    floor_version: u64,
) -> Result<Verified, RevocationError> {
    if bytes.len() > LIST_MAX_BYTES {
        return Err(RevocationError::TooLarge { bytes: bytes.len() });
    }
    let text = std::str::from_utf8(bytes)
        .map_err(|_| RevocationError::Token { what: "it is not text".to_owned() })?;
    let token = Token::parse_typed(text.trim_end_matches('\n'), TYPE)?;
    let kid = token.kid.clone();
    let Some(trusted) = keys.iter().find(|key| key.kid == kid) else {
        return Err(RevocationError::KeyUnknown { kid });
    };
    if !token.is_signed_by(&trusted.key) {
        return Err(RevocationError::Signature { kid });
    }
    let payload = json::from_slice(&token.payload).map_err(RevocationError::Payload)?;
    let list = checked(payload, now_ms, floor_version)?;
    let set = list.entries.iter().cloned().collect();
    Ok(Verified { list, set, kid, digest: crate::bundle::digest(bytes) })
}

fn checked(payload: Payload, now_ms: i64, floor: u64) -> Result<List, RevocationError> {
    if payload.tenant != DEFAULT_TENANT {
        return Err(RevocationError::Tenant(payload.tenant));
    }
    let found = payload.version;
    if found < floor || found > VERSION_MAX {
        return Err(RevocationError::Version { found, floor });
    }
    let (issued, expires) = (payload.issued_at, payload.expires);
    if expires <= issued {
        return Err(RevocationError::Times);
    }
    if issued.as_millisecond() > now_ms.saturating_add(SIGNER_CLOCK_AHEAD_MAX_MS) {
        return Err(RevocationError::NotYetValid);
    }
    let count = payload.entries.len();
    if count > ENTRIES_MAX {
        return Err(RevocationError::TooMany { count });
    }
    check_entries(&payload.entries)?;
    Ok(List {
        iss: payload.iss,
        version: found,
        issued_at_ms: issued.as_millisecond(),
        expires_ms: expires.as_millisecond(),
        entries: payload.entries.into_iter().map(Entry::from).collect(),
    })
}

fn check_entries(entries: &[PayloadEntry]) -> Result<(), RevocationError> {
    let mut seen = BTreeSet::new();
    for (index, entry) in entries.iter().enumerate() {
        let refuse = |what| Err(RevocationError::Entry { index, what });
        if entry.id.is_empty() || entry.id.len() > ID_MAX_BYTES {
            return refuse("its id is empty or too long");
        }
        if entry.reason.len() > REASON_MAX_BYTES {
            return refuse("its reason is too long");
        }
        if !seen.insert((entry.kind, entry.id.as_str())) {
            return refuse("it is there twice");
        }
    }
    Ok(())
}

/// Whether `call`, which belongs to the session `session_id`, is to be denied at `now_ms`: because
/// of an entry, or because the list is past its time.
#[must_use]
pub fn check(
    verified: &Verified,
    call: &Call,
    session_id: Option<&str>,
    now_ms: i64,
) -> Option<Reason> {
    let found = match verified.set.is_empty() {
        true => None,
        false => verified.set.find(&Involved::of(call, session_id), now_ms),
    };
    let stale = || verified.is_stale(now_ms).then(stale);
    found.map(|found| found.reason()).or_else(stale)
}

/// The reason where what is revoked is not known.
#[must_use]
pub fn stale() -> Reason {
    let message = "the list of revocations is past its time, so nothing is allowed";
    Reason::new(reason::REVOCATION_STALE, message)
}

#[cfg(test)]
#[path = "revocation_tests.rs"]
mod tests;
