//! A case: everything that one run of the oracle does, as plain data that can be cut down and printed.
//! Refuses to draw and to run.

use std::collections::BTreeMap;
use std::fmt::{self, Write as _};

use edgepress_store::database::capture::Dialect;

/// A schema, a site over it, rows, and what happens to them.
#[derive(Debug, Clone)]
pub(super) struct Case {
    /// Whose SQL it speaks.
    pub(super) dialect: Dialect,
    /// Settings of the connections that edit.
    pub(super) pragmas: Vec<String>,
    pub(super) schema: Vec<String>,
    pub(super) rows: Vec<Statement>,
    pub(super) site: Site,
    pub(super) steps: Vec<Step>,
    /// Takes away the rows that no document can be made of.
    pub(super) mend: Vec<Statement>,
}

/// One SQL statement, cut where rows can be left out.
#[derive(Debug, Clone)]
pub(super) struct Statement {
    pub(super) head: String,
    pub(super) rows: Vec<String>,
    pub(super) tail: String,
}

/// What happens next.
#[derive(Debug, Clone)]
pub(super) enum Step {
    /// A transaction.
    Edit(Transaction),
    /// Two connections take turns, statement by statement, the first one first.
    Both(Transaction, Transaction),
    /// DDL, statement by statement, outside of a transaction.
    Alter(Vec<String>),
    /// Somebody drops one of the triggers that capture edits.
    LoseTrigger(u64),
    /// The definition changes.
    Define(Change),
    /// A publish into one of the buckets.
    Publish(Publish),
    /// A publish while somebody edits, after its snapshot: what the next one makes of that is compared.
    Meanwhile(Transaction, usize),
    /// A transaction that begins, another from its begin to its end, a publish, and only then the end of
    /// the first one.
    Late(Transaction, Transaction, usize),
    /// The publisher of a bucket ends; a new one takes its place.
    Restart(usize),
}

/// Statements between BEGIN and COMMIT or ROLLBACK. Those that fail are passed over, as a client may.
#[derive(Debug, Clone)]
pub(super) struct Transaction {
    pub(super) statements: Vec<Statement>,
    pub(super) commits: bool,
}

/// How a publish is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum How {
    Plain,
    KeepGoing,
    Full,
    /// A dry run, then a plain one.
    DryRun,
    /// The release before is made live again, then the publish resumes.
    RollBack,
    /// A plain one, then everything that is stored is read.
    Verify,
}

/// A publish.
#[derive(Debug, Clone, Copy)]
pub(super) struct Publish {
    pub(super) bucket: usize,
    pub(super) how: How,
}

/// A site.
#[derive(Debug, Clone)]
pub(super) struct Site {
    pub(super) collections: Vec<Collection>,
    pub(super) templates: BTreeMap<String, String>,
}

#[derive(Debug, Clone)]
pub(super) struct Collection {
    pub(super) name: String,
    pub(super) query: Option<String>,
    pub(super) includes: Vec<Include>,
    pub(super) documents: Vec<Document>,
}

#[derive(Debug, Clone)]
pub(super) struct Include {
    pub(super) name: String,
    pub(super) query: String,
    /// Pairs of (column of this query, column of the row around it).
    pub(super) on: Vec<(String, String)>,
    pub(super) order_by: Option<String>,
    pub(super) limit: Option<u64>,
    pub(super) one: bool,
    pub(super) includes: Vec<Self>,
}

#[derive(Debug, Clone)]
pub(super) struct Document {
    pub(super) path: String,
    pub(super) template: Option<String>,
    pub(super) pages: Option<Pages>,
}

#[derive(Debug, Clone)]
pub(super) struct Pages {
    pub(super) of: String,
    pub(super) size: u64,
    pub(super) first: Option<String>,
}

/// A change of the definition; one that names what is not there changes nothing.
#[derive(Debug, Clone)]
pub(super) enum Change {
    /// A template has another text.
    Template(String, String),
    /// A collection is defined anew, or comes.
    Collection(Collection),
    /// A collection goes.
    Remove(String),
    /// A collection makes one more document of each row.
    Document(String, Document),
    /// A collection has another name.
    Rename(String, String),
    /// The first collection becomes the last.
    Turn,
}

impl Transaction {
    /// How it ends; what cannot be committed is rolled back, as every client must.
    pub(super) fn end(&self) -> &'static [&'static str] {
        if self.commits { &["COMMIT", "ROLLBACK"] } else { &["ROLLBACK"] }
    }
}

impl Transaction {
    /// What there is to read of it before its end, and its end.
    fn parts(&self) -> (String, &'static str) {
        let statements = self.statements.iter().map(|statement| format!("{};\n", statement.sql()));
        let begun = std::iter::once("BEGIN;\n".to_owned()).chain(statements).collect();
        (begun, if self.commits { "COMMIT;" } else { "ROLLBACK;" })
    }
}

impl Statement {
    pub(super) fn new(text: impl Into<String>) -> Self {
        Self { head: text.into(), rows: Vec::new(), tail: String::new() }
    }

    pub(super) fn sql(&self) -> String {
        format!("{}{}{}", self.head, self.rows.join(", "), self.tail)
    }
}

impl Site {
    /// Applies a change.
    pub(super) fn change(&mut self, change: &Change) {
        match change {
            Change::Template(name, text) => {
                if let Some(own) = self.templates.get_mut(name) {
                    own.clone_from(text);
                }
            }
            Change::Collection(new) => match self.collections.iter_mut().find(|own| own.name == new.name) {
                Some(own) => own.clone_from(new),
                None => self.collections.push(new.clone()),
            },
            Change::Remove(name) => self.collections.retain(|own| own.name != *name),
            Change::Document(name, document) => {
                let own = self.collections.iter_mut().find(|own| own.name == *name);
                let Some(own) = own else { return };
                let lists: Vec<_> = own.includes.iter().map(|include| &include.name).collect();
                let is_new = own.documents.iter().all(|other| other.path != document.path);
                if is_new && document.pages.as_ref().is_none_or(|pages| lists.contains(&&pages.of)) {
                    own.documents.push(document.clone());
                }
            }
            Change::Rename(from, to) if self.collections.iter().all(|own| own.name != *to) => {
                if let Some(own) = self.collections.iter_mut().find(|own| own.name == *from) {
                    own.name.clone_from(to);
                }
            }
            Change::Rename(..) => {}
            Change::Turn => {
                let by = usize::from(!self.collections.is_empty());
                self.collections.rotate_left(by);
            }
        }
    }

    /// The text of its `site.toml`.
    pub(super) fn toml(&self) -> String {
        let mut toml = "[site]\nname = \"Oracle\"\nurl = \"http://oracle.example\"\n\n[database]\n\
                        url = \"sqlite:site.db\"\n\n[storage]\nurl = \"file:bucket\"\n"
            .to_owned();
        for collection in &self.collections {
            write(&mut toml, format_args!("\n[[collection]]\nname = {}\n", text(&collection.name)));
            if let Some(query) = &collection.query {
                write(&mut toml, format_args!("query = {}\n", text(query)));
            }
            for include in &collection.includes {
                include.write(&mut toml, "  ", "collection.include");
            }
            for document in &collection.documents {
                document.write(&mut toml);
            }
        }
        toml
    }
}

impl Include {
    fn write(&self, toml: &mut String, indent: &str, place: &str) {
        let place = format!("{place}.{}", self.name);
        write(toml, format_args!("{indent}[{place}]\n{indent}query = {}\n", text(&self.query)));
        if !self.on.is_empty() {
            let pairs = self.on.iter().map(|(own, parent)| format!("{own} = {}", text(parent)));
            let pairs = pairs.collect::<Vec<_>>().join(", ");
            write(toml, format_args!("{indent}on = {{ {pairs} }}\n"));
        }
        if let Some(order_by) = &self.order_by {
            write(toml, format_args!("{indent}order_by = {}\n", text(order_by)));
        }
        if let Some(limit) = self.limit {
            write(toml, format_args!("{indent}limit = {limit}\n"));
        }
        if self.one {
            write(toml, format_args!("{indent}one = true\n"));
        }
        for include in &self.includes {
            include.write(toml, &format!("{indent}  "), &format!("{place}.include"));
        }
    }
}

impl Document {
    fn write(&self, toml: &mut String) {
        write(toml, format_args!("  [[collection.document]]\n  path = {}\n", text(&self.path)));
        if let Some(template) = &self.template {
            write(toml, format_args!("  template = {}\n", text(template)));
        }
        if let Some(Pages { of, size, first }) = &self.pages {
            let first = first.as_ref().map_or_else(String::new, |first| format!(", first = {}", text(first)));
            write(toml, format_args!("  pages = {{ of = {}, size = {size}{first} }}\n", text(of)));
        }
    }
}

fn write(to: &mut String, text: fmt::Arguments<'_>) {
    to.write_fmt(text).expect("strings take what is written");
}

/// A text in TOML, which escapes as JSON does.
fn text(text: &str) -> String {
    serde_json::to_string(text).expect("texts are JSON")
}

impl fmt::Display for Case {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "-- site.toml --\n{}", self.site.toml())?;
        for (name, text) in &self.site.templates {
            writeln!(f, "-- pages/{name} --\n{text}")?;
        }
        writeln!(f, "-- schema --")?;
        self.pragmas.iter().chain(&self.schema).try_for_each(|line| writeln!(f, "{line};"))?;
        writeln!(f, "-- rows --")?;
        self.rows.iter().try_for_each(|row| writeln!(f, "{};", row.sql()))?;
        for (number, step) in self.steps.iter().enumerate() {
            writeln!(f, "-- step {number} --\n{step}")?;
        }
        Ok(())
    }
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Edit(edit) => write!(f, "{edit}"),
            Self::Both(one, other) => {
                write!(f, "-- one connection --\n{one}\n-- at the same time --\n{other}")
            }
            Self::Alter(script) => write!(f, "{};", script.join(";\n")),
            Self::LoseTrigger(number) => write!(f, "-- drop capture trigger {number} --"),
            Self::Define(change) => write!(f, "-- change the definition: {change:?} --"),
            Self::Publish(Publish { bucket, how }) => write!(f, "-- publish {how:?} to bucket {bucket} --"),
            Self::Meanwhile(edit, bucket) => write!(f, "-- while publishing to bucket {bucket} --\n{edit}"),
            Self::Late(one, other, bucket) => {
                let (begun, end) = one.parts();
                write!(f, "{begun}-- meanwhile --\n{other}\n-- publish to bucket {bucket} --\n{end}")
            }
            Self::Restart(bucket) => write!(f, "-- restart the publisher of bucket {bucket} --"),
        }
    }
}

impl fmt::Display for Transaction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (begun, end) = self.parts();
        write!(f, "{begun}{end}")
    }
}
