//! `serve`: the origin as a process of its own.

use serde_json::Value;

use crate::support::{Running, Site, live, until};

#[test]
fn an_origin_without_a_release_says_when_to_come_back_and_then_serves() {
    let site = Site::small(2);
    let origin = Running::start(&site, "serve");
    let answer = origin.client().get("/items/item-1.html");
    assert_eq!(answer.status, 503);
    assert!(answer.header("retry-after").parse::<u32>().is_ok_and(|seconds| seconds > 0), "{answer:?}");
    assert_eq!(answer.header("content-type"), "application/problem+json");
    site.json("publish");
    until("the release is served", || origin.client().get("/items/item-1.html").status == 200);
    assert_eq!(origin.body("/items/item-1.html"), "<h1>Item 1</h1>\n");
    assert_eq!(origin.stop().code(), Some(0));
}

#[test]
fn an_origin_follows_what_another_process_releases_and_rolls_back() {
    let site = Site::small(3);
    site.json("publish");
    let origin = Running::start_loaded(&site);
    assert_eq!(origin.body("/items/item-1.html"), "<h1>Item 1</h1>\n");
    site.sql("UPDATE item SET name = 'Edited' WHERE id = 1; DELETE FROM item WHERE id = 2");
    site.json("publish --yes");
    until("the edit is served", || origin.body("/items/item-1.html") == "<h1>Edited</h1>\n");
    let gone = origin.client().get("/items/item-2.html");
    assert_eq!((gone.status, gone.header("content-type")), (404, "application/problem+json"));
    let now: Value = serde_json::from_str(&origin.body("/_edgepress/release")).expect("it is JSON");
    assert_eq!((&now["release"], &now["root"]), (&2.into(), &live(&site.bucket()).root.into()), "{now}");
    site.json("rollback 1");
    until("the rollback is served", || origin.body("/items/item-1.html") == "<h1>Item 1</h1>\n");
    assert_eq!(origin.client().get("/items/item-2.html").status, 200);
    assert_eq!(origin.stop().code(), Some(0));
}

#[test]
fn a_body_is_sent_once_and_confirmed_from_then_on() {
    let site = Site::small(3);
    site.json("publish");
    let origin = Running::start_loaded(&site);
    let mut client = origin.client();
    let full = client.get("/items/item-1.json");
    assert_eq!((full.status, full.header("content-type")), (200, "application/json"));
    let etag = full.header("etag").to_owned();
    assert!(etag.len() == 34 && etag.starts_with('"'), "{etag}");
    for tag in [etag.clone(), format!("W/{etag}"), "*".to_owned(), format!("\"other\", {etag}")] {
        let answer = client.request("GET", "/items/item-1.json", &format!("If-None-Match: {tag}\r\n"));
        assert_eq!((answer.status, answer.body.len()), (304, 0), "{tag}");
        for name in ["etag", "cache-control", "vary", "cdn-cache-control"] {
            assert_eq!(answer.header(name), full.header(name), "{name}");
        }
    }
    assert_eq!(client.request("GET", "/items/item-1.json", "If-None-Match: \"other\"\r\n").status, 200);
    let head = client.request("HEAD", "/items/item-1.json", "");
    assert_eq!((head.status, head.header("content-length")), (200, &*full.body.len().to_string()));

    site.sql("UPDATE item SET name = 'Edited' WHERE id = 1");
    site.json("publish");
    let ask = format!("If-None-Match: {etag}\r\n");
    until("the new version is sent", || {
        origin.client().request("GET", "/items/item-1.json", &ask).status == 200
    });
    let answer = client.request("GET", "/items/item-1.json", &ask);
    assert_eq!(answer.text(), r#"{"id":1,"slug":"item-1","name":"Edited"}"#);
    assert_ne!(answer.header("etag"), etag);
    assert_eq!(
        client.request("GET", "/items/item-2.json", &ask).status,
        200,
        "another document's version is not this one's"
    );
}

#[test]
fn an_address_that_is_taken_is_named_with_the_remedy() {
    let site = Site::small(1);
    let taken = std::net::TcpListener::bind("127.0.0.1:0").expect("there are free ports");
    let address = taken.local_addr().expect("it is bound").to_string();
    site.edit("site.toml", "listen = \"127.0.0.1:0\"", &format!("listen = \"{address}\""));
    for command in ["serve", "dev"] {
        let message = site.refuses(1, command);
        assert!(
            message.contains(&address) && message.contains("name another address with `listen` in [origin]"),
            "{message}"
        );
    }
}
