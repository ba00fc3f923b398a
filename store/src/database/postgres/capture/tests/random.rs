use std::collections::BTreeMap;

use super::*;

/// A small generator, so that a failure comes again.
struct Random(u64);

impl Random {
    fn below(&mut self, end: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % end
    }

    fn edit(&mut self, table: &str) -> String {
        // No key is unique, so that no transaction waits for another's.
        let (id, other, value) = (self.below(12), self.below(12), self.below(3));
        let name = ["NULL", "''", "'a'", "'A'"][usize::try_from(self.below(4)).unwrap()];
        match self.below(5) {
            0 | 1 => format!("INSERT INTO {table} VALUES ({id}, {name}, {value}), ({other}, 'b', {value})"),
            2 => format!(
                "UPDATE {table} SET id = {other}, name = {name} WHERE ctid = ANY (ARRAY(SELECT ctid FROM {table} WHERE id = {id} LIMIT 3 FOR UPDATE SKIP LOCKED))"
            ),
            3 => format!(
                "UPDATE {table} SET n = {value} / 2.0 WHERE ctid = ANY (ARRAY(SELECT ctid FROM {table} LIMIT 5 FOR UPDATE SKIP LOCKED))"
            ),
            _ => format!(
                "DELETE FROM {table} WHERE ctid = ANY (ARRAY(SELECT ctid FROM {table} WHERE id = {id} FOR UPDATE SKIP LOCKED))"
            ),
        }
    }
}

type Contents = BTreeMap<String, i64>;

/// By table and columns.
type Moment = BTreeMap<(usize, usize), Contents>;

const TABLES: [&str; 3] = ["plain", "tree", "even"];

const COLUMNS: [&[&str]; 4] = [&["id", "n", "name"], &["name"], &["id"], &["n"]];

/// How often each content of these columns is there, as the snapshot sees it.
async fn contents(snapshot: &mut dyn crate::database::Snapshot, table: &str, columns: &[&str]) -> Contents {
    let query = format!("SELECT {} FROM {table}", columns.join(", "));
    let mut contents = Contents::new();
    for row in crate::database::conformance::read(snapshot, &query, None).await.unwrap() {
        *contents.entry(format!("{row:?}")).or_default() += 1;
    }
    contents
}

async fn moment(snapshot: &mut dyn crate::database::Snapshot) -> Moment {
    let mut now = Moment::new();
    for (place, table) in TABLES.iter().enumerate() {
        for (number, columns) in COLUMNS.iter().enumerate() {
            now.insert((place, number), contents(snapshot, table, columns).await);
        }
    }
    now
}

/// The images since then are exactly what differs.
async fn compare(snapshot: &mut dyn crate::database::Snapshot, since: &Seen, then: &Moment, now: &Moment) {
    let changes = snapshot.changes(since).await.unwrap();
    assert!(changes.everything.is_none() && changes.whole.is_empty(), "{changes:?}");
    for (&(place, number), now) in now {
        let then = &then[&(place, number)];
        let all: BTreeSet<&String> = then.keys().chain(now.keys()).collect();
        let differ = all.into_iter().filter(|content| then.get(*content) != now.get(*content));
        let expected: Vec<&String> = differ.collect();
        let mut found = Vec::new();
        if let Some((_, images)) = changes.tables.iter().find(|(table, _)| table.name == TABLES[place]) {
            let names = COLUMNS[number].iter().map(|&name| name.to_owned()).collect();
            let source = images.source(&names);
            let query = format!("SELECT {} FROM ({source}) q", COLUMNS[number].join(", "));
            let Keys::All(keys) = snapshot.keys(&query, 10_000).await.unwrap() else { panic!("too many") };
            found.extend(keys.into_iter().map(|key| format!("{key:?}")));
        }
        found.sort();
        assert!(found.iter().eq(expected.iter().copied()), "{}: {found:?} {expected:?}", TABLES[place]);
    }
}

/// Writers overlap, and end their transactions late or take them back; what lies between two snapshots is
/// exactly what differs between their rows.
#[tokio::test(flavor = "multi_thread")]
async fn images_are_what_differs_between_two_snapshots() {
    let (url, database, one) = database(
        "CREATE TABLE plain (id int, name text, n numeric);
         CREATE TABLE tree (id int, name text, n numeric) PARTITION BY LIST (id);
         CREATE TABLE even PARTITION OF tree FOR VALUES IN (0, 2, 4, 6, 8, 10);
         CREATE TABLE rest PARTITION OF tree DEFAULT",
    )
    .await;
    install(&database, &TABLES.map(|table| (table, COLUMNS[0]))).await;
    let writers = [one, Other::open(&url).await, Other::open(&url).await];
    let mut is_open = [false; 3];
    let mut random = Random(7);
    let mut moments: Vec<(Seen, Moment)> = Vec::new();
    for step in 0..400 {
        let writer = usize::try_from(random.below(3)).unwrap();
        let table = TABLES[usize::try_from(random.below(2)).unwrap()];
        let edit = random.edit(table);
        let script = match (random.below(6), is_open[writer]) {
            (0, false) => "BEGIN".to_owned(),
            (0 | 1, true) => "COMMIT".to_owned(),
            (2, true) => "ROLLBACK".to_owned(),
            (3, true) => format!("SAVEPOINT s; {edit}; ROLLBACK TO s"),
            _ => edit,
        };
        is_open[writer] =
            script == "BEGIN" || (is_open[writer] && script != "COMMIT" && script != "ROLLBACK");
        writers[writer].execute(&script).await;
        if step % 7 != 0 {
            continue;
        }
        let mut snapshot = database.snapshot().await.unwrap();
        let now = moment(&mut *snapshot).await;
        for (since, then) in moments.iter().rev().take(3) {
            compare(&mut *snapshot, since, then, &now).await;
        }
        let seen = snapshot.seen().await.unwrap().unwrap();
        moments.push((seen, now));
        if random.below(3) == 0 {
            // What the consumer has seen is pruned; later moments are still compared.
            moments.drain(..moments.len().saturating_sub(2));
            let intent = Intent { number: 1, seen: moments[0].0.clone(), state: String::new() };
            database.consume("me", &intent).await.unwrap();
            database.prune(1_000_000).await.unwrap();
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn installers_at_once_do_not_disturb_each_other() {
    let (url, database, other) =
        database("CREATE TABLE t (id int, a int, b int, c int); CREATE TABLE u (id int, a int)").await;
    let t = table(&database, "t").await;
    let u = table(&database, "u").await;
    let mut installing = Vec::new();
    for column in ["a", "b", "c"] {
        let reads: Reads =
            [(t.clone(), [column.to_owned()].into()), (u.clone(), ["id".to_owned()].into())].into();
        let database = Postgres::open(&url).await.unwrap();
        installing.push(tokio::spawn(async move { database.install(column, &reads).await }));
    }
    for installing in installing {
        installing.await.unwrap().unwrap();
    }
    let status = database.status().await.unwrap();
    assert_eq!(status.consumers.len(), 3);
    let captured: Vec<usize> = status.tables.iter().map(|table| table.columns.len()).collect();
    assert_eq!(captured, [3, 1]);
    assert!(status.tables.iter().all(|table| table.problem.is_none()), "{status:?}");
    let since = seen(&database).await;
    other.execute("INSERT INTO t VALUES (1, 2, 3, 4)").await;
    assert_eq!(images(&database, &since, "t", &["b"]).await, ints(&[3]));
}
