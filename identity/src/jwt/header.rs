//! The header: which algorithm and key, and nothing that could steer us to
//! another key.

use lictor_proto::json::Node;

use super::id_text;
use crate::error::{AuthError, shown};
use crate::jwks::Algorithm;

/// Members by which a token would bring its own key, or change how it is read.
/// Unknown members are ignored (RFC 7515); these are refused.
const REFUSED: [&str; 9] = ["jwk", "jku", "x5u", "x5c", "crit", "b64", "enc", "zip", "cty"];
/// Members that are read.
const READ: [&str; 3] = ["alg", "kid", "typ"];

/// What is used of a header.
pub(super) struct Header {
    pub(super) algorithm: Algorithm,
    pub(super) kid: Option<String>,
    /// A media type in lower case and without `application/`.
    typ: Option<String>,
}

impl Header {
    pub(super) fn read(node: &Node) -> Result<Self, AuthError> {
        let known: Vec<&str> = REFUSED.iter().chain(&READ).copied().collect();
        let refused = node
            .members()
            .iter()
            .map(|member| &*member.key)
            .find(|key| REFUSED.contains(key))
            .or_else(|| node.case_variant_of(&known));
        if let Some(name) = refused {
            return Err(AuthError::HeaderRefused { name: shown(name) });
        }
        let algorithm = algorithm(node)?;
        let typ = node.get("typ").map(media_type);
        let kid = match node.get("kid") {
            None => None,
            Some(kid) => Some(id_text(kid, "kid")?.to_owned()),
        };
        Ok(Self { algorithm, kid, typ })
    }

    /// Keeps tokens that were made for other ends out. `None` stands for a header without `typ`.
    pub(super) fn check_type(&self, accepted: &[Option<&str>]) -> Result<(), AuthError> {
        if accepted.contains(&self.typ.as_deref()) {
            return Ok(());
        }
        let typ = shown(self.typ.as_deref().unwrap_or_default());
        let wanted = accepted.iter().flatten().next_back().copied().unwrap_or_default();
        Err(AuthError::TypeRefused { typ, wanted: wanted.to_owned() })
    }
}

fn algorithm(node: &Node) -> Result<Algorithm, AuthError> {
    let name = node
        .get("alg")
        .and_then(Node::as_str)
        .ok_or(AuthError::TokenMalformed { part: "token's header", why: "it has no text `alg`" })?;
    Algorithm::from_name(name).ok_or_else(|| AuthError::AlgorithmRefused { alg: shown(name) })
}

/// Case does not matter in a media type, and `application/` may precede it.
fn media_type(typ: &Node) -> String {
    let lower = typ.as_str().unwrap_or_default().to_ascii_lowercase();
    lower.strip_prefix("application/").unwrap_or(&lower).to_owned()
}
