//! What the log says, and what it does not.

use std::cell::RefCell;
use std::io::Write;
use std::sync::Once;

use edgepress_store::bucket::Kind;
use edgepress_store::bucket::testing::{Fate, Operation};
use serde_json::Value;
use tracing::Level;

use crate::fixture::Shop;

thread_local! {
    /// What this thread logged, and so what a test's tasks did.
    static CAUGHT: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

/// Writes to the thread's own lines. One subscriber for all tests: several of them at once confuse what
/// `tracing` remembers about who listens.
struct Lines;

impl Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        CAUGHT.with_borrow_mut(|caught| caught.extend_from_slice(bytes));
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl Lines {
    fn catch() -> Self {
        static ONCE: Once = Once::new();
        ONCE.call_once(|| {
            tracing_subscriber::fmt().json().with_max_level(Level::DEBUG).with_writer(|| Self).init();
        });
        Self
    }

    /// The fields of the lines with this message.
    fn with(&self, message: &str) -> Vec<Value> {
        let text = CAUGHT.with_borrow(Clone::clone);
        let lines =
            text.split(|byte| *byte == b'\n').filter_map(|line| serde_json::from_slice::<Value>(line).ok());
        let fields = lines.map(|line| line["fields"].clone());
        fields
            .filter(|fields| fields["message"].as_str().is_some_and(|text| text.starts_with(message)))
            .collect()
    }
}

#[tokio::test]
async fn every_request_has_one_line_without_its_query() {
    let lines = Lines::catch();
    let shop = Shop::open().await;
    let server = shop.serve().await;
    let mut connection = server.connect().await;
    connection.get("/index.html?token=secret").await;
    connection.get("/index.html").await;
    connection.request("HEAD", "/../%0a", "").await;
    let fields: Vec<String> = lines
        .with("answered")
        .iter()
        .map(|line| {
            assert!(line["micros"].is_u64());
            ["method", "path", "status", "release", "source", "bytes"]
                .map(|name| line[name].to_string())
                .join(" ")
        })
        .collect();
    assert_eq!(
        fields,
        [
            "\"GET\" \"/index.html\" 200 1 \"pack\" 4",
            "\"GET\" \"/index.html\" 200 1 \"memory\" 4",
            "\"HEAD\" \"/../%0a\" 400 null \"none\" 0",
        ]
    );
}

#[tokio::test]
async fn a_failure_is_logged_with_its_object_and_a_complaint_is_not_repeated() {
    let lines = Lines::catch();
    let shop = Shop::open().await;
    let server = shop.serve().await;
    shop.bucket.hook(|call| match call.operation {
        Operation::GetRange | Operation::Get => Fate::FailBefore(Kind::Denied),
        _ => Fate::Pass,
    });
    assert_eq!(server.get("/index.html").await.status, 503);
    tokio::time::sleep(std::time::Duration::from_millis(100)).await;
    let [failure] = &lines.with("cannot read a document")[..] else { panic!("one line") };
    assert_eq!((&failure["path"], &failure["release"]), (&Value::from("/index.html"), &Value::from(1)));
    assert!(failure["message"].as_str().is_some_and(|text| text.contains("_edgepress/packs/")));
    assert_eq!(lines.with("cannot follow the releases").len(), 1, "many turns, one line");
    assert_eq!(lines.with("answered slowly or with an error").len(), 1);
    shop.bucket.heal();
    tokio::time::sleep(std::time::Duration::from_millis(100)).await;
    assert_eq!(lines.with("releases can be followed again").len(), 1);
}
