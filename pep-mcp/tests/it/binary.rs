//! `lictor-pep-mcp` as a process.

use std::io::{BufRead as _, BufReader};
use std::process::{Command, Stdio};

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;

use crate::rig::{api_keys, call};

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

async fn send(request: axum::http::request::Builder, body: String) -> (u16, String) {
    let client = Client::builder(TokioExecutor::new()).build_http();
    let request = request.body(Full::new(Bytes::from(body))).unwrap();
    let (head, body) = client.request(request).await.unwrap().into_parts();
    let bytes = body.collect().await.unwrap().to_bytes();
    (head.status.as_u16(), String::from_utf8(bytes.to_vec()).unwrap())
}

#[tokio::test]
async fn it_serves_without_a_decision_point_and_stops_in_order() {
    let dir = tempfile::tempdir().unwrap();
    let (key, _, keys) = api_keys(dir.path());
    let at = |name: &str| dir.path().join(name).display().to_string();
    let text = format!(
        "[pep_mcp]\nlisten = \"127.0.0.1:0\"\npdp = \"unix:{}\"\n\
         servers = [{{id = \"files\", url = \"http://127.0.0.1:9/mcp\"}}]\n\
         [identity]\napi_keys = {keys:?}\n[audit]\ndir = {:?}\n[pdp]\nlisten = \"127.0.0.1:0\"\n",
        at("no.sock"),
        at("audit"),
    );
    let config = dir.path().join("lictor.toml");
    std::fs::write(&config, text).unwrap();
    let mut process = Command::new(env!("CARGO_BIN_EXE_lictor-pep-mcp"))
        .arg("--config")
        .arg(&config)
        .env("RUST_LOG", "info")
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let stderr = BufReader::new(process.stderr.take().unwrap());
    let mut lines = stderr.lines().map_while(Result::ok);
    let address = address(&mut lines);
    let to = |method: &str, path: &str| {
        axum::http::Request::builder().method(method).uri(format!("http://{address}{path}"))
    };
    assert_eq!(send(to("GET", "/healthz"), String::new()).await, (200, "ok".to_owned()));
    let post = to("POST", "/mcp")
        .header("authorization", format!("Bearer {key}"))
        .header("content-type", "application/json");
    let (status, body) = send(post, call("read", "{}")).await;
    assert_eq!(status, 503, "{body}");
    assert!(body.contains("pdp_unavailable"), "{body}");
    let stopped = Command::new("kill").arg(process.id().to_string()).status().unwrap();
    assert!(stopped.success());
    lines.for_each(drop);
    assert!(process.wait().unwrap().success());
    let mut log = String::new();
    for file in std::fs::read_dir(dir.path().join("audit")).unwrap() {
        let path = file.unwrap().path();
        if path.extension().is_some_and(|extension| extension == "jsonl") {
            log.push_str(&std::fs::read_to_string(path).unwrap());
        }
    }
    assert!(log.trim_end().lines().last().unwrap().contains("\"kind\":\"close\""), "{log}");
}

#[test]
fn a_configuration_with_an_unknown_key_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let config = dir.path().join("lictor.toml");
    std::fs::write(&config, "[pep_mcp]\nserver = []\n").unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_lictor-pep-mcp"));
    let ended = command.arg("--config").arg(&config).output().unwrap();
    assert!(!ended.status.success());
    let said = String::from_utf8(ended.stderr).unwrap();
    assert!(said.contains("unknown field `server`"), "{said}");
}
