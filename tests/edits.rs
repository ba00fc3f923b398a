//! Whatever edits led there, the release depends on the final rows alone: published one after the other
//! they give the same root as one publish of the final rows into an empty bucket.

use crate::history::assert_whole;
use crate::support::{Random, Site, live, tool};

/// Sequences of edits.
const CASES: u64 = 100;

/// Publishes in a sequence.
const PUBLISHES: u64 = 4;

const SITE: &str = r#"[site]
name = "Edits"
url = "http://edits.example"
templates = "pages"

[database]
url = "sqlite:site.db"
schema = "schema.sql"

[storage]
url = "file:bucket"

[publish]
guard = 1

[[collection]]
name = "product"
query = """
  SELECT p.slug, p.name, p.price, b.name AS brand FROM product p LEFT JOIN brand b ON b.slug = p.brand
  WHERE p.listed = 1"""
  [collection.include.variants]
  query = "SELECT product, sku, stock FROM variant"
  on = { product = "slug" }
  order_by = "stock DESC"
  limit = 2
  [[collection.document]]
  path = "/p/{slug}.json"
  [[collection.document]]
  path = "/p/{slug}.html"
  template = "product.html"

[[collection]]
name = "brand"
query = "SELECT slug, name FROM brand"
  [collection.include.products]
  query = "SELECT brand, slug, name FROM product WHERE listed = 1"
  on = { brand = "slug" }
  [[collection.document]]
  path = "/b/{slug}/{page}.html"
  template = "brand.html"
  pages = { of = "products", size = 3, first = "/b/{slug}.html" }

[[collection]]
name = "home"
  [collection.include.count]
  query = "SELECT count(*) AS products, sum(stock) AS stock FROM product LEFT JOIN variant ON product = slug"
  one = true
  [[collection.document]]
  path = "/index.json"
"#;

pub(crate) const SCHEMA: &str = "
CREATE TABLE brand (slug TEXT PRIMARY KEY, name TEXT);
CREATE TABLE product (slug TEXT PRIMARY KEY, name TEXT, price INTEGER, brand TEXT, listed INTEGER);
CREATE TABLE variant (sku TEXT PRIMARY KEY, product TEXT, stock INTEGER);
";

pub(crate) fn site(schema: &str) -> Site {
    let site = Site::empty();
    site.write("site.toml", SITE);
    site.write("schema.sql", schema);
    site.write("pages/product.html", "<h1>{{ name }}</h1>{{ price }} {{ brand | json }}{% for v in variants %} {{ v.sku }}:{{ v.stock }}{% endfor %}\n");
    site.write("pages/brand.html", "<h1>{{ name }} {{ page.number }}/{{ page.count }}</h1>{% for p in products %}<a href=\"/p/{{ p.slug }}.html\">{{ p.name }}</a>{% endfor %}\n");
    site
}

/// One edit of a few rows, often of rows that are not there.
pub(crate) fn edit(random: &mut Random) -> String {
    let product = format!("'p{}'", random.below(12));
    let brand = format!("'b{}'", random.below(4));
    let sku = format!("'s{}'", random.below(20));
    let number = random.below(5);
    match random.below(12) {
        0..=2 => format!(
            "INSERT OR REPLACE INTO product VALUES ({product}, 'Product {number}', {number}, {brand}, {})",
            number.min(1)
        ),
        3 => format!("INSERT OR IGNORE INTO brand VALUES ({brand}, 'Brand {number}')"),
        4 | 5 => format!("INSERT OR REPLACE INTO variant VALUES ({sku}, {product}, {number})"),
        6 => format!("UPDATE product SET price = price + {number}, brand = {brand} WHERE slug = {product}"),
        7 => format!("UPDATE OR REPLACE product SET slug = 'p{}' WHERE slug = {product}", random.below(12)),
        8 => format!("UPDATE brand SET name = 'Brand {number}' WHERE slug = {brand}"),
        9 => format!("UPDATE variant SET stock = {number}, product = {product} WHERE sku = {sku}"),
        10 => format!("DELETE FROM product WHERE slug = {product}"),
        _ => format!("DELETE FROM brand WHERE slug = {brand}; DELETE FROM variant WHERE sku = {sku}"),
    }
}

/// Publishes a sequence of edits one after the other, then its final rows into an empty bucket.
fn check(seed: u64) {
    let mut random = Random(seed);
    let grown = site(SCHEMA);
    grown.sql_new("SELECT 1");
    for _ in 0..PUBLISHES {
        let edits: Vec<String> = (0..=random.below(8)).map(|_| edit(&mut random)).collect();
        grown.sql(&format!("BEGIN; {}; COMMIT", edits.join("; ")));
        grown.json("publish");
    }
    assert_whole(&grown);
    let rows =
        tool(std::process::Command::new("sqlite3").arg(grown.path("site.db")).arg(".dump --data-only"));
    let rows = String::from_utf8(rows.stdout).expect("the rows are text");
    let is_own = |line: &&str| !line.contains("INTO edgepress_") && !line.contains("INTO sqlite_sequence");
    let mut rows: Vec<&str> = rows.lines().filter(is_own).collect();
    rows.reverse();
    let fresh = site(&format!("{SCHEMA}{}", rows.join("\n")));
    fresh.json("publish");
    let (grown, fresh) = (live(&grown.bucket()), live(&fresh.bucket()));
    assert_eq!(grown.documents, fresh.documents, "seed {seed}");
    assert_eq!(grown.root, fresh.root, "seed {seed}");
}

#[test]
fn any_sequence_of_edits_gives_the_same_root_as_its_final_rows_alone() {
    let next = std::sync::atomic::AtomicU64::new(1);
    std::thread::scope(|scope| {
        let work = || {
            loop {
                let seed = next.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
                if seed > CASES {
                    return;
                }
                println!("seed {seed}");
                check(seed);
            }
        };
        for _ in 0..2 {
            scope.spawn(work);
        }
    });
}
