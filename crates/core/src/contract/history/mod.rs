//! The contract of [`HistoryStore`] and [`HistoryUpkeep`].
#![expect(clippy::unwrap_used, reason = "a broken contract fails the test")]

mod upkeep;

use std::ops::Range;

use crate::clock::Timestamp;
use crate::ids::{DeviceKey, SocketId};
use crate::ports::history::{
    Appended, EARLIEST, HistoryStore, HistoryUpkeep, LATEST, PeriodSince, SeriesId,
};
use crate::ports::journal::{JournalPosition, Progress};
use crate::rollup::Level;
use crate::sample::{DeviceSample, Sample, Values};
use crate::site::SiteZone;

const DEVICE: DeviceKey = DeviceKey(7);
const STRIP: SeriesId = SeriesId {
    device: DEVICE,
    socket: SocketId::STRIP,
};
const MINUTE_MS: i64 = 60_000;
const HOUR_MS: i64 = 60 * MINUTE_MS;
const EVER: Range<Timestamp> = EARLIEST..LATEST;

/// What a store of history must be able to do.
pub trait History: HistoryStore + HistoryUpkeep {}
impl<T: HistoryStore + HistoryUpkeep> History for T {}

/// The contract of a history, on empty stores from `make`.
///
/// # Panics
/// Where a store breaks the contract.
pub async fn history_store<H: History>(make: impl AsyncFn(SiteZone) -> H) {
    let utc = || SiteZone::UTC;
    progress_is_kept_with_the_newest_inbox_of_each_device(&make(utc()).await).await;
    raw_samples_come_back_once_and_in_order(&make(utc()).await).await;
    what_cannot_be_kept_is_counted(&make(utc()).await).await;
    any_order_and_repetition_gives_one_answer(&make(utc()).await, &make(utc()).await).await;
    days_are_the_sites_own(&make(SiteZone::named("Europe/Berlin").unwrap()).await).await;
    the_fleet_is_every_series_in_order(&make(utc()).await).await;
    a_period_is_noted_when_it_changes(&make(utc()).await).await;
    upkeep::old_samples_go_and_their_rollups_stay(&make(utc()).await).await;
    upkeep::what_comes_after_the_floor_is_judged_as_before(&make(utc()).await, &make(utc()).await)
        .await;
    upkeep::expiry_comes_in_steps(&make(utc()).await).await;
    upkeep::rebuilding_finds_nothing_to_correct(&make(utc()).await).await;
}

async fn progress_is_kept_with_the_newest_inbox_of_each_device(store: &impl History) {
    assert_eq!(store.progress().await.unwrap(), None);
    let progress = |offset, inboxes: &[(u32, &[u8])]| Progress {
        position: JournalPosition {
            journal: u64::MAX,
            offset,
        },
        inboxes: inboxes
            .iter()
            .map(|(key, bytes)| (DeviceKey(*key), (*bytes).into()))
            .collect(),
    };
    let first = progress(10, &[(1, b"one"), (2, b"two")]);
    store.append(Vec::new(), Some(first)).await.unwrap();
    let second = progress(20, &[(2, b"deux"), (3, b"")]);
    store
        .append(vec![at(1_000, 5)], Some(second))
        .await
        .unwrap();
    store.append(vec![at(2_000, 5)], None).await.unwrap();
    assert_eq!(
        store.progress().await.unwrap(),
        Some(progress(20, &[(1, b"one"), (2, b"deux"), (3, b"")]))
    );
}

async fn raw_samples_come_back_once_and_in_order(store: &impl History) {
    let full = Sample {
        socket: SocketId::STRIP,
        ts: noon(3_000),
        values: Values {
            power_dw: Some(-5),
            voltage_dv: Some(2_298),
            current_ma: Some(955),
            energy_dwh: Some(i64::from(u32::MAX) + 1),
            power_factor_centi: Some(94),
        },
    };
    let batch = vec![whole(full), at(1_000, 10), at(2_000, 20), at(2_000, 99)];
    let appended = store.append(batch, None).await.unwrap();
    assert_eq!((appended.new, appended.repeated), (3, 1));
    let late = vec![at(500, 5), at(1_000, 77)];
    let appended = store.append(late, None).await.unwrap();
    assert_eq!((appended.new, appended.repeated), (1, 1));

    let all = store.samples(STRIP, EVER, 100).await.unwrap();
    let expected = [at(500, 5), at(1_000, 10), at(2_000, 20), whole(full)];
    assert_eq!(all, expected.map(|it| it.sample));
    let some = store.samples(STRIP, noon(1_000)..noon(3_000), 1).await;
    assert_eq!(some.unwrap(), [at(1_000, 10).sample]);
    let none = store.samples(STRIP, noon(3_000)..noon(1_000), 9).await;
    assert_eq!(none.unwrap(), []);
    let other = SeriesId {
        device: DeviceKey(8),
        ..STRIP
    };
    assert_eq!(store.samples(other, EVER, 9).await.unwrap(), []);
    assert_eq!(store.series().await.unwrap(), [STRIP]);
}

async fn what_cannot_be_kept_is_counted(store: &impl History) {
    let stamped = |ts| {
        whole(Sample {
            ts,
            ..at(0, 1).sample
        })
    };
    let before = Timestamp::from_millis(EARLIEST.as_millis() - 1);
    let last = Timestamp::from_millis(LATEST.as_millis() - 1);
    let batch = vec![
        stamped(before),
        stamped(EARLIEST),
        stamped(last),
        stamped(LATEST),
    ];
    assert_eq!(
        store.append(batch, None).await.unwrap(),
        Appended {
            new: 2,
            repeated: 0,
            out_of_range: 2
        }
    );
    assert_eq!(store.samples(STRIP, EVER, 9).await.unwrap().len(), 2);
}

/// Samples of three hours in which everything happens: silences, a counter that
/// comes, falls, restarts and goes, power without counter and the reverse.
fn eventful() -> Vec<DeviceSample> {
    let mut samples = Vec::new();
    let mut ts = 0;
    let mut dwh = 1_000;
    let mut noise: u64 = 42;
    while ts < 3 * HOUR_MS {
        noise = noise
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        let dice = noise >> 33;
        ts += match dice % 40 {
            0 => 7 * MINUTE_MS,
            1 => MINUTE_MS,
            _ => 1_000 + i64::try_from(dice % 9_000).unwrap(),
        };
        dwh = match dice % 50 {
            2 => 0,
            3 => dwh - dwh / 20,
            4 => dwh + 1_000_000,
            _ => dwh + i64::try_from(dice % 4).unwrap(),
        };
        let power = i32::try_from(dice % 20_000).unwrap();
        let counted = (ts / (20 * MINUTE_MS)) % 2 == 0 && !dice.is_multiple_of(7);
        samples.push(whole(Sample {
            socket: SocketId::STRIP,
            ts: noon(ts),
            values: Values {
                power_dw: (!dice.is_multiple_of(11)).then_some(power),
                voltage_dv: Some(2_300),
                energy_dwh: counted.then_some(dwh),
                ..Values::default()
            },
        }));
    }
    samples
}

async fn any_order_and_repetition_gives_one_answer(sorted: &impl History, mixed: &impl History) {
    let samples = eventful();
    assert!(samples.len() > 500, "only {}", samples.len());
    sorted.append(samples.clone(), None).await.unwrap();
    for part in [3, 1, 4, 0, 2] {
        let batch = samples.iter().copied().skip(part).step_by(5);
        let again = samples.iter().copied().skip(part).step_by(7);
        mixed.append(batch.collect(), None).await.unwrap();
        mixed.append(again.collect(), None).await.unwrap();
    }
    assert_same_history(sorted, mixed).await;
    let days = sorted.buckets(STRIP, Level::Day, EVER).await.unwrap();
    assert_eq!(days.len(), 1);
    assert_eq!(days[0].bucket.count, i64::try_from(samples.len()).unwrap());
}

async fn assert_same_history(one: &impl History, other: &impl History) {
    let ours = one.samples(STRIP, EVER, usize::MAX).await.unwrap();
    let theirs = other.samples(STRIP, EVER, usize::MAX).await.unwrap();
    assert_eq!(ours, theirs);
    for level in [Level::Minute, Level::Quarter, Level::Day] {
        let ours = one.buckets(STRIP, level, EVER).await.unwrap();
        let theirs = other.buckets(STRIP, level, EVER).await.unwrap();
        assert_eq!(ours, theirs, "{level:?}");
    }
}

async fn days_are_the_sites_own(store: &impl History) {
    // The clocks go forward: midnight to midnight is 23 hours.
    let midnight = rfc3339("2026-03-28T23:00:00Z");
    let next = rfc3339("2026-03-29T22:00:00Z");
    let minute = |at: Timestamp| (at.as_millis()..).step_by(usize::try_from(MINUTE_MS).unwrap());
    let from = Timestamp::from_millis(midnight.as_millis() - 10 * MINUTE_MS);
    let to = next.as_millis() + 10 * MINUTE_MS;
    let samples = minute(from).take_while(|ms| *ms <= to).map(|ms| {
        whole(Sample {
            ts: Timestamp::from_millis(ms),
            ..at(0, 600).sample
        })
    });
    store.append(samples.collect(), None).await.unwrap();
    let days = store.buckets(STRIP, Level::Day, EVER).await.unwrap();
    let lengths: Vec<_> = days
        .iter()
        .map(|it| (it.start.to_rfc3339(), it.bucket.covered_ms / MINUTE_MS))
        .collect();
    let expected = [
        ("2026-03-27T23:00:00.000Z".to_owned(), 10),
        ("2026-03-28T23:00:00.000Z".to_owned(), 23 * 60),
        ("2026-03-29T22:00:00.000Z".to_owned(), 10),
    ];
    assert_eq!(lengths, expected);
    let one = store.buckets(STRIP, Level::Day, midnight..next).await;
    assert_eq!(one.unwrap(), days[1..2]);
}

async fn the_fleet_is_every_series_in_order(store: &impl History) {
    let of = |device, socket, ms, dw| DeviceSample {
        device: DeviceKey(device),
        sample: Sample {
            socket: SocketId::parse(socket).unwrap(),
            ..at(ms, dw).sample
        },
    };
    let batch = vec![
        of(300, 0, 0, 30),
        of(2, 1, 0, 21),
        of(2, 0, 0, 20),
        of(2, 0, 2 * HOUR_MS, 22),
    ];
    store.append(batch, None).await.unwrap();
    let fleet = store
        .fleet_energy(Level::Quarter, noon(0)..noon(3 * HOUR_MS))
        .await
        .unwrap();
    let seen: Vec<_> = fleet
        .iter()
        .map(|it| (it.series.device.0, it.series.socket.get(), it.start))
        .collect();
    let expected = [
        (2, 0, noon(0)),
        (2, 0, noon(2 * HOUR_MS)),
        (2, 1, noon(0)),
        (300, 0, noon(0)),
    ];
    assert_eq!(seen, expected);
    assert_eq!(fleet[0].energy_wh.to_bits(), 0.0_f64.to_bits());
    let minute = vec![of(300, 0, 60_000, 36_000)];
    store.append(minute, None).await.unwrap();
    let days = store.fleet_energy(Level::Day, EVER).await.unwrap();
    let series: Vec<_> = days.iter().map(|it| it.series.device.0).collect();
    assert_eq!(series, [2, 2, 300]);
    // From 3 W to 3,600 W in a minute.
    assert!((days[2].energy_wh - 30.025).abs() < 1e-9, "{:?}", days[2]);
}

async fn a_period_is_noted_when_it_changes(store: &impl History) {
    let period = |ms, period_ms| PeriodSince {
        since: noon(ms),
        period_ms,
    };
    for it in [
        period(0, Some(5_000)),
        period(10, Some(5_000)),
        period(20, None),
        period(30, Some(5_000)),
        period(30, Some(9_000)),
        period(10, Some(7_000)),
    ] {
        store.note_periods(vec![(DEVICE, it)]).await.unwrap();
    }
    let expected = [
        period(0, Some(5_000)),
        period(10, Some(7_000)),
        period(20, None),
        period(30, Some(9_000)),
    ];
    assert_eq!(store.periods(DEVICE).await.unwrap(), expected);
    assert_eq!(store.periods(DeviceKey(8)).await.unwrap(), []);
}

fn rfc3339(text: &str) -> Timestamp {
    Timestamp::parse_rfc3339(text).unwrap()
}

/// A moment `ms` after noon of 1 May 2026.
fn noon(ms: i64) -> Timestamp {
    Timestamp::from_millis(rfc3339("2026-05-01T12:00:00Z").as_millis() + ms)
}

fn at(ms: i64, power_dw: i32) -> DeviceSample {
    whole(Sample {
        socket: SocketId::STRIP,
        ts: noon(ms),
        values: Values {
            power_dw: Some(power_dw),
            ..Values::default()
        },
    })
}

fn whole(sample: Sample) -> DeviceSample {
    DeviceSample {
        device: DEVICE,
        sample,
    }
}
