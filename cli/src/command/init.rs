//! `lictor init`: a new bundle that passes its own tests.

use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use clap::Args;
use serde_json::json;

use crate::exit::{Exit, Failure, io};
use crate::output::{Format, print, print_json, say};

/// Stands for the bundle's name in the templates.
const NAME: &str = "BUNDLE_NAME";
/// Longest name that is made of a folder's.
const NAME_CHARS_MAX: usize = 64;

/// Every file of a new bundle.
const TEMPLATE: [(&str, &str); 7] = [
    (".manifest", include_str!("../init/template/manifest.json")),
    ("README.md", include_str!("../init/template/README.md")),
    ("data.json", include_str!("../init/template/data.json")),
    ("rego/tickets/tickets.rego", include_str!("../init/template/tickets.rego")),
    ("rego/tickets/tickets_test.rego", include_str!("../init/template/tickets_test.rego")),
    ("cedar/tickets.cedar", include_str!("../init/template/tickets.cedar")),
    ("cases/tickets.yaml", include_str!("../init/template/cases.yaml")),
];

/// Arguments of `init`.
#[derive(Debug, Args)]
pub(crate) struct InitArgs {
    /// The folder to make; it must be new or empty.
    #[arg(value_name = "DIR")]
    folder: PathBuf,
    /// The bundle's name; the folder's if absent.
    #[arg(long, value_name = "NAME")]
    name: Option<String>,
    /// How the result is told.
    #[arg(long, value_enum, default_value_t)]
    format: Format,
}

/// Runs the command.
pub(crate) fn run(args: &InitArgs) -> Result<Exit, Failure> {
    let folder = &args.folder;
    refuse_full(folder)?;
    let name = match &args.name {
        Some(name) => name.clone(),
        None => name_of(folder),
    };
    if plain(&name) != name || name.is_empty() {
        return Err(Failure::usage(format!("`{name}` cannot name a bundle"))
            .help("use letters, digits, `-`, `_` and `.`"));
    }
    for (file, template) in TEMPLATE {
        let path = folder.join(file);
        if let Some(parent) = path.parent() {
            fs::create_dir_all(parent).map_err(|error| io("make", parent, error))?;
        }
        fs::write(&path, template.replace(NAME, &name))
            .map_err(|error| io("write", &path, error))?;
    }
    match args.format {
        Format::Json => {
            let files: Vec<&str> = TEMPLATE.iter().map(|(file, _)| *file).collect();
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
    fn the_name_stands_in_the_manifest_once() {
        let (_, manifest) = TEMPLATE[0];
        assert_eq!(manifest.matches(NAME).count(), 1);
    }
}
