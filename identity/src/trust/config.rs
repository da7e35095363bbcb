//! `[[identity.certificates]]` of `lictor.toml`.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::{AgentMap, Authority, TrustError, bundle, trust_domain};
use crate::files::read_public;
use crate::tls::{TlsError, certificates};

/// One authority of callers' certificates. Its files are looked at again and again.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct AuthorityConfig {
    /// Files with its certificates (PEM).
    pub ca: Vec<PathBuf>,
    /// File with its certificates as a trust bundle of SPIFFE (JWK set); needs `trust_domain`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub spiffe_bundle: Option<PathBuf>,
    /// The trust domain whose SPIFFE IDs it vouches for, and nothing else. Without one it vouches
    /// for DNS names.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub trust_domain: Option<String>,
    /// The tenant of whom it vouches for; default `identity.tenant`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tenant: Option<String>,
    /// Agents by SPIFFE ID or DNS name. `*` stands for one part of a name, `**` at the end of a
    /// SPIFFE ID for the rest. A name that is not here is the agent's id itself.
    pub agents: BTreeMap<String, String>,
}

impl AuthorityConfig {
    /// Makes relative paths ones below `base`, the folder of the configuration file.
    pub fn take_paths_from(&mut self, base: &Path) {
        let files = self.ca.iter_mut().chain(&mut self.spiffe_bundle);
        files.for_each(|path| *path = base.join(&*path));
    }

    pub(crate) fn files(&self) -> impl Iterator<Item = &PathBuf> {
        self.ca.iter().chain(&self.spiffe_bundle)
    }

    /// Reads the files that it names.
    ///
    /// # Errors
    /// [`TrustError`] names the file and what is wrong with it.
    pub fn load(&self) -> Result<Authority, TrustError> {
        let domain = self.trust_domain.as_deref();
        domain.map_or(Ok(()), trust_domain)?;
        let mut found = Vec::new();
        for path in &self.ca {
            found.extend(certificates(path)?);
        }
        if let Some(path) = &self.spiffe_bundle {
            if domain.is_none() {
                return Err(TrustError::BundleWithoutDomain { path: path.clone() });
            }
            let text = read_public(path).map_err(TlsError::from)?;
            let refused = |why| TrustError::Bundle { path: path.clone(), why };
            found.extend(bundle::authorities(&text).map_err(refused)?);
        }
        let agents = match domain {
            Some(domain) => AgentMap::of_spiffe(&self.agents, domain)?,
            None => AgentMap::of_dns(&self.agents)?,
        };
        let authority = Authority::new(&found, domain)?.with_tenant(self.tenant.as_deref())?;
        Ok(authority.with_agents(agents))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_printed_form_reads_as_the_same() {
        let text = r#"{"ca":["a.pem"],"spiffe_bundle":"b.json","trust_domain":"d","tenant":"t","agents":{"spiffe://d/*":"x"}}"#;
        let mut config: AuthorityConfig = serde_json::from_str(text).unwrap();
        assert_eq!(serde_json::to_string(&config).unwrap(), text);
        config.take_paths_from(Path::new("/etc"));
        assert!(config.files().eq([Path::new("/etc/a.pem"), Path::new("/etc/b.json")]));
        let empty = serde_json::to_string(&AuthorityConfig::default()).unwrap();
        let read: AuthorityConfig = serde_json::from_str(&empty).unwrap();
        assert_eq!(read, AuthorityConfig::default());
        assert!(serde_json::from_str::<AuthorityConfig>(r#"{"cas":[]}"#).is_err());
    }

    #[test]
    fn what_could_not_work_is_refused() {
        let load = |text: &str| serde_json::from_str::<AuthorityConfig>(text).unwrap().load();
        assert!(matches!(load("{}"), Err(TrustError::NoAnchors { .. })));
        assert!(matches!(load(r#"{"trust_domain":"D"}"#), Err(TrustError::TrustDomain { .. })));
        assert!(matches!(
            load(r#"{"spiffe_bundle":"/nowhere"}"#),
            Err(TrustError::BundleWithoutDomain { .. })
        ));
        let error = load(r#"{"ca":["/nowhere/ca.pem"]}"#).unwrap_err().to_string();
        assert!(error.contains("/nowhere/ca.pem"), "{error}");
        assert!(matches!(load(r#"{"agents":{"A":"b"}}"#), Err(TrustError::Pattern { .. })));
    }
}
