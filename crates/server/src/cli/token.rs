//! `dormouse token`: API tokens.

use std::time::Duration;

use clap::Subcommand;
use dormouse_core::access::{Actor, TokenId};
use dormouse_core::clock::{Clock, Timestamp};
use dormouse_core::services::access::TokenNew;

use super::print;
use super::serve::block_on;
use super::site::{GrantArgs, Site, SiteArgs};
use crate::clock::SystemClock;

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(flatten)]
    site: SiteArgs,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Make a token and print it, this once
    Create {
        /// What it is called in the audit log
        #[arg(long)]
        name: String,
        #[command(flatten)]
        grant: GrantArgs,
        /// Days after which it ends; never if absent
        #[arg(long, value_name = "DAYS")]
        days: Option<u32>,
    },
    /// List tokens, newest first
    List,
    /// Take a token back
    Revoke {
        /// Its number in the list
        id: i64,
    },
}

pub(super) fn run(args: Args) -> anyhow::Result<()> {
    block_on(async move {
        match args.command {
            Command::Create { name, grant, days } => {
                let site = Site::open(&args.site).await?;
                let days = days.map(|days| Duration::from_secs(u64::from(days) * 86_400));
                let new = TokenNew {
                    name,
                    grant: grant.grant()?,
                    expires_at: days.map(|days| SystemClock::start().now() + days),
                };
                let made = site.access()?.make_token(&Actor::server(), new).await;
                site.close().await;
                print(made?.1.expose())
            }
            Command::List => list(&args.site).await,
            Command::Revoke { id } => {
                let site = Site::open(&args.site).await?;
                let access = site.access()?;
                let revoked = access.revoke_token(&Actor::server(), TokenId(id)).await;
                site.close().await;
                Ok(revoked?)
            }
        }
    })
}

async fn list(site: &SiteArgs) -> anyhow::Result<()> {
    let site = Site::open(site).await?;
    let tokens = site.access()?.tokens().await;
    site.close().await;
    for token in tokens? {
        let end = token.expires_at.map(Timestamp::to_rfc3339);
        print(&format!(
            "{}\t{}\t{}\t{}\tends {}",
            token.id.0,
            token.name,
            token.grant.role.as_str(),
            token.grant.scope.as_str(),
            end.as_deref().unwrap_or("never"),
        ))?;
    }
    Ok(())
}
