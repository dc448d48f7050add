//! The task of one strip: connects, reports, obeys, loses its link and comes
//! back.
//!
//! ```text
//! Offline ──retry due──▶ (connect) ──SUBACK──▶ Online
//!    ▲                       │                    │
//!    └──────── backoff ◀─────┴──── link lost ─────┘
//! ```

mod connection;
mod inbox;
mod trouble;

use std::sync::Arc;

use dormouse_core::ids::DeviceId;
use dormouse_core::topic::{Channel, Topics};
use rand::Rng as _;
use rand::rngs::SmallRng;
use tokio::sync::{mpsc, watch};
use tokio::time::sleep_until;
use tokio_util::sync::CancellationToken;
use tracing::debug;

use crate::clock::{Epoch, Now};
use crate::counters::{Counters, add};
use crate::fault::{Faults, Mishaps};
use crate::fleet::{Credentials, Poke, StripView};
use crate::mqtt::{Link, LinkError, Version};
use crate::outbox::{Addresses, Outbox};
use crate::random::{Stream, happens, stream};
use crate::scenario::Scenario;
use crate::strip::{Build, Outgoing, Strip};

/// What all strips of a fleet share.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) broker: String,
    pub(crate) topics: Topics,
    pub(crate) scenario: Scenario,
    pub(crate) epoch: Epoch,
    pub(crate) seed: u64,
    pub(crate) counters: Arc<Counters>,
}

/// Where the connection stands.
#[derive(Debug)]
enum Phase {
    Offline {
        retry_ms: u64,
    },
    /// Connected, with SUBSCRIBE on its way.
    Greeting(Link),
    Online(Link),
}

/// Faults that end by themselves, at these times of the simulation's clock.
#[derive(Debug, Default)]
struct Passing {
    silent_until_ms: u64,
    frozen_until_ms: u64,
    clock_right_ms: Option<u64>,
}

/// One strip's task.
#[derive(Debug)]
pub(crate) struct Runner {
    shared: Arc<Shared>,
    id: DeviceId,
    strip: Strip,
    addresses: Addresses,
    version: Version,
    qos0: bool,
    phase: Phase,
    outbox: Outbox,
    faults: Faults,
    passing: Passing,
    mishaps: Mishaps,
    odds_rng: SmallRng,
    backoff_rng: SmallRng,
    attempts: u32,
    booted: bool,
    executed_before: u64,
    next_sample_ms: u64,
    next_storm_ms: Option<u64>,
    next_ping_ms: u64,
    pong_due: bool,
    pokes: mpsc::Receiver<Poke>,
    credentials: watch::Sender<Credentials>,
    view: watch::Sender<StripView>,
}

impl Runner {
    pub(crate) fn new(
        shared: Arc<Shared>,
        id: DeviceId,
        boot: u32,
        pokes: mpsc::Receiver<Poke>,
        credentials: watch::Sender<Credentials>,
        view: watch::Sender<StripView>,
    ) -> Self {
        let now = shared.epoch.now();
        let scenario = &shared.scenario;
        let mut rng = stream(shared.seed, id.as_str(), Stream::Mishaps);
        let mut backoff_rng = stream(shared.seed, id.as_str(), Stream::Backoff);
        let period_ms = ms(scenario.period).max(1);
        let build = Build {
            id: id.clone(),
            sockets: rng
                .random_range(scenario.sockets.0..=scenario.sockets.1.max(scenario.sockets.0)),
            period_ms,
            has_clock: !happens(&mut rng, scenario.clockless_share),
            seed: shared.seed,
        };
        let version = if happens(&mut rng, scenario.mqtt5_share) {
            Version::V5
        } else {
            Version::V3
        };
        let qos0 = happens(&mut rng, scenario.qos0_share);
        let wait_ms = backoff_rng.random_range(0..=ms(scenario.connect_spread));
        let topic = |channel| shared.topics.of(&id, channel);
        Self {
            addresses: Addresses {
                status: topic(Channel::Status),
                telemetry: topic(Channel::Telemetry),
                ack: topic(Channel::Ack),
                event: topic(Channel::Event),
            },
            strip: Strip::new(build, boot, now),
            version,
            qos0,
            phase: Phase::Offline {
                retry_ms: now.elapsed_ms + wait_ms,
            },
            outbox: Outbox::default(),
            faults: Faults::default(),
            passing: Passing::default(),
            mishaps: Mishaps::new(&scenario.mishaps, now.elapsed_ms, rng),
            odds_rng: stream(shared.seed.wrapping_add(1), id.as_str(), Stream::Mishaps),
            next_sample_ms: now.elapsed_ms + backoff_rng.random_range(1..=period_ms),
            backoff_rng,
            attempts: 0,
            booted: false,
            executed_before: 0,
            next_storm_ms: scenario.storm_every.map(|every| now.elapsed_ms + ms(every)),
            next_ping_ms: u64::MAX,
            pong_due: false,
            pokes,
            credentials,
            view,
            id,
            shared,
        }
    }

    /// Lives until `cancel`.
    pub(crate) async fn run(mut self, cancel: CancellationToken) {
        loop {
            let due = self.shared.epoch.instant(self.next_due_ms());
            let frozen = self.is_frozen();
            let step = tokio::select! {
                biased;
                () = cancel.cancelled() => break,
                poke = self.pokes.recv() => match poke {
                    Some(poke) => {
                        self.take_poke(poke);
                        Ok(())
                    }
                    None => break,
                },
                packet = connection::next_packet(&mut self.phase), if !frozen => match packet {
                    Ok(packet) => self.take_packet(packet),
                    Err(error) => Err(error),
                },
                () = sleep_until(due) => tokio::select! {
                    () = cancel.cancelled() => break,
                    step = self.tick() => step,
                },
            };
            let step = match step {
                Ok(()) => self.send().await,
                Err(error) => Err(error),
            };
            if let Err(error) = step {
                self.lose_link(&error);
            }
            self.show();
        }
        if let Phase::Greeting(link) | Phase::Online(link) = self.phase {
            // The strip is gone either way.
            let _ = link.close().await;
        }
    }

    fn now(&self) -> Now {
        self.shared.epoch.now()
    }

    fn is_frozen(&self) -> bool {
        self.faults.frozen || self.passing.frozen_until_ms > self.now().elapsed_ms
    }

    fn is_silent(&self, now: Now) -> bool {
        self.faults.silent || self.passing.silent_until_ms > now.elapsed_ms
    }

    fn next_due_ms(&self) -> u64 {
        if self.faults.frozen {
            return u64::MAX / 2;
        }
        let retry_ms = match &self.phase {
            Phase::Offline { retry_ms } => Some(*retry_ms),
            Phase::Greeting(_) | Phase::Online(_) => Some(self.next_ping_ms),
        };
        let due_ms = [
            Some(self.next_sample_ms),
            retry_ms,
            self.next_storm_ms,
            self.strip.next_due_ms(),
            self.mishaps.next_due_ms(),
            self.passing.clock_right_ms,
        ];
        let due_ms = due_ms.into_iter().flatten().min().unwrap_or(u64::MAX / 2);
        due_ms.max(self.passing.frozen_until_ms)
    }

    /// Does everything that is due.
    async fn tick(&mut self) -> Result<(), LinkError> {
        let now = self.now();
        if self
            .passing
            .clock_right_ms
            .is_some_and(|due| due <= now.elapsed_ms)
        {
            self.passing.clock_right_ms = None;
            self.strip.set_clock_offset(self.faults.clock_offset_ms);
        }
        let reports = self.strip.run_due(now);
        self.report(reports);
        self.measure(now);
        let mut broken = None;
        while let Some(mishap) = self.mishaps.take_due(now.elapsed_ms) {
            add(&self.shared.counters.mishaps, 1);
            debug!(device_id = %self.id, ?mishap, "mishap");
            broken = self.suffer(mishap, now).or(broken);
        }
        if let (Some(every), Some(due_ms)) = (self.shared.scenario.storm_every, self.next_storm_ms)
            && due_ms <= now.elapsed_ms
        {
            self.next_storm_ms = Some(due_ms + ms(every).max(1));
            broken = Some(self.backoff_rng.random_range(0..2_000));
        }
        if let Some(away_ms) = broken {
            self.break_link(away_ms);
        }
        match self.phase {
            Phase::Offline { retry_ms } if retry_ms <= now.elapsed_ms => self.connect().await,
            Phase::Offline { .. } => Ok(()),
            Phase::Greeting(_) | Phase::Online(_) => self.keep_alive(now),
        }
    }

    /// Takes the samples that are due; what a hung strip missed is missed.
    fn measure(&mut self, now: Now) {
        if self.next_sample_ms > now.elapsed_ms {
            return;
        }
        let period_ms = ms(self.shared.scenario.period).max(1);
        let behind = (now.elapsed_ms - self.next_sample_ms) / period_ms;
        self.next_sample_ms += (behind + 1) * period_ms;
        if self.is_silent(now) {
            return;
        }
        let (sample, reports) = self.strip.measure(now);
        if self.outbox.push_sample(sample) {
            add(&self.shared.counters.dropped, 1);
        }
        self.report(reports);
    }

    /// Queues reports; a status for nobody to hear is not worth keeping.
    fn report(&mut self, reports: Vec<Outgoing>) {
        let online = matches!(self.phase, Phase::Online(_));
        let silent = self.is_silent(self.now());
        for report in reports {
            let unprompted = report.channel != Channel::Ack;
            let stale = !online && report.channel == Channel::Status;
            if stale || (silent && unprompted) {
                continue;
            }
            if self.outbox.push_report(report) {
                add(&self.shared.counters.dropped, 1);
            }
        }
    }

    /// Makes changes visible to whoever watches.
    fn show(&self) {
        let joins = self.credentials.borrow().joins;
        self.view.send_if_modified(|view| {
            let seen = StripView {
                online: matches!(self.phase, Phase::Online(_)),
                sockets: self.strip.sockets_on(),
                executed: self.executed_before + self.strip.executed(),
                boot: self.strip.boot(),
                conn: self.strip.conn(),
                joining: joins,
            };
            let changed = *view != seen;
            *view = seen;
            changed
        });
    }
}

fn ms(duration: std::time::Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
