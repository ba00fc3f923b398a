//! Documents, their headers and their conditions.

use std::sync::atomic::Ordering;

use edgepress_site::version::Version;

use crate::fixture::{START, Shop};

/// When everything in the shop was last modified, and a second around it.
const BEFORE: &str = "Tue, 14 Nov 2023 22:13:20 GMT";
const MODIFIED: &str = "Tue, 14 Nov 2023 22:13:21 GMT";
const AFTER: &str = "Tue, 14 Nov 2023 22:13:22 GMT";

#[tokio::test]
async fn a_document_has_all_the_headers_it_should() {
    let shop = Shop::open().await;
    let server = shop.serve().await;
    let answer = server.get("/products/shoe.json").await;
    assert_eq!((answer.status, answer.text()), (200, "{\"shoe\":1}"));
    let version = Version::of(b"{\"shoe\":1}");
    let tag = edgepress_site::answer::document_tag("/products/shoe.json");
    for (name, value) in [
        ("etag", format!("\"{version}\"")),
        ("last-modified", MODIFIED.to_owned()),
        ("cache-control", "max-age=60".to_owned()),
        ("cdn-cache-control", "max-age=600, stale-while-revalidate=30, stale-if-error=30".to_owned()),
        ("vary", "Accept-Encoding".to_owned()),
        ("cache-status", "edgepress; fwd=miss; stored; detail=pack".to_owned()),
        ("surrogate-key", format!("c-product {tag}")),
        ("cache-tag", format!("c-product,{tag}")),
        ("edgepress-release", "1".to_owned()),
        ("content-type", "application/json".to_owned()),
        ("content-length", "10".to_owned()),
        ("x-content-type-options", "nosniff".to_owned()),
        ("access-control-allow-origin", "*".to_owned()),
        ("access-control-expose-headers", "ETag, Cache-Status, Edgepress-Release".to_owned()),
    ] {
        assert_eq!(answer.header(name), value, "{name}");
    }
    assert!(answer.has("date"));
    let again = server.get("/products/shoe.json").await;
    assert_eq!(again.header("cache-status"), "edgepress; hit; detail=memory");
    let html = server.get("/products/shoe.html").await;
    assert_eq!(html.header("cache-control"), "max-age=0, must-revalidate");
    assert_eq!(server.get("/style.css").await.header("surrogate-key").split(' ').next(), Some("c-static"));
}

#[tokio::test]
async fn every_spelling_of_a_path_leads_to_its_one_document() {
    let shop = Shop::open().await;
    let server = shop.serve().await;
    for round in ["from the pack", "from memory"] {
        for (target, body) in [
            ("/", "home"),
            ("/index.html", "home"),
            ("/index.html?a=b", "home"),
            ("/inde%78.html", "home"),
            ("/a/", "folder"),
            ("/a/K%C3%A4se%201%25.html", "cheese"),
            ("/a/Ka%CC%88se%201%25.html", "cheese"),
            ("/a/K\u{e4}se%201%25.html", "cheese"),
            ("/style.css", "p{}"),
            ("http://shop.example/style.css", "p{}"),
            ("http://SHOP.example", "home"),
        ] {
            let answer = server.get(target).await;
            assert_eq!((answer.status, answer.text()), (200, body), "{target} {round}");
        }
    }
}

#[tokio::test]
async fn conditions_are_answered_as_the_rfc_has_it() {
    let shop = Shop::open().await;
    let server = shop.serve().await;
    let tag = Version::of(b"home").to_string();
    let other = Version::of(b"other").to_string();
    let rows = [
        (format!("If-None-Match: \"{tag}\"\r\n"), 304),
        (format!("If-None-Match: W/\"{tag}\"\r\n"), 304),
        (format!("If-None-Match: \"{tag}.br\"\r\n"), 304),
        (format!("If-None-Match: \"x,y\", \"{other}\" , W/\"{tag}\"\r\n"), 304),
        (format!("If-None-Match: \"{other}\"\r\nIf-None-Match: \"{tag}\"\r\n"), 304),
        ("If-None-Match: *\r\n".to_owned(), 304),
        (format!("If-None-Match: \"{other}\"\r\n"), 200),
        (format!("If-None-Match: {tag}\r\n"), 200),
        (format!("If-None-Match: \"{other}\"\r\nIf-Modified-Since: {AFTER}\r\n"), 200),
        (format!("If-Modified-Since: {MODIFIED}\r\n"), 304),
        (format!("If-Modified-Since: {AFTER}\r\n"), 304),
        (format!("If-Modified-Since: {BEFORE}\r\n"), 200),
        ("If-Modified-Since: yesterday\r\n".to_owned(), 200),
        (format!("If-Match: \"{tag}\"\r\n"), 200),
        (format!("If-Match: \"{other}\"\r\n"), 412),
        (format!("If-Unmodified-Since: {BEFORE}\r\n"), 412),
    ];
    for method in ["GET", "HEAD"] {
        let mut connection = server.connect().await;
        for (headers, status) in &rows {
            let answer = connection.request(method, "/index.html", headers).await;
            assert_eq!(answer.status, *status, "{method} {headers}");
        }
    }
}

#[tokio::test]
async fn a_304_repeats_what_caches_need_and_no_more() {
    let shop = Shop::open().await;
    let server = shop.serve().await;
    let full = server.get("/index.html").await;
    let headers = format!("If-None-Match: {}\r\n", full.header("etag"));
    let answer = server.request("GET", "/index.html", &headers).await;
    assert_eq!(answer.status, 304);
    for name in [
        "cache-control",
        "cdn-cache-control",
        "etag",
        "vary",
        "surrogate-key",
        "cache-tag",
        "edgepress-release",
        "access-control-allow-origin",
    ] {
        assert_eq!(answer.header(name), full.header(name), "{name}");
    }
    assert!(answer.has("date"));
    for name in ["content-length", "content-type", "last-modified", "transfer-encoding"] {
        assert!(!answer.has(name), "{name}");
    }
}

#[tokio::test]
async fn head_has_the_headers_of_get_and_no_body() {
    let shop = Shop::open().await;
    let server = shop.serve().await;
    for target in
        ["/index.html", "/nowhere.html", "/%2f", "/_edgepress/release", "/_edgepress/other", "/nope.json"]
    {
        server.get(target).await;
        let mut connection = server.connect().await;
        let get = connection.get(target).await;
        let head = connection.request("HEAD", target, "").await;
        let without_date = |answer: &crate::client::Answer| {
            let mut headers = answer.headers.clone();
            headers.retain(|(name, _)| name != "date");
            headers.sort();
            headers
        };
        assert_eq!((get.status, without_date(&get)), (head.status, without_date(&head)), "{target}");
        assert_eq!(
            connection.get("/index.html").await.text(),
            "home",
            "the connection goes on after {target}"
        );
    }
}

#[tokio::test]
async fn last_modified_is_sent_only_once_its_second_has_come() {
    let mut shop = Shop::open().await;
    let server = shop.serve().await;
    shop.time = START + 20_400;
    shop.release(2, &[("/index.html", "new home")]).await;
    server.origin.wait_for(2).await;
    for (now, sent) in [(20_500, false), (20_999, false), (21_000, true)] {
        server.clock.store(START + now, Ordering::SeqCst);
        let answer = server.get("/index.html").await;
        assert_eq!(answer.text(), "new home");
        assert_eq!(answer.has("last-modified"), sent, "{now}");
        let since = server
            .request("GET", "/index.html", "If-Modified-Since: Fri, 01 Jan 2100 00:00:00 GMT\r\n")
            .await;
        assert_eq!(since.status, if sent { 304 } else { 200 }, "{now}");
    }
    shop.floor = START + 5_000;
    shop.release(3, &[]).await;
    server.origin.wait_for(3).await;
    assert_eq!(server.get("/style.css").await.header("last-modified"), "Tue, 14 Nov 2023 22:13:26 GMT");
}

#[tokio::test]
async fn what_does_not_exist_gets_the_sites_page_for_a_short_while() {
    let mut shop = Shop::open().await;
    let server = shop.serve().await;
    for target in ["/nowhere.html", "/products/boot.html", "/no-pattern", "/x/"] {
        let answer = server.request("GET", target, "If-None-Match: *\r\n").await;
        assert_eq!((answer.status, answer.text()), (404, "no such page"), "{target}");
        assert_eq!(answer.header("content-type"), "text/html; charset=utf-8");
        assert_eq!(answer.header("cache-control"), "max-age=5");
        assert_eq!(answer.header("access-control-allow-origin"), "*");
        assert!(answer.header("surrogate-key").starts_with("d-"));
        for name in ["etag", "last-modified", "cdn-cache-control", "edgepress-release"] {
            assert!(!answer.has(name), "{name}");
        }
    }
    assert_eq!(server.get("/404.html").await.status, 200);
    shop.release(2, &[("/404.html", "")]).await;
    server.origin.wait_for(2).await;
    for target in ["/nowhere.html", "/404.html"] {
        let answer = server.get(target).await;
        assert_eq!(
            (answer.status, answer.header("content-type")),
            (404, "application/problem+json"),
            "{target}"
        );
        assert!(answer.text().contains("\"status\":404"));
    }
}

#[tokio::test]
async fn the_last_few_versions_of_a_document_can_be_had_for_ever() {
    let mut shop = Shop::open().await;
    let mut versions = vec![shop.version("/index.html")];
    for number in 2..=6 {
        shop.release(number, &[("/index.html", &format!("home {number}"))]).await;
        versions.push(shop.version("/index.html"));
    }
    let server = shop.serve().await;
    for (index, version) in versions.iter().enumerate() {
        let answer = server.get(&format!("/_v/{version}/index.html")).await;
        if index < 2 {
            assert_eq!((answer.status, answer.header("content-type")), (404, "application/problem+json"));
            continue;
        }
        assert_eq!((answer.status, answer.text().to_owned()), (200, format!("home {}", index + 1)));
        assert_eq!(answer.header("cache-control"), "max-age=31536000, immutable");
        assert_eq!(answer.header("etag"), format!("\"{version}\""));
        assert_eq!(answer.header("content-type"), "text/html; charset=utf-8");
        let known = format!("If-None-Match: \"{version}\"\r\n");
        assert_eq!(server.request("GET", &format!("/_v/{version}/"), &known).await.status, 304);
    }
    let other = shop.version("/style.css");
    for target in [format!("/_v/{other}/index.html"), "/_v/".to_owned(), "/_v/1/index.html".to_owned()] {
        let answer = server.get(&target).await;
        assert_eq!(
            (answer.status, answer.header("content-type")),
            (404, "application/problem+json"),
            "{target}"
        );
    }
}
