//! What came with a request, before anything is believed.

use std::fmt;

use crate::certificate::ClientCertificate;

/// Everything by which a caller proves itself, as it came.
#[derive(Clone, Copy, PartialEq, Eq, Default)]
pub struct Presented<'a> {
    /// A signed token, an API key (also from `x-api-key`), or a door token.
    pub token: Option<Token<'a>>,
    /// Proof that the caller holds the key that its token is bound to (RFC 9449).
    pub dpop: Option<Dpop<'a>>,
    /// The certificate by which the caller opened the TLS connection; the handshake proved that it
    /// holds the key, nothing else.
    pub certificate: Option<&'a ClientCertificate>,
    /// User id of the peer of a Unix socket, as the kernel names it.
    pub peer: Option<u32>,
    /// The transaction token beside the credential: context, never a proof of who calls.
    pub transaction: Option<&'a str>,
}

/// How a token was sent (the scheme of `Authorization`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Scheme {
    /// `Bearer` (RFC 6750).
    Bearer,
    /// `DPoP` (RFC 9449).
    Dpop,
}

/// A token and how it was sent.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Token<'a> {
    /// How.
    pub scheme: Scheme,
    /// The secret.
    pub text: &'a str,
}

impl fmt::Debug for Token<'_> {
    /// The text is a secret and is not shown.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}(<{} bytes>)", self.scheme, self.text.len())
    }
}

/// A DPoP proof and the request that it must be for.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Dpop<'a> {
    /// The header `DPoP`.
    pub proof: &'a str,
    /// The request's method.
    pub method: &'a str,
    /// The request's URL as the caller knows it, without query and fragment.
    pub url: &'a str,
}

impl fmt::Debug for Dpop<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Dpop({} {}, <{} bytes>)", self.method, self.url, self.proof.len())
    }
}

impl fmt::Debug for Presented<'_> {
    /// Secrets are counted and not shown.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let transaction = self.transaction.map(|text| format!("<{} bytes>", text.len()));
        f.debug_struct("Presented")
            .field("token", &self.token)
            .field("dpop", &self.dpop)
            .field("certificate", &self.certificate)
            .field("peer", &self.peer)
            .field("transaction", &transaction)
            .finish()
    }
}

impl<'a> Presented<'a> {
    /// Nothing.
    #[must_use]
    pub fn missing() -> Self {
        Self::default()
    }

    /// A token sent as `Bearer`.
    #[must_use]
    pub fn bearer(text: &'a str) -> Self {
        Self { token: Some(Token { scheme: Scheme::Bearer, text }), ..Self::default() }
    }

    /// The peer of a Unix socket.
    #[must_use]
    pub fn peer(uid: u32) -> Self {
        Self { peer: Some(uid), ..Self::default() }
    }

    /// The value of an `Authorization` header, see [`token_of`].
    #[must_use]
    pub fn authorization(value: Option<&'a str>) -> Self {
        Self { token: token_of(value), ..Self::default() }
    }
}

/// Reads the value of an `Authorization` header. A scheme other than `Bearer` and
/// `DPoP` (in any case, RFC 9110) proves nothing here and counts as missing.
#[must_use]
pub fn token_of(header: Option<&str>) -> Option<Token<'_>> {
    let (scheme, rest) = header?.trim_matches(' ').split_once(' ')?;
    let text = rest.trim_matches(' ');
    let scheme = match scheme {
        _ if scheme.eq_ignore_ascii_case("bearer") => Scheme::Bearer,
        _ if scheme.eq_ignore_ascii_case("dpop") => Scheme::Dpop,
        _ => return None,
    };
    (!text.is_empty()).then_some(Token { scheme, text })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_known_schemes_count() {
        assert_eq!(token_of(None), None);
        for value in ["", " ", "Bearer", "Bearer ", "Basic YTpi", "DPoP", "Bearerabc", "abc"] {
            assert_eq!(token_of(Some(value)), None, "{value:?}");
        }
        let bearer = |text| Some(Token { scheme: Scheme::Bearer, text });
        for value in ["Bearer a.b.c", "bearer a.b.c", "BEARER   a.b.c  ", " Bearer a.b.c"] {
            assert_eq!(token_of(Some(value)), bearer("a.b.c"), "{value:?}");
        }
        assert_eq!(token_of(Some("Bearer a, Bearer b")), bearer("a, Bearer b"));
        let dpop = Token { scheme: Scheme::Dpop, text: "a.b.c" };
        assert_eq!(token_of(Some("DPoP a.b.c")), Some(dpop));
    }

    #[test]
    fn debug_hides_the_secret() {
        let secret = Some("hunter2");
        let presented = Presented { transaction: secret, ..Presented::bearer("hunter2") };
        let shown = format!("{presented:?}");
        assert!(shown.contains("<7 bytes>") && !shown.contains("hunter2"), "{shown}");
    }
}
