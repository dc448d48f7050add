//! The bytes under the journal, behind a small trait so that tests can make
//! them fail.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::Path;

use rustix::fs::{FallocateFlags, fallocate};
use rustix::io::Errno;

/// Bytes that survive a power cut once synced.
pub trait Storage: Send + Sync + 'static {
    /// Fills `buffer` from `at` on.
    ///
    /// # Errors
    /// When the bytes cannot be read.
    fn read_at(&self, buffer: &mut [u8], at: u64) -> io::Result<()>;

    /// Writes all of `bytes` at `at`.
    ///
    /// # Errors
    /// When they cannot be written; any part of them may have been.
    fn write_at(&self, bytes: &[u8], at: u64) -> io::Result<()>;

    /// Makes everything written so far durable.
    ///
    /// # Errors
    /// When it is not; what was written since the last success must be written again.
    fn sync(&self) -> io::Result<()>;
}

/// A file whose space is all allocated, so that writing into it needs none.
#[derive(Debug)]
pub struct FileStorage {
    file: File,
}

impl FileStorage {
    /// Opens `path` where it is there; its length comes with it.
    ///
    /// # Errors
    /// When it cannot be opened.
    pub fn open(path: &Path) -> io::Result<Option<(Self, u64)>> {
        match OpenOptions::new().read(true).write(true).open(path) {
            Ok(file) => {
                let len = file.metadata()?.len();
                Ok(Some((Self { file }, len)))
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Opens `path`, which must be there, to read it.
    ///
    /// # Errors
    /// When it cannot be opened.
    pub fn open_to_read(path: &Path) -> io::Result<Self> {
        let file = File::open(path)?;
        Ok(Self { file })
    }

    /// Makes `path` anew with `len` bytes of zeros that take no space until
    /// they are written: for a copy, not for a journal at work.
    ///
    /// # Errors
    /// When it cannot be made.
    pub fn create_sparse(path: &Path, len: u64) -> io::Result<Self> {
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(path)?;
        file.set_len(len)?;
        Ok(Self { file })
    }

    /// Makes `path` anew with `len` bytes allocated.
    ///
    /// # Errors
    /// When there is no room for it.
    pub fn create(path: &Path, len: u64) -> io::Result<Self> {
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .open(path)?;
        match fallocate(&file, FallocateFlags::empty(), 0, len) {
            Ok(()) => {}
            Err(Errno::OPNOTSUPP | Errno::NOSYS) => fill(&file, len)?,
            Err(error) => return Err(error.into()),
        }
        file.sync_all()?;
        if let Some(folder) = path.parent() {
            File::open(folder)?.sync_all()?;
        }
        Ok(Self { file })
    }
}

/// Allocates by writing, on file systems that cannot do without.
fn fill(file: &File, len: u64) -> io::Result<()> {
    let zeros = vec![0_u8; 1 << 20];
    let mut at = 0;
    while at < len {
        let left = usize::try_from(len - at).unwrap_or(usize::MAX);
        let part = &zeros[..left.min(zeros.len())];
        file.write_all_at(part, at)?;
        at += part.len() as u64;
    }
    Ok(())
}

impl Storage for FileStorage {
    fn read_at(&self, buffer: &mut [u8], at: u64) -> io::Result<()> {
        self.file.read_exact_at(buffer, at)
    }

    fn write_at(&self, bytes: &[u8], at: u64) -> io::Result<()> {
        self.file.write_all_at(bytes, at)
    }

    fn sync(&self) -> io::Result<()> {
        self.file.sync_data()
    }
}
