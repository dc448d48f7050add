//! What people's own SQL finds, and what maintenance does for it.

use std::sync::Arc;

use dormouse_core::clock::Timestamp;
use dormouse_core::device::{DeviceSettings, DeviceState};
use dormouse_core::ids::{DeviceId, DeviceKey, SocketId};
use dormouse_core::ports::history::{EARLIEST, HistoryStore, LATEST, SeriesId};
use dormouse_core::ports::{DeviceAccess, DeviceStore, DeviceWrites, NewDevice, Written};
use dormouse_core::rollup::Level;
use dormouse_core::sample::{DeviceSample, Sample, Values};
use dormouse_core::site::SiteZone;

use super::super::super::PostgresDevices;
use super::super::super::testing::{Engine, on_every_engine};
use super::super::{Maintenance, MaintenanceReport, parts};
use super::story::{Dice, answers, hour, samples};
use super::{Flavour, PostgresHistory, history, plain, timescale};

/// Four devices, "strip-1" and up, with keys from 1, and their story.
async fn told(history: &PostgresHistory) -> Vec<DeviceSample> {
    let new = |number: u32| NewDevice {
        id: DeviceId::parse(&format!("strip-{number}")).unwrap(),
        state: DeviceState::Active,
        settings: DeviceSettings::default(),
        access: DeviceAccess::None,
        created_at: hour(0),
    };
    let writes = DeviceWrites {
        insert: (1..=4).map(new).collect(),
        swap: Vec::new(),
    };
    let devices = PostgresDevices::new(history.db.clone());
    let written = devices.write(writes).await.unwrap();
    assert!(matches!(written, Written::All(_)), "{written:?}");
    let samples = samples(&mut Dice::new(3), 200);
    history.append(samples.clone(), None).await.unwrap();
    samples
}

async fn text(history: &PostgresHistory, sql: &str) -> Vec<String> {
    let rows = history.db.query(sql, &[]).await.unwrap();
    rows.iter().map(|row| row.get(0)).collect()
}

async fn every_sample_is_there_in_real_units(history: &PostgresHistory) {
    let samples = told(history).await;
    let sql = "SELECT concat_ws(' ', device_id, extract(epoch FROM ts)::numeric(20, 3), \
            socket_id, power_w::numeric(20, 1), voltage_v::numeric(20, 1), \
            current_a::numeric(20, 3), energy_wh::numeric(20, 1), power_factor::numeric(20, 2)) \
        FROM telemetry WHERE device_id = 'strip-3' AND ts >= '2026-05-01' ORDER BY socket_id, ts";
    let found = text(history, sql).await;
    let expected = samples.iter().filter(|it| it.device.0 == 3).map(|it| {
        let values = &it.sample.values;
        let scaled = |value: Option<i64>, digits: usize| {
            let value = value?;
            let unit = 10_i64.pow(u32::try_from(digits).unwrap());
            let (sign, value) = (if value < 0 { "-" } else { "" }, value.abs());
            Some(format!("{sign}{}.{:0digits$}", value / unit, value % unit))
        };
        let columns = [
            Some(it.sample.socket.to_string()),
            scaled(values.power_dw.map(i64::from), 1),
            scaled(values.voltage_dv.map(i64::from), 1),
            scaled(values.current_ma.map(i64::from), 3),
            scaled(values.energy_dwh, 1),
            scaled(values.power_factor_centi.map(i64::from), 2),
        ];
        let columns: Vec<String> = columns.into_iter().flatten().collect();
        let ms = it.sample.ts.as_millis();
        format!(
            "strip-3 {}.{:03} {}",
            ms / 1_000,
            ms % 1_000,
            columns.join(" ")
        )
    });
    assert_eq!(found, expected.collect::<Vec<_>>());
}

/// Hours of people's SQL, and the same from the rollups.
async fn hours(history: &PostgresHistory) -> (Vec<String>, i64) {
    let sql = "SELECT concat_ws(' ', device_id, socket_id, ts, samples, \
            power_w::numeric(20, 6), power_min_w, power_max_w, energy_wh::numeric(20, 6)) \
        FROM telemetry_hourly WHERE ts >= '2026-05-01' ORDER BY device_id, socket_id, ts";
    let sum = "SELECT sum(samples)::int8::text FROM telemetry_hourly";
    let count = text(history, sum).await[0].parse().unwrap();
    (text(history, sql).await, count)
}

/// Samples that are in the quarter-hours' table already.
async fn in_quarters(history: &PostgresHistory) -> i64 {
    let sql = "SELECT sum(count)::int8::text FROM quarters";
    text(history, sql).await[0].parse().unwrap()
}

#[tokio::test]
async fn people_can_query_samples_and_hours_on_either() {
    let (plain, timescale) = (plain(SiteZone::UTC).await, timescale(SiteZone::UTC).await);
    every_sample_is_there_in_real_units(&plain).await;
    every_sample_is_there_in_real_units(&timescale).await;
    let (expected, count) = hours(&plain).await;
    for engine in [16, 17, 18].map(Engine::Version) {
        let other = history(engine, SiteZone::UTC).await;
        every_sample_is_there_in_real_units(&other).await;
        assert_eq!(hours(&other).await.0, expected, "{engine:?}");
    }
    assert_eq!(count, in_quarters(&plain).await);
    assert!(expected.len() > 30, "{expected:?}");
    assert_eq!(hours(&timescale).await.0, expected);

    let timescale = Arc::new(timescale);
    let mut maintenance = Maintenance::new(Arc::clone(&timescale));
    assert_eq!(maintenance.run(hour(24 * 60)).await.detail(), {
        format!("maintained {}", hour(24 * 60).to_rfc3339())
    });
    // Now from the aggregate itself; what comes late is added at the next run.
    assert_eq!(hours(&timescale).await.0, expected);
    let late = |history: Arc<PostgresHistory>| async move {
        let late = samples(&mut Dice::new(99), 200);
        history.append(late, None).await.unwrap();
    };
    late(Arc::clone(&timescale)).await;
    let plain = Arc::new(plain);
    late(Arc::clone(&plain)).await;
    assert!(maintenance.run(hour(24 * 61)).await.is_well());
    assert_eq!(hours(&timescale).await, hours(&plain).await);
}

#[tokio::test]
async fn maintenance_compresses_what_is_a_week_old() {
    let history = Arc::new(timescale(SiteZone::UTC).await);
    told(&history).await;
    let compressed = async |table| {
        let client = history.db.connection().await.unwrap();
        let parts = parts::list(&client, Flavour::Timescale, table)
            .await
            .unwrap();
        let compressed = parts.iter().filter(|it| it.is_compressed).count();
        (compressed, parts.len())
    };
    let mut maintenance = Maintenance::new(Arc::clone(&history));
    let (none, days) = compressed("samples").await;
    assert_eq!(none, 0);
    // The second day ended less than a week ago.
    let week = Timestamp::parse_rfc3339("2026-05-09T12:00:00Z").unwrap();
    assert!(maintenance.run(week).await.is_well());
    assert_eq!(compressed("samples").await, (1, days));
    assert_eq!(compressed("quarters").await.0, 0);
    assert!(maintenance.run(hour(24 * 60)).await.is_well());
    assert_eq!(compressed("samples").await, (days, days));
    assert_eq!(compressed("minutes").await, (days, days));
}

async fn partitions_are_there_before_their_day(engine: Engine) {
    let history = Arc::new(history(engine, SiteZone::UTC).await);
    let mut maintenance = Maintenance::new(Arc::clone(&history));
    let report = maintenance.run(hour(0)).await;
    assert!(report.is_well(), "{report:?}");
    assert_eq!(report.steps[0].changed, 4 + 4 + 1);
    let client = history.db.connection().await.unwrap();
    for (table, count) in [("samples", 4), ("minutes", 4), ("quarters", 1)] {
        let parts = parts::list(&client, Flavour::Plain, table).await.unwrap();
        assert_eq!(parts.len(), count);
        assert!(parts[0].from <= hour(0) && hour(0) < parts[0].until);
    }
    assert_eq!(maintenance.run(hour(1)).await.steps[0].changed, 0);
}
on_every_engine!(
    partitions_are_there_before_their_day: postgresql_15 = Version(15),
    postgresql_16 = Version(16), postgresql_17 = Version(17), postgresql_18 = Version(18),
    postgresql_odd = Odd
);

/// Pages of the heap on which the samples of strip-1 stand.
async fn pages(history: &PostgresHistory) -> i64 {
    let sql = "SELECT count(DISTINCT (tableoid, (ctid::text::point)[0])) FROM samples \
        WHERE device = 1";
    history.db.query(sql, &[]).await.unwrap()[0].get(0)
}

/// The story, and then ten strips that report in turn.
async fn told_in_turn(history: &PostgresHistory) {
    told(history).await;
    for minute in 0..400 {
        let sample = |device| DeviceSample {
            device: DeviceKey(device),
            sample: Sample {
                socket: SocketId::STRIP,
                ts: Timestamp::from_millis(hour(0).as_millis() + minute * 60_000 + 7),
                values: Values {
                    power_dw: Some(230),
                    ..Values::default()
                },
            },
        };
        let round = (1..=10).map(sample).collect();
        history.append(round, None).await.unwrap();
    }
}

#[tokio::test]
async fn maintenance_puts_finished_days_in_order() {
    let [ordered, other] = [plain(SiteZone::UTC).await, plain(SiteZone::UTC).await];
    tokio::join!(told_in_turn(&ordered), told_in_turn(&other));
    let scattered = pages(&ordered).await;
    let ordered = Arc::new(ordered);
    let mut maintenance = Maintenance::new(Arc::clone(&ordered));
    let step = |report: &MaintenanceReport| {
        assert!(report.is_well(), "{report:?}");
        let step = report.steps.iter().find(|it| it.step == "order");
        step.unwrap().changed
    };
    // The second day ended less than two days ago.
    let days = Timestamp::parse_rfc3339("2026-05-04T12:00:00Z").unwrap();
    assert_eq!(step(maintenance.run(days).await), 2);
    assert!(step(maintenance.run(hour(24 * 60)).await) >= 3);
    assert_eq!(step(maintenance.run(hour(24 * 61)).await), 0);
    let together = pages(&ordered).await;
    assert!(together * 3 < scattered, "{together} of {scattered}");

    let late = samples(&mut Dice::new(99), 50);
    ordered.append(late.clone(), None).await.unwrap();
    other.append(late, None).await.unwrap();
    let expected = answers(&other).await;
    answers(&*ordered).await.assert_same(&expected, "in order");
}

#[tokio::test]
async fn days_follow_a_change_of_the_sites_zone() {
    let utc = plain(SiteZone::UTC).await;
    told(&utc).await;
    let series = SeriesId {
        device: DeviceKey(1),
        socket: SocketId::STRIP,
    };
    let zone = SiteZone::named("Asia/Kolkata").unwrap();
    let days = async |history: &PostgresHistory| {
        let days = history
            .buckets(series, Level::Day, EARLIEST..LATEST)
            .await
            .unwrap();
        let samples: i64 = days.iter().map(|at| at.bucket.count).sum();
        let starts: Vec<_> = days.iter().map(|at| at.start).collect();
        (starts, samples)
    };
    let (before, samples) = days(&utc).await;
    let moved = PostgresHistory::open(utc.db.clone(), zone.clone())
        .await
        .unwrap();
    let (after, same) = days(&moved).await;
    assert_eq!((samples, same), (200, 200));
    assert_ne!(before, after);
    assert!(
        after
            .iter()
            .all(|ts| zone.start_of(zone.day_of(*ts)) == *ts)
    );
    for (series, day) in [(series, 0), (series, 1)] {
        let day = zone.day_of(hour(0)).plus(day);
        use dormouse_core::ports::history::HistoryUpkeep as _;
        assert_eq!(moved.rebuild(series, day).await.unwrap().corrected, 0);
    }
}
