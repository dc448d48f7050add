//! Devices that an external broker let in before anybody added them here.

use serde_json::json;

use super::{JoinMode, Registry};
use crate::access::Actor;
use crate::device::{DeviceSettings, DeviceState};
use crate::event::Origin;
use crate::ids::DeviceId;
use crate::location;
use crate::ports::{
    DeviceAccess, DeviceChange, DeviceWrites, NewDevice, PortError, StoredDevice, Written,
};

/// How often other processes may be quicker before the rest is left for the
/// devices' next reports.
const ATTEMPTS: usize = 5;

impl Registry {
    /// Adds those of `ids` that nobody knows, as `mode` has it, and says how
    /// many that were. An id whose device was deleted stays deleted: a broker
    /// goes on replaying what it retained. Those that find the inbox full
    /// are left out.
    ///
    /// # Errors
    /// When a store cannot answer.
    pub async fn discover(&self, ids: &[DeviceId], mode: JoinMode) -> Result<usize, PortError> {
        let state = match mode {
            JoinMode::Open => DeviceState::Active,
            JoinMode::Approve => DeviceState::Pending,
            JoinMode::Closed => return Ok(0),
        };
        for _ in 0..ATTEMPTS {
            if let Some(stored) = self.insert_unknown(ids, state).await? {
                for device in &stored {
                    let actor = Actor {
                        origin: Origin::Device,
                        address: None,
                    };
                    let data = json!({ "state": state.as_str() });
                    let target = format!("device:{}", device.device.id);
                    let audit = &self.parts.audit;
                    audit.record(actor, "device.discover", target, data);
                }
                return Ok(stored.len());
            }
            // Another process added one of them a moment ago.
            self.refresh().await?;
        }
        Ok(0)
    }

    /// `None` where an id is in the store already.
    async fn insert_unknown(
        &self,
        ids: &[DeviceId],
        state: DeviceState,
    ) -> Result<Option<Vec<StoredDevice>>, PortError> {
        let _writing = self.writing.lock().await;
        let mut room = match state {
            DeviceState::Pending => self.parts.pending_max.saturating_sub(self.pending()),
            DeviceState::Active | DeviceState::Rejected | DeviceState::Deleted => usize::MAX,
        };
        let mut unknown: Vec<&DeviceId> = {
            let index = self.read();
            let is_new = |id: &&DeviceId| index.by_id(id).is_none() && !index.is_buried(id);
            ids.iter().filter(is_new).collect()
        };
        unknown.sort_unstable();
        unknown.dedup();
        unknown.retain(|_| {
            let fits = room > 0;
            room = room.saturating_sub(1);
            fits
        });
        if unknown.is_empty() {
            return Ok(Some(Vec::new()));
        }
        let created_at = self.parts.clock.now();
        let insert = unknown.into_iter().map(|id| NewDevice {
            id: id.clone(),
            state,
            settings: DeviceSettings {
                location: location::suggest(id.as_str()).unwrap_or_default(),
                ..DeviceSettings::default()
            },
            access: DeviceAccess::None,
            created_at,
        });
        let writes = DeviceWrites {
            insert: insert.collect(),
            swap: Vec::new(),
        };
        let stored = match self.parts.store.write(writes).await? {
            Written::All(stored) => stored,
            Written::Taken(_) | Written::Stale => return Ok(None),
        };
        for device in &stored {
            self.take_over(device.clone(), Some(DeviceChange::Added), &Origin::Device);
        }
        Ok(Some(stored))
    }
}
