//! Messages: as the application hands them in, and as the broker keeps them.

use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use tokio::time::Instant;

use crate::codec::{MessageProperties, PublishPacket, QoS, WillPacket};

/// A message that the application publishes through
/// [`BrokerHandle`](crate::BrokerHandle).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    /// The topic's name, without wildcards.
    pub topic: Arc<str>,
    /// The content.
    pub payload: Bytes,
    /// How hard to try; a subscriber gets the lower of this and what it asked for.
    pub qos: QoS,
    /// Whether to keep it for later subscribers. An empty payload then clears
    /// what is kept.
    pub retain: bool,
    /// After this the message is dropped wherever it still waits.
    pub expiry: Option<Duration>,
    /// A subscriber that has been sent the message with QoS 1 or 2 and has not
    /// acknowledged it after this long is disconnected, and the message
    /// forgotten; one that has not been sent it by then never is.
    pub ack_deadline: Option<Duration>,
}

impl Message {
    /// A QoS 0 message that is not retained and does not expire.
    pub fn new(topic: impl Into<Arc<str>>, payload: impl Into<Bytes>) -> Self {
        Self {
            topic: topic.into(),
            payload: payload.into(),
            qos: QoS::AtMostOnce,
            retain: false,
            expiry: None,
            ack_deadline: None,
        }
    }

    /// The same message with this QoS.
    #[must_use]
    pub fn qos(mut self, qos: QoS) -> Self {
        self.qos = qos;
        self
    }

    /// The same message, retained.
    #[must_use]
    pub fn retained(mut self) -> Self {
        self.retain = true;
        self
    }

    /// The same message, dropped after `expiry`.
    #[must_use]
    pub fn expiry(mut self, expiry: Duration) -> Self {
        self.expiry = Some(expiry);
        self
    }

    /// The same message, to be acknowledged within `deadline`.
    #[must_use]
    pub fn ack_deadline(mut self, deadline: Duration) -> Self {
        self.ack_deadline = Some(deadline);
        self
    }
}

/// A message inside the broker, shared by everyone it waits for.
#[derive(Debug)]
pub(crate) struct Stored {
    pub(crate) topic: Arc<str>,
    pub(crate) payload: Bytes,
    pub(crate) qos: QoS,
    pub(crate) retain: bool,
    pub(crate) expires_at: Option<Instant>,
    pub(crate) ack_by: Option<Instant>,
    /// Encoded properties that travel with the message.
    pub(crate) forwarded: Bytes,
    /// The mailbox of the publisher, 0 for the application.
    pub(crate) from: u64,
}

impl Stored {
    pub(crate) fn of_message(message: Message, now: Instant) -> Self {
        Self {
            topic: message.topic,
            payload: message.payload,
            qos: message.qos,
            retain: message.retain,
            expires_at: message.expiry.and_then(|expiry| now.checked_add(expiry)),
            ack_by: message
                .ack_deadline
                .and_then(|deadline| now.checked_add(deadline)),
            forwarded: Bytes::new(),
            from: 0,
        }
    }

    /// Copies a client's publication out of the connection's buffer.
    pub(crate) fn of_packet(
        packet: &PublishPacket<'_>,
        topic: Arc<str>,
        from: u64,
        now: Instant,
    ) -> Self {
        Self {
            topic,
            payload: Bytes::copy_from_slice(packet.payload),
            qos: packet.qos,
            retain: packet.retain,
            expires_at: expires_at(packet.expiry_s, now),
            ack_by: None,
            forwarded: forwarded(packet.properties),
            from,
        }
    }

    /// What the message takes of a queue, in bytes.
    pub(crate) fn size_bytes(&self) -> usize {
        self.topic.len() + self.payload.len() + self.forwarded.len()
    }

    /// Whether nobody may be sent the message any more.
    pub(crate) fn is_stale(&self, now: Instant) -> bool {
        self.expires_at.is_some_and(|at| at <= now) || self.ack_by.is_some_and(|at| at <= now)
    }

    /// What is left of the message's life in whole seconds, rounded up.
    pub(crate) fn expiry_s(&self, now: Instant) -> Option<u32> {
        let left = self.expires_at?.saturating_duration_since(now);
        let seconds = left.as_secs() + u64::from(left.subsec_nanos() > 0);
        Some(u32::try_from(seconds).unwrap_or(u32::MAX))
    }
}

/// A will as it waits for its connection to break.
#[derive(Debug)]
pub(crate) struct Will {
    pub(crate) topic: Arc<str>,
    pub(crate) payload: Bytes,
    pub(crate) qos: QoS,
    pub(crate) retain: bool,
    pub(crate) delay: Duration,
    pub(crate) expiry_s: Option<u32>,
    pub(crate) forwarded: Bytes,
}

impl Will {
    pub(crate) fn of_packet(packet: &WillPacket<'_>) -> Self {
        Self {
            topic: packet.topic.into(),
            payload: Bytes::copy_from_slice(packet.payload),
            qos: packet.qos,
            retain: packet.retain,
            delay: Duration::from_secs(packet.delay_s.into()),
            expiry_s: packet.expiry_s,
            forwarded: forwarded(packet.properties),
        }
    }

    /// The will as a message that is published now.
    pub(crate) fn into_stored(self, from: u64, now: Instant) -> Stored {
        Stored {
            topic: self.topic,
            payload: self.payload,
            qos: self.qos,
            retain: self.retain,
            expires_at: expires_at(self.expiry_s, now),
            ack_by: None,
            forwarded: self.forwarded,
            from,
        }
    }
}

fn expires_at(expiry_s: Option<u32>, now: Instant) -> Option<Instant> {
    expiry_s.and_then(|seconds| now.checked_add(Duration::from_secs(seconds.into())))
}

fn forwarded(properties: MessageProperties<'_>) -> Bytes {
    let mut out = BytesMut::new();
    properties.put_forwarded(&mut out);
    out.freeze()
}
