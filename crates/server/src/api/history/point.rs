//! One point of history, as it is written.

use dormouse_core::energy::DWMS_PER_DWH;
use dormouse_core::rollup::BucketAt;
use dormouse_core::sample::Sample;
use serde::Serialize;
use utoipa::ToSchema;

/// A sample, or a bucket of samples; fields of the other kind, and those that
/// are not known, are absent.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct HistoryPoint {
    /// When it was measured, or when the bucket starts; unix ms.
    pub(super) ts: i64,
    /// Samples in the bucket.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) count: Option<i64>,
    /// Milliseconds of the bucket for which power is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) covered_ms: Option<i64>,
    /// Active power, W; of a bucket the mean over the covered time.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) power_w: Option<f64>,
    /// The lowest power sampled in the bucket, W.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) min_power_w: Option<f64>,
    /// The highest power sampled in the bucket, W.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) max_power_w: Option<f64>,
    /// Of a bucket: the energy used in it, Wh. Of a sample: what its counter
    /// showed, Wh.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) energy_wh: Option<f64>,
    /// The part of the bucket's energy that was used during a silence of more
    /// than five minutes before its counter reading, Wh; absent where none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) bridged_wh: Option<f64>,
    /// The part counted after a counter started again from zero, Wh.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) reset_wh: Option<f64>,
    /// The part integrated from power, where there is no counter, Wh.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) integrated_wh: Option<f64>,
    /// What counters fell back by, Wh; not part of the energy.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) rolled_back_wh: Option<f64>,
    /// What the strip cannot have drawn, Wh; not part of the energy.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) implausible_wh: Option<f64>,
    /// Voltage of a sample, V.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) voltage_v: Option<f64>,
    /// Current of a sample, A.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) current_a: Option<f64>,
    /// Power factor of a sample.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) power_factor: Option<f64>,
}

impl From<&Sample> for HistoryPoint {
    fn from(sample: &Sample) -> Self {
        let values = &sample.values;
        Self {
            ts: sample.ts.as_millis(),
            power_w: values.power_dw.map(tenths),
            voltage_v: values.voltage_dv.map(tenths),
            current_a: values.current_ma.map(|ma| f64::from(ma) / 1_000.0),
            energy_wh: values.energy_dwh.map(tenths_of_wh),
            power_factor: values.power_factor_centi.map(|it| f64::from(it) / 100.0),
            ..Self::default()
        }
    }
}

impl From<&BucketAt> for HistoryPoint {
    fn from(at: &BucketAt) -> Self {
        let bucket = &at.bucket;
        let energy = &bucket.energy;
        let part = |dwh: i64| (dwh != 0).then(|| tenths_of_wh(dwh));
        let integrated_dwh = float(energy.integrated_dwms) / float(DWMS_PER_DWH);
        Self {
            ts: at.start.as_millis(),
            count: Some(bucket.count),
            covered_ms: Some(bucket.covered_ms),
            power_w: bucket.mean_power_w().map(|it| round(it, 1_000.0)),
            min_power_w: bucket.power_min_dw.map(tenths),
            max_power_w: bucket.power_max_dw.map(tenths),
            energy_wh: Some(round(energy.total_wh(), 10_000.0)),
            bridged_wh: part(energy.bridged_dwh),
            reset_wh: part(energy.reset_dwh),
            integrated_wh: (energy.integrated_dwms != 0)
                .then(|| round(integrated_dwh / 10.0, 10_000.0)),
            rolled_back_wh: part(energy.rolled_back_dwh),
            implausible_wh: part(energy.implausible_dwh),
            ..Self::default()
        }
    }
}

fn tenths(tenths: i32) -> f64 {
    f64::from(tenths) / 10.0
}

fn tenths_of_wh(dwh: i64) -> f64 {
    float(dwh) / 10.0
}

#[expect(
    clippy::cast_precision_loss,
    reason = "what a strip can count stays far below 2^53"
)]
fn float(value: i64) -> f64 {
    value as f64
}

/// Rounds to a fraction of a unit, so that sums of binary fractions read well.
fn round(value: f64, parts: f64) -> f64 {
    (value * parts).round() / parts
}
