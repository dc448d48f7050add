//! History in PostgreSQL or TimescaleDB, which several nodes may write at once.
//!
//! Each device has a row in `intake`. Whoever takes its messages in locks that
//! row ([`hold`]), reads the ends of its series from it, judges what is new
//! ([`absorb`]), and writes samples, rollups and the row in one transaction
//! ([`mod@write`]). What the newest minute of each series is still to add to the
//! rollups stays in the row until the minute is over, so that a rollup is
//! written once a minute rather than once a sample; readers add the two up.

mod absorb;
mod columns;
mod fleet;
mod hold;
mod intake;
mod late;
mod levels;
mod maintenance;
mod parts;
mod port;
mod read;
mod rebuild;
mod refused;
mod schema;
mod upkeep;
mod write;
mod zone;

use dormouse_core::ports::PortError;
use dormouse_core::site::SiteZone;

use super::pool::{Postgres, get};
use super::schema::Flavour;
use parts::Known;

pub use intake::PostgresIntake;
pub use maintenance::{Maintenance, MaintenanceReport, StepReport};
pub use schema::HISTORY;

/// History in a database that was opened with [`HISTORY`] among its areas.
#[derive(Debug)]
pub struct PostgresHistory {
    db: Postgres,
    zone: SiteZone,
    flavour: Flavour,
    known: Known,
}

impl PostgresHistory {
    /// The history of a site in `zone`. Days are derived again where the zone
    /// is another than the last time.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn open(db: Postgres, zone: SiteZone) -> Result<Self, PortError> {
        let sql = "SELECT value FROM history_facts WHERE name = 'flavour'";
        let row = db.query_one(sql, &[]).await?;
        let flavour = match get(&row, 0)? {
            "timescale" => Flavour::Timescale,
            _ => Flavour::Plain,
        };
        let sql = "SELECT EXISTS (SELECT FROM pg_extension WHERE extname = 'timescaledb')";
        if flavour == Flavour::Plain && get(&db.query_one(sql, &[]).await?, 0)? {
            tracing::info!(
                "the database has TimescaleDB now, but its history was made without and stays so; \
                 to use it, migrate into an empty database"
            );
        }
        let history = Self {
            db,
            zone,
            flavour,
            known: Known::default(),
        };
        history.keep_zone().await?;
        Ok(history)
    }

    /// What keeps the samples.
    #[must_use]
    pub const fn flavour(&self) -> Flavour {
        self.flavour
    }
}

/// Makes the parts that rows need before they come in bulk.
#[derive(Debug)]
pub struct PartKeeper {
    flavour: Flavour,
    known: Known,
}

impl PartKeeper {
    /// For the history in `db`.
    pub(crate) async fn open(db: &Postgres) -> Result<Self, PortError> {
        let sql = "SELECT value FROM history_facts WHERE name = 'flavour'";
        let row = db.query_one(sql, &[]).await?;
        Ok(Self {
            flavour: match get(&row, 0)? {
                "timescale" => Flavour::Timescale,
                _ => Flavour::Plain,
            },
            known: Known::default(),
        })
    }

    /// Makes the parts of `table` for rows at `times`, in `client`'s
    /// transaction; the target is ours alone, so that what was made stays.
    pub(crate) async fn make(
        &self,
        client: &tokio_postgres::Client,
        table: &'static str,
        times: Vec<dormouse_core::clock::Timestamp>,
    ) -> Result<(), tokio_postgres::Error> {
        if self.flavour == Flavour::Timescale {
            return Ok(());
        }
        let missing = self.known.missing([(table, times)]);
        if !missing.is_empty() {
            missing.make(client).await?;
            self.known.made(missing);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
