//! `dormouse user`: people.

use std::io::BufRead;

use anyhow::Context;
use clap::Subcommand;
use dormouse_core::access::Actor;
use dormouse_core::secret::Secret;
use dormouse_core::services::access::{PersonEdit, PersonNew};

use super::print;
use super::serve::{block_on, tell};
use super::site::{GrantArgs, Site, SiteArgs};

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(flatten)]
    site: SiteArgs,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Add a person; the password is read from standard input
    Add {
        /// The name to sign in with
        name: String,
        #[command(flatten)]
        grant: GrantArgs,
    },
    /// List people
    List,
    /// Set a person's password, read from standard input, and end their sessions
    Password {
        /// Whose
        name: String,
    },
    /// Remove a person and end their sessions
    Remove {
        /// Whom
        name: String,
    },
}

pub(super) fn run(args: Args) -> anyhow::Result<()> {
    block_on(async move {
        let actor = Actor::server();
        match args.command {
            Command::Add { name, grant } => {
                let grant = grant.grant()?;
                let password = read_password()?;
                let site = Site::open(&args.site).await?;
                let new = PersonNew {
                    name,
                    password,
                    grant,
                };
                let added = site.access()?.add_person(&actor, new).await;
                site.close().await;
                added?;
                Ok(())
            }
            Command::List => list(&args.site).await,
            Command::Password { name } => {
                let edit = PersonEdit {
                    password: Some(read_password()?),
                    ..PersonEdit::default()
                };
                let site = Site::open(&args.site).await?;
                let access = site.access()?;
                let edited = access.edit_person(&actor, &name, None, edit).await;
                site.close().await;
                edited?;
                Ok(())
            }
            Command::Remove { name } => {
                let site = Site::open(&args.site).await?;
                let removed = site.access()?.remove_person(&actor, &name).await;
                site.close().await;
                Ok(removed?)
            }
        }
    })
}

async fn list(site: &SiteArgs) -> anyhow::Result<()> {
    let site = Site::open(site).await?;
    let people = site.access()?.people().await;
    site.close().await;
    for user in people? {
        let (role, scope) = (user.grant.role.as_str(), user.grant.scope.as_str());
        print(&format!("{}\t{role}\t{scope}", user.name))?;
    }
    Ok(())
}

fn read_password() -> anyhow::Result<Secret> {
    use std::io::IsTerminal;
    let stdin = std::io::stdin();
    if stdin.is_terminal() {
        tell("Password (it will be seen as you type):");
    }
    let mut line = String::new();
    let read = stdin.lock().read_line(&mut line);
    read.context("reading the password from standard input")?;
    Ok(Secret::new(line.trim_end_matches(['\r', '\n'])))
}
