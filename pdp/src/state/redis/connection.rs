//! The way to the store: one server or a cluster, reconnecting by itself, every answer in bounded
//! time.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use redis::aio::{ConnectionManager, ConnectionManagerConfig};
use redis::cluster::{ClusterClient, ClusterClientBuilder};
use redis::cluster_async::ClusterConnection;
use redis::{
    Client, Cmd, ErrorKind, FromRedisValue, RedisError, ScriptInvocation, TlsCertificates,
};
use tokio::sync::{Notify, watch};

use super::script::Call;
use crate::state::StateError;

/// How long an answer may take, milliseconds.
pub const ANSWER_TIMEOUT_MS: u64 = 150;
/// How long a connection may take to be made, milliseconds.
pub const CONNECT_TIMEOUT_MS: u64 = 1_000;
/// Longest time that either may be set to, milliseconds.
pub const CONNECT_TIMEOUT_MAX_MS: u64 = 60_000;
/// Longest pause between two attempts to connect again, milliseconds.
const RECONNECT_PAUSE_MAX_MS: u64 = 500;

/// Failures in a row after which a cluster is connected to anew, beside what the connection tries.
const FAILURES_BEFORE_REMAKE: u32 = 8;

/// How long the store may take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Patience {
    /// For an answer.
    pub answer: Duration,
    /// For a connection.
    pub connect: Duration,
}

impl Default for Patience {
    fn default() -> Self {
        Self {
            answer: Duration::from_millis(ANSWER_TIMEOUT_MS),
            connect: Duration::from_millis(CONNECT_TIMEOUT_MS),
        }
    }
}

/// The way to the store. Cloning shares it.
#[derive(Clone)]
pub struct Connection {
    server: Server,
    patience: Patience,
}

#[derive(Clone)]
enum Server {
    Single(ConnectionManager),
    Cluster(Arc<Cluster>),
}

/// The way to a cluster.
struct Cluster {
    /// Made once some node answers. It finds the others and reconnects by itself; where it does
    /// not, another takes its place.
    made: watch::Receiver<Option<ClusterConnection>>,
    /// Failures in a row.
    failures: AtomicU32,
    remake: Arc<Notify>,
}

impl Cluster {
    fn heard(&self, answered: bool) {
        if answered {
            self.failures.store(0, Ordering::Relaxed);
        } else if self.failures.fetch_add(1, Ordering::Relaxed) + 1 >= FAILURES_BEFORE_REMAKE {
            self.failures.store(0, Ordering::Relaxed);
            self.remake.notify_one();
        }
    }
}

impl fmt::Debug for Connection {
    /// Without the URL, which may hold a password.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.server {
            Server::Single(_) => "Single",
            Server::Cluster(_) => "Cluster",
        })
    }
}

/// Why there is no way to the store.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// No address.
    #[error("`pdp.state.redis` is empty: name at least one URL such as `redis://127.0.0.1:6379`")]
    Empty,
    /// Not an address, or nobody there. The URL is not repeated: it may hold a password.
    #[error("the state store cannot be used: {0}")]
    Redis(#[from] RedisError),
}

impl Connection {
    /// A way to one server (`redis://…`, `rediss://…`, `unix:…`). It is connected when it is first
    /// used and again whenever the connection is lost. `authorities` (PEM) may sign its certificate
    /// in place of the system's.
    ///
    /// # Errors
    /// [`ConnectError`] for a URL or authorities that cannot be read.
    pub fn single(
        url: &str,
        authorities: Option<Vec<u8>>,
        patience: Patience,
    ) -> Result<Self, ConnectError> {
        let config = ConnectionManagerConfig::new()
            .set_response_timeout(Some(patience.answer))
            .set_connection_timeout(Some(patience.connect))
            .set_max_delay(Duration::from_millis(RECONNECT_PAUSE_MAX_MS));
        let client = match authorities {
            Some(pem) => Client::build_with_tls(url, trusting(pem))?,
            None => Client::open(url)?,
        };
        let server = Server::Single(ConnectionManager::new_lazy_with_config(client, config)?);
        Ok(Self { server, patience })
    }

    /// A way to a cluster, by some of its nodes. It is connected as soon as one of them answers.
    /// To be called within a runtime, which goes on trying.
    ///
    /// # Errors
    /// [`ConnectError`] for URLs or authorities that cannot be read.
    pub fn cluster(
        urls: &[String],
        authorities: Option<Vec<u8>>,
        patience: Patience,
    ) -> Result<Self, ConnectError> {
        if urls.is_empty() {
            return Err(ConnectError::Empty);
        }
        let nodes = urls.iter().map(String::as_str);
        let mut builder = ClusterClientBuilder::new(nodes)
            .response_timeout(patience.answer)
            .connection_timeout(patience.connect);
        if let Some(pem) = authorities {
            builder = builder.certs(trusting(pem));
        }
        let (made, connected) = watch::channel(None);
        let remake = Arc::new(Notify::new());
        tokio::spawn(keep_connected(builder.build()?, made, Arc::clone(&remake)));
        let cluster = Cluster { made: connected, failures: AtomicU32::new(0), remake };
        Ok(Self { server: Server::Cluster(Arc::new(cluster)), patience })
    }

    /// Runs a script; one that the server has forgotten is sent again.
    pub(super) async fn run<T: FromRedisValue>(
        &self,
        script: &ScriptInvocation<'_>,
    ) -> Result<T, StateError> {
        let answer = async {
            match self.server.clone() {
                Server::Single(mut connection) => script.invoke_async(&mut connection).await,
                Server::Cluster(cluster) => {
                    script.invoke_async(&mut connected(&cluster).await?).await
                }
            }
        };
        self.bounded(answer).await
    }

    /// Runs a script, as [`Connection::run`] does.
    pub(super) async fn call<T: FromRedisValue>(&self, call: &Call<'_>) -> Result<T, StateError> {
        let answer = async {
            match self.server.clone() {
                Server::Single(mut connection) => call.query(&mut connection).await,
                Server::Cluster(cluster) => call.query(&mut connected(&cluster).await?).await,
            }
        };
        self.bounded(answer).await
    }

    pub(super) async fn query<T: FromRedisValue>(&self, command: &Cmd) -> Result<T, StateError> {
        let answer = async {
            match self.server.clone() {
                Server::Single(mut connection) => command.query_async(&mut connection).await,
                Server::Cluster(cluster) => {
                    command.query_async(&mut connected(&cluster).await?).await
                }
            }
        };
        self.bounded(answer).await
    }

    /// Waiting for a reconnection counts as well: a decision cannot wait longer.
    async fn bounded<T>(
        &self,
        answer: impl Future<Output = Result<T, RedisError>>,
    ) -> Result<T, StateError> {
        let answer = tokio::time::timeout(self.patience.answer, answer).await;
        if let Server::Cluster(cluster) = &self.server {
            cluster.heard(matches!(answer, Ok(Ok(_))));
        }
        match answer {
            Ok(Ok(value)) => Ok(value),
            Ok(Err(error)) => Err(StateError::Unavailable(error.category().to_owned())),
            Err(_) => {
                let ms = self.patience.answer.as_millis();
                Err(StateError::Unavailable(format!("no answer in {ms} ms")))
            }
        }
    }
}

/// Makes a connection, and another whenever one is wanted, until nobody wants the cluster any more.
async fn keep_connected(
    client: ClusterClient,
    made: watch::Sender<Option<ClusterConnection>>,
    remake: Arc<Notify>,
) {
    loop {
        connect(&client, &made).await;
        tokio::select! {
            () = made.closed() => return,
            () = remake.notified() => {}
        }
        tracing::warn!("the connection to the state store is made anew");
        tokio::time::sleep(Duration::from_millis(RECONNECT_PAUSE_MAX_MS)).await;
    }
}

/// Tries until a node answers, or nobody wants the cluster any more.
async fn connect(client: &ClusterClient, made: &watch::Sender<Option<ClusterConnection>>) {
    let mut told = false;
    while !made.is_closed() {
        match client.get_async_connection().await {
            Ok(connection) => {
                made.send_replace(Some(connection));
                return;
            }
            // The error may name a node, never a password.
            Err(error) if !told => {
                told = true;
                tracing::error!(why = error.category(), "no node of the state store answers");
            }
            Err(_) => {}
        }
        tokio::time::sleep(Duration::from_millis(RECONNECT_PAUSE_MAX_MS)).await;
    }
}

async fn connected(cluster: &Cluster) -> Result<ClusterConnection, RedisError> {
    let mut made = cluster.made.clone();
    let connection = made.wait_for(Option::is_some).await.ok().and_then(|made| made.clone());
    connection.ok_or_else(|| RedisError::from((ErrorKind::Io, "no node answers")))
}

fn trusting(pem: Vec<u8>) -> TlsCertificates {
    TlsCertificates { client_tls: None, root_cert: Some(pem) }
}
