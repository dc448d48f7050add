//! A disk in memory that tears, forgets and fails on demand.

use std::collections::BTreeSet;
use std::io;
use std::sync::{Arc, Condvar, Mutex};

use crate::journal::storage::Storage;

const SECTOR_LEN: usize = 512;

/// Keeps what was synced apart from what was only written.
#[derive(Default)]
pub(super) struct Disk {
    inner: Mutex<Inner>,
    moved: Condvar,
}

#[derive(Default)]
struct Inner {
    seen: Vec<u8>,
    durable: Vec<u8>,
    dirty: BTreeSet<usize>,
    held: bool,
    waiting: bool,
    failing_syncs: u32,
    failing_writes: u32,
}

impl Disk {
    pub(super) fn with(bytes: Vec<u8>) -> Arc<Self> {
        let disk = Self::default();
        {
            let mut inner = disk.inner.lock().unwrap();
            inner.durable.clone_from(&bytes);
            inner.seen = bytes;
        }
        Arc::new(disk)
    }

    pub(super) fn empty(len: u64) -> Arc<Self> {
        Self::with(vec![0; usize::try_from(len).unwrap()])
    }

    /// Makes syncs wait until [`Disk::let_go`].
    pub(super) fn hold(&self) {
        self.inner.lock().unwrap().held = true;
    }

    pub(super) fn let_go(&self) {
        self.inner.lock().unwrap().held = false;
        self.moved.notify_all();
    }

    /// Waits until the writer stands in a held sync.
    pub(super) fn wait_for_sync(&self) {
        let inner = self.inner.lock().unwrap();
        drop(self.moved.wait_while(inner, |i| !i.waiting).unwrap());
    }

    pub(super) fn fail_syncs(&self, count: u32) {
        self.inner.lock().unwrap().failing_syncs = count;
    }

    pub(super) fn fail_writes(&self, count: u32) {
        self.inner.lock().unwrap().failing_writes = count;
    }

    /// What a power cut leaves: everything synced, and of the sectors only
    /// written those that `survives` says.
    pub(super) fn after_power_cut(&self, mut survives: impl FnMut() -> bool) -> Vec<u8> {
        let inner = self.inner.lock().unwrap();
        let mut left = inner.durable.clone();
        for sector in &inner.dirty {
            if survives() {
                let range = sector * SECTOR_LEN..(sector + 1) * SECTOR_LEN;
                left[range.clone()].copy_from_slice(&inner.seen[range]);
            }
        }
        left
    }

    /// What a killed process leaves: everything written.
    pub(super) fn contents(&self) -> Vec<u8> {
        self.inner.lock().unwrap().seen.clone()
    }
}

impl Storage for Disk {
    fn read_at(&self, buffer: &mut [u8], at: u64) -> io::Result<()> {
        let inner = self.inner.lock().unwrap();
        let at = usize::try_from(at).unwrap();
        buffer.copy_from_slice(&inner.seen[at..at + buffer.len()]);
        Ok(())
    }

    fn write_at(&self, bytes: &[u8], at: u64) -> io::Result<()> {
        let mut inner = self.inner.lock().unwrap();
        if inner.failing_writes > 0 {
            inner.failing_writes -= 1;
            return Err(io::ErrorKind::StorageFull.into());
        }
        let at = usize::try_from(at).unwrap();
        inner.seen[at..at + bytes.len()].copy_from_slice(bytes);
        inner
            .dirty
            .extend(at / SECTOR_LEN..(at + bytes.len()).div_ceil(SECTOR_LEN));
        Ok(())
    }

    fn sync(&self) -> io::Result<()> {
        let mut inner = self.inner.lock().unwrap();
        inner.waiting = true;
        self.moved.notify_all();
        inner = self.moved.wait_while(inner, |i| i.held).unwrap();
        inner.waiting = false;
        if inner.failing_syncs > 0 {
            inner.failing_syncs -= 1;
            return Err(io::Error::other("the disk lost power for a moment"));
        }
        inner.durable = inner.seen.clone();
        inner.dirty.clear();
        Ok(())
    }
}
