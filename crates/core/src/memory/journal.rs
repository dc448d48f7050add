//! A journal in memory: nothing to lose, since nothing is kept.

use std::sync::Mutex;

use async_trait::async_trait;
use bytes::Bytes;
use tokio::sync::watch;

use super::lock;
use crate::ports::PortError;
use crate::ports::journal::{AppendError, Chunk, Importance, Journal, JournalReader, Receipt};

/// Takes records up to a capacity and acknowledges them at once.
#[derive(Debug)]
pub struct MemoryJournal {
    state: Mutex<State>,
    durable: watch::Sender<u64>,
    id: u64,
    capacity: usize,
    replay_end: u64,
}

#[derive(Debug, Default)]
struct State {
    chunks: Vec<Chunk>,
    used: usize,
}

impl Default for MemoryJournal {
    fn default() -> Self {
        Self::new(1 << 20)
    }
}

impl MemoryJournal {
    /// Empty, with room for `capacity` bytes.
    #[must_use]
    pub fn new(capacity: usize) -> Self {
        Self {
            state: Mutex::default(),
            durable: watch::Sender::new(0),
            id: 1,
            capacity,
            replay_end: 0,
        }
    }

    /// With an identity of its own, one of several beside each other.
    #[must_use]
    pub fn with_id(self, id: u64) -> Self {
        Self { id, ..self }
    }

    /// The same records, as the next process finds them.
    #[must_use]
    pub fn reopened(&self) -> Self {
        let state = lock(&self.state);
        let end = *self.durable.borrow();
        Self {
            state: Mutex::new(State {
                chunks: state.chunks.clone(),
                used: state.used,
            }),
            durable: watch::Sender::new(end),
            id: self.id,
            capacity: self.capacity,
            replay_end: end,
        }
    }
}

impl Journal for MemoryJournal {
    fn append(
        &self,
        record: &[u8],
        _importance: Importance,
        receipt: Option<Box<dyn Receipt>>,
    ) -> Result<(), (AppendError, Option<Box<dyn Receipt>>)> {
        let Ok(len) = u32::try_from(record.len()) else {
            return Err((AppendError::Full, receipt));
        };
        {
            let mut state = lock(&self.state);
            if state.used + record.len() > self.capacity {
                return Err((AppendError::Full, receipt));
            }
            let mut bytes = len.to_le_bytes().to_vec();
            bytes.extend_from_slice(record);
            let end = *self.durable.borrow() + bytes.len() as u64;
            state.used += record.len();
            state.chunks.push(Chunk {
                end,
                bytes: Bytes::from(bytes),
            });
            self.durable.send_replace(end);
        }
        if let Some(receipt) = receipt {
            receipt.done();
        }
        Ok(())
    }

    fn barrier(&self, receipt: Box<dyn Receipt>) {
        receipt.done();
    }
}

#[async_trait]
impl JournalReader for MemoryJournal {
    fn id(&self) -> u64 {
        self.id
    }

    fn start(&self) -> u64 {
        let state = lock(&self.state);
        let oldest = state.chunks.first();
        oldest.map_or(*self.durable.borrow(), |c| c.end - c.bytes.len() as u64)
    }

    fn replay_end(&self) -> u64 {
        self.replay_end
    }

    async fn readable(&self, from: u64) {
        let mut durable = self.durable.subscribe();
        // Cannot fail: the sender lives as long as this does.
        durable.wait_for(|durable| *durable > from).await.ok();
    }

    async fn read(&self, from: u64, max_bytes: usize) -> Result<Vec<Chunk>, PortError> {
        let state = lock(&self.state);
        let mut bytes = 0;
        let chunks = state.chunks.iter().filter(|chunk| chunk.end > from);
        Ok(chunks
            .take_while(|chunk| {
                let fits = bytes < max_bytes;
                bytes += chunk.bytes.len();
                fits
            })
            .cloned()
            .collect())
    }

    fn release(&self, up_to: u64) {
        let mut state = lock(&self.state);
        state.chunks.retain(|chunk| chunk.end > up_to);
        state.used = state.chunks.iter().map(|chunk| chunk.bytes.len()).sum();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn memory_keeps_the_contract() {
        crate::contract::journal(&MemoryJournal::default()).await;
    }
}
