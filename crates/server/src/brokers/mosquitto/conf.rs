//! Mosquitto's `mosquitto.conf`.

use super::MosquittoSettings;
use crate::brokers::{ClientCertificates, TlsListener};

/// Renders the file.
pub(super) fn mosquitto_conf(settings: &MosquittoSettings) -> String {
    let MosquittoSettings {
        tls,
        plain,
        etc_dir,
        data_dir,
        pid_file,
        ..
    } = settings;
    format!(
        "\
# Written by `dormouse broker mosquitto render` for Mosquitto 2; edits are lost.
pid_file {pid_file}
log_dest stderr

# Nobody without a name and a password, and nobody beyond their own topics.
per_listener_settings false
allow_anonymous false
password_file {etc_dir}/passwords
acl_file {etc_dir}/acl

# What waits for a node that is away survives a restart; a crash loses what
# came after the last save, at most 10 s.
persistence true
persistence_location {data_dir}/
autosave_interval 10
persistent_client_expiration 1d

# A million messages wait for a node that is away: about 500 MB of memory.
max_queued_messages 1000000
max_queued_bytes 0
queue_qos0_messages true
max_inflight_messages 1024
max_packet_size 65536
set_tcp_nodelay true

# For devices.
listener {port} {address}
max_connections 50000
{tls}
# Without TLS: for programs on this machine.
listener {plain_port} {plain_address}
",
        port = tls.bind.port(),
        address = tls.bind.ip(),
        plain_port = plain.port(),
        plain_address = plain.ip(),
        tls = tls_lines(tls),
    )
}

fn tls_lines(listener: &TlsListener) -> String {
    let mut lines = format!(
        "certfile {}\nkeyfile {}\n",
        listener.certificate, listener.key
    );
    match listener.clients {
        ClientCertificates::Off | ClientCertificates::Optional => {}
        ClientCertificates::Required => {
            lines.push_str("# A certificate says who it is; no password is asked for.\n");
            lines.push_str(&format!(
                "cafile {}\nrequire_certificate true\nuse_identity_as_username true\n",
                listener.client_ca
            ));
        }
    }
    lines
}
