//! The few packets a device needs, over either version of the protocol.

use std::num::NonZeroU16;

use bytes::{Bytes, BytesMut};
use rmqtt_codec::types::{MQTT_LEVEL_311, Protocol, Publish, QoS};
use rmqtt_codec::{v3, v5};
use tokio_util::codec::{Decoder as _, Encoder as _};

use super::LinkError;

/// The largest packet a strip takes, bytes.
const MAX_PACKET: u32 = 64 * 1024;

/// A version of MQTT.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Version {
    /// MQTT 3.1.1
    #[default]
    V3,
    /// MQTT 5
    V5,
}

/// What a device says of itself when it connects.
#[derive(Clone)]
pub(crate) struct Hello {
    pub(crate) version: Version,
    pub(crate) client_id: String,
    pub(crate) username: String,
    pub(crate) password: String,
    pub(crate) keep_alive_s: u16,
    /// Topic and body of the will; always QoS 1 and retained.
    pub(crate) will: Option<(String, Vec<u8>)>,
}

impl std::fmt::Debug for Hello {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Hello")
            .field("version", &self.version)
            .field("client_id", &self.client_id)
            .field("username", &self.username)
            .finish_non_exhaustive()
    }
}

/// What a broker can send to a device.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Incoming {
    /// CONNACK; the code is 0 where the connection was accepted.
    Connected { code: u8 },
    /// PUBLISH.
    Message {
        topic: String,
        payload: Bytes,
        retained: bool,
        id: Option<NonZeroU16>,
    },
    /// PUBACK; `refused` in MQTT 5 with a reason of 0x80 or more.
    Acknowledged { id: NonZeroU16, refused: bool },
    /// SUBACK; `granted` where every filter was accepted.
    Subscribed { id: NonZeroU16, granted: bool },
    /// PINGRESP.
    Pong,
    /// DISCONNECT (MQTT 5), with its reason code.
    Closed { code: u8 },
}

/// Encodes and decodes in the version that was chosen at the start.
#[derive(Debug)]
pub(crate) enum Codec {
    V3(v3::Codec),
    V5(v5::Codec),
}

impl Codec {
    pub(crate) fn new(version: Version) -> Self {
        match version {
            Version::V3 => Self::V3(v3::Codec::new(MAX_PACKET)),
            Version::V5 => Self::V5(v5::Codec::new(MAX_PACKET, 0)),
        }
    }

    /// Appends CONNECT.
    pub(crate) fn connect(&mut self, hello: &Hello, out: &mut BytesMut) -> Result<(), LinkError> {
        match self {
            Self::V3(codec) => {
                let last_will = hello.will.as_ref().map(|(topic, body)| v3::LastWill {
                    qos: QoS::AtLeastOnce,
                    retain: true,
                    topic: topic.as_str().into(),
                    message: Bytes::copy_from_slice(body),
                });
                let connect = v3::Connect {
                    protocol: Protocol(MQTT_LEVEL_311),
                    clean_session: true,
                    keep_alive: hello.keep_alive_s,
                    last_will,
                    client_id: hello.client_id.as_str().into(),
                    username: Some(hello.username.as_str().into()),
                    password: Some(Bytes::copy_from_slice(hello.password.as_bytes())),
                    cert: None,
                };
                Ok(codec.encode(connect.into(), out)?)
            }
            Self::V5(codec) => {
                let last_will = hello.will.as_ref().map(|(topic, body)| v5::LastWill {
                    qos: QoS::AtLeastOnce,
                    retain: true,
                    topic: topic.as_str().into(),
                    message: Bytes::copy_from_slice(body),
                    will_delay_interval_sec: None,
                    correlation_data: None,
                    message_expiry_interval: None,
                    content_type: None,
                    user_properties: Vec::new(),
                    is_utf8_payload: None,
                    response_topic: None,
                });
                let connect = v5::Connect {
                    clean_start: true,
                    keep_alive: hello.keep_alive_s,
                    last_will,
                    client_id: hello.client_id.as_str().into(),
                    username: Some(hello.username.as_str().into()),
                    password: Some(Bytes::copy_from_slice(hello.password.as_bytes())),
                    request_problem_info: true,
                    ..v5::Connect::default()
                };
                Ok(codec.encode(connect.into(), out)?)
            }
        }
    }

    /// Appends PUBLISH; QoS 1 with an id, QoS 0 without.
    pub(crate) fn publish(
        &mut self,
        topic: &str,
        payload: Vec<u8>,
        retain: bool,
        id: Option<NonZeroU16>,
        out: &mut BytesMut,
    ) -> Result<(), LinkError> {
        let mut publish = Box::new(Publish {
            dup: false,
            retain,
            qos: if id.is_some() {
                QoS::AtLeastOnce
            } else {
                QoS::AtMostOnce
            },
            topic: topic.into(),
            packet_id: id,
            payload: payload.into(),
            properties: None,
        });
        match self {
            Self::V3(codec) => Ok(codec.encode(v3::Packet::Publish(publish), out)?),
            Self::V5(codec) => {
                publish.properties = Some(v5::PublishProperties::default());
                Ok(codec.encode(v5::Packet::Publish(publish), out)?)
            }
        }
    }

    /// Appends SUBSCRIBE for one filter at QoS 1.
    pub(crate) fn subscribe(
        &mut self,
        filter: &str,
        packet_id: NonZeroU16,
        out: &mut BytesMut,
    ) -> Result<(), LinkError> {
        match self {
            Self::V3(codec) => {
                let topic_filters = vec![(filter.into(), QoS::AtLeastOnce)];
                Ok(codec.encode(
                    v3::Packet::Subscribe {
                        packet_id,
                        topic_filters,
                    },
                    out,
                )?)
            }
            Self::V5(codec) => {
                let options = v5::SubscriptionOptions {
                    qos: QoS::AtLeastOnce,
                    ..v5::SubscriptionOptions::default()
                };
                let subscribe = v5::Subscribe {
                    packet_id,
                    id: None,
                    user_properties: Vec::new(),
                    topic_filters: vec![(filter.into(), options)],
                };
                Ok(codec.encode(v5::Packet::Subscribe(subscribe), out)?)
            }
        }
    }

    /// Appends PUBACK.
    pub(crate) fn acknowledge(
        &mut self,
        packet_id: NonZeroU16,
        out: &mut BytesMut,
    ) -> Result<(), LinkError> {
        match self {
            Self::V3(codec) => Ok(codec.encode(v3::Packet::PublishAck { packet_id }, out)?),
            Self::V5(codec) => {
                let ack = v5::PublishAck {
                    packet_id,
                    reason_code: v5::PublishAckReason::Success,
                    properties: Vec::new(),
                    reason_string: None,
                };
                Ok(codec.encode(v5::Packet::PublishAck(ack), out)?)
            }
        }
    }

    /// Appends PINGREQ.
    pub(crate) fn ping(out: &mut BytesMut) {
        out.extend_from_slice(&[0xC0, 0x00]);
    }

    /// Appends DISCONNECT, which withdraws the will.
    pub(crate) fn disconnect(out: &mut BytesMut) {
        out.extend_from_slice(&[0xE0, 0x00]);
    }

    /// Takes one whole packet from the front of `input`, if it is there.
    pub(crate) fn decode(&mut self, input: &mut BytesMut) -> Result<Option<Incoming>, LinkError> {
        match self {
            Self::V3(codec) => codec
                .decode(input)?
                .map(|(packet, _)| from_v3(packet))
                .transpose(),
            Self::V5(codec) => codec
                .decode(input)?
                .map(|(packet, _)| from_v5(packet))
                .transpose(),
        }
    }
}

fn message(publish: &Publish) -> Incoming {
    Incoming::Message {
        topic: publish.topic.to_string(),
        payload: publish.payload.clone(),
        retained: publish.retain,
        id: publish.packet_id,
    }
}

fn from_v3(packet: v3::Packet) -> Result<Incoming, LinkError> {
    use v3::Packet as P;
    match packet {
        P::ConnectAck(ack) => Ok(Incoming::Connected {
            code: ack.return_code.into(),
        }),
        P::Publish(publish) => Ok(message(&publish)),
        P::PublishAck { packet_id } => Ok(Incoming::Acknowledged {
            id: packet_id,
            refused: false,
        }),
        P::SubscribeAck { packet_id, status } => Ok(Incoming::Subscribed {
            id: packet_id,
            granted: !status.contains(&v3::SubscribeReturnCode::Failure),
        }),
        P::PingResponse => Ok(Incoming::Pong),
        P::Connect(_)
        | P::PublishReceived { .. }
        | P::PublishRelease { .. }
        | P::PublishComplete { .. }
        | P::Subscribe { .. }
        | P::Unsubscribe { .. }
        | P::UnsubscribeAck { .. }
        | P::PingRequest
        | P::Disconnect => Err(LinkError::Unexpected),
    }
}

fn from_v5(packet: v5::Packet) -> Result<Incoming, LinkError> {
    use v5::Packet as P;
    match packet {
        P::ConnectAck(ack) => Ok(Incoming::Connected {
            code: ack.reason_code.into(),
        }),
        P::Publish(publish) => Ok(message(&publish)),
        P::PublishAck(ack) => Ok(Incoming::Acknowledged {
            id: ack.packet_id,
            refused: u8::from(ack.reason_code) >= 0x80,
        }),
        P::SubscribeAck(ack) => Ok(Incoming::Subscribed {
            id: ack.packet_id,
            granted: ack.status.iter().all(|reason| u8::from(*reason) < 0x80),
        }),
        P::PingResponse => Ok(Incoming::Pong),
        P::Disconnect(disconnect) => Ok(Incoming::Closed {
            code: disconnect.reason_code.into(),
        }),
        P::Connect(_)
        | P::PublishReceived(_)
        | P::PublishRelease(_)
        | P::PublishComplete(_)
        | P::Subscribe(_)
        | P::Unsubscribe(_)
        | P::UnsubscribeAck(_)
        | P::PingRequest
        | P::Auth(_) => Err(LinkError::Unexpected),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_encoded_decodes_to_the_same_message_in_both_versions() {
        for version in [Version::V3, Version::V5] {
            let mut codec = Codec::new(version);
            let mut wire = BytesMut::new();
            let id = NonZeroU16::new(7);
            codec
                .publish("dorm/a/cmd", b"{}".to_vec(), true, id, &mut wire)
                .unwrap();
            let decoded = codec.decode(&mut wire).unwrap();
            let expected = Incoming::Message {
                topic: "dorm/a/cmd".to_owned(),
                payload: Bytes::from_static(b"{}"),
                retained: true,
                id,
            };
            assert_eq!(decoded, Some(expected), "{version:?}");
        }
    }

    #[test]
    fn half_a_packet_waits_and_a_clients_packet_is_unexpected() {
        let mut codec = Codec::new(Version::V3);
        let mut wire = BytesMut::from(&[0x40, 0x02, 0x00][..]);
        assert!(codec.decode(&mut wire).unwrap().is_none());
        wire.extend_from_slice(&[0x09]);
        let id = NonZeroU16::new(9).unwrap();
        assert_eq!(
            codec.decode(&mut wire).unwrap(),
            Some(Incoming::Acknowledged { id, refused: false })
        );
        let mut wire = BytesMut::from(&[0xC0, 0x00][..]);
        assert!(matches!(
            codec.decode(&mut wire),
            Err(LinkError::Unexpected)
        ));
    }

    #[test]
    fn a_hello_hides_its_password() {
        let hello = Hello {
            version: Version::V5,
            client_id: "c".into(),
            username: "u".into(),
            password: "hidden-secret".into(),
            keep_alive_s: 30,
            will: None,
        };
        assert!(!format!("{hello:?}").contains("hidden-secret"));
    }
}
