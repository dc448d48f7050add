//! Keeping history within its age and budget, a small step at a time.

use std::fmt;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use crate::clock::{Clock, Instant, Timestamp};
use crate::memory::lock;
use crate::ports::PortError;
use crate::ports::history::{HistoryUpkeep, Tier, Usage};
use crate::retention::{Cut, RetentionRules};
use crate::site::SiteZone;

/// Rows dropped in one step, so that nobody waits long for the database.
const STEP_ROWS: u64 = 10_000;

/// What the next run would do by age.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RetentionPlan {
    /// What history takes now.
    pub usage: Usage,
    /// What is too old, and how many rows that is.
    pub too_old: Vec<(Cut, u64)>,
    /// What would go next because of the budget, however much that helps.
    pub over_budget: Option<Cut>,
}

/// What a run did.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct RetentionReport {
    /// When it began.
    pub started_at: Timestamp,
    /// How long it took.
    pub took: Duration,
    /// Raw samples dropped.
    pub raw_rows: u64,
    /// Minute rollups dropped.
    pub minute_rows: u64,
    /// Cuts made because of the budget.
    pub budget_cuts: u32,
    /// What history takes after it.
    pub usage: Usage,
    /// Whether it is still over its budget, with nothing left that may go.
    pub still_over_budget: bool,
}

/// Drops what is too old or too much.
pub struct Retention {
    upkeep: Arc<dyn HistoryUpkeep>,
    clock: Arc<dyn Clock>,
    zone: SiteZone,
    rules: RetentionRules,
    last: Mutex<Option<RetentionReport>>,
}

impl fmt::Debug for Retention {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Retention")
            .field("rules", &self.rules)
            .finish_non_exhaustive()
    }
}

/// A run under way: call [`RetentionRun::step`] until it reports, with pauses
/// as long as the database is to have for others.
#[derive(Debug)]
pub struct RetentionRun<'a> {
    retention: &'a Retention,
    began: Instant,
    report: RetentionReport,
    cuts: Vec<Cut>,
}

impl Retention {
    /// Wires the service to its store.
    #[must_use]
    pub fn new(
        upkeep: Arc<dyn HistoryUpkeep>,
        clock: Arc<dyn Clock>,
        zone: SiteZone,
        rules: RetentionRules,
    ) -> Self {
        Self {
            upkeep,
            clock,
            zone,
            rules,
            last: Mutex::default(),
        }
    }

    /// The rules in force.
    #[must_use]
    pub const fn rules(&self) -> RetentionRules {
        self.rules
    }

    /// What the last run did; `None` before the first.
    #[must_use]
    pub fn last_report(&self) -> Option<RetentionReport> {
        lock(&self.last).clone()
    }

    /// What a run would do now. Changes nothing.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn plan(&self) -> Result<RetentionPlan, PortError> {
        let now = self.clock.now();
        let usage = self.upkeep.usage().await?;
        let mut too_old = Vec::new();
        for cut in self.rules.by_age(&self.zone, now) {
            let rows = self.upkeep.expirable(cut.tier, cut.before).await?;
            too_old.push((cut, rows));
        }
        Ok(RetentionPlan {
            usage,
            too_old,
            over_budget: self.rules.by_budget(&usage, &self.zone, now),
        })
    }

    /// Begins a run.
    #[must_use]
    pub fn begin(&self) -> RetentionRun<'_> {
        let now = self.clock.now();
        let mut cuts = self.rules.by_age(&self.zone, now).to_vec();
        cuts.reverse();
        RetentionRun {
            retention: self,
            began: self.clock.instant(),
            report: RetentionReport {
                started_at: now,
                ..RetentionReport::default()
            },
            cuts,
        }
    }
}

impl RetentionRun<'_> {
    /// Does a little; answers with the report when everything is done.
    ///
    /// # Errors
    /// When the store fails; calling it again goes on where it stopped.
    pub async fn step(&mut self) -> Result<Option<RetentionReport>, PortError> {
        let upkeep = &self.retention.upkeep;
        if let Some(cut) = self.cuts.last().copied() {
            let expired = upkeep.expire(cut.tier, cut.before, STEP_ROWS).await?;
            match cut.tier {
                Tier::Raw => self.report.raw_rows += expired.rows,
                Tier::Minute => self.report.minute_rows += expired.rows,
            }
            if expired.done {
                self.cuts.pop();
            }
            return Ok(None);
        }
        let usage = upkeep.usage().await?;
        let retention = self.retention;
        let now = retention.clock.now();
        if let Some(cut) = retention.rules.by_budget(&usage, &retention.zone, now) {
            self.report.budget_cuts += 1;
            self.cuts.push(cut);
            return Ok(None);
        }
        self.report.usage = usage;
        self.report.still_over_budget = retention
            .rules
            .budget_bytes
            .is_some_and(|budget| usage.bytes > budget);
        self.report.took = retention.clock.instant().since(self.began);
        *lock(&retention.last) = Some(self.report.clone());
        Ok(Some(self.report.clone()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::ManualClock;
    use crate::ids::{DeviceKey, SocketId};
    use crate::memory::MemoryHistory;
    use crate::ports::history::{EARLIEST, HistoryStore, LATEST, SeriesId};
    use crate::rollup::Level;
    use crate::sample::{DeviceSample, Sample, Values};

    const SERIES: SeriesId = SeriesId {
        device: DeviceKey(1),
        socket: SocketId::STRIP,
    };

    fn at(text: &str) -> Timestamp {
        Timestamp::parse_rfc3339(text).unwrap()
    }

    /// Ten days of a sample every ten minutes, ending now.
    async fn retention(rules: RetentionRules) -> (Arc<MemoryHistory>, Retention) {
        let store = Arc::new(MemoryHistory::new(SiteZone::UTC));
        let samples = (0..10 * 144).map(|n| DeviceSample {
            device: DeviceKey(1),
            sample: Sample {
                socket: SocketId::STRIP,
                ts: Timestamp::from_millis(at("2026-05-01T00:00:00Z").as_millis() + n * 600_000),
                values: Values {
                    power_dw: Some(10),
                    ..Values::default()
                },
            },
        });
        store.append(samples.collect(), None).await.unwrap();
        let clock = Arc::new(ManualClock::at(at("2026-05-11T00:00:00Z")));
        let retention = Retention::new(store.clone(), clock, SiteZone::UTC, rules);
        (store, retention)
    }

    async fn run(retention: &Retention) -> RetentionReport {
        let mut run = retention.begin();
        for _ in 0..1_000 {
            if let Some(report) = run.step().await.unwrap() {
                return report;
            }
        }
        panic!("retention does not end");
    }

    async fn left(store: &MemoryHistory) -> [usize; 3] {
        let range = EARLIEST..LATEST;
        let raw = store.samples(SERIES, range.clone(), usize::MAX).await;
        let minutes = store.buckets(SERIES, Level::Minute, range.clone()).await;
        let days = store.buckets(SERIES, Level::Day, range).await;
        [
            raw.unwrap().len(),
            minutes.unwrap().len(),
            days.unwrap().len(),
        ]
    }

    #[tokio::test]
    async fn a_run_does_what_the_plan_said() {
        let (store, retention) = retention(RetentionRules {
            raw_days: 3,
            minute_days: 7,
            budget_bytes: None,
        })
        .await;
        let plan = retention.plan().await.unwrap();
        let planned: Vec<_> = plan.too_old.iter().map(|(_, rows)| *rows).collect();
        // All but the last sample before the cut, which judges the next.
        assert_eq!(planned, [7 * 144 - 1, 3 * 144]);
        assert_eq!(left(&store).await, [1440, 1440, 10], "a plan is no run");
        assert_eq!(retention.last_report(), None);

        let report = run(&retention).await;
        assert_eq!(
            [report.raw_rows, report.minute_rows],
            [planned[0], planned[1]]
        );
        assert_eq!(left(&store).await, [3 * 144, 7 * 144, 10]);
        assert_eq!(retention.last_report(), Some(report));
        let again = run(&retention).await;
        assert_eq!([again.raw_rows, again.minute_rows], [0, 0]);
    }

    #[tokio::test]
    async fn the_budget_takes_days_until_it_is_kept() {
        let day_bytes = (144 * size_of::<Sample>()) as u64;
        let (store, retention) = retention(RetentionRules {
            raw_days: 90,
            minute_days: 365,
            budget_bytes: Some(4 * day_bytes),
        })
        .await;
        let report = run(&retention).await;
        assert_eq!(left(&store).await[0], 3 * 144);
        assert_eq!(report.budget_cuts, 7);
        assert!(!report.still_over_budget, "{report:?}");
    }

    #[tokio::test]
    async fn a_budget_too_small_ends_with_yesterday_and_says_so() {
        let (store, retention) = retention(RetentionRules {
            raw_days: 90,
            minute_days: 365,
            budget_bytes: Some(1),
        })
        .await;
        let report = run(&retention).await;
        assert_eq!(left(&store).await, [144, 144, 10]);
        assert!(report.still_over_budget, "{report:?}");
    }
}
