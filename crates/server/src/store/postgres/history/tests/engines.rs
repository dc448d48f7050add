//! One story told to every engine: all give the same answers.

use dormouse_core::memory::MemoryHistory;
use dormouse_core::ports::history::{Appended, HistoryStore, HistoryUpkeep, PeriodSince, Tier};
use dormouse_core::sample::DeviceSample;
use dormouse_core::site::{LocalDay, SiteZone};

use super::super::super::testing::Engine;
use super::story::{Answers, Dice, answers, batches, hour, samples};
use super::{PostgresHistory, history};
use crate::store::sqlite::SqliteHistory;

const ENGINES: [Engine; 6] = [
    Engine::Version(15),
    Engine::Version(16),
    Engine::Version(17),
    Engine::Version(18),
    Engine::Odd,
    Engine::Timescale,
];

/// What an engine answered on the way, and at the end.
#[derive(Debug, Default)]
struct Told {
    appended: Vec<Appended>,
    dropped: Vec<u64>,
    rebuilt: Vec<usize>,
    periods: Vec<PeriodSince>,
    said: Vec<Answers>,
}

/// What happens between the chapters, beside samples.
trait Between: HistoryStore + HistoryUpkeep {
    /// Compresses whatever it can.
    async fn press(&self) {}
}
impl Between for MemoryHistory {}
impl Between for SqliteHistory {}
impl Between for PostgresHistory {
    async fn press(&self) {
        if self.flavour() == super::Flavour::Timescale {
            let ever = hour(24 * 365);
            let pressed = self.compress(ever).await.unwrap();
            let again = self.recompress(ever).await.unwrap();
            assert!(pressed + again > 0, "nothing to compress");
        }
    }
}

async fn tell(store: &impl Between, chapters: &[Vec<Vec<DeviceSample>>], zone: &SiteZone) -> Told {
    let mut told = Told::default();
    for (number, chapter) in chapters.iter().enumerate() {
        for batch in chapter {
            let appended = store.append(batch.clone(), None).await.unwrap();
            told.appended.push(appended);
        }
        told.said.push(answers(store).await);
        store.press().await;
        if number == 1 {
            let floor = zone.start_of(zone.day_of(hour(24)));
            for tier in [Tier::Raw, Tier::Minute] {
                let rows = store.expirable(tier, floor).await.unwrap();
                let mut dropped = 0;
                loop {
                    let step = store.expire(tier, floor, 10_000).await.unwrap();
                    dropped += step.rows;
                    if step.done {
                        break;
                    }
                }
                assert_eq!(rows, dropped, "the dry run was wrong");
                told.dropped.push(dropped);
            }
            told.said.push(answers(store).await);
        }
    }
    let period = |ms, period_ms| PeriodSince {
        since: hour(ms),
        period_ms,
    };
    for it in [period(0, Some(5)), period(1, None), period(2, Some(5))] {
        let device = chapters[0][0][0].device;
        store.note_periods(vec![(device, it)]).await.unwrap();
    }
    told.periods = store.periods(chapters[0][0][0].device).await.unwrap();
    for series in store.series().await.unwrap() {
        for number in 0..4 {
            let day: LocalDay = zone.day_of(hour(0)).plus(number);
            let it = store.rebuild(series, day).await.unwrap();
            assert_eq!(it.corrected, 0, "{series:?}, day {number}");
            told.rebuilt.push(it.minutes);
        }
    }
    told
}

async fn same_story_everywhere(seed: u64, zone: &str, rounds: u64) {
    let mut dice = Dice::new(seed);
    let samples = samples(&mut dice, rounds);
    let batches = batches(&mut dice, &samples);
    let third = batches.len() / 3 + 1;
    let chapters: Vec<Vec<Vec<DeviceSample>>> = batches.chunks(third).map(<[_]>::to_vec).collect();
    let zone = SiteZone::named(zone).unwrap();
    let memory = tell(&MemoryHistory::new(zone.clone()), &chapters, &zone).await;
    let dir = tempfile::tempdir().unwrap();
    let sqlite = SqliteHistory::open(&dir.path().join("h.db"), zone.clone()).await;
    let sqlite = tell(&sqlite.unwrap(), &chapters, &zone).await;
    let mut all = vec![("SQLite".to_owned(), sqlite)];
    for engine in ENGINES {
        let told = tell(&history(engine, zone.clone()).await, &chapters, &zone).await;
        all.push((format!("{engine:?}"), told));
    }
    for (who, told) in all {
        let who = who.as_str();
        assert_eq!(told.appended, memory.appended, "{who}");
        // Elsewhere a part of a day stays, unseen, where whole days are dropped.
        if zone == SiteZone::UTC || who == "SQLite" {
            assert_eq!(told.dropped, memory.dropped, "{who}");
        }
        for (ours, theirs) in told.said.iter().zip(&memory.said) {
            ours.assert_same(theirs, who);
        }
        assert_eq!(told.rebuilt, memory.rebuilt, "{who}");
        assert_eq!(told.periods, memory.periods, "{who}");
    }
}

#[tokio::test]
async fn all_engines_answer_alike() {
    same_story_everywhere(1, "UTC", 400).await;
    same_story_everywhere(2, "America/New_York", 400).await;
}
