//! An OPA bundle -> a bundle of ours.
//!
//! Its policies keep their packages, its data keeps its paths. What is added is a
//! unit that asks the decision, a registry, and a manifest.
//!
//! # Layout, in the order that data flows
//!
//! - this file: [`OpaBundle`], [`Options`], and the conversion.
//! - `read`: the manifest and the data of an OPA bundle.
//! - `adapter`: the unit `lictor.opa`, as Rego text.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::{Map, Value, json};

use crate::bundle::{AnyFiles, ArchiveError, Collector, Files, Limits, read_any_archive};
use crate::diagnostic::{Diagnostic, Level};
use crate::rego::negation;

mod adapter;
mod read;
#[cfg(test)]
mod tests;

/// Folder of a converted bundle that holds the policies as they were.
pub const FOLDER: &str = "rego/opa/bundle/";
/// Most files that are named as left out.
const MAX_TOLD: usize = 100;

/// The files of an OPA bundle, nothing about them believed yet.
#[derive(Clone, Default)]
pub struct OpaBundle {
    files: AnyFiles,
}

/// Names and sizes only: the bytes may be policy that a log must not hold.
impl std::fmt::Debug for OpaBundle {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_map().entries(self.files.iter().map(|(name, bytes)| (name, bytes.len()))).finish()
    }
}

impl OpaBundle {
    /// The files of a folder, names relative to it.
    ///
    /// # Errors
    /// The first name or limit that no bundle may have.
    pub fn from_pairs<N: AsRef<[u8]>, B: Into<Arc<[u8]>>>(
        pairs: impl IntoIterator<Item = (N, B)>,
        limits: &Limits,
    ) -> Result<Self, ArchiveError> {
        let mut collector = Collector::any(*limits);
        for (name, bytes) in pairs {
            collector.add(name.as_ref(), bytes.into())?;
        }
        Ok(Self { files: collector.finish_any() })
    }

    /// The files of a `.tar.gz`, as `opa build` makes it.
    ///
    /// # Errors
    /// The first entry, limit or byte that no bundle may have.
    pub fn from_archive(archive: &[u8], limits: &Limits) -> Result<Self, ArchiveError> {
        read_any_archive(archive, limits).map(|files| Self { files })
    }
}

/// What an OPA bundle does not say itself.
#[derive(Debug, Clone)]
pub struct Options<'a> {
    /// The decision, as OPA's API names it: `authz/allow`.
    pub entrypoint: &'a str,
    /// Name of the bundle.
    pub name: &'a str,
    /// Version of the bundle, from 1.
    pub version: u64,
    /// The registry, a JSON object as `data.registry`; empty without one, and then
    /// every call is denied.
    pub registry: Option<&'a [u8]>,
    /// The input that the policies expect: a JSON object whose texts that begin with
    /// `input.` are read from the call. Without one they see the call itself.
    pub input: Option<&'a [u8]>,
}

/// A converted bundle.
#[derive(Debug, Clone)]
pub struct Converted {
    /// Its files, unsigned.
    pub files: Files,
    /// What was left out, and what means something else here.
    pub warnings: Vec<Diagnostic>,
}

/// Converts `bundle`. What comes out has to pass the load checks like any other.
///
/// # Errors
/// Everything that stands in the way, each by name.
pub fn convert(bundle: &OpaBundle, options: &Options<'_>) -> Result<Converted, Vec<Diagnostic>> {
    let mut problems = Vec::new();
    let manifest = read::manifest(&bundle.files, &mut problems);
    let data = read::data(&bundle.files, &mut problems);
    let registry = read::object("--registry", options.registry, &mut problems);
    let input = read::object("--input", options.input, &mut problems);
    let policies = policies(&bundle.files, &mut problems);
    let adapter = adapter::text(options.entrypoint, input.as_ref(), &mut problems);
    check_roots(&manifest.roots, &data, &mut problems);
    let texts: Vec<(&str, &str)> =
        policies.iter().map(|(name, text)| (name.as_str(), text.as_str())).collect();
    problems.extend(negation::check(&texts));
    problems.sort();
    if problems.iter().any(|problem| problem.level == Level::Error) {
        return Err(problems);
    }
    let mut pairs: Vec<(String, Vec<u8>)> = vec![
        (".manifest".to_owned(), written(&manifest_of(&manifest, options))),
        ("data.json".to_owned(), data_of(data, registry)),
        ("rego/opa/adapter.rego".to_owned(), adapter.into_bytes()),
    ];
    pairs.extend(policies.into_iter().map(|(name, text)| (name, text.into_bytes())));
    let files = Files::from_pairs(pairs, &Limits::default())
        .map_err(|error| vec![Diagnostic::error(error.id(), "", error.to_string())])?;
    Ok(Converted { files, warnings: problems })
}

/// The policies under their new names. Other files are left out, and named.
fn policies(files: &AnyFiles, problems: &mut Vec<Diagnostic>) -> Vec<(String, String)> {
    let mut found = Vec::new();
    let mut left_out = 0usize;
    for (name, bytes) in files {
        if name.ends_with(".rego") {
            match std::str::from_utf8(bytes) {
                Ok(text) => found.push((format!("{FOLDER}{name}"), text.to_owned())),
                Err(_) => {
                    problems.push(Diagnostic::error("opa_file", name, "the file is not UTF-8"))
                }
            }
        } else if name == ".signatures.json" {
            let message = "the signatures are not checked, and not kept";
            let problem = Diagnostic::warning("opa_signatures", name, message);
            problems.push(
                problem.help(
                    "verify the bundle with `opa` before, sign the new one with `lictor sign`",
                ),
            );
        } else if name.ends_with(".wasm") || name == "plan.json" {
            let message = "compiled policies are not evaluated";
            let problem = Diagnostic::error("opa_file", name, message);
            problems.push(problem.help("build the bundle with `opa build -t rego`"));
        } else if !read::is_data(name) && name != ".manifest" {
            left_out += 1;
            if left_out <= MAX_TOLD {
                let message = "the file is left out: OPA does not load it either";
                problems.push(Diagnostic::warning("opa_file", name, message));
            }
        }
    }
    if left_out > MAX_TOLD {
        let message = format!("{} more files are left out", left_out - MAX_TOLD);
        problems.push(Diagnostic::warning("opa_file", "", message));
    }
    if found.is_empty() {
        problems.push(Diagnostic::error("opa_file", "", "the bundle has no `.rego` file"));
    }
    found
}

/// Data has to lie under the roots. (Packages are checked by OPA when it builds.)
fn check_roots(roots: &[String], data: &Map<String, Value>, problems: &mut Vec<Diagnostic>) {
    if roots.iter().any(String::is_empty) {
        return;
    }
    for key in data.keys() {
        let owned = roots.iter().any(|root| root.split('/').next() == Some(key.as_str()));
        if !owned {
            let message = format!("`{key}` in the data lies outside of the bundle's roots");
            problems.push(
                Diagnostic::error("opa_roots", ".manifest", message).help("add it to `roots`"),
            );
        }
    }
}

fn manifest_of(manifest: &read::Manifest, options: &Options<'_>) -> Value {
    let mut metadata = manifest.metadata.clone();
    metadata.insert("lictor".to_owned(), json!({"name": options.name, "version": options.version}));
    json!({"revision": manifest.revision, "metadata": metadata})
}

fn data_of(mut data: Map<String, Value>, registry: Option<Map<String, Value>>) -> Vec<u8> {
    data.insert("registry".to_owned(), Value::Object(registry.unwrap_or_default()));
    written(&Value::Object(data))
}

/// Compact JSON, keys sorted, as bundles are built.
fn written(value: &Value) -> Vec<u8> {
    let sorted: BTreeMap<&String, &Value> = value.as_object().into_iter().flatten().collect();
    json!(sorted).to_string().into_bytes()
}
