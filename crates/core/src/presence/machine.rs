//! The presence of one device as a state machine.
//!
//! ```text
//! Never ──heard──▶ Online ──will, farewell, session's end, silence──▶ Offline
//!                    ▲                                                  │
//!                    └──────────────────────heard───────────────────────┘
//! ```

use std::time::Duration;

use super::{PresenceReason, PresenceState};

/// A will without (boot, conn) this soon after a newer message says nothing:
/// it may be an older session's.
const STALE_WILL: Duration = Duration::from_secs(3);

/// One of a device's sessions with the broker; rises with each session.
pub type SessionNo = u64;

/// A device's start count and its connection count since.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Life {
    /// Counts the device's starts.
    pub boot: u32,
    /// Counts its connections since that start.
    pub conn: u32,
}

/// How a session ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum SessionEnd {
    /// The device said DISCONNECT.
    Disconnected,
    /// The connection broke, or the broker closed it for an error.
    Lost,
    /// The keep-alive ran out.
    TimedOut,
    /// A newer session of the same identity replaced it.
    TakenOver,
    /// Its credentials were revoked, or a person threw it out.
    Kicked,
    /// The broker itself stopped.
    BrokerStopped,
}

/// What the machine hears.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Signal {
    /// A message from the device: telemetry, ack, event or an online status.
    Heard,
    /// An online status with the device's counts, if it tells them.
    Status(Option<Life>),
    /// A session began.
    SessionStarted(SessionNo),
    /// A session ended.
    SessionEnded(SessionNo, SessionEnd),
    /// A status that says offline.
    Goodbye {
        /// The counts in it.
        life: Option<Life>,
        /// Whether the broker published it as a will.
        by_broker: bool,
        /// How long before it the device was heard last.
        quiet_for: Duration,
    },
    /// The allowed silence has passed.
    Silence,
}

/// What a signal did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// Nothing that others need to know.
    Unchanged,
    /// The device came online.
    CameOnline(PresenceReason),
    /// The device went offline.
    WentOffline(PresenceReason),
}

/// The machine of one device.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Machine {
    state: PresenceState,
    session: Option<SessionNo>,
    life: Option<Life>,
}

impl Default for Machine {
    fn default() -> Self {
        Self::restored(PresenceState::Never, None)
    }
}

impl Machine {
    /// The machine of a device that was last known to be in `state`.
    #[must_use]
    pub const fn restored(state: PresenceState, life: Option<Life>) -> Self {
        Self {
            state,
            session: None,
            life,
        }
    }

    /// Whether the device is there.
    #[must_use]
    pub const fn state(&self) -> PresenceState {
        self.state
    }

    /// The counts of its present life, if it told them.
    #[must_use]
    pub const fn life(&self) -> Option<Life> {
        self.life
    }

    /// Comes to `state`, as somebody who knows more says.
    pub const fn adopt(&mut self, state: PresenceState) {
        self.state = state;
    }

    /// Applies `signal`. Total: every signal is spelled out.
    pub fn apply(&mut self, signal: Signal) -> Step {
        match signal {
            Signal::Heard => self.arrive(),
            Signal::Status(life) => {
                // Whatever pair an online status carries is the current one.
                self.life = life.or(self.life);
                self.arrive()
            }
            Signal::SessionStarted(session) => {
                self.session = self.session.max(Some(session));
                Step::Unchanged
            }
            Signal::SessionEnded(session, end) => self.end_session(session, end),
            Signal::Goodbye {
                life,
                by_broker,
                quiet_for,
            } => {
                if self.believes(life, by_broker, quiet_for) {
                    self.leave(if by_broker {
                        PresenceReason::Will
                    } else {
                        PresenceReason::Farewell
                    })
                } else {
                    Step::Unchanged
                }
            }
            Signal::Silence => self.leave(PresenceReason::Silence),
        }
    }

    fn end_session(&mut self, session: SessionNo, end: SessionEnd) -> Step {
        // A newer session has taken its place: this end says nothing.
        if self.session.is_some_and(|current| current != session) {
            return Step::Unchanged;
        }
        self.session = None;
        match end {
            SessionEnd::Disconnected => self.leave(PresenceReason::Disconnect),
            SessionEnd::Lost => self.leave(PresenceReason::Lost),
            SessionEnd::TimedOut => self.leave(PresenceReason::Timeout),
            SessionEnd::Kicked => self.leave(PresenceReason::Revoked),
            SessionEnd::TakenOver | SessionEnd::BrokerStopped => Step::Unchanged,
        }
    }

    /// Whether an offline status concerns the device's present life.
    fn believes(&self, life: Option<Life>, by_broker: bool, quiet_for: Duration) -> bool {
        match (life, by_broker, self.session) {
            (Some(life), _, _) => self.life == Some(life),
            // The device's own word, without counts, in its own session.
            (None, false, _) => true,
            // The end of that session will tell.
            (None, true, Some(_)) => false,
            (None, true, None) => quiet_for >= STALE_WILL,
        }
    }

    fn arrive(&mut self) -> Step {
        match self.state {
            PresenceState::Online => Step::Unchanged,
            PresenceState::Never | PresenceState::Offline => {
                self.state = PresenceState::Online;
                Step::CameOnline(PresenceReason::Heard)
            }
        }
    }

    fn leave(&mut self, reason: PresenceReason) -> Step {
        match self.state {
            PresenceState::Never | PresenceState::Offline => Step::Unchanged,
            PresenceState::Online => {
                self.state = PresenceState::Offline;
                Step::WentOffline(reason)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const FIRST: Life = Life { boot: 4, conn: 1 };
    const SECOND: Life = Life { boot: 4, conn: 2 };

    fn goodbye(life: Option<Life>, by_broker: bool, quiet_for: Duration) -> Signal {
        Signal::Goodbye {
            life,
            by_broker,
            quiet_for,
        }
    }

    fn will(life: Option<Life>) -> Signal {
        goodbye(life, true, Duration::ZERO)
    }

    fn play(signals: &[Signal]) -> Vec<Step> {
        let mut machine = Machine::default();
        signals
            .iter()
            .map(|signal| machine.apply(*signal))
            .collect()
    }

    #[test]
    fn a_session_alone_is_no_sign_of_life() {
        assert_eq!(play(&[Signal::SessionStarted(1)]), [Step::Unchanged]);
    }

    #[test]
    fn each_way_to_leave_is_declared_once_with_its_reason() {
        let ends = [
            (SessionEnd::Disconnected, PresenceReason::Disconnect),
            (SessionEnd::Lost, PresenceReason::Lost),
            (SessionEnd::TimedOut, PresenceReason::Timeout),
            (SessionEnd::Kicked, PresenceReason::Revoked),
        ];
        for (end, reason) in ends {
            let steps = play(&[
                Signal::SessionStarted(1),
                Signal::Status(Some(FIRST)),
                Signal::SessionEnded(1, end),
                will(Some(FIRST)),
                Signal::Silence,
            ]);
            assert_eq!(
                steps,
                [
                    Step::Unchanged,
                    Step::CameOnline(PresenceReason::Heard),
                    Step::WentOffline(reason),
                    Step::Unchanged,
                    Step::Unchanged,
                ]
            );
        }
    }

    #[test]
    fn a_will_of_an_older_connection_says_nothing() {
        let steps = play(&[
            Signal::Status(Some(FIRST)),
            Signal::Status(Some(SECOND)),
            will(Some(FIRST)),
            will(Some(SECOND)),
        ]);
        assert_eq!(steps[2], Step::Unchanged);
        assert_eq!(steps[3], Step::WentOffline(PresenceReason::Will));
    }

    #[test]
    fn the_end_of_a_session_that_was_taken_over_is_not_offline_in_either_order() {
        for orders in [
            [
                Signal::SessionStarted(2),
                Signal::SessionEnded(1, SessionEnd::TakenOver),
            ],
            [
                Signal::SessionEnded(1, SessionEnd::TakenOver),
                Signal::SessionStarted(2),
            ],
            [
                Signal::SessionStarted(2),
                Signal::SessionEnded(1, SessionEnd::Lost),
            ],
        ] {
            let steps = play(&[
                Signal::SessionStarted(1),
                Signal::Heard,
                orders[0],
                orders[1],
                Signal::SessionEnded(2, SessionEnd::Disconnected),
            ]);
            assert_eq!(steps[2..4], [Step::Unchanged; 2]);
            assert_eq!(steps[4], Step::WentOffline(PresenceReason::Disconnect));
        }
    }

    #[test]
    fn a_will_without_counts_is_left_to_the_session_or_to_silence() {
        let in_session = play(&[Signal::SessionStarted(1), Signal::Heard, will(None)]);
        assert_eq!(in_session[2], Step::Unchanged);
        let too_soon = play(&[
            Signal::Heard,
            goodbye(None, true, Duration::from_millis(2_999)),
        ]);
        assert_eq!(too_soon[1], Step::Unchanged);
        let late = play(&[Signal::Heard, goodbye(None, true, Duration::from_secs(3))]);
        assert_eq!(late[1], Step::WentOffline(PresenceReason::Will));
    }

    #[test]
    fn our_own_stop_takes_nobody_offline() {
        let steps = play(&[
            Signal::SessionStarted(1),
            Signal::Heard,
            Signal::SessionEnded(1, SessionEnd::BrokerStopped),
        ]);
        assert_eq!(steps[2], Step::Unchanged);
    }

    fn life() -> impl Strategy<Value = Option<Life>> {
        prop::option::of((0..2_u32, 0..3_u32).prop_map(|(boot, conn)| Life { boot, conn }))
    }

    fn session_end() -> impl Strategy<Value = SessionEnd> {
        prop::sample::select(vec![
            SessionEnd::Disconnected,
            SessionEnd::Lost,
            SessionEnd::TimedOut,
            SessionEnd::TakenOver,
            SessionEnd::Kicked,
            SessionEnd::BrokerStopped,
        ])
    }

    fn signal() -> impl Strategy<Value = Signal> {
        prop_oneof![
            Just(Signal::Heard),
            life().prop_map(Signal::Status),
            (0..4_u64).prop_map(Signal::SessionStarted),
            (0..4_u64, session_end()).prop_map(|(no, end)| Signal::SessionEnded(no, end)),
            (life(), any::<bool>(), 0..6_u64).prop_map(|(life, by_broker, s)| goodbye(
                life,
                by_broker,
                Duration::from_secs(s)
            )),
            Just(Signal::Silence),
        ]
    }

    proptest! {
        #[test]
        fn changes_alternate_and_agree_with_the_state(signals in prop::collection::vec(signal(), 0..60)) {
            let mut machine = Machine::default();
            let mut online = false;
            for signal in signals {
                match machine.apply(signal) {
                    Step::Unchanged => {}
                    Step::CameOnline(_) => {
                        prop_assert!(!online);
                        online = true;
                    }
                    Step::WentOffline(reason) => {
                        prop_assert!(online);
                        prop_assert_ne!(reason, PresenceReason::Heard);
                        online = false;
                    }
                }
                prop_assert_eq!(machine.state() == PresenceState::Online, online);
            }
        }

        #[test]
        fn a_sign_of_life_always_means_online(signals in prop::collection::vec(signal(), 0..30)) {
            let mut machine = Machine::default();
            for signal in signals {
                machine.apply(signal);
            }
            machine.apply(Signal::Heard);
            prop_assert_eq!(machine.state(), PresenceState::Online);
        }
    }
}
