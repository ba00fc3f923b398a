//! Signals: the first asks to stop, the second insists.

use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;

/// Lets a write beyond the limit of a file's size (`ulimit -f`) fail as one to a full disk does; by itself the
/// signal ends the process without a word.
pub(crate) fn survive_limits() {
    /// SIGXFSZ on Linux.
    const FILE_SIZE: i32 = 25;
    if signal(SignalKind::from_raw(FILE_SIZE)).is_err() {
        tracing::warn!("a limit of the size of files will end the process without a message");
    }
}

/// Becomes true on SIGINT or SIGTERM; a second signal ends the process at once.
pub(crate) fn stop() -> watch::Receiver<bool> {
    let (sender, receiver) = watch::channel(false);
    tokio::spawn(async move {
        let (Ok(mut interrupt), Ok(mut terminate)) =
            (signal(SignalKind::interrupt()), signal(SignalKind::terminate()))
        else {
            tracing::warn!("signals cannot be caught: the process ends without draining");
            return;
        };
        for is_first in [true, false] {
            tokio::select! {
                _ = interrupt.recv() => {}
                _ = terminate.recv() => {}
            }
            if is_first {
                sender.send_replace(true);
            }
        }
        std::process::exit(130);
    });
    receiver
}
