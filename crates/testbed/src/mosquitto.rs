//! Mosquitto brokers for tests.

use std::fmt::Write as _;
use std::net::{Ipv4Addr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context, ensure};
use tempfile::TempDir;

use crate::child::wait_until;
use crate::{Guarded, certificates};

/// How long a broker may take to listen.
const PATIENCE: Duration = Duration::from_secs(20);

/// What is particular about a broker.
#[derive(Debug, Clone, Default)]
pub struct Options {
    /// Names and passwords; without any, everybody is let in.
    pub users: Vec<(String, String)>,
    /// The lines of an ACL file; without it everything is allowed.
    pub acl: Option<String>,
    /// Whether there is a second listener that speaks TLS.
    pub tls: Tls,
    /// Further lines of the configuration; `{folder}` stands for the folder.
    pub settings: String,
}

/// The second listener.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Tls {
    /// There is none.
    #[default]
    None,
    /// With a certificate for 127.0.0.1 and localhost.
    Server,
    /// And it wants one of the client, too.
    Mutual,
}

/// A broker.
#[derive(Debug)]
pub struct Mosquitto {
    folder: TempDir,
    port: u16,
    tls_port: u16,
    running: Mutex<Option<Guarded>>,
}

impl Mosquitto {
    /// Starts a broker that keeps what it has in a file when it ends properly,
    /// has room for any backlog of a test, and lets everybody in unless
    /// `options` say otherwise.
    ///
    /// # Errors
    /// When Mosquitto is not installed or does not come up.
    pub fn start(options: &Options) -> anyhow::Result<Self> {
        let broker = Self::unconfigured()?;
        broker.configure(options)?;
        broker.resume()?;
        Ok(broker)
    }

    /// A broker that does not run yet and has no configuration, but its ports
    /// and the files of [`Tls::Mutual`].
    ///
    /// # Errors
    /// When a file cannot be written.
    pub fn unconfigured() -> anyhow::Result<Self> {
        let folder = tempfile::Builder::new()
            .prefix("dormouse-mosquitto-")
            .tempdir()?;
        let broker = Self {
            port: crate::free_port()?,
            tls_port: crate::free_port()?,
            folder,
            running: Mutex::new(None),
        };
        certificates::write(broker.folder.path())?;
        Ok(broker)
    }

    /// Takes the configuration that somebody else wrote into the folder as
    /// `mosquitto.conf`, and starts with it.
    ///
    /// # Errors
    /// When it cannot be read or does not work.
    pub fn resume_as_configured(&self) -> anyhow::Result<()> {
        let file = self.file("mosquitto.conf");
        let configuration = std::fs::read_to_string(&file)?;
        // Another user could not read the folder.
        let user = if running_as_root() { "user root\n" } else { "" };
        std::fs::write(&file, format!("{user}{configuration}"))?;
        self.resume()
    }

    /// Writes the configuration anew, for the next [`Mosquitto::resume`].
    ///
    /// # Errors
    /// When a file cannot be written.
    pub fn configure(&self, options: &Options) -> anyhow::Result<()> {
        let folder = self.folder.path().display();
        let user = if running_as_root() { "user root\n" } else { "" };
        let mut lines = format!(
            "{user}persistence true\npersistence_location {folder}/\nmax_queued_messages 0\n\
             max_inflight_messages 0\nlog_dest stdout\nlog_type error\nlog_type warning\n\
             log_type notice\n"
        );
        if options.users.is_empty() {
            lines.push_str("allow_anonymous true\n");
        } else {
            self.write_passwords(&options.users)?;
            writeln!(
                lines,
                "allow_anonymous false\npassword_file {folder}/passwords"
            )?;
        }
        if let Some(acl) = &options.acl {
            std::fs::write(self.folder.path().join("acl"), acl)?;
            writeln!(lines, "acl_file {folder}/acl")?;
        }
        lines.push_str(&options.settings.replace("{folder}", &folder.to_string()));
        writeln!(lines, "\nlistener {} 127.0.0.1", self.port)?;
        if options.tls != Tls::None {
            writeln!(
                lines,
                "listener {} 127.0.0.1\ncafile {folder}/ca.pem\ncertfile {folder}/server.pem\n\
                 keyfile {folder}/server.key\nrequire_certificate {}",
                self.tls_port,
                options.tls == Tls::Mutual
            )?;
        }
        std::fs::write(self.file("mosquitto.conf"), lines)?;
        Ok(())
    }

    /// The port of the plain listener.
    #[must_use]
    pub const fn port(&self) -> u16 {
        self.port
    }

    /// The port of the listener that speaks TLS.
    #[must_use]
    pub const fn tls_port(&self) -> u16 {
        self.tls_port
    }

    /// A file in the broker's folder: `ca.pem`, `client.pem` and `client.key`
    /// (common name `backend`) where it speaks TLS.
    #[must_use]
    pub fn file(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// What the broker logged.
    #[must_use]
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.file("log")).unwrap_or_default()
    }

    /// Ends the broker properly: what it keeps it finds again.
    ///
    /// # Errors
    /// When it does not run.
    pub fn stop(&self) -> anyhow::Result<()> {
        self.end("TERM")
    }

    /// Ends the broker at once, as a crash would.
    ///
    /// # Errors
    /// When it does not run.
    pub fn kill(&self) -> anyhow::Result<()> {
        self.end("KILL")
    }

    /// Starts the broker again.
    ///
    /// # Errors
    /// When it does not come up.
    pub fn resume(&self) -> anyhow::Result<()> {
        let log = self.file("log");
        let program = ["/usr/sbin/mosquitto", "/usr/local/sbin/mosquitto"]
            .into_iter()
            .find(|path| Path::new(path).exists())
            .unwrap_or("mosquitto");
        let command = [program.into(), "-c".into(), self.file("mosquitto.conf")];
        let guarded = Guarded::spawn(self.folder.path(), &log, command)?;
        *self.lock() = Some(guarded);
        wait_until("mosquitto", PATIENCE, &log, || {
            TcpStream::connect((Ipv4Addr::LOCALHOST, self.port)).is_ok()
        })
    }

    fn end(&self, signal: &str) -> anyhow::Result<()> {
        let running = self.lock().take();
        running.context("the broker does not run")?.end(signal)
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Option<Guarded>> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn write_passwords(&self, users: &[(String, String)]) -> anyhow::Result<()> {
        let file = self.file("passwords");
        std::fs::write(&file, "")?;
        for (name, password) in users {
            let made = Command::new("mosquitto_passwd")
                .arg("-b")
                .arg(&file)
                .args([name, password])
                .output()
                .context("cannot run mosquitto_passwd; is mosquitto installed?")?;
            ensure!(
                made.status.success(),
                "mosquitto_passwd: {}",
                String::from_utf8_lossy(&made.stderr)
            );
        }
        Ok(())
    }
}

fn running_as_root() -> bool {
    std::fs::metadata("/proc/self").is_ok_and(|it| std::os::unix::fs::MetadataExt::uid(&it) == 0)
}
