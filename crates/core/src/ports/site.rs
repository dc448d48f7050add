//! The port that keeps the site's few settings.

use async_trait::async_trait;

use super::PortError;

/// A setting of the site, by name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Setting {
    /// The key that lets unknown devices knock.
    JoinKey,
    /// What happens to a device that joins with the key.
    JoinMode,
}

impl Setting {
    /// The name in the database.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::JoinKey => "join-key",
            Self::JoinMode => "join-mode",
        }
    }
}

/// Keeps settings.
#[async_trait]
pub trait SettingStore: Send + Sync + 'static {
    /// The value, if it was ever set.
    async fn get(&self, setting: Setting) -> Result<Option<String>, PortError>;

    /// Sets the value.
    async fn set(&self, setting: Setting, value: String) -> Result<(), PortError>;

    /// Sets the value unless there is one, and returns the one that holds. Atomic.
    async fn get_or_set(&self, setting: Setting, value: String) -> Result<String, PortError>;
}
