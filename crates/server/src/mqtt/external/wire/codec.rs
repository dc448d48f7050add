//! Encodes what the link sends and finds what it is sent.

use std::num::{NonZeroU16, NonZeroU32};
use std::time::Duration;

use bytes::{BufMut, Bytes, BytesMut};
use bytestring::ByteString;
use rmqtt_codec::types::{MQTT_LEVEL_311, Protocol, Publish, QoS};
use rmqtt_codec::{v3, v5};
use tokio_util::codec::{Decoder as _, Encoder as _};

use super::super::problem::LinkError;
use super::incoming::{from_v3, from_v5};
use super::{Hello, Incoming, Version};

/// The largest packet that is taken, bytes: a body of 32 KiB, its topic and
/// its properties. In MQTT 5 the broker is told and leaves out larger ones.
const MAX_PACKET: NonZeroU32 = NonZeroU32::MIN.saturating_add(64 * 1024 - 1);
/// The first byte of an acknowledgement.
const PUBACK: u8 = 0x40;

/// Encodes and decodes in the version chosen at the start.
#[derive(Debug)]
pub(in super::super) enum Codec {
    V5(v5::Codec),
    V311(v3::Codec),
}

impl Codec {
    pub(in super::super) fn new(version: Version) -> Self {
        match version {
            Version::V5 => Self::V5(v5::Codec::new(MAX_PACKET.get(), 0)),
            Version::V311 => Self::V311(v3::Codec::new(MAX_PACKET.get())),
        }
    }

    pub(in super::super) const fn version(&self) -> Version {
        match self {
            Self::V5(_) => Version::V5,
            Self::V311(_) => Version::V311,
        }
    }

    /// Appends CONNECT.
    pub(in super::super) fn connect(
        &mut self,
        hello: &Hello,
        out: &mut BytesMut,
    ) -> Result<(), LinkError> {
        let keep_alive = u16::try_from(hello.keep_alive.as_secs()).unwrap_or(u16::MAX);
        let client_id = hello.client_id.as_str().into();
        let named = !hello.username.is_empty();
        let username = named.then(|| hello.username.as_str().into());
        let password = hello.password.as_ref().filter(|_| named);
        let password = password.map(|it| Bytes::copy_from_slice(it.expose().as_bytes()));
        match self {
            Self::V5(codec) => {
                let connect = v5::Connect {
                    clean_start: hello.clean,
                    keep_alive,
                    session_expiry_interval_secs: seconds(hello.expiry),
                    receive_max: Some(hello.receive_max),
                    max_packet_size: Some(MAX_PACKET),
                    request_problem_info: true,
                    client_id,
                    username,
                    password,
                    ..v5::Connect::default()
                };
                Ok(codec.encode(connect.into(), out)?)
            }
            Self::V311(codec) => {
                let connect = v3::Connect {
                    protocol: Protocol(MQTT_LEVEL_311),
                    // Without an expiry, a session ends with its connection or never.
                    clean_session: hello.clean || hello.expiry.is_zero(),
                    keep_alive,
                    last_will: None,
                    client_id,
                    username,
                    password,
                    cert: None,
                };
                Ok(codec.encode(connect.into(), out)?)
            }
        }
    }

    /// Appends a PUBLISH of QoS 1, never retained; the broker drops it after
    /// `expiry` (MQTT 5).
    pub(in super::super) fn publish(
        &mut self,
        topic: &str,
        payload: &Bytes,
        (id, again): (NonZeroU16, bool),
        expiry: Duration,
        out: &mut BytesMut,
    ) -> Result<(), LinkError> {
        let properties = v5::PublishProperties {
            message_expiry_interval: NonZeroU32::new(seconds(expiry).max(1)),
            ..v5::PublishProperties::default()
        };
        let mut publish = Box::new(Publish {
            dup: again,
            retain: false,
            qos: QoS::AtLeastOnce,
            topic: topic.into(),
            packet_id: Some(id),
            payload: payload.clone(),
            properties: None,
        });
        match self {
            Self::V5(codec) => {
                publish.properties = Some(properties);
                Ok(codec.encode(v5::Packet::Publish(publish), out)?)
            }
            Self::V311(codec) => Ok(codec.encode(v3::Packet::Publish(publish), out)?),
        }
    }

    /// Appends SUBSCRIBE at QoS 1. Replays of retained messages carry the
    /// retained flag, passed-on ones do not; unless `replay`, there are none
    /// (MQTT 5).
    pub(in super::super) fn subscribe(
        &mut self,
        filters: &[String],
        replay: bool,
        packet_id: NonZeroU16,
        out: &mut BytesMut,
    ) -> Result<(), LinkError> {
        let filters = filters.iter().map(|it| ByteString::from(it.as_str()));
        match self {
            Self::V5(codec) => {
                let options = v5::SubscriptionOptions {
                    qos: QoS::AtLeastOnce,
                    retain_handling: if replay {
                        v5::RetainHandling::AtSubscribe
                    } else {
                        v5::RetainHandling::NoAtSubscribe
                    },
                    ..v5::SubscriptionOptions::default()
                };
                let subscribe = v5::Subscribe {
                    packet_id,
                    id: None,
                    user_properties: Vec::new(),
                    topic_filters: filters.map(|it| (it, options)).collect(),
                };
                Ok(codec.encode(v5::Packet::Subscribe(subscribe), out)?)
            }
            Self::V311(codec) => {
                let subscribe = v3::Packet::Subscribe {
                    packet_id,
                    topic_filters: filters.map(|it| (it, QoS::AtLeastOnce)).collect(),
                };
                Ok(codec.encode(subscribe, out)?)
            }
        }
    }

    /// Appends UNSUBSCRIBE.
    pub(in super::super) fn unsubscribe(
        &mut self,
        filters: &[String],
        packet_id: NonZeroU16,
        out: &mut BytesMut,
    ) -> Result<(), LinkError> {
        let topic_filters = filters.iter().map(|it| it.as_str().into()).collect();
        match self {
            Self::V5(codec) => {
                let unsubscribe = v5::Unsubscribe {
                    packet_id,
                    user_properties: Vec::new(),
                    topic_filters,
                };
                Ok(codec.encode(v5::Packet::Unsubscribe(unsubscribe), out)?)
            }
            Self::V311(codec) => {
                let unsubscribe = v3::Packet::Unsubscribe {
                    packet_id,
                    topic_filters,
                };
                Ok(codec.encode(unsubscribe, out)?)
            }
        }
    }

    /// Appends PUBACK; a refusal has a reason in MQTT 5 alone.
    pub(in super::super) fn acknowledge(&self, id: NonZeroU16, refused: bool, out: &mut BytesMut) {
        let with_reason = refused && self.version() == Version::V5;
        out.put_slice(&[PUBACK, if with_reason { 3 } else { 2 }]);
        out.put_u16(id.get());
        if with_reason {
            out.put_u8(v5::PublishAckReason::PayloadFormatInvalid.into());
        }
    }

    /// Appends PINGREQ.
    pub(in super::super) fn ping(out: &mut BytesMut) {
        out.put_slice(&[0xC0, 0x00]);
    }

    /// Appends DISCONNECT; with `forget`, the session ends with it (MQTT 5).
    pub(in super::super) fn disconnect(&self, forget: bool, out: &mut BytesMut) {
        if forget && self.version() == Version::V5 {
            // Normal disconnection with a session expiry interval of 0.
            out.put_slice(&[0xE0, 0x07, 0x00, 0x05, 0x11, 0, 0, 0, 0]);
        } else {
            out.put_slice(&[0xE0, 0x00]);
        }
    }

    /// Takes one whole packet from the front of `input`, if it is there.
    pub(in super::super) fn decode(
        &mut self,
        input: &mut BytesMut,
    ) -> Result<Option<Incoming>, LinkError> {
        match self {
            Self::V5(codec) => match codec.decode(input)? {
                Some((packet, _)) => from_v5(packet).map(Some),
                None => Ok(None),
            },
            Self::V311(codec) => match codec.decode(input)? {
                Some((packet, _)) => from_v3(packet).map(Some),
                None => Ok(None),
            },
        }
    }
}
/// Whole seconds, rounded up.
fn seconds(duration: Duration) -> u32 {
    let whole = duration.as_secs() + u64::from(duration.subsec_nanos() > 0);
    u32::try_from(whole).unwrap_or(u32::MAX)
}
