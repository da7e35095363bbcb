//! Where bundles come from, and which of them are taken.
//!
//! # Layout
//!
//! - this file: [`BundleSource`], which verifies what a place offers.
//! - [`place`]: where a bundle is; `ask`: what a place is asked, and what it says.
//! - `file`: an archive or a folder. `http`: a web server. `oci`: a registry. Both fetch with
//!   `client`, as [`config`] says.
//! - `kept`: the last good archive, verified again when read, and the version floor, which only
//!   rises.
//! - [`watch`]: looks again and again, and tells a sink.
//! - [`error`]: why nothing was taken.

pub(crate) mod ask;
mod client;
pub mod config;
pub mod error;
mod file;
mod http;
mod kept;
mod oci;
pub mod place;
#[cfg(test)]
mod tests;
pub mod watch;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use lictor_policy_lib::bundle::{
    self, Files, Floor, Limits, Require, Source, Trust, TrustPolicy, TrustedKey, VerifiedBundle,
    VerifyError, Window, verifying_key_from_pem,
};
use lictor_policy_lib::engine::Way;
use lictor_policy_lib::load::{LoadedBundle, Loading, Times};

use self::ask::{Ask, Asked, Content};
pub use self::client::FetchError;
use self::config::FetchConfig;
pub use self::error::SourceError;
use self::file::FilePlace;
pub use self::file::read_folder;
use self::http::HttpPlace;
use self::kept::Kept;
use self::oci::OciPlace;
pub use self::place::BundleAt;

/// Shortest pause between two looks at a file, milliseconds.
const POLL_LEAST_MS: u64 = 10;
/// The only file of a bundle that signing changes.
const SIGNATURES: &str = ".signatures.json";

/// What a source is made of.
#[derive(Debug, Clone)]
pub struct SourceConfig {
    /// Where the bundle is.
    pub bundle: BundleAt,
    /// Public keys (PEM) that may sign it.
    pub trust_keys: Vec<PathBuf>,
    /// How many of them must have signed.
    pub required_signatures: usize,
    /// Scope that signatures must name.
    pub scope: String,
    /// Bundles of a lower version are refused.
    pub min_version: u64,
    /// Where the last good archive and the version floor are kept.
    pub state_dir: PathBuf,
    /// Unsigned bundles are taken where no key is named.
    pub insecure_dev: bool,
    /// How Rego is evaluated.
    pub rego: Way,
    /// How often a file is looked at, in milliseconds.
    pub poll_ms: u64,
    /// How everything else is fetched.
    pub fetch: FetchConfig,
}

/// A place with bundles, and which of them are taken.
#[derive(Debug, Clone)]
pub struct BundleSource {
    place: Arc<dyn Ask>,
    require: Require,
    min_version: u64,
    rego: Way,
    kept: Kept,
}

/// Why a candidate is refused, and what is known of it.
#[derive(Debug)]
pub(crate) struct Rejected {
    pub(crate) error: SourceError,
    /// Its version, where it was verified so far.
    pub(crate) version: Option<u64>,
}

impl From<SourceError> for Rejected {
    fn from(error: SourceError) -> Self {
        let version = match &error {
            SourceError::Refused(VerifyError::VersionLower { version, .. })
            | SourceError::VersionSame(version)
            | SourceError::StatementOlder(version) => Some(*version),
            _ => None,
        };
        Self { error, version }
    }
}

impl BundleSource {
    /// A source as `config` says.
    ///
    /// # Errors
    /// [`SourceError::Key`], [`SourceError::Io`].
    pub fn open(config: &SourceConfig) -> Result<Self, SourceError> {
        let require = match config.insecure_dev && config.trust_keys.is_empty() {
            true => Require::AllowUnsigned,
            false => Require::Signed(trusted(config)?),
        };
        Ok(Self {
            place: place_of(config)?,
            require,
            min_version: config.min_version,
            rego: config.rego,
            kept: Kept::new(&config.state_dir),
        })
    }

    /// The same with another place, for tests of what is asked when.
    #[cfg(test)]
    pub(crate) fn at(mut self, place: Arc<dyn Ask>) -> Self {
        self.place = place;
        self
    }

    /// Where the bundle comes from, without secrets.
    #[must_use]
    pub fn shown(&self) -> String {
        self.place.shown()
    }

    /// Asks, verifies and loads once, and keeps what was taken as the last good one.
    ///
    /// # Errors
    /// [`SourceError`]; what was live stays live.
    pub async fn load(&self, now_ms: i64) -> Result<LoadedBundle, SourceError> {
        match self.place.ask(None, None).await?.asked {
            Asked::Found { content, .. } => {
                self.take(content, 0, now_ms, None).await.map_err(|r| r.error)
            }
            Asked::Unusable { error, .. } => Err(error),
            Asked::Same => Err(SourceError::Nothing { place: self.shown() }),
        }
    }

    /// Reads, verifies and loads the bundle that was good before. It goes the same
    /// way as any other: what lies on disk is not trusted. `shared_floor` is the lowest version
    /// that others allow, 0 for any.
    ///
    /// # Errors
    /// [`SourceError`].
    pub async fn load_last_good(
        &self,
        shared_floor: u64,
        now_ms: i64,
    ) -> Result<LoadedBundle, SourceError> {
        let source = self.clone();
        blocking(move || {
            let floor = source.floor(shared_floor)?;
            let archive = Content::Archive(source.kept.archive()?);
            let verified = source.verify(&archive, floor, Window::Enforced, now_ms)?;
            let loaded = LoadedBundle::load(verified, Times::Enforced);
            loaded.map(|loaded| source.evaluating(loaded)).map_err(SourceError::Invalid)
        })
        .await
    }

    /// Verifies and loads a candidate, and keeps it as the last good one. What it has alike with
    /// `current` is taken over from there.
    pub(crate) async fn take(
        &self,
        content: Content,
        shared_floor: u64,
        now_ms: i64,
        current: Option<Arc<LoadedBundle>>,
    ) -> Result<LoadedBundle, Rejected> {
        let source = self.clone();
        blocking(move || source.take_now(content, shared_floor, now_ms, current.as_deref())).await
    }

    fn take_now(
        &self,
        content: Content,
        shared_floor: u64,
        now_ms: i64,
        current: Option<&LoadedBundle>,
    ) -> Result<LoadedBundle, Rejected> {
        let floor = self.floor(shared_floor)?;
        let verified = self.verify(&content, floor, Window::Enforced, now_ms)?;
        let version = verified.manifest().version;
        let refuse = |error| Rejected { error, version: Some(version) };
        self.check_against_kept(&verified, now_ms)?;
        let loading = Loading { previous: current, ..Loading::default() };
        let loaded = LoadedBundle::load_with(verified, Times::Enforced, loading)
            .map_err(|problems| refuse(SourceError::Invalid(problems)))?;
        self.kept.keep(&content.into_archive(), version.max(floor)).map_err(refuse)?;
        Ok(self.evaluating(loaded))
    }

    fn evaluating(&self, mut loaded: LoadedBundle) -> LoadedBundle {
        loaded.evaluate_by(self.rego);
        loaded
    }

    fn verify(
        &self,
        content: &Content,
        min_version: u64,
        window: Window,
        now_ms: i64,
    ) -> Result<VerifiedBundle, SourceError> {
        let floor = Floor { min_version, window };
        let source = match content {
            Content::Archive(bytes) => Source::Archive(bytes),
            Content::Folder(files) => Source::Folder(files.clone()),
        };
        Ok(bundle::verify(source, &self.require, &floor, &Limits::default(), now_ms)?)
    }

    /// One signed version has one content: who reads a version in a record knows what decided.
    /// Signed again, the same content is a newer statement, and an older one proves nothing.
    fn check_against_kept(&self, new: &VerifiedBundle, now_ms: i64) -> Result<(), SourceError> {
        let Trust::Signed { issued_at_ms, .. } = new.trust() else { return Ok(()) };
        let version = new.manifest().version;
        // What is not there, or does not hold any more, says nothing.
        let Ok(kept) = self.kept.archive() else { return Ok(()) };
        let kept = self.verify(&Content::Archive(kept), 0, Window::Ignored, now_ms);
        let Some(kept) = kept.ok().filter(|kept| kept.manifest().version == version) else {
            return Ok(());
        };
        if !same_content(new.files(), kept.files()) {
            return Err(SourceError::VersionSame(version));
        }
        match kept.trust() {
            Trust::Signed { issued_at_ms: before, .. } if issued_at_ms < before => {
                Err(SourceError::StatementOlder(version))
            }
            _ => Ok(()),
        }
    }

    /// The highest of what is configured, what was ever live here, and what others allow.
    fn floor(&self, shared: u64) -> Result<u64, SourceError> {
        Ok(self.kept.floor()?.max(self.min_version).max(shared))
    }
}

fn same_content(one: &Files, other: &Files) -> bool {
    let content = |files: &Files| -> Vec<(String, Arc<[u8]>)> {
        let unsigned = files.iter().filter(|(name, _)| *name != SIGNATURES);
        unsigned.map(|(name, bytes)| (name.to_owned(), Arc::clone(bytes))).collect()
    };
    content(one) == content(other)
}

fn place_of(config: &SourceConfig) -> Result<Arc<dyn Ask>, SourceError> {
    Ok(match &config.bundle {
        BundleAt::File(path) => {
            let every = Duration::from_millis(config.poll_ms.max(POLL_LEAST_MS));
            Arc::new(FilePlace::new(path, every))
        }
        BundleAt::Url(url) => match url.strip_prefix("oci://") {
            Some(reference) => Arc::new(OciPlace::new(reference, &config.fetch)?),
            None => Arc::new(HttpPlace::new(url, &config.fetch, config.insecure_dev)?),
        },
    })
}

fn trusted(config: &SourceConfig) -> Result<TrustPolicy, SourceError> {
    let mut trusted = Vec::new();
    for path in &config.trust_keys {
        let pem = std::fs::read_to_string(path)
            .map_err(|error| SourceError::Io { path: path.clone(), error })?;
        let key = verifying_key_from_pem(&pem)
            .map_err(|error| SourceError::Key { path: path.clone(), message: error.to_string() })?;
        trusted.push(TrustedKey::new(key));
    }
    TrustPolicy::new(trusted, config.required_signatures, config.scope.clone()).map_err(|error| {
        let path = PathBuf::from(http::shown(&String::from(config.bundle.clone())));
        SourceError::Key { path, message: error.to_string() }
    })
}

/// Runs what takes long aside.
async fn blocking<T: Send + 'static, E: From<SourceError> + Send + 'static>(
    work: impl FnOnce() -> Result<T, E> + Send + 'static,
) -> Result<T, E> {
    tokio::task::spawn_blocking(work).await.unwrap_or_else(|_| Err(SourceError::Crashed.into()))
}
