//! `dormouse broker emqx render`.

use std::net::SocketAddr;

use anyhow::{Context, ensure};

use super::super::ConfigArgs;
use super::{RenderArgs, plain_path};
use crate::brokers::emqx::{self, CredentialsDatabase, EmqxSecrets, EmqxSettings};
use crate::config::Config;

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(flatten)]
    config: ConfigArgs,
    #[command(flatten)]
    common: RenderArgs,
    /// Folder where EMQX will find these files
    #[arg(long, value_name = "DIR", default_value = "/opt/emqx/etc/dormouse")]
    etc_dir: String,
    /// EMQX's folder for its own data
    #[arg(long, value_name = "DIR", default_value = "/opt/emqx/data")]
    emqx_data_dir: String,
    /// The node's name
    #[arg(long, value_name = "NAME@HOST", default_value = "emqx@127.0.0.1")]
    node_name: String,
    /// Names of all nodes of a cluster, separated by commas
    #[arg(long, value_name = "NAMES", value_delimiter = ',')]
    seeds: Vec<String>,
    /// Where the dashboard and the REST API listen
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:18083")]
    listen_dashboard: SocketAddr,
    /// Keep sessions on disk; only for a version whose durable sessions take
    /// shared subscriptions (5.8 does not)
    #[arg(long)]
    durable_sessions: bool,
    /// PostgreSQL as EMQX reaches it, if not as `database.url` says
    #[arg(long, value_name = "HOST:PORT/NAME")]
    database: Option<String>,
    /// File with the certificates of PostgreSQL's authority, as EMQX sees it;
    /// without it EMQX speaks to PostgreSQL without TLS
    #[arg(long, value_name = "FILE")]
    database_ca: Option<String>,
}

pub(super) fn render(args: &Args) -> anyhow::Result<()> {
    let common = &args.common;
    let config = args.config.load()?;
    let settings = settings(args, &config)?;
    let mut output = common.output()?;
    let secrets = EmqxSecrets {
        cookie: output.secret("cookie", "")?,
        // EMQX wants letters and digits in it.
        dashboard: output.secret("dashboard", "d1-")?,
        database: output.secret("database", "")?,
        api: output.secret("api", "")?,
        nodes: output.secret("nodes", "")?,
        check: output.secret("check", "")?,
    };
    output.write(&emqx::render(&settings, &secrets))
}

fn settings(args: &Args, config: &Config) -> anyhow::Result<EmqxSettings> {
    plain_path("--etc-dir", &args.etc_dir)?;
    plain_path("--emqx-data-dir", &args.emqx_data_dir)?;
    for name in std::iter::once(&args.node_name).chain(&args.seeds) {
        ensure!(
            name.split_once('@')
                .is_some_and(|(name, host)| !name.is_empty() && !host.is_empty()),
            "--node-name, --seeds: {name:?} is not NAME@HOST"
        );
    }
    ensure!(
        args.seeds.is_empty() || !args.durable_sessions,
        "--durable-sessions: on one EMQX node alone, not with --seeds"
    );
    let (server, name) = match &args.database {
        Some(text) => text
            .split_once('/')
            .map(|(server, name)| (server.to_owned(), name.to_owned()))
            .context("--database: must be HOST:PORT/NAME")?,
        None => database_of(&config.database.url)?,
    };
    Ok(EmqxSettings {
        rules: args.common.rules(config)?,
        node_name: args.node_name.clone(),
        seeds: args.seeds.clone(),
        tls: args.common.tls(&args.etc_dir),
        plain: args.common.listen_plain,
        dashboard: args.listen_dashboard,
        etc_dir: args.etc_dir.clone(),
        data_dir: args.emqx_data_dir.clone(),
        durable_sessions: args.durable_sessions,
        database: CredentialsDatabase {
            server,
            name,
            ca_file: args.database_ca.clone(),
        },
    })
}

/// `host:port` and name out of `postgres://…`. The URL is not repeated in
/// messages: it may hold a password.
fn database_of(url: &str) -> anyhow::Result<(String, String)> {
    let missing = "database.url: EMQX reads credentials from PostgreSQL; set it to postgres://user@host:5432/name, or give --database HOST:PORT/NAME";
    let rest = url
        .strip_prefix("postgres://")
        .or_else(|| url.strip_prefix("postgresql://"))
        .context(missing)?;
    let rest = rest.split('?').next().unwrap_or(rest);
    let (host, name) = rest.split_once('/').context(missing)?;
    let host = host.rsplit_once('@').map_or(host, |it| it.1);
    ensure!(
        !host.is_empty() && !name.is_empty() && !host.contains(','),
        "{missing}"
    );
    let has_port = host
        .rsplit_once(':')
        .is_some_and(|(_, port)| port.parse::<u16>().is_ok());
    let server = if has_port {
        host.to_owned()
    } else {
        format!("{host}:5432")
    };
    Ok((server, name.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_database_is_found_in_its_url() {
        for (url, server, name) in [
            (
                "postgres://u:p@db:6543/site?sslmode=require",
                "db:6543",
                "site",
            ),
            ("postgresql://db/site", "db:5432", "site"),
        ] {
            assert_eq!(
                database_of(url).unwrap(),
                (server.to_owned(), name.to_owned())
            );
        }
        for url in [
            "sqlite:",
            "postgres://db",
            "postgres:///x",
            "postgres://u:secret@a,b/x",
        ] {
            let error = database_of(url).unwrap_err().to_string();
            assert!(
                error.starts_with("database.url") && !error.contains("secret"),
                "{error}"
            );
        }
    }
}
