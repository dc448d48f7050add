//! An MQTT 5 client that tells exactly what a broker answered.

use std::collections::VecDeque;
use std::num::{NonZeroU16, NonZeroU32};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use dormouse_core::secret::Secret;
use rmqtt_codec::types::{Publish, QoS};
use rmqtt_codec::v5::{self, Packet};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::time::{Instant, timeout, timeout_at};
use tokio_util::codec::{Decoder as _, Encoder as _};

use super::PATIENCE;
use super::target::{Stream, Target};

/// The largest packet that is taken, bytes.
const PACKET_MAX: NonZeroU32 = NonZeroU32::MIN.saturating_add(1 << 20);
/// Messages kept at most; a broker that hands out all of a fleet's fills it,
/// and the first ones are enough.
const INBOX_MAX: usize = 10_000;
/// Reasons from here on are refusals.
const REFUSAL: u8 = 0x80;
/// That it is busy: EMQX says so to a client that comes back at once.
const BUSY: u8 = 0x89;
/// After how long such a broker is asked again.
const AGAIN: Duration = Duration::from_millis(200);
/// That the body of a message was refused, not the message.
const BODY_REFUSED: u8 = 0x99;

/// Why a broker did not let somebody in.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ConnectError {
    /// It refused, with this reason; 0 where it hung up without one.
    #[error("the broker refused the connection (reason 0x{0:02x})")]
    Refused(u8),
    /// Nobody answered.
    #[error("the broker cannot be reached: {0}")]
    Unreachable(String),
    /// TLS could not be agreed upon.
    #[error("TLS with the broker failed: {0}")]
    Tls(String),
}

/// The connection ended; with a reason where the broker gave one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the broker hung up{}", .0.map(|it| format!(" (reason 0x{it:02x})")).unwrap_or_default())]
pub(crate) struct Gone(Option<u8>);

/// How somebody signs in.
#[derive(Debug, Clone)]
pub(crate) struct Login {
    pub(crate) client_id: String,
    pub(crate) username: Option<String>,
    pub(crate) password: Option<Secret>,
    pub(crate) clean: bool,
    /// How long the session outlives its connection.
    pub(crate) expiry: Duration,
    /// Topic and body of its will.
    pub(crate) will: Option<(String, String)>,
}

/// What came of something that was sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Answer {
    /// The broker took it.
    Taken,
    /// It said no, with this reason.
    Refused(u8),
}

/// A message that arrived.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Got {
    pub(crate) topic: String,
    pub(crate) payload: Bytes,
    pub(crate) retained: bool,
}

/// An open session.
pub(crate) struct Probe {
    stream: Box<dyn Stream>,
    codec: v5::Codec,
    input: BytesMut,
    inbox: VecDeque<Got>,
    next_id: NonZeroU16,
    pub(crate) session_present: bool,
}

impl Login {
    pub(crate) fn new(name: &str, password: &Secret) -> Self {
        Self {
            username: Some(name.to_owned()),
            password: Some(password.clone()),
            ..Self::anonymous()
        }
    }

    pub(crate) fn anonymous() -> Self {
        let mark = Secret::random("dormouse-check-");
        Self {
            client_id: mark.expose().chars().take(31).collect(),
            username: None,
            password: None,
            clean: true,
            expiry: Duration::ZERO,
            will: None,
        }
    }
}

impl Probe {
    /// Signs in; a broker that is busy is asked again.
    pub(crate) async fn connect(target: &Target, login: &Login) -> Result<Self, ConnectError> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            match Self::open(target, login).await {
                Err(ConnectError::Refused(BUSY)) if Instant::now() < deadline => {
                    tokio::time::sleep(AGAIN).await;
                }
                other => return other,
            }
        }
    }

    async fn open(target: &Target, login: &Login) -> Result<Self, ConnectError> {
        let mut probe = Self {
            stream: target.open().await?.stream,
            codec: v5::Codec::new(PACKET_MAX.get(), PACKET_MAX.get()),
            input: BytesMut::new(),
            inbox: VecDeque::new(),
            next_id: NonZeroU16::MIN,
            session_present: false,
        };
        let password = login.password.as_ref();
        let connect = v5::Connect {
            clean_start: login.clean,
            keep_alive: 60,
            session_expiry_interval_secs: u32::try_from(login.expiry.as_secs()).unwrap_or(u32::MAX),
            max_packet_size: Some(PACKET_MAX),
            request_problem_info: true,
            last_will: login.will.as_ref().map(|(topic, body)| will(topic, body)),
            client_id: login.client_id.as_str().into(),
            username: login.username.as_deref().map(Into::into),
            password: password.map(|it| Bytes::copy_from_slice(it.expose().as_bytes())),
            ..v5::Connect::default()
        };
        let hung_up = |_| ConnectError::Refused(0);
        probe.send(connect.into()).await.map_err(hung_up)?;
        let deadline = Instant::now() + PATIENCE;
        match probe.read(deadline).await.map_err(hung_up)? {
            Some(Packet::ConnectAck(ack)) if u8::from(ack.reason_code) == 0 => {
                probe.session_present = ack.session_present;
                Ok(probe)
            }
            Some(Packet::ConnectAck(ack)) => Err(ConnectError::Refused(ack.reason_code.into())),
            Some(_) => Err(ConnectError::Unreachable(
                "it answered with something else than CONNACK; is it an MQTT 5 broker?".to_owned(),
            )),
            None => Err(ConnectError::Unreachable(
                "no answer to CONNECT in time; is it an MQTT 5 broker?".to_owned(),
            )),
        }
    }

    /// Publishes at QoS 1 and waits for the answer.
    pub(crate) async fn publish(
        &mut self,
        topic: &str,
        payload: &str,
        retain: bool,
    ) -> Result<Answer, Gone> {
        let id = self.take_id();
        let publish = Publish {
            dup: false,
            retain,
            qos: QoS::AtLeastOnce,
            topic: topic.into(),
            packet_id: Some(id),
            payload: Bytes::copy_from_slice(payload.as_bytes()),
            properties: Some(v5::PublishProperties::default()),
        };
        self.send(Packet::Publish(Box::new(publish))).await?;
        let code = self
            .answer(|packet| {
                let Packet::PublishAck(ack) = packet else {
                    return None;
                };
                (ack.packet_id == id).then(|| ack.reason_code.into())
            })
            .await?;
        Ok(match code {
            code if code >= REFUSAL && code != BODY_REFUSED => Answer::Refused(code),
            _ => Answer::Taken,
        })
    }

    /// Subscribes at QoS 1 and waits for the answer.
    pub(crate) async fn subscribe(&mut self, filter: &str) -> Result<Answer, Gone> {
        let packet_id = self.take_id();
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
        self.send(Packet::Subscribe(subscribe)).await?;
        let code = self
            .answer(|packet| {
                let Packet::SubscribeAck(ack) = packet else {
                    return None;
                };
                let first = ack.status.first();
                (ack.packet_id == packet_id).then(|| first.map_or(REFUSAL, |it| u8::from(*it)))
            })
            .await?;
        Ok(match code {
            code if code >= REFUSAL => Answer::Refused(code),
            _ => Answer::Taken,
        })
    }

    /// Whether a message with `payload` came, or comes within `patience`.
    pub(crate) async fn sees(&mut self, payload: &str, patience: Duration) -> bool {
        let deadline = Instant::now() + patience;
        loop {
            let is_it = |got: &Got| got.payload == payload.as_bytes();
            if self.inbox.iter().any(is_it) {
                return true;
            }
            if !self.take_next(deadline).await {
                return false;
            }
        }
    }

    /// Everything that came, and comes until nothing does for `quiet`.
    pub(crate) async fn everything(&mut self, quiet: Duration) -> Vec<Got> {
        while self.inbox.len() < INBOX_MAX && self.take_next(Instant::now() + quiet).await {}
        self.inbox.drain(..).collect()
    }

    /// Says goodbye; the session ends as agreed at the start. Waits until the
    /// broker has hung up, so that whoever comes next under that name takes
    /// nothing over: too many take-overs look like two devices with one name.
    pub(crate) async fn close(mut self) {
        let goodbye = Packet::Disconnect(v5::Disconnect::default());
        let farewell = async {
            self.send(goodbye).await.ok();
            self.stream.shutdown().await.ok();
            while self
                .stream
                .read_buf(&mut self.input)
                .await
                .is_ok_and(|read| read > 0)
            {
                self.input.clear();
            }
        };
        timeout(PATIENCE, farewell).await.ok();
    }

    /// Reads one packet; `false` where none comes in time.
    async fn take_next(&mut self, deadline: Instant) -> bool {
        match self.read(deadline).await {
            Ok(Some(Packet::Publish(publish))) => self.keep(*publish).await.is_ok(),
            Ok(Some(_)) => true,
            Ok(None) | Err(Gone(_)) => false,
        }
    }

    /// The answer that `pick` picks out; messages that come before it are kept.
    async fn answer(&mut self, pick: impl Fn(&Packet) -> Option<u8>) -> Result<u8, Gone> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let packet = self.read(deadline).await?.ok_or(Gone(None))?;
            if let Some(code) = pick(&packet) {
                return Ok(code);
            }
            if let Packet::Disconnect(end) = &packet {
                return Err(Gone(Some(end.reason_code.into())));
            }
            if let Packet::Publish(publish) = packet {
                self.keep(*publish).await?;
            }
        }
    }

    /// Acknowledges a message and keeps it.
    async fn keep(&mut self, publish: Publish) -> Result<(), Gone> {
        if let Some(packet_id) = publish.packet_id {
            let ack = v5::PublishAck {
                packet_id,
                reason_code: v5::PublishAckReason::Success,
                properties: Vec::new(),
                reason_string: None,
            };
            self.send(Packet::PublishAck(ack)).await?;
        }
        if self.inbox.len() < INBOX_MAX {
            self.inbox.push_back(Got {
                topic: publish.topic.to_string(),
                payload: publish.payload,
                retained: publish.retain,
            });
        }
        Ok(())
    }

    async fn send(&mut self, packet: Packet) -> Result<(), Gone> {
        let mut out = BytesMut::new();
        let encoded = self.codec.encode(packet, &mut out);
        encoded.map_err(|_| Gone(None))?;
        let written = timeout(PATIENCE, self.stream.write_all(&out)).await;
        written.map_err(|_| Gone(None))?.map_err(|_| Gone(None))?;
        let flushed = timeout(PATIENCE, self.stream.flush()).await;
        flushed.map_err(|_| Gone(None))?.map_err(|_| Gone(None))
    }

    /// The next packet, if one comes before `deadline`.
    async fn read(&mut self, deadline: Instant) -> Result<Option<Packet>, Gone> {
        loop {
            let decoded = self.codec.decode(&mut self.input);
            if let Some((packet, _)) = decoded.map_err(|_| Gone(None))? {
                return Ok(Some(packet));
            }
            let read = self.stream.read_buf(&mut self.input);
            match timeout_at(deadline, read).await {
                Err(_) => return Ok(None),
                Ok(Ok(0) | Err(_)) => return Err(Gone(None)),
                Ok(Ok(_)) => {}
            }
        }
    }

    fn take_id(&mut self) -> NonZeroU16 {
        let id = self.next_id;
        self.next_id = id.checked_add(1).unwrap_or(NonZeroU16::MIN);
        id
    }
}

fn will(topic: &str, body: &str) -> v5::LastWill {
    v5::LastWill {
        qos: QoS::AtLeastOnce,
        retain: false,
        topic: topic.into(),
        message: Bytes::copy_from_slice(body.as_bytes()),
        will_delay_interval_sec: None,
        correlation_data: None,
        message_expiry_interval: None,
        content_type: None,
        user_properties: Vec::new(),
        is_utf8_payload: None,
        response_topic: None,
    }
}
