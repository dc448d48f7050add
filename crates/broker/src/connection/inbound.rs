//! What packets from the client do.

use std::sync::Arc;
use std::time::Duration;

use bytes::{Buf, BytesMut};
use tokio::time::Instant;

use super::client::{Client, share};
use super::driver::HIGH_WATER_BYTES;
use super::end::Attachment;
use crate::ack::Ack;
use crate::codec::{
    self, AckKind, AckPacket, ClientPacket, DecodeError, DisconnectPacket, Framed, Protocol,
    PublishPacket, QoS, ReasonCode,
};
use crate::hooks::{Inbound, Origin, PublishVerdict, Routing};
use crate::link::{DONE, FAILED};
use crate::message::Stored;
use crate::reasons::Disconnect;
use crate::session::Answered;
use crate::stats::count;

/// QoS 2 publications of an MQTT 3.1.1 client that it may leave unreleased.
const UNRELEASED: usize = 1024;

impl Client {
    /// Takes the packets off the front of `input`, as far as they are whole and
    /// there is room for what they bring; answers go to `out`. True if it was
    /// for room that it stopped.
    ///
    /// # Errors
    /// [`Disconnect`] if the connection must end.
    pub(super) fn consume(
        &mut self,
        input: &mut BytesMut,
        out: &mut BytesMut,
        now: Instant,
    ) -> Result<bool, Disconnect> {
        let limit = self.attachment.shared.limits.packet_bytes;
        let mut taken = 0;
        let result = loop {
            if self.is_paused(out) {
                break Ok(true);
            }
            let rest = input.get(taken..).unwrap_or_default();
            let (frame, size) = match codec::next_frame(rest, limit) {
                Ok(Framed::Packet(frame, size)) => (frame, size),
                Ok(Framed::Incomplete) => break Ok(false),
                Err(error) => break Err(error.into()),
            };
            if let Err(end) = self.take(frame, out, now) {
                break Err(end);
            }
            taken += size;
        };
        input.advance(taken);
        result
    }

    /// Whether nothing more is taken from the client for now: too many of its
    /// publications wait, or it does not read our answers.
    pub(super) fn is_paused(&self, out: &BytesMut) -> bool {
        // An MQTT 5 client knows its receive maximum and is told when it breaks it.
        let window_full = self.agreed.protocol == Protocol::V311 && self.window.is_full();
        window_full || out.len() >= HIGH_WATER_BYTES
    }

    fn take(
        &mut self,
        frame: codec::Frame<'_>,
        out: &mut BytesMut,
        now: Instant,
    ) -> Result<(), Disconnect> {
        match codec::decode(frame, self.agreed.protocol)? {
            ClientPacket::Publish(packet) => self.publish(&packet, out, now),
            ClientPacket::Ack(packet) => {
                self.answer(packet, out);
                Ok(())
            }
            ClientPacket::Subscribe(packet) => self.subscribe(packet, out, now),
            ClientPacket::Unsubscribe(packet) => {
                self.unsubscribe(packet, out);
                Ok(())
            }
            ClientPacket::PingRequest => {
                codec::ping_response(out);
                Ok(())
            }
            ClientPacket::Disconnect(packet) => Err(self.leave(packet)),
        }
    }

    fn publish(
        &mut self,
        packet: &PublishPacket<'_>,
        out: &mut BytesMut,
        now: Instant,
    ) -> Result<(), Disconnect> {
        // An order to close may have come between two packets: after a kick
        // nothing is taken any more.
        if let Some(reason) = self.attachment.link.closing() {
            return Err(reason);
        }
        self.tally.messages_in += 1;
        let shared_topic = match packet.alias {
            None => None,
            Some(alias) => Some(self.aliases_in.resolve(alias, packet.topic)?),
        };
        let topic = shared_topic.as_deref().unwrap_or(packet.topic);
        if packet.qos == QoS::ExactlyOnce && self.is_repeated(packet.packet_id, out) {
            return Ok(());
        }
        if packet.qos != QoS::AtMostOnce {
            self.check_receive_maximum()?;
        }
        let Attachment {
            shared,
            session,
            mailbox,
            link,
            ..
        } = &self.attachment;
        let verdict = shared
            .hooks
            .authorize_publish(session, topic, packet.retain, packet.qos);
        let ack = match packet.qos {
            QoS::AtMostOnce => Ack::none(),
            QoS::AtLeastOnce | QoS::ExactlyOnce => {
                self.window.push(packet.packet_id, packet.qos, link)
            }
        };
        match verdict {
            PublishVerdict::Deny => {
                count(&shared.counters.denied_publish, 1);
                ack.refuse(ReasonCode::NOT_AUTHORIZED);
                return Ok(());
            }
            PublishVerdict::Allow => {}
        }
        let inbound = inbound(packet, topic, now);
        if shared.hooks.publish(session, &inbound, ack) == Routing::Subscribers
            && shared.router.wants(topic, packet.retain)
        {
            let topic = shared_topic.unwrap_or_else(|| share(&mut self.last_topic, packet.topic));
            let message = Arc::new(Stored::of_packet(packet, topic, mailbox.id, now));
            if packet.qos == QoS::AtMostOnce {
                shared.route(&message, now);
            } else {
                self.window.set_message(message);
            }
        }
        Ok(())
    }

    /// Whether a QoS 2 publication has come before; it is then answered again.
    fn is_repeated(&self, packet_id: u16, out: &mut BytesMut) -> bool {
        if self.attachment.mailbox.lock().received.contains(&packet_id) {
            let (kind, reason) = (AckKind::Received, ReasonCode::SUCCESS);
            codec::publish_ack(out, kind, packet_id, reason, self.agreed.protocol);
            return true;
        }
        self.window.holds_qos2(packet_id)
    }

    fn check_receive_maximum(&self) -> Result<(), Disconnect> {
        let unreleased = self.attachment.mailbox.lock().received.len();
        let (open, maximum) = match self.agreed.protocol {
            Protocol::V311 => (unreleased, UNRELEASED),
            Protocol::V5 => (
                self.window.len() + unreleased,
                usize::from(self.attachment.shared.limits.inbound_inflight),
            ),
        };
        if open >= maximum {
            return Err(Disconnect::ReceiveMaximumExceeded);
        }
        Ok(())
    }

    /// Acknowledges what is resolved, in order, and passes it on.
    ///
    /// # Errors
    /// [`Disconnect::CommitFailed`] at the first publication that failed.
    pub(super) fn settle(&mut self, out: &mut BytesMut, now: Instant) -> Result<(), Disconnect> {
        let shared = &self.attachment.shared;
        while let Some((publication, state)) = self.window.pop_resolved(&self.attachment.link) {
            let reason = match state {
                FAILED => return Err(Disconnect::CommitFailed),
                DONE => ReasonCode::SUCCESS,
                refused => ReasonCode(refused),
            };
            let kind = match publication.qos {
                QoS::AtMostOnce | QoS::AtLeastOnce => AckKind::Ack,
                QoS::ExactlyOnce => AckKind::Received,
            };
            // In MQTT 3.1.1 a refusal looks like an acknowledgement, and the
            // client goes on to release it.
            let expects_release = !reason.is_failure() || self.agreed.protocol == Protocol::V311;
            if kind == AckKind::Received && expects_release {
                let mut state = self.attachment.mailbox.lock();
                state.received.insert(publication.packet_id);
            }
            codec::publish_ack(
                out,
                kind,
                publication.packet_id,
                reason,
                self.agreed.protocol,
            );
            if reason.is_failure() {
                count(&shared.counters.refused_publish, 1);
            } else if let Some(message) = publication.message {
                shared.route(&message, now);
            }
        }
        Ok(())
    }

    fn answer(&mut self, packet: AckPacket, out: &mut BytesMut) {
        let mut state = self.attachment.mailbox.lock();
        let id = packet.packet_id;
        if packet.kind == AckKind::Release {
            let reason = if state.received.remove(&id) {
                ReasonCode::SUCCESS
            } else {
                ReasonCode::PACKET_ID_NOT_FOUND
            };
            drop(state);
            codec::publish_ack(out, AckKind::Complete, id, reason, self.agreed.protocol);
            return;
        }
        match state.inflight.answer(packet.kind, id, packet.reason) {
            // There may be room for another message now.
            Answered::Over => self.attachment.link.raise(),
            Answered::Unknown => {}
            Answered::Release(reason) => {
                drop(state);
                codec::publish_ack(out, AckKind::Release, id, reason, self.agreed.protocol);
            }
        }
    }

    fn leave(&mut self, packet: DisconnectPacket) -> Disconnect {
        if let Some(seconds) = packet.session_expiry_s {
            if seconds > 0 && !self.agreed.persistent {
                return DecodeError::Protocol(
                    "a session that was to end with the connection cannot be kept on leaving",
                )
                .into();
            }
            let limit = self.attachment.shared.limits.session_expiry_s;
            let keep = Duration::from_secs(seconds.min(limit).into());
            self.attachment.mailbox.lock().keep = keep;
        }
        if packet.reason == ReasonCode::SUCCESS {
            Disconnect::Client
        } else {
            Disconnect::ClientWithWill(packet.reason)
        }
    }
}

fn inbound<'a>(packet: &PublishPacket<'a>, topic: &'a str, now: Instant) -> Inbound<'a> {
    Inbound {
        topic,
        payload: packet.payload,
        qos: packet.qos,
        retain: packet.retain,
        dup: packet.dup,
        expiry: packet.expiry_s.map(|s| Duration::from_secs(s.into())),
        received_at: now,
        origin: Origin::Client,
        properties: packet.properties,
    }
}
