//! From an author's files to the ones that are signed.

use super::files::Files;
use super::json::{self, JsonError, Node};
use super::manifest::{Manifest, ManifestError};
use super::name;

/// Why files cannot be built.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BuildError {
    /// The manifest is refused.
    #[error(transparent)]
    Manifest(#[from] ManifestError),
    /// `data.json` is not strict JSON.
    #[error("data.json: {0}")]
    Data(JsonError),
    /// `data.json` is not an object.
    #[error("data.json: has to be an object, `{{}}` at least")]
    DataNotObject,
}

/// `files` with `data.json` and `.manifest` in OPA's structured form: compact
/// JSON, keys sorted by bytes, numbers as written. OPA hashes that form, so
/// every hash is over raw bytes for both. What comes out is unsigned.
///
/// # Errors
/// A manifest or data that is refused.
pub fn build(files: &Files) -> Result<Files, BuildError> {
    let raw = files.get(name::MANIFEST).ok_or(ManifestError::Missing)?;
    Manifest::parse(raw)?.check_units(files)?;
    let manifest = json::parse(raw).map_err(ManifestError::Json)?;
    let mut built = files.clone();
    built.remove(name::SIGNATURES);
    built.set(name::MANIFEST, manifest.to_bytes());
    if let Some(raw) = files.get(name::DATA) {
        let data = json::parse(raw).map_err(BuildError::Data)?;
        if !matches!(data, Node::Object(_)) {
            return Err(BuildError::DataNotObject);
        }
        built.set(name::DATA, data.to_bytes());
    }
    Ok(built)
}
