//! The codec against an independent one, and against garbage.

use std::num::{NonZeroU16, NonZeroU32};

use bytes::{Bytes, BytesMut};
use proptest::prelude::*;
use rmqtt_codec::types::{Publish, QoS as TheirQoS};
use rmqtt_codec::{v3, v5};
use tokio_util::codec::{Decoder, Encoder};

use super::*;
use crate::fuzzing;

fn theirs(qos: QoS) -> TheirQoS {
    match qos {
        QoS::AtMostOnce => TheirQoS::AtMostOnce,
        QoS::AtLeastOnce => TheirQoS::AtLeastOnce,
        QoS::ExactlyOnce => TheirQoS::ExactlyOnce,
    }
}

fn qos() -> impl Strategy<Value = QoS> {
    prop_oneof![
        Just(QoS::AtMostOnce),
        Just(QoS::AtLeastOnce),
        Just(QoS::ExactlyOnce)
    ]
}

fn properties() -> impl Strategy<Value = v5::PublishProperties> {
    (
        proptest::option::of(1_u16..),
        proptest::option::of(prop::collection::vec(any::<u8>(), 0..20)),
        proptest::option::of(1_u32..),
        proptest::option::of("[a-zé/]{0,20}"),
        prop::collection::vec(("[a-z]{0,5}", "\\PC{0,9}"), 0..4),
        any::<bool>(),
        proptest::option::of("[a-z/]{1,20}"),
    )
        .prop_map(
            |(alias, data, expiry, content, user, utf8, answer)| v5::PublishProperties {
                topic_alias: alias.and_then(NonZeroU16::new),
                correlation_data: data.map(Bytes::from),
                message_expiry_interval: expiry.and_then(NonZeroU32::new),
                content_type: content.map(Into::into),
                user_properties: user
                    .into_iter()
                    .map(|(name, value)| (name.into(), value.into()))
                    .collect(),
                is_utf8_payload: utf8,
                response_topic: answer.map(Into::into),
                subscription_ids: Vec::new(),
            },
        )
}

prop_compose! {
    fn publication()(
        qos in qos(),
        dup in any::<bool>(),
        retain in any::<bool>(),
        topic in "[a-zü$ /]{1,30}",
        id in 1_u16..,
        payload in prop::collection::vec(any::<u8>(), 0..300),
        properties in properties(),
    ) -> Publish {
        Publish {
            dup: dup && qos != QoS::AtMostOnce,
            retain,
            qos: theirs(qos),
            topic: topic.into(),
            packet_id: NonZeroU16::new(id).filter(|_| qos != QoS::AtMostOnce),
            payload: payload.into(),
            properties: Some(properties),
        }
    }
}

fn read(bytes: &[u8], protocol: Protocol) -> PublishPacket<'_> {
    let Ok(Framed::Packet(frame, size)) = next_frame(bytes, usize::MAX) else {
        panic!("no frame in {bytes:?}");
    };
    assert_eq!(size, bytes.len());
    match decode(frame, protocol) {
        Ok(ClientPacket::Publish(packet)) => packet,
        Ok(_) | Err(_) => panic!("no PUBLISH in {bytes:?}"),
    }
}

fn assert_same(packet: &PublishPacket<'_>, publish: &Publish) {
    assert_eq!((packet.dup, packet.retain), (publish.dup, publish.retain));
    assert_eq!(theirs(packet.qos), publish.qos);
    assert_eq!(packet.topic, &*publish.topic);
    assert_eq!(
        packet.packet_id,
        publish.packet_id.map_or(0, NonZeroU16::get)
    );
    assert_eq!(packet.payload, &publish.payload[..]);
}

proptest! {
    #[test]
    fn what_the_other_codec_writes_we_read_the_same(publish in publication()) {
        let mut bytes = BytesMut::new();
        let packet = v5::Packet::Publish(Box::new(publish.clone()));
        v5::Codec::new(0, 0).encode(packet, &mut bytes).unwrap();
        let packet = read(&bytes, Protocol::V5);
        assert_same(&packet, &publish);
        let theirs = publish.properties.as_ref().unwrap();
        let ours = packet.properties;
        prop_assert_eq!(packet.alias, theirs.topic_alias.map(NonZeroU16::get));
        prop_assert_eq!(packet.expiry_s, theirs.message_expiry_interval.map(NonZeroU32::get));
        prop_assert_eq!(ours.payload_is_utf8(), theirs.is_utf8_payload);
        prop_assert_eq!(ours.content_type(), theirs.content_type.as_deref());
        prop_assert_eq!(ours.response_topic(), theirs.response_topic.as_deref());
        prop_assert_eq!(ours.correlation_data(), theirs.correlation_data.as_deref());
        let user: Vec<_> = theirs.user_properties.iter().map(|(n, v)| (&**n, &**v)).collect();
        prop_assert_eq!(ours.user().collect::<Vec<_>>(), user);

        let mut bytes = BytesMut::new();
        let packet = v3::Packet::Publish(Box::new(publish.clone()));
        v3::Codec::new(0).encode(packet, &mut bytes).unwrap();
        assert_same(&read(&bytes, Protocol::V311), &publish);
    }

    #[test]
    fn what_we_write_the_other_codec_reads_the_same(
        publish in publication(),
        ids in prop::collection::vec(1_u32..268_435_455, 0..3),
    ) {
        let theirs = publish.properties.clone().unwrap();
        let mut bytes = BytesMut::new();
        let packet = v5::Packet::Publish(Box::new(publish.clone()));
        v5::Codec::new(0, 0).encode(packet, &mut bytes).unwrap();
        let packet = read(&bytes, Protocol::V5);
        let mut forwarded = BytesMut::new();
        packet.properties.put_forwarded(&mut forwarded);
        let outgoing = OutgoingPublish {
            dup: packet.dup,
            qos: packet.qos,
            retain: packet.retain,
            topic: packet.topic,
            packet_id: packet.packet_id,
            alias: packet.alias,
            expiry_s: packet.expiry_s,
            subscription_ids: &ids,
            forwarded: &forwarded,
            payload: packet.payload,
        };
        let mut out = BytesMut::new();
        super::publish(&mut out, &outgoing, Protocol::V5);
        prop_assert_eq!(out.len(), publish_size(&outgoing, Protocol::V5));
        let (again, _) = v5::Codec::new(0, 0).decode(&mut out).unwrap().unwrap();
        let mut expected = publish;
        expected.properties = Some(v5::PublishProperties {
            subscription_ids: ids.into_iter().filter_map(NonZeroU32::new).collect(),
            ..theirs
        });
        prop_assert_eq!(again, v5::Packet::Publish(Box::new(expected)));
    }

    #[test]
    fn garbage_never_panics(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let _ = fuzzing::packets(&bytes);
    }

    #[test]
    fn packets_with_damage_never_panic(
        publish in publication(),
        damage in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..4),
        cut in any::<prop::sample::Index>(),
    ) {
        let mut bytes = BytesMut::new();
        let packet = v5::Packet::Publish(Box::new(publish));
        v5::Codec::new(0, 0).encode(packet, &mut bytes).unwrap();
        for (index, byte) in damage {
            let at = index.index(bytes.len());
            bytes[at] = byte;
        }
        let end = cut.index(bytes.len()) + 1;
        let _ = fuzzing::packets(&bytes[..end]);
        let _ = fuzzing::packets(&bytes);
    }
}

#[test]
fn what_a_server_sends_the_other_codec_reads() {
    let mut out = BytesMut::new();
    let terms = ConnAck {
        session_present: true,
        session_expiry_s: Some(60),
        receive_maximum: Some(128),
        maximum_packet_size: Some(65_536),
        topic_alias_maximum: 16,
        assigned_client_id: Some("auto-1"),
        server_keep_alive_s: Some(60),
    };
    connack(&mut out, Protocol::V5, 0, &terms);
    publish_ack(
        &mut out,
        AckKind::Ack,
        7,
        ReasonCode::NOT_AUTHORIZED,
        Protocol::V5,
    );
    publish_ack(
        &mut out,
        AckKind::Received,
        8,
        ReasonCode::SUCCESS,
        Protocol::V5,
    );
    suback(&mut out, 9, &[0, 0x87], Protocol::V5);
    unsuback(&mut out, 10, &[0, 0x11], Protocol::V5);
    ping_response(&mut out);
    disconnect(&mut out, ReasonCode::SERVER_SHUTTING_DOWN, Protocol::V5);
    let mut codec = v5::Codec::new(0, 0);
    let mut next = || codec.decode(&mut out).unwrap().unwrap().0;
    let v5::Packet::ConnectAck(ack) = next() else {
        panic!("no CONNACK");
    };
    assert!(ack.session_present);
    assert_eq!(ack.session_expiry_interval_secs, Some(60));
    assert_eq!(ack.receive_max.get(), 128);
    assert_eq!(ack.max_packet_size, Some(65_536));
    assert_eq!(ack.topic_alias_max, 16);
    assert_eq!(ack.assigned_client_id.as_deref(), Some("auto-1"));
    assert_eq!(ack.server_keepalive_sec, Some(60));
    assert!(matches!(next(), v5::Packet::PublishAck(ack) if ack.packet_id.get() == 7));
    assert!(matches!(next(), v5::Packet::PublishReceived(ack) if ack.packet_id.get() == 8));
    assert!(matches!(next(), v5::Packet::SubscribeAck(ack) if ack.status.len() == 2));
    assert!(matches!(next(), v5::Packet::UnsubscribeAck(ack) if ack.status.len() == 2));
    assert!(matches!(next(), v5::Packet::PingResponse));
    assert!(matches!(next(), v5::Packet::Disconnect(_)));
}
