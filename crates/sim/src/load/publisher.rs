//! One device that publishes as fast as its window allows, or at a rate, and
//! accounts for every acknowledgement.
//!
//! It is cheap on purpose, for it shares the machine with what it measures: a
//! packet is a copy of a template, packets go out in one write once half the
//! window is free, and acknowledgements are read by hand.

use std::cell::RefCell;
use std::fs::File;
use std::io::{self, BufWriter, Write as _};
use std::rc::Rc;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::{Instant, Sleep, sleep_until};

use super::report::{Errors, Latencies};
use super::template::{Template, seq};
use crate::clock::unix_ms;

/// Where acknowledged samples are written down, as `deviceId,seq,ts`.
pub(crate) type Record = Option<Arc<Mutex<BufWriter<File>>>>;

/// What the publishers of one thread have counted together.
#[derive(Debug)]
pub(crate) struct Tally {
    pub(crate) published: u64,
    pub(crate) acknowledged: u64,
    pub(crate) refused: u64,
    pub(crate) unacknowledged: u64,
    pub(crate) resent: u64,
    pub(crate) errors: Errors,
    pub(crate) latencies: Latencies,
    pub(crate) last_ack: Option<Instant>,
}

impl Tally {
    pub(crate) fn new() -> anyhow::Result<Self> {
        Ok(Self {
            published: 0,
            acknowledged: 0,
            refused: 0,
            unacknowledged: 0,
            resent: 0,
            errors: Errors::default(),
            latencies: Latencies::new()?,
            last_ack: None,
        })
    }
}

/// How samples are stamped.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Stamps {
    /// By the clock, so much before the present, ms.
    Clock { backdate_ms: i64 },
    /// From this moment (unix ms), so far apart (ms), whatever the clock says.
    Steps { from_ms: i64, step_ms: i64 },
}

impl Stamps {
    /// The stamp of the sample `number`, where `wall_ms` is the present.
    fn of(self, number: u32, wall_ms: i64) -> i64 {
        match self {
            Self::Clock { backdate_ms } => wall_ms - backdate_ms,
            Self::Steps { from_ms, step_ms } => from_ms + i64::from(number) * step_ms,
        }
    }
}

/// When to send what.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Pace {
    /// When publishing begins.
    pub(crate) start: Instant,
    /// When it ends.
    pub(crate) stop: Instant,
    /// When waiting for acknowledgements ends.
    pub(crate) give_up: Instant,
    /// Samples of this device at most.
    pub(crate) count: u32,
    /// Time between two samples; zero for flat out.
    pub(crate) interval: Duration,
    /// Wait before the first sample, so that devices do not march in step.
    pub(crate) phase: Duration,
    /// How samples are stamped.
    pub(crate) stamps: Stamps,
}

impl Pace {
    /// How many samples should have been sent by `now`.
    fn allowed(&self, now: Instant) -> u32 {
        if now >= self.stop {
            return 0;
        }
        if self.interval.is_zero() {
            return self.count;
        }
        let Some(run) = now.checked_duration_since(self.start + self.phase) else {
            return 0;
        };
        let due = run.as_nanos() / self.interval.as_nanos() + 1;
        u32::try_from(due).unwrap_or(u32::MAX).min(self.count)
    }
}

#[derive(Debug, Clone, Copy)]
struct Slot {
    number: u32,
    ts_ms: i64,
    sent: Option<Instant>,
}

/// One publishing device.
#[derive(Debug)]
pub(crate) struct Publisher {
    device_id: String,
    template: Template,
    /// Packet id minus one is the index.
    slots: Vec<Slot>,
    free: Vec<u16>,
    refill: usize,
    next: u32,
    last_ts_ms: i64,
    pace: Pace,
    tally: Rc<RefCell<Tally>>,
    record: Record,
    input: Vec<u8>,
    output: Vec<u8>,
}

impl Publisher {
    pub(crate) fn new(
        device_id: String,
        template: Template,
        window: u16,
        pace: Pace,
        tally: Rc<RefCell<Tally>>,
        record: Record,
    ) -> Self {
        // At a rate every sample goes at its time; flat out, half a window at once.
        let refill = if pace.interval.is_zero() {
            usize::from(window).div_ceil(2)
        } else {
            1
        };
        Self {
            device_id,
            template,
            slots: vec![
                Slot {
                    number: 0,
                    ts_ms: 0,
                    sent: None
                };
                usize::from(window)
            ],
            free: (0..window).rev().collect(),
            refill,
            next: 0,
            last_ts_ms: 0,
            pace,
            tally,
            record,
            input: Vec::new(),
            output: Vec::new(),
        }
    }

    /// Publishes on `stream` until everything is sent and acknowledged, or time is up.
    pub(crate) async fn publish_on(&mut self, stream: &mut TcpStream) -> io::Result<()> {
        self.resend();
        let mut buffer = [0_u8; 1024];
        let mut timer = Box::pin(sleep_until(self.pace.give_up));
        loop {
            let now = Instant::now();
            self.fill(now);
            if !self.output.is_empty() {
                stream.write_all(&self.output).await?;
                self.output.clear();
            }
            if self.is_done(now) {
                return Ok(());
            }
            self.set(&mut timer, now);
            tokio::select! {
                read = stream.read(&mut buffer) => match read? {
                    0 => return Err(io::ErrorKind::UnexpectedEof.into()),
                    length => self.take(&buffer[..length])?,
                },
                () = &mut timer => {}
            }
        }
    }

    /// Counts what was never acknowledged.
    pub(crate) fn finish(&self) {
        let waiting = (self.slots.len() - self.free.len()) as u64;
        self.tally.borrow_mut().unacknowledged += waiting;
    }

    fn set(&self, timer: &mut std::pin::Pin<Box<Sleep>>, now: Instant) {
        let wake = if now >= self.pace.stop {
            self.pace.give_up
        } else if self.pace.interval.is_zero()
            || self.next >= self.pace.count
            || self.free.is_empty()
        {
            self.pace.stop
        } else {
            let due = self.pace.start + self.pace.phase + self.pace.interval * self.next;
            due.min(self.pace.stop)
        };
        if timer.deadline() != wake {
            timer.as_mut().reset(wake);
        }
    }

    fn is_done(&self, now: Instant) -> bool {
        let all_sent = now >= self.pace.stop || self.next >= self.pace.count;
        (all_sent && self.free.len() == self.slots.len()) || now >= self.pace.give_up
    }

    /// Appends packets for the places that are free.
    pub(super) fn fill(&mut self, now: Instant) {
        if self.free.len() < self.refill {
            return;
        }
        let allowed = self.pace.allowed(now);
        let before = self.next;
        let wall_ms = unix_ms();
        while self.next < allowed {
            let Some(index) = self.free.pop() else {
                break;
            };
            let stamp_ms = self.pace.stamps.of(self.next, wall_ms);
            // Stamps of one device are all different, or they would be repeats.
            self.last_ts_ms = stamp_ms.max(self.last_ts_ms + 1);
            let slot = Slot {
                number: self.next,
                ts_ms: self.last_ts_ms,
                sent: Some(now),
            };
            self.slots[usize::from(index)] = slot;
            self.template
                .append(index + 1, slot.number, slot.ts_ms, &mut self.output);
            self.next += 1;
        }
        self.tally.borrow_mut().published += u64::from(self.next - before);
    }

    /// After a reconnection: appends what was not acknowledged, with the same numbers.
    fn resend(&mut self) {
        self.input.clear();
        self.output.clear();
        let mut resent = 0;
        for (index, slot) in self.slots.iter().enumerate() {
            if slot.sent.is_some() {
                let id = u16::try_from(index + 1).unwrap_or(u16::MAX);
                self.template
                    .append(id, slot.number, slot.ts_ms, &mut self.output);
                resent += 1;
            }
        }
        self.tally.borrow_mut().resent += resent;
    }

    /// Takes bytes from the broker.
    pub(super) fn take(&mut self, bytes: &[u8]) -> io::Result<()> {
        let now = Instant::now();
        // Packets rarely straddle reads; only then are bytes kept.
        if self.input.is_empty() {
            let used = self.take_packets(bytes, now)?;
            self.input.extend_from_slice(&bytes[used..]);
        } else {
            let mut input = std::mem::take(&mut self.input);
            input.extend_from_slice(bytes);
            let used = self.take_packets(&input, now)?;
            input.drain(..used);
            self.input = input;
        }
        Ok(())
    }

    /// Handles every whole packet and returns how many bytes they were.
    fn take_packets(&mut self, bytes: &[u8], now: Instant) -> io::Result<usize> {
        let mut at = 0;
        while let [kind, length, body @ ..] = &bytes[at..] {
            // Longer packets than 127 bytes are not sent to a publisher.
            if *length >= 0x80 {
                return Err(io::ErrorKind::InvalidData.into());
            }
            let Some(body) = body.get(..usize::from(*length)) else {
                break;
            };
            match (kind >> 4, body) {
                (4, [high, low, rest @ ..]) => {
                    let refused = rest.first().is_some_and(|reason| *reason >= 0x80);
                    self.acknowledged(u16::from_be_bytes([*high, *low]), refused, now)?;
                }
                (13, []) => {}
                _ => return Err(io::ErrorKind::InvalidData.into()),
            }
            at += 2 + usize::from(*length);
        }
        Ok(at)
    }

    fn acknowledged(&mut self, id: u16, refused: bool, now: Instant) -> io::Result<()> {
        let index = id.wrapping_sub(1);
        let Some(slot) = self.slots.get_mut(usize::from(index)) else {
            return Err(io::ErrorKind::InvalidData.into());
        };
        let Some(sent) = slot.sent.take() else {
            return Err(io::ErrorKind::InvalidData.into());
        };
        self.free.push(index);
        let mut tally = self.tally.borrow_mut();
        tally.last_ack = Some(now);
        tally.latencies.record(now - sent);
        if refused {
            tally.refused += 1;
            return Ok(());
        }
        tally.acknowledged += 1;
        if let Some(record) = &self.record {
            let mut record = record.lock().unwrap_or_else(PoisonError::into_inner);
            writeln!(
                record,
                "{},{},{}",
                self.device_id,
                seq(slot.number),
                slot.ts_ms
            )?;
        }
        Ok(())
    }
}
