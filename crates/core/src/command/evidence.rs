//! Whether a device's report proves that a command was carried out: for
//! firmware that echoes no command id.

use std::time::Duration;

use super::Command;
use crate::ids::SocketId;
use crate::wire::Action;

/// How long after the publish a report that shows no change begins to count:
/// an earlier one may have been on its way already.
const UNCHANGED_COUNTS_AFTER: Duration = Duration::from_millis(500);

/// One socket in a device's report.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SocketReport {
    /// Which socket.
    pub socket: SocketId,
    /// Whether its relay is closed.
    pub on: bool,
    /// Whether the report before it said otherwise.
    pub changed: bool,
}

/// Whether `report`, which came `since_publish` after the command was handed
/// to the broker, shows that the command was carried out.
///
/// A change to the wanted state counts at once, a report of a state that was
/// so before only after 500 ms. A cycle ends where it began, so that only the
/// change back counts, and not before its pause is over. A command for the
/// whole strip needs every reported socket in the wanted state.
#[must_use]
pub fn shows_success(command: &Command, report: &[SocketReport], since_publish: Duration) -> bool {
    let wanted = command.order.ends_on();
    let mut reported = false;
    let mut changed = false;
    for socket in report.iter().filter(|it| command.claims(it.socket)) {
        if socket.on != wanted {
            return false;
        }
        reported = true;
        changed |= socket.changed;
    }
    let off_ms = u64::from(command.order.off_ms.unwrap_or(0));
    reported
        && match command.order.action {
            Action::On | Action::Off => changed || since_publish >= UNCHANGED_COUNTS_AFTER,
            Action::Cycle => changed && since_publish >= Duration::from_millis(off_ms),
        }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::command::Order;

    fn command(socket: u64, action: Action) -> Command {
        let mut command = crate::contract::commands::sample(1, socket);
        command.order = Order::new(action, None, None).unwrap();
        command
    }

    fn report(sockets: &[(u64, bool, bool)]) -> Vec<SocketReport> {
        let entry = |&(socket, on, changed): &(u64, bool, bool)| SocketReport {
            socket: SocketId::parse(socket).unwrap(),
            on,
            changed,
        };
        sockets.iter().map(entry).collect()
    }

    type Case = (&'static str, u64, &'static [(u64, bool, bool)], u64, bool);

    const SAME: bool = false;
    const NEW: bool = true;

    fn check(action: Action, cases: &[Case]) {
        for &(name, socket, sockets, after_ms, expected) in cases {
            let since = Duration::from_millis(after_ms);
            let shown = shows_success(&command(socket, action), &report(sockets), since);
            assert_eq!(shown, expected, "{name}");
        }
    }

    #[test]
    fn a_change_counts_at_once_and_no_change_only_later() {
        let cases: [Case; 6] = [
            ("a change", 1, &[(1, true, NEW)], 0, true),
            ("no change, too early", 1, &[(1, true, SAME)], 499, false),
            ("no change, later", 1, &[(1, true, SAME)], 500, true),
            ("the wrong state", 1, &[(1, false, NEW)], 900, false),
            ("another socket", 1, &[(2, true, NEW)], 900, false),
            ("nothing reported", 1, &[], 900, false),
        ];
        check(Action::On, &cases);
    }

    #[test]
    fn a_cycle_is_proved_by_the_change_back_only() {
        let cases: [Case; 4] = [
            ("its pause", 1, &[(1, false, NEW)], 900, false),
            ("on as before", 1, &[(1, true, SAME)], 5_000, false),
            ("on again too early", 1, &[(1, true, NEW)], 2_999, false),
            ("on again", 1, &[(1, true, NEW)], 3_000, true),
        ];
        check(Action::Cycle, &cases);
    }

    #[test]
    fn a_whole_strip_needs_every_socket() {
        let cases: [Case; 3] = [
            ("half", 0, &[(1, false, NEW), (2, true, SAME)], 900, false),
            ("all", 0, &[(1, false, NEW), (2, false, SAME)], 0, true),
            (
                "as before",
                0,
                &[(1, false, SAME), (2, false, SAME)],
                0,
                false,
            ),
        ];
        check(Action::Off, &cases);
    }
}
