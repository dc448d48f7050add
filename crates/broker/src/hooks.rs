//! What the application decides and hears: who may connect, publish and
//! subscribe, and when a publication is safe.

use std::any::Any;
use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use tokio::time::Instant;

use crate::ack::Ack;
use crate::codec::{MessageProperties, Protocol, QoS, ReasonCode};
use crate::reasons::{Disconnect, Refusal};
use crate::session::Session;

/// The application's side of the broker.
///
/// All methods but [`Hooks::authenticate`] are called on the connection's own
/// task and must return quickly without blocking. For one connection they come
/// in order: `connected`, any number of `authorize_…`, `subscribed` and
/// `publish`, and exactly one `disconnected`, which comes before the `connected` of a connection that
/// takes the session over.
#[async_trait]
pub trait Hooks: Send + Sync + 'static {
    /// Decides who a new client is, or that it may not connect.
    async fn authenticate(&self, request: &ConnectRequest<'_>) -> Result<Identity, ConnectRefused>;

    /// Decides whether a client may publish this.
    fn authorize_publish(
        &self,
        session: &Session,
        topic: &str,
        retain: bool,
        qos: QoS,
    ) -> PublishVerdict;

    /// Decides whether a client may subscribe to a filter (of a shared
    /// subscription: the part behind the group).
    fn authorize_subscribe(&self, session: &Session, filter: &str) -> bool;

    /// A subscription is in force: messages published from now on reach it.
    fn subscribed(&self, session: &Session, filter: &str) {
        let _ = (session, filter);
    }

    /// Takes one accepted publication, in the order in which the client sent
    /// them, or a will.
    ///
    /// For QoS 1 and 2 the client is acknowledged when `ack` is resolved, from
    /// whatever thread; for QoS 0 and for wills `ack` has no effect. A message
    /// is passed on to subscribers once it is acknowledged, wills and QoS 0 at
    /// once.
    fn publish(&self, session: &Session, message: &Inbound<'_>, ack: Ack) -> Routing;

    /// A client has connected.
    fn connected(&self, session: &Session) {
        let _ = session;
    }

    /// A client that had connected is gone.
    fn disconnected(&self, session: &Session, reason: &Disconnect) {
        let _ = (session, reason);
    }

    /// A connection was refused or never became a client.
    fn refused(&self, attempt: &Attempt<'_>, reason: &Refusal) {
        let _ = (attempt, reason);
    }

    /// An exclusive identity is used from two places that keep replacing each
    /// other; new ones are now held off.
    fn identity_conflict(&self, conflict: &IdentityConflict<'_>) {
        let _ = conflict;
    }
}

/// What a client says of itself in its CONNECT.
#[derive(Clone, Copy)]
#[non_exhaustive]
pub struct ConnectRequest<'a> {
    /// The client identifier; one made up here if the client sent none.
    pub client_id: &'a str,
    /// The user name.
    pub username: Option<&'a str>,
    /// The password.
    pub password: Option<&'a [u8]>,
    /// Where the connection comes from.
    pub peer: SocketAddr,
    /// Which MQTT the client speaks.
    pub protocol: Protocol,
    /// The client's keep-alive in seconds, 0 for none.
    pub keep_alive_s: u16,
    /// The topic of the client's will.
    pub will_topic: Option<&'a str>,
}

impl fmt::Debug for ConnectRequest<'_> {
    /// Never shows the password.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("ConnectRequest")
            .field("client_id", &self.client_id)
            .field("username", &self.username)
            .field("peer", &self.peer)
            .field("protocol", &self.protocol)
            .finish_non_exhaustive()
    }
}

/// Who a client is, as the application sees it.
#[derive(Clone)]
pub struct Identity {
    /// The name. Sessions belong to it: no other identity can resume them,
    /// whatever client identifier it uses.
    pub name: Arc<str>,
    /// Whatever the application wants to find again in its [`Session`].
    pub context: Arc<dyn Any + Send + Sync>,
    /// Whether only one client at a time may have this identity, whatever its
    /// client identifier: the newest wins, and only its session is kept.
    pub exclusive: bool,
}

impl Identity {
    /// An identity of one client at a time, without a context.
    pub fn exclusive(name: impl Into<Arc<str>>) -> Self {
        Self {
            name: name.into(),
            context: Arc::new(()),
            exclusive: true,
        }
    }

    /// An identity that any number of clients may share, without a context.
    pub fn shared(name: impl Into<Arc<str>>) -> Self {
        Self {
            exclusive: false,
            ..Self::exclusive(name)
        }
    }

    /// The same identity with a context.
    #[must_use]
    pub fn with_context(mut self, context: Arc<dyn Any + Send + Sync>) -> Self {
        self.context = context;
        self
    }
}

impl fmt::Debug for Identity {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Identity")
            .field("name", &self.name)
            .field("exclusive", &self.exclusive)
            .finish_non_exhaustive()
    }
}

/// Why the application refuses a client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ConnectRefused {
    /// Wrong user name or password.
    BadCredentials,
    /// Known, but not allowed to connect.
    NotAuthorized,
    /// The client identifier is not allowed.
    BadClientId,
    /// Not allowed to connect again.
    Banned,
    /// A limit of the application is reached.
    QuotaExceeded,
    /// The application cannot decide now.
    Unavailable,
}

impl ConnectRefused {
    pub(crate) fn reason(self) -> ReasonCode {
        match self {
            Self::BadCredentials => ReasonCode::BAD_USER_NAME_OR_PASSWORD,
            Self::NotAuthorized => ReasonCode::NOT_AUTHORIZED,
            Self::BadClientId => ReasonCode::CLIENT_IDENTIFIER_NOT_VALID,
            Self::Banned => ReasonCode::BANNED,
            Self::QuotaExceeded => ReasonCode::QUOTA_EXCEEDED,
            Self::Unavailable => ReasonCode::SERVER_UNAVAILABLE,
        }
    }
}

/// Whether a publication is allowed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PublishVerdict {
    /// It is handed to [`Hooks::publish`].
    Allow,
    /// It is counted and swallowed. MQTT 5 clients are told with reason 0x87,
    /// MQTT 3.1.1 clients get an ordinary acknowledgement; none is disconnected.
    Deny,
}

/// Whether a publication goes to subscribers and into the retained messages.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Routing {
    /// To everyone subscribed, and retained if so marked.
    Subscribers,
    /// To nobody: the application had it, and that is all.
    Nobody,
}

/// Where an [`Inbound`] message comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Origin {
    /// The client published it.
    Client,
    /// It is the will of a client that is gone.
    Will,
}

/// A publication as the application sees it. It points into the connection's
/// buffer: copy what must outlive the call.
#[derive(Debug, Clone, Copy)]
#[non_exhaustive]
pub struct Inbound<'a> {
    /// The topic's name.
    pub topic: &'a str,
    /// The content.
    pub payload: &'a [u8],
    /// The QoS it was sent with.
    pub qos: QoS,
    /// Whether it is to be retained.
    pub retain: bool,
    /// Whether the client says that it may have sent it before.
    pub dup: bool,
    /// How long it is good for (MQTT 5).
    pub expiry: Option<Duration>,
    /// When it was read from the socket; of a will, when it was published.
    pub received_at: Instant,
    /// Published, or a will.
    pub origin: Origin,
    /// What travels with it (MQTT 5).
    pub properties: MessageProperties<'a>,
}

/// What is known of a connection that did not become a client.
#[derive(Debug, Clone, Copy)]
#[non_exhaustive]
pub struct Attempt<'a> {
    /// Where it came from.
    pub peer: SocketAddr,
    /// Its client identifier, if it got so far.
    pub client_id: Option<&'a str>,
    /// Its user name, if it got so far and gave one.
    pub username: Option<&'a str>,
}

/// An exclusive identity that two clients fight for.
#[derive(Debug, Clone, Copy)]
#[non_exhaustive]
pub struct IdentityConflict<'a> {
    /// The identity.
    pub identity: &'a str,
    /// Takeovers within the last minute.
    pub swaps: u32,
    /// How long new connections are refused while one is connected.
    pub hold_off: Duration,
    /// Where the connected client is.
    pub holder: SocketAddr,
    /// Where the refused one is.
    pub challenger: SocketAddr,
}
