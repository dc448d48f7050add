//! Sessions: who is connected, and what waits for them.

mod inflight;
mod mailbox;
mod queue;

use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;

use crate::codec::Protocol;
use crate::hooks::Identity;

pub(crate) use inflight::{Answered, Flight, Inflight};
pub(crate) use mailbox::{Absence, Live, Mailbox, MailboxState, Offer};
pub(crate) use queue::{Outgoing, Queue, SubscriptionIds};

/// One client's connection as the application sees it, from `connected` to
/// `disconnected` and in its last will.
pub struct Session {
    number: u64,
    client_id: Arc<str>,
    identity: Identity,
    peer: SocketAddr,
    protocol: Protocol,
    username: Option<Box<str>>,
}

impl Session {
    pub(crate) fn new(
        number: u64,
        client_id: Arc<str>,
        identity: Identity,
        peer: SocketAddr,
        protocol: Protocol,
        username: Option<&str>,
    ) -> Self {
        Self {
            number,
            client_id,
            identity,
            peer,
            protocol,
            username: username.map(Into::into),
        }
    }

    /// A number that no other connection of this broker has or will have; later
    /// connections have higher ones.
    #[must_use]
    pub fn number(&self) -> u64 {
        self.number
    }

    /// The client identifier.
    #[must_use]
    pub fn client_id(&self) -> &str {
        &self.client_id
    }

    /// Who the client is.
    #[must_use]
    pub fn identity(&self) -> &Identity {
        &self.identity
    }

    /// The identity's name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.identity.name
    }

    /// The identity's context, if it is of type `T`.
    #[must_use]
    pub fn context<T: 'static>(&self) -> Option<&T> {
        self.identity.context.downcast_ref()
    }

    /// Where the connection comes from.
    #[must_use]
    pub fn peer(&self) -> SocketAddr {
        self.peer
    }

    /// Which MQTT the client speaks.
    #[must_use]
    pub fn protocol(&self) -> Protocol {
        self.protocol
    }

    /// The user name, if the client gave one.
    #[must_use]
    pub fn username(&self) -> Option<&str> {
        self.username.as_deref()
    }

    pub(crate) fn shared_client_id(&self) -> &Arc<str> {
        &self.client_id
    }
}

impl fmt::Debug for Session {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Session")
            .field("number", &self.number)
            .field("client_id", &self.client_id)
            .field("identity", &self.identity)
            .field("peer", &self.peer)
            .field("protocol", &self.protocol)
            .finish_non_exhaustive()
    }
}

/// One session in a [listing](crate::BrokerHandle::sessions).
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct SessionInfo {
    /// The client identifier.
    pub client_id: Arc<str>,
    /// The name of the identity.
    pub identity: Arc<str>,
    /// The connection's address; `None` while the client is away.
    pub peer: Option<SocketAddr>,
    /// Which MQTT it speaks; `None` while the client is away.
    pub protocol: Option<Protocol>,
    /// The connection's number; `None` while the client is away.
    pub number: Option<u64>,
    /// Its subscriptions.
    pub subscriptions: usize,
    /// Messages that wait to be sent.
    pub queued: usize,
    /// Messages sent and not yet acknowledged.
    pub inflight: usize,
}
