//! Tells a device that reconnects from two that fight for one identity.

use std::time::Duration;

use smallvec::SmallVec;
use tokio::time::Instant;

/// The time over which takeovers are counted.
const WINDOW: Duration = Duration::from_secs(60);

/// The takeovers of one identity.
///
/// ```text
/// calm ──more than `allowed` takeovers in a minute──► held off ──`hold_off` later──► calm
/// ```
#[derive(Debug, Default)]
pub(crate) struct SwapLog {
    recent: SmallVec<[Instant; 4]>,
    held_until: Option<Instant>,
}

/// Whether a newer connection may take over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Swap {
    /// It may.
    Allowed,
    /// It may not, and this is the first one that may not; with how many
    /// takeovers there were within the last minute.
    ConflictBegins(u32),
    /// It may not, for some time already.
    HeldOff,
}

impl SwapLog {
    /// A newer connection wants to take over.
    pub(crate) fn attempt(&mut self, allowed: u32, hold_off: Duration, now: Instant) -> Swap {
        if self.is_held_off(now) {
            return Swap::HeldOff;
        }
        self.recent.retain(|at| now.duration_since(*at) < WINDOW);
        let swaps = u32::try_from(self.recent.len()).unwrap_or(u32::MAX);
        if swaps >= allowed {
            self.held_until = now.checked_add(hold_off);
            return Swap::ConflictBegins(swaps);
        }
        self.recent.push(now);
        Swap::Allowed
    }

    fn is_held_off(&self, now: Instant) -> bool {
        self.held_until.is_some_and(|until| now < until)
    }

    /// Whether the log says nothing any more and may be forgotten.
    pub(crate) fn is_stale(&self, now: Instant) -> bool {
        !self.is_held_off(now)
            && self
                .recent
                .iter()
                .all(|at| now.duration_since(*at) >= WINDOW)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOLD: Duration = Duration::from_secs(30);

    #[tokio::test(start_paused = true)]
    async fn the_fourth_takeover_within_a_minute_is_a_conflict() {
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        let mut log = SwapLog::default();
        for second in [0, 1, 2] {
            assert_eq!(log.attempt(3, HOLD, at(second)), Swap::Allowed);
        }
        assert_eq!(log.attempt(3, HOLD, at(3)), Swap::ConflictBegins(3));
        assert_eq!(log.attempt(3, HOLD, at(32)), Swap::HeldOff);
        assert!(!log.is_stale(at(32)));
        // The hold-off is over, the minute is not.
        assert_eq!(log.attempt(3, HOLD, at(34)), Swap::ConflictBegins(3));
        assert_eq!(log.attempt(3, HOLD, at(64)), Swap::Allowed);
        assert!(log.is_stale(at(124)));
    }

    #[tokio::test(start_paused = true)]
    async fn one_takeover_every_twenty_seconds_is_fine_for_ever() {
        let start = Instant::now();
        let mut log = SwapLog::default();
        for step in 0..20 {
            let now = start + Duration::from_secs(20 * step);
            assert_eq!(log.attempt(3, HOLD, now), Swap::Allowed);
        }
    }
}
