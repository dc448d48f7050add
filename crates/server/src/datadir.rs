//! The folder that holds everything, and the lock that keeps it to one server.

use std::fs::{File, OpenOptions, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, bail, ensure};
use rustix::fs::{FlockOperation, flock};
use rustix::io::Errno;

/// A data folder. The names of the files in it are known here alone.
#[derive(Debug, Clone)]
pub struct DataDir(PathBuf);

/// Held as long as a server runs on the folder.
#[derive(Debug)]
pub struct DataLock {
    _file: File,
}

impl DataDir {
    /// Opens `path`, making it, readable by its owner alone, where it is not there.
    ///
    /// # Errors
    /// When the folder cannot be made.
    pub fn open(path: &Path) -> anyhow::Result<Self> {
        if !path.is_dir() {
            ensure!(!path.exists(), "--data: {} is no folder", path.display());
            std::fs::create_dir_all(path).with_context(|| {
                format!(
                    "--data: cannot make the folder {}; name one that this user may write",
                    path.display()
                )
            })?;
            std::fs::set_permissions(path, Permissions::from_mode(0o700))
                .with_context(|| format!("--data: cannot protect {}", path.display()))?;
        }
        Ok(Self(path.to_owned()))
    }

    /// A folder that may or may not be there; makes nothing.
    #[must_use]
    pub fn existing(path: &Path) -> Self {
        Self(path.to_owned())
    }

    /// Takes the folder for this process; a crash gives it back.
    ///
    /// # Errors
    /// When another server has it, or a restore into it did not finish.
    pub fn lock(&self) -> anyhow::Result<DataLock> {
        let lock = self.lock_to_restore()?;
        ensure!(
            !self.restore_folder().exists(),
            "--data: a restore into {} did not finish: empty the folder and restore again",
            self.0.display()
        );
        Ok(lock)
    }

    /// [`DataDir::lock`] for a restore.
    ///
    /// # Errors
    /// When a server has it, or another restore.
    pub fn lock_to_restore(&self) -> anyhow::Result<DataLock> {
        let path = self.0.join("dormouse.lock");
        let file = OpenOptions::new()
            .create(true)
            .truncate(false)
            .write(true)
            .open(&path)
            .with_context(|| {
                format!(
                    "--data: cannot open {}; name a folder that this user may write",
                    path.display()
                )
            })?;
        match flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => Ok(DataLock { _file: file }),
            Err(Errno::WOULDBLOCK) => bail!(
                "--data: another Dormouse runs on {}: stop it, or choose another folder",
                self.0.display()
            ),
            Err(error) => {
                Err(error).with_context(|| format!("--data: cannot lock {}", path.display()))
            }
        }
    }

    /// Devices, people, events, audit.
    #[must_use]
    pub fn dormouse_db(&self) -> PathBuf {
        self.0.join("dormouse.db")
    }

    /// Commands.
    #[must_use]
    pub fn commands_db(&self) -> PathBuf {
        self.0.join("commands.db")
    }

    /// Samples and rollups.
    #[must_use]
    pub fn history_db(&self) -> PathBuf {
        self.0.join("history.db")
    }

    /// The journal.
    #[must_use]
    pub fn journal(&self) -> PathBuf {
        self.0.join("journal")
    }

    /// Where a restore gathers the files before they are put in place.
    #[must_use]
    pub fn restore_folder(&self) -> PathBuf {
        self.0.join("restoring")
    }

    /// The folder itself.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_server_at_a_time() {
        let dir = tempfile::tempdir().unwrap();
        let data = DataDir::open(&dir.path().join("a/b")).unwrap();
        let lock = data.lock().unwrap();
        let error = data.lock().unwrap_err().to_string();
        assert!(error.contains("another Dormouse"), "{error}");
        drop(lock);
        data.lock().unwrap();
    }

    #[test]
    fn no_server_starts_on_half_a_restore() {
        let dir = tempfile::tempdir().unwrap();
        let data = DataDir::open(dir.path()).unwrap();
        std::fs::create_dir(data.restore_folder()).unwrap();
        let error = data.lock().unwrap_err().to_string();
        assert!(error.contains("did not finish"), "{error}");
        data.lock_to_restore().unwrap();
    }
}
