//! The fleet's power over the last half hour, for a page that was just opened.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};

use serde::Serialize;

use crate::clock::Timestamp;

/// Points kept: half an hour at one in five seconds. Older ones are dropped.
const POINTS_MAX: usize = 360;

/// The power of all devices online at one moment.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[cfg_attr(feature = "schema", schema(as = FleetPower))]
#[serde(rename_all = "camelCase")]
pub struct PowerPoint {
    /// When, unix ms.
    #[cfg_attr(feature = "schema", schema(value_type = i64))]
    pub ts: Timestamp,
    /// Together, W.
    pub power_w: f64,
}

/// The latest points, in order of time.
#[derive(Debug, Default)]
pub struct PowerCurve {
    points: Mutex<VecDeque<PowerPoint>>,
}

impl PowerCurve {
    /// Adds a point. Where the wall clock was set back, what lies after it goes.
    pub fn record(&self, point: PowerPoint) {
        let mut points = self.lock();
        while points.back().is_some_and(|last| last.ts >= point.ts) {
            points.pop_back();
        }
        if points.len() == POINTS_MAX {
            points.pop_front();
        }
        points.push_back(point);
    }

    /// The points at or after `from`.
    #[must_use]
    pub fn since(&self, from: Timestamp) -> Vec<PowerPoint> {
        let points = self.lock();
        let start = points.partition_point(|point| point.ts < from);
        points.range(start..).copied().collect()
    }

    fn lock(&self) -> MutexGuard<'_, VecDeque<PowerPoint>> {
        self.points.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn point(ts: i64) -> PowerPoint {
        PowerPoint {
            ts: Timestamp::from_millis(ts),
            power_w: 1.0,
        }
    }

    fn times(curve: &PowerCurve, from: i64) -> Vec<i64> {
        let points = curve.since(Timestamp::from_millis(from));
        points.iter().map(|it| it.ts.as_millis()).collect()
    }

    #[test]
    fn the_oldest_points_make_room() {
        let curve = PowerCurve::default();
        for ts in 0..=360 {
            curve.record(point(ts));
        }
        assert_eq!(times(&curve, 0), (1..=360).collect::<Vec<_>>());
        assert_eq!(times(&curve, 359), [359, 360]);
        assert_eq!(times(&curve, 361), [0_i64; 0]);
    }

    #[test]
    fn a_clock_set_back_leaves_the_curve_in_order() {
        let curve = PowerCurve::default();
        for ts in [10, 20, 30, 15] {
            curve.record(point(ts));
        }
        assert_eq!(times(&curve, 0), [10, 15]);
    }
}
