//! Encrypted connections: what one process shows another, and how a connection is taken.
//!
//! # Layout
//!
//! - [`config`]: the sections `[..tls]` of `lictor.toml`.
//! - `pem`: certificates and keys in files.
//! - [`server`]: the accepting side, replaced while connections are taken.
//! - [`client`]: the calling side.
//! - [`connection`]: one accepted connection, its handshake and first bytes bounded in time.
//!
//! There is one provider of cryptography, named wherever one is wanted: a process-wide default
//! would depend on who came first.

pub mod client;
pub mod config;
pub mod connection;
mod pem;
pub mod server;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use rustls::crypto::CryptoProvider;

use crate::files::FileError;

pub use crate::from_files::{RELOAD_INTERVAL_MS, Reloaded};
pub use client::client_config;
pub use config::{ClientAuth, ClientTlsConfig, ServerTlsConfig};
pub use connection::{AcceptError, Connection};
pub(crate) use pem::certificates;
pub use server::ServerTls;

/// Why certificates and keys cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A file cannot be read.
    #[error(transparent)]
    File(#[from] FileError),
    /// Not PEM.
    #[error("`{path}` is not a PEM file: {why}")]
    Pem {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        why: String,
    },
    /// No certificate.
    #[error("`{path}` holds no certificate: it needs a `BEGIN CERTIFICATE`")]
    NoCertificate {
        /// The file.
        path: PathBuf,
    },
    /// No key.
    #[error(
        "`{path}` holds no private key that can be read: it needs one of PKCS#8, SEC1 or PKCS#1 that is not encrypted"
    )]
    NoKey {
        /// The file.
        path: PathBuf,
    },
    /// A key of another certificate.
    #[error(
        "the key in `{key}` is not the one of the certificate in `{cert}`: name files that belong together"
    )]
    Mismatch {
        /// File of the certificate.
        cert: PathBuf,
        /// File of the key.
        key: PathBuf,
    },
    /// Certificate or key of a kind that is not used.
    #[error("the certificate in `{cert}` and its key cannot be used: {why}")]
    Unusable {
        /// File of the certificate.
        cert: PathBuf,
        /// What is wrong.
        why: String,
    },
    /// A certificate that cannot be an authority.
    #[error("a certificate in `{path}` cannot be an authority: {why}")]
    Anchor {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        why: String,
    },
    /// Certificates of clients wanted and nobody to have issued them.
    #[error("`client_auth` needs `client_ca`: name the authorities of the clients' certificates")]
    NoClientCa,
    /// Authorities of clients and no wish to see their certificates.
    #[error("`client_ca` is named and `client_auth` is `none`: remove one of them")]
    UnusedClientCa,
    /// Half a pair.
    #[error("`cert` and `key` belong together: name both or none")]
    HalfPair,
    /// The system believes nobody.
    #[error("the system has no authorities to check servers by: name some in `ca`")]
    NoRoots,
    /// A version or parameter that the provider does not have.
    #[error("TLS cannot be set up: {0}")]
    Setup(String),
}

/// The one provider of cryptography.
pub(crate) fn provider() -> Arc<CryptoProvider> {
    Arc::new(rustls::crypto::aws_lc_rs::default_provider())
}

/// Says so, once, where other machines can reach a listener that is not encrypted. `section` is
/// the listener's section of `lictor.toml`.
pub fn warn_if_open(section: &str, listen: SocketAddr, tls: Option<&ServerTls>) {
    if is_open(listen, tls.is_some()) {
        tracing::warn!(
            %listen,
            "[{section}] IS REACHABLE FROM OTHER MACHINES AND NOT ENCRYPTED: whoever sits between \
             sees and takes over credentials; configure `[{section}.tls]` or listen on a loopback address"
        );
    }
}

fn is_open(listen: SocketAddr, encrypted: bool) -> bool {
    !encrypted && !listen.ip().to_canonical().is_loopback()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_plain_listeners_that_others_reach_are_open() {
        let open = |text: &str, encrypted| is_open(text.parse().unwrap(), encrypted);
        for there in ["0.0.0.0:1", "[::]:1", "10.0.0.1:1", "[2001:db8::1]:1"] {
            assert!(open(there, false) && !open(there, true), "{there}");
        }
        for here in ["127.0.0.1:1", "127.9.9.9:1", "[::1]:1", "[::ffff:127.0.0.1]:1"] {
            assert!(!open(here, false), "{here}");
        }
    }
}
