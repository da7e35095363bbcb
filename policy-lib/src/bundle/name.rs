//! Which names the entries of a bundle may have.
//!
//! A name is compared byte for byte by the signature, so two names that one
//! reader takes for the same file and another does not are refused here.

use std::fmt::Write as _;

/// The manifest's entry name.
pub(crate) const MANIFEST: &str = ".manifest";
/// The signature file's entry name.
pub(crate) const SIGNATURES: &str = ".signatures.json";
/// The data file's entry name.
pub(crate) const DATA: &str = "data.json";
/// The entry name of the page that says what the bundle is for.
pub(crate) const README: &str = "README.md";
/// Bytes of a tar header's name field.
pub(crate) const TAR_NAME_BYTES: usize = 100;
/// Bytes of a tar header's prefix field.
pub(crate) const TAR_PREFIX_BYTES: usize = 155;
/// Characters of a refused name that a message shows.
const SHOWN_NAME_CHARS: usize = 120;

/// What an entry of a bundle is, by its name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind<'a> {
    /// `.manifest`.
    Manifest,
    /// `.signatures.json`.
    Signatures,
    /// `rego/<unit>/**/*.rego`.
    Rego {
        /// The unit that the module belongs to.
        unit: &'a str,
    },
    /// `cedar/<unit>.cedar`.
    Cedar {
        /// The unit that the policies belong to.
        unit: &'a str,
    },
    /// `cedar/schema.cedarschema`.
    CedarSchema,
    /// `cedar/entities.json`.
    CedarEntities,
    /// `data.json`.
    Data,
    /// `cases/*.yaml`.
    Cases,
    /// `README.md`.
    Readme,
}

/// Why a name is refused. `name` is shortened and escaped for display.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    /// The name, or the unused part of its header field, holds a NUL.
    #[error("entry `{name}` has a NUL byte in its name: rename it")]
    Nul {
        /// The name.
        name: String,
    },
    /// The name is not UTF-8.
    #[error("entry `{name}` has a name that is not UTF-8: rename it")]
    Utf8 {
        /// The name.
        name: String,
    },
    /// The name has a control, direction or zero-width character.
    #[error("entry `{name}` has a control or invisible character in its name: rename it")]
    Control {
        /// The name.
        name: String,
    },
    /// The name has a backslash.
    #[error("entry `{name}` has a backslash in its name: write `/` between folders")]
    Backslash {
        /// The name.
        name: String,
    },
    /// The path is absolute past the one slash that OPA writes.
    #[error("entry `{name}` has an absolute path: name it relative to the bundle")]
    Absolute {
        /// The name.
        name: String,
    },
    /// A component is `..`.
    #[error("entry `{name}` leaves the bundle through `..`: name it without")]
    Parent {
        /// The name.
        name: String,
    },
    /// A component is `.`.
    #[error("entry `{name}` has a `.` component: pack the files without `./`")]
    Dot {
        /// The name.
        name: String,
    },
    /// A component, or the whole name, is empty.
    #[error("entry `{name}` has an empty component in its name: rename it")]
    Empty {
        /// The name.
        name: String,
    },
    /// The name does not fit the name fields of a tar header.
    #[error(
        "entry `{name}` is too long: at most {TAR_NAME_BYTES} bytes after a folder path of at most {TAR_PREFIX_BYTES}"
    )]
    TooLong {
        /// The name.
        name: String,
    },
}

impl NameError {
    /// The stable id of this refusal.
    pub fn id(&self) -> &'static str {
        match self {
            Self::Nul { .. } => "bundle_name_nul",
            Self::Utf8 { .. } => "bundle_name_utf8",
            Self::Control { .. } => "bundle_name_control",
            Self::Backslash { .. } => "bundle_name_backslash",
            Self::Absolute { .. } => "bundle_name_absolute",
            Self::Parent { .. } => "bundle_name_parent",
            Self::Dot { .. } => "bundle_name_dot",
            Self::Empty { .. } => "bundle_name_empty",
            Self::TooLong { .. } => "bundle_name_too_long",
        }
    }
}

/// What the entry `name` is, or `None` where a bundle has no such entry.
pub fn kind(name: &str) -> Option<Kind<'_>> {
    match name {
        MANIFEST => return Some(Kind::Manifest),
        SIGNATURES => return Some(Kind::Signatures),
        DATA => return Some(Kind::Data),
        README => return Some(Kind::Readme),
        "cedar/schema.cedarschema" => return Some(Kind::CedarSchema),
        "cedar/entities.json" => return Some(Kind::CedarEntities),
        _ => {}
    }
    let (top, rest) = name.split_once('/')?;
    match top {
        "rego" => {
            let (unit, path) = rest.split_once('/')?;
            let file = path.rsplit('/').next()?;
            let named = file.strip_suffix(".rego").is_some_and(|s| !s.is_empty());
            (is_unit_name(unit) && named).then_some(Kind::Rego { unit })
        }
        "cedar" => {
            let unit = rest.strip_suffix(".cedar")?;
            is_unit_name(unit).then_some(Kind::Cedar { unit })
        }
        "cases" => {
            let stem = rest.strip_suffix(".yaml")?;
            (!stem.is_empty() && !stem.contains('/')).then_some(Kind::Cases)
        }
        _ => None,
    }
}

/// Whether `name` may name a unit: `[a-z][a-z0-9_]*`.
pub fn is_unit_name(name: &str) -> bool {
    name.starts_with(|c: char| c.is_ascii_lowercase())
        && name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_')
}

/// Whether a folder entry of this name has a place in the layout.
pub(crate) fn is_known_folder(name: &str) -> bool {
    match name.split_once('/') {
        None => matches!(name, "rego" | "cedar" | "cases"),
        Some(("rego", rest)) => rest.split('/').next().is_some_and(is_unit_name),
        Some(_) => false,
    }
}

/// The entry name in `raw`, without the one leading slash that OPA writes.
///
/// # Errors
/// Every name that two readers could understand differently.
pub(crate) fn check(raw: &[u8]) -> Result<&str, NameError> {
    let name = shown(raw);
    if raw.contains(&0) {
        return Err(NameError::Nul { name });
    }
    let Ok(text) = std::str::from_utf8(raw) else {
        return Err(NameError::Utf8 { name });
    };
    let text = text.strip_prefix('/').unwrap_or(text);
    if text.starts_with('/') {
        return Err(NameError::Absolute { name });
    }
    if text.chars().any(is_invisible) {
        return Err(NameError::Control { name });
    }
    if text.contains('\\') {
        return Err(NameError::Backslash { name });
    }
    for component in text.split('/') {
        match component {
            "" => return Err(NameError::Empty { name }),
            "." => return Err(NameError::Dot { name }),
            ".." => return Err(NameError::Parent { name }),
            _ => {}
        }
    }
    if tar_split(text).is_none() {
        return Err(NameError::TooLong { name });
    }
    Ok(text)
}

/// The prefix and name fields of a tar header for `name`; `None` where it
/// does not fit.
pub(crate) fn tar_split(name: &str) -> Option<(&str, &str)> {
    if name.len() <= TAR_NAME_BYTES {
        return Some(("", name));
    }
    name.match_indices('/')
        .filter_map(|(at, _)| Some((name.get(..at)?, name.get(at + 1..)?)))
        .find(|(_, rest)| rest.len() <= TAR_NAME_BYTES)
        .filter(|(prefix, _)| prefix.len() <= TAR_PREFIX_BYTES)
}

/// `raw` for a message: escaped, and no longer than a line.
pub(crate) fn shown(raw: &[u8]) -> String {
    let text = String::from_utf8_lossy(raw);
    let mut out = String::new();
    for c in text.chars().take(SHOWN_NAME_CHARS) {
        if is_invisible(c) || c == '`' {
            // Writing to a string cannot fail.
            let _ = write!(out, "{}", c.escape_unicode());
        } else {
            out.push(c);
        }
    }
    if text.chars().nth(SHOWN_NAME_CHARS).is_some() {
        out.push('…');
    }
    out
}

/// Characters that a reader cannot see: controls, line and paragraph
/// separators, direction marks, zero-width characters.
fn is_invisible(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{ad}' | '\u{61c}' | '\u{feff}')
        || matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}')
}
