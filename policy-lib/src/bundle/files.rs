//! Names and bytes of a bundle, from an archive or a folder alike.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;

use super::error::ArchiveError;
use super::limits::Limits;
use super::name::{self, Kind};

/// The files of a bundle by name, in byte order of the names.
///
/// Every name has passed the name rules and has a place in the layout, so
/// whoever holds one need not look at names again.
#[derive(Clone, PartialEq, Eq, Default)]
pub struct Files {
    map: BTreeMap<String, Arc<[u8]>>,
}

impl Files {
    /// The files in `pairs` of name and bytes, as read from a folder. Names
    /// are relative to it, with `/` between components.
    ///
    /// # Errors
    /// The first pair that breaks a name rule or a limit.
    pub fn from_pairs<N, B>(
        pairs: impl IntoIterator<Item = (N, B)>,
        limits: &Limits,
    ) -> Result<Self, ArchiveError>
    where
        N: AsRef<[u8]>,
        B: Into<Arc<[u8]>>,
    {
        let mut collector = Collector::new(*limits);
        for (name, bytes) in pairs {
            collector.add(name.as_ref(), bytes.into())?;
        }
        Ok(collector.finish())
    }

    /// The bytes of the file `name`.
    pub fn get(&self, name: &str) -> Option<&[u8]> {
        self.map.get(name).map(AsRef::as_ref)
    }

    /// Names and bytes in byte order of the names.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Arc<[u8]>)> {
        self.map.iter().map(|(name, bytes)| (name.as_str(), bytes))
    }

    /// How many files there are.
    pub fn len(&self) -> usize {
        self.map.len()
    }

    /// Whether there is no file.
    pub fn is_empty(&self) -> bool {
        self.map.is_empty()
    }

    /// The units that have at least one policy file.
    pub fn units(&self) -> BTreeSet<&str> {
        self.map
            .keys()
            .filter_map(|name| match name::kind(name) {
                Some(Kind::Rego { unit } | Kind::Cedar { unit }) => Some(unit),
                _ => None,
            })
            .collect()
    }

    /// Puts `bytes` in the place of the file `name`. The caller knows that
    /// the name is one of the layout.
    pub(crate) fn set(&mut self, name: &str, bytes: Vec<u8>) {
        self.map.insert(name.to_owned(), bytes.into());
    }

    /// Takes the file `name` out.
    pub(crate) fn remove(&mut self, name: &str) {
        self.map.remove(name);
    }
}

/// Names and sizes only: the bytes may be policy that a log must not hold.
impl fmt::Debug for Files {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(self.map.iter().map(|(name, bytes)| (name, bytes.len()))).finish()
    }
}

/// Files by name, wherever they lie.
pub(crate) type AnyFiles = BTreeMap<String, Arc<[u8]>>;

/// Gathers files under the name rules and the limits.
pub(crate) struct Collector {
    limits: Limits,
    /// Whether files outside of the layout are taken too.
    any: bool,
    total_bytes: usize,
    /// Lower-case name to the name that was added.
    folded: BTreeMap<String, String>,
    files: Files,
}

impl Collector {
    pub(crate) fn new(limits: Limits) -> Self {
        let (folded, files) = (BTreeMap::new(), Files::default());
        Self { limits, any: false, total_bytes: 0, folded, files }
    }

    /// Takes files wherever they lie.
    pub(crate) fn any(limits: Limits) -> Self {
        Self { any: true, ..Self::new(limits) }
    }

    pub(crate) fn takes_any(&self) -> bool {
        self.any
    }

    /// Adds one file.
    pub(crate) fn add(&mut self, raw_name: &[u8], bytes: Arc<[u8]>) -> Result<(), ArchiveError> {
        let name = name::check(raw_name)?;
        if self.files.get(name).is_some() {
            return Err(ArchiveError::Duplicate { name: name.into() });
        }
        if let Some(other) = self.folded.get(&name.to_lowercase()) {
            return Err(ArchiveError::CaseDuplicate { name: name.into(), other: other.clone() });
        }
        if name == "patch.json" {
            return Err(ArchiveError::Delta);
        }
        if !self.any && name::kind(name).is_none() {
            return Err(ArchiveError::ExtraFile { name: name.into() });
        }
        self.count(name, bytes.len())?;
        self.folded.insert(name.to_lowercase(), name.to_owned());
        self.files.map.insert(name.to_owned(), bytes);
        Ok(())
    }

    pub(crate) fn finish(self) -> Files {
        self.files
    }

    pub(crate) fn finish_any(self) -> AnyFiles {
        self.files.map
    }

    fn count(&mut self, name: &str, bytes: usize) -> Result<(), ArchiveError> {
        if bytes > self.limits.file_bytes {
            return Err(ArchiveError::FileTooLarge {
                name: name.into(),
                bytes: bytes as u64,
                max: self.limits.file_bytes,
            });
        }
        self.total_bytes = self.total_bytes.saturating_add(bytes);
        if self.total_bytes > self.limits.total_bytes {
            return Err(ArchiveError::TotalTooLarge { max: self.limits.total_bytes });
        }
        if self.files.len() >= self.limits.entries {
            return Err(ArchiveError::TooManyEntries { max: self.limits.entries });
        }
        Ok(())
    }
}
