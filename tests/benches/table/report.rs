//! The table, for people and for programs.

use serde::Serialize;

use crate::proc::Cost;

/// Everything that one run of the benchmark says.
#[derive(Debug, Serialize)]
pub(crate) struct Report {
    /// Which machine.
    pub(crate) machine: String,
    /// Seconds of each run.
    pub(crate) seconds: f64,
    /// Runs of each row.
    pub(crate) rounds: usize,
    pub(crate) rows: Vec<Row>,
}

/// One line.
#[derive(Debug, Serialize)]
pub(crate) struct Row {
    pub(crate) section: &'static str,
    pub(crate) what: String,
    pub(crate) in_flight: usize,
    /// The row of the same section and as many in flight that `ratio` and `added_p50_us` refer to.
    pub(crate) base: Option<String>,
    pub(crate) per_second: Option<f64>,
    pub(crate) ratio: Option<f64>,
    pub(crate) p50_us: Option<f64>,
    pub(crate) added_p50_us: Option<f64>,
    pub(crate) p99_us: Option<f64>,
    pub(crate) processes: Vec<Cost>,
    /// For one decision.
    pub(crate) allocations: Option<Allocations>,
    pub(crate) note: String,
    /// Why there are no figures, where something is wrong.
    pub(crate) failed: Option<String>,
    /// Why there are no figures, where something is not there that need not be.
    pub(crate) missing: Option<String>,
}

/// What was asked of the allocator.
#[derive(Debug, Clone, Copy, Serialize, serde::Deserialize)]
pub(crate) struct Allocations {
    pub(crate) number: f64,
    pub(crate) bytes: f64,
}

impl Row {
    pub(crate) fn new(section: &'static str, what: &str, in_flight: usize) -> Self {
        Self {
            section,
            what: what.to_owned(),
            in_flight,
            base: None,
            per_second: None,
            ratio: None,
            p50_us: None,
            added_p50_us: None,
            p99_us: None,
            processes: Vec::new(),
            allocations: None,
            note: String::new(),
            failed: None,
            missing: None,
        }
    }

    fn cells(&self) -> Vec<String> {
        let number = |value: Option<f64>| value.map(short).unwrap_or_default();
        let each = |of: fn(&Cost) -> f64| {
            let one = |cost: &Cost| format!("{} {}", cost.name, short(of(cost)));
            self.processes.iter().map(one).collect::<Vec<_>>().join(", ")
        };
        let ratio = self.ratio.map(|ratio| format!("{ratio:.3}")).unwrap_or_default();
        let allocations = self
            .allocations
            .map(|found| format!("{:.0}, {:.1} KiB", found.number, found.bytes / 1024.0));
        let said = match (&self.failed, &self.missing) {
            (Some(_), _) => "FAILED, see below",
            (None, Some(_)) => "not measured, see below",
            (None, None) => self.note.as_str(),
        };
        vec![
            self.section.to_owned(),
            self.what.clone(),
            self.in_flight.to_string(),
            number(self.per_second),
            ratio,
            number(self.p50_us),
            number(self.added_p50_us),
            number(self.p99_us),
            each(|cost| cost.cpu_us),
            each(|cost| cost.peak_mib),
            allocations.unwrap_or_default(),
            said.to_owned(),
        ]
    }
}

/// Three digits or more.
fn short(value: f64) -> String {
    match value.abs() {
        size if size < 10.0 => format!("{value:.2}"),
        size if size < 100.0 => format!("{value:.1}"),
        _ => format!("{value:.0}"),
    }
}

const HEAD: [&str; 12] = [
    "section",
    "what",
    "in flight",
    "requests/s",
    "ratio",
    "p50 µs",
    "added p50 µs",
    "p99 µs",
    "CPU µs/request",
    "peak MiB",
    "allocations/decision",
    "note",
];

impl Report {
    /// Whether a row failed.
    pub(crate) fn failed(&self) -> bool {
        self.rows.iter().any(|row| row.failed.is_some())
    }

    /// Markdown whose columns stand under each other.
    pub(crate) fn table(&self) -> String {
        let mut lines = vec![HEAD.map(str::to_owned).to_vec()];
        lines.extend(self.rows.iter().map(Row::cells));
        let widths: Vec<usize> = (0..HEAD.len())
            .map(|column| lines.iter().map(|line| line[column].chars().count()).max().unwrap_or(0))
            .collect();
        let rule = widths.iter().map(|width| "-".repeat(*width)).collect();
        lines.insert(1, rule);
        let mut text = format!(
            "{}\n{} round(s) of {} s, interleaved; medians, of memory the most; `ratio` and `added` in the same round, against the nearest row above whose ratio is 1.000\n\n",
            self.machine, self.rounds, self.seconds
        );
        for line in lines {
            for (cell, width) in line.iter().zip(&widths) {
                text.push_str(&format!("| {cell:<width$} "));
            }
            text.push_str("|\n");
        }
        for row in &self.rows {
            if let Some(why) = row.failed.as_ref().or(row.missing.as_ref()) {
                let Row { section, what, in_flight, .. } = row;
                text.push_str(&format!("\n{section}: {what}, {in_flight} in flight: {why}\n"));
            }
        }
        text
    }
}

/// Cores, their kind, and the system.
pub(crate) fn machine() -> String {
    let read = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
    let info = read("/proc/cpuinfo");
    let kind = info.lines().find_map(|line| line.strip_prefix("model name")?.split_once(": "));
    let kind = kind.map_or("cores of unknown kind", |(_, kind)| kind);
    let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let load = read("/proc/loadavg");
    let load = load.split(' ').next().unwrap_or_default();
    let kernel = read("/proc/sys/kernel/osrelease");
    format!("{cores} x {kind}, Linux {}, load {load} at the start", kernel.trim())
}
