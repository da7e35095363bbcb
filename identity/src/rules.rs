//! What an issuer's tokens are and must say, as it stands in `[[identity.issuers]]`.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::config::{ConfigError, IssuerConfig};
use crate::dpop::{DpopRule, NonceKey};
use crate::settings::{ClaimMap, IssuerKind, IssuerSettings, RequiredClaim};

/// What an issuer's tokens are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// Access tokens.
    #[default]
    Tokens,
    /// SPIFFE documents (JWT-SVID) of the workloads of `trust_domain`.
    Spiffe,
    /// Transaction tokens, which come in the header `Txn-Token`.
    Txn,
}

/// Claims that must be there: their names, or with each the values of which it must have one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum RequiredClaims {
    /// With any value.
    Names(Vec<String>),
    /// With one of these values; an empty list means any.
    Values(BTreeMap<String, Vec<String>>),
}

impl Default for RequiredClaims {
    fn default() -> Self {
        Self::Names(Vec::new())
    }
}

impl RequiredClaims {
    fn read(&self) -> Vec<RequiredClaim> {
        match self {
            Self::Names(names) => {
                let any =
                    |name: &String| RequiredClaim { name: name.clone(), accepted: Vec::new() };
                names.iter().map(any).collect()
            }
            Self::Values(claims) => {
                let of = |(name, accepted): (&String, &Vec<String>)| RequiredClaim {
                    name: name.clone(),
                    accepted: accepted.clone(),
                };
                claims.iter().map(of).collect()
            }
        }
    }
}

/// Which claims say who.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ClaimsConfig {
    /// The subject's id; default `sub`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub subject: Option<String>,
    /// The subject's type; default `sub_type`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub subject_type: Option<String>,
    /// The agent's id where no `act` is there, first found; default `client_id`, `azp`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub agent: Vec<String>,
    /// The tenant, which must be one of `tenants`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tenant: Option<String>,
}

/// What tokens must come with (RFC 9449).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct DpopConfig {
    /// Whether only tokens that are bound to a key are accepted.
    pub required: bool,
    /// Whether proofs must carry a nonce that was handed out here.
    pub nonce: bool,
}

impl DpopConfig {
    /// `key` is that of the nonces.
    pub(crate) fn rule(self, key: &NonceKey) -> DpopRule {
        DpopRule { required: self.required, nonces: self.nonce.then(|| key.clone()) }
    }
}

impl IssuerConfig {
    /// The issuer as errors and logs name it: `iss`, or the trust domain as a SPIFFE ID.
    #[must_use]
    pub fn name(&self) -> String {
        match &self.trust_domain {
            Some(domain) if self.iss.is_empty() => format!("spiffe://{domain}"),
            _ => self.iss.clone(),
        }
    }

    /// Takes over what its tokens are and must say.
    pub(crate) fn apply_rules(&self, settings: &mut IssuerSettings) -> Result<(), ConfigError> {
        let wrong = |why| ConfigError::Issuer { iss: self.name(), why };
        settings.kind = match (self.kind, &self.trust_domain) {
            (Kind::Spiffe, Some(domain)) => IssuerKind::Spiffe { trust_domain: domain.clone() },
            (Kind::Spiffe, None) => return Err(wrong("`kind` is `spiffe`: set `trust_domain`")),
            (_, Some(_)) => return Err(wrong("it has a `trust_domain`: set `kind` to `spiffe`")),
            (Kind::Tokens, None) => IssuerKind::Tokens,
            (Kind::Txn, None) => IssuerKind::Transactions,
        };
        settings.claims = self.claim_map().map_err(wrong)?;
        settings.profile = self.profile;
        settings.transaction_tokens = self.transaction_tokens;
        settings.required_claims = self.required_claims.read();
        settings.several_audiences = self.several_audiences;
        settings.tenants.clone_from(&self.tenants);
        settings.max_lifetime_s = self.max_lifetime_s;
        Ok(())
    }

    fn claim_map(&self) -> Result<ClaimMap, &'static str> {
        let default = ClaimMap::default();
        let named = self.claims.clone();
        let agent = match (named.agent.is_empty(), self.agent_claims.is_empty()) {
            (true, true) => default.agent,
            (false, true) => named.agent,
            (true, false) => self.agent_claims.clone(),
            (false, false) => {
                return Err("it has both `claims.agent` and `agent_claims`: remove the latter");
            }
        };
        Ok(ClaimMap {
            subject: named.subject.unwrap_or(default.subject),
            subject_type: named.subject_type.unwrap_or(default.subject_type),
            agent,
            tenant: named.tenant,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::IdentityConfig;
    use crate::settings::{Profile, Settings};

    fn load(text: &str) -> Result<Settings, String> {
        let config: IdentityConfig = serde_json::from_str(text).map_err(|e| e.to_string())?;
        let printed = serde_json::to_string(&config).unwrap();
        assert_eq!(serde_json::from_str::<IdentityConfig>(&printed).unwrap(), config);
        config.load().map_err(|error| error.to_string())
    }

    fn issuer(members: &str) -> Result<IssuerSettings, String> {
        let text = format!(r#"{{"issuers":[{{"iss":"https://i.example","aud":"a"{members}}}]}}"#);
        load(&text).map(|mut settings| settings.issuers.remove(0))
    }

    #[test]
    fn an_issuer_without_rules_is_as_by_default() {
        let plain = issuer("").unwrap();
        assert_eq!((plain.kind, plain.profile), (IssuerKind::Tokens, Profile::Jwt));
        assert_eq!(plain.claims, ClaimMap::default());
        assert!(plain.required_claims.is_empty() && plain.tenants.is_empty());
        assert!(!plain.several_audiences && !plain.transaction_tokens);
        assert!(!plain.dpop.required && plain.dpop.nonces.is_none());
        assert_eq!(plain.max_lifetime_s, None);
    }

    #[test]
    fn every_rule_is_taken_over() {
        let strict = issuer(
            r#","profile":"at+jwt","transaction_tokens":true,"several_audiences":true,
            "required_claims":{"scope":["mcp"],"jti":[]},"max_lifetime_s":600,"tenants":["acme"],
            "claims":{"subject":"email","subject_type":"kind","agent":["appid"],"tenant":"org"},
            "dpop":{"required":true,"nonce":true}"#,
        )
        .unwrap();
        assert_eq!(strict.profile, Profile::AccessToken);
        assert!(strict.transaction_tokens && strict.several_audiences);
        let claim = |name: &str, accepted: &[&str]| RequiredClaim {
            name: name.to_owned(),
            accepted: accepted.iter().map(|&text| text.to_owned()).collect(),
        };
        assert_eq!(strict.required_claims, [claim("jti", &[]), claim("scope", &["mcp"])]);
        assert_eq!(
            (strict.max_lifetime_s, &*strict.tenants),
            (Some(600), &["acme".to_owned()][..])
        );
        assert_eq!(strict.claims.subject, "email");
        assert_eq!(strict.claims.tenant.as_deref(), Some("org"));
        assert!(strict.dpop.required && strict.dpop.nonces.is_some());
        let names = issuer(r#","required_claims":["jti"],"agent_claims":["appid"]"#).unwrap();
        assert_eq!(names.required_claims, [claim("jti", &[])]);
        assert_eq!(names.claims.agent, ["appid"]);
    }

    #[test]
    fn proofs_are_asked_for_everywhere_or_at_one_issuer() {
        let issuers = r#""issuers":[{"iss":"https://i.example","aud":"a"},
            {"iss":"https://j.example","aud":"a","dpop":{}}]"#;
        let settings = load(&format!(r#"{{"dpop":{{"required":true}},{issuers}}}"#)).unwrap();
        let required: Vec<bool> = settings.issuers.iter().map(|i| i.dpop.required).collect();
        assert_eq!(required, [true, false]);
    }

    #[test]
    fn workloads_have_a_trust_domain_and_need_no_name() {
        let keys = r#""jwks":"https://spire.example/keys""#;
        let load =
            |members: &str| load(&format!(r#"{{"issuers":[{{"aud":"a",{keys}{members}}}]}}"#));
        let settings = load(r#","kind":"spiffe","trust_domain":"example.org""#).unwrap();
        let issuer = &settings.issuers[0];
        assert_eq!(issuer.iss, "spiffe://example.org");
        assert_eq!(issuer.kind, IssuerKind::Spiffe { trust_domain: "example.org".to_owned() });
        assert!(!issuer.algorithms.contains(&crate::Algorithm::EdDsa));
        for bad in [
            r#","kind":"spiffe""#,
            r#","trust_domain":"example.org""#,
            r#","kind":"txn","trust_domain":"example.org""#,
            r#","kind":"oidc""#,
        ] {
            assert!(load(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn what_does_not_go_together_is_refused() {
        assert!(issuer(r#","agent_claims":["a"],"claims":{"agent":["b"]}"#).is_err());
        assert!(issuer(r#","claims":{"sub":"b"}"#).is_err());
        assert!(issuer(r#","dpop":{"requird":true}"#).is_err());
        assert!(issuer(r#","profile":"jwt2""#).is_err());
    }
}
