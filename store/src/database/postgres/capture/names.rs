//! What is called how in our schema.

/// Our schema. Not `edgepress`: that is a likely role, and what lies in the schema of a role's name is found
/// and made first by that role.
pub(in super::super) const SCHEMA: &str = "edgepress_capture";

/// Where we stand: one row.
pub(super) const STATE: &str = "edgepress_capture.state";
/// Who publishes from here.
pub(super) const CONSUMER: &str = "edgepress_capture.consumer";
/// Releases that are about to be made current.
pub(super) const INTENT: &str = "edgepress_capture.intent";
/// The captured tables.
pub(super) const SOURCE: &str = "edgepress_capture.source";
/// One row for each statement, or row, that changed something captured.
pub(super) const LOG: &str = "edgepress_capture.log";
/// Numbers everything that is recorded.
pub(super) const CHANGE_ID: &str = "edgepress_capture.change_id";
/// Its last value is the number of the last change that was deleted.
pub(super) const PRUNED_ID: &str = "edgepress_capture.pruned_id";
/// Which tables and sequences must be there.
pub(super) const FIXED: [&str; 7] =
    ["change_id", "consumer", "intent", "log", "pruned_id", "source", "state"];

/// The name, within our schema, of the table that holds the images of a captured table, by its number.
pub(super) fn change_table(id: i64) -> String {
    format!("change_{id}")
}

/// The name, within our schema, of the function that captures a table.
pub(super) fn function(id: i64) -> String {
    format!("capture_{id}")
}

/// A text in SQL.
pub(super) fn literal(text: &str) -> String {
    // Both forms of text mean the same with doubled backslashes and the E.
    if text.contains('\\') {
        format!("E'{}'", text.replace('\\', "\\\\").replace('\'', "''"))
    } else {
        format!("'{}'", text.replace('\'', "''"))
    }
}
