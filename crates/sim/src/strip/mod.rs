//! One virtual strip as a pure state machine: it is told the time and what
//! happens, and answers with what to publish.

mod command;
mod report;

use dormouse_core::ids::{DeviceId, SocketId};
use dormouse_core::topic::Channel;
use rand::Rng as _;
use rand::rngs::SmallRng;
use serde_json::json;

use crate::appliance::{Appliance, Kind, Load};
use crate::clock::Now;
use crate::random::{Stream, between, stream};
use crate::round::{decimals, from_ms, to_u64};
use command::Commands;
pub(crate) use command::Received;
pub(crate) use report::{Reading, telemetry};

/// What the strip's own electronics draw, W.
const OWN_WATTS: f64 = 0.7;
/// When the meters began to count: 2025-01-01T00:00:00Z in unix ms.
const METERED_SINCE_MS: i64 = 1_735_689_600_000;
/// What a socket has drawn since then on average, W.
const SOCKET_MEAN_W: f64 = 20.0;
/// Above this the strip reports an overload, W.
const OVERLOAD_W: f64 = 2_500.0;
/// Above this it also opens the relay of its largest load, W.
const TRIP_W: f64 = 3_300.0;

/// How a strip is built; the same for its whole life.
#[derive(Debug, Clone)]
pub(crate) struct Build {
    /// Its name.
    pub(crate) id: DeviceId,
    /// How many sockets it has.
    pub(crate) sockets: u8,
    /// Time between two samples, ms.
    pub(crate) period_ms: u64,
    /// Whether it knows the time.
    pub(crate) has_clock: bool,
    /// What chooses its appliances and their use.
    pub(crate) seed: u64,
}

/// A message that the strip wants published.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Outgoing {
    /// On which of its topics.
    pub(crate) channel: Channel,
    /// The body.
    pub(crate) payload: Vec<u8>,
}

#[derive(Debug)]
struct Socket {
    id: SocketId,
    on: bool,
    appliance: Appliance,
    load: Load,
    energy_wh: f64,
}

/// Something that the strip will do later.
#[derive(Debug)]
enum Later {
    Command(command::Later),
    /// A resident presses the button of a socket that tripped.
    Press(SocketId),
}

/// One strip.
#[derive(Debug)]
pub(crate) struct Strip {
    build: Build,
    sockets: Vec<Socket>,
    boot: u32,
    conn: u32,
    seq: u32,
    sample_seq: u32,
    booted_ms: u64,
    stepped_ms: u64,
    energy_wh: f64,
    volts: f64,
    overloaded: bool,
    clock_offset_ms: i64,
    commands: Commands,
    later: Vec<(u64, Later)>,
    rng: SmallRng,
}

impl Strip {
    /// A strip that starts at `now`, for the `boot`th time, with every socket on.
    pub(crate) fn new(build: Build, boot: u32, now: Now) -> Self {
        let mut rng = stream(build.seed, build.id.as_str(), Stream::Appliances);
        // Counters go by the calendar, so that a later run of a strip counts on.
        let ran_ms = u64::try_from(now.unix_ms.saturating_sub(METERED_SINCE_MS)).unwrap_or(0);
        let ran_wh = SOCKET_MEAN_W * from_ms(ran_ms) / 3_600_000.0;
        let sockets = (1..=build.sockets)
            .filter_map(|number| SocketId::parse(u64::from(number)).ok())
            .map(|id| Socket {
                id,
                on: true,
                appliance: Appliance::new(Kind::ALL[rng.random_range(0..Kind::ALL.len())]),
                load: Load::default(),
                energy_wh: decimals(between(&mut rng, (0.0, 80_000.0)) + ran_wh, 1),
            })
            .collect::<Vec<_>>();
        let energy_wh = sockets.iter().map(|socket| socket.energy_wh).sum();
        let mut strip = Self {
            build,
            sockets,
            boot,
            conn: 0,
            seq: 0,
            sample_seq: 0,
            booted_ms: now.elapsed_ms,
            stepped_ms: now.elapsed_ms,
            energy_wh,
            volts: 230.0,
            overloaded: false,
            clock_offset_ms: 0,
            commands: Commands::default(),
            later: Vec::new(),
            rng,
        };
        strip.step(now);
        strip
    }

    /// Starts the firmware again: sockets and counters are kept, commands
    /// under way and those remembered are not.
    pub(crate) fn reboot(&mut self, now: Now) {
        self.step(now);
        self.boot = self.boot.saturating_add(1);
        (self.conn, self.seq, self.sample_seq) = (0, 0, 0);
        self.booted_ms = now.elapsed_ms;
        self.commands = Commands::default();
        self.later
            .retain(|(_, later)| matches!(later, Later::Press(_)));
    }

    /// Puts the strip's clock off by so many milliseconds.
    pub(crate) fn set_clock_offset(&mut self, offset_ms: i64) {
        self.clock_offset_ms = offset_ms;
    }

    /// How often the firmware has started.
    pub(crate) fn boot(&self) -> u32 {
        self.boot
    }

    /// How often it has connected since.
    pub(crate) fn conn(&self) -> u32 {
        self.conn
    }

    /// Whether each socket is on, in order.
    pub(crate) fn sockets_on(&self) -> Vec<bool> {
        self.sockets.iter().map(|socket| socket.on).collect()
    }

    /// Presses the button of socket `number`, or of one that `draw` chooses.
    pub(crate) fn press(&mut self, number: Option<SocketId>, draw: u32, now: Now) -> Vec<Outgoing> {
        if self.sockets.is_empty() {
            return Vec::new();
        }
        let chosen = match number {
            Some(id) => self.sockets.iter().position(|socket| socket.id == id),
            None => Some(draw as usize % self.sockets.len()),
        };
        let Some(index) = chosen else {
            return Vec::new();
        };
        self.step(now);
        let socket = &mut self.sockets[index];
        socket.on = !socket.on;
        let (id, on) = (socket.id, socket.on);
        vec![
            self.event("button", id, json!({"on": on}), now),
            self.status(now),
        ]
    }

    /// When something that the strip does by itself is due.
    pub(crate) fn next_due_ms(&self) -> Option<u64> {
        self.later.iter().map(|(due, _)| *due).min()
    }

    /// Does what is due at `now`.
    pub(crate) fn run_due(&mut self, now: Now) -> Vec<Outgoing> {
        let mut reports = Vec::new();
        while let Some(index) = self
            .later
            .iter()
            .position(|(due, _)| *due <= now.elapsed_ms)
        {
            match self.later.swap_remove(index).1 {
                Later::Command(later) => reports.extend(self.continue_command(later, now)),
                Later::Press(id) => {
                    if self
                        .sockets
                        .iter()
                        .any(|socket| socket.id == id && !socket.on)
                    {
                        reports.extend(self.press(Some(id), 0, now));
                    }
                }
            }
        }
        reports
    }

    /// Lets time pass up to `now`: draws power and counts energy.
    fn step(&mut self, now: Now) {
        let dt_ms = now.elapsed_ms.saturating_sub(self.stepped_ms);
        self.stepped_ms = now.elapsed_ms;
        let hours = from_ms(dt_ms) / 3_600_000.0;
        for socket in &mut self.sockets {
            let before_wh = socket.load.watts * hours;
            socket.energy_wh += before_wh;
            self.energy_wh += before_wh;
            socket.load = socket.appliance.step(now, dt_ms, socket.on, &mut self.rng);
        }
        self.energy_wh += OWN_WATTS * hours;
        let amps = self.total().0 / 230.0;
        // The mains sway slowly, flicker a little, and sag under load.
        let sway =
            2.2 * (from_ms(now.elapsed_ms % 1_800_000) / 1_800_000.0 * std::f64::consts::TAU).sin();
        self.volts = 231.0 + sway - 0.18 * amps + between(&mut self.rng, (-0.4, 0.4));
    }

    /// Watts and power factor of the whole strip.
    fn total(&self) -> (f64, f64) {
        let watts = OWN_WATTS
            + self
                .sockets
                .iter()
                .map(|socket| socket.load.watts)
                .sum::<f64>();
        let apparent = OWN_WATTS / 0.5
            + self
                .sockets
                .iter()
                .filter(|socket| socket.load.power_factor > 0.0)
                .map(|socket| socket.load.watts / socket.load.power_factor)
                .sum::<f64>();
        (watts, (watts / apparent).clamp(0.0, 1.0))
    }

    /// Reports the beginning of an overload; trips the largest load of a bad one.
    fn guard(&mut self, watts: f64, now: Now) -> Vec<Outgoing> {
        if watts < OVERLOAD_W * 0.9 {
            self.overloaded = false;
        }
        if watts < OVERLOAD_W || self.overloaded {
            return Vec::new();
        }
        self.overloaded = true;
        let largest = self
            .sockets
            .iter()
            .enumerate()
            .max_by(|(_, a), (_, b)| a.load.watts.total_cmp(&b.load.watts))
            .map(|(index, socket)| (index, socket.id));
        let Some((index, id)) = largest else {
            return Vec::new();
        };
        let tripped = watts > TRIP_W;
        let data = json!({"powerW": decimals(watts, 1), "tripped": tripped});
        let mut reports = vec![self.event("overload", id, data, now)];
        if tripped {
            self.sockets[index].on = false;
            reports.push(self.status(now));
            let wait_ms = to_u64(between(&mut self.rng, (120_000.0, 600_000.0)));
            self.after(wait_ms, Later::Press(id), now);
        }
        reports
    }

    fn after(&mut self, wait_ms: u64, later: Later, now: Now) {
        self.later
            .push((now.elapsed_ms.saturating_add(wait_ms), later));
    }

    fn next_seq(&mut self) -> u32 {
        self.seq = self.seq.saturating_add(1);
        self.seq
    }

    /// What the strip's own clock shows; `None` without one.
    fn own_unix_ms(&self, now: Now) -> Option<i64> {
        self.build
            .has_clock
            .then(|| now.unix_ms.saturating_add(self.clock_offset_ms))
    }
}

#[cfg(test)]
mod tests;
