//! `serve`: the origin, until it is told to stop.

use std::path::Path;
use std::sync::Arc;

use anyhow::{Context as _, Result};
use edgepress_origin::{Origin, Settings};
use edgepress_site::definition;
use edgepress_store::bucket::Bucket;
use edgepress_store::release::Releases;
use serde_json::json;
use tokio::net::TcpListener;
use tokio::sync::watch;

use crate::cli::Format;
use crate::wire::{self, Wired};
use crate::{output, signals};

pub(crate) async fn serve(site: &Path, format: Format) -> Result<()> {
    let wired = Wired::look(site).await?;
    let settings = &wired.source.site.origin;
    let (public, admin) = (bind(&settings.listen, "listen").await?, bind(&settings.admin, "admin").await?);
    let (listen, admin_address) = (public.local_addr()?, admin.local_addr()?);
    let text =
        format!("serving {} on http://{listen}/, for its owner on http://{admin_address}/", site.display());
    let ready = json!({ "listen": listen.to_string(), "admin": admin_address.to_string() });
    output::result(format, &ready, &text);
    let origin = origin(wired.bucket.clone(), settings);
    let drained = origin.serve(public, Some(admin), stopped(signals::stop())).await?;
    if drained.cut > 0 {
        tracing::warn!(cut = drained.cut, "connections were cut: their requests did not finish in time");
    }
    Ok(())
}

/// An origin with the site's limits.
pub(crate) fn origin(bucket: Arc<dyn Bucket>, settings: &definition::Origin) -> Arc<Origin> {
    // A quarter for the index, the rest for answers.
    let nodes = settings.memory / 4;
    let (memory, token) = (settings.memory - nodes, settings.token.clone());
    let limits = Settings { memory, token, ..Settings::default() };
    Arc::new(Origin::new(Releases::new(bucket, nodes), limits, Arc::new(wire::now)))
}

/// Listens at an address of `[origin]`.
pub(crate) async fn bind(address: &str, key: &str) -> Result<TcpListener> {
    TcpListener::bind(address).await.with_context(|| {
        format!("cannot listen on {address}: end what listens there, or name another address with `{key}` in [origin]")
    })
}

/// Ends once `stop` is true.
pub(crate) async fn stopped(mut stop: watch::Receiver<bool>) {
    // A sender that is gone can say nothing more.
    let _ = stop.wait_for(|stop| *stop).await;
}
