//! `lictor fmt`: one layout for what a bundle is made of, without a change of meaning.
//!
//! # Layout
//!
//! - [`files`]: which files there are, and what each is.
//! - [`form`]: one text to its layout, and the proof that it says the same.
//! - [`cedar`], [`cedarschema`], [`json`]: the layouts; [`tokens`]: Cedar text with its comments.
//! - [`diff`]: what would change.

mod cedar;
mod cedarschema;
mod diff;
mod files;
mod form;
mod json;
mod tokens;

use std::fs;
use std::io::Read as _;
use std::path::{Path, PathBuf};

use clap::Args;
use lictor_policy_lib::bundle::Limits;
use lictor_proto::json::ScanError;
use serde_json::{Value, json};

use self::files::{Kind, Place};
use crate::args::bundle::write_whole;
use crate::exit::{Exit, Failure, io};
use crate::output::{Format, print, print_json, say, shown};

/// What the help says behind the options.
const HELP: &str = "\
Formatted are *.cedar (by Cedar's own formatter), *.cedarschema, data.json, entities.json and
.manifest. A file is written only if it is proved to say the same with every comment in its place;
otherwise it is named and stays as it is. Rego is left to `opa fmt`, and cases/*.yaml to their
authors: no YAML writer keeps their comments.

Exit codes: 0 all is formatted, 5 a file cannot be read as what it is, 6 --check found one that is
not formatted.";

/// Arguments of `fmt`.
#[derive(Debug, Args)]
#[command(after_help = HELP)]
pub(crate) struct FmtArgs {
    /// Bundle folders, other folders, or files.
    #[arg(value_name = "PATH", required_unless_present = "stdin", conflicts_with = "stdin")]
    paths: Vec<PathBuf>,
    /// Write nothing; name the files that are not formatted and exit with 6 if there are any.
    #[arg(long)]
    check: bool,
    /// Write nothing; show what would change as a unified diff.
    #[arg(long)]
    diff: bool,
    /// Format standard input, which is of this kind, to standard output.
    #[arg(long, value_enum, value_name = "KIND")]
    stdin: Option<Kind>,
    /// How the answer is written.
    #[arg(long, value_enum, default_value_t)]
    format: Format,
}

/// What became of one file.
#[derive(Debug)]
enum Fate {
    /// It is as it should be.
    Unchanged,
    /// It is not, and was written or only shown.
    Changed(String),
    /// It stays as it is.
    Refused(form::Refusal),
}

/// JSON in the layout of a bundle's data.
///
/// # Errors
/// What Lictor would not read as a bundle's data.
pub(crate) fn json_layout(text: &str) -> Result<String, ScanError> {
    json::layout(text)
}

/// Runs the command.
pub(crate) fn run(args: &FmtArgs) -> Result<Exit, Failure> {
    if let Some(kind) = args.stdin {
        return run_stdin(args, kind);
    }
    let places = files::find(&args.paths)?;
    let mut fates = Vec::with_capacity(places.len());
    for place in &places {
        let text = read(place)?;
        let fate = fate(place, &text);
        if let Fate::Changed(formatted) = &fate
            && !(args.check || args.diff)
        {
            write(&place.path, formatted)?;
        }
        fates.push((place, text, fate));
    }
    report(args, &fates)?;
    Ok(exit(args, fates.iter().map(|(_, _, fate)| fate)))
}

fn run_stdin(args: &FmtArgs, kind: Kind) -> Result<Exit, Failure> {
    let max = Limits::default().file_bytes;
    let mut bytes = Vec::new();
    let mut input = std::io::stdin().lock().take(max as u64 + 1);
    input
        .read_to_end(&mut bytes)
        .map_err(|error| Failure::failed(format!("cannot read standard input: {error}")))?;
    let place = Place { path: PathBuf::from("<stdin>"), kind };
    let text = text(&place.path, bytes, max)?;
    let fate = fate(&place, &text);
    match &fate {
        Fate::Refused(refusal) => say(&refused(&place.path, refusal)),
        _ if args.diff => print(&difference(&place.path, &text, &fate))?,
        _ if args.check => {}
        Fate::Changed(formatted) => print(formatted)?,
        Fate::Unchanged => print(&text)?,
    }
    Ok(exit(args, std::iter::once(&fate)))
}

fn fate(place: &Place, text: &str) -> Fate {
    match form::formatted(place.kind, &place.path.display().to_string(), text) {
        Ok(formatted) if formatted == text => Fate::Unchanged,
        Ok(formatted) => Fate::Changed(formatted),
        Err(refusal) => Fate::Refused(refusal),
    }
}

/// A file that is not read as what it is counts more than one that only looks wrong.
fn exit<'a>(args: &FmtArgs, fates: impl Iterator<Item = &'a Fate>) -> Exit {
    let mut exit = Exit::Ok;
    for fate in fates {
        match fate {
            Fate::Refused(_) => return Exit::PolicyInvalid,
            Fate::Changed(_) if args.check => exit = Exit::TestsFailed,
            _ => {}
        }
    }
    exit
}

fn read(place: &Place) -> Result<String, Failure> {
    let max = Limits::default().file_bytes;
    let file = fs::File::open(&place.path).map_err(|error| io("read", &place.path, error))?;
    let mut bytes = Vec::new();
    let mut file = file.take(max as u64 + 1);
    file.read_to_end(&mut bytes).map_err(|error| io("read", &place.path, error))?;
    text(&place.path, bytes, max)
}

fn text(path: &Path, bytes: Vec<u8>, max: usize) -> Result<String, Failure> {
    if bytes.len() > max {
        let path = path.display();
        return Err(Failure::failed(format!(
            "`{path}` has more than {max} bytes, which no file of a bundle may have"
        )));
    }
    String::from_utf8(bytes).map_err(|_| io("read", path, "it is not UTF-8"))
}

/// Writes the file, wherever a link leads to, with the permissions that it has.
fn write(path: &Path, text: &str) -> Result<(), Failure> {
    let target = path.canonicalize().map_err(|error| io("write", path, error))?;
    let metadata = fs::metadata(&target).map_err(|error| io("write", path, error))?;
    write_whole(&target, text.as_bytes())?;
    fs::set_permissions(&target, metadata.permissions()).map_err(|error| io("write", path, error))
}

fn report(args: &FmtArgs, fates: &[(&Place, String, Fate)]) -> Result<(), Failure> {
    if args.format == Format::Json {
        return print_json(&as_json(args, fates));
    }
    let mut out = String::new();
    let (mut changed, mut refusals) = (0, 0);
    for (place, text, fate) in fates {
        match fate {
            Fate::Unchanged => {}
            Fate::Changed(_) if args.diff => {
                out.push_str(&difference(&place.path, text, fate));
                changed += 1;
            }
            Fate::Changed(_) => {
                out.push_str(&format!("{}\n", shown(&place.path.display().to_string())));
                changed += 1;
            }
            Fate::Refused(refusal) => {
                say(&refused(&place.path, refusal));
                refusals += 1;
            }
        }
    }
    print(&out)?;
    let done = if args.check || args.diff { "not formatted" } else { "formatted" };
    let unchanged = fates.len() - changed - refusals;
    let mut sum = format!("{changed} {done}, {unchanged} unchanged");
    if refusals > 0 {
        sum.push_str(&format!(", {refusals} refused and left as they are"));
    }
    say(&sum);
    Ok(())
}

fn as_json(args: &FmtArgs, fates: &[(&Place, String, Fate)]) -> Value {
    let written = !(args.check || args.diff);
    let files: Vec<Value> = fates
        .iter()
        .map(|(place, text, fate)| {
            let status = match fate {
                Fate::Unchanged => "unchanged",
                Fate::Changed(_) if written => "formatted",
                Fate::Changed(_) => "unformatted",
                Fate::Refused(_) => "refused",
            };
            let mut file = json!({"path": place.path, "status": status});
            if let Some(file) = file.as_object_mut() {
                if let Fate::Refused(refusal) = fate {
                    file.insert("message".into(), json!(refusal.message));
                    file.insert("line".into(), json!(refusal.line));
                    file.insert("col".into(), json!(refusal.col));
                } else if args.diff {
                    file.insert("diff".into(), json!(difference(&place.path, text, fate)));
                }
            }
            file
        })
        .collect();
    let clean = exit(args, fates.iter().map(|(_, _, fate)| fate)) == Exit::Ok;
    json!({"ok": clean, "files": files})
}

fn difference(path: &Path, text: &str, fate: &Fate) -> String {
    match fate {
        Fate::Changed(formatted) => diff::unified(&path.display().to_string(), text, formatted),
        _ => String::new(),
    }
}

fn refused(path: &Path, refusal: &form::Refusal) -> String {
    let mut place = path.display().to_string();
    if refusal.line > 0 {
        place.push_str(&format!(":{}:{}", refusal.line, refusal.col));
    }
    format!("{}: error: {}", shown(&place), shown(&refusal.message))
}
