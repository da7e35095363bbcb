//! The sections `[..tls]` of `lictor.toml`.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::TlsError;

/// `[pdp.tls]`, `[pep_http.tls]`, `[pep_mcp.tls]`: how a listener shows itself and whom it asks
/// to. The files are looked at again and again; a change counts for new connections.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ServerTlsConfig {
    /// File with the listener's certificate and those between it and its authority (PEM).
    pub cert: PathBuf,
    /// File with its private key (PEM, not encrypted), readable by nobody else.
    pub key: PathBuf,
    /// Files with the authorities of clients' certificates (PEM).
    #[serde(default)]
    pub client_ca: Vec<PathBuf>,
    /// Whether clients must show a certificate; default `required` where `client_ca` is named,
    /// `none` otherwise.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client_auth: Option<ClientAuth>,
}

/// Whether clients must show a certificate.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ClientAuth {
    /// None is asked for.
    None,
    /// One is asked for, and one that is shown must hold. A client without proves itself by other
    /// means.
    Optional,
    /// No connection without one that holds.
    Required,
}

/// How a client checks the server it calls, and shows itself.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ClientTlsConfig {
    /// Files with the authorities that may have issued the server's certificate (PEM); empty
    /// means those of the system.
    pub ca: Vec<PathBuf>,
    /// File with our certificate and those between it and its authority (PEM), where we show one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cert: Option<PathBuf>,
    /// File with its private key (PEM, not encrypted), readable by nobody else.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub key: Option<PathBuf>,
    /// The name that the server's certificate must carry, where not the host of its URL.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub server_name: Option<String>,
}

impl ServerTlsConfig {
    /// Makes relative paths ones below `base`, the folder of the configuration file.
    pub fn take_paths_from(&mut self, base: &Path) {
        let files = [&mut self.cert, &mut self.key].into_iter().chain(&mut self.client_ca);
        files.for_each(|path| *path = base.join(&*path));
    }

    /// What is asked of clients.
    ///
    /// # Errors
    /// [`TlsError::NoClientCa`], [`TlsError::UnusedClientCa`].
    pub fn client_auth(&self) -> Result<ClientAuth, TlsError> {
        match (self.client_auth, self.client_ca.is_empty()) {
            (None | Some(ClientAuth::None), true) => Ok(ClientAuth::None),
            (None, false) => Ok(ClientAuth::Required),
            (Some(ClientAuth::None), false) => Err(TlsError::UnusedClientCa),
            (Some(_), true) => Err(TlsError::NoClientCa),
            (Some(asked), false) => Ok(asked),
        }
    }

    /// Every file that is named.
    pub(super) fn files(&self) -> impl Iterator<Item = &Path> {
        [&self.cert, &self.key].into_iter().chain(&self.client_ca).map(PathBuf::as_path)
    }
}

impl ClientTlsConfig {
    /// Makes relative paths ones below `base`, the folder of the configuration file.
    pub fn take_paths_from(&mut self, base: &Path) {
        let own = [&mut self.cert, &mut self.key].into_iter().flatten();
        own.chain(&mut self.ca).for_each(|path| *path = base.join(&*path));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clients_are_asked_for_what_their_authorities_make_possible() {
        let auth = |ca: &[&str], asked| {
            let client_ca = ca.iter().map(PathBuf::from).collect();
            ServerTlsConfig { client_ca, client_auth: asked, ..Default::default() }.client_auth()
        };
        use ClientAuth::{None as Nobody, Optional, Required};
        assert_eq!(auth(&[], None).unwrap(), Nobody);
        assert_eq!(auth(&[], Some(Nobody)).unwrap(), Nobody);
        assert_eq!(auth(&["ca"], None).unwrap(), Required);
        assert_eq!(auth(&["ca"], Some(Optional)).unwrap(), Optional);
        assert!(matches!(auth(&[], Some(Optional)), Err(TlsError::NoClientCa)));
        assert!(matches!(auth(&[], Some(Required)), Err(TlsError::NoClientCa)));
        assert!(matches!(auth(&["ca"], Some(Nobody)), Err(TlsError::UnusedClientCa)));
    }

    #[test]
    fn the_printed_form_reads_as_the_same() {
        let text = r#"{"cert":"a","key":"b","client_ca":["c"],"client_auth":"optional"}"#;
        let mut server: ServerTlsConfig = serde_json::from_str(text).unwrap();
        assert_eq!(serde_json::to_string(&server).unwrap(), text);
        server.take_paths_from(Path::new("/etc"));
        let files: Vec<_> = server.files().collect();
        assert_eq!(files, ["/etc/a", "/etc/b", "/etc/c"].map(Path::new));
        assert!(
            serde_json::from_str::<ServerTlsConfig>(r#"{"cert":"a","key":"b","x":1}"#).is_err()
        );
        assert!(serde_json::from_str::<ServerTlsConfig>(r#"{"cert":"a"}"#).is_err());

        let client = ClientTlsConfig::default();
        let printed = serde_json::to_string(&client).unwrap();
        assert_eq!(serde_json::from_str::<ClientTlsConfig>(&printed).unwrap(), client);
        let text = r#"{"ca":["a"],"cert":"b","key":"c","server_name":"pdp.internal"}"#;
        let mut client: ClientTlsConfig = serde_json::from_str(text).unwrap();
        assert_eq!(serde_json::to_string(&client).unwrap(), text);
        client.take_paths_from(Path::new("/etc"));
        assert_eq!(client.ca, [Path::new("/etc/a")]);
        assert_eq!(client.key.as_deref(), Some(Path::new("/etc/c")));
        assert!(serde_json::from_str::<ClientTlsConfig>(r#"{"verify":false}"#).is_err());
    }
}
