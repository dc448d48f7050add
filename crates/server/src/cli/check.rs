//! `dormouse check`.

use std::path::PathBuf;
use std::pin::Pin;
use std::str::FromStr;
use std::time::Duration;

use anyhow::{Context, bail, ensure};
use dormouse_core::access::Actor;
use dormouse_core::clock::Clock as _;
use dormouse_core::device::DeviceSettings;
use dormouse_core::ids::DeviceId;
use dormouse_core::secret::Secret;
use dormouse_core::services::registry::RegistryError;
use dormouse_core::topic::Topics;

use super::CouldNotRun;
use super::print;
use super::serve::block_on;
use super::site::{Site, SiteArgs};
use crate::brokers::emqx::{ApiSettings, EmqxApi};
use crate::check::{self, Account, Bench, Report, Restart, Subject, Target, Trust, Verdict};
use crate::clock::SystemClock;
use crate::config::Config;

/// The devices made for the check; no others are touched.
const OWN: [&str; 2] = ["dormouse-check-a", "dormouse-check-b"];
/// How long the broker may take to hear of a new device.
const KNOWN: Duration = Duration::from_secs(20);

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(flatten)]
    site: SiteArgs,
    /// The broker, if not that of the settings: `mqtts://HOST:8883` or `mqtt://HOST:1883`
    #[arg(long, value_name = "URL")]
    broker: Option<String>,
    /// The account of Dormouse's nodes, if not that of the settings
    #[arg(long, value_name = "NAME:FILE")]
    nodes_account: Option<Named>,
    /// The account that may listen to everything
    #[arg(long, value_name = "NAME:FILE")]
    check_account: Option<Named>,
    /// A device to test with, instead of one made and deleted for it
    #[arg(long, value_name = "ID:FILE", requires = "device_b")]
    device_a: Option<Named>,
    /// Another one
    #[arg(long, value_name = "ID:FILE", requires = "device_a")]
    device_b: Option<Named>,
    /// EMQX's REST API, if not that of the settings
    #[arg(long, value_name = "URL")]
    api: Option<String>,
    /// The broker's address as others see it, to look for a way in without TLS
    #[arg(long, value_name = "HOST")]
    outside: Option<String>,
    /// Restart the broker by this command, to see what outlives it
    #[arg(long, value_name = "COMMAND")]
    restart_command: Option<String>,
    /// Clear retained commands
    #[arg(long)]
    fix: bool,
    /// Print the report as JSON
    #[arg(long)]
    json: bool,
}

/// A name and the file with its password.
#[derive(Debug, Clone)]
struct Named {
    name: String,
    file: PathBuf,
}

impl FromStr for Named {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text.split_once(':') {
            Some((name, file)) if !name.is_empty() && !file.is_empty() => Ok(Self {
                name: name.to_owned(),
                file: file.into(),
            }),
            Some(_) | None => Err("must be a name, a colon and the file with its password"),
        }
    }
}

impl Named {
    fn account(&self) -> anyhow::Result<Account> {
        let text = std::fs::read_to_string(&self.file)
            .with_context(|| format!("cannot read {}", self.file.display()))?;
        Ok(Account {
            name: self.name.clone(),
            password: Secret::new(text.trim_end_matches(['\r', '\n'])),
        })
    }

    fn subject(&self) -> anyhow::Result<Subject> {
        let Account { name, password } = self.account()?;
        let id = DeviceId::parse(&name)?;
        Ok(Subject { id, password })
    }
}

pub(super) fn run(args: &Args) -> anyhow::Result<()> {
    let json = args.json;
    let mut failed = 0;
    block_on(async {
        let report = examine(args)
            .await
            .map_err(|error| CouldNotRun(format!("{error:#}")))?;
        failed = report.count(Verdict::Fail);
        if json {
            print(&serde_json::to_string_pretty(&report)?)
        } else {
            print(&report.to_string())
        }
    })?;
    if failed > 0 {
        bail!("{failed} checks failed");
    }
    Ok(())
}

async fn examine(args: &Args) -> anyhow::Result<Report> {
    let config = args.site.config()?;
    let broker = broker(args, &config)?;
    if let (Some(a), Some(b)) = (&args.device_a, &args.device_b) {
        let subjects = [a.subject()?, b.subject()?];
        return with_devices(args, &config, broker, subjects).await;
    }
    let site = Site::open(&args.site).await?;
    let made = made(&site).await;
    let report = match made {
        Ok(subjects) => with_devices(args, &config, broker, subjects).await,
        Err(error) => Err(error),
    };
    let gone = delete(&site).await;
    site.close().await;
    let report = report?;
    gone?;
    Ok(report)
}

fn broker(args: &Args, config: &Config) -> anyhow::Result<Target> {
    let settings = &config.broker;
    let url = match &args.broker {
        Some(url) => url.clone(),
        None if settings.is_embedded() => {
            format!("mqtt://{}", super::serve::browsable(config.mqtt.listen))
        }
        None => settings.url.clone(),
    };
    let path = |text: &'_ str| (!text.is_empty()).then(|| PathBuf::from(text));
    let (ca, certificate, key) = (
        path(&settings.ca_file),
        path(&settings.certificate_file),
        path(&settings.key_file),
    );
    let trust = Trust {
        ca_file: ca.as_deref(),
        identity: certificate.as_deref().zip(key.as_deref()),
    };
    Ok(Target::parse(&url, trust)?)
}

/// The two devices, with new passwords.
async fn made(site: &Site) -> anyhow::Result<[Subject; 2]> {
    let registry = site.registry().await?;
    let actor = Actor::server();
    let mut subjects = Vec::new();
    for name in OWN {
        let id = DeviceId::parse(name)?;
        let password = match registry.add(&actor, &id, DeviceSettings::default()).await {
            Ok((_, password)) => password,
            // Left over from a check that was cut short.
            Err(RegistryError::Taken(_)) => registry.rotate(&actor, &id).await?,
            Err(error) => return Err(error.into()),
        };
        subjects.push(Subject { id, password });
    }
    let subjects: Result<[Subject; 2], _> = subjects.try_into();
    subjects.map_err(|_| anyhow::anyhow!("two devices are needed"))
}

async fn delete(site: &Site) -> anyhow::Result<()> {
    let registry = site.registry().await?;
    for name in OWN {
        match registry
            .delete(&Actor::server(), &DeviceId::parse(name)?, None)
            .await
        {
            Ok(()) | Err(RegistryError::Unknown(_)) => {}
            Err(error) => return Err(error).with_context(|| format!("deleting {name}")),
        }
    }
    Ok(())
}

async fn with_devices(
    args: &Args,
    config: &Config,
    broker: Target,
    [a, b]: [Subject; 2],
) -> anyhow::Result<Report> {
    for subject in [&a, &b] {
        check::until_known(&broker, subject, KNOWN)
            .await
            .with_context(|| unknown(config, &broker, subject))?;
    }
    let nodes = nodes(args, config)?;
    let listener = args.check_account.as_ref().map(Named::account);
    let restart = args.restart_command.as_deref().map(restart);
    let api = api(config)?;
    let bench = Bench {
        embedded: config.broker.is_embedded() && nodes.is_none(),
        broker,
        topics: Topics::new(&config.mqtt.topic_root)?,
        a,
        b,
        nodes,
        listener: listener.transpose()?,
        api_url: args.api.clone().or_else(|| filled(&config.emqx.api_url)),
        api: api.as_ref(),
        outside: args.outside.clone(),
        fix: args.fix,
        restart: restart.as_deref(),
        now: SystemClock::start().now(),
    };
    Ok(check::run(&bench).await?)
}

fn filled(text: &str) -> Option<String> {
    (!text.is_empty()).then(|| text.to_owned())
}

fn unknown(config: &Config, broker: &Target, subject: &Subject) -> String {
    let hint = if config.broker.is_embedded() {
        "does the server run, on this --data?"
    } else {
        "does a Dormouse run that keeps this broker's list of devices, or give --device-a and --device-b"
    };
    format!("{broker} does not let the device {} in; {hint}", subject.id)
}

fn nodes(args: &Args, config: &Config) -> anyhow::Result<Option<Account>> {
    let settings = &config.broker;
    if let Some(named) = &args.nodes_account {
        return named.account().map(Some);
    }
    if settings.username.is_empty() {
        return Ok(None);
    }
    ensure!(
        !settings.password_file.is_empty(),
        "broker.password_file: broker.username has no password"
    );
    let named = Named {
        name: settings.username.clone(),
        file: settings.password_file.clone().into(),
    };
    named.account().map(Some)
}

/// The API with our key, where the settings have one.
fn api(config: &Config) -> anyhow::Result<Option<EmqxApi>> {
    let settings = &config.emqx;
    if settings.api_url.is_empty() {
        return Ok(None);
    }
    let api = EmqxApi::new(&ApiSettings {
        url: settings.api_url.clone(),
        key: settings.api_key.clone(),
        secret_file: settings.api_secret_file.clone().into(),
        ca_file: filled(&settings.ca_file).map(PathBuf::from),
    })?;
    Ok(Some(api))
}

/// Runs `command` by `sh`.
fn restart(command: &str) -> Box<Restart<'_>> {
    Box::new(move || {
        let command = command.to_owned();
        let work = async move {
            let mut child = tokio::process::Command::new("sh");
            child
                .args(["-c", &command])
                .stdin(std::process::Stdio::null());
            match child.status().await {
                Ok(status) if status.success() => Ok(()),
                Ok(status) => Err(format!("--restart-command ended with {status}")),
                Err(error) => Err(format!("--restart-command: {error}")),
            }
        };
        Box::pin(work) as Pin<Box<dyn Future<Output = Result<(), String>> + Send>>
    })
}
