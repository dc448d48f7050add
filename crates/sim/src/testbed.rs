//! A scripted broker for tests: accepts everybody, grants everything, writes
//! down what it hears, and sends what a test tells it to.

use std::num::NonZeroU16;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use rmqtt_codec::types::{Publish, QoS};
use rmqtt_codec::{v3, v5};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Notify, broadcast};
use tokio::time::timeout;
use tokio_util::codec::{Decoder as _, Encoder as _};
use tokio_util::task::TaskTracker;

/// One thing the broker heard.
#[derive(Debug, Clone)]
pub(crate) enum Heard {
    Connect {
        username: String,
        password: String,
        will: Option<Bytes>,
    },
    Subscribe(String),
    Publish {
        topic: String,
        payload: Bytes,
        retain: bool,
        qos1: bool,
    },
    Puback,
    Disconnect,
    Lost,
}

#[derive(Debug, Clone)]
pub(crate) struct Testbed {
    pub(crate) address: String,
    heard: Arc<Mutex<Vec<Heard>>>,
    news: Arc<Notify>,
    orders: broadcast::Sender<(String, Vec<u8>)>,
    /// Messages until the connection that brings the last is cut; 0 for never.
    cut_after: Arc<AtomicUsize>,
}

impl Testbed {
    pub(crate) async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let bed = Self {
            address: listener.local_addr().unwrap().to_string(),
            heard: Arc::default(),
            news: Arc::default(),
            orders: broadcast::channel(64).0,
            cut_after: Arc::default(),
        };
        let tasks = TaskTracker::new();
        let (accepting, nested) = (bed.clone(), tasks.clone());
        tasks.spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                nested.spawn(accepting.clone().serve(stream));
            }
        });
        bed
    }

    /// Cuts the connection that brings the `messages`th message from now,
    /// without acknowledging that message.
    pub(crate) fn cut_after(&self, messages: usize) {
        self.cut_after.store(messages, Ordering::SeqCst);
    }

    /// Sends a message to every client.
    pub(crate) fn send(&self, topic: &str, payload: Vec<u8>) {
        self.orders.send((topic.to_owned(), payload)).unwrap();
    }

    pub(crate) fn heard(&self) -> Vec<Heard> {
        self.heard.lock().unwrap().clone()
    }

    /// Waits until `pick` finds something in all that was heard.
    pub(crate) async fn until<T>(&self, pick: impl Fn(&[Heard]) -> Option<T>) -> T {
        let found = async {
            loop {
                let news = self.news.notified();
                if let Some(found) = pick(&self.heard()) {
                    return found;
                }
                news.await;
            }
        };
        match timeout(Duration::from_secs(20), found).await {
            Ok(found) => found,
            Err(_) => panic!("not heard in time; heard {:#?}", self.heard()),
        }
    }

    /// The bodies published on `topic` so far.
    pub(crate) fn bodies(heard: &[Heard], wanted: &str) -> Vec<serde_json::Value> {
        let mut bodies = Vec::new();
        for heard in heard {
            if let Heard::Publish { topic, payload, .. } = heard
                && topic == wanted
            {
                bodies.push(serde_json::from_slice(payload).unwrap());
            }
        }
        bodies
    }

    fn note(&self, heard: Heard) {
        self.heard.lock().unwrap().push(heard);
        self.news.notify_waiters();
    }

    async fn serve(self, mut stream: TcpStream) {
        let mut orders = self.orders.subscribe();
        let mut input = BytesMut::new();
        let mut codec = None;
        loop {
            let mut output = BytesMut::new();
            tokio::select! {
                read = stream.read_buf(&mut input) => match read {
                    Ok(1..) => {
                        let at = input.windows(4).position(|bytes| bytes == b"MQTT");
                        let codec = codec.get_or_insert_with(|| Dialect::new(input[at.unwrap() + 4]));
                        while let Some(heard) = codec.answer(&mut input, &mut output) {
                            let message = matches!(heard, Heard::Publish { .. });
                            if message && self.cut_after.load(Ordering::SeqCst) > 0
                                && self.cut_after.fetch_sub(1, Ordering::SeqCst) == 1
                            {
                                return self.note(Heard::Lost);
                            }
                            self.note(heard);
                        }
                    }
                    Ok(0) | Err(_) => return self.note(Heard::Lost),
                },
                order = orders.recv() => {
                    let (topic, payload) = order.unwrap();
                    codec.as_mut().unwrap().publish(topic, payload, &mut output);
                }
            }
            if stream.write_all(&output).await.is_err() {
                return self.note(Heard::Lost);
            }
        }
    }
}

enum Dialect {
    V3(v3::Codec),
    V5(v5::Codec),
}

impl Dialect {
    fn new(level: u8) -> Self {
        match level {
            5 => Self::V5(v5::Codec::new(65_536, 0)),
            _ => Self::V3(v3::Codec::new(65_536)),
        }
    }

    fn publish(&mut self, topic: String, payload: Vec<u8>, output: &mut BytesMut) {
        let mut publish = Box::new(Publish {
            dup: false,
            retain: false,
            qos: QoS::AtLeastOnce,
            topic: topic.into(),
            packet_id: NonZeroU16::new(77),
            payload: payload.into(),
            properties: None,
        });
        match self {
            Self::V3(codec) => codec.encode(v3::Packet::Publish(publish), output).unwrap(),
            Self::V5(codec) => {
                publish.properties = Some(v5::PublishProperties::default());
                codec.encode(v5::Packet::Publish(publish), output).unwrap();
            }
        }
    }

    fn answer(&mut self, input: &mut BytesMut, output: &mut BytesMut) -> Option<Heard> {
        match self {
            Self::V3(codec) => answer_v3(codec, input, output),
            Self::V5(codec) => answer_v5(codec, input, output),
        }
    }
}

fn heard_publish(publish: &Publish) -> Heard {
    Heard::Publish {
        topic: publish.topic.to_string(),
        payload: publish.payload.clone(),
        retain: publish.retain,
        qos1: publish.qos == QoS::AtLeastOnce,
    }
}

fn text(bytes: Option<Bytes>) -> String {
    String::from_utf8(bytes.unwrap_or_default().to_vec()).unwrap()
}

#[expect(
    clippy::wildcard_enum_match_arm,
    reason = "a test double answers what devices send"
)]
fn answer_v3(codec: &mut v3::Codec, input: &mut BytesMut, output: &mut BytesMut) -> Option<Heard> {
    use v3::Packet as P;
    let (reply, heard) = loop {
        match codec.decode(input).unwrap()?.0 {
            P::Connect(connect) => {
                let ack = v3::ConnectAck {
                    return_code: v3::ConnectAckReason::ConnectionAccepted,
                    session_present: false,
                };
                let heard = Heard::Connect {
                    username: connect.username.unwrap().to_string(),
                    password: text(connect.password),
                    will: connect.last_will.map(|will| will.message),
                };
                break (Some(P::ConnectAck(ack)), heard);
            }
            P::Subscribe {
                packet_id,
                topic_filters,
            } => {
                let status = vec![v3::SubscribeReturnCode::Success(QoS::AtLeastOnce)];
                let heard = Heard::Subscribe(topic_filters[0].0.to_string());
                break (Some(P::SubscribeAck { packet_id, status }), heard);
            }
            P::Publish(publish) => {
                let reply = publish
                    .packet_id
                    .map(|packet_id| P::PublishAck { packet_id });
                break (reply, heard_publish(&publish));
            }
            P::PublishAck { .. } => break (None, Heard::Puback),
            P::Disconnect => break (None, Heard::Disconnect),
            P::PingRequest => codec.encode(P::PingResponse, output).unwrap(),
            other => panic!("a device sent {other:?}"),
        }
    };
    if let Some(reply) = reply {
        codec.encode(reply, output).unwrap();
    }
    Some(heard)
}

#[expect(
    clippy::wildcard_enum_match_arm,
    reason = "a test double answers what devices send"
)]
fn answer_v5(codec: &mut v5::Codec, input: &mut BytesMut, output: &mut BytesMut) -> Option<Heard> {
    use v5::Packet as P;
    let (reply, heard) = loop {
        match codec.decode(input).unwrap()?.0 {
            P::Connect(connect) => {
                let heard = Heard::Connect {
                    username: connect.username.unwrap().to_string(),
                    password: text(connect.password),
                    will: connect.last_will.map(|will| will.message),
                };
                break (Some(P::ConnectAck(Box::default())), heard);
            }
            P::Subscribe(subscribe) => {
                let ack = v5::SubscribeAck {
                    packet_id: subscribe.packet_id,
                    properties: Vec::new(),
                    reason_string: None,
                    status: vec![v5::SubscribeAckReason::GrantedQos1],
                };
                let heard = Heard::Subscribe(subscribe.topic_filters[0].0.to_string());
                break (Some(P::SubscribeAck(ack)), heard);
            }
            P::Publish(publish) => {
                let reply = publish.packet_id.map(|packet_id| {
                    P::PublishAck(v5::PublishAck {
                        packet_id,
                        reason_code: v5::PublishAckReason::Success,
                        properties: Vec::new(),
                        reason_string: None,
                    })
                });
                break (reply, heard_publish(&publish));
            }
            P::PublishAck(_) => break (None, Heard::Puback),
            P::Disconnect(_) => break (None, Heard::Disconnect),
            P::PingRequest => codec.encode(P::PingResponse, output).unwrap(),
            other => panic!("a device sent {other:?}"),
        }
    };
    if let Some(reply) = reply {
        codec.encode(reply, output).unwrap();
    }
    Some(heard)
}
