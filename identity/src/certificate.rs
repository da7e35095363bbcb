//! The certificate of a caller.

use std::fmt;
use std::sync::Arc;

use rustls::pki_types::CertificateDer;
use sha2::{Digest as _, Sha256};
use x509_parser::certificate::X509Certificate;
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::FromDer as _;

/// Scheme of a SPIFFE ID, in the one case that is allowed.
const SPIFFE_SCHEME: &str = "spiffe:";
/// Most names that are read from one certificate.
pub const CERTIFICATE_MAX_NAMES: usize = 64;

/// A certificate as it came in a TLS handshake. That the caller holds its key is proved; whom it
/// names counts only after it was checked against anchors of ours. Cloning shares it.
#[derive(Clone)]
pub struct ClientCertificate {
    shared: Arc<Shared>,
}

struct Shared {
    der: CertificateDer<'static>,
    thumbprint: [u8; 32],
    intermediates: Vec<CertificateDer<'static>>,
    /// `None` where the certificate cannot be read in exactly one way.
    contents: Option<Contents>,
}

/// What a certificate says. Nothing of it counts before the certificate was checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Contents {
    /// URIs of its subject's alternative names, in order.
    pub uris: Vec<String>,
    /// DNS names of its subject's alternative names, in order.
    pub dns_names: Vec<String>,
    /// Common name of its subject; shown to people, never believed.
    pub common_name: Option<String>,
    /// Distinguished name of its issuer.
    pub issuer: String,
    /// From when it counts, unix milliseconds.
    pub not_before_ms: i64,
    /// Until when it counts, unix milliseconds.
    pub not_after_ms: i64,
    /// Whether it may issue certificates.
    pub is_ca: bool,
    /// What its key may be used for, where it says so.
    pub key_usage: Option<KeyUsage>,
}

/// What a certificate's key may be used for (RFC 5280, 4.2.1.3), as far as it matters here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KeyUsage {
    /// Signatures of messages, as in a handshake.
    pub digital_signature: bool,
    /// Signatures of certificates.
    pub cert_sign: bool,
    /// Signatures of revocation lists.
    pub crl_sign: bool,
}

impl fmt::Debug for ClientCertificate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ClientCertificate({})", hex::encode(self.thumbprint()))
    }
}

impl PartialEq for ClientCertificate {
    fn eq(&self, other: &Self) -> bool {
        self.shared.der == other.shared.der
            && self.shared.intermediates == other.shared.intermediates
    }
}

impl Eq for ClientCertificate {}

impl ClientCertificate {
    /// The certificate with this DER encoding, directly below its authority.
    #[must_use]
    pub fn new(der: &[u8]) -> Self {
        Self::with_intermediates(CertificateDer::from(der.to_vec()), Vec::new())
    }

    /// A chain as it came in a handshake: the caller's own certificate first, then those between
    /// it and its authority. `None` for an empty one.
    #[must_use]
    pub fn from_chain(chain: &[CertificateDer<'_>]) -> Option<Self> {
        let owned = |certificate: &CertificateDer<'_>| certificate.clone().into_owned();
        let (own, between) = chain.split_first()?;
        Some(Self::with_intermediates(owned(own), between.iter().map(owned).collect()))
    }

    fn with_intermediates(
        der: CertificateDer<'static>,
        intermediates: Vec<CertificateDer<'static>>,
    ) -> Self {
        let thumbprint = Sha256::digest(&der).into();
        let contents = Contents::read(&der);
        Self { shared: Arc::new(Shared { der, thumbprint, intermediates, contents }) }
    }

    /// Its DER encoding.
    #[must_use]
    pub fn der(&self) -> &CertificateDer<'static> {
        &self.shared.der
    }

    /// SHA-256 of its DER encoding (`x5t#S256` of RFC 8705).
    #[must_use]
    pub fn thumbprint(&self) -> &[u8; 32] {
        &self.shared.thumbprint
    }

    /// The certificates that came with it, for the way to its authority.
    #[must_use]
    pub fn intermediates(&self) -> &[CertificateDer<'static>] {
        &self.shared.intermediates
    }

    /// What it says; `None` where it cannot be read in exactly one way.
    #[must_use]
    pub fn contents(&self) -> Option<&Contents> {
        self.shared.contents.as_ref()
    }
}

impl Contents {
    /// Reads a certificate; an extension that is malformed or there twice makes it unreadable.
    pub(crate) fn read(der: &[u8]) -> Option<Self> {
        let (rest, certificate) = X509Certificate::from_der(der).ok()?;
        if !rest.is_empty() {
            return None;
        }
        let (uris, dns_names) = names(&certificate)?;
        let usage = certificate.key_usage().ok()?;
        let constraints = certificate.basic_constraints().ok()?;
        let common_name = certificate.subject().iter_common_name().next();
        let validity = certificate.validity();
        Some(Self {
            uris,
            dns_names,
            common_name: common_name.and_then(|name| name.as_str().ok()).map(str::to_owned),
            issuer: certificate.issuer().to_string(),
            not_before_ms: validity.not_before.timestamp().saturating_mul(1_000),
            not_after_ms: validity.not_after.timestamp().saturating_mul(1_000),
            is_ca: constraints.is_some_and(|constraints| constraints.value.ca),
            key_usage: usage.map(|usage| KeyUsage {
                digital_signature: usage.value.digital_signature(),
                cert_sign: usage.value.key_cert_sign(),
                crl_sign: usage.value.crl_sign(),
            }),
        })
    }

    /// Whether it wants to be a SPIFFE document, rightly or not: any of its URIs has that scheme.
    #[must_use]
    pub fn is_spiffe(&self) -> bool {
        let wants = |uri: &String| {
            uri.get(..SPIFFE_SCHEME.len()).is_some_and(|s| s.eq_ignore_ascii_case(SPIFFE_SCHEME))
        };
        self.uris.iter().any(wants)
    }
}

/// URIs and DNS names.
fn names(certificate: &X509Certificate<'_>) -> Option<(Vec<String>, Vec<String>)> {
    let (mut uris, mut dns_names) = (Vec::new(), Vec::new());
    let Some(extension) = certificate.subject_alternative_name().ok()? else {
        return Some((uris, dns_names));
    };
    if extension.value.general_names.len() > CERTIFICATE_MAX_NAMES {
        return None;
    }
    for name in &extension.value.general_names {
        match name {
            GeneralName::URI(uri) => uris.push((*uri).to_owned()),
            GeneralName::DNSName(name) => dns_names.push((*name).to_owned()),
            GeneralName::Invalid(..) => return None,
            _ => {}
        }
    }
    Some((uris, dns_names))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_thumbprint_is_of_the_encoding() {
        let empty = ClientCertificate::new(b"");
        assert_eq!(
            hex::encode(empty.thumbprint()),
            "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
        );
        assert_ne!(empty, ClientCertificate::new(b"x"));
        assert_eq!(empty.contents(), None);
        assert_eq!(ClientCertificate::from_chain(&[]), None);
    }

    #[test]
    fn what_a_certificate_says_is_read() {
        let key = rcgen::KeyPair::generate().unwrap();
        let mut params = rcgen::CertificateParams::new(vec!["a.example".to_owned()]).unwrap();
        params.subject_alt_names.push(rcgen::SanType::URI("SPIFFE://d/x".try_into().unwrap()));
        params.distinguished_name.push(rcgen::DnType::CommonName, "somebody");
        params.not_before = rcgen::date_time_ymd(2020, 1, 1);
        params.not_after = rcgen::date_time_ymd(2021, 1, 1);
        params.key_usages = vec![rcgen::KeyUsagePurpose::DigitalSignature];
        let der = params.self_signed(&key).unwrap();
        let certificate = ClientCertificate::new(der.der());
        let contents = certificate.contents().unwrap();
        assert!(contents.is_spiffe() && !contents.is_ca);
        assert_eq!(contents.dns_names, ["a.example"]);
        assert_eq!(contents.common_name.as_deref(), Some("somebody"));
        assert_eq!(contents.not_before_ms, 1_577_836_800_000);
        assert_eq!(contents.not_after_ms, 1_609_459_200_000);
        let usage = KeyUsage { digital_signature: true, cert_sign: false, crl_sign: false };
        assert_eq!(contents.key_usage, Some(usage));
        let mut longer = der.der().to_vec();
        longer.push(0);
        assert_eq!(ClientCertificate::new(&longer).contents(), None);
    }

    #[test]
    fn names_are_bounded_in_number() {
        let with = |count: usize| {
            let key = rcgen::KeyPair::generate().unwrap();
            let names: Vec<_> = (0..count).map(|i| format!("n{i}.example")).collect();
            let der = rcgen::CertificateParams::new(names).unwrap().self_signed(&key).unwrap();
            ClientCertificate::new(der.der()).contents().is_some()
        };
        assert!(with(CERTIFICATE_MAX_NAMES));
        assert!(!with(CERTIFICATE_MAX_NAMES + 1));
    }
}
