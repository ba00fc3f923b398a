//! Collections over the test database, of every shape that is followed, and some that are not.

/// One collection.
pub(super) struct Case {
    pub(super) name: &'static str,
    pub(super) query: &'static str,
    pub(super) path: &'static str,
    pub(super) includes: &'static str,
    /// Whether edits of all of its tables are followed to their keys.
    pub(super) is_precise: bool,
}

const fn precise(
    name: &'static str,
    query: &'static str,
    path: &'static str,
    includes: &'static str,
) -> Case {
    Case { name, query, path, includes, is_precise: true }
}

const fn coarse(name: &'static str, query: &'static str, path: &'static str, includes: &'static str) -> Case {
    Case { name, query, path, includes, is_precise: false }
}

/// All of them.
pub(super) const CASES: [Case; 63] = [
    precise("plain", "SELECT id, slug, name FROM product WHERE listed", "/{id}.json", ""),
    precise("star", "SELECT * FROM product", "/{id}.json", ""),
    precise("text key", "SELECT slug, id FROM product WHERE id > 1", "/{slug}.json", ""),
    precise("loose key", "SELECT name, id FROM product", "/{name}.json", ""),
    precise("composite key", "SELECT product_id, name FROM tag", "/{product_id}/{name}.json", ""),
    precise("computed key", "SELECT lower(name) || '-' || id AS path, slug FROM product", "/{path}.json", ""),
    precise("row number", "SELECT rowid AS r, sku, stock FROM variant", "/{r}.json", ""),
    precise(
        "qualified row number",
        "SELECT v.rowid AS r, p.name FROM variant v JOIN product p ON p.id = v.product_id",
        "/{r}.json",
        "",
    ),
    precise("untyped key", "SELECT a, b FROM bag", "/{a}.json", ""),
    precise(
        "quoted names",
        "SELECT [id], `slug`, \"name\" FROM \"product\" AS \"p x\" WHERE \"p x\".[listed] = 1",
        "/{id}.json",
        "",
    ),
    precise(
        "schema",
        "SELECT main.product.id, slug FROM main.product WHERE main.product.listed = 1",
        "/{id}.json",
        "",
    ),
    precise(
        "join",
        "SELECT v.sku, p.name, w.city FROM variant v JOIN product p ON p.id = v.product_id JOIN warehouse w ON w.id = v.warehouse_id",
        "/{sku}.json",
        "",
    ),
    precise(
        "comma join",
        "SELECT p.id, b.name FROM product p, brand b WHERE b.id = p.brand_id AND b.country = 'a'",
        "/{id}.json",
        "",
    ),
    precise(
        "cross join",
        "SELECT p.id, w.id AS wid FROM product p CROSS JOIN warehouse w WHERE w.city = p.slug",
        "/{id}/{wid}.json",
        "",
    ),
    precise(
        "using",
        "SELECT product_id, sku, t.name FROM variant JOIN tag t USING (product_id)",
        "/{product_id}/{sku}.json",
        "",
    ),
    precise(
        "using star",
        "SELECT * FROM variant JOIN tag USING (product_id)",
        "/{product_id}/{sku}.json",
        "",
    ),
    precise(
        "nocase join",
        "SELECT v.sku, b.name FROM variant v JOIN brand b ON b.code = v.brand_code",
        "/{sku}.json",
        "",
    ),
    precise("mixed join", "SELECT p.id, g.b FROM product p JOIN bag g ON g.a = p.slug", "/{id}.json", ""),
    precise(
        "left join",
        "SELECT p.id, b.name FROM product p LEFT JOIN brand b ON b.id = p.brand_id",
        "/{id}.json",
        "",
    ),
    precise(
        "left join without partner",
        "SELECT p.id, p.slug FROM product p LEFT JOIN brand b ON b.id = p.brand_id WHERE b.id IS NULL",
        "/{id}.json",
        "",
    ),
    precise(
        "left join with a filled predicate",
        "SELECT p.id, b.name FROM product p LEFT JOIN brand b ON b.id = p.brand_id AND b.country = 'a' WHERE coalesce(b.name, 'a') = 'a' AND p.listed = 1",
        "/{id}.json",
        "",
    ),
    precise(
        "left join of three",
        "SELECT p.id, b.name, v.sku FROM product p LEFT JOIN brand b ON b.id = p.brand_id LEFT JOIN variant v ON v.brand_code = b.code WHERE v.sku IS NULL OR b.name = 'a'",
        "/{id}.json",
        "",
    ),
    precise(
        "left then inner",
        "SELECT p.id, b.name, v.sku FROM product p LEFT JOIN brand b ON b.id = p.brand_id JOIN variant v ON v.brand_code = b.code",
        "/{id}.json",
        "",
    ),
    precise(
        "nested join",
        "SELECT p.id, v.sku, w.city FROM product p LEFT JOIN (variant v JOIN warehouse w ON w.id = v.warehouse_id) ON v.product_id = p.id",
        "/{id}.json",
        "",
    ),
    precise(
        "right join",
        "SELECT b.id, p.slug FROM product p RIGHT JOIN brand b ON b.id = p.brand_id WHERE p.id IS NULL OR p.listed = 1",
        "/{id}.json",
        "",
    ),
    precise(
        "comma then right join",
        "SELECT b.id, p.slug, w.city FROM warehouse w, product p RIGHT JOIN brand b ON b.id = p.brand_id",
        "/{id}.json",
        "",
    ),
    precise(
        "self-join",
        "SELECT p.id, q.name AS parent FROM product p LEFT JOIN product q ON q.id = p.parent_id",
        "/{id}.json",
        "",
    ),
    precise(
        "self-join of three",
        "SELECT p.id, r.name FROM product p JOIN product q ON q.id = p.parent_id JOIN product r ON r.id = q.parent_id",
        "/{id}.json",
        "",
    ),
    precise("view", "SELECT id, name FROM listed", "/{id}.json", ""),
    precise(
        "view with an outer join",
        "SELECT pid, bname, code FROM branded WHERE code IS NULL OR pid > 2",
        "/{pid}.json",
        "",
    ),
    precise(
        "view of orphans joined",
        "SELECT o.id, v.sku FROM orphan o JOIN variant v ON v.product_id = o.id",
        "/{id}.json",
        "",
    ),
    precise("view of views", "SELECT id, bname, coded FROM labelled WHERE coded <> 'a'", "/{id}.json", ""),
    precise("view of a union", "SELECT id, name FROM everything WHERE id < 4", "/{id}.json", ""),
    precise(
        "view of a union, joined",
        "SELECT e.id, v.sku FROM everything e LEFT JOIN variant v ON v.product_id = e.id WHERE v.sku IS NULL",
        "/{id}.json",
        "",
    ),
    precise(
        "with",
        "WITH l AS (SELECT id, slug FROM product WHERE listed), m AS (SELECT l.id, v.sku FROM l JOIN variant v ON v.product_id = l.id) SELECT m.id, m.sku, l.slug FROM m JOIN l ON l.id = m.id",
        "/{id}.json",
        "",
    ),
    precise(
        "derived",
        "SELECT d.id, d.n FROM (SELECT p.id, b.name AS n FROM product p LEFT JOIN brand b ON b.id = p.brand_id) d WHERE d.n IS NULL",
        "/{id}.json",
        "",
    ),
    precise(
        "derived distinct",
        "SELECT d.product_id, p.name FROM (SELECT DISTINCT product_id FROM variant) d JOIN product p ON p.id = d.product_id",
        "/{product_id}.json",
        "",
    ),
    precise(
        "union all",
        "SELECT id, slug FROM product WHERE listed UNION ALL SELECT w.id, w.city FROM warehouse w JOIN variant v ON v.warehouse_id = w.id",
        "/{id}.json",
        "",
    ),
    precise(
        "union",
        "SELECT product_id, sku FROM variant UNION SELECT id, slug FROM product",
        "/{product_id}.json",
        "",
    ),
    precise(
        "distinct",
        "SELECT DISTINCT v.product_id, w.city FROM variant v JOIN warehouse w ON w.id = v.warehouse_id",
        "/{product_id}.json",
        "",
    ),
    precise(
        "group by",
        "SELECT product_id, count(*) AS n, sum(stock) AS stock FROM variant GROUP BY product_id HAVING count(*) > 1",
        "/{product_id}.json",
        "",
    ),
    precise(
        "group by of a join",
        "SELECT p.id AS pid, w.city, count(v.sku) AS n FROM product p LEFT JOIN variant v ON v.product_id = p.id LEFT JOIN warehouse w ON w.id = v.warehouse_id GROUP BY pid, 2 HAVING max(v.stock) IS NULL OR n > 1",
        "/{pid}.json",
        "",
    ),
    precise(
        "includes",
        "SELECT id, slug FROM product",
        "/{id}.json",
        "[collection.include.variants]\nquery = 'SELECT product_id, sku, stock FROM variant'\non = { product_id = 'id' }\norder_by = 'sku'\nlimit = 2\n[collection.include.brand]\nquery = 'SELECT b.id, b.name, p.brand_id FROM brand b JOIN product p ON p.brand_id = b.id'\non = { brand_id = 'id' }",
    ),
    precise(
        "nested includes",
        "SELECT id, brand_id FROM product WHERE listed",
        "/{id}.json",
        "[collection.include.brand]\nquery = 'SELECT id, code, name FROM brand'\non = { id = 'brand_id' }\n[collection.include.brand.include.variants]\nquery = 'SELECT brand_code, sku, warehouse_id FROM variant'\non = { brand_code = 'code' }\n[collection.include.brand.include.variants.include.house]\nquery = 'SELECT id, name, city FROM warehouse WHERE city IS NOT NULL'\non = { id = 'warehouse_id' }",
    ),
    precise(
        "nocase include",
        "SELECT sku, brand_code FROM variant",
        "/{sku}.json",
        "[collection.include.brand]\nquery = 'SELECT code, name FROM brand'\non = { code = 'brand_code' }",
    ),
    precise(
        "untyped include",
        "SELECT id, slug, name FROM product",
        "/{id}.json",
        "[collection.include.bags]\nquery = 'SELECT a, b, c FROM bag'\non = { a = 'id' }\n[collection.include.more]\nquery = 'SELECT a, b, c FROM bag'\non = { b = 'slug', c = 'name' }",
    ),
    precise(
        "include of a text by a number",
        "SELECT id FROM product",
        "/{id}.json",
        "[collection.include.variants]\nquery = 'SELECT brand_code, sku FROM variant'\non = { brand_code = 'id' }",
    ),
    precise(
        "include of a union",
        "SELECT id, slug FROM product",
        "/{id}.json",
        "[collection.include.all]\nquery = 'SELECT product_id AS pid, sku FROM variant UNION ALL SELECT product_id, name FROM tag'\non = { pid = 'id' }",
    ),
    precise(
        "include of a group",
        "SELECT id, slug FROM product",
        "/{id}.json",
        "[collection.include.stock]\nquery = 'SELECT product_id, sum(stock) AS n FROM variant GROUP BY product_id'\non = { product_id = 'id' }",
    ),
    precise(
        "group with includes",
        "SELECT product_id, count(*) AS n FROM variant GROUP BY product_id",
        "/{product_id}.json",
        "[collection.include.tags]\nquery = 'SELECT product_id, name FROM tag'\non = { product_id = 'product_id' }",
    ),
    precise(
        "whole include",
        "SELECT id, slug FROM product",
        "/{id}.json",
        "[collection.include.cities]\nquery = 'SELECT id, city FROM warehouse WHERE city <> \"\"'\n[collection.include.cities.include.variants]\nquery = 'SELECT warehouse_id, sku FROM variant'\non = { warehouse_id = 'id' }",
    ),
    precise(
        "no query",
        "",
        "/index.json",
        "[collection.include.latest]\nquery = 'SELECT id, slug FROM product WHERE listed ORDER BY id DESC LIMIT 2'\n[collection.include.latest.include.variants]\nquery = 'SELECT product_id, sku FROM variant'\non = { product_id = 'id' }\n[collection.include.count]\nquery = 'SELECT count(*) AS n FROM warehouse'",
    ),
    coarse(
        "subquery in where",
        "SELECT id, slug FROM product p WHERE EXISTS (SELECT 1 FROM variant v WHERE v.product_id = p.id AND v.stock > 1)",
        "/{id}.json",
        "",
    ),
    coarse(
        "subquery in select",
        "SELECT id, (SELECT max(v.stock) FROM variant v WHERE v.product_id = p.id) AS most FROM product p",
        "/{id}.json",
        "",
    ),
    coarse("loose group", "SELECT name, count(*) AS n FROM product GROUP BY name", "/{name}.json", ""),
    coarse(
        "key of an outer join",
        "SELECT b.name AS key, p.slug FROM product p LEFT JOIN brand b ON b.id = p.brand_id",
        "/{key}.json",
        "",
    ),
    coarse(
        "outer condition",
        "SELECT p.id, b.name, v.sku FROM product p LEFT JOIN brand b ON b.id = p.brand_id JOIN variant v ON v.product_id = p.id AND v.sku = coalesce(b.name, 'a')",
        "/{id}.json",
        "",
    ),
    coarse(
        "view of a union of collations, joined",
        "SELECT v.sku, m.id FROM mixed m JOIN variant v ON m.label = v.sku",
        "/{sku}.json",
        "",
    ),
    precise(
        "view of a union, ordered",
        "SELECT m.id, v.sku FROM mixed m JOIN variant v ON m.id = v.product_id WHERE m.label > 'A' AND m.id < v.sku",
        "/{id}.json",
        "",
    ),
    precise(
        "include by an untyped column",
        "SELECT a, c FROM bag",
        "/{a}.json",
        "[collection.include.houses]\nquery = 'SELECT name, city FROM warehouse'\non = { name = 'c' }",
    ),
    precise(
        "include by a column of a union",
        "SELECT id, slug FROM product",
        "/{id}.json",
        "[collection.include.labels]\nquery = 'SELECT m.id, m.label FROM mixed m'\non = { id = 'id' }",
    ),
    coarse(
        "include by collations of a union",
        "SELECT sku, stock FROM variant",
        "/{sku}.json",
        "[collection.include.labels]\nquery = 'SELECT m.id, m.label FROM mixed m'\non = { label = 'sku' }",
    ),
    coarse(
        "include of a union of collations",
        "SELECT sku, stock FROM variant",
        "/{sku}.json",
        "[collection.include.labels]\nquery = 'SELECT id, name FROM product UNION ALL SELECT product_id, name FROM tag'\non = { name = 'sku' }",
    ),
];
