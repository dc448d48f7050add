use super::*;
use crate::live::LiveHub;
use crate::memory::{MemoryDirectory, MemoryEvents, MemoryIncidents};

struct Site {
    incidents: Incidents,
    directory: Arc<MemoryDirectory>,
    clock: Arc<crate::clock::ManualClock>,
}

impl Site {
    fn with(devices: &[(&str, &str)]) -> Self {
        let directory = Arc::new(MemoryDirectory::default());
        for (id, location) in devices {
            directory.add(id, location);
        }
        let clock = Arc::new(crate::clock::ManualClock::default());
        let live = Arc::new(LiveHub::new(directory.clone()));
        let events = EventLog::new(Arc::new(MemoryEvents::default()), live, clock.clone());
        let incidents = Incidents::new(
            Arc::new(MemoryIncidents::default()),
            directory.clone(),
            Arc::new(events),
            clock.clone(),
        );
        Self {
            incidents,
            directory,
            clock,
        }
    }

    fn lose(&self, id: &str) {
        let id = DeviceId::parse(id).unwrap();
        self.incidents.gone(&self.directory.by_id(&id).unwrap());
    }

    fn regain(&self, id: &str) {
        self.incidents.back(&DeviceId::parse(id).unwrap());
    }

    async fn list(&self) -> Vec<Incident> {
        self.incidents.run_due(|_| false).await.unwrap();
        let query = IncidentQuery {
            limit: 10,
            ..IncidentQuery::default()
        };
        self.incidents.list(&query).await.unwrap()
    }
}

const ROOM: [(&str, &str); 4] = [
    ("a", "A/3/302"),
    ("b", "A/3/302"),
    ("c", "A/3/302"),
    ("z", "B/1/101"),
];

#[tokio::test]
async fn devices_of_a_room_that_go_together_are_one_incident_that_ends_with_the_last() {
    let site = Site::with(&ROOM);
    for id in ["a", "b", "c"] {
        site.lose(id);
        site.clock.advance(Duration::from_secs(2));
    }
    site.clock.advance(Duration::from_secs(7));
    assert_eq!(site.list().await, []);
    site.clock.advance(Duration::from_secs(1));
    let open = site.list().await;
    assert_eq!(open.len(), 1);
    assert_eq!(open[0].location, "A/3/302");
    assert_eq!((open[0].missing(), open[0].ended_at), (3, None));

    for id in ["a", "b", "c"] {
        site.regain(id);
    }
    let ended = site.list().await;
    assert_eq!(ended[0].missing(), 0);
    assert_eq!(ended[0].ended_at, Some(site.clock.now()));
    assert_eq!(site.incidents.next_deadline(), None);
}

#[tokio::test]
async fn one_that_is_back_before_the_judgement_is_listed_as_back() {
    let site = Site::with(&ROOM);
    for id in ["a", "b", "c"] {
        site.lose(id);
    }
    site.regain("b");
    site.clock.advance(QUIET);
    let open = site.list().await;
    assert_eq!((open[0].devices.len(), open[0].missing()), (3, 2));
}

#[tokio::test]
async fn losses_far_apart_in_time_are_none() {
    let site = Site::with(&ROOM);
    for id in ["a", "b", "c"] {
        site.lose(id);
        site.clock.advance(QUIET);
        assert_eq!(site.list().await, []);
    }
}

#[tokio::test]
async fn a_slow_collapse_is_judged_after_a_minute_at_the_latest() {
    let site = Site::with(&ROOM);
    for _ in 0..12 {
        for id in ["a", "b", "c"] {
            site.lose(id);
        }
        site.clock.advance(Duration::from_secs(5));
    }
    assert_eq!(site.list().await.len(), 1);
}
