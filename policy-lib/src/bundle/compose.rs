//! Several folders into one bundle, every collision reported.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::fmt;

use super::build::{BuildError, build};
use super::files::Files;
use super::json::{self, Node};
use super::manifest::{Manifest, ManifestError};
use super::name::{self, Kind};

/// Sections of `data.json` whose members are ids, with the depth at which
/// the ids are. An id that two folders define collides as a whole.
const ID_SECTIONS: [(&str, usize); 2] = [("registry", 3), ("limits", 2)];

/// One folder and where it comes from.
#[derive(Debug, Clone)]
pub struct Part {
    /// What a message calls it, usually its path.
    pub origin: String,
    /// Its files.
    pub files: Files,
}

/// Something that two folders define.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Collision {
    /// What it is: `file`, `unit`, `data` or `manifest`.
    pub what: &'static str,
    /// Its name; for data a JSON pointer.
    pub id: String,
    /// The two folders, in the order in which they were given.
    pub origins: [String; 2],
}

impl fmt::Display for Collision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b] = &self.origins;
        write!(f, "{} `{}` is in `{a}` and in `{b}`", self.what, self.id)
    }
}

/// Why folders cannot be composed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ComposeError {
    /// There is no folder.
    #[error("nothing to compose: give at least one folder")]
    Nothing,
    /// A folder cannot be built by itself.
    #[error("{origin}: {source}")]
    Part {
        /// The folder.
        origin: String,
        /// What is wrong with it.
        source: BuildError,
    },
    /// Folders define the same things; all of them are here, sorted.
    #[error("{}", lines(.0))]
    Collisions(Vec<Collision>),
}

fn lines(collisions: &[Collision]) -> String {
    let lines: Vec<String> = collisions.iter().map(ToString::to_string).collect();
    lines.join("\n")
}

/// One unsigned bundle of several folders, in built form.
///
/// The first folder gives name, version, revision and `permit_from`. Units,
/// policies and cases are put together, data objects merged. The later
/// `not_before`, the earlier `expires` and the smaller `max_staleness` hold.
/// `README.md` files are appended to each other.
///
/// # Errors
/// A folder that cannot be built, or everything that two folders define.
pub fn compose(parts: Vec<Part>) -> Result<Files, ComposeError> {
    let mut merge = Merge::default();
    for (index, part) in parts.iter().enumerate() {
        merge.add(part, index == 0)?;
    }
    merge.collisions.sort();
    merge.collisions.dedup();
    if !merge.collisions.is_empty() {
        return Err(ComposeError::Collisions(merge.collisions));
    }
    let manifest = merge.manifest.ok_or(ComposeError::Nothing)?;
    let mut files = merge.files;
    files.set(name::MANIFEST, Node::Object(manifest).to_bytes());
    if let Some(data) = merge.data {
        files.set(name::DATA, data.value.to_bytes());
    }
    build(&files).map_err(|source| ComposeError::Part { origin: merge.first_origin, source })
}

/// A JSON value with the folder that each leaf and id is from.
struct Traced {
    value: Node,
    /// JSON pointer to the folder that defined it.
    origins: BTreeMap<String, String>,
}

#[derive(Default)]
struct Merge {
    first_origin: String,
    files: Files,
    /// File name to folder.
    file_origins: BTreeMap<String, String>,
    /// Unit to folder.
    unit_origins: BTreeMap<String, String>,
    manifest: Option<BTreeMap<String, Node>>,
    data: Option<Traced>,
    collisions: Vec<Collision>,
}

impl Merge {
    fn add(&mut self, part: &Part, first: bool) -> Result<(), ComposeError> {
        let refuse =
            |source: BuildError| ComposeError::Part { origin: part.origin.clone(), source };
        let built = build(&part.files).map_err(refuse)?;
        if first {
            self.first_origin.clone_from(&part.origin);
        }
        self.add_manifest(&built, &part.origin).map_err(refuse)?;
        for unit in built.units() {
            if let Some(earlier) = self.unit_origins.get(unit) {
                let origins = [earlier.clone(), part.origin.clone()];
                self.collide("unit", unit, origins);
            } else {
                self.unit_origins.insert(unit.into(), part.origin.clone());
            }
        }
        for (file, bytes) in built.iter() {
            self.add_file(file, bytes, &part.origin).map_err(refuse)?;
        }
        Ok(())
    }

    fn add_file(&mut self, file: &str, bytes: &[u8], origin: &str) -> Result<(), BuildError> {
        match name::kind(file) {
            Some(Kind::Manifest | Kind::Signatures) => return Ok(()),
            Some(Kind::Data) => {
                self.add_data(json::parse(bytes).map_err(BuildError::Data)?, origin);
                return Ok(());
            }
            Some(Kind::Readme) => {
                let earlier = self.files.get(file).map(|text| [text, b"\n"].concat());
                let text = [earlier.unwrap_or_default().as_slice(), bytes].concat();
                self.files.set(file, text);
                return Ok(());
            }
            _ => {}
        }
        if let Some(earlier) = self.file_origins.get(file) {
            let origins = [earlier.clone(), origin.to_owned()];
            self.collide("file", file, origins);
            return Ok(());
        }
        self.file_origins.insert(file.into(), origin.into());
        self.files.set(file, bytes.to_vec());
        Ok(())
    }

    fn add_data(&mut self, value: Node, origin: &str) {
        let mut origins = BTreeMap::new();
        trace(&value, "", 0, None, origin, &mut origins);
        let Some(ours) = &mut self.data else {
            self.data = Some(Traced { value, origins });
            return;
        };
        let mut merging =
            DataMerge { earlier: &ours.origins, origin, collisions: &mut self.collisions };
        merging.merge(&mut ours.value, value, "", 0, None);
        for (pointer, origin) in origins {
            ours.origins.entry(pointer).or_insert(origin);
        }
    }

    /// Merges `metadata.lictor` and `roots`; the rest is the first folder's.
    fn add_manifest(&mut self, built: &Files, origin: &str) -> Result<(), BuildError> {
        let raw = built.get(name::MANIFEST).ok_or(ManifestError::Missing)?;
        let checked = Manifest::parse(raw)?;
        let Node::Object(node) = json::parse(raw).map_err(ManifestError::Json)? else {
            return Err(ManifestError::Missing.into());
        };
        let Some(ours) = &mut self.manifest else {
            self.manifest = Some(node);
            return Ok(());
        };
        let so_far = Manifest::parse(&Node::Object(ours.clone()).to_bytes())?;
        if so_far.permit_from != checked.permit_from {
            self.collisions.push(Collision {
                what: "manifest",
                id: "permit_from".into(),
                origins: [self.first_origin.clone(), origin.to_owned()],
            });
        }
        merge_roots(ours, &node, &so_far, &checked);
        if let (Some(ours), Some(theirs)) = (lictor_mut(ours), lictor(&node)) {
            merge_units(ours, theirs);
            let later = later_of(so_far.not_before_ms, checked.not_before_ms);
            take_if(later, "not_before", ours, theirs);
            let earlier = earlier_of(so_far.expires_ms, checked.expires_ms);
            take_if(earlier, "expires", ours, theirs);
            let smaller = earlier_of(so_far.max_staleness_s, checked.max_staleness_s);
            take_if(smaller, "max_staleness", ours, theirs);
        }
        Ok(())
    }

    fn collide(&mut self, what: &'static str, id: &str, origins: [String; 2]) {
        self.collisions.push(Collision { what, id: id.to_owned(), origins });
    }
}

/// Whether the new value is to be taken because it is later.
fn later_of<T: Ord>(ours: Option<T>, theirs: Option<T>) -> bool {
    theirs > ours
}

/// Whether the new value is to be taken because it is earlier or smaller.
fn earlier_of<T: Ord>(ours: Option<T>, theirs: Option<T>) -> bool {
    match (ours, theirs) {
        (Some(ours), Some(theirs)) => theirs < ours,
        (None, theirs) => theirs.is_some(),
        (Some(_), None) => false,
    }
}

fn take_if(
    take: bool,
    field: &str,
    ours: &mut BTreeMap<String, Node>,
    theirs: &BTreeMap<String, Node>,
) {
    if let Some(value) = theirs.get(field).filter(|_| take) {
        ours.insert(field.to_owned(), value.clone());
    }
}

fn lictor(manifest: &BTreeMap<String, Node>) -> Option<&BTreeMap<String, Node>> {
    let Node::Object(metadata) = manifest.get("metadata")? else {
        return None;
    };
    match metadata.get("lictor")? {
        Node::Object(lictor) => Some(lictor),
        _ => None,
    }
}

fn lictor_mut(manifest: &mut BTreeMap<String, Node>) -> Option<&mut BTreeMap<String, Node>> {
    let Node::Object(metadata) = manifest.get_mut("metadata")? else {
        return None;
    };
    match metadata.get_mut("lictor")? {
        Node::Object(lictor) => Some(lictor),
        _ => None,
    }
}

/// Settings of one unit from two folders need no report of their own: a
/// folder has settings only for units of its own, and those have collided.
fn merge_units(ours: &mut BTreeMap<String, Node>, theirs: &BTreeMap<String, Node>) {
    let Some(Node::Object(new)) = theirs.get("units") else {
        return;
    };
    let units = ours.entry("units".to_owned()).or_insert_with(|| Node::Object(BTreeMap::new()));
    if let Node::Object(units) = units {
        for (unit, settings) in new {
            units.entry(unit.clone()).or_insert_with(|| settings.clone());
        }
    }
}

/// A folder without roots owns everything, and so does the whole.
fn merge_roots(
    ours: &mut BTreeMap<String, Node>,
    theirs: &BTreeMap<String, Node>,
    so_far: &Manifest,
    checked: &Manifest,
) {
    if so_far.roots.is_none() || checked.roots.is_none() {
        ours.remove("roots");
        return;
    }
    if let (Some(Node::Array(ours)), Some(Node::Array(theirs))) =
        (ours.get_mut("roots"), theirs.get("roots"))
    {
        for root in theirs {
            if !ours.contains(root) {
                ours.push(root.clone());
            }
        }
    }
}

/// The depth of ids below the member `key` of the top-level object.
fn id_depth(key: &str) -> Option<usize> {
    ID_SECTIONS.iter().find(|(section, _)| *section == key).map(|(_, depth)| *depth)
}

/// Notes which folder every leaf and every id of `value` is from.
fn trace(
    value: &Node,
    pointer: &str,
    depth: usize,
    ids_at: Option<usize>,
    origin: &str,
    out: &mut BTreeMap<String, String>,
) {
    out.insert(pointer.to_owned(), origin.to_owned());
    if ids_at == Some(depth) {
        return;
    }
    if let Node::Object(members) = value {
        for (key, member) in members {
            let ids_at = if depth == 0 { id_depth(key) } else { ids_at };
            trace(member, &child(pointer, key), depth + 1, ids_at, origin, out);
        }
    }
}

/// The JSON pointer of the member `key`.
fn child(pointer: &str, key: &str) -> String {
    format!("{pointer}/{}", key.replace('~', "~0").replace('/', "~1"))
}

struct DataMerge<'a> {
    earlier: &'a BTreeMap<String, String>,
    origin: &'a str,
    collisions: &'a mut Vec<Collision>,
}

impl DataMerge<'_> {
    /// Merges objects member by member; everything else, and every id that
    /// both have, collides.
    fn merge(
        &mut self,
        ours: &mut Node,
        theirs: Node,
        pointer: &str,
        depth: usize,
        ids_at: Option<usize>,
    ) {
        let is_id = ids_at == Some(depth);
        let (Node::Object(ours), Node::Object(theirs), false) = (ours, theirs, is_id) else {
            self.collide(pointer);
            return;
        };
        for (key, value) in theirs {
            let ids_at = if depth == 0 { id_depth(&key) } else { ids_at };
            let path = child(pointer, &key);
            match ours.entry(key) {
                Entry::Vacant(slot) => {
                    slot.insert(value);
                }
                Entry::Occupied(mut slot) => {
                    self.merge(slot.get_mut(), value, &path, depth + 1, ids_at);
                }
            }
        }
    }

    fn collide(&mut self, pointer: &str) {
        let earlier = self.earlier.get(pointer).cloned().unwrap_or_default();
        self.collisions.push(Collision {
            what: "data",
            id: pointer.to_owned(),
            origins: [earlier, self.origin.to_owned()],
        });
    }
}
