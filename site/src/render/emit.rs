//! A template as Tera gets it.
//!
//! Owns writing the insertions that [`super::scan`] found into a template's text. Line numbers stay as
//! they are: nothing inserted contains a line break. Refuses to change anything that a template says:
//! what is inserted passes values through unless a name is undefined or a limit is exceeded.

use std::fmt::Write as _;

use super::scan::{Insert, Scan, What};

/// A template's text with the insertions.
pub(super) struct Emitted {
    pub(super) text: String,
    /// Where each variable path now begins and ends, by the index of its use.
    pub(super) places: Vec<(usize, usize)>,
    /// The uses that have a strict filter, called [`strict_filter`] of `first` plus their index.
    pub(super) strict: Vec<usize>,
}

/// What decides between the forms of a template.
pub(super) struct Plan<'a> {
    /// Whether each unit is rendered into captures.
    pub(super) captured: &'a [bool],
    /// The number of the first use of this template among all templates' uses.
    pub(super) first: usize,
    /// The size of each template.
    pub(super) size: &'a dyn Fn(&str) -> usize,
}

/// The name of the filter that makes one use strict.
pub(super) fn strict_filter(number: usize) -> String {
    format!("__v{number}")
}

/// The name of the function that charges for up to `2^power` bytes of static text.
pub(super) fn text_function(power: u32) -> String {
    format!("__text{power}")
}

/// Powers of two that [`text_function`] is there for.
pub(super) const TEXT_POWERS: std::ops::RangeInclusive<u32> = 0..=31;

fn power_of(bytes: usize) -> u32 {
    bytes.max(1).next_power_of_two().trailing_zeros().min(*TEXT_POWERS.end())
}

/// Writes the insertions of `scan` into `source`.
pub(super) fn emit(source: &str, scan: &Scan, plan: &Plan<'_>) -> Emitted {
    let mut inserts: Vec<&Insert> = scan.inserts.iter().collect();
    inserts.sort_by_key(|insert| insert.at);
    let mut text = String::with_capacity(source.len() + inserts.len() * 16);
    let mut strict = Vec::new();
    // Pairs of (place in the source, place in the text) after each insertion.
    let mut moves = vec![(0, 0)];
    let mut done = 0;
    for insert in inserts {
        let captured = insert.captured || plan.captured[insert.unit];
        if insert.only_captured && !captured {
            continue;
        }
        text.push_str(&source[done..insert.at]);
        done = insert.at;
        write(&mut text, &mut strict, scan, insert, captured, plan);
        moves.push((insert.at, text.len()));
    }
    text.push_str(&source[done..]);
    let moved = |at: usize| {
        let (before, after) = moves[moves.partition_point(|(from, _)| *from <= at) - 1];
        after + (at - before)
    };
    let places = scan.uses.iter().map(|path| (moved(path.start), moved(path.end - 1) + 1)).collect();
    Emitted { text, places, strict }
}

fn write(
    text: &mut String,
    strict: &mut Vec<usize>,
    scan: &Scan,
    insert: &Insert,
    captured: bool,
    plan: &Plan<'_>,
) {
    let written = match &insert.what {
        What::Plain(plain) => {
            text.push_str(plain);
            Ok(())
        }
        What::Strict(index, after) => {
            strict.push(*index);
            write!(text, " | {}{after}", strict_filter(plan.first + index))
        }
        What::Shorthand(index) => {
            strict.push(*index);
            let name = &scan.uses[*index].text;
            write!(text, "={{({name} | {})}}", strict_filter(plan.first + index))
        }
        What::Step(body, dash) => {
            let end = if *dash { "-}}" } else { "}}" };
            match scan.bodies[*body] {
                bytes if captured && bytes > 0 => {
                    write!(text, "{{{{ {}() {end}", text_function(power_of(bytes)))
                }
                _ => write!(text, "{{{{ __step() {end}"),
            }
        }
        What::Include(name, dash) => {
            let start = if *dash { "{{-" } else { "{{" };
            write!(text, "{start} {}() }}}}", text_function(power_of((plan.size)(name))))
        }
    };
    written.expect("writing to a string cannot fail");
}
