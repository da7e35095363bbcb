//! `lictor inspect`: what a bundle holds, without believing it.

use std::collections::BTreeMap;
use std::path::PathBuf;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use clap::Args;
use lictor_policy_lib::bundle::{Files, Kind, PermitFrom, VerifiedBundle, kind};
use lictor_policy_lib::engine::FastPath;
use lictor_policy_lib::load::{LoadedBundle, Times};
use serde_json::{Map, Value, json};
use sha2::{Digest as _, Sha256};

use crate::args::bundle;
use crate::exit::{Exit, Failure};
use crate::output::{Format, Paint, print, print_json, shown, table};
use crate::time::rfc3339;

/// The registry's maps, in the order in which they are shown.
const REGISTRY_MAPS: [&str; 7] =
    ["agents", "users", "teams", "models", "servers", "tools", "virtual_servers"];

/// Arguments of `inspect`.
#[derive(Debug, Args)]
pub(crate) struct InspectArgs {
    /// A bundle folder or archive. Signatures are shown, not checked: see
    /// `lictor verify`.
    bundle: PathBuf,
    /// How the result is told.
    #[arg(long, value_enum, default_value_t)]
    format: Format,
}

/// Runs the command.
pub(crate) fn run(args: &InspectArgs) -> Result<Exit, Failure> {
    let verified = bundle::verified(&args.bundle)?.map_err(|problems| problems.failure())?;
    let mut found = inspect(&verified);
    if let Some(members) = found.as_object_mut() {
        members.insert("rego".to_owned(), rego(verified));
    }
    match args.format {
        Format::Json => print_json(&found)?,
        Format::Pretty => print(&pretty(&found))?,
    }
    Ok(Exit::Ok)
}

fn inspect(verified: &VerifiedBundle) -> Value {
    let (manifest, files) = (verified.manifest(), verified.files());
    let units: Vec<Value> = files.units().into_iter().map(|unit| unit_of(verified, unit)).collect();
    let engines: Vec<&str> = ["rego", "cedar"]
        .into_iter()
        .filter(|engine| units.iter().any(|unit| count(unit, engine) > 0))
        .collect();
    let listed: Vec<Value> = files
        .iter()
        .map(|(name, bytes)| {
            let digest = format!("sha256:{}", hex::encode(Sha256::digest(bytes)));
            json!({"name": name, "bytes": bytes.len(), "digest": digest})
        })
        .collect();
    let data = files.get("data.json").and_then(|bytes| serde_json::from_slice(bytes).ok());
    let data: Value = data.unwrap_or_default();
    let size = |map: &str| data.pointer(map).and_then(Value::as_object).map_or(0, Map::len);
    let registry: Map<String, Value> = REGISTRY_MAPS
        .iter()
        .map(|map| ((*map).to_owned(), json!(size(&format!("/registry/{map}")))))
        .collect();
    json!({
        "name": manifest.name,
        "revision": manifest.revision,
        "version": manifest.version,
        "digest": verified.digest(),
        "not_before": manifest.not_before_ms.map(rfc3339),
        "expires": manifest.expires_ms.map(rfc3339),
        "max_staleness_s": manifest.max_staleness_s,
        "permit_from": permit_from(manifest.permit_from),
        "engines": engines,
        "units": units,
        "limits": size("/limits"),
        "registry": registry,
        "signatures": signatures(files),
        "files": listed,
    })
}

/// How Rego is evaluated, if the bundle loads and has any.
fn rego(verified: VerifiedBundle) -> Value {
    let Ok(bundle) = LoadedBundle::load(verified, Times::Ignored) else { return Value::Null };
    let mut paths = bundle.engines().iter().filter(|engine| engine.has_policies());
    match paths.find_map(|engine| engine.fast_path()) {
        None => Value::Null,
        Some(FastPath::Proved(instructions)) => {
            json!({"by": "fast path", "instructions": instructions})
        }
        Some(FastPath::Not(slow)) => {
            json!({"by": "interpreter", "because": slow.why, "at": slow.policy})
        }
    }
}

fn permit_from(from: PermitFrom) -> &'static str {
    match from {
        PermitFrom::All => "all",
        PermitFrom::Cedar => "cedar",
        PermitFrom::Rego => "rego",
        PermitFrom::Any => "any",
    }
}

fn unit_of(verified: &VerifiedBundle, unit: &str) -> Value {
    let names = || verified.files().iter().map(|(name, _)| name);
    let rego = names().filter(|n| kind(n) == Some(Kind::Rego { unit }));
    let (tests, rego): (Vec<&str>, Vec<&str>) = rego.partition(|n| n.ends_with("_test.rego"));
    let cedar = names().filter(|n| kind(n) == Some(Kind::Cedar { unit })).count();
    let scope = verified.manifest().units.get(unit).and_then(|settings| settings.scope.as_ref());
    let scope = scope.map(
        |scope| json!({"agents": scope.agents, "servers": scope.servers, "models": scope.models}),
    );
    json!({"name": unit, "rego": rego.len(), "tests": tests.len(), "cedar": cedar, "scope": scope})
}

fn count(unit: &Value, member: &str) -> u64 {
    unit.get(member).and_then(Value::as_u64).unwrap_or_default()
}

/// What the signatures say, none of it checked.
fn signatures(files: &Files) -> Vec<Value> {
    let file = files.get(".signatures.json").and_then(|bytes| serde_json::from_slice(bytes).ok());
    let file: Value = file.unwrap_or_default();
    let tokens = file.get("signatures").and_then(Value::as_array).cloned().unwrap_or_default();
    tokens.iter().filter_map(Value::as_str).map(claims_of).collect()
}

fn claims_of(token: &str) -> Value {
    let part = |index: usize| -> Value {
        let bytes = token.split('.').nth(index).and_then(|part| URL_SAFE_NO_PAD.decode(part).ok());
        bytes.and_then(|bytes| serde_json::from_slice(&bytes).ok()).unwrap_or_default()
    };
    let (header, payload) = (part(0), part(1));
    let time = |member: &str| {
        let seconds = payload.get(member).and_then(Value::as_i64);
        seconds.map(|seconds| rfc3339(seconds.saturating_mul(1000)))
    };
    json!({
        "kid": header.get("kid"), "alg": header.get("alg"), "scope": payload.get("scope"),
        "issued_at": time("iat"), "expires": time("exp"), "verified": false,
    })
}

fn text(value: &Value, pointer: &str) -> String {
    match value.pointer(pointer) {
        None | Some(Value::Null) => "-".to_owned(),
        Some(Value::String(text)) => shown(text),
        Some(other) => shown(&other.to_string()),
    }
}

fn rows(value: &Value, list: &str, columns: &[&str]) -> String {
    let mut rows = vec![columns.iter().map(|column| (*column).to_owned()).collect()];
    for item in value.get(list).and_then(Value::as_array).into_iter().flatten() {
        rows.push(columns.iter().map(|column| text(item, &format!("/{column}"))).collect());
    }
    table(&rows)
}

fn pretty(found: &Value) -> String {
    let paint = Paint::stdout();
    let mut out =
        format!("{} version {}\n", paint.bold(&text(found, "/name")), text(found, "/version"));
    for member in ["revision", "digest", "not_before", "expires", "max_staleness_s", "permit_from"]
    {
        out.push_str(&format!("{member:<16} {}\n", text(found, &format!("/{member}"))));
    }
    let counts: BTreeMap<&str, u64> = REGISTRY_MAPS
        .iter()
        .map(|map| (*map, count(found.get("registry").unwrap_or(&Value::Null), map)))
        .collect();
    let counts: Vec<String> =
        counts.iter().filter(|(_, n)| **n > 0).map(|(map, n)| format!("{n} {map}")).collect();
    out.push_str(&format!("{:<16} {}\n", "registry", counts.join(", ")));
    out.push_str(&format!("{:<16} {}\n", "limits", count(found, "limits")));
    out.push_str(&format!("{:<16} {}\n", "rego", rego_told(found)));
    out.push_str(&format!("\n{}\n", paint.bold("units")));
    out.push_str(&rows(found, "units", &["name", "rego", "tests", "cedar", "scope"]));
    out.push_str(&format!("\n{}\n", paint.bold("signatures (as stated, not checked)")));
    out.push_str(&rows(found, "signatures", &["kid", "alg", "scope", "issued_at", "expires"]));
    out.push_str(&format!("\n{}\n", paint.bold("files")));
    out.push_str(&rows(found, "files", &["name", "bytes", "digest"]));
    out
}

fn rego_told(found: &Value) -> String {
    let by = text(found, "/rego/by");
    match found.pointer("/rego/because") {
        None => by,
        Some(_) => {
            let at = found.pointer("/rego/at").and_then(Value::as_str).unwrap_or_default();
            let at = if at.is_empty() { String::new() } else { format!(" at {}", shown(at)) };
            format!("{by}, because of {}{at}", text(found, "/rego/because"))
        }
    }
}
