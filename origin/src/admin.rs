//! What the origin tells its owner.
//!
//! Owns `/healthz` and `/readyz`. Refuses to change anything.

use std::sync::Arc;

use bytes::Bytes;
use http::header::{CACHE_CONTROL, CONTENT_TYPE};
use http::{HeaderValue, StatusCode};
use http_body_util::Full;
use serde::Serialize;
use tokio::sync::watch;

use crate::Origin;
use crate::answer::Source;
use crate::connection::{Request, Response};
use crate::listener::Service;
use crate::problem::{self, Refusal};
use crate::request::{self, Verb};

pub(crate) struct Admin {
    pub(crate) origin: Arc<Origin>,
    /// Whether the public listener is being drained.
    pub(crate) stopping: watch::Receiver<bool>,
}

#[derive(Serialize)]
struct Health {
    healthy: bool,
}

#[derive(Serialize)]
struct Readiness {
    ready: bool,
    release: Option<u64>,
    stopping: bool,
}

impl Service for Admin {
    async fn answer(&self, request: Request) -> Response {
        match request::check(&request) {
            Ok(Verb::Read) => self.read(request.uri.path()),
            Ok(Verb::Options) => problem::options(),
            Err(refusal) => problem::answer(&refusal, Source::Nowhere),
        }
    }
}

impl Admin {
    fn read(&self, path: &str) -> Response {
        match path {
            "/healthz" => json(StatusCode::OK, &Health { healthy: true }),
            "/readyz" => {
                let (release, stopping) = (self.origin.release(), *self.stopping.borrow());
                let ready = release.is_some() && !stopping;
                let status = if ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
                json(status, &Readiness { ready, release, stopping })
            }
            _ => problem::answer(&Refusal::not_found(), Source::Nowhere),
        }
    }
}

fn json(status: StatusCode, value: &impl Serialize) -> Response {
    let body = serde_json::to_vec(value).expect("flags and numbers always print as JSON");
    let mut response = Response::new(Full::new(Bytes::from(body)));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}
