//! Named ways for a fleet to behave: what it has, how it reports and what goes
//! wrong how often.

use std::time::Duration;

/// How a fleet behaves. Start from a named one and change what you need.
#[derive(Debug, Clone, PartialEq)]
pub struct Scenario {
    /// Time between two samples of one strip.
    pub period: Duration,
    /// Fewest and most sockets on a strip.
    pub sockets: (u8, u8),
    /// Share of strips that speak MQTT 5 rather than 3.1.1, 0 to 1.
    pub mqtt5_share: f64,
    /// Share of strips without a clock: their samples carry no `ts`, 0 to 1.
    pub clockless_share: f64,
    /// Share of strips that send telemetry at QoS 0, 0 to 1.
    pub qos0_share: f64,
    /// The strips connect for the first time spread over this long.
    pub connect_spread: Duration,
    /// MQTT keep-alive, seconds.
    pub keep_alive_s: u16,
    /// The longest wait between two attempts to connect.
    pub backoff_cap: Duration,
    /// Local time of the building, hours east of UTC.
    pub utc_offset_hours: f64,
    /// How commands fare.
    pub acks: AckOdds,
    /// What goes wrong by itself, times per hour and strip.
    pub mishaps: MishapRates,
    /// Every strip loses its link at once, this often.
    pub storm_every: Option<Duration>,
}

/// How likely each fate of a command is, 0 to 1 each; the rest is obeyed and
/// acknowledged at once.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct AckOdds {
    /// The relay does not move and the strip says so.
    pub failed: f64,
    /// Obeyed, but the ack is never sent.
    pub missing: f64,
    /// Obeyed, and acknowledged [`AckOdds::late_by`] later.
    pub late: f64,
    /// How late a late ack is.
    pub late_by: Duration,
    /// Obeyed, and acknowledged twice.
    pub duplicate: f64,
}

/// How often each mishap comes, times per hour and strip.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct MishapRates {
    /// The link breaks and the strip is away for 5 to 60 seconds.
    pub drops: f64,
    /// The strip stays connected but reports nothing for 20 to 90 seconds.
    pub silences: f64,
    /// The strip hangs, reading and sending nothing, for 10 to 60 seconds.
    pub freezes: f64,
    /// The strip starts again.
    pub reboots: f64,
    /// The strip's clock jumps by up to a day, then is put right a minute later.
    pub clock_jumps: f64,
    /// A body that is no JSON, or nonsense, is published.
    pub garbage: f64,
    /// Somebody presses a button.
    pub presses: f64,
}

impl Scenario {
    /// Everything works and nobody touches anything: for tests.
    #[must_use]
    pub fn quiet() -> Self {
        Self {
            period: Duration::from_secs(5),
            sockets: (4, 4),
            mqtt5_share: 0.5,
            clockless_share: 0.0,
            qos0_share: 0.0,
            connect_spread: Duration::ZERO,
            keep_alive_s: 30,
            backoff_cap: Duration::from_secs(30),
            utc_offset_hours: 0.0,
            acks: AckOdds::default(),
            mishaps: MishapRates::default(),
            storm_every: None,
        }
    }

    /// A lived-in building: mostly fine, now and then something happens.
    #[must_use]
    pub fn demo() -> Self {
        Self {
            sockets: (3, 6),
            clockless_share: 0.25,
            qos0_share: 0.25,
            connect_spread: Duration::from_secs(2),
            acks: AckOdds {
                failed: 0.04,
                missing: 0.02,
                late: 0.02,
                late_by: Duration::from_secs(8),
                duplicate: 0.03,
            },
            mishaps: MishapRates {
                drops: 1.5,
                silences: 0.5,
                reboots: 0.1,
                presses: 1.0,
                ..MishapRates::default()
            },
            ..Self::quiet()
        }
    }

    /// Everything goes wrong, often.
    #[must_use]
    pub fn rough() -> Self {
        Self {
            sockets: (1, 8),
            clockless_share: 0.3,
            qos0_share: 0.3,
            connect_spread: Duration::from_secs(5),
            acks: AckOdds {
                failed: 0.15,
                missing: 0.15,
                late: 0.15,
                late_by: Duration::from_secs(7),
                duplicate: 0.15,
            },
            mishaps: MishapRates {
                drops: 20.0,
                silences: 10.0,
                freezes: 5.0,
                reboots: 5.0,
                clock_jumps: 5.0,
                garbage: 20.0,
                presses: 20.0,
            },
            storm_every: Some(Duration::from_secs(300)),
            ..Self::quiet()
        }
    }

    /// The scenario called `name`: `quiet`, `demo` or `rough`.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        match name {
            "quiet" => Some(Self::quiet()),
            "demo" => Some(Self::demo()),
            "rough" => Some(Self::rough()),
            _ => None,
        }
    }
}

/// The ids of the demonstration building: 24 strips on four floors.
#[must_use]
pub fn demo_ids() -> Vec<String> {
    (1..=4)
        .flat_map(|floor| {
            (1..=3).flat_map(move |room| {
                (1..=2).map(move |strip| format!("A-{floor}{room:02}-strip{strip:02}"))
            })
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use dormouse_core::ids::DeviceId;

    #[test]
    fn the_demo_building_has_24_strips_with_valid_distinct_ids() {
        let ids: std::collections::BTreeSet<_> = demo_ids().into_iter().collect();
        assert_eq!(ids.len(), 24);
        assert!(ids.iter().all(|id| DeviceId::parse(id).is_ok()));
        assert!(ids.contains("A-302-strip01"));
    }

    #[test]
    fn scenarios_go_by_name() {
        for name in ["quiet", "demo", "rough"] {
            assert!(Scenario::named(name).is_some());
        }
        assert_eq!(Scenario::named("calm"), None);
    }
}
