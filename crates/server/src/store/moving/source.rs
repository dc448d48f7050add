//! The site that is moved: three SQLite files that no server runs on.

use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};

use anyhow::{Context, bail, ensure};
use dormouse_core::ids::DeviceKey;
use dormouse_core::ports::history::{EARLIEST, HistoryStore};
use dormouse_core::rollup::Tail;
use dormouse_core::site::SiteZone;
use rusqlite::types::Value;
use rusqlite::{Connection, OpenFlags, OptionalExtension, params_from_iter};

use super::batch::{Batch, key_text, parse_key};
use super::tables::{COUNTED, Rows, Table};
use crate::datadir::{DataDir, DataLock};
use crate::journal;
use crate::store::sqlite::{
    DORMOUSE, Database, SqliteCommands, SqliteFile, SqliteHistory, Synchronous, tails,
};

/// What one device's samples add up to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Sums {
    pub(super) device: i64,
    pub(super) count: i64,
    pub(super) power: i64,
    pub(super) energy: i64,
    pub(super) first: i64,
    pub(super) last: i64,
}

/// The open files.
pub(super) struct Source {
    files: [Mutex<Connection>; 3],
    floor: Option<i64>,
    _lock: DataLock,
}

impl Source {
    /// Opens the site in `folder`, which no server may run on, and whose
    /// journal must have been worked off.
    pub(super) async fn open(folder: &Path) -> anyhow::Result<Self> {
        require_site(folder)?;
        let data = DataDir::existing(folder);
        let lock = data.lock()?;
        bring_up_to_date(&data).await?;
        let open = |path: &Path| -> anyhow::Result<Mutex<Connection>> {
            let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
            let file = Connection::open_with_flags(path, flags)
                .with_context(|| format!("--from: {}", path.display()))?;
            Ok(Mutex::new(file))
        };
        let mut source = Self {
            files: [
                open(&data.history_db())?,
                open(&data.commands_db())?,
                open(&data.dormouse_db())?,
            ],
            floor: None,
            _lock: lock,
        };
        source.floor = source.fact("raw_floor")?.map(|it| it.parse()).transpose()?;
        Ok(source)
    }

    fn file(&self, database: Database) -> MutexGuard<'_, Connection> {
        let at = match database {
            Database::History => 0,
            Database::Commands => 1,
            Database::Dormouse => 2,
        };
        // Nothing panics while it is held.
        self.files[at]
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// One of history's single values, as text.
    pub(super) fn fact(&self, name: &str) -> anyhow::Result<Option<String>> {
        let sql = "SELECT CAST(value AS TEXT) FROM facts WHERE name = ?1";
        let file = self.file(Database::History);
        Ok(file.query_row(sql, [name], |row| row.get(0)).optional()?)
    }

    /// How many rows of `table` there are to copy.
    pub(super) fn count(&self, table: &Table) -> anyhow::Result<u64> {
        let sql = format!(
            "SELECT count(*) FROM {} WHERE {}",
            table.from,
            self.condition(table)
        );
        let file = self.file(table.database);
        let count: i64 = file.query_row(&sql, [], |row| row.get(0))?;
        Ok(count.unsigned_abs())
    }

    /// What tells this source, as it is now, from others and from what it was:
    /// its newest writes.
    pub(super) fn fingerprint(&self) -> anyhow::Result<String> {
        let one = |database, sql: &str| -> anyhow::Result<String> {
            Ok(self.file(database).query_row(sql, [], |row| row.get(0))?)
        };
        let devices = one(
            Database::Dormouse,
            "SELECT format('%d/%d/%d/%s', (SELECT ifnull(max(revision), 0) FROM devices),
                (SELECT count(*) FROM audit), (SELECT count(*) FROM events),
                (SELECT ifnull(hex(max(id)), '') FROM audit))",
        )?;
        let commands = one(
            Database::Commands,
            "SELECT format('%d/%s', count(*), ifnull(hex(max(id)), '')) FROM command",
        )?;
        let history = one(
            Database::History,
            "SELECT group_concat(name || '=' || value) FROM (SELECT * FROM facts
                WHERE name IN ('journal', 'offset', 'generation', 'raw_floor') ORDER BY name)",
        )
        .unwrap_or_default();
        Ok(format!("{devices} {commands} {history}"))
    }

    /// The highest key ever given, by table.
    pub(super) fn counters(&self) -> anyhow::Result<Vec<(&'static str, &'static str, i64)>> {
        let file = self.file(Database::Dormouse);
        let mut counters = Vec::new();
        for (table, column) in COUNTED {
            let sql = "SELECT seq FROM sqlite_sequence WHERE name = ?1";
            let last: Option<i64> = file.query_row(sql, [table], |row| row.get(0)).optional()?;
            counters.extend(last.map(|last| (table, column, last)));
        }
        Ok(counters)
    }

    /// At most `limit` rows of `table` after the key `after`.
    pub(super) fn read(
        &self,
        table: &Table,
        after: Option<&str>,
        limit: usize,
    ) -> anyhow::Result<Batch> {
        let keys = table.key.join(", ");
        let after = after.map(parse_key).transpose()?.unwrap_or_default();
        let from = if after.is_empty() {
            String::new()
        } else {
            let places = vec!["?"; table.key.len()].join(", ");
            format!(" AND ({keys}) > ({places})")
        };
        let columns: Vec<&str> = table.columns.iter().map(|it| it.from).collect();
        let sql = format!(
            "SELECT {keys}, {} FROM {} WHERE {}{from} ORDER BY {keys} LIMIT {limit}",
            columns.join(", "),
            table.from,
            self.condition(table)
        );
        let file = self.file(table.database);
        let mut statement = file.prepare_cached(&sql)?;
        let mut rows = statement.query(params_from_iter(after))?;
        let mut batch = Batch::new(table.columns, limit);
        let mut last = Vec::new();
        while let Some(row) = rows.next()? {
            last.clear();
            for at in 0..table.key.len() {
                last.push(row.get::<_, Value>(at)?);
            }
            for (at, values) in batch.columns.iter_mut().enumerate() {
                let name = table.columns[at].name;
                values
                    .push(row.get_ref(table.key.len() + at)?)
                    .with_context(|| format!("{}.{name}", table.name))?;
            }
            batch.rows += 1;
        }
        batch.last = key_text(&last);
        Ok(batch)
    }

    /// What the samples of each device add up to, in order of the devices.
    pub(super) fn sums(&self) -> anyhow::Result<Vec<Sums>> {
        let file = self.file(Database::History);
        let mut statement = file.prepare(
            "SELECT ((at >> 41) & 8388607) / 33 AS device, count(*), total(power_dw),
                    total(energy_dwh), min(at & 2199023255551), max(at & 2199023255551)
             FROM samples GROUP BY device ORDER BY device",
        )?;
        let sums = statement.query_map([], |row| {
            let ms =
                |at| -> rusqlite::Result<i64> { Ok(row.get::<_, i64>(at)? + EARLIEST.as_millis()) };
            Ok(Sums {
                device: row.get(0)?,
                count: row.get(1)?,
                power: whole(row.get(2)?),
                energy: whole(row.get(3)?),
                first: ms(4)?,
                last: ms(5)?,
            })
        })?;
        Ok(sums.collect::<rusqlite::Result<_>>()?)
    }

    /// Where each device's series end, for whoever takes samples in next.
    pub(super) fn tails(&self) -> anyhow::Result<Vec<(DeviceKey, Tail)>> {
        Ok(tails(&self.file(Database::History))?)
    }

    fn condition(&self, table: &Table) -> String {
        let floor = self.floor.unwrap_or(i64::MIN);
        let ts = "(at & 2199023255551) + 1577836800000";
        match table.rows {
            Rows::All => "true".to_owned(),
            Rows::Where(condition) => condition.to_owned(),
            Rows::BeforeFloor => format!("{ts} < {floor}"),
            Rows::FromFloor => format!("{ts} >= {floor}"),
        }
    }
}

/// A sum of integers by `total`, which never overflows and is exact below 2^53.
#[expect(
    clippy::cast_possible_truncation,
    reason = "sums of integers, whole by themselves"
)]
const fn whole(total: f64) -> i64 {
    total as i64
}

/// Looks whether there is something to move.
///
/// # Errors
/// When `folder` holds no site.
pub fn require_site(folder: &Path) -> anyhow::Result<()> {
    ensure!(
        DataDir::existing(folder).dormouse_db().is_file(),
        "--from: there is no site in {}",
        folder.display()
    );
    Ok(())
}

/// Brings the files to this version's schema and every sample to its place.
async fn bring_up_to_date(data: &DataDir) -> anyhow::Result<()> {
    SqliteFile::open(&data.dormouse_db(), DORMOUSE, Synchronous::Full)?
        .close()
        .await;
    SqliteCommands::open(&data.commands_db())?
        .file()
        .close()
        .await;
    let zone = {
        let path = data.history_db();
        let known = path.exists().then(|| Connection::open(&path)).transpose()?;
        let sql = "SELECT value FROM facts WHERE name = 'zone'";
        // A file without tables is one that was never used.
        let zone: Option<String> =
            known.and_then(|db| db.query_row(sql, [], |row| row.get(0)).ok());
        zone.unwrap_or_else(|| "UTC".to_owned())
    };
    let zone = SiteZone::named(&zone).with_context(|| format!("time zone {zone:?}"))?;
    let history = SqliteHistory::open(&data.history_db(), zone).await?;
    let position = history.progress().await?.map(|it| it.position);
    history.close().await;
    let left = journal::left(&data.journal(), position)
        .with_context(|| format!("--from: {}", data.journal().display()))?;
    if left > 0 {
        bail!(
            "--from: the journal of {} holds {left} bytes that are not in the databases yet: start Dormouse on it once, wait until it is ready, and stop it",
            data.path().display()
        );
    }
    Ok(())
}
