//! Errors as `application/problem+json` (RFC 9457).
//!
//! Owns their form and how long they may be kept. Refuses to show internals: what a client reads here was
//! written for it; what went wrong inside is in the log.

use bytes::Bytes;
use http::header::{
    ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS, ACCESS_CONTROL_ALLOW_ORIGIN,
    ACCESS_CONTROL_MAX_AGE, ALLOW, CACHE_CONTROL, CONNECTION, CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE,
    X_CONTENT_TYPE_OPTIONS,
};
use http::{HeaderValue, StatusCode};
use http_body_util::Full;
use serde::Serialize;

use crate::answer::{CACHE_STATUS, SHORTLY, Source};
use crate::connection::Response;

/// The methods of documents.
pub(crate) const ALLOWED: HeaderValue = HeaderValue::from_static("GET, HEAD, OPTIONS");

/// A request that gets no document.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Refusal {
    pub(crate) status: StatusCode,
    /// For the client: what is wrong and what to do.
    pub(crate) detail: String,
    /// Whether what follows on the connection cannot be trusted.
    pub(crate) close: bool,
}

impl Refusal {
    pub(crate) fn new(status: StatusCode, detail: impl Into<String>) -> Self {
        Self { status, detail: detail.into(), close: false }
    }

    /// Nothing is at this path.
    pub(crate) fn not_found() -> Self {
        Self::new(StatusCode::NOT_FOUND, "There is nothing at this path.")
    }

    /// It can be had, but not now.
    pub(crate) fn unavailable(detail: &str) -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, detail)
    }
}

#[derive(Serialize)]
struct Problem<'a> {
    r#type: &'a str,
    title: &'a str,
    status: u16,
    detail: &'a str,
}

/// The answer to a refused request.
pub(crate) fn answer(refusal: &Refusal, source: Source) -> Response {
    let Refusal { status, detail, close } = refusal;
    let title = status.canonical_reason().unwrap_or("Error");
    let problem = Problem { r#type: "about:blank", title, status: status.as_u16(), detail };
    let json = serde_json::to_vec(&problem).expect("texts and numbers always print as JSON");
    let mut response = Response::new(Full::new(Bytes::from(json)));
    *response.status_mut() = *status;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, HeaderValue::from_static("*"));
    let lifetime =
        if *status == StatusCode::NOT_FOUND { SHORTLY } else { HeaderValue::from_static("no-store") };
    headers.insert(CACHE_CONTROL, lifetime);
    if let Some(source) = source.status() {
        headers.insert(CACHE_STATUS, source);
    }
    match *status {
        StatusCode::METHOD_NOT_ALLOWED => drop(headers.insert(ALLOW, ALLOWED)),
        // RFC 9110, 11.6.1
        StatusCode::UNAUTHORIZED => {
            drop(headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer")));
        }
        StatusCode::SERVICE_UNAVAILABLE => drop(headers.insert(RETRY_AFTER, HeaderValue::from_static("1"))),
        _ => {}
    }
    if *close {
        headers.insert(CONNECTION, HeaderValue::from_static("close"));
    }
    response
}

/// The answer to OPTIONS, which is also what a browser asks before it reads from another site.
pub(crate) fn options() -> Response {
    let mut response = Response::new(Full::new(Bytes::new()));
    *response.status_mut() = StatusCode::NO_CONTENT;
    let headers = response.headers_mut();
    headers.insert(ALLOW, ALLOWED);
    headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, HeaderValue::from_static("*"));
    headers.insert(ACCESS_CONTROL_ALLOW_METHODS, ALLOWED);
    headers.insert(ACCESS_CONTROL_ALLOW_HEADERS, HeaderValue::from_static("*"));
    headers.insert(ACCESS_CONTROL_MAX_AGE, HeaderValue::from_static("86400"));
    response
}
