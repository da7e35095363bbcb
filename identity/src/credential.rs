//! Digests that name a credential without being one.

use lictor_proto::call::{Credential, CredentialKind};
use sha2::{Digest as _, Sha256};

/// Domain of every credential id.
const CREDENTIAL_DOMAIN: &[u8] = b"lictor/credential/1";
/// Bytes of the digest that an id keeps.
const CREDENTIAL_ID_BYTES: usize = 16;

/// SHA-256 of a bearer's text.
pub(crate) type Digest = [u8; 32];

pub(crate) fn digest_of(text: &str) -> Digest {
    Sha256::digest(text.as_bytes()).into()
}

/// `sha256:<32 hex digits>` over the parts, each preceded by its length so that
/// no two lists of parts run together. Nobody but our own files vouches for it.
pub(crate) fn credential(kind: CredentialKind, parts: &[&[u8]]) -> Credential {
    let mut hash = Sha256::new();
    hash.update(CREDENTIAL_DOMAIN);
    for part in parts {
        hash.update((part.len() as u64).to_be_bytes());
        hash.update(part);
    }
    let digest = hash.finalize();
    let kept: Vec<u8> = digest.iter().take(CREDENTIAL_ID_BYTES).copied().collect();
    Credential { kind, id: format!("sha256:{}", hex::encode(kept)), issuer: String::new() }
}

/// As [`credential`], for one that `issuer` vouches for.
pub(crate) fn issued(kind: CredentialKind, issuer: &str, parts: &[&[u8]]) -> Credential {
    Credential { issuer: issuer.to_owned(), ..credential(kind, parts) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_do_not_run_together() {
        let id = |parts: &[&[u8]]| credential(CredentialKind::Jwt, parts).id;
        assert_ne!(id(&[b"ab", b"c"]), id(&[b"a", b"bc"]));
        assert_ne!(id(&[b"ab"]), id(&[b"ab", b""]));
        assert_eq!(id(&[b"ab"]).len(), "sha256:".len() + 2 * CREDENTIAL_ID_BYTES);
    }
}
