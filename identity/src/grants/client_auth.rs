//! How a client proves to a token endpoint who asks (RFC 6749 section 2.3, RFC 7523 section 2.2).

use std::fmt;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use serde_json::json;
use zeroize::Zeroizing;

use super::client::Stamp;
use super::client_key::ClientKey;
use super::error::{GrantError, GrantSetupError};
use super::form::Form;
use crate::secret::Secret;

/// How long a signed proof holds, seconds.
pub const CLIENT_ASSERTION_TTL_S: i64 = 60;
/// What a signed proof is called (RFC 7523).
const ASSERTION_TYPE: &str = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";

/// A client of a token endpoint.
#[derive(Debug, Clone)]
pub struct ClientAuth {
    client_id: String,
    proof: ClientProof,
}

/// By what it proves itself.
#[derive(Clone)]
pub enum ClientProof {
    /// `client_secret_basic`: in the header `Authorization`.
    Basic(Secret),
    /// `client_secret_post`: in the form.
    Post(Secret),
    /// `private_key_jwt`: a signed statement for one request.
    Signed {
        /// Signs.
        key: Arc<ClientKey>,
        /// How the server finds the public key, where it has several.
        key_id: Option<String>,
        /// The server's name for itself; the URL of the token endpoint where none is said.
        audience: Option<String>,
    },
}

impl fmt::Debug for ClientProof {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Basic(_) => "Basic",
            Self::Post(_) => "Post",
            Self::Signed { .. } => "Signed",
        })
    }
}

impl ClientAuth {
    /// A client and its proof.
    ///
    /// # Errors
    /// [`GrantSetupError::Text`] for an id or a secret that is empty or not printable ASCII
    /// (RFC 6749 appendix A).
    pub fn new(client_id: &str, proof: ClientProof) -> Result<Self, GrantSetupError> {
        printable(client_id, "client id")?;
        if let ClientProof::Basic(secret) | ClientProof::Post(secret) = &proof {
            printable(secret, "client secret")?;
        }
        Ok(Self { client_id: client_id.to_owned(), proof })
    }

    /// Adds the proof to the form, or gives what the header `Authorization` must say.
    pub(super) fn prove(
        &self,
        form: &mut Form,
        endpoint: &str,
        stamp: &Stamp<'_>,
    ) -> Result<Option<Zeroizing<String>>, GrantError> {
        match &self.proof {
            ClientProof::Basic(secret) => return Ok(Some(self.basic(secret))),
            ClientProof::Post(secret) => {
                form.add("client_id", &self.client_id);
                form.add("client_secret", secret);
            }
            ClientProof::Signed { key, key_id, audience } => {
                let audience = audience.as_deref().unwrap_or(endpoint);
                let signed = self.signed(key, key_id.as_deref(), audience, stamp)?;
                form.add("client_id", &self.client_id);
                form.add("client_assertion_type", ASSERTION_TYPE);
                form.add("client_assertion", &signed);
            }
        }
        Ok(None)
    }

    /// Both halves are form-encoded first (RFC 6749 section 2.3.1).
    fn basic(&self, secret: &Secret) -> Zeroizing<String> {
        let mut pair =
            Zeroizing::new(String::with_capacity(3 * (self.client_id.len() + secret.len()) + 1));
        pair.extend(form_urlencoded::byte_serialize(self.client_id.as_bytes()));
        pair.push(':');
        pair.extend(form_urlencoded::byte_serialize(secret.as_bytes()));
        let encoded = Zeroizing::new(STANDARD.encode(pair.as_bytes()));
        Zeroizing::new(format!("Basic {}", &*encoded))
    }

    fn signed(
        &self,
        key: &ClientKey,
        key_id: Option<&str>,
        audience: &str,
        stamp: &Stamp<'_>,
    ) -> Result<Zeroizing<String>, GrantError> {
        let mut header = json!({"alg": key.algorithm(), "typ": "JWT"});
        if let (Some(kid), Some(members)) = (key_id, header.as_object_mut()) {
            members.insert("kid".to_owned(), kid.into());
        }
        let now_s = stamp.now_ms.div_euclid(1000);
        if now_s <= 0 {
            return Err(GrantError::Proof { why: "the clock is before 1970" });
        }
        let claims = json!({
            "iss": self.client_id,
            "sub": self.client_id,
            "aud": audience,
            "iat": now_s,
            "exp": now_s + CLIENT_ASSERTION_TTL_S,
            "jti": stamp.jti,
        });
        let part = |value: &serde_json::Value| URL_SAFE_NO_PAD.encode(value.to_string());
        let message = format!("{}.{}", part(&header), part(&claims));
        let no_random = GrantError::Proof { why: "the system has no random bytes" };
        let signature = key.sign(message.as_bytes()).ok_or(no_random)?;
        Ok(Zeroizing::new(format!("{message}.{}", URL_SAFE_NO_PAD.encode(signature))))
    }
}

fn printable(text: &str, what: &'static str) -> Result<(), GrantSetupError> {
    let good = !text.is_empty() && text.bytes().all(|b| (b' '..=b'~').contains(&b));
    if good { Ok(()) } else { Err(GrantSetupError::Text { what }) }
}

#[cfg(test)]
mod tests {
    use super::*;

    const STAMP: Stamp<'static> = Stamp { now_ms: 1_700_000_000_500, jti: "j-1" };

    fn secret(text: &str) -> Secret {
        Secret::from(text.to_owned())
    }

    #[test]
    fn halves_of_the_basic_header_are_encoded_first() {
        let auth = ClientAuth::new("a:b", ClientProof::Basic(secret("p%q r"))).unwrap();
        let header = auth.prove(&mut Form::new(), "https://as/token", &STAMP).unwrap().unwrap();
        let pair = STANDARD.decode(header.strip_prefix("Basic ").unwrap()).unwrap();
        assert_eq!(pair, b"a%3Ab:p%25q+r");
        assert!(!format!("{auth:?}").contains("p%q"));
    }

    #[test]
    fn a_signed_proof_is_for_one_server_and_one_minute() {
        let pem = crate::keys::generate(crate::Purpose::Assertion).unwrap().private_pem;
        let key = Arc::new(ClientKey::from_pem(&pem, "k").unwrap());
        let proof = ClientProof::Signed { key, key_id: Some("k-1".into()), audience: None };
        let auth = ClientAuth::new("gate", proof).unwrap();
        let mut form = Form::new();
        assert!(auth.prove(&mut form, "https://as/token", &STAMP).unwrap().is_none());
        let bytes = form.into_bytes();
        let sent: std::collections::BTreeMap<_, _> =
            form_urlencoded::parse(&bytes).into_owned().collect();
        assert_eq!(sent["client_assertion_type"], ASSERTION_TYPE);
        let parts: Vec<&str> = sent["client_assertion"].split('.').collect();
        let json = |part: &str| -> serde_json::Value {
            serde_json::from_slice(&URL_SAFE_NO_PAD.decode(part).unwrap()).unwrap()
        };
        assert_eq!(json(parts[0]), json!({"alg": "EdDSA", "typ": "JWT", "kid": "k-1"}));
        let claims = json!({"iss": "gate", "sub": "gate", "aud": "https://as/token",
            "iat": 1_700_000_000, "exp": 1_700_000_060, "jti": "j-1"});
        assert_eq!(json(parts[1]), claims);
        let early = auth.prove(&mut Form::new(), "x", &Stamp { now_ms: 0, jti: "j" });
        assert!(matches!(early, Err(GrantError::Proof { .. })));
    }

    #[test]
    fn empty_and_unprintable_texts_are_refused() {
        for (id, text) in [("", "s"), ("a", ""), ("a\n", "s"), ("a", "s\u{7f}"), ("ä", "s")] {
            assert!(ClientAuth::new(id, ClientProof::Post(secret(text))).is_err(), "{id} {text}");
        }
    }
}
