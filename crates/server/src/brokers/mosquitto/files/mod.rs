//! Keeps Mosquitto's password and ACL files up to date and has it read them.
//!
//! Read again, Mosquitto itself ends the sessions of those whose password is
//! no longer there or another, and publishes no will of theirs.

use std::io;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

use dormouse_core::device::Device;
use dormouse_core::event::Origin;
use dormouse_core::health::PartHandle;
use dormouse_core::ids::DeviceId;
use dormouse_core::ports::{
    DeviceChange, DeviceStore, DeviceWatcher, KickReason, PortError, SessionControl,
};
use dormouse_core::topic::Topics;
use rustix::process::{Pid, Signal, kill_process};
use tokio::process::Command;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use super::{Credentials, ForeignAcl, PasswordFile, digest_of, update_acl};
use crate::replace_file::replace_file;

/// How long changes are gathered before the files are written.
const GATHER: Duration = Duration::from_millis(200);
/// How long the command may take.
const COMMAND: Duration = Duration::from_secs(10);
/// The pause after a first failure; it doubles.
const PAUSE: Duration = Duration::from_secs(1);
/// The longest pause.
const PAUSE_MAX: Duration = Duration::from_secs(30);

/// How Mosquitto is made to read its files again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reload {
    /// By SIGHUP to the process whose id is in this file.
    PidFile(PathBuf),
    /// By this command, run by `sh`.
    Command(String),
}

/// Which files.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FilesSettings {
    /// The password file.
    pub password_file: PathBuf,
    /// The ACL file; `None` to leave it alone.
    pub acl_file: Option<PathBuf>,
    /// How Mosquitto is told.
    pub reload: Reload,
}

/// Why Mosquitto does not know what it should. Names the setting.
#[derive(Debug, thiserror::Error)]
pub enum FilesError {
    /// The devices cannot be read.
    #[error("the devices cannot be read: {0}")]
    Devices(#[from] PortError),
    /// A file cannot be read or written.
    #[error("{key}: {path}: {source}")]
    File {
        /// The setting.
        key: &'static str,
        /// The file.
        path: PathBuf,
        /// The system's own words.
        source: io::Error,
    },
    /// The ACL file is none of ours.
    #[error("mosquitto.acl_file: {path} {source}")]
    Foreign {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        source: ForeignAcl,
    },
    /// There is no process to tell.
    #[error("mosquitto.pid_file: {path} holds no process id; is Mosquitto running?")]
    NoPid {
        /// The file.
        path: PathBuf,
    },
    /// The process cannot be told.
    #[error(
        "mosquitto.pid_file: cannot signal process {pid}: {source}; run Dormouse as a user who may, or set mosquitto.reload_command"
    )]
    Signal {
        /// The process.
        pid: i32,
        /// The system's own words.
        source: io::Error,
    },
    /// The command did not do it.
    #[error("mosquitto.reload_command: {0}")]
    Command(String),
}

/// Has the files written after each change: put it where sessions are
/// controlled, and among those who hear of changes to devices.
#[derive(Debug, Default)]
pub struct MosquittoFiles {
    news: Notify,
}

/// Writes the files.
pub struct FilesWorker {
    files: Arc<MosquittoFiles>,
    settings: FilesSettings,
    topics: Topics,
    devices: Arc<dyn DeviceStore>,
    health: PartHandle,
}

impl std::fmt::Debug for FilesWorker {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("FilesWorker")
            .field("settings", &self.settings)
            .finish_non_exhaustive()
    }
}

impl MosquittoFiles {
    /// The two ends; `health` is the part that says whether Mosquitto is up to
    /// date.
    #[must_use]
    pub fn new(
        settings: FilesSettings,
        topics: Topics,
        devices: Arc<dyn DeviceStore>,
        health: PartHandle,
    ) -> (Arc<Self>, FilesWorker) {
        let files = Arc::new(Self::default());
        let worker = FilesWorker {
            files: Arc::clone(&files),
            settings,
            topics,
            devices,
            health,
        };
        (files, worker)
    }
}

impl SessionControl for MosquittoFiles {
    fn kick(&self, _device: &DeviceId, _reason: KickReason) {
        self.news.notify_one();
    }
}

impl DeviceWatcher for MosquittoFiles {
    fn changed(&self, _device: &Device, change: DeviceChange, _by: &Origin) {
        match change {
            DeviceChange::Edited => {}
            DeviceChange::Added
            | DeviceChange::Approved
            | DeviceChange::Rejected
            | DeviceChange::CredentialsChanged
            | DeviceChange::HandedOver
            | DeviceChange::Deleted => self.news.notify_one(),
        }
    }
}

impl FilesWorker {
    /// Brings the files up to date once, and has them read.
    ///
    /// # Errors
    /// Why Mosquitto does not know what it should.
    pub async fn update(&self) -> Result<(), FilesError> {
        let devices = self.credentials().await?;
        self.write(&devices)?;
        self.reload().await
    }

    /// Keeps the files up to date until `stop`.
    ///
    /// # Errors
    /// Never: what fails is tried again.
    pub async fn run(self, stop: CancellationToken) -> anyhow::Result<()> {
        stop.run_until_cancelled(self.work()).await;
        Ok(())
    }

    async fn work(&self) {
        let mut pause = PAUSE;
        loop {
            match self.update().await {
                Ok(()) => {
                    pause = PAUSE;
                    if self.health.up() {
                        tracing::info!("Mosquitto's files are up to date");
                    }
                    self.files.news.notified().await;
                    tokio::time::sleep(GATHER).await;
                }
                Err(error) => {
                    let detail = "Mosquitto's files are not up to date";
                    if self.health.down(detail) || pause == PAUSE {
                        tracing::warn!(%error, "{detail}; trying again");
                    }
                    tokio::time::sleep(pause).await;
                    pause = (pause * 2).min(PAUSE_MAX);
                }
            }
        }
    }

    async fn credentials(&self) -> Result<Credentials, PortError> {
        let stored = self.devices.changed_since(0).await?;
        let may_sign_in = |it| digest_of(it).map(|digest| (it.device.id.clone(), digest.clone()));
        Ok(stored.iter().filter_map(may_sign_in).collect())
    }

    /// The files are small, and nobody else waits for this task.
    fn write(&self, devices: &Credentials) -> Result<(), FilesError> {
        let path = &self.settings.password_file;
        let key = "mosquitto.password_file";
        let passwords = PasswordFile::parse(&read(key, path)?).render(devices);
        put(key, path, &passwords)?;
        if let Some(path) = &self.settings.acl_file {
            let key = "mosquitto.acl_file";
            let foreign = |source| FilesError::Foreign {
                path: path.clone(),
                source,
            };
            let acl = update_acl(&read(key, path)?, &self.topics, devices).map_err(foreign)?;
            put(key, path, &acl)?;
        }
        Ok(())
    }

    async fn reload(&self) -> Result<(), FilesError> {
        match &self.settings.reload {
            Reload::PidFile(path) => signal(path),
            Reload::Command(command) => run(command).await,
        }
    }
}

fn read(key: &'static str, path: &Path) -> Result<String, FilesError> {
    std::fs::read_to_string(path).map_err(|source| FilesError::File {
        key,
        path: path.to_owned(),
        source,
    })
}

fn put(key: &'static str, path: &Path, text: &str) -> Result<(), FilesError> {
    match replace_file(path, text, 0o600) {
        Ok(_) => Ok(()),
        Err(source) => Err(FilesError::File {
            key,
            path: path.to_owned(),
            source,
        }),
    }
}

fn signal(path: &Path) -> Result<(), FilesError> {
    let text = read("mosquitto.pid_file", path)?;
    let pid = text.trim().parse().ok().filter(|it| *it > 1);
    let (Some(raw), Some(pid)) = (pid, pid.and_then(Pid::from_raw)) else {
        return Err(FilesError::NoPid {
            path: path.to_owned(),
        });
    };
    kill_process(pid, Signal::HUP).map_err(|error| FilesError::Signal {
        pid: raw,
        source: error.into(),
    })
}

async fn run(command: &str) -> Result<(), FilesError> {
    let child = Command::new("sh")
        .args(["-c", command])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .kill_on_drop(true)
        .status();
    match tokio::time::timeout(COMMAND, child).await {
        Ok(Ok(status)) if status.success() => Ok(()),
        Ok(Ok(status)) => Err(FilesError::Command(format!("ended with {status}"))),
        Ok(Err(error)) => Err(FilesError::Command(format!("cannot run sh: {error}"))),
        Err(_) => Err(FilesError::Command(format!(
            "did not end within {} s",
            COMMAND.as_secs()
        ))),
    }
}

#[cfg(test)]
mod tests;
