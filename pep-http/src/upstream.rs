//! The providers: which one a model belongs to, and sending it what a permit covers.

use std::net::IpAddr;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::header::{ACCEPT, ACCEPT_ENCODING, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue};
use http::response::Parts;
use http::{Method, Uri};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use lictor_pep_core::forward::ForwardError;
use lictor_pep_core::upstream_auth::Credential;
use lictor_pep_core::{
    Forwarder, Outgoing, Permit, PermitError, Permitted, Proof, Refusal, UpstreamAuth,
};

use crate::config::{Config, ConfigError};

/// The caller's headers that a provider gets. Everything else stays here: what is not named could be a credential,
/// or choose an account that belongs to the provider's key. `idempotency-key` as well: all callers share that key, so
/// one could fetch the answer that was made for another.
const PASSED: [HeaderName; 7] = [
    ACCEPT,
    http::header::USER_AGENT,
    http::header::ACCEPT_LANGUAGE,
    HeaderName::from_static("openai-beta"),
    HeaderName::from_static("x-request-id"),
    HeaderName::from_static("traceparent"),
    HeaderName::from_static("tracestate"),
];
/// Official clients describe themselves in headers that begin so.
const PASSED_PREFIX: &str = "x-stainless-";

/// One provider.
#[derive(Debug)]
pub(crate) struct Upstream {
    id: String,
    base_url: String,
}

/// All providers; never empty.
#[derive(Debug)]
pub(crate) struct Upstreams {
    first: Upstream,
    others: Vec<Upstream>,
    auth: UpstreamAuth,
}

/// The provider of a model, and the model's name there.
#[derive(Debug)]
pub(crate) struct Selected<'u, 'm> {
    /// The provider.
    pub(crate) upstream: &'u Upstream,
    /// What it calls the model.
    pub(crate) model: &'m str,
    /// Whether the body names the model otherwise.
    pub(crate) renamed: bool,
}

impl Upstream {
    /// First part of the registry ids of its models.
    pub(crate) fn id(&self) -> &str {
        &self.id
    }

    /// What a permit must name.
    pub(crate) fn target(&self) -> String {
        self.base_url.clone()
    }

    /// The registry id of one of its models.
    pub(crate) fn resource_id(&self, model: &str) -> String {
        format!("{}/{model}", self.id)
    }

    /// Sends `body` to `path` under the base URL, with the caller's headers that may pass, this provider's own
    /// credential and `set`.
    pub(crate) async fn send(
        &self,
        forwarder: &Forwarder,
        permit: Permit,
        sent: Sent<'_>,
    ) -> Result<http::Response<Incoming>, ForwardError> {
        let url = format!("{}{}", self.base_url, sent.path);
        let url = url.parse::<Uri>().map_err(|_| PermitError::Target(url))?;
        let mut own = sent.set;
        own.insert(ACCEPT_ENCODING, HeaderValue::from_static("identity"));
        if !sent.body.is_empty() {
            own.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        }
        if let Some(credential) = &sent.credential {
            credential.put(&mut own);
        }
        let outgoing = Outgoing {
            method: sent.method,
            url,
            headers: passed(sent.caller),
            own,
            body: sent.body,
        };
        let mut answer = forwarder.send(permit, outgoing).await?;
        // Beside the answer, so that it can be looked for in it.
        sent.credential.map(|credential| answer.extensions_mut().insert(credential));
        Ok(answer)
    }
}

/// What is sent to a provider.
#[derive(Debug)]
pub(crate) struct Sent<'a> {
    /// The method.
    pub(crate) method: Method,
    /// Under the base URL, beginning with a slash.
    pub(crate) path: &'a str,
    /// All of the caller's headers.
    pub(crate) caller: &'a HeaderMap,
    /// Headers that obligations set.
    pub(crate) set: HeaderMap,
    /// By which the provider knows us.
    pub(crate) credential: Option<Credential>,
    /// The bytes that the permit covers.
    pub(crate) body: Bytes,
}

fn passed(caller: &HeaderMap) -> HeaderMap {
    let mut out = HeaderMap::new();
    for (name, value) in caller {
        if PASSED.contains(name) || name.as_str().starts_with(PASSED_PREFIX) {
            out.append(name, value.clone());
        }
    }
    out
}

impl Upstreams {
    /// The providers, whose credentials are `auth`'s.
    ///
    /// # Errors
    /// [`ConfigError`].
    pub(crate) fn load(config: &Config, auth: UpstreamAuth) -> Result<Self, ConfigError> {
        config.validate()?;
        let mut all = Vec::with_capacity(config.upstreams.len());
        for upstream in &config.upstreams {
            if auth.has(&upstream.id) && in_the_clear(&upstream.base_url) {
                tracing::warn!(
                    id = upstream.id,
                    "the credential of this upstream crosses the network without TLS"
                );
            }
            all.push(Upstream {
                id: upstream.id.clone(),
                base_url: upstream.base_url.trim_end_matches('/').to_owned(),
            });
        }
        let mut all = all.into_iter();
        let first = all.next().ok_or(ConfigError::NoUpstreams)?;
        Ok(Self { first, others: all.collect(), auth })
    }

    /// The provider of `model`: where several are configured, the one whose id is the prefix of the name; otherwise,
    /// and for every other name, the first.
    pub(crate) fn select<'u, 'm>(&'u self, model: &'m str) -> Selected<'u, 'm> {
        if self.several()
            && let Some((prefix, rest)) = model.split_once('/')
            && let Some(upstream) = self.all().find(|upstream| upstream.id == prefix)
            && !rest.is_empty()
        {
            return Selected { upstream, model: rest, renamed: true };
        }
        Selected { upstream: &self.first, model, renamed: false }
    }

    /// The credential for a call that was permitted to the caller who sent `proof`.
    ///
    /// # Errors
    /// `upstream_credential_unavailable`: then nothing may be sent.
    pub(crate) async fn credential(
        &self,
        upstream: &Upstream,
        proof: &Proof,
        permitted: &Permitted,
        now_ms: i64,
    ) -> Result<Option<Credential>, Refusal> {
        let had = self.auth.credential(Some(proof), &upstream.id, now_ms).await;
        had.map_err(|error| permitted.refuse(error.reason_id(), error.told()))
    }

    /// Whether an answer repeats a credential of ours, as some providers do in the texts of their
    /// errors: the one sent for this call, or any that does not change from call to call.
    pub(crate) fn credential_in(&self, head: &Parts, body: &[u8]) -> bool {
        let sent = head.extensions.get::<Credential>();
        sent.is_some_and(|sent| sent.is_in(body) || sent.is_in_headers(&head.headers))
            || self.auth.is_in(body)
    }

    /// Whether names of models need the id of their provider to be told apart.
    pub(crate) fn several(&self) -> bool {
        !self.others.is_empty()
    }

    /// Every provider, the first one first.
    pub(crate) fn all(&self) -> impl Iterator<Item = &Upstream> {
        std::iter::once(&self.first).chain(&self.others)
    }
}

/// Whether others on the network can read what is sent to `base_url`.
fn in_the_clear(base_url: &str) -> bool {
    let Ok(url) = base_url.parse::<Uri>() else {
        return true;
    };
    let host = url.host().unwrap_or_default();
    let address = host.trim_matches(['[', ']']).parse::<IpAddr>();
    let local = host == "localhost" || address.is_ok_and(|address| address.is_loopback());
    url.scheme_str() != Some("https") && !local
}

/// Why a body could not be read to its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum BodyError {
    /// More than is read.
    #[error("the body is larger than {0} bytes")]
    TooLarge(usize),
    /// It paused for too long.
    #[error("the body paused for too long")]
    Idle,
    /// The connection was lost.
    #[error("the body was cut off")]
    Lost,
}

/// The next bytes of a body; `None` at its proper end.
///
/// # Errors
/// [`BodyError`] where it does not end properly.
pub(crate) async fn next<B>(body: &mut B, idle: Duration) -> Result<Option<Bytes>, BodyError>
where
    B: http_body::Body<Data = Bytes> + Unpin,
{
    loop {
        let frame = tokio::time::timeout(idle, body.frame()).await.map_err(|_| BodyError::Idle)?;
        match frame {
            None => return Ok(None),
            Some(Err(_)) => return Err(BodyError::Lost),
            Some(Ok(frame)) => {
                if let Ok(data) = frame.into_data() {
                    return Ok(Some(data));
                }
            }
        }
    }
}

/// A whole body of at most `limit` bytes.
///
/// # Errors
/// [`BodyError`]; what was read is dropped.
pub(crate) async fn collect<B>(
    body: &mut B,
    limit: usize,
    idle: Duration,
) -> Result<Bytes, BodyError>
where
    B: http_body::Body<Data = Bytes> + Unpin,
{
    if body.size_hint().lower() > limit as u64 {
        return Err(BodyError::TooLarge(limit));
    }
    let mut whole = BytesMut::new();
    while let Some(bytes) = next(body, idle).await? {
        if whole.len() + bytes.len() > limit {
            return Err(BodyError::TooLarge(limit));
        }
        whole.extend_from_slice(&bytes);
    }
    Ok(whole.freeze())
}

#[cfg(test)]
mod tests {
    use http_body_util::Full;

    use super::*;
    use crate::config::UpstreamConfig;

    fn upstreams(ids: &[&str]) -> Upstreams {
        let upstream = |id: &&str| UpstreamConfig {
            id: (*id).to_owned(),
            base_url: "http://127.0.0.1:9/v1/".to_owned(),
            key_env: None,
            key_file: None,
            auth: None,
        };
        let config = Config::new(ids.iter().map(upstream).collect());
        Upstreams::load(&config, UpstreamAuth::empty()).unwrap()
    }

    #[test]
    fn a_prefix_selects_only_among_several() {
        let one = upstreams(&["openai"]);
        let selected = one.select("openai/gpt-5");
        assert_eq!(selected.upstream.resource_id(selected.model), "openai/openai/gpt-5");
        assert!(!selected.renamed);

        let two = upstreams(&["openai", "local"]);
        for (name, id, model, renamed) in [
            ("gpt-5", "openai", "gpt-5", false),
            ("local/llama", "local", "llama", true),
            ("openai/gpt-5", "openai", "gpt-5", true),
            ("local/meta/llama", "local", "meta/llama", true),
            ("meta/llama", "openai", "meta/llama", false),
            ("local/", "openai", "local/", false),
        ] {
            let selected = two.select(name);
            let seen = (selected.upstream.id(), selected.model, selected.renamed);
            assert_eq!(seen, (id, model, renamed), "{name}");
        }
    }

    #[test]
    fn only_this_machine_is_safe_without_tls() {
        for (url, clear) in [
            ("http://10.0.0.1/v1", true),
            ("http://api.example/v1", true),
            ("https://api.example/v1", false),
            ("http://127.0.0.1:9/v1", false),
            ("http://[::1]:9/v1", false),
            ("http://localhost/v1", false),
        ] {
            assert_eq!(in_the_clear(url), clear, "{url}");
        }
    }

    #[test]
    fn only_named_headers_pass() {
        let mut caller = HeaderMap::new();
        for name in [
            "authorization",
            "cookie",
            "x-api-key",
            "openai-organization",
            "lictor-session",
            "x-forwarded-for",
            "connection",
            "idempotency-key",
            "accept",
            "user-agent",
            "x-stainless-lang",
        ] {
            caller.insert(name, HeaderValue::from_static("v"));
        }
        let mut names: Vec<String> = passed(&caller).keys().map(ToString::to_string).collect();
        names.sort();
        assert_eq!(names, ["accept", "user-agent", "x-stainless-lang"]);
    }

    #[tokio::test]
    async fn a_body_is_bounded_at_its_edge() {
        let idle = Duration::from_secs(60);
        let mut body = Full::new(Bytes::from_static(b"12345"));
        assert_eq!(collect(&mut body, 5, idle).await.unwrap(), "12345");
        let mut body = Full::new(Bytes::from_static(b"123456"));
        assert_eq!(collect(&mut body, 5, idle).await, Err(BodyError::TooLarge(5)));
        let chunks = ["123", "45", "6"].map(|c| Ok::<_, std::io::Error>(Bytes::from(c)));
        let mut body = axum::body::Body::from_stream(futures::stream::iter(chunks));
        assert_eq!(collect(&mut body, 5, idle).await, Err(BodyError::TooLarge(5)));
    }

    #[tokio::test]
    async fn a_cut_body_is_not_a_short_one() {
        let chunks = [Ok(Bytes::from("1")), Err(std::io::Error::other("cut"))];
        let mut body = axum::body::Body::from_stream(futures::stream::iter(chunks));
        assert_eq!(collect(&mut body, 9, Duration::from_secs(60)).await, Err(BodyError::Lost));
    }
}
