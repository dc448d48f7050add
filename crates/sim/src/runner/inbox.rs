//! What a strip does with packets from the broker.

use std::num::NonZeroU16;

use dormouse_core::topic::Channel;
use dormouse_core::wire::EnrolBody;
use tracing::{debug, info, warn};

use super::{Phase, Runner};
use crate::counters::add;
use crate::fault::draw_acks;
use crate::fleet::Credentials;
use crate::mqtt::{Incoming, LinkError};
use crate::strip::Received;

impl Runner {
    pub(super) fn take_packet(&mut self, packet: Incoming) -> Result<(), LinkError> {
        match packet {
            Incoming::Message {
                topic,
                payload,
                retained,
                id,
            } => {
                self.acknowledge(id)?;
                match self.shared.topics.split(&topic) {
                    Some((_, Channel::Cmd)) => self.take_command(&payload, retained),
                    Some((_, Channel::Enrol)) => self.take_enrolment(&payload),
                    Some((
                        _,
                        Channel::Status | Channel::Telemetry | Channel::Ack | Channel::Event,
                    ))
                    | None => add(&self.shared.counters.commands_refused, 1),
                }
                Ok(())
            }
            Incoming::Acknowledged { id, refused } => {
                add(&self.shared.counters.acknowledged, 1);
                add(&self.shared.counters.refused, u64::from(refused));
                self.outbox.acknowledged(id);
                Ok(())
            }
            Incoming::Subscribed { granted, .. } => {
                if !granted {
                    add(&self.shared.counters.subscriptions_denied, 1);
                    warn!(device_id = %self.id, "subscription denied");
                }
                self.come_online();
                Ok(())
            }
            Incoming::Pong => {
                self.pong_due = false;
                Ok(())
            }
            Incoming::Closed { code } => Err(LinkError::Closed(Some(code))),
            Incoming::Connected { .. } => Err(LinkError::Unexpected),
        }
    }

    fn take_command(&mut self, payload: &[u8], retained: bool) {
        let odds = &self.shared.scenario.acks;
        let acks = self
            .faults
            .acks
            .unwrap_or_else(|| draw_acks(odds, &mut self.odds_rng));
        let now = self.now();
        let (received, reports) = self.strip.command(payload, retained, acks, now);
        let counters = &self.shared.counters;
        debug!(device_id = %self.id, ?received, ?acks, "command");
        add(
            match received {
                Received::Executed => &counters.executed,
                Received::Repeated => &counters.repeated,
                Received::Declined => &counters.declined,
                Received::Refused => &counters.commands_refused,
            },
            1,
        );
        self.report(reports);
    }

    fn take_enrolment(&mut self, payload: &[u8]) {
        let Ok(body) = serde_json::from_slice::<EnrolBody>(payload) else {
            add(&self.shared.counters.commands_refused, 1);
            return;
        };
        if !self.credentials.borrow().joins || body.username != self.id {
            add(&self.shared.counters.commands_refused, 1);
            return;
        }
        info!(device_id = %self.id, "enrolled");
        add(&self.shared.counters.enrolled, 1);
        self.credentials
            .send_replace(Credentials::own(self.id.as_str(), &body.password));
        self.break_link(0);
    }

    fn acknowledge(&mut self, id: Option<NonZeroU16>) -> Result<(), LinkError> {
        match (&mut self.phase, id) {
            (Phase::Greeting(link) | Phase::Online(link), Some(id)) => link.acknowledge(id),
            (Phase::Greeting(_) | Phase::Online(_), None) | (Phase::Offline { .. }, _) => Ok(()),
        }
    }
}
