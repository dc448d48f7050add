//! The few packets that the link needs, in either version of the protocol.

mod codec;
mod incoming;

use std::num::NonZeroU16;
use std::time::Duration;

use bytes::Bytes;
use bytestring::ByteString;
use dormouse_core::secret::Secret;

pub(super) use codec::Codec;

/// Reasons from here on are refusals.
const REFUSAL: u8 = 0x80;

/// A version of MQTT.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Version {
    /// MQTT 5
    V5,
    /// MQTT 3.1.1
    V311,
}

impl std::fmt::Display for Version {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::V5 => "MQTT 5",
            Self::V311 => "MQTT 3.1.1",
        })
    }
}

/// How a session is opened.
#[derive(Debug, Clone)]
pub(super) struct Hello {
    pub(super) client_id: String,
    pub(super) username: String,
    pub(super) password: Option<Secret>,
    pub(super) keep_alive: Duration,
    /// Whether what the broker holds of this client is forgotten.
    pub(super) clean: bool,
    /// How long the broker keeps the session without us.
    pub(super) expiry: Duration,
    /// Whether it will have a shared subscription.
    pub(super) shared: bool,
    /// How many messages the broker may have on their way to us.
    pub(super) receive_max: NonZeroU16,
}

/// What a broker says when it lets us in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Welcome {
    /// Whether it had kept the session.
    pub(super) session_present: bool,
    pub(super) shared: bool,
    pub(super) wildcards: bool,
    pub(super) qos1: bool,
    /// How long it keeps the session, where it says so.
    pub(super) expiry: Option<Duration>,
    /// How many messages may be on their way to it.
    pub(super) receive_max: u16,
    pub(super) keep_alive: Option<Duration>,
}

/// A message from the broker; until it is [detached](Message::detached), a
/// part of what was read with it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Message {
    pub(super) topic: ByteString,
    pub(super) payload: Bytes,
    pub(super) retained: bool,
    pub(super) id: Option<NonZeroU16>,
}

impl Message {
    /// The same message, for who keeps it: what was read with it would stay in
    /// memory as long as it does.
    pub(super) fn detached(self) -> Self {
        Self {
            topic: String::from(&*self.topic).into(),
            payload: Bytes::copy_from_slice(&self.payload),
            ..self
        }
    }
}

/// What a broker sends us.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Incoming {
    Welcome(Welcome),
    /// CONNACK with a reason against us.
    Unwelcome {
        code: u8,
    },
    Message(Message),
    /// PUBACK
    Taken {
        id: NonZeroU16,
        refused: Option<u8>,
    },
    /// SUBACK: for each filter whether it was granted, or why not.
    Subscribed(Vec<Result<(), u8>>),
    /// UNSUBACK
    Unsubscribed,
    Pong,
    /// DISCONNECT (MQTT 5)
    Closed {
        code: u8,
    },
}
/// Whether `answer` to an MQTT 5 CONNECT is that of a broker without MQTT 5.
pub(super) fn knows_no_v5(answer: &[u8]) -> bool {
    const UNSUPPORTED_V5: u8 = 0x84;
    match answer {
        [0x20, 0x02, _, 0x01, ..] => true,
        [0x20, _, _, code, ..] => *code == UNSUPPORTED_V5,
        _ => false,
    }
}
