//! How long a scan takes: all families on clean texts of two sizes, and on texts made to be slow.

use divan::counter::BytesCount;
use divan::{Bencher, black_box};
use lictor_policy_lib::detect::{Config, DetectorConfig, Detectors, Origin};

fn main() {
    divan::main();
}

fn detectors() -> Detectors {
    let entry = |id: &str| DetectorConfig {
        id: id.to_owned(),
        origins: Vec::new(),
        only: Vec::new(),
        except: Vec::new(),
        severity: None,
    };
    let config =
        Config { detectors: ["secret", "pii", "hidden"].map(entry).into(), regexes: Vec::new() };
    match Detectors::compile(&config) {
        Ok(detectors) => detectors,
        Err(problem) => {
            eprintln!("{problem}");
            std::process::exit(1);
        }
    }
}

/// Sentences of the kind that tools return, with words that wake common rules.
const SENTENCES: [&str; 8] = [
    "The quarterly report lists 1,204 invoices; 37 of them wait for approval by the finance team.\n",
    "To rotate the key, open the settings page and choose a new token for the account.\n",
    "fn main() -> Result<(), Error> { let path = std::env::args().nth(1); run(path.as_deref()) }\n",
    "Meeting on 2026-03-14 at 10:30 in room 12.04, see https://intranet.example.com/rooms/12.04?floor=3\n",
    "{\"id\": 48213, \"status\": \"open\", \"assignee\": \"m.smith\", \"labels\": [\"api\", \"docs\"]}\n",
    "Customers asked whether the password reset mail can be sent in their own language.\n",
    "commit 9f86d081884c7d659a2feaa0c55ad015a3bf4f1b (origin/main) Merge branch 'fix/access-log'\n",
    "The access list was reviewed, and nobody's rights were changed since the last audit.\n",
];

fn clean(bytes: usize) -> String {
    SENTENCES.iter().cycle().flat_map(|s| s.chars()).take(bytes).collect()
}

#[divan::bench(args = [2048, 8192, 65536])]
fn clean_ascii(bencher: Bencher<'_, '_>, bytes: usize) {
    run(bencher, &clean(bytes));
}

#[divan::bench(args = [2048, 8192, 65536])]
fn clean_unicode(bencher: Bencher<'_, '_>, bytes: usize) {
    let text = clean(bytes * 9 / 10).replace("the ", "die Gr\u{F6}\u{DF}e ");
    run(bencher, &text);
}

#[divan::bench(args = [2048, 8192, 65536])]
fn hidden_between_all_letters(bencher: Bencher<'_, '_>, bytes: usize) {
    let text: String = clean(bytes / 4).chars().flat_map(|c| [c, '\u{200B}']).collect();
    run(bencher, &text);
}

#[divan::bench(args = [2048, 8192, 65536])]
fn digits_and_dashes(bencher: Bencher<'_, '_>, bytes: usize) {
    run(bencher, &"4111-".repeat(bytes / 5));
}

#[divan::bench(args = [2048, 8192, 65536])]
fn percent_escapes(bencher: Bencher<'_, '_>, bytes: usize) {
    run(bencher, &"%2525252541".repeat(bytes / 11));
}

#[divan::bench(args = [2048, 8192, 65536])]
fn weak_assignments(bencher: Bencher<'_, '_>, bytes: usize) {
    run(bencher, &"api_key=aaaaaaaaaaaa ".repeat(bytes / 21));
}

fn run(bencher: Bencher<'_, '_>, text: &str) {
    let detectors = detectors();
    detectors.warm();
    bencher
        .counter(BytesCount::of_str(text))
        .bench_local(|| detectors.scan(Origin::ToolResult, "text/plain", black_box(text)));
}

#[divan::bench(sample_count = 10)]
fn compile(bencher: Bencher<'_, '_>) {
    bencher.bench_local(detectors);
}
