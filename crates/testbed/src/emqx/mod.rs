//! A private EMQX for tests, of the release or the image that is at hand.
//!
//! Whoever starts it renders its configuration into [`Emqx::etc`], for the
//! ports, folders and name that it says.

mod source;

use std::ffi::OsString;
use std::fs::Permissions;
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context, ensure};
use tempfile::TempDir;

use crate::child::wait_until;
use crate::{Guarded, certificates, free_port};

pub use source::{HOME, IMAGE, Source};

/// How long it may take until it listens.
const PATIENCE: Duration = Duration::from_secs(120);
/// Where the image expects its configuration, and ours.
const IMAGE_ETC: &str = "/opt/emqx/etc";
const IMAGE_DATA: &str = "/opt/emqx/data";
/// What it says once every part of it has started.
const RUNNING: &str = "is running now";
/// The ports by which nodes find each other, counted from the number in their
/// name.
const CLUSTER_PORTS: [u16; 2] = [4370, 5370];

/// An EMQX.
#[derive(Debug)]
pub struct Emqx {
    source: Source,
    folder: TempDir,
    number: u16,
    tls_port: u16,
    plain_port: u16,
    api_port: u16,
    running: Mutex<Option<Guarded>>,
}

impl Emqx {
    /// Chooses ports and folders for an EMQX from `source`, and makes it a
    /// certificate for 127.0.0.1 and localhost.
    ///
    /// # Errors
    /// When the release is none that can be copied, or no folder can be made.
    pub fn prepare(source: Source) -> anyhow::Result<Self> {
        let folder = tempfile::Builder::new()
            .prefix("dormouse-emqx-")
            .tempdir()?;
        let emqx = Self {
            number: free_number()?,
            tls_port: free_port()?,
            plain_port: free_port()?,
            api_port: free_port()?,
            source,
            folder,
            running: Mutex::new(None),
        };
        for made in [emqx.etc(), emqx.path("data")] {
            std::fs::create_dir(made)?;
        }
        certificates::write(&emqx.etc())?;
        if let Source::Release(home) = &emqx.source {
            emqx.copy_release(home)?;
        }
        Ok(emqx)
    }

    /// The folder to render into.
    #[must_use]
    pub fn etc(&self) -> PathBuf {
        self.path("dormouse")
    }

    /// The same folder as EMQX sees it.
    #[must_use]
    pub fn etc_dir(&self) -> String {
        match self.source {
            Source::Release(_) => self.etc().display().to_string(),
            Source::Engine(_) => format!("{IMAGE_ETC}/dormouse"),
        }
    }

    /// The folder for its own data as EMQX sees it.
    #[must_use]
    pub fn data_dir(&self) -> String {
        match self.source {
            Source::Release(_) => self.path("data").display().to_string(),
            Source::Engine(_) => IMAGE_DATA.to_owned(),
        }
    }

    /// The name that it must be rendered for.
    #[must_use]
    pub fn node_name(&self) -> String {
        format!("emqx{}@127.0.0.1", self.number)
    }

    /// Where devices come in with TLS, on 127.0.0.1.
    #[must_use]
    pub const fn tls_port(&self) -> u16 {
        self.tls_port
    }

    /// Where they come in without, on 127.0.0.1.
    #[must_use]
    pub const fn plain_port(&self) -> u16 {
        self.plain_port
    }

    /// Where its REST API listens, on 127.0.0.1.
    #[must_use]
    pub const fn api_port(&self) -> u16 {
        self.api_port
    }

    /// What it printed.
    #[must_use]
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.path("log.txt")).unwrap_or_default()
    }

    /// Starts it and waits until it listens.
    ///
    /// # Errors
    /// When it does not come up: with what it printed.
    pub fn run(&self) -> anyhow::Result<()> {
        let log = self.path("log.txt");
        std::fs::write(&log, "")?;
        let command = match &self.source {
            Source::Release(_) => self.release_command()?,
            Source::Engine(engine) => self.container_command(engine)?,
        };
        let guarded = Guarded::spawn(self.folder.path(), &log, command)?;
        *self.lock() = Some(guarded);
        let listens = |port| TcpStream::connect((Ipv4Addr::LOCALHOST, port)).is_ok();
        wait_until("EMQX", PATIENCE, &log, || {
            self.log().contains(RUNNING)
                && [self.tls_port, self.plain_port, self.api_port]
                    .into_iter()
                    .all(listens)
        })
    }

    /// Ends it properly.
    ///
    /// # Errors
    /// When it does not run.
    pub fn stop(&self) -> anyhow::Result<()> {
        let running = self.lock().take();
        running.context("EMQX does not run")?.end("TERM")
    }

    /// A tree of its own that shares what is never written with the release.
    fn copy_release(&self, home: &Path) -> anyhow::Result<()> {
        let root = self.path("root");
        std::fs::create_dir(&root)?;
        for entry in std::fs::read_dir(home)? {
            let entry = entry?;
            let copy = root.join(entry.file_name());
            match entry.file_name().to_str() {
                Some("bin" | "etc" | "releases") => copy_folder(&entry.path(), &copy)?,
                Some("data" | "log" | "plugins") => std::fs::create_dir(&copy)?,
                Some(_) | None => symlink(entry.path(), &copy)?,
            }
        }
        Ok(())
    }

    fn release_command(&self) -> anyhow::Result<Vec<OsString>> {
        let root = self.path("root");
        std::fs::copy(self.etc().join("emqx.conf"), root.join("etc/emqx.conf"))
            .context("no emqx.conf was rendered")?;
        let names = std::env::vars_os().map(|(name, _)| name);
        let mut command = without_settings(names);
        command.extend([root.join("bin/emqx").into(), "foreground".into()]);
        Ok(command)
    }

    fn container_command(&self, engine: &str) -> anyhow::Result<Vec<OsString>> {
        // Its user is none of this machine.
        for (path, mode) in [
            (self.folder.path().to_owned(), 0o755),
            (self.path("data"), 0o777),
            (self.etc(), 0o755),
        ] {
            std::fs::set_permissions(path, Permissions::from_mode(mode))?;
        }
        for entry in std::fs::read_dir(self.etc())? {
            let path = entry?.path();
            if path.is_file() {
                std::fs::set_permissions(path, Permissions::from_mode(0o644))?;
            }
        }
        self.remove_container(engine);
        let (etc, data) = (self.etc(), self.path("data"));
        let mounts = [
            format!(
                "{}:{IMAGE_ETC}/emqx.conf:ro",
                etc.join("emqx.conf").display()
            ),
            format!("{}:{IMAGE_ETC}/dormouse:ro", etc.display()),
            format!("{}:{IMAGE_DATA}", data.display()),
        ];
        let environment = [
            format!("EMQX_NODE_NAME={}", self.node_name()),
            // The image's own choice is one port for all.
            "EMQX_RPC__PORT_DISCOVERY=stateless".to_owned(),
        ];
        let mut command = vec![engine.to_owned(), "run".to_owned(), "--rm".to_owned()];
        command.extend(["--network".to_owned(), "host".to_owned()]);
        command.extend(["--name".to_owned(), self.container()]);
        for mount in mounts {
            command.extend(["--volume".to_owned(), mount]);
        }
        for variable in environment {
            command.extend(["--env".to_owned(), variable]);
        }
        command.push(IMAGE.to_owned());
        Ok(command.into_iter().map(Into::into).collect())
    }

    fn container(&self) -> String {
        format!("dormouse-emqx-{}-{}", std::process::id(), self.number)
    }

    fn remove_container(&self, engine: &str) {
        let removed = Command::new(engine)
            .args(["rm", "--force", "--volumes", &self.container()])
            .output();
        // Nothing is there at the first start.
        drop(removed);
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Option<Guarded>> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Emqx {
    fn drop(&mut self) {
        drop(self.lock().take());
        if let Source::Engine(engine) = &self.source {
            self.remove_container(engine);
        }
    }
}

/// Begins a command with `names` of the environment but those called EMQX_…,
/// which are settings to EMQX.
fn without_settings(names: impl Iterator<Item = OsString>) -> Vec<OsString> {
    let is_setting = |name: &OsString| name.to_string_lossy().starts_with("EMQX_");
    let settings = names
        .filter(is_setting)
        .flat_map(|name| ["-u".into(), name]);
    std::iter::once("env".into()).chain(settings).collect()
}

fn copy_folder(from: &Path, to: &Path) -> anyhow::Result<()> {
    let copied = Command::new("cp").arg("-a").args([from, to]).output()?;
    ensure!(
        copied.status.success(),
        "cannot copy {}: {}",
        from.display(),
        String::from_utf8_lossy(&copied.stderr)
    );
    Ok(())
}

/// A number for a node's name whose ports are free.
fn free_number() -> anyhow::Result<u16> {
    let is_free = |port| TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok();
    (1..900)
        .find(|number| CLUSTER_PORTS.iter().all(|port| is_free(port + number)))
        .context("no ports are free for EMQX's nodes")
}

#[cfg(test)]
mod tests;
