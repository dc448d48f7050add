//! MQTT packets for tests, written and read independently of the broker's own
//! codec, so that both cannot be wrong in the same way.

pub(crate) use crate::props::Props;
use crate::props::{length_at, put_text, put_varint, take, take_u16, take_varint};

/// MQTT 3.1.1.
pub(crate) const V4: u8 = 4;
/// MQTT 5.
pub(crate) const V5: u8 = 5;

/// A CONNECT to send.
#[derive(Debug, Clone)]
pub(crate) struct Connect {
    pub(crate) level: u8,
    pub(crate) client_id: String,
    pub(crate) clean: bool,
    pub(crate) keep_alive: u16,
    pub(crate) username: Option<String>,
    pub(crate) password: Option<String>,
    pub(crate) will: Option<WillSpec>,
    pub(crate) props: Props,
}

#[derive(Debug, Clone)]
pub(crate) struct WillSpec {
    pub(crate) topic: String,
    pub(crate) payload: String,
    pub(crate) qos: u8,
    pub(crate) retain: bool,
    pub(crate) props: Props,
}

impl Connect {
    pub(crate) fn new(level: u8, client_id: &str) -> Self {
        Self {
            level,
            client_id: client_id.into(),
            clean: true,
            keep_alive: 0,
            username: None,
            password: None,
            will: None,
            props: Props::none(),
        }
    }

    pub(crate) fn resume(mut self) -> Self {
        self.clean = false;
        self
    }

    /// Keeps the session when the connection ends, in either version.
    pub(crate) fn persistent(mut self) -> Self {
        self.clean = false;
        if self.level == V5 {
            self.props = self.props.u32(0x11, 3600);
        }
        self
    }

    pub(crate) fn keep_alive(mut self, seconds: u16) -> Self {
        self.keep_alive = seconds;
        self
    }

    pub(crate) fn login(mut self, username: &str, password: &str) -> Self {
        self.username = Some(username.into());
        self.password = Some(password.into());
        self
    }

    pub(crate) fn will(mut self, topic: &str, payload: &str) -> Self {
        self.will = Some(WillSpec {
            topic: topic.into(),
            payload: payload.into(),
            qos: 1,
            retain: false,
            props: Props::none(),
        });
        self
    }

    pub(crate) fn props(mut self, props: Props) -> Self {
        self.props = props;
        self
    }

    pub(crate) fn bytes(&self) -> Vec<u8> {
        let mut body = Vec::new();
        put_text(&mut body, b"MQTT");
        body.push(self.level);
        let mut flags = u8::from(self.clean) << 1;
        if let Some(will) = &self.will {
            flags |= 0x04 | will.qos << 3 | u8::from(will.retain) << 5;
        }
        flags |= u8::from(self.username.is_some()) << 7 | u8::from(self.password.is_some()) << 6;
        body.push(flags);
        body.extend(self.keep_alive.to_be_bytes());
        if self.level == V5 {
            self.props.put(&mut body);
        }
        put_text(&mut body, self.client_id.as_bytes());
        if let Some(will) = &self.will {
            if self.level == V5 {
                will.props.put(&mut body);
            }
            put_text(&mut body, will.topic.as_bytes());
            put_text(&mut body, will.payload.as_bytes());
        }
        for text in [&self.username, &self.password].into_iter().flatten() {
            put_text(&mut body, text.as_bytes());
        }
        packet(0x10, &body)
    }
}

/// A PUBLISH, sent or received.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Publish {
    pub(crate) dup: bool,
    pub(crate) qos: u8,
    pub(crate) retain: bool,
    pub(crate) topic: String,
    pub(crate) id: u16,
    pub(crate) props: Props,
    pub(crate) payload: Vec<u8>,
}

impl Publish {
    pub(crate) fn new(topic: &str, payload: impl AsRef<[u8]>) -> Self {
        Self {
            dup: false,
            qos: 0,
            retain: false,
            topic: topic.into(),
            id: 0,
            props: Props::none(),
            payload: payload.as_ref().to_vec(),
        }
    }

    pub(crate) fn qos(mut self, qos: u8, id: u16) -> Self {
        self.qos = qos;
        self.id = id;
        self
    }

    pub(crate) fn retain(mut self) -> Self {
        self.retain = true;
        self
    }

    pub(crate) fn dup(mut self) -> Self {
        self.dup = true;
        self
    }

    pub(crate) fn props(mut self, props: Props) -> Self {
        self.props = props;
        self
    }

    pub(crate) fn text(&self) -> &str {
        std::str::from_utf8(&self.payload).unwrap()
    }

    pub(crate) fn bytes(&self, level: u8) -> Vec<u8> {
        let mut body = Vec::new();
        put_text(&mut body, self.topic.as_bytes());
        if self.qos > 0 {
            body.extend(self.id.to_be_bytes());
        }
        if level == V5 {
            self.props.put(&mut body);
        }
        body.extend_from_slice(&self.payload);
        let flags = u8::from(self.dup) << 3 | self.qos << 1 | u8::from(self.retain);
        packet(0x30 | flags, &body)
    }
}

/// A packet from the broker.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Packet {
    ConnAck {
        present: bool,
        code: u8,
        props: Props,
    },
    Publish(Publish),
    /// PUBACK 4, PUBREC 5, PUBREL 6, PUBCOMP 7.
    Answer {
        kind: u8,
        id: u16,
        reason: u8,
    },
    SubAck {
        id: u16,
        codes: Vec<u8>,
    },
    UnsubAck {
        id: u16,
        codes: Vec<u8>,
    },
    Pong,
    Disconnect {
        reason: u8,
    },
}

/// Takes one packet off `buffer`, if there is a whole one.
pub(crate) fn decode(buffer: &mut Vec<u8>, level: u8) -> Option<Packet> {
    let mut rest = buffer.as_slice();
    let first = *rest.first()?;
    rest = &rest[1..];
    let end = rest.iter().take(4).position(|byte| byte & 0x80 == 0)?;
    let mut size = &rest[..=end];
    let length = take_varint(&mut size);
    let start = 2 + end;
    if buffer.len() < start + length {
        return None;
    }
    let body: Vec<u8> = buffer.drain(..start + length).skip(start).collect();
    Some(decode_body(first, &body, level))
}

fn decode_body(first: u8, body: &[u8], level: u8) -> Packet {
    let mut body = body;
    match first >> 4 {
        2 => {
            let head = take(&mut body, 2);
            let props = if level == V5 && !body.is_empty() {
                Props::take(&mut body)
            } else {
                Props::none()
            };
            assert!(body.is_empty());
            Packet::ConnAck {
                present: head[0] == 1,
                code: head[1],
                props,
            }
        }
        3 => {
            let length = length_at(body, 0);
            let topic = String::from_utf8(take(&mut body, 2 + length)[2..].to_vec()).unwrap();
            let qos = (first >> 1) & 3;
            let id = if qos > 0 { take_u16(&mut body) } else { 0 };
            let props = if level == V5 {
                Props::take(&mut body)
            } else {
                Props::none()
            };
            Packet::Publish(Publish {
                dup: first & 8 != 0,
                qos,
                retain: first & 1 != 0,
                topic,
                id,
                props,
                payload: body.to_vec(),
            })
        }
        kind @ 4..=7 => {
            assert_eq!(first & 0x0F, if kind == 6 { 2 } else { 0 });
            let id = take_u16(&mut body);
            let reason = body.first().copied().unwrap_or(0);
            Packet::Answer { kind, id, reason }
        }
        kind @ (9 | 11) => {
            let id = take_u16(&mut body);
            if level == V5 {
                Props::take(&mut body);
            }
            let codes = body.to_vec();
            if kind == 9 {
                Packet::SubAck { id, codes }
            } else {
                Packet::UnsubAck { id, codes }
            }
        }
        13 => Packet::Pong,
        14 => Packet::Disconnect {
            reason: body.first().copied().unwrap_or(0),
        },
        other => panic!("the broker sent a packet of type {other}"),
    }
}

/// A SUBSCRIBE with one options byte per filter.
pub(crate) fn subscribe(level: u8, id: u16, filters: &[(&str, u8)], props: &Props) -> Vec<u8> {
    let mut body = id.to_be_bytes().to_vec();
    if level == V5 {
        props.put(&mut body);
    }
    for (filter, options) in filters {
        put_text(&mut body, filter.as_bytes());
        body.push(*options);
    }
    packet(0x82, &body)
}

pub(crate) fn unsubscribe(level: u8, id: u16, filters: &[&str]) -> Vec<u8> {
    let mut body = id.to_be_bytes().to_vec();
    if level == V5 {
        body.push(0);
    }
    for filter in filters {
        put_text(&mut body, filter.as_bytes());
    }
    packet(0xA2, &body)
}

/// PUBACK 4, PUBREC 5, PUBREL 6, PUBCOMP 7.
pub(crate) fn answer(kind: u8, id: u16) -> Vec<u8> {
    let flags = if kind == 6 { 2 } else { 0 };
    packet(kind << 4 | flags, &id.to_be_bytes())
}

pub(crate) fn packet(first: u8, body: &[u8]) -> Vec<u8> {
    let mut bytes = vec![first];
    put_varint(&mut bytes, body.len());
    bytes.extend_from_slice(body);
    bytes
}
