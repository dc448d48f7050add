//! Where a message goes besides the journal, at once.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use dormouse_core::clock::Timestamp;
use dormouse_core::command::SocketReport;
use dormouse_core::decode::{Ack, Sequence, Status};
use dormouse_core::device::{Device, Reported};
use dormouse_core::event::Event;
use dormouse_core::ids::DeviceKey;
use dormouse_core::live::LiveHub;
use dormouse_core::ports::journal::Receipt;
use dormouse_core::presence::Life;
use dormouse_core::record::EventRecord;
use dormouse_core::sample::Sample;
use dormouse_core::services::dispatcher::{self, Dispatcher};
use dormouse_core::services::events::EventLog;
use dormouse_core::services::ingest::Downstream;
use dormouse_core::services::presence::PresenceTracker;
use dormouse_core::services::registry::Registry;

/// Who hears of messages.
#[derive(Debug, Clone)]
pub struct InflowParts {
    /// Keeps reported state.
    pub registry: Arc<Registry>,
    /// Hears signs of life.
    pub presence: Arc<PresenceTracker>,
    /// Tells watchers.
    pub live: Arc<LiveHub>,
    /// Tells watchers of events.
    pub events: Arc<EventLog>,
}

/// Hands messages on to presence, reported state, commands and watchers.
#[derive(Debug)]
pub struct Inflow {
    parts: InflowParts,
    dispatcher: OnceLock<Arc<Dispatcher>>,
    /// Whether the way in stores what devices report of themselves.
    reports_are_stored: AtomicBool,
}

impl Inflow {
    /// An inflow that knows no dispatcher yet.
    #[must_use]
    pub fn new(parts: InflowParts) -> Self {
        Self {
            parts,
            dispatcher: OnceLock::new(),
            reports_are_stored: AtomicBool::new(false),
        }
    }

    /// Notes that the way in stores reports together with everything else that
    /// came: they are shown from here on, and not stored a second time.
    pub fn leave_reports_to_the_way_in(&self) {
        self.reports_are_stored.store(true, Ordering::Relaxed);
    }

    /// Lets acks and reports settle commands; the first dispatcher stays.
    pub fn connect(&self, dispatcher: Arc<Dispatcher>) {
        self.dispatcher.set(dispatcher).ok();
    }

    /// Applies a status to reported state; one that is not replayed may settle
    /// commands.
    pub(super) fn report(&self, key: DeviceKey, status: &Status, at: Timestamp, replayed: bool) {
        let next = |device: &Device| {
            let known = device.reported.as_deref();
            // A replayed status may be older than what a newer process stored.
            if known.is_some_and(|it| it.at > at || is_older(status, it)) {
                return None;
            }
            Some(Reported::after_status(known, status.clone(), at))
        };
        let registry = &self.parts.registry;
        let changed = if self.reports_are_stored.load(Ordering::Relaxed) {
            registry.show_report(key, next)
        } else {
            registry.update_report(key, next)
        };
        let Some((before, after)) = changed else {
            return;
        };
        if let Some(reported) = &after.reported {
            self.parts.live.status(&after.id, reported);
        }
        // A replayed one may be older than the command it would settle.
        if let Some(dispatcher) = self.dispatcher.get().filter(|_| !replayed) {
            dispatcher.on_report(key, socket_reports(&before, status));
        }
    }

    /// Hands a verdict to the dispatcher, which resolves `receipt`.
    pub(super) fn verdict(
        &self,
        key: DeviceKey,
        ack: &Ack,
        at: Timestamp,
        receipt: Option<Box<dyn Receipt>>,
    ) {
        let Some(dispatcher) = self.dispatcher.get() else {
            if let Some(receipt) = receipt {
                receipt.failed();
            }
            return;
        };
        let Some(device) = self.parts.registry.by_key(key) else {
            if let Some(receipt) = receipt {
                receipt.done();
            }
            return;
        };
        tracing::info!(
            device_id = %device.id,
            cmd_id = %ack.command,
            status = ?ack.status,
            reason = ack.reason,
            "ack received"
        );
        dispatcher.on_ack(
            dispatcher::Ack {
                device: key,
                device_id: device.id.clone(),
                command: ack.command,
                status: ack.status,
                reason: ack.reason.clone(),
                on: ack.on,
                boot: ack.sequence.map(|it| it.boot),
                seq: ack.sequence.map(|it| it.seq),
                received_at: at,
            },
            receipt,
        );
    }
}

impl Downstream for Inflow {
    fn seen(&self, device: DeviceKey, at: Timestamp) {
        self.parts.presence.seen(device, at);
    }

    fn samples(&self, device: DeviceKey, samples: &[Sample]) {
        if self.parts.live.watchers() == 0 {
            return;
        }
        if let Some(device) = self.parts.registry.by_key(device) {
            self.parts.live.telemetry(&device.id, samples);
        }
    }

    fn status(&self, device: DeviceKey, status: &Status, at: Timestamp) {
        if !status.online {
            self.parts.presence.will(device, life(status), false);
            return;
        }
        let period = status.period_ms.map(Duration::from_millis);
        self.parts.presence.status(device, life(status), period, at);
        self.report(device, status, at, false);
    }

    fn restored(&self, device: DeviceKey, status: &Status, at: Timestamp) {
        let numbered = status.boot.is_some() && status.seq.is_some();
        let known = self.parts.registry.by_key(device);
        // Without numbers nothing tells whether it is newer than what is known.
        if numbered || known.is_some_and(|it| it.reported.is_none()) {
            self.report(device, status, at, true);
        }
    }

    fn will(&self, device: DeviceKey, will: &Status, _at: Timestamp) {
        self.parts.presence.will(device, life(will), true);
    }

    fn ack(&self, device: DeviceKey, ack: &Ack, at: Timestamp, receipt: Option<Box<dyn Receipt>>) {
        self.verdict(device, ack, at, receipt);
    }

    fn event(&self, device: DeviceKey, event: &EventRecord, at: Timestamp) {
        if let Some(device) = self.parts.registry.by_key(device) {
            self.parts
                .events
                .announce(&Event::of_device(&device, event, at));
        }
    }
}

/// Whether a message of a higher number told what is known: another node may
/// have had it.
fn is_older(status: &Status, known: &Reported) -> bool {
    let told = Sequence::of(status.boot, status.seq);
    let before = Sequence::of(known.boot, known.seq);
    told.zip(before)
        .is_some_and(|(told, before)| told.boot == before.boot && told.seq < before.seq)
}

fn life(status: &Status) -> Option<Life> {
    Some(Life {
        boot: status.boot?,
        conn: status.conn?,
    })
}

fn socket_reports(before: &Device, status: &Status) -> Vec<SocketReport> {
    let known = before.reported.as_deref();
    let was = |socket| {
        known
            .into_iter()
            .flat_map(|it| &it.sockets)
            .find(|it| it.socket == socket)
            .map(|it| it.on)
    };
    status
        .sockets
        .iter()
        .map(|(socket, on)| SocketReport {
            socket: *socket,
            on: *on,
            changed: was(*socket).is_some_and(|was| was != *on),
        })
        .collect()
}
