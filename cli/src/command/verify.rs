//! `lictor verify`: signatures, version and times, as a server checks them.

use std::path::PathBuf;

use clap::Args;
use lictor_policy_lib::bundle::{Floor, Trust, VerifiedBundle, VerifyError, Window};
use serde_json::json;

use crate::args::bundle;
use crate::args::keys::TrustArgs;
use crate::exit::{Exit, Failure};
use crate::output::{Format, Paint, print, print_json};
use crate::time::{now_ms, rfc3339};

/// Arguments of `verify`.
#[derive(Debug, Args)]
pub(crate) struct VerifyArgs {
    /// The signed archive.
    bundle: PathBuf,
    #[command(flatten)]
    trust: TrustArgs,
    /// The lowest version that is accepted.
    #[arg(long, value_name = "N", default_value_t = 0)]
    min_version: u64,
    /// How the result is told.
    #[arg(long, value_enum, default_value_t)]
    format: Format,
}

/// Runs the command.
pub(crate) fn run(args: &VerifyArgs) -> Result<Exit, Failure> {
    let require = args.trust.require()?;
    let floor = Floor { min_version: args.min_version, window: Window::Enforced };
    let verified = match bundle::read(&args.bundle)? {
        Ok(raw) => raw.verify(&require, &floor, now_ms()),
        Err(error) => Err(error.into()),
    };
    match verified {
        Ok(verified) => accepted(args, &verified),
        Err(error) => refused(args, &error),
    }
}

fn accepted(args: &VerifyArgs, verified: &VerifiedBundle) -> Result<Exit, Failure> {
    let manifest = verified.manifest();
    let (kids, issued_at) = match verified.trust() {
        Trust::Signed { kids, issued_at_ms, .. } => (kids.clone(), rfc3339(*issued_at_ms)),
        // Signatures were required, so this is no acceptable answer.
        Trust::Unsigned => return Err(Failure::new(Exit::Broken, "the bundle is unsigned")),
    };
    match args.format {
        Format::Json => print_json(&json!({
            "ok": true, "path": args.bundle, "name": manifest.name, "revision": manifest.revision,
            "version": manifest.version, "digest": verified.digest(), "signed_by": kids,
            "issued_at": issued_at, "not_before": manifest.not_before_ms.map(rfc3339),
            "expires": manifest.expires_ms.map(rfc3339),
        }))?,
        Format::Pretty => print(&format!(
            "{} {} version {}, {} files\n{}\nsigned by {} at {issued_at}",
            Paint::stdout().green("verified"),
            manifest.name,
            manifest.version,
            verified.files().len(),
            verified.digest(),
            kids.join(", "),
        ))?,
    }
    Ok(Exit::Ok)
}

fn refused(args: &VerifyArgs, error: &VerifyError) -> Result<Exit, Failure> {
    if args.format == Format::Json {
        print_json(&json!({
            "ok": false, "path": args.bundle, "id": error.id(), "message": error.to_string(),
        }))?;
        return Ok(Exit::Broken);
    }
    let text = format!("{} is refused: {error} ({})", args.bundle.display(), error.id());
    Err(Failure::new(Exit::Broken, text))
}
