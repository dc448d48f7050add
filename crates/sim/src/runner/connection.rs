//! How a strip connects, keeps its connection alive, and sends.

use dormouse_core::topic::Channel;

use super::{Phase, Runner};
use crate::clock::Now;
use crate::counters::add;
use crate::mqtt::{Hello, Incoming, Link, LinkError};

impl Runner {
    pub(super) async fn connect(&mut self) -> Result<(), LinkError> {
        let will = self.strip.begin_connection();
        let hello = {
            let credentials = self.credentials.borrow();
            Hello {
                version: self.version,
                client_id: format!("sim-{}", self.id),
                username: credentials.username.clone(),
                password: credentials.password.clone(),
                keep_alive_s: self.shared.scenario.keep_alive_s,
                will: Some((self.addresses.status.clone(), will)),
            }
        };
        let mut link = Link::connect(&self.shared.broker, &hello).await?;
        link.subscribe(&self.shared.topics.of(&self.id, Channel::Cmd))?;
        if self.credentials.borrow().joins {
            link.subscribe(&self.shared.topics.of(&self.id, Channel::Enrol))?;
        }
        add(&self.shared.counters.connected, 1);
        self.next_ping_ms = self.now().elapsed_ms + self.ping_every_ms();
        self.pong_due = false;
        self.phase = Phase::Greeting(link);
        Ok(())
    }

    pub(super) fn come_online(&mut self) {
        self.phase = match std::mem::replace(&mut self.phase, Phase::Offline { retry_ms: 0 }) {
            Phase::Greeting(link) => Phase::Online(link),
            other @ (Phase::Online(_) | Phase::Offline { .. }) => {
                self.phase = other;
                return;
            }
        };
        self.attempts = 0;
        let now = self.now();
        let mut reports = vec![self.strip.status(now)];
        if !self.booted {
            self.booted = true;
            reports.push(self.strip.boot_event(now));
        }
        self.report(reports);
    }

    pub(super) fn keep_alive(&mut self, now: Now) -> Result<(), LinkError> {
        if self.next_ping_ms > now.elapsed_ms {
            return Ok(());
        }
        if self.pong_due {
            return Err(LinkError::Timeout);
        }
        self.next_ping_ms = now.elapsed_ms + self.ping_every_ms();
        self.pong_due = true;
        if let Phase::Greeting(link) | Phase::Online(link) = &mut self.phase {
            link.ping();
        }
        Ok(())
    }

    fn ping_every_ms(&self) -> u64 {
        match self.shared.scenario.keep_alive_s {
            0 => u64::MAX / 4,
            seconds => u64::from(seconds) * 500,
        }
    }

    pub(super) async fn send(&mut self) -> Result<(), LinkError> {
        if self.is_frozen() {
            return Ok(());
        }
        let now = self.now();
        match &mut self.phase {
            Phase::Online(link) => {
                let sent = self.outbox.send(link, &self.addresses, self.qos0, now)?;
                add(&self.shared.counters.published, sent.messages);
                add(&self.shared.counters.samples, sent.samples);
                link.flush().await
            }
            Phase::Greeting(link) => link.flush().await,
            Phase::Offline { .. } => Ok(()),
        }
    }
}

/// The next packet; never, while offline.
pub(super) async fn next_packet(phase: &mut Phase) -> Result<Incoming, LinkError> {
    match phase {
        Phase::Greeting(link) | Phase::Online(link) => link.next().await,
        Phase::Offline { .. } => std::future::pending().await,
    }
}
