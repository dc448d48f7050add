//! `PgBouncer` in front of a [`Postgres`], for tests.

use std::net::{Ipv4Addr, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::time::Duration;

use tempfile::TempDir;

use crate::Guarded;
use crate::child::wait_until;
use crate::postgres::{ADMIN, Postgres, as_server, give_to_server};

/// How long it may take to listen.
const PATIENCE: Duration = Duration::from_secs(20);

/// A running proxy that pools by session; it lets everybody in.
#[derive(Debug)]
pub struct PgBouncer {
    port: u16,
    _running: Guarded,
    _folder: TempDir,
}

impl PgBouncer {
    /// Starts one in front of `server`.
    ///
    /// # Errors
    /// When `PgBouncer` is not installed or does not come up.
    pub fn start(server: &Postgres) -> anyhow::Result<Self> {
        let folder = tempfile::Builder::new()
            .prefix("dormouse-pgbouncer-")
            .tempdir()?;
        std::fs::set_permissions(folder.path(), PermissionsExt::from_mode(0o755))?;
        give_to_server(folder.path())?;
        let port = crate::free_port()?;
        let file = folder.path().join("pgbouncer.ini");
        let (to, folder_name) = (server.port(), folder.path().display());
        std::fs::write(
            &file,
            format!(
                "[databases]\n* = host=127.0.0.1 port={to} user={ADMIN}\n\
                 [pgbouncer]\nlisten_addr = 127.0.0.1\nlisten_port = {port}\n\
                 unix_socket_dir = {folder_name}\nauth_type = any\npool_mode = session\n"
            ),
        )?;
        let proxy = as_server("/usr/sbin/pgbouncer".as_ref());
        let command = std::iter::once(proxy.get_program())
            .chain(proxy.get_args())
            .chain([file.as_os_str()]);
        let log = folder.path().join("log");
        let running = Guarded::spawn(folder.path(), &log, command)?;
        wait_until("PgBouncer", PATIENCE, &log, || {
            TcpStream::connect((Ipv4Addr::LOCALHOST, port)).is_ok()
        })?;
        Ok(Self {
            port,
            _running: running,
            _folder: folder,
        })
    }

    /// The port on 127.0.0.1.
    #[must_use]
    pub const fn port(&self) -> u16 {
        self.port
    }
}
