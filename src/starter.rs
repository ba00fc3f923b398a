//! The starter site, embedded in the binary, written into a folder.

use std::path::Path;

use anyhow::{Context as _, Result};
use include_dir::{Dir, include_dir};

use crate::failure::WrongUse;

static SHOP: Dir<'_> = include_dir!("$CARGO_MANIFEST_DIR/templates/shop");

/// Writes the starter site into `dir`, which must be absent or empty.
pub(crate) fn write(dir: &Path) -> Result<()> {
    check_new(dir)?;
    create(dir)?;
    SHOP.extract(dir).with_context(|| format!("cannot write the starter site into {}", dir.display()))
}

/// Refuses a folder that holds something.
pub(crate) fn check_new(dir: &Path) -> Result<()> {
    match std::fs::read_dir(dir) {
        Ok(mut entries) => match entries.next() {
            None => Ok(()),
            Some(_) => {
                let dir = dir.display();
                let message = format!("{dir} is not empty: name a new folder, or one that has a site.toml");
                Err(WrongUse(message).into())
            }
        },
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(()),
        Err(error) => {
            Err(error).with_context(|| format!("cannot look into {}: name a new folder", dir.display()))
        }
    }
}

/// Makes the folder of a new site.
pub(crate) fn create(dir: &Path) -> Result<()> {
    let failed = || format!("cannot create {}: name a folder that can be written", dir.display());
    std::fs::create_dir_all(dir).with_context(failed)
}
