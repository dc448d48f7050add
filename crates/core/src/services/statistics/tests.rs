//! The fleet's energy and completeness over an in-memory history.

use super::*;
use crate::clock::ManualClock;
use crate::device::{Device, DeviceSettings, DeviceState};
use crate::ids::{DeviceId, SocketId};
use crate::memory::{MemoryDirectory, MemoryHistory};
use crate::sample::{DeviceSample, Sample, Values};

fn at(text: &str) -> Timestamp {
    Timestamp::parse_rfc3339(text).unwrap()
}

fn device(key: u32, id: &str, location: &str) -> Device {
    Device {
        key: DeviceKey(key),
        id: DeviceId::parse(id).unwrap(),
        state: DeviceState::Active,
        settings: DeviceSettings {
            location: location.to_owned(),
            period_s: Some(60),
            ..DeviceSettings::default()
        },
        reported: None,
        version: 1,
        created_at: at("2026-05-01T00:00:00Z"),
    }
}

/// A constant `power_w` every minute from `from` for `hours`.
fn load(key: u32, socket: u64, power_w: i32, from: &str, hours: i64) -> Vec<DeviceSample> {
    let sample = |n| DeviceSample {
        device: DeviceKey(key),
        sample: Sample {
            socket: SocketId::parse(socket).unwrap(),
            ts: Timestamp::from_millis(at(from).as_millis() + n * 60_000),
            values: Values {
                power_dw: Some(power_w * 10),
                ..Values::default()
            },
        },
    };
    (0..=hours * 60).map(sample).collect()
}

const NOW: &str = "2026-05-03T10:00:00Z";

async fn fleet() -> (Arc<ManualClock>, Arc<MemoryHistory>, Statistics) {
    let zone = SiteZone::named("Asia/Shanghai").unwrap();
    let store = Arc::new(MemoryHistory::new(zone.clone()));
    // Local midnight is 16:00 UTC.
    let start = "2026-05-02T14:00:00Z";
    for batch in [
        load(1, 0, 100, start, 4),
        // The sockets of a strip with a meter of its own are part of it.
        load(1, 1, 60, start, 4),
        load(2, 1, 20, start, 4),
        load(2, 2, 30, start, 4),
        load(3, 0, 10, start, 4),
        load(9, 0, 1, start, 4),
    ] {
        store.append(batch, None).await.unwrap();
    }
    let clock = Arc::new(ManualClock::at(at(NOW)));
    let building = MemoryDirectory::default();
    for device in [
        device(1, "A-302-strip01", "A/3/302"),
        device(2, "A-302-strip02", "A/3/302"),
        device(3, "hall", "A/1"),
    ] {
        building.put(device);
    }
    let statistics = Statistics::new(store.clone(), Arc::new(building), clock.clone(), zone);
    (clock, store, statistics)
}

fn close(one: f64, other: f64) -> bool {
    (one - other).abs() < 1e-6
}

#[tokio::test]
async fn today_begins_at_local_midnight_and_strips_are_counted_once() {
    let (clock, store, statistics) = fleet().await;
    let today = statistics.today().await.unwrap();
    assert_eq!(today.since, at("2026-05-02T16:00:00Z"));
    assert!(close(today.today_wh, 2.0 * 161.0), "{today:?}");
    assert!(close(statistics.total_wh().await.unwrap(), 4.0 * 161.0));
    assert!(close(today.devices[&DeviceKey(2)], 100.0), "{today:?}");

    store
        .append(load(3, 0, 10, "2026-05-03T08:00:00Z", 1), None)
        .await
        .unwrap();
    let again = statistics.today().await.unwrap();
    assert!(Arc::ptr_eq(&today, &again), "asked again at once");
    clock.advance(TODAY_FOR);
    let later = statistics.today().await.unwrap();
    assert!(close(later.today_wh, 2.0 * 161.0 + 10.0), "{later:?}");
    let total_wh = statistics.total_wh().await.unwrap();
    assert!(close(total_wh, 4.0 * 161.0 + 10.0), "{total_wh}");
}

fn query(by: Grouping, hours: Option<bool>) -> EnergyQuery {
    EnergyQuery {
        from: Some(at("2026-05-02T14:30:00Z")),
        to: Some(at("2026-05-03T00:00:00Z")),
        by,
        hours,
    }
}

#[tokio::test]
async fn energy_is_added_up_by_place() {
    let (_, _, statistics) = fleet().await;
    for (by, expected) in [
        (
            Grouping::Device,
            vec![
                (None, 4.0),
                (Some("A-302-strip01"), 400.0),
                (Some("A-302-strip02"), 200.0),
                (Some("hall"), 40.0),
            ],
        ),
        // What is only known to be on a floor is in none of its rooms.
        (Grouping::Room, vec![(None, 44.0), (Some("A/3/302"), 600.0)]),
        (
            Grouping::Floor,
            vec![(None, 4.0), (Some("A/1"), 40.0), (Some("A/3"), 600.0)],
        ),
        (Grouping::Building, vec![(None, 4.0), (Some("A"), 640.0)]),
    ] {
        let table = statistics.energy(query(by, Some(true))).await.unwrap();
        let groups: Vec<_> = table
            .groups
            .iter()
            .map(|(name, row)| (name.as_deref(), row.total_wh.round()))
            .collect();
        assert_eq!(groups, expected, "{by:?}");
        for row in table.groups.values() {
            assert!(close(row.points.values().sum(), row.total_wh));
        }
    }
}

#[tokio::test]
async fn energy_comes_by_hour_or_local_day() {
    let (_, _, statistics) = fleet().await;
    let hours = statistics.energy(query(Grouping::Building, None)).await;
    let hours = hours.unwrap();
    assert!(hours.hours);
    assert_eq!(hours.range.start, at("2026-05-02T14:00:00Z"));
    let building = &hours.groups[&Some("A".to_owned())];
    assert_eq!(building.points.len(), 5);
    let days = statistics
        .energy(query(Grouping::Building, Some(false)))
        .await
        .unwrap();
    let building = &days.groups[&Some("A".to_owned())];
    let starts: Vec<_> = building.points.keys().map(|it| it.to_rfc3339()).collect();
    assert_eq!(
        starts,
        ["2026-05-01T16:00:00.000Z", "2026-05-02T16:00:00.000Z"]
    );
    let wide = EnergyQuery {
        from: Some(at("2026-04-01T00:00:00Z")),
        ..query(Grouping::Room, Some(true))
    };
    let refused = statistics.energy(wide).await;
    assert!(
        matches!(&refused, Err(HistoryError::Range(it)) if it.field == "resolution"),
        "{refused:?}"
    );
    let chosen = EnergyQuery {
        hours: None,
        ..wide
    };
    assert!(!statistics.energy(chosen).await.unwrap().hours);
}

#[tokio::test]
async fn completeness_is_counted_from_when_the_period_is_known() {
    let (clock, store, statistics) = fleet().await;
    clock.jump_to(at("2026-05-02T15:30:00Z"));
    statistics.note_periods().await.unwrap();
    statistics.note_periods().await.unwrap();
    assert_eq!(store.periods(DeviceKey(2)).await.unwrap().len(), 1);
    clock.jump_to(at("2026-05-02T19:15:00Z"));
    let id = DeviceId::parse("A-302-strip02").unwrap();
    let hours = statistics
        .completeness(&id, Some(at("2026-05-02T13:00:00Z")), None)
        .await
        .unwrap();
    let seen: Vec<_> = hours
        .iter()
        .map(|it| (it.received, it.expected, it.ratio))
        .collect();
    assert_eq!(
        seen,
        [
            (60, None, None),
            (60, Some(30.0), Some(1.0)),
            (60, Some(60.0), Some(1.0)),
            (60, Some(60.0), Some(1.0)),
            (1, Some(60.0), Some(1.0 / 60.0)),
            (0, Some(15.0), Some(0.0)),
        ]
    );
}
