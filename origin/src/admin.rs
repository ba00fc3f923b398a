//! What the origin tells its owner.
//!
//! Owns `/healthz` and `/readyz`, and who may ask. Refuses to change anything.

use std::sync::Arc;

use bytes::Bytes;
use edgepress_site::version::Digest;
use http::header::{AUTHORIZATION, CACHE_CONTROL, CONTENT_TYPE};
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
        match request::check(&request).and_then(|verb| self.admit(&request).map(|()| verb)) {
            Ok(Verb::Read) => self.read(request.uri.path()),
            Ok(Verb::Options) => problem::options(),
            Err(refusal) => problem::answer(&refusal, Source::Nowhere),
        }
    }
}

impl Admin {
    /// Whether the request bears the token, if one is asked for (RFC 6750, 2.1). Hashes are compared: how long
    /// that takes says nothing of the token.
    fn admit(&self, request: &Request) -> Result<(), Refusal> {
        let token = &self.origin.settings.token;
        let borne =
            request.headers.get(AUTHORIZATION).and_then(|value| value.to_str().ok()).unwrap_or_default();
        let (scheme, borne) = borne.split_once(' ').unwrap_or_default();
        let is_borne = scheme.eq_ignore_ascii_case("bearer")
            && Digest::of(borne.trim_start().as_bytes()) == Digest::of(token.as_bytes());
        match token.is_empty() || is_borne {
            true => Ok(()),
            false => {
                Err(Refusal::new(StatusCode::UNAUTHORIZED, "Send the token of [origin] as a bearer token."))
            }
        }
    }

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
