//! The fixed header: cuts a stream of bytes into packets.

use super::DecodeError;

/// One whole packet: its first byte and what follows the length.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Frame<'a> {
    /// Packet type and flags.
    pub(crate) first: u8,
    /// Variable header and payload.
    pub(crate) body: &'a [u8],
}

impl Frame<'_> {
    /// The packet type, 0 to 15.
    pub(crate) fn kind(self) -> u8 {
        self.first >> 4
    }

    /// The four flag bits.
    pub(crate) fn flags(self) -> u8 {
        self.first & 0x0F
    }
}

/// What the start of a buffer holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Framed<'a> {
    /// A packet, and how many bytes it took.
    Packet(Frame<'a>, usize),
    /// Not yet a whole packet.
    Incomplete,
}

/// Cuts the first packet off `bytes`; refuses one over `limit` bytes as soon as
/// its length is known, before its content has arrived.
///
/// # Errors
/// [`DecodeError`] for a bad length or a packet over the limit.
pub(crate) fn next_frame(bytes: &[u8], limit: usize) -> Result<Framed<'_>, DecodeError> {
    let Some(&first) = bytes.first() else {
        return Ok(Framed::Incomplete);
    };
    let mut length = 0_usize;
    for index in 0..4 {
        let Some(&byte) = bytes.get(1 + index) else {
            return Ok(Framed::Incomplete);
        };
        length |= usize::from(byte & 0x7F) << (7 * index);
        if byte & 0x80 == 0 {
            let start = 2 + index;
            let size = start + length;
            if size > limit {
                return Err(DecodeError::TooLarge { size, limit });
            }
            return Ok(match bytes.get(start..size) {
                Some(body) => Framed::Packet(Frame { first, body }, size),
                None => Framed::Incomplete,
            });
        }
    }
    Err(DecodeError::Malformed("the length takes more than 4 bytes"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_is_cut_only_when_it_is_whole() {
        let bytes = [0x30, 3, 1, 2, 3, 0xC0];
        for cut in 0..5 {
            assert_eq!(next_frame(&bytes[..cut], 100), Ok(Framed::Incomplete));
        }
        let frame = Frame {
            first: 0x30,
            body: &[1, 2, 3],
        };
        assert_eq!(next_frame(&bytes, 100), Ok(Framed::Packet(frame, 5)));
    }

    #[test]
    fn a_packet_over_the_limit_is_refused_before_it_has_arrived() {
        let error = next_frame(&[0x30, 0xFF, 0xFF, 0x7F], 1024).unwrap_err();
        assert!(matches!(error, DecodeError::TooLarge { limit: 1024, .. }));
    }

    #[test]
    fn a_length_of_five_bytes_is_malformed() {
        let error = next_frame(&[0x30, 0x80, 0x80, 0x80, 0x80, 1], 1024).unwrap_err();
        assert!(matches!(error, DecodeError::Malformed(_)));
    }
}
