//! The shop in a real browser: Debian's Chromium, headless.

use std::collections::BTreeSet;
use std::process::Command;

use crate::support::{Running, Site, tool, until};

/// The page as the browser has it after loading everything, as HTML.
fn dom(url: &str) -> String {
    let profile = tempfile::tempdir().expect("there is room");
    let mut chromium = Command::new("chromium");
    chromium.args(["--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"]);
    chromium.args(["--disable-background-networking", "--disable-component-update", "--disable-sync"]);
    chromium.arg("--disable-dev-shm-usage");
    chromium.arg(format!("--user-data-dir={}", profile.path().display()));
    let output = tool(chromium.env("HOME", profile.path()).args(["--dump-dom", url]));
    String::from_utf8(output.stdout).expect("pages are UTF-8")
}

/// Everything that a page names by `src` or `href` on its own site, without fragments.
fn links(page: &str) -> BTreeSet<String> {
    let named = ["src=\"", "href=\""].into_iter().flat_map(|attribute| page.split(attribute).skip(1));
    let links = named.filter_map(|rest| rest.split('"').next()).map(|link| link.replace("&amp;", "&"));
    let own = links.filter(|link| link.starts_with('/') && !link.starts_with("//"));
    own.map(|link| link.split('#').next().unwrap_or_default().to_owned()).collect()
}

#[test]
fn an_edited_price_is_in_the_browser_and_nothing_on_the_pages_is_broken() {
    let site = Site::empty();
    let dev = Running::start(&site, "dev shop --listen 127.0.0.1:0");
    let product = "/products/alder-harbour-sandals.html";
    site.sql_file(
        "shop/shop.db",
        "UPDATE product SET price_cents = 1234567 WHERE slug = 'alder-harbour-sandals'",
    );
    until("the price is live", || dev.body(product).contains("€12,345.67"));
    let dom = dom(&format!("http://{}{product}", dev.address));
    assert!(dom.contains("<span class=\"price\">€12,345.67</span>"), "{dom}");
    assert!(dom.contains("<h1>Alder Harbour Sandals</h1>"), "{dom}");

    let mut client = dev.client();
    let mut all = BTreeSet::new();
    for page in ["/", "/category/footwear.html", product] {
        let links = links(&dev.body(page));
        assert!(links.len() > 15, "{page}: {links:?}");
        all.extend(links);
    }
    assert!(
        all.iter().any(|link| link.ends_with(".svg")) && all.iter().any(|link| link.ends_with("/style.css"))
    );
    for link in &all {
        let answer = client.get(link);
        assert!(answer.status == 200 && !answer.body.is_empty(), "{link}: {}", answer.status);
        let kind = match link.rsplit_once('.').map_or("", |(_, extension)| extension) {
            "svg" => "image/svg+xml",
            "css" => "text/css; charset=utf-8",
            "json" => "application/json",
            "xml" => answer.header("content-type"),
            _ => "text/html; charset=utf-8",
        };
        assert_eq!(answer.header("content-type"), kind, "{link}");
    }
}
