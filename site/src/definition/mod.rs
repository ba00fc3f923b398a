//! The site definition: what `site.toml` says, checked.
//!
//! Owns the model and its reading from text. Refuses to read files or the environment: the text and
//! the variables come in as arguments.

mod model;

pub use model::*;
