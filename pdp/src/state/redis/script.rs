//! A script with what it is given, put together as it is sent: for those that every call runs.

use redis::aio::ConnectionLike;
use redis::{Cmd, ErrorKind, FromRedisValue, RedisResult, Script, ServerErrorKind, ToRedisArgs};

/// Bytes that most calls of a script have room in.
const USUAL_BYTES: usize = 2_048;
/// Arguments that most calls of a script have.
const USUAL_ARGUMENTS: usize = 64;

/// A script and what it is given: first its keys, then its arguments.
pub(super) struct Call<'a> {
    script: &'a Script,
    command: Cmd,
}

impl<'a> Call<'a> {
    /// The script with so many keys, which are to be given before anything else.
    pub(super) fn of(script: &'a Script, keys: usize) -> Self {
        let mut command = Cmd::with_capacity(USUAL_ARGUMENTS, USUAL_BYTES);
        command.arg("EVALSHA").arg(script.get_hash()).arg(keys);
        Self { script, command }
    }

    pub(super) fn arg(&mut self, value: impl ToRedisArgs) -> &mut Self {
        self.command.arg(value);
        self
    }

    /// Runs it; a server that has forgotten the script is told it again.
    pub(super) async fn query<T: FromRedisValue>(
        &self,
        connection: &mut impl ConnectionLike,
    ) -> RedisResult<T> {
        match self.command.query_async(connection).await {
            Err(error) if error.kind() == ErrorKind::Server(ServerErrorKind::NoScript) => {
                self.script.load_async(connection).await?;
                self.command.query_async(connection).await
            }
            answer => answer,
        }
    }
}
