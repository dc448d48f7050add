//! What happens to a strip: pokes, mishaps, and links that break.

use dormouse_core::topic::Channel;
use rand::Rng as _;
use tracing::{debug, warn};

use super::{Phase, Runner, ms};
use crate::clock::Now;
use crate::counters::add;
use crate::fault::{Mishap, garbage};
use crate::fleet::Poke;
use crate::mqtt::LinkError;
use crate::random::between;
use crate::round::{from_ms, to_u64};
use crate::strip::Outgoing;

/// The first wait before connecting again; it doubles up to the scenario's cap.
const BACKOFF_BASE_MS: u64 = 1_000;
/// After a jump of its clock a strip is put right this much later.
const CLOCK_WRONG_MS: u64 = 60_000;

impl Runner {
    /// What a mishap does; the milliseconds to stay away where the link breaks.
    pub(super) fn suffer(&mut self, mishap: Mishap, now: Now) -> Option<u64> {
        match mishap {
            Mishap::Drop { away_ms } => return Some(away_ms),
            Mishap::Silence { for_ms } => self.passing.silent_until_ms = now.elapsed_ms + for_ms,
            Mishap::Freeze { for_ms } => self.passing.frozen_until_ms = now.elapsed_ms + for_ms,
            Mishap::Reboot => {
                self.reboot(now);
                return Some(3_000);
            }
            Mishap::ClockJump { by_ms } => {
                self.strip.set_clock_offset(by_ms);
                self.passing.clock_right_ms = Some(now.elapsed_ms + CLOCK_WRONG_MS);
            }
            Mishap::Garbage => {
                let payload = garbage(self.odds_rng.random());
                self.report(vec![Outgoing {
                    channel: Channel::Telemetry,
                    payload,
                }]);
            }
            Mishap::Press { draw } => {
                let reports = self.strip.press(None, draw, now);
                self.report(reports);
            }
        }
        None
    }

    pub(super) fn take_poke(&mut self, poke: Poke) {
        let now = self.now();
        match poke {
            Poke::Press(socket) => {
                let reports = self.strip.press(Some(socket), 0, now);
                self.report(reports);
            }
            Poke::Faults(faults) => {
                self.faults = faults;
                self.strip.set_clock_offset(faults.clock_offset_ms);
            }
            Poke::Drop(away) => self.break_link(ms(away)),
            Poke::Reboot => {
                self.reboot(now);
                self.break_link(0);
            }
            Poke::Publish(channel, payload) => self.report(vec![Outgoing { channel, payload }]),
        }
    }

    fn reboot(&mut self, now: Now) {
        self.executed_before += self.strip.executed();
        self.strip.reboot(now);
        self.booted = false;
    }

    /// Breaks the connection as a power cut would, and stays away.
    pub(super) fn break_link(&mut self, away_ms: u64) {
        if !matches!(self.phase, Phase::Offline { .. }) {
            add(&self.shared.counters.links_lost, 1);
        }
        self.outbox.disconnected();
        self.phase = Phase::Offline {
            retry_ms: self.now().elapsed_ms.saturating_add(away_ms),
        };
    }

    /// The connection failed by itself: tries again after a growing, jittered wait.
    pub(super) fn lose_link(&mut self, error: &LinkError) {
        let was_connected = !matches!(self.phase, Phase::Offline { .. });
        if !was_connected {
            add(&self.shared.counters.connect_failed, 1);
        }
        let cap_ms = ms(self.shared.scenario.backoff_cap).max(1);
        let full_ms = BACKOFF_BASE_MS
            .saturating_mul(1 << self.attempts.min(10))
            .min(cap_ms);
        let wait_ms = to_u64(between(&mut self.backoff_rng, (0.5, 1.0)) * from_ms(full_ms));
        if self.attempts == 0 && matches!(error, LinkError::Refused(_)) {
            warn!(device_id = %self.id, %error, "cannot connect");
        } else {
            debug!(device_id = %self.id, %error, wait_ms, "link lost");
        }
        self.attempts = self.attempts.saturating_add(1);
        self.break_link(wait_ms);
    }
}
