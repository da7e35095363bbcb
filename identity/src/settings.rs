//! Which issuers, keys and tenants are believed.

use std::sync::Arc;

use lictor_proto::call::DEFAULT_TENANT;
use serde::{Deserialize, Serialize};

use crate::api_key::ApiKeys;
use crate::dpop::DpopRule;
use crate::error::shown;
use crate::jwks::{Algorithm, Jwks};
use crate::jwt::id_fault;
use crate::keyring::KeyRing;
use crate::remote::Upkeep;
use crate::spiffe::check_trust_domain;
use crate::trust::CertificateTrust;

/// Everything that an [`Authenticator`](crate::Authenticator) believes.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Issuers of signed tokens; none is fine where only API keys are used.
    pub issuers: Vec<IssuerSettings>,
    /// API keys, if any are used.
    pub api_keys: Option<ApiKeys>,
    /// Authorities of callers' certificates.
    pub certificates: CertificateTrust,
    /// The tenant of issuers that have none of their own, of peers and door tokens.
    pub tenant: String,
    /// What keeps all this up to date, as long as anybody holds it.
    pub upkeep: Option<Arc<Upkeep>>,
}

impl Default for Settings {
    /// Nobody is believed; tenant `default`.
    fn default() -> Self {
        Self {
            issuers: Vec::new(),
            api_keys: None,
            certificates: CertificateTrust::default(),
            tenant: DEFAULT_TENANT.to_owned(),
            upkeep: None,
        }
    }
}

/// One issuer of signed tokens.
#[derive(Debug, Clone)]
pub struct IssuerSettings {
    /// Its name, compared with `iss` byte by byte.
    pub iss: String,
    /// Our names; a token must be meant for one of them.
    pub aud: Vec<String>,
    /// Its public keys.
    pub keys: KeyRing,
    /// What it may sign with.
    pub algorithms: Vec<Algorithm>,
    /// The tenant of its tokens, where not the one of [`Settings`].
    pub tenant: Option<String>,
    /// Which of its claims say who.
    pub claims: ClaimMap,
    /// What its tokens are.
    pub kind: IssuerKind,
    /// How much its access tokens must say.
    pub profile: Profile,
    /// Whether it also issues transaction tokens.
    pub transaction_tokens: bool,
    /// What its access tokens must say beside that.
    pub required_claims: Vec<RequiredClaim>,
    /// Whether a token may be for others as well as for us.
    pub several_audiences: bool,
    /// The tenants that [`ClaimMap::tenant`] may name.
    pub tenants: Vec<String>,
    /// Longest time from `iat` to `exp`, seconds.
    pub max_lifetime_s: Option<u32>,
    /// What its tokens must come with.
    pub dpop: DpopRule,
}

/// What an issuer's tokens are.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum IssuerKind {
    /// Access tokens, by which callers prove who they are.
    #[default]
    Tokens,
    /// SPIFFE documents (JWT-SVID), by which workloads prove who they are.
    Spiffe {
        /// Whose workloads.
        trust_domain: String,
    },
    /// Transaction tokens alone, which prove nobody.
    Transactions,
}

/// How much an access token must say.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub enum Profile {
    /// Type absent, `JWT` or `at+jwt`; `iss`, `sub`, `aud` and `exp` (RFC 7519).
    #[default]
    #[serde(rename = "jwt")]
    Jwt,
    /// Type `at+jwt`; also `client_id`, `iat` and `jti` (RFC 9068).
    #[serde(rename = "at+jwt")]
    AccessToken,
}

/// A claim that a token must have.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RequiredClaim {
    /// Its name.
    pub name: String,
    /// Its values of which one must be there; none means any value. A list has each of its texts
    /// as a value, `scope` each of its words.
    pub accepted: Vec<String>,
}

impl IssuerSettings {
    /// An issuer with the default algorithms and claims.
    #[must_use]
    pub fn new(iss: &str, aud: &[&str], jwks: Jwks) -> Self {
        Self::with_keys(iss, aud, KeyRing::fixed(jwks))
    }

    /// As [`IssuerSettings::new`], with keys that somebody else may replace.
    #[must_use]
    pub fn with_keys(iss: &str, aud: &[&str], keys: KeyRing) -> Self {
        Self {
            iss: iss.to_owned(),
            aud: aud.iter().map(|&name| name.to_owned()).collect(),
            keys,
            algorithms: Algorithm::DEFAULT.to_vec(),
            tenant: None,
            claims: ClaimMap::default(),
            kind: IssuerKind::default(),
            profile: Profile::default(),
            transaction_tokens: false,
            required_claims: Vec::new(),
            several_audiences: false,
            tenants: Vec::new(),
            max_lifetime_s: None,
            dpop: DpopRule::default(),
        }
    }

    /// An issuer of SPIFFE documents for the workloads of `trust_domain`, with the algorithms
    /// that JWT-SVID names.
    #[must_use]
    pub fn spiffe(trust_domain: &str, aud: &[&str], keys: KeyRing) -> Self {
        let mut issuer = Self::with_keys(&format!("spiffe://{trust_domain}"), aud, keys);
        issuer.kind = IssuerKind::Spiffe { trust_domain: trust_domain.to_owned() };
        issuer.algorithms =
            Algorithm::ALL.into_iter().filter(|alg| *alg != Algorithm::EdDsa).collect();
        issuer
    }
}

/// Which claims of an issuer's tokens say who. The chain of actors is always
/// `act` (RFC 8693).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClaimMap {
    /// The subject's id. Default `sub`.
    pub subject: String,
    /// The subject's type; `user` where the token lacks it. Default `sub_type`.
    pub subject_type: String,
    /// The agent's id where no `act` is there, first found. Default `client_id`, `azp`.
    pub agent: Vec<String>,
    /// The tenant, which must be one of [`IssuerSettings::tenants`]. Default: no claim.
    pub tenant: Option<String>,
}

impl Default for ClaimMap {
    fn default() -> Self {
        Self {
            subject: "sub".to_owned(),
            subject_type: "sub_type".to_owned(),
            agent: vec!["client_id".to_owned(), "azp".to_owned()],
            tenant: None,
        }
    }
}

/// Why settings cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SettingsError {
    /// Not a name.
    #[error("{what} `{name}` is not a name: {why}")]
    Name {
        /// What it should name.
        what: &'static str,
        /// The text.
        name: String,
        /// What is wrong with it.
        why: &'static str,
    },
    /// Twice the same issuer.
    #[error("the issuer `{iss}` is configured twice: remove one")]
    IssuerTwice {
        /// The name.
        iss: String,
    },
    /// No audience, so that no token could be meant for us.
    #[error("the issuer `{iss}` has no `aud`: name the audience that its tokens must carry")]
    AudienceEmpty {
        /// The name.
        iss: String,
    },
    /// Settings that do not go together.
    #[error("the issuer `{iss}` {why}")]
    Contradiction {
        /// The name.
        iss: String,
        /// What does not go together, and how to mend it.
        why: &'static str,
    },
    /// No algorithm, so that no signature could hold.
    #[error("the issuer `{iss}` has no `algorithms`: name at least one, or leave the setting out")]
    AlgorithmsEmpty {
        /// The name.
        iss: String,
    },
}

impl Settings {
    pub(crate) fn check(&self) -> Result<(), SettingsError> {
        check_name("the tenant", &self.tenant)?;
        for (index, issuer) in self.issuers.iter().enumerate() {
            issuer.check()?;
            let mut earlier = self.issuers.iter().take(index);
            if earlier.any(|earlier| earlier.iss == issuer.iss || earlier.shares_domain(issuer)) {
                return Err(SettingsError::IssuerTwice { iss: shown(&issuer.iss) });
            }
        }
        Ok(())
    }
}

impl IssuerSettings {
    fn check(&self) -> Result<(), SettingsError> {
        check_name("the issuer", &self.iss)?;
        for aud in &self.aud {
            check_name("the audience", aud)?;
        }
        if let Some(tenant) = &self.tenant {
            check_name("the tenant", tenant)?;
        }
        let claims = [&self.claims.subject, &self.claims.subject_type];
        let required = self.required_claims.iter().map(|claim| &claim.name);
        let claims = claims.into_iter().chain(&self.claims.agent).chain(&self.claims.tenant);
        for claim in claims.chain(required) {
            check_name("the claim", claim)?;
        }
        for tenant in &self.tenants {
            check_name("the tenant", tenant)?;
        }
        if let IssuerKind::Spiffe { trust_domain } = &self.kind
            && let Err(why) = check_trust_domain(trust_domain)
        {
            let name = shown(trust_domain);
            return Err(SettingsError::Name { what: "the trust domain", name, why });
        }
        if let Some(why) = self.contradiction() {
            return Err(SettingsError::Contradiction { iss: shown(&self.iss), why });
        }
        if self.aud.is_empty() {
            return Err(SettingsError::AudienceEmpty { iss: shown(&self.iss) });
        }
        if self.algorithms.is_empty() {
            return Err(SettingsError::AlgorithmsEmpty { iss: shown(&self.iss) });
        }
        Ok(())
    }
}

impl IssuerSettings {
    fn shares_domain(&self, other: &Self) -> bool {
        matches!(self.kind, IssuerKind::Spiffe { .. }) && self.kind == other.kind
    }

    fn contradiction(&self) -> Option<&'static str> {
        let mapped = self.claims.tenant.is_some();
        let tokens = self.kind == IssuerKind::Tokens;
        if mapped && self.tenants.is_empty() {
            Some("takes the tenant from a claim: name in `tenants` those that it may speak for")
        } else if !mapped && !self.tenants.is_empty() {
            Some("has `tenants` and no claim that names one: set `claims.tenant`")
        } else if mapped && self.tenant.is_some() {
            Some("has both `tenant` and `claims.tenant`: remove one")
        } else if self.max_lifetime_s == Some(0) {
            Some("has a `max_lifetime_s` of 0: no token would be accepted")
        } else if !tokens && (self.profile != Profile::Jwt || self.transaction_tokens) {
            Some("has `profile` or `transaction_tokens`, which only issuers of access tokens have")
        } else {
            None
        }
    }
}

fn check_name(what: &'static str, name: &str) -> Result<(), SettingsError> {
    match id_fault(name) {
        Some(why) => Err(SettingsError::Name { what, name: shown(name), why }),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn issuer(iss: &str) -> IssuerSettings {
        let jwks = br#"{"keys":[{"kty":"OKP","crv":"Ed25519","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}]}"#;
        IssuerSettings::new(iss, &["lictor"], Jwks::parse(jwks).unwrap())
    }

    fn check(issuers: Vec<IssuerSettings>) -> Result<(), SettingsError> {
        Settings { issuers, ..Settings::default() }.check()
    }

    #[test]
    fn settings_that_could_not_work_are_refused() {
        assert_eq!(check(vec![issuer("a"), issuer("b")]), Ok(()));
        assert_eq!(
            check(vec![issuer("a"), issuer("a")]),
            Err(SettingsError::IssuerTwice { iss: "a".to_owned() })
        );
        assert!(matches!(check(vec![issuer("")]), Err(SettingsError::Name { .. })));
        let mut open = issuer("a");
        open.aud.clear();
        assert!(matches!(check(vec![open]), Err(SettingsError::AudienceEmpty { .. })));
        let mut mute = issuer("a");
        mute.algorithms.clear();
        assert!(matches!(check(vec![mute]), Err(SettingsError::AlgorithmsEmpty { .. })));
        let changes: [fn(&mut IssuerSettings); 6] = [
            |issuer| issuer.claims.tenant = Some("org".to_owned()),
            |issuer| issuer.tenants = vec!["acme".to_owned()],
            |issuer| issuer.max_lifetime_s = Some(0),
            |issuer| {
                issuer.tenant = Some("a".to_owned());
                issuer.tenants = vec!["acme".to_owned()];
                issuer.claims.tenant = Some("org".to_owned());
            },
            |issuer| {
                issuer.kind = IssuerKind::Transactions;
                issuer.profile = Profile::AccessToken;
            },
            |issuer| {
                issuer.kind = IssuerKind::Spiffe { trust_domain: "d".to_owned() };
                issuer.transaction_tokens = true;
            },
        ];
        for change in changes {
            let mut wrong = issuer("a");
            change(&mut wrong);
            assert!(matches!(check(vec![wrong]), Err(SettingsError::Contradiction { .. })));
        }
        let document = |domain| IssuerSettings::spiffe(domain, &["a"], KeyRing::empty());
        assert_eq!(check(vec![document("d"), document("e")]), Ok(()));
        assert!(matches!(check(vec![document("D")]), Err(SettingsError::Name { .. })));
        let twice = check(vec![document("d"), document("d")]);
        assert!(matches!(twice, Err(SettingsError::IssuerTwice { .. })));
        let mut renamed = document("d");
        renamed.iss = "https://d.example".to_owned();
        let twice = check(vec![document("d"), renamed]);
        assert!(matches!(twice, Err(SettingsError::IssuerTwice { .. })));
        let homeless = Settings { tenant: String::new(), ..Settings::default() };
        assert!(matches!(homeless.check(), Err(SettingsError::Name { .. })));
    }
}
