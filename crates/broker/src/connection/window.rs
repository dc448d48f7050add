//! Publications of one client that wait for their acknowledgement, in the order
//! in which they came.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use crate::ack::Ack;
use crate::codec::QoS;
use crate::link::{Link, PENDING};
use crate::message::Stored;

/// A ring as large as the receive maximum. Its states live in the [`Link`],
/// where any thread can resolve them; this side takes them out in order.
#[derive(Debug)]
pub(super) struct Window {
    waiting: VecDeque<Waiting>,
    next_slot: u16,
    size: u16,
}

/// A publication that waits.
#[derive(Debug)]
pub(super) struct Waiting {
    pub(super) packet_id: u16,
    pub(super) qos: QoS,
    /// What to pass on once it is acknowledged, if anyone wants it.
    pub(super) message: Option<Arc<Stored>>,
    slot: u16,
}

impl Window {
    pub(super) fn new(size: u16) -> Self {
        Self {
            waiting: VecDeque::new(),
            next_slot: 0,
            size,
        }
    }

    pub(super) fn len(&self) -> usize {
        self.waiting.len()
    }

    pub(super) fn is_full(&self) -> bool {
        self.waiting.len() >= usize::from(self.size)
    }

    /// Whether a QoS 2 publication with this identifier waits.
    pub(super) fn holds_qos2(&self, packet_id: u16) -> bool {
        self.waiting
            .iter()
            .any(|entry| entry.packet_id == packet_id && entry.qos == QoS::ExactlyOnce)
    }

    /// Whether anyone still waits to be passed a message on.
    pub(super) fn has_messages(&self) -> bool {
        self.waiting.iter().any(|entry| entry.message.is_some())
    }

    /// Passes nothing on any more.
    pub(super) fn forget_messages(&mut self) {
        for entry in &mut self.waiting {
            entry.message = None;
        }
    }

    /// Appends a publication; the caller has seen that there is room. The
    /// acknowledgement resolves it.
    pub(super) fn push(&mut self, packet_id: u16, qos: QoS, link: &Arc<Link>) -> Ack {
        let slot = self.next_slot;
        self.next_slot = (slot + 1) % self.size;
        if let Some(state) = link.slots(self.size).get(usize::from(slot)) {
            state.store(PENDING, Ordering::Relaxed);
        }
        self.waiting.push_back(Waiting {
            packet_id,
            qos,
            message: None,
            slot,
        });
        Ack::new(link.clone(), slot)
    }

    /// The message to pass on when the newest publication is acknowledged.
    pub(super) fn set_message(&mut self, message: Arc<Stored>) {
        if let Some(newest) = self.waiting.back_mut() {
            newest.message = Some(message);
        }
    }

    /// Takes the oldest publication out if it is resolved, with its state.
    pub(super) fn pop_resolved(&mut self, link: &Link) -> Option<(Waiting, u8)> {
        let oldest = self.waiting.front()?;
        let slots = link.slots(self.size);
        let state = slots.get(usize::from(oldest.slot))?.load(Ordering::Acquire);
        if state == PENDING {
            return None;
        }
        let oldest = self.waiting.pop_front()?;
        Some((oldest, state))
    }
}
