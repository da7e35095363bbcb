//! Tables of agents × actions × what must come out.
//!
//! A cell that is not written is an error, never a silent denial; and a table that says
//! it is `complete` fails as soon as the registry has an entry that it lacks.

use std::collections::{BTreeMap, BTreeSet};

use lictor_proto::call::ResourceKind;
use serde::Deserialize;
use serde_json::{Value, json};
use yaml_serde::{Mapping, Value as Yaml};

use super::parse::{Reader, Seed, member, merged};
use super::place::Range;
use super::problem::Complaint;
use super::{Case, CaseFile};
use crate::diagnostic::suggest;
use crate::registry::Registry;

/// Most cells of one table.
pub const MATRIX_CELLS_MAX: usize = 10_000;

/// How deep a row or a column lies on top of what the table says.
const LEVELS: usize = 2;

/// What of a registry a table can have all of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// A row for every agent.
    Agents,
    /// A column for every tool.
    Tools,
    /// A column for every model.
    Models,
}

impl Kind {
    /// One of them, and what it would be in the table.
    fn words(self) -> (&'static str, &'static str, &'static str) {
        match self {
            Self::Agents => ("agent", "row", "agents"),
            Self::Tools => ("tool", "column", "actions"),
            Self::Models => ("model", "column", "actions"),
        }
    }
}

/// The promise of a table to have all of what a registry has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Complete {
    /// The file it is in.
    pub file: String,
    /// Line, from 1; 0 if unknown.
    pub line: u32,
    /// `MATRIX: complete`.
    pub name: String,
    /// What it has, by what it should have all of.
    has: BTreeMap<Kind, BTreeSet<String>>,
}

impl Complete {
    /// What the registry has and the table lacks, one sentence each.
    #[must_use]
    pub fn lacks(&self, registry: &Registry) -> Vec<String> {
        let mut lacking = Vec::new();
        for (kind, has) in &self.has {
            let known: Vec<&String> = match kind {
                Kind::Agents => registry.agents.keys().collect(),
                Kind::Tools => registry.tools.keys().collect(),
                Kind::Models => registry.models.keys().collect(),
            };
            let (one, place, section) = kind.words();
            lacking.extend(known.into_iter().filter(|id| !has.contains(*id)).map(|id| {
                format!("the registry's {one} `{id}` has no {place}: add it under `{section}`")
            }));
        }
        lacking
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Raw {
    name: String,
    #[serde(default)]
    skip: Option<String>,
    #[serde(default)]
    now: Option<String>,
    #[serde(default)]
    complete: Option<Yaml>,
    #[serde(default)]
    call: Value,
    #[serde(default)]
    facts: Value,
    actions: Mapping,
    agents: Mapping,
}

/// What a column is about. A column without any member is the tool of its name.
#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct RawAction {
    tool: Option<String>,
    model: Option<String>,
    action: Option<String>,
    resource: Value,
    args: Value,
    call: Value,
    facts: Value,
}

struct Column {
    name: String,
    call: Value,
    facts: Value,
}

/// Expands one table into `into`; what is wrong is told to `reader`.
pub(super) fn read(value: Yaml, range: Range, reader: &mut Reader<'_>, into: &mut CaseFile) {
    let raw: Raw = match yaml_serde::from_value(value) {
        Ok(raw) => raw,
        Err(error) => {
            return reader.complain(range, "a matrix", Complaint::read(&error.to_string()));
        }
    };
    let what = format!("matrix `{}`", raw.name);
    let range = reader.named(range, "name");
    let Some(columns) = columns(&raw, &what, range, reader) else { return };
    let cells = columns.len().saturating_mul(raw.agents.len());
    if cells == 0 || cells > MATRIX_CELLS_MAX {
        let message = format!("it has {cells} cells, between 1 and {MATRIX_CELLS_MAX} are allowed");
        return reader.complain(range, &what, Complaint::new(message));
    }
    into.complete.extend(complete(&raw, &columns, &what, range, reader));
    let now_ms = reader.moment(raw.now.as_deref(), range, &what);
    let mut table = Table { raw: &raw, what, range, columns, now_ms, broken: BTreeSet::new() };
    for (agent, row) in &raw.agents {
        table.row(agent, row, reader, &mut into.cases);
    }
}

struct Table<'r> {
    raw: &'r Raw,
    what: String,
    range: Range,
    columns: Vec<Column>,
    now_ms: Option<i64>,
    /// Columns whose call cannot be read: said once, not for every agent.
    broken: BTreeSet<String>,
}

impl Table<'_> {
    fn row(&mut self, agent: &Yaml, row: &Yaml, reader: &mut Reader<'_>, cases: &mut Vec<Case>) {
        let Some(agent) = agent.as_str() else {
            let complaint = Complaint::new("the id of an agent is a text").help("put it in quotes");
            return reader.complain(self.range, &self.what, complaint);
        };
        let place = row_range(reader, self.range, agent);
        let expected = match self.cells(row) {
            Ok(expected) => expected,
            Err(complaint) => {
                let what = format!("{}: agent `{agent}`", self.what);
                return reader.complain(place, &what, complaint);
            }
        };
        let of_agent = member("agent", json!({"type": "agent", "id": agent}));
        let base = merged(&self.raw.call, &of_agent, LEVELS);
        for (column, expect) in self.columns.iter().zip(expected) {
            if self.broken.contains(&column.name) {
                continue;
            }
            let seed = Seed {
                name: format!("{}: {agent} × {}", self.raw.name, column.name),
                range: place,
                skip: self.raw.skip.clone(),
                now_ms: self.now_ms,
                call: merged(&base, &column.call, LEVELS),
                facts: merged(&self.raw.facts, &column.facts, LEVELS),
                expect,
            };
            match reader.finish(seed) {
                Some(case) => cases.push(case),
                None => drop(self.broken.insert(column.name.clone())),
            }
        }
    }

    /// What the cells of a row expect, in the order of the columns.
    fn cells(&self, row: &Yaml) -> Result<Vec<Value>, Complaint> {
        let names = || self.columns.iter().map(|column| column.name.as_str());
        let json = |cell: &Yaml| {
            yaml_serde::from_value(cell.clone())
                .map_err(|error: yaml_serde::Error| Complaint::read(&error.to_string()))
        };
        match row {
            Yaml::Sequence(cells) if cells.len() == self.columns.len() => {
                cells.iter().map(json).collect()
            }
            Yaml::Sequence(cells) => {
                let (has, want) = (cells.len(), self.columns.len());
                let message = format!("the row has {has} cells and the table {want} actions");
                let help = format!(
                    "say what comes out of each: {}",
                    names().collect::<Vec<_>>().join(", ")
                );
                Err(Complaint::new(message).help(help))
            }
            Yaml::Mapping(cells) => {
                let key = |cell: &Yaml| cell.as_str().unwrap_or_default().to_owned();
                if let Some(other) = cells.keys().map(key).find(|key| names().all(|n| n != key)) {
                    let near = suggest(&other, names());
                    let help = near.map(|near| format!("did you mean `{near}`?"));
                    let message = format!("the table has no action `{other}`");
                    return Err(Complaint::new(message)
                        .help(help.unwrap_or_default())
                        .about(&other));
                }
                let missing: Vec<&str> =
                    names().filter(|name| !cells.contains_key(*name)).collect();
                if !missing.is_empty() {
                    let message = format!("the row says nothing of {}", missing.join(", "));
                    return Err(
                        Complaint::new(message).help("say `allow`, `ask` or `deny` of each")
                    );
                }
                names().filter_map(|name| cells.get(name)).map(json).collect()
            }
            _ => Err(Complaint::new("a row is a list of cells, or an object by action")
                .help("write it as `AGENT: [allow, deny]`")),
        }
    }
}

/// The line of a row, for its cases; the lines of the table if it is not found.
fn row_range(reader: &Reader<'_>, table: Range, agent: &str) -> Range {
    let rows =
        reader.places.key("agents", table).map_or(table, |(first, _)| Range { first, ..table });
    match reader.places.key(agent, rows) {
        Some((line, _)) => Range { first: line, last: line },
        None => table,
    }
}

fn columns(raw: &Raw, what: &str, range: Range, reader: &mut Reader<'_>) -> Option<Vec<Column>> {
    let mut columns = Vec::with_capacity(raw.actions.len());
    let mut sound = true;
    for (name, value) in &raw.actions {
        let name = name.as_str().unwrap_or_default().to_owned();
        match column(&name, value) {
            Ok(column) => columns.push(column),
            Err(complaint) => {
                sound = false;
                reader.complain(range, &format!("{what}: action `{name}`"), complaint);
            }
        }
    }
    sound.then_some(columns)
}

fn column(name: &str, value: &Yaml) -> Result<Column, Complaint> {
    let raw: Option<RawAction> = yaml_serde::from_value(value.clone())
        .map_err(|error| Complaint::read(&error.to_string()))?;
    let raw = raw.unwrap_or_default();
    let tool = || raw.tool.clone().or_else(|| named_tool(name, &raw));
    let (action, resource) = match (tool(), &raw.model, &raw.action) {
        (Some(_), Some(_), _) => {
            return Err(Complaint::new("it is about both a tool and a model")
                .help("make two columns of it")
                .about("model"));
        }
        (Some(tool), None, action) => {
            (or(action, "tools/call"), resource(ResourceKind::Tool, &tool))
        }
        (None, Some(model), action) => {
            (or(action, "llm/chat"), resource(ResourceKind::Model, model))
        }
        (None, None, Some(action)) => (action.clone(), raw.resource.clone()),
        (None, None, None) => {
            return Err(Complaint::new("it says neither what is done nor to what").help(
                "give `tool`, `model` or `action`, or name the column like a tool, `SERVER/TOOL`",
            ));
        }
    };
    let named = raw.tool.is_some() || raw.model.is_some();
    if named && !raw.resource.is_null() {
        return Err(Complaint::new("`resource` says again what `tool` or `model` says")
            .help("remove one of them")
            .about("resource"));
    }
    let mut call = json!({"action": {"name": action}});
    if !resource.is_null() {
        call = merged(&call, &member("resource", resource), 1);
    }
    if !raw.args.is_null() {
        call = merged(&call, &member("context", member("args", raw.args)), LEVELS);
    }
    let call = merged(&call, &raw.call, LEVELS);
    Ok(Column { name: name.to_owned(), call, facts: raw.facts })
}

/// `SERVER/TOOL` names the tool, where the column says nothing else.
fn named_tool(name: &str, raw: &RawAction) -> Option<String> {
    let silent = raw.model.is_none() && raw.action.is_none() && raw.resource.is_null();
    (silent && name.contains('/')).then(|| name.to_owned())
}

fn or(action: &Option<String>, default: &str) -> String {
    action.clone().unwrap_or_else(|| default.to_owned())
}

fn resource(kind: ResourceKind, id: &str) -> Value {
    json!({"type": kind.as_str(), "id": id})
}

fn complete(
    raw: &Raw,
    columns: &[Column],
    what: &str,
    range: Range,
    reader: &mut Reader<'_>,
) -> Option<Complete> {
    let kinds = match raw.complete.clone()? {
        Yaml::Sequence(kinds) => kinds,
        one => vec![one],
    };
    let mut has: BTreeMap<Kind, BTreeSet<String>> = BTreeMap::new();
    for kind in kinds {
        match yaml_serde::from_value(kind) {
            Ok(kind) => drop(has.insert(kind, BTreeSet::new())),
            Err(error) => {
                let complaint = Complaint::read(&error.to_string()).about("complete");
                reader.complain(range, &format!("{what}: complete"), complaint);
                return None;
            }
        }
    }
    for (kind, ids) in &mut has {
        match kind {
            Kind::Agents => {
                ids.extend(raw.agents.keys().filter_map(Yaml::as_str).map(str::to_owned))
            }
            Kind::Tools => ids.extend(of_type(columns, ResourceKind::Tool)),
            Kind::Models => ids.extend(of_type(columns, ResourceKind::Model)),
        }
    }
    let line = reader.places.key("complete", range).map_or(range.first, |(line, _)| line);
    let name = format!("{}: complete", raw.name);
    Some(Complete { file: reader.file.to_owned(), line, name, has })
}

/// Ids of the resources of a type that columns are about.
fn of_type(columns: &[Column], kind: ResourceKind) -> impl Iterator<Item = String> {
    let resources = columns.iter().filter_map(|column| column.call.get("resource"));
    let of_kind =
        resources.filter(move |r| r.get("type").and_then(Value::as_str) == Some(kind.as_str()));
    of_kind.filter_map(|r| r.get("id").and_then(Value::as_str).map(str::to_owned))
}
