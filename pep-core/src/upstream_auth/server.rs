//! A token endpoint in an `auth`.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use lictor_identity::Secret;
use lictor_identity::grants::{ClientAuth, ClientKey, ClientProof, TokenClient};
use serde::{Deserialize, Serialize};

use super::config::AuthFault;
use super::held::Held;
use super::source::{self, Source};

/// Longest time of one request for a token.
pub const GRANT_TIMEOUT: Duration = Duration::from_secs(5);

/// A token endpoint, and who we are there.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TokenServer {
    /// Its URL: `https`, or `http` on this machine.
    pub token_url: String,
    /// Our name there.
    pub client_id: String,
    /// How we prove it; default `client_secret_basic`.
    #[serde(default)]
    pub client_auth: ClientAuthKind,
    /// The environment variable with the secret; with `private_key_jwt` the private key, in
    /// PKCS#8 PEM.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret_env: Option<String>,
    /// The file with the same, readable by nobody else; read again when it changes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret_file: Option<PathBuf>,
    /// With `private_key_jwt`: how the server names the key (`kid`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key_id: Option<String>,
    /// With `private_key_jwt`: the `aud` of the proof; default `token_url`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub proof_audience: Option<String>,
    /// File with authorities beside those of the system (PEM).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ca_file: Option<PathBuf>,
}

/// How a client proves itself to a token endpoint.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ClientAuthKind {
    /// The secret in the header `Authorization`.
    #[default]
    ClientSecretBasic,
    /// The secret in the form.
    ClientSecretPost,
    /// A statement signed for each request (RFC 7523).
    PrivateKeyJwt,
}

/// An endpoint, ready to be asked.
pub(super) struct Endpoint {
    pub(super) client: TokenClient,
    pub(super) auth: Held<ClientAuth>,
}

impl TokenServer {
    pub(super) fn take_paths_from(&mut self, base: &Path) {
        let files = [&mut self.secret_file, &mut self.ca_file].into_iter().flatten();
        files.for_each(|path| *path = base.join(&*path));
    }

    pub(super) fn validate(&self) -> Result<(), AuthFault> {
        self.source()?;
        if self.client_auth != ClientAuthKind::PrivateKeyJwt {
            let other = "client_auth = \"private_key_jwt\"";
            let unused = [("key_id", &self.key_id), ("proof_audience", &self.proof_audience)];
            if let Some((key, _)) = unused.iter().find(|(_, text)| text.is_some()) {
                return Err(AuthFault::Unused { key, other });
            }
        }
        Ok(())
    }

    fn source(&self) -> Result<Source, AuthFault> {
        let (env, file) = (self.secret_env.as_deref(), self.secret_file.as_deref());
        source::only("`secret_env` and `secret_file`", env, file, None)
    }

    /// # Errors
    /// [`AuthFault`] for what could never work; a server that does not answer is no error.
    pub(super) async fn open(&self, id: &str) -> Result<Endpoint, AuthFault> {
        self.validate()?;
        let client = TokenClient::new(&self.token_url, self.ca_file.as_deref(), GRANT_TIMEOUT)?;
        let server = self.clone();
        let source = self.source()?;
        let from = source.named();
        let auth = Held::open(source, id, move |secret| server.client_auth(secret, &from)).await?;
        Ok(Endpoint { client, auth })
    }

    fn client_auth(&self, secret: Secret, from: &str) -> Result<ClientAuth, AuthFault> {
        let proof = match self.client_auth {
            ClientAuthKind::ClientSecretBasic => ClientProof::Basic(secret),
            ClientAuthKind::ClientSecretPost => ClientProof::Post(secret),
            ClientAuthKind::PrivateKeyJwt => ClientProof::Signed {
                key: Arc::new(ClientKey::from_pem(&secret, from)?),
                key_id: self.key_id.clone(),
                audience: self.proof_audience.clone(),
            },
        };
        Ok(ClientAuth::new(&self.client_id, proof)?)
    }
}
