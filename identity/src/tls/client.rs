//! The calling side.

use std::sync::Arc;

use rustls::client::{Resumption, WantsClientCert};
use rustls::{ClientConfig, ConfigBuilder, RootCertStore};

use super::config::ClientTlsConfig;
use super::pem::{Pair, roots};
use super::{TlsError, provider};

/// What a client needs to call a server over TLS 1.2 or 1.3. Which protocols it speaks (ALPN) is
/// left to whoever uses it; sessions are never resumed, so that each connection is made with the
/// certificates of its time.
///
/// # Errors
/// [`TlsError`]: a file that cannot be used, half a pair, or no authorities.
pub fn client_config(config: &ClientTlsConfig) -> Result<ClientConfig, TlsError> {
    let builder = ClientConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .map_err(|error| TlsError::Setup(error.to_string()))?
        .with_root_certificates(trusted(config)?);
    let mut client = with_own(builder, config)?;
    client.resumption = Resumption::disabled();
    Ok(client)
}

fn with_own(
    builder: ConfigBuilder<ClientConfig, WantsClientCert>,
    config: &ClientTlsConfig,
) -> Result<ClientConfig, TlsError> {
    match (&config.cert, &config.key) {
        (None, None) => Ok(builder.with_no_client_auth()),
        (Some(cert), Some(key)) => {
            Pair::read(cert, key)?.used(|chain, key| builder.with_client_auth_cert(chain, key))
        }
        _ => Err(TlsError::HalfPair),
    }
}

fn trusted(config: &ClientTlsConfig) -> Result<Arc<RootCertStore>, TlsError> {
    let trusted = if config.ca.is_empty() { system_roots() } else { roots(&config.ca)? };
    if trusted.is_empty() {
        return Err(TlsError::NoRoots);
    }
    Ok(Arc::new(trusted))
}

/// The authorities of the system. Those that cannot be read are left out: fewer are believed.
fn system_roots() -> RootCertStore {
    let found = rustls_native_certs::load_native_certs();
    for error in &found.errors {
        tracing::warn!(%error, "authorities of the system cannot be read");
    }
    let mut roots = RootCertStore::empty();
    let (_, unusable) = roots.add_parsable_certificates(found.certs);
    if unusable > 0 {
        tracing::debug!(unusable, "authorities of the system cannot be used");
    }
    roots
}
