//! The integer keys of history's tables.

use dormouse_core::clock::Timestamp;
use dormouse_core::ids::{DeviceKey, SocketId};
use dormouse_core::ports::history::{EARLIEST, LATEST, SeriesId};
use dormouse_core::rollup::{Level, MINUTE_MS, QUARTER_MS};
use dormouse_core::site::LocalDay;

/// Numbers of one strip: the whole and its sockets.
const SOCKETS: u32 = 33;
/// Bits of a sample's key that are its time.
const TIME_BITS: u32 = 41;
/// Bits of a minute's or quarter's key that are its number.
const BUCKET_BITS: u32 = 26;
/// Bits of a day's key that are its series, and so the room for series.
const SERIES_BITS: u32 = 23;

/// A series as a number below 2^23.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct SeriesKey(u32);

impl SeriesKey {
    pub(super) const FIRST: Self = Self(0);

    /// The key of `series`; `None` for a device key beyond 254,199.
    pub(super) fn of(series: SeriesId) -> Option<Self> {
        let first = series.device.0.checked_mul(SOCKETS)?;
        let key = first.checked_add(u32::from(series.socket.get()))?;
        (key < 1 << SERIES_BITS).then_some(Self(key))
    }

    pub(super) fn id(self) -> SeriesId {
        SeriesId {
            device: DeviceKey(self.0 / SOCKETS),
            socket: SocketId::parse(u64::from(self.0 % SOCKETS)).unwrap_or_default(),
        }
    }

    /// The series after this one; `None` after the last.
    pub(super) fn next(self) -> Option<Self> {
        (self.0 + 1 < 1 << SERIES_BITS).then_some(Self(self.0 + 1))
    }

    /// The key of this series' sample at `ts`, which is moved into
    /// [`EARLIEST`] to [`LATEST`].
    pub(super) fn sample(self, ts: Timestamp) -> i64 {
        let end = Timestamp::from_millis(LATEST.as_millis() - 1);
        let ms = ts.clamp(EARLIEST, end).as_millis() - EARLIEST.as_millis();
        // The upper half of the series wraps into the negative keys.
        (i64::from(self.0) << TIME_BITS) | ms
    }

    /// The key of the first sample at or after `ts`, or of what follows the
    /// series: for the end of a range.
    pub(super) fn sample_end(self, ts: Timestamp) -> i64 {
        if ts >= LATEST {
            self.sample(ts).saturating_add(1)
        } else {
            self.sample(ts)
        }
    }

    /// The series and the time of a sample's key.
    pub(super) fn of_sample(at: i64) -> (Self, Timestamp) {
        let ms = at & ((1 << TIME_BITS) - 1);
        let series = (at >> TIME_BITS) & ((1 << SERIES_BITS) - 1);
        (
            Self(u32::try_from(series).unwrap_or_default()),
            Timestamp::from_millis(ms + EARLIEST.as_millis()),
        )
    }

    /// The first key of a minute or quarter that starts at or after `ts`.
    pub(super) fn bucket(self, unit: Unit, ts: Timestamp) -> i64 {
        (i64::from(self.0) << BUCKET_BITS) | unit.number_from(ts)
    }

    /// The series and the start of a minute's or quarter's key.
    pub(super) fn of_bucket(unit: Unit, at: i64) -> (Self, Timestamp) {
        let number = at & ((1 << BUCKET_BITS) - 1);
        let series = at >> BUCKET_BITS;
        (
            Self(u32::try_from(series).unwrap_or_default()),
            Timestamp::from_millis(number * unit.ms() + EARLIEST.as_millis()),
        )
    }

    /// The key of this series' `day`.
    pub(super) fn day(self, day: LocalDay) -> i64 {
        day_start(day) | i64::from(self.0)
    }

    /// The series and the day of a day's key.
    pub(super) fn of_day(at: i64) -> (Self, LocalDay) {
        let series = at & ((1 << SERIES_BITS) - 1);
        (
            Self(u32::try_from(series).unwrap_or_default()),
            LocalDay::from_number(i32::try_from(at >> SERIES_BITS).unwrap_or_default()),
        )
    }
}

/// The first key of `day`, of whatever series.
pub(super) fn day_start(day: LocalDay) -> i64 {
    i64::from(day.number()) << SERIES_BITS
}

/// A rollup whose buckets have one length everywhere.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Unit {
    Minute,
    Quarter,
}

impl Unit {
    /// The unit of `level`; `None` for days, whose length varies.
    pub(super) fn of(level: Level) -> Option<Self> {
        match level {
            Level::Minute => Some(Self::Minute),
            Level::Quarter => Some(Self::Quarter),
            Level::Day => None,
        }
    }

    fn ms(self) -> i64 {
        match self {
            Self::Minute => MINUTE_MS,
            Self::Quarter => QUARTER_MS,
        }
    }

    fn number_from(self, ts: Timestamp) -> i64 {
        let ms = ts.clamp(EARLIEST, LATEST).as_millis() - EARLIEST.as_millis();
        (ms + self.ms() - 1) / self.ms()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn series(device: u32, socket: u64) -> SeriesId {
        SeriesId {
            device: DeviceKey(device),
            socket: SocketId::parse(socket).unwrap(),
        }
    }

    #[test]
    fn keys_go_both_ways_up_to_the_last_device() {
        let last = Timestamp::from_millis(LATEST.as_millis() - 1);
        let day = LocalDay::from_number(20_000);
        for id in [series(0, 0), series(7, 32), series(254_199, 32)] {
            let key = SeriesKey::of(id).unwrap();
            assert_eq!(key.id(), id);
            for ts in [EARLIEST, last] {
                assert_eq!(SeriesKey::of_sample(key.sample(ts)), (key, ts));
                assert!(key.sample(ts) < key.sample_end(LATEST));
            }
            for unit in [Unit::Minute, Unit::Quarter] {
                let start = Timestamp::from_millis(EARLIEST.as_millis() + 4 * QUARTER_MS);
                let at = key.bucket(unit, start);
                assert_eq!(SeriesKey::of_bucket(unit, at), (key, start));
                let later = Timestamp::from_millis(start.as_millis() + 1);
                assert_eq!(key.bucket(unit, later), at + 1);
            }
            assert_eq!(SeriesKey::of_day(key.day(day)), (key, day));
        }
        assert_eq!(SeriesKey::of(series(254_200, 8)), None);
        assert_eq!(SeriesKey::of(series(u32::MAX, 0)), None);
    }

    #[test]
    fn usual_keys_fit_seven_bytes() {
        let ts = Timestamp::parse_rfc3339("2026-05-01T12:00:00Z").unwrap();
        let key = SeriesKey::of(series(900, 0)).unwrap();
        assert!(key.sample(ts) < 1 << 56);
    }
}
