//! `dormouse demo`: the server and a building of simulated strips.

use std::time::Duration;

use anyhow::Context;
use dormouse_core::access::Actor;
use dormouse_core::device::DeviceSettings;
use dormouse_core::ids::DeviceId;
use dormouse_core::services::registry::Registry;
use dormouse_sim::fleet::{Credentials, Fleet, FleetConfig};
use dormouse_sim::scenario::{Scenario, demo_ids};
use tokio_util::sync::CancellationToken;

use super::ConfigArgs;
use super::serve::{PlaceArgs, block_on, browsable, reachable, stop_token, tell};
use crate::app::App;
use crate::observe;

/// Sockets on a demo strip.
const SOCKETS: u8 = 4;
/// How long the strips may take to say goodbye.
const GOODBYE: Duration = Duration::from_secs(3);

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(flatten)]
    config: ConfigArgs,
    #[command(flatten)]
    place: PlaceArgs,
    /// What chooses everything that the strips leave to chance
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Print one line of JSON with the addresses on standard output once ready
    #[arg(long)]
    ready_json: bool,
}

pub(super) fn run(args: Args) -> anyhow::Result<()> {
    let mut config = args.config.load()?;
    // The strips come and go all the time: that is for the page to show.
    if config.log.filter == "info" {
        config.log.filter = "warn".to_owned();
    }
    observe::start(&config.log)?;
    block_on(async move {
        let stop = stop_token()?;
        let topic_root = config.mqtt.topic_root.clone();
        let app = App::build(config, args.place.into()).await?;
        let credentials = strips(&app.services().registry).await?;
        let (http, mqtt) = (app.http_addr()?, reachable(app.mqtt_addr()?));
        greet(&app, credentials.len())?;
        if args.ready_json {
            let line = serde_json::json!({"http": http.to_string(), "mqtt": mqtt});
            super::print(&line.to_string())?;
        }
        let fleet = Fleet::start(
            FleetConfig {
                topic_root,
                scenario: Scenario::demo(),
                seed: args.seed,
                ..FleetConfig::new(mqtt, credentials)
            },
            CancellationToken::new(),
        )?;
        app.run(async {
            stop.cancelled().await;
            tokio::time::timeout(GOODBYE, fleet.stop()).await.ok();
        })
        .await
    })
}

/// Adds the building's strips, or gives those of an earlier run new secrets.
async fn strips(registry: &Registry) -> anyhow::Result<Vec<Credentials>> {
    let actor = Actor::server();
    let mut credentials = Vec::new();
    for id in demo_ids() {
        let device = DeviceId::parse(&id)?;
        let password = if registry.by_id(&device).is_some() {
            registry.rotate(&actor, &device).await
        } else {
            let settings = DeviceSettings {
                sockets: Some(SOCKETS),
                location: dormouse_core::location::suggest(&id).unwrap_or_default(),
                ..DeviceSettings::default()
            };
            registry
                .add(&actor, &device, settings)
                .await
                .map(|(_, password)| password)
        }
        .with_context(|| format!("adding the strip {id}"))?;
        credentials.push(Credentials::own(&id, password.expose()));
    }
    Ok(credentials)
}

fn greet(app: &App, strips: usize) -> anyhow::Result<()> {
    let http = browsable(app.http_addr()?);
    let mqtt = reachable(app.mqtt_addr()?);
    let mut text = format!(
        "\n  Dormouse is running with {strips} simulated strips.\n\n  Page:  http://{http}/\n  MQTT:  {mqtt}\n"
    );
    match app.setup_path() {
        Some(path) => {
            text.push_str("\n  First, create the administrator through this one-time link:\n\n");
            text.push_str(&format!("      http://{http}{path}\n"));
        }
        None => text.push_str("\n  Sign in with the administrator you created.\n"),
    }
    text.push_str("\n  Ctrl-C stops it.\n");
    tell(&text);
    Ok(())
}
