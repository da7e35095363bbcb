//! Measures the detectors on evaluation data: `eval_detectors FOLDER`, or the folder in `LICTOR_EVAL_DATA`.
//! Prints rates only, never a text.
//!
//! What is looked for in the folder: `gitleaks/literal_{positives,negatives}.jsonl` (`rule` and `text` a line),
//! `presidio-research/generated_small.json` (texts with marked spans), and in every other sub-folder the texts
//! of all `.json`, `.jsonl`, `.txt`, `.md` and `.toml` files, which are taken for free of secrets and cards.

use std::collections::BTreeMap;
use std::error::Error;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Instant;

use lictor_policy_lib::detect::{Config, DetectorConfig, Detectors, Hit, Origin};
use serde_json::Value;

type Outcome<T> = Result<T, Box<dyn Error>>;

fn main() -> Outcome<()> {
    let folder = std::env::args_os().nth(1).or_else(|| std::env::var_os("LICTOR_EVAL_DATA"));
    let Some(folder) = folder.map(PathBuf::from) else {
        println!("skipped: name the folder of evaluation data, or set LICTOR_EVAL_DATA");
        return Ok(());
    };
    let all = detectors(&[("secret", None), ("pii", None), ("hidden", None)])?;
    secrets(&folder.join("gitleaks"), &all)?;
    cards(&folder.join("presidio-research/generated_small.json"))?;
    clean(&folder, &all)
}

fn detectors(wanted: &[(&str, Option<&str>)]) -> Outcome<Detectors> {
    let entry = |(id, only): &(&str, Option<&str>)| DetectorConfig {
        id: (*id).to_owned(),
        origins: Vec::new(),
        only: only.iter().map(|rule| (*rule).to_owned()).collect(),
        except: Vec::new(),
        severity: None,
    };
    let config = Config { detectors: wanted.iter().map(entry).collect(), regexes: Vec::new() };
    Ok(Detectors::compile(&config)?)
}

fn look(detectors: &Detectors, text: &str) -> Vec<Hit> {
    detectors.scan(Origin::ToolResult, "text/plain", text)
}

fn member<'a>(line: &'a Value, name: &str) -> &'a str {
    line.get(name).and_then(Value::as_str).unwrap_or_default()
}

fn lines(path: &Path) -> Outcome<Vec<Value>> {
    let text = fs::read_to_string(path)?;
    let lines = text.lines().filter(|line| !line.trim().is_empty());
    Ok(lines.map(serde_json::from_str).collect::<Result<_, _>>()?)
}

/// Each literal is judged by its own rule alone; the negatives by all rules too.
fn secrets(folder: &Path, all: &Detectors) -> Outcome<()> {
    println!("secrets: literals of the rules' own tests");
    let mut own: BTreeMap<String, Detectors> = BTreeMap::new();
    for (file, wanted) in [("literal_positives.jsonl", true), ("literal_negatives.jsonl", false)] {
        let cases = lines(&folder.join(file))?;
        let (mut flagged, mut by_any, mut not_judged) = (0, 0, 0);
        let mut wrong: BTreeMap<String, usize> = BTreeMap::new();
        for case in &cases {
            let (rule, text) = (member(case, "rule"), member(case, "text"));
            if !own.contains_key(rule) {
                match detectors(&[("secret", Some(rule))]) {
                    Ok(one) => own.insert(rule.to_owned(), one),
                    Err(problem) => {
                        println!("    not judged: {problem}");
                        not_judged += 1;
                        continue;
                    }
                };
            }
            let hit = own.get(rule).is_some_and(|d| !look(d, text).is_empty());
            flagged += usize::from(hit);
            by_any += usize::from(look(all, text).iter().any(|hit| &*hit.category == "secret"));
            if hit != wanted {
                *wrong.entry(rule.to_owned()).or_default() += 1;
            }
        }
        let judged = cases.len() - not_judged;
        println!("  {file:<26} own rule {flagged}/{judged}   any rule {by_any}/{judged}");
        if !wrong.is_empty() {
            println!("    judged wrongly: {wrong:?}");
        }
    }
    Ok(())
}

/// Card numbers by marked span, character offsets.
fn cards(path: &Path) -> Outcome<()> {
    let only_cards = detectors(&[("pii/card", None)])?;
    let cases: Vec<Value> = serde_json::from_str(&fs::read_to_string(path)?)?;
    let (mut marked, mut found, mut extra) = (0, 0, 0);
    for case in &cases {
        let text = member(case, "full_text");
        let byte = |at: Option<&Value>| {
            let at = at.and_then(Value::as_u64).and_then(|at| usize::try_from(at).ok());
            at.and_then(|at| text.char_indices().map(|(byte, _)| byte).chain([text.len()]).nth(at))
        };
        let spans = case.get("spans").and_then(Value::as_array).into_iter().flatten();
        let truth: Vec<_> = spans
            .filter(|span| member(span, "entity_type") == "CREDIT_CARD")
            .map(|span| (byte(span.get("start_position")), byte(span.get("end_position"))))
            .collect();
        let hits = look(&only_cards, text);
        let is_true = |hit: &Hit| truth.contains(&(Some(hit.start), Some(hit.end)));
        marked += truth.len();
        found += hits.iter().filter(|hit| is_true(hit)).count();
        extra += hits.iter().filter(|hit| !is_true(hit)).count();
    }
    println!(
        "cards: {found}/{marked} marked spans found exactly, {extra} others in {} texts",
        cases.len()
    );
    Ok(())
}

/// Texts without secrets and cards: how many texts of each set have a hit, and of which detector.
fn clean(folder: &Path, all: &Detectors) -> Outcome<()> {
    println!("other sets: texts with a hit, by detector");
    let mut sets: Vec<PathBuf> =
        fs::read_dir(folder)?.filter_map(|e| e.ok().map(|e| e.path())).collect();
    sets.sort();
    for set in sets.iter().filter(|set| set.is_dir() && !set.ends_with("gitleaks")) {
        let mut texts = Vec::new();
        collect(set, &mut texts)?;
        let mut flagged = 0;
        let mut by_detector: BTreeMap<String, usize> = BTreeMap::new();
        let begin = Instant::now();
        for text in &texts {
            let hits = look(all, text);
            flagged += usize::from(!hits.is_empty());
            let names: std::collections::BTreeSet<&str> =
                hits.iter().map(|hit| &*hit.detector).collect();
            for name in names {
                *by_detector.entry(name.to_owned()).or_default() += 1;
            }
        }
        let bytes: usize = texts.iter().map(String::len).sum();
        let speed = bytes as f64 / 1e6 / begin.elapsed().as_secs_f64();
        let name = set.file_name().unwrap_or_default().to_string_lossy();
        println!(
            "  {name:<24} {flagged:>5}/{:<6} {:>8} KB {speed:>6.1} MB/s  {by_detector:?}",
            texts.len(),
            bytes / 1000
        );
    }
    Ok(())
}

fn collect(path: &Path, texts: &mut Vec<String>) -> Outcome<()> {
    if path.is_dir() {
        let mut inside: Vec<PathBuf> =
            fs::read_dir(path)?.filter_map(|e| e.ok().map(|e| e.path())).collect();
        inside.sort();
        return inside.iter().try_for_each(|path| collect(path, texts));
    }
    match path.extension().and_then(|e| e.to_str()) {
        Some("jsonl") => lines(path)?.iter().for_each(|line| strings(line, texts)),
        Some("json") => strings(&serde_json::from_str(&fs::read_to_string(path)?)?, texts),
        Some("txt" | "md" | "toml") => {
            let text = fs::read_to_string(path)?;
            texts.extend(text.lines().filter(|line| !line.trim().is_empty()).map(str::to_owned));
        }
        _ => {}
    }
    Ok(())
}

fn strings(value: &Value, texts: &mut Vec<String>) {
    match value {
        Value::String(text) => texts.push(text.clone()),
        Value::Array(items) => items.iter().for_each(|item| strings(item, texts)),
        Value::Object(members) => members.values().for_each(|item| strings(item, texts)),
        _ => {}
    }
}
