//! `.signatures.json`: who vouches for the files.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::claims::{Claims, Difference, hash_all};
use super::files::Files;
use super::json::{self, JsonError};
use super::jws::{JwsError, Token};
use super::name::{self, shown};
use super::trust::TrustPolicy;

/// Largest `.signatures.json`, in bytes.
pub(crate) const SIGNATURE_FILE_BYTES_MAX: usize = 16 << 20;
/// Most signatures in one bundle.
pub(crate) const SIGNATURES_MAX: usize = 16;
/// How far ahead of our clock a signer's may be, in milliseconds.
pub(crate) const SIGNER_CLOCK_AHEAD_MAX_MS: i64 = 300_000;
const MS_PER_S: i64 = 1000;

/// Why the signatures of a bundle are refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SignatureError {
    /// There is no signature.
    #[error("the bundle is not signed: sign it with `lictor sign`")]
    Unsigned,
    /// The signature file is too large.
    #[error("`.signatures.json` has {bytes} bytes, {SIGNATURE_FILE_BYTES_MAX} are allowed")]
    TooLarge {
        /// Its size, in bytes.
        bytes: usize,
    },
    /// There are too many signatures.
    #[error("the bundle has {count} signatures, {SIGNATURES_MAX} are allowed")]
    TooMany {
        /// How many there are.
        count: usize,
    },
    /// The signature file is not strict JSON of the expected form.
    #[error("`.signatures.json` is refused: {0}")]
    File(JsonError),
    /// A signature is not a compact JWS.
    #[error("{what}")]
    Malformed {
        /// What is wrong.
        what: String,
    },
    /// A header holds a member that could change how it is verified.
    #[error("{what}")]
    Header {
        /// What is wrong.
        what: String,
    },
    /// The token's algorithm is not the key's.
    #[error("{what}")]
    Algorithm {
        /// What is wrong.
        what: String,
    },
    /// No signature is by a key that is trusted.
    #[error(
        "signed by {kids} only, which is not trusted: add the public key or have it signed by a trusted one"
    )]
    KeyUnknown {
        /// The ids that signed.
        kids: String,
    },
    /// A signature that names a trusted key is not by it.
    #[error("the signature by key `{kid}` is wrong: do not use this bundle")]
    Invalid {
        /// The key's id.
        kid: String,
    },
    /// A trusted key signed twice.
    #[error("key `{kid}` signed twice: keep one signature")]
    Duplicate {
        /// The key's id.
        kid: String,
    },
    /// Too few trusted keys signed.
    #[error("{found} of {required} required keys signed the bundle")]
    TooFew {
        /// How many did.
        found: usize,
        /// How many must.
        required: usize,
    },
    /// The payload is not strict JSON of the expected form.
    #[error("the payload signed by key `{kid}` is refused: {source}")]
    Payload {
        /// The key's id.
        kid: String,
        /// What is wrong.
        source: JsonError,
    },
    /// The signature is for another scope.
    #[error("key `{kid}` signed for the scope `{found}`, not for `{expected}`")]
    Scope {
        /// The key's id.
        kid: String,
        /// The scope in the signature.
        found: String,
        /// The scope that is wanted, or that the key may sign for.
        expected: String,
    },
    /// The list names a file twice.
    #[error("the signature lists file `{name}` twice")]
    ListedTwice {
        /// The file.
        name: String,
    },
    /// A listed file is not in the bundle.
    #[error("file `{name}` is signed but missing")]
    FileMissing {
        /// The file.
        name: String,
    },
    /// A file is not listed.
    #[error("file `{name}` is not covered by the signature: sign the bundle again")]
    FileUnsigned {
        /// The file.
        name: String,
    },
    /// A file's hash is not the listed one.
    #[error("file `{name}` is not what was signed")]
    Hash {
        /// The file.
        name: String,
    },
    /// A listed hash has another algorithm.
    #[error("the signature uses the hash `{algorithm}`: only `SHA-256` is accepted")]
    HashAlgorithm {
        /// The algorithm.
        algorithm: String,
    },
    /// The signature has expired.
    #[error("the signature by key `{kid}` has expired: sign the bundle again")]
    Expired {
        /// The key's id.
        kid: String,
    },
    /// The signature is from the future.
    #[error("the signature by key `{kid}` is from the future: set the signer's clock")]
    NotYetValid {
        /// The key's id.
        kid: String,
    },
    /// Signatures disagree on the bundle's name or version.
    #[error("the signatures disagree on the bundle's name or version: sign it again")]
    Disagree,
}

impl SignatureError {
    /// The stable id of this refusal.
    pub fn id(&self) -> &'static str {
        match self {
            Self::Unsigned => "bundle_unsigned",
            Self::TooLarge { .. } => "bundle_signatures_too_large",
            Self::TooMany { .. } => "bundle_signatures_too_many",
            Self::File(_) => "bundle_signatures_invalid",
            Self::Malformed { .. } => "bundle_signature_malformed",
            Self::Header { .. } => "bundle_signature_header",
            Self::Algorithm { .. } => "bundle_signature_algorithm",
            Self::KeyUnknown { .. } => "bundle_key_unknown",
            Self::Invalid { .. } => "bundle_signature_invalid",
            Self::Duplicate { .. } => "bundle_signature_duplicate",
            Self::TooFew { .. } => "bundle_signatures_too_few",
            Self::Payload { .. } => "bundle_signature_payload",
            Self::Scope { .. } => "bundle_scope",
            Self::ListedTwice { .. } => "bundle_file_listed_twice",
            Self::FileMissing { .. } => "bundle_file_missing",
            Self::FileUnsigned { .. } => "bundle_file_unsigned",
            Self::Hash { .. } => "bundle_hash",
            Self::HashAlgorithm { .. } => "bundle_hash_algorithm",
            Self::Expired { .. } => "bundle_expired",
            Self::NotYetValid { .. } => "bundle_not_yet_valid",
            Self::Disagree => "bundle_signatures_disagree",
        }
    }
}

impl From<JwsError> for SignatureError {
    fn from(error: JwsError) -> Self {
        let what = error.to_string();
        match error {
            JwsError::Form(_) => Self::Malformed { what },
            JwsError::Algorithm(_) => Self::Algorithm { what },
            JwsError::Header(_) | JwsError::Type { .. } | JwsError::KeyId => Self::Header { what },
        }
    }
}

impl From<Difference> for SignatureError {
    fn from(difference: Difference) -> Self {
        let name = |name: &str| shown(name.as_bytes());
        match &difference {
            Difference::Listed(file) => Self::ListedTwice { name: name(file) },
            Difference::Missing(file) => Self::FileMissing { name: name(file) },
            Difference::Unlisted(file) => Self::FileUnsigned { name: name(file) },
            Difference::Hash(file) => Self::Hash { name: name(file) },
            Difference::Algorithm(algorithm) => Self::HashAlgorithm { algorithm: name(algorithm) },
        }
    }
}

/// The form of `.signatures.json`.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields, expecting = "an object")]
pub(crate) struct SignatureFile {
    pub(crate) signatures: Vec<String>,
}

impl SignatureFile {
    /// The signature file of `files`, at least one signature in it.
    pub(crate) fn parse(files: &Files) -> Result<Self, SignatureError> {
        let bytes = files.get(name::SIGNATURES).ok_or(SignatureError::Unsigned)?;
        if bytes.len() > SIGNATURE_FILE_BYTES_MAX {
            return Err(SignatureError::TooLarge { bytes: bytes.len() });
        }
        let file: Self = json::from_slice(bytes).map_err(SignatureError::File)?;
        match file.signatures.len() {
            0 => Err(SignatureError::Unsigned),
            count if count > SIGNATURES_MAX => Err(SignatureError::TooMany { count }),
            _ => Ok(file),
        }
    }
}

/// What enough trusted keys vouch for.
pub(crate) struct Vouched {
    /// Sorted.
    pub(crate) kids: Vec<String>,
    pub(crate) issued_at_ms: i64,
    pub(crate) expires_at_ms: Option<i64>,
    pub(crate) name: String,
    pub(crate) version: u64,
}

/// Checks every signature. `now_ms` is `None` where times do not matter.
/// Nothing but the signature file is parsed.
pub(crate) fn check(
    files: &Files,
    policy: &TrustPolicy,
    now_ms: Option<i64>,
) -> Result<Vouched, SignatureError> {
    let file = SignatureFile::parse(files)?;
    let hashes = hash_all(files);
    let mut known = BTreeMap::new();
    let mut unknown = BTreeSet::new();
    for compact in &file.signatures {
        let token = Token::parse(compact)?;
        let Some(claims) = check_one(&token, policy)? else {
            unknown.insert(format!("`{}`", shown(token.kid.as_bytes())));
            continue;
        };
        claims.check_files(&hashes)?;
        check_times(&claims, &token.kid, now_ms)?;
        if known.contains_key(&token.kid) {
            return Err(SignatureError::Duplicate { kid: token.kid });
        }
        known.insert(token.kid, claims);
    }
    if known.is_empty() {
        let kids: Vec<String> = unknown.into_iter().collect();
        return Err(SignatureError::KeyUnknown { kids: kids.join(", ") });
    }
    conclude(known, policy)
}

/// The claims of a token by a trusted key, `None` if its key is unknown.
fn check_one(token: &Token<'_>, policy: &TrustPolicy) -> Result<Option<Claims>, SignatureError> {
    let Some(trusted) = policy.key(&token.kid) else {
        return Ok(None);
    };
    let kid = token.kid.clone();
    if !token.is_signed_by(&trusted.key) {
        return Err(SignatureError::Invalid { kid });
    }
    let claims = Claims::parse(&token.payload)
        .map_err(|source| SignatureError::Payload { kid: kid.clone(), source })?;
    let allowed = [Some(policy.scope()), trusted.scope.as_deref()];
    for expected in allowed.into_iter().flatten() {
        if claims.scope != expected {
            return Err(SignatureError::Scope {
                kid,
                found: shown(claims.scope.as_bytes()),
                expected: expected.to_owned(),
            });
        }
    }
    Ok(Some(claims))
}

fn check_times(claims: &Claims, kid: &str, now_ms: Option<i64>) -> Result<(), SignatureError> {
    let Some(now_ms) = now_ms else { return Ok(()) };
    let kid = || kid.to_owned();
    if claims.exp.is_some_and(|exp| exp.saturating_mul(MS_PER_S) <= now_ms) {
        return Err(SignatureError::Expired { kid: kid() });
    }
    let issued_ms = claims.iat.saturating_mul(MS_PER_S);
    if issued_ms > now_ms.saturating_add(SIGNER_CLOCK_AHEAD_MAX_MS) {
        return Err(SignatureError::NotYetValid { kid: kid() });
    }
    Ok(())
}

/// Counts the keys. The policy holds no key twice, so ids count keys.
fn conclude(
    known: BTreeMap<String, Claims>,
    policy: &TrustPolicy,
) -> Result<Vouched, SignatureError> {
    let required = policy.required();
    let mut issued: Vec<i64> = known.values().map(|claims| claims.iat).collect();
    // Newest first: the last one that is needed dates the whole.
    issued.sort_unstable_by(|a, b| b.cmp(a));
    let Some(issued_at) = issued.get(required.saturating_sub(1)) else {
        return Err(SignatureError::TooFew { found: known.len(), required });
    };
    let mut said = known.values().map(|claims| (&claims.name, claims.version));
    let first = said.next();
    if said.any(|other| Some(other) != first) {
        return Err(SignatureError::Disagree);
    }
    let (name, version) =
        first.map(|(name, version)| (name.clone(), version)).ok_or(SignatureError::Unsigned)?;
    let first_end = known.values().filter_map(|claims| claims.exp).min();
    Ok(Vouched {
        issued_at_ms: issued_at.saturating_mul(MS_PER_S),
        expires_at_ms: first_end.map(|end| end.saturating_mul(MS_PER_S)),
        kids: known.into_keys().collect(),
        name,
        version,
    })
}
