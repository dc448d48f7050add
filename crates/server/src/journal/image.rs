//! A copy of the journal, taken while a server appends to it.

use std::io;
use std::path::Path;
use std::sync::Arc;

use dormouse_core::ports::journal::JournalPosition;

use super::OpenError;
use super::format::{Head, Mark, RING_AT};
use super::ring::{Found, Ring, past_gap};
use super::storage::{FileStorage, Storage};

/// How often a copy is tried while the journal moves on under it.
const TRIES: u32 = 20;

/// Copies the journal at `path` to the new file `to`; returns the bytes of its
/// blocks.
///
/// What is copied is what is not in the databases yet according to `saved`,
/// which is asked at each try: what was acknowledged before the call is in the
/// copy or before what `saved` said.
///
/// # Errors
/// When a file cannot be read or written, or the journal is overwritten faster
/// than it can be copied.
pub fn copy_journal<E: From<OpenError>>(
    path: &Path,
    to: &Path,
    mut saved: impl FnMut() -> Result<Option<JournalPosition>, E>,
) -> Result<u64, E> {
    for _ in 0..TRIES {
        let saved = saved()?;
        let original = read(path)?;
        let (found, mark) = find(&original, saved).map_err(OpenError::Io)?;
        if copy(&original, to, &found, mark).map_err(OpenError::Io)? {
            return Ok(found.end - found.start);
        }
        // A block was overwritten before it was copied: by then the databases
        // had it, and say so when they are asked again.
        std::fs::remove_file(to).map_err(OpenError::Io)?;
    }
    Err(OpenError::Io(io::Error::other(
        "it is overwritten faster than it can be copied",
    ))
    .into())
}

/// How many bytes of the journal at `path` are not in the databases yet, which
/// took in what is before `saved`; none where there is no journal.
///
/// # Errors
/// When it cannot be read.
pub fn left(path: &Path, saved: Option<JournalPosition>) -> Result<u64, OpenError> {
    if !path.exists() || path.metadata()?.len() == 0 {
        return Ok(0);
    }
    let (found, _) = find(&read(path)?, saved)?;
    Ok(found.end - found.start)
}

fn read(path: &Path) -> Result<Ring, OpenError> {
    let storage: Arc<dyn Storage> = Arc::new(FileStorage::open_to_read(path)?);
    let mut bytes = [0; Head::LEN];
    storage.read_at(&mut bytes, 0)?;
    let head = Head::decode(&bytes).ok_or(OpenError::Foreign)?;
    Ok(Ring { storage, head })
}

/// What has to be copied.
fn find(ring: &Ring, saved: Option<JournalPosition>) -> io::Result<(Found, Mark)> {
    let mark = ring.read_mark()?;
    let saved = saved.filter(|saved| saved.journal == ring.head.identity);
    let start = saved.map_or(mark.released, |saved| saved.offset);
    let mut found = ring.follow(start)?;
    if found.start == found.end && found.end < mark.released {
        found = ring.follow(mark.released)?;
    }
    Ok((found, mark))
}

/// Writes the blocks of `found` to `to`, each in its place; says whether all
/// of them were still there.
fn copy(original: &Ring, to: &Path, found: &Found, mark: Mark) -> io::Result<bool> {
    let head = original.head;
    let storage = FileStorage::create_sparse(to, RING_AT + head.capacity)?;
    let image = Ring {
        storage: Arc::new(storage),
        head,
    };
    image.storage.write_at(&head.encode(), 0)?;
    image.write_mark(Mark {
        released: found.start,
        ..mark
    })?;
    let mut at = past_gap(&found.gaps, found.start);
    while at < found.end {
        let Some((block, chunk)) = original.block(at)? else {
            return Ok(false);
        };
        let size = usize::try_from(block.size()).map_err(io::Error::other)?;
        let mut bytes = vec![0; size];
        original.read(&mut bytes, at)?;
        image.write(&bytes, at)?;
        at = past_gap(&found.gaps, chunk.end);
    }
    // Between being checked and being copied a block may have changed: the
    // copy itself is what must be whole.
    Ok(image.follow(found.start)? == *found)
}
