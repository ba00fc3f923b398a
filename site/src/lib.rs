//! The shared language of Edgepress.
//!
//! Owns: the site definition, rows, documents and their versions, paths, rendering, the stored format
//! of releases, cache policy and the rules of conditional requests. Publisher and origin both call it,
//! so what they make of the same rows is equal by construction.
//!
//! Refuses: input and output, the clock, randomness, the environment and any async runtime. Whatever
//! of those is needed comes in as an argument.

pub mod answer;
pub mod conditional;
pub mod definition;
pub mod documents;
pub mod media;
mod nearest;
pub mod path;
pub mod pattern;
pub mod policy;
pub mod problem;
pub mod release;
pub mod render;
pub mod router;
pub mod row;
#[cfg(any(test, feature = "testing"))]
pub mod testing;
pub mod version;
