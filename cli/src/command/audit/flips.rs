//! `lictor audit show --shadow`: what policy that only watches would have changed, from the
//! decisions that shadow rules fired in and from what the shadow bundle made of them.

use std::collections::BTreeMap;

use lictor_audit::Kind;
use lictor_audit::query::Record;
use serde::Serialize;
use serde_json::Value;

use super::shadow::Told;
use crate::exit::Failure;
use crate::output::{Format, shown, table, to_json_line};
use crate::time::rfc3339;

/// Most calls that are named for each rule or bundle.
const EXAMPLES_MAX: usize = 5;
/// Most tools and agents that a cell names.
const NAMES_MAX: usize = 3;

/// What watches.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase", tag = "shadow")]
enum Watching {
    /// A rule of the bundle that decided.
    Rule {
        /// Its id.
        id: String,
        /// `deny`, `ask`, `allow`; `obligations` would add, `limits` would draw.
        rule: String,
    },
    /// All rules of one decision together, where several fired.
    Together,
    /// A bundle beside the one that decided.
    Bundle {
        /// `sha256:…`.
        digest: String,
        /// Its name.
        name: String,
        /// Its version.
        version: u64,
    },
}

/// What one rule or bundle would have changed.
#[derive(Debug, Serialize)]
struct Flips {
    #[serde(flatten)]
    watching: Watching,
    newly_allowed: usize,
    newly_denied: usize,
    newly_asked: usize,
    /// Of rules: decisions that they fired in and changed nothing of.
    unchanged: usize,
    /// Of rules: decisions that nobody knows it of.
    unweighed: usize,
    /// Decisions by the resource that was asked for.
    tools: BTreeMap<String, usize>,
    /// Decisions by agent.
    agents: BTreeMap<String, usize>,
    first_seen: String,
    last_seen: String,
    /// Ids of the first calls that would have come out otherwise.
    examples: Vec<String>,
}

/// What a record says of one rule or bundle.
struct Seen {
    watching: Watching,
    change: Change,
}

/// How a decision would have come out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Change {
    Allowed,
    Denied,
    Asked,
    None,
    Unweighed,
}

impl Change {
    /// From the effect that a rule flips to.
    fn to(effect: Option<&Value>) -> Self {
        match effect {
            Some(Value::String(effect)) => match effect.as_str() {
                "allow" => Self::Allowed,
                "deny" => Self::Denied,
                "ask" => Self::Asked,
                _ => Self::Unweighed,
            },
            Some(Value::Null) => Self::None,
            // Written before flips were weighed.
            _ => Self::Unweighed,
        }
    }

    fn is_flip(self) -> bool {
        matches!(self, Self::Allowed | Self::Denied | Self::Asked)
    }
}

/// The flips that `records` tell of as text, and of how many rules and bundles they are. `reveal`
/// says whether the side stores were asked.
pub(super) fn told(
    records: &[Record],
    reveal: bool,
    format: Format,
) -> Result<(String, usize), Failure> {
    let flips = gather(records, reveal);
    let text = match format {
        Format::Pretty if flips.is_empty() => String::new(),
        Format::Pretty => pretty(&flips),
        Format::Json => {
            let lines: Result<Vec<String>, Failure> = flips.iter().map(to_json_line).collect();
            lines?.iter().map(|line| format!("{line}\n")).collect()
        }
    };
    Ok((text, flips.len()))
}

/// Records come in order of time.
fn gather(records: &[Record], reveal: bool) -> Vec<Flips> {
    let mut all: BTreeMap<Watching, Flips> = BTreeMap::new();
    for record in records {
        for seen in seen(record) {
            let at = rfc3339(record.ts_ms);
            let flips = all.entry(seen.watching.clone()).or_insert_with(|| Flips {
                watching: seen.watching,
                newly_allowed: 0,
                newly_denied: 0,
                newly_asked: 0,
                unchanged: 0,
                unweighed: 0,
                tools: BTreeMap::new(),
                agents: BTreeMap::new(),
                first_seen: at.clone(),
                last_seen: at.clone(),
                examples: Vec::new(),
            });
            flips.add(record, seen.change, at, reveal);
        }
    }
    all.into_values().collect()
}

impl Flips {
    fn add(&mut self, record: &Record, change: Change, at: String, reveal: bool) {
        let count = match change {
            Change::Allowed => &mut self.newly_allowed,
            Change::Denied => &mut self.newly_denied,
            Change::Asked => &mut self.newly_asked,
            Change::None => &mut self.unchanged,
            Change::Unweighed => &mut self.unweighed,
        };
        *count += 1;
        self.last_seen = at;
        if !change.is_flip() {
            return;
        }
        let name = |pointer: &str| Told::at(record, pointer, reveal).named();
        *self.tools.entry(name("/resource/id")).or_default() += 1;
        *self.agents.entry(name("/agent/id")).or_default() += 1;
        if self.examples.len() < EXAMPLES_MAX {
            self.examples.extend(record.call_id().map(str::to_owned));
        }
    }
}

/// What a record tells of shadow rules, or of the shadow bundle.
fn seen(record: &Record) -> Vec<Seen> {
    match record.kind {
        Kind::Decision => by_rules(record),
        Kind::Shadow => by_bundle(record).into_iter().collect(),
        _ => Vec::new(),
    }
}

fn by_rules(record: &Record) -> Vec<Seen> {
    let rules = record.body.get("shadows").and_then(Value::as_array);
    let Some(rules) = rules.filter(|rules| !rules.is_empty()) else { return Vec::new() };
    let text = |rule: &Value, member: &str| {
        rule.get(member).and_then(Value::as_str).unwrap_or_default().to_owned()
    };
    let mut seen: Vec<Seen> = Vec::new();
    for rule in rules {
        let unweighed = rule.get("unweighed").and_then(Value::as_bool) == Some(true);
        let change = if unweighed { Change::Unweighed } else { Change::to(rule.get("flips")) };
        let watching = Watching::Rule { id: text(rule, "id"), rule: text(rule, "rule") };
        seen.push(Seen { watching, change });
    }
    if seen.len() > 1 {
        let together = record.body.get("shadows_together").unwrap_or(&Value::Null);
        seen.push(Seen { watching: Watching::Together, change: Change::to(Some(together)) });
    }
    seen
}

fn by_bundle(record: &Record) -> Option<Seen> {
    let change = match record.str_at("/change")? {
        "newly_allowed" => Change::Allowed,
        "newly_denied" => Change::Denied,
        "newly_asked" => Change::Asked,
        _ => return None,
    };
    let text = |pointer: &str| record.str_at(pointer).unwrap_or_default().to_owned();
    let watching = Watching::Bundle {
        digest: text("/shadow/bundle/digest"),
        name: text("/shadow/bundle/name"),
        version: record.body.pointer("/shadow/bundle/version").and_then(Value::as_u64)?,
    };
    Some(Seen { watching, change })
}

fn pretty(all: &[Flips]) -> String {
    let head = [
        "watching",
        "newly allowed",
        "newly denied",
        "newly asked",
        "unchanged",
        "tools",
        "agents",
        "first seen",
        "last seen",
        "such as",
    ];
    let mut rows = vec![head.map(str::to_owned).to_vec()];
    rows.extend(all.iter().map(|flips| {
        let unweighed = match flips.unweighed {
            0 => String::new(),
            count => format!(" ({count} unknown)"),
        };
        vec![
            watching_cell(&flips.watching),
            flips.newly_allowed.to_string(),
            flips.newly_denied.to_string(),
            flips.newly_asked.to_string(),
            match flips.watching {
                // What stays the same with a bundle is only counted.
                Watching::Bundle { .. } => "-".to_owned(),
                _ => format!("{}{unweighed}", flips.unchanged),
            },
            names_cell(&flips.tools),
            names_cell(&flips.agents),
            flips.first_seen.clone(),
            flips.last_seen.clone(),
            flips.examples.first().map_or_else(|| "-".to_owned(), |id| shown(id)),
        ]
    }));
    table(&rows)
}

fn watching_cell(watching: &Watching) -> String {
    match watching {
        Watching::Rule { id, rule } => format!("{} {}", shown(rule), shown(id)),
        Watching::Together => "rules together".to_owned(),
        Watching::Bundle { digest, name, version } => {
            let short: String = digest.chars().take("sha256:".len() + 12).collect();
            format!("bundle {} version {version} {}", shown(name), shown(&short))
        }
    }
}

/// The names with most decisions first.
fn names_cell(names: &BTreeMap<String, usize>) -> String {
    if names.is_empty() {
        return "-".to_owned();
    }
    let mut most: Vec<(&String, &usize)> = names.iter().collect();
    most.sort_by(|a, b| b.1.cmp(a.1).then(a.0.cmp(b.0)));
    let told = most.iter().take(NAMES_MAX).map(|(name, count)| format!("{} {count}", shown(name)));
    let told: Vec<String> = told.collect();
    match most.len().saturating_sub(NAMES_MAX) {
        0 => told.join(", "),
        more => format!("{}, {more} more", told.join(", ")),
    }
}
