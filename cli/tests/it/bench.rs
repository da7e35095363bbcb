//! `lictor bench`: a row for each case, and what cannot be measured.

use crate::run::Bench;

#[test]
fn every_case_has_a_row_and_all_have_one() {
    let bench = Bench::with_bundle();
    let said = bench.run(&["bench", "b", "--seconds", "0.2", "--format", "json"]).code(0).json();
    let rows = said["cases"].as_array().unwrap();
    assert!(rows.len() > 3, "{said}");
    let decisions: u64 = rows.iter().map(|row| row["decisions"].as_u64().unwrap()).sum();
    assert_eq!(said["all"]["decisions"], decisions);
    for row in rows {
        assert!(row["p50_us"].as_f64().unwrap() <= row["p99_us"].as_f64().unwrap(), "{row}");
        assert!(row["p50_us"].as_f64().unwrap() > 0.0, "{row}");
    }
    let text = bench.run(&["bench", "b", "--seconds", "0.1", "--run", "search"]).code(0).out;
    assert!(text.contains("loads in") && text.contains("p99 us"), "{text}");
}

#[test]
fn what_cannot_be_measured_is_said() {
    let bench = Bench::with_bundle();
    let ended = bench.run(&["bench", "b", "--run", "no such case"]).code(1);
    assert!(ended.err.contains("no such case"), "{}", ended.err);
    bench.run(&["bench", "b", "--seconds", "0"]).code(2);
    bench.run(&["bench", "nowhere"]).code(1);
}
