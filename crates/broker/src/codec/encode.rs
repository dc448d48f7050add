//! What the server sends, written straight into the connection's buffer.

use bytes::{BufMut, BytesMut};

use super::{AckKind, Protocol, QoS, ReasonCode, property};

/// The terms of an accepted or refused connection.
#[derive(Debug, Default)]
pub(crate) struct ConnAck<'a> {
    pub(crate) session_present: bool,
    pub(crate) session_expiry_s: Option<u32>,
    pub(crate) receive_maximum: Option<u16>,
    pub(crate) maximum_packet_size: Option<u32>,
    pub(crate) topic_alias_maximum: u16,
    pub(crate) assigned_client_id: Option<&'a str>,
    pub(crate) server_keep_alive_s: Option<u16>,
}

/// Writes a CONNACK.
pub(crate) fn connack(out: &mut BytesMut, protocol: Protocol, code: u8, terms: &ConnAck<'_>) {
    let mut properties = BytesMut::new();
    if protocol == Protocol::V5 {
        put_optional_u32(
            &mut properties,
            property::SESSION_EXPIRY,
            terms.session_expiry_s,
        );
        put_optional_u16(
            &mut properties,
            property::RECEIVE_MAXIMUM,
            terms.receive_maximum,
        );
        put_optional_u32(
            &mut properties,
            property::MAXIMUM_PACKET_SIZE,
            terms.maximum_packet_size,
        );
        if let Some(id) = terms.assigned_client_id {
            properties.put_u8(property::ASSIGNED_CLIENT_ID);
            put_string(&mut properties, id);
        }
        if terms.topic_alias_maximum > 0 {
            properties.put_u8(property::TOPIC_ALIAS_MAXIMUM);
            properties.put_u16(terms.topic_alias_maximum);
        }
        put_optional_u16(
            &mut properties,
            property::SERVER_KEEP_ALIVE,
            terms.server_keep_alive_s,
        );
    }
    let content = 2 + match protocol {
        Protocol::V311 => 0,
        Protocol::V5 => varint_size(properties.len()) + properties.len(),
    };
    put_header(out, 0x20, content);
    out.put_u8(u8::from(terms.session_present));
    out.put_u8(code);
    if protocol == Protocol::V5 {
        put_varint(out, properties.len());
        out.put_slice(&properties);
    }
}

/// A message on its way to one subscriber.
#[derive(Debug)]
pub(crate) struct OutgoingPublish<'a> {
    pub(crate) dup: bool,
    pub(crate) qos: QoS,
    pub(crate) retain: bool,
    /// Left out when `alias` is known to the client already.
    pub(crate) topic: &'a str,
    pub(crate) packet_id: u16,
    pub(crate) alias: Option<u16>,
    pub(crate) expiry_s: Option<u32>,
    pub(crate) subscription_ids: &'a [u32],
    /// Encoded properties that travel with the message.
    pub(crate) forwarded: &'a [u8],
    pub(crate) payload: &'a [u8],
}

impl OutgoingPublish<'_> {
    fn properties_size(&self) -> usize {
        let ids: usize = self
            .subscription_ids
            .iter()
            .map(|id| 1 + varint_size(*id as usize))
            .sum();
        self.forwarded.len() + ids + self.expiry_s.map_or(0, |_| 5) + self.alias.map_or(0, |_| 3)
    }

    fn content_size(&self, protocol: Protocol) -> usize {
        let id = if self.qos == QoS::AtMostOnce { 0 } else { 2 };
        let properties = match protocol {
            Protocol::V311 => 0,
            Protocol::V5 => {
                let size = self.properties_size();
                varint_size(size) + size
            }
        };
        2 + self.topic.len() + id + properties + self.payload.len()
    }
}

/// The size of the whole packet in bytes.
pub(crate) fn publish_size(packet: &OutgoingPublish<'_>, protocol: Protocol) -> usize {
    let content = packet.content_size(protocol);
    1 + varint_size(content) + content
}

/// Writes a PUBLISH.
pub(crate) fn publish(out: &mut BytesMut, packet: &OutgoingPublish<'_>, protocol: Protocol) {
    let content = packet.content_size(protocol);
    out.reserve(content + 5);
    let flags = u8::from(packet.dup) << 3 | packet.qos.level() << 1 | u8::from(packet.retain);
    put_header(out, 0x30 | flags, content);
    put_string(out, packet.topic);
    if packet.qos != QoS::AtMostOnce {
        out.put_u16(packet.packet_id);
    }
    if protocol == Protocol::V5 {
        put_varint(out, packet.properties_size());
        if let Some(expiry) = packet.expiry_s {
            out.put_u8(property::MESSAGE_EXPIRY);
            out.put_u32(expiry);
        }
        if let Some(alias) = packet.alias {
            out.put_u8(property::TOPIC_ALIAS);
            out.put_u16(alias);
        }
        for id in packet.subscription_ids {
            out.put_u8(property::SUBSCRIPTION_ID);
            put_varint(out, *id as usize);
        }
        out.put_slice(packet.forwarded);
    }
    out.put_slice(packet.payload);
}

/// Writes a PUBACK, PUBREC, PUBREL or PUBCOMP. MQTT 3.1.1 knows no reasons.
pub(crate) fn publish_ack(
    out: &mut BytesMut,
    kind: AckKind,
    packet_id: u16,
    reason: ReasonCode,
    protocol: Protocol,
) {
    let [high, low] = packet_id.to_be_bytes();
    if protocol == Protocol::V311 || reason == ReasonCode::SUCCESS {
        out.put_slice(&[kind.first_byte(), 2, high, low]);
    } else {
        out.put_slice(&[kind.first_byte(), 3, high, low, reason.0]);
    }
}

/// Writes a SUBACK with one code per filter.
pub(crate) fn suback(out: &mut BytesMut, packet_id: u16, codes: &[u8], protocol: Protocol) {
    match protocol {
        Protocol::V311 => put_header(out, 0x90, 2 + codes.len()),
        Protocol::V5 => put_header(out, 0x90, 3 + codes.len()),
    }
    out.put_u16(packet_id);
    if protocol == Protocol::V5 {
        out.put_u8(0);
    }
    out.put_slice(codes);
}

/// Writes an UNSUBACK; its codes exist in MQTT 5 only.
pub(crate) fn unsuback(out: &mut BytesMut, packet_id: u16, codes: &[u8], protocol: Protocol) {
    match protocol {
        Protocol::V311 => {
            put_header(out, 0xB0, 2);
            out.put_u16(packet_id);
        }
        Protocol::V5 => {
            put_header(out, 0xB0, 3 + codes.len());
            out.put_u16(packet_id);
            out.put_u8(0);
            out.put_slice(codes);
        }
    }
}

/// Writes a PINGRESP.
pub(crate) fn ping_response(out: &mut BytesMut) {
    out.put_slice(&[0xD0, 0]);
}

/// Writes a DISCONNECT, which a server may send in MQTT 5 only.
pub(crate) fn disconnect(out: &mut BytesMut, reason: ReasonCode, protocol: Protocol) {
    if protocol == Protocol::V5 {
        out.put_slice(&[0xE0, 1, reason.0]);
    }
}

fn put_header(out: &mut BytesMut, first: u8, content: usize) {
    out.put_u8(first);
    put_varint(out, content);
}

#[expect(
    clippy::cast_possible_truncation,
    reason = "each byte holds the 7 bits that were masked out"
)]
fn put_varint(out: &mut BytesMut, mut value: usize) {
    while value >= 0x80 {
        out.put_u8((value & 0x7F) as u8 | 0x80);
        value >>= 7;
    }
    out.put_u8(value as u8);
}

fn varint_size(value: usize) -> usize {
    match value {
        0..0x80 => 1,
        0x80..0x4000 => 2,
        0x4000..0x20_0000 => 3,
        _ => 4,
    }
}

/// Writes a string behind its length. Longer ones than MQTT can carry are kept
/// out by [`crate::topic`]; should one come here, it is cut rather than garbled.
fn put_string(out: &mut BytesMut, text: &str) {
    let length = u16::try_from(text.len()).unwrap_or(u16::MAX);
    out.put_u16(length);
    out.put_slice(
        text.as_bytes()
            .get(..usize::from(length))
            .unwrap_or_default(),
    );
}

fn put_optional_u32(out: &mut BytesMut, id: u8, value: Option<u32>) {
    if let Some(value) = value {
        out.put_u8(id);
        out.put_u32(value);
    }
}

fn put_optional_u16(out: &mut BytesMut, id: u8, value: Option<u16>) {
    if let Some(value) = value {
        out.put_u8(id);
        out.put_u16(value);
    }
}
