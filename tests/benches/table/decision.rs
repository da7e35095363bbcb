//! The pure decision, by number of policies and tools. The standard policy over 100 tools is what
//! the others are compared with.

use std::path::Path;
use std::process::Command;

use lictor_tests::process::Server;
use lictor_tests::pure::measured;

use crate::Options;
use crate::measure::Case;
use crate::proc::Process;
use crate::report::Allocations;
use crate::section::{Chosen, Section, Started, Target, tried};
use crate::{serve, worker};

/// Counts in a process of its own.
const COUNTER: &str = env!("CARGO_BIN_EXE_bench-allocations");
/// In short runs nothing is larger.
const SHORT_MAX: usize = 1_000;

pub(crate) fn section(options: &Options) -> Section {
    let mut measured = measured();
    let base = measured[0].0.clone();
    measured.retain(|(_, shape, _)| !options.short || shape.tools.max(shape.cedar) <= SHORT_MAX);
    Section {
        name: "decision",
        targets: measured.iter().map(|(name, ..)| Target::new(name, &base)).collect(),
        one_at_a_time: true,
        start: |chosen| Box::pin(start(chosen)),
    }
}

async fn start(chosen: Chosen) -> Result<Started, String> {
    let folder = tempfile::tempdir().map_err(|error| error.to_string())?;
    let (mut cases, mut failed, mut servers) = (Vec::new(), Vec::new(), Vec::new());
    for target in &chosen.targets {
        match tried(one(target, folder.path())).await {
            Ok((case, server)) => {
                cases.push(case);
                servers.push(server);
            }
            Err(error) => failed.push((target.what.clone(), error)),
        }
    }
    Ok(Started { cases, failed, missing: Vec::new(), keep: Box::new((servers, folder)) })
}

async fn one(target: &Target, folder: &Path) -> Result<(Case, Server), String> {
    let server = serve::start("pure", folder, &["--shape", &target.what]).await?;
    let address = serve::address(&server);
    let case = Case {
        what: target.what.clone(),
        base: target.base.clone(),
        in_flight: 1,
        processes: vec![Process::new("decision", server.pid())],
        load: worker::load(address, 1),
        allocations: Some(allocations(&target.what)?),
        note: worker::note(address).await?,
    };
    Ok((case, server))
}

fn allocations(shape: &str) -> Result<Allocations, String> {
    let output = Command::new(COUNTER).arg(shape).output().map_err(|error| error.to_string())?;
    let text = String::from_utf8_lossy(&output.stdout);
    serde_json::from_str(&text).map_err(|_| String::from_utf8_lossy(&output.stderr).into_owned())
}
