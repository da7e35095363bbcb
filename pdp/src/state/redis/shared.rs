//! One text for all decision points, replaced by comparing. It is of no tenant and has no end.

use redis::Script;
use sha2::{Digest as _, Sha256};

use super::Redis;
use crate::state::{Shared, StateError};

/// The script that replaces it.
pub(super) fn script() -> Script {
    Script::new(include_str!("lua/shared.lua"))
}

impl Redis {
    /// Two fields at once belong together; the text alone is fetched only where it is another.
    pub(super) async fn shared_text(&self, known: &str) -> Result<Shared, StateError> {
        if !known.is_empty() {
            let mut command = redis::cmd("HGET");
            command.arg(self.keys.shared()).arg("m");
            let mark: Option<String> = self.connection.query(&command).await?;
            if mark.as_deref() == Some(known) {
                return Ok(Shared { mark: known.to_owned(), text: None });
            }
        }
        let mut command = redis::cmd("HMGET");
        command.arg(self.keys.shared()).arg(&["m", "t"]);
        let (mark, text): (Option<String>, Option<String>) =
            self.connection.query(&command).await?;
        Ok(Shared { mark: mark.unwrap_or_default(), text })
    }

    pub(super) async fn put_shared_text(
        &self,
        expected: &str,
        text: &str,
    ) -> Result<Option<String>, StateError> {
        let mark = hex::encode(Sha256::digest(text.as_bytes()));
        let mut call = self.scripts.shared.prepare_invoke();
        call.key(self.keys.shared()).arg(expected).arg(&mark).arg(text);
        let written: i64 = self.run(&call).await?;
        Ok((written == 1).then_some(mark))
    }
}
