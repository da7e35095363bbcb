//! `--watch`: the tests once more whenever a file of the bundle has changed.

use std::collections::BTreeMap;
use std::fs;
use std::io::IsTerminal as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use crate::output::{print, say};

/// Time between two looks at the files.
const POLL_MS: u64 = 300;

/// Size and time of every file.
type Stamps = BTreeMap<PathBuf, (u64, Option<SystemTime>)>;

/// What is known of the files: an editor writes several, and each in steps, so a change
/// counts once two looks in a row saw the same.
#[derive(Debug)]
pub(super) struct Changes {
    ran: Stamps,
    last: Stamps,
}

impl Changes {
    /// The files as they were when the tests began.
    pub(super) fn since(stamps: Stamps) -> Self {
        Self { last: stamps.clone(), ran: stamps }
    }

    /// Whether the tests are to be run, by what the files are now.
    pub(super) fn look(&mut self, now: Stamps) -> bool {
        let settled = now == self.last;
        self.last = now;
        if settled && self.last != self.ran {
            self.ran.clone_from(&self.last);
            return true;
        }
        false
    }
}

/// Runs `tests` now and after every change, until the process is ended.
#[expect(clippy::disallowed_methods, reason = "nothing else is left to do between two looks")]
pub(super) fn forever(path: &Path, mut tests: impl FnMut()) -> ! {
    loop {
        let mut changes = Changes::since(stamps(path));
        if std::io::stdout().is_terminal() {
            // Nobody reading is no reason to stop watching.
            drop(print("\u{1b}[2J\u{1b}[H"));
        }
        tests();
        say(&format!("watching `{}`; Ctrl-C ends it", path.display()));
        loop {
            std::thread::sleep(Duration::from_millis(POLL_MS));
            if changes.look(stamps(path)) {
                break;
            }
        }
    }
}

/// Size and time of an archive, or of every file of a folder but those that are no part
/// of a bundle. What cannot be read has no stamp: that it is gone is a change too.
fn stamps(path: &Path) -> Stamps {
    let mut stamps = Stamps::new();
    let mut todo = vec![path.to_owned()];
    while let Some(path) = todo.pop() {
        let Ok(metadata) = fs::metadata(&path) else { continue };
        if metadata.is_dir() {
            let entries = fs::read_dir(&path).into_iter().flatten().flatten();
            todo.extend(entries.map(|entry| entry.path()).filter(|path| !passed_over(path)));
        } else {
            stamps.insert(path, (metadata.len(), metadata.modified().ok()));
        }
    }
    stamps
}

fn passed_over(path: &Path) -> bool {
    let name = path.file_name().map(|name| name.to_string_lossy().into_owned());
    name.is_some_and(|name| name.starts_with('.') && name != ".manifest")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(files: &[(&str, u64)]) -> Stamps {
        files.iter().map(|(name, bytes)| (PathBuf::from(name), (*bytes, None))).collect()
    }

    #[test]
    fn a_change_counts_when_it_has_settled_and_once() {
        let mut changes = Changes::since(of(&[("a", 1)]));
        assert!(!changes.look(of(&[("a", 1)])));
        assert!(!changes.look(of(&[("a", 2)])), "it may still be written");
        assert!(!changes.look(of(&[("a", 2), ("b", 1)])));
        assert!(changes.look(of(&[("a", 2), ("b", 1)])));
        assert!(!changes.look(of(&[("a", 2), ("b", 1)])));
    }

    #[test]
    fn a_change_that_is_taken_back_is_none() {
        let mut changes = Changes::since(of(&[("a", 1)]));
        assert!(!changes.look(of(&[])));
        assert!(!changes.look(of(&[("a", 1)])));
        assert!(!changes.look(of(&[("a", 1)])));
    }

    #[test]
    fn what_is_no_part_of_a_bundle_is_not_looked_at() {
        let folder = tempfile::tempdir().unwrap();
        let write = |name: &str| {
            let path = folder.path().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, "x").unwrap();
        };
        for name in [".manifest", "rego/u/u.rego", ".git/HEAD", "cases/.c.yaml.swp"] {
            write(name);
        }
        let seen = stamps(folder.path());
        let names: Vec<_> =
            seen.keys().map(|path| path.strip_prefix(folder.path()).unwrap()).collect();
        assert_eq!(names, [Path::new(".manifest"), Path::new("rego/u/u.rego")]);
        assert_eq!(stamps(&folder.path().join("nowhere")), Stamps::new());
    }
}
