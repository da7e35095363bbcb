//! A client that costs little: it sends prepared bytes over a connection that it keeps, and reads
//! answers of HTTP/1.1. For load, where the client runs on the cores of what it measures.

use std::net::SocketAddr;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

/// How much is read at once, bytes.
const READ_BYTES: usize = 16 << 10;
/// Longest head of an answer, bytes.
const HEAD_BYTES_MAX: usize = 16 << 10;

/// Prepared bytes of a POST.
#[must_use]
pub fn post(address: SocketAddr, path: &str, headers: &[(&str, &str)], body: &str) -> Vec<u8> {
    let mut text = format!("POST {path} HTTP/1.1\r\nhost: {address}\r\n");
    for (name, value) in headers {
        text.push_str(&format!("{name}: {value}\r\n"));
    }
    text.push_str(&format!("content-length: {}\r\n\r\n{body}", body.len()));
    text.into_bytes()
}

/// One connection.
#[derive(Debug)]
pub struct Connection {
    address: SocketAddr,
    stream: Option<TcpStream>,
    answer: Answer,
}

impl Connection {
    /// A connection to `address`, made when it is first used.
    #[must_use]
    pub fn new(address: SocketAddr) -> Self {
        Self { address, stream: None, answer: Answer::default() }
    }

    /// Sends a request and reads its answer to the end.
    ///
    /// # Errors
    /// The connection cannot be made or was cut, or what came is no HTTP/1.1.
    pub async fn send(&mut self, request: &[u8]) -> Result<&Answer, String> {
        let told = |error: std::io::Error| error.to_string();
        let mut stream = match self.stream.take() {
            Some(stream) => stream,
            None => {
                let stream = TcpStream::connect(self.address).await.map_err(told)?;
                stream.set_nodelay(true).map_err(told)?;
                stream
            }
        };
        stream.write_all(request).await.map_err(told)?;
        self.answer.begin();
        while !self.answer.advance()? {
            self.answer.raw.reserve(READ_BYTES);
            if stream.read_buf(&mut self.answer.raw).await.map_err(told)? == 0 {
                return Err("the connection was cut within an answer".to_owned());
            }
        }
        if !self.answer.closes {
            self.stream = Some(stream);
        }
        Ok(&self.answer)
    }
}

/// One answer.
#[derive(Debug, Default)]
pub struct Answer {
    /// HTTP status.
    pub status: u16,
    /// Body, without the lengths of its chunks.
    pub body: Vec<u8>,
    raw: Vec<u8>,
    /// How much of `raw` is understood.
    at: usize,
    expects: Expects,
    closes: bool,
}

/// What comes next.
#[derive(Debug, Default, Clone, Copy, PartialEq)]
enum Expects {
    #[default]
    Head,
    /// So many bytes more of the body.
    Rest(usize),
    ChunkLength,
    /// So many bytes more of a chunk.
    Chunk(usize),
    ChunkEnd,
    /// The lines after the last chunk.
    Trailers,
    Nothing,
}

impl Answer {
    /// Whether the body has `text` in it.
    #[must_use]
    pub fn has(&self, text: &str) -> bool {
        let text = text.as_bytes();
        self.body.windows(text.len()).any(|window| window == text)
    }

    fn begin(&mut self) {
        self.raw.drain(..self.at);
        self.at = 0;
        self.body.clear();
        self.expects = Expects::Head;
        self.closes = false;
    }

    /// Reads on in what has come; whether the answer is whole.
    fn advance(&mut self) -> Result<bool, String> {
        loop {
            let went_on = match self.expects {
                Expects::Head => self.head()?,
                Expects::Rest(length) => self.take(length, Expects::Rest, Expects::Nothing),
                Expects::Chunk(length) => self.take(length, Expects::Chunk, Expects::ChunkEnd),
                Expects::ChunkLength => self.chunk_length()?,
                Expects::ChunkEnd => self.line()?.map(|_| self.expects = Expects::ChunkLength),
                Expects::Trailers => self.line()?.map(|line| {
                    if line.is_empty() {
                        self.expects = Expects::Nothing;
                    }
                }),
                Expects::Nothing => return Ok(true),
            };
            if went_on.is_none() {
                return Ok(false);
            }
        }
    }

    fn head(&mut self) -> Result<Option<()>, String> {
        let unread = &self.raw[self.at..];
        let Some(length) = unread.windows(4).position(|window| window == b"\r\n\r\n") else {
            let fits = unread.len() <= HEAD_BYTES_MAX;
            return if fits { Ok(None) } else { Err("the head is too long".to_owned()) };
        };
        let head = String::from_utf8_lossy(&unread[..length]).to_ascii_lowercase();
        let mut lines = head.split("\r\n");
        let status = lines.next().and_then(|line| line.strip_prefix("http/1.1 ")?.get(..3));
        let status = status.and_then(|status| status.parse().ok());
        self.status = status.ok_or_else(|| format!("no HTTP/1.1: {head}"))?;
        let mut body = None;
        for line in lines {
            let Some((name, value)) = line.split_once(':') else { continue };
            match (name, value.trim()) {
                ("content-length", value) => {
                    let length = value.parse().map_err(|_| format!("length `{value}`"))?;
                    body = Some(Expects::Rest(length));
                }
                ("transfer-encoding", "chunked") => body = Some(Expects::ChunkLength),
                ("connection", "close") => self.closes = true,
                _ => {}
            }
        }
        self.expects = body.ok_or_else(|| format!("an answer without length: {head}"))?;
        self.at += length + 4;
        Ok(Some(()))
    }

    /// Takes up to `length` bytes of the body.
    fn take(&mut self, length: usize, more: fn(usize) -> Expects, then: Expects) -> Option<()> {
        let here = length.min(self.raw.len() - self.at);
        self.body.extend_from_slice(&self.raw[self.at..self.at + here]);
        self.at += here;
        self.expects = if here == length { then } else { more(length - here) };
        (here == length).then_some(())
    }

    fn chunk_length(&mut self) -> Result<Option<()>, String> {
        let Some(line) = self.line()? else { return Ok(None) };
        let digits = line.split(';').next().unwrap_or_default().trim();
        let length =
            usize::from_str_radix(digits, 16).map_err(|_| format!("chunk length `{line}`"))?;
        self.expects = if length == 0 { Expects::Trailers } else { Expects::Chunk(length) };
        Ok(Some(()))
    }

    /// One line without its end, if all of it is there.
    fn line(&mut self) -> Result<Option<String>, String> {
        let unread = &self.raw[self.at..];
        let Some(length) = unread.windows(2).position(|window| window == b"\r\n") else {
            let fits = unread.len() <= HEAD_BYTES_MAX;
            return if fits { Ok(None) } else { Err("a line is too long".to_owned()) };
        };
        let line = String::from_utf8_lossy(&unread[..length]).into_owned();
        self.at += length + 2;
        Ok(Some(line))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PLAIN: &str = "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello";
    const CHUNKED: &str = "HTTP/1.1 201 Created\r\nTransfer-Encoding: chunked\r\n\r\n\
        3\r\ndat\r\n7;x=y\r\na: one\n\r\n0\r\ntrailer: 1\r\n\r\n";
    const EMPTY: &str = "HTTP/1.1 503 No\r\ncontent-length: 0\r\nconnection: close\r\n\r\n";

    fn seen(answer: &Answer) -> (u16, &str, bool) {
        (answer.status, std::str::from_utf8(&answer.body).unwrap(), answer.closes)
    }

    #[test]
    fn answers_are_read_however_they_are_cut() {
        for (text, wanted) in [
            (PLAIN, (200, "hello", false)),
            (CHUNKED, (201, "data: one\n", false)),
            (EMPTY, (503, "", true)),
        ] {
            for step in 1..=text.len() {
                let mut answer = Answer::default();
                let mut whole = false;
                for piece in text.as_bytes().chunks(step) {
                    assert!(!whole, "whole before its end in steps of {step}");
                    answer.raw.extend_from_slice(piece);
                    whole = answer.advance().unwrap();
                }
                assert!(whole, "in steps of {step}");
                assert_eq!(seen(&answer), wanted, "in steps of {step}");
            }
        }
    }

    #[test]
    fn what_comes_after_an_answer_belongs_to_the_next() {
        let mut answer = Answer::default();
        answer.raw.extend_from_slice(format!("{CHUNKED}{PLAIN}").as_bytes());
        assert!(answer.advance().unwrap());
        answer.begin();
        assert!(answer.advance().unwrap());
        assert_eq!(seen(&answer), (200, "hello", false));
        answer.begin();
        assert!(!answer.advance().unwrap());
    }

    #[test]
    fn what_is_no_answer_is_refused() {
        for text in [
            "HTTP/1.0 200 OK\r\n\r\n",
            "HTTP/1.1 200 OK\r\n\r\n",
            "HTTP/1.1 200 OK\r\ncontent-length: x\r\n\r\n",
            "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nxyz\r\n",
        ] {
            let mut answer = Answer::default();
            answer.raw.extend_from_slice(text.as_bytes());
            assert!(answer.advance().is_err(), "{text}");
        }
    }

    #[test]
    fn a_head_that_does_not_end_is_refused() {
        let mut answer = Answer::default();
        answer.raw.resize(HEAD_BYTES_MAX, b'x');
        assert_eq!(answer.advance(), Ok(false));
        answer.raw.push(b'x');
        assert!(answer.advance().is_err());
    }

    #[tokio::test]
    async fn a_connection_is_kept_and_made_anew_where_the_server_ends_it() {
        use tokio::net::TcpListener;
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let request = post(address, "/x", &[("a", "b")], "body");
        let expected = request.len();
        let server = tokio::spawn(async move {
            let mut connections = 0;
            for answers in [[PLAIN, EMPTY].as_slice(), &[CHUNKED]] {
                let (mut stream, _) = listener.accept().await.unwrap();
                connections += 1;
                for text in answers {
                    let mut got = vec![0; expected];
                    stream.read_exact(&mut got).await.unwrap();
                    stream.write_all(text.as_bytes()).await.unwrap();
                }
            }
            connections
        });
        let mut connection = Connection::new(address);
        for status in [200, 503, 201] {
            assert_eq!(connection.send(&request).await.unwrap().status, status);
        }
        assert_eq!(server.await.unwrap(), 2);
    }
}
