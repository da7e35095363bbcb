//! `[pdp]` of `lictor.toml`.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};

pub use lictor_audit::config::{AuditConfig, DurabilityRule};
use lictor_identity::Role;
use lictor_identity::tls::ServerTlsConfig;
use lictor_policy_lib::engine::Way;
use serde::{Deserialize, Serialize};

use crate::registered::{OperatorConfig, PepConfig};
use crate::revocation::config::RevocationsConfig;
use crate::shadow::config::{ShadowConfig, ShadowConfigError};
use crate::source::config::{FetchConfig, FetchConfigError};
use crate::source::{BundleAt, SourceConfig};
use crate::state::config::{StateConfig, StoreError};
use crate::webhook::config::ApprovalsConfig;

/// `[pdp]`.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct PdpConfig {
    /// Where gRPC and REST are served.
    pub listen: SocketAddr,
    /// Certificate and key of `listen`, and whose certificates callers may show. Without it that
    /// listener is not encrypted.
    pub tls: Option<ServerTlsConfig>,
    /// Unix socket, besides `listen`.
    pub socket: Option<PathBuf>,
    /// Where the bundle is: an archive or a folder, `https://…`, or `oci://registry/repository:tag`.
    pub bundle: BundleAt,
    /// How a bundle is fetched from a web server or a registry.
    #[serde(skip_serializing_if = "is_default_fetch")]
    pub fetch: FetchConfig,
    /// Public keys (PEM) that may sign bundles.
    pub trust_keys: Vec<PathBuf>,
    /// How many of them must have signed.
    pub required_signatures: usize,
    /// Scope that signatures must name.
    pub scope: String,
    /// Bundles of a lower version are refused.
    pub min_version: u64,
    /// Keys, the last good bundle and the version floor.
    pub state_dir: PathBuf,
    /// Bearer token of the enforcement points; default `<state_dir>/pep.token`.
    pub token_file: Option<PathBuf>,
    /// Bearer token of operators; default `<state_dir>/operator.token`.
    pub operator_token_file: Option<PathBuf>,
    /// Where limits, sessions and approvals are kept.
    pub state: StateConfig,
    /// A second bundle that decides nothing: what it would have decided is counted and recorded.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub shadow: Option<ShadowConfig>,
    /// A signed list of what is revoked that somebody else keeps, besides our own.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub revocations: Option<RevocationsConfig>,
    /// Who is told of approvals, and how they are answered.
    #[serde(skip_serializing_if = "is_default")]
    pub approvals: ApprovalsConfig,
    /// Roles of the socket's peers by user id; default: our own user id is
    /// operator and auditor.
    pub peers: BTreeMap<String, Vec<Role>>,
    /// Enforcement points by name, each with a token or certificate of its own.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub peps: Vec<PepConfig>,
    /// Operators' and auditors' programs, known by their certificates.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub operators: Vec<OperatorConfig>,
    /// Whether the token of `token_file` counts, which may ask about everything; default: only
    /// while `peps` is empty.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub default_pep: Option<bool>,
    /// Accept unsigned bundles. Only on a loopback address; marked in every record.
    pub insecure_dev: bool,
    /// How Rego is evaluated: `fastest`, by the fast path where the bundle was proved safe for it;
    /// `interpreter`; or `both`, which denies a call where they differ.
    pub rego: Way,
    /// How often a bundle that is a file or a folder is looked at, in milliseconds.
    pub poll_ms: u64,
    /// How long calls in flight may take at shutdown, in milliseconds.
    pub drain_ms: u64,
}

impl Default for PdpConfig {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from(([127, 0, 0, 1], 7070)),
            tls: None,
            socket: None,
            bundle: PathBuf::from("bundle.tar.gz").into(),
            fetch: FetchConfig::default(),
            trust_keys: Vec::new(),
            required_signatures: 1,
            scope: String::new(),
            min_version: 0,
            state_dir: PathBuf::from("state"),
            token_file: None,
            operator_token_file: None,
            state: StateConfig::default(),
            shadow: None,
            revocations: None,
            approvals: ApprovalsConfig::default(),
            peers: BTreeMap::new(),
            peps: Vec::new(),
            operators: Vec::new(),
            default_pep: None,
            insecure_dev: false,
            rego: Way::default(),
            poll_ms: 500,
            drain_ms: 10_000,
        }
    }
}

fn is_default(config: &ApprovalsConfig) -> bool {
    *config == ApprovalsConfig::default()
}

fn is_default_fetch(config: &FetchConfig) -> bool {
    *config == FetchConfig::default()
}

/// Why a configuration cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// Unsigned bundles where others can reach us.
    #[error("`insecure_dev` is refused on `{0}`: listen on a loopback address or sign the bundle")]
    InsecureAddress(IpAddr),
    /// No key and not insecure.
    #[error(
        "`trust_keys` is empty: name the public keys that may sign bundles, or use --insecure-dev on a loopback address"
    )]
    NoTrustKeys,
    /// A peer is not a user id.
    #[error("`{0}` in [pdp.peers] is not a user id: use a number")]
    Peer(String),
    /// The store.
    #[error(transparent)]
    State(#[from] StoreError),
    /// Fetching.
    #[error(transparent)]
    Fetch(#[from] FetchConfigError),
    /// The shadow bundle.
    #[error(transparent)]
    Shadow(#[from] ShadowConfigError),
}

impl PdpConfig {
    /// Makes relative paths ones below `base`, the folder of the configuration file.
    pub fn take_paths_from(&mut self, base: &Path) {
        let below = |path: &mut PathBuf| *path = base.join(&*path);
        self.bundle.take_paths_from(base);
        self.fetch.take_paths_from(base);
        below(&mut self.state_dir);
        self.trust_keys.iter_mut().for_each(below);
        let optional = [&mut self.socket, &mut self.token_file, &mut self.operator_token_file];
        optional.into_iter().flatten().for_each(below);
        self.peps.iter_mut().filter_map(|pep| pep.token_file.as_mut()).for_each(below);
        self.approvals.take_paths_from(base);
        self.revocations.iter_mut().for_each(|list| list.take_paths_from(base));
        self.state.take_paths_from(base);
        self.shadow.iter_mut().for_each(|shadow| shadow.take_paths_from(base));
        self.tls.iter_mut().for_each(|tls| tls.take_paths_from(base));
    }

    /// Checks what belongs together.
    ///
    /// # Errors
    /// [`ConfigError`] says what to change.
    pub fn check(&self) -> Result<(), ConfigError> {
        if self.insecure_dev && !self.listen.ip().is_loopback() {
            return Err(ConfigError::InsecureAddress(self.listen.ip()));
        }
        if !self.insecure_dev && self.trust_keys.is_empty() {
            return Err(ConfigError::NoTrustKeys);
        }
        self.state.check()?;
        self.fetch.check()?;
        self.shadow.as_ref().map_or(Ok(()), ShadowConfig::check)?;
        self.peer_roles().map(|_| ())
    }

    /// Where the bundle that decides comes from, and which ones are taken.
    #[must_use]
    pub fn source(&self) -> SourceConfig {
        SourceConfig {
            bundle: self.bundle.clone(),
            trust_keys: self.trust_keys.clone(),
            required_signatures: self.required_signatures,
            scope: self.scope.clone(),
            min_version: self.min_version,
            state_dir: self.state_dir.clone(),
            insecure_dev: self.insecure_dev,
            rego: self.rego,
            poll_ms: self.poll_ms,
            fetch: self.fetch.clone(),
        }
    }

    /// Whether the unrestricted token of `token_file` counts.
    #[must_use]
    pub fn has_default_pep(&self) -> bool {
        self.default_pep.unwrap_or(self.peps.is_empty())
    }

    /// Roles of the socket's peers by user id.
    ///
    /// # Errors
    /// [`ConfigError::Peer`].
    pub fn peer_roles(&self) -> Result<Vec<(u32, Vec<Role>)>, ConfigError> {
        let parse = |(uid, roles): (&String, &Vec<Role>)| {
            let number = uid.parse().map_err(|_| ConfigError::Peer(uid.clone()))?;
            Ok((number, roles.clone()))
        };
        self.peers.iter().map(parse).collect()
    }

    /// Where the enforcement points' token is.
    #[must_use]
    pub fn pep_token_path(&self) -> PathBuf {
        self.token_file.clone().unwrap_or_else(|| self.state_dir.join("pep.token"))
    }

    /// Where the operators' token is.
    #[must_use]
    pub fn operator_token_path(&self) -> PathBuf {
        let default = || self.state_dir.join("operator.token");
        self.operator_token_file.clone().unwrap_or_else(default)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unsigned_bundles_only_on_loopback() {
        let mut config = PdpConfig { insecure_dev: true, ..PdpConfig::default() };
        assert!(config.check().is_ok());
        config.listen = SocketAddr::from(([0, 0, 0, 0], 7070));
        assert!(matches!(config.check(), Err(ConfigError::InsecureAddress(_))));
    }

    #[test]
    fn certificates_are_read_and_printed_as_they_are() {
        let text = "[tls]\ncert = 'a'\nkey = 'b'\nclient_ca = ['c']\nclient_auth = 'required'\n";
        let mut config: PdpConfig = toml::from_str(text).unwrap();
        let printed = toml::to_string_pretty(&config).unwrap();
        assert_eq!(toml::from_str::<PdpConfig>(&printed).unwrap().tls, config.tls);
        config.take_paths_from(Path::new("/etc"));
        assert_eq!(config.tls.unwrap().key, Path::new("/etc/b"));
    }

    #[test]
    fn signed_bundles_need_a_key() {
        assert!(matches!(PdpConfig::default().check(), Err(ConfigError::NoTrustKeys)));
    }
}
