//! What is ours in a user's database, by name. Refuses to touch anything else.

/// Which capture this is, and what it lost.
pub(in super::super) const STATE: &str = "edgepress_state";
/// The captured tables.
pub(in super::super) const SOURCE: &str = "edgepress_source";
/// One row for each change, of all tables.
pub(in super::super) const LOG: &str = "edgepress_log";
/// Who publishes from this database.
pub(in super::super) const CONSUMER: &str = "edgepress_consumer";
/// Releases about to be made current.
pub(in super::super) const INTENT: &str = "edgepress_intent";
/// Images of a table's rows: the table's name follows.
const CHANGE: &str = "edgepress_change_";

/// The triggers on a captured table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Trigger {
    Insert,
    Delete,
    Update,
    /// Before an insert that may remove other rows.
    Replace,
    /// Before an update that may remove other rows.
    Displace,
}

impl Trigger {
    pub(super) const ALL: [Self; 5] =
        [Self::Insert, Self::Delete, Self::Update, Self::Replace, Self::Displace];

    const fn prefix(self) -> &'static str {
        match self {
            Self::Insert => "edgepress_insert_",
            Self::Delete => "edgepress_delete_",
            Self::Update => "edgepress_update_",
            Self::Replace => "edgepress_replace_",
            Self::Displace => "edgepress_displace_",
        }
    }

    /// The name of this trigger on `table`.
    pub(super) fn on(self, table: &str) -> String {
        format!("{}{table}", self.prefix())
    }
}

/// The table with the images of `table`'s rows.
pub(super) fn change_table(table: &str) -> String {
    format!("{CHANGE}{table}")
}

/// Whether a table of this name is ours.
pub(in super::super) fn is_our_table(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    [STATE, SOURCE, LOG, CONSUMER, INTENT].contains(&name.as_str()) || name.starts_with(CHANGE)
}

/// Whether a trigger of this name is ours.
pub(in super::super) fn is_our_trigger(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    Trigger::ALL.iter().any(|trigger| name.starts_with(trigger.prefix()))
}
