//! Everything that the demonstration needs around it: a folder, keys, a signed bundle,
//! the sample servers, and the configuration that ties them together.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};

use axum::Router;
use lictor_identity::config::{IdentityConfig, IssuerConfig, KeysAt};
use lictor_identity::files::{create_private, create_public, ensure_directory, random};
use lictor_identity::{Purpose, keys};
use lictor_pdp::config::{AuditConfig, PdpConfig};
use lictor_pep_http::UpstreamConfig;
use lictor_pep_mcp::ServerConfig;
use lictor_policy_lib::bundle::{Part, SignOptions, compose, pack, sign};
use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

use super::people::{AUDIENCE, ISSUER, People};
use super::provider::{self, Keys};
use super::tools::{self, Sightings};
use crate::exit::{Failure, chain, io};
use crate::up::config::Config;

/// What the signature is for.
const SCOPE: &str = "demo";
/// Any free port of this machine.
const ANY: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 0);

/// Where the demonstration takes place. Dropping it ends the sample servers and removes
/// the folder, unless it is to be kept.
pub(crate) struct Site {
    folder: Folder,
    servers: Vec<JoinHandle<()>>,
    /// Everybody's credentials.
    pub(crate) people: People,
    /// What the tool servers saw.
    pub(crate) sightings: Sightings,
    /// What the provider saw.
    pub(crate) provider_keys: Keys,
    /// The key that the provider should have seen.
    pub(crate) provider_key: String,
    /// Where the tool servers listen.
    pub(crate) tools: SocketAddr,
    /// The key that signed the bundle, by its short name.
    pub(crate) signed_by: String,
    /// How it all fits together.
    pub(crate) config: Config,
}

enum Folder {
    Kept(PathBuf),
    Passing(TempDir),
}

impl Drop for Site {
    fn drop(&mut self) {
        for server in &self.servers {
            server.abort();
        }
    }
}

impl Site {
    /// Prepares everything below `keep`, or below a folder that is removed in the end.
    /// Must be called inside a runtime.
    ///
    /// # Errors
    /// What cannot be written, bundles that cannot be composed, no free port.
    pub(crate) async fn new(
        keep: Option<&Path>,
        parts: Vec<Part>,
        now_ms: i64,
    ) -> Result<Self, Failure> {
        let folder = Folder::new(keep)?;
        let root = folder.path().to_owned();
        let people = People::new(now_ms)?;
        let (bundle_key, signed_by) = bundle(&root, parts, now_ms)?;
        write(create_public, &root.join("jwks.json"), &people.jwks)?;
        write(create_private, &root.join("api-keys.json"), &people.api_keys)?;
        let provider_key = random_text()?;
        write(create_private, &root.join("provider.key"), &provider_key)?;
        let (sightings, provider_keys) = (Sightings::default(), Keys::default());
        let (tools, tools_task) = serve(tools::router(sightings.clone())).await?;
        let (provider, provider_task) = serve(provider::router(provider_keys.clone())).await?;
        let config = config(&root, bundle_key, provider, tools);
        let servers = vec![tools_task, provider_task];
        Ok(Self {
            folder,
            servers,
            people,
            sightings,
            provider_keys,
            provider_key,
            tools,
            signed_by,
            config,
        })
    }

    /// The folder with everything in it.
    pub(crate) fn root(&self) -> &Path {
        self.folder.path()
    }

    /// The folder with the audit logs.
    pub(crate) fn audit_dir(&self) -> &Path {
        &self.config.audit.dir
    }

    /// The folders that hold the keys by which the audit logs are signed.
    pub(crate) fn audit_key_dirs(&self) -> [PathBuf; 3] {
        let state = &self.config.pdp.state_dir;
        [state.clone(), state.join("pep-http"), state.join("pep-mcp")]
    }

    /// The token by which operators open the decision point's door.
    pub(crate) fn operator_token(&self) -> PathBuf {
        self.config.pdp.operator_token_path()
    }
}

impl Folder {
    fn new(keep: Option<&Path>) -> Result<Self, Failure> {
        let Some(path) = keep else {
            let made = tempfile::Builder::new().prefix("lictor-demo-").tempdir();
            return made.map(Self::Passing).map_err(|error| {
                Failure::failed(format!("cannot make a temporary folder: {error}"))
            });
        };
        let used = std::fs::read_dir(path).is_ok_and(|mut entries| entries.next().is_some());
        if used {
            let text = format!("`{}` is not empty", path.display());
            return Err(Failure::usage(text).help("name a new folder for `--keep`"));
        }
        ensure_directory(path).map_err(|error| Failure::error(&error))?;
        let path = path.canonicalize().map_err(|error| io("use", path, error))?;
        Ok(Self::Kept(path))
    }

    fn path(&self) -> &Path {
        match self {
            Self::Kept(path) => path,
            Self::Passing(dir) => dir.path(),
        }
    }
}

/// Composes, signs and writes the bundle as `lictor build` and `lictor sign` do. The
/// public key's path, and the key's short name.
fn bundle(root: &Path, parts: Vec<Part>, now_ms: i64) -> Result<(PathBuf, String), Failure> {
    let refused = |error: &dyn std::error::Error| Failure::failed(chain(error));
    let pair = keys::generate(Purpose::Bundle).map_err(|error| refused(&error))?;
    let (private, public) = pair.write_pair(&root.join("keys")).map_err(|error| refused(&error))?;
    let key = keys::load_signing(&private).map_err(|error| refused(&error))?;
    let files = compose(parts).map_err(|error| refused(&error))?;
    let options = SignOptions { scope: SCOPE.to_owned(), iat_s: now_ms / 1_000, exp_s: None };
    let signed = sign(&files, &key, &options).map_err(|error| refused(&error))?;
    let path = root.join("bundle.tar.gz");
    std::fs::write(&path, pack(&signed)).map_err(|error| io("write", &path, error))?;
    Ok((public, keys::key_id(&key.verifying_key())))
}

fn config(root: &Path, bundle_key: PathBuf, provider: SocketAddr, tools: SocketAddr) -> Config {
    let upstream = UpstreamConfig {
        id: "openai".to_owned(),
        base_url: format!("http://{provider}/v1"),
        key_env: None,
        key_file: Some(root.join("provider.key")),
        auth: None,
    };
    let server = |id: &str| ServerConfig {
        id: id.to_owned(),
        url: format!("http://{tools}/{id}"),
        ..ServerConfig::default()
    };
    let issuer = IssuerConfig {
        jwks: Some(KeysAt::File(root.join("jwks.json"))),
        algorithms: vec!["EdDSA".to_owned()],
        ..IssuerConfig::new(ISSUER, AUDIENCE)
    };
    Config {
        pdp: PdpConfig {
            listen: ANY,
            bundle: root.join("bundle.tar.gz").into(),
            trust_keys: vec![bundle_key],
            scope: SCOPE.to_owned(),
            state_dir: root.join("state"),
            ..PdpConfig::default()
        },
        audit: AuditConfig {
            dir: root.join("audit"),
            deployment: "demo".to_owned(),
            ..AuditConfig::default()
        },
        identity: IdentityConfig {
            issuers: vec![issuer],
            api_keys: Some(root.join("api-keys.json")),
            ..IdentityConfig::default()
        },
        pep_http: Some(lictor_pep_http::Config {
            listen: ANY,
            ..lictor_pep_http::Config::new(vec![upstream])
        }),
        pep_mcp: Some(lictor_pep_mcp::Config {
            listen: ANY,
            servers: vec![server("accounting"), server("github")],
            ..lictor_pep_mcp::Config::default()
        }),
    }
}

async fn serve(router: Router) -> Result<(SocketAddr, JoinHandle<()>), Failure> {
    let failed = |error: std::io::Error| Failure::failed(format!("no sample server: {error}"));
    let listener = TcpListener::bind(ANY).await.map_err(failed)?;
    let address = listener.local_addr().map_err(failed)?;
    let task = tokio::spawn(async move {
        if let Err(error) = axum::serve(listener, router).await {
            tracing::error!(%error, "a sample server ended");
        }
    });
    Ok((address, task))
}

fn write(
    create: fn(&Path, &str) -> Result<(), lictor_identity::files::FileError>,
    path: &Path,
    text: &str,
) -> Result<(), Failure> {
    create(path, text).map_err(|error| Failure::error(&error))
}

fn random_text() -> Result<String, Failure> {
    let bytes: [u8; 24] = random().map_err(|error| Failure::error(&error))?;
    Ok(format!("sample-{}", hex::encode(bytes)))
}
