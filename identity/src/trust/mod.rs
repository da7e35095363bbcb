//! Whom a certificate names: a SPIFFE ID or a DNS name, vouched for by an authority of ours.
//!
//! # Layout
//!
//! - [`config`]: `[[identity.certificates]]` of `lictor.toml`.
//! - [`agents`]: which agent a name stands for.
//! - `authority`: one authority; the way from a certificate to it.
//! - `bundle`: authorities in SPIFFE's own form.
//!
//! A common name is never believed: nothing says what kind of name it is.

pub mod agents;
mod authority;
mod bundle;
pub mod config;

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

use sha2::{Digest as _, Sha256};

use crate::cache::TokenCache;
use crate::certificate::{ClientCertificate, Contents};
use crate::error::{AuthError, shown};
use crate::from_files::{FromFiles, Reloaded};
use crate::identity::Identity;
use crate::spiffe::{SpiffeId, check_trust_domain};
use crate::tls::TlsError;

pub use agents::AgentMap;
pub use authority::Authority;
pub use config::AuthorityConfig;

/// Why `[[identity.certificates]]` cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum TrustError {
    /// A file with authorities.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// A bundle of SPIFFE.
    #[error("`{path}` is not a trust bundle that can be used: {why}")]
    Bundle {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        why: &'static str,
    },
    /// A bundle without the name of its trust domain.
    #[error("`{path}` is a trust bundle: name its `trust_domain` beside it")]
    BundleWithoutDomain {
        /// The file.
        path: PathBuf,
    },
    /// A certificate that cannot be an authority.
    #[error("a certificate of {whose} cannot be an authority: {why}")]
    Anchor {
        /// Whose.
        whose: String,
        /// What is wrong with it.
        why: &'static str,
    },
    /// Nobody to believe.
    #[error("{whose} has no certificates: name files in `ca`, or a `spiffe_bundle`")]
    NoAnchors {
        /// Whose.
        whose: String,
    },
    /// A malformed name.
    #[error("`{name}` cannot be a trust domain: {why}")]
    TrustDomain {
        /// The name.
        name: String,
        /// What is wrong with it.
        why: &'static str,
    },
    /// Twice the same trust domain.
    #[error(
        "the trust domain `{name}` is in `identity.certificates` twice: put its files together"
    )]
    TrustDomainTwice {
        /// The name.
        name: String,
    },
    /// A pattern that fits nothing.
    #[error("`{pattern}` in `identity.certificates.agents` cannot be used: {why}")]
    Pattern {
        /// The pattern.
        pattern: String,
        /// What is wrong with it.
        why: &'static str,
    },
    /// Not an id.
    #[error("`{agent}` in `identity.certificates.agents` cannot be an agent: {why}")]
    Agent {
        /// The text.
        agent: String,
        /// What is wrong with it.
        why: &'static str,
    },
    /// Not a name.
    #[error("`{tenant}` in `identity.certificates` cannot be a tenant: {why}")]
    Tenant {
        /// The text.
        tenant: String,
        /// What is wrong with it.
        why: &'static str,
    },
}

/// Who is believed about certificates. Cloning shares it.
#[derive(Clone)]
pub struct CertificateTrust {
    held: Arc<FromFiles<Live, TrustError>>,
}

/// Verified certificates are forgotten together with the authorities that they were verified by.
#[derive(Default)]
struct Live {
    authorities: Vec<Authority>,
    verified: TokenCache,
}

impl fmt::Debug for CertificateTrust {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let live = self.held.current();
        f.debug_struct("CertificateTrust").field("authorities", &live.authorities.len()).finish()
    }
}

impl Default for CertificateTrust {
    /// Nobody is believed.
    fn default() -> Self {
        Self { held: Arc::new(FromFiles::fixed(Live::default())) }
    }
}

impl CertificateTrust {
    /// Trust in `authorities`, which do not change.
    ///
    /// # Errors
    /// [`TrustError::TrustDomainTwice`].
    pub fn new(authorities: Vec<Authority>) -> Result<Self, TrustError> {
        Ok(Self { held: Arc::new(FromFiles::fixed(Live::new(authorities)?)) })
    }

    /// Trust in the authorities of files, as they were at the last [`CertificateTrust::reload`].
    ///
    /// # Errors
    /// [`TrustError`] names the file and what is wrong with it.
    pub fn load(configured: &[AuthorityConfig]) -> Result<Self, TrustError> {
        if configured.is_empty() {
            return Ok(Self::default());
        }
        let files = configured.iter().flat_map(AuthorityConfig::files).cloned().collect();
        let configured = configured.to_vec();
        let read = move || {
            Live::new(configured.iter().map(AuthorityConfig::load).collect::<Result<_, _>>()?)
        };
        Ok(Self { held: Arc::new(FromFiles::load(files, read)?) })
    }

    /// Whether nobody is believed.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.held.current().authorities.is_empty()
    }

    /// Looks at the files and takes them over if they changed and can be used. Reads files, so
    /// not for a thread that must not wait.
    pub fn reload(&self) -> Reloaded<TrustError> {
        self.held.reload()
    }

    /// Whom `certificate` names at `now_ms` (unix milliseconds). `tenant` is the one of
    /// authorities that have none of their own.
    ///
    /// A certificate with a SPIFFE ID is checked by the rules for X.509 documents of SPIFFE
    /// against the authorities of its trust domain alone; any other against those without a trust
    /// domain, in their order, and stands for its DNS name.
    ///
    /// # Errors
    /// [`AuthError`] with a reason of its own for each rule.
    pub fn identify(
        &self,
        certificate: &ClientCertificate,
        tenant: &str,
        now_ms: i64,
    ) -> Result<Identity, AuthError> {
        let live = self.held.current();
        let key = Sha256::new().chain_update(certificate.thumbprint()).chain_update(tenant);
        let key = key.finalize().into();
        if let Some(known) = live.verified.get(&key, now_ms) {
            return Ok(Identity::clone(&known));
        }
        let identity = live.identify(certificate, tenant, now_ms)?;
        live.verified.put(key, certificate.der().len(), Arc::new(identity.clone()), now_ms);
        Ok(identity)
    }
}

impl Live {
    fn new(authorities: Vec<Authority>) -> Result<Self, TrustError> {
        for (index, authority) in authorities.iter().enumerate() {
            let earlier = authorities.iter().take(index);
            if let Some(name) = authority.trust_domain()
                && earlier.filter_map(Authority::trust_domain).any(|other| other == name)
            {
                return Err(TrustError::TrustDomainTwice { name: shown(name) });
            }
        }
        Ok(Self { authorities, verified: TokenCache::default() })
    }

    fn identify(
        &self,
        certificate: &ClientCertificate,
        tenant: &str,
        now_ms: i64,
    ) -> Result<Identity, AuthError> {
        let unreadable = AuthError::CertificateInvalid { why: "it cannot be read" };
        let contents = certificate.contents().ok_or(unreadable)?;
        if contents.is_spiffe() {
            let id = spiffe_id(contents)?;
            let vouching = |authority: &&Authority| {
                authority.trust_domain().is_some_and(|name| name == id.trust_domain())
            };
            let authority = self.authorities.iter().find(vouching);
            let authority = authority.ok_or(AuthError::CertificateUnknown)?;
            let until_ms = authority.verify(certificate, contents, now_ms)?;
            return authority.document(certificate, contents, &id, tenant, until_ms);
        }
        let mut refused = AuthError::CertificateUnknown;
        for authority in self.authorities.iter().filter(|one| one.trust_domain().is_none()) {
            match authority.verify(certificate, contents, now_ms) {
                Ok(until_ms) => return authority.named(certificate, contents, tenant, until_ms),
                // That one does not know it says less than why another refused it.
                Err(AuthError::CertificateUnknown) => {}
                Err(error) => refused = error,
            }
        }
        Err(refused)
    }
}

/// The id of an X.509 document of SPIFFE (X509-SVID, sections 2 to 5.2).
fn spiffe_id(contents: &Contents) -> Result<SpiffeId, AuthError> {
    let refused = |why| AuthError::SpiffeIdInvalid { why };
    let [uri] = contents.uris.as_slice() else {
        return Err(refused("there must be one URI and no other beside it"));
    };
    let id = SpiffeId::parse(uri).map_err(refused)?;
    match contents.key_usage {
        None => Err(AuthError::CertificateInvalid { why: "it does not say what its key is for" }),
        Some(_) => Ok(id),
    }
}

/// Checks the name of a trust domain in the configuration.
fn trust_domain(name: &str) -> Result<(), TrustError> {
    check_trust_domain(name).map_err(|why| TrustError::TrustDomain { name: shown(name), why })
}
