//! Background work that shutdown can wait for.

use std::future::Future;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// Spawns named tasks, stops them together, and hears of the first that dies.
#[derive(Debug, Clone)]
pub struct Tasks {
    tracker: TaskTracker,
    stop: CancellationToken,
    deaths: mpsc::Sender<&'static str>,
}

impl Tasks {
    /// An empty set, and where the first death is heard.
    #[must_use]
    pub fn new() -> (Self, mpsc::Receiver<&'static str>) {
        let (deaths, heard) = mpsc::channel(1);
        let tasks = Self {
            tracker: TaskTracker::new(),
            stop: CancellationToken::new(),
            deaths,
        };
        (tasks, heard)
    }

    /// Fires when the server should stop.
    #[must_use]
    pub fn stopping(&self) -> CancellationToken {
        self.stop.clone()
    }

    /// Runs `work`, which must not end before [`Tasks::finish`].
    pub fn spawn(
        &self,
        name: &'static str,
        work: impl Future<Output = anyhow::Result<()>> + Send + 'static,
    ) {
        let watch = Watch {
            name,
            stop: self.stop.clone(),
            deaths: self.deaths.clone(),
        };
        self.tracker.spawn(async move {
            let _watch = watch;
            if let Err(error) = work.await {
                tracing::error!(task = name, error = format!("{error:#}"), "task failed");
            }
        });
    }

    /// Asks every task to stop and waits for them, at most `grace`.
    pub async fn finish(&self, grace: Duration) {
        self.stop.cancel();
        self.tracker.close();
        if tokio::time::timeout(grace, self.tracker.wait())
            .await
            .is_err()
        {
            let left = self.tracker.len();
            tracing::warn!(?grace, left, "tasks still running at exit");
        }
    }
}

/// Reports a task's end, by return, error or panic alike.
struct Watch {
    name: &'static str,
    stop: CancellationToken,
    deaths: mpsc::Sender<&'static str>,
}

impl Drop for Watch {
    fn drop(&mut self) {
        if !self.stop.is_cancelled() {
            // Full means another task died first; one is enough to stop.
            self.deaths.try_send(self.name).ok();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_panic_is_heard_like_any_other_death() {
        let (tasks, mut deaths) = Tasks::new();
        tasks.spawn("ingest", async { panic!("bug") });
        assert_eq!(deaths.recv().await, Some("ingest"));
    }

    #[tokio::test]
    async fn finishing_waits_for_the_work_and_is_no_death() {
        let (tasks, mut deaths) = Tasks::new();
        let stop = tasks.stopping();
        tasks.spawn("loop", async move {
            stop.cancelled().await;
            Ok(())
        });
        tasks.finish(Duration::from_secs(5)).await;
        drop(tasks);
        assert_eq!(deaths.recv().await, None);
    }
}
