//! Keeps the dispatcher's loop turning.

use std::sync::Arc;

use dormouse_core::clock::Clock;
use dormouse_core::services::dispatcher::DispatchLoop;
use tokio_util::sync::CancellationToken;

/// Turns `commands` whenever something comes in or is due, until `stop`. A
/// turn that began is finished; requests that still wait are refused.
pub async fn keep(mut commands: DispatchLoop, clock: Arc<dyn Clock>, stop: CancellationToken) {
    loop {
        let due = commands.next_due();
        let reached = async {
            match due {
                Some(due) => tokio::time::sleep(due.since(clock.instant())).await,
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
