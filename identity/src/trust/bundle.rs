//! Trust bundles of SPIFFE: authorities as a JWK set (SPIFFE Trust Domain and Bundle, section 4).

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use lictor_proto::json::{Node, scan};
use rustls::pki_types::CertificateDer;

use crate::jwks::JWKS_MAX_KEYS;

/// The use of a key that signs X.509 documents.
const X509_USE: &str = "x509-svid";

/// The certificates of the authorities that sign X.509 documents. Other keys are passed over.
///
/// # Errors
/// What is wrong with the bundle.
pub(super) fn authorities(text: &str) -> Result<Vec<CertificateDer<'static>>, &'static str> {
    let bundle = scan(text.as_bytes()).map_err(|_| "it is not acceptable JSON")?;
    let keys = bundle.get("keys").ok_or("it has no list `keys`")?.items();
    if keys.len() > JWKS_MAX_KEYS {
        return Err("it has more than 64 keys");
    }
    let of_documents = |key: &&Node| key.get("use").and_then(Node::as_str) == Some(X509_USE);
    keys.iter().filter(of_documents).map(certificate).collect()
}

/// A key for X.509 documents has its certificate in `x5c`, and nothing else there.
fn certificate(key: &Node) -> Result<CertificateDer<'static>, &'static str> {
    let [only] = key.get("x5c").ok_or("a key for `x509-svid` has no `x5c`")?.items() else {
        return Err("the `x5c` of a key for `x509-svid` must hold one certificate");
    };
    let text = only.as_str().ok_or("an `x5c` holds something that is no text")?;
    let der = STANDARD.decode(text).map_err(|_| "an `x5c` holds something that is not Base64")?;
    Ok(CertificateDer::from(der))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_keys_for_documents_count() {
        let text = r#"{"spiffe_sequence":1,"keys":[{"use":"jwt-svid","kid":"a"},{"use":"x509-svid","x5c":["AQID"]}]}"#;
        assert_eq!(authorities(text).unwrap(), [CertificateDer::from(vec![1, 2, 3])]);
        assert_eq!(authorities(r#"{"keys":[]}"#).unwrap(), []);
        for text in [
            "",
            "{}",
            r#"{"keys":[{"use":"x509-svid"}]}"#,
            r#"{"keys":[{"use":"x509-svid","x5c":[]}]}"#,
            r#"{"keys":[{"use":"x509-svid","x5c":["AQID","AQID"]}]}"#,
            r#"{"keys":[{"use":"x509-svid","x5c":[1]}]}"#,
            r#"{"keys":[{"use":"x509-svid","x5c":["?"]}]}"#,
            r#"{"keys":[],"keys":[]}"#,
        ] {
            assert!(authorities(text).is_err(), "{text}");
        }
    }

    #[test]
    fn keys_are_bounded_in_number() {
        let with = |count: usize| {
            let keys = vec![r#"{"use":"jwt-svid"}"#; count].join(",");
            authorities(&format!("{{\"keys\":[{keys}]}}")).is_ok()
        };
        assert!(with(JWKS_MAX_KEYS));
        assert!(!with(JWKS_MAX_KEYS + 1));
    }
}
