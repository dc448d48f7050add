//! TimescaleDB for tests: the real extension in a PostgreSQL compiled to
//! WebAssembly, which needs nothing but Node.js.
//!
//! It has one backend: connections take turns, and a transaction keeps all
//! others waiting. So a test must not wait for one connection while it holds a
//! transaction on another; concurrency is tested on [`crate::postgres`].
//! Background workers do not run, so policies never do by themselves.

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, OnceLock};

use anyhow::{Context, ensure};

use crate::npm;

const FILES: [(&str, &str); 4] = [
    ("package.json", include_str!("../timescale/package.json")),
    (
        "package-lock.json",
        include_str!("../timescale/package-lock.json"),
    ),
    (".npmrc", include_str!("../timescale/.npmrc")),
    ("server.mjs", include_str!("../timescale/server.mjs")),
];

/// A running server; it ends with the process that started it.
#[derive(Debug)]
pub struct Timescale {
    port: u16,
    schemas: AtomicU32,
    // The server ends once its input does.
    server: Mutex<Child>,
}

impl Timescale {
    /// The server that all tests of this process share; it takes some seconds
    /// to start.
    ///
    /// # Panics
    /// When it cannot be started.
    pub fn shared() -> &'static Self {
        static SHARED: OnceLock<Timescale> = OnceLock::new();
        SHARED.get_or_init(|| match Self::start() {
            Ok(server) => server,
            Err(error) => panic!("{error:#}"),
        })
    }

    /// Starts a server of one's own, in memory.
    ///
    /// # Errors
    /// When Node.js or the package is not to be had, or it does not come up.
    pub fn start() -> anyhow::Result<Self> {
        let folder = npm::installed("testbed-timescale", &FILES)?;
        let mut server = Command::new("node")
            .arg(folder.join("server.mjs"))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .context("cannot run node (Node.js 20 or later)")?;
        let output = server.stdout.take().context("no output")?;
        let mut line = String::new();
        BufReader::new(output).read_line(&mut line)?;
        let port = line
            .trim()
            .strip_prefix("ready ")
            .and_then(|port| port.parse().ok())
            .with_context(|| format!("TimescaleDB did not start, it said '{line}'"))?;
        Ok(Self {
            port,
            schemas: AtomicU32::new(0),
            server: Mutex::new(server),
        })
    }

    /// The address of an empty schema of its own; the extension's functions
    /// are on the search path behind it.
    ///
    /// # Errors
    /// When the server does not make one.
    pub fn schema(&self) -> anyhow::Result<String> {
        let name = format!("test_{}", self.schemas.fetch_add(1, Ordering::Relaxed));
        let url = format!(
            "postgres://postgres@127.0.0.1:{}/postgres?sslmode=disable",
            self.port
        );
        let output = Command::new("psql")
            .args(["-XqAt", "-v", "ON_ERROR_STOP=1", "-d", &url])
            .args(["-c", &format!("CREATE SCHEMA {name}")])
            .output()
            .context("cannot run psql")?;
        let errors = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success(), "psql: {errors}");
        Ok(format!("{url}&options=-csearch_path%3D{name},public"))
    }
}

impl Drop for Timescale {
    fn drop(&mut self) {
        if let Ok(server) = self.server.get_mut() {
            drop(server.stdin.take());
            let _ = server.wait();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn psql(url: &str, sql: &str) -> String {
        let output = Command::new("psql")
            .args(["-XqAt", "-v", "ON_ERROR_STOP=1", "-d", url, "-c", sql])
            .output()
            .unwrap();
        assert!(output.status.success(), "{output:?}");
        String::from_utf8(output.stdout).unwrap().trim().to_owned()
    }

    #[test]
    fn it_has_hypertables_and_keeps_schemas_apart() {
        let server = Timescale::shared();
        let (one, other) = (server.schema().unwrap(), server.schema().unwrap());
        for url in [&one, &other] {
            psql(url, "CREATE TABLE t (at timestamptz NOT NULL, x int)");
            psql(url, "SELECT create_hypertable('t', 'at')");
        }
        psql(&one, "INSERT INTO t VALUES (now(), 1)");
        assert_eq!(psql(&one, "SELECT count(*) FROM show_chunks('t')"), "1");
        assert_eq!(psql(&other, "SELECT count(*) FROM t"), "0");
    }
}
