//! What waits for the store: in memory while it answers, in the journal while
//! it does not.

use std::collections::{HashMap, VecDeque};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

use crate::decode::Reason;
use crate::ports::journal::{Importance, Journal, Receipt};
use crate::record::{Control, Entry, Record};

/// Answers the sender of a message, where one waits.
pub(super) type Answer = Option<Box<dyn Receipt>>;

/// Messages that may wait in memory; what comes on top is turned away, unless
/// its reader heeds [`ROOM_MESSAGES`].
const MESSAGES_MAX: usize = 32_768;
/// Bytes of bodies that may wait in memory, likewise.
const BYTES_MAX: usize = 6 << 20;
/// Readers who can wait read on while fewer messages wait than this.
const ROOM_MESSAGES: usize = MESSAGES_MAX / 2;
/// Readers who can wait read on while fewer bytes wait than this.
const ROOM_BYTES: usize = BYTES_MAX / 2;
/// Samples that one batch takes, give or take a message.
pub(super) const BATCH_SAMPLES: usize = 10_000;
/// Bytes of bodies that one batch takes, give or take a message.
const BATCH_BYTES: usize = 3 << 20;

/// One message on its way to the store.
pub(super) struct Item {
    /// What it says.
    pub(super) entry: Entry,
    /// Answers its sender.
    pub(super) receipt: Answer,
    /// How long its body was.
    pub(super) bytes: usize,
}

/// The messages of one transaction, side by side with who waits for them.
#[derive(Default)]
pub(super) struct Batch {
    pub(super) entries: Vec<Entry>,
    pub(super) answers: Vec<Answer>,
}

/// Which way messages go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Mode {
    /// Straight to the store.
    Direct,
    /// Into the journal, and to the store from there.
    Journal,
}

/// Where messages wait.
pub(super) struct Lane {
    journal: Arc<dyn Journal>,
    state: Mutex<State>,
    has_room: AtomicBool,
    room: Notify,
    filled: Notify,
}

struct State {
    mode: Mode,
    waiting: VecDeque<Item>,
    bytes: usize,
    verdicts: HashMap<u64, Verdict>,
    last_verdict: u64,
    /// Entries that this process put into the journal.
    journalled: u64,
}

/// An ack whose consequences are not written yet.
struct Verdict {
    control: Control,
    receipt: Box<dyn Receipt>,
}

/// How much waits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Backlog {
    pub(super) mode: Mode,
    pub(super) messages: usize,
    pub(super) journalled: u64,
    pub(super) journal_full: bool,
}

impl Lane {
    pub(super) fn new(journal: Arc<dyn Journal>, mode: Mode) -> Self {
        Self {
            journal,
            state: Mutex::new(State {
                mode,
                waiting: VecDeque::new(),
                bytes: 0,
                verdicts: HashMap::new(),
                last_verdict: 0,
                journalled: 0,
            }),
            has_room: AtomicBool::new(true),
            room: Notify::new(),
            filled: Notify::new(),
        }
    }

    /// Takes `item`, or gives its receipt back where there is no room.
    pub(super) fn push(&self, item: Item) -> Result<(), Answer> {
        let mut state = self.state();
        let pushed = match state.mode {
            Mode::Journal => self.journal(&mut state, item),
            Mode::Direct => self.queue(&mut state, item),
        };
        self.look_for_room(&state);
        pushed
    }

    /// Takes an ack whose receipt is to be resolved when its consequences are
    /// written: returns the receipt that whoever writes them resolves, or none
    /// where the journal answers for it.
    pub(super) fn push_verdict(
        self: &Arc<Self>,
        control: Control,
        receipt: Box<dyn Receipt>,
        bytes: usize,
    ) -> Result<Answer, Answer> {
        let entry = Entry::Record(Record::Control(control.clone()));
        let mut state = self.state();
        if state.mode == Mode::Journal {
            let item = Item {
                entry,
                receipt: Some(receipt),
                bytes,
            };
            let pushed = self.journal(&mut state, item);
            self.look_for_room(&state);
            return pushed.map(|()| None);
        }
        // Only its mark in the inbox waits here: where there is no room for
        // that, the next report decides alone.
        let mark = Item {
            entry,
            receipt: None,
            bytes,
        };
        self.queue(&mut state, mark).ok();
        state.last_verdict += 1;
        let id = state.last_verdict;
        state.verdicts.insert(id, Verdict { control, receipt });
        drop(state);
        let lane = Arc::clone(self);
        Ok(Some(Box::new(VerdictReceipt { lane, id })))
    }

    fn queue(&self, state: &mut State, item: Item) -> Result<(), Answer> {
        if state.waiting.len() >= MESSAGES_MAX || state.bytes >= BYTES_MAX {
            return Err(item.receipt);
        }
        let was_idle = state.waiting.is_empty();
        state.bytes += item.bytes;
        state.waiting.push_back(item);
        if was_idle {
            self.filled.notify_one();
        }
        Ok(())
    }

    /// Into the journal; where that has no room, or others wait for room
    /// already, it waits here.
    fn journal(&self, state: &mut State, item: Item) -> Result<(), Answer> {
        if !state.waiting.is_empty() {
            return self.queue(state, item);
        }
        match self.append(state, item) {
            Ok(()) => Ok(()),
            Err(item) => self.queue(state, *item),
        }
    }

    fn append(&self, state: &mut State, item: Item) -> Result<(), Box<Item>> {
        let Some(bytes) = item.entry.encode() else {
            if let Some(receipt) = item.receipt {
                receipt.refuse(Reason::WrongType.name());
            }
            return Ok(());
        };
        let importance = match item.receipt {
            Some(_) => Importance::Acknowledged,
            None => Importance::Droppable,
        };
        match self.journal.append(&bytes, importance, item.receipt) {
            Ok(()) => {
                state.journalled += 1;
                Ok(())
            }
            Err((_, receipt)) => Err(Box::new(Item { receipt, ..item })),
        }
    }

    /// Brings into the journal what waits for room there.
    pub(super) fn pour(&self) {
        let mut state = self.state();
        if state.mode == Mode::Journal {
            self.pour_into(&mut state);
            self.look_for_room(&state);
        }
    }

    /// Returns how many it took.
    fn pour_into(&self, state: &mut State) -> usize {
        let mut poured = 0;
        while let Some(item) = state.waiting.pop_front() {
            let bytes = item.bytes;
            if let Err(item) = self.append(state, item) {
                state.waiting.push_front(*item);
                break;
            }
            state.bytes -= bytes;
            poured += 1;
        }
        poured
    }

    /// Moves the next batch's messages into `batch`.
    pub(super) fn take(&self, batch: &mut Batch) {
        let mut state = self.state();
        let (mut samples, mut bytes) = (0, 0);
        while samples < BATCH_SAMPLES
            && bytes < BATCH_BYTES
            && let Some(item) = state.waiting.pop_front()
        {
            samples += weight(&item.entry);
            bytes += item.bytes;
            batch.entries.push(item.entry);
            batch.answers.push(item.receipt);
        }
        state.bytes -= bytes;
        self.look_for_room(&state);
    }

    /// Sends everything that waits, `flight` first, and everything that comes
    /// from now on into the journal. Returns how many of `flight` it took; what
    /// finds no room waits on.
    pub(super) fn spill(&self, flight: Batch) -> usize {
        let mut state = self.state();
        state.mode = Mode::Journal;
        let flying = flight.entries.len();
        let flight = flight.entries.into_iter().zip(flight.answers);
        for (entry, receipt) in flight.rev() {
            state.waiting.push_front(Item {
                entry,
                receipt,
                bytes: 0,
            });
        }
        for (_, verdict) in std::mem::take(&mut state.verdicts) {
            state.waiting.push_back(Item {
                entry: Entry::Record(Record::Control(verdict.control)),
                receipt: Some(verdict.receipt),
                bytes: 0,
            });
        }
        let poured = self.pour_into(&mut state);
        self.look_for_room(&state);
        poured.min(flying)
    }

    /// The store has `replayed` of the entries that this process put into the
    /// journal: opens the direct way again if those are all.
    pub(super) fn drained(&self, replayed: u64) -> bool {
        let mut state = self.state();
        let all = state.journalled == replayed;
        if all {
            state.mode = Mode::Direct;
            // What waited for the journal is next.
            self.filled.notify_one();
        } else {
            self.pour_into(&mut state);
        }
        self.look_for_room(&state);
        all
    }

    pub(super) fn backlog(&self) -> Backlog {
        let state = self.state();
        Backlog {
            mode: state.mode,
            messages: state.waiting.len(),
            journalled: state.journalled,
            journal_full: state.mode == Mode::Journal && !state.waiting.is_empty(),
        }
    }

    /// Waits until something may wait here.
    pub(super) async fn filled(&self) {
        let waits = !self.state().waiting.is_empty();
        if !waits {
            self.filled.notified().await;
        }
    }

    pub(super) fn has_room(&self) -> bool {
        self.has_room.load(Ordering::Relaxed)
    }

    /// Waits until there is room.
    pub(super) async fn room(&self) {
        loop {
            let room = self.room.notified();
            tokio::pin!(room);
            room.as_mut().enable();
            if self.has_room() {
                return;
            }
            room.await;
        }
    }

    fn look_for_room(&self, state: &State) {
        let has_room = state.waiting.len() < ROOM_MESSAGES && state.bytes < ROOM_BYTES;
        if self.has_room.swap(has_room, Ordering::Relaxed) != has_room && has_room {
            self.room.notify_waiters();
        }
    }

    fn verdict(&self, id: u64) -> Answer {
        let mut state = self.state();
        state.verdicts.remove(&id).map(|verdict| verdict.receipt)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Nothing panics between two changes, so a poisoned lock holds good data.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// How many samples a message may come to.
fn weight(entry: &Entry) -> usize {
    match entry {
        Entry::Record(Record::Telemetry(telemetry)) => telemetry.samples.len(),
        Entry::Record(Record::Control(_)) => 1,
        Entry::Readings(readings) => readings.readings.iter().map(|it| it.values.len()).sum(),
    }
}

/// Answers for an ack, unless the journal has done so meanwhile.
struct VerdictReceipt {
    lane: Arc<Lane>,
    id: u64,
}

impl Receipt for VerdictReceipt {
    fn done(self: Box<Self>) {
        if let Some(receipt) = self.lane.verdict(self.id) {
            receipt.done();
        }
    }

    fn refuse(self: Box<Self>, reason: &'static str) {
        if let Some(receipt) = self.lane.verdict(self.id) {
            receipt.refuse(reason);
        }
    }

    fn failed(self: Box<Self>) {
        if let Some(receipt) = self.lane.verdict(self.id) {
            receipt.failed();
        }
    }
}

impl Drop for VerdictReceipt {
    fn drop(&mut self) {
        if let Some(receipt) = self.lane.verdict(self.id) {
            receipt.failed();
        }
    }
}
