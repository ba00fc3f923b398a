//! One fill for each key at a time, shared by everybody who waits for it.
//!
//! Owns who starts a fill and when it is forgotten. Whoever waits drives it, so it goes on as long as
//! anybody does and ends with the last: no task is left behind. Refuses to know what is filled.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use futures_util::FutureExt as _;
use futures_util::future::{BoxFuture, Shared, WeakShared};

type Fill<V> = BoxFuture<'static, V>;

/// The fills under way.
pub(crate) struct Fills<V: Clone> {
    running: Mutex<Running<V>>,
}

struct Running<V: Clone> {
    fills: HashMap<Arc<str>, (u64, WeakShared<Fill<V>>)>,
    started: u64,
}

impl<V: Clone> Fills<V> {
    pub(crate) fn new() -> Self {
        Self { running: Mutex::new(Running { fills: HashMap::new(), started: 0 }) }
    }

    /// What the fill of `key` gives, and whether somebody else had started it.
    pub(crate) async fn join(&self, key: &Arc<str>, start: impl FnOnce() -> Fill<V>) -> (V, bool) {
        let (place, joined) = self.place(key, start);
        let fill = place.fill.clone().expect("only dropping a place takes its fill");
        (fill.await, joined)
    }

    fn place(&self, key: &Arc<str>, start: impl FnOnce() -> Fill<V>) -> (Place<'_, V>, bool) {
        let mut running = self.lock();
        let found = running.fills.get(key).and_then(|(number, fill)| Some((*number, fill.upgrade()?)));
        let joined = found.is_some();
        let (number, fill) = found.unwrap_or_else(|| {
            let fill = start().shared();
            let weak = fill.downgrade().expect("a fill that nobody polled is not done");
            running.started += 1;
            let number = running.started;
            running.fills.insert(Arc::clone(key), (number, weak));
            (number, fill)
        });
        (Place { fills: self, key: Arc::clone(key), number, fill: Some(fill) }, joined)
    }

    fn lock(&self) -> MutexGuard<'_, Running<V>> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }

    #[cfg(test)]
    fn len(&self) -> usize {
        self.lock().fills.len()
    }
}

/// The place of one who waits.
struct Place<'a, V: Clone> {
    fills: &'a Fills<V>,
    key: Arc<str>,
    number: u64,
    fill: Option<Shared<Fill<V>>>,
}

impl<V: Clone> Drop for Place<'_, V> {
    /// Whoever finds the fill done, or is the last to leave, makes room for the next.
    fn drop(&mut self) {
        self.fill = None;
        let mut running = self.fills.lock();
        let Some((number, fill)) = running.fills.get(&self.key) else { return };
        let is_over = fill.upgrade().is_none_or(|fill| fill.peek().is_some());
        if *number == self.number && is_over {
            running.fills.remove(&self.key);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::time::Duration;

    use tokio::sync::Semaphore;
    use tokio::time::timeout;

    use super::*;

    /// Fills that wait for a permit of `gate` and count themselves.
    fn fill(gate: &Arc<Semaphore>, count: &Arc<AtomicUsize>) -> Fill<usize> {
        let (gate, count) = (Arc::clone(gate), Arc::clone(count));
        Box::pin(async move {
            let number = count.fetch_add(1, Ordering::SeqCst) + 1;
            gate.acquire().await.expect("never closed").forget();
            number
        })
    }

    #[tokio::test]
    async fn everybody_gets_the_one_fill_even_if_its_starter_goes_away() {
        let (fills, gate, count) =
            (Arc::new(Fills::new()), Arc::new(Semaphore::new(0)), Arc::new(AtomicUsize::new(0)));
        let key: Arc<str> = "/a".into();
        let join = || {
            let (fills, gate, count, key) =
                (Arc::clone(&fills), Arc::clone(&gate), Arc::clone(&count), Arc::clone(&key));
            tokio::spawn(async move { fills.join(&key, || fill(&gate, &count)).await.0 })
        };
        let starter = join();
        while count.load(Ordering::SeqCst) == 0 {
            tokio::task::yield_now().await;
        }
        let waiters: Vec<_> = (0..10).map(|_| join()).collect();
        tokio::task::yield_now().await;
        starter.abort();
        assert!(starter.await.is_err());
        gate.add_permits(1);
        for waiter in waiters {
            assert_eq!(waiter.await.unwrap(), 1);
        }
        assert_eq!(fills.len(), 0, "a finished fill is forgotten");
    }

    #[tokio::test]
    async fn a_fill_that_nobody_waits_for_is_forgotten() {
        let (fills, gate, count) = (Fills::new(), Arc::new(Semaphore::new(0)), Arc::new(AtomicUsize::new(0)));
        let key: Arc<str> = "/a".into();
        let given_up = timeout(Duration::from_millis(5), fills.join(&key, || fill(&gate, &count))).await;
        assert!(given_up.is_err());
        assert_eq!(fills.len(), 0);
        gate.add_permits(1);
        assert_eq!(fills.join(&key, || fill(&gate, &count)).await, (2, false), "the next one starts anew");
    }
}
