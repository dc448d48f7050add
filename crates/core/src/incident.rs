//! Several events with one cause: devices of one place that went together.

use std::collections::BTreeMap;

use crate::clock::Timestamp;
use crate::ids::{DeviceId, IncidentId};

/// The fewest devices that make an incident.
pub const DEVICES_MIN: usize = 3;

/// Devices of one place that went offline together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Incident {
    /// Which incident.
    pub id: IncidentId,
    /// The place they share; empty for the whole site.
    pub location: String,
    /// When the first of them went.
    pub started_at: Timestamp,
    /// When the last of them had come back, or was deleted; `None` before.
    pub ended_at: Option<Timestamp>,
    /// Those that went, in order of their ids, and whether each is back.
    pub devices: BTreeMap<DeviceId, Returned>,
}

/// Whether a device of an incident is back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Returned {
    /// Since then.
    At(Timestamp),
    /// Not yet.
    NotYet,
}

impl Incident {
    /// How many of its devices are not back yet.
    #[must_use]
    pub fn missing(&self) -> usize {
        let gone = |returned: &&Returned| match returned {
            Returned::NotYet => true,
            Returned::At(_) => false,
        };
        self.devices.values().filter(gone).count()
    }

    /// Notes that `device` is back, or no longer exists; returns whether that
    /// changed anything. The incident ends with the last one.
    pub fn returned(&mut self, device: &DeviceId, now: Timestamp) -> bool {
        let Some(returned @ Returned::NotYet) = self.devices.get_mut(device) else {
            return false;
        };
        *returned = Returned::At(now);
        if self.missing() == 0 {
            self.ended_at = Some(now);
        }
        true
    }
}

/// A device that went offline.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Gone {
    /// Which device.
    pub device: DeviceId,
    /// Where it is: `building/floor/room`; empty where unknown.
    pub location: String,
    /// When it went.
    pub at: Timestamp,
}

/// Devices of one place that went together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Group<'g> {
    /// The place they share; empty for the whole site.
    pub location: &'g str,
    /// Those that went.
    pub gone: Vec<&'g Gone>,
}

/// Finds the groups among devices that went at about the same time.
///
/// `present(place)` tells how many devices of a place were there before. A
/// place is hit when at least [`DEVICES_MIN`] of its devices went and they
/// were at least half of those present. The widest place that was hit tells
/// the whole story of what lies in it; a place whose devices all lie in one
/// place below it leaves the story to that.
pub fn group<'g>(gone: &'g [Gone], present: impl Fn(&str) -> usize) -> Vec<Group<'g>> {
    let mut groups = Vec::new();
    descend("", 0, gone.iter().collect(), &present, &mut groups);
    groups
}

fn descend<'g>(
    place: &'g str,
    depth: usize,
    gone: Vec<&'g Gone>,
    present: &impl Fn(&str) -> usize,
    groups: &mut Vec<Group<'g>>,
) {
    if gone.len() < DEVICES_MIN {
        return;
    }
    let mut below: BTreeMap<&str, Vec<&Gone>> = BTreeMap::new();
    for it in &gone {
        if let Some(narrower) = prefix(&it.location, depth + 1) {
            below.entry(narrower).or_default().push(it);
        }
    }
    let shared = below.values().any(|inside| inside.len() == gone.len());
    if !shared && gone.len() * 2 >= present(place) {
        groups.push(Group {
            location: place,
            gone,
        });
        return;
    }
    for (narrower, inside) in below {
        descend(narrower, depth + 1, inside, present, groups);
    }
}

/// The first `levels` levels of `location`; `None` where it has fewer.
fn prefix(location: &str, levels: usize) -> Option<&str> {
    let deep_enough = !location.is_empty() && location.split('/').count() >= levels;
    deep_enough.then(|| {
        let end = location.match_indices('/').nth(levels - 1);
        end.map_or(location, |(end, _)| location.split_at(end).0)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn gone(id: &str, location: &str) -> Gone {
        Gone {
            device: DeviceId::parse(id).unwrap(),
            location: location.to_owned(),
            at: Timestamp::from_millis(0),
        }
    }

    fn found(gone: &[Gone], present: impl Fn(&str) -> usize) -> Vec<(String, usize)> {
        group(gone, present)
            .into_iter()
            .map(|group| (group.location.to_owned(), group.gone.len()))
            .collect()
    }

    #[test]
    fn a_room_that_goes_is_one_incident_of_that_room() {
        let gone = [
            gone("a", "A/3/302"),
            gone("b", "A/3/302"),
            gone("c", "A/3/302"),
        ];
        assert_eq!(found(&gone, |_| 4), [("A/3/302".to_owned(), 3)]);
    }

    #[test]
    fn a_floor_whose_rooms_go_together_is_one_incident_of_the_floor() {
        let gone = [
            gone("a", "A/3/301"),
            gone("b", "A/3/302"),
            gone("c", "A/3/303"),
        ];
        let present = |place: &str| match place {
            "A/3" => 4,
            _ => 100,
        };
        assert_eq!(found(&gone, present), [("A/3".to_owned(), 3)]);
    }

    #[test]
    fn two_places_that_go_at_once_are_two_incidents() {
        let mut all = Vec::new();
        for n in 0..3 {
            all.push(gone(&format!("a{n}"), &format!("A/3/30{n}")));
            all.push(gone(&format!("b{n}"), &format!("B/1/10{n}")));
        }
        let present = |place: &str| match place {
            "" => 1_000,
            "A" | "B" => 500,
            _ => 5,
        };
        assert_eq!(
            found(&all, present),
            [("A/3".to_owned(), 3), ("B/1".to_owned(), 3)]
        );
    }

    #[test]
    fn single_losses_all_over_the_site_are_none() {
        let gone = [
            gone("a", "A/1/1"),
            gone("b", "B/2/2"),
            gone("c", "C/3/3"),
            gone("d", ""),
        ];
        assert_eq!(found(&gone, |_| 1_000), []);
    }

    #[test]
    fn devices_without_a_place_are_of_the_site() {
        let gone = [gone("a", ""), gone("b", ""), gone("c", "")];
        assert_eq!(found(&gone, |_| 3), [(String::new(), 3)]);
    }

    #[test]
    fn an_incident_ends_when_its_last_device_is_back() {
        let ids = ["a", "b"].map(|id| DeviceId::parse(id).unwrap());
        let mut incident = Incident {
            id: IncidentId(uuid::Uuid::nil()),
            location: String::new(),
            started_at: Timestamp::from_millis(0),
            ended_at: None,
            devices: ids
                .iter()
                .map(|id| (id.clone(), Returned::NotYet))
                .collect(),
        };
        let now = Timestamp::from_millis(9);
        assert!(incident.returned(&ids[0], now));
        assert!(!incident.returned(&ids[0], now));
        assert_eq!(incident.ended_at, None);
        assert!(incident.returned(&ids[1], now));
        assert_eq!(incident.ended_at, Some(now));
    }
}
