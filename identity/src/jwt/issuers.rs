//! Which issuer a token is held against.

use std::collections::HashMap;

use lictor_proto::json::Node;

use super::claims;
use crate::error::{AuthError, shown};
use crate::keyring::KeyRing;
use crate::settings::{IssuerKind, IssuerSettings};

/// Scheme of the subject of a SPIFFE document.
const SPIFFE: &str = "spiffe://";

/// The issuers that are believed.
#[derive(Default)]
pub(crate) struct Issuers {
    /// Of access tokens, by their exact name.
    named: HashMap<String, IssuerSettings>,
    /// Of SPIFFE documents, by trust domain.
    domains: HashMap<String, IssuerSettings>,
    /// Of transaction tokens, by their exact name.
    transactions: HashMap<String, IssuerSettings>,
}

impl Issuers {
    pub(crate) fn new(settings: Vec<IssuerSettings>) -> Self {
        let mut issuers = Self::default();
        for issuer in settings {
            let name = issuer.iss.clone();
            match &issuer.kind {
                IssuerKind::Spiffe { trust_domain } => {
                    issuers.domains.insert(trust_domain.clone(), issuer);
                }
                IssuerKind::Transactions => {
                    issuers.transactions.insert(name, issuer);
                }
                IssuerKind::Tokens => {
                    if issuer.transaction_tokens {
                        issuers.transactions.insert(name.clone(), issuer.clone());
                    }
                    issuers.named.insert(name, issuer);
                }
            }
        }
        issuers
    }

    /// Their names, for people.
    pub(crate) fn names(&self) -> Vec<&String> {
        let maps = [&self.named, &self.domains, &self.transactions];
        maps.into_iter().flat_map(HashMap::keys).collect()
    }

    /// How many of them issue what says who calls.
    pub(crate) fn of_callers(&self) -> usize {
        self.named.len() + self.domains.len()
    }

    /// The issuer that `payload` names by `iss`; where that is none of ours, the one whose trust
    /// domain its `sub` is in.
    pub(super) fn of_token(&self, payload: &Node) -> Result<&IssuerSettings, AuthError> {
        let iss = claims::text(payload, "iss")?;
        if let Some(issuer) = iss.and_then(|iss| self.named.get(iss)) {
            return Ok(issuer);
        }
        if let Some(issuer) = self.of_subject(payload) {
            return Ok(issuer);
        }
        match iss {
            Some(iss) => Err(AuthError::IssuerUnknown { iss: shown(iss) }),
            None => Err(AuthError::claim_missing("iss")),
        }
    }

    fn of_subject(&self, payload: &Node) -> Option<&IssuerSettings> {
        let rest = payload.get("sub")?.as_str()?.strip_prefix(SPIFFE)?;
        let (domain, _) = rest.split_once('/')?;
        self.domains.get(domain)
    }

    /// The issuer of a transaction token: by `iss`, which it need not have where there is one only.
    pub(super) fn of_transaction(&self, payload: &Node) -> Result<&IssuerSettings, AuthError> {
        match claims::text(payload, "iss")? {
            Some(iss) => {
                let unknown = || AuthError::IssuerUnknown { iss: shown(iss) };
                self.transactions.get(iss).ok_or_else(unknown)
            }
            None => {
                let mut all = self.transactions.values();
                let only = all.next().filter(|_| all.next().is_none());
                only.ok_or_else(|| AuthError::claim_missing("iss"))
            }
        }
    }

    /// The keys of the issuer that `token` names. Nothing of it is proved: only to find out
    /// whether there may be newer ones.
    pub(crate) fn keys_of(&self, token: &str) -> Option<&KeyRing> {
        let compact = super::Compact::parse(token).ok()?;
        self.of_token(&compact.payload).ok().map(|issuer| &issuer.keys)
    }

    /// As [`Issuers::keys_of`], for a transaction token.
    pub(crate) fn keys_of_transaction(&self, token: &str) -> Option<&KeyRing> {
        let compact = super::Compact::parse(token).ok()?;
        self.of_transaction(&compact.payload).ok().map(|issuer| &issuer.keys)
    }
}
