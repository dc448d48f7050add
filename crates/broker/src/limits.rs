//! What the broker takes at most. Every queue and table in it is bounded by one
//! of these.

use std::time::Duration;

/// Bounds with sensible defaults for a fleet of some ten thousand devices.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// Open connections. One more is closed as soon as it is accepted.
    pub connections: usize,
    /// Open connections from one address: high, since a whole building may sit
    /// behind one.
    pub connections_per_ip: usize,
    /// New connections taken per second on average; the others wait in the
    /// system's accept queue.
    pub connects_per_s: u32,
    /// New connections that may come at once before the rate applies.
    pub connect_burst: u32,
    /// Time from accepting a connection to the end of its authentication.
    pub connect_timeout: Duration,
    /// Size of a CONNECT in bytes.
    pub connect_packet_bytes: usize,
    /// Size of any later packet from a client in bytes.
    pub packet_bytes: usize,
    /// QoS 1 and 2 publications of one client that wait for their
    /// acknowledgement (the receive maximum of MQTT 5). Reading pauses there.
    pub inbound_inflight: u16,
    /// QoS 1 and 2 messages on their way to one client at once; the client's
    /// own receive maximum may be lower.
    pub outbound_inflight: u16,
    /// Messages waiting for one session. When full, the new message is dropped.
    pub queue_messages: usize,
    /// Bytes (topics, payloads, properties) waiting for one session.
    pub queue_bytes: usize,
    /// Bytes waiting for all sessions together.
    pub total_queue_bytes: usize,
    /// Subscriptions of one session.
    pub subscriptions: usize,
    /// Retained messages. When full, a message on a new topic is passed on, but
    /// not retained.
    pub retained_messages: usize,
    /// Bytes of all retained messages together.
    pub retained_bytes: usize,
    /// Sessions kept, connected or not.
    pub sessions: usize,
    /// How long the session of an absent client is kept at most, in seconds.
    /// It also applies to MQTT 3.1.1, whose persistent sessions know no end.
    pub session_expiry_s: u32,
    /// Topic aliases a client may set, and that we set for a client (MQTT 5).
    pub topic_aliases: u16,
    /// The longest keep-alive of an MQTT 5 client in seconds; a longer one is
    /// replaced. 0 leaves it to the client.
    pub keep_alive_s: u16,
    /// A client that takes nothing for so long is disconnected.
    pub write_timeout: Duration,
    /// How long publications wait for their commit when their client has gone or
    /// the broker stops.
    pub linger: Duration,
    /// Takeovers of one identity within a minute before it is held off.
    pub swaps_per_min: u32,
    /// How long new connections of a held-off identity are refused while one is
    /// connected.
    pub hold_off: Duration,
    /// Time for connections to end when the broker stops.
    pub stop_timeout: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections: 20_000,
            connections_per_ip: 15_000,
            connects_per_s: 5_000,
            connect_burst: 20_000,
            connect_timeout: Duration::from_secs(10),
            connect_packet_bytes: 4 * 1024,
            packet_bytes: 64 * 1024,
            inbound_inflight: 128,
            outbound_inflight: 64,
            queue_messages: 1_000,
            queue_bytes: 1024 * 1024,
            total_queue_bytes: 256 * 1024 * 1024,
            subscriptions: 100,
            retained_messages: 100_000,
            retained_bytes: 64 * 1024 * 1024,
            sessions: 30_000,
            session_expiry_s: 7 * 24 * 3600,
            topic_aliases: 16,
            keep_alive_s: 60,
            write_timeout: Duration::from_secs(20),
            linger: Duration::from_secs(5),
            swaps_per_min: 3,
            hold_off: Duration::from_secs(60),
            stop_timeout: Duration::from_secs(10),
        }
    }
}

impl Limits {
    /// Checks that the bounds make sense together.
    ///
    /// # Errors
    /// A sentence naming the field and the rule.
    pub fn check(&self) -> Result<(), LimitError> {
        let at_least_one = [
            ("connections", self.connections),
            ("connections_per_ip", self.connections_per_ip),
            ("connects_per_s", self.connects_per_s as usize),
            ("connect_burst", self.connect_burst as usize),
            ("inbound_inflight", self.inbound_inflight.into()),
            ("outbound_inflight", self.outbound_inflight.into()),
            ("queue_messages", self.queue_messages),
            ("queue_bytes", self.queue_bytes),
            ("total_queue_bytes", self.total_queue_bytes),
            ("sessions", self.sessions),
        ];
        for (field, value) in at_least_one {
            if value == 0 {
                return Err(LimitError {
                    field,
                    rule: "must be at least 1",
                });
            }
        }
        for (field, value) in [
            ("connect_packet_bytes", self.connect_packet_bytes),
            ("packet_bytes", self.packet_bytes),
        ] {
            if !(64..=268_435_460).contains(&value) {
                return Err(LimitError {
                    field,
                    rule: "must be from 64 to 268435460 bytes",
                });
            }
        }
        for (field, value) in [
            ("inbound_inflight", self.inbound_inflight),
            ("outbound_inflight", self.outbound_inflight),
        ] {
            if value > 4096 {
                return Err(LimitError {
                    field,
                    rule: "must be at most 4096",
                });
            }
        }
        Ok(())
    }
}

/// A limit that makes no sense.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("limit {field} {rule}")]
pub struct LimitError {
    /// The field of [`Limits`].
    pub field: &'static str,
    /// The rule that it breaks.
    pub rule: &'static str,
}
