//! CONNECT: who wants in, and on which terms.

use super::property::{self, Properties};
use super::reader::Reader;
use super::{DecodeError, Frame, MessageProperties, Protocol, QoS};
use crate::topic;

const USERNAME: u8 = 0x80;
const PASSWORD: u8 = 0x40;
const WILL_RETAIN: u8 = 0x20;
const WILL: u8 = 0x04;
const CLEAN: u8 = 0x02;
const RESERVED: u8 = 0x01;

/// A decoded CONNECT.
#[derive(Debug)]
pub(crate) struct ConnectPacket<'a> {
    pub(crate) protocol: Protocol,
    pub(crate) clean_start: bool,
    pub(crate) keep_alive_s: u16,
    pub(crate) client_id: &'a str,
    pub(crate) username: Option<&'a str>,
    pub(crate) password: Option<&'a [u8]>,
    pub(crate) will: Option<WillPacket<'a>>,
    pub(crate) terms: Terms<'a>,
}

/// The properties of an MQTT 5 CONNECT; MQTT 3.1.1 has the defaults.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Terms<'a> {
    pub(crate) session_expiry_s: Option<u32>,
    pub(crate) receive_maximum: u16,
    pub(crate) maximum_packet_size: Option<u32>,
    pub(crate) topic_alias_maximum: u16,
    pub(crate) problem_information: bool,
    pub(crate) authentication_method: Option<&'a str>,
}

/// The message to publish if the client goes without a DISCONNECT.
#[derive(Debug)]
pub(crate) struct WillPacket<'a> {
    pub(crate) topic: &'a str,
    pub(crate) payload: &'a [u8],
    pub(crate) qos: QoS,
    pub(crate) retain: bool,
    pub(crate) delay_s: u32,
    pub(crate) expiry_s: Option<u32>,
    pub(crate) properties: MessageProperties<'a>,
}

impl<'a> ConnectPacket<'a> {
    /// Decodes the first packet of a connection.
    ///
    /// # Errors
    /// [`DecodeError`] if it is not a CONNECT of a version we speak.
    pub(crate) fn decode(frame: Frame<'a>) -> Result<Self, DecodeError> {
        if frame.kind() != 1 {
            return Err(DecodeError::Protocol("the first packet is not a CONNECT"));
        }
        if frame.flags() != 0 {
            return Err(DecodeError::Malformed("CONNECT has no flags"));
        }
        let mut reader = Reader::new(frame.body);
        let name = reader.binary()?;
        let level = reader.u8()?;
        let protocol = match (name, level) {
            (b"MQTT", 4) => Protocol::V311,
            (b"MQTT", 5) => Protocol::V5,
            (b"MQTT" | b"MQIsdp", other) => return Err(DecodeError::UnsupportedVersion(other)),
            _ => return Err(DecodeError::Malformed("the protocol name is not MQTT")),
        };
        let flags = reader.u8()?;
        check_flags(flags, protocol)?;
        let keep_alive_s = reader.u16()?;
        let terms = match protocol {
            Protocol::V311 => Terms::default(),
            Protocol::V5 => Terms::decode(&mut reader)?,
        };
        let client_id = reader.string()?;
        let will = match flags & WILL {
            0 => None,
            _ => Some(WillPacket::decode(flags, &mut reader, protocol)?),
        };
        let username = match flags & USERNAME {
            0 => None,
            _ => Some(reader.string()?),
        };
        let password = match flags & PASSWORD {
            0 => None,
            _ => Some(reader.binary()?),
        };
        reader.finish()?;
        Ok(Self {
            protocol,
            clean_start: flags & CLEAN != 0,
            keep_alive_s,
            client_id,
            username,
            password,
            will,
            terms,
        })
    }
}

/// The protocol that the sender of a CONNECT seems to speak, however malformed
/// the rest: so that it can be told.
pub(crate) fn peek_protocol(frame: Frame<'_>) -> Option<Protocol> {
    if frame.kind() != 1 {
        return None;
    }
    let mut reader = Reader::new(frame.body);
    reader.binary().ok()?;
    match reader.u8().ok()? {
        0..=4 => Some(Protocol::V311),
        5.. => Some(Protocol::V5),
    }
}

fn check_flags(flags: u8, protocol: Protocol) -> Result<(), DecodeError> {
    if flags & RESERVED != 0 {
        return Err(DecodeError::Malformed("a reserved CONNECT flag is set"));
    }
    if flags & WILL == 0 && flags & (WILL_RETAIN | 0x18) != 0 {
        return Err(DecodeError::Malformed("will flags without a will"));
    }
    if protocol == Protocol::V311 && flags & USERNAME == 0 && flags & PASSWORD != 0 {
        return Err(DecodeError::Malformed("a password without a user name"));
    }
    Ok(())
}

impl Default for Terms<'_> {
    fn default() -> Self {
        Self {
            session_expiry_s: None,
            receive_maximum: u16::MAX,
            maximum_packet_size: None,
            topic_alias_maximum: 0,
            problem_information: true,
            authentication_method: None,
        }
    }
}

impl<'a> Terms<'a> {
    fn decode(reader: &mut Reader<'a>) -> Result<Self, DecodeError> {
        let mut terms = Self::default();
        let mut has_auth_data = false;
        let mut properties = Properties::take(reader)?;
        while let Some(id) = properties.next()? {
            match id {
                property::SESSION_EXPIRY => terms.session_expiry_s = Some(properties.u32()?),
                property::RECEIVE_MAXIMUM => terms.receive_maximum = properties.u16()?,
                property::MAXIMUM_PACKET_SIZE => {
                    terms.maximum_packet_size = Some(properties.u32()?);
                }
                property::TOPIC_ALIAS_MAXIMUM => terms.topic_alias_maximum = properties.u16()?,
                property::REQUEST_RESPONSE_INFO => {
                    properties.flag()?;
                }
                property::REQUEST_PROBLEM_INFO => terms.problem_information = properties.flag()?,
                property::USER_PROPERTY => {
                    properties.pair()?;
                }
                property::AUTH_METHOD => terms.authentication_method = Some(properties.string()?),
                property::AUTH_DATA => {
                    properties.binary()?;
                    has_auth_data = true;
                }
                _ => return Err(property::not_allowed()),
            }
        }
        if terms.receive_maximum == 0 {
            return Err(DecodeError::Protocol("a receive maximum of 0"));
        }
        if terms.maximum_packet_size == Some(0) {
            return Err(DecodeError::Protocol("a maximum packet size of 0"));
        }
        if has_auth_data && terms.authentication_method.is_none() {
            return Err(DecodeError::Protocol(
                "authentication data without a method",
            ));
        }
        Ok(terms)
    }
}

impl<'a> WillPacket<'a> {
    fn decode(flags: u8, reader: &mut Reader<'a>, protocol: Protocol) -> Result<Self, DecodeError> {
        let (mut delay_s, mut expiry_s) = (0, None);
        let mut block: &[u8] = &[];
        if protocol == Protocol::V5 {
            let mut properties = Properties::take(reader)?;
            block = properties.rest();
            while let Some(id) = properties.next()? {
                match id {
                    property::WILL_DELAY => delay_s = properties.u32()?,
                    property::MESSAGE_EXPIRY => expiry_s = Some(properties.u32()?),
                    property::PAYLOAD_FORMAT => {
                        properties.flag()?;
                    }
                    property::CONTENT_TYPE => {
                        properties.string()?;
                    }
                    property::RESPONSE_TOPIC => topic::check_name(properties.string()?)
                        .map_err(|_| DecodeError::InvalidTopic)?,
                    property::CORRELATION_DATA => {
                        properties.binary()?;
                    }
                    property::USER_PROPERTY => {
                        properties.pair()?;
                    }
                    _ => return Err(property::not_allowed()),
                }
            }
        }
        let topic = reader.string()?;
        topic::check_name(topic).map_err(|_| DecodeError::InvalidTopic)?;
        let qos = QoS::from_level((flags >> 3) & 0x03)
            .ok_or(DecodeError::Malformed("a will with QoS 3"))?;
        Ok(Self {
            topic,
            payload: reader.binary()?,
            qos,
            retain: flags & WILL_RETAIN != 0,
            delay_s,
            expiry_s,
            properties: MessageProperties::of_block(block),
        })
    }
}
