//! PostgreSQL servers for tests.

mod programs;

use std::ffi::OsString;
use std::net::Ipv4Addr;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, OnceLock, PoisonError};
use std::time::Duration;

use anyhow::{Context, bail, ensure};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use tempfile::TempDir;

use crate::Guarded;
use crate::child::wait_until;
pub(crate) use programs::{as_server, give_to_server};
use programs::{folder_of, newest_of_debian};

/// The versions that Dormouse supports. Those that Debian's packages did not
/// install come as packages of npm.
pub const MAJORS: [u32; 4] = [15, 16, 17, 18];

/// How long a server may take to answer.
const PATIENCE: Duration = Duration::from_secs(60);
/// The administrator of every server here.
pub(crate) const ADMIN: &str = "postgres";

/// What is particular about a server.
#[derive(Debug, Clone, Default)]
pub struct Options {
    /// Which version, one of [`MAJORS`]; Debian's newest where none is given.
    pub major: Option<u32>,
    /// Whether commits wait for the disk; only what tests a power cut needs
    /// it: without, they outlive a crash of the server all the same.
    pub fsync: bool,
    /// Whether it speaks TLS, with a certificate for 127.0.0.1 and localhost
    /// by an authority of its own ([`Postgres::authority`]).
    pub tls: bool,
    /// The lines of `pg_hba.conf`; by default everybody on the loopback
    /// interface is let in without a password.
    pub hba: Option<String>,
    /// Further lines of `postgresql.conf`.
    pub settings: String,
}

/// A running server.
#[derive(Debug)]
pub struct Postgres {
    folder: TempDir,
    programs: PathBuf,
    port: u16,
    running: Mutex<Option<Guarded>>,
    databases: AtomicU32,
}

/// An empty database of its own for one test.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Database {
    /// Where it is, as the administrator, without TLS.
    pub url: String,
    /// Its name.
    pub name: String,
}

impl Postgres {
    /// The server that all tests of this process share: Debian's newest.
    ///
    /// # Panics
    /// When it cannot be started.
    pub fn shared() -> &'static Self {
        static OTHER: OnceLock<Postgres> = OnceLock::new();
        match newest_of_debian().filter(|major| MAJORS.contains(major)) {
            Some(major) => Self::of(major),
            None => OTHER.get_or_init(|| Self::start_shared(None)),
        }
    }

    /// The server of version `major`, one of [`MAJORS`], that all tests of this
    /// process share.
    ///
    /// # Panics
    /// When it cannot be started, or the version is none of them.
    pub fn of(major: u32) -> &'static Self {
        static SHARED: [OnceLock<Postgres>; MAJORS.len()] =
            [const { OnceLock::new() }; MAJORS.len()];
        let Some(at) = MAJORS.iter().position(|it| *it == major) else {
            panic!("PostgreSQL {major} is none of {MAJORS:?}");
        };
        SHARED[at].get_or_init(|| Self::start_shared(Some(major)))
    }

    fn start_shared(major: Option<u32>) -> Self {
        let options = Options {
            major,
            ..Options::default()
        };
        match Self::start(&options) {
            Ok(server) => server,
            Err(error) => panic!("{error:#}"),
        }
    }

    /// Starts a server of one's own.
    ///
    /// # Errors
    /// When PostgreSQL is not installed or does not come up.
    pub fn start(options: &Options) -> anyhow::Result<Self> {
        let folder = tempfile::Builder::new()
            .prefix("dormouse-postgres-")
            .tempdir()?;
        std::fs::set_permissions(folder.path(), PermissionsExt::from_mode(0o755))?;
        give_to_server(folder.path())?;
        let server = Self {
            port: crate::free_port()?,
            programs: folder_of(options.major, folder.path())?,
            folder,
            running: Mutex::new(None),
            databases: AtomicU32::new(0),
        };
        server.create(options)?;
        server.run()?;
        Ok(server)
    }

    /// The port on 127.0.0.1.
    #[must_use]
    pub const fn port(&self) -> u16 {
        self.port
    }

    /// The certificate of the authority that vouches for the server, PEM.
    #[must_use]
    pub fn authority(&self) -> PathBuf {
        self.data().join("ca.pem")
    }

    /// An empty database.
    ///
    /// # Errors
    /// When the server does not make one.
    pub fn database(&self) -> anyhow::Result<Database> {
        self.database_with("")
    }

    /// An empty database made with `options` of `CREATE DATABASE`.
    ///
    /// # Errors
    /// When the server does not make one.
    pub fn database_with(&self, options: &str) -> anyhow::Result<Database> {
        let number = self.databases.fetch_add(1, Ordering::Relaxed);
        let name = format!("test_{number}");
        let create = format!("CREATE DATABASE {name} TEMPLATE template0 {options}");
        self.sql(ADMIN, &create)?;
        Ok(Database {
            url: format!(
                "postgres://{ADMIN}@127.0.0.1:{}/{name}?sslmode=disable",
                self.port
            ),
            name,
        })
    }

    /// Runs statements in `database` as the administrator (through the unix
    /// socket, whatever `pg_hba.conf` says about the network); answers what
    /// psql prints, unaligned and without headings.
    ///
    /// # Errors
    /// When one fails: with psql's words.
    pub fn sql(&self, database: &str, statements: &str) -> anyhow::Result<String> {
        // One that talks to all versions: the packages have none.
        let psql = folder_of(None, self.folder.path())?.join("psql");
        let output = as_server(&psql)
            .args(["-XqAt", "-v", "ON_ERROR_STOP=1", "-U", ADMIN, "-h"])
            .arg(self.folder.path())
            .args(["-p", &self.port.to_string(), "-d", database])
            .args(["-c", statements])
            .current_dir("/")
            .output()
            .context("cannot run psql")?;
        let errors = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success(), "psql: {errors}");
        Ok(String::from_utf8_lossy(&output.stdout)
            .trim_end()
            .to_owned())
    }

    /// Stops the server in order; its data stay.
    ///
    /// # Errors
    /// When it does not run.
    pub fn stop(&self) -> anyhow::Result<()> {
        self.end("INT")
    }

    /// Ends the server as a crash would; its data stay.
    ///
    /// # Errors
    /// When it does not run.
    pub fn crash(&self) -> anyhow::Result<()> {
        self.end("QUIT")
    }

    /// Starts the server again after [`Postgres::stop`] or
    /// [`Postgres::crash`], on the same port.
    ///
    /// # Errors
    /// When it does not come up.
    pub fn run(&self) -> anyhow::Result<()> {
        let mut running = self.running.lock().unwrap_or_else(PoisonError::into_inner);
        ensure!(running.is_none(), "the server runs already");
        let log = self.folder.path().join("log");
        let server = as_server(&self.programs.join("postgres"));
        let command = std::iter::once(server.get_program())
            .chain(server.get_args())
            .map(OsString::from)
            .chain(["-D".into(), self.data().into()]);
        *running = Some(Guarded::spawn(self.folder.path(), &log, command)?);
        wait_until("PostgreSQL", PATIENCE, &log, || {
            self.sql(ADMIN, "SELECT 1").is_ok()
        })
    }

    fn end(&self, signal: &str) -> anyhow::Result<()> {
        let mut running = self.running.lock().unwrap_or_else(PoisonError::into_inner);
        running
            .take()
            .context("the server does not run")?
            .end(signal)
    }

    fn data(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    fn create(&self, options: &Options) -> anyhow::Result<()> {
        let output = as_server(&self.programs.join("initdb"))
            .args(["-U", ADMIN, "-A", "trust", "-E", "UTF8", "--locale=C.UTF-8"])
            .args(["--no-sync", "-D"])
            .arg(self.data())
            .current_dir("/")
            .output()
            .context("cannot run initdb")?;
        if !output.status.success() {
            bail!("initdb: {}", String::from_utf8_lossy(&output.stderr));
        }
        let Self { port, folder, .. } = self;
        let durable = if options.fsync { "on" } else { "off" };
        let mut settings = format!(
            "listen_addresses = '127.0.0.1'\nport = {port}\n\
             unix_socket_directories = '{}'\nfsync = {durable}\n\
             full_page_writes = {durable}\n\
             max_connections = 300\n{}\n",
            folder.path().display(),
            options.settings
        );
        if options.tls {
            settings.push_str("ssl = on\nssl_ca_file = 'ca.pem'\n");
            self.certify()?;
        }
        let file = self.data().join("postgresql.auto.conf");
        std::fs::write(&file, settings)?;
        let network = options
            .hba
            .as_deref()
            .unwrap_or("host all all 127.0.0.1/32 trust");
        std::fs::write(
            self.data().join("pg_hba.conf"),
            format!("local all all trust\n{network}\n"),
        )?;
        Ok(())
    }

    /// Writes an authority, the server's certificate and a client's for the
    /// role `postgres`.
    fn certify(&self) -> anyhow::Result<()> {
        let mut ca = CertificateParams::new(Vec::new())?;
        ca.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        ca.distinguished_name
            .push(rcgen::DnType::CommonName, "Dormouse test authority");
        let ca = CertifiedIssuer::self_signed(ca, KeyPair::generate()?)?;
        self.write_secret("ca.pem", &ca.pem())?;
        let names = vec![Ipv4Addr::LOCALHOST.to_string(), "localhost".to_owned()];
        for (file, names, common_name) in [
            ("server", names, "localhost"),
            ("client", Vec::new(), ADMIN),
        ] {
            let key = KeyPair::generate()?;
            let mut params = CertificateParams::new(names)?;
            params
                .distinguished_name
                .push(rcgen::DnType::CommonName, common_name);
            let certificate = params.signed_by(&key, &ca)?;
            self.write_secret(&format!("{file}.crt"), &certificate.pem())?;
            self.write_secret(&format!("{file}.key"), &key.serialize_pem())?;
        }
        Ok(())
    }

    /// The client's certificate and key for the role `postgres`, PEM.
    #[must_use]
    pub fn client_certificate(&self) -> (PathBuf, PathBuf) {
        (
            self.data().join("client.crt"),
            self.data().join("client.key"),
        )
    }

    fn write_secret(&self, name: &str, pem: &str) -> anyhow::Result<()> {
        let path = self.data().join(name);
        std::fs::write(&path, pem)?;
        std::fs::set_permissions(&path, PermissionsExt::from_mode(0o600))?;
        give_to_server(&path)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_version_is_what_it_says() {
        for major in MAJORS {
            let found = Postgres::of(major).sql(ADMIN, "SHOW server_version_num");
            let found: u32 = found.unwrap().parse().unwrap();
            assert_eq!(found / 10_000, major);
        }
    }

    #[test]
    fn it_gives_databases_and_comes_back_after_a_stop_and_a_crash() {
        let server = Postgres::start(&Options::default()).unwrap();
        let database = server.database().unwrap();
        server
            .sql(
                &database.name,
                "CREATE TABLE t (x int); INSERT INTO t VALUES (7)",
            )
            .unwrap();
        server.stop().unwrap();
        assert!(server.sql(&database.name, "SELECT 1").is_err());
        server.run().unwrap();
        assert_eq!(server.sql(&database.name, "SELECT x FROM t").unwrap(), "7");
        server.crash().unwrap();
        server.run().unwrap();
        assert_ne!(server.database().unwrap(), database);
        let folder = server.folder.path().to_owned();
        drop(server);
        assert!(!folder.exists());
    }
}
