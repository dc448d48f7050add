//! Command ids that rise in the order in which they are made.

use uuid::Uuid;

use crate::clock::Timestamp;
use crate::ids::CommandId;

/// Makes `UUIDv7`s: the millisecond, a 12-bit count within it, 62 random bits.
/// A wall clock that jumps back does not make them fall.
#[derive(Debug, Default)]
pub(super) struct IdSource {
    last_ms: u64,
    count: u16,
}

const COUNT_MAX: u16 = 0x0fff;

impl IdSource {
    pub(super) fn next(&mut self, now: Timestamp) -> CommandId {
        let now_ms = u64::try_from(now.as_millis()).unwrap_or(0);
        if now_ms > self.last_ms {
            self.last_ms = now_ms;
            self.count = 0;
        } else if self.count == COUNT_MAX {
            self.last_ms += 1;
            self.count = 0;
        } else {
            self.count += 1;
        }
        let mut random: [u8; 10] = rand::random();
        random[..2].copy_from_slice(&self.count.to_be_bytes());
        let id: Uuid = uuid::Builder::from_unix_timestamp_millis(self.last_ms, &random).into_uuid();
        CommandId(id)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_rise_within_a_millisecond_and_when_the_clock_jumps_back() {
        let mut source = IdSource::default();
        let noon = Timestamp::from_millis(43_200_000);
        let mut ids: Vec<_> = (0..10_000).map(|_| source.next(noon)).collect();
        ids.push(source.next(Timestamp::from_millis(1)));
        assert!(ids.windows(2).all(|pair| pair[0] < pair[1]));
        assert_eq!(ids[0].0.get_version_num(), 7);
    }
}
