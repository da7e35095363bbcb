//! What the author of a large bundle waits for: `lictor check` and `lictor test` of 500
//! policies in both engines, 1,000 cases and 100 Rego tests. Prints times and what part
//! they are of the five seconds that an author may wait; asserts nothing of them.
//!
//! `cargo bench --profile ci --workspace --bench authors -- --rounds 1` for a glance.
//!
//! # Layout
//!
//! - [`bundle`]: the generated bundle

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a benchmark that cannot run ends"
)]

mod bundle;

use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use clap::Parser;
use lictor_tests::process::binary;

/// How long check and test together may take.
const AIM: Duration = Duration::from_secs(5);

/// How the benchmark runs.
#[derive(Parser)]
struct Options {
    /// Runs of each command, interleaved; medians are told.
    #[arg(long, default_value_t = 5)]
    rounds: usize,
    /// Write the bundle there and keep it.
    #[arg(long)]
    keep: Option<std::path::PathBuf>,
    /// Given by cargo.
    #[arg(long, hide = true)]
    bench: bool,
}

fn main() {
    let options = Options::parse();
    let folder = tempfile::tempdir().unwrap();
    let path = options.keep.clone().unwrap_or_else(|| folder.path().join("large"));
    bundle::write(&path);
    let commands: [(&str, &[&str]); 3] =
        [("check", &["check"]), ("test", &["test"]), ("test, one job", &["test", "--jobs", "1"])];
    let mut times: Vec<Vec<Duration>> = vec![Vec::new(); commands.len()];
    let mut said = String::new();
    for _ in 0..options.rounds.max(1) {
        for ((_, arguments), times) in commands.iter().zip(&mut times) {
            let (time, out) = run(arguments, &path);
            times.push(time);
            said = out;
        }
    }
    // Not as a runner's sum: these tests are the measure, not what is tested.
    let ran = said.lines().last().and_then(|line| line.split_whitespace().nth(1));
    println!("tests in the bundle: {}", ran.unwrap_or("none"));
    let medians: Vec<Duration> = times.iter_mut().map(|times| median(times)).collect();
    for ((name, _), median) in commands.iter().zip(&medians) {
        println!("{name:<14} {:>8.0} ms", median.as_secs_f64() * 1000.0);
    }
    let both: Duration = medians.iter().take(2).sum();
    let part = both.as_secs_f64() / AIM.as_secs_f64();
    println!("check and test {:>8.0} ms, {part:.2} of the aim", both.as_secs_f64() * 1000.0);
}

/// Runs the command; it must find nothing wrong.
fn run(arguments: &[&str], bundle: &Path) -> (Duration, String) {
    let began = Instant::now();
    let output = Command::new(binary("lictor")).args(arguments).arg(bundle).output().unwrap();
    let time = began.elapsed();
    let out = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(
        output.status.success(),
        "{arguments:?}: {out}{}",
        String::from_utf8_lossy(&output.stderr)
    );
    (time, out)
}

fn median(times: &mut [Duration]) -> Duration {
    times.sort();
    times.get(times.len() / 2).copied().unwrap_or_default()
}
