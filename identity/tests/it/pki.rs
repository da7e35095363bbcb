//! Authorities and certificates with real keys, right and wrong.

use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use lictor_identity::ClientCertificate;
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa,
    KeyPair, KeyUsagePurpose, SanType, date_time_ymd,
};

/// An authority, or one below another.
pub(crate) type Ca = CertifiedIssuer<'static, KeyPair>;

/// A certificate and its key.
pub(crate) struct Leaf {
    pub(crate) certificate: rcgen::Certificate,
    pub(crate) key: KeyPair,
}

fn ca_params(name: &str) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name.push(DnType::CommonName, name);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params
}

pub(crate) fn ca(name: &str) -> Ca {
    CertifiedIssuer::self_signed(ca_params(name), KeyPair::generate().unwrap()).unwrap()
}

pub(crate) fn ca_below(upper: &Ca, change: impl Fn(&mut CertificateParams)) -> Ca {
    let mut params = ca_params("between");
    change(&mut params);
    CertifiedIssuer::signed_by(params, KeyPair::generate().unwrap(), upper).unwrap()
}

/// A certificate for clients from 2025 to 2035, changed as wanted.
pub(crate) fn leaf(ca: &Ca, change: impl Fn(&mut CertificateParams)) -> Leaf {
    let mut params = CertificateParams::default();
    params.distinguished_name.push(DnType::CommonName, "common.example");
    params.not_before = date_time_ymd(2025, 1, 1);
    params.not_after = date_time_ymd(2035, 1, 1);
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages =
        vec![ExtendedKeyUsagePurpose::ClientAuth, ExtendedKeyUsagePurpose::ServerAuth];
    change(&mut params);
    let key = KeyPair::generate().unwrap();
    let certificate = params.signed_by(&key, ca).unwrap();
    Leaf { certificate, key }
}

pub(crate) fn uri(text: &str) -> SanType {
    SanType::URI(text.try_into().unwrap())
}

pub(crate) fn dns(text: &str) -> SanType {
    SanType::DnsName(text.try_into().unwrap())
}

/// A document of SPIFFE with this id.
pub(crate) fn document(ca: &Ca, id: &str) -> ClientCertificate {
    leaf(ca, |params| params.subject_alt_names = vec![uri(id)]).shown()
}

impl Leaf {
    pub(crate) fn shown(&self) -> ClientCertificate {
        ClientCertificate::new(self.certificate.der())
    }

    pub(crate) fn shown_with(&self, between: &Ca) -> ClientCertificate {
        let chain = [self.certificate.der().clone(), between.der().clone()];
        ClientCertificate::from_chain(&chain).unwrap()
    }

    /// Writes certificate and key into `dir`, in one step each.
    pub(crate) fn write(&self, dir: &Path, name: &str) -> (PathBuf, PathBuf) {
        let cert = write(dir, &format!("{name}.pem"), &self.certificate.pem());
        let key = write(dir, &format!("{name}.key"), &self.key.serialize_pem());
        (cert, key)
    }
}

/// Puts a file in the place of what is there, readable by us alone.
pub(crate) fn write(dir: &Path, name: &str, text: &str) -> PathBuf {
    let draft = dir.join(format!("{name}.new"));
    std::fs::write(&draft, text).unwrap();
    std::fs::set_permissions(&draft, std::fs::Permissions::from_mode(0o600)).unwrap();
    let path = dir.join(name);
    std::fs::rename(&draft, &path).unwrap();
    path
}
