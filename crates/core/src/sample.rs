//! One telemetry reading in the platform's own units: scaled integers, so
//! that every engine stores and sums the same values.

use crate::clock::Timestamp;
use crate::ids::{DeviceKey, SocketId};

/// One reading of one socket, or of the whole strip (socket 0).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sample {
    /// Which socket; 0 for the strip's totals.
    pub socket: SocketId,
    /// When it was measured. Unique within (device, socket).
    pub ts: Timestamp,
    /// What was measured.
    pub values: Values,
}

/// The measurements of a [`Sample`]; `None` where the meter has none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Values {
    /// Active power, 0.1 W.
    pub power_dw: Option<i32>,
    /// Voltage, 0.1 V.
    pub voltage_dv: Option<i32>,
    /// Current, 1 mA.
    pub current_ma: Option<i32>,
    /// The meter's counter, 0.1 Wh.
    pub energy_dwh: Option<i64>,
    /// Power factor, 0.01.
    pub power_factor_centi: Option<i32>,
}

/// A sample and whose it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DeviceSample {
    /// Whose.
    pub device: DeviceKey,
    /// The reading.
    pub sample: Sample,
}
