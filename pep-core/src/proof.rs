//! By which a caller proves itself, as it came with one request.

use std::fmt;
use std::sync::Arc;

use http::header::AUTHORIZATION;
use http::{HeaderMap, Method};
use lictor_identity::error::{AuthError, DpopError};
use lictor_identity::{
    ClientCertificate, Dpop, Identity, Presented, Scheme, Secret, Token, token_of,
};
use tokio::sync::OnceCell;

/// The header with a proof of possession (RFC 9449).
const DPOP: &str = "dpop";
/// The header with a transaction token.
const TXN_TOKEN: &str = "txn-token";
/// The header in which some clients of providers send a key.
const API_KEY: &str = "x-api-key";

/// Everything by which the caller of one request proves itself. No secret of it is printed.
///
/// Clones stand for the same request: once it was found out who presented it, all of them know.
/// That matters where a proof may be used only once.
#[derive(Clone, Default)]
pub struct Proof(Arc<Shared>);

#[derive(Default)]
struct Shared {
    parts: Parts,
    known: OnceCell<Arc<Identity>>,
}

#[derive(Clone, Default)]
struct Parts {
    token: Option<(Scheme, Secret)>,
    dpop: Option<DpopProof>,
    certificate: Option<ClientCertificate>,
    peer: Option<u32>,
    transaction: Option<Secret>,
    /// Why it cannot be read in exactly one way.
    flaw: Option<AuthError>,
}

/// A proof of possession and the request that it came with.
#[derive(Clone)]
struct DpopProof {
    proof: Secret,
    method: String,
    url: String,
}

impl Proof {
    /// Nothing came.
    #[must_use]
    pub fn none() -> Self {
        Self::default()
    }

    /// A token or key, sent as `Bearer`.
    #[must_use]
    pub fn bearer(text: &str) -> Self {
        Self::of(Parts { token: Some((Scheme::Bearer, secret(text))), ..Parts::default() })
    }

    /// The user of the process at the other end of a Unix socket.
    #[must_use]
    pub fn peer(uid: u32) -> Self {
        Self::of(Parts { peer: Some(uid), ..Parts::default() })
    }

    /// The proof in the value of an `Authorization` header; schemes but `Bearer` and `DPoP` are none.
    #[must_use]
    pub fn from_authorization(value: Option<&str>) -> Self {
        Self::of(Parts { token: owned(token_of(value)), ..Parts::default() })
    }

    /// What the headers of one request say: `Authorization`, `DPoP` and `Txn-Token`, each at most
    /// once. `url` is where the caller sent the request, without query: from configuration, since
    /// `Host` is the caller's own word.
    #[must_use]
    pub fn from_headers(headers: &HeaderMap, method: &Method, url: &str) -> Self {
        let mut parts = Parts::default();
        if let Err(flaw) = parts.read(headers, method, url) {
            parts.flaw = Some(flaw);
        }
        Self::of(parts)
    }

    /// Takes a key in `x-api-key` where no `Authorization` came.
    #[must_use]
    pub fn or_api_key(self, headers: &HeaderMap) -> Self {
        if headers.contains_key(AUTHORIZATION) || self.0.parts.flaw.is_some() {
            return self;
        }
        let mut parts = self.0.parts.clone();
        match only(headers, API_KEY, several_tokens, "`x-api-key` header") {
            Ok(None) => return self,
            Ok(Some(key)) => parts.token = Some((Scheme::Bearer, secret(key))),
            Err(flaw) => parts.flaw = Some(flaw),
        }
        Self::of(parts)
    }

    /// With the certificate by which the caller opened the connection.
    #[must_use]
    pub fn with_certificate(self, certificate: Option<ClientCertificate>) -> Self {
        if certificate.is_none() && self.0.parts.certificate.is_none() {
            return self;
        }
        Self::of(Parts { certificate, ..self.0.parts.clone() })
    }

    /// What the identity crate is asked about.
    ///
    /// # Errors
    /// Why it cannot be read in exactly one way.
    pub fn presented(&self) -> Result<Presented<'_>, AuthError> {
        let parts = &self.0.parts;
        if let Some(flaw) = &parts.flaw {
            return Err(flaw.clone());
        }
        Ok(Presented {
            token: parts.token.as_ref().map(|(scheme, text)| Token { scheme: *scheme, text }),
            dpop: parts.dpop.as_ref().map(|dpop| Dpop {
                proof: &dpop.proof,
                method: &dpop.method,
                url: &dpop.url,
            }),
            certificate: parts.certificate.as_ref(),
            peer: parts.peer,
            transaction: parts.transaction.as_deref(),
        })
    }

    /// Who presented it, once that was found out.
    pub(crate) fn known(&self) -> &OnceCell<Arc<Identity>> {
        &self.0.known
    }

    fn of(parts: Parts) -> Self {
        Self(Arc::new(Shared { parts, known: OnceCell::new() }))
    }
}

impl Parts {
    fn read(&mut self, headers: &HeaderMap, method: &Method, url: &str) -> Result<(), AuthError> {
        let authorization = "`Authorization` header";
        let value = only(headers, AUTHORIZATION.as_str(), several_tokens, authorization)?;
        self.token = owned(token_of(value));
        let several = || AuthError::Dpop(DpopError::Invalid { why: "it came more than once" });
        self.dpop = only(headers, DPOP, several, "`DPoP` header")?.map(|proof| DpopProof {
            proof: secret(proof),
            method: method.as_str().to_owned(),
            url: url.to_owned(),
        });
        let several = || AuthError::TxnTokenSeveral;
        self.transaction = only(headers, TXN_TOKEN, several, "`Txn-Token` header")?.map(secret);
        Ok(())
    }
}

impl fmt::Debug for Proof {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.presented() {
            Ok(presented) => presented.fmt(f),
            Err(flaw) => write!(f, "Proof({})", flaw.id()),
        }
    }
}

/// The one value of a header. Several are refused: readers could differ on which one counts.
fn only<'h>(
    headers: &'h HeaderMap,
    name: &str,
    several: impl Fn() -> AuthError,
    part: &'static str,
) -> Result<Option<&'h str>, AuthError> {
    let mut values = headers.get_all(name).iter();
    let (first, second) = (values.next(), values.next());
    if second.is_some() {
        return Err(several());
    }
    let unreadable = |_| AuthError::TokenMalformed { part, why: "it is not visible ASCII" };
    first.map(|value| value.to_str().map_err(unreadable)).transpose()
}

fn several_tokens() -> AuthError {
    AuthError::TokenSeveral
}

fn owned(token: Option<Token<'_>>) -> Option<(Scheme, Secret)> {
    token.map(|token| (token.scheme, secret(token.text)))
}

fn secret(text: &str) -> Secret {
    Secret::from(text.to_owned())
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    const URL: &str = "https://gate.example/mcp";

    fn proof(headers: &[(&'static str, &str)]) -> Proof {
        let map = map(headers);
        Proof::from_headers(&map, &Method::POST, URL)
    }

    fn map(headers: &[(&'static str, &str)]) -> HeaderMap {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.append(*name, HeaderValue::from_bytes(value.as_bytes()).unwrap());
        }
        map
    }

    fn flaw(headers: &[(&'static str, &str)]) -> Option<&'static str> {
        proof(headers).presented().err().map(|flaw| flaw.id())
    }

    #[test]
    fn every_part_is_read_from_its_header() {
        let proof = proof(&[("authorization", "DPoP k-1"), ("dpop", "p"), ("txn-token", "t")]);
        let expected = Presented {
            token: Some(Token { scheme: Scheme::Dpop, text: "k-1" }),
            dpop: Some(Dpop { proof: "p", method: "POST", url: URL }),
            transaction: Some("t"),
            ..Presented::missing()
        };
        assert_eq!(proof.presented(), Ok(expected));
        let certificate = ClientCertificate::new(b"x");
        let proof = proof.with_certificate(Some(certificate.clone()));
        let expected = Presented { certificate: Some(&certificate), ..expected };
        assert_eq!(proof.presented(), Ok(expected));
    }

    #[test]
    fn exactly_one_bearer_is_a_proof() {
        assert_eq!(
            proof(&[("authorization", "bEARER  k-1 ")]).presented(),
            Ok(Presented::bearer("k-1"))
        );
        for none in ["Bearer ", "Basic YTpi", "k-1"] {
            let proof = proof(&[("authorization", none)]);
            assert_eq!(proof.presented(), Ok(Presented::missing()), "{none}");
        }
        assert_eq!(proof(&[]).presented(), Ok(Presented::missing()));
    }

    #[test]
    fn what_comes_twice_or_unreadable_is_refused() {
        let twice = |name| flaw(&[(name, "a"), (name, "a")]);
        assert_eq!(twice("authorization"), Some("token_several"));
        assert_eq!(twice("dpop"), Some("dpop_invalid"));
        assert_eq!(twice("txn-token"), Some("txn_token_several"));
        for name in ["authorization", "dpop", "txn-token"] {
            assert_eq!(flaw(&[(name, "Bär")]), Some("token_malformed"), "{name}");
        }
    }

    #[test]
    fn a_key_counts_where_no_authorization_came() {
        let read = |headers: &[(&'static str, &str)]| proof(headers).or_api_key(&map(headers));
        assert_eq!(read(&[("x-api-key", "k")]).presented(), Ok(Presented::bearer("k")));
        let both = read(&[("x-api-key", "k"), ("authorization", "Bearer b")]);
        assert_eq!(both.presented(), Ok(Presented::bearer("b")));
        assert_eq!(
            read(&[("x-api-key", "k"), ("authorization", "Basic b")]).presented(),
            Ok(Presented::missing())
        );
        let twice = read(&[("x-api-key", "k"), ("x-api-key", "k")]);
        assert_eq!(twice.presented().unwrap_err().id(), "token_several");
    }

    #[test]
    fn a_secret_is_never_printed() {
        let proof = proof(&[
            ("authorization", "Bearer hunter2"),
            ("dpop", "hunter2"),
            ("txn-token", "hunter2"),
        ]);
        let shown = format!("{proof:?}");
        assert!(shown.contains("<7 bytes>") && !shown.contains("hunter2"), "{shown}");
    }
}
