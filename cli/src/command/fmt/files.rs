//! Which files are formatted. A folder gives every file below it that has a layout; what has none
//! is passed over there, and refused where it is named by itself.

use std::fs;
use std::path::{Path, PathBuf};

use clap::ValueEnum;

use crate::exit::{Failure, io};

/// What a file is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum Kind {
    /// Cedar policies.
    Cedar,
    /// A Cedar schema.
    Cedarschema,
    /// JSON: `data.json`, `.manifest`, Cedar's `entities.json`.
    Json,
}

/// A file to format.
#[derive(Debug)]
pub(super) struct Place {
    pub(super) path: PathBuf,
    pub(super) kind: Kind,
}

impl Kind {
    /// What a file of this name is in a bundle.
    fn of(path: &Path) -> Option<Self> {
        let name = path.file_name()?.to_str()?;
        match name {
            "data.json" | ".manifest" | "entities.json" => Some(Self::Json),
            _ => match path.extension()?.to_str()? {
                "cedar" => Some(Self::Cedar),
                "cedarschema" => Some(Self::Cedarschema),
                _ => None,
            },
        }
    }
}

/// The files at or below `paths`, each once, in the order of their names.
///
/// # Errors
/// What cannot be read, and a file by itself that has no layout.
pub(super) fn find(paths: &[PathBuf]) -> Result<Vec<Place>, Failure> {
    let mut found = Vec::new();
    for path in paths {
        let metadata = fs::metadata(path).map_err(|error| io("read", path, error))?;
        if metadata.is_dir() {
            below(path, &mut found)?;
        } else {
            found.push(named(path)?);
        }
    }
    found.sort_by(|one: &Place, other| one.path.cmp(&other.path));
    found.dedup_by(|one, other| one.path == other.path);
    Ok(found)
}

fn named(path: &Path) -> Result<Place, Failure> {
    if let Some(kind) = Kind::of(path) {
        return Ok(Place { path: path.to_owned(), kind });
    }
    let extension = path.extension().and_then(|extension| extension.to_str()).unwrap_or_default();
    let failure = Failure::usage(format!("`{}` has no layout of ours", path.display()));
    Err(match extension {
        "rego" => failure.help("Rego is left to `opa fmt`"),
        "yaml" | "yml" => failure.help("YAML is left alone: comments and anchors would be lost"),
        "json" => failure.help("give it on standard input: `lictor fmt --stdin json < FILE`"),
        "gz" | "tgz" => failure.help("format the folder that the archive is built of"),
        _ => failure.help("*.cedar, *.cedarschema, data.json, entities.json and .manifest have"),
    })
}

/// Links and what else begins with a dot are passed over, as in a bundle's folder.
fn below(root: &Path, found: &mut Vec<Place>) -> Result<(), Failure> {
    let mut folders = vec![root.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).map_err(|error| io("read", &folder, error))? {
            let entry = entry.map_err(|error| io("read", &folder, error))?;
            let path = entry.path();
            let kind = entry.file_type().map_err(|error| io("read", &path, error))?;
            let hidden = entry.file_name().to_string_lossy().starts_with('.');
            if kind.is_dir() && !hidden {
                folders.push(path);
            } else if kind.is_file()
                && (!hidden || entry.file_name() == ".manifest")
                && let Some(kind) = Kind::of(&path)
            {
                found.push(Place { path, kind });
            }
        }
    }
    Ok(())
}
