//! `lictor up`: the configuration, and a whole life of the process.

use std::fs;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::process::{Child, Command, Stdio};

use crate::run::Bench;

const CONFIG: &str = r#"
[pdp]
listen = "127.0.0.1:0"
bundle = "b"

[pep_http]
listen = "127.0.0.1:0"
upstreams = [{ id = "openai", base_url = "http://127.0.0.1:9/v1" }]

[pep_mcp]
listen = "127.0.0.1:0"
servers = [{ id = "notes", url = "http://127.0.0.1:9/mcp" }]
"#;

#[test]
fn the_configuration_is_printed_with_its_defaults() {
    let bench = Bench::new();
    fs::write(bench.path("lictor.toml"), CONFIG).unwrap();
    let printed = bench.run(&["up", "--print-config", "--insecure-dev"]).code(0).out;
    for line in ["insecure_dev = true", "poll_ms = 500", "id = \"notes\""] {
        assert!(printed.contains(line), "{line}: {printed}");
    }
    // What is printed is a configuration itself.
    fs::write(bench.path("again.toml"), &printed).unwrap();
    let again = bench.run(&["up", "-c", "again.toml", "--print-config"]).code(0).out;
    assert_eq!(again, printed);
}

#[test]
fn a_bundle_that_is_fetched_is_printed_as_it_is() {
    let bench = Bench::new();
    let from = |bundle: &str| {
        let fetch = "fetch = { poll_min_ms = 1000, token_file = \"token\" }";
        let config = CONFIG.replace("bundle = \"b\"", &format!("bundle = \"{bundle}\"\n{fetch}"));
        fs::write(bench.path("lictor.toml"), config).unwrap();
        bench.run(&["up", "--print-config", "--insecure-dev"]).code(0).out
    };
    for bundle in ["https://b.example/x/bundle.tar.gz", "oci://r.example/team/policy:prod"] {
        let printed = from(bundle);
        assert!(printed.contains(&format!("bundle = \"{bundle}\"")), "{printed}");
        for line in ["[pdp.fetch]", "poll_min_ms = 1000", "poll_max_ms = 120000"] {
            assert!(printed.contains(line), "{line}: {printed}");
        }
    }
}

#[test]
fn an_unknown_key_is_told_with_its_place() {
    let bench = Bench::new();
    fs::write(bench.path("lictor.toml"), "[pdp]\nlisten = \"127.0.0.1:0\"\nbudnle = \"b\"\n")
        .unwrap();
    let ended = bench.run(&["up"]).code(2);
    assert!(ended.err.contains("lictor.toml:3:1:") && ended.err.contains("`budnle`"), "{ended:?}");
}

#[test]
fn without_trust_an_unsigned_bundle_is_not_served() {
    let bench = Bench::with_bundle();
    fs::write(bench.path("lictor.toml"), CONFIG).unwrap();
    let ended = bench.run(&["up"]).code(1);
    assert!(ended.err.contains("trust_keys"), "{ended:?}");
}

/// Lines of standard error up to the last address.
fn addresses(child: &mut Child) -> Vec<String> {
    let mut lines = Vec::new();
    for line in BufReader::new(child.stderr.as_mut().unwrap()).lines() {
        let line = line.unwrap();
        let last = line.starts_with("MCP servers");
        lines.push(line);
        if last {
            return lines;
        }
    }
    panic!("ended before it listened: {lines:?}");
}

/// The status of a path, at the address in a line such as `… http://127.0.0.1:1/v1`.
fn status(line: &str, path: &str) -> String {
    let rest = line.split("http://").nth(1).unwrap();
    let address: String =
        rest.chars().take_while(|c| c.is_ascii_digit() || ".:".contains(*c)).collect();
    let mut stream = TcpStream::connect(&address).unwrap();
    write!(stream, "GET {path} HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\n\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer.split(' ').nth(1).unwrap().to_owned()
}

#[test]
fn it_serves_until_sigterm_and_closes_its_logs() {
    let bench = Bench::with_bundle();
    fs::write(bench.path("lictor.toml"), CONFIG).unwrap();
    let mut child = Command::new(env!("CARGO_BIN_EXE_lictor"))
        .args(["up", "--insecure-dev"])
        .current_dir(bench.root())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let lines = addresses(&mut child);
    let line = |start: &str| lines.iter().find(|line| line.starts_with(start)).unwrap();
    for start in ["decision point", "LLM providers", "MCP servers"] {
        assert_eq!(status(line(start), "/readyz"), "200", "{start}");
    }
    // Nobody is served without a credential.
    assert_eq!(status(line("LLM providers"), "/v1/models"), "401");
    assert_eq!(status(line("MCP servers"), "/mcp"), "401");
    let killed = Command::new("kill").args(["-TERM", &child.id().to_string()]).status().unwrap();
    assert!(killed.success());
    assert_eq!(child.wait().unwrap().code(), Some(0));
    let report = bench.run(&["audit", "verify", "audit", "--format", "json"]).code(0).json();
    let logs = report["logs"].as_array().unwrap();
    assert_eq!(logs.len(), 3);
    assert!(logs.iter().all(|log| log["closed"] == true), "{report}");
}
