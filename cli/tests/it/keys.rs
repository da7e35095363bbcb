//! Key pairs and API keys.

use std::os::unix::fs::PermissionsExt as _;

use crate::run::Bench;

#[test]
fn a_private_key_is_for_its_owner_alone_and_never_overwritten() {
    let bench = Bench::new();
    for purpose in ["bundle", "audit", "assertion", "session", "approval", "provenance"] {
        let made =
            bench.run(&["keys", "new", purpose, "-o", "k", "--format", "json"]).code(0).json();
        assert_eq!(made["purpose"], purpose);
        let mode = std::fs::metadata(bench.path(&format!("k/{purpose}.key")))
            .unwrap()
            .permissions()
            .mode();
        assert_eq!(mode & 0o777, 0o600);
    }
    let before = bench.read("k/bundle.key");
    let again = bench.run(&["keys", "new", "bundle", "-o", "k"]).code(1);
    assert!(again.err.contains("never overwritten"), "{again:?}");
    assert_eq!(bench.read("k/bundle.key"), before);
    bench.run(&["keys", "new", "everything", "-o", "k"]).code(2);
    assert_eq!(
        bench.run(&["keys", "public", "k/bundle.key"]).code(0).out,
        bench.read("k/bundle.pub")
    );
    std::fs::set_permissions(bench.path("k/bundle.key"), std::fs::Permissions::from_mode(0o644))
        .unwrap();
    let open = bench.run(&["keys", "public", "k/bundle.key"]).code(1);
    assert!(open.err.contains("chmod 600"), "{open:?}");
}

#[test]
fn an_api_key_is_shown_once_and_stored_as_a_hash() {
    let bench = Bench::new();
    let issue = [
        "keys",
        "issue",
        "--store",
        "keys.json",
        "--subject",
        "user:mara@example.com",
        "--role",
        "approver",
        "--id",
        "mara",
        "--expires",
        "30d",
    ];
    let issued = bench.run(&issue).code(0);
    let key = issued.out.trim();
    assert_eq!(issued.out.lines().count(), 1);
    assert!(key.len() > 40 && !bench.read("keys.json").contains(key) && !issued.err.contains(key));
    let mode = std::fs::metadata(bench.path("keys.json")).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let listed =
        bench.run(&["keys", "list", "--store", "keys.json", "--format", "json"]).code(0).json();
    let mara = &listed["keys"][0];
    assert_eq!(
        (&mara["id"], &mara["subject"], &mara["state"]),
        (&"mara".into(), &"user:mara@example.com".into(), &"active".into())
    );
    assert_eq!(mara["roles"], serde_json::json!(["approver"]));
    let again = bench.run(&issue).code(1);
    assert!(again.err.contains("is taken"), "{again:?}");
    bench.run(&["keys", "revoke", "mara", "--store", "keys.json"]).code(0);
    assert!(bench.run(&["keys", "list", "--store", "keys.json"]).code(0).out.contains("revoked"));
    bench.run(&["keys", "revoke", "nobody", "--store", "keys.json"]).code(1);
    bench.run(&["keys", "list", "--store", "nowhere.json"]).code(1);
}

#[test]
fn keys_that_could_not_be_meant_are_refused() {
    let bench = Bench::new();
    let issue = |more: &[&str]| {
        let mut args = vec!["keys", "issue", "--store", "keys.json"];
        args.extend(more);
        bench.run(&args)
    };
    let nobody = issue(&["--agent", "bot", "--role", "approver"]).code(1);
    assert!(nobody.err.contains("an `approver` is a user"), "{nobody:?}");
    issue(&["--subject", "alice"]).code(2);
    issue(&["--role", "king"]).code(2);
    issue(&["--expires", "2001-01-01T00:00:00Z"]).code(1);
    assert!(!bench.path("keys.json").exists());
    let key = issue(&["--agent", "bot", "--format", "json"]).code(0).json();
    assert!(key["key"].is_string() && key["agent"] == "agent:bot", "{key}");
}

#[test]
fn an_assertion_key_is_of_either_kind_and_other_keys_are_not() {
    let bench = Bench::new();
    let make = ["keys", "new", "assertion", "--algorithm", "es256", "-o", "k"];
    bench.run(&make).code(0);
    let public = bench.run(&["keys", "public", "k/assertion.key"]).code(0);
    assert_eq!(public.out, bench.read("k/assertion.pub"));
    let refused = bench.run(&["keys", "new", "bundle", "--algorithm", "es256", "-o", "k"]).code(2);
    assert!(refused.err.contains("always `eddsa`"), "{refused:?}");
    let rotated = bench.run(&["keys", "rotate", "assertion", "-d", "k", "--format", "json"]);
    assert_eq!(rotated.code(0).json()["keys"][1]["algorithm"], "ES256");
}

#[test]
fn a_rotation_says_which_key_signs_from_when_and_which_is_dropped_when() {
    let bench = Bench::new();
    let rotate = |more: &[&str]| {
        let mut args = vec!["keys", "rotate", "assertion", "-d", "k"];
        args.extend(more);
        bench.run(&args)
    };
    std::fs::create_dir(bench.path("k")).unwrap();
    let nothing = rotate(&[]).code(1);
    assert!(nothing.err.contains("there is no assertion key in `k`"), "{nothing:?}");
    bench.run(&["keys", "new", "assertion", "-o", "k"]).code(0);
    let soon = rotate(&["--at", "74s"]).code(1);
    assert!(soon.err.contains("75 seconds") && soon.err.contains("--at 75s"), "{soon:?}");
    assert!(!bench.path("k/assertion.ring").exists());
    let told = rotate(&["--at", "1h"]).code(0);
    let lines: Vec<&str> = told.out.lines().collect();
    assert_eq!(lines.len(), 3, "{told:?}");
    assert!(lines[0].starts_with("kid") && lines[0].contains("signs from"), "{told:?}");
    assert!(lines[1].contains("signs") && lines[1].ends_with("assertion.key"), "{told:?}");
    assert!(lines[2].contains("published") && lines[2].contains("-  "), "{told:?}");
    let again = rotate(&[]).code(1);
    assert!(again.err.contains("does not sign yet"), "{again:?}");
    for entry in std::fs::read_dir(bench.path("k")).unwrap() {
        let path = entry.unwrap().path();
        let mode = std::fs::metadata(&path).unwrap().permissions().mode() & 0o777;
        let public = path.extension().is_some_and(|extension| extension == "pub");
        assert_eq!(mode, if public { 0o644 } else { 0o600 }, "{}", path.display());
    }
    let alone = rotate(&["--at-once", "--format", "json"]).code(0).json();
    assert_eq!(alone["keys"].as_array().unwrap().len(), 1);
    assert_eq!(alone["keys"][0]["state"], "signs");
    assert!(alone["keys"][0]["dropped"].is_null());
    assert!(!bench.path("k/assertion.key").exists());
    rotate(&["--at-once", "--at", "1h"]).code(2);
}
