//! Charts and exports over an in-memory history.

use super::*;
use crate::clock::ManualClock;
use crate::memory::{MemoryDirectory, MemoryHistory};
use crate::ports::history::{HistoryUpkeep, Tier};
use crate::sample::{DeviceSample, Values};

fn at(text: &str) -> Timestamp {
    Timestamp::parse_rfc3339(text).unwrap()
}

fn strip() -> DeviceId {
    DeviceId::parse("A-302-strip01").unwrap()
}

const START: &str = "2026-05-01T00:00:00Z";

/// A sample every ten seconds for `hours`, from [`START`].
async fn history(hours: i64) -> (Arc<MemoryHistory>, History) {
    let directory = MemoryDirectory::default();
    let device = directory.add("A-302-strip01", "A/3/302");
    let zone = SiteZone::named("Asia/Kolkata").unwrap();
    let store = Arc::new(MemoryHistory::new(zone.clone()));
    let samples = (0..hours * 360).map(|n| DeviceSample {
        device,
        sample: Sample {
            socket: SocketId::STRIP,
            ts: Timestamp::from_millis(at(START).as_millis() + n * 10_000),
            values: Values {
                power_dw: Some(1_000),
                ..Values::default()
            },
        },
    });
    store.append(samples.collect(), None).await.unwrap();
    let clock = Arc::new(ManualClock::at(at("2026-05-20T00:00:00Z")));
    let history = History::new(store.clone(), Arc::new(directory), clock, zone);
    (store, history)
}

fn query(from: &str, to: &str, resolution: Option<Resolution>) -> HistoryQuery {
    HistoryQuery {
        socket: SocketId::STRIP,
        from: Some(at(from)),
        to: Some(at(to)),
        resolution,
    }
}

async fn chosen(history: &History, from: &str, to: &str) -> (Resolution, usize) {
    let chart = history
        .chart(&strip(), query(from, to, None))
        .await
        .unwrap();
    let points = match &chart.points {
        Points::Raw(samples) => samples.len(),
        Points::Buckets(buckets) => buckets.len(),
    };
    (chart.resolution, points)
}

#[tokio::test]
async fn the_resolution_is_the_finest_that_fits_a_chart() {
    let (store, history) = history(15 * 24).await;
    let to = |text| (START, text);
    for ((from, to), resolution, points) in [
        (to("2026-05-01T01:00:00Z"), Resolution::Raw, 360),
        (to("2026-05-01T12:00:00Z"), Resolution::Minute, 720),
        (to("2026-05-09T00:00:00Z"), Resolution::Quarter, 768),
        (to("2026-06-01T00:00:00Z"), Resolution::Hour, 361),
        (to("2027-05-01T00:00:00Z"), Resolution::Day, 16),
        // Nothing was measured here, so raw is as good as anything.
        (
            ("2026-05-17T00:00:00Z", "2026-05-18T00:00:00Z"),
            Resolution::Raw,
            0,
        ),
    ] {
        assert_eq!(
            chosen(&history, from, to).await,
            (resolution, points),
            "{from} to {to}"
        );
    }
    let floor = at("2026-05-01T18:30:00Z");
    store.expire(Tier::Raw, floor, u64::MAX).await.unwrap();
    let short = chosen(&history, START, "2026-05-01T01:00:00Z").await;
    assert_eq!(short, (Resolution::Minute, 60));
    store.expire(Tier::Minute, floor, u64::MAX).await.unwrap();
    let short = chosen(&history, START, "2026-05-01T01:00:00Z").await;
    assert_eq!(short, (Resolution::Quarter, 4));
}

#[tokio::test]
async fn a_range_starts_with_a_whole_bucket_of_the_site() {
    let (_, history) = history(48).await;
    for (resolution, start, first) in [
        (Resolution::Minute, "2026-05-01T20:07:00Z", 60_000),
        (Resolution::Quarter, "2026-05-01T20:00:00Z", 900_000),
        // The zone is off by half an hour.
        (Resolution::Hour, "2026-05-01T19:30:00Z", 3_600_000),
        (Resolution::Day, "2026-05-01T18:30:00Z", 86_400_000),
    ] {
        let range = query(
            "2026-05-01T20:07:08Z",
            "2026-05-02T23:00:00Z",
            Some(resolution),
        );
        let chart = history.chart(&strip(), range).await.unwrap();
        let Points::Buckets(buckets) = chart.points else {
            panic!("{resolution:?} gave samples");
        };
        assert_eq!(chart.range.start, at(start), "{resolution:?}");
        assert_eq!(buckets[0].start, at(start), "{resolution:?}");
        assert_eq!(buckets[0].bucket.covered_ms, first, "{resolution:?}");
        assert_eq!(buckets[0].bucket.mean_power_w(), Some(100.0));
    }
}

#[tokio::test]
async fn what_makes_no_sense_is_refused_by_name() {
    let (_, history) = history(1).await;
    let now = "2026-05-20T00:00:00Z";
    for (from, to, resolution, field) in [
        (now, START, None, "from"),
        (START, START, None, "from"),
        ("1999-12-31T23:59:59Z", START, None, "from"),
        (START, "2100-01-01T00:00:00Z", None, "to"),
        ("2015-05-01T00:00:00Z", START, None, "from"),
        (
            "2026-04-01T00:00:00Z",
            START,
            Some(Resolution::Raw),
            "resolution",
        ),
        (
            "2026-01-01T00:00:00Z",
            START,
            Some(Resolution::Minute),
            "resolution",
        ),
        (
            "2023-01-01T00:00:00Z",
            START,
            Some(Resolution::Quarter),
            "resolution",
        ),
    ] {
        let refused = history.chart(&strip(), query(from, to, resolution)).await;
        let Err(HistoryError::Range(broken)) = refused else {
            panic!("{from} to {to}: {refused:?}");
        };
        assert_eq!(broken.field, field, "{broken}");
    }
    let unknown = DeviceId::parse("B").unwrap();
    let refused = history.chart(&unknown, query(START, now, None)).await;
    assert!(matches!(refused, Err(HistoryError::UnknownDevice(_))));
}

#[tokio::test]
async fn an_export_hands_out_every_row_once_in_pages() {
    let (_, history) = history(30).await;
    for (resolution, rows) in [
        (Resolution::Raw, 30 * 360),
        (Resolution::Minute, 30 * 60),
        (Resolution::Quarter, 30 * 4),
        (Resolution::Hour, 31),
        (Resolution::Day, 2),
    ] {
        let all = query(
            "2026-04-20T00:00:00Z",
            "2026-06-01T00:00:00Z",
            Some(resolution),
        );
        let mut export = history.export(&strip(), all).unwrap();
        let mut seen = Vec::new();
        while let Some((points, next)) = history.next_rows(export, 97).await.unwrap() {
            let before = seen.len();
            match points {
                Points::Raw(samples) => seen.extend(samples.iter().map(|it| it.ts)),
                Points::Buckets(buckets) => seen.extend(buckets.iter().map(|it| it.start)),
            }
            assert!(seen.len() - before <= 98, "{resolution:?}");
            export = next;
        }
        assert_eq!(seen.len(), rows, "{resolution:?}");
        assert!(seen.is_sorted_by(|a, b| a < b), "{resolution:?}");
    }
}
