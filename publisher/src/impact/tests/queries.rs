//! Which precision queries get, and the shape of the SQL.

use std::collections::BTreeSet;
use std::sync::Arc;

use edgepress_store::database::capture::{Catalog, View};

use super::super::facts::Facts;
use super::super::plan::ordered;
use super::super::{Impact, Touched};
use super::world::{catalog, facts, one, site, table};

fn shop() -> Catalog {
    let tables = [
        "product(id slug name~ brand_id stock)",
        "brand(id code~ name)",
        "variant(sku product_id warehouse_id)",
        "warehouse(id city)",
    ];
    let views = [
        ("listed(id name)", "SELECT id, name FROM product WHERE stock > 0"),
        ("best(id)", "SELECT id FROM product ORDER BY stock LIMIT 3"),
        ("odd(id)", "SELECT id FROM product INDEXED BY nothing"),
    ];
    catalog(&tables, &views)
}

/// Facts for a collection with one query that reads all base tables that its text names.
fn of(query: &str, columns: &[&str]) -> Facts {
    let catalog = shop();
    let views = catalog.views.iter().filter(|(view, _)| query.contains(&view.name));
    let text = views.map(|(_, view)| view.query.clone()).fold(query.to_owned(), |text, view| text + &view);
    let read: Vec<&str> = ["product", "brand", "variant", "warehouse"]
        .into_iter()
        .filter(|name| text.split(|c: char| !c.is_alphanumeric() && c != '_').any(|word| word == *name))
        .collect();
    facts(catalog, &[(query, columns, &read)])
}

fn image(table: &edgepress_store::database::capture::Table, _: &BTreeSet<String>) -> String {
    format!("SELECT * FROM changed_{table}")
}

/// The SQL that gives the keys which a change of `changed` touches.
fn keys(query: &str, columns: &[&str], changed: &[&str]) -> Vec<String> {
    let impact = Impact::new(&one(query, &format!("/{{{}}}.json", columns[0]), ""), &of(query, columns));
    let changed: BTreeSet<_> = changed.iter().map(|name| table(name)).collect();
    match impact.touched(0, &BTreeSet::new(), &changed, &image) {
        Touched::Nothing => Vec::new(),
        Touched::Whole(why) => panic!("{query}: {why}"),
        Touched::Asked { doubts, keys } => {
            assert_eq!(doubts, [], "{query}");
            keys
        }
    }
}

/// Queries with their columns, the table that changed, and the SQL that asks for keys.
const ASKED: [(&[&str], &str, &str, &str); 13] = [
    (
        &["id"],
        "SELECT id FROM product WHERE stock > 0 ORDER BY name",
        "product",
        "SELECT DISTINCT id AS k1 FROM (SELECT * FROM changed_product) AS \"product\" WHERE (stock > 0)",
    ),
    (
        &["id", "name"],
        "SELECT p.id, b.name FROM product p LEFT JOIN brand b ON b.id = p.brand_id \
             WHERE b.name <> 'x' AND p.slug > 'a'",
        "brand",
        "SELECT DISTINCT p.id AS k1 FROM product p INNER JOIN (SELECT * FROM changed_brand) AS \"b\" \
             ON b.id = p.brand_id WHERE (p.slug > 'a')",
    ),
    (
        &["id", "name"],
        "SELECT p.id, b.name FROM product p LEFT JOIN brand b ON b.id = p.brand_id WHERE b.id IS NULL",
        "product",
        "SELECT DISTINCT p.id AS k1 FROM (SELECT * FROM changed_product) AS \"p\" \
             LEFT JOIN brand b ON b.id = p.brand_id",
    ),
    (
        &["id"],
        "SELECT b.id FROM product p RIGHT JOIN brand b ON b.id = p.brand_id",
        "product",
        "SELECT DISTINCT b.id AS k1 FROM (SELECT * FROM changed_product) AS \"p\" \
             INNER JOIN brand b ON b.id = p.brand_id",
    ),
    (
        &["id"],
        "SELECT main.product.id FROM main.product WHERE main.product.stock = 1",
        "product",
        "SELECT DISTINCT product.id AS k1 FROM (SELECT * FROM changed_product) AS \"product\" \
             WHERE (product.stock = 1)",
    ),
    (
        &["name", "id"],
        "SELECT name, id FROM product",
        "product",
        "SELECT name AS k1 FROM (SELECT * FROM changed_product) AS \"product\"",
    ),
    (
        &["id", "n"],
        "SELECT id, count(*) AS n FROM product GROUP BY id HAVING n > 1",
        "product",
        "SELECT DISTINCT id AS k1 FROM (SELECT * FROM changed_product) AS \"product\"",
    ),
    (
        &["id", "sku"],
        "SELECT l.id, v.sku FROM listed l CROSS JOIN variant v WHERE v.product_id = l.id",
        "product",
        "SELECT DISTINCT l.id AS k1 FROM (SELECT id AS \"id\", name AS \"name\" FROM \
             (SELECT * FROM changed_product) AS \"product\" WHERE (stock > 0)) AS \"l\" \
             JOIN variant v WHERE (v.product_id = l.id)",
    ),
    (
        &["id", "sku"],
        "SELECT l.id, v.sku FROM listed l JOIN variant v ON v.product_id = l.id",
        "variant",
        "SELECT DISTINCT l.id AS k1 FROM listed l \
             JOIN (SELECT * FROM changed_variant) AS \"v\" ON v.product_id = l.id",
    ),
    (
        &["id"],
        "WITH l AS (SELECT id FROM product) SELECT l.id FROM l JOIN variant v ON v.product_id = l.id",
        "product",
        "WITH l AS (SELECT id FROM product) SELECT DISTINCT l.id AS k1 FROM \
             (SELECT id AS \"id\" FROM (SELECT * FROM changed_product) AS \"product\") AS \"l\" \
             JOIN variant v ON v.product_id = l.id",
    ),
    (
        &["id"],
        "SELECT id FROM product UNION ALL SELECT product_id FROM variant WHERE sku > 'a'",
        "variant",
        "SELECT DISTINCT product_id AS k1 FROM (SELECT * FROM changed_variant) AS \"variant\" \
             WHERE (sku > 'a')",
    ),
    (
        &["id"],
        "SELECT id FROM product p WHERE stock > 0 AND EXISTS (SELECT 1 FROM variant v WHERE v.product_id = p.id)",
        "product",
        "SELECT DISTINCT id AS k1 FROM (SELECT * FROM changed_product) AS \"p\" WHERE (stock > 0)",
    ),
    (
        &["id", "total"],
        "SELECT id, stock * 2 AS total FROM product WHERE \"total\" > 3 AND date('now') > slug AND id > 1",
        "product",
        "SELECT DISTINCT id AS k1 FROM (SELECT * FROM changed_product) AS \"product\" WHERE (id > 1)",
    ),
];

#[test]
fn an_occurrence_stands_for_its_images() {
    for (columns, query, changed, expected) in ASKED {
        assert_eq!(keys(query, columns, &[changed]), [expected], "{query}");
    }
}

#[test]
fn several_changed_occurrences_are_asked_for_in_every_set() {
    let query = "SELECT p.id FROM product p JOIN variant v ON v.product_id = p.id";
    let sets = |changed: &[&str]| -> Vec<Vec<bool>> {
        let all = keys(query, &["id"], changed);
        all.iter()
            .map(|sql| ["product", "variant"].map(|name| sql.contains(&format!("changed_{name}"))).to_vec())
            .collect()
    };
    assert_eq!(sets(&["variant"]), [[false, true]]);
    assert_eq!(sets(&["product", "variant"]), [[true, false], [false, true], [true, true]]);
    assert!(sets(&["brand"]).is_empty());

    let query = "SELECT a.id FROM product a JOIN product b ON b.id = a.stock JOIN product c ON c.id = b.stock \
                 JOIN product d ON d.id = c.stock";
    assert_eq!(keys(query, &["id"], &["product"]).len(), 15);
    let query = format!("{query} JOIN product e ON e.id = d.stock");
    let impact = Impact::new(&one(&query, "/{id}.json", ""), &of(&query, &["id"]));
    let touched = impact.touched(0, &BTreeSet::new(), &BTreeSet::from([table("product")]), &image);
    let Touched::Asked { doubts, keys } = touched else { panic!("{touched:?}") };
    assert_eq!((doubts.len(), keys.len()), (1, 0));
    assert!(doubts[0].why.contains("changed at once"), "{doubts:?}");
}

/// Why edits are not followed in a collection with this query and the key `id`.
fn why(query: &str, columns: &[&str]) -> Vec<String> {
    let impact = Impact::new(&one(query, "/{id}.json", ""), &of(query, columns));
    let coarse = impact.explain().into_iter().filter(|one| !one.is_precise);
    coarse.map(|one| format!("{}: {}", one.table, one.why.unwrap_or_default())).collect()
}

/// Queries that are not followed, and why.
const REFUSED: [(&str, &str); 36] = [
    ("SELECT id FROM product LIMIT 3", "it has a LIMIT"),
    ("SELECT id FROM product NATURAL JOIN brand", "NATURAL"),
    ("SELECT p.id FROM product p FULL JOIN brand b ON b.id = p.brand_id", "FULL JOIN"),
    ("SELECT id FROM product EXCEPT SELECT id FROM brand", "EXCEPT"),
    ("SELECT id FROM product INTERSECT SELECT id FROM brand", "INTERSECT"),
    ("SELECT p.id FROM product p, json_each(p.name) j", "`json_each(p.name) j` in FROM"),
    ("WITH RECURSIVE r AS (SELECT id FROM product UNION SELECT id FROM r) SELECT id FROM r", "RECURSIVE"),
    ("WITH r AS (SELECT id FROM r2), r2 AS (SELECT id FROM product) SELECT id FROM r", "a later one"),
    ("SELECT id, row_number() OVER (ORDER BY name) AS n FROM product", "window"),
    ("SELECT id, count(*) AS n FROM product", "aggregates"),
    ("SELECT max(id) AS id FROM product GROUP BY slug", "aggregates"),
    ("SELECT id FROM product HAVING count(*) > 1", "HAVING without"),
    ("SELECT id FROM product GROUP BY name", "groups by `name`"),
    ("SELECT id FROM product GROUP BY slug", "does not name its key"),
    ("SELECT id, name FROM product GROUP BY id, lower(slug)", "groups by `lower(slug)`"),
    ("SELECT DISTINCT id, name FROM product", "DISTINCT"),
    ("SELECT id, name FROM product UNION SELECT id, name FROM brand", "UNION without ALL"),
    ("SELECT b.id FROM product p LEFT JOIN brand b ON b.id = p.brand_id", "fills with NULLs"),
    (
        "SELECT coalesce(b.id, 0) AS id FROM product p LEFT JOIN brand b ON b.id = p.brand_id",
        "fills with NULLs",
    ),
    ("SELECT p.id FROM product p RIGHT JOIN brand b ON b.id = p.brand_id", "fills with NULLs"),
    (
        "SELECT p.id FROM product p LEFT JOIN brand b ON b.id = p.brand_id \
             LEFT JOIN warehouse w ON w.city = b.name OR w.id = 1",
        "another outer join",
    ),
    (
        "SELECT p.id FROM product p LEFT JOIN brand b ON b.id = p.brand_id JOIN warehouse w ON w.city <> b.name",
        "another outer join",
    ),
    (
        "SELECT d.id FROM (SELECT p.id, coalesce(b.name, 'a') AS n FROM product p LEFT JOIN brand b \
             ON b.id = p.brand_id) d JOIN warehouse w ON w.city = d.n",
        "another outer join",
    ),
    (
        "SELECT id FROM product p JOIN brand b USING (id) RIGHT JOIN warehouse w USING (id)",
        "RIGHT JOIN beside",
    ),
    ("SELECT d.id FROM (SELECT id FROM product LIMIT 3) d", "LIMIT"),
    ("SELECT d.id FROM (SELECT id, count(*) AS n FROM product GROUP BY id) d", "GROUP BY"),
    ("SELECT id FROM best", "view `best`: it has a LIMIT"),
    ("SELECT id FROM odd", "view"),
    ("SELECT shuffle(id) AS id FROM product", "`shuffle` is not known"),
    ("SELECT id FROM product WHERE random() > 0", "`random` is not known"),
    ("SELECT date('now') AS id FROM product", "clock"),
    ("SELECT (SELECT 1) AS id FROM product", "subquery"),
    ("SELECT 0x10 AS id FROM product", "not understood"),
    ("SELECT id FROM product INDEXED BY i", "not understood"),
    ("SELECT p.id FROM product p JOIN brand b ON b.id = (SELECT 1)", "subquery"),
    ("WITH brand AS (SELECT id FROM product) SELECT id FROM brand b2, listed", "is not known"),
];

#[test]
fn what_is_not_on_the_list_is_coarse() {
    for (query, reason) in REFUSED {
        let width = if query.starts_with("SELECT id, ") || query.contains("DISTINCT id, ") { 2 } else { 1 };
        let why = why(query, &["id", "n2"][..width]);
        assert!(!why.is_empty() && why.iter().all(|why| why.contains(reason)), "{query}: {why:?}");
    }
}

#[test]
fn only_the_table_of_a_subquery_is_coarse() {
    let query =
        "SELECT id FROM product p WHERE id IN (SELECT v.product_id FROM variant v JOIN listed l ON l.id = 1)";
    assert_eq!(
        why(query, &["id"]),
        ["product: it is read in a subquery outside FROM", "variant: it is read in a subquery outside FROM"]
    );
    let query = "SELECT id FROM product p WHERE id IN (SELECT v.product_id FROM variant v)";
    assert_eq!(why(query, &["id"]), ["variant: it is read in a subquery outside FROM"]);
}

#[test]
fn what_the_database_reads_besides_is_coarse() {
    let query = "SELECT id FROM product";
    let facts = facts(shop(), &[(query, &["id"], &["product", "brand"])]);
    let impact = Impact::new(&one(query, "/{id}.json", ""), &facts);
    assert!(impact.explain().iter().all(|one| !one.is_precise));
    assert_eq!(
        impact.reads()[&table("brand")].len(),
        3,
        "all columns of a table that the text does not name"
    );
}

#[test]
fn columns_are_read_by_their_names() {
    for (query, expected) in [
        ("SELECT id FROM product", &[("product", "id")][..]),
        ("SELECT ID, [Slug], `stock` FROM product", &[("product", "id slug stock")]),
        ("SELECT \"id\" FROM product WHERE 'name' = \"slug\"", &[("product", "id slug")]),
        ("SELECT * FROM product", &[("product", "brand_id id name slug stock")]),
        ("SELECT b.* FROM product p, brand b", &[("brand", "code id name"), ("product", "")]),
        ("SELECT count(*) AS id FROM product", &[("product", "")]),
        (
            "SELECT p.id FROM product p JOIN brand b USING (name)",
            &[("brand", "name"), ("product", "id name")],
        ),
        (
            "SELECT p.id FROM product p, brand b WHERE b.code = stock",
            &[("brand", "code"), ("product", "id stock")],
        ),
        (
            "SELECT p.id FROM product p, (SELECT p.name AS id FROM brand p) b",
            &[("brand", "id name"), ("product", "id name")],
        ),
        ("SELECT id * 2 AS id FROM product", &[("product", "id")]),
        (
            "SELECT p.id FROM product p NATURAL JOIN brand",
            &[("brand", "code id name"), ("product", "brand_id id name slug stock")],
        ),
        ("SELECT id FROM listed", &[("product", "id name stock")]),
        ("SELECT p.rowid AS id FROM product p", &[("product", "rowid")]),
        ("SELECT OID AS id FROM product", &[("product", "oid")]),
        ("SELECT id FROM product INDEXED BY i", &[("product", "brand_id id name slug stock")]),
    ] {
        let impact = Impact::new(&one(query, "/{id}.json", ""), &of(query, &["id"]));
        let reads: Vec<(String, String)> = impact
            .reads()
            .iter()
            .map(|(table, columns)| {
                (table.name.clone(), columns.iter().cloned().collect::<Vec<_>>().join(" "))
            })
            .collect();
        let expected: Vec<(String, String)> =
            expected.iter().map(|(table, columns)| ((*table).to_owned(), (*columns).to_owned())).collect();
        assert_eq!(reads, expected, "{query}");
    }
}

#[test]
fn a_view_that_is_not_understood_may_read_any_column() {
    let mut catalog = shop();
    let view = View { query: "SELECT 0x10 AS id FROM brand".to_owned(), columns: vec!["id".to_owned()] };
    catalog.views.insert(table("odd"), view);
    let query = "SELECT v.id, (SELECT count(*) FROM brand) AS n FROM odd v";
    let facts = facts(catalog, &[(query, &["id", "n"], &["brand"])]);
    let impact = Impact::new(&one(query, "/{id}.json", ""), &facts);
    assert!(impact.explain().iter().all(|one| !one.is_precise));
    assert_eq!(impact.reads()[&table("brand")].len(), 3, "not those alone that the text beside it reads");
}

#[test]
fn tables_that_cannot_be_captured_make_their_collections_whole() {
    let query = "SELECT id FROM product JOIN brand USING (id)";
    let mut facts = of(query, &["id"]);
    let mut catalog = (*facts.catalog).clone();
    catalog.tables.get_mut(&table("brand")).unwrap().uncapturable = Some("it is virtual".to_owned());
    facts.catalog = Arc::new(catalog);
    let impact = Impact::new(&one(query, "/{id}.json", ""), &facts);
    assert!(impact.reads().keys().all(|table| table.name == "product"));
    assert_eq!(impact.uncapturable()[&0]["brand"], "it is virtual");
    let touched = impact.touched(0, &BTreeSet::new(), &BTreeSet::new(), &image);
    assert_eq!(touched, Touched::Whole("edits of `brand` cannot be seen: it is virtual".to_owned()));

    let query = "SELECT id FROM product, pragma_table_list";
    let impact = Impact::new(&one(query, "/{id}.json", ""), &of(query, &["id"]));
    assert!(impact.uncapturable()[&0].contains_key("pragma_table_list"));
}

#[test]
fn an_order_may_read_tables() {
    let include = "SELECT id, name FROM brand";
    let order = "(SELECT count(*) FROM product p WHERE p.brand_id = edgepress_q.id)";
    let site = site(&format!(
        "[[collection]]\nname = \"one\"\n[collection.include.brands]\nquery = '''{include}'''\n\
         order_by = '''{order}'''\n[[collection.document]]\npath = \"/index.json\"\n"
    ));
    let facts = facts(
        shop(),
        &[
            (include, &["id", "name"], &["brand"]),
            (&ordered(include, Some(order)), &["id", "name"], &["brand", "product"]),
        ],
    );
    let impact = Impact::new(&site, &facts);
    let coarse: Vec<String> =
        impact.explain().into_iter().filter(|one| !one.is_precise).map(|one| one.table).collect();
    assert_eq!(coarse, ["product"]);
    assert_eq!(impact.reads()[&table("product")], BTreeSet::from(["brand_id".to_owned()]));
}

#[test]
fn whole_tables_and_fingerprints_reach_the_collections_that_read_them() {
    let query = "SELECT id FROM listed";
    let facts = of(query, &["id"]);
    let impact = Impact::new(&one(query, "/{id}.json", ""), &facts);
    let whole = |name: &str| impact.touched(0, &BTreeSet::from([table(name)]), &BTreeSet::new(), &image);
    assert_eq!(whole("product"), Touched::Whole("any row of `product` may have changed".to_owned()));
    assert_eq!(whole("brand"), Touched::Nothing);

    let mut other = (*facts.catalog).clone();
    let fingerprint = |catalog: &Catalog| {
        let facts = Facts { catalog: Arc::new(catalog.clone()), ..facts.clone() };
        Impact::new(&one(query, "/{id}.json", ""), &facts).fingerprint(0).to_owned()
    };
    assert_eq!(fingerprint(&other), impact.fingerprint(0));
    other.tables.get_mut(&table("brand")).unwrap().fingerprint.push('x');
    assert_eq!(fingerprint(&other), impact.fingerprint(0));
    other.views.get_mut(&table("listed")).unwrap().query.push(' ');
    let changed = fingerprint(&other);
    assert_ne!(changed, impact.fingerprint(0));
    other.tables.get_mut(&table("product")).unwrap().fingerprint.push('x');
    assert_ne!(fingerprint(&other), changed);
}

/// What a query does not read of a table may come, go and change: its documents are the same.
#[test]
fn a_fingerprint_follows_the_columns_that_are_read_and_no_others() {
    let before = "product(id brand_id name stock)";
    let fingerprint = |query: &str, table: &str| {
        let catalog = catalog(&[table, "brand(id name)"], &[("every(id)", "SELECT * FROM product")]);
        let columns: &[&str] = if query.starts_with("SELECT *") { &["id", "name"] } else { &["id"] };
        let read =
            ["product", "brand"].into_iter().filter(|name| query.contains(name) || query.contains("every"));
        let facts = facts(catalog, &[(query, columns, &read.collect::<Vec<_>>())]);
        Impact::new(&one(query, "/{id}.json", ""), &facts).fingerprint(0).to_owned()
    };
    for (query, same, other) in [
        ("SELECT id FROM product WHERE name > 'a'", "product(brand_id id name more)", "product(id name~)"),
        ("SELECT id FROM product", "product(id)", "product(id~)"),
        ("SELECT * FROM product", before, "product(id brand_id name stock more)"),
        ("SELECT * FROM product", before, "product(brand_id id name stock)"),
        ("SELECT id FROM every", before, "product(id brand_id name)"),
        (
            "SELECT p.id FROM product p JOIN brand b ON b.id = p.brand_id",
            "product(id x brand_id)",
            "product(id)",
        ),
        // A name that meant another table's column, or a text, means the one that came.
        ("SELECT id, (SELECT more FROM brand) FROM product", "product(id y)", "product(id more)"),
        ("SELECT id FROM product WHERE name = \"more\"", "product(id name)", "product(id name more)"),
    ] {
        assert_eq!(fingerprint(query, before), fingerprint(query, same), "{query}: {same}");
        assert_ne!(fingerprint(query, before), fingerprint(query, other), "{query}: {other}");
    }
}

#[test]
fn a_column_computed_when_it_is_read_makes_its_readers_coarse_and_no_others() {
    let catalog = catalog(&["product(id doc stock sku!)", "brand(id name)"], &[]);
    let queries = [
        "SELECT id, sku FROM product",
        "SELECT id, stock FROM product",
        "SELECT * FROM product",
        "SELECT b.id, b.name FROM brand b JOIN product p ON p.id = b.id WHERE p.sku > 'a'",
    ];
    let all: [&[&str]; 4] =
        [&["id", "sku"], &["id", "stock"], &["id", "doc", "stock", "sku"], &["id", "name"]];
    let told: Vec<(&str, &[&str], &[&str])> = queries
        .iter()
        .zip(all)
        .map(|(query, columns)| {
            let tables: &[&str] = if query.contains("brand") { &["product", "brand"] } else { &["product"] };
            (*query, columns, tables)
        })
        .collect();
    let facts = facts(catalog, &told);
    let collection = |(number, query): (usize, &&str)| {
        format!(
            "[[collection]]\nname = \"c{number}\"\nquery = \"{query}\"\n\
             [[collection.document]]\npath = \"/{number}/{{id}}.json\"\n"
        )
    };
    let impact = Impact::new(&site(&queries.iter().enumerate().map(collection).collect::<String>()), &facts);
    let names = |names: &[&str]| names.iter().map(|&name| name.to_owned()).collect::<BTreeSet<_>>();
    assert_eq!(
        impact.reads()[&table("product")],
        names(&["id", "doc", "stock"]),
        "all that triggers may read"
    );
    let precise: Vec<bool> = impact.explain().iter().map(|precision| precision.is_precise).collect();
    assert_eq!(precise, [false, true, false, true, false]);
    let said = &impact.explain()[0];
    assert!(said.why.as_ref().unwrap().contains("its column `sku` is computed when it is read"), "{said:?}");
    assert_eq!(said.advice.as_deref(), Some("declare it STORED"));
    let changed = BTreeSet::from([table("product")]);
    let asked = |number| impact.touched(number, &BTreeSet::new(), &changed, &image);
    for number in [0, 2, 3] {
        assert!(
            matches!(asked(number), Touched::Asked { doubts, keys } if !doubts.is_empty() && keys.is_empty())
        );
    }
    assert!(matches!(asked(1), Touched::Asked { doubts, keys } if doubts.is_empty() && keys.len() == 1));
}
