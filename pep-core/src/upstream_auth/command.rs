//! A program that prints a secret.

use std::io::Read as _;
use std::os::unix::process::CommandExt as _;
use std::process::{Child, ChildStdout, Command, ExitStatus, Stdio};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::{Duration, Instant};

use lictor_identity::Secret;
use rustix::process::{Pid, Signal, kill_process_group};
use zeroize::Zeroizing;

use super::config::AuthFault;

/// Longest that a command may take.
pub const COMMAND_TIMEOUT: Duration = Duration::from_secs(10);
/// Most that is read of what a command prints, bytes.
pub const COMMAND_OUTPUT_MAX_BYTES: usize = 16 * 1024;
/// How often it is looked whether a command that has closed its output has ended too.
const EXIT_POLL: Duration = Duration::from_millis(5);

/// What `argv` prints to its standard output. It gets our environment, no input, and its words
/// for people are not kept, since they may repeat secrets. Blocks.
///
/// # Errors
/// [`AuthFault::Command`]: not started, not in time, too much, not text, or not successful.
pub(super) fn output(argv: &[String], timeout: Duration) -> Result<Secret, AuthFault> {
    let program = argv.first().cloned().unwrap_or_default();
    let fault = |why: &str| AuthFault::Command { program: program.clone(), why: why.to_owned() };
    let deadline = Instant::now() + timeout;
    let mut child = Command::new(&program)
        .args(argv.iter().skip(1))
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        // A group of its own, so that what it starts can be ended with it.
        .process_group(0)
        .spawn()
        .map_err(|error| fault(&format!("could not be started: {error}")))?;
    let printed = match child.stdout.take() {
        Some(stdout) => read(stdout, timeout),
        None => Err("has no output"),
    };
    let ended = printed.and_then(|bytes| Ok((bytes, wait(&mut child, deadline)?)));
    let (bytes, status) = ended.map_err(|why| {
        end(&mut child);
        fault(why)
    })?;
    if !status.success() {
        return Err(fault(&format!("failed ({status})")));
    }
    match std::str::from_utf8(&bytes) {
        Ok(text) => Ok(Secret::from(text.to_owned())),
        Err(_) => Err(fault("printed something that is not text")),
    }
}

fn read(mut stdout: ChildStdout, timeout: Duration) -> Result<Zeroizing<Vec<u8>>, &'static str> {
    let (sender, receiver) = mpsc::channel();
    thread::spawn(move || {
        let mut bytes = Zeroizing::new(Vec::with_capacity(COMMAND_OUTPUT_MAX_BYTES + 1));
        let limit = COMMAND_OUTPUT_MAX_BYTES as u64 + 1;
        let read = stdout.by_ref().take(limit).read_to_end(&mut bytes);
        // Nobody listens any more where it took too long.
        let _ = sender.send(read.map(|_| bytes));
    });
    match receiver.recv_timeout(timeout) {
        Ok(Ok(bytes)) if bytes.len() <= COMMAND_OUTPUT_MAX_BYTES => Ok(bytes),
        Ok(Ok(_)) => Err("printed more than is read"),
        Ok(Err(_)) | Err(RecvTimeoutError::Disconnected) => Err("could not be read"),
        Err(RecvTimeoutError::Timeout) => Err("did not end in time"),
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "a child that has closed its output ends at once or hangs, and only waiting tells"
)]
fn wait(child: &mut Child, deadline: Instant) -> Result<ExitStatus, &'static str> {
    loop {
        match child.try_wait() {
            Ok(Some(status)) => return Ok(status),
            Ok(None) if Instant::now() < deadline => thread::sleep(EXIT_POLL),
            Ok(None) => return Err("did not end in time"),
            Err(_) => return Err("could not be waited for"),
        }
    }
}

/// Ends a command and what it started.
fn end(child: &mut Child) {
    if let Some(group) = i32::try_from(child.id()).ok().and_then(Pid::from_raw) {
        // It may have ended by itself meanwhile.
        let _ = kill_process_group(group, Signal::KILL);
    }
    let _ = child.wait();
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(argv: &[&str], timeout: Duration) -> Result<Secret, AuthFault> {
        output(&argv.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>(), timeout)
    }

    fn why(argv: &[&str], timeout: Duration) -> String {
        run(argv, timeout).unwrap_err().to_string()
    }

    #[test]
    fn what_it_prints_is_the_secret_and_no_shell_reads_its_words() {
        assert_eq!(&*run(&["printf", "%s", "$HOME;x"], COMMAND_TIMEOUT).unwrap(), "$HOME;x");
    }

    #[test]
    fn a_failure_tells_nothing_of_what_was_printed() {
        let failed = why(&["sh", "-c", "echo hunter2; echo hunter2 >&2; exit 3"], COMMAND_TIMEOUT);
        assert!(failed.contains("failed") && !failed.contains("hunter2"), "{failed}");
        assert!(why(&["/no/such/program"], COMMAND_TIMEOUT).contains("could not be started"));
        assert!(why(&["printf", "\\377"], COMMAND_TIMEOUT).contains("not text"));
    }

    #[test]
    fn output_is_bounded_at_its_edge() {
        let print = |bytes: usize| format!("head -c {bytes} /dev/zero | tr '\\0' a");
        let edge = run(&["sh", "-c", &print(COMMAND_OUTPUT_MAX_BYTES)], COMMAND_TIMEOUT).unwrap();
        assert_eq!(edge.len(), COMMAND_OUTPUT_MAX_BYTES);
        let over = why(&["sh", "-c", &print(COMMAND_OUTPUT_MAX_BYTES + 1)], COMMAND_TIMEOUT);
        assert!(over.contains("more than is read"), "{over}");
    }

    #[test]
    fn one_that_hangs_is_ended_with_all_it_started() {
        let dir = tempfile::tempdir().unwrap();
        let pid = dir.path().join("pid");
        let script = format!("sleep 600 & echo $! > '{}'; wait", pid.display());
        let late = why(&["sh", "-c", &script], Duration::from_millis(300));
        assert!(late.contains("did not end in time"), "{late}");
        let Ok(text) = std::fs::read_to_string(&pid) else { return };
        // The kernel ends it after the signal was sent, not while.
        let alive = || {
            let state = std::fs::read_to_string(format!("/proc/{}/stat", text.trim()));
            state.is_ok_and(|state| !state.contains(") Z "))
        };
        let ended = (0..1_000_000).any(|_| {
            std::thread::yield_now();
            !alive()
        });
        assert!(ended || text.trim().is_empty());
    }

    #[test]
    fn one_that_closes_its_output_and_stays_is_ended_too() {
        let late = why(&["sh", "-c", "exec >&-; sleep 600"], Duration::from_millis(300));
        assert!(late.contains("did not end in time"), "{late}");
    }
}
