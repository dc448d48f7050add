//! A batch of samples worked into what is kept: what is new among them, and
//! what they change in the rollups.

use std::collections::BTreeMap;

use dormouse_core::clock::Timestamp;
use dormouse_core::ids::DeviceKey;
use dormouse_core::ports::PortError;
use dormouse_core::ports::history::{Appended, EARLIEST, Floors, LATEST, SeriesId};
use dormouse_core::rollup::{Absorbed, Level, Series, SeriesTail, Tail};
use dormouse_core::sample::{DeviceSample, Sample};
use dormouse_core::site::{Days, SiteZone};

use super::columns::{BucketColumns, SampleColumns};
use super::hold::Hold;
use super::late::{Missing, Runs, fetch};
use super::levels::Keys;

/// What a batch writes.
#[derive(Debug)]
pub(super) struct Taken {
    pub(super) appended: Appended,
    pub(super) samples: SampleColumns,
    /// By level, in the order of [`Level::ALL`].
    pub(super) buckets: [(BucketColumns, Keys); 3],
    /// The tails that changed.
    pub(super) tails: BTreeMap<DeviceKey, Tail>,
}

/// One series' part of the batch.
struct Part {
    series: SeriesId,
    samples: Vec<Sample>,
    runs: Runs,
    done: Option<(SeriesTail, Absorbed)>,
}

/// Works `batch`, sorted by series and time, in. Every device must be held.
pub(super) async fn absorb(
    hold: &Hold,
    batch: &[DeviceSample],
    zone: &SiteZone,
) -> Result<Taken, PortError> {
    let mut appended = Appended::default();
    let mut parts = accept(batch, hold.floors, &mut appended);
    loop {
        let mut wanted = Vec::new();
        for part in parts.iter_mut().filter(|it| it.done.is_none()) {
            let tail = hold.tails.get(&part.series.device);
            match part.absorb(tail) {
                Ok(done) => part.done = Some(done),
                Err(missing) => wanted.push((part.series, missing, &mut part.runs)),
            }
        }
        if wanted.is_empty() {
            break;
        }
        fetch(hold.client()?, &mut wanted).await?;
    }
    let mut tails = BTreeMap::new();
    let mut samples = SampleColumns::default();
    let mut changes = Changes::new(zone);
    for part in parts {
        let Some((mut tail, absorbed)) = part.done else {
            continue;
        };
        appended.repeated += absorbed.repeated;
        if absorbed.new.is_empty() {
            continue;
        }
        appended.new += absorbed.new.len();
        for sample in &absorbed.new {
            samples.push(part.series.device, sample);
        }
        changes.add(part.series, &tail.take_complete());
        let device = part.series.device;
        let known = || hold.tails.get(&device).cloned().unwrap_or_default();
        let tails = tails.entry(device).or_insert_with(known);
        tails.set(part.series.socket, tail);
    }
    Ok(Taken {
        appended,
        samples,
        buckets: changes.finish(),
        tails,
    })
}

/// The samples that may be kept, by series.
fn accept(batch: &[DeviceSample], floors: Floors, appended: &mut Appended) -> Vec<Part> {
    let floor = floors.raw.unwrap_or(EARLIEST).max(EARLIEST);
    let mut parts = Vec::new();
    for run in batch.chunk_by(|a, b| SeriesId::from(a) == SeriesId::from(b)) {
        let is_kept = |it: &&DeviceSample| (floor..LATEST).contains(&it.sample.ts);
        let samples: Vec<Sample> = run.iter().filter(is_kept).map(|it| it.sample).collect();
        appended.out_of_range += run.len() - samples.len();
        if !samples.is_empty() {
            parts.push(Part {
                series: SeriesId::from(&run[0]),
                samples,
                runs: Runs::default(),
                done: None,
            });
        }
    }
    parts
}

impl Part {
    fn absorb(&mut self, tail: Option<&Tail>) -> Result<(SeriesTail, Absorbed), Missing> {
        let known = tail.and_then(|it| it.get(self.series.socket)).cloned();
        let mut tail = match known {
            Some(known) => known,
            None => SeriesTail {
                end: Series::load(&mut self.runs)?,
                ..SeriesTail::default()
            },
        };
        let absorbed = tail
            .end
            .absorb(&self.samples, &mut self.runs, &mut tail.pending)?;
        Ok((tail, absorbed))
    }
}

/// Differences of buckets of every level.
pub(super) struct Changes {
    days: Days,
    columns: [BucketColumns; 3],
}

impl Changes {
    pub(super) fn new(zone: &SiteZone) -> Self {
        Self {
            days: Days::new(zone.clone()),
            columns: Default::default(),
        }
    }

    /// Adds what the minutes of one series change.
    pub(super) fn add(&mut self, series: SeriesId, minutes: &[dormouse_core::rollup::BucketAt]) {
        if minutes.is_empty() {
            return;
        }
        for (level, columns) in Level::ALL.into_iter().zip(&mut self.columns) {
            for at in level.of_minutes(minutes, &mut self.days) {
                columns.push(series, &at);
            }
        }
    }

    pub(super) fn finish(mut self) -> [(BucketColumns, Keys); 3] {
        let mut levels = Level::ALL.into_iter();
        self.columns.map(|columns| {
            let level = levels.next().unwrap_or(Level::Day);
            let keys = Keys::of(level, &columns.start, &mut self.days);
            (columns, keys)
        })
    }
}

/// The moments whose partitions must be there, by table.
pub(super) fn times(taken: &Taken) -> [(&'static str, Vec<Timestamp>); 3] {
    let [(minutes, _), (quarters, _), _] = &taken.buckets;
    [
        ("samples", taken.samples.times().collect()),
        ("minutes", minutes.start.clone()),
        ("quarters", quarters.start.clone()),
    ]
}
