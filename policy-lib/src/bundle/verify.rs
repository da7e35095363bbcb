//! The one path from bytes to a [`VerifiedBundle`].

use super::archive::read_archive;
use super::error::ArchiveError;
use super::files::Files;
use super::limits::Limits;
use super::manifest::{Manifest, ManifestError};
use super::name;
use super::pack::pack;
use super::signature::{self, SignatureError, Vouched};
use super::trust::{Trust, TrustPolicy};

const MS_PER_S: i64 = 1000;

/// Where a bundle comes from.
#[derive(Debug, Clone)]
pub enum Source<'a> {
    /// The bytes of a `.tar.gz`.
    Archive(&'a [u8]),
    /// The files of a folder.
    Folder(Files),
}

/// What the caller demands of the signatures.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Require {
    /// Enough trusted keys must have signed.
    Signed(TrustPolicy),
    /// Signatures are not looked at, and the bundle's trust is
    /// [`Trust::Unsigned`] whatever it carries. For authors' commands, and
    /// servers that were told to be insecure.
    AllowUnsigned,
}

/// Whether times are held against the clock.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Window {
    /// An expired or not yet valid bundle is refused.
    Enforced,
    /// Times do not matter: for commands that look at a bundle that is not
    /// live yet or no longer (check, test, build, replay). Never for a
    /// server.
    Ignored,
}

/// What a bundle must not fall below.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Floor {
    /// The lowest version that is accepted.
    pub min_version: u64,
    /// Whether times are held against the clock.
    pub window: Window,
}

/// How fresh the newest signed statement is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Staleness {
    /// The manifest sets no `max_staleness`.
    Unlimited,
    /// Fresh for this many milliseconds more.
    Fresh {
        /// Milliseconds until it is stale.
        left_ms: i64,
    },
    /// Stale: every decision is a denial.
    Stale {
        /// Milliseconds since it became stale.
        over_ms: i64,
    },
    /// There is a limit, but no signature that could prove freshness.
    Unproven,
}

/// Why a bundle is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum VerifyError {
    /// The archive is refused.
    #[error(transparent)]
    Archive(#[from] ArchiveError),
    /// The signatures are refused.
    #[error(transparent)]
    Signature(#[from] SignatureError),
    /// A signed archive is not in the one form that packing gives it, so its
    /// digest would not belong to its content alone.
    #[error(
        "the signed archive was packed again by another tool: use the file that `lictor sign` wrote"
    )]
    NotPacked,
    /// The manifest is refused.
    #[error(transparent)]
    Manifest(#[from] ManifestError),
    /// The signed name or version is not the manifest's.
    #[error(
        "the signature is for `{signed}`, the manifest says `{manifest}`: build and sign it again"
    )]
    ManifestMismatch {
        /// Name and version in the signature.
        signed: String,
        /// Name and version in the manifest.
        manifest: String,
    },
    /// The version is below the floor.
    #[error(
        "the bundle has version {version}, at least {min_version} is required: to go back, sign the old content with a higher version"
    )]
    VersionLower {
        /// The bundle's version.
        version: u64,
        /// The floor.
        min_version: u64,
    },
    /// The manifest's `expires` is past.
    #[error("the bundle has expired: build and sign one with a later `expires`")]
    Expired,
    /// The manifest's `not_before` is ahead.
    #[error("the bundle is not yet valid: wait for its `not_before`")]
    NotYetValid,
}

impl VerifyError {
    /// The stable id of this refusal.
    pub fn id(&self) -> &'static str {
        match self {
            Self::Archive(error) => error.id(),
            Self::Signature(error) => error.id(),
            Self::NotPacked => "bundle_not_packed",
            Self::Manifest(error) => error.id(),
            Self::ManifestMismatch { .. } => "bundle_manifest_mismatch",
            Self::VersionLower { .. } => "bundle_version_lower",
            Self::Expired => "bundle_expired",
            Self::NotYetValid => "bundle_not_yet_valid",
        }
    }
}

/// A bundle that went through [`verify`]; there is no other way to one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VerifiedBundle {
    files: Files,
    manifest: Manifest,
    digest: String,
    trust: Trust,
    verified_at_ms: i64,
}

impl VerifiedBundle {
    /// When it was verified, in Unix milliseconds.
    pub fn verified_at_ms(&self) -> i64 {
        self.verified_at_ms
    }

    /// The files, the signature file among them.
    pub fn files(&self) -> &Files {
        &self.files
    }

    /// The manifest.
    pub fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    /// `sha256:<hex>` of the archive; of a folder, of what packing it gives.
    pub fn digest(&self) -> &str {
        &self.digest
    }

    /// What the bundle rests on.
    pub fn trust(&self) -> &Trust {
        &self.trust
    }

    /// Whether the bundle, or a signature that it rests on, is past its end at `now_ms`, or not
    /// yet valid: one that would be refused now must not go on deciding.
    pub fn is_out_of_time(&self, now_ms: i64) -> bool {
        let ended = |end: Option<i64>| end.is_some_and(|end| end <= now_ms);
        let signature = match &self.trust {
            Trust::Signed { expires_at_ms, .. } => *expires_at_ms,
            Trust::Unsigned => None,
        };
        let early = self.manifest.not_before_ms.is_some_and(|from| now_ms < from);
        early || ended(self.manifest.expires_ms) || ended(signature)
    }

    /// How fresh the bundle is at `now_ms`, in Unix milliseconds.
    pub fn staleness(&self, now_ms: i64) -> Staleness {
        let Some(max_s) = self.manifest.max_staleness_s else {
            return Staleness::Unlimited;
        };
        let Trust::Signed { issued_at_ms, .. } = &self.trust else {
            return Staleness::Unproven;
        };
        let max_ms = i64::try_from(max_s).unwrap_or(i64::MAX).saturating_mul(MS_PER_S);
        let left_ms = issued_at_ms.saturating_add(max_ms).saturating_sub(now_ms);
        if left_ms >= 0 {
            Staleness::Fresh { left_ms }
        } else {
            Staleness::Stale { over_ms: left_ms.saturating_neg() }
        }
    }
}

/// Verifies a bundle: names and sizes, then signatures, and only then is
/// anything in it parsed. `now_ms` is Unix milliseconds.
///
/// # Errors
/// The first reason to refuse it; [`VerifyError::id`] is stable.
pub fn verify(
    source: Source<'_>,
    require: &Require,
    floor: &Floor,
    limits: &Limits,
    now_ms: i64,
) -> Result<VerifiedBundle, VerifyError> {
    let verified_at_ms = now_ms;
    let now_ms = (floor.window == Window::Enforced).then_some(now_ms);
    let (files, archive) = match source {
        Source::Archive(bytes) => (read_archive(bytes, limits)?, Some(bytes)),
        Source::Folder(files) => (files, None),
    };
    let vouched = match require {
        Require::Signed(policy) => Some(signature::check(&files, policy, now_ms)?),
        Require::AllowUnsigned => None,
    };
    let digest = match (archive, &vouched) {
        (Some(bytes), None) => super::digest(bytes),
        (Some(bytes), Some(_)) if pack(&files) == bytes => super::digest(bytes),
        (Some(_), Some(_)) => return Err(VerifyError::NotPacked),
        (None, _) => super::digest(&pack(&files)),
    };
    let manifest = Manifest::parse(files.get(name::MANIFEST).ok_or(ManifestError::Missing)?)?;
    check_manifest(&manifest, &files, vouched.as_ref())?;
    check_floor(&manifest, floor, now_ms)?;
    let trust = match vouched {
        Some(vouched) => Trust::Signed {
            kids: vouched.kids,
            issued_at_ms: vouched.issued_at_ms,
            expires_at_ms: vouched.expires_at_ms,
        },
        None => Trust::Unsigned,
    };
    Ok(VerifiedBundle { files, manifest, digest, trust, verified_at_ms })
}

fn check_manifest(
    manifest: &Manifest,
    files: &Files,
    vouched: Option<&Vouched>,
) -> Result<(), VerifyError> {
    if let Some(vouched) = vouched
        && (&vouched.name, vouched.version) != (&manifest.name, manifest.version)
    {
        return Err(VerifyError::ManifestMismatch {
            signed: format!("{} {}", name::shown(vouched.name.as_bytes()), vouched.version),
            manifest: format!("{} {}", manifest.name, manifest.version),
        });
    }
    Ok(manifest.check_units(files)?)
}

fn check_floor(manifest: &Manifest, floor: &Floor, now_ms: Option<i64>) -> Result<(), VerifyError> {
    if manifest.version < floor.min_version {
        return Err(VerifyError::VersionLower {
            version: manifest.version,
            min_version: floor.min_version,
        });
    }
    let Some(now_ms) = now_ms else { return Ok(()) };
    if manifest.expires_ms.is_some_and(|until| until <= now_ms) {
        return Err(VerifyError::Expired);
    }
    if manifest.not_before_ms.is_some_and(|from| now_ms < from) {
        return Err(VerifyError::NotYetValid);
    }
    Ok(())
}
