//! What keeps history in bounds and in order.

use super::{EVER, History, STRIP, at, rfc3339, whole};
use crate::clock::Timestamp;
use crate::ports::history::{HistoryStore, Tier};
use crate::rollup::{BucketAt, Level};
use crate::sample::{DeviceSample, Sample};
use crate::site::SiteZone;

/// Half an hour before midnight and half an hour after it, every ten seconds.
fn around_midnight() -> (Timestamp, Vec<DeviceSample>) {
    let midnight = rfc3339("2026-05-02T00:00:00Z");
    let samples = (-180..180).map(|n: i32| {
        let ts = Timestamp::from_millis(midnight.as_millis() + i64::from(n) * 10_000);
        let mut sample = Sample {
            ts,
            ..at(0, 1_000 + n).sample
        };
        sample.values.energy_dwh = Some(10_000 + i64::from(n));
        whole(sample)
    });
    (midnight, samples.collect())
}

pub(super) async fn old_samples_go_and_their_rollups_stay(store: &impl History) {
    let (midnight, samples) = around_midnight();
    store.append(samples.clone(), None).await.unwrap();
    let quarters = store.buckets(STRIP, Level::Quarter, EVER).await.unwrap();
    let rows = store.expirable(Tier::Raw, midnight).await.unwrap();
    let expired = store.expire(Tier::Raw, midnight, 1_000).await.unwrap();
    assert_eq!((expired.rows, expired.done), (rows, true));
    // All but the last five minutes, which judge what comes next.
    assert_eq!(rows, 149);
    assert_eq!(store.expirable(Tier::Raw, midnight).await.unwrap(), 0);
    let left = store.samples(STRIP, EVER, 1_000).await.unwrap();
    assert_eq!(
        left,
        samples[180..]
            .iter()
            .map(|it| it.sample)
            .collect::<Vec<_>>()
    );
    let again = store.append(samples.clone(), None).await.unwrap();
    let (repeated, out_of_range) = (again.repeated, again.out_of_range);
    assert_eq!((again.new, repeated, out_of_range), (0, 180, 180));

    let minutes = store.expirable(Tier::Minute, midnight).await.unwrap();
    assert_eq!(minutes, 30);
    let expired = store.expire(Tier::Minute, midnight, 1_000).await.unwrap();
    assert_eq!(expired.rows, 30);
    let minutes = store.buckets(STRIP, Level::Minute, EVER).await.unwrap();
    assert_eq!(minutes.len(), 30);
    assert_eq!(
        store.buckets(STRIP, Level::Quarter, EVER).await.unwrap(),
        quarters
    );
    let usage = store.usage().await.unwrap();
    assert_eq!(store.floors().await.unwrap(), usage.floors);
    assert_eq!(usage.floors.raw, Some(midnight));
    assert_eq!(usage.floors.minute, Some(midnight));
    assert_eq!(
        usage.first_day.unwrap().plus(1),
        SiteZone::UTC.day_of(midnight)
    );
}

pub(super) async fn what_comes_after_the_floor_is_judged_as_before(
    whole: &impl History,
    expired: &impl History,
) {
    let (midnight, mut samples) = around_midnight();
    // The first sample after midnight comes late.
    let late = samples.remove(180);
    for store in [whole as &dyn HistoryStore, expired] {
        store.append(samples.clone(), None).await.unwrap();
    }
    expired.expire(Tier::Raw, midnight, 1_000).await.unwrap();
    for store in [whole as &dyn HistoryStore, expired] {
        assert_eq!(store.append(vec![late], None).await.unwrap().new, 1);
    }
    for level in [Level::Minute, Level::Quarter, Level::Day] {
        let ours = whole.buckets(STRIP, level, EVER).await.unwrap();
        assert_eq!(expired.buckets(STRIP, level, EVER).await.unwrap(), ours);
    }
}

pub(super) async fn expiry_comes_in_steps(store: &impl History) {
    let (midnight, samples) = around_midnight();
    store.append(samples, None).await.unwrap();
    let mut rows = 0;
    let mut steps = 0;
    loop {
        let step = store.expire(Tier::Raw, midnight, 50).await.unwrap();
        (rows, steps) = (rows + step.rows, steps + 1);
        if step.done {
            break;
        }
        assert!(steps < 10, "expiry does not end");
    }
    assert_eq!(rows, 149);
}

pub(super) async fn rebuilding_finds_nothing_to_correct(store: &impl History) {
    let (midnight, samples) = around_midnight();
    for part in [1, 0] {
        let batch = samples.iter().copied().skip(part).step_by(2);
        store.append(batch.collect(), None).await.unwrap();
    }
    let before: Vec<Vec<BucketAt>> = every_level(store).await;
    let day = SiteZone::UTC.day_of(midnight);
    for day in [day.plus(-1), day] {
        let rebuilt = store.rebuild(STRIP, day).await.unwrap();
        assert_eq!((rebuilt.minutes, rebuilt.corrected), (30, 0));
    }
    assert_eq!(store.rebuild(STRIP, day.plus(1)).await.unwrap().minutes, 0);
    assert_eq!(every_level(store).await, before);
}

async fn every_level(store: &impl History) -> Vec<Vec<BucketAt>> {
    let mut all = Vec::new();
    for level in [Level::Minute, Level::Quarter, Level::Day] {
        all.push(store.buckets(STRIP, level, EVER).await.unwrap());
    }
    all
}
