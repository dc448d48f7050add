//! Opening, refusing, healing.

mod opening;
mod outage;
mod tls;

use std::sync::Arc;
use std::time::Duration;

use dormouse_core::access::Actor;
use dormouse_core::audit::AuditEntry;
use dormouse_core::event::Origin;
use dormouse_core::ports::{AuditQuery, AuditStore, PortError, Setting, SettingStore, UserStore};
use dormouse_testbed::pgbouncer::PgBouncer;
use dormouse_testbed::postgres::{Options, Postgres as Server};

use super::testing::{Engine, odd, on_every_engine, open, plain, settings};
use super::*;
use crate::clock::SystemClock;

async fn opened(settings: PostgresSettings) -> Result<Postgres, OpenError> {
    let clock = Arc::new(SystemClock::start());
    Postgres::open(&settings, clock, &[DORMOUSE]).await
}

async fn refused(settings: PostgresSettings) -> OpenError {
    opened(settings).await.unwrap_err()
}

async fn text(database: &Postgres, sql: &str) -> String {
    database.query_one(sql, &[]).await.unwrap().get(0)
}
