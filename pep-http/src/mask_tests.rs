use lictor_proto::call::Origin;
use lictor_proto::decision::{Effect, Finding, Obligation, ObligationKind, Reason, Severity};
use lictor_proto::json::Open;
use proptest::prelude::*;

use super::*;
use crate::text::part;

fn span(start: usize, end: usize) -> MaskSpan {
    MaskSpan { start, end, replacement: "#".to_owned() }
}

fn finding(content: u32, start: u64, end: u64) -> Finding {
    Finding {
        detector: "secret/test".to_owned(),
        category: "secret".to_owned(),
        severity: Severity::High,
        score: 1.0,
        content,
        start,
        end,
    }
}

fn masking(properties: &str, findings: Vec<Finding>) -> Decision {
    let mut decision = Decision::denied("d", "c", Reason::new("x", "y"));
    decision.effect = Effect::Allow;
    decision.findings = findings;
    decision.obligations.push(Obligation {
        id: "m".to_owned(),
        kind: ObligationKind::Mask,
        properties: Open::parse(properties.as_bytes()).unwrap(),
    });
    decision
}

fn masked(body: &str, pointer: &str, decision: &Decision) -> Result<String, Unmaskable> {
    let root = scan(body.as_bytes()).unwrap();
    let text = root.pointer(pointer).and_then(Node::as_str).unwrap();
    let content = [part(Origin::User, pointer, "text/plain", text)];
    let mut edits = Edits::new();
    edit(&mut edits, &root, &content, &spans(decision, &content)?)?;
    Ok(String::from_utf8(edits.apply(body.as_bytes()).unwrap()).unwrap())
}

#[test]
fn a_masked_string_is_escaped_again() {
    let body = r#"{ "a" : ["x\"\u0041\n",1.0] }"#;
    let decision = masking(r#"{"replacement":"[\"]"}"#, vec![finding(0, 2, 3)]);
    assert_eq!(masked(body, "/a/0", &decision).unwrap(), r#"{ "a" : ["x\"[\"]\n",1.0] }"#);
}

#[test]
fn arguments_stay_json_or_are_refused() {
    let body = r#"{"arguments":"{\"key\":\"SECRET\"}"}"#;
    let decision = masking("{}", vec![finding(0, 8, 14)]);
    let out = masked(body, "/arguments", &decision).unwrap();
    assert_eq!(out, r#"{"arguments":"{\"key\":\"[masked]\"}"}"#);
    let cut = masked(body, "/arguments", &masking("{}", vec![finding(0, 8, 16)]));
    assert_eq!(cut, Err(Unmaskable::Json("/arguments".to_owned())));
}

#[test]
fn a_finding_without_length_masks_nothing_and_a_misfit_is_refused() {
    let body = r#"{"a":"text"}"#;
    assert_eq!(masked(body, "/a", &masking("{}", vec![finding(0, 0, 0)])).unwrap(), body);
    for wrong in [finding(0, 0, 5), finding(1, 0, 1), finding(0, 3, 2)] {
        let refused = masked(body, "/a", &masking("{}", vec![wrong]));
        assert!(matches!(refused, Err(Unmaskable::Mask(_))), "{refused:?}");
    }
}

#[test]
fn a_pointer_masks_the_whole_text_that_stands_there() {
    let body = r#"{"a":"text"}"#;
    let decision = masking(r#"{"pointers":["/a"]}"#, vec![finding(0, 0, 1)]);
    assert_eq!(masked(body, "/a", &decision).unwrap(), r#"{"a":"[masked]"}"#);
    let nowhere = masked(body, "/a", &masking(r#"{"pointers":["/b"]}"#, vec![]));
    assert!(matches!(nowhere, Err(Unmaskable::Mask(MaskError::Pointer(_)))));
}

#[test]
fn a_part_that_is_no_string_of_the_body_is_refused() {
    let root = scan(br#"{"a":"text"}"#).unwrap();
    let spans = Spans::from([(0, vec![span(0, 1)])]);
    for content in [
        part(Origin::User, "/a", "text/plain", "another"),
        part(Origin::User, "", "text/plain", "a"),
    ] {
        let pointer = content.pointer.clone();
        let refused = edit(&mut Edits::new(), &root, &[content], &spans);
        assert_eq!(refused, Err(Unmaskable::Part(pointer)));
    }
}

#[test]
fn a_replacement_stands_where_its_span_begins() {
    let text = "xSECRETy";
    let spans = [span(1, 7)];
    let shown = [(0, 1), (1, 3), (3, 3), (3, 8)].map(|(from, to)| fragment(text, &spans, from, to));
    assert_eq!(shown, ["x", "#", "", "y"]);
}

proptest! {
    /// Fragments put together are the masked text, however it is cut and masked.
    #[test]
    fn fragments_add_up(
        text in "\\PC{0,40}",
        points in proptest::collection::btree_set(0usize..60, 0..10),
        cuts in proptest::collection::vec(0usize..60, 0..8),
    ) {
        let boundary = |at: &usize| *at <= text.len() && text.is_char_boundary(*at);
        let points: Vec<usize> = points.into_iter().filter(boundary).collect();
        let spans: Vec<MaskSpan> =
            points.chunks_exact(2).map(|pair| span(pair[0], pair[1])).collect();
        let mut cuts: Vec<usize> = cuts.into_iter().filter(boundary).collect();
        cuts.extend([0, text.len()]);
        cuts.sort_unstable();
        let joined: String =
            cuts.windows(2).map(|pair| fragment(&text, &spans, pair[0], pair[1])).collect();
        prop_assert_eq!(joined, mask::apply(&text, &spans).unwrap());
    }
}
