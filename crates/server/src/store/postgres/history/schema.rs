//! History's tables, with and without TimescaleDB.

use std::pin::Pin;

use tokio_postgres::{Error, Transaction};

use super::super::schema::{Area, Flavour, Migration, Work};

/// Samples, rollups and what is remembered of devices' messages; needs the
/// table of devices.
pub const HISTORY: Area = Area {
    name: "history",
    migrations: &[
        Migration {
            name: "0001_history",
            work: Work::Code(first),
            breaking: true,
        },
        Migration {
            name: "0002_refused",
            work: Work::Sql(include_str!(
                "../../../../migrations/postgres/history/0002_refused.sql"
            )),
            breaking: false,
        },
    ],
};

type Working<'a> = Pin<Box<dyn Future<Output = Result<(), Error>> + Send + 'a>>;

fn first<'a>(transaction: &'a Transaction<'a>, flavour: Flavour) -> Working<'a> {
    Box::pin(async move {
        let tables = include_str!("../../../../migrations/postgres/history/0001_history.sql");
        let (tables, own, name) = match flavour {
            Flavour::Plain => (
                tables
                    .replace("/* BY ts */", "PARTITION BY RANGE (ts)")
                    .replace("/* BY hour */", "PARTITION BY RANGE (hour)"),
                include_str!("../../../../migrations/postgres/history/0001_plain.sql"),
                "plain",
            ),
            Flavour::Timescale => (
                tables.to_owned(),
                include_str!("../../../../migrations/postgres/history/0001_timescale.sql"),
                "timescale",
            ),
        };
        transaction.batch_execute(&tables).await?;
        transaction.batch_execute(own).await?;
        let sql = "INSERT INTO history_facts VALUES ('flavour', $1)";
        transaction.execute(sql, &[&name]).await.map(drop)
    })
}
