//! The few packets that the link needs, in either version of the protocol.

use std::num::{NonZeroU16, NonZeroU32};
use std::time::Duration;

use bytes::{BufMut, Bytes, BytesMut};
use bytestring::ByteString;
use dormouse_core::secret::Secret;
use rmqtt_codec::types::{MQTT_LEVEL_311, Protocol, Publish, QoS};
use rmqtt_codec::{v3, v5};
use tokio_util::codec::{Decoder as _, Encoder as _};

use super::problem::LinkError;

/// The largest packet that is taken, bytes: a body of 32 KiB, its topic and
/// its properties. In MQTT 5 the broker is told and leaves out larger ones.
const MAX_PACKET: NonZeroU32 = NonZeroU32::MIN.saturating_add(64 * 1024 - 1);
/// Reasons from here on are refusals.
const REFUSAL: u8 = 0x80;
/// Bytes of fixed header, identifier and reason of an acknowledgement.
const PUBACK: u8 = 0x40;

/// A version of MQTT.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Version {
    /// MQTT 5
    V5,
    /// MQTT 3.1.1
    V311,
}

impl std::fmt::Display for Version {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::V5 => "MQTT 5",
            Self::V311 => "MQTT 3.1.1",
        })
    }
}

/// How a session is opened.
#[derive(Debug, Clone)]
pub(super) struct Hello {
    pub(super) client_id: String,
    pub(super) username: String,
    pub(super) password: Option<Secret>,
    pub(super) keep_alive: Duration,
    /// Whether what the broker holds of this client is forgotten.
    pub(super) clean: bool,
    /// How long the broker keeps the session without us.
    pub(super) expiry: Duration,
    /// Whether it will have a shared subscription.
    pub(super) shared: bool,
    /// How many messages the broker may have on their way to us.
    pub(super) receive_max: NonZeroU16,
}

/// What a broker says when it lets us in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Welcome {
    /// Whether it had kept the session.
    pub(super) session_present: bool,
    pub(super) shared: bool,
    pub(super) wildcards: bool,
    pub(super) qos1: bool,
    /// How long it keeps the session, where it says so.
    pub(super) expiry: Option<Duration>,
    /// How many messages may be on their way to it.
    pub(super) receive_max: u16,
    pub(super) keep_alive: Option<Duration>,
}

/// A message from the broker.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Message {
    pub(super) topic: ByteString,
    pub(super) payload: Bytes,
    pub(super) retained: bool,
    pub(super) id: Option<NonZeroU16>,
}

/// What a broker sends us.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Incoming {
    Welcome(Welcome),
    /// CONNACK with a reason against us.
    Unwelcome {
        code: u8,
    },
    Message(Message),
    /// PUBACK
    Taken {
        id: NonZeroU16,
        refused: Option<u8>,
    },
    /// SUBACK: for each filter whether it was granted, or why not.
    Subscribed(Vec<Result<(), u8>>),
    /// UNSUBACK
    Unsubscribed,
    Pong,
    /// DISCONNECT (MQTT 5)
    Closed {
        code: u8,
    },
}

/// Encodes and decodes in the version chosen at the start.
#[derive(Debug)]
pub(super) enum Codec {
    V5(v5::Codec),
    V311(v3::Codec),
}

impl Codec {
    pub(super) fn new(version: Version) -> Self {
        match version {
            Version::V5 => Self::V5(v5::Codec::new(MAX_PACKET.get(), 0)),
            Version::V311 => Self::V311(v3::Codec::new(MAX_PACKET.get())),
        }
    }

    pub(super) const fn version(&self) -> Version {
        match self {
            Self::V5(_) => Version::V5,
            Self::V311(_) => Version::V311,
        }
    }

    /// Appends CONNECT.
    pub(super) fn connect(&mut self, hello: &Hello, out: &mut BytesMut) -> Result<(), LinkError> {
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
    pub(super) fn publish(
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
    pub(super) fn subscribe(
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
    pub(super) fn unsubscribe(
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
    pub(super) fn acknowledge(&self, id: NonZeroU16, refused: bool, out: &mut BytesMut) {
        let with_reason = refused && self.version() == Version::V5;
        out.put_slice(&[PUBACK, if with_reason { 3 } else { 2 }]);
        out.put_u16(id.get());
        if with_reason {
            out.put_u8(v5::PublishAckReason::PayloadFormatInvalid.into());
        }
    }

    /// Appends PINGREQ.
    pub(super) fn ping(out: &mut BytesMut) {
        out.put_slice(&[0xC0, 0x00]);
    }

    /// Appends DISCONNECT; with `forget`, the session ends with it (MQTT 5).
    pub(super) fn disconnect(&self, forget: bool, out: &mut BytesMut) {
        if forget && self.version() == Version::V5 {
            // Normal disconnection with a session expiry interval of 0.
            out.put_slice(&[0xE0, 0x07, 0x00, 0x05, 0x11, 0, 0, 0, 0]);
        } else {
            out.put_slice(&[0xE0, 0x00]);
        }
    }

    /// Takes one whole packet from the front of `input`, if it is there.
    pub(super) fn decode(&mut self, input: &mut BytesMut) -> Result<Option<Incoming>, LinkError> {
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

/// Whether `answer` to an MQTT 5 CONNECT is that of a broker without MQTT 5.
pub(super) fn knows_no_v5(answer: &[u8]) -> bool {
    const UNSUPPORTED_V5: u8 = 0x84;
    match answer {
        [0x20, 0x02, _, 0x01, ..] => true,
        [0x20, _, _, code, ..] => *code == UNSUPPORTED_V5,
        _ => false,
    }
}

/// Whole seconds, rounded up.
fn seconds(duration: Duration) -> u32 {
    let whole = duration.as_secs() + u64::from(duration.subsec_nanos() > 0);
    u32::try_from(whole).unwrap_or(u32::MAX)
}

fn message(publish: Publish) -> Result<Incoming, LinkError> {
    if publish.qos == QoS::ExactlyOnce {
        return Err(LinkError::Unexpected("a message of QoS 2"));
    }
    Ok(Incoming::Message(Message {
        topic: publish.topic,
        // The decoder's buffer would stay alive as long as the message.
        payload: Bytes::copy_from_slice(&publish.payload),
        retained: publish.retain,
        id: publish.packet_id,
    }))
}

fn from_v5(packet: v5::Packet) -> Result<Incoming, LinkError> {
    use v5::Packet as P;
    Ok(match packet {
        P::ConnectAck(ack) => match u8::from(ack.reason_code) {
            0 => Incoming::Welcome(Welcome {
                session_present: ack.session_present,
                shared: ack.shared_subscription_available,
                wildcards: ack.wildcard_subscription_available,
                qos1: ack.max_qos != QoS::AtMostOnce,
                expiry: ack
                    .session_expiry_interval_secs
                    .map(|it| Duration::from_secs(it.into())),
                receive_max: ack.receive_max.get(),
                keep_alive: ack
                    .server_keepalive_sec
                    .map(|it| Duration::from_secs(it.into())),
            }),
            code => Incoming::Unwelcome { code },
        },
        P::Publish(publish) => message(*publish)?,
        P::PublishAck(ack) => Incoming::Taken {
            id: ack.packet_id,
            refused: Some(ack.reason_code.into()).filter(|it| *it >= REFUSAL),
        },
        P::SubscribeAck(ack) => Incoming::Subscribed(
            ack.status
                .into_iter()
                .map(|reason| match u8::from(reason) {
                    code if code >= REFUSAL => Err(code),
                    _ => Ok(()),
                })
                .collect(),
        ),
        P::UnsubscribeAck(_) => Incoming::Unsubscribed,
        P::PingResponse => Incoming::Pong,
        P::Disconnect(end) => Incoming::Closed {
            code: end.reason_code.into(),
        },
        P::Connect(_)
        | P::PublishReceived(_)
        | P::PublishRelease(_)
        | P::PublishComplete(_)
        | P::Subscribe(_)
        | P::Unsubscribe(_)
        | P::PingRequest
        | P::Auth(_) => return Err(LinkError::Unexpected("a packet that servers do not send")),
    })
}

fn from_v3(packet: v3::Packet) -> Result<Incoming, LinkError> {
    use v3::Packet as P;
    Ok(match packet {
        P::ConnectAck(ack) => match u8::from(ack.return_code) {
            0 => Incoming::Welcome(Welcome {
                session_present: ack.session_present,
                shared: true,
                wildcards: true,
                qos1: true,
                expiry: None,
                receive_max: u16::MAX,
                keep_alive: None,
            }),
            code => Incoming::Unwelcome { code },
        },
        P::Publish(publish) => message(*publish)?,
        P::PublishAck { packet_id } => Incoming::Taken {
            id: packet_id,
            refused: None,
        },
        P::SubscribeAck { status, .. } => Incoming::Subscribed(
            status
                .into_iter()
                .map(|it| match it {
                    v3::SubscribeReturnCode::Success(_) => Ok(()),
                    v3::SubscribeReturnCode::Failure => Err(REFUSAL),
                })
                .collect(),
        ),
        P::UnsubscribeAck { .. } => Incoming::Unsubscribed,
        P::PingResponse => Incoming::Pong,
        P::Connect(_)
        | P::PublishReceived { .. }
        | P::PublishRelease { .. }
        | P::PublishComplete { .. }
        | P::Subscribe { .. }
        | P::Unsubscribe { .. }
        | P::PingRequest
        | P::Disconnect => return Err(LinkError::Unexpected("a packet that servers do not send")),
    })
}
