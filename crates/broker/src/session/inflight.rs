//! QoS 1 and 2 messages sent to a client and not yet settled.

use std::collections::VecDeque;

use tokio::time::Instant;

use super::Outgoing;
use crate::codec::{AckKind, QoS, ReasonCode};

/// How far one exchange has come.
#[derive(Debug)]
pub(crate) enum Flight {
    /// PUBLISH is sent; PUBACK or PUBREC is awaited.
    Publish(Outgoing),
    /// PUBREL is sent; PUBCOMP is awaited.
    Release,
}

#[derive(Debug)]
struct Entry {
    packet_id: u16,
    flight: Flight,
}

/// The exchanges in the order in which they began.
///
/// After a reconnect the last `unsent` of them have not been sent again yet; new
/// ones begin only when there are none of those.
#[derive(Debug, Default)]
pub(crate) struct Inflight {
    entries: VecDeque<Entry>,
    unsent: usize,
    last_id: u16,
}

/// What an answer from the client led to.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Answered {
    /// The exchange is over.
    Over,
    /// A PUBREL is due with this reason.
    Release(ReasonCode),
    /// It answers nothing that is in flight.
    Unknown,
}

impl Inflight {
    pub(crate) fn len(&self) -> usize {
        self.entries.len()
    }

    /// How many exchanges run on this connection.
    pub(crate) fn running(&self) -> usize {
        self.entries.len() - self.unsent
    }

    /// The client is back: everything is to be sent again.
    pub(crate) fn resume(&mut self) {
        self.unsent = self.entries.len();
    }

    pub(crate) fn has_unsent(&self) -> bool {
        self.unsent > 0
    }

    /// Takes the next exchange to be sent again as sent; stale messages are
    /// forgotten. Returns it with its packet identifier.
    pub(crate) fn resend(&mut self, now: Instant, dropped: &mut u64) -> Option<(u16, &Flight)> {
        loop {
            let index = self.entries.len() - self.unsent;
            let entry = self.entries.get(index)?;
            self.unsent -= 1;
            let stale = match &entry.flight {
                Flight::Publish(outgoing) => outgoing.message.is_stale(now),
                Flight::Release => false,
            };
            if !stale {
                let entry = self.entries.get(index)?;
                return Some((entry.packet_id, &entry.flight));
            }
            self.entries.remove(index);
            *dropped += 1;
        }
    }

    /// Begins an exchange; returns its packet identifier.
    pub(crate) fn begin(&mut self, outgoing: Outgoing) -> u16 {
        let mut id = self.last_id;
        loop {
            id = id.checked_add(1).unwrap_or(1);
            if !self.entries.iter().any(|entry| entry.packet_id == id) {
                break;
            }
        }
        self.last_id = id;
        self.entries.push_back(Entry {
            packet_id: id,
            flight: Flight::Publish(outgoing),
        });
        id
    }

    /// Applies the client's answer.
    pub(crate) fn answer(&mut self, kind: AckKind, packet_id: u16, reason: ReasonCode) -> Answered {
        let found = self
            .entries
            .iter()
            .position(|entry| entry.packet_id == packet_id);
        let Some(index) = found else {
            return self.unknown(kind);
        };
        let Some(entry) = self.entries.get_mut(index) else {
            return self.unknown(kind);
        };
        match (&entry.flight, kind) {
            (Flight::Publish(outgoing), AckKind::Ack) if outgoing.qos == QoS::AtLeastOnce => {}
            (Flight::Publish(outgoing), AckKind::Received) if outgoing.qos == QoS::ExactlyOnce => {
                if !reason.is_failure() {
                    entry.flight = Flight::Release;
                    return Answered::Release(ReasonCode::SUCCESS);
                }
            }
            (Flight::Release, AckKind::Received) => return Answered::Release(ReasonCode::SUCCESS),
            (Flight::Release, AckKind::Complete) => {}
            (
                Flight::Publish(_) | Flight::Release,
                AckKind::Ack | AckKind::Received | AckKind::Release | AckKind::Complete,
            ) => return self.unknown(kind),
        }
        if index >= self.running() {
            self.unsent -= 1;
        }
        self.entries.remove(index);
        Answered::Over
    }

    #[expect(clippy::unused_self, reason = "reads as a step of `answer`")]
    fn unknown(&self, kind: AckKind) -> Answered {
        match kind {
            AckKind::Received => Answered::Release(ReasonCode::PACKET_ID_NOT_FOUND),
            AckKind::Ack | AckKind::Release | AckKind::Complete => Answered::Unknown,
        }
    }

    /// The earliest time by which a sent message must be acknowledged.
    pub(crate) fn next_ack_deadline(&self) -> Option<Instant> {
        self.entries
            .iter()
            .take(self.running())
            .filter_map(|entry| match &entry.flight {
                Flight::Publish(outgoing) => outgoing.message.ack_by,
                Flight::Release => None,
            })
            .min()
    }

    /// Forgets the messages whose deadline has passed; returns how many.
    pub(crate) fn drop_overdue(&mut self, now: Instant) -> usize {
        let before = self.entries.len();
        self.entries.retain(|entry| match &entry.flight {
            Flight::Publish(outgoing) => outgoing.message.ack_by.is_none_or(|at| at > now),
            Flight::Release => true,
        });
        self.unsent = self.unsent.min(self.entries.len());
        before - self.entries.len()
    }

    /// Forgets everything; returns the messages that nobody acknowledged.
    pub(crate) fn take_all(&mut self) -> impl Iterator<Item = Outgoing> {
        self.unsent = 0;
        let entries = std::mem::take(&mut self.entries);
        entries.into_iter().filter_map(|entry| match entry.flight {
            Flight::Publish(outgoing) => Some(outgoing),
            Flight::Release => None,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::{Message, Stored};
    use crate::session::SubscriptionIds;
    use std::sync::Arc;

    fn outgoing(qos: QoS) -> Outgoing {
        let message = Stored::of_message(Message::new("t", "x").qos(qos), Instant::now());
        Outgoing {
            message: Arc::new(message),
            qos,
            retain: false,
            ids: SubscriptionIds::new(),
            group: None,
        }
    }

    const OK: ReasonCode = ReasonCode::SUCCESS;

    #[tokio::test]
    async fn answers_must_fit_the_exchange() {
        let mut inflight = Inflight::default();
        let one = inflight.begin(outgoing(QoS::AtLeastOnce));
        let two = inflight.begin(outgoing(QoS::ExactlyOnce));
        assert_eq!(inflight.answer(AckKind::Ack, two, OK), Answered::Unknown);
        assert_eq!(
            inflight.answer(AckKind::Complete, two, OK),
            Answered::Unknown
        );
        assert_eq!(
            inflight.answer(AckKind::Received, one, OK),
            Answered::Release(ReasonCode::PACKET_ID_NOT_FOUND)
        );
        assert_eq!(
            inflight.answer(AckKind::Received, two, OK),
            Answered::Release(OK)
        );
        assert_eq!(
            inflight.answer(AckKind::Received, two, OK),
            Answered::Release(OK)
        );
        assert_eq!(inflight.answer(AckKind::Complete, two, OK), Answered::Over);
        assert_eq!(inflight.answer(AckKind::Ack, one, OK), Answered::Over);
        assert_eq!(inflight.answer(AckKind::Ack, one, OK), Answered::Unknown);
        assert_eq!(inflight.len(), 0);
    }

    #[tokio::test]
    async fn a_refused_qos_2_message_is_over() {
        let mut inflight = Inflight::default();
        let id = inflight.begin(outgoing(QoS::ExactlyOnce));
        let answer = inflight.answer(AckKind::Received, id, ReasonCode::QUOTA_EXCEEDED);
        assert_eq!((answer, inflight.len()), (Answered::Over, 0));
    }

    #[tokio::test]
    async fn identifiers_in_use_are_skipped_when_they_wrap() {
        let mut inflight = Inflight {
            last_id: u16::MAX - 1,
            ..Inflight::default()
        };
        assert_eq!(inflight.begin(outgoing(QoS::AtLeastOnce)), u16::MAX);
        assert_eq!(inflight.begin(outgoing(QoS::AtLeastOnce)), 1);
        inflight.last_id = u16::MAX - 1;
        assert_eq!(inflight.begin(outgoing(QoS::AtLeastOnce)), 2);
    }

    #[tokio::test]
    async fn after_a_reconnect_everything_is_sent_again_in_order() {
        let mut inflight = Inflight::default();
        for _ in 0..3 {
            inflight.begin(outgoing(QoS::ExactlyOnce));
        }
        inflight.answer(AckKind::Received, 1, OK);
        inflight.resume();
        assert_eq!(inflight.running(), 0);
        // An answer may come before we have sent again what it answers.
        assert_eq!(
            inflight.answer(AckKind::Received, 2, ReasonCode::UNSPECIFIED),
            Answered::Over
        );
        let mut dropped = 0;
        let now = Instant::now();
        assert!(matches!(
            inflight.resend(now, &mut dropped),
            Some((1, Flight::Release))
        ));
        assert!(matches!(
            inflight.resend(now, &mut dropped),
            Some((3, Flight::Publish(_)))
        ));
        assert!(inflight.resend(now, &mut dropped).is_none());
        assert_eq!((inflight.running(), dropped), (2, 0));
    }
}
