//! Deriving a day's rollups from its raw samples again.

use std::ops::Range;

use dormouse_core::clock::Timestamp;
use dormouse_core::ports::PortError;
use dormouse_core::ports::history::{Rebuilt, SeriesId};
use dormouse_core::ports::intake::InboxVersion;
use dormouse_core::rollup::{BucketAt, Level, differing, rebuild};
use dormouse_core::site::Days;

use super::super::convert::key_sql;
use super::super::pool::in_time;
use super::PostgresHistory;
use super::absorb::{Changes, Taken};
use super::hold::Hold;
use super::late::{Runs, fetch};
use super::levels::statements;
use super::write::Beside;

const ANY: InboxVersion = -1;

impl PostgresHistory {
    /// Derives the rollups of one series' `range`, one local day, again.
    pub(super) async fn rebuild_day(
        &self,
        series: SeriesId,
        range: &Range<Timestamp>,
    ) -> Result<Rebuilt, PortError> {
        let hold = Hold::begin(&self.db, &[(series.device, ANY)]).await?;
        if hold.floors.raw.is_some_and(|floor| range.start < floor) {
            return Ok(Rebuilt::default());
        }
        let mut runs = Runs::default();
        let minutes = loop {
            match rebuild(&mut runs, range) {
                Ok(minutes) => break minutes,
                Err(missing) => {
                    fetch(hold.client()?, &mut [(series, missing, &mut runs)]).await?;
                }
            }
        };
        let mut days = Days::new(self.zone.clone());
        let mut corrected = 0;
        for level in Level::ALL {
            // Nobody else changes them while the device is held.
            let client = hold.client()?;
            let was = self
                .buckets_on(client, series, level, range.clone())
                .await?;
            corrected += differing(&was, &level.of_minutes(&minutes, &mut days));
        }
        let rebuilt = Rebuilt {
            minutes: minutes.len(),
            corrected,
        };
        if corrected > 0 {
            self.replace(hold, series, range, &minutes).await?;
        }
        Ok(rebuilt)
    }

    /// Writes the rollups of `range`, and nothing of it stays pending.
    async fn replace(
        &self,
        hold: Hold,
        series: SeriesId,
        range: &Range<Timestamp>,
        minutes: &[BucketAt],
    ) -> Result<(), PortError> {
        let client = hold.client()?;
        for level in Level::ALL {
            let (from, until) = self.bounds(level, range);
            let remove = &statements(level).remove;
            let (device, socket) = (key_sql(series.device), i16::from(series.socket.get()));
            in_time(async {
                let remove = client.prepare_cached(remove).await?;
                client
                    .execute(&remove, &[&device, &socket, &*from, &*until])
                    .await
            })
            .await?;
        }
        let mut tails = std::collections::BTreeMap::new();
        if let Some(tail) = hold.tails.get(&series.device) {
            let mut tail = tail.clone();
            if let Some(mut own) = tail.get(series.socket).cloned() {
                own.pending.remove(range);
                tail.set(series.socket, own);
            }
            tails.insert(series.device, tail);
        }
        let mut changes = Changes::new(&self.zone);
        changes.add(series, minutes);
        let taken = Taken {
            appended: Default::default(),
            samples: Default::default(),
            buckets: changes.finish(),
            tails,
        };
        self.keep(hold, &taken, Beside::default()).await
    }
}
