//! `[pdp.revocations]` of `lictor.toml`.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

/// `[pdp.revocations]`: a signed list of what is revoked that somebody else keeps, besides the
/// decision point's own. Once it is configured, nothing is allowed without it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RevocationsConfig {
    /// The list, looked at at least once a second.
    pub file: PathBuf,
    /// Public keys (PEM) that may sign it.
    pub trust_keys: Vec<PathBuf>,
    /// A list that was signed longer ago is stale, even before it expires, in seconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_age_s: Option<u64>,
}

impl RevocationsConfig {
    /// Makes relative paths ones below `base`.
    pub fn take_paths_from(&mut self, base: &Path) {
        for path in self.trust_keys.iter_mut().chain([&mut self.file]) {
            *path = base.join(&*path);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_printed_as_it_is_read() {
        let text = "file = \"r.jws\"\ntrust_keys = [\"k.pub\"]\nmax_age_s = 60\n";
        let mut config: RevocationsConfig = toml::from_str(text).unwrap();
        assert_eq!(toml::to_string(&config).unwrap(), text);
        config.take_paths_from(Path::new("/etc/lictor"));
        assert_eq!(config.file, Path::new("/etc/lictor/r.jws"));
        assert_eq!(config.trust_keys, [Path::new("/etc/lictor/k.pub")]);
        assert!(toml::from_str::<RevocationsConfig>("file = 'a'\nkeys = []\n").is_err());
    }
}
