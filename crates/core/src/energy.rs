//! The energy ledger: what two consecutive readings of a counter mean.
//!
//! Every rule looks at two readings only, so that a reading which arrives late
//! changes the entries beside it and no others.

use crate::clock::Timestamp;

/// The longest silence that power is integrated across, ms; a counter older
/// than this no longer speaks for samples that carry none.
pub const GAP_MS: i64 = 5 * 60 * 1_000;
/// The most a strip can draw, W: 16 A at 250 V and a tenth more.
pub const STRIP_LIMIT_W: i64 = 4_400;
/// What the coarsest counters (two decimals of a kWh) add in one step, 0.1 Wh.
pub const COUNTER_STEP_DWH: i64 = 100;
/// Units of power × time, 0.1 W × 1 ms, in a unit of energy, 0.1 Wh.
pub const DWMS_PER_DWH: i64 = 3_600_000;

/// One reading of a counter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Reading {
    /// When.
    pub ts: Timestamp,
    /// What it showed, 0.1 Wh.
    pub dwh: i64,
}

/// Why an entry of the ledger is what it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Cause {
    /// The counter rose by what a strip can draw.
    Metered,
    /// It did so across a silence longer than [`GAP_MS`]: the energy is
    /// certain, the time it was used at is not.
    Bridged,
    /// It started again from zero; the new reading is what was used since.
    Reset,
    /// It fell by at most a tenth, as when a device lost what it had not yet
    /// saved: nothing is counted.
    RolledBack,
    /// The strip cannot have drawn it: held apart, not counted.
    Implausible,
}

/// One entry of the ledger.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Entry {
    /// Why.
    pub cause: Cause,
    /// How much, 0.1 Wh; what a rollback or an implausible reading amounts to
    /// is kept, though it does not count as energy.
    pub dwh: i64,
}

/// Judges what happened between two consecutive readings; `before` is the
/// earlier one. The first reading of all is a baseline and has no entry.
#[must_use]
pub fn judge(before: Reading, after: Reading) -> Entry {
    let elapsed_ms = after
        .ts
        .as_millis()
        .saturating_sub(before.ts.as_millis())
        .max(0);
    let ceiling = drawable_dwh(elapsed_ms);
    let change = after.dwh.saturating_sub(before.dwh);
    let entry = |cause, dwh| Entry { cause, dwh };
    if change > ceiling {
        entry(Cause::Implausible, change)
    } else if change >= 0 {
        let cause = if elapsed_ms > GAP_MS {
            Cause::Bridged
        } else {
            Cause::Metered
        };
        entry(cause, change)
    } else if change.saturating_neg() <= before.dwh / 10 {
        entry(Cause::RolledBack, change.saturating_neg())
    } else if (0..=ceiling).contains(&after.dwh) {
        entry(Cause::Reset, after.dwh)
    } else {
        entry(Cause::Implausible, after.dwh)
    }
}

/// The most that a counter can have risen in `elapsed_ms`, 0.1 Wh.
fn drawable_dwh(elapsed_ms: i64) -> i64 {
    let drawn = elapsed_ms.saturating_mul(STRIP_LIMIT_W * 10) / DWMS_PER_DWH;
    drawn.saturating_add(COUNTER_STEP_DWH)
}

#[cfg(test)]
mod tests {
    use super::*;

    const S: i64 = 1_000;
    const HOUR: i64 = 3_600 * S;

    #[test]
    fn the_ledger_rules() {
        use Cause::{Bridged, Implausible, Metered, Reset, RolledBack};
        for (before, after, elapsed_ms, cause, dwh) in [
            // 205 W for 5 s is 0.28 Wh.
            (123_456, 123_459, 5 * S, Metered, 3),
            (123_456, 123_456, 5 * S, Metered, 0),
            // A counter of two decimals stands still, then jumps by 10 Wh.
            (123_400, 123_500, 5 * S, Metered, 100),
            // The longest silence that is not one, and one more millisecond.
            (1_000, 1_100, GAP_MS, Metered, 100),
            (1_000, 1_100, GAP_MS + 1, Bridged, 100),
            // A night offline: 8 h at 4.4 kW and no more.
            (1_000, 1_000 + 352_100, 8 * HOUR, Bridged, 352_100),
            (1_000, 1_000 + 352_101, 8 * HOUR, Implausible, 352_101),
            // A glitch up and back again counts nothing, twice.
            (10_000, 9_999_999, 5 * S, Implausible, 9_989_999),
            (9_999_999, 10_001, 5 * S, Implausible, 10_001),
            // Ten percent is a rollback, a little more a reset.
            (10_000, 9_000, 5 * S, RolledBack, 1_000),
            (10_000, 9_999, 5 * S, RolledBack, 1),
            (10_000, 8_999, 5 * S, Implausible, 8_999),
            (10_000, 0, 5 * S, Reset, 0),
            (10_000, 40, 5 * S, Reset, 40),
            (10_000, 8_000, HOUR, Reset, 8_000),
            // Nonsense stays harmless.
            (i64::MAX, i64::MIN, 5 * S, Implausible, i64::MIN),
            (i64::MIN, i64::MAX, 5 * S, Implausible, i64::MAX),
            (0, 0, -5 * S, Metered, 0),
        ] {
            let at = |ms, dwh| Reading {
                ts: Timestamp::from_millis(ms),
                dwh,
            };
            assert_eq!(
                judge(at(0, before), at(elapsed_ms, after)),
                Entry { cause, dwh },
                "{before} to {after} in {elapsed_ms} ms"
            );
        }
    }
}
