//! Samples on their way in.

use std::collections::BTreeMap;
use std::sync::RwLock;

use dormouse_core::clock::Timestamp;
use dormouse_core::ports::history::{Appended, EARLIEST, LATEST, SeriesId};
use dormouse_core::ports::journal::{JournalPosition, Progress};
use dormouse_core::rollup::Level;
use dormouse_core::sample::{DeviceSample, Sample};
use dormouse_core::site::{Days, SiteZone};
use rusqlite::{Connection, params};

use super::fresh::Fresh;
use super::keys::SeriesKey;
use super::tables::{add_buckets, fact, insert_recent, insert_samples, set_fact};
use super::write;

/// Takes a batch, sorted by series and time.
pub(super) fn append(
    db: &Connection,
    fresh: &RwLock<Fresh>,
    batch: &[DeviceSample],
    progress: Option<&Progress>,
) -> rusqlite::Result<Appended> {
    let floor = fact(db, "raw_floor")?.map_or(EARLIEST, Timestamp::from_millis);
    let mut appended = Appended::default();
    let mut acceptable: Vec<Sample> = Vec::new();
    for run in batch.chunk_by(|a, b| SeriesId::from(a) == SeriesId::from(b)) {
        acceptable.clear();
        let series = SeriesKey::of(SeriesId::from(&run[0]));
        if series.is_some() {
            let samples = run.iter().map(|it| it.sample);
            acceptable.extend(samples.filter(|it| (floor..LATEST).contains(&it.ts)));
        }
        appended.out_of_range += run.len() - acceptable.len();
        if let Some(series) = series.filter(|_| !acceptable.is_empty()) {
            let absorbed = write(fresh).absorb(db, series, &acceptable)?;
            insert_recent(db, series, &absorbed.new)?;
            appended.new += absorbed.new.len();
            appended.repeated += absorbed.repeated;
        }
    }
    if let Some(progress) = progress {
        save_progress(db, progress)?;
    }
    Ok(appended)
}

/// Moves everything fresh into the tables by series, in one transaction;
/// `false` where there was nothing.
pub(super) fn move_fresh(db: &Connection, fresh: &Fresh, zone: SiteZone) -> rusqlite::Result<bool> {
    if fresh.rows == 0 {
        return Ok(false);
    }
    // In the order of the tables, so that every page is visited once.
    let in_order: BTreeMap<_, _> = fresh
        .series
        .iter()
        .filter(|(_, it)| !it.samples.is_empty())
        .collect();
    let mut days = Days::new(zone);
    for (series, fresh) in &in_order {
        insert_samples(db, **series, &fresh.samples)?;
    }
    for level in Level::ALL {
        for (series, fresh) in &in_order {
            let buckets = level.of_minutes(fresh.minutes.as_slice(), &mut days);
            add_buckets(db, **series, level, &buckets, &mut days)?;
        }
    }
    db.prepare_cached("DELETE FROM recent")?.execute([])?;
    set_fact(db, "generation", fresh.generation + 1)?;
    Ok(true)
}

fn save_progress(db: &Connection, progress: &Progress) -> rusqlite::Result<()> {
    set_fact(db, "journal", progress.position.journal.cast_signed())?;
    set_fact(db, "offset", progress.position.offset.cast_signed())?;
    let mut save = db.prepare_cached("INSERT OR REPLACE INTO inboxes VALUES (?1, ?2)")?;
    for (device, state) in &progress.inboxes {
        save.execute(params![device.0, &state[..]])?;
    }
    Ok(())
}

/// How far the journal was taken in.
pub(in crate::store::sqlite) fn journal_position(
    db: &Connection,
) -> rusqlite::Result<Option<JournalPosition>> {
    let (journal, offset) = (fact(db, "journal")?, fact(db, "offset")?);
    Ok(journal
        .zip(offset)
        .map(|(journal, offset)| JournalPosition {
            journal: journal.cast_unsigned(),
            offset: offset.cast_unsigned(),
        }))
}

/// The progress of the last append that had one.
pub(super) fn progress(db: &Connection) -> rusqlite::Result<Option<Progress>> {
    let Some(position) = journal_position(db)? else {
        return Ok(None);
    };
    let mut inboxes = db.prepare_cached("SELECT device, state FROM inboxes ORDER BY device")?;
    let inboxes = inboxes.query_map([], |row| {
        let state: Vec<u8> = row.get(1)?;
        Ok((dormouse_core::ids::DeviceKey(row.get(0)?), state.into()))
    })?;
    Ok(Some(Progress {
        position,
        inboxes: inboxes.collect::<rusqlite::Result<_>>()?,
    }))
}
