//! The name of a key (RFC 7638) or certificate (RFC 8705): SHA-256 of its one spelling.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use lictor_proto::json::Node;
use lictor_proto::json::text::quote;
use sha2::{Digest as _, Sha256};

/// SHA-256 of a key's or certificate's one spelling.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Thumbprint([u8; 32]);

impl Thumbprint {
    /// The thumbprint that is these bytes.
    #[cfg(test)]
    pub(crate) fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// The thumbprint as it stands in a token.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let bytes = URL_SAFE_NO_PAD.decode(text).ok()?;
        bytes.try_into().ok().map(Self)
    }

    /// The thumbprint of a public JWK; `None` where its kind is not known here.
    pub(crate) fn of_jwk(jwk: &Node) -> Option<Self> {
        // In the order of the alphabet, as RFC 7638 asks.
        let names: &[&str] = match jwk.get("kty")?.as_str()? {
            "OKP" => &["crv", "kty", "x"],
            "EC" => &["crv", "kty", "x", "y"],
            "RSA" => &["e", "kty", "n"],
            _ => return None,
        };
        let mut text = String::from("{");
        for (index, name) in names.iter().enumerate() {
            text.push_str(if index == 0 { "\"" } else { ",\"" });
            text.push_str(name);
            text.push_str("\":");
            quote(&mut text, jwk.get(name)?.as_str()?);
        }
        text.push('}');
        Some(Self(Sha256::digest(text.as_bytes()).into()))
    }

    pub(crate) fn bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use lictor_proto::json::scan;

    use super::*;

    #[test]
    fn the_example_of_the_specification_has_its_thumbprint() {
        let jwk = r#"{"kty":"RSA","n":"0vx7agoebGcQSuuPiLJXZptN9nndrQmbXEps2aiAFbWhM78LhWx4cbbfAAtVT86zwu1RK7aPFFxuhDR1L6tSoc_BJECPebWKRXjBZCiFV4n3oknjhMstn64tZ_2W-5JsGY4Hc5n9yBXArwl93lqt7_RN5w6Cf0h4QyQ5v-65YGjQR0_FDW2QvzqY368QQMicAtaSqzs8KJZgnYb9c7d0zgdAZHzu6qMQvRL5hajrn1n91CbOpbISD08qNLyrdkt-bFTWhAI4vMQFh6WeZu0fM4lFd2NcRwr3XPksINHaQ-G_xBniIqbw0Ls1jF44-csFCur-kEgU8awapJzKnqDKgw","e":"AQAB","alg":"RS256","kid":"2011-04-29"}"#;
        let thumbprint = Thumbprint::of_jwk(&scan(jwk.as_bytes()).unwrap()).unwrap();
        let expected = "NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs";
        assert_eq!(Some(thumbprint), Thumbprint::parse(expected));
    }

    #[test]
    fn a_thumbprint_has_one_text() {
        let text = URL_SAFE_NO_PAD.encode([7; 32]);
        assert_eq!(Thumbprint::parse(&text), Some(Thumbprint::from_bytes([7; 32])));
        for bad in ["", "AA", &format!("{text}="), &format!("{text}A"), &text.replace('B', "+")] {
            assert_eq!(Thumbprint::parse(bad), None, "{bad}");
        }
        let jwk = |text: &str| Thumbprint::of_jwk(&scan(text.as_bytes()).unwrap());
        for bad in ["{}", r#"{"kty":"oct","k":"AA"}"#, r#"{"kty":"EC","crv":"P-256","x":"a"}"#] {
            assert_eq!(jwk(bad), None, "{bad}");
        }
    }
}
