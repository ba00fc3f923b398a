//! From a request to its answer.
//!
//! Owns the order of the checks, the public paths and the log line of each request. The way of an answer
//! from memory is short: it takes no lock but memory's and makes nothing but the response.

use std::time::{Duration, Instant, SystemTime};

use edgepress_site::conditional::Outcome;
use edgepress_site::path::{DocPath, PathError, RequestPath, request_path};
use http::{Method, StatusCode};
use hyper::body::Body as _;

use crate::Origin;
use crate::answer::{self, Source};
use crate::conditions;
use crate::connection::{Request, Response};
use crate::documents::{Found, Unavailable, Wanted};
use crate::memory::Kept;
use crate::problem::{self, Refusal};
use crate::request::{self, Verb};

/// A request that took longer is worth a warning.
const SLOW: Duration = Duration::from_secs(1);

/// An answer, and what the log says of it.
struct Reply {
    response: Response,
    source: Source,
    release: Option<u64>,
}

impl Reply {
    fn refused(refusal: &Refusal) -> Self {
        Self::problem(refusal, Source::Nowhere)
    }

    fn problem(refusal: &Refusal, source: Source) -> Self {
        Self { response: problem::answer(refusal, source), source, release: None }
    }
}

impl Origin {
    pub(crate) async fn handle(&self, request: Request) -> Response {
        let started = Instant::now();
        let reply = match request::check(&request) {
            Ok(Verb::Read) => match self.documents.in_memory(request.uri.path()) {
                Some(kept) => self.document(&request, &kept, Source::Memory),
                // Boxed: the short way shall not carry the long one's state.
                None => Box::pin(self.read(&request)).await,
            },
            Ok(Verb::Options) => {
                Reply { response: problem::options(), source: Source::Nowhere, release: None }
            }
            Err(refusal) => Reply::refused(&refusal),
        };
        log(&request, &reply, started.elapsed());
        reply.response
    }

    /// Whatever memory does not have at the path as it was sent.
    async fn read(&self, request: &Request) -> Reply {
        let wanted = match request_path(request.uri.path()) {
            Ok(RequestPath::Document(path)) => Wanted::Document(path),
            Ok(RequestPath::Versioned(version, path)) => Wanted::Versioned(version, path),
            Ok(RequestPath::Reserved(name)) => return self.reserved(request, &name),
            Err(error) => return Reply::refused(&refused_path(error)),
        };
        match (self.documents.find(&wanted).await, &wanted) {
            (Ok(Some(Found { kept, source })), _) => self.document(request, &kept, source),
            (Ok(None), Wanted::Document(path)) => self.absent(path).await,
            (Ok(None), Wanted::Versioned(..)) => Reply::problem(&Refusal::not_found(), Source::Index),
            (Err(unavailable), _) => Reply::refused(&refused_for_now(unavailable)),
        }
    }

    /// 200, 304 or 412.
    fn document(&self, request: &Request, kept: &Kept, source: Source) -> Reply {
        let modified =
            kept.content.modified.as_ref().map(|(time, _)| *time).filter(|time| *time <= self.now());
        let response = match conditions::of_document(&request.headers, &kept.content.version, modified) {
            Outcome::Send => answer::ok(kept, source, modified.is_some()),
            Outcome::NotModified => answer::not_modified(kept, source),
            Outcome::PreconditionFailed => {
                let detail = "The document is not the one that the request's conditions name.";
                problem::answer(&Refusal::new(StatusCode::PRECONDITION_FAILED, detail), source)
            }
        };
        Reply { response, source, release: Some(kept.release) }
    }

    /// The site's own 404 page, if it has one.
    async fn absent(&self, path: &DocPath) -> Reply {
        let live = self.follower.live();
        let page = live.as_ref().and_then(|live| live.made_with.not_found()).filter(|page| *page != path);
        if let Some(page) = page
            && let Ok(Some(found)) = self.documents.find(&Wanted::Document(page.clone())).await
        {
            let response = answer::not_found(&found.kept.content, path.as_str());
            return Reply { response, source: Source::Index, release: Some(found.kept.release) };
        }
        Reply::problem(&Refusal::not_found(), Source::Index)
    }

    /// Paths under `/_edgepress/`.
    fn reserved(&self, request: &Request, name: &str) -> Reply {
        if name != "release" {
            return Reply::refused(&Refusal::not_found());
        }
        let Some(live) = self.follower.live() else {
            return Reply::refused(&refused_for_now(Unavailable::NotReady));
        };
        let (body, etag) = &live.summary;
        let response = if conditions::has(&request.headers, etag) {
            answer::json_not_modified(etag)
        } else {
            answer::json(body.clone(), etag)
        };
        Reply { response, source: Source::Memory, release: Some(live.record.number) }
    }

    fn now(&self) -> SystemTime {
        (self.clock)()
    }
}

fn refused_path(error: PathError) -> Refusal {
    match error {
        PathError::NoVersion => Refusal::not_found(),
        PathError::LongRequest(_) | PathError::Long(_) | PathError::LongSegment(_) => {
            Refusal::new(StatusCode::URI_TOO_LONG, format!("The request's path is too long: {error}."))
        }
        _ => Refusal::new(StatusCode::BAD_REQUEST, format!("The request's path is no document's: {error}.")),
    }
}

fn refused_for_now(unavailable: Unavailable) -> Refusal {
    Refusal::unavailable(match unavailable {
        Unavailable::NotReady => "No release has been loaded yet. Try again soon.",
        Unavailable::Bucket => "The document cannot be read at the moment. Try again soon.",
    })
}

/// One line for each request; what is not enabled costs nothing.
fn log(request: &Request, reply: &Reply, took: Duration) {
    let status = reply.response.status();
    let is_worth_a_warning = status.is_server_error() && status != StatusCode::NOT_IMPLEMENTED || took > SLOW;
    if !is_worth_a_warning && !tracing::enabled!(tracing::Level::DEBUG) {
        return;
    }
    let (method, path, status) = (request.method.as_str(), request.uri.path(), status.as_u16());
    let (source, micros) = (reply.source.name(), took.as_micros() as u64);
    let bytes = match request.method {
        Method::HEAD => 0,
        _ => reply.response.body().size_hint().lower(),
    };
    let release = reply.release;
    if is_worth_a_warning {
        tracing::warn!(
            method,
            path,
            status,
            release,
            source,
            bytes,
            micros,
            "answered slowly or with an error"
        );
    } else {
        tracing::debug!(method, path, status, release, source, bytes, micros, "answered");
    }
}
