//! Last signs of life in this process.

use std::collections::HashMap;
use std::sync::Mutex;

use async_trait::async_trait;

use super::lock;
use crate::clock::Timestamp;
use crate::ids::DeviceKey;
use crate::ports::PortError;
use crate::ports::nodes::LastSeen;

/// When each device was seen last; one small entry per device.
#[derive(Debug, Default)]
pub struct MemoryLastSeen(Mutex<HashMap<DeviceKey, Timestamp>>);

#[async_trait]
impl LastSeen for MemoryLastSeen {
    fn seen(&self, device: DeviceKey, at: Timestamp) {
        let mut seen = lock(&self.0);
        let last = seen.entry(device).or_insert(at);
        *last = at.max(*last);
    }

    async fn last_seen(&self) -> Result<Vec<(DeviceKey, Timestamp)>, PortError> {
        Ok(lock(&self.0).iter().map(|(k, at)| (*k, *at)).collect())
    }
}

#[cfg(test)]
mod tests {
    #[tokio::test]
    async fn memory_keeps_the_contract() {
        let shared = super::MemoryLastSeen::default();
        crate::contract::last_seen(&shared, &shared).await;
    }
}
