use super::*;
use crate::clock::ManualClock;
use crate::live::LiveHub;
use crate::memory::{MemoryDirectory, MemoryEvents, MemoryIncidents};
use crate::ports::{EventQuery, EventStore};
use crate::presence::PresenceReason;

const ONLINE: EventType = EventType::DeviceOnline;
const OFFLINE: EventType = EventType::DeviceOffline;
const S: Duration = Duration::from_secs(1);

struct Site {
    tracker: PresenceTracker,
    events: Arc<EventLog>,
    store: Arc<MemoryEvents>,
    directory: Arc<MemoryDirectory>,
    clock: Arc<ManualClock>,
    strip: DeviceKey,
}

impl Site {
    fn new() -> Self {
        let directory = Arc::new(MemoryDirectory::default());
        let strip = directory.add("A-302-strip01", "A/3/302");
        Self::over(
            directory,
            Arc::default(),
            Arc::new(ManualClock::at(Timestamp::from_millis(1_000_000))),
            strip,
        )
    }

    fn over(
        directory: Arc<MemoryDirectory>,
        store: Arc<MemoryEvents>,
        clock: Arc<ManualClock>,
        strip: DeviceKey,
    ) -> Self {
        let live = Arc::new(LiveHub::new(directory.clone()));
        let events = Arc::new(EventLog::new(store.clone(), live, clock.clone()));
        let incidents = Arc::new(Incidents::new(
            Arc::new(MemoryIncidents::default()),
            directory.clone(),
            events.clone(),
            clock.clone(),
        ));
        let tracker = PresenceTracker::new(PresenceParts {
            offline_after: OfflineAfter::Auto,
            directory: directory.clone(),
            events: events.clone(),
            incidents,
            clock: clock.clone(),
            nodes: None,
        });
        Self {
            tracker,
            events,
            store,
            directory,
            clock,
            strip,
        }
    }

    /// The same site after a restart of the server.
    async fn restarted(self) -> Self {
        self.events.flush().await.unwrap();
        let again = Self::over(self.directory, self.store, self.clock, self.strip);
        again
            .tracker
            .restore(&again.events.last_presence().await.unwrap());
        again
    }

    fn hear(&self) {
        self.tracker.seen(self.strip, self.clock.now());
    }

    fn status(&self, life: Option<Life>, period_s: Option<u64>) {
        let period = period_s.map(Duration::from_secs);
        self.tracker
            .status(self.strip, life, period, self.clock.now());
    }

    /// Lets `span` pass as the server's loop would, and returns how long
    /// after its start the device was declared offline.
    fn pass(&self, span: Duration) -> Option<Duration> {
        let start = self.clock.instant();
        let mut declared = None;
        loop {
            let now = self.clock.instant();
            if self.tracker.run_due() > 0 {
                declared = Some(now.since(start));
            }
            let left = span.saturating_sub(now.since(start));
            let next = self.tracker.next_deadline();
            let step = next.map_or(left, |at| at.since(now).min(left));
            if step.is_zero() {
                return declared;
            }
            self.clock.advance(step);
        }
    }

    fn state(&self) -> PresenceState {
        self.tracker.get(self.strip).state
    }

    async fn kept(&self) -> Vec<EventType> {
        self.events.flush().await.unwrap();
        let query = EventQuery {
            limit: 100,
            ..EventQuery::default()
        };
        let mut events = self.store.list(&query).await.unwrap();
        events.sort_by_key(|event| event.ts);
        events.into_iter().map(|event| event.kind).collect()
    }
}

#[tokio::test]
async fn silence_is_declared_once_and_within_a_second_of_being_due() {
    let site = Site::new();
    assert_eq!(site.tracker.get(site.strip), Presence::NEVER);
    site.status(None, Some(5));
    assert_eq!(site.pass(15 * S - Duration::from_millis(1)), None);
    let declared = site.pass(60 * S).unwrap() + 15 * S - Duration::from_millis(1);
    assert!((15 * S..16 * S).contains(&declared), "{declared:?}");
    assert_eq!(
        site.tracker.counts(),
        PresenceCounts {
            online: 0,
            offline: 1
        }
    );
    let presence = site.tracker.get(site.strip);
    assert_eq!(presence.reason, Some(PresenceReason::Silence));
    assert_eq!(presence.last_seen, Some(Timestamp::from_millis(1_000_000)));
    assert_eq!(site.kept().await, [ONLINE, OFFLINE]);
    assert_eq!(site.tracker.next_deadline(), None);
}

#[tokio::test]
async fn whoever_keeps_talking_stays_and_costs_one_entry() {
    let site = Site::new();
    site.status(None, Some(1));
    for _ in 0..600 {
        site.hear();
        assert_eq!(site.pass(S), None);
    }
    assert_eq!(site.tracker.deadlines.len(), 1);
    assert_eq!(site.kept().await, [ONLINE]);
}

#[test]
fn a_jump_of_the_wall_clock_takes_nobody_offline_and_keeps_nobody_online() {
    let site = Site::new();
    site.hear();
    site.clock.jump_to(Timestamp::from_millis(90_000_000));
    assert_eq!(site.pass(9 * S), None);
    site.clock.jump_to(Timestamp::from_millis(5));
    assert!(site.pass(2 * S).is_some());
}

#[test]
fn nobody_is_declared_silent_while_messages_cannot_come_in_nor_in_the_grace_after() {
    let site = Site::new();
    site.hear();
    site.clock.advance(5 * S);
    site.tracker.link_lost();
    assert_eq!(site.tracker.next_deadline(), None);
    assert_eq!(site.pass(60 * S), None);
    site.tracker.link_restored();
    site.clock.advance(5 * S);
    site.tracker.link_restored();
    assert_eq!(site.pass(25 * S - Duration::from_millis(1)), None);
    assert!(site.pass(S).is_some());
}

#[test]
fn who_is_heard_after_the_link_is_back_is_judged_by_its_own_silence() {
    let site = Site::new();
    site.hear();
    site.tracker.link_lost();
    site.clock.advance(60 * S);
    site.tracker.link_restored();
    site.clock.advance(S);
    site.hear();
    assert_eq!(site.pass(9 * S), None);
    assert!(site.pass(2 * S).is_some());
}

#[test]
fn a_message_that_waited_in_a_busy_process_saves_its_device() {
    let site = Site::new();
    site.hear();
    site.clock.advance(10 * S + Duration::from_millis(400));
    assert_eq!(site.tracker.run_due(), 0);
    site.hear();
    assert_eq!(site.pass(9 * S), None);
    assert_eq!(site.state(), PresenceState::Online);
}

#[test]
fn a_shorter_period_brings_the_deadline_forward() {
    let site = Site::new();
    site.status(None, Some(300));
    site.status(None, Some(5));
    assert!(site.pass(16 * S).is_some());
}

#[test]
fn the_period_that_people_set_holds_where_the_device_tells_none() {
    let site = Site::new();
    let mut device = Device::clone(&site.directory.by_key(site.strip).unwrap());
    device.settings.period_s = Some(60);
    site.directory.put(device.clone());
    site.hear();
    assert_eq!(site.pass(179 * S), None);
    site.hear();
    device.settings.period_s = Some(5);
    site.directory.put(device);
    site.tracker.device_changed(site.strip);
    assert!(site.pass(16 * S).is_some());
}

#[tokio::test]
async fn after_a_restart_nobody_is_declared_silent_before_the_grace_is_over() {
    let site = Site::new();
    site.hear();
    let site = site.restarted().await;
    assert_eq!(site.state(), PresenceState::Online);
    assert_eq!(site.tracker.counts().online, 1);
    assert_eq!(site.pass(30 * S - Duration::from_millis(1)), None);
    assert!(site.pass(S).is_some());
    assert_eq!(site.kept().await, [ONLINE, OFFLINE]);
}

#[tokio::test]
async fn who_is_heard_in_the_grace_was_never_away() {
    let site = Site::new();
    site.hear();
    let site = site.restarted().await;
    assert_eq!(site.pass(20 * S), None);
    site.hear();
    assert_eq!(site.pass(9 * S), None);
    assert_eq!(site.kept().await, [ONLINE]);
    assert!(site.pass(2 * S).is_some(), "its own silence counts");
}

#[tokio::test]
async fn a_will_after_a_restart_is_judged_by_the_counts_reported_before() {
    let site = Site::new();
    let mut device = Device::clone(&site.directory.by_key(site.strip).unwrap());
    device.reported = Some(Arc::new(crate::device::Reported {
        boot: Some(4),
        conn: Some(2),
        ..Default::default()
    }));
    site.directory.put(device);
    site.hear();
    let site = site.restarted().await;
    site.tracker
        .will(site.strip, Some(Life { boot: 4, conn: 1 }), true);
    assert_eq!(site.state(), PresenceState::Online);
    site.tracker
        .will(site.strip, Some(Life { boot: 4, conn: 2 }), true);
    assert_eq!(site.state(), PresenceState::Offline);
}

#[tokio::test]
async fn a_broken_session_is_offline_at_once_and_a_new_message_brings_it_back() {
    let site = Site::new();
    site.tracker.session_started(site.strip, 1);
    site.hear();
    site.clock.advance(S);
    site.tracker
        .session_ended(site.strip, 1, SessionEnd::TimedOut);
    let presence = site.tracker.get(site.strip);
    assert_eq!(presence.reason, Some(PresenceReason::Timeout));
    assert_eq!(
        presence.source,
        Some(crate::presence::PresenceSource::Session)
    );
    site.clock.advance(S);
    site.hear();
    assert_eq!(site.state(), PresenceState::Online);
    assert_eq!(site.kept().await, [ONLINE, OFFLINE, ONLINE]);
}

#[test]
fn a_deleted_or_unknown_device_is_no_longer_counted_nor_heard() {
    let site = Site::new();
    site.hear();
    site.directory
        .remove(&site.directory.by_key(site.strip).unwrap().id.clone());
    site.tracker.forget(site.strip);
    site.hear();
    site.tracker.seen(DeviceKey(99), site.clock.now());
    assert_eq!(site.tracker.counts(), PresenceCounts::default());
    assert_eq!(site.pass(60 * S), None);
}
