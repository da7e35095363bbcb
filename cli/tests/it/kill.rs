//! Lists of revocations in files.

use crate::run::Bench;

fn bench() -> Bench {
    let bench = Bench::new();
    bench.run(&["keys", "new", "revocation", "-o", "k"]).code(0);
    bench
}

const FILE: [&str; 4] = ["--list", "r.jws", "--key", "k/revocation.key"];

fn edit(bench: &Bench, args: &[&str]) -> crate::run::Ended {
    bench.run(&[args, &FILE, &["--format", "json"]].concat())
}

#[test]
fn a_list_is_begun_changed_and_signed_again() {
    let bench = bench();
    let missing = edit(&bench, &["kill", "agent", "bot", "--reason", "stolen"]).code(1);
    assert!(missing.err.contains("--create"), "{missing:?}");
    let begun = edit(&bench, &["kill", "agent", "bot", "--reason", "stolen", "--create"]).code(0);
    assert_eq!((&begun.json()["version"], &begun.json()["entries"]), (&1.into(), &1.into()));
    let more = ["kill", "server", "mail", "--reason", "leaks", "--until", "2199-01-01T00:00:00Z"];
    let more = edit(&bench, &[&more[..], &["--expires", "1h"]].concat()).code(0).json();
    assert_eq!((&more["version"], &more["entries"]), (&2.into(), &2.into()));
    let shown = edit(&bench, &["kill"]).code(0).json();
    assert_eq!(shown["entries"][0]["id"], "bot");
    assert_eq!(shown["entries"][1]["until"], "2199-01-01T00:00:00Z");
    assert_eq!(shown["lists"][0]["stale"], false);
    let renewed = edit(&bench, &["kill", "--renew"]).code(0).json();
    assert_eq!((&renewed["version"], &renewed["entries"]), (&3.into(), &2.into()));
    let taken = edit(&bench, &["unkill", "agent", "bot", "--reason", "found"]).code(0).json();
    assert_eq!((&taken["version"], &taken["entries"]), (&4.into(), &1.into()));
    let twice = edit(&bench, &["unkill", "agent", "bot", "--reason", "found"]).code(1);
    assert!(twice.err.contains("is not on"), "{twice:?}");
    let header = bench.read("r.jws");
    let header = header.split('.').next().unwrap().to_owned();
    assert!(header.starts_with("eyJhbGciOiJFZERTQSIs"), "{header}");
}

#[test]
fn a_list_of_somebody_else_is_not_touched() {
    let bench = bench();
    edit(&bench, &["kill", "agent", "bot", "--reason", "stolen", "--create"]).code(0);
    let before = bench.read("r.jws");
    bench.run(&["keys", "new", "revocation", "-o", "other"]).code(0);
    let other = ["--list", "r.jws", "--key", "other/revocation.key"];
    let more = ["kill", "user", "alice", "--reason", "r"];
    bench.run(&[&more[..], &other].concat()).code(7);
    bench.write("r.jws", &before.replacen('e', "f", 1));
    edit(&bench, &more).code(7);
    bench.write("r.jws", &before);
    edit(&bench, &[&more[..], &["--expires", "2020-01-01T00:00:00Z"]].concat()).code(2);
    bench.run(&[&more[..], &["--list", "r.jws"]].concat()).code(2);
    bench.run(&["kill", "--renew"]).code(2);
    assert_eq!(bench.read("r.jws"), before);
}

#[test]
fn every_kind_can_be_named_and_no_other() {
    let bench = bench();
    let kinds = ["agent", "user", "credential", "session", "tool", "model", "server"];
    for command in ["kill", "unkill"] {
        let help = bench.run(&[command, "--help"]).code(0).out;
        assert!(help.contains(&format!("lictor {command} KIND ID --reason TEXT")), "{help}");
        assert!(help.contains(&kinds.join(", ")), "{help}");
        let other = bench.run(&[command, "planet", "mars", "--reason", "r"]).code(2);
        assert!(other.out.is_empty() && other.err.contains("planet"), "{other:?}");
        assert!(other.err.contains(&kinds.join(", ")), "{other:?}");
    }
    for (n, kind) in kinds.iter().enumerate() {
        let revoked =
            edit(&bench, &["kill", kind, "x", "--reason", "r", "--create"]).code(0).json();
        assert_eq!(revoked["entries"], n + 1, "{kind}");
    }
    let shown = edit(&bench, &["kill"]).code(0).json();
    let listed: Vec<_> = shown["entries"].as_array().unwrap().iter().map(|e| &e["kind"]).collect();
    assert_eq!(listed, kinds);
    for kind in kinds {
        edit(&bench, &["unkill", kind, "x", "--reason", "r"]).code(0);
    }
    assert_eq!(edit(&bench, &["kill"]).code(0).json()["entries"].as_array().unwrap().len(), 0);
}
