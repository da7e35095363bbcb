//! From an issuer to its key set (OpenID Connect Discovery, RFC 8414).

use lictor_proto::json::{Node, scan};
use reqwest::Url;

use super::client::{Body, FetchError, Fetcher, named};
use super::place::{Source, fetchable, is_loopback};
use crate::error::shown;
use crate::jwks::Jwks;

/// What one fetch brings.
#[derive(Debug)]
pub(crate) struct Loaded {
    pub(crate) jwks: Jwks,
    /// How long the issuer lets caches keep it, seconds.
    pub(crate) max_age_s: Option<u64>,
}

/// Something that keys can be fetched from.
pub(crate) trait FetchKeys: Send + Sync + 'static {
    /// The key set as it is now.
    fn fetch(&self) -> impl Future<Output = Result<Loaded, FetchError>> + Send;
}

/// An issuer on the network.
#[derive(Debug)]
pub(crate) struct Remote {
    pub(crate) iss: String,
    pub(crate) source: Source,
    pub(crate) fetcher: Fetcher,
}

impl FetchKeys for Remote {
    async fn fetch(&self) -> Result<Loaded, FetchError> {
        let url = match &self.source {
            Source::Jwks(url) => url.clone(),
            Source::Metadata(urls) => self.discover(urls).await?,
        };
        let Body { bytes, max_age_s } = self.fetcher.key_set(&url).await?;
        let jwks =
            Jwks::parse(&bytes).map_err(|error| FetchError::Jwks { url: named(&url), error })?;
        Ok(Loaded { jwks, max_age_s })
    }
}

impl Remote {
    /// Where the metadata says the key set is. The next place is tried only where a server says
    /// that it has nothing at this one.
    async fn discover(&self, urls: &[Url]) -> Result<Url, FetchError> {
        let mut outcome = None;
        for url in urls {
            match self.fetcher.metadata(url).await {
                Ok(body) => return self.read(url, &body.bytes),
                Err(error) if error.is_elsewhere() => outcome = Some(error),
                Err(error) => return Err(error),
            }
        }
        let nowhere = || FetchError::Metadata { url: shown(&self.iss), why: "no place".to_owned() };
        Err(outcome.unwrap_or_else(nowhere))
    }

    fn read(&self, url: &Url, bytes: &[u8]) -> Result<Url, FetchError> {
        key_set_url(bytes, &self.iss, is_loopback(url))
            .map_err(|why| FetchError::Metadata { url: named(url), why })
    }
}

/// `jwks_uri` of the metadata of `iss`. Only a `local` issuer may lead us to plain http: a foreign
/// one must not make us ask services of this machine.
fn key_set_url(bytes: &[u8], iss: &str, local: bool) -> Result<Url, String> {
    let metadata = scan(bytes).map_err(|error| format!("it is not acceptable JSON: {error}"))?;
    let text = |name: &str| {
        let text = metadata.get(name).and_then(Node::as_str);
        text.ok_or_else(|| format!("it has no text `{name}`"))
    };
    let named = text("issuer")?;
    if named != iss {
        return Err(format!("its `issuer` is `{}`, not `{}`", shown(named), shown(iss)));
    }
    let jwks_uri = text("jwks_uri")?;
    let refused = |why| format!("its `jwks_uri` `{}` cannot be used: {why}", shown(jwks_uri));
    let url = fetchable(jwks_uri).map_err(refused)?;
    if url.scheme() != "https" && !local {
        return Err(refused("only https is fetched"));
    }
    Ok(url)
}

#[cfg(test)]
mod tests {
    use super::*;

    const ISS: &str = "https://idp.example/a";

    fn metadata(issuer: &str, jwks_uri: &str) -> String {
        format!("{{\"issuer\":\"{issuer}\",\"jwks_uri\":\"{jwks_uri}\"}}")
    }

    #[test]
    fn metadata_must_name_the_issuer_byte_by_byte() {
        let jwks = "https://keys.example/k";
        let ask = |issuer: &str| key_set_url(metadata(issuer, jwks).as_bytes(), ISS, false);
        assert_eq!(ask(ISS).unwrap().as_str(), jwks);
        for other in [
            "https://idp.example/a/",
            "https://idp.example/A",
            "https://idp.example:443/a",
            "https://IDP.example/a",
            "https://evil.example/a",
            "",
        ] {
            assert!(ask(other).unwrap_err().contains("`issuer`"), "{other}");
        }
    }

    #[test]
    fn keys_are_not_fetched_from_wherever_metadata_says() {
        let ask = |uri: &str, local| key_set_url(metadata(ISS, uri).as_bytes(), ISS, local);
        assert!(ask("http://127.0.0.1:1/k", true).is_ok());
        assert!(ask("http://127.0.0.1:1/k", false).is_err());
        for local in [true, false] {
            assert!(ask("http://idp.example/k", local).is_err());
            assert!(ask("file:///etc/passwd", local).is_err());
            assert!(ask("https://a:b@idp.example/k", local).is_err());
        }
    }

    #[test]
    fn metadata_is_read_in_one_way_only() {
        let good = metadata(ISS, "https://keys.example/k");
        for bad in [
            String::new(),
            "[]".to_owned(),
            "<html>".to_owned(),
            "{}".to_owned(),
            format!("{{\"issuer\":\"{ISS}\"}}"),
            format!("{{\"issuer\":\"{ISS}\",\"jwks_uri\":7}}"),
            good.replace("\"issuer\"", "\"issuer\":\"x\",\"issuer\""),
        ] {
            assert!(key_set_url(bad.as_bytes(), ISS, false).is_err(), "{bad}");
        }
    }
}
