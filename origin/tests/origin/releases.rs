//! Following releases, and what happens when the bucket fails.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use edgepress_site::policy::Policy;
use edgepress_store::bucket::Kind;
use edgepress_store::bucket::testing::{Fate, Operation};
use edgepress_store::release::CURRENT;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::sleep;

use crate::fixture::{Shop, settings};

/// Long enough for a few turns of following.
const TURNS: Duration = Duration::from_millis(80);

#[tokio::test]
async fn a_new_release_is_served_within_a_moment_and_unchanged_bodies_are_not_read_again() {
    let mut shop = Shop::open().await;
    let server = shop.serve().await;
    assert_eq!(server.get("/index.html").await.text(), "home");
    assert_eq!(server.get("/style.css").await.text(), "p{}");
    shop.release(2, &[("/index.html", "new home"), ("/products/shoe.json", "")]).await;
    server.origin.wait_for(2).await;
    let answer = server.get("/index.html").await;
    assert_eq!((answer.text(), answer.header("edgepress-release")), ("new home", "2"));
    assert_eq!(server.get("/products/shoe.json").await.status, 404);
    let before = shop.bucket.counts().ranges;
    let answer = server.get("/style.css").await;
    assert_eq!((answer.text(), answer.header("edgepress-release")), ("p{}", "2"));
    assert_eq!(shop.bucket.counts().ranges - before, 0, "the node came with the index, the body was known");
}

#[tokio::test]
async fn a_changed_definition_is_followed_even_where_no_document_changed() {
    let mut shop = Shop::open().await;
    let server = shop.serve().await;
    assert_eq!(server.get("/nowhere.html").await.text(), "no such page");
    assert_eq!(server.get("/products/shoe.json").await.header("cache-control"), "max-age=60");
    let root = shop.current().live().root;
    shop.definition.not_found = None;
    shop.definition.collections[0].documents[0].cache = Policy::default();
    shop.release(2, &[]).await;
    assert_eq!(shop.current().live().root, root);
    server.origin.wait_for(2).await;
    assert_eq!(server.get("/nowhere.html").await.header("content-type"), "application/problem+json");
    let answer = server.get("/products/shoe.json").await;
    assert_eq!(answer.header("cache-control"), "max-age=0, must-revalidate", "its policy is unknown now");
}

#[tokio::test]
async fn nothing_ever_goes_back_to_an_older_release() {
    let mut shop = Shop::open().await;
    let first = shop.current();
    shop.release(5, &[("/index.html", "five")]).await;
    let server = shop.serve().await;
    assert_eq!(server.get("/index.html").await.text(), "five");
    let mut altered = first.clone();
    altered.records[0].number = 5;
    for (what, current) in [("an older release", first), ("another root with the same number", altered)] {
        shop.swap(current).await;
        sleep(TURNS).await;
        let answer = server.get("/index.html").await;
        assert_eq!((answer.text(), answer.header("edgepress-release")), ("five", "5"), "{what}");
    }
    for (what, content) in [("gone", None), ("damaged", Some("nonsense"))] {
        let path = shop.folder.path().join(CURRENT);
        match content {
            Some(content) => std::fs::write(&path, content).expect("writable"),
            None => std::fs::remove_file(&path).expect("removable"),
        }
        sleep(TURNS).await;
        assert_eq!(server.get("/index.html").await.text(), "five", "{what}");
        assert_eq!(server.get("/products/shoe.html").await.status, 200, "{what}");
    }
    std::fs::remove_file(shop.folder.path().join(CURRENT)).expect("removable");
    shop.release(6, &[("/index.html", "six")]).await;
    server.origin.wait_for(6).await;
    assert_eq!(server.get("/index.html").await.text(), "six");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_client_ever_sees_an_older_release_than_another_saw_before() {
    let mut shop = Shop::open().await;
    let server = Arc::new(shop.serve().await);
    let (seen, over) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicBool::new(false)));
    let mut clients = JoinSet::new();
    for _ in 0..4 {
        let (server, seen, over) = (Arc::clone(&server), Arc::clone(&seen), Arc::clone(&over));
        clients.spawn(async move {
            let mut connection = server.connect().await;
            while !over.load(Ordering::SeqCst) {
                let before = seen.load(Ordering::SeqCst);
                let answer = connection.get("/index.html").await;
                let number: u64 = answer.header("edgepress-release").parse().expect("a number");
                assert!(number >= before, "{number} after {before}");
                let expected = if number == 1 { "home".to_owned() } else { format!("home {number}") };
                assert_eq!(answer.text(), expected, "body and number are of one release");
                seen.fetch_max(number, Ordering::SeqCst);
            }
        });
    }
    for number in 2..40 {
        shop.release(number, &[("/index.html", &format!("home {number}"))]).await;
        server.origin.follow_now();
    }
    server.origin.wait_for(39).await;
    over.store(true, Ordering::SeqCst);
    while let Some(client) = clients.join_next().await {
        client.expect("no client saw an older release");
    }
    assert!(seen.load(Ordering::SeqCst) > 2);
}

#[tokio::test]
async fn a_release_that_cannot_be_read_is_not_served() {
    let mut shop = Shop::open().await;
    let server = shop.serve().await;
    let failing = |call: edgepress_store::bucket::testing::Call<'_>| match call.operation {
        Operation::GetRange => Fate::FailBefore(Kind::Other),
        _ => Fate::Pass,
    };
    shop.bucket.hook(failing);
    shop.release(2, &[("/index.html", "two")]).await;
    sleep(TURNS).await;
    assert_eq!(server.origin.release(), Some(1));
    shop.bucket.heal();
    server.origin.wait_for(2).await;
    assert_eq!(server.get("/index.html").await.text(), "two");
}

#[tokio::test]
async fn without_the_packs_memory_goes_on_answering() {
    let shop = Shop::open().await;
    let server = shop.serve().await;
    assert_eq!(server.get("/products/shoe.html").await.status, 200);
    std::fs::remove_dir_all(shop.folder.path().join("_edgepress/packs")).expect("removable");
    let answer = server.get("/products/shoe.html").await;
    assert_eq!(
        (answer.text(), answer.header("cache-status")),
        ("<p>shoe</p>", "edgepress; hit; detail=memory")
    );
    let answer = server.get("/index.html").await;
    assert_eq!(
        (answer.status, answer.header("retry-after"), answer.header("cache-control")),
        (503, "1", "no-store")
    );
    assert!(!answer.text().contains("pack") && !answer.text().contains("_edgepress"), "{}", answer.text());
}

#[tokio::test]
async fn stale_beats_an_error_but_not_for_long() {
    let mut shop = Shop::open().await;
    let server = shop.serve().await;
    assert_eq!(server.get("/index.html").await.text(), "home");
    shop.release(2, &[("/index.html", "two"), ("/products/shoe.json", "")]).await;
    server.origin.wait_for(2).await;
    shop.bucket.hook(|call| match call.operation {
        Operation::GetRange => Fate::FailBefore(Kind::Other),
        _ => Fate::Pass,
    });
    let answer = server.get("/index.html").await;
    assert_eq!((answer.text(), answer.header("edgepress-release")), ("home", "1"));
    assert_eq!(answer.header("cache-status"), "edgepress; hit; detail=stale");
    assert_eq!(answer.header("cdn-cache-control"), "max-age=5");
    shop.bucket.heal();
    assert_eq!(server.get("/index.html").await.text(), "two");
    shop.release(3, &[("/index.html", "")]).await;
    server.origin.wait_for(3).await;
    assert_eq!(server.get("/index.html").await.status, 404);
    shop.bucket.hook(|_| Fate::FailBefore(Kind::Other));
    assert_ne!(server.get("/index.html").await.text(), "two", "what was gone does not come back");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hundred_first_requests_read_the_pack_once() {
    let shop = Shop::open().await;
    let server = Arc::new(shop.serve().await);
    // The tree's one node is in memory afterwards, so each range read is a body.
    server.get("/index.html").await;
    server.get("/nowhere.html").await;
    shop.bucket.reset();
    let gate = Arc::new(tokio::sync::Notify::new());
    let own = Arc::clone(&gate);
    shop.bucket.hook(move |call| match call.operation {
        Operation::GetRange => Fate::Wait(Arc::clone(&own)),
        _ => Fate::Pass,
    });
    // The one that reads for all goes away before it is done.
    let mut gone = server.connect().await;
    gone.send("GET /a/ HTTP/1.1\r\nHost: a\r\n\r\n").await;
    while shop.bucket.counts().ranges == 0 {
        sleep(Duration::from_millis(1)).await;
    }
    let started = Arc::new(Semaphore::new(0));
    let mut requests = JoinSet::new();
    for _ in 0..100 {
        let (server, started) = (Arc::clone(&server), Arc::clone(&started));
        requests.spawn(async move {
            let mut connection = server.connect().await;
            connection.send("GET /a/ HTTP/1.1\r\nHost: a\r\n\r\n").await;
            started.add_permits(1);
            connection.answer(false).await.expect("an answer")
        });
    }
    started.acquire_many(100).await.expect("open").forget();
    sleep(TURNS).await;
    drop(gone);
    sleep(TURNS).await;
    gate.notify_one();
    let mut sources = Vec::new();
    while let Some(answer) = requests.join_next().await {
        let answer = answer.expect("no panic");
        assert_eq!(answer.text(), "folder");
        sources.push(answer.header("cache-status").to_owned());
    }
    assert_eq!(shop.bucket.counts().ranges, 1);
    assert!(sources.iter().any(|source| source.contains("collapsed")), "{sources:?}");
}

#[tokio::test]
async fn a_bucket_that_hangs_does_not_hold_requests_for_ever() {
    let shop = Shop::open().await;
    let server = shop
        .serve_with(edgepress_origin::Settings { read_timeout: Duration::from_millis(50), ..settings() })
        .await;
    let never = Arc::new(tokio::sync::Notify::new());
    shop.bucket.hook(move |_| Fate::Wait(Arc::clone(&never)));
    assert_eq!(server.get("/index.html").await.status, 503);
    shop.bucket.heal();
    assert_eq!(server.get("/index.html").await.text(), "home");
}

#[tokio::test]
async fn memory_stays_within_its_bytes_and_every_answer_is_right() {
    let mut shop = Shop::new().await;
    let documents: Vec<(String, String)> = (0..200)
        .map(|number| {
            (
                format!("/products/{number}.json"),
                format!("{{\"number\":{number},\"text\":\"{}\"}}", "x".repeat(2_000)),
            )
        })
        .collect();
    let big = "y".repeat(60_000);
    let mut all: Vec<(&str, &str)> = documents.iter().map(|(path, body)| (&**path, &**body)).collect();
    all.push(("/index.html", &big));
    shop.release(1, &all).await;
    let memory = 100_000;
    let server = shop.serve_with(edgepress_origin::Settings { memory, ..settings() }).await;
    let mut connection = server.connect().await;
    for _ in 0..2 {
        for (path, body) in &all {
            let answer = connection.get(path).await;
            assert_eq!(answer.text(), *body, "{path}");
            assert!(server.origin.memory_used() <= memory);
            if *path == "/index.html" {
                assert_eq!(
                    answer.header("cache-status"),
                    "edgepress; fwd=miss; detail=pack",
                    "too large to keep"
                );
            }
        }
    }
    assert!(server.origin.memory_used() > memory / 2);
}

#[tokio::test]
async fn a_damaged_body_is_never_served() {
    let shop = Shop::open().await;
    let server = shop.serve().await;
    let packs = std::fs::read_dir(shop.folder.path().join("_edgepress/packs")).expect("a folder");
    for pack in packs {
        let path = pack.expect("an entry").path();
        let mut bytes = std::fs::read(&path).expect("readable");
        // The first frame is the body of the home page.
        for byte in &mut bytes[12..30] {
            *byte ^= 1;
        }
        std::fs::write(&path, bytes).expect("writable");
    }
    assert_eq!(server.get("/index.html").await.status, 503);
    assert_eq!(server.get("/style.css").await.text(), "p{}");
}
