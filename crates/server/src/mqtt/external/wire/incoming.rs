//! What the broker's packets say.

use std::time::Duration;

use rmqtt_codec::types::{Publish, QoS};
use rmqtt_codec::{v3, v5};

use super::super::problem::LinkError;
use super::{Incoming, Message, REFUSAL, Welcome};

fn message(publish: Publish) -> Result<Incoming, LinkError> {
    if publish.qos == QoS::ExactlyOnce {
        return Err(LinkError::Unexpected("a message of QoS 2"));
    }
    Ok(Incoming::Message(Message {
        topic: publish.topic,
        payload: publish.payload,
        retained: publish.retain,
        id: publish.packet_id,
    }))
}

pub(super) fn from_v5(packet: v5::Packet) -> Result<Incoming, LinkError> {
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

pub(super) fn from_v3(packet: v3::Packet) -> Result<Incoming, LinkError> {
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
