//! The journal's bytes on disk: a head, then a ring of checksummed blocks.
//!
//! ```text
//! 0      head    magic, version, identity, capacity, checksum
//! 512    mark A  epoch, released, checksum      } written in turn
//! 1024   mark B                                 }
//! 4096   ring    capacity bytes; byte n of the journal is at 4096 + n % capacity
//!
//! block  magic u32 · payload length u32 · checksum u32 · epoch u32 ·
//!        offset u64 · bytes since the commit's first block u32 · 0 u32 ·
//!        payload · zeros up to a multiple of 512
//! ```
//!
//! All numbers are little-endian. A block is valid where its offset is the one
//! expected: remains of former laps are not, so the ring needs no wiping.

/// Blocks start on multiples of it: what a disk writes whole or not at all.
pub(super) const SECTOR: u64 = 512;
/// Where the ring starts in the file.
pub(super) const RING_AT: u64 = 4096;
/// The bytes of a block before its payload.
pub(super) const BLOCK_HEAD: usize = 32;

const HEAD_MAGIC: [u8; 8] = *b"DORMJRNL";
const VERSION: u32 = 1;
const BLOCK_MAGIC: u32 = u32::from_le_bytes(*b"DMBK");
const MARKS_AT: [u64; 2] = [512, 1024];

/// What never changes about a journal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Head {
    /// Drawn when the file is made.
    pub(super) identity: u64,
    /// The ring's size, bytes.
    pub(super) capacity: u64,
}

impl Head {
    pub(super) const LEN: usize = 32;

    pub(super) fn encode(self) -> [u8; Self::LEN] {
        let mut out = [0; Self::LEN];
        out[..8].copy_from_slice(&HEAD_MAGIC);
        out[8..12].copy_from_slice(&VERSION.to_le_bytes());
        out[12..20].copy_from_slice(&self.identity.to_le_bytes());
        out[20..28].copy_from_slice(&self.capacity.to_le_bytes());
        let sum = crc32fast::hash(&out[..28]);
        out[28..].copy_from_slice(&sum.to_le_bytes());
        out
    }

    pub(super) fn decode(bytes: &[u8; Self::LEN]) -> Option<Self> {
        let sound = bytes[..8] == HEAD_MAGIC
            && u32_at(bytes, 8) == VERSION
            && u32_at(bytes, 28) == crc32fast::hash(&bytes[..28]);
        sound.then(|| Self {
            identity: u64_at(bytes, 12),
            capacity: u64_at(bytes, 20),
        })
    }
}

/// What changes slowly: written to one of two places in turn, so that one of
/// them is always whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Mark {
    /// Counts the openings of the journal.
    pub(super) epoch: u32,
    /// Counts the marks; the higher one counts.
    pub(super) count: u64,
    /// Everything before it may be overwritten.
    pub(super) released: u64,
}

impl Mark {
    pub(super) const LEN: usize = 24;

    pub(super) fn place(&self) -> u64 {
        MARKS_AT[usize::from(self.count % 2 == 1)]
    }

    pub(super) const fn places() -> [u64; 2] {
        MARKS_AT
    }

    pub(super) fn encode(self, identity: u64) -> [u8; Self::LEN] {
        let mut out = [0; Self::LEN];
        out[..4].copy_from_slice(&self.epoch.to_le_bytes());
        out[4..12].copy_from_slice(&self.count.to_le_bytes());
        out[12..20].copy_from_slice(&self.released.to_le_bytes());
        let sum = Self::sum(identity, &out[..20]);
        out[20..].copy_from_slice(&sum.to_le_bytes());
        out
    }

    pub(super) fn decode(identity: u64, bytes: &[u8; Self::LEN]) -> Option<Self> {
        (u32_at(bytes, 20) == Self::sum(identity, &bytes[..20])).then(|| Self {
            epoch: u32_at(bytes, 0),
            count: u64_at(bytes, 4),
            released: u64_at(bytes, 12),
        })
    }

    fn sum(identity: u64, bytes: &[u8]) -> u32 {
        let mut hasher = crc32fast::Hasher::new();
        hasher.update(&identity.to_le_bytes());
        hasher.update(bytes);
        hasher.finalize()
    }
}

/// The head of one block.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Block {
    /// Bytes of payload.
    pub(super) len: u32,
    /// Which opening of the journal wrote it.
    pub(super) epoch: u32,
    /// Where it starts.
    pub(super) offset: u64,
    /// How far before it its commit started.
    pub(super) into_commit: u32,
    sum: u32,
}

impl Block {
    /// Fills in the head of `block`, which holds [`BLOCK_HEAD`] bytes of room
    /// and the payload, and pads it.
    pub(super) fn seal(
        block: &mut Vec<u8>,
        identity: u64,
        epoch: u32,
        offset: u64,
        into_commit: u32,
    ) {
        let len = u32::try_from(block.len() - BLOCK_HEAD).unwrap_or(u32::MAX);
        block[..4].copy_from_slice(&BLOCK_MAGIC.to_le_bytes());
        block[4..8].copy_from_slice(&len.to_le_bytes());
        block[12..16].copy_from_slice(&epoch.to_le_bytes());
        block[16..24].copy_from_slice(&offset.to_le_bytes());
        block[24..28].copy_from_slice(&into_commit.to_le_bytes());
        block[28..32].fill(0);
        let sum = Self::sum(identity, &block[..BLOCK_HEAD], &block[BLOCK_HEAD..]);
        block[8..12].copy_from_slice(&sum.to_le_bytes());
        let padded = usize::try_from(Self::padded(block.len() as u64)).unwrap_or(usize::MAX);
        block.resize(padded, 0);
    }

    /// Reads a block's head; its payload is yet to be checked.
    pub(super) fn decode(bytes: &[u8; BLOCK_HEAD]) -> Option<Self> {
        (u32_at(bytes, 0) == BLOCK_MAGIC).then(|| Self {
            len: u32_at(bytes, 4),
            sum: u32_at(bytes, 8),
            epoch: u32_at(bytes, 12),
            offset: u64_at(bytes, 16),
            into_commit: u32_at(bytes, 24),
        })
    }

    /// Whether head and payload are as they were written.
    pub(super) fn is_sound(&self, identity: u64, head: &[u8; BLOCK_HEAD], payload: &[u8]) -> bool {
        self.sum == Self::sum(identity, head, payload)
    }

    /// The bytes the block takes in the ring.
    pub(super) fn size(&self) -> u64 {
        Self::padded(BLOCK_HEAD as u64 + u64::from(self.len))
    }

    /// Rounds up to whole sectors.
    pub(super) const fn padded(len: u64) -> u64 {
        len.next_multiple_of(SECTOR)
    }

    fn sum(identity: u64, head: &[u8], payload: &[u8]) -> u32 {
        let mut hasher = crc32fast::Hasher::new();
        hasher.update(&identity.to_le_bytes());
        hasher.update(&head[..8]);
        hasher.update(&head[12..]);
        hasher.update(payload);
        hasher.finalize()
    }
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    let mut out = [0; 4];
    out.copy_from_slice(&bytes[at..at + 4]);
    u32::from_le_bytes(out)
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    let mut out = [0; 8];
    out.copy_from_slice(&bytes[at..at + 8]);
    u64::from_le_bytes(out)
}
