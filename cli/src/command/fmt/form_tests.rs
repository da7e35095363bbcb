use std::path::{Path, PathBuf};

use proptest::prelude::*;
use proptest::sample::select;

use super::super::files::{self, Place};
use super::*;

/// Files below folders of this repository that have a layout.
fn below(folders: &[&str]) -> Vec<Place> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned();
    let paths: Vec<PathBuf> = folders.iter().map(|folder| root.join(folder)).collect();
    files::find(&paths).unwrap()
}

#[test]
fn everything_here_keeps_its_meaning_and_comments_and_is_formatted_once() {
    let places = below(&["bundles", "policy-lib/testdata", "cli/src/init/template"]);
    let count = |kind: Kind| places.iter().filter(|place| place.kind == kind).count();
    assert!(count(Kind::Cedar) >= 9 && count(Kind::Json) >= 12 && count(Kind::Cedarschema) >= 1);
    for Place { path, kind } in &places {
        let text = std::fs::read_to_string(path).unwrap();
        let name = path.display().to_string();
        let is_valid = match kind {
            Kind::Json => json::meaning(&text).is_ok(),
            Kind::Cedar => meaning::of_policies(&name, &text).is_ok(),
            Kind::Cedarschema => meaning::of_schema(&name, &text).is_ok(),
        };
        if !is_valid {
            assert!(name.contains("testdata") && formatted(*kind, &name, &text).is_err(), "{name}");
            continue;
        }
        let out =
            formatted(*kind, &name, &text).unwrap_or_else(|error| panic!("{name}: {error:?}"));
        assert_eq!(formatted(*kind, &name, &out).unwrap(), out, "{name}");
        match kind {
            Kind::Json => {
                let value = |text: &str| serde_json::from_str::<serde_json::Value>(text).unwrap();
                assert_eq!(value(&out), value(&text), "{name}");
            }
            Kind::Cedar => {
                let says = |text: &str| meaning::of_policies(&name, text).unwrap();
                assert!(says(&out) == says(&text), "{name}");
                let comments = |text: &str| -> Vec<String> {
                    tokens::comments(text).into_iter().map(|(text, _)| text.to_owned()).collect()
                };
                assert_eq!(comments(&out), comments(&text), "{name}");
            }
            Kind::Cedarschema => {
                let says = |text: &str| meaning::of_schema(&name, text).unwrap();
                assert!(says(&out) == says(&text), "{name}");
            }
        }
    }
}

#[test]
fn bundles_are_formatted() {
    let places = below(&["bundles", "policy-lib/testdata/standard", "cli/src/init/template"]);
    for Place { path, kind } in places {
        let text = std::fs::read_to_string(&path).unwrap();
        let name = path.display().to_string();
        assert!(formatted(kind, &name, &text).unwrap() == text, "run `lictor fmt {name}`");
    }
}

#[test]
fn what_is_wrong_is_said_with_its_place() {
    let refused = |kind, text| formatted(kind, "x", text).unwrap_err();
    let found = refused(Kind::Json, "{\n  \"a\": 1,\n  \"a\": 2\n}");
    assert_eq!((found.line, found.col), (3, 3), "{found:?}");
    let found = refused(Kind::Cedar, "permit(principal,\n  action resource);");
    assert_eq!((found.line, found.col), (2, 10), "{found:?}");
    let found = refused(Kind::Cedarschema, "entity A;\nentity;");
    assert_eq!(found.line, 2, "{found:?}");
}

#[test]
fn a_text_that_would_lose_a_comment_is_refused_with_the_comment() {
    let kept = same_comments("// a\nx // b", "// a\nx\n// b");
    assert_eq!(kept, Ok(()));
    let lost = same_comments("// a\nx // b", "// a\nx").unwrap_err();
    assert!(lost.message.contains("`// b`") && lost.line == 2, "{lost:?}");
    let moved = same_comments("// a\nx // b", "// b\nx // a").unwrap_err();
    assert!(moved.message.contains("`// a`") && moved.line == 1, "{moved:?}");
    assert_eq!(same_comments("x", "x // new"), Err(changed()));
}

/// JSON with white space, escapes and numbers of every sort.
fn any_json() -> impl Strategy<Value = String> {
    let leaf = prop_oneof![
        select(vec![
            "null",
            "true",
            "1.50",
            "-0.0",
            "1e3",
            "18446744073709551615",
            "9007199254740993"
        ])
        .prop_map(str::to_owned),
        select(vec![r#""""#, r#""é""#, r#""\u202e\/\n""#, r#""a // b""#, r#""{\n""#])
            .prop_map(str::to_owned),
        "[a-z ]{0,60}".prop_map(|text| format!("\"{text}\"")),
    ];
    let space = || select(vec!["", " ", "\n", "\r\n\t", "  \n\n  "]);
    leaf.prop_recursive(6, 60, 6, move |inner| {
        let item = (space(), inner, space()).prop_map(|(a, value, b)| format!("{a}{value}{b}"));
        let list = prop::collection::vec(item.clone(), 0..6);
        let named = prop::collection::btree_map("[a-z~/]{1,12}", (space(), space(), item), 0..6);
        prop_oneof![
            (list, space()).prop_map(|(items, a)| format!("[{a}{}]", items.join(","))),
            (named, space()).prop_map(|(members, a)| {
                let members: Vec<String> = members
                    .into_iter()
                    .map(|(key, (a, b, value))| format!("{a}\"{key}\"{b}:{value}"))
                    .collect();
                format!("{{{a}{}}}", members.join(","))
            }),
        ]
    })
}

/// The tokens of an expression, any of which may be followed by a comment.
fn expression() -> impl Strategy<Value = Vec<String>> {
    let leaf = select(vec![
        "true",
        "1",
        "-7",
        "\"x // y\"",
        "\"a\n\n\nb\"",
        "principal",
        "context . amount",
        "context [ \"a b\" ]",
        "Lictor :: User :: \"u\"",
        "ip ( \"10.0.0.1\" )",
        "[ 1 , 2 ]",
        "{ a : 1 }",
    ])
    .prop_map(words);
    leaf.prop_recursive(4, 24, 3, |inner| {
        let operator = select(vec!["&&", "||", "==", "!=", "<", "+", "*", "in"]);
        let wrapped = |before: &'static str, after: &'static str| {
            move |inner: Vec<String>| [words(before), inner, words(after)].concat()
        };
        prop_oneof![
            (inner.clone(), operator, inner.clone()).prop_map(|(a, operator, b)| {
                [words("("), a, words(operator), b, words(")")].concat()
            }),
            inner.clone().prop_map(wrapped("! (", ")")),
            inner.clone().prop_map(wrapped("[", "] . contains ( 1 )")),
            inner.clone().prop_map(wrapped("( context has a && (", ") )")),
            inner.clone().prop_map(wrapped("if true then", "else false")),
            inner.prop_map(wrapped("context . name like \"a*\" && (", ")")),
        ]
    })
}

/// Split at spaces outside of strings.
fn words(text: &str) -> Vec<String> {
    tokens::tokens(text).iter().map(|token| token.text.to_owned()).collect()
}

fn policy() -> impl Strategy<Value = Vec<String>> {
    let scope = select(vec![
        "permit ( principal , action , resource )",
        "forbid ( principal == Lictor :: Agent :: \"a\" , action in [ Lictor :: Action :: \"a\" , Lictor :: Action :: \"b\" ] , resource is Lictor :: Tool )",
        "permit ( principal is Lictor :: Agent in Lictor :: Team :: \"t\" , action == Lictor :: Action :: \"a\" , resource in Lictor :: Server :: \"s\" )",
        "permit ( principal == ?principal , action , resource in ?resource )",
    ]);
    let note = select(vec!["", "@ id ( \"a.b\" )", "@ id ( \"a\" ) @ reason ( \"x // y\" )"]);
    let condition = (select(vec!["when", "unless"]), expression())
        .prop_map(|(word, inner)| [words(word), words("{"), inner, words("}")].concat());
    let conditions = prop::collection::vec(condition, 0..3);
    (note, scope, conditions).prop_map(|(note, scope, conditions)| {
        [words(note), words(scope), conditions.concat(), words(";")].concat()
    })
}

/// Policies whose tokens have white space or comments between them.
fn any_policies() -> impl Strategy<Value = String> {
    let between = || {
        prop_oneof![
            30 => Just(" "),
            5 => Just("\n"),
            2 => Just("\n\n\n"),
            1 => Just(" // behind\n"),
            1 => Just("\n  // above, \"quoted\n"),
            1 => Just("\r\n// a\r\n// b\r\n"),
        ]
    };
    prop::collection::vec(policy(), 0..4).prop_flat_map(move |policies| {
        let tokens = policies.concat();
        let gaps = prop::collection::vec(between(), tokens.len() + 1);
        gaps.prop_map(move |gaps| {
            let mut text = gaps.first().copied().unwrap_or_default().to_owned();
            for (token, gap) in tokens.iter().zip(gaps.iter().skip(1)) {
                text.push_str(token);
                text.push_str(gap);
            }
            text
        })
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, ..ProptestConfig::default() })]

    #[test]
    fn json_keeps_its_meaning_and_rests(text in any_json()) {
        let out = formatted(Kind::Json, "x", &text).unwrap();
        prop_assert_eq!(json::meaning(&out).unwrap(), json::meaning(&text).unwrap());
        let value = |text: &str| serde_json::from_str::<serde_json::Value>(text).unwrap();
        prop_assert_eq!(value(&out), value(&text));
        prop_assert_eq!(json::layout(&out).unwrap(), out);
    }

    #[test]
    fn policies_keep_their_meaning_and_comments_and_rest(text in any_policies()) {
        let Ok(before) = meaning::of_policies("x", &text) else { return Ok(()) };
        match formatted(Kind::Cedar, "x", &text) {
            Ok(out) => {
                prop_assert!(meaning::of_policies("x", &out).unwrap() == before);
                let comments = |text: &str| -> Vec<String> {
                    tokens::comments(text).into_iter().map(|(text, _)| text.to_owned()).collect()
                };
                prop_assert_eq!(comments(&out), comments(&text));
                prop_assert_eq!(formatted(Kind::Cedar, "x", &out), Ok(out));
            }
            // Without comments nothing stands in the way.
            Err(refusal) => prop_assert!(text.contains("//"), "{refusal:?} for {text}"),
        }
    }
}
