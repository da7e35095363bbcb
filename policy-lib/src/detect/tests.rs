//! The detectors together. Secrets are put together here at run time, so that none stands in the source.

use std::sync::LazyLock;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use lictor_proto::call::Origin;
use lictor_proto::decision::Severity;
use proptest::prelude::*;
use serde_json::json;

use super::build::{MAX_PATTERN_BYTES, MAX_REGEXES};
use super::hit::ORIGINS;
use super::{CompileError, Config, Detectors, Hit, MAX_TEXT_BYTES, RegexConfig, mask};

static ALL: LazyLock<Detectors> = LazyLock::new(|| {
    compile(json!({"detectors": [{"id": "secret"}, {"id": "pii"}, {"id": "hidden"}]}))
});

fn compile(config: serde_json::Value) -> Detectors {
    Detectors::compile(&serde_json::from_value(config).unwrap()).unwrap()
}

fn aws_key() -> String {
    concat!("AK", "IA", "QYLPM", "N5HIJ", "2RSTUV").to_owned()
}

fn card_number() -> String {
    ["4532", "2766", "4457", "7020"].concat()
}

fn scan(text: &str) -> Vec<Hit> {
    ALL.scan(Origin::ToolResult, "text/plain", text)
}

fn names(hits: &[Hit]) -> Vec<&str> {
    hits.iter().map(|hit| &*hit.detector).collect()
}

/// What the first hit of the detector covers.
fn covered<'a>(text: &'a str, hits: &[Hit], detector: &str) -> Option<&'a str> {
    let hit = hits.iter().find(|hit| &*hit.detector == detector)?;
    text.get(hit.start..hit.end)
}

fn tags(text: &str) -> String {
    text.chars().map(|c| char::from_u32(0xE0000 + u32::from(c)).unwrap()).collect()
}

const AWS: &str = "secret/aws-access-token";

#[test]
fn a_secret_and_a_card_are_found_where_they_stand() {
    let (key, card) = (aws_key(), card_number());
    let text = format!("é id {key} and {card}.");
    let hits = scan(&text);
    assert_eq!(names(&hits), [AWS, "pii/card"]);
    assert_eq!(covered(&text, &hits, AWS), Some(&*key));
    assert_eq!(covered(&text, &hits, "pii/card"), Some(&*card));
    assert_eq!(hits.iter().map(|h| h.severity).collect::<Vec<_>>(), [Severity::High; 2]);
    assert_eq!(hits.iter().map(|h| h.score).collect::<Vec<_>>(), [1.0; 2]);
}

#[test]
fn a_specific_rule_silences_the_generic_one() {
    let text = format!("api_key = \"{}\"", aws_key());
    assert_eq!(names(&scan(&text)), [AWS]);
    let random = ["q8Zr2", "LmT5x", "Wv9Kp", "3NcY7"].concat();
    let text = format!("api_key = \"{random}\"");
    let hits = scan(&text);
    assert_eq!(names(&hits), ["secret/generic-api-key"]);
    assert_eq!(covered(&text, &hits, "secret/generic-api-key"), Some(&*random));
    assert_eq!(hits.first().map(|h| h.severity), Some(Severity::Medium));
}

#[test]
fn samples_and_placeholders_are_no_secrets() {
    for text in [
        concat!("AK", "IA", "IOSFODNN7EXAMPLE"),
        concat!("AK", "IA", "AAAAAAAAAAAAAAAA"),
        "password: ${PASSWORD}",
        "api_key = abcdefghijklmnopqrstuvwxyz",
    ] {
        assert!(scan(text).is_empty(), "{text}");
    }
}

#[test]
fn encoded_secrets_are_found_and_the_encoded_span_is_reported() {
    let plain = format!("id: {}, done", aws_key());
    let base64 = STANDARD.encode(&plain);
    let hex = hex::encode(&plain);
    let percent: String = plain.bytes().map(|b| format!("%{b:02x}")).collect();
    let escaped: String = plain.bytes().map(|b| format!("\\u{b:04x}")).collect();
    let twice = hex::encode(&base64);
    let thrice = STANDARD.encode(&twice);
    for encoded in [base64, hex, percent, escaped, twice, thrice.clone()] {
        let text = format!("see {encoded} here");
        let hits = scan(&text);
        assert_eq!(names(&hits), [AWS], "{encoded}");
        let span = covered(&text, &hits, AWS).unwrap();
        assert_eq!(span.trim_end_matches('='), encoded.trim_end_matches('='));
    }
    let deeper = hex::encode(thrice);
    assert!(scan(&deeper).is_empty(), "one level deeper than is undone");
}

#[test]
fn an_escaped_byte_in_a_secret_does_not_hide_it() {
    let text = aws_key().replacen('K', "%4B", 1);
    let hits = scan(&text);
    assert_eq!(names(&hits), [AWS]);
    assert_eq!(covered(&text, &hits, AWS), Some(&*text));
}

#[test]
fn invisible_characters_do_not_hide_a_secret_or_a_card() {
    for (value, detector) in [(aws_key(), AWS), (card_number(), "pii/card")] {
        let spread: String = value.chars().flat_map(|c| [c, '\u{200B}']).collect();
        let text = format!("x {spread} y");
        let hits = scan(&text);
        let spread = spread.trim_end_matches('\u{200B}');
        assert_eq!(covered(&text, &hits, detector), Some(spread), "{detector}");
        assert!(names(&hits).contains(&"hidden/zero_width"));
    }
}

#[test]
fn look_alikes_of_ascii_do_not_hide_a_secret() {
    let wide: String =
        aws_key().chars().map(|c| char::from_u32(u32::from(c) + 0xFEE0).unwrap()).collect();
    let hits = scan(&wide);
    assert_eq!(names(&hits), [AWS]);
    assert_eq!(covered(&wide, &hits, AWS), Some(&*wide));
}

#[test]
fn a_secret_spelled_in_tags_is_found_there() {
    let hidden = tags(&format!("send {}", aws_key()));
    let text = format!("nice weather{hidden} today");
    let hits = scan(&text);
    assert_eq!(names(&hits), ["hidden/tags", AWS]);
    assert_eq!(covered(&text, &hits, AWS), Some(&*tags(&aws_key())));
    assert_eq!(covered(&text, &hits, "hidden/tags"), Some(&*hidden));
}

#[test]
fn json_escapes_do_not_hide_tags() {
    let text = r"ok \udb40\udc68\udb40\udc69 then";
    let hits = scan(text);
    assert_eq!(covered(text, &hits, "hidden/tags"), Some(r"\udb40\udc68\udb40\udc69"));
}

#[test]
fn kinds_of_hidden_text_have_names() {
    let hits = scan("a\u{200B}b\u{202E}c\u{E0041}d\u{FE0F}e");
    assert_eq!(
        names(&hits),
        ["hidden/zero_width", "hidden/bidi", "hidden/tags", "hidden/variation_selectors"]
    );
    assert!(hits.iter().all(|hit| &*hit.category == "hidden"));
}

#[test]
fn nothing_is_looked_for_that_was_not_asked_for() {
    let text = format!("{} {} \u{202E}", aws_key(), card_number());
    let none = compile(json!({}));
    let some = compile(json!({"detectors": [
        {"id": "secret", "origins": ["user"], "only": ["aws-access-token"], "severity": "critical"},
        {"id": "pii/card", "origins": ["user", "tool_args"]},
        {"id": "hidden", "origins": ["system"], "except": ["bidi"]}
    ]}));
    for origin in ORIGINS {
        assert!(none.scan(origin, "text/plain", &text).is_empty());
        let hits = some.scan(origin, "text/plain", &text);
        let expected: &[&str] = match origin {
            Origin::User => &[AWS, "pii/card"],
            Origin::ToolArgs => &["pii/card"],
            _ => &[],
        };
        assert_eq!(names(&hits), expected, "{origin:?}");
        if origin == Origin::User {
            assert_eq!(hits.first().map(|h| h.severity), Some(Severity::Critical));
        }
    }
}

#[test]
fn what_is_not_read_is_said() {
    let hits = ALL.scan(Origin::User, "image/png", &aws_key());
    let hit = hits.first().unwrap();
    assert_eq!((names(&hits), &*hit.category), (vec!["uninspected/image/png"], "uninspected"));
    assert_eq!((hit.start, hit.end), (0, 0));
    assert_eq!(
        names(&compile(json!({})).scan(Origin::User, "image/png", "")),
        ["uninspected/image/png"]
    );
}

#[test]
fn the_largest_text_is_read_and_a_larger_one_is_said() {
    let key = aws_key();
    let mut text = " ".repeat(MAX_TEXT_BYTES - key.len());
    text.push_str(&key);
    assert_eq!(names(&scan(&text)), [AWS]);
    text.push(' ');
    let hits = scan(&text);
    assert_eq!(names(&hits), ["uninspected/too_large"]);
    assert_eq!(hits.first().map(|h| (h.start, h.end)), Some((0, 0)));
}

#[test]
fn a_text_that_wakes_every_rule_too_often_is_said() {
    let text = format!("{}\n", ALL.rules.all_keywords()).repeat(256);
    let hits = scan(&text);
    assert!(names(&hits).contains(&"uninspected/too_much_work"));
    let short = format!("{}\n", ALL.rules.all_keywords()).repeat(8);
    assert!(!names(&scan(&short)).contains(&"uninspected/too_much_work"));
}

fn custom(id: &str, pattern: &str) -> RegexConfig {
    RegexConfig {
        id: id.to_owned(),
        pattern: pattern.to_owned(),
        category: "internal".to_owned(),
        severity: Severity::Low,
        keywords: Vec::new(),
        origins: Vec::new(),
    }
}

fn refused(regexes: Vec<RegexConfig>) -> CompileError {
    let detectors = Vec::new();
    Detectors::compile(&Config { detectors, regexes }).unwrap_err()
}

#[test]
fn the_bundles_own_patterns_run() {
    let detectors = compile(json!({"regexes": [
        {"id": "custom/badge", "pattern": "\\bB-[0-9]{6}\\b", "category": "internal", "severity": "low",
         "keywords": ["b-"], "origins": ["user"]},
        {"id": "custom/street", "pattern": "(?u:stra\u{DF}e \\d+)", "category": "address", "severity": "high"}
    ]}));
    let text = "badge B-123456, Hauptstra\u{DF}e 7";
    let hits = detectors.scan(Origin::User, "text/plain", text);
    assert_eq!(names(&hits), ["custom/badge", "custom/street"]);
    assert_eq!(covered(text, &hits, "custom/street"), Some("stra\u{DF}e 7"));
    let first = hits.first().unwrap();
    assert_eq!((&*first.category, first.severity), ("internal", Severity::Low));
    assert_eq!(names(&detectors.scan(Origin::System, "text/plain", text)), ["custom/street"]);
}

#[test]
fn bad_patterns_are_refused_in_the_authors_words() {
    let message = |regex| refused(vec![regex]).to_string();
    assert!(
        message(custom("custom/a", "("))
            .starts_with("`guardrails.regexes[0].pattern` of `custom/a`: ")
    );
    assert!(message(custom("custom/a", "x*")).contains("matches empty text"));
    assert!(message(custom("custom/a", "(?=x)")).contains("look-around"));
    for id in ["badge", "custom/", "custom/A", "custom/a b", "secret/a"] {
        assert!(message(custom(id, "x")).contains("is not `custom/`"), "{id}");
    }
    assert!(
        message(RegexConfig { category: String::new(), ..custom("custom/a", "x") })
            .contains("category")
    );
    let keywords = vec![String::new()];
    assert!(message(RegexConfig { keywords, ..custom("custom/a", "x") }).contains("keywords"));
    let twice = refused(vec![custom("custom/a", "x"), custom("custom/a", "y")]).to_string();
    assert_eq!(
        twice,
        "`guardrails.regexes[1].id`: `custom/a` is taken by an earlier pattern; give each one a name of its own"
    );
    assert!(matches!(
        refused(vec![custom("custom/a", "(?u:\\w{2000}){500}")]),
        CompileError::BadPattern { .. }
    ));
}

#[test]
fn limits_of_own_patterns_hold_at_their_edges() {
    let compiled = |regexes| {
        let detectors = Vec::new();
        Detectors::compile(&Config { detectors, regexes }).map(|_| ())
    };
    let many =
        |count: usize| (0..count).map(|i| custom(&format!("custom/{i}"), "x")).collect::<Vec<_>>();
    assert_eq!(compiled(many(MAX_REGEXES)), Ok(()));
    assert!(matches!(compiled(many(MAX_REGEXES + 1)), Err(CompileError::TooManyRegexes { .. })));
    assert_eq!(compiled(vec![custom("custom/a", &"x".repeat(MAX_PATTERN_BYTES))]), Ok(()));
    let long = compiled(vec![custom("custom/a", &"x".repeat(MAX_PATTERN_BYTES + 1))]);
    assert!(matches!(long, Err(CompileError::BadPattern { .. })));
    assert_eq!(compiled(vec![custom(&format!("custom/{}", "a".repeat(64)), "x")]), Ok(()));
    assert!(compiled(vec![custom(&format!("custom/{}", "a".repeat(65)), "x")]).is_err());
}

#[test]
fn warming_changes_no_result() {
    let detectors = compile(json!({"detectors": [{"id": "secret"}]}));
    let text = format!("key {}", aws_key());
    let cold = detectors.scan(Origin::User, "text/plain", &text);
    detectors.warm();
    assert_eq!(detectors.scan(Origin::User, "text/plain", &text), cold);
}

/// Texts of pieces that detectors care about.
fn pieces() -> impl Strategy<Value = String> {
    let piece = prop_oneof![
        "[ -~]{0,12}",
        "\\PC{0,6}",
        Just(aws_key()),
        Just(card_number()),
        Just(STANDARD.encode(format!("key {}", aws_key()))),
        Just(hex::encode(card_number())),
        Just("%41%e2%80%8b".to_owned()),
        Just("\\u200b\\ud83d".to_owned()),
        Just("password=".to_owned()),
        Just("\u{200B}\u{202E}".to_owned()),
        Just(tags("4532")),
        Just("\u{1F3F4}\u{FE0F}\u{200D}".to_owned()),
        Just("\u{FF14}\u{2013}\u{A0}".to_owned()),
        "[0-9 -]{1,20}",
    ];
    proptest::collection::vec(piece, 0..12).prop_map(|parts| parts.concat())
}

fn check_hits(text: &str) -> Result<(), TestCaseError> {
    let hits = scan(text);
    for hit in &hits {
        prop_assert!(hit.start <= hit.end);
        prop_assert!(text.get(hit.start..hit.end).is_some(), "{hit:?}");
        prop_assert!(!hit.detector.starts_with("detector_failed"), "{hit:?}");
    }
    prop_assert!(hits.is_sorted_by_key(|hit| (hit.start, hit.end, hit.detector.clone())));
    prop_assert_eq!(&hits, &scan(text));
    Ok(())
}

proptest! {
    #[test]
    fn hits_are_valid_sorted_and_the_same_each_time(text in pieces()) {
        check_hits(&text)?;
    }

    #[test]
    fn no_bytes_make_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
        check_hits(&String::from_utf8_lossy(&bytes))?;
    }

    #[test]
    fn a_secret_between_words_is_found_and_never_repeated(
        before in "([a-zé]{1,9} ){0,20}",
        after in "( [a-zé]{1,9}){0,20}",
    ) {
        let key = aws_key();
        let text = format!("{before}{key}{after}");
        let hits = scan(&text);
        prop_assert_eq!(covered(&text, &hits, AWS), Some(&*key));
        let shown = format!("{hits:?}{}", serde_json::to_string(&hits).unwrap());
        prop_assert!(!shown.contains(&key));
        let spans: Vec<(usize, usize)> = hits.iter().map(|hit| (hit.start, hit.end)).collect();
        let masked = mask(&text, &spans, "[masked]");
        prop_assert!(!masked.contains(&key));
        prop_assert_eq!(scan(&masked), Vec::new());
    }

    #[test]
    fn a_secret_is_found_behind_any_one_invisible_character(
        at in 1_usize..20,
        c in "[\u{200B}-\u{200F}\u{2060}-\u{2064}\u{202A}-\u{202E}\u{AD}\u{FEFF}\u{FE00}-\u{FE0F}\u{E0020}-\u{E007F}\u{E0100}-\u{E01EF}]",
    ) {
        let mut key = aws_key();
        key.insert_str(at, &c);
        let hits = scan(&key);
        prop_assert_eq!(covered(&key, &hits, AWS), Some(&*key));
        prop_assert!(hits.iter().any(|hit| &*hit.category == "hidden"));
    }

    #[test]
    fn a_card_is_found_with_any_single_separators(
        separators in proptest::collection::vec(prop_oneof![Just(""), Just(" "), Just("-")], 15),
        before in "([a-z]{1,9} ){0,4}",
    ) {
        let digits = card_number();
        let card: String = digits.chars().zip(separators.into_iter().chain([""])).map(|(d, s)| format!("{d}{s}")).collect();
        let text = format!("{before}{card}, ok");
        prop_assert_eq!(covered(&text, &scan(&text), "pii/card"), Some(&*card));
    }
}

/// Configurations that look at some origins only, or at none.
fn some_origins() -> impl Strategy<Value = Detectors> {
    let origins = proptest::sample::subsequence(ORIGINS.to_vec(), 1..=ORIGINS.len());
    let family = prop_oneof![
        Just(None),
        Just(Some("secret/aws-access-token")),
        Just(Some("pii/card")),
        Just(Some("hidden")),
        Just(Some("hidden/bidi")),
    ];
    let regex = prop_oneof![Just(None), Just(Some("[0-9]{4}")), Just(Some("AKIA"))];
    (origins, family, regex).prop_map(|(origins, family, regex)| {
        let detectors: Vec<_> =
            family.into_iter().map(|id| json!({"id": id, "origins": origins})).collect();
        let regexes: Vec<_> = regex
            .into_iter()
            .map(|pattern| {
                json!({"id": "custom/a", "pattern": pattern, "category": "c", "severity": "low",
                       "origins": origins})
            })
            .collect();
        compile(json!({"detectors": detectors, "regexes": regexes}))
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    /// What is not scanned would not have said anything, and what is not wanted says nothing.
    #[test]
    fn where_nothing_runs_a_scan_finds_nothing(
        detectors in some_origins(),
        media in prop_oneof![
            Just(""), Just("text/plain"), Just("application/json; x"), Just("image/png"), Just("odd"),
        ],
        text in "[a-z0-9 \u{200b}\u{202e}]{0,30}",
        planted in 0..4usize,
    ) {
        let texts = [text.clone(), format!("{text} {}", aws_key()),
            format!("{text} {}", card_number()), format!("{text} {}", STANDARD.encode(aws_key()))];
        for origin in ORIGINS {
            let text = &texts[planted];
            let hits = detectors.scan(origin, media, text);
            if super::media::unread(media).is_none() {
                prop_assert_eq!(&hits, &super::scan::Scan::of(&detectors, origin, text));
            }
            prop_assert!(hits.is_empty() || detectors.wants(origin, media, text));
        }
    }
}

#[test]
fn a_part_is_wanted_where_a_detector_runs_or_nobody_can_read_it() {
    let detectors = compile(json!({"detectors": [{"id": "pii/card", "origins": ["tool_args"]}]}));
    assert!(detectors.wants(Origin::ToolArgs, "text/plain", "a"));
    assert!(!detectors.wants(Origin::User, "text/plain", "a"));
    assert!(!detectors.wants(Origin::User, "", &"a".repeat(MAX_TEXT_BYTES)));
    assert!(detectors.wants(Origin::User, "", &"a".repeat(MAX_TEXT_BYTES + 1)));
    assert!(detectors.wants(Origin::User, "image/png", ""));
    let none = compile(json!({}));
    assert!(ORIGINS.iter().all(|origin| !none.wants(*origin, "text/html", "a")));
    assert!(ORIGINS.iter().all(|origin| ALL.wants(*origin, "text/html", "a")));
}
