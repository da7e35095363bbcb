//! Servers that break off, stall or never end.

use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

use super::*;

/// How a connection goes on after its first bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Then {
    Closes,
    Stalls,
    /// A byte every ten milliseconds, for ever.
    Drips,
    /// As fast as it is read, for ever.
    Pours,
}

/// Sends `head` to everybody who asks.
async fn server(head: Vec<u8>, then: Then) -> (String, tokio::task::JoinHandle<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/b", listener.local_addr().unwrap());
    let task = tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(speak(stream, head.clone(), then));
        }
    });
    (url, task)
}

async fn speak(mut stream: TcpStream, head: Vec<u8>, then: Then) -> std::io::Result<()> {
    let mut asked = [0; 4_096];
    let _ = stream.read(&mut asked).await?;
    stream.write_all(&head).await?;
    match then {
        Then::Closes => stream.shutdown().await,
        Then::Stalls => std::future::pending().await,
        Then::Drips => loop {
            stream.write_all(b"x").await?;
            tokio::time::sleep(Duration::from_millis(10)).await;
        },
        Then::Pours => loop {
            stream.write_all(&[0; 65_536]).await?;
        },
    }
}

async fn told_by(head: &str, body: &[u8], then: Then, timeout_ms: u64) -> (Vec<Event>, String) {
    let (url, task) = server([head.as_bytes(), body].concat(), then).await;
    let home = Home::new();
    let mut config = home.config(&url);
    config.fetch.timeout_ms = timeout_ms;
    config.fetch.long_poll_timeout_s = 0;
    let (mut watch, told) = home.watch(&config);
    watch.look().await.unwrap();
    task.abort();
    (told.take(), told.message())
}

#[tokio::test]
async fn what_breaks_off_is_no_bundle() {
    let archive = draft(1).signed();
    let half = &archive[..archive.len() / 2];
    let promised = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n", archive.len());
    let (told, message) = told_by(&promised, half, Then::Closes, 5_000).await;
    assert_eq!(told, [unreachable("bundle_unreachable", true)]);
    assert!(message.contains("broke"), "{message}");
    let chunk =
        format!("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n{:x}\r\n", archive.len());
    let (told, _) = told_by(&chunk, half, Then::Closes, 5_000).await;
    assert_eq!(told, [unreachable("bundle_unreachable", true)]);
    // Without a length the end of the connection is the end of the body: the archive tells.
    let (told, _) = told_by("HTTP/1.1 200 OK\r\n\r\n", half, Then::Closes, 5_000).await;
    assert_eq!(told, [refused("bundle_truncated", None)]);
    let (told, _) = told_by("HTTP/1.1 200 OK\r\n\r\n", &archive, Then::Closes, 5_000).await;
    assert_eq!(told, [Event::Live(1, "source")]);
}

#[tokio::test]
async fn what_never_ends_is_given_up() {
    for (head, then) in [
        ("", Then::Stalls),
        ("HTTP/1.1 200 OK\r\nx-slow: ", Then::Drips),
        ("HTTP/1.1 200 OK\r\ncontent-length: 100000\r\n\r\n", Then::Drips),
        ("HTTP/1.1 200 OK\r\ncontent-length: 100000\r\n\r\n", Then::Stalls),
    ] {
        let (told, message) = told_by(head, b"", then, 200).await;
        assert_eq!(told, [unreachable("bundle_unreachable", true)], "{head:?} {then:?}");
        assert!(message.contains("in time"), "{message}");
    }
}

#[tokio::test]
async fn what_pours_without_end_is_read_up_to_the_limit() {
    let (told, message) = told_by("HTTP/1.1 200 OK\r\n\r\n", b"", Then::Pours, 60_000).await;
    assert_eq!(told, [unusable("bundle_archive_too_large")]);
    let most = Limits::default().archive_bytes.to_string();
    assert!(message.contains(&most), "{message}");
}

#[tokio::test]
async fn more_than_a_bundle_may_have_is_refused_by_its_length_alone() {
    let most = Limits::default().archive_bytes;
    let told_of = async |bytes: usize| {
        let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {bytes}\r\n\r\n");
        told_by(&head, b"", Then::Closes, 5_000).await.0
    };
    assert_eq!(told_of(most + 1).await, [unusable("bundle_archive_too_large")]);
    assert_eq!(told_of(most).await, [unreachable("bundle_unreachable", true)], "it is read");
}

#[tokio::test]
async fn what_is_not_http_is_no_answer() {
    let (told, _) = told_by("SSH-2.0-x\r\n", b"", Then::Closes, 5_000).await;
    assert_eq!(told, [unreachable("bundle_unreachable", true)]);
}
