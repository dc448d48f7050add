//! Keeps the way straight into the database going, and turns it aside into
//! the journal while the database does not answer.

#[cfg(test)]
mod tests;

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use dormouse_core::ids::DeviceId;
use dormouse_core::ports::PortError;
use dormouse_core::services::intake::{CommitFigures, Committer, RefusalNews, Step};
use metrics::{counter, gauge, histogram};
use tokio::time::{Instant, sleep, timeout};
use tokio_util::sync::CancellationToken;

use super::said::Said;
use crate::backoff::Backoff;

/// How long one batch may take before its messages go to the journal.
const PATIENCE: Duration = Duration::from_secs(3);
/// Failures in a row, such as one deadlock, that are tried again at once.
const AT_ONCE: u32 = 1;
/// The first wait after a failure, at most.
const RETRY_MIN: Duration = Duration::from_millis(100);
/// The longest wait after any number of failures.
const RETRY_MAX: Duration = Duration::from_secs(2);
/// How often messages that the database refused are counted, and those tried
/// again that a person wants tried again.
const LOOK_ASIDE: Duration = Duration::from_secs(5);

/// Commits what comes in until `stop`, then what is left. What cannot be
/// committed then is in the journal for the next start.
///
/// # Errors
/// Never by a database's fault; those are waited out.
pub async fn keep(committer: Arc<Committer>, stop: CancellationToken) -> anyhow::Result<()> {
    let mut keeper = Keeper::new(&committer);
    tokio::select! {
        () = keeper.keep(&stop) => {}
        never = look_aside(&committer, &stop) => match never {},
    }
    keeper.finish().await;
    Ok(())
}

/// Looks after messages that the database refused; it ends with its caller,
/// whose last step `stop` must not cut short.
async fn look_aside(committer: &Committer, stop: &CancellationToken) -> Infallible {
    let mut said = Said::new("refused messages");
    loop {
        let looked = committer.look_aside().await;
        said.rest_if_failed(&looked, stop).await;
        sleep(LOOK_ASIDE).await;
    }
}

/// What there is to say of the way in, for a person: nothing while messages go
/// straight into the database and none was refused.
///
/// # Errors
/// Where nothing is acknowledged any more.
pub fn describe(figures: &CommitFigures) -> Result<Option<String>, String> {
    if figures.journal_full {
        return Err("the database does not take messages, and the journal is full".to_owned());
    }
    let mut said = Vec::new();
    if !figures.direct {
        let behind = figures.journalled.saturating_sub(figures.replayed);
        said.push(format!(
            "messages go to the journal until the database has taken what is there; {behind} \
             since the start wait"
        ));
    }
    if figures.aside > 0 {
        said.push(format!(
            "the database refused {} messages: they are in its table refused_messages, each \
             with the reason",
            figures.aside
        ));
    }
    Ok((!said.is_empty()).then(|| said.join("; ")))
}

/// Brings the metrics of the way in up to date.
pub fn tell(figures: &CommitFigures) {
    let waiting = u32::try_from(figures.waiting).unwrap_or(u32::MAX);
    gauge!("dormouse_intake_waiting").set(waiting);
    gauge!("dormouse_intake_direct").set(u8::from(figures.direct));
    let aside = u32::try_from(figures.aside).unwrap_or(u32::MAX);
    gauge!("dormouse_intake_aside").set(aside);
    for (name, value) in [
        ("dormouse_intake_batches_total", figures.batches),
        ("dormouse_intake_journalled_total", figures.journalled),
        ("dormouse_intake_replayed_total", figures.replayed),
        ("dormouse_intake_refused_total", figures.refused),
    ] {
        counter!(name).absolute(value);
    }
}

fn report(news: &RefusalNews) {
    let name = |device: &Option<DeviceId>| {
        let id = device.as_ref().map(DeviceId::as_str);
        id.unwrap_or("unknown").to_owned()
    };
    match news {
        RefusalNews::Refused { device, why } => tracing::warn!(
            device_id = name(device),
            why,
            "the database refuses messages of this device; they are put aside in its table \
             refused_messages"
        ),
        RefusalNews::Taken { device } => tracing::info!(
            device_id = name(device),
            "the database takes messages of this device again"
        ),
    }
}

/// Remembers failures in a row.
struct Keeper<'a> {
    committer: &'a Committer,
    failures: u32,
    backoff: Backoff,
}

impl<'a> Keeper<'a> {
    const fn new(committer: &'a Committer) -> Self {
        Self {
            committer,
            failures: 0,
            backoff: Backoff::between(RETRY_MIN, RETRY_MAX),
        }
    }

    /// Commits what comes in until `stop`.
    async fn keep(&mut self, stop: &CancellationToken) {
        loop {
            let ready = stop.run_until_cancelled(self.committer.ready()).await;
            if ready.is_none() {
                return;
            }
            while let Some(step) = self.step().await {
                if step == Step::default() {
                    break;
                }
            }
            if let Some(wait) = self.wait() {
                stop.run_until_cancelled(sleep(wait)).await;
            }
        }
    }

    /// One batch; `None` where it failed.
    async fn step(&mut self) -> Option<Step> {
        let begun = Instant::now();
        let error = match timeout(PATIENCE, self.committer.step()).await {
            Ok(Ok(step)) => {
                self.succeeded(&step, begun.elapsed());
                return Some(step);
            }
            Ok(Err(error)) => Some(error),
            Err(_) => None,
        };
        self.failed(error.as_ref());
        if self.failures > AT_ONCE {
            self.committer.spill().await;
        }
        None
    }

    fn succeeded(&mut self, step: &Step, took: Duration) {
        if step.unreadable > 0 {
            let count = step.unreadable;
            tracing::error!(count, "journal entries of an unknown kind skipped");
        }
        for news in self.committer.refusal_news() {
            report(&news);
        }
        if step.messages == 0 {
            return;
        }
        histogram!("dormouse_intake_commit_seconds").record(took.as_secs_f64());
        if self.failures > AT_ONCE {
            tracing::info!("the database takes messages again");
        }
        self.failures = 0;
        self.backoff.reset();
    }

    fn failed(&mut self, error: Option<&PortError>) {
        let worked = self.failures <= AT_ONCE;
        self.failures = self.failures.saturating_add(1);
        if error.is_none() {
            // What hung once is not waited for twice.
            self.failures = self.failures.max(AT_ONCE + 1);
        }
        if !worked || self.failures <= AT_ONCE {
            return;
        }
        match error {
            Some(error) => {
                let error: &dyn std::error::Error = error;
                tracing::error!(error, "the database takes no messages; the journal does");
            }
            None => tracing::error!(
                patience = ?PATIENCE,
                "the database does not answer in time; the journal takes messages"
            ),
        }
    }

    /// How long to leave the database alone, where it failed.
    fn wait(&mut self) -> Option<Duration> {
        (self.failures > AT_ONCE).then(|| self.backoff.pause())
    }

    /// Commits what is left; where that fails, the journal keeps it.
    async fn finish(mut self) {
        loop {
            match self.step().await {
                Some(step) if step == Step::default() => return,
                Some(_) => {}
                None if self.failures > AT_ONCE => return,
                None => {}
            }
        }
    }
}
