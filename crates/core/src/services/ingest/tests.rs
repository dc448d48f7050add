use std::sync::Mutex;

use super::*;
use crate::clock::Timestamp;
use crate::memory::{MemoryHot, MemoryJournal};
use crate::ports::journal::JournalReader;
use crate::record::{Control, ControlBody, Entry, Record};
use crate::sample::Sample;

const STRIP: DeviceKey = DeviceKey(65);
const NOW: Timestamp = Timestamp::from_millis(1_767_323_045_000);

/// Writes down what it hears, in short.
#[derive(Default)]
struct Ears(Mutex<Vec<String>>);

impl Ears {
    fn heard(&self) -> Vec<String> {
        std::mem::take(&mut self.0.lock().unwrap())
    }

    fn note(&self, what: String) {
        self.0.lock().unwrap().push(what);
    }
}

impl Downstream for Ears {
    fn seen(&self, device: DeviceKey, _at: Timestamp) {
        self.note(format!("seen {}", device.0));
    }

    fn samples(&self, _device: DeviceKey, samples: &[Sample]) {
        let power = |s: &Sample| format!("{}:{:?}", s.socket, s.values.power_dw.unwrap_or(0));
        let all: Vec<_> = samples.iter().map(power).collect();
        self.note(format!("samples {}", all.join(" ")));
    }

    fn status(&self, _device: DeviceKey, status: &Status, _at: Timestamp) {
        self.note(format!("status {}", status.online));
    }

    fn restored(&self, _device: DeviceKey, status: &Status, _at: Timestamp) {
        self.note(format!("restored {}", status.online));
    }

    fn will(&self, _device: DeviceKey, will: &Status, _at: Timestamp) {
        self.note(format!("will {:?}", will.conn));
    }

    fn ack(&self, _device: DeviceKey, ack: &Ack, _at: Timestamp, _: Option<Box<dyn Receipt>>) {
        self.note(format!("ack {:?}", ack.status));
    }

    fn event(&self, _device: DeviceKey, event: &EventRecord, _at: Timestamp) {
        self.note(format!("event {}", event.kind));
    }
}

#[derive(Default)]
struct Answers(Mutex<Vec<&'static str>>);

struct Ticket(Arc<Answers>);

impl Receipt for Ticket {
    fn done(self: Box<Self>) {
        self.0.0.lock().unwrap().push("done");
    }

    fn refuse(self: Box<Self>, reason: &'static str) {
        self.0.0.lock().unwrap().push(reason);
    }

    fn failed(self: Box<Self>) {
        self.0.0.lock().unwrap().push("failed");
    }
}

struct Bench {
    ingest: Ingest,
    journal: Arc<MemoryJournal>,
    hot: Arc<MemoryHot>,
    ears: Arc<Ears>,
    answers: Arc<Answers>,
}

impl Bench {
    fn new() -> Self {
        Self::over(MemoryJournal::default())
    }

    fn over(journal: MemoryJournal) -> Self {
        let (journal, ears) = (Arc::new(journal), Arc::new(Ears::default()));
        let hot = Arc::new(MemoryHot::default());
        Self {
            ingest: Ingest::new(journal.clone(), hot.clone(), ears.clone()),
            journal,
            hot,
            ears,
            answers: Arc::default(),
        }
    }

    /// Sends at QoS 1 and returns the answer.
    fn send(&self, channel: Channel, body: &str) -> &'static str {
        self.send_at(channel, body, NOW)
    }

    fn send_at(&self, channel: Channel, body: &str, received_at: Timestamp) -> &'static str {
        let message = Inbound {
            device: STRIP,
            channel,
            payload: body.as_bytes(),
            retained: false,
            will: false,
            received_at,
        };
        let ticket = Box::new(Ticket(Arc::clone(&self.answers)));
        self.ingest.receive(&message, Some(ticket));
        self.answers.0.lock().unwrap().pop().unwrap()
    }

    async fn stamps(&self) -> Vec<i64> {
        let records = self.records().await;
        let stamps = records.iter().flat_map(|record| match record {
            Record::Telemetry(t) => t.samples.iter().map(|s| s.ts.as_millis()).collect(),
            Record::Control(_) => Vec::new(),
        });
        stamps.collect()
    }

    async fn records(&self) -> Vec<Record> {
        let chunks = self.journal.read(0, usize::MAX).await.unwrap();
        let records = chunks.iter().flat_map(|c| c.records());
        records
            .map(|r| match Entry::decode(r).unwrap() {
                Entry::Record(record) => record,
                Entry::Readings(readings) => panic!("not judged: {readings:?}"),
            })
            .collect()
    }
}

#[tokio::test]
async fn a_sample_is_journalled_kept_hot_and_heard() {
    let bench = Bench::new();
    let body = r#"{"ts":1767323045123,"powerW":205.3,"sockets":[{"socketId":1,"powerW":180.1}]}"#;
    assert_eq!(bench.send(Channel::Telemetry, body), "done");
    assert_eq!(bench.ears.heard(), ["seen 65", "samples 0:2053 1:1801"]);
    assert_eq!(bench.stamps().await, [1_767_323_045_123; 2]);
    let latest = bench.hot.latest(&[STRIP]).await.unwrap().concat();
    assert_eq!(latest.len(), 2);
    assert_eq!(bench.ingest.totals().samples, 2);
}

#[tokio::test]
async fn samples_without_a_time_get_the_arrival_or_the_next_millisecond() {
    let bench = Bench::new();
    for body in [
        r#"{"powerW":1}"#,
        r#"{"powerW":2}"#,
        r#"{"powerW":3,"ageMs":0}"#,
    ] {
        assert_eq!(bench.send(Channel::Telemetry, body), "done");
    }
    let earlier = Timestamp::from_millis(NOW.as_millis() - 60_000);
    bench.send_at(Channel::Telemetry, r#"{"powerW":4}"#, earlier);
    bench.send(Channel::Telemetry, r#"{"powerW":5,"ageMs":1500}"#);
    let now = NOW.as_millis();
    let expected = [now, now + 1, now + 2, now + 3, now - 1500];
    assert_eq!(
        bench.stamps().await,
        expected,
        "the clock going back moves none back"
    );
}

#[tokio::test]
async fn a_repeat_without_a_stamp_is_acknowledged_and_changes_nothing() {
    let bench = Bench::new();
    let body = r#"{"boot":3,"seq":9,"powerW":1}"#;
    assert_eq!(bench.send(Channel::Telemetry, body), "done");
    bench.ears.heard();
    assert_eq!(bench.send(Channel::Telemetry, body), "done");
    assert_eq!(bench.ears.heard(), ["seen 65"]);
    let array =
        r#"[{"boot":3,"seq":9,"ageMs":10,"powerW":1},{"boot":3,"seq":10,"ageMs":5,"powerW":2}]"#;
    assert_eq!(bench.send(Channel::Telemetry, array), "done");
    assert_eq!(bench.ears.heard(), ["seen 65", "samples 0:20"]);
    assert_eq!(bench.stamps().await.len(), 2);
    assert_eq!(bench.ingest.totals().repeats, 1);
}

#[tokio::test]
async fn a_sequence_without_a_boot_count_orders_nothing() {
    let bench = Bench::new();
    for _ in 0..2 {
        bench.send(Channel::Telemetry, r#"{"seq":9,"powerW":1}"#);
    }
    assert_eq!(
        bench.stamps().await.len(),
        2,
        "a restart begins at the same numbers"
    );
}

#[tokio::test]
async fn what_the_journal_did_not_keep_is_new_when_it_comes_again() {
    let bench = Bench::over(MemoryJournal::new(20));
    let body = r#"{"boot":1,"seq":1,"powerW":1}"#;
    assert_eq!(bench.send(Channel::Telemetry, body), "done");
    let next = r#"{"boot":1,"seq":2,"powerW":1}"#;
    assert_eq!(bench.send(Channel::Telemetry, next), "failed");
    let end = bench.journal.read(0, 1).await.unwrap()[0].end;
    bench.journal.release(end);
    assert_eq!(bench.send(Channel::Telemetry, next), "done");
    assert_eq!(bench.stamps().await.len(), 1, "kept at the second attempt");
    assert_eq!(bench.ingest.totals().unacknowledged, 1);
}

#[tokio::test]
async fn without_a_receipt_what_does_not_fit_is_dropped_and_counted() {
    let bench = Bench::over(MemoryJournal::new(0));
    let message = Inbound {
        device: STRIP,
        channel: Channel::Telemetry,
        payload: br#"{"powerW":1}"#,
        retained: false,
        will: false,
        received_at: NOW,
    };
    bench.ingest.receive(&message, None);
    assert_eq!(bench.ingest.totals().dropped, 1);
    assert_eq!(bench.ears.heard(), ["seen 65"], "alive it is all the same");
}

#[tokio::test]
async fn a_refused_body_is_acknowledged_counted_and_shown() {
    let bench = Bench::new();
    let answer = bench.send(Channel::Telemetry, r#"{"powerW":"much"}"#);
    assert_eq!(answer, "wrong-type");
    bench.send(Channel::Status, "nonsense");
    bench.send(Channel::Status, "{");
    assert!(bench.ears.heard().is_empty());
    assert!(bench.records().await.is_empty());
    let refusals = bench.ingest.refusals(STRIP).unwrap();
    let counts: Vec<_> = refusals.counts().collect();
    assert_eq!(counts, [(Reason::MalformedJson, 2), (Reason::WrongType, 1)]);
    assert_eq!(refusals.last.channel, Channel::Status);
    assert_eq!(bench.ingest.refusals(DeviceKey(1)), None);
}

#[tokio::test]
async fn reported_state_is_applied_only_when_newer() {
    let bench = Bench::new();
    let status = |boot: u32, seq: u32| {
        let body = format!(r#"{{"online":true,"boot":{boot},"seq":{seq}}}"#);
        assert_eq!(bench.send(Channel::Status, &body), "done");
        bench.ears.heard().len() == 2
    };
    assert!(status(5, 1));
    assert!(status(5, 3));
    assert!(!status(5, 3), "a repeat");
    assert!(!status(5, 2), "older");
    assert!(status(6, 1), "a new start");
    assert!(!status(5, 4), "late from the start before");
    assert!(status(1, 1), "a wiped device begins again");
    bench.send(Channel::Status, r#"{"online":true}"#);
    assert_eq!(
        bench.ears.heard().len(),
        2,
        "without a sequence, arrival decides"
    );
}

#[tokio::test]
async fn acks_and_events_are_heard_once() {
    let bench = Bench::new();
    let ack = r#"{"cmdId":"019b7a9c-0000-7000-8000-000000000001","status":"success","on":true}"#;
    let event = r#"{"ts":1767323045123,"type":"overload","socketId":2,"data":{"powerW":2810}}"#;
    let counted = r#"{"boot":1,"seq":4,"type":"button"}"#;
    for (channel, body) in [
        (Channel::Ack, ack),
        (Channel::Event, event),
        (Channel::Event, counted),
    ] {
        assert_eq!(bench.send(channel, body), "done");
        assert_eq!(bench.ears.heard().len(), 2);
        assert_eq!(bench.send(channel, body), "done");
        assert_eq!(bench.ears.heard(), ["seen 65"]);
    }
    assert_eq!(bench.records().await.len(), 3);
}

#[tokio::test]
async fn a_stamped_event_has_one_id_however_often_it_is_taken() {
    let body = r#"{"ts":1767323045123,"type":"overload","socketId":2,"data":{"powerW":2810}}"#;
    let mut ids = Vec::new();
    for _ in 0..2 {
        let bench = Bench::new();
        bench.send(Channel::Event, body);
        for record in bench.records().await {
            if let Record::Control(Control {
                body: ControlBody::Event(event),
                ..
            }) = record
            {
                ids.push(event.id);
            }
        }
    }
    assert_eq!(ids.len(), 2);
    assert_eq!(ids[0], ids[1]);
}

#[tokio::test]
async fn a_will_goes_to_presence_alone_and_a_farewell_is_no_sign_of_life() {
    let bench = Bench::new();
    let will = Inbound {
        device: STRIP,
        channel: Channel::Status,
        payload: br#"{"online":false,"boot":17,"conn":3}"#,
        retained: false,
        will: true,
        received_at: NOW,
    };
    bench.ingest.receive(&will, None);
    assert_eq!(bench.ears.heard(), ["will Some(3)"]);
    assert!(bench.records().await.is_empty());
    bench.send(Channel::Status, r#"{"online":false}"#);
    assert_eq!(bench.ears.heard(), ["status false"]);
}

#[test]
fn a_retained_replay_restores_what_was_reported_and_is_no_sign_of_life() {
    let bench = Bench::new();
    let replay = |body: &str| {
        let message = Inbound {
            device: STRIP,
            channel: Channel::Status,
            payload: body.as_bytes(),
            retained: true,
            will: false,
            received_at: NOW,
        };
        let ticket = Box::new(Ticket(Arc::clone(&bench.answers)));
        bench.ingest.receive(&message, Some(ticket));
        bench.answers.0.lock().unwrap().pop().unwrap()
    };
    assert_eq!(replay(r#"{"online":false,"boot":17,"conn":3}"#), "done");
    assert_eq!(bench.ears.heard(), Vec::<String>::new());
    let report = r#"{"online":true,"boot":17,"conn":3,"seq":4,"sockets":[]}"#;
    assert_eq!(replay(report), "done");
    assert_eq!(bench.ears.heard(), ["restored true"]);
    assert_eq!(replay(report), "done");
    assert_eq!(bench.ears.heard(), Vec::<String>::new());
}

#[tokio::test]
async fn a_revoked_device_is_refused_whatever_it_sends() {
    let bench = Bench::new();
    bench.ingest.set_revoked(STRIP, true);
    assert_eq!(bench.send(Channel::Telemetry, r#"{"powerW":1}"#), "revoked");
    assert_eq!(bench.send(Channel::Event, r#"{"type":"boot"}"#), "revoked");
    assert!(bench.ears.heard().is_empty());
    bench.ingest.set_revoked(STRIP, false);
    assert_eq!(bench.send(Channel::Telemetry, r#"{"powerW":1}"#), "done");
}
