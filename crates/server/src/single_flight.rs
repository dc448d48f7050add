//! Equal expensive reads that run at the same time share one execution.

use std::collections::HashMap;
use std::future::Future;
use std::hash::Hash;
use std::pin::Pin;
use std::sync::{Mutex, PoisonError};

use futures_util::FutureExt as _;
use futures_util::future::{Shared, WeakShared};

type Work<V> = Pin<Box<dyn Future<Output = V> + Send>>;

/// Reads that are running, by what they ask for. Bounded by the number of
/// requests that run at the same time.
pub struct SingleFlight<K, V: Clone> {
    running: Mutex<HashMap<K, WeakShared<Work<V>>>>,
}

impl<K, V: Clone> Default for SingleFlight<K, V> {
    fn default() -> Self {
        Self {
            running: Mutex::default(),
        }
    }
}

impl<K: Eq + Hash + Clone, V: Clone + Send + 'static> SingleFlight<K, V> {
    /// The outcome of the read for `key` that is running, or of `work` where
    /// none is. The read goes on as long as one caller waits for it.
    pub async fn run(&self, key: K, work: impl Future<Output = V> + Send + 'static) -> V {
        let flight = self.join(&key, work);
        let outcome = flight.clone().await;
        let mut running = self.running.lock().unwrap_or_else(PoisonError::into_inner);
        let is_ours = |it: &WeakShared<Work<V>>| it.upgrade().is_none_or(|it| it.ptr_eq(&flight));
        if running.get(&key).is_some_and(is_ours) {
            running.remove(&key);
        }
        outcome
    }

    fn join(&self, key: &K, work: impl Future<Output = V> + Send + 'static) -> Shared<Work<V>> {
        let mut running = self.running.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(flight) = running.get(key).and_then(WeakShared::upgrade) {
            return flight;
        }
        // Flights whose callers all went away have left nothing but their key.
        running.retain(|_, flight| flight.upgrade().is_some());
        let flight = (Box::pin(work) as Work<V>).shared();
        if let Some(weak) = flight.downgrade() {
            running.insert(key.clone(), weak);
        }
        flight
    }
}

impl<K, V: Clone> std::fmt::Debug for SingleFlight<K, V> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SingleFlight").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use tokio::sync::Notify;

    use super::*;

    #[tokio::test]
    async fn equal_reads_at_the_same_time_are_one_and_later_ones_are_not() {
        let flights = SingleFlight::default();
        let (count, go) = (Arc::new(AtomicUsize::new(0)), Arc::new(Notify::new()));
        let work = || {
            let (count, go) = (Arc::clone(&count), Arc::clone(&go));
            async move {
                let n = count.fetch_add(1, Ordering::Relaxed);
                go.notified().await;
                n
            }
        };
        let release = async {
            tokio::task::yield_now().await;
            go.notify_waiters();
        };
        let (a, b, ()) = tokio::join!(
            flights.run("history", work()),
            flights.run("history", work()),
            release
        );
        assert_eq!((a, b, count.load(Ordering::Relaxed)), (0, 0, 1));
        go.notify_one();
        assert_eq!(flights.run("history", work()).await, 1);
        assert!(flights.running.lock().unwrap().is_empty());
    }

    #[tokio::test]
    async fn a_read_whose_callers_left_does_not_block_the_next() {
        let flights = SingleFlight::default();
        let never = flights.run("x", std::future::pending::<u8>());
        let left = tokio::select! {
            biased;
            _ = never => false,
            () = tokio::task::yield_now() => true,
        };
        assert!(left);
        assert_eq!(flights.run("x", async { 7 }).await, 7);
    }
}
