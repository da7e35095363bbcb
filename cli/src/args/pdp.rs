//! A running decision point, over TCP or its Unix socket.

use std::future::Future;
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::Args;
use hyper_util::rt::TokioIo;
use lictor_pep_core::client::{Target, TokenSource};
use lictor_proto::pb::approval_service_client::ApprovalServiceClient;
use lictor_proto::pb::decision_service_client::DecisionServiceClient;
use lictor_proto::pb::status_service_client::StatusServiceClient;
use tonic::service::interceptor::InterceptedService;
use tonic::transport::{Channel, Endpoint, Uri};
use tonic::{Code, Status};

use crate::exit::Failure;

/// Where a decision point listens unless told otherwise.
pub(crate) const DEFAULT_PDP: &str = "http://127.0.0.1:7070";
/// How long a connection may take to be made, milliseconds.
const CONNECT_TIMEOUT_MS: u64 = 3_000;
/// How long an answer may take, milliseconds.
const ANSWER_TIMEOUT_MS: u64 = 10_000;

type Service = InterceptedService<Channel, TokenSource>;

/// How this side proves itself to a decision point.
#[derive(Debug, Clone, Args)]
pub(crate) struct DoorArgs {
    /// File with a bearer token for the decision point; a Unix socket needs none.
    #[arg(long, value_name = "FILE", env = "LICTOR_PDP_TOKEN_FILE")]
    pub(crate) pdp_token_file: Option<PathBuf>,
}

/// A decision point and how to prove oneself there.
#[derive(Debug, Clone, Args)]
pub(crate) struct PdpArgs {
    /// The decision point: `http://HOST:PORT` or `unix:/PATH`.
    #[arg(long, value_name = "URL", env = "LICTOR_PDP", default_value = DEFAULT_PDP)]
    pub(crate) pdp: String,
    #[command(flatten)]
    pub(crate) door: DoorArgs,
}

/// A connection that is made when it is first used.
pub(crate) struct Pdp {
    url: String,
    channel: Channel,
    token: TokenSource,
}

impl Pdp {
    /// A connection to `url` with the token in `token_file`. Must be called inside a
    /// runtime.
    ///
    /// # Errors
    /// An address or a token that cannot be used.
    pub(crate) fn connect(url: &str, token_file: Option<&Path>) -> Result<Self, Failure> {
        let target = Target::parse(url).map_err(|error| Failure::usage(error.to_string()))?;
        let token = match token_file {
            Some(path) => TokenSource::file(path).map_err(|error| Failure::error(&error))?,
            None => TokenSource::none(),
        };
        Ok(Self { url: url.to_owned(), channel: channel(&target), token })
    }

    /// Asks for decisions.
    pub(crate) fn decisions(&self) -> DecisionServiceClient<Service> {
        DecisionServiceClient::with_interceptor(self.channel.clone(), self.token.clone())
    }

    /// Lists and answers approvals.
    pub(crate) fn approvals(&self) -> ApprovalServiceClient<Service> {
        ApprovalServiceClient::with_interceptor(self.channel.clone(), self.token.clone())
    }

    /// Asks how the decision point is.
    pub(crate) fn status(&self) -> StatusServiceClient<Service> {
        StatusServiceClient::with_interceptor(self.channel.clone(), self.token.clone())
    }

    /// What a refusal or a lost connection means for the person at the terminal.
    pub(crate) fn failure(&self, status: &Status) -> Failure {
        let said = crate::output::shown(status.message());
        let url = &self.url;
        match status.code() {
            Code::Unauthenticated => Failure::failed(format!("the decision point at `{url}` does not know us: {said}"))
                .help("give `--pdp-token-file`, or the decision point's Unix socket as `--pdp unix:/PATH`"),
            Code::PermissionDenied => Failure::failed(format!("the decision point at `{url}` refuses: {said}"))
                .help("use a credential with the role that this needs"),
            Code::Unavailable | Code::DeadlineExceeded | Code::Cancelled => {
                Failure::failed(format!("the decision point at `{url}` does not answer: {said}"))
                    .help("check that it runs, and the address in `--pdp`")
            }
            _ => Failure::failed(format!("the decision point at `{url}` answers: {said}")),
        }
    }
}

fn channel(target: &Target) -> Channel {
    match target {
        Target::Tcp(uri) => endpoint(uri.clone()).connect_lazy(),
        Target::Unix(path) => {
            let path = path.clone();
            // The address is never dialled; it only fills `:authority`.
            let name = Uri::from_static("http://pdp.lictor.invalid");
            endpoint(name).connect_with_connector_lazy(tower::service_fn(move |_: Uri| {
                let path = path.clone();
                async move { tokio::net::UnixStream::connect(path).await.map(TokioIo::new) }
            }))
        }
    }
}

fn endpoint(uri: Uri) -> Endpoint {
    Endpoint::from(uri)
        .connect_timeout(Duration::from_millis(CONNECT_TIMEOUT_MS))
        .timeout(Duration::from_millis(ANSWER_TIMEOUT_MS))
}

/// Runs one conversation with a decision point on this thread.
///
/// # Errors
/// The system gives no runtime, or the conversation failed.
pub(crate) fn block_on<T>(work: impl Future<Output = Result<T, Failure>>) -> Result<T, Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.map_err(|error| Failure::failed(format!("cannot start: {error}")))?.block_on(work)
}
