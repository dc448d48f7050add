//! Sessions that lost their node: what the broker keeps for them is fetched,
//! then they are ended, so that their share goes to the living.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::time::{Instant, MissedTickBehavior, interval, sleep_until};
use tokio_util::sync::CancellationToken;

use super::connection::{Connection, Event};
use super::dial::dial;
use super::problem::LinkError;
use super::session::Common;
use super::slots;
use super::wire::{Hello, Version};

/// How often is looked for them.
const EVERY: Duration = Duration::from_secs(1);
/// A session that sends nothing for so long has nothing more.
const IDLE: Duration = Duration::from_secs(1);

/// Adopts sessions until `stop`.
pub(super) async fn adopt(common: Arc<Common>, stop: CancellationToken) {
    let mut ticks = interval(EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    while stop.run_until_cancelled(ticks.tick()).await.is_some() {
        if !common.status.is_up() {
            continue;
        }
        let round = adopt_orphans(&common);
        match stop.run_until_cancelled(round).await {
            None => return,
            Some(Ok(())) => {}
            Some(Err(error)) => {
                let error = &error as &dyn std::error::Error;
                tracing::debug!(error, "broker sessions of other nodes not looked after");
            }
        }
    }
}

async fn adopt_orphans(common: &Common) -> Result<(), LinkError> {
    for number in common.keeper.orphans().await? {
        let name = slots::name(number);
        let Some(mut held) = common.keeper.take(&name).await? else {
            continue;
        };
        let emptied = tokio::select! {
            () = common.keeper.keep(&mut held) => Err(LinkError::Fenced),
            emptied = empty(common, number) => emptied,
        };
        match emptied {
            Ok(messages) => {
                common.keeper.remove(&held).await?;
                common.status.adopted.fetch_add(1, Ordering::Relaxed);
                tracing::info!(slot = number, messages, "adopted a lost broker session");
            }
            Err(error) => {
                common.keeper.release(&held).await;
                return Err(error);
            }
        }
    }
    Ok(())
}

/// Fetches what the session of slot `number` holds, and ends it; says how
/// many messages that were.
async fn empty(common: &Common, number: u32) -> Result<u64, LinkError> {
    let hello = common.hello(number);
    let mut connection = dial(&common.account, &hello).await?;
    let mut messages = 0;
    if connection.session_present() {
        connection.unsubscribe(&common.filters())?;
        messages = fetch(common, &mut connection).await?;
    }
    end(common, connection, hello).await?;
    Ok(messages)
}

/// Takes messages until no more come and all are acknowledged.
async fn fetch(common: &Common, connection: &mut Connection) -> Result<u64, LinkError> {
    let arrivals = &common.arrivals;
    let (mut messages, mut unsubscribed) = (0, false);
    let mut idle_at = Instant::now() + IDLE;
    loop {
        let listening = arrivals.has_room();
        tokio::select! {
            event = connection.next(listening) => {
                match event? {
                    Event::Message(message, ticket) => {
                        messages += 1;
                        arrivals.take(message, ticket);
                    }
                    Event::Unsubscribed => unsubscribed = true,
                    Event::Taken { .. } | Event::Subscribed(_) => {}
                }
                idle_at = Instant::now() + IDLE;
            }
            () = arrivals.room(), if !listening => {}
            () = sleep_until(idle_at) => {
                if unsubscribed && listening && connection.unacknowledged() == 0 {
                    return Ok(messages);
                }
                // The broker may hold back until more is acknowledged.
                idle_at = Instant::now() + IDLE;
            }
        }
    }
}

async fn end(common: &Common, connection: Connection, hello: Hello) -> Result<(), LinkError> {
    let version = connection.version();
    connection.close(true).await;
    if version == Version::V311 {
        // There a session is ended by beginning it anew.
        let clean = Hello {
            clean: true,
            expiry: Duration::ZERO,
            ..hello
        };
        dial(&common.account, &clean).await?.close(false).await;
    }
    Ok(())
}
