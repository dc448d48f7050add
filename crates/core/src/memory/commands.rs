//! Commands, batches and keys in maps.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::{Arc, Mutex};

use async_trait::async_trait;

use super::lock;
use crate::clock::Timestamp;
use crate::command::{
    Batch, BatchItem, BatchReport, Cancellation, Command, Input, ItemResult, OnPending, Refusal,
    Step,
};
use crate::ids::{BatchId, CommandId, DeviceKey, SocketId};
use crate::ports::nodes::NodeId;
use crate::ports::{
    CommandSink, CommandStore, CommandWrite, CommandWritten, IdempotencyKey, Made, NotSent,
    OutboundCommand, PortError, Remembered,
};

/// Commands in maps; lost when the process ends.
#[derive(Debug, Default)]
pub struct MemoryCommands(Mutex<Tables>);

#[derive(Debug, Default)]
struct Tables {
    commands: BTreeMap<CommandId, Command>,
    batches: HashMap<BatchId, (Arc<Batch>, Vec<Item>)>,
    keys: HashMap<(Arc<str>, String), (Timestamp, Remembered)>,
}

#[derive(Debug, Clone, Copy)]
enum Item {
    Waiting,
    Refused(Refusal),
    Sent(CommandId),
}

impl Tables {
    fn write(&mut self, write: CommandWrite) -> CommandWritten {
        match write {
            CommandWrite::Insert {
                command,
                on_pending,
                key,
            } => self.insert(Arc::unwrap_or_clone(command), on_pending, key),
            CommandWrite::Settle { id, progress } => match self.commands.get_mut(&id) {
                Some(command) if command.is_pending() => {
                    command.progress = progress;
                    CommandWritten::Done
                }
                other => CommandWritten::Unchanged(other.map(|it| Box::new(it.clone()))),
            },
            CommandWrite::NoteLate { id, late } => match self.commands.get_mut(&id) {
                Some(command) if !command.is_pending() && command.progress.late.is_none() => {
                    command.progress.late = Some(late);
                    CommandWritten::Done
                }
                other => CommandWritten::Unchanged(other.map(|it| Box::new(it.clone()))),
            },
            CommandWrite::CreateBatch { batch, key } => {
                if let Some(found) = self.claim(key, Made::Batch(batch.id)) {
                    return CommandWritten::Remembered(found);
                }
                let items = vec![Item::Waiting; batch.targets.len()];
                self.batches.insert(batch.id, (batch, items));
                CommandWritten::Done
            }
            CommandWrite::RefuseItem { item, refusal } => {
                self.answer(item, Item::Refused(refusal));
                CommandWritten::Done
            }
        }
    }

    fn insert(
        &mut self,
        command: Command,
        on_pending: OnPending,
        key: Option<IdempotencyKey>,
    ) -> CommandWritten {
        if let Some(found) = self.find(key.as_ref()) {
            return CommandWritten::Remembered(found);
        }
        let mut met: Vec<(SocketId, CommandId)> = self
            .commands
            .values()
            .filter(|it| it.device == command.device)
            .filter(|it| it.is_pending() && it.claims(command.socket))
            .map(|it| (it.socket, it.id))
            .collect();
        met.sort_unstable();
        let met: Vec<CommandId> = met.into_iter().map(|(_, id)| id).collect();
        match on_pending {
            OnPending::Refuse if !met.is_empty() => {
                if let Some(item) = command.batch {
                    self.answer(item, Item::Refused(Refusal::Pending));
                }
                let pending = met.iter().filter_map(|id| self.commands.get(id).cloned());
                return CommandWritten::Busy(pending.collect());
            }
            OnPending::Refuse | OnPending::Replace => {}
        }
        let mut replaced = Vec::new();
        for id in met {
            let Some(old) = self.commands.get_mut(&id) else {
                continue;
            };
            let why = Cancellation::Replaced(command.id);
            let step = old
                .progress
                .apply(Input::Cancelled(why), command.created_at);
            if step == Step::Settled {
                replaced.push(old.clone());
            }
        }
        self.claim(key, Made::Command(command.id));
        if let Some(item) = command.batch {
            self.answer(item, Item::Sent(command.id));
        }
        self.commands.insert(command.id, command);
        if replaced.is_empty() {
            CommandWritten::Done
        } else {
            CommandWritten::Replaced(replaced)
        }
    }

    fn find(&self, key: Option<&IdempotencyKey>) -> Option<Remembered> {
        let key = key?;
        let (used_at, found) = self.keys.get(&(Arc::clone(&key.caller), key.key.clone()))?;
        (*used_at >= key.since).then_some(*found)
    }

    /// Remembers what a key was used for, unless it was used before.
    fn claim(&mut self, key: Option<IdempotencyKey>, made: Made) -> Option<Remembered> {
        if let Some(found) = self.find(key.as_ref()) {
            return Some(found);
        }
        let key = key?;
        let remembered = Remembered {
            fingerprint: key.fingerprint,
            made,
        };
        self.keys
            .insert((key.caller, key.key), (key.used_at, remembered));
        None
    }

    fn answer(&mut self, place: BatchItem, answer: Item) {
        let items = self.batches.get_mut(&place.batch).map(|(_, items)| items);
        if let Some(item) = items.and_then(|it| it.get_mut(place.item as usize))
            && matches!(item, Item::Waiting)
        {
            *item = answer;
        }
    }
}

#[async_trait]
impl CommandStore for MemoryCommands {
    async fn commit(&self, writes: Vec<CommandWrite>) -> Result<Vec<CommandWritten>, PortError> {
        let mut tables = lock(&self.0);
        Ok(writes.into_iter().map(|it| tables.write(it)).collect())
    }

    async fn get(&self, ids: &[CommandId]) -> Result<Vec<Command>, PortError> {
        let tables = lock(&self.0);
        let found = ids.iter().filter_map(|id| tables.commands.get(id));
        Ok(found.cloned().collect())
    }

    async fn pending(&self) -> Result<Vec<Command>, PortError> {
        let tables = lock(&self.0);
        let pending = tables.commands.values().filter(|it| it.is_pending());
        Ok(pending.cloned().collect())
    }

    async fn pending_of(&self, devices: &[DeviceKey]) -> Result<Vec<Command>, PortError> {
        let tables = lock(&self.0);
        let pending = tables.commands.values().filter(|it| it.is_pending());
        Ok(pending
            .filter(|it| devices.contains(&it.device))
            .cloned()
            .collect())
    }

    async fn of_device(
        &self,
        device: DeviceKey,
        before: Option<CommandId>,
        limit: u32,
    ) -> Result<Vec<Command>, PortError> {
        let tables = lock(&self.0);
        let newest_first = tables.commands.values().rev();
        Ok(newest_first
            .filter(|it| it.device == device && before.is_none_or(|before| it.id < before))
            .take(limit as usize)
            .cloned()
            .collect())
    }

    async fn remembered(
        &self,
        caller: &str,
        key: &str,
        since: Timestamp,
    ) -> Result<Option<Remembered>, PortError> {
        let tables = lock(&self.0);
        let found = tables.keys.get(&(Arc::from(caller), key.to_owned()));
        Ok(found
            .filter(|(used_at, _)| *used_at >= since)
            .map(|(_, found)| *found))
    }

    async fn batch(&self, id: BatchId) -> Result<Option<BatchReport>, PortError> {
        let tables = lock(&self.0);
        let Some((batch, items)) = tables.batches.get(&id) else {
            return Ok(None);
        };
        let result = |item: &Item| match item {
            Item::Waiting => ItemResult::Waiting,
            Item::Refused(refusal) => ItemResult::Refused(*refusal),
            Item::Sent(id) => tables.commands.get(id).map_or(ItemResult::Waiting, |it| {
                ItemResult::Sent(Box::new(it.clone()))
            }),
        };
        Ok(Some(BatchReport {
            batch: (**batch).clone(),
            results: items.iter().map(result).collect(),
        }))
    }

    async fn nodes_with_waiting_items(&self) -> Result<Vec<NodeId>, PortError> {
        let waits = |items: &[Item]| items.iter().any(|it| matches!(it, Item::Waiting));
        let tables = lock(&self.0);
        let waiting = tables.batches.values().filter(|(_, items)| waits(items));
        let nodes: BTreeSet<NodeId> = waiting.map(|(batch, _)| batch.node.clone()).collect();
        Ok(nodes.into_iter().collect())
    }

    async fn interrupt_batches(&self, nodes: &[NodeId]) -> Result<usize, PortError> {
        let mut interrupted = 0;
        for (batch, items) in lock(&self.0).batches.values_mut() {
            if !nodes.contains(&batch.node) {
                continue;
            }
            for item in items.iter_mut().filter(|it| matches!(it, Item::Waiting)) {
                *item = Item::Refused(Refusal::Interrupted);
                interrupted += 1;
            }
        }
        Ok(interrupted)
    }

    async fn purge(
        &self,
        commands_before: Timestamp,
        keys_before: Timestamp,
        limit: u32,
    ) -> Result<usize, PortError> {
        let limit = limit as usize;
        let mut tables = lock(&self.0);
        let old: Vec<CommandId> = tables
            .commands
            .values()
            .filter(|it| !it.is_pending() && it.created_at < commands_before)
            .map(|it| it.id)
            .take(limit)
            .collect();
        for id in &old {
            tables.commands.remove(id);
        }
        let old_batches: Vec<BatchId> = tables
            .batches
            .iter()
            .filter(|(_, (batch, items))| {
                let waits = |item: &Item| match item {
                    Item::Waiting => true,
                    Item::Refused(_) => false,
                    Item::Sent(id) => tables.commands.contains_key(id),
                };
                batch.created_at < commands_before && !items.iter().any(waits)
            })
            .map(|(id, _)| *id)
            .take(limit)
            .collect();
        let forgotten_batches = old_batches.len();
        for id in old_batches {
            tables.batches.remove(&id);
        }
        let old_keys: Vec<_> = tables
            .keys
            .iter()
            .filter(|(_, (used_at, _))| *used_at < keys_before)
            .map(|(key, _)| key.clone())
            .take(limit)
            .collect();
        let forgotten = old.len() + forgotten_batches + old_keys.len();
        for key in old_keys {
            tables.keys.remove(&key);
        }
        Ok(forgotten)
    }
}

/// Remembers what was published instead of sending it.
#[derive(Debug, Default)]
pub struct Outbox(Mutex<Vec<OutboundCommand>>);

impl Outbox {
    /// Takes everything published so far.
    pub fn drain(&self) -> Vec<OutboundCommand> {
        std::mem::take(&mut *lock(&self.0))
    }
}

impl CommandSink for Outbox {
    fn publish(&self, command: &OutboundCommand) -> Result<(), NotSent> {
        lock(&self.0).push(command.clone());
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn keeps_the_contract() {
        crate::contract::commands::command_store(&MemoryCommands::default()).await;
    }
}
