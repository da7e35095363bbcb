//! `lictor build`: folders into one unsigned archive.

use std::path::{Path, PathBuf};

use clap::Args;
use lictor_policy_lib::bundle::{ComposeError, Part, compose, pack};
use serde_json::json;

use crate::args::bundle::{self, Raw};
use crate::args::opa::OpaArgs;
use crate::exit::{Exit, Failure};
use crate::output::{Format, Paint, print, print_json, say};

/// Arguments of `build`.
#[derive(Debug, Args)]
pub(crate) struct BuildArgs {
    /// Bundle folders; the first gives name, version and revision. Files and folders
    /// whose name begins with a dot are passed over, but for `.manifest`.
    #[arg(required = true, value_name = "DIR")]
    folders: Vec<PathBuf>,
    /// The archive to write.
    #[arg(short, long, value_name = "FILE")]
    output: PathBuf,
    #[command(flatten)]
    opa: OpaArgs,
    /// How the result is told.
    #[arg(long, value_enum, default_value_t)]
    format: Format,
}

/// Runs the command.
pub(crate) fn run(args: &BuildArgs) -> Result<Exit, Failure> {
    let output = bundle::output_path(args.output.clone())?;
    let parts = if args.opa.given() {
        vec![converted(args)?]
    } else {
        args.folders.iter().map(|folder| part(folder)).collect::<Result<_, _>>()?
    };
    let files = compose(parts).map_err(|error| refused(&error))?;
    let raw = Raw::Archive(pack(&files));
    let verified = raw.verify_unsigned().map_err(|error| {
        Failure::new(Exit::PolicyInvalid, format!("{} ({})", error, error.id()))
    })?;
    let digest = verified.digest().to_owned();
    // Of several folders no single one holds the file that a problem is in.
    let shown = match args.folders.as_slice() {
        [folder] => folder,
        _ => &output,
    };
    let loaded = bundle::load(shown, verified).map_err(|problems| problems.failure())?;
    for warning in loaded.warnings() {
        say(&warning.to_string());
    }
    let Raw::Archive(bytes) = raw else {
        return Err(Failure::failed("nothing was packed"));
    };
    bundle::write_whole(&output, &bytes)?;
    let reference = loaded.reference();
    match args.format {
        Format::Json => print_json(&json!({
            "path": output, "name": reference.name, "revision": reference.revision,
            "version": reference.version, "digest": digest, "bytes": bytes.len(),
        }))?,
        Format::Pretty => print(&format!(
            "{} {} version {}, {}\nunsigned: sign it with `lictor sign {} --key FILE`",
            Paint::stdout().green("built"),
            reference.name,
            reference.version,
            digest,
            output.display()
        ))?,
    }
    Ok(Exit::Ok)
}

/// The one OPA bundle that is given, as a bundle of ours.
fn converted(args: &BuildArgs) -> Result<Part, Failure> {
    let [path] = args.folders.as_slice() else {
        let failure = Failure::usage("`--opa` takes one bundle");
        return Err(failure.help("build each, then compose the folders or leave the others out"));
    };
    let converted = match args.opa.convert(path)? {
        Some(Ok(converted)) => converted,
        Some(Err(problems)) => return Err(problems.failure()),
        None => return Err(Failure::usage("`--opa` is not given")),
    };
    for warning in &converted.warnings {
        say(&warning.to_string());
    }
    Ok(Part { origin: path.display().to_string(), files: converted.files })
}

fn part(folder: &Path) -> Result<Part, Failure> {
    if !folder.is_dir() {
        let text = format!("`{}` is not a folder", folder.display());
        return Err(Failure::failed(text).help("give folders that hold a `.manifest`"));
    }
    let files = bundle::read_folder(folder)?.map_err(|error| {
        let text = format!("{}: {error} ({})", folder.display(), error.id());
        Failure::new(Exit::PolicyInvalid, text)
    })?;
    Ok(Part { origin: folder.display().to_string(), files })
}

fn refused(error: &ComposeError) -> Failure {
    let failure = Failure::new(Exit::PolicyInvalid, error.to_string());
    match error {
        ComposeError::Collisions(_) => failure.help("rename one of each, or leave a folder out"),
        _ => failure,
    }
}
