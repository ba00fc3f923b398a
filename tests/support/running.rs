//! A server that runs beside a test.

use std::io::{BufRead as _, BufReader, Read};
use std::process::{ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

use serde_json::Value;

use super::{Client, Guarded, PATIENCE, Site, terminate, until};

/// `dev` or `serve`, ended with the test.
pub(crate) struct Running {
    child: Guarded,
    /// Where it listens: `127.0.0.1:port`.
    pub(crate) address: String,
    lines: Receiver<String>,
    stderr: Arc<Mutex<String>>,
}

impl Running {
    /// Starts a command that prints where it listens as JSON.
    pub(crate) fn start(site: &Site, arguments: &str) -> Self {
        let mut running = Self::start_silent(site, &format!("{arguments} --format json"));
        let first = running.next();
        let listens = first["listen"].as_str().or(first["url"].as_str());
        running.address =
            listens.unwrap_or_else(|| panic!("{first}")).trim_start_matches("http://").to_owned();
        running
    }

    /// Starts `serve` and waits until it has a release.
    pub(crate) fn start_loaded(site: &Site) -> Self {
        let running = Self::start(site, "serve");
        until("a release is served", || running.client().get("/_edgepress/release").status == 200);
        running
    }

    /// Starts a command that prints where it listens for people to read.
    pub(crate) fn start_for_people(site: &Site, arguments: &str) -> Self {
        let mut running = Self::start_silent(site, arguments);
        while running.address.is_empty() {
            let line = running.line();
            if let Some((_, address)) = line.split_once("http://") {
                running.address = address.split('/').next().unwrap_or_default().to_owned();
            }
        }
        running
    }

    /// Starts a command that may have nothing to say on stdout.
    pub(crate) fn start_silent(site: &Site, arguments: &str) -> Self {
        let mut command = site.command(arguments);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = Guarded::spawn(&mut command);
        let (sender, lines) = channel();
        let stdout = child.0.stdout.take().expect("it was piped");
        std::thread::spawn(move || {
            let lines = BufReader::new(stdout).lines().map_while(Result::ok);
            lines.for_each(|line| drop(sender.send(line)));
        });
        let stderr = Arc::new(Mutex::new(String::new()));
        let (from, into) = (child.0.stderr.take().expect("it was piped"), stderr.clone());
        std::thread::spawn(move || {
            for line in BufReader::new(from).lines().map_while(Result::ok) {
                let mut text = into.lock().expect("no holder of this lock panics");
                text.push_str(&line);
                text.push('\n');
            }
        });
        Self { child, address: String::new(), lines, stderr }
    }

    fn line(&self) -> String {
        self.lines.recv_timeout(PATIENCE).unwrap_or_else(|error| panic!("{error}: {}", self.stderr()))
    }

    /// The next object it prints.
    pub(crate) fn next(&self) -> Value {
        let line = self.line();
        serde_json::from_str(&line).unwrap_or_else(|error| panic!("{error}: {line}"))
    }

    /// What it printed on stderr so far.
    pub(crate) fn stderr(&self) -> String {
        self.stderr.lock().expect("no holder of this lock panics").clone()
    }

    pub(crate) fn client(&self) -> Client {
        Client::open(&self.address)
    }

    /// The body of a document that is there, on a new connection.
    pub(crate) fn body(&self, path: &str) -> String {
        let answer = self.client().get(path);
        assert_eq!(answer.status, 200, "{path}: {}", answer.text());
        answer.text()
    }

    /// Asks it to end, and waits until it has.
    pub(crate) fn stop(mut self) -> ExitStatus {
        terminate(&self.child.0);
        self.child.wait()
    }
}

/// Reads a pipe to its end on a thread of its own, so that its writer never waits.
pub(crate) fn read_all(mut from: impl Read + Send + 'static) -> JoinHandle<Vec<u8>> {
    std::thread::spawn(move || {
        let mut all = Vec::new();
        // A pipe that breaks has ended.
        let _ = from.read_to_end(&mut all);
        all
    })
}
