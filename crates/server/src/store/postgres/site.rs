//! The site's settings in PostgreSQL.

use async_trait::async_trait;
use dormouse_core::ports::{PortError, Setting, SettingStore};

use super::Postgres;
use super::pool::get;

/// The site's settings in PostgreSQL.
#[derive(Debug, Clone)]
pub struct PostgresSettingStore(Postgres);

impl PostgresSettingStore {
    /// Settings in `database`.
    #[must_use]
    pub const fn new(database: Postgres) -> Self {
        Self(database)
    }
}

#[async_trait]
impl SettingStore for PostgresSettingStore {
    async fn get(&self, setting: Setting) -> Result<Option<String>, PortError> {
        let sql = "SELECT value FROM settings WHERE name = $1";
        let row = self.0.query_opt(sql, &[&setting.as_str()]).await?;
        row.map(|row| get(&row, 0)).transpose()
    }

    async fn set(&self, setting: Setting, value: String) -> Result<(), PortError> {
        let sql = "INSERT INTO settings (name, value) VALUES ($1, $2)
            ON CONFLICT (name) DO UPDATE SET value = excluded.value";
        let values: [&(dyn tokio_postgres::types::ToSql + Sync); 2] = [&setting.as_str(), &value];
        self.0.execute(sql, &values).await.map(drop)
    }

    async fn get_or_set(&self, setting: Setting, value: String) -> Result<String, PortError> {
        // The update that changes nothing waits for whoever was first.
        let sql = "INSERT INTO settings AS s (name, value) VALUES ($1, $2)
            ON CONFLICT (name) DO UPDATE SET value = s.value RETURNING value";
        let row = self.0.query_one(sql, &[&setting.as_str(), &value]).await?;
        get(&row, 0)
    }
}

#[cfg(test)]
mod tests {
    use dormouse_core::contract;

    use super::super::testing::{Engine, on_every_engine};
    use super::*;

    async fn keeps_the_contract(engine: Engine) {
        contract::setting_store(&PostgresSettingStore::new(engine.open().await)).await;
    }
    on_every_engine!(keeps_the_contract);
}
