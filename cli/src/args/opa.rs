//! `--opa`: an OPA bundle in the place of one of ours.

use std::fs;
use std::path::{Path, PathBuf};

use clap::Args;
use lictor_policy_lib::bundle::{Files, Limits};
use lictor_policy_lib::diagnostic::Diagnostic;
use lictor_policy_lib::opa::{Converted, OpaBundle, Options, convert};

use super::bundle;
use crate::diagnostics::Problems;
use crate::exit::{Failure, io};

/// Largest file of `--registry` and `--input`, in bytes.
const FILE_BYTES_MAX: u64 = 64 << 20;

/// What an OPA bundle does not say itself.
#[derive(Debug, Args)]
pub(crate) struct OpaArgs {
    /// Takes an OPA bundle, a folder or an archive; the path of its decision, such as
    /// `authz/allow`.
    #[arg(long, value_name = "PATH", help_heading = "OPA bundles")]
    opa: Option<String>,
    /// Name of the converted bundle; that of the folder or archive unless given.
    #[arg(long, requires = "opa", value_name = "NAME", help_heading = "OPA bundles")]
    name: Option<String>,
    /// Version of the converted bundle.
    #[arg(
        long,
        requires = "opa",
        value_name = "N",
        default_value_t = 1,
        value_parser = clap::value_parser!(u64).range(1..),
        help_heading = "OPA bundles"
    )]
    bundle_version: u64,
    /// The registry, as JSON; an empty one unless given, with which every call is denied.
    #[arg(long, requires = "opa", value_name = "FILE", help_heading = "OPA bundles")]
    registry: Option<PathBuf>,
    /// The input that the policies expect, as a JSON object whose texts such as
    /// `input.subject.id` are read from the call; the call itself unless given.
    #[arg(long, requires = "opa", value_name = "FILE", help_heading = "OPA bundles")]
    input: Option<PathBuf>,
}

impl OpaArgs {
    /// Whether an OPA bundle is meant.
    pub(crate) fn given(&self) -> bool {
        self.opa.is_some()
    }

    /// The bundle at `path` converted, if an OPA bundle is meant.
    ///
    /// # Errors
    /// What cannot be read; the inner error is the bundle's.
    pub(crate) fn convert(
        &self,
        path: &Path,
    ) -> Result<Option<Result<Converted, Problems>>, Failure> {
        let Some(entrypoint) = &self.opa else { return Ok(None) };
        let read = |file: &Option<PathBuf>| file.as_deref().map(read_file).transpose();
        let (registry, input) = (read(&self.registry)?, read(&self.input)?);
        let name = self.name.clone().unwrap_or_else(|| name_of(path));
        let options = Options {
            entrypoint,
            name: &name,
            version: self.bundle_version,
            registry: registry.as_deref(),
            input: input.as_deref(),
        };
        let limits = Limits::default();
        let bundle = if path.is_dir() {
            bundle::read_folder_as(path, OpaBundle::from_pairs)?
        } else {
            OpaBundle::from_archive(&bundle::read_archive_bytes(path)?, &limits)
        };
        let problems = |found| Problems::new(path, found, Files::default());
        Ok(Some(match bundle {
            Ok(bundle) => convert(&bundle, &options).map_err(problems),
            Err(error) => Err(problems(vec![Diagnostic::error(error.id(), "", error.to_string())])),
        }))
    }
}

fn read_file(path: &Path) -> Result<Vec<u8>, Failure> {
    let metadata = fs::metadata(path).map_err(|error| io("read", path, error))?;
    if metadata.len() > FILE_BYTES_MAX {
        let text = format!(
            "`{}` has {} bytes, at most {FILE_BYTES_MAX} are read",
            path.display(),
            metadata.len()
        );
        return Err(Failure::failed(text));
    }
    fs::read(path).map_err(|error| io("read", path, error))
}

/// The last name of a path, without what follows its first dot.
fn name_of(path: &Path) -> String {
    let whole = path.canonicalize().unwrap_or_else(|_| path.to_owned());
    let name =
        whole.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    let stem = name.split('.').find(|part| !part.is_empty()).unwrap_or("opa");
    stem.to_owned()
}
