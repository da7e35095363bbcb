//! What is left of a body that was refused.

use std::time::Duration;

use bytes::Buf as _;
use http_body_util::BodyExt as _;
use hyper::body::Body;
use tokio::time::{Instant, timeout_at};

/// Most bytes that are read only to be dropped.
pub const DISCARD_BYTES_MAX: usize = 64 << 20;
/// How long that may take, milliseconds.
pub const DISCARD_MS_MAX: u64 = 2_000;

/// Reads and drops what the caller is still sending, within bounds. A connection that is closed on
/// unread bytes is reset, and the refusal that says why is lost with it.
pub async fn discard<B: Body + Unpin>(body: &mut B) {
    let deadline = Instant::now() + Duration::from_millis(DISCARD_MS_MAX);
    let mut left = DISCARD_BYTES_MAX;
    while let Ok(Some(Ok(frame))) = timeout_at(deadline, body.frame()).await {
        left = left.saturating_sub(frame.data_ref().map_or(0, |data| data.remaining()));
        if left == 0 {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use http_body_util::Full;

    use super::*;

    #[tokio::test]
    async fn what_is_left_is_read_to_its_end() {
        let mut body = Full::new(Bytes::from_static(&[0; 4096]));
        discard(&mut body).await;
        assert!(body.is_end_stream());
    }

    #[tokio::test(start_paused = true)]
    async fn a_caller_that_stops_sending_is_not_waited_for() {
        let stalled =
            futures::stream::pending::<Result<hyper::body::Frame<Bytes>, std::io::Error>>();
        let mut body = http_body_util::StreamBody::new(stalled);
        let before = Instant::now();
        discard(&mut body).await;
        assert_eq!(before.elapsed(), Duration::from_millis(DISCARD_MS_MAX));
    }
}
