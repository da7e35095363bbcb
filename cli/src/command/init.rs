//! `lictor init`: a new bundle that passes its own tests.

use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use clap::Args;
use lictor_policy_lib::diagnostic::suggest;
use serde_json::json;

use crate::embedded;
use crate::exit::{Exit, Failure, io};
use crate::output::{Format, print, print_json, say};

/// Stands for the bundle's name in the templates.
const NAME: &str = "BUNDLE_NAME";
/// Longest name that is made of a folder's.
const NAME_CHARS_MAX: usize = 64;

/// Where case files of Lictor's own bundles find their schema, and where those of a copy do.
const SCHEMA_HERE: &str = "$schema=../../../proto/schema/cases.schema.json";
const SCHEMA_THERE: &str = "$schema=../.lictor/cases.schema.json";
/// The template that is explained line by line.
const TICKETS: &str = "tickets";

/// Every file of it.
const TEMPLATE: [(&str, &str); 8] = [
    (".manifest", include_str!("../init/template/manifest.json")),
    ("README.md", include_str!("../init/template/README.md")),
    ("data.json", include_str!("../init/template/data.json")),
    ("rego/tickets/tickets.rego", include_str!("../init/template/tickets.rego")),
    ("rego/tickets/tickets_test.rego", include_str!("../init/template/tickets_test.rego")),
    ("cedar/tickets.cedar", include_str!("../init/template/tickets.cedar")),
    ("cases/tickets.yaml", include_str!("../init/template/cases.yaml")),
    // For editors; no part of the bundle, as nothing is whose name begins with a dot.
    (".lictor/cases.schema.json", lictor_proto::CASES_SCHEMA),
];

/// Arguments of `init`.
#[derive(Debug, Args)]
pub(crate) struct InitArgs {
    /// The folder to make; it must be new or empty.
    #[arg(value_name = "DIR", required_unless_present = "list")]
    folder: Option<PathBuf>,
    /// Name the templates and what they are for.
    #[arg(long, conflicts_with = "folder")]
    list: bool,
    /// What the bundle begins with: `tickets`, small and explained line by line, or a copy of one
    /// of Lictor's own bundles; `lictor init --list` names them.
    #[arg(long, value_name = "TEMPLATE", default_value = TICKETS)]
    template: String,
    /// The bundle's name; the folder's if absent.
    #[arg(long, value_name = "NAME")]
    name: Option<String>,
    /// How the result is told.
    #[arg(long, value_enum, default_value_t)]
    format: Format,
}

/// Runs the command.
pub(crate) fn run(args: &InitArgs) -> Result<Exit, Failure> {
    let Some(folder) = &args.folder else { return list(args.format) };
    let template = template(&args.template)?;
    refuse_full(folder)?;
    let name = match &args.name {
        Some(name) => name.clone(),
        None => name_of(folder),
    };
    if plain(&name) != name || name.is_empty() {
        return Err(Failure::usage(format!("`{name}` cannot name a bundle"))
            .help("use letters, digits, `-`, `_` and `.`"));
    }
    for (file, text) in &template {
        let path = folder.join(file);
        if let Some(parent) = path.parent() {
            fs::create_dir_all(parent).map_err(|error| io("make", parent, error))?;
        }
        let text = named(file, text, &args.template, &name);
        fs::write(&path, text).map_err(|error| io("write", &path, error))?;
    }
    match args.format {
        Format::Json => {
            let files: Vec<&str> = template.iter().map(|(file, _)| *file).collect();
            print_json(&json!({"path": folder, "name": name, "files": files}))?;
        }
        Format::Pretty => {
            print(&folder.display().to_string())?;
            let shown = folder.display();
            say(&format!(
                "a bundle named `{name}`; next: `lictor test {shown}`, then read `{shown}/README.md`"
            ));
        }
    }
    Ok(Exit::Ok)
}

/// The files of a template.
fn template(wanted: &str) -> Result<Vec<(&'static str, &'static str)>, Failure> {
    if wanted == TICKETS {
        return Ok(TEMPLATE.to_vec());
    }
    let Some((_, files)) = embedded::ALL.iter().find(|(name, _)| *name == wanted) else {
        let names = embedded::ALL.iter().map(|(name, _)| *name).chain([TICKETS]);
        let near = suggest(wanted, names).map(|near| format!("did you mean `{near}`? "));
        let help = format!("{}`lictor init --list` names them", near.unwrap_or_default());
        return Err(Failure::usage(format!("there is no template `{wanted}`")).help(help));
    };
    let editors = (".lictor/cases.schema.json", lictor_proto::CASES_SCHEMA);
    Ok(files.iter().copied().chain([editors]).collect())
}

/// The text of a template's file in a bundle called `name`.
fn named(file: &str, text: &str, template: &str, name: &str) -> String {
    match file {
        ".manifest" if template != TICKETS => {
            let ours = format!("\"name\": \"{template}\"");
            text.replacen(&ours, &format!("\"name\": \"{name}\""), 1)
        }
        _ => text.replace(NAME, name).replace(SCHEMA_HERE, SCHEMA_THERE),
    }
}

fn list(format: Format) -> Result<Exit, Failure> {
    let readme = |files: &[(&str, &'static str)]| {
        let readme = files.iter().find(|(file, _)| *file == "README.md").map(|(_, text)| *text);
        // The first paragraph, without the title.
        let lines = readme
            .unwrap_or_default()
            .lines()
            .skip_while(|line| line.trim().is_empty() || line.starts_with('#'));
        lines.take_while(|line| !line.trim().is_empty()).collect::<Vec<_>>().join(" ")
    };
    let mut all = vec![(TICKETS, readme(&TEMPLATE))];
    all.extend(embedded::ALL.iter().map(|(name, files)| (*name, readme(files))));
    match format {
        Format::Json => {
            let all = all.iter().map(|(name, about)| json!({"name": name, "about": about}));
            print_json(&all.collect::<Vec<_>>())?;
        }
        Format::Pretty => {
            let all = all.iter().map(|(name, about)| format!("{name}\n    {about}\n"));
            print(&all.collect::<String>())?;
        }
    }
    Ok(Exit::Ok)
}

fn refuse_full(folder: &Path) -> Result<(), Failure> {
    match fs::read_dir(folder) {
        Ok(mut entries) => match entries.next() {
            None => Ok(()),
            Some(_) => Err(Failure::failed(format!("`{}` is not empty", folder.display()))
                .help("name a folder that does not exist yet: nothing is overwritten")),
        },
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
        Err(error) => Err(io("use", folder, error)),
    }
}

fn name_of(folder: &Path) -> String {
    let absolute = std::path::absolute(folder).unwrap_or_else(|_| folder.to_owned());
    let name = absolute.file_name().map(|name| plain(&name.to_string_lossy()));
    name.filter(|name| !name.is_empty()).unwrap_or_else(|| "policies".to_owned())
}

/// What of `name` may stand in a name.
fn plain(name: &str) -> String {
    let allowed = |c: &char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    name.chars().filter(allowed).take(NAME_CHARS_MAX).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bundle_is_named_like_its_folder() {
        assert_eq!(name_of(Path::new("/x/my bundle-1")), "mybundle-1");
        assert_eq!(name_of(Path::new("/x/äö")), "policies");
    }

    #[test]
    fn a_copy_of_a_bundle_has_the_new_name() {
        for (template, files) in embedded::ALL {
            let (_, manifest) = files.iter().find(|(file, _)| *file == ".manifest").unwrap();
            let manifest = named(".manifest", manifest, template, "mine");
            let ours = format!("\"name\": \"{template}\"");
            assert!(manifest.contains("\"name\": \"mine\""), "{manifest}");
            assert!(!manifest.contains(&ours), "{manifest}");
        }
        assert!(template("pr-revie").is_err());
    }

    #[test]
    fn the_cases_of_a_copy_name_the_schema_beside_them() {
        for (template, files) in embedded::ALL {
            let cases: Vec<_> =
                files.iter().filter(|(file, _)| file.starts_with("cases/")).collect();
            assert!(!cases.is_empty(), "{template}");
            for (file, text) in cases {
                let text = named(file, text, template, "mine");
                assert!(text.contains(SCHEMA_THERE) && !text.contains(SCHEMA_HERE), "{file}");
            }
        }
    }

    #[test]
    fn the_name_stands_in_the_manifest_once() {
        let (_, manifest) = TEMPLATE[0];
        assert_eq!(manifest.matches(NAME).count(), 1);
    }
}
