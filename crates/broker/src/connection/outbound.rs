//! What waits for the client, turned into packets.

use bytes::BytesMut;
use tokio::time::Instant;

use super::aliases::OutboundAliases;
use super::client::{Agreed, Client, Tally};
use super::driver::HIGH_WATER_BYTES;
use crate::codec::{self, AckKind, OutgoingPublish, Protocol, QoS, ReasonCode};
use crate::session::{Flight, Outgoing};
use crate::stats::count;

impl Client {
    /// Writes what waits for the client to `out`, as far as the client's window
    /// and the buffer's bound allow.
    pub(super) fn pump(&mut self, out: &mut BytesMut, now: Instant) {
        let shared = &self.attachment.shared;
        let mut writer = Writer {
            agreed: &self.agreed,
            aliases: &mut self.aliases_out,
            tally: &mut self.tally,
            now,
        };
        let (mut expired, mut too_large) = (0, 0);
        let mut state = self.attachment.mailbox.lock();
        let state = &mut *state;
        while state.inflight.has_unsent()
            && state.inflight.running() < self.agreed.outbound_inflight
            && out.len() < HIGH_WATER_BYTES
        {
            match state.inflight.resend(now, &mut expired) {
                Some((id, Flight::Publish(outgoing))) => {
                    // It fitted when it was sent first; should the client take
                    // less by now, it stays in flight and is never sent.
                    if writer.publish(out, outgoing, id, true) {
                        self.ack_deadline = earlier(self.ack_deadline, outgoing.message.ack_by);
                    }
                }
                Some((id, Flight::Release)) => writer.release(out, id),
                None => break,
            }
        }
        while !state.inflight.has_unsent() && out.len() < HIGH_WATER_BYTES {
            let Some(next) = state.queue.front() else {
                break;
            };
            let waits = next.qos != QoS::AtMostOnce
                && state.inflight.len() >= self.agreed.outbound_inflight;
            if waits {
                break;
            }
            let Some(next) = state.queue.pop(&shared.router.queued_bytes) else {
                break;
            };
            if next.message.is_stale(now) {
                expired += 1;
            } else if !writer.fits(&next) {
                too_large += 1;
            } else if next.qos == QoS::AtMostOnce {
                writer.publish(out, &next, 0, false);
            } else {
                let id = state.inflight.begin(next.clone());
                writer.publish(out, &next, id, false);
                self.ack_deadline = earlier(self.ack_deadline, next.message.ack_by);
            }
        }
        count(&shared.counters.dropped_expired, expired);
        count(&shared.counters.dropped_too_large, too_large);
    }

    /// Whether a message's acknowledgement is overdue; if so, what is overdue is
    /// forgotten.
    pub(super) fn is_ack_overdue(&mut self, now: Instant) -> bool {
        if self.ack_deadline.is_none_or(|at| at > now) {
            return false;
        }
        let mut state = self.attachment.mailbox.lock();
        self.ack_deadline = state.inflight.next_ack_deadline();
        if self.ack_deadline.is_none_or(|at| at > now) {
            return false;
        }
        state.inflight.drop_overdue(now);
        true
    }
}

fn earlier(a: Option<Instant>, b: Option<Instant>) -> Option<Instant> {
    match (a, b) {
        (Some(a), Some(b)) => Some(a.min(b)),
        (one, None) | (None, one) => one,
    }
}

/// Writes packets on the terms agreed with the client.
struct Writer<'a> {
    agreed: &'a Agreed,
    aliases: &'a mut OutboundAliases,
    tally: &'a mut Tally,
    now: Instant,
}

impl Writer<'_> {
    /// Whether the message is within the client's maximum packet size.
    fn fits(&self, outgoing: &Outgoing) -> bool {
        self.is_within(&self.packet(outgoing, 1, false))
    }

    fn is_within(&self, packet: &OutgoingPublish<'_>) -> bool {
        codec::publish_size(packet, self.agreed.protocol) <= self.agreed.maximum_packet_size
    }

    /// Writes a message, with a topic alias where there is one; false if it is
    /// too large.
    fn publish(&mut self, out: &mut BytesMut, outgoing: &Outgoing, id: u16, dup: bool) -> bool {
        let protocol = self.agreed.protocol;
        let plain = self.packet(outgoing, id, dup);
        if !self.is_within(&plain) {
            return false;
        }
        self.tally.messages_out += 1;
        let topic = &outgoing.message.topic;
        let known = self.aliases.known(topic);
        if let Some(alias) = known.or_else(|| self.aliases.free()) {
            let mut short = self.packet(outgoing, id, dup);
            short.alias = Some(alias);
            if known.is_some() {
                short.topic = "";
            }
            if self.is_within(&short) {
                codec::publish(out, &short, protocol);
                if known.is_none() {
                    self.aliases.set(topic, alias);
                }
                return true;
            }
        }
        codec::publish(out, &plain, protocol);
        true
    }

    fn packet<'a>(&self, outgoing: &'a Outgoing, id: u16, dup: bool) -> OutgoingPublish<'a> {
        let message = &*outgoing.message;
        OutgoingPublish {
            dup,
            qos: outgoing.qos,
            retain: outgoing.retain,
            topic: &message.topic,
            packet_id: id,
            alias: None,
            expiry_s: match self.agreed.protocol {
                Protocol::V311 => None,
                Protocol::V5 => message.expiry_s(self.now),
            },
            subscription_ids: &outgoing.ids,
            forwarded: &message.forwarded,
            payload: &message.payload,
        }
    }

    fn release(&self, out: &mut BytesMut, id: u16) {
        let (kind, reason) = (AckKind::Release, ReasonCode::SUCCESS);
        codec::publish_ack(out, kind, id, reason, self.agreed.protocol);
    }
}
