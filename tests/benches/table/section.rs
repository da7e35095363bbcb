//! What a part of the table consists of, before anything is started: so that it can be listed, and
//! only what is chosen is started.

use std::any::Any;
use std::future::Future;
use std::panic::AssertUnwindSafe;
use std::pin::Pin;

use futures::FutureExt as _;

use crate::Options;
use crate::measure::{self, Case, panicked};
use crate::report::Row;

/// A part of the table.
pub(crate) struct Section {
    pub(crate) name: &'static str,
    /// Names of its rows, each with the row that it is compared with.
    pub(crate) targets: Vec<Target>,
    /// Whether how many are in flight means anything.
    pub(crate) one_at_a_time: bool,
    pub(crate) start: Start,
}

/// One row, whatever is in flight.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Target {
    pub(crate) what: String,
    pub(crate) base: String,
}

impl Target {
    pub(crate) fn new(what: &str, base: &str) -> Self {
        Self { what: what.to_owned(), base: base.to_owned() }
    }
}

/// What is to be started.
#[derive(Debug, Clone)]
pub(crate) struct Chosen {
    pub(crate) targets: Vec<Target>,
    pub(crate) in_flight: Vec<usize>,
    pub(crate) options: Options,
}

impl Chosen {
    /// Whether any row whose name has `part` in it is.
    pub(crate) fn any(&self, part: &str) -> bool {
        self.targets.iter().any(|target| target.what.contains(part))
    }

    /// Most requests in flight.
    pub(crate) fn most(&self) -> usize {
        self.in_flight.iter().copied().max().unwrap_or(1)
    }
}

/// Starts everything that the chosen rows need.
pub(crate) type Start = fn(Chosen) -> Pin<Box<dyn Future<Output = Result<Started, String>>>>;

/// What runs.
pub(crate) struct Started {
    pub(crate) cases: Vec<Case>,
    /// Rows that cannot be run, and why.
    pub(crate) failed: Vec<(String, String)>,
    /// Rows that cannot be run here and need not be, and why.
    pub(crate) missing: Vec<(String, String)>,
    /// Servers and folders, which live as long.
    pub(crate) keep: Box<dyn Any>,
}

impl Section {
    /// The rows that `--only` names, and the ones that they are compared with.
    fn chosen(&self, options: &Options) -> Vec<Target> {
        let named = |target: &Target| {
            let full = format!("{}: {}", self.name, target.what);
            options.only.is_empty() || options.only.iter().any(|only| full.contains(only))
        };
        let wanted: Vec<&Target> = self.targets.iter().filter(|target| named(target)).collect();
        let needed = |target: &&Target| {
            named(target) || wanted.iter().any(|wanted| wanted.base == target.what)
        };
        self.targets.iter().filter(needed).cloned().collect()
    }

    /// Whether `--only` names any of its rows.
    pub(crate) fn has_chosen(&self, options: &Options) -> bool {
        !self.chosen(options).is_empty()
    }

    /// Prints the names of its rows.
    pub(crate) fn list(&self, options: &Options) {
        for target in self.chosen(options) {
            println!("{}: {}", self.name, target.what);
        }
    }

    /// Starts, measures and ends it.
    pub(crate) async fn run(&self, options: &Options) -> Vec<Row> {
        let targets = self.chosen(options);
        if targets.is_empty() {
            return Vec::new();
        }
        eprintln!("{}: starting", self.name);
        let in_flight = if self.one_at_a_time { vec![1] } else { options.in_flight.clone() };
        let chosen = Chosen { targets: targets.clone(), in_flight, options: options.clone() };
        let started = tried((self.start)(chosen.clone())).await.unwrap_or_else(|error| {
            let failed = targets.iter().map(|target| (target.what.clone(), error.clone()));
            Started {
                cases: Vec::new(),
                failed: failed.collect(),
                missing: Vec::new(),
                keep: Box::new(()),
            }
        });
        let mut rows = measure::run(self.name, &started.cases, options).await;
        for (what, why) in &started.failed {
            eprintln!("{}: {what}: {why}", self.name);
            rows.extend(chosen.in_flight.iter().map(|in_flight| {
                let mut row = Row::new(self.name, what, *in_flight);
                row.failed = Some(format!("it does not start: {why}"));
                row
            }));
        }
        for (what, why) in &started.missing {
            let mut row = Row::new(self.name, what, 1);
            row.missing = Some(why.clone());
            rows.push(row);
        }
        drop(started.keep);
        rows
    }
}

/// The same, where a panic is an error as any other.
pub(crate) async fn tried<T>(
    starting: impl Future<Output = Result<T, String>>,
) -> Result<T, String> {
    let outcome = AssertUnwindSafe(starting).catch_unwind().await;
    outcome.unwrap_or_else(|panic| Err(panicked(panic.as_ref())))
}
