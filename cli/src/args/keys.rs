//! Key files of the command line.

use std::path::PathBuf;

use clap::Args;
use ed25519_dalek::VerifyingKey;
use lictor_identity::keys::load_verifying;
use lictor_policy_lib::bundle::{Require, TrustPolicy, TrustedKey};

use crate::exit::Failure;

/// Public keys whose signatures count.
#[derive(Debug, Clone, Args)]
pub(crate) struct TrustArgs {
    /// A public key (PEM) whose signature counts; repeat it for more.
    #[arg(long = "key", value_name = "FILE", required = true)]
    keys: Vec<PathBuf>,
    /// How many of the keys must have signed.
    #[arg(long, value_name = "N", default_value_t = 1)]
    required: usize,
    /// What the bundle must be signed for.
    #[arg(long, value_name = "SCOPE", default_value = "")]
    scope: String,
}

impl TrustArgs {
    /// What the signatures are held against.
    ///
    /// # Errors
    /// A key that cannot be read, or a number of keys that nothing could fulfil.
    pub(crate) fn require(&self) -> Result<Require, Failure> {
        let keys = verifying(&self.keys)?.into_iter().map(TrustedKey::new).collect();
        let policy = TrustPolicy::new(keys, self.required, self.scope.clone());
        policy.map(Require::Signed).map_err(|error| Failure::usage(error.to_string()))
    }
}

/// The public keys in PEM files.
///
/// # Errors
/// The first file that holds none.
pub(crate) fn verifying(paths: &[PathBuf]) -> Result<Vec<VerifyingKey>, Failure> {
    let load = |path: &PathBuf| load_verifying(path).map_err(|error| Failure::error(&error));
    paths.iter().map(load).collect()
}
