//! A folder with keys, a signed bundle made by the `lictor` command, and configurations; and what
//! runs on it: everything in one process, or each part alone.

use std::path::{Path, PathBuf};
use std::process::Command;

use tempfile::TempDir;

use crate::issuer::{AUDIENCE, ISSUER, Issuer};
use crate::process::{Server, binary};
use crate::upstream::{PROVIDER_KEY, Upstream};

/// How everything is started in one process, and the last thing that it says then.
const UP: [&str; 3] = ["up", "-c", "lictor.toml"];
const READY: &str = "MCP servers      http://";

/// What the bundle is signed for.
pub const SCOPE: &str = "e2e";
/// The two bundles that are served as one.
const BUNDLES: [&str; 2] = ["expense-report", "pr-review"];

/// How a command ended.
#[derive(Debug)]
pub struct Ended {
    /// Exit code.
    pub code: i32,
    /// Standard output.
    pub out: String,
    /// Standard error.
    pub err: String,
}

impl Ended {
    /// The same, after checking the exit code.
    ///
    /// # Panics
    /// It is another.
    #[must_use]
    #[track_caller]
    pub fn code(self, code: i32) -> Self {
        assert_eq!(self.code, code, "{self:?}");
        self
    }
}

/// The folder.
#[derive(Debug)]
pub struct Site {
    folder: TempDir,
    /// The login server.
    pub issuer: Issuer,
}

/// The repository.
///
/// # Panics
/// This crate has no folder above it.
#[must_use]
pub fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

impl Default for Site {
    fn default() -> Self {
        Self::new()
    }
}

impl Site {
    /// A site with keys and version 1 of the bundle.
    ///
    /// # Panics
    /// The commands refuse.
    #[must_use]
    pub fn new() -> Self {
        let site = Self { folder: tempfile::tempdir().unwrap(), issuer: Issuer::new(1) };
        site.write("jwks.json", &site.issuer.jwks());
        site.write("provider.key", PROVIDER_KEY);
        private(&site.path("provider.key"));
        site.ok(&["keys", "new", "bundle", "-o", "keys"]);
        site.publish(1);
        site
    }

    /// The folder.
    #[must_use]
    pub fn root(&self) -> &Path {
        self.folder.path()
    }

    /// A path in it.
    #[must_use]
    pub fn path(&self, name: &str) -> PathBuf {
        self.root().join(name)
    }

    /// Writes a file, and the folders that it is in.
    ///
    /// # Panics
    /// The system refuses.
    pub fn write(&self, name: &str, text: &str) {
        let path = self.path(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }

    /// Runs `lictor` in the folder.
    ///
    /// # Panics
    /// It cannot be run.
    #[must_use]
    pub fn lictor(&self, args: &[&str]) -> Ended {
        let mut command = Command::new(binary("lictor"));
        command.args(args).current_dir(self.root()).env("NO_COLOR", "1");
        for name in ["LICTOR_PDP", "LICTOR_PDP_TOKEN_FILE", "LICTOR_LOG"] {
            command.env_remove(name);
        }
        let output = command.output().unwrap();
        Ended {
            code: output.status.code().unwrap_or(-1),
            out: String::from_utf8_lossy(&output.stdout).into_owned(),
            err: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }

    /// The same for what must succeed; its standard output.
    ///
    /// # Panics
    /// It does not.
    #[track_caller]
    pub fn ok(&self, args: &[&str]) -> String {
        self.lictor(args).code(0).out
    }

    /// Copies the sources of both bundles into `source/` and gives them a version.
    ///
    /// # Panics
    /// A file cannot be read or written.
    pub fn sources(&self, version: u64) {
        for bundle in BUNDLES {
            let to = self.path("source").join(bundle);
            drop(std::fs::remove_dir_all(&to));
            copy(&repository().join("bundles").join(bundle), &to);
            let manifest = to.join(".manifest");
            let text = std::fs::read_to_string(&manifest).unwrap();
            let text = text.replace("\"version\": 1", &format!("\"version\": {version}"));
            assert!(text.contains(&format!("\"version\": {version}")), "{text}");
            std::fs::write(manifest, text).unwrap();
        }
    }

    /// Replaces text in a file; it must be there.
    ///
    /// # Panics
    /// It is not.
    pub fn edit(&self, name: &str, from: &str, to: &str) {
        let text = std::fs::read_to_string(self.path(name)).unwrap();
        assert!(text.contains(from), "`{from}` is not in {name}");
        self.write(name, &text.replace(from, to));
    }

    /// Builds `source/` and signs it as `to`.
    ///
    /// # Panics
    /// The commands refuse.
    pub fn release(&self, to: &str) {
        let [first, second] = BUNDLES.map(|name| format!("source/{name}"));
        self.ok(&["build", &first, &second, "-o", "built.tar.gz"]);
        let key = "keys/bundle.key";
        self.ok(&["sign", "built.tar.gz", "--key", key, "--scope", SCOPE, "-o", to]);
    }

    /// Makes `name` what the decision point is to serve, all at once.
    ///
    /// # Panics
    /// The system refuses.
    pub fn serve(&self, name: &str) {
        std::fs::rename(self.path(name), self.path("bundle.tar.gz")).unwrap();
    }

    /// Publishes the bundles as they are in the repository, as `version`.
    ///
    /// # Panics
    /// The commands refuse.
    pub fn publish(&self, version: u64) {
        self.sources(version);
        self.release("next.tar.gz");
        self.serve("next.tar.gz");
    }

    /// A token of `expense-report-v1` for alice.
    #[must_use]
    pub fn expense(&self) -> String {
        self.issuer.token("alice@example.com", "expense-report-v1")
    }

    /// A token of `pr-review-v1` for dave.
    #[must_use]
    pub fn review(&self) -> String {
        self.issuer.token("dave@example.com", "pr-review-v1")
    }

    /// API keys of `agent` acting for `subject`; each has a session of its own. To be made before
    /// anything that reads them starts.
    ///
    /// # Panics
    /// The command refuses.
    #[must_use]
    pub fn api_keys(&self, subject: &str, agent: &str, count: usize) -> Vec<String> {
        let subject = format!("user:{subject}");
        let store = ["keys", "issue", "--store", "api-keys.json"];
        let issue = |_| {
            let who = ["--agent", agent, "--subject", &subject];
            self.ok(&[store.as_slice(), who.as_slice()].concat()).trim().to_owned()
        };
        (0..count).map(issue).collect()
    }

    /// Verifies the audit logs in `dirs` with `lictor audit verify`, against the public keys in
    /// `keys`.
    ///
    /// # Panics
    /// They are not whole.
    #[track_caller]
    pub fn verify(&self, dirs: &[&str], keys: &[&str]) -> String {
        let mut args = vec!["audit", "verify"];
        args.extend(dirs);
        for key in keys {
            args.extend(["--key", key]);
        }
        self.ok(&args)
    }

    /// `[pdp]`, `[audit]` and `[identity]`, with any further lines of `[pdp]`. Logs go
    /// to `audit`; `api-keys.json` counts if it is there.
    #[must_use]
    pub fn common(&self, audit: &str, pdp: &str) -> String {
        let root = self.root().display();
        let store = self.path("api-keys.json");
        let api_keys = if store.exists() { format!("api_keys = {store:?}") } else { String::new() };
        format!(
            r#"
[audit]
dir = "{root}/{audit}"
deployment = "e2e"

[identity]
issuers = [{{ iss = "{ISSUER}", aud = "{AUDIENCE}", jwks = "{root}/jwks.json", algorithms = ["EdDSA"] }}]
{api_keys}

[pdp]
listen = "127.0.0.1:0"
bundle = "{root}/bundle.tar.gz"
trust_keys = ["{root}/keys/bundle.pub"]
scope = "{SCOPE}"
state_dir = "{root}/state"
poll_ms = 20
{pdp}
"#
        )
    }

    /// `[pep_mcp]` in front of `tools`, with any further lines.
    #[must_use]
    pub fn pep_mcp(&self, tools: &Upstream, more: &str) -> String {
        let address = tools.address;
        let server = |id: &str| format!(r#"{{ id = "{id}", url = "http://{address}/{id}" }}"#);
        let servers = format!("[{}, {}]", server("accounting"), server("github"));
        format!("[pep_mcp]\nlisten = \"127.0.0.1:0\"\nservers = {servers}\n{more}\n")
    }

    /// `[pep_http]` in front of `provider`, with any further lines.
    #[must_use]
    pub fn pep_http(&self, provider: &Upstream, more: &str) -> String {
        let (root, address) = (self.root().display(), provider.address);
        let upstream = format!(
            r#"{{ id = "openai", base_url = "http://{address}/v1", key_file = "{root}/provider.key" }}"#
        );
        format!("[pep_http]\nlisten = \"127.0.0.1:0\"\nupstreams = [{upstream}]\n{more}\n")
    }
}

/// Where the parts of one process are reached.
#[derive(Debug)]
pub struct Up {
    /// The process.
    pub server: Server,
    /// The decision point: `http://HOST:PORT`.
    pub pdp: String,
    /// The MCP enforcement point, below which are the servers' ids.
    pub mcp: String,
    /// The LLM enforcement point, with `/v1`.
    pub http: String,
}

impl Up {
    /// Starts `lictor up` with everything that `config` names. Both enforcement points must be in
    /// it.
    ///
    /// # Errors
    /// It ended before it was ready.
    pub async fn start(site: &Site, config: &str) -> Result<Self, String> {
        site.write("lictor.toml", config);
        let server = Server::start("lictor", &UP, site.root(), READY).await?;
        Ok(Self::of(server))
    }

    /// The same on a disk that is full for each file of more than `kib` KiB.
    ///
    /// # Errors
    /// It ended before it was ready.
    pub async fn start_cramped(site: &Site, config: &str, kib: u64) -> Result<Self, String> {
        site.write("lictor.toml", config);
        let server = Server::start_cramped("lictor", &UP, site.root(), READY, kib).await?;
        Ok(Self::of(server))
    }

    fn of(server: Server) -> Self {
        let pdp = format!("http://{}", server.address("decision point   http://"));
        let mcp = format!("http://{}/mcp", server.address(READY));
        let http = format!("http://{}/v1", server.address("LLM providers    http://"));
        Self { server, pdp, mcp, http }
    }
}

/// Makes a file its owner's alone.
fn private(path: &Path) {
    use std::os::unix::fs::PermissionsExt as _;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600)).unwrap();
}

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy(&entry.path(), &target);
        } else {
            std::fs::copy(entry.path(), target).unwrap();
        }
    }
}
