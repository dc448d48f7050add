//! `dormouse device`: devices and their credentials.

use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use clap::Subcommand;
use dormouse_core::access::{Actor, Grant, Role, Scope};
use dormouse_core::device::{DeviceSettings, DeviceState};
use dormouse_core::ids::DeviceId;
use dormouse_core::location;
use dormouse_core::services::registry::{
    ImportMode, Registry, RegistryError, RowError, RowOutcome,
};

use super::serve::{block_on, tell};
use super::site::{Site, SiteArgs};
use super::{print, print_raw};
use crate::device_csv;

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(flatten)]
    site: SiteArgs,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Add a device and print its password, this once
    Add(AddArgs),
    /// Print devices as CSV
    #[command(visible_alias = "list")]
    Export,
    /// Add devices from CSV and print the credentials of the new ones as CSV
    Import {
        /// deviceId,name,location,sockets,periodS
        file: PathBuf,
        /// Only tell what would happen
        #[arg(long)]
        dry_run: bool,
        /// What to do with a device that is there already
        #[arg(long, value_parser = ["refuse", "skip", "update"], default_value = "refuse")]
        on_existing: String,
    },
    /// Print the devices that wait in the inbox
    Pending,
    /// Take a device from the inbox
    Approve {
        /// Which
        id: String,
    },
    /// Refuse a device in the inbox
    Reject {
        /// Which
        id: String,
    },
    /// Replace a device's password and print the new one, this once
    Rotate {
        /// Which
        id: String,
    },
    /// Delete a device; its history stays
    Delete {
        /// Which
        id: String,
    },
}

#[derive(Debug, clap::Args)]
struct AddArgs {
    /// Its id: 1 to 32 letters, digits, '.', '_' or '-'
    id: String,
    /// A name for people
    #[arg(long, default_value = "")]
    name: String,
    /// building/floor/room; what the id suggests if absent
    #[arg(long)]
    location: Option<String>,
    /// Number of sockets
    #[arg(long)]
    sockets: Option<u8>,
    /// Seconds between reports, where the device does not say itself
    #[arg(long, value_name = "SECONDS")]
    period_s: Option<u32>,
}

pub(super) fn run(args: Args) -> anyhow::Result<()> {
    block_on(async move {
        let site = Site::open(&args.site).await?;
        let registry = site.registry().await?;
        let outcome = carry_out(&registry, args.command).await;
        site.close().await;
        outcome
    })
}

async fn carry_out(registry: &Registry, command: Command) -> anyhow::Result<()> {
    let actor = Actor::server();
    match command {
        Command::Add(args) => add(registry, &actor, args).await,
        Command::Export => print_raw(&device_csv::write(&registry.all(DeviceState::Active))?),
        Command::Import {
            file,
            dry_run,
            on_existing,
        } => {
            let mode = match on_existing.as_str() {
                "skip" => ImportMode::Skip,
                "update" => ImportMode::Update,
                _ => ImportMode::Refuse,
            };
            import(registry, &file, mode, dry_run).await
        }
        Command::Pending => {
            for device in registry.all(DeviceState::Pending) {
                print(device.id.as_str())?;
            }
            Ok(())
        }
        Command::Approve { id } => {
            let id = DeviceId::parse(&id)?;
            let edit = dormouse_core::device::SettingsEdit::default();
            registry.approve(&actor, &id, edit).await.map_err(explain)?;
            Ok(())
        }
        Command::Reject { id } => {
            let id = DeviceId::parse(&id)?;
            registry.reject(&actor, &id).await.map_err(explain)
        }
        Command::Rotate { id } => {
            let id = DeviceId::parse(&id)?;
            let password = registry.rotate(&actor, &id).await.map_err(explain)?;
            print(password.expose())
        }
        Command::Delete { id } => {
            let id = DeviceId::parse(&id)?;
            registry.delete(&actor, &id, None).await.map_err(explain)
        }
    }
}

async fn add(registry: &Registry, actor: &Actor, args: AddArgs) -> anyhow::Result<()> {
    let id = DeviceId::parse(&args.id)?;
    let suggested = || location::suggest(id.as_str()).unwrap_or_default();
    let settings = DeviceSettings {
        name: args.name,
        location: args.location.unwrap_or_else(suggested),
        sockets: args.sockets,
        period_s: args.period_s,
    };
    let added = registry.add(actor, &id, settings).await;
    print(added.map_err(explain)?.1.expose())
}

async fn import(
    registry: &Registry,
    file: &Path,
    mode: ImportMode,
    dry_run: bool,
) -> anyhow::Result<()> {
    let bytes = std::fs::read(file).with_context(|| format!("reading {}", file.display()))?;
    let rows = device_csv::read(&bytes)
        .map_err(|RowError { field, rule }| anyhow::anyhow!("{field}: {rule}"))?;
    let lines: Vec<u64> = rows.iter().map(|row| row.line).collect();
    let everything = Grant {
        role: Role::Admin,
        scope: Scope::site(),
    };
    let actor = Actor::server();
    let outcome = registry.import(&actor, &everything, rows, mode, dry_run);
    let (outcomes, _) = outcome.await.map_err(explain)?;
    let mut refused = 0_usize;
    for (line, outcome) in lines.iter().zip(&outcomes) {
        if let RowOutcome::Refused(errors) = outcome {
            refused += 1;
            for RowError { field, rule } in errors {
                tell(&format!("line {line}: {field}: {rule}"));
            }
        }
    }
    if refused > 0 {
        bail!(
            "{refused} of {} rows are refused; nothing was written",
            lines.len()
        );
    }
    if dry_run {
        tell(&format!("{} rows are fine", lines.len()));
        return Ok(());
    }
    print_raw(&device_csv::write_credentials(&outcomes)?)
}

/// Names the rules that settings broke.
fn explain(error: RegistryError) -> anyhow::Error {
    match &error {
        RegistryError::Invalid(broken) => {
            let rules: Vec<String> = broken.iter().map(ToString::to_string).collect();
            anyhow::anyhow!(rules.join("; "))
        }
        RegistryError::Unknown(_)
        | RegistryError::Taken(_)
        | RegistryError::Stale { .. }
        | RegistryError::NotWaiting { .. }
        | RegistryError::NotActive { .. }
        | RegistryError::Contended
        | RegistryError::Port(_) => error.into(),
    }
}
