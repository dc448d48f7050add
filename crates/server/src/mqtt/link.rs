//! The way out: commands, credentials and the end of sessions.

use std::sync::OnceLock;
use std::time::Duration;

use dormouse_broker::{BrokerHandle, KickReason as BrokerKick, Message, QoS, Stats};
use dormouse_core::ids::DeviceId;
use dormouse_core::ports::{
    CommandSink, EnrolSink, KickReason, NotSent, OutboundCommand, SessionControl,
};
use dormouse_core::topic::{Channel, Topics};
use dormouse_core::wire::EnrolBody;

/// How long credentials wait for a device that is just reconnecting.
const ENROL_EXPIRY: Duration = Duration::from_secs(60);

/// The services' side of the broker. Made before the broker, whose hooks need
/// the services; until [`BrokerLink::connect`] nothing goes out.
#[derive(Debug)]
pub struct BrokerLink {
    topics: Topics,
    handle: OnceLock<BrokerHandle>,
}

impl BrokerLink {
    /// A link that is not connected yet.
    #[must_use]
    pub fn new(topics: Topics) -> Self {
        Self {
            topics,
            handle: OnceLock::new(),
        }
    }

    /// Connects the link; the first handle stays.
    pub fn connect(&self, handle: BrokerHandle) {
        self.handle.set(handle).ok();
    }

    /// What the broker has counted; `None` before it runs.
    #[must_use]
    pub fn stats(&self) -> Option<Stats> {
        self.handle.get().map(BrokerHandle::stats)
    }
}

impl SessionControl for BrokerLink {
    fn kick(&self, device: &DeviceId, reason: KickReason) {
        let Some(handle) = self.handle.get() else {
            return;
        };
        let closed = handle.kick(device.as_str(), BrokerKick::Revoked);
        tracing::info!(device_id = %device, ?reason, closed, "device's sessions ended");
    }
}

impl EnrolSink for BrokerLink {
    fn hand_over(&self, device: &DeviceId, credentials: &EnrolBody) -> bool {
        let Some(handle) = self.handle.get() else {
            return false;
        };
        let Ok(body) = serde_json::to_vec(credentials) else {
            return false;
        };
        let topic = self.topics.of(device, Channel::Enrol);
        let message = Message::new(topic, body)
            .qos(QoS::AtLeastOnce)
            .expiry(ENROL_EXPIRY);
        handle
            .publish(message)
            .is_ok_and(|delivery| delivery.live > 0)
    }
}

impl CommandSink for BrokerLink {
    fn publish(&self, command: &OutboundCommand) -> Result<(), NotSent> {
        let handle = self
            .handle
            .get()
            .ok_or_else(|| NotSent("the broker is not running".to_owned()))?;
        let body = serde_json::to_vec(&command.body).map_err(|error| NotSent(error.to_string()))?;
        let topic = self.topics.of(&command.body.device_id, Channel::Cmd);
        let message = Message::new(topic, body)
            .qos(QoS::AtLeastOnce)
            .expiry(command.ttl)
            .ack_deadline(command.timeout);
        let delivery = handle
            .publish(message)
            .map_err(|error| NotSent(error.to_string()))?;
        tracing::info!(
            device_id = %command.body.device_id,
            cmd_id = %command.body.cmd_id,
            socket = command.body.socket_id.get(),
            action = ?command.body.action,
            "command sent"
        );
        // Nobody listening is no failure: the command's deadline says so.
        if delivery.live + delivery.queued == 0 && delivery.dropped > 0 {
            return Err(NotSent("the device's queue is full".to_owned()));
        }
        Ok(())
    }
}
