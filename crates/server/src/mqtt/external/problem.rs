//! Why the link does not work, for the person who can change it.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use dormouse_core::ports::PortError;

use super::wire::Version;

/// Why the link to the broker does not work. Says which setting is concerned,
/// what was tried and what to do; never a secret.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum LinkError {
    /// A setting cannot be used.
    #[error("{key}: {problem}")]
    Setting {
        /// Which one.
        key: &'static str,
        /// What is wrong with it.
        problem: String,
    },
    /// Nobody answered.
    #[error(
        "broker.url: cannot connect to {address}: {cause}; is the broker running, and may this machine reach it?"
    )]
    Unreachable {
        /// Host and port.
        address: Arc<str>,
        /// What the system said.
        cause: Arc<io::Error>,
    },
    /// The connection was made and the answer did not come.
    #[error(
        "broker.url: {address} did not answer {what} within {} s; is it an MQTT broker, and is the port the right one (1883 plain, 8883 TLS)?", .after.as_secs()
    )]
    NoAnswer {
        /// Host and port.
        address: Arc<str>,
        /// What was tried.
        what: &'static str,
        /// How long was waited.
        after: Duration,
    },
    /// The other side hung up before it had answered.
    #[error(
        "broker.url: {address} closed the connection instead of answering the MQTT greeting ({cause}); is it an MQTT broker, and does that port want TLS (mqtts://)?"
    )]
    HungUp {
        /// Host and port.
        address: Arc<str>,
        /// What the system said.
        cause: Arc<io::Error>,
    },
    /// TLS could not be agreed upon.
    #[error("broker.url: TLS with {address} failed: {cause}; {advice}")]
    Tls {
        /// Host and port.
        address: Arc<str>,
        /// What the library said.
        cause: Arc<io::Error>,
        /// What to look at.
        advice: &'static str,
    },
    /// The broker refused the connection.
    #[error("the broker refused account '{username}' as client '{client_id}': {}", refusal(*.version, *.code))]
    Refused {
        /// The account.
        username: String,
        /// The client id.
        client_id: String,
        /// In which version it was asked.
        version: Spoken,
        /// Its reason code.
        code: u8,
    },
    /// The broker has no such feature.
    #[error("broker.url: this broker does not support {what}, which Dormouse needs; {remedy}")]
    Lacks {
        /// What is missing.
        what: &'static str,
        /// What to do.
        remedy: &'static str,
    },
    /// The account may not subscribe.
    #[error(
        "the broker denies account '{username}' (broker.username) the subscription to '{filter}' (reason 0x{code:02x}); allow it to subscribe to {allowed}"
    )]
    Denied {
        /// The account.
        username: String,
        /// The filter.
        filter: String,
        /// The reason code.
        code: u8,
        /// What the account needs.
        allowed: String,
    },
    /// The connection ended.
    #[error("the connection to the broker was lost: {0}")]
    Lost(Arc<io::Error>),
    /// The broker closed the connection and said why.
    #[error("the broker closed the connection: {}", closing(*.0))]
    Closed(u8),
    /// The broker broke the protocol.
    #[error("broker.url: the broker sent {0}; is it an MQTT broker?")]
    Unexpected(&'static str),
    /// The broker sent something that is no packet.
    #[error("broker.url: what the broker sent cannot be read ({0}); is it an MQTT broker?")]
    Unreadable(String),
    /// A message could not be kept, so the broker must send it again.
    #[error("messages cannot be stored now, so the broker keeps them")]
    NotKept,
    /// Our lease on the client id ran out.
    #[error("another node has taken this node's broker session over")]
    Fenced,
    /// The store of leases does not answer.
    #[error("the database that keeps the leases does not answer: {0}")]
    Leases(Arc<PortError>),
}

/// A version of MQTT, for messages.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Spoken(pub(super) Version);

impl LinkError {
    /// Whether the broker would rather be asked again.
    pub(super) const fn is_busy(&self) -> bool {
        let Self::Refused { version, code, .. } = self else {
            return false;
        };
        matches!((version.0, *code), (Version::V5, 0x89))
    }

    pub(super) fn setting(key: &'static str, problem: impl Into<String>) -> Self {
        Self::Setting {
            key,
            problem: problem.into(),
        }
    }

    /// The same, naming no host: for those who may not know where the broker
    /// is.
    #[must_use]
    pub fn without_host(&self) -> String {
        let text = self.to_string();
        match self {
            Self::Unreachable { address, .. }
            | Self::NoAnswer { address, .. }
            | Self::HungUp { address, .. }
            | Self::Tls { address, .. } => text.replace(&**address, "the broker"),
            Self::Setting { .. }
            | Self::Refused { .. }
            | Self::Lacks { .. }
            | Self::Denied { .. }
            | Self::Lost(_)
            | Self::Closed(_)
            | Self::Unexpected(_)
            | Self::Unreadable(_)
            | Self::NotKept
            | Self::Fenced
            | Self::Leases(_) => text,
        }
    }
}

impl From<io::Error> for LinkError {
    fn from(error: io::Error) -> Self {
        Self::Lost(Arc::new(error))
    }
}

impl From<PortError> for LinkError {
    fn from(error: PortError) -> Self {
        Self::Leases(Arc::new(error))
    }
}

impl From<rmqtt_codec::error::DecodeError> for LinkError {
    fn from(error: rmqtt_codec::error::DecodeError) -> Self {
        Self::Unreadable(format!("{error:?}"))
    }
}

impl From<rmqtt_codec::error::EncodeError> for LinkError {
    fn from(error: rmqtt_codec::error::EncodeError) -> Self {
        Self::Unreadable(format!("our own packet: {error:?}"))
    }
}

fn refusal(version: Spoken, code: u8) -> &'static str {
    match (version.0, code) {
        (Version::V5, 0x84) | (Version::V311, 1) => {
            "it does not speak this version of MQTT; set broker.version to \"auto\""
        }
        (Version::V5, 0x85) | (Version::V311, 2) => {
            "the client id is not accepted; see broker.client_id_prefix"
        }
        (Version::V5, 0x88 | 0x89) | (Version::V311, 3) => "it is not available now",
        (Version::V5, 0x86) | (Version::V311, 4) => {
            "wrong user name or password; see broker.username and broker.password_file"
        }
        (Version::V5, 0x87) | (Version::V311, 5) => {
            "not authorized; see broker.username, broker.password_file and the broker's access rules"
        }
        (Version::V5, 0x8A) => "banned; lift the ban at the broker",
        (Version::V5, 0x97 | 0x9F) => "its quota or rate of connections is used up",
        (Version::V5, 0x9C | 0x9D) => "it points to another server; change broker.url",
        _ => "for a reason of its own; see the broker's log",
    }
}

fn closing(code: u8) -> &'static str {
    match code {
        0x8B => "it is shutting down",
        0x8D => "it heard nothing for too long",
        0x8E => "another client took over the session; is broker.client_id_prefix unique?",
        0x87 => "not authorized",
        0x93 => "too many messages at once",
        0x95 => "a packet was too large",
        0x97 => "its quota is used up",
        0x98 => "somebody at the broker asked for it",
        _ => "for a reason of its own; see the broker's log",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_everybody_may_read_names_no_host() {
        let address: Arc<str> = "mqtt.example:1883".into();
        let cause = Arc::new(io::Error::from(io::ErrorKind::ConnectionRefused));
        let errors = [
            LinkError::Unreachable {
                address: address.clone(),
                cause: cause.clone(),
            },
            LinkError::NoAnswer {
                address: address.clone(),
                what: "the greeting",
                after: Duration::from_secs(5),
            },
            LinkError::HungUp {
                address: address.clone(),
                cause: cause.clone(),
            },
            LinkError::Tls {
                address,
                cause,
                advice: "look at its certificate",
            },
        ];
        for error in errors {
            assert!(error.to_string().contains("mqtt.example"), "{error}");
            let told = error.without_host();
            assert!(
                told.contains("the broker") && !told.contains("mqtt.example"),
                "{told}"
            );
        }
    }
}
