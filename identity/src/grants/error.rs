//! Why there is no token.

use std::path::PathBuf;

use crate::files::FileError;

/// What a server may say in `error` and we repeat (RFC 6749 section 5.2, RFC 8693, RFC 8707,
/// RFC 9449). Any other text is not repeated: a server could put a secret of ours into it.
const CODES: [&str; 13] = [
    "invalid_request",
    "invalid_client",
    "invalid_grant",
    "unauthorized_client",
    "unsupported_grant_type",
    "unsupported_token_type",
    "invalid_scope",
    "invalid_target",
    "invalid_token",
    "access_denied",
    "interaction_required",
    "use_dpop_nonce",
    "invalid_dpop_proof",
];
/// What a server says where it cannot answer at this time.
const OUTAGES: [&str; 2] = ["temporarily_unavailable", "server_error"];
/// Stands for every code that is not repeated.
const OTHER: &str = "an error of its own";

/// Why a request for a token failed. For operators: callers are told a reason id only.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum GrantError {
    /// Nobody answered.
    #[error("the token endpoint `{url}` did not answer: {why}")]
    Unreachable {
        /// Without its query.
        url: String,
        /// The transport's reason.
        why: String,
    },
    /// An answer that is neither a token nor an OAuth error.
    #[error("the token endpoint `{url}` answered {status}, which is no answer to a grant")]
    Status {
        /// Without its query.
        url: String,
        /// The status.
        status: u16,
    },
    /// The server said no.
    #[error("the token endpoint `{url}` refused: {code}")]
    Refused {
        /// Without its query.
        url: String,
        /// A code of the specifications.
        code: &'static str,
    },
    /// An answer that cannot be relied on.
    #[error("the answer of the token endpoint `{url}` cannot be used: {why}")]
    Answer {
        /// Without its query.
        url: String,
        /// What is wrong with it.
        why: &'static str,
    },
    /// What was to be exchanged cannot be.
    #[error("nothing can be asked for by this token: {why}")]
    Subject {
        /// What is wrong with it.
        why: &'static str,
    },
    /// Our own proof could not be made.
    #[error("no proof for the token endpoint could be made: {why}")]
    Proof {
        /// What is wrong.
        why: &'static str,
    },
}

impl GrantError {
    /// Whether the server, and not what was asked, is at fault: others who ask it will fail too.
    #[must_use]
    pub fn is_outage(&self) -> bool {
        match self {
            Self::Unreachable { .. } => true,
            Self::Status { status, .. } => *status >= 500 || *status == 429,
            Self::Refused { code, .. } => OUTAGES.contains(code),
            Self::Answer { .. } | Self::Subject { .. } | Self::Proof { .. } => false,
        }
    }
}

/// The code as we repeat it.
pub(super) fn known_code(code: &str) -> &'static str {
    let mut known = CODES.iter().chain(&OUTAGES);
    known.find(|known| **known == code).copied().unwrap_or(OTHER)
}

/// Why a token endpoint could never be asked.
#[derive(Debug, thiserror::Error)]
pub enum GrantSetupError {
    /// Not a URL that we send secrets to.
    #[error("the token endpoint `{url}` cannot be used: {why}")]
    Url {
        /// As configured.
        url: String,
        /// What is wrong with it.
        why: &'static str,
    },
    /// The file with authorities.
    #[error(transparent)]
    File(#[from] FileError),
    /// A file without any.
    #[error("`{path}` holds no certificate in PEM (`BEGIN CERTIFICATE`)")]
    NoRoots {
        /// Which file.
        path: PathBuf,
    },
    /// No HTTP client.
    #[error("there is no client for the token endpoint `{url}`: {why}")]
    Client {
        /// As configured.
        url: String,
        /// The library's reason.
        why: String,
    },
    /// Not a key.
    #[error(
        "{from} is no private key of a client: it must be Ed25519 or P-256 in PKCS#8 PEM (`BEGIN PRIVATE KEY`)"
    )]
    Key {
        /// Where it came from.
        from: String,
    },
    /// Not a client id or secret.
    #[error("the {what} is empty or has characters that cannot be sent")]
    Text {
        /// Which text.
        what: &'static str,
    },
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_words_of_the_specifications_are_repeated() {
        assert_eq!(known_code("invalid_grant"), "invalid_grant");
        assert_eq!(known_code("temporarily_unavailable"), "temporarily_unavailable");
        for foreign in ["", "hunter2", "INVALID_GRANT", "invalid_grant "] {
            assert_eq!(known_code(foreign), OTHER, "{foreign}");
        }
    }

    #[test]
    fn an_outage_is_the_servers_own() {
        let url = String::new;
        let status = |status| GrantError::Status { url: url(), status };
        for (status, outage) in
            [(status(500), true), (status(503), true), (status(429), true), (status(302), false)]
        {
            assert_eq!(status.is_outage(), outage, "{status}");
        }
        let refused = |code| GrantError::Refused { url: url(), code };
        assert!(refused("temporarily_unavailable").is_outage());
        assert!(!refused("invalid_grant").is_outage());
    }
}
