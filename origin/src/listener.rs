//! Accepting connections, and ending them.
//!
//! Owns how many there are at once and that every task ends with the listener: by itself, or at the
//! deadline of the drain. Refuses to read from a connection.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::sync::{Semaphore, watch};
use tokio::task::{JoinError, JoinSet};
use tokio::time::{sleep, timeout};

use crate::connection::{self, Request, Response};

/// The first pause after a failed accept; it doubles up to the second.
const PAUSES: (Duration, Duration) = (Duration::from_millis(10), Duration::from_secs(1));

/// Answers requests.
pub(crate) trait Service: Send + Sync + 'static {
    fn answer(&self, request: Request) -> impl Future<Output = Response> + Send;
}

/// What a listener's connections may take; the fields are those of [`crate::Settings`].
#[derive(Debug, Clone)]
pub(crate) struct Limits {
    pub(crate) connections: usize,
    pub(crate) header_timeout: Duration,
    pub(crate) idle_timeout: Duration,
    pub(crate) stall_timeout: Duration,
    pub(crate) drain: Duration,
}

/// Ends once `stop` is set; never if nobody can set it any more.
pub(crate) async fn stopped(stop: &mut watch::Receiver<bool>) {
    if stop.wait_for(|stop| *stop).await.is_err() {
        std::future::pending::<()>().await;
    }
}

/// Accepts connections until `stop` is set, then drains. How many connections had to be cut.
pub(crate) async fn listen<S: Service>(
    listener: TcpListener,
    limits: Limits,
    service: Arc<S>,
    mut stop: watch::Receiver<bool>,
) -> usize {
    let limits = Arc::new(limits);
    let slots = Arc::new(Semaphore::new(limits.connections.clamp(1, Semaphore::MAX_PERMITS)));
    let mut connections = JoinSet::new();
    let mut pause = PAUSES.0;
    loop {
        // First the place, then the connection: who finds none waits in the kernel's queue.
        let accepted = tokio::select! {
            () = stopped(&mut stop) => break,
            accepted = accept(&listener, &slots) => accepted,
        };
        while let Some(ended) = connections.try_join_next() {
            report(ended);
        }
        match accepted {
            Ok((stream, slot)) => {
                pause = PAUSES.0;
                let (limits, service) = (Arc::clone(&limits), Arc::clone(&service));
                let (slots, stop) = (Arc::clone(&slots), stop.clone());
                connections.spawn(async move {
                    connection::run(stream, &limits, service, slots, stop).await;
                    drop(slot);
                });
            }
            Err(error) if is_the_clients(&error) => {}
            Err(error) => {
                tracing::error!(
                    "cannot accept connections: {error}; trying again in {pause:?} (if there are too many open \
                     files, raise the limit or lower the origin's number of connections)"
                );
                tokio::select! {
                    () = stopped(&mut stop) => break,
                    () = sleep(pause) => pause = (pause * 2).min(PAUSES.1),
                }
            }
        }
    }
    drop(listener);
    drain(connections, limits.drain).await
}

async fn accept(
    listener: &TcpListener,
    slots: &Arc<Semaphore>,
) -> io::Result<(tokio::net::TcpStream, tokio::sync::OwnedSemaphorePermit)> {
    let slot = Arc::clone(slots).acquire_owned().await.expect("the semaphore is never closed");
    let (stream, _) = listener.accept().await?;
    // Fails only on a connection that is already gone, which its first read tells too.
    let _ = stream.set_nodelay(true);
    Ok((stream, slot))
}

/// Errors of the one connection, after which the next may well succeed.
fn is_the_clients(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset};
    matches!(error.kind(), ConnectionAborted | ConnectionRefused | ConnectionReset)
}

async fn drain(mut connections: JoinSet<()>, limit: Duration) -> usize {
    let all = async {
        while let Some(ended) = connections.join_next().await {
            report(ended);
        }
    };
    if timeout(limit, all).await.is_ok() {
        return 0;
    }
    let cut = connections.len();
    tracing::warn!(connections = cut, "requests did not finish within {limit:?}; their connections are cut");
    connections.shutdown().await;
    cut
}

fn report(ended: Result<(), JoinError>) {
    if let Err(error) = ended
        && error.is_panic()
    {
        tracing::error!("answering a request panicked, and its connection was closed: {error}");
    }
}
