//! How a device's reported state follows from its statuses and from what
//! commands proved.

use std::collections::BTreeMap;

use crate::clock::Timestamp;
use crate::decode::Status;
use crate::device::{Reported, SocketState};
use crate::event::Origin;
use crate::ids::{DeviceKey, SocketId};

/// What an ack or a report proved of one relay, or of all of them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RelayReport {
    /// Whose relay.
    pub device: DeviceKey,
    /// Which relay; 0 for all of them.
    pub socket: SocketId,
    /// Whether it is closed.
    pub on: bool,
    /// Who caused it.
    pub origin: Origin,
    /// When the command was sent: a change seen since is this command's.
    pub since: Timestamp,
    /// When it was heard.
    pub at: Timestamp,
    /// The device's start count, if it told.
    pub boot: Option<u32>,
    /// The message's sequence number within `boot`, if it told.
    pub seq: Option<u32>,
}

impl Reported {
    /// The state after `status`, received at `at`. A relay that changed was
    /// changed at the device, as far as a status alone can tell.
    #[must_use]
    pub fn after_status(previous: Option<&Self>, status: Status, at: Timestamp) -> Self {
        let before = |socket: SocketId| {
            previous
                .into_iter()
                .flat_map(|it| &it.sockets)
                .find(|it| it.socket == socket)
        };
        let sockets = status
            .sockets
            .into_iter()
            .map(|(socket, on)| match before(socket) {
                Some(known) if known.on == on => known.clone(),
                Some(_) | None => SocketState {
                    socket,
                    on,
                    changed_at: at,
                    origin: Origin::Device,
                },
            })
            .collect();
        Self {
            boot: status.boot,
            conn: status.conn,
            seq: status.seq,
            firmware: status.firmware,
            ip: status.ip,
            mac: status.mac,
            rssi_dbm: status.rssi_dbm,
            uptime_s: status.uptime_s,
            period_ms: status.period_ms,
            at,
            sockets,
        }
    }

    /// The state after `evidence`; `None` where something newer is known or
    /// nothing changes. `sockets` is how many the strip has, for evidence
    /// about all of them before its first status.
    #[must_use]
    pub fn after_relay_report(
        previous: Option<&Self>,
        sockets: u8,
        evidence: &RelayReport,
    ) -> Option<Self> {
        if previous.is_some_and(|it| it.is_newer_than(evidence)) {
            return None;
        }
        let mut relays: BTreeMap<SocketId, SocketState> = previous
            .into_iter()
            .flat_map(|it| &it.sockets)
            .map(|it| (it.socket, it.clone()))
            .collect();
        let mut changed = false;
        for socket in claimed(&relays, sockets, evidence.socket) {
            let next = match relays.get(&socket) {
                // What changed before the command was sent is somebody else's.
                Some(known) if known.on == evidence.on && known.changed_at < evidence.since => {
                    continue;
                }
                Some(known) if known.on == evidence.on => SocketState {
                    origin: evidence.origin.clone(),
                    ..known.clone()
                },
                Some(_) | None => SocketState {
                    socket,
                    on: evidence.on,
                    changed_at: evidence.at,
                    origin: evidence.origin.clone(),
                },
            };
            changed |= relays.get(&socket) != Some(&next);
            relays.insert(socket, next);
        }
        changed.then(|| Self {
            sockets: relays.into_values().collect(),
            ..previous.cloned().unwrap_or_default()
        })
    }

    /// Whether this is newer than `other`, which another node took.
    #[must_use]
    pub fn is_newer_than_report(&self, other: &Self) -> bool {
        match (self.seq, other.seq) {
            (Some(seq), Some(their_seq)) if self.boot == other.boot => seq > their_seq,
            _ => self.at > other.at,
        }
    }

    /// Whether this was reported after `evidence` arose.
    fn is_newer_than(&self, evidence: &RelayReport) -> bool {
        match (self.boot, self.seq, evidence.boot, evidence.seq) {
            (Some(boot), Some(seq), Some(their_boot), Some(their_seq)) => {
                (boot, seq) > (their_boot, their_seq)
            }
            _ => self.at > evidence.at,
        }
    }
}

/// The sockets that `socket` stands for.
fn claimed(
    known: &BTreeMap<SocketId, SocketState>,
    sockets: u8,
    socket: SocketId,
) -> Vec<SocketId> {
    if !socket.is_strip() {
        return vec![socket];
    }
    let mut all: Vec<SocketId> = known.keys().copied().collect();
    if all.is_empty() {
        all.extend((1..=sockets).filter_map(|n| SocketId::parse(n.into()).ok()));
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    fn socket(n: u64) -> SocketId {
        SocketId::parse(n).unwrap()
    }

    fn at(ms: i64) -> Timestamp {
        Timestamp::from_millis(ms)
    }

    fn status(seq: u32, relays: &[(u64, bool)]) -> Status {
        Status {
            online: true,
            boot: Some(1),
            seq: Some(seq),
            sockets: relays.iter().map(|(n, on)| (socket(*n), *on)).collect(),
            ..Status::default()
        }
    }

    fn evidence(n: u64, on: bool, seq: Option<u32>, heard: i64) -> RelayReport {
        RelayReport {
            device: DeviceKey(1),
            socket: socket(n),
            on,
            origin: Origin::User { name: "ada".into() },
            since: at(90),
            at: at(heard),
            boot: seq.map(|_| 1),
            seq,
        }
    }

    #[test]
    fn a_relay_keeps_the_time_and_origin_of_its_last_change() {
        let first = Reported::after_status(None, status(1, &[(1, true), (2, false)]), at(10));
        let second =
            Reported::after_status(Some(&first), status(2, &[(1, true), (2, true)]), at(20));
        assert_eq!(second.sockets[0].changed_at, at(10));
        assert_eq!(second.sockets[1].changed_at, at(20));
        assert_eq!(second.sockets[1].origin, Origin::Device);
    }

    #[test]
    fn a_change_since_the_command_is_the_commands() {
        let before = Reported::after_status(None, status(1, &[(1, false)]), at(10));
        // The status came before the ack.
        let seen = Reported::after_status(Some(&before), status(2, &[(1, true)]), at(95));
        let after =
            Reported::after_relay_report(Some(&seen), 1, &evidence(1, true, Some(3), 96)).unwrap();
        assert_eq!(after.sockets[0].changed_at, at(95));
        assert!(matches!(after.sockets[0].origin, Origin::User { .. }));
        // It was on already: nobody changed it.
        let on = Reported::after_status(None, status(1, &[(1, true)]), at(10));
        assert_eq!(
            Reported::after_relay_report(Some(&on), 1, &evidence(1, true, Some(2), 96)),
            None
        );
    }

    #[test]
    fn evidence_older_than_the_last_report_changes_nothing() {
        let newer = Reported::after_status(None, status(9, &[(1, false)]), at(100));
        for old in [evidence(1, true, Some(8), 200), evidence(1, true, None, 99)] {
            assert_eq!(Reported::after_relay_report(Some(&newer), 1, &old), None);
        }
        let after = Reported::after_relay_report(Some(&newer), 1, &evidence(1, true, None, 101));
        assert!(after.unwrap().sockets[0].on);
    }

    #[test]
    fn an_ack_for_the_strip_sets_every_socket() {
        let after = Reported::after_relay_report(None, 3, &evidence(0, true, None, 100)).unwrap();
        assert_eq!(after.sockets.len(), 3);
        assert!(after.sockets.iter().all(|it| it.on));
    }
}
