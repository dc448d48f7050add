//! Keeps the dispatcher's loop turning.

use std::sync::Arc;

use dormouse_core::clock::Clock;
use dormouse_core::services::dispatcher::{DispatchLoop, Dispatcher};
use tokio::sync::watch;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use super::said::Said;

/// Turns `commands` whenever something comes in or is due, until `stop`. A
/// turn that began is finished; requests that still wait are refused.
pub async fn keep(mut commands: DispatchLoop, clock: Arc<dyn Clock>, stop: CancellationToken) {
    loop {
        let due = commands.next_due();
        let reached = async {
            match due {
                Some(due) => sleep(due.since(clock.instant())).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            () = stop.cancelled() => return,
            () = commands.filled() => {}
            () = reached => {}
        }
        commands.turn().await;
    }
}

/// Fills the index of commands again whenever `emptied` says that it came back
/// empty, until `stop`.
///
/// # Errors
/// Never: what fails is tried again.
pub async fn refill_index(
    dispatcher: Arc<Dispatcher>,
    mut emptied: watch::Receiver<u64>,
    stop: CancellationToken,
) -> anyhow::Result<()> {
    let mut said = Said::new("the index of commands");
    while let Some(Ok(())) = stop.run_until_cancelled(emptied.changed()).await {
        while !stop.is_cancelled() {
            let filled = dispatcher.refill_index().await;
            said.rest_if_failed(&filled, &stop).await;
            if filled.is_ok() {
                break;
            }
        }
    }
    stop.cancelled().await;
    Ok(())
}
