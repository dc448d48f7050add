//! Adding, editing and deleting devices, and replacing their credentials.

use std::sync::Arc;

use serde_json::{Value, json};

use super::{Entry, Registry, RegistryError};
use crate::access::Actor;
use crate::device::{Device, DeviceSettings, DeviceState, SettingsEdit};
use crate::ids::DeviceId;
use crate::ports::{
    DeviceAccess, DeviceChange, DeviceWrites, KickReason, NewDevice, StoredDevice, Written,
};
use crate::secret::{DeviceDigest, Secret};

impl Registry {
    /// Adds a device with new credentials, which are returned this once. An
    /// id that waits in the inbox, or was rejected there, is taken over.
    ///
    /// # Errors
    /// When the id is taken or the settings break a rule.
    pub async fn add(
        &self,
        actor: &Actor,
        id: &DeviceId,
        settings: DeviceSettings,
    ) -> Result<(Arc<Device>, Secret), RegistryError> {
        settings.check().map_err(RegistryError::Invalid)?;
        let _writing = self.writing.lock().await;
        let password = Secret::device_password();
        let access = DeviceAccess::Credentials(DeviceDigest::of(&password));
        if let Ok(entry) = self.entry(id) {
            if entry.device.state == DeviceState::Active {
                return Err(RegistryError::Taken(id.clone()));
            }
            let mut next = stored(&entry);
            next.device.state = DeviceState::Active;
            next.device.settings = settings;
            next.access = access;
            let change = DeviceChange::CredentialsChanged;
            let device = self.store_change(actor, next, change, "device.add").await?;
            return Ok((device, password));
        }
        let new = NewDevice {
            id: id.clone(),
            state: DeviceState::Active,
            settings,
            access,
            created_at: self.parts.clock.now(),
        };
        let device = self.insert_one(actor, new).await?;
        Ok((device, password))
    }

    /// Edits settings; with `version`, only if the device is still at it.
    ///
    /// # Errors
    /// When there is no such device, it changed meanwhile, or a rule is broken.
    pub async fn edit(
        &self,
        actor: &Actor,
        id: &DeviceId,
        version: Option<u32>,
        edit: SettingsEdit,
    ) -> Result<Arc<Device>, RegistryError> {
        let _writing = self.writing.lock().await;
        let entry = self.entry(id)?;
        check_version(&entry, version)?;
        let mut next = stored(&entry);
        next.device.settings = edit.apply(next.device.settings);
        next.device
            .settings
            .check()
            .map_err(RegistryError::Invalid)?;
        if next.device.settings == entry.device.settings {
            return Ok(entry.device);
        }
        self.store_change(actor, next, DeviceChange::Edited, "device.edit")
            .await
    }

    /// Deletes a device: its session ends at once, a tombstone keeps its key
    /// and history.
    ///
    /// # Errors
    /// When there is no such device or it changed meanwhile.
    pub async fn delete(
        &self,
        actor: &Actor,
        id: &DeviceId,
        version: Option<u32>,
    ) -> Result<(), RegistryError> {
        let _writing = self.writing.lock().await;
        let entry = self.entry(id)?;
        check_version(&entry, version)?;
        let mut next = stored(&entry);
        next.device.state = DeviceState::Deleted;
        next.access = DeviceAccess::None;
        self.store_change(actor, next, DeviceChange::Deleted, "device.delete")
            .await?;
        Ok(())
    }

    /// Replaces a device's credentials, returned this once, and ends its
    /// session.
    ///
    /// # Errors
    /// When there is no such device, or it waits in the inbox.
    pub async fn rotate(&self, actor: &Actor, id: &DeviceId) -> Result<Secret, RegistryError> {
        let password = Secret::device_password();
        let access = DeviceAccess::Credentials(DeviceDigest::of(&password));
        self.set_access(actor, id, access, "device.rotate").await?;
        Ok(password)
    }

    /// Takes a device's credentials away and ends its session; nothing lets
    /// it in again but new ones.
    ///
    /// # Errors
    /// When there is no such device, or it waits in the inbox.
    pub async fn revoke(&self, actor: &Actor, id: &DeviceId) -> Result<(), RegistryError> {
        let access = DeviceAccess::None;
        self.set_access(actor, id, access, "device.revoke").await
    }

    async fn set_access(
        &self,
        actor: &Actor,
        id: &DeviceId,
        access: DeviceAccess,
        action: &'static str,
    ) -> Result<(), RegistryError> {
        let _writing = self.writing.lock().await;
        let entry = self.entry(id)?;
        if entry.device.state != DeviceState::Active {
            return Err(RegistryError::NotActive {
                id: id.clone(),
                state: entry.device.state,
            });
        }
        let mut next = stored(&entry);
        next.access = access;
        let change = DeviceChange::CredentialsChanged;
        self.store_change(actor, next, change, action).await?;
        Ok(())
    }

    async fn insert_one(
        &self,
        actor: &Actor,
        new: NewDevice,
    ) -> Result<Arc<Device>, RegistryError> {
        let id = new.id.clone();
        let data = describe(&new.settings);
        let writes = DeviceWrites {
            insert: vec![new],
            swap: Vec::new(),
        };
        for device in self.store_writes(writes).await? {
            self.take_over(device, Some(DeviceChange::Added), &actor.origin);
        }
        let target = format!("device:{id}");
        self.parts
            .audit
            .write(actor, "device.add", target, data)
            .await?;
        Ok(self.entry(&id)?.device)
    }

    /// Stores `next`, whose version is still the one read, and makes it the
    /// truth in memory. The caller holds `writing`.
    pub(super) async fn store_change(
        &self,
        actor: &Actor,
        mut next: StoredDevice,
        change: DeviceChange,
        action: &'static str,
    ) -> Result<Arc<Device>, RegistryError> {
        next.device.version = next.device.version.saturating_add(1);
        let device = Arc::new(next.device.clone());
        let writes = DeviceWrites {
            insert: Vec::new(),
            swap: vec![next],
        };
        for stored in self.store_writes(writes).await? {
            self.take_over(stored, Some(change), &actor.origin);
        }
        let target = format!("device:{}", device.id);
        let data = describe(&device.settings);
        self.parts.audit.write(actor, action, target, data).await?;
        Ok(device)
    }

    /// Writes all or nothing.
    pub(super) async fn store_writes(
        &self,
        writes: DeviceWrites,
    ) -> Result<Vec<StoredDevice>, RegistryError> {
        match self.parts.store.write(writes).await? {
            Written::All(stored) => Ok(stored),
            Written::Taken(id) => Err(RegistryError::Taken(id)),
            Written::Stale => Err(RegistryError::Contended),
        }
    }
}

/// The entry as the store holds it.
pub(super) fn stored(entry: &Entry) -> StoredDevice {
    StoredDevice {
        device: (*entry.device).clone(),
        access: entry.access.clone(),
        revision: 0,
    }
}

/// What became of a device that another process changed; `None` for nothing
/// that anybody would notice.
pub(super) fn difference(
    before: Option<&Entry>,
    device: &Device,
    access: &DeviceAccess,
) -> Option<DeviceChange> {
    let Some(before) = before else {
        return Some(DeviceChange::Added);
    };
    if device.state != before.device.state {
        return Some(match device.state {
            DeviceState::Deleted => DeviceChange::Deleted,
            DeviceState::Rejected => DeviceChange::Rejected,
            DeviceState::Active | DeviceState::Pending if before.access == *access => {
                DeviceChange::Approved
            }
            DeviceState::Active | DeviceState::Pending => DeviceChange::CredentialsChanged,
        });
    }
    match (&before.access, access) {
        (was, is) if was == is => {
            (device.settings != before.device.settings).then_some(DeviceChange::Edited)
        }
        (DeviceAccess::Joining(Some(was)), DeviceAccess::Credentials(is)) if was == is => None,
        (DeviceAccess::Joining(_), DeviceAccess::Joining(_)) => Some(DeviceChange::HandedOver),
        (
            DeviceAccess::None | DeviceAccess::Joining(_) | DeviceAccess::Credentials(_),
            DeviceAccess::None | DeviceAccess::Joining(_) | DeviceAccess::Credentials(_),
        ) => Some(DeviceChange::CredentialsChanged),
    }
}

/// Whether a change ends the device's session, and why.
pub(super) const fn kick_for(change: DeviceChange, access: &DeviceAccess) -> Option<KickReason> {
    match change {
        DeviceChange::CredentialsChanged => Some(match access {
            DeviceAccess::None => KickReason::Revoked,
            DeviceAccess::Joining(_) | DeviceAccess::Credentials(_) => {
                KickReason::CredentialsChanged
            }
        }),
        DeviceChange::Deleted => Some(KickReason::Deleted),
        DeviceChange::Rejected => Some(KickReason::Refused),
        DeviceChange::Added
        | DeviceChange::Approved
        | DeviceChange::Edited
        | DeviceChange::HandedOver => None,
    }
}

fn check_version(entry: &Entry, wanted: Option<u32>) -> Result<(), RegistryError> {
    let current = entry.device.version;
    match wanted {
        Some(version) if version != current => Err(RegistryError::Stale { current }),
        Some(_) | None => Ok(()),
    }
}

fn describe(settings: &DeviceSettings) -> Value {
    json!({
        "name": settings.name,
        "location": settings.location,
        "sockets": settings.sockets,
        "periodS": settings.period_s,
    })
}
