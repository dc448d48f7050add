//! What a strip still has to say: kept until the broker has acknowledged it,
//! across connections, within bounds.

use std::collections::VecDeque;
use std::num::NonZeroU16;

use dormouse_core::topic::Channel;

use crate::clock::Now;
use crate::mqtt::{Link, LinkError};
use crate::strip::{Outgoing, Reading, telemetry};

/// Acks and events kept; beyond it the oldest is dropped.
const REPORTS_MAX: usize = 64;
/// Samples kept, which is also the most in one message; beyond it the oldest is dropped.
const SAMPLES_MAX: usize = 100;

/// Where a strip publishes.
#[derive(Debug)]
pub(crate) struct Addresses {
    pub(crate) status: String,
    pub(crate) telemetry: String,
    pub(crate) ack: String,
    pub(crate) event: String,
}

impl Addresses {
    /// The topic for `channel`; a device publishes on no other.
    fn of(&self, channel: Channel) -> &str {
        match channel {
            Channel::Status | Channel::Cmd | Channel::Enrol => &self.status,
            Channel::Telemetry => &self.telemetry,
            Channel::Ack => &self.ack,
            Channel::Event => &self.event,
        }
    }
}

#[derive(Debug)]
struct Waiting<T> {
    what: T,
    /// The packet it went out in on this connection.
    sent_as: Option<NonZeroU16>,
}

/// Messages and samples of one strip that are not yet acknowledged.
#[derive(Debug, Default)]
pub(crate) struct Outbox {
    reports: VecDeque<Waiting<Outgoing>>,
    samples: VecDeque<Waiting<Reading>>,
}

/// How much went out.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Sent {
    pub(crate) messages: u64,
    pub(crate) samples: u64,
}

impl Outbox {
    /// Keeps a report until it is acknowledged; returns whether an older one
    /// had to go.
    pub(crate) fn push_report(&mut self, report: Outgoing) -> bool {
        push(&mut self.reports, report, REPORTS_MAX)
    }

    /// Keeps a sample until it is acknowledged; returns whether an older one
    /// had to go.
    pub(crate) fn push_sample(&mut self, sample: Reading) -> bool {
        push(&mut self.samples, sample, SAMPLES_MAX)
    }

    /// Sends what has not been sent on this connection. At QoS 0 samples are
    /// forgotten as they go.
    pub(crate) fn send(
        &mut self,
        link: &mut Link,
        to: &Addresses,
        qos0_samples: bool,
        now: Now,
    ) -> Result<Sent, LinkError> {
        let mut sent = Sent::default();
        for report in self
            .reports
            .iter_mut()
            .filter(|report| report.sent_as.is_none())
        {
            let Outgoing { channel, payload } = &report.what;
            let retain = *channel == Channel::Status;
            report.sent_as = Some(link.publish(to.of(*channel), payload.clone(), retain)?);
            sent.messages += 1;
        }
        let unsent: Vec<Reading> = self
            .samples
            .iter()
            .filter(|sample| sample.sent_as.is_none())
            .map(|sample| sample.what.clone())
            .collect();
        if unsent.is_empty() {
            return Ok(sent);
        }
        sent.messages += 1;
        sent.samples = unsent.len() as u64;
        let body = telemetry(&unsent, now);
        if qos0_samples {
            link.publish_qos0(&to.telemetry, body)?;
            self.samples.clear();
            return Ok(sent);
        }
        let id = link.publish(&to.telemetry, body, false)?;
        for sample in self
            .samples
            .iter_mut()
            .filter(|sample| sample.sent_as.is_none())
        {
            sample.sent_as = Some(id);
        }
        Ok(sent)
    }

    /// Forgets what went out in packet `id`.
    pub(crate) fn acknowledged(&mut self, id: NonZeroU16) {
        self.reports.retain(|report| report.sent_as != Some(id));
        self.samples.retain(|sample| sample.sent_as != Some(id));
    }

    /// The connection is gone: what was not acknowledged goes out again on the
    /// next, except statuses, which would be out of date.
    pub(crate) fn disconnected(&mut self) {
        self.reports
            .retain(|report| report.what.channel != Channel::Status);
        for report in &mut self.reports {
            report.sent_as = None;
        }
        for sample in &mut self.samples {
            sample.sent_as = None;
        }
    }
}

fn push<T>(queue: &mut VecDeque<Waiting<T>>, what: T, max: usize) -> bool {
    let full = queue.len() >= max;
    if full {
        queue.pop_front();
    }
    queue.push_back(Waiting {
        what,
        sent_as: None,
    });
    full
}
