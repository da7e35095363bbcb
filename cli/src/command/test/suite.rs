//! Everything of a bundle that can be tested, in the order in which it is told.

use lictor_policy_lib::bundle::{Kind, VerifiedBundle, kind};
use lictor_policy_lib::cases::{self, Case, CaseFile, Complete};
use lictor_policy_lib::diagnostic::Diagnostic;
use lictor_policy_lib::load::LoadedBundle;
use lictor_policy_lib::rego::tester::{RegoTests, TestOptions};
use regex::Regex;
use serde_json::{Value, json};

use super::TestArgs;
use crate::output::{Paint, shown};

/// The tests of a bundle that are wanted.
pub(super) struct Suite<'b> {
    pub(super) bundle: &'b LoadedBundle,
    pub(super) rego: RegoTests,
    pub(super) cases: Vec<Case>,
    pub(super) complete: Vec<Complete>,
    /// What is run, in order.
    pub(super) items: Vec<Item>,
    pub(super) filter: Option<Regex>,
}

/// One piece of work.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Item {
    /// A Rego test, by number.
    Rego(usize),
    /// A case, by number.
    Case(usize),
    /// What a table must have all of, by number.
    Complete(usize),
}

impl<'b> Suite<'b> {
    /// Reads all tests and chooses those that `args` name.
    ///
    /// # Errors
    /// Everything that is wrong with case files, or why Rego tests cannot be run.
    pub(super) fn of(args: &TestArgs, bundle: &'b LoadedBundle) -> Result<Self, Vec<Diagnostic>> {
        let CaseFile { cases, complete } = read_cases(bundle.verified())?;
        // What tests reach is watched apart, with both engines.
        let options = TestOptions { timeout: args.timeout };
        let rego = RegoTests::of(bundle, options)?;
        let filter = args.run.clone();
        let mut suite = Self { bundle, rego, cases, complete, items: Vec::new(), filter };
        suite.items = suite.all().filter(|item| suite.wanted(*item)).collect();
        Ok(suite)
    }

    /// Rego tests by file and line, then cases by file, then what their tables lack.
    fn all(&self) -> impl Iterator<Item = Item> + use<> {
        let rego = (0..self.rego.names().len()).map(Item::Rego);
        let cases = (0..self.cases.len()).map(Item::Case);
        rego.chain(cases).chain((0..self.complete.len()).map(Item::Complete))
    }

    fn wanted(&self, item: Item) -> bool {
        let Some(filter) = &self.filter else { return true };
        match item {
            Item::Rego(number) => self.rego.wanted(number, filter),
            other => self.named(other).is_some_and(|named| filter.is_match(&named.title())),
        }
    }

    fn named(&self, item: Item) -> Option<Named<'_>> {
        Some(match item {
            Item::Rego(number) => {
                let test = self.rego.names().nth(number)?;
                Named { sort: "rego", file: test.file, line: test.line, name: test.name }
            }
            Item::Case(number) => {
                let case = self.cases.get(number)?;
                Named { sort: "case", file: &case.file, line: case.line, name: &case.name }
            }
            Item::Complete(number) => {
                let it = self.complete.get(number)?;
                Named { sort: "case", file: &it.file, line: it.line, name: &it.name }
            }
        })
    }

    /// The names of what would be run, one a line.
    pub(super) fn list(&self, paint: Paint) -> String {
        let named = self.items.iter().filter_map(|item| self.named(*item));
        named
            .map(|named| {
                let place = paint.dim(&shown(&format!("{}:{}:", named.file, named.line)));
                format!("{place} {}\n", shown(named.name))
            })
            .collect()
    }

    /// The same for programs.
    pub(super) fn list_json(&self) -> Value {
        let named = self.items.iter().filter_map(|item| self.named(*item));
        let tests: Vec<Value> = named
            .map(|n| json!({"kind": n.sort, "file": n.file, "line": n.line, "name": n.name}))
            .collect();
        json!({"tests": tests})
    }
}

struct Named<'s> {
    sort: &'static str,
    file: &'s str,
    line: u32,
    name: &'s str,
}

impl Named<'_> {
    /// What a filter looks at.
    fn title(&self) -> String {
        format!("{}: {}", self.file, self.name)
    }
}

fn read_cases(verified: &VerifiedBundle) -> Result<CaseFile, Vec<Diagnostic>> {
    let mut all = CaseFile::default();
    let mut found = Vec::new();
    for (name, bytes) in verified.files().iter().filter(|(name, _)| kind(name) == Some(Kind::Cases))
    {
        let text = String::from_utf8_lossy(bytes);
        match cases::parse(name, &text) {
            Ok(file) => {
                all.cases.extend(file.cases);
                all.complete.extend(file.complete);
            }
            Err(problems) => found.extend(problems),
        }
    }
    if found.is_empty() { Ok(all) } else { Err(found) }
}
