//! `dev`: publish, serve, and publish again whenever rows, templates, static files or `site.toml` change.

use std::path::Path;

use anyhow::Result;
use edgepress_publisher::Options;

use super::serve::{bind, origin, stopped};
use super::watch::{self, Beside};
use crate::cli::{Dev, Format};
use crate::wire::Wired;
use crate::{signals, starter};

pub(crate) async fn dev(options: Dev, site: &Path, format: Format) -> Result<()> {
    let site = match &options.dir {
        Some(dir) => dir.join("site.toml"),
        None => site.to_path_buf(),
    };
    if !site.exists() {
        let dir = site.parent().filter(|dir| !dir.as_os_str().is_empty()).unwrap_or(Path::new("."));
        starter::write(dir)?;
        eprintln!("wrote the starter site into {}", dir.display());
    }
    let wired = Wired::open(&site).await?;
    let settings = wired.source.site.origin.clone();
    let listen = options.listen.map_or_else(|| settings.listen.clone(), |address| address.to_string());
    let public = bind(&listen, "listen").await?;
    let address = format!("http://{}", public.local_addr()?);
    let origin = origin(wired.bucket.clone(), &settings);
    let stop = signals::stop();
    let serving = tokio::spawn(origin.clone().serve(public, None, stopped(stop.clone())));
    let first = Options { keep_going: true, patient: true, ..Options::default() };
    watch::run(wired, Some(Beside { origin, address }), first, &site, format, stop).await?;
    serving.await??;
    Ok(())
}
