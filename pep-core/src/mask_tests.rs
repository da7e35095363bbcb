use lictor_proto::decision::{Reason, Severity};
use lictor_proto::json::{Open, scan};

use super::*;

fn finding(detector: &str, content: u32, start: u64, end: u64) -> Finding {
    Finding {
        detector: detector.into(),
        category: detector.split('/').next().unwrap().into(),
        severity: Severity::High,
        score: 1.0,
        content,
        start,
        end,
    }
}

fn decision(properties: &[&str], findings: Vec<Finding>) -> Decision {
    let mut decision = Decision::denied("d", "c", Reason::new("r", "m"));
    decision.findings = findings;
    decision.obligations = properties
        .iter()
        .map(|text| Obligation {
            id: "m".into(),
            kind: ObligationKind::Mask,
            properties: Open::parse(text.as_bytes()).unwrap(),
        })
        .collect();
    decision
}

fn masked(properties: &[&str], findings: Vec<Finding>, text: &str) -> Result<String, MaskError> {
    let spans = spans(&decision(properties, findings), &[text])?;
    apply(text, spans.get(&0).map_or(&[], Vec::as_slice))
}

#[test]
fn selection_by_category_detector_or_all() {
    let text = "key AKIA card 4111 end";
    let findings = || vec![finding("secret/aws", 0, 4, 8), finding("pii/card", 0, 14, 18)];
    let cases = [
        ("{}", "key [masked] card [masked] end"),
        (r#"{"categories":["pii"]}"#, "key AKIA card [masked] end"),
        (r#"{"detectors":["secret/*"],"replacement":"-"}"#, "key - card 4111 end"),
        (r#"{"detectors":["secret/aw"]}"#, text),
        (r#"{"pointers":["/a"]}"#, text),
    ];
    for (properties, expected) in cases {
        assert_eq!(masked(&[properties], findings(), text).unwrap(), expected, "{properties}");
    }
}

#[test]
fn overlapping_and_touching_spans_become_one() {
    let findings = vec![finding("a/x", 0, 2, 5), finding("a/y", 0, 4, 7), finding("a/z", 0, 7, 8)];
    assert_eq!(masked(&["{}"], findings, "0123456789").unwrap(), "01[masked]89");
}

#[test]
fn a_finding_that_does_not_fit_masks_nothing_and_fails() {
    let text = "aäb";
    for (content, start, end) in [(0, 0, 5), (0, 2, 3), (0, 3, 1), (1, 0, 1), (0, 0, u64::MAX)] {
        let result = masked(&["{}"], vec![finding("a/x", content, start, end)], text);
        assert!(result.is_err(), "{content} {start}..{end}");
    }
    assert_eq!(masked(&["{}"], vec![finding("a/x", 0, 1, 3)], text).unwrap(), "a[masked]b");
}

#[test]
fn unknown_properties_fail() {
    for properties in [
        r#"{"category":["pii"]}"#,
        r#"{"categories":"pii"}"#,
        r#"{"detectors":[1]}"#,
        r#"{"replacement":7}"#,
    ] {
        assert!(masked(&[properties], vec![], "x").is_err(), "{properties}");
    }
    let longest = format!(r#"{{"replacement":"{}"}}"#, "r".repeat(MAX_REPLACEMENT_BYTES));
    assert!(masked(&[&longest], vec![], "x").is_ok());
    let longer = format!(r#"{{"replacement":"{}"}}"#, "r".repeat(MAX_REPLACEMENT_BYTES + 1));
    assert!(masked(&[&longer], vec![], "x").is_err());
}

#[test]
fn pointers_and_findings_become_edits_of_the_text() {
    let text = br#"{"amount": 900, "note": "card 4111 \u0041", "to":"x"}"#;
    let root = scan(text).unwrap();
    let note = root.get("note").unwrap();
    let properties = [r#"{"pointers":["/amount","/amount"]}"#, r#"{"categories":["pii"]}"#];
    let decision = decision(&properties, vec![finding("pii/card", 0, 5, 9)]);
    let out = edits(&decision, &[note], &root).unwrap().apply(text).unwrap();
    assert_eq!(out, br#"{"amount": "[masked]", "note": "card [masked] A", "to":"x"}"#);
}

#[test]
fn a_pointer_to_nothing_fails_and_one_above_a_finding_wins() {
    let text = br#"{"a":{"b":"4111"}}"#;
    let root = scan(text).unwrap();
    let b = root.pointer("/a/b").unwrap();
    let nowhere = decision(&[r#"{"pointers":["/x"]}"#], vec![]);
    assert_eq!(edits(&nowhere, &[b], &root).unwrap_err(), MaskError::Pointer("/x".into()));
    let both = decision(
        &[r#"{"pointers":["/a"],"categories":["pii"]}"#],
        vec![finding("pii/card", 0, 0, 4)],
    );
    let out = edits(&both, &[b], &root).unwrap().apply(text).unwrap();
    assert_eq!(out, br#"{"a":"[masked]"}"#);
}
