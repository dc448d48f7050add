//! `dormouse migrate`: moves a site to another database.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::bail;

use super::print;
use super::serve::{block_on, stop_token, tell};
use crate::clock::SystemClock;
use crate::progress::Teller;
use crate::store::moving::{move_site, require_site};
use crate::store::postgres::{DORMOUSE, HISTORY, Postgres, PostgresSettings};

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[arg(
        long,
        value_name = "URL",
        help = "The site to move, such as sqlite:/var/lib/dormouse; no server may run on it"
    )]
    from: String,
    #[arg(
        long,
        value_name = "URL",
        help = "The empty database to move it to, such as postgres://dormouse@host:5432/dormouse?sslmode=verify-full"
    )]
    to: String,
    /// File with the database's password
    #[arg(long, value_name = "FILE")]
    password_file: Option<PathBuf>,
    /// Seconds until a connection counts as failed
    #[arg(long, value_name = "SECONDS", default_value_t = 5)]
    connect_timeout: u64,
}

pub(super) fn run(args: Args) -> anyhow::Result<()> {
    let is_postgres =
        |url: &str| url.starts_with("postgres://") || url.starts_with("postgresql://");
    let Some(folder) = args
        .from
        .strip_prefix("sqlite:")
        .filter(|it| !it.is_empty())
    else {
        if is_postgres(&args.from) {
            bail!(
                "--from: a site cannot be moved away from PostgreSQL, only to it; keep the SQLite folder that it came from, and pg_dump for backups"
            );
        }
        bail!("--from: name the site's folder, as in sqlite:/var/lib/dormouse");
    };
    if !is_postgres(&args.to) {
        bail!("--to: name a PostgreSQL database, as in postgres://user@host:5432/name");
    }
    let folder = PathBuf::from(folder);
    require_site(&folder)?;
    let settings = PostgresSettings {
        url: args.to,
        password_file: args.password_file,
        pool_max: 3,
        connect_timeout: Duration::from_secs(args.connect_timeout.max(1)),
        node: "migrate".to_owned(),
    };
    block_on(async move {
        let mut teller = Teller::new(stop_token()?);
        let clock = Arc::new(SystemClock::start());
        let to = Postgres::open_to_move(&settings, clock, &[DORMOUSE, HISTORY]).await?;
        let moved = move_site(&folder, &to, &mut teller).await;
        to.close();
        let moved = match moved {
            Ok(moved) => moved,
            Err(error) if error.is::<crate::progress::Stopped>() => {
                bail!("stopped; the same command goes on from here")
            }
            Err(error) => return Err(error),
        };
        print(&moved.to_string())?;
        tell(&format!(
            "The site is at {}. Start Dormouse with that as database.url, and put {} away: a server on it would be another site.",
            to.address(),
            folder.display()
        ));
        Ok(())
    })
}
