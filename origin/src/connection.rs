//! One HTTP/1.1 connection.
//!
//! Owns what a client may do to a connection: how long it may take to send a head, to stay silent, to
//! take an answer, and how much of a body is read. Refuses to know what is asked.

use std::convert::Infallible;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http::HeaderValue;
use http::header::CONNECTION;
use http_body_util::{BodyExt as _, Full};
use hyper::body::{Body as _, Incoming};
use hyper::rt::{Read, ReadBufCursor, Write};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::TcpStream;
use tokio::sync::{Semaphore, watch};
use tokio::time::{Instant, Sleep, sleep, timeout};

use crate::listener::{Limits, Service, stopped};

/// A request without its body, which is read and dropped: no request here needs one.
pub(crate) type Request = http::request::Parts;
/// An answer; its body is in memory.
pub(crate) type Response = http::Response<Full<Bytes>>;

/// A request's head, and so what a connection buffers, in bytes.
const HEAD: usize = 64 << 10;
/// A request's body of at most so many bytes is read, so that the connection can go on.
const BODY: u64 = 64 << 10;
/// When the origin stops, a new connection's first request may still arrive for so long.
const GRACE: Duration = Duration::from_millis(200);

/// Serves one connection until either side ends it, or `stop` is set and its request is answered.
pub(crate) async fn run<S: Service>(
    stream: TcpStream,
    limits: &Limits,
    service: Arc<S>,
    slots: Arc<Semaphore>,
    mut stop: watch::Receiver<bool>,
) {
    let phase = Arc::new(Phase::default());
    let io = Guarded {
        stream: TokioIo::new(stream),
        phase: Arc::clone(&phase),
        seen: 0,
        head: Patience::new(limits.header_timeout),
        write: Patience::new(limits.stall_timeout),
    };
    let (own, stall) = (Arc::clone(&phase), limits.stall_timeout);
    let service = service_fn(move |request| {
        own.begin();
        let (service, slots, phase) = (Arc::clone(&service), Arc::clone(&slots), Arc::clone(&own));
        async move {
            let response = answer(&*service, request, &slots, stall).await;
            phase.end();
            Ok::<_, Infallible>(response)
        }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        // hyper counts from the end of the last request, so this bounds silence; `Guarded` bounds heads.
        .header_read_timeout(limits.idle_timeout.max(limits.header_timeout))
        .max_buf_size(HEAD)
        .serve_connection(io, service);
    tokio::pin!(connection);
    let ended = tokio::select! {
        ended = connection.as_mut() => Some(ended),
        () = stopped(&mut stop) => None,
    };
    let ended = match ended {
        Some(ended) => ended,
        None => {
            connection.as_mut().graceful_shutdown();
            if phase.begun() > 0 {
                connection.await
            } else {
                // hyper waits for the first request, which may never come.
                tokio::select! {
                    ended = connection.as_mut() => ended,
                    () = silence(&phase) => Ok(()),
                }
            }
        }
    };
    if let Err(error) = ended {
        tracing::debug!(error = &error as &dyn std::error::Error, "a connection broke off");
    }
}

/// Ends once [`GRACE`] has passed without a request.
async fn silence(phase: &Phase) {
    sleep(GRACE).await;
    if phase.begun() > 0 {
        std::future::pending::<()>().await;
    }
}

async fn answer<S: Service>(
    service: &S,
    request: http::Request<Incoming>,
    slots: &Semaphore,
    stall: Duration,
) -> Response {
    let (parts, body) = request.into_parts();
    let is_clean = body.is_end_stream() || discard(body, stall).await;
    let mut response = service.answer(parts).await;
    // With no room for newcomers, nobody may keep a place without using it.
    if !is_clean || slots.available_permits() == 0 {
        response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
    }
    response
}

/// Reads a body to its end, if that is near enough.
async fn discard(mut body: Incoming, stall: Duration) -> bool {
    if body.size_hint().upper().is_none_or(|size| size > BODY) {
        return false;
    }
    let read = async {
        while let Some(frame) = body.frame().await {
            if frame.is_err() {
                return false;
            }
        }
        true
    };
    timeout(stall, read).await.unwrap_or(false)
}

/// What a connection is at, as its requests tell.
#[derive(Default)]
struct Phase {
    begun: AtomicU64,
    busy: AtomicBool,
}

// One task does it all, so no ordering is needed.
impl Phase {
    fn begin(&self) {
        self.begun.fetch_add(1, Ordering::Relaxed);
        self.busy.store(true, Ordering::Relaxed);
    }

    fn end(&self) {
        self.busy.store(false, Ordering::Relaxed);
    }

    fn begun(&self) -> u64 {
        self.begun.load(Ordering::Relaxed)
    }

    fn is_busy(&self) -> bool {
        self.busy.load(Ordering::Relaxed)
    }
}

/// A time limit that starts when something has to be waited for.
struct Patience {
    limit: Duration,
    sleep: Option<Pin<Box<Sleep>>>,
    is_running: bool,
}

impl Patience {
    fn new(limit: Duration) -> Self {
        Self { limit, sleep: None, is_running: false }
    }

    /// Goes on waiting; fails once the limit has passed since it started.
    fn wait<T>(&mut self, context: &mut Context<'_>) -> Poll<io::Result<T>> {
        let limit = self.limit;
        let sleep = self.sleep.get_or_insert_with(|| Box::pin(sleep(limit)));
        if !self.is_running {
            self.is_running = true;
            sleep.as_mut().reset(Instant::now() + limit);
        }
        ready!(sleep.as_mut().poll(context));
        Poll::Ready(Err(io::ErrorKind::TimedOut.into()))
    }

    fn stop(&mut self) {
        self.is_running = false;
    }
}

/// A stream that does not wait for ever.
struct Guarded {
    stream: TokioIo<TcpStream>,
    phase: Arc<Phase>,
    /// How many requests had begun when the first bytes of the next head arrived.
    seen: u64,
    head: Patience,
    write: Patience,
}

impl Guarded {
    fn written(
        &mut self,
        written: Poll<io::Result<usize>>,
        context: &mut Context<'_>,
    ) -> Poll<io::Result<usize>> {
        if written.is_pending() {
            return self.write.wait(context);
        }
        self.write.stop();
        written
    }
}

impl Read for Guarded {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        into: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        let this = &mut *self;
        let read = Pin::new(&mut this.stream).poll_read(context, into);
        let begun = this.phase.begun();
        let is_head = this.seen == begun && !this.phase.is_busy();
        match read {
            Poll::Pending if is_head => return this.head.wait(context),
            Poll::Ready(_) if !is_head && !this.phase.is_busy() => {
                this.seen = begun;
                this.head.stop();
            }
            Poll::Pending => this.head.stop(),
            Poll::Ready(_) => {}
        }
        read
    }
}

impl Write for Guarded {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(context, bytes);
        self.written(written, context)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        parts: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write_vectored(context, parts);
        self.written(written, context)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}
