//! What is plugged into a socket: how much it draws, when people use it, and how
//! it behaves when its socket is switched.
//!
//! ```text
//! Unpowered ──socket on──▶ Idle ──someone uses it──▶ Running ──done──▶ Idle
//!     ▲                     │                           │
//!     └─────────────── socket off ──────────────────────┘
//! ```

use rand::rngs::SmallRng;

use crate::clock::Now;
use crate::random::{between, happens};
use crate::round::{from_ms, to_u64};

/// A kind of appliance.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Draws less as its battery fills; used while people are awake.
    Laptop,
    /// Two kilowatts for a few minutes at a time.
    Kettle,
    /// A few watts, mostly at night.
    PhoneCharger,
    /// Over a kilowatt for minutes, in the morning and in the evening.
    HairDryer,
    /// A few watts of LED light in the evening.
    DeskLamp,
    /// A compressor that comes and goes all day.
    Fridge,
    /// A small motor, for hours.
    Fan,
    /// Always on.
    Router,
    /// A screen, while people are awake.
    Monitor,
    /// Half a kilowatt around meals, then keeps warm.
    RiceCooker,
}

/// What an appliance draws at a moment.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub(crate) struct Load {
    /// Active power in watts.
    pub(crate) watts: f64,
    /// Power factor, 0 to 1.
    pub(crate) power_factor: f64,
}

/// How draw develops while an appliance runs.
#[derive(Debug, Clone, Copy)]
enum Shape {
    /// Constant, but for a little noise.
    Flat,
    /// Falls to a fifth as a battery fills.
    Taper,
    /// Switched by a thermostat: on and off times in seconds.
    Cycling { on_s: u64, off_s: u64 },
}

/// When people use an appliance.
#[derive(Debug, Clone, Copy)]
enum Habit {
    /// It runs whenever its socket is on.
    Always,
    /// Several times a day, at the hours that `weight` prefers.
    Daily { starts: f64, weight: fn(f64) -> f64 },
}

#[derive(Debug)]
struct Model {
    running_w: (f64, f64),
    standby_w: f64,
    power_factor: f64,
    run_s: (f64, f64),
    /// Draw in the first instant, as a multiple of running draw.
    inrush: f64,
    shape: Shape,
    habit: Habit,
    /// Whether it starts by itself when its socket is switched on.
    resumes: bool,
}

/// How fast inrush fades, in milliseconds.
const INRUSH_MS: u64 = 1_500;

fn within(hour: f64, from: f64, until: f64) -> f64 {
    if (from..until).contains(&hour) {
        1.0
    } else {
        0.0
    }
}

fn waking(hour: f64) -> f64 {
    0.05 + within(hour, 7.0, 9.0) + 1.2 * within(hour, 12.0, 14.0) + 2.0 * within(hour, 18.0, 23.5)
}

fn meals(hour: f64) -> f64 {
    0.02 + 2.0 * within(hour, 6.5, 8.5) + within(hour, 11.0, 13.0) + 2.0 * within(hour, 17.0, 20.0)
}

fn washing(hour: f64) -> f64 {
    0.01 + 2.0 * within(hour, 6.5, 8.5) + 3.0 * within(hour, 20.0, 23.5)
}

fn evening(hour: f64) -> f64 {
    0.05 + 2.0 * within(hour, 18.0, 24.0) + 0.5 * within(hour, 6.0, 8.0)
}

fn bedtime(hour: f64) -> f64 {
    0.3 + 2.5 * within(hour, 21.5, 24.0) + 0.5 * within(hour, 12.0, 13.5)
}

impl Kind {
    /// Every kind, in a fixed order.
    pub(crate) const ALL: [Self; 10] = [
        Self::Laptop,
        Self::Kettle,
        Self::PhoneCharger,
        Self::HairDryer,
        Self::DeskLamp,
        Self::Fridge,
        Self::Fan,
        Self::Router,
        Self::Monitor,
        Self::RiceCooker,
    ];

    const fn model(self) -> &'static Model {
        const MINUTE: f64 = 60.0;
        const HOUR: f64 = 3_600.0;
        macro_rules! model {
            ($($field:ident: $value:expr),* $(,)?) => { &const { Model { $($field: $value),* } } };
        }
        match self {
            Self::Laptop => model! {
                running_w: (42.0, 68.0), standby_w: 1.8, power_factor: 0.94, run_s: (HOUR, 4.0 * HOUR),
                inrush: 1.6, shape: Shape::Taper, habit: Habit::Daily { starts: 3.0, weight: waking }, resumes: true,
            },
            Self::Kettle => model! {
                running_w: (1_750.0, 2_150.0), standby_w: 0.0, power_factor: 1.0, run_s: (2.0 * MINUTE, 5.0 * MINUTE),
                inrush: 1.05, shape: Shape::Flat, habit: Habit::Daily { starts: 4.0, weight: waking }, resumes: false,
            },
            Self::PhoneCharger => model! {
                running_w: (9.0, 22.0), standby_w: 0.2, power_factor: 0.58, run_s: (HOUR, 2.5 * HOUR),
                inrush: 2.0, shape: Shape::Taper, habit: Habit::Daily { starts: 1.5, weight: bedtime }, resumes: true,
            },
            Self::HairDryer => model! {
                running_w: (950.0, 1_750.0), standby_w: 0.0, power_factor: 0.99, run_s: (3.0 * MINUTE, 9.0 * MINUTE),
                inrush: 1.4, shape: Shape::Flat, habit: Habit::Daily { starts: 1.6, weight: washing }, resumes: false,
            },
            Self::DeskLamp => model! {
                running_w: (7.0, 14.0), standby_w: 0.3, power_factor: 0.62, run_s: (HOUR, 4.0 * HOUR),
                inrush: 3.0, shape: Shape::Flat, habit: Habit::Daily { starts: 2.0, weight: evening }, resumes: true,
            },
            Self::Fridge => model! {
                running_w: (68.0, 105.0), standby_w: 1.2, power_factor: 0.72, run_s: (HOUR, HOUR),
                inrush: 5.0, shape: Shape::Cycling { on_s: 720, off_s: 1_500 }, habit: Habit::Always, resumes: true,
            },
            Self::Fan => model! {
                running_w: (26.0, 48.0), standby_w: 0.4, power_factor: 0.81, run_s: (HOUR, 6.0 * HOUR),
                inrush: 2.5, shape: Shape::Flat, habit: Habit::Daily { starts: 2.0, weight: waking }, resumes: true,
            },
            Self::Router => model! {
                running_w: (6.5, 11.5), standby_w: 0.0, power_factor: 0.55, run_s: (HOUR, HOUR),
                inrush: 2.0, shape: Shape::Flat, habit: Habit::Always, resumes: true,
            },
            Self::Monitor => model! {
                running_w: (18.0, 34.0), standby_w: 0.5, power_factor: 0.66, run_s: (HOUR, 4.0 * HOUR),
                inrush: 2.2, shape: Shape::Flat, habit: Habit::Daily { starts: 2.5, weight: waking }, resumes: true,
            },
            Self::RiceCooker => model! {
                running_w: (420.0, 720.0), standby_w: 0.9, power_factor: 0.99, run_s: (18.0 * MINUTE, 35.0 * MINUTE),
                inrush: 1.1, shape: Shape::Flat, habit: Habit::Daily { starts: 1.4, weight: meals }, resumes: false,
            },
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Phase {
    Unpowered,
    Idle,
    Running {
        since_ms: u64,
        until_ms: u64,
        watts: f64,
    },
}

/// One appliance in one socket.
#[derive(Debug, Clone)]
pub(crate) struct Appliance {
    kind: Kind,
    phase: Phase,
}

impl Appliance {
    /// An appliance of this kind in a socket that is still off.
    pub(crate) const fn new(kind: Kind) -> Self {
        Self {
            kind,
            phase: Phase::Unpowered,
        }
    }

    /// Moves on by `dt_ms` to `now` and returns what is drawn; `powered` is the
    /// state of the socket.
    pub(crate) fn step(&mut self, now: Now, dt_ms: u64, powered: bool, rng: &mut SmallRng) -> Load {
        let model = self.kind.model();
        self.phase = match (self.phase, powered) {
            (_, false) => Phase::Unpowered,
            (Phase::Unpowered, true) if model.resumes && in_use(model, now, rng) => {
                start(model, now, rng)
            }
            (Phase::Unpowered, true) => Phase::Idle,
            (Phase::Idle, true) if begins(model, now, dt_ms, rng) => start(model, now, rng),
            (Phase::Idle, true) => Phase::Idle,
            (Phase::Running { until_ms, .. }, true) if until_ms <= now.elapsed_ms => Phase::Idle,
            (running @ Phase::Running { .. }, true) => running,
        };
        let watts = match self.phase {
            Phase::Unpowered => 0.0,
            Phase::Idle => model.standby_w,
            Phase::Running {
                since_ms,
                until_ms,
                watts,
            } => {
                draw(model, now.elapsed_ms, since_ms, until_ms, watts)
                    * between(rng, (0.985, 1.015))
            }
        };
        Load {
            watts,
            power_factor: model.power_factor,
        }
    }
}

/// Whether someone starts using an idle appliance within the last `dt_ms`.
fn begins(model: &Model, now: Now, dt_ms: u64, rng: &mut SmallRng) -> bool {
    match model.habit {
        Habit::Always => true,
        Habit::Daily { starts, weight } => happens(
            rng,
            starts * weight(now.hour) / day_weight(weight) * from_ms(dt_ms) / 3_600_000.0,
        ),
    }
}

/// Whether an appliance that is found plugged in would be running at this hour.
fn in_use(model: &Model, now: Now, rng: &mut SmallRng) -> bool {
    match model.habit {
        Habit::Always => true,
        Habit::Daily { starts, weight } => {
            let run_hours = (model.run_s.0 + model.run_s.1) / 7_200.0;
            happens(
                rng,
                starts * weight(now.hour) / day_weight(weight) * run_hours,
            )
        }
    }
}

fn day_weight(weight: fn(f64) -> f64) -> f64 {
    (0..24_u8).map(|hour| weight(f64::from(hour) + 0.5)).sum()
}

fn start(model: &Model, now: Now, rng: &mut SmallRng) -> Phase {
    let watts = between(rng, model.running_w);
    let run_ms = to_u64(between(rng, model.run_s) * 1_000.0);
    let until_ms = match model.habit {
        Habit::Always => u64::MAX,
        Habit::Daily { .. } => now.elapsed_ms.saturating_add(run_ms),
    };
    Phase::Running {
        since_ms: now.elapsed_ms,
        until_ms,
        watts,
    }
}

fn draw(model: &Model, now_ms: u64, since_ms: u64, until_ms: u64, watts: f64) -> f64 {
    let run_ms = now_ms.saturating_sub(since_ms);
    let (base, since_on_ms) = match model.shape {
        Shape::Flat => (watts, run_ms),
        Shape::Taper => {
            let part = from_ms(run_ms) / from_ms(until_ms.saturating_sub(since_ms).max(1));
            (watts * (1.0 - 0.8 * part.clamp(0.0, 1.0)), run_ms)
        }
        Shape::Cycling { on_s, off_s } => {
            let at = run_ms % ((on_s + off_s) * 1_000);
            if at >= on_s * 1_000 {
                return model.standby_w;
            }
            (watts, at)
        }
    };
    let fading = 1.0 - from_ms(since_on_ms.min(INRUSH_MS)) / from_ms(INRUSH_MS);
    base * (1.0 + (model.inrush - 1.0) * fading)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::{Stream, stream};

    const STEP_MS: u64 = 5_000;

    fn at(elapsed_ms: u64, hour: f64) -> Now {
        Now {
            elapsed_ms,
            unix_ms: 0,
            hour,
        }
    }

    /// Energy in Wh and the highest draw in watts over one simulated day.
    fn day(kind: Kind, seed: u64) -> (f64, f64) {
        let mut rng = stream(seed, "test", Stream::Appliances);
        let mut appliance = Appliance::new(kind);
        let (mut wh, mut peak) = (0.0, 0.0_f64);
        for step in 0..86_400_000 / STEP_MS {
            let elapsed_ms = step * STEP_MS;
            let now = at(elapsed_ms, from_ms(elapsed_ms) / 3_600_000.0);
            let load = appliance.step(now, STEP_MS, true, &mut rng);
            assert!(load.watts >= 0.0 && (0.0..=1.0).contains(&load.power_factor));
            wh += load.watts * from_ms(STEP_MS) / 3_600_000.0;
            peak = peak.max(load.watts);
        }
        (wh, peak)
    }

    #[test]
    fn every_appliance_uses_a_believable_amount_in_a_day() {
        for (kind, least_wh, most_wh) in [
            (Kind::Laptop, 60.0, 700.0),
            (Kind::Kettle, 100.0, 1_200.0),
            (Kind::PhoneCharger, 5.0, 80.0),
            (Kind::HairDryer, 20.0, 800.0),
            (Kind::DeskLamp, 10.0, 150.0),
            (Kind::Fridge, 400.0, 1_200.0),
            (Kind::Fan, 50.0, 800.0),
            (Kind::Router, 150.0, 280.0),
            (Kind::Monitor, 30.0, 500.0),
            (Kind::RiceCooker, 50.0, 1_200.0),
        ] {
            let mean = (0..10).map(|seed| day(kind, seed).0).sum::<f64>() / 10.0;
            assert!(
                (least_wh..most_wh).contains(&mean),
                "{kind:?}: {mean:.0} Wh a day"
            );
        }
    }

    #[test]
    fn the_same_seed_gives_the_same_day() {
        assert_eq!(day(Kind::Kettle, 3), day(Kind::Kettle, 3));
    }

    #[test]
    fn a_switched_off_socket_draws_nothing_and_a_kettle_does_not_resume() {
        let mut rng = stream(1, "test", Stream::Appliances);
        let mut kettle = Appliance::new(Kind::Kettle);
        kettle.phase = Phase::Running {
            since_ms: 0,
            until_ms: 600_000,
            watts: 2_000.0,
        };
        let at = |elapsed_ms| at(elapsed_ms, 3.0);
        assert!(kettle.step(at(5_000), 5_000, true, &mut rng).watts > 1_900.0);
        assert_eq!(kettle.step(at(10_000), 5_000, false, &mut rng).watts, 0.0);
        assert_eq!(kettle.step(at(15_000), 5_000, true, &mut rng).watts, 0.0);
    }

    #[test]
    fn a_motor_draws_more_in_its_first_moment() {
        let mut rng = stream(1, "test", Stream::Appliances);
        let mut fridge = Appliance::new(Kind::Fridge);
        let at = |elapsed_ms| at(elapsed_ms, 12.0);
        let first = fridge.step(at(0), 1_000, true, &mut rng).watts;
        let later = fridge.step(at(10_000), 10_000, true, &mut rng).watts;
        assert!(first > 3.0 * later, "{first} W then {later} W");
    }
}
