//! Messages on their way to the broker.

use std::collections::BTreeMap;
use std::num::NonZeroU16;
use std::time::Duration;

use bytes::Bytes;
use dormouse_core::ports::NotSent;
use tokio::sync::mpsc;
use tokio::time::Instant;

use super::connection::{Connection, MESSAGE_IDS};
use super::problem::LinkError;

/// Messages that wait to be written; one that finds the queue full is refused.
const QUEUE: usize = 4_096;
/// Messages that may be on their way to the broker, if it allows as many; more
/// wait in the queue.
const IN_FLIGHT: u16 = 1_024;

/// A message of ours.
#[derive(Debug)]
pub(super) struct Outgoing {
    pub(super) topic: String,
    pub(super) payload: Bytes,
    /// Nobody wants it any more after this.
    pub(super) expires: Instant,
}

/// Where messages are put in.
#[derive(Debug, Clone)]
pub(super) struct Slit(mpsc::Sender<Outgoing>);

/// The messages on their way, across connections.
#[derive(Debug)]
pub(super) struct Outbox {
    queue: mpsc::Receiver<Outgoing>,
    /// Those the broker has not acknowledged.
    in_flight: BTreeMap<NonZeroU16, Outgoing>,
    last_id: u16,
    limit: usize,
}

impl Slit {
    /// Puts a message in.
    ///
    /// # Errors
    /// When the queue is full.
    pub(super) fn put(&self, outgoing: Outgoing) -> Result<(), NotSent> {
        self.0
            .try_send(outgoing)
            .map_err(|_| NotSent("too many messages wait for the broker".to_owned()))
    }
}

/// An empty outbox and its slit.
pub(super) fn outbox() -> (Slit, Outbox) {
    let (sender, queue) = mpsc::channel(QUEUE);
    let outbox = Outbox {
        queue,
        in_flight: BTreeMap::new(),
        last_id: 0,
        limit: usize::from(IN_FLIGHT),
    };
    (Slit(sender), outbox)
}

impl Outbox {
    /// Begins a connection: what the broker did not acknowledge on the last
    /// one is sent again, unless nobody wants it any more: a command is never
    /// sent after its time.
    ///
    /// # Errors
    /// When a message cannot be encoded.
    pub(super) fn resume(&mut self, connection: &mut Connection) -> Result<(), LinkError> {
        self.limit = usize::from(connection.receive_max().clamp(1, IN_FLIGHT));
        let now = Instant::now();
        self.in_flight.retain(|_, outgoing| outgoing.expires > now);
        for (id, outgoing) in &self.in_flight {
            send(connection, (*id, true), outgoing, now)?;
        }
        Ok(())
    }

    /// The next message that may be sent. Cancelling it loses nothing.
    pub(super) async fn next(&mut self) -> Outgoing {
        loop {
            if self.in_flight.len() >= self.limit {
                return std::future::pending().await;
            }
            match self.queue.recv().await {
                Some(outgoing) if outgoing.expires > Instant::now() => return outgoing,
                Some(_) => {}
                None => return std::future::pending().await,
            }
        }
    }

    /// The next message that waits already.
    pub(super) fn waiting(&mut self) -> Option<Outgoing> {
        if self.in_flight.len() >= self.limit {
            return None;
        }
        self.queue.try_recv().ok()
    }

    /// Sends a message.
    ///
    /// # Errors
    /// When it cannot be encoded.
    pub(super) fn send(
        &mut self,
        connection: &mut Connection,
        outgoing: Outgoing,
    ) -> Result<(), LinkError> {
        let id = self.free_id();
        send(connection, (id, false), &outgoing, Instant::now())?;
        self.in_flight.insert(id, outgoing);
        Ok(())
    }

    /// The broker has the message with this identifier, or refused it; hands
    /// the message back.
    pub(super) fn taken(&mut self, id: NonZeroU16) -> Option<Outgoing> {
        self.in_flight.remove(&id)
    }

    /// How many messages the broker has not acknowledged.
    pub(super) fn in_flight(&self) -> usize {
        self.in_flight.len()
    }

    /// The next identifier in turn that no message on its way has. There is
    /// always one: fewer are on their way than there are identifiers.
    fn free_id(&mut self) -> NonZeroU16 {
        loop {
            self.last_id = self.last_id % MESSAGE_IDS + 1;
            if let Some(id) = NonZeroU16::new(self.last_id)
                && !self.in_flight.contains_key(&id)
            {
                return id;
            }
        }
    }
}

fn send(
    connection: &mut Connection,
    id: (NonZeroU16, bool),
    outgoing: &Outgoing,
    now: Instant,
) -> Result<(), LinkError> {
    let left: Duration = outgoing.expires.saturating_duration_since(now);
    connection.publish(&outgoing.topic, &outgoing.payload, id, left)
}
