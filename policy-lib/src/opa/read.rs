//! The manifest and the data of an OPA bundle.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::{Map, Value};

use crate::bundle::AnyFiles;
use crate::diagnostic::Diagnostic;

/// Members of the data that have a meaning of their own in a bundle of ours.
const RESERVED: &[&str] = &["registry", "limits", "guardrails", "lictor"];
/// Largest data file in YAML, in bytes.
pub(super) const YAML_BYTES_MAX: usize = 4 << 20;

/// What is kept of an OPA manifest.
#[derive(Debug, Default, Deserialize)]
#[serde(default, expecting = "an object")]
pub(super) struct Manifest {
    pub(super) revision: String,
    /// What the bundle owns; everything, if it does not say.
    #[serde(default = "everything")]
    pub(super) roots: Vec<String>,
    rego_version: Option<i64>,
    file_rego_versions: BTreeMap<String, i64>,
    wasm: Vec<Value>,
    pub(super) metadata: Map<String, Value>,
}

fn everything() -> Vec<String> {
    vec![String::new()]
}

/// Reads `.manifest`, if there is one.
pub(super) fn manifest(files: &AnyFiles, problems: &mut Vec<Diagnostic>) -> Manifest {
    let mut refuse = |code, message: String, help: &str| {
        problems.push(Diagnostic::error(code, ".manifest", message).help(help));
    };
    let Some(bytes) = files.get(".manifest") else {
        return Manifest { roots: everything(), ..Manifest::default() };
    };
    let read = lictor_proto::json::scan(bytes)
        .map_err(|error| error.kind.to_string())
        .and_then(|node| if node.is_object() { Ok(()) } else { Err("it is no object".to_owned()) })
        .and_then(|()| {
            serde_json::from_slice::<Manifest>(bytes).map_err(|error| error.to_string())
        });
    let manifest = match read {
        Ok(manifest) => manifest,
        Err(message) => {
            refuse("opa_manifest", message, "see the manifest's format in OPA's documentation");
            return Manifest::default();
        }
    };
    let versions = manifest.file_rego_versions.values().copied();
    if let Some(version) = versions.chain(manifest.rego_version).find(|version| *version != 1) {
        let message = format!("the bundle is Rego v{version}, and only version 1 is evaluated");
        refuse("opa_rego_version", message, "rewrite it with `opa fmt --rego-v1`");
    }
    if !manifest.wasm.is_empty() {
        let message = "compiled policies are not evaluated".to_owned();
        refuse("opa_manifest", message, "build the bundle with `opa build -t rego`");
    }
    if manifest.metadata.contains_key("lictor") {
        let message = "the bundle has a `metadata.lictor` already".to_owned();
        refuse("opa_manifest", message, "leave `--opa` out");
    }
    manifest
}

/// Whether OPA reads the file as data.
pub(super) fn is_data(name: &str) -> bool {
    let base = name.rsplit('/').next().unwrap_or(name);
    matches!(base, "data.json" | "data.yaml" | "data.yml")
}

/// All data files merged, each at the path of its folder.
pub(super) fn data(files: &AnyFiles, problems: &mut Vec<Diagnostic>) -> Map<String, Value> {
    let mut merged = Map::new();
    for (name, bytes) in files.iter().filter(|(name, _)| is_data(name)) {
        let read = if name.ends_with(".json") { json(bytes) } else { yaml(bytes) };
        let value = match read {
            Ok(value) => value,
            Err(message) => {
                problems.push(Diagnostic::error("opa_data", name, message));
                continue;
            }
        };
        let folders: Vec<&str> = name.split('/').collect();
        let nested = folders.iter().rev().skip(1).fold(value, |value, folder| {
            Value::Object(Map::from_iter([((*folder).to_owned(), value)]))
        });
        let Value::Object(members) = nested else {
            problems.push(Diagnostic::error("opa_data", name, "the data is not an object"));
            continue;
        };
        if let Some(path) = merge(&mut merged, members, "") {
            let message = format!("`{path}` is in another data file already");
            problems
                .push(Diagnostic::error("opa_data", name, message).help("leave one of them out"));
        }
    }
    for key in RESERVED.iter().filter(|key| merged.contains_key(**key)) {
        let message = format!("`{key}` in the data has a meaning of its own here");
        let problem = Diagnostic::error("opa_data", "", message);
        problems.push(problem.help("rename it; the registry is given with `--registry FILE`"));
    }
    merged
}

/// A file given beside the bundle: a JSON object.
pub(super) fn object(
    what: &str,
    bytes: Option<&[u8]>,
    problems: &mut Vec<Diagnostic>,
) -> Option<Map<String, Value>> {
    match json(bytes?) {
        Ok(Value::Object(members)) => Some(members),
        Ok(_) => {
            let message = format!("the file of `{what}` is not a JSON object");
            problems.push(Diagnostic::error("opa_option", "", message));
            None
        }
        Err(message) => {
            let message = format!("the file of `{what}`: {message}");
            problems.push(Diagnostic::error("opa_option", "", message));
            None
        }
    }
}

fn json(bytes: &[u8]) -> Result<Value, String> {
    lictor_proto::json::scan(bytes).map_err(|error| error.kind.to_string())?;
    serde_json::from_slice(bytes).map_err(|error| error.to_string())
}

/// YAML as JSON; what JSON cannot hold exactly is refused as there.
fn yaml(bytes: &[u8]) -> Result<Value, String> {
    if bytes.len() > YAML_BYTES_MAX {
        return Err(format!("the file has {} bytes, {YAML_BYTES_MAX} are allowed", bytes.len()));
    }
    let text = std::str::from_utf8(bytes).map_err(|_| "the file is not UTF-8".to_owned())?;
    let value: Value = yaml_serde::from_str(text).map_err(|error| error.to_string())?;
    json(value.to_string().as_bytes())
}

/// Merges objects; gives the first path that both have.
fn merge(ours: &mut Map<String, Value>, theirs: Map<String, Value>, at: &str) -> Option<String> {
    let mut taken = None;
    for (key, value) in theirs {
        let path = if at.is_empty() { key.clone() } else { format!("{at}.{key}") };
        match (ours.get_mut(&key), value) {
            (None, value) => {
                ours.insert(key, value);
            }
            (Some(Value::Object(ours)), Value::Object(theirs)) => {
                taken = taken.or(merge(ours, theirs, &path));
            }
            (Some(_), _) => taken = taken.or(Some(path)),
        }
    }
    taken
}
