//! Where an issuer's keys are, as `lictor.toml` says it, and which URLs may be asked for them.

use std::net::IpAddr;
use std::path::PathBuf;

use reqwest::Url;
use serde::{Deserialize, Serialize};

use crate::error::shown;

/// Path of the metadata of an OpenID provider, after the whole issuer (OpenID Connect Discovery).
const OPENID_PATH: &str = "/.well-known/openid-configuration";
/// Path of the metadata of an OAuth server, before the path of the issuer (RFC 8414).
const OAUTH_PATH: &str = "/.well-known/oauth-authorization-server";

/// `jwks` of an issuer: a file, or a URL to fetch from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "String", into = "String")]
pub enum KeysAt {
    /// A file, read again when it changes.
    File(PathBuf),
    /// `https://…`; `http://…` on this machine only.
    Url(String),
}

impl From<String> for KeysAt {
    fn from(text: String) -> Self {
        if text.contains("://") { Self::Url(text) } else { Self::File(text.into()) }
    }
}

impl From<KeysAt> for String {
    fn from(at: KeysAt) -> Self {
        match at {
            KeysAt::File(path) => path.to_string_lossy().into_owned(),
            KeysAt::Url(url) => url,
        }
    }
}

/// `discovery` of an issuer: whether its metadata says where its keys are.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Discovery {
    /// `true`: at the well-known places of the issuer. `false`: nowhere.
    WellKnown(bool),
    /// At this URL.
    Url(String),
}

/// Why keys cannot be had from where the configuration says.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PlaceError {
    /// Two places.
    #[error("the issuer `{iss}` has both `jwks` and `discovery`: keep one of them")]
    Both {
        /// Which issuer.
        iss: String,
    },
    /// No place.
    #[error("the issuer `{iss}` has `discovery = false` and no `jwks`: name a file or a URL")]
    Neither {
        /// Which issuer.
        iss: String,
    },
    /// A name that leads nowhere.
    #[error(
        "the issuer `{iss}` cannot be asked where its keys are ({why}): name its `jwks`, or a URL as `discovery`"
    )]
    Undiscoverable {
        /// Which issuer.
        iss: String,
        /// Why not.
        why: &'static str,
    },
    /// A URL that is not fetched.
    #[error("the issuer `{iss}`: `{url}` cannot be used: {why}")]
    Url {
        /// Which issuer.
        iss: String,
        /// The text.
        url: String,
        /// What is wrong with it.
        why: &'static str,
    },
}

/// Where keys are fetched from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Source {
    /// The key set itself.
    Jwks(Url),
    /// Metadata that names the key set, at the first of these that has any.
    Metadata(Vec<Url>),
}

impl Source {
    /// Whether everything is asked on this machine.
    pub(crate) fn is_local(&self) -> bool {
        match self {
            Self::Jwks(url) => is_loopback(url),
            Self::Metadata(urls) => urls.iter().all(is_loopback),
        }
    }
}

/// Where the keys of `iss` are fetched from; `None` for those of a file.
///
/// # Errors
/// [`PlaceError`].
pub(crate) fn source(
    iss: &str,
    jwks: Option<&KeysAt>,
    discovery: Option<&Discovery>,
) -> Result<Option<Source>, PlaceError> {
    let named = || shown(iss);
    let url = |text: &str| {
        let refused = |why| PlaceError::Url { iss: named(), url: shown(text), why };
        fetchable(text).map_err(refused)
    };
    match (jwks, discovery) {
        (Some(_), Some(Discovery::WellKnown(true) | Discovery::Url(_))) => {
            Err(PlaceError::Both { iss: named() })
        }
        (Some(KeysAt::File(_)), _) => Ok(None),
        (Some(KeysAt::Url(text)), _) => Ok(Some(Source::Jwks(url(text)?))),
        (None, Some(Discovery::WellKnown(false))) => Err(PlaceError::Neither { iss: named() }),
        (None, Some(Discovery::Url(text))) => Ok(Some(Source::Metadata(vec![url(text)?]))),
        (None, Some(Discovery::WellKnown(true)) | None) => {
            let undiscoverable = |why| PlaceError::Undiscoverable { iss: named(), why };
            let base = fetchable(iss).map_err(undiscoverable)?;
            Ok(Some(Source::Metadata(well_known(&base))))
        }
    }
}

/// The two places of metadata, in the order in which they are tried.
fn well_known(issuer: &Url) -> Vec<Url> {
    let path = issuer.path().trim_end_matches('/').to_owned();
    let at = |path: &str| {
        let mut url = issuer.clone();
        url.set_path(path);
        url
    };
    vec![at(&format!("{path}{OPENID_PATH}")), at(&format!("{OAUTH_PATH}{path}"))]
}

/// A URL that keys may be fetched from.
///
/// # Errors
/// What is wrong with it.
pub(crate) fn fetchable(text: &str) -> Result<Url, &'static str> {
    let url = Url::parse(text).map_err(|_| "it is not a URL")?;
    match url.scheme() {
        "https" => {}
        "http" if is_loopback(&url) => {}
        "http" => {
            return Err(
                "plain http is fetched from this machine only (`localhost`, 127.0.0.1, ::1): use https",
            );
        }
        _ => return Err("only https is fetched"),
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err("it holds a user name or password");
    }
    if url.fragment().is_some() {
        return Err("it has a fragment");
    }
    Ok(url)
}

/// Whether `url` leads to this machine without a name server having a say.
pub(crate) fn is_loopback(url: &Url) -> bool {
    let host = url.host_str().unwrap_or_default();
    let address = host.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>();
    host == "localhost" || address.is_ok_and(|address| address.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn urls(iss: &str, discovery: Option<&Discovery>) -> Vec<String> {
        match source(iss, None, discovery).unwrap().unwrap() {
            Source::Metadata(urls) => urls.into_iter().map(String::from).collect(),
            Source::Jwks(url) => panic!("{url}"),
        }
    }

    #[test]
    fn metadata_is_looked_for_where_the_standards_say() {
        assert_eq!(
            urls("https://idp.example", None),
            [
                "https://idp.example/.well-known/openid-configuration",
                "https://idp.example/.well-known/oauth-authorization-server",
            ]
        );
        let with_path = [
            "https://idp.example:8443/realms/a/.well-known/openid-configuration",
            "https://idp.example:8443/.well-known/oauth-authorization-server/realms/a",
        ];
        assert_eq!(urls("https://idp.example:8443/realms/a", None), with_path);
        let yes = Discovery::WellKnown(true);
        assert_eq!(urls("https://idp.example:8443/realms/a/", Some(&yes)), with_path);
        let own = Discovery::Url("https://meta.example/m?x=1".to_owned());
        assert_eq!(urls("any name", Some(&own)), ["https://meta.example/m?x=1"]);
    }

    #[test]
    fn keys_have_exactly_one_place() {
        let (file, url) = (KeysAt::from("keys.json".to_owned()), "https://i.example/jwks");
        let remote = KeysAt::from(url.to_owned());
        let (yes, no) = (Discovery::WellKnown(true), Discovery::WellKnown(false));
        let ask = |jwks, discovery| source("i", jwks, discovery);
        assert_eq!(ask(Some(&file), None), Ok(None));
        assert_eq!(ask(Some(&file), Some(&no)), Ok(None));
        assert_eq!(ask(Some(&remote), None), Ok(Some(Source::Jwks(Url::parse(url).unwrap()))));
        assert!(matches!(ask(Some(&file), Some(&yes)), Err(PlaceError::Both { .. })));
        assert!(matches!(ask(None, Some(&no)), Err(PlaceError::Neither { .. })));
        assert!(matches!(ask(None, None), Err(PlaceError::Undiscoverable { .. })));
        let message = ask(None, None).unwrap_err().to_string();
        assert!(message.contains("`jwks`") && message.contains("`i`"), "{message}");
    }

    #[test]
    fn what_anybody_on_the_way_could_change_is_not_fetched() {
        for good in [
            "https://i.example/jwks",
            "https://10.0.0.1/jwks",
            "http://localhost:8085/jwks",
            "http://127.0.0.1/jwks",
            "http://127.9.9.9/jwks",
            "http://[::1]:80/jwks",
        ] {
            assert!(fetchable(good).is_ok(), "{good}");
        }
        for bad in [
            "http://i.example/jwks",
            "http://10.0.0.1/jwks",
            "http://localhost.evil.example/jwks",
            "http://127.0.0.1.nip.io/jwks",
            "http://[::ffff:8.8.8.8]/jwks",
            "http://0.0.0.0/jwks",
            "ftp://localhost/jwks",
            "file:///etc/passwd",
            "https://user@i.example/jwks",
            "https://:pw@i.example/jwks",
            "https://i.example/jwks#x",
            "https://",
            "jwks",
        ] {
            assert!(fetchable(bad).is_err(), "{bad}");
        }
        let named = source("i", Some(&KeysAt::from("http://i.example/k".to_owned())), None);
        let message = named.unwrap_err().to_string();
        assert!(message.contains("http://i.example/k") && message.contains("https"), "{message}");
    }
}
