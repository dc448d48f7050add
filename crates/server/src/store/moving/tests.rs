//! A site with something in every table, moved to both kinds of database.

use std::path::Path;
use std::sync::Arc;

use dormouse_core::clock::Timestamp;
use dormouse_core::ids::{DeviceKey, SocketId};
use dormouse_core::ports::history::{
    EARLIEST, HistoryStore, HistoryUpkeep, LATEST, PeriodSince, SeriesId, Tier,
};
use dormouse_core::ports::journal::{JournalPosition, Progress};
use dormouse_core::ports::{
    CommandStore, DeviceStore, EventQuery, EventStore, IncidentQuery, IncidentStore, UserStore,
};
use dormouse_core::rollup::Level;
use dormouse_core::sample::{DeviceSample, Sample, Values};
use dormouse_core::site::SiteZone;
use dormouse_testbed::{postgres, timescale};

use super::*;
use crate::clock::SystemClock;
use crate::datadir::DataDir;
use crate::progress::{Silent, Stopped};
use crate::store::postgres::{
    DORMOUSE as TABLES_OF_DORMOUSE, HISTORY, OpenError, PostgresCommands, PostgresDevices,
    PostgresEvents, PostgresHistory, PostgresIncidents, PostgresPeople, PostgresSettings,
};
use crate::store::sqlite::{
    DORMOUSE, SqliteCommands, SqliteDevices, SqliteEvents, SqliteFile, SqliteHistory,
    SqliteIncidents, SqlitePeople, Synchronous,
};

const MINUTE_MS: i64 = 60_000;
const DAY_MS: i64 = 1_440 * MINUTE_MS;
/// 2026-05-01.
const START_MS: i64 = 1_777_593_600_000;

fn zone() -> SiteZone {
    SiteZone::named("Asia/Kolkata").unwrap()
}

fn series(device: u32, socket: u64) -> SeriesId {
    SeriesId {
        device: DeviceKey(device),
        socket: SocketId::parse(socket).unwrap(),
    }
}

fn sample(series: SeriesId, ms: i64, n: i32) -> DeviceSample {
    DeviceSample {
        device: series.device,
        sample: Sample {
            socket: series.socket,
            ts: Timestamp::from_millis(ms),
            values: Values {
                power_dw: (n % 7 != 0).then_some(1_000 + n % 50),
                voltage_dv: Some(2_290 + n % 20),
                current_ma: None,
                energy_dwh: Some(i64::from(n) * 20),
                power_factor_centi: Some(95),
            },
        },
    }
}

/// Three series over six days, a sample in two minutes; the first two days'
/// raw samples were dropped.
async fn fill_history(data: &DataDir) {
    let history = SqliteHistory::open(&data.history_db(), zone())
        .await
        .unwrap();
    for (device, socket) in [(1, 0), (1, 2), (3, 0)] {
        let series = series(device, socket);
        let all = (0..6 * 720).map(|n| sample(series, START_MS + i64::from(n) * 2 * MINUTE_MS, n));
        history.append(all.collect(), None).await.unwrap();
    }
    let progress = Progress {
        position: JournalPosition {
            journal: 1,
            offset: 512,
        },
        inboxes: vec![(DeviceKey(1), [1, 2, 3].into())],
    };
    history.append(Vec::new(), Some(progress)).await.unwrap();
    let period = PeriodSince {
        since: Timestamp::from_millis(START_MS),
        period_ms: Some(120_000),
    };
    history
        .note_periods(vec![(DeviceKey(1), period)])
        .await
        .unwrap();
    let floor = zone().range_of(zone().day_of(Timestamp::from_millis(START_MS + 2 * DAY_MS)));
    for tier in [Tier::Raw, Tier::Minute] {
        while !history.expire(tier, floor.start, 1_000).await.unwrap().done {}
    }
    history.close().await;
}

async fn site(folder: &Path) -> DataDir {
    let data = DataDir::open(folder).unwrap();
    let file = SqliteFile::open(&data.dormouse_db(), DORMOUSE, Synchronous::Normal).unwrap();
    file.write(|db| db.execute_batch(include_str!("site.sql")))
        .await
        .unwrap();
    file.close().await;
    SqliteCommands::open(&data.commands_db())
        .unwrap()
        .file()
        .close()
        .await;
    let commands = rusqlite::Connection::open(data.commands_db()).unwrap();
    commands
        .execute_batch(include_str!("commands.sql"))
        .unwrap();
    fill_history(&data).await;
    data
}

fn settings(url: String) -> PostgresSettings {
    crate::store::postgres::testing::settings(url)
}

async fn open(url: &str) -> Postgres {
    let clock = Arc::new(SystemClock::start());
    let areas = &[TABLES_OF_DORMOUSE, HISTORY];
    Postgres::open_to_move(&settings(url.to_owned()), clock, areas)
        .await
        .unwrap()
}

fn plain() -> String {
    postgres::Postgres::shared().database().unwrap().url
}

fn error_of(result: anyhow::Result<Moved>) -> String {
    format!("{:#}", result.unwrap_err())
}

/// Says stop after so many steps.
struct StopAfter(u32);

impl Watch for StopAfter {
    fn at(&mut self, _: &str, _: u64, _: u64, _: Unit) -> Result<(), Stopped> {
        self.0 = self.0.checked_sub(1).ok_or(Stopped)?;
        Ok(())
    }
}

async fn same_history(data: &DataDir, db: &Postgres) {
    let there = SqliteHistory::open(&data.history_db(), zone())
        .await
        .unwrap();
    let here = PostgresHistory::open(db.clone(), zone()).await.unwrap();
    assert_eq!(there.floors().await.unwrap(), here.floors().await.unwrap());
    assert_eq!(there.series().await.unwrap(), here.series().await.unwrap());
    // And what comes next is judged the same.
    let next = |n: i32| {
        sample(
            series(1, 0),
            START_MS + 6 * DAY_MS + i64::from(n) * MINUTE_MS,
            4_400 + n,
        )
    };
    for n in 0..3 {
        there.append(vec![next(n)], None).await.unwrap();
        here.append(vec![next(n)], None).await.unwrap();
    }
    let late = sample(series(3, 0), START_MS + 3 * DAY_MS + 1, 2_161);
    assert_eq!(
        there.append(vec![late], None).await.unwrap(),
        here.append(vec![late], None).await.unwrap()
    );
    for (device, socket) in [(1, 0), (1, 2), (3, 0)] {
        let series = series(device, socket);
        let samples = there
            .samples(series, EARLIEST..LATEST, 10_000)
            .await
            .unwrap();
        assert!(samples.len() > 2_800, "{}", samples.len());
        assert_eq!(
            samples,
            here.samples(series, EARLIEST..LATEST, 10_000)
                .await
                .unwrap()
        );
        for level in Level::ALL {
            let there = there
                .buckets(series, level, EARLIEST..LATEST)
                .await
                .unwrap();
            assert!(there.len() >= 6);
            let here = here.buckets(series, level, EARLIEST..LATEST).await.unwrap();
            assert_eq!(there, here, "{series:?} {level:?}");
        }
        let periods = there.periods(series.device).await.unwrap();
        assert_eq!(periods, here.periods(series.device).await.unwrap());
    }
    there.close().await;
}

async fn same_site(data: &DataDir, db: &Postgres) {
    let file = SqliteFile::open(&data.dormouse_db(), DORMOUSE, Synchronous::Normal).unwrap();
    let devices = SqliteDevices::new(file.clone())
        .changed_since(0)
        .await
        .unwrap();
    assert_eq!(devices.len(), 3);
    assert_eq!(
        devices,
        PostgresDevices::new(db.clone())
            .changed_since(0)
            .await
            .unwrap()
    );
    let users = UserStore::list(&SqlitePeople::new(file.clone()))
        .await
        .unwrap();
    assert_eq!(
        users,
        UserStore::list(&PostgresPeople::new(db.clone()))
            .await
            .unwrap()
    );
    let query = EventQuery {
        limit: 100,
        ..EventQuery::default()
    };
    let events = SqliteEvents::new(file.clone()).list(&query).await.unwrap();
    assert_eq!(events.len(), 2);
    assert_eq!(
        events,
        PostgresEvents::new(db.clone()).list(&query).await.unwrap()
    );
    let query = IncidentQuery {
        limit: 100,
        ..IncidentQuery::default()
    };
    let incidents = SqliteIncidents::new(file.clone())
        .list(&query)
        .await
        .unwrap();
    assert_eq!(incidents.len(), 1);
    assert_eq!(
        incidents,
        PostgresIncidents::new(db.clone())
            .list(&query)
            .await
            .unwrap()
    );
    file.close().await;
    let commands = SqliteCommands::open(&data.commands_db()).unwrap();
    let pending = commands.pending().await.unwrap();
    assert_eq!(pending.len(), 1);
    assert_eq!(
        pending,
        PostgresCommands::new(db.clone()).pending().await.unwrap()
    );
    commands.file().close().await;
}

async fn moves_whole(url: &str) {
    let dir = tempfile::tempdir().unwrap();
    let data = site(dir.path()).await;
    let db = open(url).await;
    let moved = move_site(dir.path(), &db, &mut Silent).await.unwrap();
    assert_eq!(moved.devices, 2);
    for (name, rows) in &moved.tables {
        assert!(*rows > 0, "nothing in {name}: the test site must have some");
    }
    let again = error_of(move_site(dir.path(), &db, &mut Silent).await);
    assert!(
        again.contains("moved into this database already"),
        "{again}"
    );
    same_site(&data, &db).await;
    same_history(&data, &db).await;
    let sql = "INSERT INTO users (name, name_key, role, scope, password_hash, version, created_at)
        VALUES ('n', 'n', 'admin', '', '', 1, now()) RETURNING id";
    let next: i64 = db.query_one(sql, &[]).await.unwrap().get(0);
    assert_eq!(next, 8, "keys are never used again");
}

#[tokio::test(flavor = "multi_thread")]
async fn it_moves_everything_to_postgresql() {
    moves_whole(&plain()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn it_moves_everything_to_timescaledb() {
    moves_whole(&timescale::Timescale::shared().schema().unwrap()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn it_can_be_stopped_anywhere_and_taken_up_again() {
    let dir = tempfile::tempdir().unwrap();
    let data = site(dir.path()).await;
    let url = plain();
    let mut stops = 0;
    let moved = loop {
        let db = open(&url).await;
        match move_site(dir.path(), &db, &mut StopAfter(1 + 4 * stops)).await {
            Ok(moved) => break moved,
            Err(error) => assert!(error.is::<Stopped>(), "{error:#}"),
        }
        db.close();
        stops += 1;
        assert!(stops < 50, "it comes forward");
        let clock = Arc::new(SystemClock::start());
        let node = Postgres::open(&settings(url.clone()), clock, &[TABLES_OF_DORMOUSE]).await;
        assert!(
            matches!(node, Err(OpenError::HalfMoved { .. })),
            "no node starts on it"
        );
    };
    assert!(stops > 1);
    let samples = moved
        .tables
        .iter()
        .find(|(name, _)| *name == "samples")
        .unwrap();
    assert!(samples.1 > 8_000, "{samples:?}");
    let db = open(&url).await;
    same_history(&data, &db).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_must_not_be_moved_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let error = error_of(move_site(dir.path(), &open(&plain()).await, &mut Silent).await);
    assert!(error.contains("there is no site"), "{error}");

    let data = site(dir.path()).await;
    let lock = data.lock().unwrap();
    let error = error_of(move_site(dir.path(), &open(&plain()).await, &mut Silent).await);
    assert!(error.contains("another Dormouse runs"), "{error}");
    drop(lock);

    let occupied = open(&plain()).await;
    let sql = "INSERT INTO settings VALUES ('a', 'b')";
    occupied.execute(sql, &[]).await.unwrap();
    let error = error_of(move_site(dir.path(), &occupied, &mut Silent).await);
    assert!(error.contains("not empty (there are settings)"), "{error}");

    let begun = open(&plain()).await;
    let stopped = move_site(dir.path(), &begun, &mut StopAfter(30)).await;
    assert!(stopped.unwrap_err().is::<Stopped>());
    let file = rusqlite::Connection::open(data.dormouse_db()).unwrap();
    file.execute("UPDATE devices SET revision = 900 WHERE key = 1", [])
        .unwrap();
    let error = error_of(move_site(dir.path(), &begun, &mut Silent).await);
    assert!(error.contains("was written to since"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_journal_that_was_not_worked_off_is_not_left_behind() {
    use crate::journal::FileJournal;
    use dormouse_core::ports::journal::{Importance, Journal};
    let dir = tempfile::tempdir().unwrap();
    let data = site(dir.path()).await;
    let journal = FileJournal::open(&data.journal(), 1 << 20, None).unwrap();
    assert!(
        journal
            .append(b"record", Importance::Droppable, None)
            .is_ok()
    );
    journal.close();
    journal.ended().await;
    let error = error_of(move_site(dir.path(), &open(&plain()).await, &mut Silent).await);
    assert!(error.contains("start Dormouse on it once"), "{error}");
}
