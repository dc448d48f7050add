//! `dormouse broker mosquitto render`.

use anyhow::ensure;

use super::super::serve::block_on;
use super::super::site::{Site, SiteArgs};
use super::{RenderArgs, plain_path};
use crate::brokers::ClientCertificates;
use crate::brokers::mosquitto::{
    self, Credentials, MosquittoSecrets, MosquittoSettings, PasswordFile, digest_of,
};
use crate::config::Config;

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(flatten)]
    common: RenderArgs,
    #[command(flatten)]
    site: SiteArgs,
    /// Folder where Mosquitto will find these files
    #[arg(long, value_name = "DIR", default_value = "/etc/mosquitto/dormouse")]
    etc_dir: String,
    /// Mosquitto's folder for its own data
    #[arg(long, value_name = "DIR", default_value = "/var/lib/mosquitto")]
    mosquitto_data_dir: String,
    /// Where Mosquitto writes its process id
    #[arg(
        long,
        value_name = "FILE",
        default_value = "/run/mosquitto/mosquitto.pid"
    )]
    pid_file: String,
}

pub(super) fn render(args: Args) -> anyhow::Result<()> {
    block_on(async move {
        let config = args.site.config()?;
        let settings = settings(&args, &config)?;
        let devices = devices(&args.site).await?;
        let mut output = args.common.output()?;
        let secrets = MosquittoSecrets {
            nodes: output.secret("nodes", "")?,
            check: output.secret("check", "")?,
        };
        let passwords = PasswordFile::parse(&output.present("passwords")?);
        output.write(&mosquitto::render(&settings, &secrets, &devices, passwords))
    })
}

fn settings(args: &Args, config: &Config) -> anyhow::Result<MosquittoSettings> {
    let common = &args.common;
    ensure!(
        common.client_certificates != ClientCertificates::Optional,
        "--client-certificates: Mosquitto asks everybody on a listener for one or nobody; \
         choose off or required"
    );
    plain_path("--etc-dir", &args.etc_dir)?;
    plain_path("--mosquitto-data-dir", &args.mosquitto_data_dir)?;
    plain_path("--pid-file", &args.pid_file)?;
    Ok(MosquittoSettings {
        rules: common.rules(config)?,
        tls: common.tls(&args.etc_dir),
        plain: common.listen_plain,
        etc_dir: args.etc_dir.clone(),
        data_dir: args.mosquitto_data_dir.clone(),
        pid_file: args.pid_file.clone(),
    })
}

/// Who may sign in.
async fn devices(site: &SiteArgs) -> anyhow::Result<Credentials> {
    let site = Site::open(site).await?;
    let stored = site.devices().changed_since(0).await;
    site.close().await;
    let may_sign_in = |it| digest_of(it).map(|digest| (it.device.id.clone(), digest.clone()));
    Ok(stored?.iter().filter_map(may_sign_in).collect())
}
