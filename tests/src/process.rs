//! The built binaries as child processes. A child ends with its owner; nothing sleeps for a fixed
//! time, everything is polled against a deadline.

use std::future::Future;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

/// How long anything may take before the test fails, seconds.
pub const DEADLINE_S: u64 = 60;
/// How often is looked, milliseconds.
const POLL_MS: u64 = 10;

/// Looks again and again until there is something.
///
/// # Panics
/// Nothing came within [`DEADLINE_S`].
pub async fn until<T, Looking>(what: &str, mut look: impl FnMut() -> Looking) -> T
where
    Looking: Future<Output = Option<T>>,
{
    let began = Instant::now();
    loop {
        if let Some(found) = look().await {
            return found;
        }
        assert!(began.elapsed().as_secs() < DEADLINE_S, "{what}: not within {DEADLINE_S} s");
        tokio::time::sleep(Duration::from_millis(POLL_MS)).await;
    }
}

/// Where a built binary is: in `LICTOR_BIN_DIR`, or beside the running test.
///
/// # Panics
/// It was not built.
#[must_use]
pub fn binary(name: &str) -> PathBuf {
    let beside = || {
        let own = std::env::current_exe().unwrap();
        own.parent().and_then(Path::parent).unwrap().to_owned()
    };
    let folder = std::env::var_os("LICTOR_BIN_DIR").map_or_else(beside, PathBuf::from);
    let path = folder.join(name);
    let how = "run `cargo build --profile ci --workspace --bins --tests` first";
    assert!(path.exists(), "`{}` is not built: {how}", path.display());
    path
}

/// A running server.
#[derive(Debug)]
pub struct Server {
    child: Child,
    log: PathBuf,
    name: String,
}

impl Server {
    /// Starts `name` with `args` in `folder` and waits until it says `ready`; what it says goes to
    /// `<folder>/<name>.<n>.log`.
    ///
    /// # Errors
    /// It ended before; what it said.
    ///
    /// # Panics
    /// It cannot be started, or is not ready in time.
    pub async fn start(
        name: &str,
        args: &[&str],
        folder: &Path,
        ready: &str,
    ) -> Result<Self, String> {
        Self::start_program(name, &binary(name), args, folder, ready).await
    }

    /// The same for any program.
    ///
    /// # Errors
    /// As [`Server::start`].
    ///
    /// # Panics
    /// As [`Server::start`].
    pub async fn start_program(
        name: &str,
        program: &Path,
        args: &[&str],
        folder: &Path,
        ready: &str,
    ) -> Result<Self, String> {
        let mut command = Command::new(program);
        command.args(args);
        Self::run(name, command, folder, ready).await
    }

    /// The same on a disk that is full for each file of more than `kib` KiB.
    ///
    /// # Errors
    /// As [`Server::start`].
    ///
    /// # Panics
    /// As [`Server::start`].
    pub async fn start_cramped(
        name: &str,
        args: &[&str],
        folder: &Path,
        ready: &str,
        kib: u64,
    ) -> Result<Self, String> {
        let mut command = Command::new("bash");
        // Ignored, the signal becomes an error of the write, as a full disk would.
        let script = format!("trap '' XFSZ; ulimit -f {kib}; exec \"$0\" \"$@\"");
        command.arg("-c").arg(script).arg(binary(name)).args(args);
        Self::run(name, command, folder, ready).await
    }

    async fn run(
        name: &str,
        mut command: Command,
        folder: &Path,
        ready: &str,
    ) -> Result<Self, String> {
        let log = (0..)
            .map(|number| folder.join(format!("{name}.{number}.log")))
            .find(|path| !path.exists())
            .unwrap();
        let file = std::fs::File::create(&log).unwrap();
        let child = command
            .current_dir(folder)
            .env("RUST_LOG", "info")
            .env("NO_COLOR", "1")
            .stdin(Stdio::null())
            .stdout(Stdio::from(file.try_clone().unwrap()))
            .stderr(Stdio::from(file))
            .spawn()
            .unwrap();
        let mut server = Self { child, log, name: name.to_owned() };
        let outcome = until(&format!("{name} is ready"), || {
            let outcome = if server.said().contains(ready) {
                Some(Ok(()))
            } else {
                server.child.try_wait().unwrap().map(Err)
            };
            std::future::ready(outcome)
        })
        .await;
        match outcome {
            Ok(()) => Ok(server),
            Err(status) => Err(format!("{name} ended with {status}: {}", server.said())),
        }
    }

    /// Everything it said.
    #[must_use]
    pub fn said(&self) -> String {
        String::from_utf8_lossy(&std::fs::read(&self.log).unwrap_or_default()).into_owned()
    }

    /// The address that it told right after `marker`.
    ///
    /// # Panics
    /// It told none.
    #[must_use]
    pub fn address(&self, marker: &str) -> SocketAddr {
        let said = self.said();
        let tail = said.split(marker).nth(1);
        let tail = tail.unwrap_or_else(|| panic!("{} did not say `{marker}`: {said}", self.name));
        let ends = |c: char| !(c.is_ascii_digit() || c == '.' || c == ':');
        let address = tail.trim_start().split(ends).next().unwrap_or_default();
        address.parse().unwrap_or_else(|error| panic!("`{address}` after `{marker}`: {error}"))
    }

    /// Its process id.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Ends it as a power cut would.
    ///
    /// # Panics
    /// The system refuses.
    pub fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Sends SIGTERM and waits for the end.
    ///
    /// # Panics
    /// It does not end in time.
    pub async fn terminate(mut self) -> ExitStatus {
        let pid = Pid::from_child(&self.child);
        kill_process(pid, Signal::TERM).unwrap();
        let name = self.name.clone();
        until(&format!("{name} ends"), || std::future::ready(self.child.try_wait().unwrap())).await
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // Errors mean that it has ended already.
        drop(self.child.kill());
        drop(self.child.wait());
        if std::thread::panicking() {
            eprintln!("--- {} said:\n{}", self.name, self.said());
        }
    }
}
