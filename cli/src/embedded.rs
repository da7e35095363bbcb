//! The bundles of this repository, as they were when the command was built: what the
//! demonstration serves, and what new bundles can begin with.

use std::path::PathBuf;

use lictor_policy_lib::bundle::{Files, Limits, Part};

use crate::args::bundle::read_folder;
use crate::exit::{Failure, chain};

/// Name and text of each file of a bundle.
pub(crate) type Embedded = &'static [(&'static str, &'static str)];

/// The files of one of this repository's bundles.
macro_rules! files {
    ($folder:literal: $($name:literal),+ $(,)?) => {
        &[$(($name, include_str!(concat!("../../bundles/", $folder, "/", $name)))),+]
    };
}

const EXPENSE_REPORT: Embedded = files!("expense-report":
    ".manifest",
    "README.md",
    "data.json",
    "cedar/expense.cedar",
    "rego/expense/expense.rego",
    "rego/expense/expense_test.rego",
    "cases/expense_connections.yaml",
    "cases/expense_guardrails.yaml",
    "cases/expense_reports.yaml",
    "cases/expense_tools.yaml",
);

const PR_REVIEW: Embedded = files!("pr-review":
    ".manifest",
    "README.md",
    "data.json",
    "cedar/pr_review.cedar",
    "rego/pr_review/pr_review.rego",
    "rego/pr_review/pr_review_test.rego",
    "cases/pr_lists.yaml",
    "cases/pr_models.yaml",
    "cases/pr_tools.yaml",
);

const AGENT_BASELINE: Embedded = files!("agent-baseline":
    ".manifest",
    "README.md",
    "data.json",
    "cedar/baseline.cedar",
    "rego/baseline/baseline.rego",
    "rego/baseline/baseline_test.rego",
    "cases/grants.yaml",
    "cases/signals.yaml",
);

const DELEGATION: Embedded = files!("delegation":
    ".manifest",
    "README.md",
    "data.json",
    "cedar/delegation.cedar",
    "rego/delegation/delegation.rego",
    "rego/delegation/delegation_test.rego",
    "cases/chains.yaml",
    "cases/grants.yaml",
    "cases/messages.yaml",
    "cases/registry.yaml",
);

const SESSION_RULES: Embedded = files!("session-rules":
    ".manifest",
    "README.md",
    "data.json",
    "cedar/session_rules.cedar",
    "rego/session_rules/session_rules.rego",
    "rego/session_rules/session_rules_test.rego",
    "cases/limits.yaml",
    "cases/rules.yaml",
);

/// Every bundle by the name of its folder.
pub(crate) const ALL: [(&str, Embedded); 5] = [
    ("agent-baseline", AGENT_BASELINE),
    ("delegation", DELEGATION),
    ("expense-report", EXPENSE_REPORT),
    ("pr-review", PR_REVIEW),
    ("session-rules", SESSION_RULES),
];

/// What the demonstration serves.
const DEMO: [(&str, Embedded); 2] = [("expense-report", EXPENSE_REPORT), ("pr-review", PR_REVIEW)];

/// The bundles in `folders`, or those of the demonstration where none is named.
///
/// # Errors
/// A folder that cannot be read or holds what a bundle may not.
pub(crate) fn parts(folders: &[PathBuf]) -> Result<Vec<Part>, Failure> {
    if folders.is_empty() {
        return DEMO.iter().map(|(name, files)| embedded(name, files)).collect();
    }
    let from_disk = folders.iter().map(|folder| {
        let origin = folder.display().to_string();
        let files = read_folder(folder)?;
        let files =
            files.map_err(|error| Failure::failed(format!("{origin}: {}", chain(&error))))?;
        Ok(Part { origin, files })
    });
    from_disk.collect()
}

fn embedded(name: &str, files: Embedded) -> Result<Part, Failure> {
    let pairs = files.iter().map(|(name, text)| (*name, text.as_bytes()));
    let files =
        Files::from_pairs(pairs, &Limits::default()).map_err(|error| Failure::error(&error))?;
    Ok(Part { origin: format!("bundles/{name}"), files })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_file_of_the_folders_is_forgotten() {
        let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../bundles");
        let folders = std::fs::read_dir(&root).unwrap().count();
        assert_eq!(folders, ALL.len());
        for (folder, files) in ALL {
            let on_disk = read_folder(&root.join(folder)).unwrap().unwrap();
            assert_eq!(embedded(folder, files).unwrap().files, on_disk, "{folder}");
        }
    }
}
