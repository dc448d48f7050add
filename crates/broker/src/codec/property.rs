//! MQTT 5 properties: their numbers, and a reader that refuses repeated ones.

use super::DecodeError;
use super::reader::Reader;

pub(crate) const PAYLOAD_FORMAT: u8 = 0x01;
pub(crate) const MESSAGE_EXPIRY: u8 = 0x02;
pub(crate) const CONTENT_TYPE: u8 = 0x03;
pub(crate) const RESPONSE_TOPIC: u8 = 0x08;
pub(crate) const CORRELATION_DATA: u8 = 0x09;
pub(crate) const SUBSCRIPTION_ID: u8 = 0x0B;
pub(crate) const SESSION_EXPIRY: u8 = 0x11;
pub(crate) const ASSIGNED_CLIENT_ID: u8 = 0x12;
pub(crate) const SERVER_KEEP_ALIVE: u8 = 0x13;
pub(crate) const AUTH_METHOD: u8 = 0x15;
pub(crate) const AUTH_DATA: u8 = 0x16;
pub(crate) const REQUEST_PROBLEM_INFO: u8 = 0x17;
pub(crate) const WILL_DELAY: u8 = 0x18;
pub(crate) const REQUEST_RESPONSE_INFO: u8 = 0x19;
pub(crate) const REASON_STRING: u8 = 0x1F;
pub(crate) const RECEIVE_MAXIMUM: u8 = 0x21;
pub(crate) const TOPIC_ALIAS_MAXIMUM: u8 = 0x22;
pub(crate) const TOPIC_ALIAS: u8 = 0x23;
pub(crate) const USER_PROPERTY: u8 = 0x26;
pub(crate) const MAXIMUM_PACKET_SIZE: u8 = 0x27;

/// The properties of one packet. The caller asks for the next number and must
/// then read the value; a number that it does not know is an error of its own.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Properties<'a> {
    reader: Reader<'a>,
    seen: u64,
}

impl<'a> Properties<'a> {
    /// Takes the block of properties, length first, off `reader`.
    pub(crate) fn take(reader: &mut Reader<'a>) -> Result<Self, DecodeError> {
        let length = reader.varint()?;
        let block = reader.take(length as usize)?;
        Ok(Self::of_block(block))
    }

    /// Properties without their length in front.
    pub(crate) fn of_block(block: &'a [u8]) -> Self {
        Self {
            reader: Reader::new(block),
            seen: 0,
        }
    }

    /// The bytes not read yet.
    pub(crate) fn rest(&self) -> &'a [u8] {
        self.reader.rest()
    }

    /// The number of the next property, `None` at the end.
    pub(crate) fn next(&mut self) -> Result<Option<u8>, DecodeError> {
        if self.reader.is_empty() {
            return Ok(None);
        }
        let id = self.reader.u8()?;
        if id >= 64 {
            return Err(not_allowed());
        }
        let bit = 1_u64 << id;
        if id != USER_PROPERTY && self.seen & bit != 0 {
            return Err(DecodeError::Protocol("a property is given twice"));
        }
        self.seen |= bit;
        Ok(Some(id))
    }

    pub(crate) fn u16(&mut self) -> Result<u16, DecodeError> {
        self.reader.u16()
    }

    pub(crate) fn u32(&mut self) -> Result<u32, DecodeError> {
        self.reader.u32()
    }

    pub(crate) fn varint(&mut self) -> Result<u32, DecodeError> {
        self.reader.varint()
    }

    pub(crate) fn string(&mut self) -> Result<&'a str, DecodeError> {
        self.reader.string()
    }

    pub(crate) fn binary(&mut self) -> Result<&'a [u8], DecodeError> {
        self.reader.binary()
    }

    /// A byte that is 0 or 1.
    pub(crate) fn flag(&mut self) -> Result<bool, DecodeError> {
        match self.reader.u8()? {
            0 => Ok(false),
            1 => Ok(true),
            _ => Err(DecodeError::Protocol("a flag property is neither 0 nor 1")),
        }
    }

    /// A user property: its name and its value.
    pub(crate) fn pair(&mut self) -> Result<(&'a str, &'a str), DecodeError> {
        Ok((self.reader.string()?, self.reader.string()?))
    }
}

/// A property that does not belong into this packet.
pub(crate) fn not_allowed() -> DecodeError {
    DecodeError::Malformed("a property that this packet does not have")
}
