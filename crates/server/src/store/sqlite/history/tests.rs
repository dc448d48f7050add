//! What SQLite's history must do beyond the contract.

use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::Poll;

use dormouse_core::clock::Timestamp;
use dormouse_core::contract::history_store;
use dormouse_core::ids::{DeviceKey, SocketId};
use dormouse_core::ports::history::{
    EARLIEST, HistoryStore, HistoryUpkeep, LATEST, SeriesId, Tier,
};
use dormouse_core::rollup::{Bucket, BucketAt, Level};
use dormouse_core::sample::{DeviceSample, Sample, Values};
use rusqlite::Connection;

use super::*;

const DEVICES: u32 = 3;

async fn open(path: &Path) -> SqliteHistory {
    SqliteHistory::open(path, SiteZone::UTC).await.unwrap()
}

async fn contract(move_rows: usize) {
    let dir = tempfile::tempdir().unwrap();
    let made = AtomicUsize::new(0);
    history_store(async |zone| {
        let number = made.fetch_add(1, Ordering::Relaxed);
        let path = dir.path().join(format!("{number}.db"));
        let mut store = SqliteHistory::open(&path, zone).await.unwrap();
        store.move_rows = move_rows;
        store
    })
    .await;
}

#[tokio::test]
async fn keeps_the_history_contract_with_everything_fresh() {
    contract(MOVE_ROWS).await;
}

#[tokio::test]
async fn keeps_the_history_contract_with_everything_moved_at_once() {
    contract(1).await;
}

/// Minute `n` of three devices, every five seconds, whose counters rise.
fn minute(n: i64) -> Vec<DeviceSample> {
    let start = Timestamp::parse_rfc3339("2026-05-01T23:50:00Z").unwrap();
    let mut batch = Vec::new();
    for tick in 0..12 {
        for device in 1..=DEVICES {
            let ms = n * 60_000 + tick * 5_000 + i64::from(device);
            batch.push(DeviceSample {
                device: DeviceKey(device),
                sample: Sample {
                    socket: SocketId::STRIP,
                    ts: Timestamp::from_millis(start.as_millis() + ms),
                    values: Values {
                        power_dw: Some(i32::try_from(1_000 + ms % 997).unwrap()),
                        energy_dwh: (device != 2).then_some(10_000 + ms / 3_000),
                        ..Values::default()
                    },
                },
            });
        }
    }
    batch
}

fn series(device: u32) -> SeriesId {
    SeriesId {
        device: DeviceKey(device),
        socket: SocketId::STRIP,
    }
}

type Everything = Vec<(Vec<Sample>, Vec<Vec<BucketAt>>)>;

async fn everything(store: &SqliteHistory) -> Everything {
    let mut all = Vec::new();
    for device in 1..=DEVICES {
        let range = EARLIEST..LATEST;
        let samples = store.samples(series(device), range.clone(), usize::MAX);
        let mut levels = Vec::new();
        for level in [Level::Minute, Level::Quarter, Level::Day] {
            let buckets = store.buckets(series(device), level, range.clone()).await;
            levels.push(buckets.unwrap());
        }
        all.push((samples.await.unwrap(), levels));
    }
    all
}

/// What twenty minutes look like when nothing goes wrong.
async fn expected(dir: &Path) -> Everything {
    let store = open(&dir.join("expected.db")).await;
    for n in 0..20 {
        store.append(minute(n), None).await.unwrap();
    }
    everything(&store).await
}

#[tokio::test]
async fn a_crash_after_any_append_changes_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("h.db");
    for n in [
        1, 0, 2, 4, 3, 9, 8, 7, 6, 5, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19,
    ] {
        let mut store = open(&path).await;
        store.move_rows = 100;
        store.append(minute(n), None).await.unwrap();
        // What the last process had drained is drained again.
        let again = store.append(minute(n), None).await.unwrap();
        assert_eq!((again.new, again.repeated), (0, 36));
    }
    let expected = expected(dir.path()).await;
    assert_eq!(everything(&open(&path).await).await, expected);
    let store = open(&path).await;
    store.close().await;
    assert_eq!(everything(&open(&path).await).await, expected);
}

#[tokio::test]
async fn an_abandoned_append_is_either_kept_or_not() {
    let dir = tempfile::tempdir().unwrap();
    let mut store = open(&dir.path().join("h.db")).await;
    store.move_rows = 100;
    for n in 0..20 {
        let mut append = Box::pin(store.append(minute(n), None));
        let polled = std::future::poll_fn(|cx| Poll::Ready(append.as_mut().poll(cx))).await;
        assert!(polled.is_pending());
        drop(append);
        store.append(minute(n), None).await.unwrap();
    }
    assert_eq!(everything(&store).await, expected(dir.path()).await);
}

#[tokio::test]
async fn a_failed_append_leaves_no_trace() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("h.db");
    let mut store = open(&path).await;
    store.move_rows = 100;
    for n in 0..20 {
        if n % 7 == 3 {
            let other = Connection::open(&path).unwrap();
            other
                .execute_batch("CREATE TEMP TABLE t AS SELECT 1; BEGIN IMMEDIATE;")
                .unwrap();
            assert!(store.append(minute(n), None).await.is_err());
            other.execute_batch("ROLLBACK").unwrap();
        }
        store.append(minute(n), None).await.unwrap();
    }
    assert_eq!(everything(&store).await, expected(dir.path()).await);
}

#[tokio::test]
async fn readers_never_see_a_move_half_done() {
    let dir = tempfile::tempdir().unwrap();
    let mut store = open(&dir.path().join("h.db")).await;
    store.move_rows = 1;
    let store = Arc::new(store);
    let writer = Arc::clone(&store);
    let writing = async move {
        for n in 0..60 {
            writer.append(minute(n), None).await.unwrap();
        }
    };
    let reading = async {
        let (mut seen, mut energy) = (0, 0.0);
        while seen < 60 * 12 {
            let range = EARLIEST..LATEST;
            let samples = store.samples(series(1), range.clone(), usize::MAX);
            let samples = samples.await.unwrap().len();
            let days = store.buckets(series(1), Level::Day, range.clone()).await;
            let in_days: i64 = days.unwrap().iter().map(|at| at.bucket.count).sum();
            let in_days = usize::try_from(in_days).unwrap();
            // Each answer is a later one, and appends only add.
            assert!(seen <= samples && samples <= in_days);
            assert!(samples.is_multiple_of(12) && in_days.is_multiple_of(12));
            let fleet = store.fleet_energy(Level::Day, range).await.unwrap();
            let ours = fleet.iter().filter(|it| it.series == series(1));
            let in_fleet: f64 = ours.map(|it| it.energy_wh).sum();
            assert!(energy <= in_fleet, "{energy} Wh, then {in_fleet}");
            (seen, energy) = (samples, in_fleet);
        }
    };
    tokio::join!(writing, reading);
}

#[tokio::test]
async fn a_rebuild_mends_what_someone_broke() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("h.db");
    let store = open(&path).await;
    for n in 0..20 {
        store.append(minute(n), None).await.unwrap();
    }
    let day = SiteZone::UTC.day_of(minute(0)[0].sample.ts);
    assert_eq!(store.rebuild(series(1), day).await.unwrap().corrected, 0);
    Connection::open(&path)
        .unwrap()
        .execute_batch(
            "UPDATE minutes SET power_dwms = 0 WHERE rowid % 2 = 0;
             DELETE FROM quarters; UPDATE days SET metered_dwh = 1;",
        )
        .unwrap();
    let mut corrected = 0;
    for device in 1..=DEVICES {
        for day in [day, day.plus(1)] {
            corrected += store.rebuild(series(device), day).await.unwrap().corrected;
        }
    }
    assert!(corrected > 20, "{corrected}");
    assert_eq!(everything(&store).await, expected(dir.path()).await);
}

#[tokio::test]
async fn days_follow_a_change_of_the_sites_zone() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("h.db");
    let store = open(&path).await;
    for n in 0..20 {
        store.append(minute(n), None).await.unwrap();
    }
    let sum = |days: Vec<BucketAt>| {
        let mut sum = Bucket::default();
        days.iter().for_each(|at| sum.add(&at.bucket));
        (days.len(), sum)
    };
    let days = store.buckets(series(1), Level::Day, EARLIEST..LATEST).await;
    let (two, in_utc) = sum(days.unwrap());
    assert_eq!(two, 2);
    store.close().await;
    let zone = SiteZone::named("Asia/Shanghai").unwrap();
    let store = SqliteHistory::open(&path, zone).await.unwrap();
    let days = store.buckets(series(1), Level::Day, EARLIEST..LATEST).await;
    assert_eq!(sum(days.unwrap()), (1, in_utc));
}

#[tokio::test]
async fn no_step_of_retention_drops_more_than_it_may() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(&dir.path().join("h.db")).await;
    for n in 0..20 {
        store.append(minute(n), None).await.unwrap();
    }
    let before = minute(20)[0].sample.ts;
    let mut steps = Vec::new();
    loop {
        let step = store.expire(Tier::Raw, before, 100).await.unwrap();
        steps.push(step.rows);
        if step.done {
            break;
        }
    }
    // All but the last five minutes of each series.
    assert_eq!(steps.iter().sum::<u64>(), 3 * 179);
    assert!(steps.iter().all(|rows| *rows <= 100), "{steps:?}");
}

#[tokio::test]
async fn people_can_query_every_sample_in_real_units() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("h.db");
    let store = open(&path).await;
    store.append(minute(0), None).await.unwrap();
    store.close().await;
    let store = open(&path).await;
    store.append(minute(1), None).await.unwrap();
    let db = Connection::open(&path).unwrap();
    let (rows, first, last, power): (u32, i64, i64, f64) = db
        .query_row(
            "SELECT count(*), min(ts), max(ts), max(power_w) FROM telemetry WHERE device_key = 3",
            [],
            |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?)),
        )
        .unwrap();
    let all = store
        .samples(series(3), EARLIEST..LATEST, 99)
        .await
        .unwrap();
    assert_eq!((rows, all.len()), (24, 24));
    assert_eq!(all[0].ts.as_millis(), first);
    assert_eq!(all[23].ts.as_millis(), last);
    let most = all
        .iter()
        .filter_map(|it| it.values.power_dw)
        .max()
        .unwrap();
    assert!((power - f64::from(most) / 10.0).abs() < 1e-9);
}
