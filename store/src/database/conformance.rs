//! What every database must do, as plain functions over the trait: each adapter's tests run them all.
//!
//! The SQL is what all of them understand. Each function keeps to tables of its own. They panic where
//! the database fails.

pub mod capture;

use async_trait::async_trait;
use edgepress_site::row::{Row, Value};
use futures_util::StreamExt as _;

use super::{Database, DatabaseError, IncludeQuery, Order, Snapshot};

/// Somebody else who writes to the same database, over a connection of their own.
#[async_trait]
pub trait Writer: Send + Sync {
    /// Runs one or more statements, each committed when this returns.
    async fn execute(&self, script: &str);
}

/// Runs every function of this suite.
pub async fn all(database: &dyn Database, writer: &dyn Writer) {
    a_snapshot_is_one_moment(database, writer).await;
    the_data_version_follows_commits(database, writer).await;
    columns_are_known_without_rows(database, writer).await;
    rows_come_in_the_order_asked_for(database, writer).await;
    many_rows_come_in_bounded_batches(database, writer).await;
    included_rows_come_to_their_parents(database, writer).await;
    keys_of_several_columns_match_as_one(database, writer).await;
    a_limit_holds_for_each_parent(database, writer).await;
    ties_do_not_depend_on_insertion_order(database, writer).await;
    more_parents_than_parameters_are_asked_for(database, writer).await;
    only_one_select_is_a_query(database, writer).await;
    wrong_queries_get_the_databases_own_message(database).await;
}

/// All rows of a query.
///
/// # Errors
/// The first failure.
pub async fn read(
    snapshot: &mut dyn Snapshot,
    query: &str,
    order_by: Option<&str>,
) -> Result<Vec<Vec<Value>>, DatabaseError> {
    let order = order_by.map_or(Order::Any, Order::By);
    let mut rows = snapshot.rows(query, order).await?;
    let mut all = Vec::new();
    while let Some(batch) = rows.batches.next().await {
        all.extend(batch?.into_iter().map(|row| row.values));
    }
    Ok(all)
}

/// An include without order and limit.
#[must_use]
pub fn include<'a>(query: &'a str, on: &'a [&'a str]) -> IncludeQuery<'a> {
    IncludeQuery { query, on, order_by: None, limit: None }
}

/// A text value.
#[must_use]
pub fn text(text: &str) -> Value {
    Value::Text(text.into())
}

async fn snapshot(database: &dyn Database) -> Box<dyn Snapshot> {
    database.snapshot().await.expect("a snapshot can be taken")
}

async fn rows(database: &dyn Database, query: &str, order_by: Option<&str>) -> Vec<Vec<Value>> {
    read(&mut *snapshot(database).await, query, order_by).await.expect("the query is right")
}

async fn included(
    database: &dyn Database,
    include: IncludeQuery<'_>,
    parents: &[Vec<Value>],
) -> Result<Vec<Vec<Vec<Value>>>, DatabaseError> {
    let lists = snapshot(database).await.included(include, parents).await?;
    let values = |list: Vec<Row>| list.into_iter().map(|row| row.values).collect();
    Ok(lists.into_iter().map(values).collect())
}

/// What is committed after the snapshot was taken is not seen in it, even before its first read.
pub async fn a_snapshot_is_one_moment(database: &dyn Database, writer: &dyn Writer) {
    writer.execute("CREATE TABLE moment (id INTEGER PRIMARY KEY); INSERT INTO moment VALUES (1)").await;
    let mut before = snapshot(database).await;
    writer.execute("INSERT INTO moment VALUES (2)").await;
    let query = "SELECT id FROM moment";
    let one = vec![vec![Value::Int(1)]];
    assert_eq!(read(&mut *before, query, None).await.expect("reading works"), one);
    writer.execute("DELETE FROM moment WHERE id = 1").await;
    assert_eq!(read(&mut *before, query, Some("id")).await.expect("reading works"), one);
    let lists =
        before.included(include(query, &["id"]), &[vec![Value::Int(2)]]).await.expect("reading works");
    assert_eq!(lists, [[]]);
    drop(before);
    assert_eq!(rows(database, query, None).await, [[Value::Int(2)]]);
}

/// It stays while nobody commits, and changes when somebody does.
pub async fn the_data_version_follows_commits(database: &dyn Database, writer: &dyn Writer) {
    writer.execute("CREATE TABLE versioned (id INTEGER PRIMARY KEY)").await;
    let version = async || database.data_version().await.expect("the version can be read");
    // Others may commit elsewhere on the same server meanwhile, but not all the time.
    let mut stays = false;
    let mut first = version().await;
    for _ in 0..20 {
        let before = first;
        rows(database, "SELECT id FROM versioned", None).await;
        first = version().await;
        stays = first == before;
        if stays {
            break;
        }
    }
    assert!(stays, "reading changes nothing");
    writer.execute("INSERT INTO versioned VALUES (1)").await;
    assert_ne!(version().await, first);
}

/// Names in the query's order; two of one name are refused, with the remedy.
pub async fn columns_are_known_without_rows(database: &dyn Database, writer: &dyn Writer) {
    writer.execute("CREATE TABLE shape (id INTEGER PRIMARY KEY, name VARCHAR(20), other INTEGER)").await;
    let query =
        "SELECT s.name, s.id AS number, count(*) AS n FROM shape s GROUP BY s.id, s.name; -- none yet";
    let names = ["name", "number", "n"];
    assert!(database.columns(query).await.expect("the query is right").iter().map(|name| &**name).eq(names));
    let mut snapshot = snapshot(database).await;
    for order_by in [None, Some("number")] {
        let order = order_by.map_or(Order::Any, Order::By);
        let rows = snapshot.rows(query, order).await.expect("the query is right");
        assert!(rows.columns.iter().map(|name| &**name).eq(names));
        assert_eq!(rows.batches.count().await, 0);
    }
    let error = database.columns("SELECT a.id, b.id FROM shape a, shape b").await.expect_err("`id` twice");
    assert!(error.to_string().contains("two columns called `id`: give one an alias"), "{error}");
}

/// Ordered by the terms given, then by all columns.
pub async fn rows_come_in_the_order_asked_for(database: &dyn Database, writer: &dyn Writer) {
    writer
        .execute(
            "CREATE TABLE ordered (id INTEGER PRIMARY KEY, name VARCHAR(20), price INTEGER);
             INSERT INTO ordered VALUES (1, 'b', 5), (2, 'a', 7), (3, 'c', 5), (4, 'a', 5)",
        )
        .await;
    let ids = async |order_by: &str| {
        let query = "SELECT id, name, price FROM ordered WHERE id > 0 -- all of them";
        let rows = rows(database, query, Some(order_by)).await;
        rows.into_iter().map(|mut row| row.swap_remove(0)).collect::<Vec<_>>()
    };
    for (order_by, expected) in [
        ("price", [1, 3, 4, 2]),
        ("price DESC", [2, 1, 3, 4]),
        ("name, price DESC -- dear ones first", [2, 4, 1, 3]),
        ("name DESC", [3, 1, 2, 4]),
        ("price * -1, name", [2, 4, 1, 3]),
    ] {
        assert_eq!(ids(order_by).await, expected.map(Value::Int), "{order_by}");
    }
    for order_by in ["2", "name; DELETE FROM ordered", "name) x", "nothing_such", ""] {
        let mut snapshot = snapshot(database).await;
        let result = read(&mut *snapshot, "SELECT id, name FROM ordered", Some(order_by)).await;
        assert!(result.is_err(), "{order_by}");
    }
}

/// Two hundred thousand of them, none lost, in batches that fit in memory; a reader may stop early.
pub async fn many_rows_come_in_bounded_batches(database: &dyn Database, writer: &dyn Writer) {
    writer
        .execute(
            "CREATE TABLE many (id INTEGER PRIMARY KEY, name VARCHAR(40));
             INSERT INTO many WITH RECURSIVE digit(d) AS (SELECT 0 UNION ALL SELECT d + 1 FROM digit WHERE d < 9)
             SELECT a.d + 10*b.d + 100*c.d + 1000*d.d + 10000*e.d + 100000*f.d, 'a name of some length'
             FROM digit a, digit b, digit c, digit d, digit e, digit f WHERE f.d < 2",
        )
        .await;
    let mut snapshot = snapshot(database).await;
    let mut rows =
        snapshot.rows("SELECT id, name FROM many", Order::By("id")).await.expect("the query is right");
    let mut next = 0;
    while let Some(batch) = rows.batches.next().await {
        let batch = batch.expect("reading works");
        assert!(!batch.is_empty() && batch.len() <= 1000, "{} rows", batch.len());
        for row in batch {
            assert_eq!(row.values[0], Value::Int(next));
            next += 1;
        }
    }
    assert_eq!(next, 200_000);
    drop(rows);
    let mut rows = snapshot.rows("SELECT id FROM many", Order::Any).await.expect("the query is right");
    assert!(rows.batches.next().await.is_some());
    drop(rows);
    let count = read(&mut *snapshot, "SELECT count(*) AS n FROM many", None).await.expect("reading goes on");
    assert_eq!(count, [[Value::Int(200_000)]]);
}

/// One list for each parent, in order; empty where nothing matches; NULL matches nothing; parents with
/// one key each get the rows.
pub async fn included_rows_come_to_their_parents(database: &dyn Database, writer: &dyn Writer) {
    writer
        .execute(
            "CREATE TABLE part (id INTEGER PRIMARY KEY, owner INTEGER, name VARCHAR(20));
             INSERT INTO part VALUES (1, 10, 'x'), (2, 20, 'y'), (3, 10, 'a'), (4, NULL, 'n'), (5, 30, 'z')",
        )
        .await;
    let parents =
        [Value::Int(20), Value::Int(10), Value::Null, Value::Int(99), Value::Int(10)].map(|key| vec![key]);
    let query = "SELECT owner, name FROM part; -- of an owner";
    let part = |owner: i64, name: &str| vec![Value::Int(owner), text(name)];
    let by_name = IncludeQuery { order_by: Some("name"), ..include(query, &["owner"]) };
    let lists = included(database, by_name, &parents).await.expect("the query is right");
    let ten = vec![part(10, "a"), part(10, "x")];
    assert_eq!(lists, [vec![part(20, "y")], ten.clone(), vec![], vec![], ten]);
    let down = IncludeQuery { order_by: Some("name DESC"), ..by_name };
    let lists = included(database, down, &parents[1..2]).await.expect("the query is right");
    assert_eq!(lists, [[part(10, "x"), part(10, "a")]]);
    assert_eq!(included(database, by_name, &[]).await.expect("no parents, no rows"), [[[]; 0]; 0]);
    // Queries that the database cannot merge with the parents.
    let grouped = include("SELECT owner, count(*) AS n FROM part GROUP BY owner", &["owner"]);
    let lists = included(database, grouped, &parents[..2]).await.expect("the query is right");
    assert_eq!(lists, [[[Value::Int(20), Value::Int(1)]], [[Value::Int(10), Value::Int(2)]]]);
    let error = included(database, include(query, &["nobody"]), &parents).await.expect_err("no such column");
    assert!(error.to_string().contains("`on` names `nobody`"), "{error}");
    let error =
        included(database, include(query, &["owner", "name"]), &parents).await.expect_err("too few values");
    assert!(error.to_string().contains("2 key values"), "{error}");
}

/// All columns of a key must match, and a NULL among them matches nothing.
pub async fn keys_of_several_columns_match_as_one(database: &dyn Database, writer: &dyn Writer) {
    writer
        .execute(
            "CREATE TABLE cell (x INTEGER, y VARCHAR(10), content VARCHAR(10));
             INSERT INTO cell VALUES (1, 'a', '1a'), (1, 'b', '1b'), (2, 'a', '2a'), (NULL, 'a', 'na'), (2, NULL, '2n')",
        )
        .await;
    let key = |x: Option<i64>, y: Option<&str>| {
        vec![x.map_or(Value::Null, Value::Int), y.map_or(Value::Null, text)]
    };
    let parents = [
        key(Some(1), Some("b")),
        key(Some(2), Some("b")),
        key(None, Some("a")),
        key(Some(2), None),
        key(Some(2), Some("a")),
    ];
    let query = include("SELECT content, y, x FROM cell", &["x", "y"]);
    let lists = included(database, query, &parents).await.expect("the query is right");
    let contents: Vec<Vec<Value>> =
        lists.into_iter().map(|list| list.into_iter().map(|mut row| row.swap_remove(0)).collect()).collect();
    assert_eq!(contents, [vec![text("1b")], vec![], vec![], vec![], vec![text("2a")]]);
}

/// The first rows in order for each parent, not for all of them together.
pub async fn a_limit_holds_for_each_parent(database: &dyn Database, writer: &dyn Writer) {
    writer
        .execute(
            "CREATE TABLE offer (owner INTEGER, price INTEGER);
             INSERT INTO offer VALUES (1, 30), (1, 10), (1, 20), (2, 5), (3, 7), (3, 7), (3, 6)",
        )
        .await;
    let parents = [1, 2, 3, 4].map(|owner| vec![Value::Int(owner)]);
    for (limit, order_by, expected) in [
        (2, "price", vec![vec![10, 20], vec![5], vec![6, 7], vec![]]),
        (1, "price DESC", vec![vec![30], vec![5], vec![7], vec![]]),
        (50, "price", vec![vec![10, 20, 30], vec![5], vec![6, 7, 7], vec![]]),
    ] {
        let query = "SELECT price, owner FROM offer";
        let query = IncludeQuery { query, on: &["owner"], order_by: Some(order_by), limit: Some(limit) };
        let lists = included(database, query, &parents).await.expect("the query is right");
        let price = |row: &Vec<Value>| if let Value::Int(price) = row[0] { price } else { panic!("{row:?}") };
        let prices: Vec<Vec<i64>> = lists.iter().map(|list| list.iter().map(price).collect()).collect();
        assert_eq!(prices, expected, "{limit} by {order_by}");
    }
}

/// The same rows inserted in the reverse order read the same, with and without a limit.
pub async fn ties_do_not_depend_on_insertion_order(database: &dyn Database, writer: &dyn Writer) {
    let rows_of = ["(1, 'a', 3)", "(1, 'A', 1)", "(1, 'a', 1)", "(1, 'B', 2)", "(1, 'b', 2)", "(1, NULL, 0)"];
    let mut forth = rows_of.join(", ");
    writer
        .execute(&format!(
            "CREATE TABLE forth (owner INTEGER, name VARCHAR(9), n INTEGER); INSERT INTO forth VALUES {forth}"
        ))
        .await;
    forth = rows_of.into_iter().rev().collect::<Vec<_>>().join(", ");
    writer
        .execute(&format!(
            "CREATE TABLE back (owner INTEGER, name VARCHAR(9), n INTEGER); INSERT INTO back VALUES {forth}"
        ))
        .await;
    for limit in [None, Some(3), Some(5)] {
        for order_by in [None, Some("owner"), Some("lower(name)"), Some("n / 2 DESC")] {
            let mut lists = Vec::new();
            for table in ["forth", "back"] {
                let query = format!("SELECT name, owner, n FROM {table}");
                let include = IncludeQuery { query: &query, on: &["owner"], order_by, limit };
                lists.push(
                    included(database, include, &[vec![Value::Int(1)]]).await.expect("the query is right"),
                );
            }
            assert_eq!(lists[0], lists[1], "{limit:?} {order_by:?}");
        }
    }
    let forth = rows(database, "SELECT name, owner, n FROM forth", Some("owner")).await;
    assert_eq!(forth, rows(database, "SELECT name, owner, n FROM back", Some("owner")).await);
}

/// Forty thousand parents at once.
pub async fn more_parents_than_parameters_are_asked_for(database: &dyn Database, writer: &dyn Writer) {
    writer
        .execute(
            "CREATE TABLE leaf (id INTEGER PRIMARY KEY, twig INTEGER);
             INSERT INTO leaf VALUES (1, 0), (2, 20000), (3, 39999), (4, 40000)",
        )
        .await;
    let parents: Vec<_> = (0..40_000).map(|twig| vec![Value::Int(twig)]).collect();
    let lists = included(database, include("SELECT id, twig FROM leaf", &["twig"]), &parents).await;
    let lists = lists.expect("the query is right");
    let found: Vec<usize> =
        lists.iter().enumerate().filter(|(_, list)| !list.is_empty()).map(|(n, _)| n).collect();
    assert_eq!((lists.len(), found), (40_000, vec![0, 20_000, 39_999]));
}

/// Several statements, statements that write, and what would break out of a wrapping query.
pub async fn only_one_select_is_a_query(database: &dyn Database, writer: &dyn Writer) {
    writer.execute("CREATE TABLE safe (id INTEGER PRIMARY KEY); INSERT INTO safe VALUES (1)").await;
    for query in [
        "",
        "-- nothing",
        "DELETE FROM safe",
        "INSERT INTO safe VALUES (7) RETURNING id",
        "WITH gone AS (SELECT 1 AS id) DELETE FROM safe WHERE id IN (SELECT id FROM gone)",
        "SELECT id FROM safe; DELETE FROM safe",
        "SELECT id FROM safe) q; DELETE FROM safe; SELECT * FROM (SELECT 1 AS id",
        "SELECT id FROM (safe",
        "DROP TABLE safe",
    ] {
        assert!(database.columns(query).await.is_err(), "columns of {query:?}");
        let mut snapshot = snapshot(database).await;
        for order_by in [None, Some("id")] {
            assert!(read(&mut *snapshot, query, order_by).await.is_err(), "rows of {query:?}");
        }
        let parents = [vec![Value::Int(1)]];
        assert!(snapshot.included(include(query, &["id"]), &parents).await.is_err(), "include of {query:?}");
    }
    for query in
        ["WITH w AS (SELECT id FROM safe) SELECT id FROM w", "SELECT id FROM safe WHERE ';' <> '--' ; ; "]
    {
        assert_eq!(rows(database, query, None).await, [[Value::Int(1)]], "{query}");
        assert_eq!(rows(database, query, Some("id")).await, [[Value::Int(1)]], "{query}");
    }
}

/// The message names what the database complained of.
pub async fn wrong_queries_get_the_databases_own_message(database: &dyn Database) {
    let error = database.columns("SELECT id FROM no_such_table").await.expect_err("there is no such table");
    assert!(error.to_string().contains("no_such_table"), "{error}");
    let mut snapshot = snapshot(database).await;
    let error =
        read(&mut *snapshot, "SELECT no_such_column", None).await.expect_err("there is no such column");
    assert!(error.to_string().contains("no_such_column"), "{error}");
}
