//! `lictor schema import`: a server's tools into the registry, each pinned as it is now.

use std::fs;
use std::path::{Path, PathBuf};

use clap::Args;
use lictor_proto::json::{Node, scan};
use lictor_proto::tool::{ChangeClass, changes};
use serde_json::json;

use super::definitions::{self, Definition, FromArgs};
use super::entry;
use crate::args::bundle::{self, write_whole};
use crate::command::fmt;
use crate::exit::{Exit, Failure, io};
use crate::output::{Format, print, print_json, say, shown};

/// Arguments of `schema import`.
#[derive(Debug, Args)]
pub(crate) struct ImportArgs {
    /// The server's id in the registry: its tools are `<ID>/<name>`.
    #[arg(long, value_name = "ID")]
    server: String,
    #[command(flatten)]
    from: FromArgs,
    /// The bundle folder whose entries are brought up to date; without it all are new.
    #[arg(short, long, value_name = "BUNDLE")]
    bundle: Option<PathBuf>,
    /// Write the bundle's `data.json` instead of printing the entries.
    #[arg(long, requires = "bundle")]
    write: bool,
}

/// What became of one tool.
#[derive(Debug)]
struct Row {
    id: String,
    status: &'static str,
    class: Option<ChangeClass>,
    kept: Vec<&'static str>,
    has_effect: bool,
    /// The entry's JSON.
    text: String,
}

/// Runs the command.
pub(crate) fn run(args: &ImportArgs, format: Format) -> Result<Exit, Failure> {
    let server = &args.server;
    if server.is_empty() || server.contains('/') || shown(server) != *server {
        return Err(Failure::usage(format!("`{}` is no server id", shown(server)))
            .help("give the id of the server in `registry.servers`, without a `/`"));
    }
    let text = args.bundle.as_deref().map_or(Ok(None), |folder| data(folder).map(Some))?;
    let text = text.unwrap_or_else(|| "{}".to_owned());
    let root = scan(text.as_bytes()).map_err(|error| {
        let text = format!("data.json: {error}");
        Failure::new(Exit::PolicyInvalid, text).help("`lictor check` shows where")
    })?;
    if !root.is_object() || root.get("registry").is_some_and(|registry| !registry.is_object()) {
        return Err(Failure::new(
            Exit::PolicyInvalid,
            "data.json has no registry that is an object",
        ));
    }
    let live = definitions::read(&args.from)?;
    let rows: Vec<Row> = live.iter().map(|tool| row(server, tool, &root, &text)).collect();
    let gone = gone(server, &root, &rows);
    match (&args.bundle, args.write) {
        (Some(folder), true) => write(args, folder, &text, &rows)?,
        _ if format == Format::Pretty => print(&entries(&rows)?)?,
        _ => {}
    }
    report(args, format, &rows, &gone)?;
    Ok(Exit::Ok)
}

/// `data.json` of a bundle's folder; an empty object if it has none.
fn data(folder: &Path) -> Result<String, Failure> {
    if !folder.is_dir() {
        let text = format!("`{}` is no folder", folder.display());
        return Err(Failure::usage(text).help("give the folder that the bundle is built of"));
    }
    match bundle::read_folder(folder)? {
        Ok(files) => match files.get("data.json") {
            None => Ok("{}".to_owned()),
            Some(bytes) => String::from_utf8(bytes.to_vec())
                .map_err(|_| io("read", &folder.join("data.json"), "it is not UTF-8")),
        },
        Err(error) => Err(Failure::new(Exit::PolicyInvalid, error.to_string())),
    }
}

fn row(server: &str, tool: &Definition, root: &Node, text: &str) -> Row {
    let id = format!("{server}/{}", tool.name);
    let old = root.get("registry").and_then(|node| node.get("tools")?.get(&id));
    let old = old.filter(|entry| entry.is_object());
    if let Some(entry) = old.filter(|entry| entry::pin_of(entry) == tool.pin()) {
        let text = text.get(entry.span.start..entry.span.end).unwrap_or_default().to_owned();
        let has_effect = has_effect(entry);
        return Row { id, status: "unchanged", class: None, kept: Vec::new(), has_effect, text };
    }
    let made = entry::make(tool, old.map(|entry| (entry, text)));
    let class = old.filter(|entry| !entry::pin_of(entry).is_empty()).and_then(|entry| {
        let pinned = entry::pinned(entry, &tool.name);
        changes(&pinned, &tool.node).iter().map(|change| change.class).max()
    });
    let status = match old {
        None => "added",
        Some(entry) if entry::pin_of(entry).is_empty() => "pinned",
        Some(_) => "updated",
    };
    let has_effect = old.is_some_and(has_effect);
    Row { id, status, class, kept: made.kept, has_effect, text: made.text }
}

fn has_effect(entry: &Node) -> bool {
    entry.get("annotations").is_some_and(|annotations| annotations.get("effect").is_some())
}

/// Tools of the registry that the server does not have any more.
fn gone(server: &str, root: &Node, rows: &[Row]) -> Vec<String> {
    let tools = root.get("registry").and_then(|registry| registry.get("tools"));
    let ids = tools.map(Node::members).unwrap_or_default().iter().map(|member| &*member.key);
    let own = ids.filter(|id| id.split_once('/').is_some_and(|(of, _)| of == server));
    own.filter(|id| !rows.iter().any(|row| row.id == **id)).map(str::to_owned).collect()
}

/// The entries as a piece of `data.json`.
fn entries(rows: &[Row]) -> Result<String, Failure> {
    let tools: Vec<(String, String)> =
        rows.iter().map(|row| (row.id.clone(), row.text.clone())).collect();
    let tools = entry::object(&tools).replacen('{', "{\n", 1);
    let registry = entry::object(&[("tools".to_owned(), tools)]).replacen('{', "{\n", 1);
    fmt::json_layout(&entry::object(&[("registry".to_owned(), registry)]))
        .map_err(|error| Failure::failed(format!("the entries cannot be written: {error}")))
}

fn write(args: &ImportArgs, folder: &Path, text: &str, rows: &[Row]) -> Result<(), Failure> {
    let path = folder.join("data.json");
    let merged = merged(args, text, rows)
        .map_err(|error| Failure::failed(format!("the entries cannot be merged: {error}")))?;
    let max = lictor_policy_lib::bundle::Limits::default().file_bytes;
    if merged.len() > max {
        return Err(io("write", &path, format!("it would have more than {max} bytes")));
    }
    if fs::read_to_string(&path).is_ok_and(|now| now == merged) {
        return Ok(());
    }
    write_whole(&path, merged.as_bytes())?;
    match bundle::loaded(folder)? {
        Ok(_) => Ok(()),
        Err(problems) => {
            say(&problems.pretty(crate::output::Paint::plain()));
            say("warning: with these entries the bundle does not load");
            Ok(())
        }
    }
}

/// The whole of `data.json` with the entries in it, in its layout.
fn merged(
    args: &ImportArgs,
    text: &str,
    rows: &[Row],
) -> Result<String, lictor_proto::json::ScanError> {
    let root = scan(text.as_bytes())?;
    let tools = root.get("registry").and_then(|registry| registry.get("tools"));
    let old = tools.map(Node::members).unwrap_or_default();
    let mut all: Vec<(String, String)> = Vec::new();
    for member in old {
        let span = member.value.span;
        let raw = text.get(span.start..span.end).unwrap_or_default().to_owned();
        let row = rows.iter().find(|row| *row.id == *member.key);
        all.push((member.key.to_string(), row.map_or(raw, |row| row.text.clone())));
    }
    for row in rows.iter().filter(|row| !old.iter().any(|member| *member.key == *row.id)) {
        all.push((row.id.clone(), row.text.clone()));
    }
    let tools = entry::object(&all).replacen('{', "{\n", 1);
    let mut text = entry::put(text, &root, &["registry", "tools"], &tools);
    let root = scan(text.as_bytes())?;
    let servers = root.get("registry").and_then(|registry| registry.get("servers"));
    if servers.and_then(|servers| servers.get(&args.server)).is_none() {
        let from = &args.from.from;
        let url = if from.contains("://") { json!({"url": from}) } else { json!({}) };
        let path = ["registry", "servers", &args.server];
        text = entry::put(&text, &root, &path, &url.to_string());
    }
    fmt::json_layout(&text)
}

fn report(args: &ImportArgs, format: Format, rows: &[Row], gone: &[String]) -> Result<(), Failure> {
    if format == Format::Json {
        let tools: Vec<_> = rows
            .iter()
            .map(|row| {
                let entry: serde_json::Value = serde_json::from_str(&row.text).unwrap_or_default();
                json!({"id": row.id, "status": row.status, "class": row.class, "kept": row.kept, "entry": entry})
            })
            .collect();
        print_json(&json!({
            "server": args.server, "written": args.write, "tools": tools, "gone": gone,
        }))?;
    } else if args.write {
        print(&summary(rows))?;
    }
    warn(rows, gone);
    Ok(())
}

fn summary(rows: &[Row]) -> String {
    let line = |row: &Row| {
        let class = row.class.map(|class| format!(" ({})", class.as_str())).unwrap_or_default();
        format!("{} {}{class}\n", row.status, row.id)
    };
    rows.iter().map(line).collect()
}

fn warn(rows: &[Row], gone: &[String]) {
    for row in rows.iter().filter(|row| !row.kept.is_empty()) {
        let kept: Vec<String> = row.kept.iter().map(|name| format!("`{name}`")).collect();
        say(&format!(
            "note: {}: kept {}, which the server words otherwise (its own is in `declared`)",
            entry::place(&row.id),
            kept.join(" and ")
        ));
    }
    for row in rows.iter().filter(|row| row.class == Some(ChangeClass::Instruction)) {
        say(&format!("warning: `{}` says something else to models now: read it", row.id));
    }
    let unknown: Vec<&str> =
        rows.iter().filter(|row| !row.has_effect).map(|row| row.id.as_str()).collect();
    if !unknown.is_empty() {
        say(&format!(
            "warning: taken for `egress`, since the registry does not say what they do: {}\n  help: add `annotations` with `effect`, `source` and `reads`; what a server says of itself does not count",
            unknown.join(", ")
        ));
    }
    if !gone.is_empty() {
        say(&format!(
            "note: in the registry and not on the server (they stay until you take them out): {}",
            gone.join(", ")
        ));
    }
}
