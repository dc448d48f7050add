//! MQTT 5 reason codes, and what stands for them in MQTT 3.1.1.

use std::fmt;

/// An MQTT 5 reason code: below `0x80` is a success, from there a failure.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct ReasonCode(pub u8);

impl ReasonCode {
    /// Success, granted QoS 0, or a normal disconnection.
    pub const SUCCESS: Self = Self(0x00);
    /// A DISCONNECT that asks for the will to be published.
    pub const DISCONNECT_WITH_WILL: Self = Self(0x04);
    /// The subscription to end did not exist.
    pub const NO_SUBSCRIPTION_EXISTED: Self = Self(0x11);
    /// A failure without a more precise reason.
    pub const UNSPECIFIED: Self = Self(0x80);
    /// The bytes break the packet format.
    pub const MALFORMED_PACKET: Self = Self(0x81);
    /// A packet that is not allowed here.
    pub const PROTOCOL_ERROR: Self = Self(0x82);
    /// Valid, but the receiver does not take it.
    pub const IMPLEMENTATION_SPECIFIC: Self = Self(0x83);
    /// The MQTT version is not supported.
    pub const UNSUPPORTED_PROTOCOL_VERSION: Self = Self(0x84);
    /// The client identifier is not allowed.
    pub const CLIENT_IDENTIFIER_NOT_VALID: Self = Self(0x85);
    /// Wrong user name or password.
    pub const BAD_USER_NAME_OR_PASSWORD: Self = Self(0x86);
    /// Not allowed to do this.
    pub const NOT_AUTHORIZED: Self = Self(0x87);
    /// The server cannot serve now.
    pub const SERVER_UNAVAILABLE: Self = Self(0x88);
    /// The server is busy; try again later.
    pub const SERVER_BUSY: Self = Self(0x89);
    /// The client is banned.
    pub const BANNED: Self = Self(0x8A);
    /// The server is stopping.
    pub const SERVER_SHUTTING_DOWN: Self = Self(0x8B);
    /// The authentication method is not supported.
    pub const BAD_AUTHENTICATION_METHOD: Self = Self(0x8C);
    /// Nothing arrived within one and a half keep-alive periods.
    pub const KEEP_ALIVE_TIMEOUT: Self = Self(0x8D);
    /// A newer connection took the session over.
    pub const SESSION_TAKEN_OVER: Self = Self(0x8E);
    /// The topic filter is not allowed.
    pub const TOPIC_FILTER_INVALID: Self = Self(0x8F);
    /// The topic name is not allowed.
    pub const TOPIC_NAME_INVALID: Self = Self(0x90);
    /// The packet identifier is in use.
    pub const PACKET_ID_IN_USE: Self = Self(0x91);
    /// The packet identifier is not known.
    pub const PACKET_ID_NOT_FOUND: Self = Self(0x92);
    /// More publications in flight than the receive maximum.
    pub const RECEIVE_MAXIMUM_EXCEEDED: Self = Self(0x93);
    /// A topic alias of 0, above the maximum, or never set.
    pub const TOPIC_ALIAS_INVALID: Self = Self(0x94);
    /// The packet is over the maximum size.
    pub const PACKET_TOO_LARGE: Self = Self(0x95);
    /// The data rate is too high.
    pub const MESSAGE_RATE_TOO_HIGH: Self = Self(0x96);
    /// A limit was reached.
    pub const QUOTA_EXCEEDED: Self = Self(0x97);
    /// An administrator ended the connection.
    pub const ADMINISTRATIVE_ACTION: Self = Self(0x98);
    /// The payload does not have the format it should have.
    pub const PAYLOAD_FORMAT_INVALID: Self = Self(0x99);

    /// Whether this is a failure.
    #[must_use]
    pub fn is_failure(self) -> bool {
        self.0 >= 0x80
    }
}

impl fmt::Debug for ReasonCode {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "0x{:02X}", self.0)
    }
}

impl fmt::Display for ReasonCode {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, formatter)
    }
}

/// The MQTT 3.1.1 return code of a CONNACK for an MQTT 5 reason.
pub(crate) fn connack_code_v3(reason: ReasonCode) -> u8 {
    match reason {
        ReasonCode::SUCCESS => 0,
        ReasonCode::UNSUPPORTED_PROTOCOL_VERSION => 1,
        ReasonCode::CLIENT_IDENTIFIER_NOT_VALID => 2,
        ReasonCode::BAD_USER_NAME_OR_PASSWORD => 4,
        ReasonCode::NOT_AUTHORIZED | ReasonCode::BANNED => 5,
        _ => 3,
    }
}

/// A SUBACK's code: MQTT 3.1.1 knows one failure only.
pub(crate) fn suback_code(reason: ReasonCode, protocol: super::Protocol) -> u8 {
    match protocol {
        super::Protocol::V311 if reason.is_failure() => 0x80,
        super::Protocol::V311 | super::Protocol::V5 => reason.0,
    }
}
