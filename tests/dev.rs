//! `dev`: one process that publishes, serves, and publishes every edit.

use crate::support::{Running, Site, until};

#[test]
fn the_shop_is_written_published_and_served_in_one_go() {
    let site = Site::empty();
    let dev = Running::start(&site, "dev shop --listen 127.0.0.1:0");
    assert!(dev.stderr().contains("wrote the starter site into shop"), "{}", dev.stderr());
    let home = dev.body("/");
    assert!(home.contains("<h1 ") && home == dev.body("/index.html"), "{home}");
    let path = "/products/alder-harbour-sandals";
    assert!(dev.body(&format!("{path}.html")).contains("Alder Harbour Sandals"));
    assert!(dev.body(&format!("{path}.json")).contains("\"slug\":\"alder-harbour-sandals\""));
    let style = asset(&home, "style.css");
    assert_eq!(dev.body(&style), dev.body("/style.css"));
    let kept = dev.client().get(&style);
    assert!(kept.header("cache-control").contains("immutable"), "{}", kept.header("cache-control"));
    let lost = dev.client().get("/no/such/page.html");
    assert!(lost.status == 404 && lost.text().contains("This shelf is empty"), "{}", lost.text());

    site.sql_file(
        "shop/shop.db",
        "UPDATE product SET price_cents = 1234567 WHERE slug = 'alder-harbour-sandals'",
    );
    until("the price is live", || dev.body(&format!("{path}.html")).contains("€12,345.67"));
    assert!(dev.body(&format!("{path}.json")).contains("\"price_cents\":1234567"));
    assert_eq!(dev.stop().code(), Some(0));
}

/// The versioned address of a static file in a page.
fn asset(page: &str, name: &str) -> String {
    let of_name = |link: &&str| link.starts_with("/_v/") && link.ends_with(name);
    page.split('"').find(of_name).unwrap_or_else(|| panic!("no {name} in {page}")).to_owned()
}

/// A small site with a stylesheet, under development.
fn dev() -> (Site, Running) {
    let site = Site::small(3);
    site.edit("site.toml", "templates = \"pages\"", "templates = \"pages\"\nstatic = \"static\"");
    site.write("static/style.css", "h1 { color: red }\n");
    site.write(
        "pages/list.html",
        "<link rel=\"stylesheet\" href=\"{{ asset(path=\"style.css\") }}\">{{ items | length }}\n",
    );
    let dev = Running::start_for_people(&site, "dev");
    (site, dev)
}

#[test]
fn edited_rows_templates_stylesheets_and_definitions_go_live() {
    let (site, dev) = dev();
    let item = "/items/item-1.html";
    assert_eq!(dev.body(item), "<h1>Item 1</h1>\n");
    let old = asset(&dev.body("/"), "style.css");

    site.sql("UPDATE item SET name = 'Edited' WHERE id = 1");
    until("the row is live", || dev.body(item) == "<h1>Edited</h1>\n");
    site.write("pages/item.html", "<h2>{{ name }}</h2>\n");
    until("the template is live", || dev.body(item) == "<h2>Edited</h2>\n");
    site.write("static/style.css", "h1 { color: blue }\n");
    until("the stylesheet is live", || dev.body("/style.css") == "h1 { color: blue }\n");
    let new = asset(&dev.body("/"), "style.css");
    assert_ne!(old, new);
    assert_eq!((&*dev.body(&old), &*dev.body(&new)), ("h1 { color: red }\n", "h1 { color: blue }\n"));
    site.write("static/new/robots.txt", "none\n");
    until("the new file is live", || dev.client().get("/new/robots.txt").status == 200);
    site.edit("site.toml", "/items/{slug}.json", "/rows/{slug}.json");
    site.edit("site.toml", "[origin]", "[publish]\nguard = 1\n\n[origin]");
    until("the definition is live", || dev.client().get("/rows/item-1.json").status == 200);
    assert_eq!(dev.client().get("/items/item-1.json").status, 404);
    assert_eq!(dev.stop().code(), Some(0));
}

#[test]
fn what_is_broken_is_reported_and_leaves_the_old_pages_live_until_it_is_mended() {
    let (site, dev) = dev();
    let item = "/items/item-1.html";
    for (file, broken, reported) in [
        ("pages/item.html", "<h1>{{ nmae }}</h1>\n", "did you mean `name`?"),
        ("pages/item.html", "<h1>{% if %}</h1>\n", "pages/item.html:1: "),
        ("site.toml", "[site]\nname = 5\n", "site.toml:2: "),
    ] {
        let mended = site.read(file);
        site.write(file, broken);
        until("it is reported", || dev.stderr().contains(reported));
        assert_eq!(dev.body(item), "<h1>Item 1</h1>\n");
        site.write(file, &mended);
    }
    site.sql("INSERT INTO item VALUES (7, 'a/b', 'x'); UPDATE item SET name = 'Other' WHERE id = 1");
    until("the row is reported", || dev.stderr().contains("column `slug` contains `/`"));
    until("the rest is live", || dev.body(item) == "<h1>Other</h1>\n");
    site.sql("DELETE FROM item WHERE id = 7");
    site.write("pages/item.html", "<b>{{ name }}</b>\n");
    until("the mended template is live", || dev.body(item) == "<b>Other</b>\n");
    assert_eq!(dev.stop().code(), Some(0));
}

#[test]
fn folders_and_files_that_are_replaced_are_watched_on() {
    let (site, dev) = dev();
    let item = "/items/item-1.html";
    // As editors and version control do it: the new file, or folder, is moved into the old one's place.
    site.write("pages/new~", "<h2>{{ name }}</h2>\n");
    std::fs::rename(site.path("pages/new~"), site.path("pages/item.html")).expect("it can be moved");
    until("the moved file is live", || dev.body(item) == "<h2>Item 1</h2>\n");
    std::fs::rename(site.path("pages"), site.path("old")).expect("it can be moved");
    for (name, body) in crate::support::files(&site.path("old")) {
        site.write(&format!("pages/{name}"), std::str::from_utf8(&body).expect("templates are text"));
    }
    site.write("pages/item.html", "<h3>{{ name }}</h3>\n");
    until("the new folder is live", || dev.body(item) == "<h3>Item 1</h3>\n");
    site.write("pages/item.html", "<h4>{{ name }}</h4>\n");
    until("the new folder is watched", || dev.body(item) == "<h4>Item 1</h4>\n");
    // A backup moved into the database's place.
    site.sql(&format!("VACUUM INTO '{}'", site.path("backup.db").display()));
    site.sql_file("backup.db", "UPDATE item SET name = 'Restored' WHERE id = 1");
    // What was written ahead belongs to the old file.
    for suffix in ["wal", "shm"] {
        let _ = std::fs::remove_file(site.path(&format!("site.db-{suffix}")));
    }
    std::fs::rename(site.path("backup.db"), site.path("site.db")).expect("it can be moved");
    until("the backup is live", || dev.body(item) == "<h4>Restored</h4>\n");
    site.sql("UPDATE item SET name = 'Edited' WHERE id = 1");
    until("an edit of it is live", || dev.body(item) == "<h4>Edited</h4>\n");
    assert_eq!(dev.stop().code(), Some(0));
}

#[test]
fn a_site_that_is_broken_from_the_start_goes_live_once_it_is_mended() {
    let site = Site::small(1);
    site.write("pages/item.html", "{% if %}");
    let dev = Running::start_silent(&site, "dev");
    until("it is reported", || dev.stderr().contains("until that is mended"));
    assert!(dev.stderr().contains("pages/item.html:1: "), "{}", dev.stderr());
    let stderr = dev.stderr();
    let address =
        stderr.split("http://").nth(1).and_then(|rest| rest.split('/').next()).expect("it says where");
    let status = |path: &str| crate::support::Client::open(address).get(path).status;
    assert_eq!(status("/items/item-1.html"), 503);
    site.write("pages/item.html", "{{ name }}");
    until("it is live", || status("/items/item-1.html") == 200);
    assert_eq!(dev.stop().code(), Some(0));
}
