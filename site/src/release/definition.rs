//! What a release was made with: the site's definition, its templates and static files. An origin needs
//! nothing else of the site to answer as the publisher would. Holds no secrets and no local paths.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::codec::Malformed;
use crate::definition::Definition;
use crate::version::{Digest, Version};

/// The renderer's version. A release made by another one is rendered anew, whatever did not change in
/// the site: raise it with every change of what the same rows and templates give.
pub const RENDERER: u32 = 1;

/// The collection that static files form; no collection of a site can have this name.
pub const STATIC: &str = "static";

/// What a release was made with.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ReleaseDefinition {
    /// [`RENDERER`] of the publisher.
    pub renderer: u32,
    /// The site's definition.
    pub site: Definition,
    /// Templates: name to text.
    pub templates: BTreeMap<String, String>,
    /// Static files: path to version.
    pub static_files: BTreeMap<String, Version>,
}

impl ReleaseDefinition {
    /// Its content, and the hash that names it.
    ///
    /// # Panics
    /// Never: definitions always print as JSON.
    #[must_use]
    pub fn encode(&self) -> (Digest, Vec<u8>) {
        let content = serde_json::to_vec(self).expect("definitions always print as JSON");
        (Digest::of(&content), content)
    }

    /// Reads it, and checks that it is the one called `hash`.
    ///
    /// # Errors
    /// It is another one, or of a later format.
    pub fn decode(content: &[u8], hash: Digest) -> Result<Self, Malformed> {
        if Digest::of(content) != hash {
            return Err(Malformed("a definition is not the one that was named"));
        }
        serde_json::from_slice(content)
            .map_err(|_| Malformed("a definition is of a form this version of edgepress does not know"))
    }
}
