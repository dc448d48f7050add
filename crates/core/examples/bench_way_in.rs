//! Times the way in, part by part, without a disk: nanoseconds of CPU per
//! sample, on Linux. Run with `cargo run --release -p dormouse-core --example bench_way_in`.

#![expect(clippy::print_stdout, reason = "a benchmark prints")]

use std::hint::black_box;
use std::sync::Arc;

use dormouse_core::clock::Timestamp;
use dormouse_core::decode::decode_telemetry;
use dormouse_core::ids::DeviceKey;
use dormouse_core::memory::{MemoryHot, MemoryJournal};
use dormouse_core::ports::hot::HotState;
use dormouse_core::ports::journal::{Chunk, JournalReader};
use dormouse_core::record::{Entry, Record};
use dormouse_core::services::ingest::{Inbound, Ingest};
use dormouse_core::topic::Channel;

const MESSAGES: u32 = 300_000;
const DEVICES: u32 = 1000;
const START_MS: i64 = 1_767_323_045_000;

fn body(n: u32) -> (DeviceKey, String) {
    let ts = START_MS + i64::from(n / DEVICES) * 5000 + i64::from(n % 17);
    let watts = f64::from(n * 7919 % 30_000) / 10.0;
    let json = format!(
        r#"{{"ts":{ts},"seq":{n},"boot":17,"powerW":{watts},"voltageV":229.8,"currentA":0.955,"energyWh":{}.6,"powerFactor":0.94,"sockets":[{{"socketId":1,"powerW":{watts},"energyWh":8000.2}}]}}"#,
        12_000 + n / DEVICES
    );
    (DeviceKey(n % DEVICES), json)
}

fn time(what: &str, work: impl FnOnce() -> u64) {
    let start = cpu_ns();
    let count = work();
    let nanos = (cpu_ns() - start) / count.max(1);
    println!("{what:32} {nanos:6} ns");
}

/// What this thread has run so far; other load on the machine does not count.
fn cpu_ns() -> u64 {
    let stat = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
    let ran = stat.split_whitespace().next();
    ran.and_then(|ns| ns.parse().ok()).unwrap_or(0)
}

#[tokio::main(flavor = "current_thread")]
async fn main() {
    let bodies: Vec<_> = (0..MESSAGES).map(body).collect();
    let now = Timestamp::from_millis(START_MS + 3_600_000);
    println!("bodies of {} bytes, per message:", bodies[0].1.len());
    time("decode", || {
        for (_, body) in &bodies {
            black_box(decode_telemetry(body.as_bytes(), now).is_ok());
        }
        MESSAGES.into()
    });

    let journal = Arc::new(MemoryJournal::new(usize::MAX));
    let hot = Arc::new(MemoryHot::default());
    let ingest = Ingest::new(journal.clone(), hot, Arc::new(()));
    time("decode, ring, journal in memory", || {
        for (device, body) in &bodies {
            let message = Inbound {
                device: *device,
                channel: Channel::Telemetry,
                payload: body.as_bytes(),
                retained: false,
                will: false,
                received_at: now,
            };
            ingest.receive(&message, None);
        }
        MESSAGES.into()
    });

    let chunks = journal.read(0, usize::MAX).await.unwrap_or_default();
    let bytes: usize = chunks.iter().map(|chunk| chunk.bytes.len()).sum();
    println!("{:32} {:6} bytes", "record", bytes / chunks.len());
    let mut records = Vec::new();
    time("decode a record", || {
        records.extend(chunks.iter().flat_map(Chunk::records).map(Entry::decode));
        records.len() as u64
    });

    let hot = MemoryHot::default();
    time("ring and latest", || {
        for record in records.iter().flatten() {
            if let Entry::Record(Record::Telemetry(telemetry)) = record {
                hot.put(telemetry.device, &telemetry.samples);
            }
        }
        records.len() as u64
    });
    let per_sample = hot.used() / MESSAGES as usize;
    println!("{:32} {per_sample:6} bytes", "ring, per sample");
}
