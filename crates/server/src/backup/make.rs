//! Making a backup of a site on the embedded engines, while it runs or not.

use std::fs::File;
use std::io::Write;
use std::path::Path;

use anyhow::{Context, ensure};
use dormouse_core::clock::Timestamp;

use super::archive::{Writer, digest};
use super::manifest::{JOURNAL, Manifest, Member, name_of};
use super::space;
use crate::datadir::DataDir;
use crate::journal::{OpenError, copy_journal};
use crate::progress::{Unit, Watch};
use crate::store::sqlite::{Database, Snapshot, SnapshotError, counts};

/// Backs up the site in `data`, as it is now or later, to `out`. Copies of the
/// files are put together in `scratch`, an empty folder, first.
///
/// # Errors
/// When something cannot be read or written, there is no room, or `watch`
/// wants to stop.
pub fn make<W: Write>(
    data: &DataDir,
    scratch: &Path,
    out: W,
    now: Timestamp,
    watch: &mut dyn Watch,
) -> anyhow::Result<(Manifest, W)> {
    let members = stage(data, scratch, watch)?;
    let manifest = Manifest::new(now.to_rfc3339(), members);
    let created_s = now.as_millis().unsigned_abs() / 1_000;
    let broken = "writing the archive";
    let mut writer = Writer::start(out, &manifest, created_s).context(broken)?;
    for member in &manifest.members {
        let path = scratch.join(&member.name);
        let staged = Watched {
            file: File::open(&path)?,
            done: 0,
            total: member.bytes,
            what: format!("{} into the archive", member.name),
            watch,
        };
        writer
            .add(&member.name, member.bytes, staged)
            .context(broken)?;
        std::fs::remove_file(&path)?;
    }
    let out = writer.finish().context(broken)?;
    Ok((manifest, out))
}

/// Copies every file into `scratch`.
///
/// The order is what makes the copies fit together. The journal first, from
/// where history says it was taken in: what was acknowledged before now is in
/// this copy, or in history already. Then the databases, frozen one right
/// after the other, history first: what it has taken in of the journal, the
/// others have. What the journal's copy holds beyond that is taken in again
/// at the next start, which changes nothing where it was there already.
fn stage(data: &DataDir, scratch: &Path, watch: &mut dyn Watch) -> anyhow::Result<Vec<Member>> {
    let has_journal = stage_journal(data, scratch)?;
    let mut snapshots = Vec::new();
    for database in Database::ALL {
        let path = path_of(data, database);
        // A site on which no server ever ran has devices and people alone.
        if database == Database::Dormouse || path.exists() {
            snapshots.push((database, Snapshot::take(&path)?));
        }
    }
    let bytes = snapshots.iter().map(|(_, it)| it.bytes()).sum();
    space::require(scratch, bytes, "copies of the databases")?;
    let mut members = Vec::new();
    // The largest last: the others' logs are held back no longer than needed.
    for (database, snapshot) in snapshots.into_iter().rev() {
        let name = name_of(database);
        let path = scratch.join(name);
        snapshot.copy_to(&path, watch)?;
        let schema = snapshot.schema();
        drop(snapshot);
        let known = database.schema_known();
        ensure!(
            schema <= known,
            "{name} has schema {schema}, this Dormouse knows up to {known}: use the Dormouse that runs on it"
        );
        members.push((name, Some((database, schema))));
    }
    members.extend(has_journal.then_some((JOURNAL, None)));
    let describe = |(name, database)| describe(scratch, name, database, watch);
    members.into_iter().map(describe).collect()
}

/// Copies the journal where there is one; says whether there is.
fn stage_journal(data: &DataDir, scratch: &Path) -> anyhow::Result<bool> {
    let path = data.journal();
    // A file without a head is a journal that was being made.
    if std::fs::metadata(&path).map_or(0, |it| it.len()) == 0 {
        return Ok(false);
    }
    let history = data.history_db();
    copy_journal(&path, &scratch.join(JOURNAL), || match history.exists() {
        true => Ok(Snapshot::take(&history)?.journal_position()?),
        false => Ok::<_, StageError>(None),
    })
    .with_context(|| format!("copying {}", path.display()))?;
    Ok(true)
}

#[derive(Debug, thiserror::Error)]
enum StageError {
    #[error(transparent)]
    Journal(#[from] OpenError),
    #[error(transparent)]
    Snapshot(#[from] SnapshotError),
}

/// The manifest's entry of a staged file.
fn describe(
    scratch: &Path,
    name: &str,
    database: Option<(Database, usize)>,
    watch: &mut dyn Watch,
) -> anyhow::Result<Member> {
    let path = scratch.join(name);
    let file = File::open(&path)?;
    let total = file.metadata()?.len();
    let what = format!("checksum of {name}");
    let (sha256, bytes) = digest(file, |done| {
        watch.at(&what, done, total, Unit::Bytes)?;
        Ok(())
    })
    .with_context(|| format!("reading {}", path.display()))?;
    let counts = match database {
        Some((database, _)) => counts(database, &path)?,
        None => Vec::new(),
    };
    Ok(Member {
        name: name.to_owned(),
        bytes,
        sha256,
        schema: database.map(|(_, schema)| schema),
        counts: counts
            .into_iter()
            .map(|(name, count)| (name.to_owned(), count))
            .collect(),
    })
}

fn path_of(data: &DataDir, database: Database) -> std::path::PathBuf {
    match database {
        Database::History => data.history_db(),
        Database::Commands => data.commands_db(),
        Database::Dormouse => data.dormouse_db(),
    }
}

/// A file whose reading is watched.
struct Watched<'a> {
    file: File,
    done: u64,
    total: u64,
    what: String,
    watch: &'a mut dyn Watch,
}

impl std::io::Read for Watched<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let read = self.file.read(buffer)?;
        self.done += read as u64;
        self.watch
            .at(&self.what, self.done, self.total, Unit::Bytes)
            .map_err(std::io::Error::other)?;
        Ok(read)
    }
}
