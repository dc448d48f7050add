//! The contract of [`SettingStore`].
#![expect(
    clippy::unwrap_used,
    reason = "a contract's failure is a test's failure"
)]

use crate::ports::{Setting, SettingStore};

/// The contract of [`SettingStore`], on an empty store.
///
/// # Panics
/// Where `store` breaks the contract.
pub async fn setting_store(store: &dyn SettingStore) {
    let key = Setting::JoinKey;
    assert_eq!(store.get(key).await.unwrap(), None);
    assert_eq!(store.get_or_set(key, "a".into()).await.unwrap(), "a");
    assert_eq!(store.get_or_set(key, "b".into()).await.unwrap(), "a");
    store.set(key, "c".into()).await.unwrap();
    assert_eq!(store.get(key).await.unwrap().as_deref(), Some("c"));
    assert_eq!(store.get(Setting::JoinMode).await.unwrap(), None);
}
