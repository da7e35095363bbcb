//! `lictor-pep-http` as a process.

use std::io::{BufRead as _, BufReader};
use std::process::{Command, Stdio};

use crate::rig::{api_key, get_from, upstream};

/// The address in the line that says where the process listens.
fn address(lines: impl Iterator<Item = String>) -> String {
    for line in lines {
        // Colours may surround the name.
        if let Some((_, rest)) = line.split_once("127.0.0.1:") {
            let port: String = rest.chars().take_while(char::is_ascii_digit).collect();
            return format!("127.0.0.1:{port}");
        }
    }
    panic!("the process ended before it listened");
}

#[tokio::test]
async fn it_serves_without_a_decision_point_and_stops_in_order() {
    let dir = tempfile::tempdir().unwrap();
    let upstream = upstream("openai", "http://127.0.0.1:9/v1", dir.path());
    let (key, keys) = api_key(dir.path());
    let at = |name: &str| dir.path().join(name).display().to_string();
    let text = format!(
        "[pep_http]\nlisten = \"127.0.0.1:0\"\npdp = \"unix:{}\"\n\
         upstreams = [{{id = \"openai\", base_url = \"{}\", key_file = {:?}}}]\n\
         [identity]\napi_keys = {keys:?}\n[audit]\ndir = {:?}\n[pdp]\nlisten = \"127.0.0.1:0\"\n",
        at("no.sock"),
        upstream.base_url,
        upstream.key_file.unwrap(),
        at("audit"),
    );
    let config = dir.path().join("lictor.toml");
    std::fs::write(&config, text).unwrap();
    let mut process = Command::new(env!("CARGO_BIN_EXE_lictor-pep-http"))
        .arg("--config")
        .arg(&config)
        .env("RUST_LOG", "info")
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(process.stderr.take().unwrap()).lines().map_while(Result::ok);
    let address = address(&mut lines);
    assert_eq!(get_from(&address, "/healthz", &key).await.text(), "ok\n");
    let answer = get_from(&address, "/v1/models", &key).await;
    assert_eq!((answer.status.as_u16(), answer.code()), (503, "pdp_unavailable".to_owned()));
    let stopped = Command::new("kill").arg(process.id().to_string()).status().unwrap();
    assert!(stopped.success());
    lines.for_each(drop);
    assert!(process.wait().unwrap().success());
}

#[test]
fn a_configuration_with_an_unknown_key_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let config = dir.path().join("lictor.toml");
    std::fs::write(&config, "[pep_http]\nupstream = []\n").unwrap();
    let ended = Command::new(env!("CARGO_BIN_EXE_lictor-pep-http"))
        .arg("--config")
        .arg(&config)
        .output()
        .unwrap();
    assert!(!ended.status.success());
    let said = String::from_utf8(ended.stderr).unwrap();
    assert!(said.contains("unknown field `upstream`"), "{said}");
}
