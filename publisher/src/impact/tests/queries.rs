//! Which precision queries get, and the shape of the SQL.

use std::collections::BTreeSet;

use super::super::{Impact, Touched};
use super::world::{catalog, facts, one, table};

#[test]
fn an_occurrence_stands_for_its_images() {
    let catalog = catalog(&["product(id name brand_id)", "brand(id name)"], &[]);
    let own = "SELECT p.id, b.name FROM product p LEFT JOIN brand b ON b.id = p.brand_id \
               WHERE b.name <> 'x' AND p.name > 'a' ORDER BY 1";
    let facts = facts(catalog, &[(own, &["id", "name"], &["product", "brand"])]);
    let impact = Impact::new(&one(own, "/{id}.json", ""), &facts);
    let touched = impact.touched(0, &BTreeSet::new(), &BTreeSet::from([table("brand")]), &|_, _| {
        "SELECT id, name FROM changed".to_owned()
    });
    let Touched::Asked { doubts, keys } = touched else { panic!("{touched:?}") };
    assert_eq!(doubts, []);
    assert_eq!(
        keys,
        ["SELECT DISTINCT p.id AS k1 FROM product p INNER JOIN (SELECT id, name FROM changed) AS \"b\" \
          ON b.id = p.brand_id WHERE (p.name > 'a')"]
    );
}
