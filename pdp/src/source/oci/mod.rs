//! A bundle in a registry (OCI Distribution Specification): one layer of an image manifest, by tag
//! or by digest.
//!
//! References and manifests are read by `oci-client`; its own transfers have no bound on what a
//! registry sends, so they are ours.
//!
//! # Layout
//!
//! - this file: the place, and the two questions: which manifest, and its layer.
//! - `login`: what a registry wants before it answers.
//! - `manifest`: which layer of a manifest is the bundle.

mod login;
mod manifest;

use std::time::Duration;

use async_trait::async_trait;
use lictor_policy_lib::bundle::Limits;
use oci_client::Reference;
use reqwest::header::{ACCEPT, HeaderValue, LOCATION};
use reqwest::{Response, Url};
use sha2::{Digest as _, Sha256};

use self::login::Login;
use self::manifest::{Layer, MANIFEST_BYTES_MAX, MANIFEST_TYPES};
use super::SourceError;
use super::ask::{Answer, Ask, Asked, Content, Mark, Pace};
use super::client::{Credential, FetchError, Fetcher, Get, is_loopback, named, status_error};
use super::config::FetchConfig;

/// How often a registry may send us on to where its layers are.
pub(super) const REDIRECTS_MAX: usize = 3;

/// A place in a registry.
#[derive(Debug)]
pub(super) struct OciPlace {
    reference: Reference,
    /// `<scheme>://<registry>/v2/<repository>/`.
    base: Url,
    fetch: FetchConfig,
    credential: Credential,
    limits: Limits,
}

impl OciPlace {
    /// # Errors
    /// A reference that names nothing, or certificates that cannot be used.
    pub(super) fn new(reference: &str, fetch: &FetchConfig) -> Result<Self, SourceError> {
        let refused =
            |why| SourceError::Place { place: format!("oci://{}", reference.escape_debug()), why };
        let parsed = parsed(reference).map_err(refused)?;
        let base = base(&parsed, !fetch.ca.is_empty())
            .ok_or_else(|| refused("its registry is not a host"))?;
        // What cannot be used is said at start, not when the registry is asked.
        Fetcher::new(&base, &fetch.tls(), fetch.timeout())?;
        Ok(Self {
            reference: parsed,
            base,
            fetch: fetch.clone(),
            credential: fetch.credential(),
            limits: Limits::default(),
        })
    }

    fn url(&self, path: &str) -> Result<Url, FetchError> {
        // The parts of a reference and a checked digest have no characters to escape.
        let joined = self.base.join(path);
        joined.map_err(|error| FetchError::Own(format!("`{path}`: {error}")))
    }

    /// The manifest that the reference stands for, and its digest.
    async fn manifest(
        &self,
        fetcher: &Fetcher,
        login: &mut Login,
    ) -> Result<(Vec<u8>, String), FetchError> {
        let name = self.reference.digest().or_else(|| self.reference.tag()).unwrap_or_default();
        let url = self.url(&format!("manifests/{name}"))?;
        let accept = HeaderValue::from_static(MANIFEST_TYPES);
        let response = login.get(fetcher, &url, (ACCEPT, accept)).await?;
        if response.status() != 200 {
            return Err(status_error(&url, response.status().as_u16()));
        }
        let bytes = fetcher.body(response, &url, MANIFEST_BYTES_MAX).await?;
        let digest = digest_of(&bytes);
        match self.reference.digest() {
            Some(wanted) if wanted != digest => {
                Err(FetchError::Digest { url: named(&url), digest: wanted.to_owned() })
            }
            _ => Ok((bytes, digest)),
        }
    }

    /// The bytes of a layer, which have its digest.
    async fn layer(
        &self,
        fetcher: &Fetcher,
        login: &mut Login,
        layer: &Layer,
    ) -> Result<Vec<u8>, FetchError> {
        let url = self.url(&format!("blobs/{}", layer.digest))?;
        if layer.bytes > self.limits.archive_bytes {
            let max_bytes = self.limits.archive_bytes;
            return Err(FetchError::TooLarge { url: named(&url), max_bytes });
        }
        let accept = HeaderValue::from_static("*/*");
        let response = login.get(fetcher, &url, (ACCEPT, accept)).await?;
        let (response, at) = self.follow(fetcher, response, url.clone()).await?;
        if response.status() != 200 {
            return Err(status_error(&at, response.status().as_u16()));
        }
        let bytes = fetcher.body(response, &at, layer.bytes).await?;
        if bytes.len() != layer.bytes || digest_of(&bytes) != layer.digest {
            return Err(FetchError::Digest { url: named(&url), digest: layer.digest.clone() });
        }
        Ok(bytes)
    }

    /// Registries keep their layers elsewhere. Whoever is there is shown nothing, and is believed
    /// nothing: the digest says whether it is the layer.
    async fn follow(
        &self,
        fetcher: &Fetcher,
        mut response: Response,
        mut at: Url,
    ) -> Result<(Response, Url), FetchError> {
        for _ in 0..REDIRECTS_MAX {
            if !matches!(response.status().as_u16(), 301 | 302 | 303 | 307 | 308) {
                break;
            }
            let to = response.headers().get(LOCATION).and_then(|value| value.to_str().ok());
            let to = to.and_then(|to| at.join(to).ok());
            let Some(to) = to else { break };
            if !self.is_reachable(&to) {
                return Err(FetchError::Elsewhere {
                    url: named(&at),
                    to: named(&to),
                    why: "only https is followed",
                });
            }
            response = fetcher.for_others(&to)?.head(Get::new(&to)).await?;
            at = to;
        }
        Ok((response, at))
    }

    /// Encrypted, or as plain as the registry itself and on this machine too.
    fn is_reachable(&self, to: &Url) -> bool {
        to.scheme() == "https"
            || (to.scheme() == "http" && is_loopback(to) && self.base.scheme() == "http")
    }

    async fn offer(&self, known: Option<&Mark>) -> Result<Asked, FetchError> {
        let tls = self.fetch.tls();
        let fetcher = Fetcher::new(&self.base, &tls, self.fetch.timeout())?;
        let shown = self.credential.read().await?;
        let mut login = Login::new(&self.base, self.reference.repository(), shown, fetcher.clone());
        let (bytes, digest) = self.manifest(&fetcher, &mut login).await?;
        let mark = Mark::Manifest(digest);
        if known == Some(&mark) {
            return Ok(Asked::Same);
        }
        let found = async {
            let layer = manifest::layer(&bytes, &self.shown())?;
            self.layer(&fetcher, &mut login, &layer).await
        };
        match found.await {
            Ok(bytes) => Ok(Asked::Found { content: Content::Archive(bytes), mark: Some(mark) }),
            Err(error) if error.is_refusal() => {
                Ok(Asked::Unusable { error: error.into(), mark: Some(mark) })
            }
            Err(error) => Err(error),
        }
    }
}

#[async_trait]
impl Ask for OciPlace {
    fn shown(&self) -> String {
        format!("oci://{}", self.reference.whole())
    }

    fn pace(&self) -> Pace {
        self.fetch.pace(false)
    }

    async fn ask(&self, known: Option<&Mark>, _: Option<Duration>) -> Result<Answer, SourceError> {
        let asked = match self.offer(known).await {
            Err(error) if error.is_refusal() => Asked::Unusable { error: error.into(), mark: None },
            asked => asked?,
        };
        Ok(Answer { asked, long_poll: Some(false) })
    }
}

/// A reference that says which registry and which manifest.
fn parsed(text: &str) -> Result<Reference, &'static str> {
    let host = text.split_once('/').map(|(host, _)| host).unwrap_or_default();
    if host != "localhost" && !host.contains(['.', ':']) {
        return Err("it names no registry: write `oci://registry.example/repository:tag`");
    }
    let reference: Reference = text.parse().map_err(
        |_| "it is not `oci://registry/repository:tag` or `oci://registry/repository@sha256:…`",
    )?;
    match reference.digest() {
        Some(digest) if !manifest::is_sha256(digest) => {
            return Err(
                "only digests of the form `sha256:…` (64 lower-case hex digits) are checked",
            );
        }
        Some(_) => return Ok(reference),
        None => {}
    }
    // Without either, the parser takes `latest`: whoever wants that says so.
    let name = text.rsplit('/').next().unwrap_or_default();
    if name.contains(':') {
        Ok(reference)
    } else {
        Err("it names neither a tag nor a digest: add `:tag` or `@sha256:…`")
    }
}

/// Plain http is spoken on this machine only, and not where authorities for https are configured.
fn base(reference: &Reference, has_authorities: bool) -> Option<Url> {
    let registry = reference.resolve_registry();
    let at = |scheme: &str| {
        Url::parse(&format!("{scheme}://{registry}/v2/{}/", reference.repository())).ok()
    };
    let plain = at("http").filter(|url| is_loopback(url) && !has_authorities);
    plain.or_else(|| at("https"))
}

fn digest_of(bytes: &[u8]) -> String {
    format!("sha256:{}", hex::encode(Sha256::digest(bytes)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reference_names_a_registry_and_a_manifest() {
        let digest = format!("sha256:{}", "a".repeat(64));
        for good in [
            "r.example/team/policy:prod",
            "localhost:5000/policy:1",
            "localhost/policy:1",
            "127.0.0.1:5000/a/b/c:x",
            &format!("r.example/policy@{digest}"),
            &format!("r.example/policy:prod@{digest}"),
        ] {
            assert!(parsed(good).is_ok(), "{good}");
        }
        for bad in [
            "policy:prod",
            "team/policy:prod",
            "r.example/policy",
            "r.example:5000/policy",
            "r.example/Policy:prod",
            "r.example/policy:",
            "r.example/../x:y",
            "u:p@r.example/policy:x",
            "",
            &format!("r.example/policy@sha256:{}", "a".repeat(32)),
            &format!("r.example/policy@sha512:{}", "a".repeat(128)),
        ] {
            assert!(parsed(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn plain_http_is_spoken_on_this_machine_only() {
        let scheme = |text: &str, authorities| {
            base(&parsed(text).unwrap(), authorities).unwrap().scheme().to_owned()
        };
        assert_eq!(scheme("r.example/p:1", false), "https");
        assert_eq!(scheme("10.0.0.1:5000/p:1", false), "https");
        assert_eq!(scheme("localhost.evil.example/p:1", false), "https");
        assert_eq!(scheme("localhost:5000/p:1", false), "http");
        assert_eq!(scheme("127.0.0.1:5000/p:1", false), "http");
        assert_eq!(scheme("localhost:5000/p:1", true), "https");
    }

    #[test]
    fn a_registry_sends_us_on_only_where_nobody_listens_in() {
        let place = |text: &str| OciPlace::new(text, &FetchConfig::default()).unwrap();
        let (far, near) = (place("r.example/p:1"), place("localhost:5000/p:1"));
        for (to, from_far, from_near) in [
            ("https://storage.example/x", true, true),
            ("http://storage.example/x", false, false),
            ("http://127.0.0.1:9/x", false, true),
            ("file:///etc/passwd", false, false),
        ] {
            let to = Url::parse(to).unwrap();
            assert_eq!(
                (far.is_reachable(&to), near.is_reachable(&to)),
                (from_far, from_near),
                "{to}"
            );
        }
    }
}
