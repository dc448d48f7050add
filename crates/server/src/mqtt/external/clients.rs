//! EMQX's word on who is connected.

use std::collections::HashMap;

use serde::Deserialize;

use dormouse_core::ids::DeviceKey;
use dormouse_core::presence::{SessionEnd, SessionNo};
use dormouse_core::services::presence::PresenceTracker;

/// Where EMQX tells of a client's coming and going.
pub(super) const TOPICS: [&str; 2] = [
    "$SYS/brokers/+/clients/+/connected",
    "$SYS/brokers/+/clients/+/disconnected",
];

/// Hears of devices' sessions with the broker. Must not block.
pub trait SessionWatch: Send + Sync + 'static {
    /// The broker began a session of `device`.
    fn began(&self, device: DeviceKey, session: SessionNo);

    /// A session of `device` ended.
    fn ended(&self, device: DeviceKey, session: SessionNo, end: SessionEnd);
}

impl SessionWatch for PresenceTracker {
    fn began(&self, device: DeviceKey, session: SessionNo) {
        self.session_started(device, session);
    }

    fn ended(&self, device: DeviceKey, session: SessionNo, end: SessionEnd) {
        self.session_ended(device, session, end);
    }
}

/// What happened to a client.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct ClientEvent {
    pub(super) username: String,
    /// Numbers the session: when it began, by the broker's clock.
    pub(super) session: SessionNo,
    /// How it ended; `None` where it began.
    pub(super) end: Option<SessionEnd>,
}

#[derive(Deserialize)]
struct Body {
    username: Option<String>,
    clientid: String,
    connected_at: Option<u64>,
    disconnected_at: Option<u64>,
    #[serde(default)]
    reason: String,
}

/// The sessions whose begin was heard. The word of a session's end does not
/// say when it began, so that has to be remembered.
#[derive(Debug, Default)]
pub(super) struct SessionNumbers {
    /// By name: the newest session's client and number. Bounded: a name that
    /// is no device's is the broker's own business and rare; those that find
    /// it full are not numbered.
    newest: HashMap<String, (String, SessionNo)>,
}

/// Names that are remembered.
const NAMES: usize = 1 << 20;

/// Whether `topic` is one of the broker's own.
pub(super) fn is_own(topic: &str) -> bool {
    topic.starts_with("$SYS/")
}

impl SessionNumbers {
    /// Reads a client event; `None` for anything else, and for a client
    /// without a name.
    ///
    /// The end of a session whose begin was not heard gets a number that no
    /// session has: it counts only if no session of that name is known.
    pub(super) fn read(&mut self, topic: &str, payload: &[u8]) -> Option<ClientEvent> {
        let connected = match topic.rsplit_once('/')?.1 {
            "connected" => true,
            "disconnected" => false,
            _ => return None,
        };
        let body: Body = serde_json::from_slice(payload).ok()?;
        let username = body
            .username
            .filter(|it| !it.is_empty() && it != "undefined")?;
        if connected {
            let session = body.connected_at?;
            let fits = self.newest.len() < NAMES || self.newest.contains_key(&username);
            let is_newest = self
                .newest
                .get(&username)
                .is_none_or(|(_, newest)| *newest <= session);
            if fits && is_newest {
                let newest = (body.clientid, session);
                self.newest.insert(username.clone(), newest);
            }
            return Some(ClientEvent {
                username,
                session,
                end: None,
            });
        }
        let newest = self.newest.get(&username);
        let begun = newest.filter(|(client, _)| *client == body.clientid);
        let session = match (begun, body.connected_at) {
            (_, Some(session)) => session,
            (Some((_, session)), None) => *session,
            (None, None) => body.disconnected_at?,
        };
        let end = session_end(&body.reason);
        // The session that took over has the same client and a begin of its own.
        if newest.is_some_and(|(_, newest)| *newest == session) && end != SessionEnd::TakenOver {
            self.newest.remove(&username);
        }
        Some(ClientEvent {
            username,
            session,
            end: Some(end),
        })
    }
}

fn session_end(reason: &str) -> SessionEnd {
    match reason {
        "normal" => SessionEnd::Disconnected,
        "keepalive_timeout" => SessionEnd::TimedOut,
        "takenover" | "takeovered" | "discarded" => SessionEnd::TakenOver,
        "kicked" => SessionEnd::Kicked,
        // The broker's own end says nothing of its clients.
        "server_shutting_down" | "shutdown" => SessionEnd::BrokerStopped,
        _ => SessionEnd::Lost,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CONNECTED: &str = "$SYS/brokers/emqx@10.1.2.3/clients/c-1/connected";
    const DISCONNECTED: &str = "$SYS/brokers/emqx@10.1.2.3/clients/c-1/disconnected";

    fn begin(numbers: &mut SessionNumbers, client: &str, at: u64) -> ClientEvent {
        let body = format!(
            r#"{{"username":"strip01","ts":{at},"sockport":8883,"proto_ver":4,"proto_name":"MQTT","keepalive":30,"ipaddress":"10.3.2.9","expiry_interval":0,"connected_at":{at},"connack":0,"clientid":"{client}","clean_start":true}}"#
        );
        numbers.read(CONNECTED, body.as_bytes()).unwrap()
    }

    fn end(numbers: &mut SessionNumbers, client: &str, reason: &str) -> ClientEvent {
        let body = format!(
            r#"{{"username":"strip01","ts":9500,"sockport":8883,"reason":"{reason}","proto_ver":4,"proto_name":"MQTT","ipaddress":"10.3.2.9","disconnected_at":9499,"clientid":"{client}"}}"#
        );
        numbers.read(DISCONNECTED, body.as_bytes()).unwrap()
    }

    #[test]
    fn a_sessions_end_has_the_number_of_its_begin() {
        for (reason, expected) in [
            ("normal", SessionEnd::Disconnected),
            ("keepalive_timeout", SessionEnd::TimedOut),
            ("tcp_closed", SessionEnd::Lost),
            ("kicked", SessionEnd::Kicked),
        ] {
            let mut numbers = SessionNumbers::default();
            assert_eq!(begin(&mut numbers, "c-1", 1_000).session, 1_000);
            let ended = end(&mut numbers, "c-1", reason);
            assert_eq!((ended.session, ended.end), (1_000, Some(expected)));
        }
    }

    #[test]
    fn the_end_of_an_older_session_is_not_that_of_the_newer() {
        let mut numbers = SessionNumbers::default();
        begin(&mut numbers, "c-1", 1_000);
        begin(&mut numbers, "c-2", 2_000);
        assert_ne!(end(&mut numbers, "c-1", "keepalive_timeout").session, 2_000);
        assert_eq!(end(&mut numbers, "c-2", "normal").session, 2_000);

        begin(&mut numbers, "c-1", 3_000);
        begin(&mut numbers, "c-1", 4_000);
        let taken = end(&mut numbers, "c-1", "takenover");
        assert_eq!(taken.end, Some(SessionEnd::TakenOver));
        assert_eq!(end(&mut numbers, "c-1", "normal").session, 4_000);
    }

    #[test]
    fn an_end_whose_begin_was_not_heard_has_a_number_of_its_own() {
        let ended = end(&mut SessionNumbers::default(), "c-1", "normal");
        assert_eq!(ended.session, 9_499);
    }

    #[test]
    fn clients_without_a_name_and_other_topics_say_nothing() {
        let mut numbers = SessionNumbers::default();
        for body in [
            r#"{"username":"undefined","clientid":"c","connected_at":1}"#,
            r#"{"username":"","clientid":"c","connected_at":1}"#,
            r#"{"clientid":"c","connected_at":1}"#,
            r#"{"username":"a","clientid":"c"}"#,
            "[]",
            "",
        ] {
            assert_eq!(numbers.read(CONNECTED, body.as_bytes()), None, "{body}");
        }
        let body = br#"{"username":"a","clientid":"c","connected_at":1}"#;
        assert_eq!(numbers.read("$SYS/brokers/n/uptime", body), None);
    }
}
