//! Reading the energy of the whole fleet in one statement.

use std::ops::Range;

use dormouse_core::clock::Timestamp;
use dormouse_core::ports::PortError;
use dormouse_core::ports::history::{FleetEnergy, SeriesId};
use dormouse_core::rollup::{Bucket, Energy, Level};
use dormouse_core::site::Days;
use tokio_postgres::Row;
use tokio_postgres::types::{ToSql, Type};

use super::super::convert::key_from;
use super::super::pool::{get, in_time};
use super::PostgresHistory;
use super::columns::socket;
use super::levels::{day, quarter_start, table};
use super::read::{between, key_type, read_tail};

struct SeriesEnergy {
    series: SeriesId,
    start: Timestamp,
    energy: Energy,
}

impl PostgresHistory {
    /// The energy of every series in the buckets that start in `range`.
    pub(super) async fn read_fleet(
        &self,
        level: Level,
        range: Range<Timestamp>,
    ) -> Result<Vec<FleetEnergy>, PortError> {
        let range = self.seen(level, range).await?;
        if range.start >= range.end {
            return Ok(Vec::new());
        }
        let (from, until) = self.bounds(level, &range);
        let start = match level {
            Level::Minute => "b.ts, 0::int2, NULL::int4",
            Level::Quarter => "b.hour, b.quarter, NULL::int4",
            Level::Day => "NULL::timestamptz, 0::int2, b.day - date '1970-01-01'",
        };
        let sql = format!(
            "SELECT b.device, b.socket, {start}, b.metered_dwh, b.bridged_dwh, b.reset_dwh, \
                 b.integrated_dwms, NULL::bytea \
             FROM {} AS b WHERE {} \
             UNION ALL SELECT device, 0::int2, NULL, 0::int2, NULL, 0, 0, 0, 0, tail \
             FROM intake WHERE tail IS NOT NULL",
            table(level),
            between(level, "$1", "$2"),
        );
        let client = self.db.connection().await?;
        let values: [(&(dyn ToSql + Sync), Type); 2] =
            [(&*from, key_type(level)), (&*until, key_type(level))];
        let rows = in_time(client.query_typed(&sql, &values)).await?;
        drop(client);
        let mut fleet = Vec::with_capacity(rows.len());
        let mut days = Days::new(self.zone.clone());
        for row in &rows {
            self.fleet_row(level, row, &mut days, &mut fleet)?;
        }
        fleet.retain(|it| range.contains(&it.start));
        fleet.sort_by_key(|it| (it.series, it.start));
        fleet.dedup_by(|later, earlier| {
            let same = later.series == earlier.series && later.start == earlier.start;
            if same {
                earlier.energy.add(&later.energy);
            }
            same
        });
        let energy = |it: SeriesEnergy| FleetEnergy {
            series: it.series,
            start: it.start,
            energy_wh: it.energy.total_wh(),
        };
        Ok(fleet.into_iter().map(energy).collect())
    }

    /// Reads one bucket, or a device's tail, where its column is not null.
    fn fleet_row(
        &self,
        level: Level,
        row: &Row,
        days: &mut Days,
        fleet: &mut Vec<SeriesEnergy>,
    ) -> Result<(), PortError> {
        let device = key_from(get(row, 0)?);
        let tail: Option<&[u8]> = get(row, 9)?;
        if tail.is_some() {
            for (socket, tail) in read_tail(row, 9, device)?.iter() {
                let series = SeriesId { device, socket };
                for at in level.of_minutes(tail.pending.as_slice(), days) {
                    if !at.bucket.is_empty() {
                        let Bucket { energy, .. } = at.bucket;
                        let start = at.start;
                        fleet.push(SeriesEnergy {
                            series,
                            start,
                            energy,
                        });
                    }
                }
            }
            return Ok(());
        }
        let number: Option<i32> = get(row, 4)?;
        let start = match (get(row, 2)?, number) {
            (Some(hour), _) => quarter_start(hour, get(row, 3)?),
            (None, number) => self.zone.start_of(day(number.unwrap_or_default())),
        };
        let energy = Energy {
            metered_dwh: get(row, 5)?,
            bridged_dwh: get(row, 6)?,
            reset_dwh: get(row, 7)?,
            integrated_dwms: get(row, 8)?,
            ..Energy::default()
        };
        let series = SeriesId {
            device,
            socket: socket(get(row, 1)?)?,
        };
        fleet.push(SeriesEnergy {
            series,
            start,
            energy,
        });
        Ok(())
    }
}
