//! One authority; the way from a certificate to it.

use std::fmt;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use lictor_proto::call::{CredentialKind, Party};
use lictor_proto::json::Open;
use rustls::pki_types::{CertificateDer, TrustAnchor, UnixTime};
use webpki::{EndEntityCert, KeyUsage};

use super::{AgentMap, TrustError, trust_domain};
use crate::certificate::{ClientCertificate, Contents};
use crate::credential::issued;
use crate::error::{AuthError, shown};
use crate::identity::Identity;
use crate::jwt::id_fault;
use crate::spiffe::SpiffeId;

/// Type of a subject that a certificate names.
const WORKLOAD_TYPE: &str = "workload";
/// Type of an agent.
const AGENT_TYPE: &str = "agent";

/// Somebody who may vouch for callers, and for which.
#[derive(Clone)]
pub struct Authority {
    anchors: Vec<TrustAnchor<'static>>,
    trust_domain: Option<String>,
    tenant: Option<String>,
    agents: AgentMap,
}

impl fmt::Debug for Authority {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Authority")
            .field("trust_domain", &self.trust_domain)
            .field("tenant", &self.tenant)
            .finish_non_exhaustive()
    }
}

impl Authority {
    /// An authority with these certificates: for SPIFFE IDs of `trust_domain`, or for DNS names
    /// where that is `None`.
    ///
    /// # Errors
    /// [`TrustError`]: no certificates, one that may not issue others, or a malformed name.
    pub fn new(
        certificates: &[CertificateDer<'_>],
        domain: Option<&str>,
    ) -> Result<Self, TrustError> {
        domain.map_or(Ok(()), trust_domain)?;
        let whose = || match domain {
            Some(name) => format!("the trust domain `{}`", shown(name)),
            None => "an authority of DNS names".to_owned(),
        };
        if certificates.is_empty() {
            return Err(TrustError::NoAnchors { whose: whose() });
        }
        let read = certificates.iter().map(anchor).collect::<Result<_, _>>();
        let anchors = read.map_err(|why| TrustError::Anchor { whose: whose(), why })?;
        let trust_domain = domain.map(str::to_owned);
        Ok(Self { anchors, trust_domain, tenant: None, agents: AgentMap::default() })
    }

    /// The tenant of whom it vouches for.
    ///
    /// # Errors
    /// [`TrustError::Tenant`].
    pub fn with_tenant(mut self, tenant: Option<&str>) -> Result<Self, TrustError> {
        if let Some(tenant) = tenant
            && let Some(why) = id_fault(tenant)
        {
            return Err(TrustError::Tenant { tenant: shown(tenant), why });
        }
        self.tenant = tenant.map(str::to_owned);
        Ok(self)
    }

    /// Which agents its names stand for; a name without one stands for itself.
    #[must_use]
    pub fn with_agents(mut self, agents: AgentMap) -> Self {
        self.agents = agents;
        self
    }

    pub(super) fn trust_domain(&self) -> Option<&str> {
        self.trust_domain.as_deref()
    }

    /// Checks the way from `certificate` to this authority; until when it holds, unix
    /// milliseconds.
    pub(super) fn verify(
        &self,
        certificate: &ClientCertificate,
        contents: &Contents,
        now_ms: i64,
    ) -> Result<i64, AuthError> {
        // A clock before 1970 is wrong; nothing is valid then.
        let now = u64::try_from(now_ms).map_err(|_| AuthError::CertificateNotYetValid)?;
        let now = UnixTime::since_unix_epoch(Duration::from_millis(now));
        let algorithms = rustls::crypto::aws_lc_rs::default_provider();
        let algorithms = algorithms.signature_verification_algorithms.all;
        let between = certificate.intermediates();
        let leaf = EndEntityCert::try_from(certificate.der()).map_err(|e| refused(&e))?;
        let path = leaf
            .verify_for_usage(
                algorithms,
                &self.anchors,
                between,
                now,
                KeyUsage::client_auth(),
                None,
                None,
            )
            .map_err(|error| refused(&error))?;
        check_key_usage(contents)?;
        let mut until_ms = contents.not_after_ms;
        for issuer in path.intermediate_certificates() {
            let read = Contents::read(&issuer.der()).ok_or(UNREADABLE_ISSUER)?;
            until_ms = until_ms.min(read.not_after_ms);
        }
        if now_ms < until_ms { Ok(until_ms) } else { Err(AuthError::CertificateExpired) }
    }

    /// Whom a verified document of SPIFFE names.
    pub(super) fn document(
        &self,
        certificate: &ClientCertificate,
        contents: &Contents,
        id: &SpiffeId,
        tenant: &str,
        until_ms: i64,
    ) -> Result<Identity, AuthError> {
        let name = id.as_str();
        if let Some(why) = id_fault(name) {
            return Err(AuthError::SpiffeIdInvalid { why });
        }
        let agent = self.agents.agent_of(name);
        let kind = CredentialKind::Spiffe;
        let issuer = format!("spiffe://{}", id.trust_domain());
        let shown = Shown { kind, claim: "spiffe_id", name, agent, issuer: &issuer };
        self.identity(certificate, contents, &shown, tenant, until_ms)
    }

    /// Whom a verified certificate with DNS names names: the name that stands for an agent, or
    /// the only one.
    pub(super) fn named(
        &self,
        certificate: &ClientCertificate,
        contents: &Contents,
        tenant: &str,
        until_ms: i64,
    ) -> Result<Identity, AuthError> {
        let names = dns_names(contents)?;
        let known = |name: &String| Some((name.clone(), self.agents.agent_of(name)?));
        let mut known = names.iter().filter_map(known);
        let (name, agent) = match (known.next(), names.as_slice()) {
            (Some((name, agent)), _) if known.all(|(_, other)| other == agent) => {
                (name, Some(agent))
            }
            (Some(_), _) => return Err(invalid("its names stand for several agents")),
            (None, [only]) => (only.clone(), None),
            (None, []) => {
                let why = "it has neither a SPIFFE ID nor a DNS name; a common name does not count";
                return Err(invalid(why));
            }
            (None, _) => {
                return Err(invalid("it has several names and none of them stands for an agent"));
            }
        };
        let (kind, issuer) = (CredentialKind::Mtls, contents.issuer.as_str());
        let shown = Shown { kind, claim: "dns", name: &name, agent, issuer };
        self.identity(certificate, contents, &shown, tenant, until_ms)
    }

    fn identity(
        &self,
        certificate: &ClientCertificate,
        contents: &Contents,
        shown: &Shown<'_>,
        tenant: &str,
        until_ms: i64,
    ) -> Result<Identity, AuthError> {
        let thumbprint = URL_SAFE_NO_PAD.encode(certificate.thumbprint());
        let claims = serde_json::json!({
            "x5t#S256": thumbprint, shown.claim: shown.name, "issuer": contents.issuer,
        });
        let claims = Open::parse(claims.to_string().as_bytes())
            .map_err(|_| invalid("its names cannot be represented"))?;
        let subject = Party { claims, ..Party::new(WORKLOAD_TYPE, shown.name) };
        Ok(Identity {
            tenant: self.tenant.as_deref().unwrap_or(tenant).to_owned(),
            subject: Some(subject),
            agent: Some(Party::new(AGENT_TYPE, shown.agent.unwrap_or(shown.name))),
            delegation: Vec::new(),
            credential: issued(shown.kind, shown.issuer, &[certificate.thumbprint()]),
            expires_ms: Some(until_ms),
            roles: Vec::new(),
        })
    }
}

/// The name that a certificate was believed for.
struct Shown<'a> {
    kind: CredentialKind,
    claim: &'static str,
    name: &'a str,
    agent: Option<&'a str>,
    /// Who vouches for it.
    issuer: &'a str,
}

const UNREADABLE_ISSUER: AuthError =
    AuthError::CertificateInvalid { why: "a certificate of its issuers cannot be read" };

fn invalid(why: &'static str) -> AuthError {
    AuthError::CertificateInvalid { why }
}

fn anchor(certificate: &CertificateDer<'_>) -> Result<TrustAnchor<'static>, &'static str> {
    let contents = Contents::read(certificate).ok_or("it cannot be read")?;
    if !contents.is_ca {
        return Err("it may not issue certificates (`CA:FALSE`)");
    }
    let anchor = webpki::anchor_from_trusted_cert(certificate);
    anchor.map(|anchor| anchor.to_owned()).map_err(|_| "it is not of version 3")
}

/// The key of a caller signs handshakes and nothing that others would believe.
fn check_key_usage(contents: &Contents) -> Result<(), AuthError> {
    match contents.key_usage {
        Some(usage) if usage.cert_sign || usage.crl_sign => {
            Err(invalid("its key may sign certificates"))
        }
        Some(usage) if !usage.digital_signature => Err(invalid("its key may not sign handshakes")),
        _ => Ok(()),
    }
}

/// The names of one host each, in lower case.
fn dns_names(contents: &Contents) -> Result<Vec<String>, AuthError> {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"._-".contains(&b);
    let mut names: Vec<String> = Vec::new();
    for name in contents.dns_names.iter().filter(|name| !name.starts_with("*.")) {
        if id_fault(name).is_some() || !name.bytes().all(plain) {
            return Err(invalid("one of its DNS names is malformed"));
        }
        let name = name.to_ascii_lowercase();
        if !names.contains(&name) {
            names.push(name);
        }
    }
    Ok(names)
}

fn refused(error: &webpki::Error) -> AuthError {
    use webpki::Error;
    match error {
        Error::CertExpired { .. } => AuthError::CertificateExpired,
        Error::CertNotValidYet { .. } => AuthError::CertificateNotYetValid,
        Error::UnknownIssuer | Error::InvalidSignatureForPublicKey => AuthError::CertificateUnknown,
        Error::CaUsedAsEndEntity => invalid("it is the certificate of an authority"),
        Error::RequiredEkuNotFoundContext(_) => {
            invalid("it is not for clients: its extended key usage lacks client authentication")
        }
        Error::NameConstraintViolation => invalid("its authority may not give such names"),
        _ => invalid("the way to its authority does not hold"),
    }
}
