//! What one rendering may spend.
//!
//! Owns the count of steps and of bytes made, in a thread-local that lasts for one rendering, and the
//! functions and filters, inserted into every template, that charge it. Refuses clocks: the same
//! template and row always stop at the same place.

use std::cell::{Cell, RefCell};
use std::io;

use tera::{Error, Kwargs, State, Tera, TeraResult, Value};

use super::emit::{TEXT_POWERS, text_function};

/// How much one rendering may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Rounds of loops and calls of components; values and texts that are large cost more than one.
    pub steps: u64,
    /// The size of the document, of any value that the template keeps, and of all that it captures.
    pub bytes: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self { steps: 2_000_000, bytes: 16 * 1024 * 1024 }
    }
}

/// Why a rendering stopped, in words; the template and line come from Tera.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Failure {
    pub(super) message: String,
    pub(super) remedy: String,
    /// The undefined name at top level whose nearest known name is still to be found, with the names
    /// bound around it.
    pub(super) unknown: Option<Unknown>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Unknown {
    pub(super) name: String,
    pub(super) bound: Vec<String>,
    /// Whether it stands in a component, which sees its own arguments only.
    pub(super) in_component: bool,
}

struct Meter {
    limits: Cell<Limits>,
    steps: Cell<u64>,
    made: Cell<usize>,
    /// The largest value seen: what one operation may cost at most, nearly.
    largest: Cell<usize>,
    failure: RefCell<Option<Failure>>,
}

thread_local! {
    static METER: Meter = const {
        Meter {
            limits: Cell::new(Limits { steps: 0, bytes: 0 }),
            steps: Cell::new(0),
            made: Cell::new(0),
            largest: Cell::new(0),
            failure: RefCell::new(None),
        }
    };
}

/// Bytes of a value that cost one step each time they may be worked on.
const BYTES_PER_STEP: usize = 4096;

/// What an element of a list or a map is counted as, beside its text.
const ELEMENT: usize = 32;

/// Lists and maps nest no deeper: everything that walks them is recursive.
const MAX_NESTING: usize = 256;

/// Begins a rendering whose row's longest text has `largest` bytes.
pub(super) fn begin(limits: Limits, largest: usize) {
    METER.with(|meter| {
        meter.limits.set(limits);
        meter.steps.set(0);
        meter.made.set(0);
        meter.largest.set(largest);
        meter.failure.replace(None);
    });
}

/// The reason for which the rendering stopped, if it was one of ours.
pub(super) fn take_failure() -> Option<Failure> {
    METER.with(|meter| meter.failure.take())
}

/// Notes why the rendering stops, and makes it stop.
pub(super) fn fail(failure: Failure) -> Error {
    let error = Error::message(&failure.message);
    METER.with(|meter| meter.failure.replace(Some(failure)));
    error
}

/// Stops the rendering with a message and a remedy.
pub(super) fn stop(message: impl Into<String>, remedy: impl Into<String>) -> Error {
    fail(Failure { message: message.into(), remedy: remedy.into(), unknown: None })
}

/// The limit for one value.
pub(super) fn bytes_limit() -> usize {
    METER.with(|meter| meter.limits.get().bytes)
}

/// Charges steps.
pub(super) fn charge(steps: usize) -> TeraResult<()> {
    METER.with(|meter| {
        let limit = meter.limits.get().steps;
        let spent = meter.steps.get().saturating_add(steps as u64);
        meter.steps.set(spent);
        if spent > limit { Err(too_many_steps(limit)) } else { Ok(()) }
    })
}

fn too_many_steps(limit: u64) -> Error {
    stop(
        format!("the template takes more than {limit} steps"),
        "loop over fewer rows: select them in the query, or split the document into pages",
    )
}

/// Charges one round of a loop or one component.
fn step() -> TeraResult<()> {
    charge(1 + METER.with(|meter| meter.largest.get()) / BYTES_PER_STEP)
}

/// Refuses a value of `size` bytes if that is too large.
pub(super) fn check_size(size: usize) -> TeraResult<()> {
    let limit = bytes_limit();
    if size > limit { Err(too_large(limit)) } else { Ok(()) }
}

fn too_large(limit: usize) -> Error {
    stop(
        format!("a value grows beyond {limit} bytes"),
        "make it smaller, or write it out piece by piece instead of keeping it",
    )
}

/// Charges bytes that are captured or made in a list.
fn make(bytes: usize) -> TeraResult<()> {
    METER.with(|meter| {
        let limit = meter.limits.get().bytes;
        let made = meter.made.get().saturating_add(bytes);
        meter.made.set(made);
        if made <= limit {
            return Ok(());
        }
        Err(stop(
            format!("the template captures more than {limit} bytes"),
            "write the text out instead of capturing it in `set`, `filter`, a list or a component's body",
        ))
    })
}

/// The size of a value as if nothing in it were shared, or an error once it is too large.
pub(super) fn measure(value: &Value) -> TeraResult<usize> {
    let limit = bytes_limit();
    let mut left = limit;
    match walk(value, &mut left, MAX_NESTING) {
        Walk::Done => Ok(limit - left),
        Walk::TooLarge => Err(too_large(limit)),
        Walk::TooDeep => Err(stop(
            format!("a value nests deeper than {MAX_NESTING} lists or maps"),
            "keep its parts in one flat list",
        )),
    }
}

enum Walk {
    Done,
    TooLarge,
    TooDeep,
}

fn walk(value: &Value, left: &mut usize, nesting: usize) -> Walk {
    if let Some(text) = value.as_str() {
        return take(left, text.len());
    }
    if let Some(elements) = value.as_array() {
        return walk_all(elements.iter().map(|element| (0, element)), left, nesting);
    }
    if let Some(map) = value.as_map() {
        let entries = map.iter().map(|(key, value)| (key.as_str().map_or(0, str::len), value));
        return walk_all(entries, left, nesting);
    }
    Walk::Done
}

fn walk_all<'v>(
    elements: impl Iterator<Item = (usize, &'v Value)>,
    left: &mut usize,
    nesting: usize,
) -> Walk {
    let Some(nesting) = nesting.checked_sub(1) else {
        return Walk::TooDeep;
    };
    for (key, element) in elements {
        match take(left, ELEMENT + key) {
            Walk::Done => {}
            stopped => return stopped,
        }
        match walk(element, left, nesting) {
            Walk::Done => {}
            stopped => return stopped,
        }
    }
    Walk::Done
}

fn take(left: &mut usize, bytes: usize) -> Walk {
    match left.checked_sub(bytes) {
        Some(rest) => {
            *left = rest;
            Walk::Done
        }
        None => Walk::TooLarge,
    }
}

/// Measures a value that is kept.
fn bounded(value: &Value, _: Kwargs, _: &State<'_>) -> TeraResult<Value> {
    let size = measure(value)?;
    METER.with(|meter| meter.largest.set(meter.largest.get().max(size)));
    charge(size / BYTES_PER_STEP)?;
    Ok(value.clone())
}

/// Charges for what is written into a capture.
fn out(value: &Value, _: Kwargs, _: &State<'_>) -> TeraResult<Value> {
    make(ELEMENT + measure(value)?)?;
    Ok(value.clone())
}

/// Counts one element of a list made by `[… for …]`.
fn made(value: &Value, kwargs: Kwargs, state: &State<'_>) -> TeraResult<Value> {
    step()?;
    out(value, kwargs, state)
}

/// Counts one element that `[… for … if …]` looks at.
fn tick(value: &Value, _: Kwargs, _: &State<'_>) -> TeraResult<Value> {
    step()?;
    Ok(value.clone())
}

/// Registers what the insertions call.
pub(super) fn register(tera: &mut Tera) {
    tera.register_filter("__bounded", bounded);
    tera.register_filter("__out", out);
    tera.register_filter("__made", made);
    tera.register_filter("__tick", tick);
    tera.register_function("__step", |_: Kwargs, _: &State<'_>| step().map(|()| Value::none()));
    for power in TEXT_POWERS {
        tera.register_function(text_function(power), move |_: Kwargs, _: &State<'_>| {
            step()?;
            make(1_usize << power)?;
            Ok::<_, Error>(Value::none())
        });
    }
}

/// A document being written: refuses to grow beyond the limit.
pub(super) struct Output {
    bytes: Vec<u8>,
    limit: usize,
}

impl Output {
    pub(super) fn new(limit: usize, capacity: usize) -> Self {
        Self { bytes: Vec::with_capacity(capacity.min(limit)), limit }
    }

    pub(super) fn into_bytes(self) -> Vec<u8> {
        self.bytes
    }
}

impl io::Write for Output {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.write_all(bytes).map(|()| bytes.len())
    }

    fn write_all(&mut self, bytes: &[u8]) -> io::Result<()> {
        if bytes.len() > self.limit - self.bytes.len() {
            return Err(io::Error::new(io::ErrorKind::FileTooLarge, document_too_large(self.limit).message));
        }
        self.bytes.extend_from_slice(bytes);
        Ok(())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// What is said of a document that [`Output`] refused.
pub(super) fn document_too_large(limit: usize) -> Failure {
    Failure {
        message: format!("the document grows beyond {limit} bytes"),
        remedy: "split it into pages, or select fewer rows or columns".to_owned(),
        unknown: None,
    }
}
