use super::*;

fn value(json: &str) -> Value {
    Value::from_json_str(json).unwrap()
}

fn ok(name: &str, args: &str) -> bool {
    let Value::Array(args) = value(args) else { panic!("{args}") };
    of(name).unwrap()(args.as_slice()).is_ok()
}

fn long(n: usize) -> String {
    "x".repeat(n)
}

#[test]
fn ranges_end_at_their_edge() {
    assert!(ok("numbers.range", &format!("[1, {MAX_ITEMS}]")));
    assert!(!ok("numbers.range", &format!("[0, {MAX_ITEMS}]")));
    assert!(!ok("numbers.range", &format!("[{MAX_ITEMS}, 0]")));
    assert!(ok("numbers.range_step", &format!("[0, {}, 2]", 2 * MAX_ITEMS - 1)));
    assert!(!ok("numbers.range_step", &format!("[0, {}, 2]", 2 * MAX_ITEMS)));
    assert!(!ok("numbers.range", "[-9223372036854775808, 18446744073709551615]"));
    let big = Value::from_numeric_string("18446744073709551616").unwrap();
    assert_eq!(range(&[big.clone(), big]), Err(Refusal::Number));
}

#[test]
fn address_blocks_end_at_their_edge() {
    for (block, fits) in [
        ("10.0.0.0/16", true),
        ("10.0.0.0/15", false),
        ("::/112", true),
        ("::/111", false),
        ("::/0", false),
        ("x", true),
    ] {
        assert_eq!(ok("net.cidr_expand", &format!("[\"{block}\"]")), fits, "{block}");
    }
}

#[test]
fn shifts_end_at_their_edge() {
    assert!(ok("bits.lsh", &format!("[1, {MAX_SHIFT_BITS}]")));
    assert!(!ok("bits.lsh", &format!("[1, {}]", MAX_SHIFT_BITS + 1)));
}

#[test]
fn widths_end_at_their_edge() {
    let format = |width: u32| format!("[\"%{width}d\", [1]]");
    assert!(ok("sprintf", &format(MAX_WIDTH_CHARS)));
    assert!(!ok("sprintf", &format(MAX_WIDTH_CHARS + 1)));
    assert!(!ok("sprintf", "[\"%.99999999999999999999f\", [1]]"));
    // A digit that the engine would panic on.
    assert!(!ok("sprintf", "[\"%\u{b2}d\", [1]]"));
    assert!(ok("sprintf", "[\"%%999999999d 100%% %s\", [1]]"));
    assert!(!ok("sprintf", "[\"%%%999999999d\", [1]]"));
}

#[test]
fn texts_end_at_their_edge() {
    let half = long(MAX_TEXT_BYTES / 2);
    assert!(ok("replace", &format!("[\"aa\", \"a\", \"{half}\"]")));
    assert!(!ok("replace", &format!("[\"aaa\", \"a\", \"{half}\"]")));
    assert!(!ok("replace", &format!("[\"aa\", \"\", \"{half}\"]")));
    assert!(!ok(
        "strings.replace_n",
        &format!(
            "[{{\"a\": \"bb\", \"b\": \"cc\", \"c\": \"{}\"}}, \"a\"]",
            long(MAX_TEXT_BYTES / 3)
        )
    ));
    assert!(!ok("concat", &format!("[\"{half}\", [1, 2, 3]]")));
    assert!(ok("split", &format!("[\"{}\", \"\"]", long(MAX_ITEMS - 2))));
    assert!(!ok("split", &format!("[\"{}\", \"\"]", long(MAX_ITEMS))));
    assert!(!ok("json.unmarshal", &format!("[\"{}\"]", long(MAX_PARSED_BYTES + 1))));
    assert!(ok("json.unmarshal", &format!("[\"{}\"]", long(MAX_PARSED_BYTES))));
}

#[test]
fn searches_that_compare_every_pair_are_bounded() {
    let text = long(MAX_STEPS >> 12);
    assert!(ok("indexof", &format!("[\"{text}\", \"{}\"]", long(1 << 12))));
    assert!(!ok("indexof", &format!("[\"{text}\", \"{}\"]", long((1 << 12) + 1))));
    assert!(!ok("strings.count", "[\"abc\", \"\"]"));
    let many = format!("[{}]", vec!["\"a\""; 400].join(","));
    assert!(!ok("strings.any_prefix_match", &format!("[{many}, {many}]")));
}

#[test]
fn regular_expressions_are_bounded() {
    assert!(ok("regex.find_n", &format!("[\"a\", \"{}\", -1]", long(MAX_MATCHED_BYTES))));
    assert!(!ok("regex.find_n", &format!("[\"a\", \"{}\", -1]", long(MAX_MATCHED_BYTES + 1))));
    assert!(!ok("regex.replace", &format!("[\"{}\", \"x\", \"{}\"]", long(100_000), long(100))));
    assert!(!ok(
        "regex.replace",
        &format!("[\"{}\", \"x*\", \"{}\"]", long(100_000), "$0".repeat(40))
    ));
    assert!(ok("regex.replace", &format!("[\"{}\", \"x\", \"***\"]", long(100_000))));
}

#[test]
fn numbers_in_texts_are_bounded() {
    for (text, fits) in [
        ("1e400", true),
        ("1e401", false),
        ("-1.5E+3", true),
        ("1e99999999999", false),
        ("abc", true),
    ] {
        assert_eq!(ok("to_number", &format!("[\"{text}\"]")), fits, "{text}");
    }
    assert!(!ok("units.parse", &format!("[\"{}Ki\"]", "9".repeat(401))));
}

#[test]
fn yaml_aliases_are_seen_and_stars_are_not_mistaken() {
    for (text, fits) in [
        ("a: *b", false),
        ("[*b]", false),
        ("- *b", false),
        ("a: 2 * 3", true),
        ("a: x*y", true),
        ("*b", false),
    ] {
        assert_eq!(ok("yaml.unmarshal", &format!("[\"{text}\"]")), fits, "{text}");
    }
}

#[test]
fn patches_copy_a_few_times_only() {
    let copies = |n: usize| {
        format!("[{{}}, [{}]]", vec![r#"{"op": "copy", "from": "", "path": "/a"}"#; n].join(","))
    };
    assert!(ok("json.patch", &copies(MAX_COPIES)));
    assert!(!ok("json.patch", &copies(MAX_COPIES + 1)));
}

#[test]
fn collections_end_at_their_edge() {
    let items = |n: usize| Value::from(vec![Value::Null; n]);
    assert!(join_items(&[items(MAX_ITEMS - 1), items(1)]).is_ok());
    assert!(join_items(&[items(MAX_ITEMS), items(1)]).is_err());
    assert!(walk(&[items(MAX_ITEMS - 1)]).is_ok());
    assert!(walk(&[items(MAX_ITEMS)]).is_err());
    let factors = |n: u64| Value::from((0..n).map(|_| Value::from(3u64)).collect::<Vec<_>>());
    assert!(product(&[factors(MAX_NUMBER_BITS / 2)]).is_ok());
    assert!(product(&[factors(MAX_NUMBER_BITS / 2 + 1)]).is_err());
}

#[test]
fn indentation_counts() {
    let many = format!("[{}]", vec!["1"; 2000].join(","));
    assert!(ok(
        "json.marshal_with_options",
        &format!("[{many}, {{\"indent\": \"  \", \"pretty\": true}}]")
    ));
    assert!(!ok(
        "json.marshal_with_options",
        &format!("[{many}, {{\"indent\": \"{}\"}}]", long(1000))
    ));
}

#[test]
fn the_local_time_zone_is_refused() {
    assert!(!ok("time.clock", "[[0, \"Local\"]]"));
    assert!(ok("time.clock", "[[0, \"Europe/Rome\"]]"));
    assert!(!ok("time.diff", "[0, [0, \"Local\"]]"));
}
