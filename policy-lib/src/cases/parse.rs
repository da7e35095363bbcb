//! A case file to its cases, or everything that is wrong with it.

use std::collections::BTreeMap;

use jiff::Timestamp;
use lictor_proto::call::Call;
use lictor_proto::facts::Facts;
use serde::Deserialize;
use serde_json::{Map, Value};

use super::place::{Places, Range};
use super::problem::Complaint;
use super::{Case, CaseFile, expect, matrix};
use crate::diagnostic::Diagnostic;

/// Largest case file, in bytes.
pub const CASE_FILE_BYTES_MAX: usize = 4 << 20;

/// Most merges (`<<`) that build upon each other.
pub const MERGE_LEVELS_MAX: usize = (1 << MERGE_PASSES) - 1;
const MERGE_PASSES: usize = 4;

/// The code of every problem of a case file.
const CODE: &str = "case_invalid";

/// How deep defaults are merged: the members of a call, and the members of those. What
/// stands deeper (arguments, claims) is taken as a whole.
const DEFAULTS_LEVELS: usize = 2;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    #[serde(default)]
    now: Option<String>,
    #[serde(default)]
    defaults: Defaults,
    #[serde(default)]
    cases: Vec<yaml_serde::Value>,
    #[serde(default)]
    matrix: Vec<yaml_serde::Value>,
}

/// What the cases of a file have in common.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Defaults {
    call: Value,
    facts: Value,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawCase {
    name: String,
    #[serde(default)]
    skip: Option<String>,
    #[serde(default)]
    now: Option<String>,
    #[serde(default)]
    call: Value,
    #[serde(default)]
    facts: Value,
    #[serde(default)]
    expect: Value,
}

/// A case before its parts are read.
#[derive(Debug, Clone)]
pub(super) struct Seed {
    pub(super) name: String,
    pub(super) range: Range,
    pub(super) skip: Option<String>,
    pub(super) now_ms: Option<i64>,
    pub(super) call: Value,
    pub(super) facts: Value,
    pub(super) expect: Value,
}

/// Reads one case file.
///
/// # Errors
/// Everything that is wrong with it, each with its place.
pub fn parse(file: &str, text: &str) -> Result<CaseFile, Vec<Diagnostic>> {
    let parsed = document(file, text).map_err(|problem| vec![problem])?;
    let mut reader = Reader {
        file,
        places: Places::of(text),
        call: parsed.defaults.call,
        facts: parsed.defaults.facts,
        now_ms: None,
        names: BTreeMap::new(),
        problems: Vec::new(),
    };
    let head = reader.places.section("now").unwrap_or_default();
    reader.now_ms = reader.moment(parsed.now.as_deref(), head, "now");
    let mut read = CaseFile::default();
    let ranges = reader.places.items("cases", parsed.cases.len());
    for (value, range) in parsed.cases.into_iter().zip(ranges) {
        read.cases.extend(reader.case(value, range));
    }
    let ranges = reader.places.items("matrix", parsed.matrix.len());
    for (value, range) in parsed.matrix.into_iter().zip(ranges) {
        matrix::read(value, range, &mut reader, &mut read);
    }
    let mut problems = reader.problems;
    problems.sort();
    problems.dedup();
    if problems.is_empty() { Ok(read) } else { Err(problems) }
}

fn document(file: &str, text: &str) -> Result<File, Diagnostic> {
    if text.len() > CASE_FILE_BYTES_MAX {
        let bytes = text.len();
        let message = format!("has {bytes} bytes, {CASE_FILE_BYTES_MAX} are allowed");
        return Err(Diagnostic::error(CODE, file, message).help("split the file"));
    }
    let placed = |error: &yaml_serde::Error| {
        let place = error.location().map(|at| (number(at.line()), number(at.column())));
        let (line, col) = place.unwrap_or_default();
        (Complaint::read(&error.to_string()), line, col)
    };
    let problem = |error: yaml_serde::Error| {
        let (complaint, line, col) = placed(&error);
        let text = text.lines().next().map_or(0, |_| 1);
        let (line, col) = if line == 0 { (text, 0) } else { (line, col) };
        Diagnostic::error(CODE, file, complaint.message).at(line, col).help(complaint.help)
    };
    let mut value: yaml_serde::Value = yaml_serde::from_str(text).map_err(problem)?;
    // `<<: *call` lets cases share what they have in common. What a merge brings in may merge
    // something itself; each pass halves how many do so upon each other.
    for _ in 0..MERGE_PASSES {
        value.apply_merge().map_err(problem)?;
    }
    yaml_serde::from_value(value).map_err(|error| {
        let complaint = Complaint::read(&error.to_string());
        let whole = Range { first: 1, last: u32::MAX };
        let member = complaint.member.as_deref();
        let place = member.and_then(|name| Places::of(text).key(name, whole));
        let (line, col) = place.unwrap_or((1, 0));
        Diagnostic::error(CODE, file, complaint.message).at(line, col).help(complaint.help)
    })
}

fn number(of: usize) -> u32 {
    u32::try_from(of).unwrap_or(u32::MAX)
}

/// Reads the parts of one file and gathers what is wrong with them.
pub(super) struct Reader<'t> {
    pub(super) file: &'t str,
    pub(super) places: Places<'t>,
    call: Value,
    facts: Value,
    pub(super) now_ms: Option<i64>,
    /// Names that are taken, with the line of their case.
    names: BTreeMap<String, u32>,
    problems: Vec<Diagnostic>,
}

impl Reader<'_> {
    /// Says what is wrong with something in `range`: at the member that it is about, or
    /// else at the first line.
    pub(super) fn complain(&mut self, range: Range, what: &str, complaint: Complaint) {
        let member = complaint.member.as_deref();
        let place = member.and_then(|name| self.places.key(name, range));
        let (line, col) = place.unwrap_or((range.first, 0));
        let message = format!("{what}: {}", complaint.message);
        let problem = Diagnostic::error(CODE, self.file, message).help(complaint.help);
        self.problems.push(problem.at(line, col));
    }

    fn case(&mut self, value: yaml_serde::Value, range: Range) -> Option<Case> {
        let raw: RawCase = match yaml_serde::from_value(value) {
            Ok(raw) => raw,
            Err(error) => {
                self.complain(range, "a case", Complaint::read(&error.to_string()));
                return None;
            }
        };
        let what = format!("case `{}`", raw.name);
        let range = self.named(range, "name");
        let now_ms = self.moment(raw.now.as_deref(), range, &what);
        self.finish(Seed {
            name: raw.name,
            range,
            skip: raw.skip,
            now_ms,
            call: raw.call,
            facts: raw.facts,
            expect: raw.expect,
        })
    }

    /// The range from the line of a member on; of a list that is written on one line it stays.
    pub(super) fn named(&self, range: Range, member: &str) -> Range {
        match self.places.key(member, range) {
            Some((line, _)) if line <= range.first.saturating_add(1) => {
                Range { first: line, ..range }
            }
            _ => range,
        }
    }

    /// A time in RFC 3339.
    pub(super) fn moment(&mut self, text: Option<&str>, range: Range, what: &str) -> Option<i64> {
        let text = text?;
        match text.parse::<Timestamp>() {
            Ok(time) => Some(time.as_millisecond()),
            Err(_) => {
                let message = format!("`{text}` is not a time in RFC 3339");
                let complaint = Complaint::new(message).about("now");
                self.complain(range, what, complaint.help("write it as `2027-01-31T09:00:00Z`"));
                None
            }
        }
    }

    /// Reads call, facts and expectation, on top of the file's defaults.
    pub(super) fn finish(&mut self, seed: Seed) -> Option<Case> {
        let what = format!("case `{}`", seed.name);
        let call = self.call_of(&seed, &what);
        let facts = self.facts_of(&seed, &what);
        let expect = expect::read(seed.expect)
            .map_err(|complaint| self.complain(seed.range, &format!("{what}: expect"), complaint))
            .ok();
        let taken = self.names.insert(seed.name.clone(), seed.range.first);
        if let Some(line) = taken {
            let complaint = Complaint::new(format!("line {line} has a case of the same name"));
            self.complain(seed.range, &what, complaint.help("rename one"));
        }
        let facts = facts?;
        if seed.now_ms.is_some() && facts.time.now_ms != 0 {
            let complaint = Complaint::new("both `now` and `facts.time` say when it happens");
            self.complain(seed.range, &what, complaint.help("remove one of them").about("now"));
        }
        Some(Case {
            file: self.file.to_owned(),
            line: seed.range.first,
            name: seed.name,
            skip: seed.skip,
            now_ms: seed.now_ms.or(self.now_ms),
            call: call?,
            facts,
            expect: expect?,
        })
    }

    fn call_of(&mut self, seed: &Seed, what: &str) -> Option<Call> {
        let value = merged(&self.call, &seed.call, DEFAULTS_LEVELS);
        let complaint = match Call::from_json(value.to_string().as_bytes()) {
            Ok(call) => return Some(call),
            Err(error) => Complaint::read(&error.to_string()),
        };
        self.complain(seed.range, &format!("{what}: call"), complaint);
        None
    }

    fn facts_of(&mut self, seed: &Seed, what: &str) -> Option<Facts> {
        let value = merged(&self.facts, &seed.facts, DEFAULTS_LEVELS);
        match serde_json::from_value(value) {
            Ok(facts) => Some(facts),
            Err(error) => {
                let complaint = Complaint::read(&error.to_string());
                self.complain(seed.range, &format!("{what}: facts"), complaint);
                None
            }
        }
    }
}

/// `over` on top of `base`: objects member by member down to `levels`, everything else
/// in its place. Nothing is an empty object.
pub(super) fn merged(base: &Value, over: &Value, levels: usize) -> Value {
    let mut result = base.as_object().cloned().unwrap_or_default();
    match over {
        Value::Null => {}
        Value::Object(members) => {
            for (name, value) in members {
                let value = match (result.get(name), value) {
                    (Some(base @ Value::Object(_)), Value::Object(_)) if levels > 1 => {
                        merged(base, value, levels - 1)
                    }
                    _ => value.clone(),
                };
                result.insert(name.clone(), value);
            }
        }
        other => return other.clone(),
    }
    Value::Object(result)
}

/// An object of one member.
pub(super) fn member(name: &str, value: Value) -> Value {
    Value::Object(Map::from_iter([(name.to_owned(), value)]))
}
