//! Which issuers, keys and tenants are believed.

use lictor_proto::call::DEFAULT_TENANT;

use crate::api_key::ApiKeyStore;
use crate::error::shown;
use crate::jwks::{Algorithm, Jwks};
use crate::jwt::id_fault;
use crate::keyring::KeyRing;

/// Everything that an [`Authenticator`](crate::Authenticator) believes.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Issuers of signed tokens; none is fine where only API keys are used.
    pub issuers: Vec<IssuerSettings>,
    /// API keys, if any are used.
    pub api_keys: Option<ApiKeyStore>,
    /// The tenant of issuers that have none of their own, of peers and door tokens.
    pub tenant: String,
}

impl Default for Settings {
    /// Nobody is believed; tenant `default`.
    fn default() -> Self {
        Self { issuers: Vec::new(), api_keys: None, tenant: DEFAULT_TENANT.to_owned() }
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
}

impl IssuerSettings {
    /// An issuer with the default algorithms and claims.
    #[must_use]
    pub fn new(iss: &str, aud: &[&str], jwks: Jwks) -> Self {
        Self {
            iss: iss.to_owned(),
            aud: aud.iter().map(|&name| name.to_owned()).collect(),
            keys: KeyRing::fixed(jwks),
            algorithms: Algorithm::DEFAULT.to_vec(),
            tenant: None,
            claims: ClaimMap::default(),
        }
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
}

impl Default for ClaimMap {
    fn default() -> Self {
        Self {
            subject: "sub".to_owned(),
            subject_type: "sub_type".to_owned(),
            agent: vec!["client_id".to_owned(), "azp".to_owned()],
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
            if self.issuers.iter().take(index).any(|earlier| earlier.iss == issuer.iss) {
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
        for claim in claims.into_iter().chain(&self.claims.agent) {
            check_name("the claim", claim)?;
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
        let homeless = Settings { tenant: String::new(), ..Settings::default() };
        assert!(matches!(homeless.check(), Err(SettingsError::Name { .. })));
    }
}
