//! Joining with the key: the key itself, the inbox, and the hand-over of
//! credentials.

use std::net::IpAddr;

use serde_json::{Value, json};

use super::{Registry, RegistryError, lock, write_lock};
use crate::access::Actor;
use crate::clock::Timestamp;
use crate::device::{Device, DeviceState, SettingsEdit};
use crate::ids::{DeviceId, DeviceKey};
use crate::ports::{
    DeviceAccess, DeviceChange, KickReason, PortError, Setting, SettingStore, StoredDevice,
};
use crate::secret::{DeviceDigest, Secret};
use crate::topic::Channel;
use crate::wire::EnrolBody;

/// Bytes of a first payload that are kept for the inbox.
const PAYLOAD_MAX: usize = 1_024;

/// What happens to an unknown device that has the join key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "lowercase")]
pub enum JoinMode {
    /// It is taken at once.
    Open,
    /// It waits in the inbox until somebody approves it.
    Approve,
    /// It is refused.
    Closed,
}

impl JoinMode {
    /// The mode's name in the API and the database.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::Approve => "approve",
            Self::Closed => "closed",
        }
    }

    fn from_name(name: &str) -> Option<Self> {
        Some(match name {
            "open" => Self::Open,
            "approve" => Self::Approve,
            "closed" => Self::Closed,
            _ => return None,
        })
    }
}

/// The site's join key and mode.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JoinSettings {
    /// The key.
    pub key: Secret,
    /// What it opens.
    pub mode: JoinMode,
}

/// What is known of a device that waits in the inbox, besides its report.
/// In memory only: the device knocks again after a restart.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Knock {
    /// The address it connected from.
    pub address: Option<IpAddr>,
    /// The first message it sent, shortened, and on which channel.
    pub first_payload: Option<(Channel, String)>,
    /// When that was.
    pub at: Option<Timestamp>,
}

/// What became of a hand-over of credentials.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HandOver {
    /// The device has taken them.
    Delivered,
    /// The device does not listen on `enrol` now; it is tried again when it does.
    NotListening,
    /// There is nothing to hand over to this device.
    NotDue,
}

impl Registry {
    /// The join key and mode.
    #[must_use]
    pub fn join_settings(&self) -> JoinSettings {
        let join = self.join.read();
        join.unwrap_or_else(std::sync::PoisonError::into_inner)
            .clone()
    }

    /// Sets the mode.
    ///
    /// # Errors
    /// When a store cannot take it.
    pub async fn set_join_mode(&self, actor: &Actor, mode: JoinMode) -> Result<(), PortError> {
        let _writing = self.writing.lock().await;
        let value = mode.as_str().to_owned();
        self.parts.settings.set(Setting::JoinMode, value).await?;
        write_lock(&self.join).mode = mode;
        let data = json!({ "mode": mode.as_str() });
        let target = "enrolment".to_owned();
        self.parts
            .audit
            .write(actor, "enrolment.mode", target, data)
            .await
    }

    /// Replaces the join key and closes the sessions that came in with the
    /// old one.
    ///
    /// # Errors
    /// When a store cannot take it.
    pub async fn rotate_join_key(&self, actor: &Actor) -> Result<JoinSettings, PortError> {
        let _writing = self.writing.lock().await;
        let key = new_key();
        let value = key.expose().to_owned();
        self.parts.settings.set(Setting::JoinKey, value).await?;
        write_lock(&self.join).key = key;
        let joining: Vec<DeviceId> = {
            let index = self.read();
            let entries = index.after(None);
            entries
                .filter(|it| matches!(it.access, DeviceAccess::Joining(_)))
                .map(|it| it.device.id.clone())
                .collect()
        };
        for id in joining {
            self.parts.sessions.kick(&id, KickReason::Refused);
        }
        let target = "enrolment".to_owned();
        self.parts
            .audit
            .write(actor, "enrolment.rotate-key", target, Value::Null)
            .await?;
        Ok(self.join_settings())
    }

    /// What is known of a device in the inbox, besides its report.
    #[must_use]
    pub fn knock(&self, key: DeviceKey) -> Option<Knock> {
        lock(&self.knocks).get(&key).cloned()
    }

    /// Keeps the first message of a device in the inbox; later ones, and
    /// those of other devices, change nothing.
    pub fn note_payload(&self, key: DeviceKey, channel: Channel, payload: &[u8]) {
        let mut knocks = lock(&self.knocks);
        if let Some(knock) = knocks.get_mut(&key)
            && knock.first_payload.is_none()
        {
            let shown = &payload[..payload.len().min(PAYLOAD_MAX)];
            let text = String::from_utf8_lossy(shown).into_owned();
            knock.first_payload = Some((channel, text));
            knock.at = Some(self.parts.clock.now());
        }
    }

    /// Takes a device from the inbox, or one rejected before, and hands over
    /// its credentials if it listens now.
    ///
    /// # Errors
    /// When it does not wait, or the edit breaks a rule.
    pub async fn approve(
        &self,
        actor: &Actor,
        id: &DeviceId,
        edit: SettingsEdit,
    ) -> Result<(std::sync::Arc<Device>, HandOver), RegistryError> {
        let device = {
            let _writing = self.writing.lock().await;
            let mut next = self.waiting(id, &[DeviceState::Pending, DeviceState::Rejected])?;
            next.device.state = DeviceState::Active;
            next.device.settings = edit.apply(next.device.settings);
            next.device
                .settings
                .check()
                .map_err(RegistryError::Invalid)?;
            self.store_change(actor, next, DeviceChange::Approved, "device.approve")
                .await?
        };
        let handed = self.hand_over(id).await?;
        Ok((device, handed))
    }

    /// Refuses a device in the inbox: its session is closed, and the key does
    /// not let its id in again.
    ///
    /// # Errors
    /// When it does not wait.
    pub async fn reject(&self, actor: &Actor, id: &DeviceId) -> Result<(), RegistryError> {
        let _writing = self.writing.lock().await;
        let mut next = self.waiting(id, &[DeviceState::Pending])?;
        next.device.state = DeviceState::Rejected;
        self.store_change(actor, next, DeviceChange::Rejected, "device.reject")
            .await?;
        Ok(())
    }

    /// Makes credentials for a device that joined with the key and was taken,
    /// and publishes them on its `enrol` topic. Call it when such a device
    /// subscribes there. Credentials that nobody took are forgotten.
    ///
    /// # Errors
    /// When the store cannot take them.
    pub async fn hand_over(&self, id: &DeviceId) -> Result<HandOver, RegistryError> {
        let _writing = self.writing.lock().await;
        let password = Secret::device_password();
        let digest = DeviceDigest::of(&password);
        let (device, before) = {
            let mut index = self.write();
            let Some(entry) = index.by_id_mut(id) else {
                return Ok(HandOver::NotDue);
            };
            let due = entry.device.state == DeviceState::Active
                && matches!(entry.access, DeviceAccess::Joining(_));
            if !due {
                return Ok(HandOver::NotDue);
            }
            // Good before they are sent: the device may use them at once.
            let next = DeviceAccess::Joining(Some(digest.clone()));
            let before = std::mem::replace(&mut entry.access, next);
            (entry.device.clone(), before)
        };
        let body = EnrolBody {
            username: id.clone(),
            password: password.expose().to_owned(),
        };
        if !self.parts.enrol.hand_over(id, &body) {
            self.restore_access(device.key, &digest, before);
            return Ok(HandOver::NotListening);
        }
        let next = StoredDevice {
            device: (*device).clone(),
            access: DeviceAccess::Joining(Some(digest.clone())),
            revision: 0,
        };
        let actor = Actor::server();
        self.store_change(&actor, next, DeviceChange::HandedOver, "device.hand-over")
            .await?;
        // The device was quicker than the store.
        if lock(&self.dirty).joined.get(&device.key) == Some(&digest) {
            self.first_use(device.key, digest);
        }
        Ok(HandOver::Delivered)
    }

    /// Takes credentials back that nobody took.
    fn restore_access(&self, key: DeviceKey, digest: &DeviceDigest, before: DeviceAccess) {
        if let Some(entry) = self.write().by_key_mut(key)
            && entry.access == DeviceAccess::Joining(Some(digest.clone()))
        {
            entry.access = before;
        }
    }

    fn waiting(
        &self,
        id: &DeviceId,
        states: &[DeviceState],
    ) -> Result<StoredDevice, RegistryError> {
        let entry = self.entry(id)?;
        if states.contains(&entry.device.state) {
            Ok(super::edit::stored(&entry))
        } else {
            Err(RegistryError::NotWaiting {
                id: id.clone(),
                state: entry.device.state,
            })
        }
    }
}

/// Reads key and mode; makes a key the first time, and takes `mode` until one
/// is set.
pub(super) async fn load_join_settings(
    settings: &dyn SettingStore,
    mode: JoinMode,
) -> Result<JoinSettings, PortError> {
    let made = new_key().expose().to_owned();
    let key = Secret::new(settings.get_or_set(Setting::JoinKey, made).await?);
    let mode = match settings.get(Setting::JoinMode).await? {
        None => mode,
        Some(name) => JoinMode::from_name(&name)
            .ok_or_else(|| PortError::Corrupt(format!("unknown join mode '{name}'")))?,
    };
    Ok(JoinSettings { key, mode })
}

fn new_key() -> Secret {
    Secret::device_password()
}
