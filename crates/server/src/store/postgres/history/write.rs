//! The one transaction that keeps a batch.

use std::collections::{BTreeMap, BTreeSet};

use deadpool_postgres::Object;
use dormouse_core::ids::DeviceKey;
use dormouse_core::ports::PortError;
use dormouse_core::ports::journal::JournalPosition;
use dormouse_core::rollup::{Level, Tail};
use futures_util::future::try_join_all;
use tokio_postgres::Error;
use tokio_postgres::types::ToSql;

use super::super::convert::key_sql;
use super::super::pool::in_time;
use super::super::schema::Flavour;
use super::PostgresHistory;
use super::absorb::{Taken, times};
use super::hold::Hold;
use super::levels::{statements, values};
use super::parts::Missing;

const SAMPLES: &str = "INSERT INTO samples (device, socket, ts, power_dw, voltage_dv, current_ma, \
        energy_dwh, power_factor_centi) \
    SELECT * FROM unnest($1::int4[], $2::int2[], $3::timestamptz[], $4::int4[], $5::int2[], \
        $6::int4[], $7::int8[], $8::int2[]) ON CONFLICT DO NOTHING";
const DEVICES: &str = "UPDATE intake SET tail = coalesce(it.tail, intake.tail), \
        inbox = coalesce(it.inbox, intake.inbox), \
        version = intake.version + (it.inbox IS NOT NULL)::int4 \
    FROM unnest($1::int4[], $2::bytea[], $3::bytea[]) AS it (device, tail, inbox) \
    WHERE intake.device = it.device";
const POSITION: &str = "INSERT INTO journals VALUES ($1, $2, clock_timestamp()) \
    ON CONFLICT (journal) DO UPDATE SET byte = excluded.byte, written_at = excluded.written_at";

/// What is remembered of devices' messages, beside samples and rollups.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Beside<'a> {
    pub(super) inboxes: &'a [(DeviceKey, Box<[u8]>)],
    pub(super) position: Option<JournalPosition>,
}

/// How a transaction ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum End {
    /// All of it is kept.
    Commit,
    /// It is undone, after everything was checked.
    Undo,
}

impl End {
    const fn sql(self) -> &'static str {
        match self {
            Self::Commit => "COMMIT",
            Self::Undo => "SET CONSTRAINTS ALL IMMEDIATE; ROLLBACK",
        }
    }
}

impl PostgresHistory {
    /// Writes everything and commits.
    pub(super) async fn keep(
        &self,
        hold: Hold,
        taken: &Taken,
        beside: Beside<'_>,
    ) -> Result<(), PortError> {
        self.write(hold, taken, beside, End::Commit).await
    }

    /// Writes everything and ends the transaction, in as few round trips as
    /// can be.
    pub(super) async fn write(
        &self,
        hold: Hold,
        taken: &Taken,
        beside: Beside<'_>,
        end: End,
    ) -> Result<(), PortError> {
        let missing = match self.flavour {
            Flavour::Plain => self.known.missing(times(taken)),
            Flavour::Timescale => Missing::default(),
        };
        let client = hold.client()?;
        let kept = in_time(async {
            if !missing.is_empty() {
                missing.make(client).await?;
            }
            write(client, taken, beside, end).await
        })
        .await;
        self.db.note_batch(&kept);
        if let Err(error) = kept {
            // Another node may have dropped a partition that we knew.
            self.known.forget();
            if error.is_of_the_data() {
                // The server answered, so the connection is good.
                in_time(hold.roll_back()).await.ok();
            }
            return Err(error);
        }
        hold.ended();
        if end == End::Commit {
            self.known.made(missing);
        }
        Ok(())
    }
}

/// One statement per table and the end behind them, sent without waiting:
/// where one fails, a commit undoes all.
async fn write(client: &Object, taken: &Taken, beside: Beside<'_>, end: End) -> Result<(), Error> {
    let rows = Rows::of(taken, beside);
    let position = beside.position.map(|it| {
        let (journal, byte) = (it.journal.cast_signed(), it.offset.cast_signed());
        [journal, byte]
    });
    let mut work: Vec<(&str, Vec<&(dyn ToSql + Sync)>)> = Vec::new();
    if !taken.samples.is_empty() {
        work.push((SAMPLES, taken.samples.values().to_vec()));
    }
    for (level, (columns, keys)) in Level::ALL.into_iter().zip(&taken.buckets) {
        if !columns.is_empty() {
            work.push((&statements(level).add, values(columns, keys)));
        }
    }
    if !rows.device.is_empty() {
        work.push((DEVICES, vec![&rows.device, &rows.tail, &rows.inbox]));
    }
    if let Some([journal, byte]) = &position {
        work.push((POSITION, vec![journal, byte]));
    }
    let mut prepared = Vec::with_capacity(work.len());
    for (sql, _) in &work {
        prepared.push(client.prepare_cached(sql).await?);
    }
    let writes = prepared.iter().zip(&work);
    let writes = writes.map(|(statement, (_, values))| client.execute(statement, values));
    let end = client.batch_execute(end.sql());
    futures_util::future::try_join(try_join_all(writes), end).await?;
    Ok(())
}

/// The rows of devices that change.
#[derive(Debug, Default)]
struct Rows<'a> {
    device: Vec<i32>,
    tail: Vec<Option<Vec<u8>>>,
    inbox: Vec<Option<&'a [u8]>>,
}

impl<'a> Rows<'a> {
    fn of(taken: &Taken, beside: Beside<'a>) -> Self {
        let inboxes = beside.inboxes.iter();
        let inboxes: BTreeMap<DeviceKey, &[u8]> =
            inboxes.map(|(device, inbox)| (*device, &**inbox)).collect();
        let devices: BTreeSet<_> = taken.tails.keys().chain(inboxes.keys()).collect();
        let mut rows = Self::default();
        for device in devices {
            rows.device.push(key_sql(*device));
            rows.tail.push(taken.tails.get(device).map(Tail::encode));
            rows.inbox.push(inboxes.get(device).copied());
        }
        rows
    }
}
