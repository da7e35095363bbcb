//! A Redis of our own, on a socket in a folder that is gone afterwards. Debian: `redis-server`.

use std::process::{Child, Command, Stdio};
use std::time::Duration;

/// A running `redis-server`. It ends with its owner.
#[derive(Debug)]
pub struct Server {
    child: Child,
    folder: tempfile::TempDir,
}

impl Server {
    /// Starts one and waits until it can be reached.
    ///
    /// # Panics
    /// It is not installed.
    pub async fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name).display().to_string();
        let child = Command::new("redis-server")
            .args(["--port", "0", "--save", "", "--appendonly", "no"])
            .args(["--unixsocket", &path("redis.sock"), "--dir", &path("")])
            .stdout(Stdio::null())
            .spawn()
            .unwrap_or_else(|error| panic!("`redis-server` (Debian: redis-server): {error}"));
        for _ in 0..500 {
            if folder.path().join("redis.sock").exists() {
                break;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        Self { child, folder }
    }

    /// Its process id.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Where it is reached.
    #[must_use]
    pub fn url(&self) -> String {
        format!("unix:{}", self.folder.path().join("redis.sock").display())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
