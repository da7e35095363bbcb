//! The accepting side, replaced while connections are taken.

use std::convert::Infallible;
use std::fmt;
use std::sync::Arc;

use rustls::ServerConfig;
use rustls::server::danger::ClientCertVerifier;
use rustls::server::{NoClientAuth, NoServerSessionStorage, WebPkiClientVerifier};

use super::config::{ClientAuth, ServerTlsConfig};
use super::pem::{Pair, roots};
use super::{TlsError, provider};
use crate::from_files::{FromFiles, Reloaded, every_so_often};

/// What is spoken inside, best first (RFC 7301). A client that wants something else is refused.
const ALPN: [&[u8]; 2] = [b"h2", b"http/1.1"];

/// How a listener shows itself and whom it asks to, as the files say it now.
pub struct ServerTls {
    held: FromFiles<Arc<ServerConfig>, TlsError>,
}

impl fmt::Debug for ServerTls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ServerTls").finish_non_exhaustive()
    }
}

impl ServerTls {
    /// Reads the files.
    ///
    /// # Errors
    /// [`TlsError`] for files that cannot be used, or that do not belong together.
    pub fn load(config: &ServerTlsConfig) -> Result<Self, TlsError> {
        let files = config.files().map(ToOwned::to_owned).collect();
        let config = config.clone();
        let read = move || build(&config).map(Arc::new);
        Ok(Self { held: FromFiles::load(files, read)? })
    }

    /// What the next connection is taken with.
    #[must_use]
    pub fn current(&self) -> Arc<ServerConfig> {
        Arc::clone(&self.held.current())
    }

    /// Looks at the files and takes them over if they changed and can be used, for connections
    /// that come from then on. Reads files, so not for a thread that must not wait.
    pub fn reload(&self) -> Reloaded<TlsError> {
        self.held.reload()
    }

    /// Looks at the files again and again, until dropped.
    pub async fn watch(self: Arc<Self>) -> Infallible {
        every_so_often(move || match self.reload() {
            Reloaded::Unchanged | Reloaded::StillRefused => {}
            Reloaded::Live => tracing::info!("a listener shows a new certificate"),
            Reloaded::Refused(error) => {
                tracing::warn!(%error, "a listener's changed certificate cannot be used: the old one stays");
            }
        })
        .await
    }
}

fn build(config: &ServerTlsConfig) -> Result<ServerConfig, TlsError> {
    let builder = ServerConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .map_err(|error| TlsError::Setup(error.to_string()))?
        .with_client_cert_verifier(verifier(config)?);
    let pair = Pair::read(&config.cert, &config.key)?;
    let mut server = pair.used(|chain, key| builder.with_single_cert(chain, key))?;
    server.alpn_protocols = ALPN.iter().map(|name| name.to_vec()).collect();
    // A resumed session would bring the client's certificate of an earlier connection with it,
    // unchecked: past its end, or from an authority that is believed no more.
    server.session_storage = Arc::new(NoServerSessionStorage {});
    server.send_tls13_tickets = 0;
    Ok(server)
}

fn verifier(config: &ServerTlsConfig) -> Result<Arc<dyn ClientCertVerifier>, TlsError> {
    let auth = config.client_auth()?;
    if auth == ClientAuth::None {
        return Ok(Arc::new(NoClientAuth));
    }
    let trusted = Arc::new(roots(&config.client_ca)?);
    let mut builder = WebPkiClientVerifier::builder_with_provider(trusted, provider());
    if auth == ClientAuth::Optional {
        builder = builder.allow_unauthenticated();
    }
    let built = builder.build().map_err(|error| TlsError::Setup(error.to_string()))?;
    Ok(built)
}
