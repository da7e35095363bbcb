//! A bundle on a web server, as OPA's bundle protocol has it: entity tags, and long polling where
//! the server can.

use std::time::Duration;

use async_trait::async_trait;
use lictor_policy_lib::bundle::Limits;
use reqwest::Url;
use reqwest::header::{
    ACCEPT, CONTENT_TYPE, ETAG, HeaderMap, HeaderName, HeaderValue, IF_NONE_MATCH,
};

use super::SourceError;
use super::ask::{Answer, Ask, Asked, Content, Mark, Pace};
use super::client::{Credential, FetchError, Fetcher, Get, is_loopback, named, status_error};
use super::config::FetchConfig;

/// By this type a server says that it waits for something new if it is asked to.
const LONG_POLL_TYPE: &str = "application/vnd.openpolicyagent.bundles";
/// RFC 7240: what we would like, and how long the server may wait for it.
const PREFER: HeaderName = HeaderName::from_static("prefer");
/// Longest entity tag that is sent back, bytes.
pub(super) const ETAG_BYTES_MAX: usize = 1_024;

/// A place on a web server.
#[derive(Debug)]
pub(super) struct HttpPlace {
    url: Url,
    fetch: FetchConfig,
    credential: Credential,
    max_bytes: usize,
}

impl HttpPlace {
    /// # Errors
    /// A URL that is not fetched, or certificates that cannot be used.
    pub(super) fn new(
        url: &str,
        fetch: &FetchConfig,
        insecure_dev: bool,
    ) -> Result<Self, SourceError> {
        let url = fetchable(url, insecure_dev)?;
        // What cannot be used is said at start, not when the server is asked.
        Fetcher::new(&url, &fetch.tls(), fetch.timeout())?;
        Ok(Self {
            url,
            fetch: fetch.clone(),
            credential: fetch.credential(),
            max_bytes: Limits::default().archive_bytes,
        })
    }

    /// The bytes of a 200.
    async fn archive(
        &self,
        fetcher: &Fetcher,
        response: reqwest::Response,
    ) -> Result<Vec<u8>, FetchError> {
        let kind = text(response.headers(), &CONTENT_TYPE).unwrap_or_default();
        if is_a_page(kind) {
            return Err(FetchError::NotABundle {
                url: named(&self.url),
                found: format!("`{}`", kind.escape_debug()),
                hint: "check the URL, and that no login page stands before it",
            });
        }
        fetcher.body(response, &self.url, self.max_bytes).await
    }
}

#[async_trait]
impl Ask for HttpPlace {
    fn shown(&self) -> String {
        named(&self.url)
    }

    fn pace(&self) -> Pace {
        self.fetch.pace(true)
    }

    async fn ask(
        &self,
        known: Option<&Mark>,
        wait: Option<Duration>,
    ) -> Result<Answer, SourceError> {
        let tls = self.fetch.tls();
        let fetcher = Fetcher::new(&self.url, &tls, self.fetch.timeout())?;
        let etag = match known {
            Some(Mark::Tag(tag)) => HeaderValue::from_str(tag).ok(),
            _ => None,
        };
        let mut get = Get::new(&self.url)
            .header(
                ACCEPT,
                HeaderValue::from_static("application/gzip, application/octet-stream, */*;q=0.1"),
            )
            .header(PREFER, prefer(wait))
            .proved_by(self.credential.read().await?.header()?);
        get.wait = wait.unwrap_or_default();
        if let Some(etag) = &etag {
            get = get.header(IF_NONE_MATCH, etag.clone());
        }
        let response = fetcher.head(get).await?;
        let kind = text(response.headers(), &CONTENT_TYPE);
        let waits = |kind: &str| essence(kind).eq_ignore_ascii_case(LONG_POLL_TYPE);
        match (response.status().as_u16(), etag) {
            // A 304 needs no type; then nothing is new about waiting either.
            (304, Some(_)) => Ok(Answer { asked: Asked::Same, long_poll: kind.map(waits) }),
            (200, _) => {
                let long_poll = Some(kind.is_some_and(waits));
                let mark = tag(response.headers()).map(Mark::Tag);
                match self.archive(&fetcher, response).await {
                    Ok(bytes) => {
                        let content = Content::Archive(bytes);
                        Ok(Answer { asked: Asked::Found { content, mark }, long_poll })
                    }
                    Err(error) if error.is_refusal() => Ok(Answer {
                        asked: Asked::Unusable { error: error.into(), mark },
                        long_poll,
                    }),
                    Err(error) => Err(error.into()),
                }
            }
            (status, _) => Err(status_error(&self.url, status).into()),
        }
    }
}

/// Whole bundles only: changes to one are never taken, and a server that has nothing else is told
/// so.
fn prefer(wait: Option<Duration>) -> HeaderValue {
    let text = match wait {
        Some(wait) => format!("modes=snapshot;wait={}", wait.as_secs()),
        None => "modes=snapshot".to_owned(),
    };
    HeaderValue::from_str(&text).unwrap_or_else(|_| HeaderValue::from_static("modes=snapshot"))
}

fn text<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<&'a str> {
    headers.get(name).and_then(|value| value.to_str().ok())
}

/// The entity tag, as it is sent back.
fn tag(headers: &HeaderMap) -> Option<String> {
    text(headers, &ETAG)
        .filter(|tag| !tag.is_empty() && tag.len() <= ETAG_BYTES_MAX)
        .map(str::to_owned)
}

fn essence(kind: &str) -> &str {
    kind.split(';').next().unwrap_or_default().trim()
}

/// Whether a content type is that of a page or a message, which stands where a bundle should.
fn is_a_page(kind: &str) -> bool {
    let kind = essence(kind).to_ascii_lowercase();
    kind.starts_with("text/")
        || kind.ends_with("+xml")
        || kind.ends_with("json")
        || kind == "application/xml"
}

/// A URL that bundles may be fetched from.
fn fetchable(text: &str, insecure_dev: bool) -> Result<Url, SourceError> {
    let refused = |why| SourceError::Place { place: shown(text), why };
    let url = Url::parse(text).map_err(|_| refused("it is not a URL"))?;
    match url.scheme() {
        "https" => {}
        "http" if insecure_dev || is_loopback(&url) => {}
        "http" => {
            return Err(refused(
                "plain http is fetched from this machine only (`localhost`, 127.0.0.1, ::1): use https",
            ));
        }
        _ => return Err(refused("a bundle is a path, `https://…` or `oci://…`")),
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err(refused(
            "it holds a user name or password: use `username` and `password_file` of `[pdp.fetch]`",
        ));
    }
    if url.fragment().is_some() {
        return Err(refused("it has a fragment"));
    }
    Ok(url)
}

/// The text without what may be a secret.
pub(super) fn shown(text: &str) -> String {
    match Url::parse(text) {
        Ok(url) => named(&url),
        Err(_) => text.split(['?', '@']).next().unwrap_or_default().escape_debug().to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_anybody_on_the_way_could_read_is_fetched_from_this_machine_only() {
        for (text, plain, insecure) in [
            ("https://b.example/bundle.tar.gz?x=1", true, true),
            ("http://localhost:8080/b", true, true),
            ("http://127.0.0.1/b", true, true),
            ("http://[::1]:80/b", true, true),
            ("http://b.example/b", false, true),
            ("http://127.0.0.1.nip.io/b", false, true),
            ("https://u:pw@b.example/b", false, false),
            ("https://b.example/b#x", false, false),
            ("ftp://b.example/b", false, false),
            ("s3://bucket/b", false, false),
            ("https://", false, false),
        ] {
            assert_eq!(fetchable(text, false).is_ok(), plain, "{text}");
            assert_eq!(fetchable(text, true).is_ok(), insecure, "{text}");
        }
        let error = fetchable("https://u:hunter2@b.example/b?k=hunter2", false).unwrap_err();
        assert!(!error.to_string().contains("hunter2"), "{error}");
    }

    #[test]
    fn pages_and_messages_are_told_from_archives() {
        for page in ["text/html; charset=utf-8", "application/json", "application/problem+json"] {
            assert!(is_a_page(page), "{page}");
        }
        for archive in
            ["", "application/gzip", "application/x-tar", LONG_POLL_TYPE, "binary/octet-stream"]
        {
            assert!(!is_a_page(archive), "{archive}");
        }
    }

    #[test]
    fn an_entity_tag_is_sent_back_up_to_its_limit() {
        let headers = |len: usize| {
            let value = HeaderValue::from_str(&"x".repeat(len)).unwrap();
            HeaderMap::from_iter([(ETAG, value)])
        };
        assert_eq!(tag(&headers(ETAG_BYTES_MAX)).unwrap().len(), ETAG_BYTES_MAX);
        assert_eq!(tag(&headers(ETAG_BYTES_MAX + 1)), None);
        assert_eq!(tag(&headers(0)), None);
    }
}
