//! A client that says exactly what it is told to: HTTP/1.1 over one connection that is kept.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;

use super::PATIENCE;

/// An answer as it came.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
}

impl Answer {
    /// The value of a header, or the empty text.
    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.iter().find(|(own, _)| own == name).map_or("", |(_, value)| value)
    }

    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }
}

/// A connection.
pub(crate) struct Client {
    stream: BufReader<TcpStream>,
    host: String,
}

impl Client {
    pub(crate) fn open(address: &str) -> Self {
        let stream = TcpStream::connect(address).unwrap_or_else(|error| panic!("{address}: {error}"));
        stream.set_read_timeout(Some(PATIENCE)).expect("the time is not zero");
        Self { stream: BufReader::new(stream), host: address.to_owned() }
    }

    pub(crate) fn get(&mut self, target: &str) -> Answer {
        self.request("GET", target, "")
    }

    /// Sends a request with more header lines, each ending in CRLF.
    pub(crate) fn request(&mut self, method: &str, target: &str, headers: &str) -> Answer {
        let head = format!("{method} {target} HTTP/1.1\r\nHost: {}\r\n{headers}\r\n", self.host);
        self.stream.get_mut().write_all(head.as_bytes()).expect("the origin reads");
        self.answer(method == "HEAD")
    }

    fn line(&mut self) -> String {
        let mut line = String::new();
        self.stream.read_line(&mut line).expect("the origin answers");
        line.trim_end().to_owned()
    }

    fn answer(&mut self, is_head: bool) -> Answer {
        let status = self.line();
        let status = status.split(' ').nth(1).and_then(|status| status.parse().ok());
        let mut headers = Vec::new();
        loop {
            let line = self.line();
            let Some((name, value)) = line.split_once(": ") else { break };
            headers.push((name.to_lowercase(), value.to_owned()));
        }
        let status = status.expect("an answer begins with a status line");
        let mut answer = Answer { status, headers, body: Vec::new() };
        if !is_head && !matches!(status, 204 | 304) {
            let length = answer.header("content-length").parse().expect("every body has a length");
            answer.body = vec![0; length];
            self.stream.read_exact(&mut answer.body).expect("bodies are as long as they say");
        }
        answer
    }
}
