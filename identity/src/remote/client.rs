//! One bounded GET or POST. What an issuer answers is as foreign as what a caller sends.

use std::time::Duration;

use bytes::Bytes;
use reqwest::header::{AUTHORIZATION, CACHE_CONTROL, CONTENT_TYPE, HeaderValue};
use reqwest::redirect::Policy;
use reqwest::{Certificate, Client, ClientBuilder, Response, StatusCode, Url};
use zeroize::Zeroizing;

use super::schedule::max_age_s;
use crate::jwks::{JWKS_MAX_BYTES, JwksError};

/// Largest metadata document that is read, bytes.
pub const METADATA_MAX_BYTES: usize = 64 * 1024;
/// How we name ourselves.
const USER_AGENT: &str = concat!("lictor/", env!("CARGO_PKG_VERSION"));

/// Why keys could not be fetched. For operators: callers are told `issuer_unavailable` only.
#[derive(Debug, thiserror::Error)]
pub(crate) enum FetchError {
    #[error("`{url}` did not answer: {why}")]
    Unreachable { url: String, why: String },
    #[error("`{url}` answered {status}, and only 200 counts (redirects are not followed)")]
    Status { url: String, status: StatusCode },
    #[error("`{url}` answers more than the {max_bytes} bytes that are read")]
    TooLarge { url: String, max_bytes: usize },
    #[error("`{url}`: {error}")]
    Jwks { url: String, error: JwksError },
    #[error("`{url}` is not the metadata of the issuer: {why}")]
    Metadata { url: String, why: String },
}

impl FetchError {
    /// The server is there and has nothing at this place.
    pub(crate) fn is_elsewhere(&self) -> bool {
        matches!(self, Self::Status { status, .. } if status.is_client_error())
    }
}

/// A body, and how long its sender lets it be kept.
#[derive(Debug)]
pub(crate) struct Body {
    pub(crate) bytes: Vec<u8>,
    pub(crate) max_age_s: Option<u64>,
}

/// An answer to a form, whatever its status.
pub(crate) struct Posted {
    pub(crate) status: u16,
    pub(crate) is_json: bool,
    pub(crate) bytes: Zeroizing<Vec<u8>>,
}

/// Fetches for one issuer.
#[derive(Debug, Clone)]
pub(crate) struct Fetcher {
    client: Client,
}

impl Fetcher {
    /// A client that trusts the platform's roots and `roots`, and gives up a fetch after
    /// `timeout`. A `local` one never goes through a proxy, and needs no roots of the platform,
    /// which a container may lack.
    ///
    /// # Errors
    /// The reason why there is no client.
    pub(crate) fn new(
        roots: Vec<Certificate>,
        timeout: Duration,
        local: bool,
    ) -> Result<Self, String> {
        let client = if local {
            let direct = || bounded(timeout).no_proxy();
            let merged = direct().tls_certs_merge(roots.clone()).build();
            merged.or_else(|_| direct().tls_certs_only(roots).build())
        } else {
            bounded(timeout).tls_certs_merge(roots).build()
        };
        Ok(Self { client: client.map_err(|error| innermost(&error))? })
    }

    pub(crate) async fn key_set(&self, url: &Url) -> Result<Body, FetchError> {
        self.get(url, JWKS_MAX_BYTES).await
    }

    pub(crate) async fn metadata(&self, url: &Url) -> Result<Body, FetchError> {
        self.get(url, METADATA_MAX_BYTES).await
    }

    async fn get(&self, url: &Url, max_bytes: usize) -> Result<Body, FetchError> {
        let unreachable =
            |error: reqwest::Error| FetchError::Unreachable { url: named(url), why: cause(&error) };
        let request = self.client.get(url.clone()).header("accept", "application/json");
        let response = request.send().await.map_err(unreachable)?;
        if response.status() != StatusCode::OK {
            return Err(FetchError::Status { url: named(url), status: response.status() });
        }
        let allowed = response.headers().get(CACHE_CONTROL);
        let max_age_s = allowed.and_then(|value| value.to_str().ok()).and_then(max_age_s);
        let mut bytes = read(response, url, max_bytes).await?;
        Ok(Body { bytes: std::mem::take(&mut *bytes), max_age_s })
    }

    /// Sends a form of secrets, with an `Authorization` of our own where one is given.
    ///
    /// # Errors
    /// Where no whole answer of at most `max_bytes` came.
    pub(crate) async fn post(
        &self,
        url: &Url,
        form: Zeroizing<Vec<u8>>,
        authorization: Option<Zeroizing<String>>,
        max_bytes: usize,
    ) -> Result<Posted, FetchError> {
        let failed = |why: &str| FetchError::Unreachable { url: named(url), why: why.to_owned() };
        let mut request = self
            .client
            .post(url.clone())
            .header("accept", "application/json")
            .header(CONTENT_TYPE, "application/x-www-form-urlencoded")
            // The bytes are wiped when the last who holds them lets go.
            .body(Bytes::from_owner(form));
        if let Some(text) = authorization {
            let value = HeaderValue::from_maybe_shared(Bytes::from_owner(Wiped(text)));
            let mut value = value.map_err(|_| failed("our credential cannot be sent"))?;
            value.set_sensitive(true);
            request = request.header(AUTHORIZATION, value);
        }
        let response = request.send().await.map_err(|error| failed(&cause(&error)))?;
        let status = response.status().as_u16();
        let kind = response.headers().get(CONTENT_TYPE).and_then(|value| value.to_str().ok());
        let kind = kind.and_then(|kind| kind.split(';').next()).unwrap_or_default();
        let is_json = kind.trim().eq_ignore_ascii_case("application/json");
        Ok(Posted { status, is_json, bytes: read(response, url, max_bytes).await? })
    }
}

/// A text as bytes that are wiped when dropped.
struct Wiped(Zeroizing<String>);

impl AsRef<[u8]> for Wiped {
    fn as_ref(&self) -> &[u8] {
        self.0.as_bytes()
    }
}

async fn read(
    mut response: Response,
    url: &Url,
    max_bytes: usize,
) -> Result<Zeroizing<Vec<u8>>, FetchError> {
    let unreachable =
        |error: reqwest::Error| FetchError::Unreachable { url: named(url), why: cause(&error) };
    let mut bytes = Zeroizing::new(Vec::new());
    while let Some(chunk) = response.chunk().await.map_err(unreachable)? {
        if bytes.len() + chunk.len() > max_bytes {
            return Err(FetchError::TooLarge { url: named(url), max_bytes });
        }
        bytes.extend_from_slice(&chunk);
    }
    Ok(bytes)
}

fn bounded(timeout: Duration) -> ClientBuilder {
    Client::builder()
        .user_agent(USER_AGENT)
        .redirect(Policy::none())
        .referer(false)
        .connect_timeout(timeout)
        .timeout(timeout)
}

/// The URL without its query, which may hold a key.
pub(crate) fn named(url: &Url) -> String {
    let mut url = url.clone();
    url.set_query(None);
    crate::error::shown(url.as_str())
}

fn cause(error: &reqwest::Error) -> String {
    if error.is_timeout() {
        return "no whole answer in time".to_owned();
    }
    let kind = if error.is_connect() { "no connection" } else { "the connection broke" };
    format!("{kind} ({})", innermost(error))
}

/// The innermost reason, which is the one that tells most.
fn innermost(error: &reqwest::Error) -> String {
    let mut inner: &dyn std::error::Error = error;
    while let Some(source) = inner.source() {
        inner = source;
    }
    inner.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_query_is_not_shown() {
        let url = Url::parse("https://i.example/keys?token=hunter2").unwrap();
        assert_eq!(named(&url), "https://i.example/keys");
    }
}
