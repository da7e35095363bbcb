//! How an unknown caller is asked for something better: the value of `WWW-Authenticate`.

use lictor_identity::dpop;

/// Reason of a refusal where nothing was presented.
pub const NOTHING_PRESENTED: &str = "token_missing";

/// The algorithms that proofs of possession may be made with, by their registered names.
#[must_use]
pub fn proof_algorithms() -> Vec<&'static str> {
    dpop::ALGORITHMS.iter().map(|algorithm| algorithm.as_str()).collect()
}

/// How an unknown caller is asked for something better.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Challenge {
    /// Another token (RFC 6750).
    #[default]
    Bearer,
    /// A token that is bound to a key, sent with a proof (RFC 9449, 7.1).
    Bound,
    /// Another proof of possession.
    Proof,
    /// A proof with this nonce (RFC 9449, 9).
    Nonce(String),
}

impl Challenge {
    /// The scheme of `WWW-Authenticate`.
    #[must_use]
    pub fn scheme(&self) -> &'static str {
        match self {
            Self::Bearer => "Bearer",
            Self::Bound | Self::Proof | Self::Nonce(_) => "DPoP",
        }
    }

    /// The value of its parameter `error`.
    #[must_use]
    pub fn error(&self) -> &'static str {
        match self {
            Self::Bearer | Self::Bound => "invalid_token",
            Self::Proof => "invalid_dpop_proof",
            Self::Nonce(_) => "use_dpop_nonce",
        }
    }

    /// The value of `DPoP-Nonce`.
    #[must_use]
    pub fn nonce(&self) -> Option<&str> {
        match self {
            Self::Nonce(nonce) => Some(nonce),
            Self::Bearer | Self::Bound | Self::Proof => None,
        }
    }

    /// The value of `WWW-Authenticate`: scheme, `error` unless `silent` (whoever sent nothing made
    /// no error, RFC 6750, 3.1), the algorithms of proofs where one is asked for (`algs`), and
    /// where the resource describes itself (RFC 9728).
    #[must_use]
    pub fn header(&self, silent: bool, resource_metadata: Option<&str>) -> String {
        let mut parameters = Vec::new();
        if !silent {
            parameters.push(format!("error=\"{}\"", self.error()));
        }
        if self.scheme() == "DPoP" {
            parameters.push(format!("algs=\"{}\"", proof_algorithms().join(" ")));
        }
        if let Some(url) = resource_metadata {
            parameters.push(format!("resource_metadata=\"{url}\""));
        }
        let text = format!("{} {}", self.scheme(), parameters.join(", "));
        text.trim_end().to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_challenge_says_what_would_help() {
        assert_eq!(Challenge::Bearer.header(true, None), "Bearer");
        assert_eq!(Challenge::Bearer.header(false, None), "Bearer error=\"invalid_token\"");
        let url = "https://gate.example/.well-known/x";
        let told = Challenge::Bearer.header(true, Some(url));
        assert_eq!(told, format!("Bearer resource_metadata=\"{url}\""));
        let told = Challenge::Proof.header(false, Some(url));
        let algs = "EdDSA ES256 ES384 RS256 RS384 RS512 PS256 PS384 PS512";
        assert_eq!(
            told,
            format!(
                "DPoP error=\"invalid_dpop_proof\", algs=\"{algs}\", resource_metadata=\"{url}\""
            )
        );
        let nonce = Challenge::Nonce("n-1".to_owned());
        assert!(nonce.header(false, None).starts_with("DPoP error=\"use_dpop_nonce\", algs=\""));
        assert!(Challenge::Bound.header(false, None).starts_with("DPoP error=\"invalid_token\""));
        assert_eq!((nonce.nonce(), Challenge::Bound.nonce()), (Some("n-1"), None));
    }
}
