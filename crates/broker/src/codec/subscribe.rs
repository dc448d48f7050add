//! SUBSCRIBE and UNSUBSCRIBE.

use super::property::{self, Properties};
use super::reader::Reader;
use super::{DecodeError, Protocol, QoS};

/// How a subscriber wants its messages.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct SubscribeOptions {
    /// The highest QoS it wants.
    pub(crate) qos: QoS,
    /// Not the messages that it published itself (MQTT 5).
    pub(crate) no_local: bool,
    /// The retain flag as the publisher set it (MQTT 5).
    pub(crate) retain_as_published: bool,
    pub(crate) retain_handling: RetainHandling,
}

impl SubscribeOptions {
    fn decode(byte: u8, protocol: Protocol) -> Result<Self, DecodeError> {
        let reserved = match protocol {
            Protocol::V311 => 0xFC,
            Protocol::V5 => 0xC0,
        };
        if byte & reserved != 0 {
            return Err(DecodeError::Malformed("reserved subscription options"));
        }
        let qos = QoS::from_level(byte & 0x03)
            .ok_or(DecodeError::Malformed("a subscription with QoS 3"))?;
        let retain_handling = match (byte >> 4) & 0x03 {
            0 => RetainHandling::Send,
            1 => RetainHandling::SendIfNew,
            2 => RetainHandling::DoNotSend,
            _ => return Err(DecodeError::Protocol("retain handling 3")),
        };
        Ok(Self {
            qos,
            no_local: byte & 0x04 != 0,
            retain_as_published: byte & 0x08 != 0,
            retain_handling,
        })
    }
}

/// When a new subscription gets the retained messages.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum RetainHandling {
    /// Always.
    Send,
    /// Only if the subscription did not exist.
    SendIfNew,
    /// Never.
    DoNotSend,
}

/// A decoded SUBSCRIBE. Every filter in it has been checked to be well formed.
#[derive(Debug, Clone, Copy)]
pub(crate) struct SubscribePacket<'a> {
    pub(crate) packet_id: u16,
    pub(crate) subscription_id: Option<u32>,
    filters: Reader<'a>,
    protocol: Protocol,
}

impl<'a> SubscribePacket<'a> {
    pub(crate) fn decode(
        flags: u8,
        body: &'a [u8],
        protocol: Protocol,
    ) -> Result<Self, DecodeError> {
        if flags != 2 {
            return Err(DecodeError::Malformed("the flags of SUBSCRIBE are not 2"));
        }
        let mut reader = Reader::new(body);
        let packet_id = reader.packet_id()?;
        let mut subscription_id = None;
        if protocol == Protocol::V5 {
            let mut properties = Properties::take(&mut reader)?;
            while let Some(id) = properties.next()? {
                match id {
                    property::SUBSCRIPTION_ID => match properties.varint()? {
                        0 => return Err(DecodeError::Protocol("subscription identifier 0")),
                        id => subscription_id = Some(id),
                    },
                    property::USER_PROPERTY => {
                        properties.pair()?;
                    }
                    _ => return Err(property::not_allowed()),
                }
            }
        }
        let packet = Self {
            packet_id,
            subscription_id,
            filters: reader,
            protocol,
        };
        if reader.is_empty() {
            return Err(DecodeError::Protocol("a SUBSCRIBE without filters"));
        }
        while !reader.is_empty() {
            next_filter(&mut reader, protocol)?;
        }
        Ok(packet)
    }

    /// The filters and their options, in order.
    pub(crate) fn filters(self) -> impl Iterator<Item = (&'a str, SubscribeOptions)> {
        let (mut reader, protocol) = (self.filters, self.protocol);
        std::iter::from_fn(move || next_filter(&mut reader, protocol).ok())
    }
}

fn next_filter<'a>(
    reader: &mut Reader<'a>,
    protocol: Protocol,
) -> Result<(&'a str, SubscribeOptions), DecodeError> {
    let filter = reader.string()?;
    let options = SubscribeOptions::decode(reader.u8()?, protocol)?;
    Ok((filter, options))
}

/// A decoded UNSUBSCRIBE.
#[derive(Debug, Clone, Copy)]
pub(crate) struct UnsubscribePacket<'a> {
    pub(crate) packet_id: u16,
    filters: Reader<'a>,
}

impl<'a> UnsubscribePacket<'a> {
    pub(crate) fn decode(
        flags: u8,
        body: &'a [u8],
        protocol: Protocol,
    ) -> Result<Self, DecodeError> {
        if flags != 2 {
            return Err(DecodeError::Malformed("the flags of UNSUBSCRIBE are not 2"));
        }
        let mut reader = Reader::new(body);
        let packet_id = reader.packet_id()?;
        if protocol == Protocol::V5 {
            let mut properties = Properties::take(&mut reader)?;
            while let Some(id) = properties.next()? {
                match id {
                    property::USER_PROPERTY => {
                        properties.pair()?;
                    }
                    _ => return Err(property::not_allowed()),
                }
            }
        }
        let packet = Self {
            packet_id,
            filters: reader,
        };
        if reader.is_empty() {
            return Err(DecodeError::Protocol("an UNSUBSCRIBE without filters"));
        }
        while !reader.is_empty() {
            reader.string()?;
        }
        Ok(packet)
    }

    /// The filters, in order.
    pub(crate) fn filters(self) -> impl Iterator<Item = &'a str> {
        let mut reader = self.filters;
        std::iter::from_fn(move || reader.string().ok())
    }
}
