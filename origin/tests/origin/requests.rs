//! Requests that are refused, and how.

use edgepress_origin::Settings;

use crate::client::Connection;
use crate::fixture::Shop;

#[tokio::test]
async fn hostile_paths_are_refused_and_harm_nothing() {
    let shop = Shop::open().await;
    let server = shop.serve().await;
    let long_segment = format!("/{}.html", "a".repeat(300));
    let long = "/aaaa".repeat(250);
    let longer = "/aaaa".repeat(1_000);
    let mut connection = server.connect().await;
    for (target, status) in [
        ("/../etc/passwd", 400),
        ("/a/../index.html", 400),
        ("/./index.html", 400),
        ("/%2e%2e/index.html", 400),
        ("/a%2Findex.html", 400),
        ("/a%5Cindex.html", 400),
        ("/a%00.html", 400),
        ("/a%0d%0aSet-Cookie:x.html", 400),
        ("//index.html", 400),
        ("/a//b.html", 400),
        ("/%", 400),
        ("/%zz", 400),
        ("/%ff.html", 400),
        ("/_v/00000000000000000000000000000000/../x", 400),
        ("/_v/00000000000000000000000000000000/_edgepress/current", 400),
        ("/_edgepress/../x", 400),
        (&long_segment, 414),
        (&long, 414),
        (&longer, 414),
        ("/_edgepress", 404),
        ("/_edgepress/", 404),
        ("/_edgepress/current", 404),
        ("/_edgepress/packs/x", 404),
        ("/_edgepress/release/", 404),
        ("/_v", 404),
    ] {
        let answer = connection.get(target).await;
        assert_eq!(answer.status, status, "{target}");
        assert_eq!(answer.header("content-type"), "application/problem+json", "{target}");
        let problem: serde_json::Value = serde_json::from_slice(&answer.body).expect("JSON");
        assert_eq!(problem["status"], status, "{target}");
        assert!(problem["title"].is_string() && problem["detail"].is_string(), "{target}");
        let lifetime = if status == 404 { "max-age=5" } else { "no-store" };
        assert_eq!(answer.header("cache-control"), lifetime, "{target}");
    }
    assert_eq!(connection.get("/").await.text(), "home", "the connection goes on");
}

#[tokio::test]
async fn methods_are_told_apart() {
    let shop = Shop::open().await;
    let server = shop.serve().await;
    let mut connection = server.connect().await;
    for (method, status) in [
        ("POST", 405),
        ("PUT", 405),
        ("DELETE", 405),
        ("PATCH", 405),
        ("TRACE", 405),
        ("QUERY", 405),
        ("get", 501),
        ("BREW", 501),
        ("OPTIONS", 204),
    ] {
        let answer = connection.request(method, "/index.html", "").await;
        assert_eq!(answer.status, status, "{method}");
        let allow = if status == 501 { "" } else { "GET, HEAD, OPTIONS" };
        assert_eq!(answer.header("allow"), allow, "{method}");
    }
    assert_eq!(connection.request("OPTIONS", "*", "").await.status, 204);
    assert_eq!(connection.request("CONNECT", "shop.example:80", "").await.status, 405);
}

#[tokio::test]
async fn requests_that_can_be_read_in_two_ways_are_refused_and_the_connection_ends() {
    let shop = Shop::open().await;
    let server = shop.serve().await;
    for (what, request) in [
        ("no host", "GET / HTTP/1.1\r\n\r\n"),
        ("two hosts", "GET / HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n"),
        ("another host", "GET http://b/ HTTP/1.1\r\nHost: a\r\n\r\n"),
        (
            "two framings",
            "GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        ),
        (
            "two framings, swapped",
            "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n",
        ),
        ("two lengths", "GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello!"),
        ("space before colon", "GET / HTTP/1.1\r\nHost : a\r\n\r\n"),
    ] {
        let mut connection = server.connect().await;
        connection.send(request).await;
        let answer = connection.answer(false).await.expect("an answer");
        assert_eq!(answer.status, 400, "{what}");
        assert!(connection.is_ended().await, "{what}");
    }
}

#[tokio::test]
async fn a_body_that_nobody_needs_is_read_only_if_it_is_small() {
    let shop = Shop::open().await;
    let server = shop.serve().await;
    let mut connection = server.connect().await;
    connection
        .send("GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhelloGET / HTTP/1.1\r\nHost: a\r\n\r\n")
        .await;
    for _ in 0..2 {
        assert_eq!(connection.answer(false).await.expect("an answer").text(), "home");
    }
    connection.send("GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 1000000\r\n\r\n").await;
    let answer = connection.answer(false).await.expect("an answer before the body");
    assert_eq!((answer.text(), answer.header("connection")), ("home", "close"));
    assert!(connection.is_ended().await);
}

#[tokio::test]
async fn the_older_protocol_is_answered_too() {
    let shop = Shop::open().await;
    let server = shop.serve().await;
    let mut connection = server.connect().await;
    connection.send("GET /index.html HTTP/1.0\r\n\r\n").await;
    assert_eq!(connection.answer(false).await.expect("an answer").text(), "home");
    assert!(connection.is_ended().await);
}

#[tokio::test]
async fn the_live_release_tells_what_it_is() {
    let shop = Shop::open().await;
    let server = shop.serve().await;
    let answer = server.get("/_edgepress/release").await;
    let root = shop.current().live().root;
    let expected = format!(
        "{{\"release\":1,\"root\":\"{root}\",\"documents\":7,\"time\":1700000000000,\"state\":\"live\"}}"
    );
    assert_eq!((answer.status, answer.text()), (200, &*expected));
    assert_eq!(answer.header("etag"), format!("\"{root}\""));
    assert_eq!(answer.header("cache-control"), "max-age=1");
    assert_eq!(answer.header("content-type"), "application/json");
    let known = format!("If-None-Match: \"{root}\"\r\n");
    let answer = server.request("GET", "/_edgepress/release", &known).await;
    assert_eq!((answer.status, answer.header("cache-control")), (304, "max-age=1"));
}

#[tokio::test]
async fn the_owner_learns_whether_the_origin_is_ready() {
    let mut shop = Shop::new().await;
    let server = shop.serve().await;
    let admin = async |target: &str| Connection::open(server.admin).await.get(target).await;
    assert_eq!((admin("/healthz").await.status, admin("/readyz").await.status), (200, 503));
    let answer = server.get("/index.html").await;
    assert_eq!(
        (answer.status, answer.header("retry-after"), answer.header("cache-control")),
        (503, "1", "no-store")
    );
    assert_eq!(server.get("/_edgepress/release").await.status, 503);
    shop.release(4, &[("/index.html", "home")]).await;
    server.origin.wait_for(4).await;
    let answer = admin("/readyz").await;
    assert_eq!((answer.status, answer.text()), (200, "{\"ready\":true,\"release\":4,\"stopping\":false}"));
    for target in ["/", "/index.html", "/_edgepress/release"] {
        assert_eq!(admin(target).await.status, 404, "{target}");
    }
}

#[tokio::test]
async fn whoever_lacks_the_owners_token_learns_nothing() {
    let shop = Shop::new().await;
    let settings = Settings { token: "0123456789abcdef".to_owned(), ..Settings::default() };
    let server = shop.serve_with(settings).await;
    let ask =
        async |headers: &str| Connection::open(server.admin).await.request("GET", "/healthz", headers).await;
    for headers in [
        "",
        "authorization: Bearer 0123456789abcdeF\r\n",
        "authorization: Basic 0123456789abcdef\r\n",
        "authorization: 0123456789abcdef\r\n",
    ] {
        let answer = ask(headers).await;
        assert_eq!((answer.status, answer.header("www-authenticate")), (401, "Bearer"), "{headers}");
        assert_eq!(answer.header("content-type"), "application/problem+json");
    }
    assert_eq!(ask("authorization: bearer 0123456789abcdef\r\n").await.status, 200);
}
