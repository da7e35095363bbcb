//! Where a bundle is, as the configuration says it.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

/// `bundle`: a file or folder, `https://…` (`http://…` on this machine), or
/// `oci://registry/repository:tag` (`@sha256:…` for one manifest).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "String", into = "String")]
pub enum BundleAt {
    /// An archive or a folder.
    File(PathBuf),
    /// On a web server or in a registry.
    Url(String),
}

impl BundleAt {
    /// Makes a relative path one below `base`; a URL stays what it is.
    pub fn take_paths_from(&mut self, base: &Path) {
        if let Self::File(path) = self {
            *path = base.join(&*path);
        }
    }
}

impl From<String> for BundleAt {
    fn from(text: String) -> Self {
        if text.contains("://") { Self::Url(text) } else { Self::File(text.into()) }
    }
}

impl From<BundleAt> for String {
    fn from(at: BundleAt) -> Self {
        match at {
            BundleAt::File(path) => path.to_string_lossy().into_owned(),
            BundleAt::Url(url) => url,
        }
    }
}

impl From<PathBuf> for BundleAt {
    fn from(path: PathBuf) -> Self {
        Self::File(path)
    }
}

impl From<&Path> for BundleAt {
    fn from(path: &Path) -> Self {
        Self::File(path.to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_below_the_configuration_and_a_url_stays_what_it_is() {
        for (text, then) in [
            ("bundle.tar.gz", "/etc/lictor/bundle.tar.gz"),
            ("/srv/bundle", "/srv/bundle"),
            ("https://b.example/x/bundle.tar.gz", "https://b.example/x/bundle.tar.gz"),
            ("oci://r.example/team/policy:prod", "oci://r.example/team/policy:prod"),
        ] {
            let mut at = BundleAt::from(text.to_owned());
            at.take_paths_from(Path::new("/etc/lictor"));
            assert_eq!(String::from(at), then);
        }
    }
}
