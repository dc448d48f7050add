//! EMQX 5.8: its configuration files, and its REST API, by which it hears of
//! devices that may no longer come in.

mod acl;
mod api;
mod conf;
mod sessions;

use std::net::SocketAddr;

use dormouse_core::secret::Secret;

use super::{Rendered, Rules, TlsListener};

pub use api::{ApiError, ApiSettings, EmqxApi};
pub use sessions::{EmqxSessions, SessionsWorker};

/// The API key's name that Dormouse uses.
pub const API_KEY: &str = "dormouse";
/// The database role by which EMQX reads credentials.
const DATABASE_ROLE: &str = "dormouse_emqx";

/// What an EMQX is configured for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EmqxSettings {
    /// Topics and accounts.
    pub rules: Rules,
    /// The node's name, such as `emqx@127.0.0.1`.
    pub node_name: String,
    /// Names of the cluster's nodes; empty for a single one.
    pub seeds: Vec<String>,
    /// The listener for devices.
    pub tls: TlsListener,
    /// The listener without TLS.
    pub plain: SocketAddr,
    /// Where the dashboard and the REST API listen.
    pub dashboard: SocketAddr,
    /// Where these files lie, as EMQX sees them.
    pub etc_dir: String,
    /// EMQX's folder for its own data.
    pub data_dir: String,
    /// Whether sessions are kept on disk.
    pub durable_sessions: bool,
    /// Where credentials are.
    pub database: CredentialsDatabase,
}

/// The PostgreSQL that holds the view of credentials.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CredentialsDatabase {
    /// `host:port`.
    pub server: String,
    /// The database's name.
    pub name: String,
    /// The file with the certificates to trust, as EMQX sees it; without one
    /// there is no TLS.
    pub ca_file: Option<String>,
}

/// What must be kept secret.
#[derive(Debug, Clone)]
pub struct EmqxSecrets {
    /// What nodes of a cluster know each other by.
    pub cookie: Secret,
    /// The dashboard's `admin`.
    pub dashboard: Secret,
    /// The database role's password.
    pub database: Secret,
    /// The API key's secret.
    pub api: Secret,
    /// The nodes' account.
    pub nodes: Secret,
    /// The account of `dormouse check`.
    pub check: Secret,
}

/// Renders every file.
#[must_use]
pub fn render(settings: &EmqxSettings, secrets: &EmqxSecrets) -> Vec<Rendered> {
    vec![
        Rendered::secret("emqx.conf", conf::emqx_conf(settings, secrets)),
        Rendered::open("acl.conf", acl::acl_conf(&settings.rules)),
        Rendered::secret("users.csv", users(&settings.rules, secrets)),
        Rendered::secret(
            "api_keys.txt",
            format!("{API_KEY}:{}:administrator\n", secrets.api.expose()),
        ),
        Rendered::secret("database-role.sql", role(settings, secrets)),
        Rendered::open("dormouse.toml", dormouse(settings)),
    ]
}

/// Our accounts, for EMQX's own user table.
fn users(rules: &Rules, secrets: &EmqxSecrets) -> String {
    let accounts = &rules.accounts;
    format!(
        "user_id,password,is_superuser\n{},{},false\n{},{},false\n",
        accounts.nodes,
        secrets.nodes.expose(),
        accounts.check,
        secrets.check.expose(),
    )
}

fn role(settings: &EmqxSettings, secrets: &EmqxSecrets) -> String {
    let password = secrets.database.expose();
    let database = settings.database.name.replace('"', "\"\"");
    format!(
        "\
-- Run once by the database's owner after Dormouse has made its tables, and
-- again after the password was replaced:
--   psql DATABASE -f database-role.sql
-- EMQX may read who may sign in, and nothing else.
DO $$
BEGIN
  IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = '{DATABASE_ROLE}') THEN
    CREATE ROLE {DATABASE_ROLE} LOGIN;
  END IF;
END
$$;
ALTER ROLE {DATABASE_ROLE} PASSWORD '{password}';
GRANT CONNECT ON DATABASE \"{database}\" TO {DATABASE_ROLE};
GRANT SELECT ON mqtt_credentials TO {DATABASE_ROLE};
"
    )
}

/// What Dormouse must be told in turn.
fn dormouse(settings: &EmqxSettings) -> String {
    let port = settings.tls.bind.port();
    let nodes = &settings.rules.accounts.nodes;
    let api = settings.dashboard;
    format!(
        "\
# For Dormouse's own settings: put in the broker's name and the folder that
# holds these files.
[broker]
url = \"mqtts://BROKER:{port}\"
username = \"{nodes}\"
password_file = \"FOLDER/secrets/nodes\"
ca_file = \"FOLDER/ca.pem\"

[emqx]
api_url = \"http://{api}\"
api_key = \"{API_KEY}\"
api_secret_file = \"FOLDER/secrets/api\"
"
    )
}

#[cfg(test)]
mod tests;
