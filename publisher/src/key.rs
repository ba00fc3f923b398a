//! Keys: the columns of a row that stand in the paths of its documents.
//!
//! Owns which columns those are, and how rows are told apart by them: by the texts that a path shows, never
//! by what the database calls equal.

use std::borrow::Cow;

use edgepress_site::definition::{Collection, Document, PAGE};
use edgepress_site::documents::Maker;
use edgepress_site::row::{Row, Value};
use edgepress_site::version::Version;

use crate::scope::Key;

/// The key columns of a collection.
#[derive(Debug, Clone)]
pub(crate) struct KeyColumns {
    /// All of them, each once, in the order in which the documents name them.
    pub(crate) columns: Vec<String>,
    /// Its documents, put together where they show the same columns.
    pub(crate) groups: Vec<Group>,
}

/// Documents that show the same columns: two rows with these equal would make the same documents.
#[derive(Debug, Clone)]
pub(crate) struct Group {
    /// Positions in [`KeyColumns::columns`], ascending.
    pub(crate) columns: Vec<usize>,
    /// Documents, by index.
    pub(crate) documents: Vec<usize>,
}

/// The columns that stand in the paths of one document.
fn columns_of(document: &Document) -> impl Iterator<Item = &str> {
    let pages = document.pages.as_ref();
    let first = pages.and_then(|pages| pages.first.as_ref());
    let columns = std::iter::once(&document.path).chain(first).flat_map(|pattern| pattern.columns());
    columns.filter(move |column| pages.is_none() || *column != PAGE)
}

impl KeyColumns {
    pub(crate) fn of(collection: &Collection) -> Self {
        let mut keys = Self { columns: Vec::new(), groups: Vec::new() };
        for (number, document) in collection.documents.iter().enumerate() {
            let mut columns = Vec::new();
            for column in columns_of(document) {
                let position = keys.columns.iter().position(|own| own == column).unwrap_or_else(|| {
                    keys.columns.push(column.to_owned());
                    keys.columns.len() - 1
                });
                columns.push(position);
            }
            columns.sort_unstable();
            columns.dedup();
            match keys.groups.iter_mut().find(|group| group.columns == columns) {
                Some(group) => group.documents.push(number),
                None => keys.groups.push(Group { columns, documents: vec![number] }),
            }
        }
        keys
    }

    /// A row's key.
    pub(crate) fn of_row(&self, row: &Row) -> Key {
        self.columns.iter().map(|column| row.get(column).cloned().unwrap_or(Value::Null)).collect()
    }

    /// The text that a key has for a column.
    pub(crate) fn text<'k>(&self, key: &'k [Value], column: &str) -> Option<Cow<'k, str>> {
        key.get(self.columns.iter().position(|own| own == column)?)?.path_text()
    }

    /// Whether a key can say which documents of a group of its collection (by number) are its own: each has
    /// a path, and owns it.
    pub(crate) fn has_paths(&self, maker: &Maker, collection: usize, group: &Group, key: &[Value]) -> bool {
        let defined = &maker.definition().site.collections[collection];
        group.documents.iter().all(|document| {
            let first = defined.documents[*document].pages.as_ref().map(|_| 1);
            maker.path((collection, *document), first, |column| self.text(key, column)).is_some()
        })
    }

    /// The names of a group's columns.
    pub(crate) fn names(&self, group: &Group) -> Vec<&str> {
        group.columns.iter().map(|position| self.columns[*position].as_str()).collect()
    }
}

impl Group {
    /// The part of a key that this group shows.
    pub(crate) fn part(&self, key: &[Value]) -> Key {
        self.columns.iter().map(|position| key[*position].clone()).collect()
    }

    /// A hash that two keys share if they make the same documents; nothing for a key that makes none.
    pub(crate) fn digest(&self, number: usize, key: &[Value]) -> Option<Version> {
        let mut bytes = number.to_le_bytes().to_vec();
        for position in &self.columns {
            let text = key[*position].path_text()?;
            bytes.extend((text.len() as u64).to_le_bytes());
            bytes.extend(text.as_bytes());
        }
        Some(Version::of(&bytes))
    }
}

/// All keys that show the same texts as `key`, itself the first: numbers as text, and text as numbers.
pub(crate) fn twins(key: &[Value]) -> Vec<Key> {
    let other = |value: &Value| match value {
        Value::Int(number) => Some(Value::Text(number.to_string().into())),
        Value::Text(text) => {
            let number = text.parse().ok().filter(|number: &i64| number.to_string() == **text);
            number.map(Value::Int)
        }
        _ => None,
    };
    key.iter().fold(vec![Vec::with_capacity(key.len())], |keys, value| {
        let forms = std::iter::once(value.clone()).chain(other(value));
        let with =
            |form: Value| keys.iter().map(move |key: &Key| [key, std::slice::from_ref(&form)].concat());
        forms.flat_map(with).collect()
    })
}

/// Whether two keys show the same texts.
pub(crate) fn same_texts(a: &[Value], b: &[Value]) -> bool {
    a.len() == b.len()
        && a.iter().zip(b).all(|(a, b)| a.path_text().is_some() && a.path_text() == b.path_text())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_and_the_text_of_its_digits_are_twins() {
        let text = |text: &str| Value::Text(text.into());
        assert_eq!(twins(&[text("03"), Value::Null]), [[text("03"), Value::Null]]);
        assert_eq!(twins(&[Value::Int(-3)]), [[Value::Int(-3)], [text("-3")]]);
        let both = [text("3"), Value::Int(4)];
        let all = twins(&both);
        assert_eq!(all[0], both);
        assert_eq!(all.len(), 4);
        assert!(all.iter().all(|key| same_texts(key, &both)));
        assert!(all.contains(&vec![Value::Int(3), text("4")]));
    }
}
