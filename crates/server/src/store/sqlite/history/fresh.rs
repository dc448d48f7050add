//! What is in `recent` and not yet in the tables by series, mirrored in memory
//! with what it changes in the rollups.

use std::collections::HashMap;

use dormouse_core::clock::Timestamp;
use dormouse_core::ids::DeviceKey;
use dormouse_core::ports::history::SeriesId;
use dormouse_core::rollup::{Absorbed, Context, Minutes, Series, SeriesRows, SeriesTail, Tail};
use dormouse_core::sample::Sample;
use rusqlite::{Connection, OptionalExtension};

use super::keys::SeriesKey;
use super::tables::{self, fact, sample};

/// The newest samples of every series, in memory.
#[derive(Debug, Default)]
pub(super) struct Fresh {
    /// Counts the moves into the tables; the file has the same number while
    /// this is not moved yet.
    pub(super) generation: i64,
    /// Samples in all.
    pub(super) rows: usize,
    /// Every series heard of since the start.
    pub(super) series: HashMap<SeriesKey, FreshSeries>,
}

/// The newest samples of one series.
#[derive(Debug, Default)]
pub(super) struct FreshSeries {
    end: Series,
    /// In order of time.
    pub(super) samples: Vec<Sample>,
    /// What they change in the minutes that the tables hold.
    pub(super) minutes: Minutes,
}

impl Fresh {
    /// Reads `recent` back, as after a start.
    pub(super) fn load(db: &Connection) -> rusqlite::Result<Self> {
        let mut fresh = Self {
            generation: fact(db, "generation")?.unwrap_or(0),
            ..Self::default()
        };
        let recent = tables::recent(db)?;
        for run in recent.chunk_by(|a, b| SeriesId::from(a) == SeriesId::from(b)) {
            if let Some(series) = SeriesKey::of(SeriesId::from(&run[0])) {
                let samples: Vec<Sample> = run.iter().map(|it| it.sample).collect();
                fresh.absorb(db, series, &samples)?;
            }
        }
        Ok(fresh)
    }

    /// Takes samples of one series, in order of time.
    pub(super) fn absorb(
        &mut self,
        db: &Connection,
        series: SeriesKey,
        samples: &[Sample],
    ) -> rusqlite::Result<Absorbed> {
        let fresh = match self.series.entry(series) {
            std::collections::hash_map::Entry::Occupied(known) => known.into_mut(),
            std::collections::hash_map::Entry::Vacant(unknown) => {
                let end = Series::load(&mut Rows::kept(db, series))?;
                unknown.insert(FreshSeries {
                    end,
                    ..FreshSeries::default()
                })
            }
        };
        let mut rows = Rows {
            db,
            series,
            fresh: &fresh.samples,
        };
        let absorbed = fresh.end.absorb(samples, &mut rows, &mut fresh.minutes)?;
        let was_last = fresh.samples.last().map(|it| it.ts);
        fresh.samples.extend_from_slice(&absorbed.new);
        if absorbed.new.first().map(|it| it.ts) < was_last {
            fresh.samples.sort_by_key(|it| it.ts);
        }
        self.rows += absorbed.new.len();
        Ok(absorbed)
    }

    /// The earliest minute that holds something.
    pub(super) fn first_minute(&self) -> Option<Timestamp> {
        let minutes = self.series.values().map(|it| it.minutes.as_slice());
        minutes.filter_map(|it| Some(it.first()?.start)).min()
    }

    /// Forgets what has been moved into the tables.
    pub(super) fn moved(&mut self) {
        self.generation += 1;
        self.rows = 0;
        for fresh in self.series.values_mut() {
            fresh.samples.clear();
            fresh.minutes.clear();
        }
    }
}

/// The ends of every series in the file, of one device after the other, as
/// another engine remembers them; every sample must be in its place.
pub(crate) fn tails(db: &Connection) -> rusqlite::Result<Vec<(DeviceKey, Tail)>> {
    let mut tails: Vec<(DeviceKey, Tail)> = Vec::new();
    for id in super::upkeep::series(db)? {
        let Some(series) = SeriesKey::of(id) else {
            continue;
        };
        let tail = SeriesTail {
            end: Series::load(&mut Rows::kept(db, series))?,
            ..SeriesTail::default()
        };
        if tails.last().is_none_or(|(device, _)| *device != id.device) {
            tails.push((id.device, Tail::default()));
        }
        if let Some((_, of_device)) = tails.last_mut() {
            of_device.set(id.socket, tail);
        }
    }
    Ok(tails)
}

/// The samples of one series: those in the tables and those in memory.
pub(super) struct Rows<'a> {
    db: &'a Connection,
    series: SeriesKey,
    fresh: &'a [Sample],
}

impl<'a> Rows<'a> {
    /// Only those in the tables.
    pub(super) fn kept(db: &'a Connection, series: SeriesKey) -> Self {
        Self {
            db,
            series,
            fresh: &[],
        }
    }
}

impl SeriesRows for Rows<'_> {
    type Error = rusqlite::Error;

    fn newest(&mut self) -> rusqlite::Result<Option<Timestamp>> {
        let bounds = [
            self.series.sample(Timestamp::from_millis(i64::MIN)),
            self.series.sample_end(Timestamp::from_millis(i64::MAX)),
        ];
        let kept = self
            .db
            .prepare_cached(
                "SELECT at FROM samples WHERE at >= ?1 AND at < ?2 ORDER BY at DESC LIMIT 1",
            )?
            .query_row(bounds, |row| Ok(SeriesKey::of_sample(row.get(0)?).1))
            .optional()?;
        Ok(kept.max(self.fresh.last().map(|it| it.ts)))
    }

    fn before(&mut self, ts: Timestamp) -> rusqlite::Result<Context> {
        let mut kept = self
            .db
            .prepare_cached("SELECT * FROM samples WHERE at >= ?1 AND at < ?2 ORDER BY at DESC")?;
        let first = self.series.sample(Timestamp::from_millis(i64::MIN));
        let bounds = [first, self.series.sample_end(ts)];
        let mut kept = kept.query_map(bounds, sample)?.peekable();
        let end = self.fresh.partition_point(|it| it.ts < ts);
        let mut fresh = self.fresh[..end].iter().rev().copied().peekable();
        Context::recall(std::iter::from_fn(|| match (kept.peek(), fresh.peek()) {
            (Some(Ok(old)), Some(new)) if new.ts > old.ts => fresh.next().map(Ok),
            (Some(_), _) => kept.next(),
            (None, _) => fresh.next().map(Ok),
        }))
    }

    fn from(&mut self, ts: Timestamp, limit: usize) -> rusqlite::Result<Vec<Sample>> {
        let end = Timestamp::from_millis(i64::MAX);
        let kept = read_samples(self.db, self.series, ts, end, limit)?;
        let start = self.fresh.partition_point(|it| it.ts < ts);
        Ok(interleave(kept, &self.fresh[start..], limit))
    }
}

/// The first `limit` samples of the tables from `from` to before `to`.
pub(super) fn read_samples(
    db: &Connection,
    series: SeriesKey,
    from: Timestamp,
    to: Timestamp,
    limit: usize,
) -> rusqlite::Result<Vec<Sample>> {
    let mut rows =
        db.prepare_cached("SELECT * FROM samples WHERE at >= ?1 AND at < ?2 ORDER BY at LIMIT ?3")?;
    let limit = i64::try_from(limit).unwrap_or(i64::MAX);
    let bounds = [series.sample(from), series.sample_end(to), limit];
    rows.query_map(bounds, sample)?.collect()
}

/// The first `limit` of two lists in order of time.
pub(super) fn interleave(mut kept: Vec<Sample>, fresh: &[Sample], limit: usize) -> Vec<Sample> {
    let last = kept.last().map(|it| it.ts);
    kept.extend_from_slice(&fresh[..fresh.len().min(limit)]);
    if fresh.first().map(|it| it.ts) < last {
        kept.sort_by_key(|it| it.ts);
    }
    kept.truncate(limit);
    kept
}
