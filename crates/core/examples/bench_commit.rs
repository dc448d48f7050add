//! Times the way straight into a store that keeps nothing: seconds of CPU per
//! 100,000 samples, on Linux. Run with
//! `cargo run --release -p dormouse-core --example bench_commit`.

#![expect(clippy::print_stdout, reason = "a benchmark prints")]

use std::hint::black_box;
use std::sync::Arc;

use async_trait::async_trait;
use dormouse_core::clock::Timestamp;
use dormouse_core::ids::DeviceKey;
use dormouse_core::memory::{MemoryDirectory, MemoryHot, MemoryJournal};
use dormouse_core::ports::PortError;
use dormouse_core::ports::intake::{
    InboxVersion, IntakeBatch, IntakeStore, IntakeTransaction, StoredInbox,
};
use dormouse_core::ports::journal::{JournalPosition, Receipt};
use dormouse_core::services::ingest::Inbound;
use dormouse_core::services::intake::{Committer, CommitterParts, WayIn};
use dormouse_core::topic::Channel;

const MESSAGES: u32 = 300_000;
const DEVICES: u32 = 1000;
const START_MS: i64 = 1_767_323_045_000;

/// Keeps nothing.
#[derive(Debug)]
struct Nowhere;

#[async_trait]
impl IntakeStore for Nowhere {
    async fn begin(
        &self,
        _: &[(DeviceKey, InboxVersion)],
    ) -> Result<Box<dyn IntakeTransaction>, PortError> {
        Ok(Box::new(Self))
    }

    async fn position(&self, _: u64) -> Result<Option<JournalPosition>, PortError> {
        Ok(None)
    }

    async fn refused(&self) -> Result<u64, PortError> {
        Ok(0)
    }

    async fn wanted_again(&self, _: usize) -> Result<Vec<Box<[u8]>>, PortError> {
        Ok(Vec::new())
    }
}

#[async_trait]
impl IntakeTransaction for Nowhere {
    fn changed(&mut self) -> Vec<StoredInbox> {
        Vec::new()
    }

    async fn commit(self: Box<Self>, batch: IntakeBatch) -> Result<(), PortError> {
        black_box(batch);
        Ok(())
    }

    async fn rehearse(self: Box<Self>, batch: IntakeBatch) -> Result<(), PortError> {
        black_box(batch);
        Ok(())
    }
}

struct Done;

impl Receipt for Done {
    fn done(self: Box<Self>) {}
    fn refuse(self: Box<Self>, _: &'static str) {}
    fn failed(self: Box<Self>) {}
}

fn body(n: u32, stamp: &str) -> (DeviceKey, String) {
    let watts = f64::from(n * 7919 % 30_000) / 10.0;
    let json = format!(
        r#"{{{stamp}"seq":{n},"boot":17,"powerW":{watts},"voltageV":229.8,"currentA":0.955,"energyWh":{}.6,"powerFactor":0.94,"sockets":[]}}"#,
        12_000 + n / DEVICES
    );
    (DeviceKey(n % DEVICES), json)
}

/// What this thread has run so far; other load on the machine does not count.
fn cpu_ns() -> u64 {
    let stat = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
    let ran = stat.split_whitespace().next();
    ran.and_then(|ns| ns.parse().ok()).unwrap_or(0)
}

async fn time(what: &str, bodies: &[(DeviceKey, String)]) -> Result<(), PortError> {
    let journal = Arc::new(MemoryJournal::default());
    let committer = Committer::new(CommitterParts {
        store: Arc::new(Nowhere),
        journal: journal.clone(),
        reader: journal,
        directory: Arc::new(MemoryDirectory::default()),
        hot: Arc::new(MemoryHot::default()),
        downstream: Arc::new(()),
    });
    let received_at = Timestamp::from_millis(START_MS + 3_600_000);
    let (mut receiving, mut committing) = (0, 0);
    for batch in bodies.chunks(8_000) {
        let start = cpu_ns();
        for (device, body) in batch {
            let message = Inbound {
                device: *device,
                channel: Channel::Telemetry,
                payload: body.as_bytes(),
                retained: false,
                will: false,
                received_at,
            };
            committer.receive(&message, Some(Box::new(Done)));
        }
        let received = cpu_ns();
        while committer.step().await?.messages > 0 {}
        receiving += received - start;
        committing += cpu_ns() - received;
    }
    let per = |ns: u64| f64::from(u32::try_from(ns / bodies.len() as u64).unwrap_or(0)) / 10_000.0;
    println!(
        "{what:24} receive {:.4} s, judge and commit {:.4} s per 100,000",
        per(receiving),
        per(committing)
    );
    Ok(())
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), PortError> {
    let stamped = |n| {
        let ts = START_MS + i64::from(n / DEVICES) * 5000 + i64::from(n % 17);
        body(n, &format!(r#""ts":{ts},"#))
    };
    let stamped: Vec<_> = (0..MESSAGES).map(stamped).collect();
    let counted: Vec<_> = (0..MESSAGES).map(|n| body(n, "")).collect();
    time("with a time of their own", &stamped).await?;
    time("counted, without a time", &counted).await
}
