//! What one node hears for all: retained status and the broker's word on
//! clients.
//!
//! Status topics are subscribed to plainly until their retained messages have
//! come, and then no more: what is published later comes over the shared
//! subscription anyway. The broker's client events need one listener, which
//! sees them in order.

use std::collections::VecDeque;
use std::num::NonZeroU16;
use std::sync::Arc;
use std::time::Duration;

use dormouse_core::ports::journal::Receipt;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep, sleep_until};
use tokio_util::sync::CancellationToken;

use super::clients::{self, ClientEvent, SessionNumbers};
use super::connection::Event;
use super::dial::dial;
use super::problem::LinkError;
use super::session::Common;
use crate::backoff::Backoff;

/// The lease of the node that observes.
const LEASE: &str = "retained";
/// What its client is called, behind the prefix.
const NAME: &str = "observer";
/// How often a node asks for the lease.
const EVERY: Duration = Duration::from_secs(1);
/// Retained messages that may wait for their receipts.
const WINDOW: NonZeroU16 = NonZeroU16::MIN.saturating_add(255);
/// When none has come for so long, all have come.
const IDLE: Duration = Duration::from_secs(2);
/// The last messages of a session come on another connection than the word of
/// its end; that word waits for them.
const HOLD: Duration = Duration::from_millis(500);

/// Observes, whenever this node holds the lease, until `stop`.
pub(super) async fn observe(common: Arc<Common>, stop: CancellationToken) {
    let mut ticks = interval(EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    while stop.run_until_cancelled(ticks.tick()).await.is_some() {
        let mut held = match common.keeper.take(LEASE).await {
            Ok(Some(held)) => held,
            Ok(None) => continue,
            Err(error) => {
                let error = &error as &dyn std::error::Error;
                tracing::debug!(error, "the lease on retained status was not asked for");
                continue;
            }
        };
        tokio::select! {
            () = common.keeper.keep(&mut held) => continue,
            () = watch(&common) => {}
            () = stop.cancelled() => {}
        }
        common.keeper.release(&held).await;
    }
}

/// Observes on one connection after the other.
async fn watch(common: &Common) {
    let mut backoff = Backoff::default();
    let mut numbers = SessionNumbers::default();
    let mut said = false;
    loop {
        let began = Instant::now();
        let error = match observe_once(common, &mut numbers).await {
            Ok(never) => match never {},
            Err(error) => error,
        };
        if began.elapsed() > IDLE * 5 {
            backoff.reset();
        }
        if matches!(error, LinkError::Denied { .. }) && !said {
            said = true;
            tracing::warn!(%error, "retained status is not restored");
        }
        tracing::debug!(%error, "the connection for retained status ended");
        sleep(backoff.pause()).await;
    }
}

async fn observe_once(
    common: &Common,
    numbers: &mut SessionNumbers,
) -> Result<std::convert::Infallible, LinkError> {
    let hello = common.passing_hello(NAME, WINDOW);
    let mut connection = dial(&common.account, &hello).await?;
    let mut filters = vec![format!("{}/+/status", common.topics.root())];
    filters.extend(clients::TOPICS.map(str::to_owned));
    connection.subscribe(&filters, true)?;
    let status = filters[..1].to_vec();
    let mut held_back: VecDeque<(Instant, ClientEvent)> = VecDeque::new();
    // Set while retained messages may come.
    let mut idle_at = None;
    loop {
        let listening = common.arrivals.has_room();
        let due = held_back.front().map(|(at, _)| *at);
        tokio::select! {
            event = connection.next(listening) => match event? {
                Event::Message(message, ticket) if clients::is_own(&message.topic) => {
                    if let Some(event) = numbers.read(&message.topic, &message.payload) {
                        held_back.push_back((Instant::now() + HOLD, event));
                    }
                    acknowledge(ticket);
                }
                Event::Message(message, ticket) if message.retained => {
                    idle_at = Some(Instant::now() + IDLE);
                    common.arrivals.take(message, ticket);
                }
                // It comes over the shared subscription, too.
                Event::Message(_, ticket) => acknowledge(ticket),
                Event::Subscribed(outcomes) => {
                    // Without client events, wills and silence must do.
                    common.granted(&status, outcomes.get(..1).unwrap_or_default())?;
                    idle_at = Some(Instant::now() + IDLE);
                }
                Event::Unsubscribed | Event::Taken { .. } => {}
            },
            () = common.arrivals.room(), if !listening => {}
            () = until(idle_at), if idle_at.is_some() => {
                idle_at = None;
                connection.unsubscribe(&status)?;
            }
            () = until(due), if due.is_some() => {
                if let Some((_, event)) = held_back.pop_front() {
                    common.arrivals.client(&event);
                }
            }
        }
    }
}

async fn until(moment: Option<Instant>) {
    match moment {
        Some(moment) => sleep_until(moment).await,
        None => std::future::pending().await,
    }
}

fn acknowledge(ticket: Option<Box<super::window::Ticket>>) {
    if let Some(ticket) = ticket {
        ticket.done();
    }
}
