//! What the embedded broker asks and tells about devices.

use std::sync::Arc;

use anyhow::Context;
use async_trait::async_trait;
use dormouse_broker::{
    Ack, Attempt, ConnectRefused, ConnectRequest, Disconnect, Hooks, Identity, IdentityConflict,
    Inbound as Publication, Origin as PublicationOrigin, PublishVerdict, QoS, ReasonCode, Refusal,
    Routing, Session,
};
use dormouse_core::acl::{self, Standing};
use dormouse_core::clock::Clock;
use dormouse_core::device::DeviceState;
use dormouse_core::event::{Event, EventType, Origin, Severity};
use dormouse_core::ids::{DeviceId, EventId, SocketId, uuid_v7};
use dormouse_core::ports::journal::Receipt;
use dormouse_core::presence::SessionEnd;
use dormouse_core::services::events::EventLog;
use dormouse_core::services::ingest::Inbound;
use dormouse_core::services::intake::WayIn;
use dormouse_core::services::presence::PresenceTracker;
use dormouse_core::services::registry::{AuthRefused, HandOver, Registry, SessionIdentity};
use dormouse_core::topic::{Channel, Topics};
use serde_json::json;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

/// Joining devices waiting for their credentials; more are dropped and ask
/// again when they reconnect.
const ENROL_QUEUE: usize = 1_024;

/// What the hooks work with.
#[derive(Debug, Clone)]
pub struct HooksParts {
    /// The topic grammar.
    pub topics: Topics,
    /// Who may connect.
    pub registry: Arc<Registry>,
    /// Where messages go.
    pub way_in: Arc<dyn WayIn>,
    /// Who is there.
    pub presence: Arc<PresenceTracker>,
    /// Where conflicts are recorded.
    pub events: Arc<EventLog>,
}

/// The broker's hooks.
pub struct DeviceHooks {
    parts: HooksParts,
    clock: Arc<dyn Clock>,
    enrol: mpsc::Sender<DeviceId>,
}

/// Joining devices that wait for their credentials.
#[derive(Debug)]
pub struct EnrolRequests(mpsc::Receiver<DeviceId>);

/// The two ends of the queue of joining devices.
#[must_use]
pub fn enrol_requests() -> (mpsc::Sender<DeviceId>, EnrolRequests) {
    let (sender, receiver) = mpsc::channel(ENROL_QUEUE);
    (sender, EnrolRequests(receiver))
}

/// Hands credentials to joining devices until `stop`.
///
/// # Errors
/// Never: a device that could not be served asks again when it reconnects.
pub async fn hand_over_credentials(
    registry: Arc<Registry>,
    mut requests: EnrolRequests,
    stop: CancellationToken,
) -> anyhow::Result<()> {
    while let Some(device) = stop.run_until_cancelled(requests.0.recv()).await {
        let device = device.context("the broker's hooks are gone")?;
        match registry.hand_over(&device).await {
            Ok(HandOver::Delivered) => {
                tracing::info!(device_id = %device, "credentials handed over");
            }
            // Gone again, or not approved yet.
            Ok(HandOver::NotListening | HandOver::NotDue) => {}
            Err(error) => {
                let error = &error as &dyn std::error::Error;
                tracing::warn!(device_id = %device, error, "credentials not handed over");
            }
        }
    }
    Ok(())
}

impl DeviceHooks {
    /// Hooks over `parts`; `enrol` is fed with joining devices that listen.
    #[must_use]
    pub fn new(parts: HooksParts, clock: Arc<dyn Clock>, enrol: mpsc::Sender<DeviceId>) -> Self {
        Self {
            parts,
            clock,
            enrol,
        }
    }

    /// Whether the session's device still waits for approval.
    fn is_pending(&self, identity: &SessionIdentity) -> bool {
        identity.standing == Standing::Joining
            && self
                .parts
                .registry
                .by_key(identity.key)
                .is_none_or(|device| device.state != DeviceState::Active)
    }
}

#[async_trait]
impl Hooks for DeviceHooks {
    async fn authenticate(&self, request: &ConnectRequest<'_>) -> Result<Identity, ConnectRefused> {
        let (Some(username), Some(password)) = (request.username, request.password) else {
            return Err(ConnectRefused::NotAuthorized);
        };
        let address = Some(request.peer.ip());
        match self
            .parts
            .registry
            .authenticate(username, password, address)
            .await
        {
            Ok(identity) => {
                let name: Arc<str> = identity.id.as_str().into();
                Ok(Identity::exclusive(name).with_context(Arc::new(identity)))
            }
            Err(AuthRefused::BadCredentials) => Err(ConnectRefused::BadCredentials),
            Err(AuthRefused::Closed | AuthRefused::Rejected) => Err(ConnectRefused::NotAuthorized),
            Err(AuthRefused::InboxFull) => Err(ConnectRefused::QuotaExceeded),
            Err(AuthRefused::Unavailable(error)) => {
                let error = &error as &dyn std::error::Error;
                tracing::warn!(error, "a device could not be authenticated");
                Err(ConnectRefused::Unavailable)
            }
        }
    }

    fn authorize_publish(
        &self,
        session: &Session,
        topic: &str,
        _retain: bool,
        _qos: QoS,
    ) -> PublishVerdict {
        let allowed = session
            .context::<SessionIdentity>()
            .is_some_and(|it| acl::may_publish(&self.parts.topics, &it.id, topic));
        if allowed {
            PublishVerdict::Allow
        } else {
            tracing::debug!(device_id = session.name(), topic, "publish denied");
            PublishVerdict::Deny
        }
    }

    fn authorize_subscribe(&self, session: &Session, filter: &str) -> bool {
        let Some(identity) = session.context::<SessionIdentity>() else {
            return false;
        };
        let topics = &self.parts.topics;
        let allowed = acl::may_subscribe(topics, &identity.id, identity.standing, filter);
        if !allowed {
            tracing::debug!(device_id = session.name(), filter, "subscribe denied");
        }
        allowed
    }

    fn subscribed(&self, session: &Session, filter: &str) {
        if let Some((_, Channel::Enrol)) = self.parts.topics.split(filter)
            && let Some(identity) = session.context::<SessionIdentity>()
        {
            self.enrol.try_send(identity.id.clone()).ok();
        }
    }

    fn publish(&self, session: &Session, message: &Publication<'_>, ack: Ack) -> Routing {
        let topic = self.parts.topics.split(message.topic);
        let (Some(identity), Some((_, channel))) = (session.context::<SessionIdentity>(), topic)
        else {
            ack.refuse(ReasonCode::TOPIC_NAME_INVALID);
            return Routing::Nobody;
        };
        if self.is_pending(identity) {
            self.parts
                .registry
                .note_payload(identity.key, channel, message.payload);
            ack.done();
            return Routing::Nobody;
        }
        let receipt: Option<Box<dyn Receipt>> = if ack.is_awaited() {
            Some(Box::new(AckReceipt(ack)))
        } else {
            None
        };
        let inbound = Inbound {
            device: identity.key,
            channel,
            payload: message.payload,
            retained: false,
            will: message.origin == PublicationOrigin::Will,
            received_at: self.clock.now(),
        };
        self.parts.way_in.receive(&inbound, receipt);
        // Devices may subscribe to their commands alone, so nobody could be sent it.
        Routing::Nobody
    }

    fn connected(&self, session: &Session) {
        let Some(identity) = session.context::<SessionIdentity>() else {
            return;
        };
        tracing::info!(
            device_id = %identity.id,
            peer = %session.peer(),
            client_id = session.client_id(),
            protocol = ?session.protocol(),
            "device connected"
        );
        self.parts
            .presence
            .session_started(identity.key, session.number());
    }

    fn disconnected(&self, session: &Session, reason: &Disconnect) {
        let Some(identity) = session.context::<SessionIdentity>() else {
            return;
        };
        tracing::info!(device_id = %identity.id, reason = %reason, "device disconnected");
        self.parts
            .presence
            .session_ended(identity.key, session.number(), session_end(*reason));
    }

    fn refused(&self, attempt: &Attempt<'_>, reason: &Refusal) {
        tracing::debug!(
            peer = %attempt.peer,
            username = attempt.username,
            reason = %reason,
            "connection refused"
        );
    }

    fn identity_conflict(&self, conflict: &IdentityConflict<'_>) {
        let Ok(id) = DeviceId::parse(conflict.identity) else {
            return;
        };
        let now = self.clock.now();
        let device = self.parts.registry.by_id(&id);
        self.parts.events.record(Event {
            id: EventId(uuid_v7(now)),
            device: device.map(|device| (device.key, id)),
            socket: Some(SocketId::STRIP),
            kind: EventType::IdentityConflict,
            severity: Severity::Warning,
            ts: now,
            received_at: now,
            origin: Origin::Server,
            data: json!({
                "swaps": conflict.swaps,
                "holdOffMs": u64::try_from(conflict.hold_off.as_millis()).unwrap_or(u64::MAX),
                "holder": conflict.holder.ip().to_string(),
                "challenger": conflict.challenger.ip().to_string(),
            }),
        });
    }
}

fn session_end(reason: Disconnect) -> SessionEnd {
    match reason {
        Disconnect::Client | Disconnect::ClientWithWill(_) => SessionEnd::Disconnected,
        Disconnect::KeepAliveTimeout => SessionEnd::TimedOut,
        Disconnect::TakenOver => SessionEnd::TakenOver,
        Disconnect::Kicked(_) => SessionEnd::Kicked,
        Disconnect::ServerStopping => SessionEnd::BrokerStopped,
        Disconnect::ConnectionLost
        | Disconnect::BadPacket(_)
        | Disconnect::ReceiveMaximumExceeded
        | Disconnect::CommitFailed
        | Disconnect::AckOverdue
        | Disconnect::SlowConsumer
        | Disconnect::Internal => SessionEnd::Lost,
    }
}

/// The broker's acknowledgement as the journal resolves it.
struct AckReceipt(Ack);

impl Receipt for AckReceipt {
    fn done(self: Box<Self>) {
        self.0.done();
    }

    fn refuse(self: Box<Self>, _reason: &'static str) {
        self.0.refuse(ReasonCode::PAYLOAD_FORMAT_INVALID);
    }

    fn failed(self: Box<Self>) {
        self.0.failed();
    }
}

impl std::fmt::Debug for DeviceHooks {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("DeviceHooks").finish_non_exhaustive()
    }
}
