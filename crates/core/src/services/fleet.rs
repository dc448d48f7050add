//! The fleet as watchers see it: each device with its latest, and totals.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use crate::clock::Clock;
use crate::device::Device;
use crate::directory::Directory;
use crate::ids::DeviceKey;
use crate::live::{DeviceMessage, FleetTotals, SnapshotMessage, Topic, latest_message};
use crate::location::is_inside;
use crate::ports::DeviceView;
use crate::ports::hot::Latest;
use crate::services::events::EventLog;
use crate::services::fleet_curve::{PowerCurve, PowerPoint};
use crate::services::presence::PresenceTracker;

/// What the view is made of.
#[derive(Clone)]
pub struct FleetParts {
    /// Who the devices are.
    pub directory: Arc<dyn Directory>,
    /// Who is there.
    pub presence: Arc<PresenceTracker>,
    /// What they measured.
    pub readings: Arc<dyn DeviceView>,
    /// What happened.
    pub events: Arc<EventLog>,
    /// The clocks.
    pub clock: Arc<dyn Clock>,
    /// The server's version, for pages built for another.
    pub version: &'static str,
}

impl std::fmt::Debug for FleetParts {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("FleetParts").finish_non_exhaustive()
    }
}

/// Shows the fleet.
#[derive(Debug, Clone)]
pub struct Fleet {
    parts: FleetParts,
    curve: Arc<PowerCurve>,
}

impl Fleet {
    /// A view over `parts`.
    #[must_use]
    pub fn new(parts: FleetParts) -> Self {
        Self {
            parts,
            curve: Arc::default(),
        }
    }

    /// Adds `totals`, as of now, to the curve of the last half hour.
    pub fn remember(&self, totals: &FleetTotals) {
        self.curve.record(PowerPoint {
            ts: self.parts.clock.now(),
            power_w: totals.power_w,
        });
    }

    /// The fleet's power over the last while, at most half an hour.
    #[must_use]
    pub fn recent_power(&self, last: Duration) -> Vec<PowerPoint> {
        self.curve.since(self.parts.clock.now() - last)
    }

    /// The totals at this moment.
    pub async fn totals(&self) -> FleetTotals {
        let devices = self.parts.directory.all();
        let presence = &self.parts.presence;
        let online: Vec<DeviceKey> = devices
            .iter()
            .map(|device| device.key)
            .filter(|key| presence.is_online(*key))
            .collect();
        let offline = presence.counts().offline.min(devices.len() - online.len());
        let latest = self.parts.readings.latest(&online).await;
        FleetTotals {
            devices: devices.len(),
            online: online.len(),
            offline,
            never: devices.len() - online.len() - offline,
            power_w: watts(latest.iter().map(|latest| power_dw(latest)).sum()),
        }
    }

    /// Some devices with what changes by the second.
    pub async fn devices(&self, devices: &[Arc<Device>]) -> Vec<DeviceMessage> {
        let keys: Vec<DeviceKey> = devices.iter().map(|device| device.key).collect();
        let mut latest = self.parts.readings.latest(&keys).await.into_iter();
        let show = |device: &Arc<Device>| {
            let reading = latest.next().and_then(|latest| latest_message(&latest));
            DeviceMessage::new(device, self.parts.presence.get(device.key), reading)
        };
        devices.iter().map(show).collect()
    }

    /// The first `count` devices in order of their ids.
    pub async fn first(&self, count: usize) -> Vec<DeviceMessage> {
        let mut devices = self.parts.directory.all();
        devices.truncate(count);
        self.devices(&devices).await
    }

    /// All there is to know about `topics`.
    pub async fn snapshot(&self, topics: &[Topic]) -> SnapshotMessage {
        let fleet = if topics.contains(&Topic::Fleet) {
            Some(self.totals().await)
        } else {
            None
        };
        let events = match topics.contains(&Topic::Events) {
            true if self.parts.presence.is_shared() => {
                Some(self.parts.events.recent_of_all().await)
            }
            true => Some(self.parts.events.recent()),
            false => None,
        };
        SnapshotMessage {
            topics: topics.iter().map(Topic::to_string).collect(),
            version: self.parts.version,
            now: self.parts.clock.now(),
            fleet,
            devices: self.devices(&self.watched(topics)).await,
            events,
        }
    }

    fn watched(&self, topics: &[Topic]) -> Vec<Arc<Device>> {
        let mut single = BTreeSet::new();
        let mut places = Vec::new();
        for topic in topics {
            match topic {
                Topic::Fleet => places.push(""),
                Topic::Location(place) => places.push(place.as_str()),
                Topic::Device(id) => drop(single.insert(id)),
                Topic::Events => {}
            }
        }
        let directory = &self.parts.directory;
        if places.is_empty() {
            return single.iter().filter_map(|id| directory.by_id(id)).collect();
        }
        let mut devices = directory.all();
        devices.retain(|device| {
            let location = &device.settings.location;
            single.contains(&device.id) || places.iter().any(|place| is_inside(location, place))
        });
        devices
    }
}

#[expect(
    clippy::cast_precision_loss,
    reason = "a site's power stays far below 2^53 tenths of a watt"
)]
fn watts(power_dw: i64) -> f64 {
    power_dw as f64 / 10.0
}

/// What a strip draws: its own reading, else the sum of its sockets'.
fn power_dw(latest: &[Latest]) -> i64 {
    let strip = latest.iter().find(|it| it.socket.is_strip());
    match strip.and_then(|it| it.values.power_dw) {
        Some(power) => i64::from(power),
        None => latest
            .iter()
            .filter_map(|it| it.values.power_dw)
            .map(i64::from)
            .sum(),
    }
}
