//! The state of one connected client.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::aliases::{InboundAliases, OutboundAliases};
use super::end::Attachment;
use super::window::Window;
use crate::codec::Protocol;
use crate::stats::count;

/// What the connection and its client have agreed on.
#[derive(Debug, Clone, Copy)]
pub(super) struct Agreed {
    pub(super) protocol: Protocol,
    /// QoS 1 and 2 messages that may be on their way to the client at once.
    pub(super) outbound_inflight: usize,
    /// The largest packet the client takes, in bytes.
    pub(super) maximum_packet_size: usize,
    /// Topic aliases that the client takes.
    pub(super) topic_aliases: u16,
    /// The connection ends when nothing came for so long.
    pub(super) silence: Option<Duration>,
    /// Whether the client asked for a session that outlives the connection.
    pub(super) persistent: bool,
}

/// A connected client.
#[derive(Debug)]
pub(super) struct Client {
    pub(super) attachment: Attachment,
    pub(super) agreed: Agreed,
    pub(super) window: Window,
    pub(super) aliases_in: InboundAliases,
    pub(super) aliases_out: OutboundAliases,
    /// The last topic passed on: a device publishes to few.
    pub(super) last_topic: Option<Arc<str>>,
    pub(super) last_read: Instant,
    /// The earliest time by which a message must be acknowledged, or earlier.
    pub(super) ack_deadline: Option<Instant>,
    pub(super) tally: Tally,
}

impl Client {
    pub(super) fn new(attachment: Attachment, agreed: Agreed, now: Instant) -> Self {
        let limits = &attachment.shared.limits;
        Self {
            window: Window::new(limits.inbound_inflight),
            aliases_in: InboundAliases::new(limits.topic_aliases),
            aliases_out: OutboundAliases::new(agreed.topic_aliases.min(limits.topic_aliases)),
            attachment,
            agreed,
            last_topic: None,
            last_read: now,
            ack_deadline: None,
            tally: Tally::default(),
        }
    }

    /// Adds what was counted since the last time to the broker's counters.
    pub(super) fn flush_tally(&mut self) {
        let tally = std::mem::take(&mut self.tally);
        let counters = &self.attachment.shared.counters;
        count(&counters.messages_in, tally.messages_in);
        count(&counters.messages_out, tally.messages_out);
        count(&counters.bytes_in, tally.bytes_in);
        count(&counters.bytes_out, tally.bytes_out);
    }
}

/// Counts of one poll, kept here so that the shared counters are touched once.
#[derive(Debug, Default)]
pub(super) struct Tally {
    pub(super) messages_in: u64,
    pub(super) messages_out: u64,
    pub(super) bytes_in: u64,
    pub(super) bytes_out: u64,
}

/// A topic as a shared string; the last one is reused.
pub(super) fn share(last: &mut Option<Arc<str>>, topic: &str) -> Arc<str> {
    match last {
        Some(last) if **last == *topic => last.clone(),
        Some(_) | None => {
            let shared = Arc::<str>::from(topic);
            *last = Some(shared.clone());
            shared
        }
    }
}
