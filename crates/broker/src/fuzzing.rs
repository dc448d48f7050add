//! The packet path as one function of bytes, for the fuzz target and for the
//! property tests: whatever comes in, it must not panic, and whatever it takes
//! it must take in whole.

use bytes::BytesMut;

use crate::codec::{self, ClientPacket, ConnectPacket, Framed, OutgoingPublish, Protocol, QoS};
use crate::topic::{self, Filter};

/// The most that is read as one packet, in bytes.
const LIMIT: usize = 64 * 1024;

/// Reads `bytes` as a connection would: a CONNECT, then packets of the version
/// that it names; both versions if it is none. Returns how many packets were
/// well formed.
#[must_use]
pub fn packets(bytes: &[u8]) -> usize {
    match codec::next_frame(bytes, LIMIT) {
        Ok(Framed::Packet(frame, size)) => match ConnectPacket::decode(frame) {
            Ok(connect) => {
                if let Some(will) = &connect.will {
                    assert!(topic::check_name(will.topic).is_ok());
                }
                1 + later(bytes.get(size..).unwrap_or_default(), connect.protocol)
            }
            Err(_) => later(bytes, Protocol::V311) + later(bytes, Protocol::V5),
        },
        Ok(Framed::Incomplete) | Err(_) => 0,
    }
}

fn later(mut bytes: &[u8], protocol: Protocol) -> usize {
    let mut count = 0;
    while let Ok(Framed::Packet(frame, size)) = codec::next_frame(bytes, LIMIT) {
        let Ok(packet) = codec::decode(frame, protocol) else {
            return count;
        };
        check(&packet, protocol);
        count += 1;
        bytes = bytes.get(size..).unwrap_or_default();
    }
    count
}

/// What must hold for every packet that was taken.
fn check(packet: &ClientPacket<'_>, protocol: Protocol) {
    match packet {
        ClientPacket::Publish(publish) => {
            assert_eq!(publish.packet_id == 0, publish.qos == QoS::AtMostOnce);
            assert!(publish.alias.is_some() || topic::check_name(publish.topic).is_ok());
            if publish.alias.is_none() {
                forward(publish, protocol);
            }
        }
        ClientPacket::Subscribe(subscribe) => {
            assert!(subscribe.packet_id != 0);
            for (filter, _) in subscribe.filters() {
                if let Ok(filter) = Filter::parse(filter) {
                    let _ = topic::matches(filter.pattern, "a/b");
                }
            }
        }
        ClientPacket::Unsubscribe(unsubscribe) => {
            assert!(unsubscribe.filters().count() > 0);
        }
        ClientPacket::Ack(_) | ClientPacket::PingRequest | ClientPacket::Disconnect(_) => {}
    }
}

/// What is passed on must be a packet again, and say the same.
fn forward(publish: &codec::PublishPacket<'_>, protocol: Protocol) {
    let mut forwarded = BytesMut::new();
    publish.properties.put_forwarded(&mut forwarded);
    let outgoing = OutgoingPublish {
        dup: publish.dup,
        qos: publish.qos,
        retain: publish.retain,
        topic: publish.topic,
        packet_id: publish.packet_id,
        alias: None,
        expiry_s: publish.expiry_s,
        subscription_ids: &[],
        forwarded: &forwarded,
        payload: publish.payload,
    };
    let mut out = BytesMut::new();
    codec::publish(&mut out, &outgoing, protocol);
    assert_eq!(out.len(), codec::publish_size(&outgoing, protocol));
    let Ok(Framed::Packet(frame, size)) = codec::next_frame(&out, usize::MAX) else {
        unreachable!("what we write is a packet");
    };
    assert_eq!(size, out.len());
    let Ok(ClientPacket::Publish(again)) = codec::decode(frame, protocol) else {
        unreachable!("what we write is a PUBLISH");
    };
    assert_eq!(
        (again.topic, again.payload),
        (publish.topic, publish.payload)
    );
    assert_eq!(again.expiry_s, publish.expiry_s);
    assert!(again.properties.user().eq(publish.properties.user()));
    let (a, b) = (again.properties, publish.properties);
    assert_eq!(a.content_type(), b.content_type());
    assert_eq!(a.response_topic(), b.response_topic());
    assert_eq!(a.correlation_data(), b.correlation_data());
    assert_eq!(a.payload_is_utf8(), b.payload_is_utf8());
}
