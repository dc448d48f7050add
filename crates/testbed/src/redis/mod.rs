//! Redis servers for tests: single ones and clusters of three masters.

mod cluster;

use std::fmt::Write as _;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context, ensure};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use tempfile::TempDir;

pub use cluster::RedisCluster;

use crate::Guarded;
use crate::child::wait_until;

/// How long a server may take to answer.
const PATIENCE: Duration = Duration::from_secs(30);
/// The password of the user `default` where access is limited.
const ADMIN_PASSWORD: &str = "the-administrators";

/// What is particular about a server.
#[derive(Debug, Clone, Default)]
pub struct Options {
    /// Whether it speaks TLS only and asks for a client certificate, all by an
    /// authority of its own ([`Redis::authority`]).
    pub tls: bool,
    /// Users, each as behind `ACL SETUSER`; then `default` has a password.
    pub users: Vec<String>,
    /// Whether it keeps its data over a restart.
    pub persistent: bool,
    /// Further lines of its configuration.
    pub settings: String,
}

/// A running server.
#[derive(Debug)]
pub struct Redis {
    folder: TempDir,
    port: u16,
    options: Options,
    running: Mutex<Option<Guarded>>,
}

impl Redis {
    /// Starts a plain server without persistence.
    ///
    /// # Errors
    /// When Redis is not installed or does not come up.
    pub fn start() -> anyhow::Result<Self> {
        Self::with(Options::default())
    }

    /// Starts a server.
    ///
    /// # Errors
    /// When Redis is not installed or does not come up.
    pub fn with(options: Options) -> anyhow::Result<Self> {
        let folder = tempfile::Builder::new()
            .prefix("dormouse-redis-")
            .tempdir()?;
        let server = Self {
            folder,
            port: crate::free_port()?,
            options,
            running: Mutex::new(None),
        };
        if server.options.tls {
            certify(server.folder.path())?;
        }
        std::fs::write(server.file("redis.conf"), server.configuration())?;
        server.run()?;
        Ok(server)
    }

    /// The port on 127.0.0.1.
    #[must_use]
    pub const fn port(&self) -> u16 {
        self.port
    }

    /// Where it is: without user and password.
    #[must_use]
    pub fn url(&self) -> String {
        let scheme = if self.options.tls { "rediss" } else { "redis" };
        format!("{scheme}://127.0.0.1:{}", self.port)
    }

    /// The certificate of the authority that vouches for the server, PEM.
    #[must_use]
    pub fn authority(&self) -> PathBuf {
        self.file("ca.pem")
    }

    /// A client's certificate and key, PEM.
    #[must_use]
    pub fn client_certificate(&self) -> (PathBuf, PathBuf) {
        (self.file("client.crt"), self.file("client.key"))
    }

    /// Runs one command as the administrator; answers what `redis-cli` prints.
    ///
    /// # Errors
    /// When the server does not answer, or with an error.
    pub fn cli(&self, arguments: &[&str]) -> anyhow::Result<String> {
        let mut command = Command::new("redis-cli");
        command.args(["-e", "-h", "127.0.0.1", "-p", &self.port.to_string()]);
        if self.options.tls {
            let (certificate, key) = self.client_certificate();
            command.arg("--tls").arg("--cacert").arg(self.authority());
            command.arg("--cert").arg(certificate).arg("--key").arg(key);
        }
        if !self.options.users.is_empty() {
            command.env("REDISCLI_AUTH", ADMIN_PASSWORD);
        }
        let output = command.args(arguments).output();
        let output = output.context("cannot run redis-cli")?;
        let text = String::from_utf8_lossy(&output.stdout)
            .trim_end()
            .to_owned();
        let errors = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success(), "redis-cli: {text} {errors}");
        Ok(text)
    }

    /// Stops the server in order.
    ///
    /// # Errors
    /// When it does not run.
    pub fn stop(&self) -> anyhow::Result<()> {
        self.end("TERM")
    }

    /// Ends the server as a crash would.
    ///
    /// # Errors
    /// When it does not run.
    pub fn kill(&self) -> anyhow::Result<()> {
        self.end("KILL")
    }

    /// Starts the server again on the same port; empty unless persistent.
    ///
    /// # Errors
    /// When it does not come up.
    pub fn run(&self) -> anyhow::Result<()> {
        let mut running = self.running.lock().unwrap_or_else(PoisonError::into_inner);
        ensure!(running.is_none(), "the server runs already");
        let log = self.file("log");
        let configuration = self.file("redis.conf");
        let command = [Path::new("redis-server"), &configuration];
        *running = Some(Guarded::spawn(self.folder.path(), &log, command)?);
        wait_until("Redis", PATIENCE, &log, || self.cli(&["PING"]).is_ok())
    }

    fn end(&self, signal: &str) -> anyhow::Result<()> {
        let mut running = self.running.lock().unwrap_or_else(PoisonError::into_inner);
        let server = running.take().context("the server does not run")?;
        server.end(signal)
    }

    fn file(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn configuration(&self) -> String {
        let folder = self.folder.path().display();
        let options = &self.options;
        let persistence = if options.persistent { "yes" } else { "no" };
        let mut text = format!(
            "bind 127.0.0.1\ndir {folder}\nsave \"\"\nappendonly {persistence}\n\
             appendfsync always\n"
        );
        let port = self.port;
        let _ = if options.tls {
            writeln!(
                text,
                "port 0\ntls-port {port}\ntls-cert-file {folder}/server.crt\n\
                 tls-key-file {folder}/server.key\ntls-ca-cert-file {folder}/ca.pem"
            )
        } else {
            writeln!(text, "port {port}")
        };
        for user in &options.users {
            let _ = writeln!(text, "user {user}");
        }
        if !options.users.is_empty() {
            let _ = writeln!(text, "user default on >{ADMIN_PASSWORD} ~* &* +@all");
        }
        text + &options.settings
    }
}

/// Writes an authority, the server's certificate and a client's.
fn certify(folder: &Path) -> anyhow::Result<()> {
    let mut ca = CertificateParams::new(Vec::new())?;
    ca.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    ca.distinguished_name
        .push(rcgen::DnType::CommonName, "Dormouse test authority");
    let ca = CertifiedIssuer::self_signed(ca, KeyPair::generate()?)?;
    std::fs::write(folder.join("ca.pem"), ca.pem())?;
    let names = vec![Ipv4Addr::LOCALHOST.to_string(), "localhost".to_owned()];
    for (file, names) in [("server", names), ("client", Vec::new())] {
        let key = KeyPair::generate()?;
        let certificate = CertificateParams::new(names)?.signed_by(&key, &ca)?;
        std::fs::write(folder.join(format!("{file}.crt")), certificate.pem())?;
        std::fs::write(folder.join(format!("{file}.key")), key.serialize_pem())?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_comes_back_empty_or_not_as_wanted() {
        for persistent in [false, true] {
            let server = Redis::with(Options {
                persistent,
                ..Options::default()
            })
            .unwrap();
            server.cli(&["SET", "a", "7"]).unwrap();
            server.kill().unwrap();
            assert!(server.cli(&["PING"]).is_err());
            server.run().unwrap();
            let expected = if persistent { "7" } else { "" };
            assert_eq!(server.cli(&["GET", "a"]).unwrap(), expected);
        }
    }

    #[test]
    fn tls_and_users_are_asked_for() {
        let server = Redis::with(Options {
            tls: true,
            users: vec!["dormouse on >secret ~a +get".to_owned()],
            ..Options::default()
        })
        .unwrap();
        assert_eq!(server.cli(&["PING"]).unwrap(), "PONG");
        let as_user = ["--user", "dormouse", "--pass", "secret"];
        assert!(server.cli(&[&as_user[..], &["GET", "a"]].concat()).is_ok());
        assert!(server.cli(&[&as_user[..], &["GET", "b"]].concat()).is_err());
    }
}
