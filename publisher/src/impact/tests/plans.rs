//! How SQLite runs the queries: beginning with the images, and from there by indexes.

use std::collections::BTreeSet;

use edgepress_store::database::capture::Table;

use super::super::{Impact, Touched};
use super::real::Real;
use super::world::{catalog, facts, one, table};

/// Some thousand rows, with indexes and statistics that tempt to begin elsewhere.
const SCHEMA: &str = "
    CREATE TABLE item (id INTEGER PRIMARY KEY, slug TEXT, maker_id INTEGER, listed INTEGER);
    CREATE TABLE maker (id INTEGER PRIMARY KEY, name TEXT);
    CREATE TABLE part (sku TEXT PRIMARY KEY, item_id INTEGER, house_id INTEGER);
    CREATE TABLE house (id INTEGER PRIMARY KEY, city TEXT);
    CREATE TABLE changed (id INTEGER PRIMARY KEY, slug TEXT, maker_id INTEGER, listed INTEGER, name TEXT,
        sku TEXT, item_id INTEGER, house_id INTEGER, city TEXT, n INTEGER);
    WITH RECURSIVE n(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM n WHERE n < 4000)
        INSERT INTO item SELECT n, 'item-' || n, n % 200, n % 2 FROM n;
    INSERT INTO maker SELECT id, 'maker-' || id FROM item WHERE id < 200;
    INSERT INTO house SELECT id, 'city-' || id FROM item WHERE id < 50;
    INSERT INTO part SELECT slug || '-' || h.id, i.id, h.id FROM item i JOIN house h ON h.id % 20 = i.id % 20;
    CREATE INDEX item_maker ON item (maker_id);
    CREATE INDEX item_listed ON item (listed);
    CREATE INDEX part_item ON part (item_id);
    CREATE INDEX part_house ON part (house_id);
    ANALYZE;";

const OWN: &str = "SELECT i.id, m.name FROM item i LEFT JOIN maker m ON m.id = i.maker_id WHERE i.listed = 1";
const PARTS: &str = "SELECT p.item_id, p.sku, h.city FROM part p JOIN house h ON h.id = p.house_id";
const FLAT: &str = "SELECT i.id, h.city FROM item i JOIN part p ON p.item_id = i.id \
                    JOIN house h ON h.id = p.house_id WHERE i.listed = 1";

#[tokio::test]
async fn queries_begin_with_the_images_and_go_on_by_indexes() {
    let mut real = Real::new().await;
    real.execute(SCHEMA).await;
    let tables =
        ["item(id slug maker_id listed)", "maker(id name)", "part(sku item_id house_id)", "house(id city)"];
    let all: [(&str, &[&str], &[&str]); 3] = [
        (OWN, &["id", "name"], &["item", "maker"]),
        (PARTS, &["item_id", "sku", "city"], &["part", "house"]),
        (FLAT, &["id", "city"], &["item", "part", "house"]),
    ];
    let facts = facts(catalog(&tables, &[]), &all);
    let parts = format!("[collection.include.parts]\nquery = '''{PARTS}'''\non = {{ item_id = \"id\" }}");
    for site in [one(OWN, "/{id}.json", &parts), one(FLAT, "/{id}.json", "")] {
        let impact = Impact::new(&site, &facts);
        for changed in
            [&["item"][..], &["maker"], &["part"], &["house"], &["house", "part"], &["item", "part", "house"]]
        {
            let changed: BTreeSet<Table> = changed.iter().map(|name| table(name)).collect();
            let image = |_: &Table, columns: &BTreeSet<String>| {
                let columns: Vec<&str> = columns.iter().map(String::as_str).collect();
                format!("SELECT {} FROM changed WHERE id BETWEEN 7 AND 9", columns.join(", "))
            };
            let keys = match impact.touched(0, &BTreeSet::new(), &changed, &image) {
                Touched::Nothing => continue,
                Touched::Asked { doubts, keys } if doubts.is_empty() => keys,
                other => panic!("{other:?}"),
            };
            for key in keys {
                let plan = real.plan(&key).await;
                let scans: Vec<&String> = plan.iter().filter(|step| step.starts_with("SCAN")).collect();
                let is_fine = |step: &&String| step.contains("edgepress_i");
                assert!(scans.iter().all(is_fine), "{key}\n{plan:#?}");
                assert!(!plan.iter().any(|step| step.contains("AUTOMATIC")), "{key}\n{plan:#?}");
            }
        }
    }
}
