//! What a token is bound to: its `cnf` (RFC 7800).

use lictor_proto::json::Node;

use super::thumbprint::Thumbprint;
use crate::certificate::ClientCertificate;
use crate::error::AuthError;

/// The key and the certificate that a token must come with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Binding {
    /// `jkt` (RFC 9449).
    pub(crate) key: Option<Thumbprint>,
    /// `x5t#S256` (RFC 8705).
    pub(crate) certificate: Option<Thumbprint>,
}

impl Binding {
    /// Reads `cnf`. What is not known here is refused: it may be the part that protects the token.
    pub(crate) fn read(payload: &Node) -> Result<Self, AuthError> {
        let unknown = |why| AuthError::BindingUnknown { why };
        let Some(cnf) = payload.get("cnf") else {
            return Ok(Self::default());
        };
        if !cnf.is_object() || cnf.members().is_empty() {
            return Err(unknown("`cnf` is not an object with members"));
        }
        let mut binding = Self::default();
        for member in cnf.members() {
            let value = || {
                let text = member.value.as_str();
                text.and_then(Thumbprint::parse)
                    .ok_or_else(|| unknown("a thumbprint is not base64url of 32 bytes"))
            };
            match &*member.key {
                "jkt" => binding.key = Some(value()?),
                "x5t#S256" => binding.certificate = Some(value()?),
                _ => return Err(unknown("only `jkt` and `x5t#S256` are known")),
            }
        }
        Ok(binding)
    }

    /// Holds the certificate of the connection against that of the token.
    pub(crate) fn check_certificate(
        &self,
        presented: Option<&ClientCertificate>,
    ) -> Result<(), AuthError> {
        match (&self.certificate, presented) {
            (None, _) => Ok(()),
            (Some(_), None) => Err(AuthError::CertificateBindingMissing),
            (Some(bound), Some(presented)) if bound.bytes() == presented.thumbprint() => Ok(()),
            (Some(_), Some(_)) => Err(AuthError::CertificateBindingWrong),
        }
    }
}

#[cfg(test)]
mod tests {
    use base64::Engine as _;
    use base64::engine::general_purpose::URL_SAFE_NO_PAD;
    use lictor_proto::json::scan;

    use super::*;

    fn read(cnf: &str) -> Result<Binding, &'static str> {
        let payload = format!("{{\"cnf\":{cnf}}}");
        Binding::read(&scan(payload.as_bytes()).unwrap()).map_err(|error| error.id())
    }

    #[test]
    fn what_is_not_known_is_refused() {
        for bad in [
            "null",
            "{}",
            "[]",
            "\"x\"",
            r#"{"jkt":"x"}"#,
            r#"{"jkt":1}"#,
            r#"{"jwk":{}}"#,
            r#"{"kid":"a"}"#,
            r#"{"JKT":"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"}"#,
            r#"{"jkt":"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA","jwe":"x"}"#,
        ] {
            assert_eq!(read(bad), Err("binding_unknown"), "{bad}");
        }
        assert_eq!(Binding::read(&scan(b"{}").unwrap()), Ok(Binding::default()));
    }

    #[test]
    fn a_certificate_must_be_the_one() {
        let (ours, other) = (ClientCertificate::new(b"a"), ClientCertificate::new(b"b"));
        let text = URL_SAFE_NO_PAD.encode(ours.thumbprint());
        let bound = read(&format!("{{\"x5t#S256\":\"{text}\"}}")).unwrap();
        let check = |certificate| bound.check_certificate(certificate).map_err(|error| error.id());
        assert_eq!(check(Some(&ours)), Ok(()));
        assert_eq!(check(Some(&other)), Err("certificate_binding_wrong"));
        assert_eq!(check(None), Err("certificate_binding_missing"));
        assert_eq!(Binding::default().check_certificate(None), Ok(()));
    }
}
