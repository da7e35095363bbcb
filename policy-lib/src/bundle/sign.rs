//! Adding a signature.

use ed25519_dalek::SigningKey;

use super::claims::{Claims, hash_all, list};
use super::files::Files;
use super::json::JsonError;
use super::jws::{self, Token};
use super::keys::key_id;
use super::manifest::{Manifest, ManifestError};
use super::name;
use super::signature::{SIGNATURES_MAX, SignatureError, SignatureFile};

/// What a signature says besides the files.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SignOptions {
    /// What the bundle is for; whoever verifies must name the same.
    pub scope: String,
    /// When it is signed, in Unix seconds.
    pub iat_s: i64,
    /// When the signature expires, in Unix seconds.
    pub exp_s: Option<i64>,
}

/// Why a bundle cannot be signed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SignError {
    /// Its manifest is refused, so its name and version are not known.
    #[error(transparent)]
    Manifest(#[from] ManifestError),
    /// Its signature file is refused.
    #[error(transparent)]
    Signatures(#[from] SignatureError),
    /// An earlier signature is not over these files, name, version and scope.
    #[error(
        "the signature by key `{kid}` is over other files, another version or scope: remove `.signatures.json` and have everyone sign again"
    )]
    Changed {
        /// The earlier signature's key id.
        kid: String,
    },
    /// The signature would expire before it is made.
    #[error("the signature would expire at {exp_s}, before it is made at {iat_s}")]
    Expiry {
        /// When it is made, in Unix seconds.
        iat_s: i64,
        /// When it would expire, in Unix seconds.
        exp_s: i64,
    },
    /// There are too many signatures already.
    #[error("the bundle has {SIGNATURES_MAX} signatures already, which is the most")]
    TooMany,
    /// The payload could not be written.
    #[error("the signature could not be written: {0}")]
    Write(JsonError),
}

/// `files` with a signature by `key` added, under its [`key_id`]. Signatures
/// by other keys stay, an earlier one by the same key is replaced.
///
/// # Errors
/// A manifest or signature file that is refused, and earlier signatures over
/// something else: they would no longer verify.
pub fn sign(files: &Files, key: &SigningKey, options: &SignOptions) -> Result<Files, SignError> {
    let manifest = Manifest::parse(files.get(name::MANIFEST).ok_or(ManifestError::Missing)?)?;
    if let Some(exp_s) = options.exp_s.filter(|exp_s| *exp_s <= options.iat_s) {
        return Err(SignError::Expiry { iat_s: options.iat_s, exp_s });
    }
    let claims = Claims {
        exp: options.exp_s,
        files: list(hash_all(files)),
        iat: options.iat_s,
        name: manifest.name,
        scope: options.scope.clone(),
        version: manifest.version,
    };
    let kid = key_id(&key.verifying_key());
    let payload = claims.to_bytes().map_err(SignError::Write)?;
    let mut signatures = earlier(files, &claims, &kid)?;
    signatures.push((kid.clone(), jws::sign(key, &kid, &payload)));
    if signatures.len() > SIGNATURES_MAX {
        return Err(SignError::TooMany);
    }
    // By key id, so that the order of signing does not change the bytes.
    signatures.sort();
    let file =
        SignatureFile { signatures: signatures.into_iter().map(|(_, token)| token).collect() };
    let bytes = serde_json::to_vec(&file)
        .map_err(|error| SignError::Write(JsonError::Syntax { what: error.to_string() }))?;
    let mut signed = files.clone();
    signed.set(name::SIGNATURES, bytes);
    Ok(signed)
}

/// The signatures by keys other than `kid`, each with its key id. They are
/// not verified here, which takes their public keys.
fn earlier(files: &Files, ours: &Claims, kid: &str) -> Result<Vec<(String, String)>, SignError> {
    let file = match SignatureFile::parse(files) {
        Ok(file) => file,
        Err(SignatureError::Unsigned) => return Ok(Vec::new()),
        Err(error) => return Err(error.into()),
    };
    let hashes = hash_all(files);
    let mut kept = Vec::new();
    for compact in file.signatures {
        let token = Token::parse(&compact).map_err(SignatureError::from)?;
        if token.kid == kid {
            continue;
        }
        let token_kid = token.kid;
        let claims = Claims::parse(&token.payload)
            .map_err(|source| SignatureError::Payload { kid: token_kid.clone(), source })?;
        let same = claims.check_files(&hashes).is_ok()
            && (&claims.name, &claims.scope, claims.version)
                == (&ours.name, &ours.scope, ours.version);
        if !same {
            return Err(SignError::Changed { kid: token_kid });
        }
        kept.push((token_kid, compact));
    }
    Ok(kept)
}
