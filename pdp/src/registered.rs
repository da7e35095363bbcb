//! Enforcement points and operators that are registered by name: each with a token of its own or
//! a name in its certificate, and each enforcement point only for what it is registered for.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use arc_swap::ArcSwap;
use lictor_identity::files::{FileError, ensure_token_file};
use lictor_identity::{ClientCertificate, Role};
use lictor_proto::call::{Call, Phase};
use lictor_proto::decision::Reason;
use lictor_proto::reason;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq as _;

use crate::peer::Peer;

/// How long a token counts after its file was changed, milliseconds: nobody who reads the new one
/// in time is refused.
pub const TOKEN_OVERLAP_MS: i64 = 60_000;
/// Longest id of a registered peer, bytes.
pub const ID_MAX_BYTES: usize = 128;
/// What every registered peer's name begins with, so that no digest of a credential is one.
const NAME_PREFIX: &str = "peer:";

/// SHA-256 of a token.
pub(crate) type Digest = [u8; 32];

/// `[[pdp.peps]]`: one enforcement point.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PepConfig {
    /// Names it in records, and binds its settlements.
    pub id: String,
    /// File with its token; generated where it is missing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub token_file: Option<PathBuf>,
    /// The SPIFFE ID of its certificate.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub spiffe_id: Option<String>,
    /// The DNS name of its certificate.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dns: Option<String>,
    /// What it may ask about; everything where it is left out.
    #[serde(default)]
    pub allow: Allow,
}

/// What an enforcement point may ask about. An empty list does not narrow; a `*` at the end of an
/// entry stands for anything.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Allow {
    /// Tenants.
    pub tenants: Vec<String>,
    /// Actions.
    pub actions: Vec<String>,
    /// Resources as `<type>:<id>`.
    pub resources: Vec<String>,
}

/// `[[pdp.operators]]`: an operator's or auditor's program, known by its certificate.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OperatorConfig {
    /// Names it in records.
    pub id: String,
    /// The SPIFFE ID of its certificate.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub spiffe_id: Option<String>,
    /// The DNS name of its certificate.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dns: Option<String>,
    /// What it may do: `operator`, `auditor`.
    pub roles: Vec<Role>,
}

/// Why a registration cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum RegistrationError {
    /// Not a name.
    #[error("`{0}` cannot name a peer: use 1 to {ID_MAX_BYTES} of `a-z`, `0-9`, `_`, `-`, `.`")]
    Id(String),
    /// The same name, token or certificate name twice.
    #[error(
        "the peer `{0}` is registered twice, or shares its token or certificate: give each its own"
    )]
    Twice(String),
    /// Nothing to know it by.
    #[error(
        "the peer `{0}` has nothing to be known by: give it a `token_file`, a `spiffe_id` or a `dns`"
    )]
    Nothing(String),
    /// A role that a program cannot hold.
    #[error("the peer `{id}` cannot hold the role `{role}` by a certificate")]
    Role {
        /// Which peer.
        id: String,
        /// The role.
        role: &'static str,
    },
    /// A certificate name without anybody who checks certificates.
    #[error(
        "the peer `{0}` is named by its certificate, and `pdp.tls.client_ca` is not set: name who signs the certificates of peers"
    )]
    NoClientCa(String),
    /// The token.
    #[error(transparent)]
    File(#[from] FileError),
}

impl Allow {
    /// Whether anything of `tenant` is this enforcement point's to ask about.
    #[must_use]
    pub fn serves(&self, tenant: &str) -> bool {
        named(&self.tenants, tenant)
    }

    /// Why `call` is not this enforcement point's to ask about.
    #[must_use]
    pub fn refuses(&self, call: &Call) -> Option<Reason> {
        let resource = call.resource.as_ref();
        let resource = resource.map(|r| format!("{}:{}", r.kind.as_str(), r.id));
        // Opening a session is about no resource.
        let resources = resource.as_deref().is_none_or(|resource| named(&self.resources, resource));
        let what = if !self.serves(&call.tenant) {
            "this tenant"
        } else if call.phase != Phase::Response && !named(&self.actions, &call.action.name) {
            "this action"
        } else if !resources {
            "this resource"
        } else {
            return None;
        };
        let message = format!("this enforcement point is not registered for {what}");
        Some(Reason::new(reason::PEP_NOT_REGISTERED_FOR, message))
    }
}

fn named(patterns: &[String], name: &str) -> bool {
    let fits = |pattern: &String| match pattern.strip_suffix('*') {
        Some(start) => name.starts_with(start),
        None => pattern == name,
    };
    patterns.is_empty() || patterns.iter().any(fits)
}

/// Everybody who is registered.
#[derive(Debug, Default)]
pub struct Registered {
    tokens: Vec<OwnToken>,
    certificates: Vec<(CertificateName, Peer)>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum CertificateName {
    Spiffe(String),
    Dns(String),
}

/// A token by its digest, and the one before it until its overlap ends.
#[derive(Debug)]
struct OwnToken {
    path: PathBuf,
    peer: Peer,
    digests: ArcSwap<(Digest, Option<(Digest, i64)>)>,
}

impl OwnToken {
    fn holds_now(&self, digest: &Digest) -> bool {
        bool::from(self.digests.load().0.ct_eq(digest))
    }
}

impl Registered {
    /// Reads the registrations and their token files.
    ///
    /// # Errors
    /// [`RegistrationError`] names the peer.
    pub fn new(
        peps: &[PepConfig],
        operators: &[OperatorConfig],
        checks_certificates: bool,
    ) -> Result<Self, RegistrationError> {
        let mut all = Self::default();
        let mut ids: Vec<&str> = Vec::new();
        for (id, spiffe, dns) in peps
            .iter()
            .map(|pep| (&pep.id, &pep.spiffe_id, &pep.dns))
            .chain(operators.iter().map(|own| (&own.id, &own.spiffe_id, &own.dns)))
        {
            check_id(id)?;
            if ids.contains(&id.as_str()) {
                return Err(RegistrationError::Twice(id.clone()));
            }
            if (spiffe.is_some() || dns.is_some()) && !checks_certificates {
                return Err(RegistrationError::NoClientCa(id.clone()));
            }
            ids.push(id);
        }
        for pep in peps {
            all.add_pep(pep)?;
        }
        for operator in operators {
            all.add_operator(operator)?;
        }
        Ok(all)
    }

    fn add_pep(&mut self, pep: &PepConfig) -> Result<(), RegistrationError> {
        let peer = Peer::new(&format!("{NAME_PREFIX}{}", pep.id), &[Role::Pep]);
        let peer = peer.only_for(pep.allow.clone());
        let named = self.add_names(&pep.id, &pep.spiffe_id, &pep.dns, &peer)?;
        let Some(path) = &pep.token_file else {
            return if named { Ok(()) } else { Err(RegistrationError::Nothing(pep.id.clone())) };
        };
        let digest = digest_of(ensure_token_file(path)?.trim());
        if self.tokens.iter().any(|token| token.digests.load().0 == digest) {
            return Err(RegistrationError::Twice(pep.id.clone()));
        }
        let digests = ArcSwap::from_pointee((digest, None));
        self.tokens.push(OwnToken { path: path.clone(), peer, digests });
        Ok(())
    }

    fn add_operator(&mut self, own: &OperatorConfig) -> Result<(), RegistrationError> {
        let wrong = own.roles.iter().find(|role| !matches!(role, Role::Operator | Role::Auditor));
        if let Some(role) = wrong {
            let (id, role) = (own.id.clone(), role.as_str());
            return Err(RegistrationError::Role { id, role });
        }
        let peer = Peer::new(&format!("{NAME_PREFIX}{}", own.id), &own.roles);
        let named = self.add_names(&own.id, &own.spiffe_id, &own.dns, &peer)?;
        if named { Ok(()) } else { Err(RegistrationError::Nothing(own.id.clone())) }
    }

    fn add_names(
        &mut self,
        id: &str,
        spiffe: &Option<String>,
        dns: &Option<String>,
        peer: &Peer,
    ) -> Result<bool, RegistrationError> {
        let spiffe = spiffe.iter().map(|name| CertificateName::Spiffe(name.clone()));
        let dns = dns.iter().map(|name| CertificateName::Dns(name.to_ascii_lowercase()));
        let names: Vec<CertificateName> = spiffe.chain(dns).collect();
        for name in &names {
            if self.certificates.iter().any(|(other, _)| other == name) {
                return Err(RegistrationError::Twice(id.to_owned()));
            }
            self.certificates.push((name.clone(), peer.clone()));
        }
        Ok(!names.is_empty())
    }

    /// Who presents `token` at `now_ms`.
    #[must_use]
    pub fn by_token(&self, token: &str, now_ms: i64) -> Option<&Peer> {
        self.by_digest(&digest_of(token), now_ms)
    }

    /// Who presents a token with this digest at `now_ms`.
    pub(crate) fn by_digest(&self, digest: &Digest, now_ms: i64) -> Option<&Peer> {
        let same = |own: &Digest| bool::from(own.ct_eq(digest));
        let holds = |own: &&OwnToken| {
            let digests = own.digests.load();
            let (now, before) = &**digests;
            same(now) || before.as_ref().is_some_and(|(old, until)| now_ms < *until && same(old))
        };
        // Every one is compared, so that the time taken does not tell which it was.
        self.tokens.iter().filter(holds).last().map(|own| &own.peer)
    }

    /// Whom `certificate` names. That it was signed by `pdp.tls.client_ca` and that its key is
    /// held was seen at the handshake; a connection may outlive its certificate, which then names
    /// nobody. One that names several peers names none.
    #[must_use]
    pub fn by_certificate(&self, certificate: &ClientCertificate, now_ms: i64) -> Option<&Peer> {
        let contents = certificate.contents().filter(|shown| now_ms < shown.not_after_ms)?;
        let spiffe = contents.uris.iter().map(|uri| CertificateName::Spiffe(uri.clone()));
        let dns = contents.dns_names.iter();
        let dns = dns.map(|name| CertificateName::Dns(name.to_ascii_lowercase()));
        let mut peers = spiffe.chain(dns).filter_map(|name| {
            self.certificates.iter().find(|(own, _)| *own == name).map(|(_, peer)| peer)
        });
        let first = peers.next()?;
        peers.all(|other| other == first).then_some(first)
    }

    /// Reads token files again; one that cannot be read leaves its token as it was. Blocks on
    /// the disk.
    pub fn reload(&self, now_ms: i64) {
        for own in &self.tokens {
            let Some(digest) = read_again(&own.path) else { continue };
            let known = own.digests.load().0;
            let taken = |other: &OwnToken| other.path != own.path && other.holds_now(&digest);
            if digest != known && self.tokens.iter().any(taken) {
                let peer = &own.peer.name;
                tracing::error!(peer, "another peer has this token; the token stays as it was");
            } else if digest != known {
                let until_ms = now_ms.saturating_add(TOKEN_OVERLAP_MS);
                own.digests.store(Arc::new((digest, Some((known, until_ms)))));
                tracing::info!(peer = own.peer.name, "a new token counts");
            }
        }
    }
}

fn read_again(path: &Path) -> Option<Digest> {
    match lictor_identity::files::read_private(path) {
        Ok(text) => {
            let token = text.trim();
            (token.len() >= lictor_identity::door::DOOR_TOKEN_MIN_BYTES).then(|| digest_of(token))
        }
        Err(error) => {
            tracing::warn!(%error, "a token file cannot be read; the token stays as it was");
            None
        }
    }
}

/// What tokens are known by.
pub(crate) fn digest_of(token: &str) -> Digest {
    Sha256::digest(token.as_bytes()).into()
}

fn check_id(id: &str) -> Result<(), RegistrationError> {
    let plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b"_-.".contains(&b);
    let fits = (1..=ID_MAX_BYTES).contains(&id.len()) && id.bytes().all(plain);
    if fits { Ok(()) } else { Err(RegistrationError::Id(id.to_owned())) }
}

#[cfg(test)]
#[path = "registered_tests.rs"]
mod tests;
