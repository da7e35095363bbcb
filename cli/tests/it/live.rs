//! Commands that talk to a running decision point.

use crate::run::Bench;

#[test]
fn a_decision_point_that_is_not_there_is_a_failure_not_an_answer() {
    let bench = Bench::new();
    bench.write("token", "a-token-of-a-person\n");
    // Nobody listens on a port that was just given back.
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    drop(listener);
    for args in [
        vec!["status", "--pdp", &url],
        vec!["approvals", "list", "--pdp", &url],
        vec![
            "approvals",
            "approve",
            "x",
            "--token",
            "token",
            "--pdp",
            &url,
        ],
        vec!["decide", "-i", "-", "--pdp", &url],
        vec!["status", "--pdp", "unix:/nonexistent/lictor.sock"],
    ] {
        let ended = bench.run_with(&args, "{}").code(1);
        assert!(
            ended.err.contains("does not answer") && ended.out.is_empty(),
            "{ended:?}"
        );
    }
    bench.run(&["status", "--pdp", "ftp://x"]).code(2);
    bench
        .run(&["approvals", "approve", "x", "--pdp", &url])
        .code(2);
    bench
        .run(&[
            "approvals",
            "deny",
            "x",
            "--token",
            "nowhere",
            "--pdp",
            &url,
        ])
        .code(1);
    let facts = bench
        .run_with(&["decide", "-i", "-", "--pdp", &url], r#"{"facts":{}}"#)
        .code(1);
    assert!(facts.err.contains("fact_in_call"), "{facts:?}");
}
