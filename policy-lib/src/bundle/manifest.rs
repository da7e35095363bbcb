//! `.manifest`: OPA's fields and `metadata.lictor`.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::files::Files;
use super::json::{self, JsonError};
use super::name;

/// Largest `.manifest`, in bytes.
pub(crate) const MANIFEST_BYTES_MAX: usize = 1 << 20;
/// Highest version: the largest whole number that every JSON reader keeps.
pub(crate) const VERSION_MAX: u64 = (1 << 53) - 1;
/// Longest bundle name and revision, in bytes.
pub(crate) const LABEL_BYTES_MAX: usize = 128;
/// The only Rego version.
const REGO_VERSION: i64 = 1;

/// Why a `.manifest` is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ManifestError {
    /// There is none.
    #[error("the bundle has no `.manifest`: add one with `metadata.lictor` `name` and `version`")]
    Missing,
    /// It is too large.
    #[error(".manifest: has {bytes} bytes, {MANIFEST_BYTES_MAX} are allowed")]
    TooLarge {
        /// Its size, in bytes.
        bytes: usize,
    },
    /// It is not strict JSON of the expected form.
    #[error(".manifest: {0}")]
    Json(#[from] JsonError),
    /// `rego_version` is not 1.
    #[error(".manifest: `rego_version` is {found}: only version 1 is evaluated")]
    RegoVersion {
        /// What it is.
        found: i64,
    },
    /// A value is out of its range.
    #[error(".manifest: `{field}` is `{value}`: give {expected}")]
    Value {
        /// The field.
        field: &'static str,
        /// What it holds.
        value: String,
        /// What it may hold.
        expected: &'static str,
    },
    /// `roots` overlap.
    #[error(".manifest: the roots `{a}` and `{b}` overlap: keep the shorter one")]
    Roots {
        /// The shorter root.
        a: String,
        /// The longer root.
        b: String,
    },
    /// A unit's name is not one.
    #[error(".manifest: `{unit}` in `units` is not a unit name: use `[a-z][a-z0-9_]*`")]
    UnitName {
        /// The name.
        unit: String,
    },
    /// There are settings for a unit without policies: were it a slip of the
    /// pen, the unit that was meant would go without them.
    #[error(".manifest: the unit `{unit}` in `units` has no policy file: rename or remove it")]
    UnitUnknown {
        /// The unit.
        unit: String,
    },
}

impl ManifestError {
    /// The stable id of this refusal.
    pub fn id(&self) -> &'static str {
        match self {
            Self::Missing => "bundle_manifest_missing",
            Self::TooLarge { .. } => "bundle_manifest_too_large",
            Self::Json(_) => "bundle_manifest_invalid",
            Self::RegoVersion { .. } => "bundle_rego_version",
            Self::Value { .. } => "bundle_manifest_value",
            Self::Roots { .. } => "bundle_roots_overlap",
            Self::UnitName { .. } => "bundle_unit_name",
            Self::UnitUnknown { .. } => "bundle_unit_unknown",
        }
    }
}

/// Which engines must permit a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PermitFrom {
    /// Every engine that has policies in the bundle.
    #[default]
    All,
    /// Cedar alone.
    Cedar,
    /// Rego alone.
    Rego,
    /// Any one of them.
    Any,
}

/// Where a unit's permits hold. A member that is absent does not narrow; an
/// empty list holds nowhere. Denials hold everywhere.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Scope {
    /// Agent ids.
    #[serde(default)]
    pub agents: Option<Vec<String>>,
    /// Server ids.
    #[serde(default)]
    pub servers: Option<Vec<String>>,
    /// Model ids.
    #[serde(default)]
    pub models: Option<Vec<String>>,
}

/// What the manifest says about one unit.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Unit {
    /// Where its permits hold; `None` is everywhere.
    #[serde(default)]
    pub scope: Option<Scope>,
}

/// A `.manifest` whose every value was checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Manifest {
    /// OPA's revision: free text, empty if absent.
    pub revision: String,
    /// OPA's roots, as written; `None` owns everything.
    pub roots: Option<Vec<String>>,
    /// The bundle's name.
    pub name: String,
    /// The bundle's version, which only rises; from 1.
    pub version: u64,
    /// Not valid before this time, in Unix milliseconds.
    pub not_before_ms: Option<i64>,
    /// Not valid from this time on, in Unix milliseconds.
    pub expires_ms: Option<i64>,
    /// How old the newest signed statement may be, in seconds.
    pub max_staleness_s: Option<u64>,
    /// Which engines must permit.
    pub permit_from: PermitFrom,
    /// Settings of units by name.
    pub units: BTreeMap<String, Unit>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, expecting = "an object")]
struct Wire {
    #[serde(default)]
    revision: String,
    #[serde(default)]
    roots: Option<Vec<String>>,
    #[serde(default)]
    rego_version: Option<i64>,
    metadata: WireMetadata,
}

/// OPA leaves `metadata` free, so members of others are passed over.
#[derive(Deserialize)]
#[serde(expecting = "an object")]
struct WireMetadata {
    lictor: WireLictor,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, expecting = "an object")]
struct WireLictor {
    name: String,
    version: serde_json::Number,
    #[serde(default)]
    not_before: Option<String>,
    #[serde(default)]
    expires: Option<String>,
    #[serde(default)]
    max_staleness: Option<serde_json::Number>,
    #[serde(default)]
    permit_from: PermitFrom,
    #[serde(default)]
    units: BTreeMap<String, Unit>,
}

impl Manifest {
    /// The manifest in the bytes of a `.manifest`.
    ///
    /// # Errors
    /// JSON that is not strict, unknown members, values out of range.
    pub fn parse(bytes: &[u8]) -> Result<Self, ManifestError> {
        if bytes.len() > MANIFEST_BYTES_MAX {
            return Err(ManifestError::TooLarge { bytes: bytes.len() });
        }
        let wire: Wire = json::from_slice(bytes)?;
        if let Some(found) = wire.rego_version.filter(|found| *found != REGO_VERSION) {
            return Err(ManifestError::RegoVersion { found });
        }
        check_roots(wire.roots.as_deref().unwrap_or_default())?;
        check_label("revision", &wire.revision, 0)?;
        let ours = wire.metadata.lictor;
        check_label("name", &ours.name, 1)?;
        if let Some(unit) = ours.units.keys().find(|unit| !name::is_unit_name(unit)) {
            return Err(ManifestError::UnitName { unit: unit.clone() });
        }
        let not_before_ms = time("not_before", ours.not_before.as_deref())?;
        let expires_ms = time("expires", ours.expires.as_deref())?;
        if let (Some(from), Some(until)) = (not_before_ms, expires_ms)
            && until <= from
        {
            return Err(value_error(
                "expires",
                ours.expires.unwrap_or_default(),
                "a time after `not_before`",
            ));
        }
        Ok(Self {
            revision: wire.revision,
            roots: wire.roots,
            name: ours.name,
            version: whole("version", &ours.version)?,
            not_before_ms,
            expires_ms,
            max_staleness_s: match ours.max_staleness {
                Some(seconds) => Some(whole("max_staleness", &seconds)?),
                None => None,
            },
            permit_from: ours.permit_from,
            units: ours.units,
        })
    }

    /// Checks that every unit with settings has policies in `files`.
    pub(crate) fn check_units(&self, files: &Files) -> Result<(), ManifestError> {
        let units = files.units();
        match self.units.keys().find(|unit| !units.contains(unit.as_str())) {
            Some(unit) => Err(ManifestError::UnitUnknown { unit: unit.clone() }),
            None => Ok(()),
        }
    }
}

fn value_error(field: &'static str, value: String, expected: &'static str) -> ManifestError {
    ManifestError::Value { field, value: name::shown(value.as_bytes()), expected }
}

fn whole(field: &'static str, number: &serde_json::Number) -> Result<u64, ManifestError> {
    number.as_u64().filter(|number| (1..=VERSION_MAX).contains(number)).ok_or_else(|| {
        value_error(field, number.to_string(), "a whole number from 1 to 9007199254740991")
    })
}

fn time(field: &'static str, text: Option<&str>) -> Result<Option<i64>, ManifestError> {
    let Some(text) = text else { return Ok(None) };
    match text.parse::<jiff::Timestamp>() {
        Ok(time) => Ok(Some(time.as_millisecond())),
        Err(_) => Err(value_error(field, text.to_owned(), "a time like `2026-01-31T12:00:00Z`")),
    }
}

fn check_label(field: &'static str, text: &str, min: usize) -> Result<(), ManifestError> {
    let fits = (min..=LABEL_BYTES_MAX).contains(&text.len());
    if fits && !text.chars().any(char::is_control) {
        return Ok(());
    }
    Err(value_error(field, text.to_owned(), "a line of text of at most 128 bytes"))
}

/// Two roots overlap where one is the other or a folder above it.
fn check_roots(roots: &[String]) -> Result<(), ManifestError> {
    let mut parts: Vec<Vec<&str>> = roots
        .iter()
        .map(|root| root.split('/').filter(|part| !part.is_empty()).collect())
        .collect();
    // Sorted, a root stands directly before the first one below it.
    parts.sort();
    for (a, b) in parts.iter().zip(parts.iter().skip(1)) {
        if b.starts_with(a) {
            return Err(ManifestError::Roots { a: a.join("/"), b: b.join("/") });
        }
    }
    Ok(())
}
