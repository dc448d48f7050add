//! A device as the API shows it.

use std::sync::Arc;

use dormouse_core::clock::Timestamp;
use dormouse_core::device::{Device, DeviceState, Reported, SocketState};
use dormouse_core::event::Origin;
use dormouse_core::ids::DeviceKey;
use dormouse_core::live::{SampleMessage, latest_message};
use dormouse_core::ports::hot::Latest;
use dormouse_core::presence::Presence;
use dormouse_core::services::registry::Knock;
use serde::Serialize;
use utoipa::ToSchema;

use super::Devices;
use crate::api::telemetry::RefusalsBody;

/// A device.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = Device)]
pub struct DeviceBody {
    device_id: String,
    /// A name for people; may be empty.
    name: String,
    /// `building/floor/room`; may be empty.
    location: String,
    state: DeviceState,
    /// Rises with each edit; the ETag.
    version: u32,
    #[schema(format = DateTime)]
    created_at: String,
    /// Seconds between reports, as set by people.
    #[serde(rename = "periodS")]
    period_s: Option<u32>,
    /// Whether it can sign in with credentials of its own.
    has_credentials: bool,
    presence: Presence,
    /// What it said of itself last.
    reported: Option<ReportedBody>,
    sockets: Vec<SocketBody>,
    /// What it measured last.
    latest: Option<SampleMessage>,
    /// Used since local midnight, Wh.
    energy_today_wh: Option<f64>,
    /// Which of its messages were refused since the server started; absent
    /// where none was.
    #[serde(skip_serializing_if = "Option::is_none")]
    refusals: Option<RefusalsBody>,
    /// How it came into the inbox; absent elsewhere.
    #[serde(skip_serializing_if = "Option::is_none")]
    inbox: Option<InboxBody>,
}

/// What a device said of itself last.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct ReportedBody {
    #[schema(format = DateTime)]
    at: String,
    firmware: Option<String>,
    ip: Option<String>,
    mac: Option<String>,
    /// Strength of the radio signal, dBm.
    rssi_dbm: Option<i32>,
    /// Seconds since its start.
    #[serde(rename = "uptimeS")]
    uptime_s: Option<u64>,
    /// Seconds between reports, as it says.
    #[serde(rename = "periodS")]
    period_s: Option<f64>,
}

impl From<&Reported> for ReportedBody {
    fn from(reported: &Reported) -> Self {
        let seconds = |ms| std::time::Duration::from_millis(ms).as_secs_f64();
        Self {
            at: reported.at.to_rfc3339(),
            firmware: reported.firmware.clone(),
            ip: reported.ip.clone(),
            mac: reported.mac.clone(),
            rssi_dbm: reported.rssi_dbm,
            uptime_s: reported.uptime_s,
            period_s: reported.period_ms.map(seconds),
        }
    }
}

/// A socket with its reported state.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct SocketBody {
    socket_id: u8,
    /// Whether its relay is closed; `null` until reported.
    on: Option<bool>,
    #[schema(format = DateTime)]
    changed_at: Option<String>,
    /// Who or what changed it last.
    origin: Option<Origin>,
}

impl SocketBody {
    fn new(number: u8, reported: Option<&SocketState>) -> Self {
        Self {
            socket_id: number,
            on: reported.map(|it| it.on),
            changed_at: reported.map(|it| it.changed_at.to_rfc3339()),
            origin: reported.map(|it| it.origin.clone()),
        }
    }
}

/// How a device came into the inbox.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct InboxBody {
    /// The address it connected from.
    address: Option<String>,
    /// The channel of its first message: `status`, `telemetry`, …
    first_channel: Option<&'static str>,
    /// Its first message, at most 1024 bytes of it.
    first_payload: Option<String>,
    #[schema(format = DateTime)]
    first_at: Option<String>,
}

impl From<Knock> for InboxBody {
    fn from(knock: Knock) -> Self {
        let (channel, payload) = knock.first_payload.unzip();
        Self {
            address: knock.address.map(|it| it.to_string()),
            first_channel: channel.map(|it| it.as_str()),
            first_payload: payload,
            first_at: knock.at.map(Timestamp::to_rfc3339),
        }
    }
}

impl Devices {
    /// Devices as the API shows them, in their order.
    pub(super) async fn bodies(&self, devices: Vec<Arc<Device>>) -> Vec<DeviceBody> {
        let keys: Vec<DeviceKey> = devices.iter().map(|it| it.key).collect();
        let (latest, energy) =
            tokio::join!(self.view.latest(&keys), self.view.energy_today_wh(&keys));
        let beside = latest.into_iter().chain(std::iter::repeat(Vec::new()));
        let energy = energy.into_iter().chain(std::iter::repeat(None));
        devices
            .iter()
            .zip(beside.zip(energy))
            .map(|(device, (latest, energy))| self.one(device, &latest, energy))
            .collect()
    }

    fn one(&self, device: &Device, latest: &[Latest], energy: Option<f64>) -> DeviceBody {
        let pending = device.state == DeviceState::Pending;
        let knock = pending.then(|| self.registry.knock(device.key)).flatten();
        DeviceBody {
            device_id: device.id.as_str().to_owned(),
            name: device.settings.name.clone(),
            location: device.settings.location.clone(),
            state: device.state,
            version: device.version,
            created_at: device.created_at.to_rfc3339(),
            period_s: device.settings.period_s,
            has_credentials: self.registry.has_credentials(device.key),
            presence: self.view.presence(device.key),
            reported: device.reported.as_deref().map(ReportedBody::from),
            sockets: sockets(device),
            latest: latest_message(latest),
            energy_today_wh: energy,
            refusals: self.view.refusals(device.key).map(RefusalsBody::from),
            inbox: knock.map(InboxBody::from),
        }
    }
}

/// The sockets that people set and those that the device reports, in order.
fn sockets(device: &Device) -> Vec<SocketBody> {
    let reported = device.reported.as_ref().map_or(&[][..], |it| &it.sockets);
    let set = device.settings.sockets.unwrap_or(0);
    let highest = reported.iter().map(|it| it.socket.get()).max();
    (1..=set.max(highest.unwrap_or(0)))
        .map(|number| (number, reported.iter().find(|it| it.socket.get() == number)))
        .filter(|(number, reported)| *number <= set || reported.is_some())
        .map(|(number, reported)| SocketBody::new(number, reported))
        .collect()
}
