//! PUBACK, PUBREC, PUBREL, PUBCOMP and DISCONNECT from a client.

use super::property::{self, Properties};
use super::reader::Reader;
use super::{DecodeError, Protocol, ReasonCode};

/// Which answer in a QoS 1 or QoS 2 exchange.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum AckKind {
    /// PUBACK: answers a QoS 1 PUBLISH.
    Ack,
    /// PUBREC: answers a QoS 2 PUBLISH.
    Received,
    /// PUBREL: answers a PUBREC.
    Release,
    /// PUBCOMP: answers a PUBREL and ends the exchange.
    Complete,
}

impl AckKind {
    /// The first byte of the packet.
    pub(crate) fn first_byte(self) -> u8 {
        match self {
            Self::Ack => 0x40,
            Self::Received => 0x50,
            Self::Release => 0x62,
            Self::Complete => 0x70,
        }
    }
}

/// A decoded answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct AckPacket {
    pub(crate) kind: AckKind,
    pub(crate) packet_id: u16,
    pub(crate) reason: ReasonCode,
}

impl AckPacket {
    pub(crate) fn decode(
        kind: u8,
        flags: u8,
        body: &[u8],
        protocol: Protocol,
    ) -> Result<Self, DecodeError> {
        let kind = match kind {
            4 => AckKind::Ack,
            5 => AckKind::Received,
            6 => AckKind::Release,
            _ => AckKind::Complete,
        };
        if flags != kind.first_byte() & 0x0F {
            return Err(DecodeError::Malformed("reserved flags of an answer"));
        }
        let mut reader = Reader::new(body);
        let packet_id = reader.packet_id()?;
        let mut reason = ReasonCode::SUCCESS;
        if protocol == Protocol::V5 && !reader.is_empty() {
            reason = ReasonCode(reader.u8()?);
            if !reader.is_empty() {
                read_notes(&mut reader)?;
            }
        }
        reader.finish()?;
        Ok(Self {
            kind,
            packet_id,
            reason,
        })
    }
}

/// A decoded DISCONNECT.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct DisconnectPacket {
    pub(crate) reason: ReasonCode,
    /// The new session expiry, if the client changes it on leaving.
    pub(crate) session_expiry_s: Option<u32>,
}

impl DisconnectPacket {
    pub(crate) fn decode(flags: u8, body: &[u8], protocol: Protocol) -> Result<Self, DecodeError> {
        if flags != 0 {
            return Err(DecodeError::Malformed("DISCONNECT has no flags"));
        }
        let mut packet = Self {
            reason: ReasonCode::SUCCESS,
            session_expiry_s: None,
        };
        let mut reader = Reader::new(body);
        if protocol == Protocol::V5 && !reader.is_empty() {
            packet.reason = ReasonCode(reader.u8()?);
            if !reader.is_empty() {
                let mut properties = Properties::take(&mut reader)?;
                while let Some(id) = properties.next()? {
                    match id {
                        property::SESSION_EXPIRY => {
                            packet.session_expiry_s = Some(properties.u32()?);
                        }
                        property::REASON_STRING => {
                            properties.string()?;
                        }
                        property::USER_PROPERTY => {
                            properties.pair()?;
                        }
                        _ => return Err(property::not_allowed()),
                    }
                }
            }
        }
        reader.finish()?;
        Ok(packet)
    }
}

/// Reason string and user properties, which we have no use for.
fn read_notes(reader: &mut Reader<'_>) -> Result<(), DecodeError> {
    let mut properties = Properties::take(reader)?;
    while let Some(id) = properties.next()? {
        match id {
            property::REASON_STRING => {
                properties.string()?;
            }
            property::USER_PROPERTY => {
                properties.pair()?;
            }
            _ => return Err(property::not_allowed()),
        }
    }
    Ok(())
}
