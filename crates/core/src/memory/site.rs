//! The site's settings in a map.

use std::collections::BTreeMap;
use std::sync::Mutex;

use async_trait::async_trait;

use super::lock;
use crate::ports::{PortError, Setting, SettingStore};

/// Settings in a map.
#[derive(Debug, Default)]
pub struct MemorySettings(Mutex<BTreeMap<Setting, String>>);

#[async_trait]
impl SettingStore for MemorySettings {
    async fn get(&self, setting: Setting) -> Result<Option<String>, PortError> {
        Ok(lock(&self.0).get(&setting).cloned())
    }

    async fn set(&self, setting: Setting, value: String) -> Result<(), PortError> {
        lock(&self.0).insert(setting, value);
        Ok(())
    }

    async fn get_or_set(&self, setting: Setting, value: String) -> Result<String, PortError> {
        Ok(lock(&self.0).entry(setting).or_insert(value).clone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn keeps_the_setting_store_contract() {
        crate::contract::setting_store(&MemorySettings::default()).await;
    }
}
