//! What is ours in a user's database, by name. Refuses to touch anything else.

/// Which capture this is, and what it lost.
pub(super) const STATE: &str = "edgepress_state";
/// The captured tables.
pub(super) const SOURCE: &str = "edgepress_source";
/// One row for each change, of all tables.
pub(super) const LOG: &str = "edgepress_log";
/// Who publishes from this database.
pub(super) const CONSUMER: &str = "edgepress_consumer";
/// Releases about to be made current.
pub(super) const INTENT: &str = "edgepress_intent";
/// The procedure that adds to the log.
pub(in super::super) const RECORD: &str = "edgepress_record";
/// Images of a table's rows: a number of the captured table follows.
const CHANGE: &str = "edgepress_change_";
/// Triggers: a number of the captured table follows, then what they do.
const TRIGGER: &str = "edgepress_on_";

/// The table with the images of a captured table's rows: the row of change 7 is 14 if it is the old one, 15 if
/// it is the new one.
pub(super) fn change_table(number: i64) -> String {
    format!("{CHANGE}{number}")
}

/// A trigger for a captured table: numbers, since names of triggers have at most 64 characters.
pub(in super::super) fn trigger(number: i64, does: &str) -> String {
    format!("{TRIGGER}{number}_{does}")
}

fn is_numbered(name: &str, prefix: &str) -> bool {
    name.strip_prefix(prefix).is_some_and(|rest| rest.starts_with(|c: char| c.is_ascii_digit()))
}

/// Whether a table of this name is ours.
pub(in super::super) fn is_our_table(name: &str) -> bool {
    [STATE, SOURCE, LOG, CONSUMER, INTENT].contains(&name) || is_numbered(name, CHANGE)
}

/// Whether a trigger of this name is ours.
pub(in super::super) fn is_our_trigger(name: &str) -> bool {
    is_numbered(name, TRIGGER)
}
