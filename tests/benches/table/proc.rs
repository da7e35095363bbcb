//! What processes cost, from `/proc`: CPU time of all their threads, and the most memory that they
//! held.

use std::collections::HashMap;
use std::fs;
use std::path::PathBuf;

use serde::Serialize;

/// A process whose cost is told.
#[derive(Debug, Clone)]
pub(crate) struct Process {
    /// What it is called in the table.
    pub(crate) name: &'static str,
    /// Its id; what it starts counts as well.
    pub(crate) pid: u32,
}

/// What a process cost in one run.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Cost {
    pub(crate) name: &'static str,
    /// CPU time divided by the requests, microseconds.
    pub(crate) cpu_us: f64,
    /// Most memory since the row began, MiB; since its start where the system does not let us ask.
    pub(crate) peak_mib: f64,
}

impl Process {
    pub(crate) fn new(name: &'static str, pid: u32) -> Self {
        Self { name, pid }
    }

    /// This program: what sends the requests.
    pub(crate) fn client() -> Self {
        Self::new("client", std::process::id())
    }

    /// It and what it started. What this program started are the servers, which are told by
    /// themselves.
    fn family(&self) -> Vec<u32> {
        if self.pid == std::process::id() {
            return vec![self.pid];
        }
        let mut all = vec![self.pid];
        let mut at = 0;
        while let Some(pid) = all.get(at).copied() {
            for thread in threads(pid) {
                let children = fs::read_to_string(thread.join("children")).unwrap_or_default();
                all.extend(children.split_whitespace().filter_map(|pid| pid.parse::<u32>().ok()));
            }
            at += 1;
        }
        all
    }

    /// Nanoseconds that each of its threads ran so far.
    pub(crate) fn spent(&self) -> HashMap<PathBuf, u64> {
        let ran = |thread: PathBuf| {
            let text = fs::read_to_string(thread.join("schedstat")).ok()?;
            let ns = text.split(' ').next()?.parse().ok()?;
            Some((thread, ns))
        };
        self.family().into_iter().flat_map(threads).filter_map(ran).collect()
    }

    /// Forgets how much memory it held before, where the system lets us.
    pub(crate) fn forget_peak(&self) {
        for pid in self.family() {
            drop(fs::write(format!("/proc/{pid}/clear_refs"), "5"));
        }
    }

    pub(crate) fn peak_mib(&self) -> f64 {
        let kib = |pid: u32| {
            let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
            let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
            line.trim().trim_end_matches(" kB").parse::<f64>().ok()
        };
        self.family().into_iter().filter_map(kib).sum::<f64>() / 1024.0
    }
}

fn threads(pid: u32) -> Vec<PathBuf> {
    let entries = fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten();
    entries.map(|entry| entry.path()).collect()
}

/// Microseconds between two looks. What threads that ended meanwhile ran since the first look is
/// not seen.
pub(crate) fn passed_us(before: &HashMap<PathBuf, u64>, after: &HashMap<PathBuf, u64>) -> f64 {
    let of = |(thread, ns): (&PathBuf, &u64)| {
        ns.saturating_sub(before.get(thread).copied().unwrap_or_default())
    };
    after.iter().map(of).sum::<u64>() as f64 / 1e3
}
