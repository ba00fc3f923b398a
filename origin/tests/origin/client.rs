//! A client that says exactly what it is told to, and reads what comes.

use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::timeout;

/// No answer of a test takes so long.
const PATIENCE: Duration = Duration::from_secs(20);

/// An answer as it came.
#[derive(Debug, Clone)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
}

impl Answer {
    /// The value of a header that came once, or the empty text.
    pub(crate) fn header(&self, name: &str) -> &str {
        let mut found = self.headers.iter().filter(|(own, _)| own == name).map(|(_, value)| &**value);
        let value = found.next().unwrap_or_default();
        assert_eq!(found.next(), None, "{name} came twice");
        value
    }

    pub(crate) fn has(&self, name: &str) -> bool {
        self.headers.iter().any(|(own, _)| own == name)
    }

    pub(crate) fn text(&self) -> &str {
        std::str::from_utf8(&self.body).expect("documents of tests are text")
    }
}

/// A connection that is kept.
pub(crate) struct Connection {
    stream: TcpStream,
    unread: Vec<u8>,
}

impl Connection {
    pub(crate) async fn open(address: SocketAddr) -> Self {
        let stream = TcpStream::connect(address).await.expect("the origin listens");
        Self { stream, unread: Vec::new() }
    }

    pub(crate) async fn send(&mut self, text: &str) {
        assert!(self.try_send(text).await, "the origin reads");
    }

    /// Whether the origin still read.
    pub(crate) async fn try_send(&mut self, text: &str) -> bool {
        self.stream.write_all(text.as_bytes()).await.is_ok()
    }

    /// Sends GET or whatever else with more header lines, each ending in CRLF.
    pub(crate) async fn request(&mut self, method: &str, target: &str, headers: &str) -> Answer {
        self.send(&format!("{method} {target} HTTP/1.1\r\nHost: shop.example\r\n{headers}\r\n")).await;
        self.answer(method == "HEAD").await.expect("there is an answer")
    }

    pub(crate) async fn get(&mut self, target: &str) -> Answer {
        self.request("GET", target, "").await
    }

    /// The next answer; `None` if the connection ends instead.
    pub(crate) async fn answer(&mut self, is_head: bool) -> Option<Answer> {
        let end = loop {
            match self.unread.windows(4).position(|window| window == b"\r\n\r\n") {
                Some(end) => break end + 4,
                None if self.more().await => {}
                None => return None,
            }
        };
        let head = String::from_utf8(self.unread.drain(..end).collect()).expect("heads are ASCII");
        let mut lines = head.split("\r\n");
        let status =
            lines.next().and_then(|line| line.split(' ').nth(1)).and_then(|status| status.parse().ok());
        let header =
            |line: &str| line.split_once(": ").map(|(name, value)| (name.to_lowercase(), value.to_owned()));
        let mut answer = Answer {
            status: status.expect("an answer begins with a status line"),
            headers: lines.filter_map(header).collect(),
            body: Vec::new(),
        };
        if !is_head && !matches!(answer.status, 204 | 304) {
            let length: usize = answer.header("content-length").parse().expect("every body has a length");
            while self.unread.len() < length {
                assert!(self.more().await, "the connection ended within a body");
            }
            answer.body = self.unread.drain(..length).collect();
        }
        Some(answer)
    }

    /// Whether the origin ended the connection, without another byte.
    pub(crate) async fn is_ended(&mut self) -> bool {
        self.unread.is_empty() && !self.more().await
    }

    async fn more(&mut self) -> bool {
        let read = timeout(PATIENCE, self.stream.read_buf(&mut self.unread)).await;
        read.expect("the origin answers or hangs up").is_ok_and(|bytes| bytes > 0)
    }
}
