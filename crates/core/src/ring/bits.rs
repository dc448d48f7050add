//! Bits in a row, and numbers in as few of them as their recent size suggests.

/// Appends bits to bytes.
#[derive(Debug, Clone, Default)]
pub(super) struct BitWriter {
    bytes: Vec<u8>,
    /// Bits used in the last byte; 0 where it is whole.
    used: u32,
}

impl BitWriter {
    pub(super) fn with_capacity(bytes: usize) -> Self {
        Self {
            bytes: Vec::with_capacity(bytes),
            used: 0,
        }
    }

    /// Appends the low `count` bits of `value`, highest first.
    pub(super) fn put(&mut self, value: u64, count: u32) {
        let mut left = count;
        if self.used > 0
            && let Some(last) = self.bytes.last_mut()
        {
            let room = 8 - self.used;
            let take = room.min(left);
            let part = (value >> (left - take)) & ((1 << take) - 1);
            *last |= part.to_le_bytes()[0] << (room - take);
            self.used = (self.used + take) % 8;
            left -= take;
        }
        if left > 0 {
            let rest = (value << (64 - left)).to_be_bytes();
            let rest = &rest[..left.div_ceil(8) as usize];
            if self.bytes.capacity() - self.bytes.len() < rest.len() {
                // Small steps: there is one of these per device.
                self.bytes.reserve_exact(32);
            }
            self.bytes.extend_from_slice(rest);
            self.used = left % 8;
        }
    }

    pub(super) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    pub(super) const fn capacity(&self) -> usize {
        self.bytes.capacity()
    }

    pub(super) fn into_bytes(self) -> Box<[u8]> {
        self.bytes.into_boxed_slice()
    }
}

/// Reads what [`BitWriter`] wrote; zeros behind the end.
#[derive(Debug, Clone)]
pub(super) struct BitReader<'a> {
    bytes: &'a [u8],
    /// Bits read.
    at: u32,
}

impl<'a> BitReader<'a> {
    pub(super) const fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, at: 0 }
    }

    pub(super) fn take(&mut self, count: u32) -> u64 {
        let mut value = 0;
        let mut left = count;
        while left > 0 {
            let used = self.at % 8;
            let take = (8 - used).min(left);
            let byte = self.bytes.get((self.at / 8) as usize).copied().unwrap_or(0);
            let part = u64::from(byte) >> (8 - used - take) & ((1 << take) - 1);
            value = value << take | part;
            self.at += take;
            left -= take;
        }
        value
    }
}

/// As many leading ones as this announce a number in full.
const ESCAPE: u64 = 12;

/// How large the numbers of one column were of late: an adaptive Rice code,
/// which is near the best there is for differences that are small most of the
/// time.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Size {
    /// Their mean, in sixteenths.
    mean16: u32,
}

impl Size {
    const fn low_bits(self) -> u32 {
        let mean = self.mean16 / 16;
        if mean == 0 { 0 } else { mean.ilog2() }
    }

    /// Whether `value` is of another order than those before.
    pub(super) fn is_outlier(self, value: u64) -> bool {
        value > u64::from(self.mean16 / 2 + 16)
    }

    /// An outlier counts as little: it is more often the only one than the
    /// first of many, and of many the second and third make up for it.
    fn learn(&mut self, value: u64) {
        let most = u64::from(self.mean16) * 4 / 16 + 4;
        let value16 = u32::try_from(value.min(most).min(1 << 24)).unwrap_or(1 << 24) * 16;
        self.mean16 = self.mean16 - self.mean16 / 8 + value16 / 8;
    }

    pub(super) fn put(&mut self, out: &mut BitWriter, value: u64) {
        let low = self.low_bits();
        let high = value >> low;
        if high < ESCAPE {
            let ones = u32::try_from(high).unwrap_or(0);
            out.put((1 << (high + 1)) - 2, ones + 1);
            out.put(value, low);
        } else {
            let len = 64 - value.leading_zeros();
            out.put((1 << ESCAPE) - 1, 12);
            out.put(len.into(), 7);
            out.put(value, len);
        }
        self.learn(value);
    }

    pub(super) fn take(&mut self, input: &mut BitReader<'_>) -> u64 {
        let low = self.low_bits();
        let mut high = 0;
        while high < ESCAPE && input.take(1) == 1 {
            high += 1;
        }
        let value = if high < ESCAPE {
            high << low | input.take(low)
        } else {
            let len = u32::try_from(input.take(7).min(64)).unwrap_or(0);
            input.take(len)
        };
        self.learn(value);
        value
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn numbers_of_any_size_come_back(values in prop::collection::vec(
            prop_oneof![0_u64..4, 0_u64..2000, any::<u64>()], 0..200
        )) {
            let (mut out, mut size) = (BitWriter::default(), Size::default());
            for value in &values {
                size.put(&mut out, *value);
            }
            let bytes = out.into_bytes();
            let (mut input, mut size) = (BitReader::new(&bytes), Size::default());
            for value in &values {
                prop_assert_eq!(size.take(&mut input), *value);
            }
        }
    }
}
