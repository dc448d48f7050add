//! How often a device may be sent commands.

use std::collections::HashMap;
use std::time::Duration;

use smallvec::SmallVec;

use crate::clock::Instant;
use crate::ids::DeviceKey;

/// Commands that one device may be sent within any one second.
pub const PER_SECOND: usize = 3;

const WINDOW: Duration = Duration::from_secs(1);

/// The recent commands of every device; one small entry per device that was
/// ever sent one.
#[derive(Debug, Default)]
pub struct Rates(HashMap<DeviceKey, SmallVec<[Instant; PER_SECOND]>>);

impl Rates {
    /// When `device` may be sent one more: `now`, or later.
    #[must_use]
    pub fn free_at(&self, device: DeviceKey, now: Instant) -> Instant {
        let Some(recent) = self.0.get(&device) else {
            return now;
        };
        match recent.iter().rev().nth(PER_SECOND - 1) {
            Some(third_last) => now.max(*third_last + WINDOW),
            None => now,
        }
    }

    /// Counts one more at `now`, unless it would be one too many.
    ///
    /// # Errors
    /// How long to wait.
    pub fn take(&mut self, device: DeviceKey, now: Instant) -> Result<(), Duration> {
        let free_at = self.free_at(device, now);
        if free_at > now {
            return Err(free_at.since(now));
        }
        let recent = self.0.entry(device).or_default();
        if recent.len() == PER_SECOND {
            recent.remove(0);
        }
        recent.push(now);
        Ok(())
    }

    /// Uncounts the one counted at `at`: it came to nothing.
    pub fn give_back(&mut self, device: DeviceKey, at: Instant) {
        if let Some(recent) = self.0.get_mut(&device)
            && let Some(position) = recent.iter().rposition(|it| *it == at)
        {
            recent.remove(position);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DEVICE: DeviceKey = DeviceKey(1);

    fn at(ms: u64) -> Instant {
        Instant::from_origin(Duration::from_millis(ms))
    }

    #[test]
    fn a_fourth_within_any_one_second_has_to_wait() {
        let mut rates = Rates::default();
        for ms in [0, 400, 800] {
            assert_eq!(rates.take(DEVICE, at(ms)), Ok(()));
        }
        assert_eq!(
            rates.take(DEVICE, at(999)),
            Err(Duration::from_millis(1)),
            "the first is not a second ago"
        );
        assert_eq!(rates.take(DEVICE, at(1_000)), Ok(()));
        assert_eq!(
            rates.take(DEVICE, at(1_001)),
            Err(Duration::from_millis(399))
        );
        assert_eq!(rates.take(DeviceKey(2), at(1_001)), Ok(()));
    }

    #[test]
    fn what_came_to_nothing_costs_nothing() {
        let mut rates = Rates::default();
        for ms in [0, 1, 2] {
            rates.take(DEVICE, at(ms)).unwrap();
        }
        rates.give_back(DEVICE, at(1));
        assert_eq!(rates.take(DEVICE, at(3)), Ok(()));
        assert!(rates.take(DEVICE, at(4)).is_err());
    }

    #[test]
    fn no_window_of_a_second_ever_holds_four() {
        let mut rates = Rates::default();
        let taken: Vec<u64> = (0..5_000)
            .step_by(37)
            .filter(|ms| rates.take(DEVICE, at(*ms)).is_ok())
            .collect();
        assert!(taken.windows(4).all(|four| four[3] - four[0] >= 1_000));
        assert!(taken.len() >= 13, "nor is it stricter than that: {taken:?}");
    }
}
