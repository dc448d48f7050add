//! Why connections end, and why some never begin.

use std::fmt;

use crate::codec::{DecodeError, ReasonCode};
use crate::hooks::ConnectRefused;

/// Why a connected client is gone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Disconnect {
    /// It said goodbye.
    #[error("client disconnected")]
    Client,
    /// It said goodbye with a reason that publishes its will.
    #[error("client disconnected with reason {0}")]
    ClientWithWill(ReasonCode),
    /// The connection broke.
    #[error("connection lost")]
    ConnectionLost,
    /// Nothing came for one and a half keep-alive periods.
    #[error("keep-alive timeout")]
    KeepAliveTimeout,
    /// A newer connection of the same session or identity replaced it.
    #[error("taken over by a newer connection")]
    TakenOver,
    /// The application ended it.
    #[error("{0}")]
    Kicked(KickReason),
    /// It sent something malformed or forbidden.
    #[error("{0}")]
    BadPacket(#[from] DecodeError),
    /// It has more publications in flight than it may.
    #[error("more publications in flight than the receive maximum")]
    ReceiveMaximumExceeded,
    /// A publication could not be made safe, so the client must send it again.
    #[error("a publication could not be committed")]
    CommitFailed,
    /// It did not acknowledge a message by the message's deadline.
    #[error("a message was not acknowledged by its deadline")]
    AckOverdue,
    /// It took nothing for too long.
    #[error("client does not read")]
    SlowConsumer,
    /// The broker is stopping.
    #[error("server is stopping")]
    ServerStopping,
    /// The connection's task failed; a defect of ours or of the hooks.
    #[error("internal error")]
    Internal,
}

impl Disconnect {
    /// What an MQTT 5 client is told, if it can still be told.
    pub(crate) fn reason(self) -> Option<ReasonCode> {
        match self {
            Self::Client | Self::ClientWithWill(_) | Self::ConnectionLost => None,
            Self::KeepAliveTimeout => Some(ReasonCode::KEEP_ALIVE_TIMEOUT),
            Self::TakenOver => Some(ReasonCode::SESSION_TAKEN_OVER),
            Self::Kicked(KickReason::Revoked) => Some(ReasonCode::NOT_AUTHORIZED),
            Self::Kicked(KickReason::Administrative) => Some(ReasonCode::ADMINISTRATIVE_ACTION),
            Self::BadPacket(error) => Some(error.reason()),
            Self::ReceiveMaximumExceeded => Some(ReasonCode::RECEIVE_MAXIMUM_EXCEEDED),
            Self::CommitFailed => Some(ReasonCode::IMPLEMENTATION_SPECIFIC),
            Self::AckOverdue | Self::SlowConsumer => Some(ReasonCode::QUOTA_EXCEEDED),
            Self::ServerStopping => Some(ReasonCode::SERVER_SHUTTING_DOWN),
            Self::Internal => Some(ReasonCode::UNSPECIFIED),
        }
    }

    /// Whether the client's will is due. Not when it said goodbye, not when a
    /// newer connection stands in for it, not when it was revoked, and not when
    /// it is the broker that goes.
    #[must_use]
    pub fn publishes_will(self) -> bool {
        match self {
            Self::Client
            | Self::TakenOver
            | Self::Kicked(KickReason::Revoked)
            | Self::ServerStopping => false,
            Self::ClientWithWill(_)
            | Self::ConnectionLost
            | Self::KeepAliveTimeout
            | Self::Kicked(KickReason::Administrative)
            | Self::BadPacket(_)
            | Self::ReceiveMaximumExceeded
            | Self::CommitFailed
            | Self::AckOverdue
            | Self::SlowConsumer
            | Self::Internal => true,
        }
    }
}

/// Why the application ends a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KickReason {
    /// The identity lost its right: nothing more from it or to it, no will, and
    /// its sessions are forgotten.
    Revoked,
    /// An operator wants it to connect anew; its session stays.
    Administrative,
}

impl fmt::Display for KickReason {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Revoked => "credentials revoked",
            Self::Administrative => "disconnected by an administrator",
        })
    }
}

/// Why a connection did not become a client.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// There are too many connections.
    #[error("too many connections")]
    TooManyConnections,
    /// There are too many connections from this address.
    #[error("too many connections from this address")]
    TooManyFromAddress,
    /// It did not get through in time.
    #[error("no complete CONNECT in time")]
    ConnectTimeout,
    /// It closed before it sent a CONNECT.
    #[error("closed before CONNECT")]
    Closed,
    /// Its first packet is not a CONNECT that we take.
    #[error("{0}")]
    BadPacket(#[from] DecodeError),
    /// It wants an MQTT 5 authentication method; there is none.
    #[error("authentication method not supported")]
    AuthenticationMethod,
    /// MQTT 3.1.1: an empty client identifier wants a clean session.
    #[error("an empty client identifier needs a clean session")]
    EmptyClientId,
    /// The application refused it.
    #[error("refused: {0:?}")]
    Application(ConnectRefused),
    /// Its identity keeps being replaced; the connected one stays for now.
    #[error("identity conflict: held off")]
    HeldOff,
    /// There are too many sessions.
    #[error("too many sessions")]
    TooManySessions,
    /// The broker is stopping.
    #[error("server is stopping")]
    ServerStopping,
}

impl Refusal {
    /// What the client is told in its CONNACK, if it can be told anything.
    pub(crate) fn reason(self) -> Option<ReasonCode> {
        match self {
            Self::TooManyConnections
            | Self::TooManyFromAddress
            | Self::ConnectTimeout
            | Self::Closed => None,
            Self::BadPacket(error) => Some(error.reason()),
            Self::AuthenticationMethod => Some(ReasonCode::BAD_AUTHENTICATION_METHOD),
            Self::EmptyClientId => Some(ReasonCode::CLIENT_IDENTIFIER_NOT_VALID),
            Self::Application(refused) => Some(refused.reason()),
            Self::HeldOff | Self::TooManySessions => Some(ReasonCode::QUOTA_EXCEEDED),
            Self::ServerStopping => Some(ReasonCode::SERVER_SHUTTING_DOWN),
        }
    }
}
