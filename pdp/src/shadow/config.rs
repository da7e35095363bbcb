//! `[pdp.shadow]` of `lictor.toml`.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::source::BundleAt;

/// Most calls that may wait to be compared.
pub const QUEUE_MAX: usize = 100_000;

/// `[pdp.shadow]`: a second bundle, verified like the first, that is asked what it would have
/// decided. What is left out is taken from `[pdp]`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ShadowConfig {
    /// Where the bundle is, as `bundle` of `[pdp]`.
    pub bundle: BundleAt,
    /// Public keys (PEM) that may sign it; none: those of `[pdp]`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub trust_keys: Vec<PathBuf>,
    /// How many of them must have signed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub required_signatures: Option<usize>,
    /// Scope that signatures must name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scope: Option<String>,
    /// Bundles of a lower version are refused. Has nothing to do with that of the live bundle.
    #[serde(default)]
    pub min_version: u64,
    /// Share of the decisions that are compared, more than 0 and at most 1.
    #[serde(default = "whole")]
    pub sample: f64,
    /// How many decisions may wait to be compared; those that find no room are counted and
    /// skipped.
    #[serde(default = "waiting")]
    pub queue: usize,
}

fn whole() -> f64 {
    1.0
}

fn waiting() -> usize {
    1_024
}

/// Why `[pdp.shadow]` cannot be used.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum ShadowConfigError {
    /// No share.
    #[error("`sample` = {0} in [pdp.shadow] is not a share: use more than 0 and at most 1")]
    Sample(f64),
    /// No room, or too much of it.
    #[error("`queue` = {0} in [pdp.shadow] must be 1 to {QUEUE_MAX}")]
    Queue(usize),
}

impl ShadowConfig {
    /// Compares every decision with what `bundle` says, trusting whom `[pdp]` trusts.
    #[must_use]
    pub fn of(bundle: BundleAt) -> Self {
        Self {
            bundle,
            trust_keys: Vec::new(),
            required_signatures: None,
            scope: None,
            min_version: 0,
            sample: whole(),
            queue: waiting(),
        }
    }

    /// Makes relative paths ones below `base`.
    pub fn take_paths_from(&mut self, base: &Path) {
        self.bundle.take_paths_from(base);
        self.trust_keys.iter_mut().for_each(|path| *path = base.join(&*path));
    }

    /// Checks the numbers.
    ///
    /// # Errors
    /// [`ShadowConfigError`] says what to change.
    pub fn check(&self) -> Result<(), ShadowConfigError> {
        if !(self.sample > 0.0 && self.sample <= 1.0) {
            return Err(ShadowConfigError::Sample(self.sample));
        }
        match self.queue {
            1..=QUEUE_MAX => Ok(()),
            queue => Err(ShadowConfigError::Queue(queue)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(more: &str) -> ShadowConfig {
        toml::from_str(&format!("bundle = 'next'\n{more}")).unwrap()
    }

    #[test]
    fn what_is_printed_is_read_again_and_only_the_bundle_must_be_named() {
        let mut config = read("");
        assert_eq!(config, ShadowConfig::of(BundleAt::from(Path::new("next"))));
        let text = "trust_keys = ['k.pub']\nrequired_signatures = 2\nscope = 'x'\nmin_version = 3\n\
                    sample = 0.25\nqueue = 9\n";
        let full = read(text);
        let printed = toml::to_string_pretty(&full).unwrap();
        assert_eq!(toml::from_str::<ShadowConfig>(&printed).unwrap(), full);
        assert!(toml::from_str::<ShadowConfig>("sample = 1.0").is_err());
        assert!(toml::from_str::<ShadowConfig>("bundle = 'b'\nsampel = 1.0").is_err());
        config.take_paths_from(Path::new("/etc"));
        assert_eq!(String::from(config.bundle), "/etc/next");
    }

    #[test]
    fn shares_and_rooms_have_edges() {
        for (more, good) in [
            ("sample = 1.0", true),
            ("sample = 0.000001", true),
            ("sample = 0.0", false),
            ("sample = 1.000001", false),
            ("sample = -0.5", false),
            ("sample = nan", false),
            ("queue = 1", true),
            ("queue = 100000", true),
            ("queue = 0", false),
            ("queue = 100001", false),
        ] {
            assert_eq!(read(more).check().is_ok(), good, "{more}");
        }
    }
}
