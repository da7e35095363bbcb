//! `lictor schema drift`: whether a server's tools still are what was pinned.

use std::path::PathBuf;

use clap::Args;
use lictor_proto::json::{Node, scan};
use lictor_proto::tool::{Change, ChangeClass, ChangeKind, changes};
use serde::Serialize;
use serde_json::json;

use super::definitions::{self, Definition, FromArgs};
use super::entry;
use crate::args::bundle;
use crate::exit::{Exit, Failure};
use crate::output::{Format, Paint, print, print_json, say, shown};

/// Arguments of `schema drift`.
#[derive(Debug, Args)]
pub(crate) struct DriftArgs {
    /// The bundle, a folder or an archive.
    #[arg(short, long, value_name = "BUNDLE")]
    bundle: PathBuf,
    /// The server's id in the registry.
    #[arg(long, value_name = "ID")]
    server: String,
    #[command(flatten)]
    from: FromArgs,
}

/// How a tool stands to its pin.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
enum Status {
    /// As it was pinned.
    Same,
    /// On the server and not in the registry.
    Added,
    /// In the registry and not on the server.
    Removed,
    /// Not as it was pinned.
    Changed,
    /// In the registry without a pin, so that nobody can say.
    Unpinned,
}

/// One tool.
#[derive(Debug, Serialize)]
struct Row {
    id: String,
    status: Status,
    /// The gravest change; none where there is nothing to compare.
    class: Option<ChangeClass>,
    changes: Vec<Change>,
    /// Whether the changes are those since the pin, and not also those that the entry's author
    /// made.
    exact: bool,
}

/// Runs the command: exit 6 if anything is not as it was pinned.
pub(crate) fn run(args: &DriftArgs, format: Format) -> Result<Exit, Failure> {
    let verified = bundle::verified(&args.bundle)?.map_err(|problems| problems.failure())?;
    let bytes = verified.files().get("data.json").unwrap_or(b"{}");
    let root = scan(bytes).map_err(|error| {
        let text = format!("{}: data.json: {error}", args.bundle.display());
        Failure::new(Exit::PolicyInvalid, text).help("`lictor check` shows where")
    })?;
    let registry = root.get("registry");
    let known = |list: &str| {
        registry.and_then(|node| node.get(list)).map(Node::members).unwrap_or_default()
    };
    let prefix = format!("{}/", args.server);
    let own: Vec<(&str, &Node)> = known("tools")
        .iter()
        .filter_map(|member| Some((member.key.strip_prefix(&prefix)?, &member.value)))
        .collect();
    if own.is_empty() && !known("servers").iter().any(|server| *server.key == *args.server) {
        let text = format!("`{}` has no server `{}`", args.bundle.display(), shown(&args.server));
        return Err(Failure::usage(text).help("`lictor inspect` lists the servers of a bundle"));
    }
    let live = definitions::read(&args.from)?;
    let rows = compare(&prefix, &own, &live);
    let drifted = rows.iter().filter(|row| row.status != Status::Same).count();
    match format {
        Format::Json => print_json(&json!({
            "server": args.server, "ok": drifted == 0, "tools": rows,
        }))?,
        Format::Pretty => {
            print(&pretty(&rows, Paint::stdout()))?;
            say(&format!("{drifted} of {} tools are not as they were pinned", rows.len()));
        }
    }
    Ok(if drifted == 0 { Exit::Ok } else { Exit::TestsFailed })
}

/// The registry's tools in its order, then those that only the server has.
fn compare(prefix: &str, own: &[(&str, &Node)], live: &[Definition]) -> Vec<Row> {
    let row = |name: &str, status| Row {
        id: format!("{prefix}{name}"),
        status,
        class: None,
        changes: Vec::new(),
        exact: true,
    };
    let mut rows = Vec::new();
    for (name, entry) in own {
        let Some(now) = live.iter().find(|tool| tool.name == *name) else {
            rows.push(row(name, Status::Removed));
            continue;
        };
        let pin = entry::pin_of(entry);
        if pin == now.pin() {
            rows.push(row(name, Status::Same));
            continue;
        }
        let changes = changes(&entry::pinned(entry, name), &now.node);
        rows.push(Row {
            class: changes.iter().map(|change| change.class).max(),
            exact: !pin.is_empty() && entry::is_whole(entry, name),
            changes,
            ..row(name, if pin.is_empty() { Status::Unpinned } else { Status::Changed })
        });
    }
    let added = live.iter().filter(|tool| !own.iter().any(|(name, _)| *name == tool.name));
    rows.extend(added.map(|tool| row(&tool.name, Status::Added)));
    rows
}

fn pretty(rows: &[Row], paint: Paint) -> String {
    let mut text = String::new();
    for row in rows {
        let id = paint.bold(&shown(&row.id));
        let class = row.class.map(|class| format!(", {}", class.as_str())).unwrap_or_default();
        let said = match row.status {
            Status::Same => continue,
            Status::Added => paint.yellow("added: it is not in the registry"),
            Status::Removed => paint.yellow("removed: the server does not have it"),
            Status::Changed => paint.red(&format!("changed{class}")),
            Status::Unpinned => paint.yellow("not pinned: `lictor schema import` pins it"),
        };
        text.push_str(&format!("{id}: {said}\n"));
        for change in &row.changes {
            let kind = match change.kind {
                ChangeKind::Added => "added",
                ChangeKind::Removed => "removed",
                ChangeKind::Changed => "changed",
            };
            let class = change.class.as_str();
            text.push_str(&format!("  {class:<11} {kind:<7} {}\n", shown(&change.pointer)));
        }
        if !(row.exact || row.changes.is_empty()) {
            text.push_str("  compared with the entry as it is, which is not what was pinned\n");
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn definitions(text: &str) -> Vec<Definition> {
        super::definitions::definitions(scan(text.as_bytes()).unwrap().items().to_vec()).unwrap()
    }

    #[test]
    fn every_tool_of_either_side_has_a_row() {
        let pinned = definitions(
            r#"[{"name":"same","inputSchema":{}},{"name":"changed","inputSchema":{}},{"name":"gone","inputSchema":{}}]"#,
        );
        let mut entries: Vec<(String, Node)> = pinned
            .iter()
            .map(|tool| (tool.name.clone(), scan(entry::make(tool, None).text.as_bytes()).unwrap()))
            .collect();
        entries.push(("loose".to_owned(), scan(b"{}").unwrap()));
        let own: Vec<(&str, &Node)> =
            entries.iter().map(|(name, node)| (name.as_str(), node)).collect();
        let live = definitions(
            r#"[{"name":"new","inputSchema":{}},{"name":"loose","inputSchema":{}},{"name":"same","inputSchema":{}},{"name":"changed","title":"t","inputSchema":{}}]"#,
        );
        let rows = compare("s/", &own, &live);
        let told: Vec<(&str, Status, Option<ChangeClass>)> =
            rows.iter().map(|row| (row.id.as_str(), row.status, row.class)).collect();
        assert_eq!(
            told,
            [
                ("s/same", Status::Same, None),
                ("s/changed", Status::Changed, Some(ChangeClass::Cosmetic)),
                ("s/gone", Status::Removed, None),
                ("s/loose", Status::Unpinned, Some(ChangeClass::Capability)),
                ("s/new", Status::Added, None),
            ]
        );
        assert!(rows[1].exact && !rows[3].exact);
    }
}
