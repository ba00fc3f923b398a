//! After any edits, every key whose documents differ is among those that are touched.

use std::collections::{BTreeMap, BTreeSet};

use edgepress_site::definition::Definition;

use super::super::Impact;
use super::super::wrong::{self, Mistake};
use super::arbitrary;
use super::cases::CASES;
use super::real::{Images, Random, Real, TABLES};
use super::world::one;
use crate::key::KeyColumns;

type Documents = BTreeMap<String, Vec<String>>;

/// One site, followed through the edits.
struct Followed {
    name: String,
    site: Definition,
    impact: Impact,
    documents: Documents,
    /// Keys that differed, and keys that were said to be touched.
    differed: usize,
    touched: usize,
}

/// What a run found: misses, and how many keys differed and were touched.
#[derive(Default)]
struct Found {
    misses: Vec<String>,
    differed: usize,
}

fn value(random: &mut Random, column: &str) -> String {
    let numbers = ["1", "2", "3", "4", "5", "6", "NULL"];
    let texts = ["'a'", "'A'", "'b'", "'B'", "''", "NULL", "'1'"];
    let any = ["1", "1.0", "'1'", "'a'", "NULL", "x'61'", "'A'", "2", "2.5"];
    let all: &[&str] = match column {
        "id" | "brand_id" | "parent_id" | "product_id" | "warehouse_id" | "stock" => &numbers,
        "listed" => &["0", "1", "1", "NULL"],
        "a" | "b" | "c" => &any,
        _ => &texts,
    };
    random.of(all).to_owned()
}

/// A statement that edits some table.
fn edit(random: &mut Random) -> String {
    // Some tables are read by more sites than others.
    let table = &TABLES[[0, 0, 0, 0, 1, 1, 2, 2, 2, 3, 3, 4, 5][random.below(13)]];
    let name = table.name;
    let columns: Vec<&str> = table.columns.iter().map(|(name, _)| *name).collect();
    let column = random.of(&columns);
    let is = if random.once(3) {
        let chosen = random.of(&columns);
        format!("{chosen} IS {}", value(random, chosen))
    } else {
        let row = if name == "tag" { "(product_id, name)" } else { "rowid" };
        let number = random.below(8);
        let list = row.trim_matches(['(', ')']);
        format!("{row} = (SELECT {list} FROM {name} LIMIT 1 OFFSET {number})")
    };
    match random.below(8) {
        0..=2 => {
            let values: Vec<String> = columns.iter().map(|column| value(random, column)).collect();
            let or = random.of(&["IGNORE", "REPLACE"]);
            format!("INSERT OR {or} INTO {name} VALUES ({});", values.join(", "))
        }
        3..=6 => format!("UPDATE OR REPLACE {name} SET {column} = {} WHERE {is};", value(random, column)),
        _ => format!("DELETE FROM {name} WHERE {is};"),
    }
}

async fn fill(real: &mut Real, random: &mut Random) {
    for _ in 0..150 {
        let script = edit(random);
        if script.starts_with("INSERT") {
            real.attempt(&script.replace("OR REPLACE", "OR IGNORE")).await;
        }
    }
}

async fn follow(real: &mut Real, sites: Vec<(String, Definition)>) -> Vec<Followed> {
    let mut all = Vec::new();
    for (name, site) in sites {
        let facts = real.facts(&site).await;
        let impact = Impact::new(&site, &facts);
        all.push(Followed { name, impact, site, documents: BTreeMap::new(), differed: 0, touched: 0 });
    }
    all
}

/// Edits the database `rounds` times and compares what is touched with what differs.
async fn run(
    real: &mut Real,
    random: &mut Random,
    all: &mut [Followed],
    rounds: usize,
    images: Images,
) -> Found {
    let mut found = Found::default();
    if images == Images::Captured {
        real.capture(all.iter().map(|followed| followed.impact.reads())).await;
    }
    for followed in &mut *all {
        followed.documents = real.documents(&followed.site).await;
    }
    for _ in 0..rounds {
        real.begin().await;
        let edits: Vec<String> = (0..1 + random.below(5)).map(|_| edit(random)).collect();
        for edit in &edits {
            real.attempt(edit).await;
        }
        let changed = real.end(images).await;
        for followed in &mut *all {
            let now = real.documents(&followed.site).await;
            let differ = differ(&followed.documents, &now);
            let touched = real.touched(&followed.impact, &changed).await;
            followed.differed += differ.len();
            found.differed += differ.len();
            if let Some(touched) = &touched {
                followed.touched += touched.len();
                let has_keys = !KeyColumns::of(&followed.site.collections[0]).columns.is_empty();
                let missed: Vec<&String> = if has_keys {
                    differ.difference(touched).collect()
                } else {
                    differ.iter().filter(|_| touched.is_empty()).collect()
                };
                if !missed.is_empty() {
                    found.misses.push(format!("{}: {missed:?} after {}", followed.name, edits.join(" ")));
                }
            }
            followed.documents = now;
        }
    }
    found
}

fn differ(before: &Documents, after: &Documents) -> BTreeSet<String> {
    let keys: BTreeSet<&String> = before.keys().chain(after.keys()).collect();
    keys.into_iter().filter(|key| before.get(*key) != after.get(*key)).cloned().collect()
}

fn sites() -> Vec<(String, Definition)> {
    let site = |case: &super::cases::Case| (case.name.to_owned(), one(case.query, case.path, case.includes));
    CASES.iter().map(site).collect()
}

/// A number that the environment may set: longer runs find rarer mistakes.
fn number(variable: &str, usual: usize) -> usize {
    std::env::var(variable).ok().and_then(|number| number.parse().ok()).unwrap_or(usual)
}

/// How many rounds of edits, or databases, there are.
fn rounds(usual: usize) -> usize {
    number("EDGEPRESS_IMPACT_ROUNDS", usual)
}

/// Cases that show everything they read of one table.
const EXACT: [&str; 7] =
    ["plain", "star", "text key", "composite key", "untyped key", "quoted names", "schema"];

#[tokio::test]
async fn every_key_that_differs_is_touched() {
    let mut real = Real::new().await;
    let mut random = Random(1);
    fill(&mut real, &mut random).await;
    let mut all = follow(&mut real, sites()).await;
    for (followed, case) in all.iter().zip(&CASES) {
        let coarse: Vec<_> = followed.impact.explain().into_iter().filter(|one| !one.is_precise).collect();
        assert_eq!(coarse.is_empty(), case.is_precise, "{}: {coarse:#?}", case.name);
    }
    for images in [Images::All, Images::Captured] {
        let found = run(&mut real, &mut random, &mut all, rounds(30), images).await;
        assert!(found.misses.is_empty(), "{images:?}: {}", found.misses.join("\n"));
        assert!(found.differed > 500, "{}", found.differed);
        for Followed { name, differed, touched, .. } in &all {
            println!("{images:?}, {name}: {differed} keys differed, {touched} were touched");
            // Where images are nothing but what differs in the end, plain queries touch nothing else.
            if images == Images::All && EXACT.contains(&&**name) {
                assert_eq!(differed, touched, "{name}");
            }
        }
    }
}

#[tokio::test]
async fn every_key_of_arbitrary_queries_is_touched() {
    let (mut precise, mut coarse, mut differed) = (0, 0, 0);
    let first = number("EDGEPRESS_IMPACT_SEED", 0);
    for seed in first..first + rounds(12) {
        let mut real = Real::new().await;
        let mut random = Random(seed as u64 * 7919 + 3);
        fill(&mut real, &mut random).await;
        let mut sites = Vec::new();
        while sites.len() < 25 {
            let (query, path, includes) = arbitrary::collection(&mut random);
            let site = one(&query, &path, &includes);
            if !real.runs(&site).await {
                continue;
            }
            let explained = Impact::new(&site, &real.facts(&site).await).explain();
            let is_precise = explained.iter().all(|one| one.is_precise);
            if is_precise || random.once(8) {
                *(if is_precise { &mut precise } else { &mut coarse }) += 1;
                sites.push((format!("{query}\n{includes}"), site));
            }
        }
        let mut all = follow(&mut real, sites).await;
        let images = if seed % 2 == 0 { Images::All } else { Images::Captured };
        let found = run(&mut real, &mut random, &mut all, 8, images).await;
        assert!(found.misses.is_empty(), "seed {seed}: {}", found.misses.join("\n"));
        differed += found.differed;
    }
    println!("{precise} precise, {coarse} coarse, {differed} keys differed");
    assert!(precise > coarse / 2, "{precise} queries were followed, {coarse} were not");
}

/// Whether a mistake is found in one of these cases.
async fn is_found(mistake: Option<Mistake>, images: Images, cases: &[&str]) -> bool {
    let mut real = Real::new().await;
    let mut random = Random(2);
    fill(&mut real, &mut random).await;
    wrong::make(mistake);
    let sites = sites().into_iter().filter(|(name, _)| cases.contains(&&**name)).collect();
    let mut all = follow(&mut real, sites).await;
    wrong::make(None);
    assert_eq!(all.len(), cases.len());
    let mut is_found = false;
    for _ in 0..200 {
        wrong::make(mistake);
        is_found = !run(&mut real, &mut random, &mut all, 3, images).await.misses.is_empty();
        wrong::make(None);
        if is_found {
            break;
        }
    }
    is_found
}

#[tokio::test]
async fn mistakes_are_found() {
    assert!(is_found(None, Images::Old, &["plain"]).await, "without new images keys must be missed");
    assert!(is_found(None, Images::New, &["plain"]).await, "without old images keys must be missed");
    for (mistake, cases) in [
        (Mistake::KeepPredicates, &["left join without partner"][..]),
        (Mistake::KeepPredicates, &["left join with a filled predicate"]),
        (Mistake::NoProducts, &["join", "using"]),
        (Mistake::NullKeys, &["key of an outer join"]),
        (Mistake::Bytes, &["loose group"]),
        (Mistake::AnyOn, &["outer condition"]),
        (Mistake::Affinity, &["include by an untyped column"]),
        (Mistake::Unions, &["view of a union of collations, joined"]),
        (Mistake::Unions, &["include by collations of a union"]),
        (Mistake::Subqueries, &["subquery in where"]),
        (Mistake::Subqueries, &["subquery in select"]),
    ] {
        assert!(is_found(Some(mistake), Images::All, cases).await, "{mistake:?} must miss keys of {cases:?}");
    }
}

const SHOP: &str = "
    INSERT INTO brand VALUES (1, 'a', 'one', 'x'), (2, 'b', 'two', 'x');
    INSERT INTO product (id, slug, name, brand_id, parent_id, listed) VALUES
        (1, 's1', 'n1', 1, NULL, 1), (2, 's2', 'n2', 1, 1, 1), (3, 's3', 'n3', 2, 1, 1), (4, 's4', 'n4', 7, 2, 0);
    INSERT INTO warehouse VALUES (1, 'w1', 'c1'), (2, 'w2', 'c2');
    INSERT INTO variant VALUES
        ('a', 1, 1, 1, 'a'), ('b', 1, 2, 2, 'B'), ('c', 2, 1, 3, 'B'), ('d', 3, 1, 4, NULL);";

/// Cases, an edit, and the keys that it touches.
const EDITS: [(&str, &str, &[&str]); 17] = [
    ("plain", "UPDATE product SET slug = 'x' WHERE id = 1", &["Int(1)"]),
    ("plain", "UPDATE product SET slug = 'x' WHERE id = 4", &[]),
    ("plain", "UPDATE product SET brand_id = 2 WHERE id = 1", &[]),
    ("text key", "UPDATE product SET slug = 'x' WHERE id = 2", &["Text(\"s2\")", "Text(\"x\")"]),
    ("join", "UPDATE warehouse SET city = 'x' WHERE id = 2", &["Text(\"b\")"]),
    ("join", "UPDATE warehouse SET name = 'x' WHERE id = 2", &[]),
    ("join", "DELETE FROM product WHERE id = 1", &["Text(\"a\")", "Text(\"b\")"]),
    ("join", "UPDATE variant SET sku = 'z' WHERE sku = 'd'", &["Text(\"d\")", "Text(\"z\")"]),
    ("left join", "UPDATE brand SET name = 'x' WHERE id = 1", &["Int(1)", "Int(2)"]),
    ("left join", "INSERT INTO brand VALUES (7, 'c', 'new', 'x')", &["Int(4)"]),
    ("left join", "DELETE FROM brand WHERE id = 2", &["Int(3)"]),
    ("self-join", "UPDATE product SET name = 'x' WHERE id = 2", &["Int(2)", "Int(4)"]),
    ("view of orphans joined", "INSERT INTO brand VALUES (8, 'c', 'new', 'x')", &[]),
    ("group by", "UPDATE variant SET stock = 9 WHERE sku = 'b'", &["Int(1)"]),
    ("includes", "UPDATE variant SET stock = 9 WHERE sku = 'd'", &["Int(3)"]),
    ("nested includes", "UPDATE warehouse SET city = 'x' WHERE id = 2", &[]),
    ("nested includes", "UPDATE warehouse SET city = 'x' WHERE id = 1", &["Int(1)", "Int(2)"]),
];

#[tokio::test]
async fn an_edit_touches_its_keys_and_no_others() {
    for images in [Images::All, Images::Captured] {
        let mut real = Real::new().await;
        let mut all = follow(&mut real, sites()).await;
        real.capture(all.iter().map(|followed| followed.impact.reads())).await;
        for (name, edit, expected) in EDITS {
            let tables: Vec<String> =
                TABLES.iter().map(|table| format!("DELETE FROM {};", table.name)).collect();
            real.execute(&format!("{}{SHOP}", tables.concat())).await;
            real.begin().await;
            real.execute(edit).await;
            let changed = real.end(images).await;
            let followed = all.iter_mut().find(|followed| followed.name == name).unwrap();
            let touched = real.touched(&followed.impact, &changed).await;
            let expected: BTreeSet<String> = expected.iter().map(|key| format!("[{key}]")).collect();
            assert_eq!(touched, Some(expected), "{images:?}, {name}: {edit}");
        }
    }
}
