//! What a command asks for, checked.

use std::ops::RangeInclusive;

use crate::wire::Action;

/// Time-outs that may be asked for, ms.
pub const TIMEOUT_MS: RangeInclusive<u32> = 1_000..=60_000;
/// The time-out where none is asked for, ms.
pub const DEFAULT_TIMEOUT_MS: u32 = 6_000;
/// How long `cycle` may stay off, ms.
pub const OFF_MS: RangeInclusive<u32> = 100..=57_000;
/// How long `cycle` stays off where it is not said, ms.
pub const DEFAULT_OFF_MS: u32 = 3_000;
/// What a cycle's time-out must leave beyond its pause, ms.
pub const CYCLE_MARGIN_MS: u32 = 3_000;

/// What to do, and for how long to wait for the verdict.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Order {
    /// What to do.
    pub action: Action,
    /// How long `cycle` stays off, ms; `None` for the others.
    pub off_ms: Option<u32>,
    /// How long to wait for the verdict, ms.
    pub timeout_ms: u32,
}

/// A field of an order that broke its rule.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum InvalidOrder {
    /// `timeoutMs` is out of range.
    #[error("must be {} to {}", TIMEOUT_MS.start(), TIMEOUT_MS.end())]
    TimeoutRange,
    /// `timeoutMs` leaves a cycle no time.
    #[error("must be at least offMs + {CYCLE_MARGIN_MS} for cycle")]
    TimeoutTooShortForCycle,
    /// `offMs` is out of range.
    #[error("must be {} to {}", OFF_MS.start(), OFF_MS.end())]
    OffRange,
    /// `offMs` came with another action.
    #[error("goes with the action cycle only")]
    OffWithoutCycle,
}

impl InvalidOrder {
    /// The field that broke the rule, as the API names it.
    #[must_use]
    pub const fn field(self) -> &'static str {
        match self {
            Self::TimeoutRange | Self::TimeoutTooShortForCycle => "timeoutMs",
            Self::OffRange | Self::OffWithoutCycle => "offMs",
        }
    }
}

impl Order {
    /// Checks the rules and fills in what was left out.
    ///
    /// # Errors
    /// The first rule that is broken.
    pub fn new(
        action: Action,
        off_ms: Option<u32>,
        timeout_ms: Option<u32>,
    ) -> Result<Self, InvalidOrder> {
        let off_ms = match (action, off_ms) {
            (Action::Cycle, off_ms) => Some(off_ms.unwrap_or(DEFAULT_OFF_MS)),
            (Action::On | Action::Off, None) => None,
            (Action::On | Action::Off, Some(_)) => return Err(InvalidOrder::OffWithoutCycle),
        };
        if off_ms.is_some_and(|ms| !OFF_MS.contains(&ms)) {
            return Err(InvalidOrder::OffRange);
        }
        let least = off_ms.map_or(0, |ms| ms + CYCLE_MARGIN_MS);
        let timeout_ms = timeout_ms.unwrap_or(DEFAULT_TIMEOUT_MS.max(least));
        if !TIMEOUT_MS.contains(&timeout_ms) {
            return Err(InvalidOrder::TimeoutRange);
        }
        if timeout_ms < least {
            return Err(InvalidOrder::TimeoutTooShortForCycle);
        }
        Ok(Self {
            action,
            off_ms,
            timeout_ms,
        })
    }

    /// Whether the relay is closed once the order is carried out.
    #[must_use]
    pub const fn ends_on(self) -> bool {
        match self.action {
            Action::On | Action::Cycle => true,
            Action::Off => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn left_out_fields_get_their_defaults() {
        let order = Order::new(Action::On, None, None).unwrap();
        assert_eq!((order.off_ms, order.timeout_ms), (None, 6_000));
        let order = Order::new(Action::Cycle, None, None).unwrap();
        assert_eq!((order.off_ms, order.timeout_ms), (Some(3_000), 6_000));
        let order = Order::new(Action::Cycle, Some(57_000), None).unwrap();
        assert_eq!((order.off_ms, order.timeout_ms), (Some(57_000), 60_000));
    }

    #[test]
    fn every_rule_is_told_with_its_field() {
        use Action::{Cycle, Off, On};
        let cases = [
            (On, None, Some(999), InvalidOrder::TimeoutRange, "timeoutMs"),
            (
                On,
                None,
                Some(60_001),
                InvalidOrder::TimeoutRange,
                "timeoutMs",
            ),
            (Off, Some(500), None, InvalidOrder::OffWithoutCycle, "offMs"),
            (Cycle, Some(99), None, InvalidOrder::OffRange, "offMs"),
            (Cycle, Some(u32::MAX), None, InvalidOrder::OffRange, "offMs"),
            (
                Cycle,
                Some(3_000),
                Some(5_999),
                InvalidOrder::TimeoutTooShortForCycle,
                "timeoutMs",
            ),
        ];
        for (action, off_ms, timeout_ms, error, field) in cases {
            assert_eq!(Order::new(action, off_ms, timeout_ms), Err(error));
            assert_eq!(error.field(), field);
        }
        assert!(Order::new(On, None, Some(1_000)).is_ok());
        assert!(Order::new(Cycle, Some(3_000), Some(6_000)).is_ok());
    }
}
