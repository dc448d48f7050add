//! PUBLISH: the packet that everything else exists for.

use bytes::BufMut;

use super::property::{self, Properties};
use super::reader::Reader;
use super::{DecodeError, Protocol, QoS};
use crate::topic;

/// A decoded PUBLISH.
#[derive(Debug, Clone, Copy)]
pub(crate) struct PublishPacket<'a> {
    pub(crate) dup: bool,
    pub(crate) qos: QoS,
    pub(crate) retain: bool,
    /// Empty only together with a topic alias.
    pub(crate) topic: &'a str,
    /// 0 for QoS 0, which has none.
    pub(crate) packet_id: u16,
    pub(crate) alias: Option<u16>,
    pub(crate) expiry_s: Option<u32>,
    pub(crate) properties: MessageProperties<'a>,
    pub(crate) payload: &'a [u8],
}

impl<'a> PublishPacket<'a> {
    /// Decodes the content of a PUBLISH.
    ///
    /// # Errors
    /// [`DecodeError`] if it is malformed or not allowed.
    pub(crate) fn decode(
        flags: u8,
        body: &'a [u8],
        protocol: Protocol,
    ) -> Result<Self, DecodeError> {
        let qos = QoS::from_level((flags >> 1) & 0x03)
            .ok_or(DecodeError::Malformed("a PUBLISH with QoS 3"))?;
        let dup = flags & 0x08 != 0;
        if dup && qos == QoS::AtMostOnce {
            return Err(DecodeError::Malformed("a QoS 0 PUBLISH marked as repeated"));
        }
        let mut reader = Reader::new(body);
        let topic = reader.string()?;
        let packet_id = match qos {
            QoS::AtMostOnce => 0,
            QoS::AtLeastOnce | QoS::ExactlyOnce => reader.packet_id()?,
        };
        let mut packet = Self {
            dup,
            qos,
            retain: flags & 0x01 != 0,
            topic,
            packet_id,
            alias: None,
            expiry_s: None,
            properties: MessageProperties::of_block(&[]),
            payload: &[],
        };
        if protocol == Protocol::V5 {
            packet.read_properties(&mut reader)?;
        }
        if !(topic.is_empty() && packet.alias.is_some()) {
            topic::check_name(topic).map_err(|_| DecodeError::InvalidTopic)?;
        }
        packet.payload = reader.rest();
        Ok(packet)
    }

    fn read_properties(&mut self, reader: &mut Reader<'a>) -> Result<(), DecodeError> {
        let mut properties = Properties::take(reader)?;
        self.properties = MessageProperties::of_block(properties.rest());
        while let Some(id) = properties.next()? {
            match id {
                property::PAYLOAD_FORMAT => {
                    properties.flag()?;
                }
                property::MESSAGE_EXPIRY => self.expiry_s = Some(properties.u32()?),
                property::TOPIC_ALIAS => match properties.u16()? {
                    0 => return Err(DecodeError::InvalidTopicAlias),
                    alias => self.alias = Some(alias),
                },
                property::RESPONSE_TOPIC => topic::check_name(properties.string()?)
                    .map_err(|_| DecodeError::InvalidTopic)?,
                property::CORRELATION_DATA => {
                    properties.binary()?;
                }
                property::USER_PROPERTY => {
                    properties.pair()?;
                }
                property::SUBSCRIPTION_ID => {
                    return Err(DecodeError::Protocol(
                        "a client's PUBLISH has no subscription identifier",
                    ));
                }
                property::CONTENT_TYPE => {
                    properties.string()?;
                }
                _ => return Err(property::not_allowed()),
            }
        }
        Ok(())
    }
}

/// The properties that travel with a message from publisher to subscriber:
/// payload format, content type, response topic, correlation data and user
/// properties. Empty in MQTT 3.1.1.
///
/// They stay encoded; what is asked for is read when it is asked for.
#[derive(Debug, Clone, Copy, Default)]
pub struct MessageProperties<'a> {
    block: &'a [u8],
}

impl<'a> MessageProperties<'a> {
    /// `block` must have been validated.
    pub(crate) fn of_block(block: &'a [u8]) -> Self {
        Self { block }
    }

    /// Whether the publisher says that the payload is UTF-8 text.
    #[must_use]
    pub fn payload_is_utf8(&self) -> bool {
        self.entries()
            .any(|entry| matches!(entry, Entry::PayloadFormat(true)))
    }

    /// The payload's content type.
    #[must_use]
    pub fn content_type(&self) -> Option<&'a str> {
        self.entries().find_map(|entry| match entry {
            Entry::ContentType(text) => Some(text),
            Entry::PayloadFormat(_)
            | Entry::ResponseTopic(_)
            | Entry::CorrelationData(_)
            | Entry::User(..)
            | Entry::Local => None,
        })
    }

    /// Where the publisher wants an answer.
    #[must_use]
    pub fn response_topic(&self) -> Option<&'a str> {
        self.entries().find_map(|entry| match entry {
            Entry::ResponseTopic(topic) => Some(topic),
            Entry::PayloadFormat(_)
            | Entry::ContentType(_)
            | Entry::CorrelationData(_)
            | Entry::User(..)
            | Entry::Local => None,
        })
    }

    /// What the answer must carry so that the publisher knows it.
    #[must_use]
    pub fn correlation_data(&self) -> Option<&'a [u8]> {
        self.entries().find_map(|entry| match entry {
            Entry::CorrelationData(data) => Some(data),
            Entry::PayloadFormat(_)
            | Entry::ContentType(_)
            | Entry::ResponseTopic(_)
            | Entry::User(..)
            | Entry::Local => None,
        })
    }

    /// User properties in the order they were sent.
    #[must_use]
    pub fn user(&self) -> UserProperties<'a> {
        UserProperties(self.entries())
    }

    /// Appends what travels with the message to `out`, without the length.
    pub(crate) fn put_forwarded(&self, out: &mut impl BufMut) {
        let mut properties = Properties::of_block(self.block);
        loop {
            let before = properties.rest();
            let Some(entry) = next_entry(&mut properties) else {
                return;
            };
            let taken = before.len() - properties.rest().len();
            if !matches!(entry, Entry::Local)
                && let Some(encoded) = before.get(..taken)
            {
                out.put_slice(encoded);
            }
        }
    }

    fn entries(&self) -> Entries<'a> {
        Entries(Properties::of_block(self.block))
    }
}

/// One property of a message.
enum Entry<'a> {
    PayloadFormat(bool),
    ContentType(&'a str),
    ResponseTopic(&'a str),
    CorrelationData(&'a [u8]),
    User(&'a str, &'a str),
    /// Concerns this connection only: alias, expiry (recomputed), will delay.
    Local,
}

#[derive(Debug, Clone)]
struct Entries<'a>(Properties<'a>);

impl<'a> Iterator for Entries<'a> {
    type Item = Entry<'a>;

    fn next(&mut self) -> Option<Entry<'a>> {
        next_entry(&mut self.0)
    }
}

fn next_entry<'a>(properties: &mut Properties<'a>) -> Option<Entry<'a>> {
    let entry = match properties.next().ok()?? {
        property::PAYLOAD_FORMAT => Entry::PayloadFormat(properties.flag().ok()?),
        property::CONTENT_TYPE => Entry::ContentType(properties.string().ok()?),
        property::RESPONSE_TOPIC => Entry::ResponseTopic(properties.string().ok()?),
        property::CORRELATION_DATA => Entry::CorrelationData(properties.binary().ok()?),
        property::USER_PROPERTY => {
            let (name, value) = properties.pair().ok()?;
            Entry::User(name, value)
        }
        property::TOPIC_ALIAS => properties.u16().map(|_| Entry::Local).ok()?,
        property::MESSAGE_EXPIRY | property::WILL_DELAY => {
            properties.u32().map(|_| Entry::Local).ok()?
        }
        _ => return None,
    };
    Some(entry)
}

/// A message's user properties: name and value, in order.
#[derive(Debug, Clone)]
pub struct UserProperties<'a>(Entries<'a>);

impl<'a> Iterator for UserProperties<'a> {
    type Item = (&'a str, &'a str);

    fn next(&mut self) -> Option<Self::Item> {
        self.0.find_map(|entry| match entry {
            Entry::User(name, value) => Some((name, value)),
            Entry::PayloadFormat(_)
            | Entry::ContentType(_)
            | Entry::ResponseTopic(_)
            | Entry::CorrelationData(_)
            | Entry::Local => None,
        })
    }
}
