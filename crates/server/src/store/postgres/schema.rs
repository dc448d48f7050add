//! Forward-only migrations, applied by whichever node starts first.

use std::future::Future;
use std::pin::Pin;

use tokio_postgres::{Client, Error, Transaction};

use super::OpenError;
use super::error::words;

/// The advisory lock that migrations hold, with the schema's number.
const LOCK_CLASS: i32 = 0x646f_726d;

/// What the server is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Flavour {
    /// PostgreSQL alone.
    Plain,
    /// PostgreSQL with the extension `timescaledb`.
    Timescale,
}

/// A migration that needs more than statements.
pub type Code = for<'a> fn(
    &'a Transaction<'a>,
    Flavour,
) -> Pin<Box<dyn Future<Output = Result<(), Error>> + Send + 'a>>;

/// What a migration does.
#[derive(Debug, Clone, Copy)]
pub enum Work {
    /// Statements, the same on every server.
    Sql(&'static str),
    /// Whatever suits the server.
    Code(Code),
}

/// One step of an area's schema; its position in the list is its number.
#[derive(Debug, Clone, Copy)]
pub struct Migration {
    /// The migration's file name without its extension.
    pub name: &'static str,
    /// What it does, in one transaction.
    pub work: Work,
    /// Whether a version that does not know it cannot run any more. A change
    /// is made in three releases, so that nodes of two versions run side by
    /// side: add what is new, fill it, and only then take away the old; the
    /// last step alone is breaking.
    pub breaking: bool,
}

/// Tables that are brought up to date together.
#[derive(Debug, Clone, Copy)]
pub struct Area {
    /// What they are, such as `dormouse` or `history`.
    pub name: &'static str,
    /// The steps, oldest first.
    pub migrations: &'static [Migration],
}

/// Devices, people, events, audit, commands, leases.
pub const DORMOUSE: Area = Area {
    name: "dormouse",
    migrations: &[
        Migration {
            name: "0001_devices",
            work: Work::Sql(include_str!(
                "../../../migrations/postgres/dormouse/0001_devices.sql"
            )),
            breaking: true,
        },
        Migration {
            name: "0002_people",
            work: Work::Sql(include_str!(
                "../../../migrations/postgres/dormouse/0002_people.sql"
            )),
            breaking: true,
        },
        Migration {
            name: "0003_events",
            work: Work::Sql(include_str!(
                "../../../migrations/postgres/dormouse/0003_events.sql"
            )),
            breaking: true,
        },
        Migration {
            name: "0004_commands",
            work: Work::Sql(include_str!(
                "../../../migrations/postgres/dormouse/0004_commands.sql"
            )),
            breaking: true,
        },
        Migration {
            name: "0005_leases",
            work: Work::Sql(include_str!(
                "../../../migrations/postgres/dormouse/0005_leases.sql"
            )),
            breaking: true,
        },
    ],
};

/// Brings `areas` up to date, each migration in a transaction of its own.
pub(super) async fn migrate(
    client: &mut Client,
    tried: &str,
    areas: &[Area],
) -> Result<(), OpenError> {
    for area in areas {
        while step(client, tried, area).await? {}
    }
    Ok(())
}

/// Applies the next migration of `area`, if there is one.
async fn step(client: &mut Client, tried: &str, area: &Area) -> Result<bool, OpenError> {
    let failed = |error| failed(tried, &error);
    let transaction = client.transaction().await.map_err(failed)?;
    // Several nodes may start together: the number is read under the lock.
    // Making tables for years of history may take long.
    transaction
        .batch_execute(&format!(
            "SET LOCAL statement_timeout = 0; SET LOCAL lock_timeout = 0;
             SET LOCAL idle_in_transaction_session_timeout = 0;
             SET LOCAL client_min_messages = warning;
             SELECT pg_advisory_xact_lock({LOCK_CLASS}, hashtext(current_schema()));
             CREATE TABLE IF NOT EXISTS dormouse_migrations (
                 area       text        NOT NULL,
                 number     int4        NOT NULL,
                 name       text        NOT NULL,
                 breaking   bool        NOT NULL,
                 applied_at timestamptz NOT NULL DEFAULT clock_timestamp(),
                 PRIMARY KEY (area, number)
             );"
        ))
        .await
        .map_err(failed)?;
    let known = area.migrations.len();
    let sql = "SELECT count(*), coalesce(bool_or(breaking AND number > $2), false)
        FROM dormouse_migrations WHERE area = $1";
    let number = i32::try_from(known).unwrap_or(i32::MAX);
    let row = transaction.query_one(sql, &[&area.name, &number]).await;
    let row = row.map_err(failed)?;
    let done = usize::try_from(row.get::<_, i64>(0)).unwrap_or(0);
    if row.get(1) {
        return Err(OpenError::Newer {
            tried: tried.to_owned(),
            area: area.name,
            found: done,
            known,
        });
    }
    let Some(next) = area.migrations.get(done) else {
        if done > known {
            tracing::info!(area = area.name, "the database is of a newer version");
        }
        transaction.commit().await.map_err(failed)?;
        return Ok(false);
    };
    let applied = apply(&transaction, area.name, done, next).await;
    let applied = match applied {
        Ok(()) => transaction.commit().await,
        Err(error) => Err(error),
    };
    applied.map_err(|error| OpenError::Migration {
        tried: tried.to_owned(),
        area: area.name,
        name: next.name,
        why: words(&error),
    })?;
    tracing::info!(area = area.name, migration = next.name, "database migrated");
    Ok(true)
}

async fn apply(
    transaction: &Transaction<'_>,
    area: &str,
    done: usize,
    next: &Migration,
) -> Result<(), Error> {
    match next.work {
        Work::Sql(sql) => transaction.batch_execute(sql).await?,
        Work::Code(code) => code(transaction, flavour(transaction).await?).await?,
    }
    let number = i32::try_from(done + 1).unwrap_or(i32::MAX);
    let sql = "INSERT INTO dormouse_migrations (area, number, name, breaking)
        VALUES ($1, $2, $3, $4)";
    transaction
        .execute(sql, &[&area, &number, &next.name, &next.breaking])
        .await?;
    Ok(())
}

/// What the server is; makes the extension where that is allowed.
async fn flavour(transaction: &Transaction<'_>) -> Result<Flavour, Error> {
    // An extension that may not be made is no reason to stop: the block of its
    // own keeps the transaction whole.
    transaction
        .batch_execute(
            "DO $$ BEGIN
                 -- Known only where the library is preloaded; without that the
                 -- server would end the session.
                 IF current_setting('timescaledb.disable_load', true) IS NOT NULL
                    AND EXISTS (SELECT FROM pg_available_extensions
                                WHERE name = 'timescaledb' AND installed_version IS NULL) THEN
                     CREATE EXTENSION timescaledb;
                 END IF;
             EXCEPTION WHEN OTHERS THEN
                 RAISE NOTICE 'timescaledb is not used: %', SQLERRM;
             END $$",
        )
        .await?;
    let sql = "SELECT EXISTS (SELECT FROM pg_extension WHERE extname = 'timescaledb')";
    let installed = transaction.query_one(sql, &[]).await?.get(0);
    Ok(if installed {
        Flavour::Timescale
    } else {
        Flavour::Plain
    })
}

fn failed(tried: &str, error: &Error) -> OpenError {
    OpenError::Failed {
        tried: tried.to_owned(),
        why: words(error),
    }
}
