//! The starter site, embedded in the binary, written into a folder.

use std::path::Path;

use anyhow::{Context as _, Result};
use include_dir::{Dir, include_dir};

use crate::failure::WrongUse;

static SHOP: Dir<'_> = include_dir!("$CARGO_MANIFEST_DIR/templates/shop");

/// Writes the starter site into `dir`, which must be absent or empty.
pub(crate) fn write(dir: &Path) -> Result<()> {
    match std::fs::read_dir(dir) {
        Ok(mut entries) => {
            if entries.next().is_some() {
                let dir = dir.display();
                let message = format!("{dir} is not empty: name a new folder, or one that has a site.toml");
                return Err(WrongUse(message).into());
            }
        }
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
        Err(error) => return Err(error).with_context(|| format!("cannot look into {}", dir.display())),
    }
    std::fs::create_dir_all(dir).with_context(|| format!("cannot create {}", dir.display()))?;
    SHOP.extract(dir).with_context(|| format!("cannot write the starter site into {}", dir.display()))
}
