//! Build, compose and pack.

use super::*;

fn folder(pairs: &[(&str, &str)]) -> Files {
    let pairs = pairs.iter().map(|(name, text)| (name, text.as_bytes()));
    Files::from_pairs(pairs, &Limits::default()).unwrap()
}

fn part(origin: &str, lictor: &str, pairs: &[(&str, &str)]) -> Part {
    let manifest =
        format!(r#"{{"metadata":{{"lictor":{{"name":"{origin}","version":1{lictor}}}}}}}"#);
    let mut all = vec![(".manifest", manifest.as_str())];
    all.extend(pairs);
    Part { origin: origin.into(), files: folder(&all) }
}

fn text<'a>(files: &'a Files, name: &str) -> &'a str {
    std::str::from_utf8(files.get(name).unwrap()).unwrap()
}

fn collisions(parts: Vec<Part>) -> Vec<String> {
    match compose(parts) {
        Err(ComposeError::Collisions(all)) => all.iter().map(ToString::to_string).collect(),
        other => panic!("no collisions: {other:?}"),
    }
}

#[test]
fn build_writes_json_in_structured_form_and_leaves_the_rest() {
    let files = folder(&[
        (
            ".manifest",
            "{ \"roots\": [\"a\"], \"metadata\": {\"lictor\": {\"version\": 1, \"name\": \"d\"}} }\n",
        ),
        ("data.json", "{\n  \"z\": 1.50,\n  \"a\": \"<\u{2028}>\"\n}\n"),
        ("cedar/entities.json", "[ ]\n"),
        (".signatures.json", "{\"signatures\":[\"x\"]}"),
    ]);
    let built = build(&files).unwrap();
    assert_eq!(
        text(&built, ".manifest"),
        r#"{"metadata":{"lictor":{"name":"d","version":1}},"roots":["a"]}"#
    );
    assert_eq!(text(&built, "data.json"), "{\"a\":\"<\\u2028>\",\"z\":1.50}");
    assert_eq!(text(&built, "cedar/entities.json"), "[ ]\n");
    assert_eq!(built.get(".signatures.json"), None);
    assert_eq!(build(&built).unwrap(), built);
}

#[test]
fn build_refuses_what_cannot_be_signed() {
    let with_data = |data: &str| {
        let mut files = files();
        files.set("data.json", data.into());
        build(&files).unwrap_err().to_string()
    };
    assert_eq!(
        with_data("{\"a\":1,\n \"a\":2}"),
        "data.json: the key `a` appears twice in one object (line 1, column 1)"
    );
    assert_eq!(with_data("[]"), "data.json: has to be an object, `{}` at least");
    assert_eq!(build(&folder(&[])).unwrap_err(), BuildError::Manifest(ManifestError::Missing));
    let typo = part("a", r#","units":{"expens":{}}"#, &[]);
    assert!(matches!(
        build(&typo.files),
        Err(BuildError::Manifest(ManifestError::UnitUnknown { .. }))
    ));
}

#[test]
fn compose_puts_folders_together() {
    let a = part(
        "a",
        r#","not_before":"2026-01-01T00:00:00Z","max_staleness":60,"units":{"one":{"scope":{"agents":["x"]}}}"#,
        &[
            ("rego/one/a.rego", "package lictor.one\n"),
            (
                "data.json",
                r#"{"limits":{"l1":{"max":1}},"registry":{"agents":{"x":{}}},"guardrails":{"pii":{"on":true}}}"#,
            ),
            ("README.md", "# a\n"),
            ("cases/a.yaml", "cases: []\n"),
        ],
    );
    let b = part(
        "b",
        r#","not_before":"2026-01-02T00:00:00Z","expires":"2027-01-01T00:00:00Z","max_staleness":90,"units":{"two":{}}"#,
        &[
            ("cedar/two.cedar", "// two\n"),
            (
                "data.json",
                r#"{"limits":{"l2":{}},"registry":{"agents":{"y":{}},"users":{"u":{}}},"guardrails":{"pii":{"score":0.50}}}"#,
            ),
            ("README.md", "# b\n"),
            ("cases/b.yaml", "cases: []\n"),
        ],
    );
    let files = compose(vec![a, b]).unwrap();
    assert_eq!(
        text(&files, "data.json"),
        r#"{"guardrails":{"pii":{"on":true,"score":0.50}},"limits":{"l1":{"max":1},"l2":{}},"registry":{"agents":{"x":{},"y":{}},"users":{"u":{}}}}"#
    );
    assert_eq!(text(&files, "README.md"), "# a\n\n# b\n");
    assert_eq!(files.units().into_iter().collect::<Vec<_>>(), ["one", "two"]);
    assert!(files.get("cases/a.yaml").is_some() && files.get("cases/b.yaml").is_some());
    let manifest = Manifest::parse(files.get(".manifest").unwrap()).unwrap();
    assert_eq!(manifest.name, "a");
    assert_eq!(manifest.not_before_ms, Some(1_767_312_000_000));
    assert_eq!(manifest.expires_ms, Some(1_798_761_600_000));
    assert_eq!(manifest.max_staleness_s, Some(60));
    assert!(manifest.units["one"].scope.is_some());
    assert!(manifest.units.contains_key("two"));
}

#[test]
fn compose_of_one_folder_is_build() {
    let one = Part { origin: "a".into(), files: files() };
    assert_eq!(compose(vec![one]).unwrap(), build(&files()).unwrap());
    assert_eq!(compose(Vec::new()), Err(ComposeError::Nothing));
}

#[test]
fn the_stricter_time_of_three_holds() {
    let manifests = [
        r#","expires":"2027-06-01T00:00:00Z""#,
        r#","expires":"2027-01-01T00:00:00Z","max_staleness":9"#,
        r#","not_before":"2026-01-01T00:00:00Z","max_staleness":8"#,
    ];
    let parts =
        manifests.iter().zip(["a", "b", "c"]).map(|(lictor, origin)| part(origin, lictor, &[]));
    let files = compose(parts.collect()).unwrap();
    let manifest = Manifest::parse(files.get(".manifest").unwrap()).unwrap();
    assert_eq!(manifest.expires_ms, Some(1_798_761_600_000));
    assert_eq!(manifest.not_before_ms, Some(1_767_225_600_000));
    assert_eq!(manifest.max_staleness_s, Some(8));
}

#[test]
fn every_collision_is_reported_with_both_folders() {
    let a = part(
        "a",
        "",
        &[
            ("rego/one/a.rego", "1"),
            ("cases/x.yaml", "1"),
            ("cedar/schema.cedarschema", "1"),
            (
                "data.json",
                r#"{"limits":{"l":{"max":1}},"registry":{"agents":{"x/y":{"owner":"o"}}},"other":{"deep":{"leaf":1}}}"#,
            ),
        ],
    );
    let b = part(
        "b",
        r#","permit_from":"any""#,
        &[
            ("rego/one/b.rego", "2"),
            ("cases/x.yaml", "2"),
            ("cedar/schema.cedarschema", "2"),
            (
                "data.json",
                r#"{"limits":{"l":{"per":"day"}},"registry":{"agents":{"x/y":{"status":"s"}}},"other":{"deep":{"leaf":1}}}"#,
            ),
        ],
    );
    assert_eq!(
        collisions(vec![a, b]),
        [
            "data `/limits/l` is in `a` and in `b`",
            "data `/other/deep/leaf` is in `a` and in `b`",
            "data `/registry/agents/x~1y` is in `a` and in `b`",
            "file `cases/x.yaml` is in `a` and in `b`",
            "file `cedar/schema.cedarschema` is in `a` and in `b`",
            "manifest `permit_from` is in `a` and in `b`",
            "unit `one` is in `a` and in `b`",
        ]
    );
}

#[test]
fn a_collision_names_the_folder_that_was_first() {
    let data = |origin: &str, data: &str| part(origin, "", &[("data.json", data)]);
    let all = collisions(vec![
        data("a", r#"{"limits":{"l":{}}}"#),
        data("b", r#"{"limits":{"m":{}},"x":1}"#),
        data("c", r#"{"limits":{"m":{}},"x":{"y":1}}"#),
    ]);
    assert_eq!(all, ["data `/limits/m` is in `b` and in `c`", "data `/x` is in `b` and in `c`"]);
}

#[test]
fn the_same_folder_twice_collides() {
    let once = || part("a", "", &[("cedar/one.cedar", "")]);
    assert_eq!(
        collisions(vec![once(), once()]),
        ["file `cedar/one.cedar` is in `a` and in `a`", "unit `one` is in `a` and in `a`"]
    );
}

#[test]
fn roots_are_put_together_unless_one_owns_everything() {
    let rooted = |origin: &str, roots: &str| Part {
        origin: origin.into(),
        files: folder(&[(
            ".manifest",
            &format!(r#"{{{roots}"metadata":{{"lictor":{{"name":"n","version":1}}}}}}"#),
        )]),
    };
    let roots = |parts: Vec<Part>| {
        let files = compose(parts).unwrap();
        Manifest::parse(files.get(".manifest").unwrap()).unwrap().roots
    };
    let a = || rooted("a", r#""roots":["lictor","x"],"#);
    let b = || rooted("b", r#""roots":["lictor","y"],"#);
    let all = || rooted("c", "");
    assert_eq!(roots(vec![a(), b()]), Some(vec!["lictor".into(), "x".into(), "y".into()]));
    assert_eq!(roots(vec![a(), all()]), None);
    assert_eq!(roots(vec![all(), a()]), None);
    let below = rooted("d", r#""roots":["x/z"],"#);
    assert!(matches!(compose(vec![a(), below]), Err(ComposeError::Part { .. })));
}

#[test]
fn a_folder_that_cannot_be_built_is_named() {
    let broken = Part { origin: "b".into(), files: folder(&[]) };
    let error = compose(vec![part("a", "", &[]), broken]).unwrap_err();
    assert!(error.to_string().starts_with("b: "), "{error}");
}

#[test]
fn pack_has_a_fixed_order_and_form() {
    let archive = pack(&signed());
    assert_eq!(archive, pack(&signed()));
    let mut decoder = flate2::read::GzDecoder::new(archive.as_slice());
    let mut tar = tar::Archive::new(&mut decoder);
    let names: Vec<String> = tar
        .entries()
        .unwrap()
        .map(|entry| {
            let entry = entry.unwrap();
            let header = entry.header();
            assert_eq!(header.mtime().unwrap(), 0);
            assert_eq!(header.mode().unwrap(), 0o644);
            entry.path().unwrap().to_str().unwrap().to_owned()
        })
        .collect();
    assert_eq!(
        names,
        [
            ".manifest",
            ".signatures.json",
            "README.md",
            "cases/expense.yaml",
            "cedar/expense.cedar",
            "data.json",
            "rego/expense/limits.rego"
        ]
    );
}

/// The form of an archive is a promise: digests in old audit records and
/// signed archives rest on it.
#[test]
fn the_bytes_of_an_archive_do_not_change_with_the_release() {
    assert_eq!(
        digest(&pack(&files())),
        "sha256:41c5a5744bd0dd6c0ea6dd70e7b3fa4e4981e02a96442d98fa8c91fed31cb49a"
    );
}

#[test]
fn files_larger_than_a_stored_block_survive_packing() {
    for length in [0xffff - 1536, 0x1_0000, 3 * 0xffff, 200_001] {
        let mut files = files();
        files.set("README.md", vec![b'x'; length]);
        let read = read_archive(&pack(&files), &Limits::default()).unwrap();
        assert_eq!(read, files, "{length}");
    }
}
