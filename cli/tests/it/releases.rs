//! build, sign, verify, inspect.

use crate::run::Bench;
use base64::Engine as _;

#[test]
fn the_same_folder_gives_the_same_bytes() {
    let bench = Bench::with_bundle();
    let built = bench.run(&["build", "b", "-o", "1.tgz", "--format", "json"]).code(0).json();
    bench.run(&["build", "b", "-o", "2.tgz"]).code(0);
    assert_eq!(
        std::fs::read(bench.path("1.tgz")).unwrap(),
        std::fs::read(bench.path("2.tgz")).unwrap()
    );
    assert_eq!((&built["name"], &built["version"]), (&"b".into(), &1.into()));
    assert_eq!(
        built["digest"],
        bench.run(&["inspect", "2.tgz", "--format", "json"]).json()["digest"]
    );
    bench.run(&["check", "1.tgz"]).code(0);
    bench.run(&["test", "1.tgz"]).code(0);
}

#[test]
fn only_what_loads_is_built() {
    let bench = Bench::with_bundle();
    bench.edit("b/cedar/tickets.cedar", "tickets/search", "tickets/serach");
    let built = bench.run(&["build", "b", "-o", "b.tgz"]).code(5);
    assert!(built.err.contains("cedar_action_unknown"), "{built:?}");
    assert!(!bench.path("b.tgz").exists());
    bench.run(&["build", "nowhere", "-o", "b.tgz"]).code(1);
    bench.run(&["build", "b"]).code(2);
    bench.run(&["build", "b", "-o", "."]).code(2);
}

#[test]
fn folders_are_composed_and_every_collision_is_named() {
    let bench = Bench::with_bundle();
    bench.run(&["init", "c"]).code(0);
    let built = bench.run(&["build", "b", "c", "-o", "x.tgz"]).code(5);
    for part in ["unit `tickets`", "/registry/agents/helpdesk-v1", "/limits/closed_tickets"] {
        assert!(built.err.contains(part), "`{part}` is not in {}", built.err);
    }
    let rego = bench.read("c/rego/tickets/tickets.rego").replace("lictor.tickets", "lictor.more");
    std::fs::remove_dir_all(bench.path("c")).unwrap();
    bench.write("c/.manifest", &bench.read("b/.manifest"));
    bench.write("c/rego/more/more.rego", &rego);
    let built = bench.run(&["build", "b", "c", "-o", "x.tgz"]).code(0);
    assert!(built.out.contains("unsigned"), "{built:?}");
    let units = bench.run(&["inspect", "x.tgz", "--format", "json"]).json()["units"].clone();
    let names: Vec<&str> =
        units.as_array().unwrap().iter().map(|unit| unit["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["more", "tickets"]);
}

#[test]
fn a_signed_archive_verifies_and_says_by_whom() {
    let bench = Bench::with_release();
    let verified =
        bench.run(&["verify", "b.tgz", "--key", "k/bundle.pub", "--format", "json"]).code(0).json();
    let kid =
        bench.run(&["keys", "public", "k/bundle.key", "--format", "json"]).json()["kid"].clone();
    assert_eq!(verified["signed_by"], serde_json::json!([kid]));
    assert_eq!(verified["ok"], true);
    let seen = bench.run(&["inspect", "b.tgz", "--format", "json"]).code(0).json();
    assert_eq!((&seen["digest"], &seen["signatures"][0]["kid"]), (&verified["digest"], &kid));
    assert_eq!(seen["engines"], serde_json::json!(["rego", "cedar"]));
    assert_eq!((&seen["registry"]["tools"], &seen["limits"]), (&3.into(), &1.into()));
    assert!(bench.run(&["inspect", "b.tgz"]).code(0).out.contains("rego/tickets/tickets.rego"));
}

#[test]
fn inspect_says_why_the_interpreter_is_asked_and_where() {
    let bench = Bench::with_release();
    let fast = bench.run(&["inspect", "b", "--format", "json"]).json();
    assert_eq!(fast["rego"]["by"], "fast path", "{fast}");
    let rules = bench.read("b/rego/tickets/tickets.rego");
    let line = rules.lines().count() + 2;
    let more =
        "deny contains \"none\" if {\n\tcount({k: v | some k, v in input.context.args}) == 99\n}\n";
    bench.write("b/rego/tickets/tickets.rego", &format!("{rules}\n{more}"));
    let slow = bench.run(&["inspect", "b", "--format", "json"]).json();
    assert_eq!(slow["rego"]["by"], "interpreter");
    let at = format!("rego/tickets/tickets.rego:{}", line + 1);
    assert_eq!(slow["rego"]["at"], at.as_str(), "{slow}");
    let told = bench.run(&["inspect", "b"]).out;
    assert!(
        told.contains(&format!("a comprehension of an object, whose keys can conflict at {at}")),
        "{told}"
    );
}

/// The id with which `verify` refuses an archive.
fn refusal(bench: &Bench, args: &[&str]) -> String {
    let mut all = vec!["verify"];
    all.extend(args);
    all.extend(["--format", "json"]);
    let refused = bench.run(&all).code(7).json();
    assert_eq!(refused["ok"], false);
    refused["id"].as_str().unwrap().to_owned()
}

#[test]
fn bad_archives_are_refused_each_with_its_reason() {
    let bench = Bench::with_release();
    let key = "k/bundle.pub";
    bench.run(&["build", "b", "-o", "unsigned.tgz"]).code(0);
    assert_eq!(refusal(&bench, &["unsigned.tgz", "--key", key]), "bundle_unsigned");
    bench.run(&["keys", "new", "bundle", "-o", "other"]).code(0);
    assert_eq!(refusal(&bench, &["b.tgz", "--key", "other/bundle.pub"]), "bundle_key_unknown");
    assert_eq!(
        refusal(&bench, &["b.tgz", "--key", key, "--min-version", "2"]),
        "bundle_version_lower"
    );
    assert_eq!(refusal(&bench, &["b.tgz", "--key", key, "--scope", "prod"]), "bundle_scope");
    let pretty = bench.run(&["verify", "b.tgz", "--key", key, "--min-version", "2"]).code(7);
    assert!(pretty.err.contains("bundle_version_lower") && pretty.out.is_empty(), "{pretty:?}");
    let mut bytes = std::fs::read(bench.path("b.tgz")).unwrap();
    bytes.truncate(bytes.len() / 2);
    std::fs::write(bench.path("cut.tgz"), &bytes).unwrap();
    assert_eq!(refusal(&bench, &["cut.tgz", "--key", key]), "bundle_truncated");
    bench.run(&["verify", "nowhere.tgz", "--key", key]).code(1);
    bench.run(&["verify", "b.tgz", "--key", "nowhere.pub"]).code(1);
    bench.run(&["verify", "b.tgz"]).code(2);
    bench.run(&["verify", "b.tgz", "--key", key, "--required", "2"]).code(2);
}

#[test]
fn one_changed_policy_byte_is_noticed() {
    let bench = Bench::with_release();
    // The folder of the release, with its signature, then with one word changed.
    let signed = bench.run(&["inspect", "b.tgz", "--format", "json"]).json();
    assert!(signed["signatures"].as_array().is_some_and(|s| s.len() == 1));
    let mut archive = std::fs::read(bench.path("b.tgz")).unwrap();
    let at = archive.windows(5).position(|window| window == b"never").unwrap();
    archive[at] = b'N';
    std::fs::write(bench.path("changed.tgz"), &archive).unwrap();
    assert_eq!(refusal(&bench, &["changed.tgz", "--key", "k/bundle.pub"]), "bundle_corrupt");
    // With the checksum of the envelope made right again, the signature still holds.
    let from = archive.len() - 8;
    let fixed = crc_of_stored(&archive);
    archive[from..from + 4].copy_from_slice(&fixed.to_le_bytes());
    std::fs::write(bench.path("changed.tgz"), &archive).unwrap();
    assert_eq!(refusal(&bench, &["changed.tgz", "--key", "k/bundle.pub"]), "bundle_hash");
}

/// CRC-32 of the content of a gzip file whose blocks are stored, not compressed.
fn crc_of_stored(gzip: &[u8]) -> u32 {
    let mut content: Vec<u8> = Vec::new();
    let mut at = 10;
    loop {
        let last = gzip[at] & 1 == 1;
        let length = usize::from(u16::from_le_bytes([gzip[at + 1], gzip[at + 2]]));
        content.extend(&gzip[at + 5..at + 5 + length]);
        at += 5 + length;
        if last {
            break;
        }
    }
    let mut crc = u32::MAX;
    for byte in content {
        crc ^= u32::from(byte);
        for _ in 0..8 {
            crc = if crc & 1 == 1 { (crc >> 1) ^ 0xedb8_8320 } else { crc >> 1 };
        }
    }
    !crc
}

#[test]
fn times_of_signature_and_manifest_are_held() {
    let bench = Bench::with_release();
    let key = "k/bundle.pub";
    let past = bench
        .run(&["sign", "b.tgz", "--key", "k/bundle.key", "--expires", "2020-01-01T00:00:00Z"])
        .code(2);
    assert!(past.err.contains("would expire"), "{past:?}");
    bench.run(&["sign", "b.tgz", "--key", "k/bundle.key", "--expires", "soon"]).code(2);
    bench.edit(
        "b/.manifest",
        "\"version\": 1,",
        "\"version\": 2, \"expires\": \"2020-01-01T00:00:00Z\",",
    );
    bench.run(&["sign", "b", "--key", "k/bundle.key", "-o", "old.tgz"]).code(0);
    assert_eq!(refusal(&bench, &["old.tgz", "--key", key]), "bundle_expired");
    bench.edit("b/.manifest", "\"expires\": \"2020", "\"not_before\": \"2990");
    bench.run(&["sign", "b", "--key", "k/bundle.key", "-o", "new.tgz"]).code(0);
    assert_eq!(refusal(&bench, &["new.tgz", "--key", key]), "bundle_not_yet_valid");
    // Authors look at bundles whatever their time.
    bench.run(&["check", "old.tgz"]).code(0);
}

#[test]
fn several_people_sign() {
    let bench = Bench::with_release();
    bench.run(&["keys", "new", "bundle", "-o", "l"]).code(0);
    let both =
        ["verify", "b.tgz", "--key", "k/bundle.pub", "--key", "l/bundle.pub", "--required", "2"];
    bench.run(&both).code(7);
    bench.run(&["sign", "b.tgz", "--key", "l/bundle.key", "-o", "two.tgz"]).code(0);
    let mut both = both;
    both[1] = "two.tgz";
    bench.run(&both).code(0);
    bench.run(&["verify", "b.tgz", "--key", "l/bundle.pub"]).code(7);
    bench
        .run(&["sign", "b.tgz", "--key", "l/bundle.key", "--scope", "other", "-o", "no.tgz"])
        .code(7);
    bench.run(&["sign", "b", "--key", "k/bundle.key"]).code(2);
    bench.run(&["sign", "b.tgz", "--key", "k/bundle.pub"]).code(1);
}

#[test]
fn the_signature_is_a_compact_jws() {
    let bench = Bench::with_release();
    let archive = std::fs::read(bench.path("b.tgz")).unwrap();
    let text = String::from_utf8_lossy(&archive);
    let token = text.split("{\"signatures\":[\"").nth(1).unwrap().split('"').next().unwrap();
    let parts: Vec<&str> = token.split('.').collect();
    assert_eq!(parts.len(), 3);
    let header = base64::engine::general_purpose::URL_SAFE_NO_PAD.decode(parts[0]).unwrap();
    let header: serde_json::Value = serde_json::from_slice(&header).unwrap();
    assert_eq!(header["alg"], "EdDSA");
}
