//! One delivery over HTTP. Redirects are not followed: who may hear of approvals is configured.

use std::time::Duration;

use async_trait::async_trait;
use reqwest::redirect::Policy;
use reqwest::{Client, ClientBuilder, Url};

use super::OpenError;
use super::config::WebhookConfig;
use super::sign::{ID, SIGNATURE, TIMESTAMP};

/// Name of the header with the event.
pub const EVENT: &str = "lictor-event";
/// How we name ourselves.
const USER_AGENT: &str = concat!("lictor/", env!("CARGO_PKG_VERSION"));

/// What is sent.
#[derive(Debug, Clone)]
pub struct Message {
    /// The delivery's id.
    pub delivery: String,
    /// What happened, `approval.<event>`.
    pub event: String,
    /// When, Unix seconds.
    pub sent_s: i64,
    /// Over all of it.
    pub signature: String,
    /// JSON.
    pub body: String,
}

/// Why a delivery was not taken.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PostError {
    /// No answer.
    #[error("no answer: {0}")]
    Unreachable(String),
    /// Another answer than success.
    #[error("it answered {0}, and only 2xx counts (redirects are not followed)")]
    Status(u16),
}

/// Sends one message.
#[async_trait]
pub trait Post: Send + Sync {
    /// Sends it and waits for the answer.
    ///
    /// # Errors
    /// [`PostError`]; it is tried again.
    async fn post(&self, message: &Message) -> Result<(), PostError>;
}

/// Over HTTP.
pub struct HttpPost {
    client: Client,
    url: Url,
}

impl HttpPost {
    /// A client for one receiver.
    ///
    /// # Errors
    /// [`OpenError::Client`].
    pub fn new(hook: &WebhookConfig) -> Result<Self, OpenError> {
        let refuse = |why: String| OpenError::Client { url: hook.shown(), why };
        let url = Url::parse(&hook.url).map_err(|error| refuse(error.to_string()))?;
        let timeout = Duration::from_millis(hook.timeout_ms);
        let client = if hook.is_local() && url.scheme() == "http" {
            // Needs no roots of the platform, which a container may lack.
            bounded(timeout).no_proxy().tls_certs_only([]).build()
        } else {
            bounded(timeout).build()
        };
        Ok(Self { client: client.map_err(|error| refuse(cause(&error)))?, url })
    }
}

fn bounded(timeout: Duration) -> ClientBuilder {
    Client::builder()
        .user_agent(USER_AGENT)
        .redirect(Policy::none())
        .referer(false)
        .connect_timeout(timeout)
        .timeout(timeout)
}

#[async_trait]
impl Post for HttpPost {
    async fn post(&self, message: &Message) -> Result<(), PostError> {
        let sent = self
            .client
            .post(self.url.clone())
            .header("content-type", "application/json")
            .header(ID, &message.delivery)
            .header(TIMESTAMP, message.sent_s)
            .header(EVENT, &message.event)
            .header(SIGNATURE, &message.signature)
            .body(message.body.clone())
            .send()
            .await;
        let answer = sent.map_err(|error| PostError::Unreachable(cause(&error)))?;
        match answer.status() {
            status if status.is_success() => Ok(()),
            status => Err(PostError::Status(status.as_u16())),
        }
    }
}

/// The innermost reason, without the address, which may hold a secret.
fn cause(error: &reqwest::Error) -> String {
    if error.is_timeout() {
        return "not in time".to_owned();
    }
    let mut inner: &dyn std::error::Error = error;
    while let Some(next) = inner.source() {
        inner = next;
    }
    if std::ptr::addr_eq(inner, error) {
        "the request failed".to_owned()
    } else {
        inner.to_string()
    }
}
