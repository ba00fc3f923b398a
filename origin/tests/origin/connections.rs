//! What clients may do to connections, and how serving ends.

use std::sync::Arc;
use std::time::Duration;

use edgepress_origin::{Drained, Settings};
use edgepress_store::bucket::testing::{Fate, Operation};
use tokio::net::TcpStream;
use tokio::sync::Notify;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout};

use crate::client::Connection;
use crate::fixture::{Shop, settings};

const SHORT: Duration = Duration::from_millis(150);
const LONG: Duration = Duration::from_secs(60);

fn timeouts(header: Duration, idle: Duration, stall: Duration) -> Settings {
    Settings { header_timeout: header, idle_timeout: idle, stall_timeout: stall, ..settings() }
}

#[tokio::test]
async fn a_client_that_is_slow_to_send_a_head_is_cut_and_others_are_not() {
    let shop = Shop::open().await;
    let server = shop.serve_with(timeouts(SHORT, LONG, LONG)).await;
    let mut idle = server.connect().await;
    assert_eq!(idle.get("/").await.status, 200);
    let started = Instant::now();
    for beginning in ["", "GET / HT"] {
        let mut slow = server.connect().await;
        slow.send(beginning).await;
        assert!(slow.is_ended().await, "{beginning:?}");
    }
    // A byte now and then does not help.
    let mut dripping = server.connect().await;
    let dripped = async {
        while dripping.try_send("G").await {
            sleep(SHORT / 3).await;
        }
    };
    timeout(LONG / 4, dripped).await.expect("it is cut");
    assert!(started.elapsed() < LONG / 4);
    assert_eq!(idle.get("/").await.status, 200, "between requests a client may be silent for longer");
}

#[tokio::test]
async fn a_silent_connection_ends_after_a_while() {
    let shop = Shop::open().await;
    let server = shop.serve_with(timeouts(SHORT, SHORT, LONG)).await;
    let mut connection = server.connect().await;
    assert_eq!(connection.get("/").await.status, 200);
    assert!(connection.is_ended().await);
}

/// A shop with a document larger than what the kernel buffers between two sockets.
async fn large_shop() -> Shop {
    let mut shop = Shop::new().await;
    let large = "z".repeat(16 << 20);
    shop.release(1, &[("/index.html", "home"), ("/large.html", &large)]).await;
    shop
}

#[tokio::test]
async fn a_client_that_does_not_take_its_answer_is_cut() {
    let shop = large_shop().await;
    let settings = Settings { memory: 256 << 20, max_connections: 1, ..timeouts(LONG, LONG, SHORT) };
    let server = shop.serve_with(settings).await;
    let mut stuck = server.connect().await;
    stuck.send("GET /large.html HTTP/1.1\r\nHost: a\r\n\r\n").await;
    let answer = timeout(LONG / 3, server.get("/index.html")).await;
    assert_eq!(answer.expect("the only place became free").text(), "home");
}

#[tokio::test]
async fn hundreds_of_connections_beyond_the_limit_wait_for_their_turn() {
    let shop = Shop::open().await;
    let server = Arc::new(shop.serve_with(Settings { max_connections: 8, ..settings() }).await);
    let mut clients = JoinSet::new();
    for _ in 0..400 {
        let server = Arc::clone(&server);
        clients.spawn(async move { server.get("/index.html").await.status });
    }
    while let Some(status) = clients.join_next().await {
        assert_eq!(status.expect("no panic"), 200);
    }
}

/// Lets every read of a pack wait for the gate.
fn gated(shop: &Shop) -> Arc<Notify> {
    let gate = Arc::new(Notify::new());
    let own = Arc::clone(&gate);
    shop.bucket.hook(move |call| match call.operation {
        Operation::GetRange => Fate::Wait(Arc::clone(&own)),
        _ => Fate::Pass,
    });
    gate
}

#[tokio::test]
async fn a_drain_finishes_running_requests_and_takes_no_new_ones() {
    let shop = Shop::open().await;
    let mut server = shop.serve().await;
    let (mut idle, _silent) = (server.connect().await, server.connect().await);
    assert_eq!(idle.get("/").await.text(), "home");
    shop.bucket.reset();
    let gate = gated(&shop);
    let mut running = server.connect().await;
    running.send("GET /style.css HTTP/1.1\r\nHost: a\r\n\r\n").await;
    while shop.bucket.counts().ranges == 0 {
        sleep(Duration::from_millis(1)).await;
    }
    server.stop();
    assert!(idle.is_ended().await, "an idle connection ends at once");
    let admin = Connection::open(server.admin).await.get("/readyz").await;
    assert_eq!((admin.status, admin.text()), (503, "{\"ready\":false,\"release\":1,\"stopping\":true}"));
    assert!(TcpStream::connect(server.address).await.is_err(), "nobody listens any more");
    shop.bucket.heal();
    // The node and the body.
    gate.notify_one();
    let answer = running.answer(false).await.expect("the running request is answered");
    assert_eq!((answer.text(), answer.header("connection")), ("p{}", "close"));
    let started = Instant::now();
    assert_eq!(server.ended().await, Drained { cut: 0 });
    assert!(started.elapsed() < Duration::from_secs(5), "a connection without a request is not waited for");
}

#[tokio::test]
async fn a_drain_ends_at_its_deadline_whatever_a_client_does() {
    let shop = large_shop().await;
    let settings = Settings { memory: 256 << 20, drain: SHORT, ..settings() };
    let mut server = shop.serve_with(settings).await;
    let mut stuck = server.connect().await;
    stuck.send("GET /large.html HTTP/1.1\r\nHost: a\r\n\r\n").await;
    while server.origin.memory_used() == 0 {
        sleep(Duration::from_millis(1)).await;
    }
    server.stop();
    let started = Instant::now();
    assert_eq!(server.ended().await, Drained { cut: 1 });
    assert!(started.elapsed() < LONG / 6);
}
