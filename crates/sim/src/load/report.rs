//! What a load run found, as one line of JSON.

use std::time::Duration;

use hdrhistogram::Histogram;
use serde::Serialize;

use crate::round::decimals;

/// Latencies in microseconds, up to ten minutes, to three digits.
#[derive(Debug)]
pub(crate) struct Latencies(Histogram<u64>);

/// Percentiles of a latency, milliseconds.
#[derive(Debug, Serialize, PartialEq, Default)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Percentiles {
    p50: f64,
    p90: f64,
    p99: f64,
    p999: f64,
    max: f64,
}

impl Latencies {
    pub(crate) fn new() -> anyhow::Result<Self> {
        Ok(Self(Histogram::new_with_bounds(1, 600_000_000, 3)?))
    }

    pub(crate) fn record(&mut self, latency: Duration) {
        self.0
            .saturating_record(u64::try_from(latency.as_micros()).unwrap_or(u64::MAX));
    }

    pub(crate) fn add(&mut self, other: &Self) -> anyhow::Result<()> {
        Ok(self.0.add(&other.0)?)
    }

    pub(crate) fn percentiles(&self) -> Percentiles {
        let at = |quantile| millis(Duration::from_micros(self.0.value_at_quantile(quantile)));
        Percentiles {
            p50: at(0.5),
            p90: at(0.9),
            p99: at(0.99),
            p999: at(0.999),
            max: millis(Duration::from_micros(self.0.max())),
        }
    }
}

/// What went wrong, counted.
#[derive(Debug, Clone, Copy, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Errors {
    /// Attempts to connect that failed.
    pub(crate) connect: u64,
    /// Connections that were lost.
    pub(crate) lost: u64,
}

/// What `--load` prints.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct LoadReport {
    pub(crate) mode: &'static str,
    pub(crate) devices: usize,
    pub(crate) window: u16,
    pub(crate) payload_bytes: usize,
    pub(crate) published: u64,
    pub(crate) acknowledged: u64,
    pub(crate) refused: u64,
    pub(crate) unacknowledged: u64,
    pub(crate) resent: u64,
    pub(crate) elapsed_s: f64,
    pub(crate) published_per_s: f64,
    pub(crate) acknowledged_per_s: f64,
    pub(crate) puback_ms: Percentiles,
    pub(crate) errors: Errors,
    pub(crate) cpu_s: f64,
    pub(crate) cpu_s_per_100k: f64,
}

/// What `--storm` and `--idle` print once everybody is connected.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct StormReport {
    pub(crate) mode: &'static str,
    pub(crate) devices: usize,
    pub(crate) connected: u64,
    pub(crate) heard: u64,
    pub(crate) all_connected_ms: f64,
    pub(crate) all_heard_ms: f64,
    pub(crate) connack_ms: Percentiles,
    pub(crate) errors: Errors,
    pub(crate) cpu_s: f64,
}

/// What `--echo` prints at its end.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct EchoReport {
    pub(crate) mode: &'static str,
    pub(crate) devices: usize,
    pub(crate) commands: u64,
    pub(crate) acknowledged: u64,
    pub(crate) errors: Errors,
    pub(crate) cpu_s: f64,
}

/// What `--sink` prints at its end.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct SinkReport {
    pub(crate) mode: &'static str,
    pub(crate) received: u64,
    pub(crate) elapsed_s: f64,
    pub(crate) received_per_s: f64,
    pub(crate) errors: Errors,
    pub(crate) cpu_s: f64,
}

/// Milliseconds to three decimals.
pub(crate) fn millis(duration: Duration) -> f64 {
    decimals(duration.as_secs_f64() * 1_000.0, 3)
}

/// `count` per second over `elapsed`.
pub(crate) fn per_second(count: u64, elapsed: Duration) -> f64 {
    #[expect(
        clippy::cast_precision_loss,
        reason = "a count of messages, for display"
    )]
    let count = count as f64;
    decimals(count / elapsed.as_secs_f64().max(1e-9), 1)
}

/// The processor time that this process has used, seconds; 0 where the system
/// does not tell.
pub(crate) fn cpu_seconds() -> f64 {
    // Fields 14 and 15 are user and system time in ticks of 10 ms, counted
    // after the name, which may itself contain spaces.
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let fields = stat
        .rsplit(')')
        .next()
        .unwrap_or_default()
        .split_whitespace();
    let ticks: f64 = fields
        .skip(11)
        .take(2)
        .filter_map(|ticks| ticks.parse::<f64>().ok())
        .sum();
    ticks / 100.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_in_milliseconds() {
        let mut latencies = Latencies::new().unwrap();
        for ms in 1..=100 {
            latencies.record(Duration::from_millis(ms));
        }
        let found = latencies.percentiles();
        assert!((found.p50 - 50.0).abs() < 0.1 && (found.p99 - 99.0).abs() < 0.1);
        assert!((found.max - 100.0).abs() < 0.1);
    }
}
