//! `lictor sign`: a signature over every file of a bundle.

use std::path::PathBuf;

use clap::Args;
use lictor_identity::keys::{key_id, load_signing};
use lictor_policy_lib::bundle::{SignError, SignOptions, build, pack, sign};
use serde_json::json;

use crate::args::bundle::{self, Raw};
use crate::exit::{Exit, Failure};
use crate::output::{Format, Paint, print, print_json};
use crate::time::{When, now_ms, rfc3339};

const MS_PER_S: i64 = 1000;

/// Arguments of `sign`.
#[derive(Debug, Args)]
pub(crate) struct SignArgs {
    /// The archive; or a folder, which is built first and needs `--output`.
    bundle: PathBuf,
    /// The private key (PKCS#8 PEM), as `lictor keys new bundle` writes it.
    #[arg(long, value_name = "FILE")]
    key: PathBuf,
    /// What the bundle is for; whoever verifies must name the same.
    #[arg(long, value_name = "SCOPE", default_value = "")]
    scope: String,
    /// When the signature ends: `2026-12-31T00:00:00Z`, or `90d` from now.
    #[arg(long, value_name = "TIME", value_parser = When::parse)]
    expires: Option<When>,
    /// Where the signed archive goes; the archive itself is replaced without this.
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
    /// How the result is told.
    #[arg(long, value_enum, default_value_t)]
    format: Format,
}

/// Runs the command.
pub(crate) fn run(args: &SignArgs) -> Result<Exit, Failure> {
    let key = load_signing(&args.key).map_err(|error| Failure::error(&error))?;
    let invalid = |text: String| Failure::new(Exit::PolicyInvalid, text);
    let raw = bundle::read(&args.bundle)?
        .map_err(|error| invalid(format!("{}: {error}", args.bundle.display())))?;
    let output = match (&args.output, &raw) {
        (Some(output), _) => bundle::output_path(output.clone())?,
        (None, Raw::Archive(_)) => args.bundle.clone(),
        (None, Raw::Folder(_)) => {
            let text = format!("`{}` is a folder", args.bundle.display());
            return Err(
                Failure::usage(text).help("say where the archive goes with `--output FILE`")
            );
        }
    };
    let mut files =
        raw.files().map_err(|error| invalid(format!("{}: {error}", args.bundle.display())))?;
    if matches!(raw, Raw::Folder(_)) {
        files = build(&files).map_err(|error| invalid(error.to_string()))?;
    }
    let now = now_ms();
    let options = SignOptions {
        scope: args.scope.clone(),
        iat_s: now.div_euclid(MS_PER_S),
        exp_s: args.expires.map(|when| when.at_ms(now).div_euclid(MS_PER_S)),
    };
    let signed = sign(&files, &key, &options).map_err(|error| refused(&error))?;
    let bytes = pack(&signed);
    let verified = Raw::Archive(bytes.clone())
        .verify_unsigned()
        .map_err(|error| invalid(format!("{error} ({})", error.id())))?;
    bundle::write_whole(&output, &bytes)?;
    let kid = key_id(&key.verifying_key());
    let manifest = verified.manifest();
    match args.format {
        Format::Json => print_json(&json!({
            "path": output, "name": manifest.name, "version": manifest.version,
            "digest": verified.digest(), "kid": kid, "scope": args.scope,
            "issued_at": rfc3339(options.iat_s.saturating_mul(MS_PER_S)),
            "expires": options.exp_s.map(|s| rfc3339(s.saturating_mul(MS_PER_S))),
        }))?,
        Format::Pretty => print(&format!(
            "{} {} version {} with key {kid}\n{}",
            Paint::stdout().green("signed"),
            manifest.name,
            manifest.version,
            verified.digest()
        ))?,
    }
    Ok(Exit::Ok)
}

fn refused(error: &SignError) -> Failure {
    let exit = match error {
        SignError::Manifest(_) => Exit::PolicyInvalid,
        SignError::Signatures(_) | SignError::Changed { .. } => Exit::Broken,
        SignError::Expiry { .. } => Exit::Usage,
        SignError::TooMany | SignError::Write(_) => Exit::Failed,
    };
    Failure::new(exit, error.to_string())
}
