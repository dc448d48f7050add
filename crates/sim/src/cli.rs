//! `dormouse sim`: a fleet of virtual strips against any broker.

use std::fs::OpenOptions;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, bail, ensure};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use crate::credentials;
use crate::fleet::{Credentials, Fleet, FleetConfig};
use crate::load::{self, Job, LoadArgs};
use crate::scenario::{Scenario, demo_ids};

/// How often a running fleet says how it is.
const REPORT_EVERY: Duration = Duration::from_secs(10);

/// Arguments of `dormouse sim`.
#[derive(clap::Args)]
pub struct Args {
    /// The broker, host:port
    #[arg(long, value_name = "HOST:PORT", default_value = "127.0.0.1:1883", value_parser = broker_address)]
    pub broker: String,
    /// CSV with the columns deviceId,username,password
    #[arg(long, value_name = "FILE", conflicts_with_all = ["join_key", "password"])]
    pub credentials: Option<PathBuf>,
    /// Join with this key instead of credentials
    #[arg(
        long,
        value_name = "KEY",
        env = "DORMOUSE_SIM_JOIN_KEY",
        hide_env_values = true
    )]
    pub join_key: Option<String>,
    /// One password for every strip
    #[arg(
        long,
        env = "DORMOUSE_SIM_PASSWORD",
        hide_env_values = true,
        conflicts_with = "join_key"
    )]
    pub password: Option<String>,
    /// How many strips; without --credentials they are named after --prefix
    #[arg(long, value_name = "N")]
    pub devices: Option<usize>,
    /// What strips without --credentials are called: PREFIX00001 and so on
    #[arg(long, default_value = "sim-")]
    pub prefix: String,
    /// First levels of every topic
    #[arg(long, default_value = dormouse_core::topic::DEFAULT_ROOT)]
    pub root: String,
    /// How the strips behave: quiet, demo or rough
    #[arg(long, default_value = "demo")]
    pub scenario: String,
    /// What chooses everything that is left to chance
    #[arg(long, default_value_t = 1)]
    pub seed: u64,
    /// Seconds between two samples of a strip
    #[arg(long, value_name = "SECONDS")]
    pub period_s: Option<f64>,
    /// Stop after so many seconds
    #[arg(long, value_name = "SECONDS")]
    pub duration_s: Option<f64>,
    /// Write the credentials that joining strips are handed to this file
    #[arg(long, value_name = "FILE")]
    pub save: Option<PathBuf>,
    /// Load modes, for measurements.
    #[command(flatten, next_help_heading = "Load, for measurements")]
    pub load: LoadArgs,
}

impl std::fmt::Debug for Args {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Args")
            .field("broker", &self.broker)
            .field("devices", &self.devices)
            .field("scenario", &self.scenario)
            .field("seed", &self.seed)
            .finish_non_exhaustive()
    }
}

/// Runs `dormouse sim` until its time is over or `cancel`; then prints one line
/// of JSON with what it did.
///
/// # Errors
/// When an argument breaks its rule or a file cannot be read or written.
pub async fn run(args: Args, cancel: CancellationToken) -> anyhow::Result<()> {
    let duration = args
        .duration_s
        .map(|s| seconds("--duration-s", s))
        .transpose()?;
    let LoadArgs {
        load,
        storm,
        idle,
        echo,
        sink,
        ..
    } = args.load;
    if !(load || storm || idle || echo || sink) {
        return run_fleet(&args, duration, cancel).await;
    }
    if let Some(rate) = args.load.rate {
        ensure!(
            rate.is_finite() && rate > 0.0,
            "--rate {rate}: expected a number above 0"
        );
    }
    let linger_s = args.load.linger_s;
    ensure!(
        linger_s.is_finite() && linger_s >= 0.0,
        "--linger-s {linger_s}: expected 0 or more"
    );
    ensure!(
        !load || duration.is_some() || args.load.count.is_some(),
        "--load needs --duration-s or --count"
    );
    let members = members(&args)?;
    let job = Job::new(
        args.broker,
        &args.root,
        members,
        args.load,
        duration,
        cancel,
    )?;
    if load {
        print_line(&load::load(job).await?)
    } else if sink {
        print_line(&load::sink(job).await?)
    } else if echo {
        print_line(&load::echo(job).await?)
    } else {
        load::storm(job, print_line).await
    }
}

async fn run_fleet(
    args: &Args,
    duration: Option<Duration>,
    cancel: CancellationToken,
) -> anyhow::Result<()> {
    let mut scenario = Scenario::named(&args.scenario).with_context(|| {
        format!(
            "--scenario {:?}: expected quiet, demo or rough",
            args.scenario
        )
    })?;
    if let Some(period_s) = args.period_s {
        scenario.period = seconds("--period-s", period_s)?;
    }
    let config = FleetConfig {
        topic_root: args.root.clone(),
        scenario,
        seed: args.seed,
        ..FleetConfig::new(args.broker.clone(), members(args)?)
    };
    let strips = config.credentials.len();
    let fleet = Fleet::start(config, cancel.child_token())?;
    info!(strips, broker = %args.broker, scenario = %args.scenario, "fleet started");
    let over = async {
        match duration {
            Some(duration) => tokio::time::sleep(duration).await,
            None => std::future::pending().await,
        }
    };
    tokio::pin!(over);
    let mut report = tokio::time::interval(REPORT_EVERY);
    loop {
        tokio::select! {
            () = cancel.cancelled() => break,
            () = &mut over => break,
            _ = report.tick() => {
                let totals = fleet.totals();
                if totals.connected == 0 && totals.connect_failed > 0 {
                    warn!(broker = %args.broker, tries = totals.connect_failed,
                        "no strip could connect: does a broker run there, and may they sign in?");
                }
                info!(
                    online = fleet.online(),
                    samples = totals.samples,
                    commands = totals.executed,
                    links_lost = totals.links_lost,
                    "fleet"
                );
                if let Some(path) = &args.save {
                    save_enrolled(&fleet, path)?;
                }
            }
        }
    }
    if let Some(path) = &args.save {
        save_enrolled(&fleet, path)?;
    }
    let totals = fleet.totals();
    fleet.stop().await;
    print_line(&totals)
}

/// Prints one line of JSON on standard output.
pub(crate) fn print_line(result: &impl serde::Serialize) -> anyhow::Result<()> {
    let line = serde_json::to_string(result)?;
    writeln!(io::stdout().lock(), "{line}")?;
    Ok(())
}

/// The strips that the arguments ask for.
pub(crate) fn members(args: &Args) -> anyhow::Result<Vec<Credentials>> {
    if let Some(path) = &args.credentials {
        let mut all = credentials::load(path)?;
        if let Some(devices) = args.devices {
            ensure!(
                devices <= all.len(),
                "--devices {devices}: the file has credentials for {} only",
                all.len()
            );
            all.truncate(devices);
        }
        return Ok(all);
    }
    let ids = match args.devices {
        Some(0) => bail!("--devices: at least 1"),
        Some(devices) => (1..=devices)
            .map(|n| format!("{}{n:05}", args.prefix))
            .collect(),
        None => demo_ids(),
    };
    Ok(match (&args.join_key, &args.password) {
        (Some(key), _) => ids.iter().map(|id| Credentials::join(id, key)).collect(),
        (None, Some(password)) => ids
            .iter()
            .map(|id| Credentials::own(id, password))
            .collect(),
        (None, None) => bail!("one of --credentials, --join-key and --password is needed"),
    })
}

fn broker_address(text: &str) -> Result<String, String> {
    match text.rsplit_once(':') {
        Some((host, port))
            if !host.is_empty() && !host.contains('/') && port.parse::<u16>().is_ok() =>
        {
            Ok(text.to_owned())
        }
        _ => Err("must be a host and a port, such as 127.0.0.1:1883".to_owned()),
    }
}

/// A duration from an argument in seconds.
pub(crate) fn seconds(name: &str, value: f64) -> anyhow::Result<Duration> {
    match Duration::try_from_secs_f64(value) {
        Ok(duration) if !duration.is_zero() => Ok(duration),
        Ok(_) | Err(_) => bail!("{name} {value}: expected a number of seconds above 0"),
    }
}

/// Writes the credentials of every strip that no longer joins.
fn save_enrolled(fleet: &Fleet, path: &Path) -> anyhow::Result<()> {
    let enrolled: Vec<_> = fleet
        .strips()
        .map(|(_, strip)| strip.credentials())
        .filter(|credentials| !credentials.joins)
        .collect();
    // Secrets: for the owner's eyes only.
    let mut options = OpenOptions::new();
    options.write(true).create(true).truncate(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let file = options
        .open(path)
        .with_context(|| format!("cannot write {}", path.display()))?;
    credentials::save(file, &enrolled)
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Debug, Parser)]
    struct Cli {
        #[command(flatten)]
        args: Args,
    }

    fn parse(line: &str) -> Args {
        Cli::try_parse_from(["sim"].into_iter().chain(line.split_whitespace()))
            .unwrap()
            .args
    }

    #[test]
    fn strips_are_named_after_the_prefix_or_the_demo_building() {
        let named = members(&parse("--password p --devices 3 --prefix x-")).unwrap();
        assert_eq!(named[2], Credentials::own("x-00003", "p"));
        let joining = members(&parse("--join-key k")).unwrap();
        assert_eq!((joining.len(), joining[0].joins), (24, true));
    }

    #[test]
    fn what_cannot_be_is_said_by_name() {
        for (line, name) in [
            ("", "--credentials"),
            ("--password p --devices 0", "--devices"),
            ("--credentials /nonexistent/file", "/nonexistent/file"),
        ] {
            let error = members(&parse(line)).unwrap_err();
            assert!(format!("{error:#}").contains(name), "{line}: {error:#}");
        }
        for bad in [0.0, -1.0, f64::NAN, f64::INFINITY] {
            assert!(seconds("--period-s", bad).is_err());
        }
    }

    #[test]
    fn a_broker_is_a_host_and_a_port() {
        for good in ["127.0.0.1:1883", "[::1]:1883", "broker.example:8883"] {
            assert_eq!(broker_address(good).as_deref(), Ok(good));
        }
        for bad in [
            "broker",
            ":1883",
            "broker:",
            "broker:mqtt",
            "mqtt://broker:1883",
        ] {
            assert!(broker_address(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn secrets_do_not_show() {
        let shown = format!("{:?}", parse("--password hidden --devices 2"));
        assert!(!shown.contains("hidden"));
    }
}
