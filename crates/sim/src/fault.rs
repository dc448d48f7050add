//! What can go wrong with a strip: faults set by hand, and mishaps that a
//! scenario brings by itself.

use std::time::Duration;

use rand::Rng as _;
use rand::rngs::SmallRng;

use crate::random::{between, next_in_ms};
use crate::round::to_u64;
use crate::scenario::{AckOdds, MishapRates};

/// What a strip does with commands it receives.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Acks {
    /// Obeys and acknowledges at once.
    #[default]
    Prompt,
    /// Obeys at once and acknowledges this much later.
    Late(Duration),
    /// Obeys and never acknowledges.
    Missing,
    /// Obeys once and acknowledges twice.
    Duplicate,
    /// Does not obey, and says so.
    Failed,
}

/// Faults that stay until they are set again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Faults {
    /// What happens to commands; `None` leaves it to the scenario's odds.
    pub acks: Option<Acks>,
    /// Stays connected and answers commands, but reports nothing by itself.
    pub silent: bool,
    /// Reads and sends nothing, not even a ping, with the connection open.
    pub frozen: bool,
    /// How far the strip's clock is off, milliseconds.
    pub clock_offset_ms: i64,
}

/// Draws what happens to one command.
pub(crate) fn draw_acks(odds: &AckOdds, rng: &mut SmallRng) -> Acks {
    let mut left: f64 = rng.random();
    for (chance, acks) in [
        (odds.failed, Acks::Failed),
        (odds.missing, Acks::Missing),
        (odds.late, Acks::Late(odds.late_by)),
        (odds.duplicate, Acks::Duplicate),
    ] {
        if left < chance {
            return acks;
        }
        left -= chance;
    }
    Acks::Prompt
}

/// Something that happens to a strip by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mishap {
    /// The link breaks for so long.
    Drop { away_ms: u64 },
    /// Nothing is reported for so long.
    Silence { for_ms: u64 },
    /// Nothing is read or sent for so long.
    Freeze { for_ms: u64 },
    /// The firmware starts again.
    Reboot,
    /// The clock is off by so much for a minute.
    ClockJump { by_ms: i64 },
    /// A body that means nothing is published.
    Garbage,
    /// A button is pressed; which one is drawn by the strip.
    Press { draw: u32 },
}

/// When the next mishap of each sort is due, for one strip.
#[derive(Debug)]
pub(crate) struct Mishaps {
    rates: [f64; SORTS],
    due_ms: [Option<u64>; SORTS],
    rng: SmallRng,
}

const SORTS: usize = 7;

impl Mishaps {
    /// A schedule that begins at `now_ms` of the simulation's clock.
    pub(crate) fn new(rates: &MishapRates, now_ms: u64, mut rng: SmallRng) -> Self {
        let rates = [
            rates.drops,
            rates.silences,
            rates.freezes,
            rates.reboots,
            rates.clock_jumps,
            rates.garbage,
            rates.presses,
        ];
        let due_ms =
            rates.map(|rate| next_in_ms(&mut rng, rate).map(|wait| now_ms.saturating_add(wait)));
        Self { rates, due_ms, rng }
    }

    /// When the next mishap is due.
    pub(crate) fn next_due_ms(&self) -> Option<u64> {
        self.due_ms.iter().flatten().min().copied()
    }

    /// Takes one mishap that is due at `now_ms`.
    pub(crate) fn take_due(&mut self, now_ms: u64) -> Option<Mishap> {
        let sort = (0..SORTS).find(|sort| self.due_ms[*sort].is_some_and(|due| due <= now_ms))?;
        let rng = &mut self.rng;
        self.due_ms[sort] =
            next_in_ms(rng, self.rates[sort]).map(|wait| now_ms.saturating_add(wait));
        let mut seconds = |from, until| to_u64(between(rng, (from, until)) * 1_000.0);
        Some(match sort {
            0 => Mishap::Drop {
                away_ms: seconds(5.0, 60.0),
            },
            1 => Mishap::Silence {
                for_ms: seconds(20.0, 90.0),
            },
            2 => Mishap::Freeze {
                for_ms: seconds(10.0, 60.0),
            },
            3 => Mishap::Reboot,
            4 => Mishap::ClockJump {
                by_ms: rng.random_range(-86_400_000..=86_400_000),
            },
            5 => Mishap::Garbage,
            _ => Mishap::Press { draw: rng.random() },
        })
    }
}

/// A body that must be refused; `draw` chooses which.
pub(crate) fn garbage(draw: u32) -> Vec<u8> {
    const BODIES: [&[u8]; 8] = [
        b"",
        b"{",
        b"\xff\xfe\x00nonsense",
        b"[1,2,3]",
        b"{\"powerW\":\"many\"}",
        b"{\"ts\":99999999999999999,\"powerW\":1}",
        b"{\"powerW\":1e300}",
        b"null",
    ];
    BODIES[draw as usize % BODIES.len()].to_vec()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::{Stream, stream};

    #[test]
    fn a_schedule_repeats_for_a_seed_and_never_ends() {
        let rates = MishapRates {
            drops: 30.0,
            presses: 60.0,
            ..MishapRates::default()
        };
        let run = || {
            let mut mishaps = Mishaps::new(&rates, 0, stream(5, "x", Stream::Mishaps));
            let mut seen = Vec::new();
            while let Some(due) = mishaps.next_due_ms().filter(|due| *due < 3_600_000) {
                seen.push((due, mishaps.take_due(due).unwrap()));
            }
            seen
        };
        let first = run();
        assert_eq!(first, run());
        assert!(
            (50..140).contains(&first.len()),
            "{} in an hour",
            first.len()
        );
    }

    #[test]
    fn no_rates_means_no_mishaps() {
        let mishaps = Mishaps::new(&MishapRates::default(), 0, stream(5, "x", Stream::Mishaps));
        assert_eq!(mishaps.next_due_ms(), None);
    }

    #[test]
    fn odds_are_kept() {
        let odds = AckOdds {
            failed: 0.2,
            missing: 0.3,
            ..AckOdds::default()
        };
        let mut rng = stream(1, "x", Stream::Mishaps);
        let drawn: Vec<_> = (0..5_000).map(|_| draw_acks(&odds, &mut rng)).collect();
        let share = |acks| drawn.iter().filter(|drawn| **drawn == acks).count();
        assert!((850..1_150).contains(&share(Acks::Failed)));
        assert!((1_350..1_650).contains(&share(Acks::Missing)));
        assert!((2_300..2_700).contains(&share(Acks::Prompt)));
    }
}
