//! How the services hear of each other: each type here is one service's view
//! of the others. No rules and no engines.

mod fleet;
mod inflow;
mod keeper;
mod outlet;
mod view;
mod watcher;

pub use fleet::CommandFleet;
pub use inflow::{Inflow, InflowParts};
pub use keeper::{JournalKeeper, KeeperParts};
pub use outlet::CommandOutlet;
pub use view::LiveView;
pub use watcher::{DeviceChanges, DeviceChangesParts};

use dormouse_core::clock::Timestamp;
use dormouse_core::device::Device;
use dormouse_core::event::{Event, EventType, Origin, Severity};
use dormouse_core::record::EventRecord;

/// A device's own event as it is shown and kept.
fn device_event(device: &Device, record: &EventRecord, received_at: Timestamp) -> Event {
    Event {
        id: record.id,
        device: Some((device.key, device.id.clone())),
        socket: Some(record.socket),
        kind: EventType::Device(record.kind.clone()),
        severity: Severity::of_device_event(&record.kind),
        ts: record.ts,
        received_at,
        origin: Origin::Device,
        data: record.data.clone(),
    }
}
