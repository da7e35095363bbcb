//! Decision points over gRPC: [`GrpcDecide`] implements `Decide`.
//!
//! # Layout
//!
//! - [`target`]: where they are: TLS, TCP or a Unix socket
//! - [`token`]: how this side proves itself there, other than by a certificate
//! - [`dial`]: one connection
//! - [`pending`]: calls whose answers are on their way, by call id
//! - `stream`: one pipelined stream, opened again whenever it is lost
//! - `lines`: as many of them to one decision point as it announces
//! - [`health`]: who failed again and again is left alone for a while
//! - `choose`: which of them is asked
//! - `memory`: who was asked what
//! - `failure`: what was never answered, and what was refused
//! - `pool`: all of them as one
//! - this file: which calls go which way
//!
//! Small calls go over pipelined streams, each by the one with least in flight; a call that is larger
//! than [`CALL_BYTES_MAX`] goes by itself, so that it does not hold up the others; batches and
//! settlements are unary. No more calls are in flight on a stream than the decision point announces:
//! one more is refused `overloaded` at once.

pub mod dial;
pub mod health;
pub mod pending;
pub mod target;
pub mod token;

mod choose;
mod failure;
mod lines;
mod memory;
mod pool;
mod stream;

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
pub use lictor_identity::tls::ClientTlsConfig;
use lictor_proto::call::Call;
use lictor_proto::decide::{Answer, Decide, DecideError, Revocations, Settle, WAIT_MAX_MS};
use lictor_proto::decision::Standing;
pub use lictor_proto::stream::CALL_BYTES_MAX;
use lictor_proto::stream::fits;
use lictor_proto::{pb, wire};
use tokio::time::timeout;

use choose::key_of;
pub use dial::Dial;
use failure::Failure;
use memory::Memory;
use pool::{Chosen, Lost, Pool, Way};
use stream::Up;
pub use target::{Addresses, ClientError, Target};
pub use token::TokenSource;

/// Largest message that is read from the decision point.
pub const MAX_ANSWER_BYTES: usize = 16 * 1024 * 1024;
/// Largest list of revocations that is read: two full lists with room to spare.
pub const MAX_REVOCATIONS_BYTES: usize = 64 * 1024 * 1024;
/// How long a settlement waits for the decision point that decided before another is told,
/// milliseconds: with a shared store any of them can take it.
pub const SETTLE_HOME_MS: u64 = 1_000;

/// What an answer about an approval may take beyond the time that it waits, milliseconds.
const APPROVAL_SLACK_MS: u32 = 5_000;
/// What a question about revocations may take, milliseconds: the other side waits for ten seconds.
const REVOCATIONS_MS: u32 = 15_000;
/// What a settlement or a checkpoint may take unless its caller is less patient, milliseconds.
const NOTICE_MS: u32 = 10_000;

/// Asks decision points over gRPC. Must be made inside a tokio runtime; its background tasks end
/// when the last clone is dropped.
#[derive(Clone)]
pub struct GrpcDecide {
    shared: Arc<Shared>,
}

struct Shared {
    pool: Pool,
    /// Who decided which call, so that its settlement goes there.
    calls: Memory,
    /// Who opened which session, by its handle.
    sessions: Memory,
    /// Who asked for which approval.
    approvals: Memory,
}

impl std::fmt::Debug for GrpcDecide {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("GrpcDecide")
    }
}

impl GrpcDecide {
    /// A client of one decision point, without certificates of its own.
    ///
    /// # Errors
    /// As [`GrpcDecide::to_all`].
    pub fn connect(target: &Target, token: TokenSource) -> Result<Self, ClientError> {
        Self::to_all(vec![target.clone()], None, &token)
    }

    /// The client that a configuration asks for: its keys `pdp`, `pdp_tls` and `pdp_token_file`.
    ///
    /// # Errors
    /// [`ClientError`].
    pub fn configured(
        pdp: &Addresses,
        tls: Option<&ClientTlsConfig>,
        token_file: Option<&Path>,
    ) -> Result<Self, ClientError> {
        Self::to_all(pdp.targets()?, tls, &TokenSource::optional(token_file)?)
    }

    /// A client of all of `targets`, connecting in the background and again whenever a connection
    /// is lost. `tls` is for those at `https://`.
    ///
    /// # Errors
    /// [`ClientError`] for a target, a token or certificates that cannot be used at all.
    pub fn to_all(
        targets: Vec<Target>,
        tls: Option<&ClientTlsConfig>,
        token: &TokenSource,
    ) -> Result<Self, ClientError> {
        if tls.is_some() && !targets.iter().any(|target| matches!(target, Target::Tls(_))) {
            return Err(ClientError::UnusedTls);
        }
        let memory = || Memory::of_many(targets.len());
        let (calls, sessions, approvals) = (memory(), memory(), memory());
        let pool = Pool::start(targets, tls, token)?;
        let shared = Shared { pool, calls, sessions, approvals };
        Ok(Self { shared: Arc::new(shared) })
    }
}

impl Shared {
    /// A call of an opened session goes to who opened it, any other to the nearest.
    fn way_of(&self, call: &Call) -> Way {
        let pinned = call.session.as_ref().and_then(|session| self.sessions.of(&session.handle));
        Way { pinned, key: key_of(call) }
    }

    fn remember(&self, index: usize, answer: &Answer) {
        if let Some(handle) = &answer.hints.session_handle {
            self.sessions.keep(handle, index);
        }
        if let Some(approval) = &answer.decision.approval {
            self.approvals.keep(&approval.id, index);
        }
    }

    /// To whoever decided, as soon as that is there, for [`SETTLE_HOME_MS`] at most.
    async fn home_of(&self, call_id: &str, lost: Option<&Lost>) -> Option<Chosen> {
        let index = self.calls.of(call_id)?;
        let patience = Duration::from_millis(SETTLE_HOME_MS);
        timeout(patience, self.pool.of(index, lost)).await.ok().flatten()
    }

    async fn settle_once(
        &self,
        settle: &Settle,
        lost: Option<&Lost>,
    ) -> Result<(), (Option<Chosen>, Failure)> {
        let chosen = match self.home_of(&settle.call_id, lost).await {
            Some(home) => home,
            None => {
                let any = self.pool.choose(Way::default(), lost).await;
                any.map_err(|error| (None, Failure::Answered(error)))?
            }
        };
        let mut client = chosen.up.decisions.clone();
        let told = client.settle(with_timeout(wire::settle_to_pb(settle), NOTICE_MS)).await;
        told.map(|_| ()).map_err(|status| (Some(chosen), Failure::of(&status)))
    }
}

#[async_trait]
impl Decide for GrpcDecide {
    async fn decide(&self, call: Arc<Call>, budget_ms: u32) -> Result<Answer, DecideError> {
        let shared = &self.shared;
        let ask = |up: Arc<Up>, left_ms: u32| {
            let request = request_of(&call, left_ms);
            async move {
                let small = fits(&request);
                if small { up.decide(request).await } else { alone_by(&up, request, left_ms).await }
            }
        };
        let sent = |index| shared.calls.keep(&call.call_id, index);
        let asked = shared.pool.ask(shared.way_of(&call), budget_ms, sent, ask).await;
        let (index, answer) = asked?;
        shared.remember(index, &answer);
        Ok(answer)
    }

    async fn decide_batch(
        &self,
        calls: Vec<Arc<Call>>,
        budget_ms: u32,
    ) -> Result<Vec<Answer>, DecideError> {
        let Some(way) = calls.first().map(|call| self.shared.way_of(call)) else {
            return Ok(Vec::new());
        };
        let ask = |up: Arc<Up>, left_ms: u32| {
            let requests = calls.iter().map(|call| request_of(call, left_ms)).collect();
            let batch = with_timeout(pb::DecideBatchRequest { requests }, left_ms);
            async move { up.decisions.clone().decide_batch(batch).await.map_err(|s| Failure::of(&s)) }
        };
        let (_, response) = self.shared.pool.ask(way, budget_ms, |_| {}, ask).await?;
        response.into_inner().responses.into_iter().map(wire::answer_from_pb).collect()
    }

    async fn settle(&self, settle: Settle) -> Result<(), DecideError> {
        let told = match self.shared.settle_once(&settle, None).await {
            // Taken once, so telling it twice does no harm.
            Err((chosen, Failure::Connection(_))) => {
                let lost = chosen.as_ref().map(Chosen::lost);
                self.shared.settle_once(&settle, lost.as_ref()).await
            }
            told => told,
        };
        if !matches!(told, Err((_, Failure::Connection(_)))) {
            self.shared.calls.forget(&settle.call_id);
        }
        told.map_err(|(_, failure)| failure.into())
    }

    async fn extend(&self, call_id: &str) -> Result<(), DecideError> {
        let ask = |up: Arc<Up>, left_ms: u32| {
            let request = with_timeout(pb::ExtendRequest { call_id: call_id.to_owned() }, left_ms);
            async move { up.decisions.clone().extend(request).await.map_err(|s| Failure::of(&s)) }
        };
        let way = Way { pinned: self.shared.calls.of(call_id), key: None };
        self.shared.pool.ask(way, NOTICE_MS, |_| {}, ask).await.map(|_| ())
    }

    async fn exchange_checkpoint(&self, writer: &str, note: &str) -> Result<String, DecideError> {
        let ask = |up: Arc<Up>, left_ms: u32| {
            let request =
                pb::ExchangeCheckpointRequest { writer: writer.to_owned(), note: note.to_owned() };
            let request = with_timeout(request, left_ms);
            async move {
                let mut client = up.decisions.clone();
                client.exchange_checkpoint(request).await.map_err(|s| Failure::of(&s))
            }
        };
        let (_, response) = self.shared.pool.ask(Way::default(), NOTICE_MS, |_| {}, ask).await?;
        Ok(response.into_inner().note)
    }

    async fn revocations(&self, known: u64) -> Result<Revocations, DecideError> {
        let ask = |up: Arc<Up>, left_ms: u32| {
            let request = with_timeout(pb::RevocationsRequest { known_version: known }, left_ms);
            async move {
                let client = up.decisions.clone();
                let mut client = client.max_decoding_message_size(MAX_REVOCATIONS_BYTES);
                client.revocations(request).await.map_err(|s| Failure::of(&s))
            }
        };
        let asked = self.shared.pool.ask(Way::default(), REVOCATIONS_MS, |_| {}, ask).await;
        let (_, response) = asked?;
        wire::revocations_from_pb(response.into_inner())
    }

    async fn approval(&self, id: &str, wait_ms: u32) -> Result<Standing, DecideError> {
        let wait_ms = wait_ms.min(WAIT_MAX_MS);
        let ask = |up: Arc<Up>, left_ms: u32| {
            let request = pb::WaitApprovalRequest { id: id.to_owned(), timeout_ms: wait_ms };
            let request = with_timeout(request, left_ms);
            async move { up.approvals.clone().wait(request).await.map_err(|s| Failure::of(&s)) }
        };
        let way = Way { pinned: self.shared.approvals.of(id), key: None };
        let patience_ms = wait_ms.saturating_add(APPROVAL_SLACK_MS);
        let (_, response) = self.shared.pool.ask(way, patience_ms, |_| {}, ask).await?;
        let state = response.into_inner().state;
        Standing::parse(&state).ok_or_else(|| {
            DecideError::Unavailable(format!("it says that an approval is `{state}`"))
        })
    }

    fn metrics_text(&self) -> String {
        self.shared.pool.metrics_text()
    }
}

async fn alone_by(up: &Up, request: pb::DecideRequest, ms: u32) -> Result<Answer, Failure> {
    let mut client = up.decisions.clone();
    let response = client.decide(with_timeout(request, ms)).await.map_err(|s| Failure::of(&s))?;
    wire::answer_from_pb(response.into_inner()).map_err(Failure::Answered)
}

fn request_of(call: &Call, budget_ms: u32) -> pb::DecideRequest {
    pb::DecideRequest { call: Some(wire::call_to_pb(call)), budget_ms, dry_run: false }
}

fn with_timeout<T>(message: T, budget_ms: u32) -> tonic::Request<T> {
    let mut request = tonic::Request::new(message);
    request.set_timeout(Duration::from_millis(u64::from(budget_ms)));
    request
}
