//! What late samples are woven into: runs of kept ones, fetched as needed.
//!
//! Weaving asks for rows one after another and cannot wait for the network, so
//! it works on what was fetched; where that does not reach it stops and says
//! what is missing, which is fetched for all series at once, and begins again.

use deadpool_postgres::Object;
use dormouse_core::clock::Timestamp;
use dormouse_core::ports::PortError;
use dormouse_core::ports::history::{EARLIEST, LATEST, SeriesId};
use dormouse_core::rollup::{Context, SeriesRows};
use dormouse_core::sample::{Sample, Values};
use tokio_postgres::Error;

use super::super::convert::{Moment, key_sql};
use super::super::pool::{get, in_time};
use super::columns::bound;

/// Samples that are fetched at first; most late ones come soon after their time.
const FIRST: i64 = 512;
/// Samples that are fetched when that was not enough.
const MORE: i64 = 8_192;

/// The last sample before a moment, and those of the five minutes before it
/// (see [`Context::recall`]), newest first.
const BEFORE: &str = "SELECT asked.n, s.ts, s.power_dw, s.energy_dwh
    FROM unnest($1::int4[], $2::int2[], $3::timestamptz[])
        WITH ORDINALITY AS asked (device, socket, ts, n)
    CROSS JOIN LATERAL (SELECT greatest(
        (SELECT ts FROM samples WHERE device = asked.device AND socket = asked.socket
            AND ts < asked.ts ORDER BY ts DESC LIMIT 1),
        (SELECT ts FROM remnants WHERE device = asked.device AND socket = asked.socket
            AND ts < asked.ts ORDER BY ts DESC LIMIT 1)) AS ts) AS last
    CROSS JOIN LATERAL (
        SELECT ts, power_dw, energy_dwh FROM samples
        WHERE device = asked.device AND socket = asked.socket
            AND ts <= last.ts AND ts >= last.ts - interval '5 minutes'
        UNION ALL
        SELECT ts, power_dw, energy_dwh FROM remnants
        WHERE device = asked.device AND socket = asked.socket
            AND ts <= last.ts AND ts >= last.ts - interval '5 minutes') AS s
    ORDER BY asked.n, s.ts DESC";
const FROM: &str = "SELECT asked.n, s.ts, s.power_dw, s.energy_dwh
    FROM unnest($1::int4[], $2::int2[], $3::timestamptz[])
        WITH ORDINALITY AS asked (device, socket, ts, n)
    CROSS JOIN LATERAL (
        SELECT ts, power_dw, energy_dwh FROM samples
        WHERE device = asked.device AND socket = asked.socket AND ts >= asked.ts
        ORDER BY ts LIMIT $4) AS s
    ORDER BY asked.n, s.ts";

/// What was fetched of one series.
#[derive(Debug, Default)]
pub(super) struct Runs(Vec<Run>);

/// All samples of a stretch of time, and what those before it mean.
#[derive(Debug)]
struct Run {
    from: Timestamp,
    /// Its end; [`LATEST`] where the series ends in it.
    until: Timestamp,
    newest_before: Option<Timestamp>,
    before: Context,
    samples: Vec<Sample>,
}

/// What was not fetched yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Missing {
    /// A run from this moment on.
    Run(Timestamp),
    /// More of the run that ends here.
    More(Timestamp),
}

impl Runs {
    fn holding(&self, ts: Timestamp) -> Option<&Run> {
        self.0
            .iter()
            .find(|run| run.from <= ts && (ts < run.until || run.until >= LATEST))
    }

    fn take(&mut self, missing: Missing, before: Vec<Sample>, samples: Vec<Sample>, most: i64) {
        let is_whole = i64::try_from(samples.len()).is_ok_and(|found| found < most);
        let last = samples.last().map(|it| it.ts.as_millis() + 1);
        let until = last.filter(|_| !is_whole);
        let until = until.map_or(LATEST, Timestamp::from_millis);
        match missing {
            Missing::Run(from) => {
                let newest_before = before.first().map(|it| it.ts);
                let recalled = Context::recall(before.into_iter().map(Ok));
                let Ok::<_, std::convert::Infallible>(before) = recalled;
                self.0.push(Run {
                    from,
                    until,
                    newest_before,
                    before,
                    samples,
                });
            }
            Missing::More(end) => {
                if let Some(run) = self.0.iter_mut().find(|run| run.until == end) {
                    run.until = until;
                    run.samples.extend(samples);
                }
            }
        }
    }
}

impl SeriesRows for Runs {
    type Error = Missing;

    fn newest(&mut self) -> Result<Option<Timestamp>, Missing> {
        let run = self.holding(LATEST).ok_or(Missing::Run(LATEST))?;
        let newest = run.samples.last().map(|it| it.ts);
        Ok(newest.or(run.newest_before))
    }

    fn before(&mut self, ts: Timestamp) -> Result<Context, Missing> {
        let ts = ts.clamp(EARLIEST, LATEST);
        let run = self.holding(ts).ok_or(Missing::Run(ts))?;
        let mut context = run.before;
        for sample in run.samples.iter().take_while(|it| it.ts < ts) {
            context.pass(sample);
        }
        Ok(context)
    }

    fn from(&mut self, ts: Timestamp, limit: usize) -> Result<Vec<Sample>, Missing> {
        let ts = ts.clamp(EARLIEST, LATEST);
        // Where a run has just ended, the rest is more of it.
        if let Some(ended) = self.0.iter().find(|run| run.until == ts)
            && ts < LATEST
        {
            return Err(Missing::More(ended.until));
        }
        let run = self.holding(ts).ok_or(Missing::Run(ts))?;
        let start = run.samples.partition_point(|it| it.ts < ts);
        let rows = &run.samples[start..];
        if rows.len() < limit && run.until < LATEST {
            return Err(Missing::More(run.until));
        }
        Ok(rows.iter().take(limit).copied().collect())
    }
}

/// Fetches what is missing of each series, all in one go.
pub(super) async fn fetch(
    client: &Object,
    wanted: &mut [(SeriesId, Missing, &mut Runs)],
) -> Result<(), PortError> {
    let more = wanted.iter().any(|it| matches!(it.1, Missing::More(_)));
    let most = if more { MORE } else { FIRST };
    let mut asked = Asked::default();
    for (series, missing, _) in &*wanted {
        let (Missing::Run(ts) | Missing::More(ts)) = missing;
        asked.device.push(key_sql(series.device));
        asked.socket.push(series.socket.get().into());
        asked.ts.push(bound(*ts));
    }
    let (before, after) = in_time(asked.ask(client, most)).await?;
    let before = by_series(&before, wanted)?;
    let after = by_series(&after, wanted)?;
    for (((_, missing, runs), before), after) in wanted.iter_mut().zip(before).zip(after) {
        runs.take(*missing, before, after, most);
    }
    Ok(())
}

#[derive(Debug, Default)]
struct Asked {
    device: Vec<i32>,
    socket: Vec<i16>,
    ts: Vec<Moment>,
}

type Rows = Vec<tokio_postgres::Row>;

impl Asked {
    async fn ask(&self, client: &Object, most: i64) -> Result<(Rows, Rows), Error> {
        let before = client.prepare_cached(BEFORE).await?;
        let from = client.prepare_cached(FROM).await?;
        let (device, socket, ts) = (&self.device, &self.socket, &self.ts);
        futures_util::future::try_join(
            client.query(&before, &[device, socket, ts]),
            client.query(&from, &[device, socket, ts, &most]),
        )
        .await
    }
}

fn by_series(
    rows: &[tokio_postgres::Row],
    wanted: &[(SeriesId, Missing, &mut Runs)],
) -> Result<Vec<Vec<Sample>>, PortError> {
    let mut found = vec![Vec::new(); wanted.len()];
    for row in rows {
        let n: i64 = get(row, 0)?;
        let index = usize::try_from(n - 1).unwrap_or(usize::MAX);
        let (Some(found), Some((series, ..))) = (found.get_mut(index), wanted.get(index)) else {
            continue;
        };
        let Moment(ts) = get(row, 1)?;
        found.push(Sample {
            socket: series.socket,
            ts,
            values: Values {
                power_dw: get(row, 2)?,
                energy_dwh: get(row, 3)?,
                ..Values::default()
            },
        });
    }
    Ok(found)
}
