//! The pipelined stream: many calls on their way at once, one connection, one task.

use std::time::Duration;

use lictor_proto::decide::{Answer, DecideError};
use lictor_proto::{pb, wire};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;
use tokio_stream::StreamExt as _;
use tokio_stream::wrappers::ReceiverStream;

use super::pending::Pending;
use super::target::TokenSource;
use super::{Client, refused};

/// First wait after a lost connection, milliseconds; doubles up to [`BACKOFF_MAX_MS`].
pub(crate) const BACKOFF_MIN_MS: u64 = 20;
/// Longest wait between two tries, milliseconds.
pub(crate) const BACKOFF_MAX_MS: u64 = 1_000;
/// Calls that may wait to be written.
const WRITE_QUEUE_CALLS: usize = 256;

#[derive(Clone)]
enum Link {
    /// A connection is being made: wait for it.
    Connecting,
    /// The last try failed: calls are refused at once until the next one.
    Down(String),
    /// Calls can be sent.
    Up(Up),
}

#[derive(Clone)]
struct Up {
    writer: mpsc::Sender<pb::DecideRequest>,
    pending: Pending,
}

/// Keeps one stream open for as long as it lives.
pub(crate) struct Pipeline {
    link: watch::Receiver<Link>,
    keeper: JoinHandle<()>,
}

impl Drop for Pipeline {
    fn drop(&mut self) {
        self.keeper.abort();
    }
}

impl Pipeline {
    pub(crate) fn start(client: Client, token: TokenSource) -> Self {
        let (state, link) = watch::channel(Link::Connecting);
        let keeper = tokio::spawn(keep_open(client, token, state));
        Self { link, keeper }
    }

    /// Sends one call and waits for its answer. The caller bounds the time.
    pub(crate) async fn decide(&self, request: pb::DecideRequest) -> Result<Answer, DecideError> {
        let up = self.up().await?;
        let call_id = request.call.as_ref().map(|call| call.call_id.clone()).unwrap_or_default();
        let ticket = up.pending.wait_for(&call_id)?;
        let lost =
            |_| DecideError::Unavailable("the stream to the decision point broke".to_owned());
        up.writer.send(request).await.map_err(lost)?;
        ticket.answered().await
    }

    async fn up(&self) -> Result<Up, DecideError> {
        let mut link = self.link.clone();
        let settled = link.wait_for(|link| !matches!(link, Link::Connecting)).await;
        match settled.as_deref() {
            Ok(Link::Up(up)) => Ok(up.clone()),
            Ok(Link::Down(why)) => Err(DecideError::Unavailable(why.clone())),
            Ok(Link::Connecting) | Err(_) => {
                Err(DecideError::Unavailable("the connection is being closed".to_owned()))
            }
        }
    }
}

async fn keep_open(client: Client, token: TokenSource, state: watch::Sender<Link>) {
    let mut backoff_ms = BACKOFF_MIN_MS;
    loop {
        token.reload();
        let (writer, queue) = mpsc::channel(WRITE_QUEUE_CALLS);
        let opened = client.clone().decide_stream(ReceiverStream::new(queue)).await;
        match opened {
            Ok(answers) => {
                backoff_ms = BACKOFF_MIN_MS;
                let pending = Pending::default();
                let up = Up { writer, pending: pending.clone() };
                state.send_replace(Link::Up(up));
                let why = read(answers.into_inner(), &pending).await;
                // New calls wait for the next connection; those on their way are lost with this one.
                state.send_replace(Link::Connecting);
                pending.fail(&why);
                tracing::warn!(why, "the stream to the decision point ended");
                tokio::time::sleep(Duration::from_millis(backoff_ms)).await;
            }
            Err(status) => {
                let why = refused(&status).to_string();
                tracing::debug!(why, "the decision point cannot be reached");
                state.send_replace(Link::Down(why));
                tokio::time::sleep(Duration::from_millis(backoff_ms)).await;
                backoff_ms = backoff_ms.saturating_mul(2).min(BACKOFF_MAX_MS);
                state.send_replace(Link::Connecting);
            }
        }
    }
}

/// Hands answers out until the stream ends, and says why it did.
async fn read(mut answers: tonic::Streaming<pb::DecideResponse>, pending: &Pending) -> String {
    loop {
        match answers.next().await {
            Some(Ok(response)) => {
                let call_id = response.call_id.clone();
                pending.answer(&call_id, wire::answer_from_pb(response));
            }
            Some(Err(status)) => return refused(&status).to_string(),
            None => return "the decision point ended the stream".to_owned(),
        }
    }
}
