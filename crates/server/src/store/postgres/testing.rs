//! Databases for tests.

use std::sync::Arc;
use std::time::Duration;

use dormouse_testbed::{postgres, timescale};

use super::{Area, DORMOUSE, Postgres, PostgresSettings};
use crate::clock::SystemClock;

/// Settings for `url`.
pub(crate) fn settings(url: impl Into<String>) -> PostgresSettings {
    PostgresSettings {
        url: url.into(),
        password_file: None,
        pool_max: 8,
        connect_timeout: Duration::from_secs(5),
        node: "test".to_owned(),
    }
}

/// Opens `url` and brings `areas` up to date.
pub(crate) async fn open(url: impl Into<String>, areas: &[Area]) -> Postgres {
    let clock = Arc::new(SystemClock::start());
    Postgres::open(&settings(url), clock, areas).await.unwrap()
}

/// An empty database on plain PostgreSQL.
pub(crate) async fn plain() -> Postgres {
    let database = postgres::Postgres::shared().database().unwrap();
    open(database.url, &[DORMOUSE]).await
}

/// An empty schema on TimescaleDB.
pub(crate) async fn timescale() -> Postgres {
    open(
        timescale::Timescale::shared().schema().unwrap(),
        &[DORMOUSE],
    )
    .await
}
