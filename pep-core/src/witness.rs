//! Two logs that keep each other's heads: neither the decision point's nor this one can be cut
//! without the other showing it.

use std::time::Duration;

use lictor_audit::AppendError;
use lictor_proto::decide::DecideError;

use crate::pep::Pep;

/// How often heads are exchanged, milliseconds.
pub const WITNESS_INTERVAL_MS: u64 = 10_000;

/// Why heads were not exchanged.
#[derive(Debug, thiserror::Error)]
pub enum WitnessError {
    /// The decision point did not take ours.
    #[error("the decision point did not take the head of this log")]
    Decide(#[source] DecideError),
    /// Theirs could not be recorded.
    #[error("the head of the decision point's log could not be recorded")]
    Record(#[from] AppendError),
}

/// Exchanges heads now and every [`WITNESS_INTERVAL_MS`], for as long as it is polled. `writer` is the name
/// that this side's log was opened with.
pub async fn witness(pep: Pep, writer: &str) {
    let mut last = String::new();
    loop {
        match pep.exchange_heads(writer, &last).await {
            Ok(Some(theirs)) => last = theirs,
            Ok(None) => {}
            Err(error) => tracing::warn!(%error, "the heads of the logs were not exchanged"),
        }
        tokio::time::sleep(Duration::from_millis(WITNESS_INTERVAL_MS)).await;
    }
}
