//! MQTT 3.1.1 and 5.0 on the wire: frames, what clients send (decoded without
//! copying) and what a server answers.
//!
//! Everything here is pure: bytes in, values out. Nothing is allocated while a
//! packet is decoded; strings and payloads point into the connection's buffer.

mod ack;
mod connect;
mod encode;
mod frame;
mod property;
mod publish;
mod reader;
mod reason;
mod subscribe;
#[cfg(test)]
mod tests;

pub(crate) use ack::{AckKind, AckPacket, DisconnectPacket};
pub(crate) use connect::{ConnectPacket, WillPacket, peek_protocol};
pub(crate) use encode::{
    ConnAck, OutgoingPublish, connack, disconnect, ping_response, publish, publish_ack,
    publish_size, suback, unsuback,
};
pub(crate) use frame::{Frame, Framed, next_frame};
pub(crate) use publish::PublishPacket;
pub use publish::{MessageProperties, UserProperties};
pub use reason::ReasonCode;
pub(crate) use reason::{connack_code_v3, suback_code};
pub(crate) use subscribe::{RetainHandling, SubscribeOptions, SubscribePacket, UnsubscribePacket};

/// Which MQTT a client speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Protocol {
    /// MQTT 3.1.1.
    V311,
    /// MQTT 5.0.
    V5,
}

/// How hard both sides try to deliver a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub enum QoS {
    /// QoS 0: sent once, never acknowledged.
    #[default]
    AtMostOnce = 0,
    /// QoS 1: sent until acknowledged.
    AtLeastOnce = 1,
    /// QoS 2: sent until acknowledged, and handed on once.
    ExactlyOnce = 2,
}

impl QoS {
    /// The level's number on the wire.
    #[must_use]
    pub fn level(self) -> u8 {
        match self {
            Self::AtMostOnce => 0,
            Self::AtLeastOnce => 1,
            Self::ExactlyOnce => 2,
        }
    }

    /// The level with this number, if there is one.
    #[must_use]
    pub fn from_level(level: u8) -> Option<Self> {
        match level {
            0 => Some(Self::AtMostOnce),
            1 => Some(Self::AtLeastOnce),
            2 => Some(Self::ExactlyOnce),
            _ => None,
        }
    }
}

/// Why bytes are not a packet we can take. Each ends the connection it came on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// The bytes break the packet format.
    #[error("malformed packet: {0}")]
    Malformed(&'static str),
    /// The packet is well formed, but not allowed here.
    #[error("protocol error: {0}")]
    Protocol(&'static str),
    /// The packet is larger than this connection may send.
    #[error("a packet of {size} bytes is over the limit of {limit}")]
    TooLarge {
        /// Size of the whole packet in bytes.
        size: usize,
        /// The limit in bytes.
        limit: usize,
    },
    /// A CONNECT for an MQTT version other than 3.1.1 and 5.0.
    #[error("protocol level {0} is not supported, only 4 (MQTT 3.1.1) and 5 (MQTT 5.0)")]
    UnsupportedVersion(u8),
    /// A topic that is empty or holds a wildcard or a null character.
    #[error("invalid topic name")]
    InvalidTopic,
    /// A topic alias of 0 or above what we allow.
    #[error("invalid topic alias")]
    InvalidTopicAlias,
}

impl DecodeError {
    /// The MQTT 5 reason that tells the client.
    pub(crate) fn reason(self) -> ReasonCode {
        match self {
            Self::Malformed(_) => ReasonCode::MALFORMED_PACKET,
            Self::Protocol(_) => ReasonCode::PROTOCOL_ERROR,
            Self::TooLarge { .. } => ReasonCode::PACKET_TOO_LARGE,
            Self::UnsupportedVersion(_) => ReasonCode::UNSUPPORTED_PROTOCOL_VERSION,
            Self::InvalidTopic => ReasonCode::TOPIC_NAME_INVALID,
            Self::InvalidTopicAlias => ReasonCode::TOPIC_ALIAS_INVALID,
        }
    }
}

/// One packet from a client that is already connected.
#[derive(Debug)]
pub(crate) enum ClientPacket<'a> {
    /// A message.
    Publish(PublishPacket<'a>),
    /// An answer in a QoS 1 or QoS 2 exchange.
    Ack(AckPacket),
    /// Wants topics.
    Subscribe(SubscribePacket<'a>),
    /// Wants topics no more.
    Unsubscribe(UnsubscribePacket<'a>),
    /// Shows life.
    PingRequest,
    /// Leaves.
    Disconnect(DisconnectPacket),
}

/// Decodes one frame from a connected client.
///
/// # Errors
/// [`DecodeError`] if the frame is not a packet that a connected client may send.
pub(crate) fn decode(
    frame: Frame<'_>,
    protocol: Protocol,
) -> Result<ClientPacket<'_>, DecodeError> {
    let body = frame.body;
    match frame.kind() {
        3 => PublishPacket::decode(frame.flags(), body, protocol).map(ClientPacket::Publish),
        kind @ 4..=7 => {
            AckPacket::decode(kind, frame.flags(), body, protocol).map(ClientPacket::Ack)
        }
        8 => SubscribePacket::decode(frame.flags(), body, protocol).map(ClientPacket::Subscribe),
        10 => {
            UnsubscribePacket::decode(frame.flags(), body, protocol).map(ClientPacket::Unsubscribe)
        }
        12 if frame.flags() != 0 || !body.is_empty() => Err(DecodeError::Malformed(
            "PINGREQ has no flags and no content",
        )),
        12 => Ok(ClientPacket::PingRequest),
        14 => DisconnectPacket::decode(frame.flags(), body, protocol).map(ClientPacket::Disconnect),
        1 => Err(DecodeError::Protocol("a second CONNECT")),
        15 if protocol == Protocol::V5 => Err(DecodeError::Protocol(
            "AUTH without an agreed authentication method",
        )),
        0 | 15 => Err(DecodeError::Malformed("reserved packet type")),
        _ => Err(DecodeError::Protocol("a packet that only a server sends")),
    }
}
