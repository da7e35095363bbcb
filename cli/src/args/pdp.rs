//! A running decision point, over TCP or its Unix socket.

use std::future::Future;
use std::path::{Path, PathBuf};

use clap::Args;
use lictor_pep_core::client::{ClientTlsConfig, Dial, MAX_REVOCATIONS_BYTES, Target, TokenSource};
use lictor_proto::pb::approval_service_client::ApprovalServiceClient;
use lictor_proto::pb::decision_service_client::DecisionServiceClient;
use lictor_proto::pb::limit_service_client::LimitServiceClient;
use lictor_proto::pb::revocation_service_client::RevocationServiceClient;
use lictor_proto::pb::status_service_client::StatusServiceClient;
use tonic::service::interceptor::InterceptedService;
use tonic::transport::Channel;
use tonic::{Code, Status};

use crate::exit::Failure;

/// Where a decision point listens unless told otherwise.
pub(crate) const DEFAULT_PDP: &str = "http://127.0.0.1:7070";
/// How long an answer may take, milliseconds.
const ANSWER_TIMEOUT_MS: u64 = 10_000;

type Service = InterceptedService<Channel, TokenSource>;

/// How this side proves itself to a decision point.
#[derive(Debug, Clone, Default, Args)]
pub(crate) struct DoorArgs {
    /// File with a bearer token for the decision point; a Unix socket needs none.
    #[arg(long, value_name = "FILE", env = "LICTOR_PDP_TOKEN_FILE")]
    pub(crate) pdp_token_file: Option<PathBuf>,
    /// File with the authorities that a decision point at `https://` is believed by; default those
    /// of the system.
    #[arg(long, value_name = "FILE", env = "LICTOR_PDP_CA")]
    pub(crate) pdp_ca: Vec<PathBuf>,
    /// File with our certificate for it.
    #[arg(long, value_name = "FILE", env = "LICTOR_PDP_CERT", requires = "pdp_key")]
    pub(crate) pdp_cert: Option<PathBuf>,
    /// File with that certificate's key.
    #[arg(long, value_name = "FILE", env = "LICTOR_PDP_KEY", requires = "pdp_cert")]
    pub(crate) pdp_key: Option<PathBuf>,
    /// The name in its certificate, where that is not the host in its address.
    #[arg(long, value_name = "NAME", env = "LICTOR_PDP_SERVER_NAME")]
    pub(crate) pdp_server_name: Option<String>,
}

impl DoorArgs {
    fn tls(&self) -> ClientTlsConfig {
        ClientTlsConfig {
            ca: self.pdp_ca.clone(),
            cert: self.pdp_cert.clone(),
            key: self.pdp_key.clone(),
            server_name: self.pdp_server_name.clone(),
        }
    }
}

/// A decision point and how to prove oneself there.
#[derive(Debug, Clone, Args)]
pub(crate) struct PdpArgs {
    /// The decision point: `https://HOST:PORT`, `http://HOST:PORT` or `unix:/PATH`.
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
    /// A connection to `url`, proved by `door`, with the token in `token_file` where that is
    /// another than the door's. Must be called inside a runtime.
    ///
    /// # Errors
    /// An address, a token or certificates that cannot be used.
    pub(crate) fn connect(
        url: &str,
        door: &DoorArgs,
        token_file: Option<&Path>,
    ) -> Result<Self, Failure> {
        let target = Target::parse(url).map_err(|error| Failure::usage(error.to_string()))?;
        let tls = door.tls();
        if tls != ClientTlsConfig::default() && !matches!(target, Target::Tls(_)) {
            return Err(Failure::usage(format!("`{url}` is not at `https://`")).help(
                "leave `--pdp-ca`, `--pdp-cert` and `--pdp-server-name`, or change `--pdp`",
            ));
        }
        let file = token_file.or(door.pdp_token_file.as_deref());
        let token = TokenSource::optional(file).map_err(|error| Failure::error(&error))?;
        let dial = Dial::new(target, Some(&tls)).with_answer_timeout(ANSWER_TIMEOUT_MS);
        let channel = dial.channel().map_err(|error| Failure::error(&error))?;
        Ok(Self { url: url.to_owned(), channel, token })
    }

    /// Asks for decisions.
    pub(crate) fn decisions(&self) -> DecisionServiceClient<Service> {
        DecisionServiceClient::with_interceptor(self.channel.clone(), self.token.clone())
    }

    /// Lists and answers approvals.
    pub(crate) fn approvals(&self) -> ApprovalServiceClient<Service> {
        ApprovalServiceClient::with_interceptor(self.channel.clone(), self.token.clone())
    }

    /// Shows and resets limits.
    pub(crate) fn limits(&self) -> LimitServiceClient<Service> {
        LimitServiceClient::with_interceptor(self.channel.clone(), self.token.clone())
    }

    /// Revokes and takes back.
    pub(crate) fn revocations(&self) -> RevocationServiceClient<Service> {
        RevocationServiceClient::with_interceptor(self.channel.clone(), self.token.clone())
            .max_decoding_message_size(MAX_REVOCATIONS_BYTES)
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

/// Runs one conversation with a decision point on this thread.
///
/// # Errors
/// The system gives no runtime, or the conversation failed.
pub(crate) fn block_on<T>(work: impl Future<Output = Result<T, Failure>>) -> Result<T, Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.map_err(|error| Failure::failed(format!("cannot start: {error}")))?.block_on(work)
}
