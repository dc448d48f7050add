//! What this node heard and the others have not been told yet.

use super::record::Record;
use crate::clock::Timestamp;
use crate::ids::{DeviceKey, DeviceKeyMap};

/// Beyond this many signs and records, what waits is handed to the log at
/// once: more never waits.
pub(super) const WAITING_MAX: usize = 8_192;

/// Records in the order in which things were heard; of signs of life between
/// two other records, the newest of each device.
#[derive(Debug, Default)]
pub(super) struct Outgoing {
    records: Vec<Record>,
    signs: Vec<(DeviceKey, Timestamp)>,
    places: DeviceKeyMap<usize>,
}

impl Outgoing {
    pub(super) fn alive(&mut self, device: DeviceKey, at: Timestamp) {
        match self.places.get(&device) {
            Some(place) => self.signs[*place].1 = at.max(self.signs[*place].1),
            None => {
                self.places.insert(device, self.signs.len());
                self.signs.push((device, at));
            }
        }
    }

    pub(super) fn push(&mut self, record: Record) {
        self.close_signs();
        self.records.push(record);
    }

    pub(super) fn len(&self) -> usize {
        self.records.len() + self.signs.len()
    }

    /// Takes everything that waits.
    pub(super) fn take(&mut self) -> Vec<Record> {
        self.close_signs();
        std::mem::take(&mut self.records)
    }

    fn close_signs(&mut self) {
        if !self.signs.is_empty() {
            self.places.clear();
            let signs = std::mem::take(&mut self.signs);
            self.records.push(Record::Alive(signs));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ports::nodes::NodeId;

    #[test]
    fn signs_are_joined_and_never_pass_another_record() {
        let at = Timestamp::from_millis;
        let (one, two) = (DeviceKey(1), DeviceKey(2));
        let other = Record::Link {
            node: NodeId("a".into()),
            whole: true,
        };
        let mut outgoing = Outgoing::default();
        outgoing.alive(one, at(1));
        outgoing.alive(two, at(2));
        outgoing.alive(one, at(3));
        outgoing.push(other.clone());
        outgoing.alive(one, at(4));
        assert_eq!(outgoing.len(), 3);
        let first = Record::Alive(vec![(one, at(3)), (two, at(2))]);
        let last = Record::Alive(vec![(one, at(4))]);
        assert_eq!(outgoing.take(), [first, other, last]);
        assert_eq!(outgoing.take(), []);
    }
}
