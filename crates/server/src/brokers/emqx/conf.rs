//! EMQX's `emqx.conf`.

use super::{CredentialsDatabase, DATABASE_ROLE, EmqxSecrets, EmqxSettings};
use crate::brokers::{ClientCertificates, TlsListener};

/// Renders the file. It is read last, so nothing set on the dashboard goes
/// before it.
pub(super) fn emqx_conf(settings: &EmqxSettings, secrets: &EmqxSecrets) -> String {
    [
        head(settings, secrets),
        listeners(settings),
        authentication(settings, secrets),
        authorization(settings),
        mqtt(settings),
        extras(settings),
    ]
    .join("\n")
}

fn head(settings: &EmqxSettings, secrets: &EmqxSecrets) -> String {
    let name = text(&settings.node_name);
    let cookie = text(secrets.cookie.expose());
    let data_dir = text(&settings.data_dir);
    let dashboard = text(&settings.dashboard.to_string());
    let password = text(secrets.dashboard.expose());
    let keys = text(&format!("{}/api_keys.txt", settings.etc_dir));
    let (cluster, rpc) = if settings.seeds.is_empty() {
        (
            "cluster { name = dormouse, discovery_strategy = singleton }".to_owned(),
            // Nobody else to talk to.
            "rpc { mode = async, listen_address = \"127.0.0.1\" }",
        )
    } else {
        let seeds: Vec<String> = settings.seeds.iter().map(|it| text(it)).collect();
        (
            format!(
                "# Ports 4370 and 5370 (5369 in EMQX's image) are for the other nodes alone: keep\n\
                 # everybody else out.\n\
                 cluster {{ name = dormouse, discovery_strategy = static, static.seeds = [{}] }}",
                seeds.join(", ")
            ),
            "rpc { mode = async }",
        )
    };
    format!(
        "\
# Written by `dormouse broker emqx render` for EMQX 5.8 (5.8.5 or
# later); edits are lost.
# Holds secrets: readable by EMQX's own user alone.

node {{ name = {name}, cookie = {cookie}, data_dir = {data_dir}, role = core }}
{cluster}
{rpc}
log.console {{ enable = true, level = warning }}

dashboard {{
  listeners.http {{ bind = {dashboard} }}
  default_username = \"admin\"
  default_password = {password}
}}
api_key {{ bootstrap_file = {keys} }}
telemetry.enable = false
prometheus {{ enable_basic_auth = true }}
"
    )
}

fn listeners(settings: &EmqxSettings) -> String {
    let plain = text(&settings.plain.to_string());
    format!(
        "\
# Whoever gives no name is refused before anybody is asked.
listeners.ssl.default {{
  bind = {bind}
  enable_authn = quick_deny_anonymous
  max_connections = 100000
  max_conn_rate = \"1000/s\"
  ssl_options {{
{tls}  }}
}}
# Without TLS: for programs on this machine.
listeners.tcp.default {{ bind = {plain}, enable_authn = quick_deny_anonymous }}
listeners.ws.default {{ enable = false }}
listeners.wss.default {{ enable = false }}
",
        bind = text(&settings.tls.bind.to_string()),
        tls = tls(&settings.tls),
    )
}

fn tls(listener: &TlsListener) -> String {
    let mut lines = vec![
        format!("certfile = {}", text(&listener.certificate)),
        format!("keyfile = {}", text(&listener.key)),
        "versions = [\"tlsv1.3\", \"tlsv1.2\"]".to_owned(),
    ];
    let fail = match listener.clients {
        ClientCertificates::Off => None,
        ClientCertificates::Optional => Some(false),
        ClientCertificates::Required => Some(true),
    };
    match fail {
        None => lines.push("verify = verify_none".to_owned()),
        Some(fail) => {
            lines.push(format!("cacertfile = {}", text(&listener.client_ca)));
            lines.push("verify = verify_peer".to_owned());
            lines.push(format!("fail_if_no_peer_cert = {fail}"));
        }
    }
    lines.iter().map(|it| format!("    {it}\n")).collect()
}

fn authentication(settings: &EmqxSettings, secrets: &EmqxSecrets) -> String {
    let CredentialsDatabase {
        server,
        name,
        ca_file,
    } = &settings.database;
    let ssl = ca_file.as_ref().map_or_else(
        || "{ enable = false }".to_owned(),
        |ca| {
            let host = server.rsplit_once(':').map_or(server.as_str(), |it| it.0);
            format!(
                "{{ enable = true, verify = verify_peer, cacertfile = {}, server_name_indication = {} }}",
                text(ca),
                text(host)
            )
        },
    );
    format!(
        "\
# Our own accounts first: the nodes come in while the database is down. Then
# the devices.
authentication = [
  {{
    mechanism = password_based, backend = built_in_database, user_id_type = username
    password_hash_algorithm {{ name = sha512, salt_position = suffix }}
    bootstrap_file = {users}, bootstrap_type = plain
  }}
  {{
    mechanism = password_based, backend = postgresql
    server = {server}, database = {name}, username = \"{DATABASE_ROLE}\", password = {password}
    pool_size = 8
    ssl {ssl}
    password_hash_algorithm {{ name = sha512, salt_position = suffix }}
    query = \"SELECT password_hash, salt, is_superuser FROM mqtt_credentials WHERE username = ${{username}} LIMIT 1\"
  }}
]
",
        users = text(&format!("{}/users.csv", settings.etc_dir)),
        server = text(server),
        name = text(name),
        password = text(secrets.database.expose()),
    )
}

fn authorization(settings: &EmqxSettings) -> String {
    format!(
        "\
# The file alone decides, and what it does not allow is denied. A right that is
# taken away is felt within the cache's time.
authorization {{
  no_match = deny
  deny_action = ignore
  cache {{ enable = true, max_size = 32, ttl = 10s }}
  sources = [ {{ type = file, enable = true, path = {} }} ]
}}
",
        text(&format!("{}/acl.conf", settings.etc_dir))
    )
}

fn mqtt(settings: &EmqxSettings) -> String {
    let identity = match settings.tls.clients {
        ClientCertificates::Off => "",
        ClientCertificates::Optional | ClientCertificates::Required => {
            "\n  # A certificate says who it is, whatever name is sent with it.\
             \n  peer_cert_as_username = cn"
        }
    };
    format!(
        "\
# What waits for a node that is away: a day, and as many messages as memory
# can take. A device's messages go to one node while it is there.
mqtt {{
  max_packet_size = 64KB, max_clientid_len = 256, max_topic_levels = 16
  session_expiry_interval = 1d
  max_mqueue_len = 1000000
  max_inflight = 1024
  shared_subscription_strategy = hash_clientid
  # Sessions belong to who signs in: EMQX hands one, with its subscriptions and
  # what waits in it, to whoever comes with its client id.
  clientid_override = \"concat([username, ':', clientid])\"{identity}
}}
# A node's session may hold the queue above and is not ended for its size; a
# device's stays small by the limits above.
force_shutdown {{ enable = false }}
"
    )
}

fn extras(settings: &EmqxSettings) -> String {
    let durable = if settings.durable_sessions {
        "\
# Sessions and what waits in them are on disk.
durable_sessions { enable = true, message_retention_period = 1d }
durable_storage.messages { backend = builtin_local, n_shards = 4 }
"
    } else {
        "\
# Durable sessions of EMQX 5.8 refuse shared subscriptions, which the nodes
# need: what waits for a node is in EMQX's memory.
durable_sessions { enable = false }
"
    };
    format!(
        "\
{durable}
# Attempts count before a password is asked for: with it, anybody could have a
# device or a node kept out.
flapping_detect {{ enable = false }}
# EMQX 5.8 ends a replay at its rate, and does not retain what comes faster.
retainer {{
  enable = true, msg_expiry_interval = 0s, max_payload_size = 64KB
  delivery_rate = infinity, max_publish_rate = infinity
}}
# By these the nodes hear of sessions.
sys_topics {{
  sys_msg_interval = 1m, sys_heartbeat_interval = 30s
  sys_event_messages {{ client_connected = true, client_disconnected = true, client_subscribed = false, client_unsubscribed = false }}
}}
"
    )
}

/// A quoted text of HOCON, whose escapes are those of JSON.
fn text(value: &str) -> String {
    serde_json::Value::from(value).to_string()
}
