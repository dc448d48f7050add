//! Every database and memory give the same answers to the same writes.

use std::sync::Arc;
use std::time::Duration;

use dormouse_core::clock::Timestamp;
use dormouse_core::command::{
    Batch, BatchItem, Command, Input, Late, OnPending, Order, Refusal, Target,
};
use dormouse_core::contract::commands::{NOON, sample};
use dormouse_core::event::Origin;
use dormouse_core::ids::{BatchId, CommandId, DeviceKey};
use dormouse_core::memory::MemoryCommands;
use dormouse_core::ports::nodes::NodeId;
use dormouse_core::ports::{CommandStore, CommandWrite, IdempotencyKey};
use dormouse_core::wire::{AckStatus, Action};
use proptest::prelude::*;
use uuid::Uuid;

use super::postgres::{Postgres, PostgresCommands, testing};
use super::sqlite::SqliteCommands;

#[derive(Debug, Clone, Copy)]
enum Write {
    Insert {
        device: u32,
        socket: u64,
        replace: bool,
        key: Option<u8>,
        item: Option<u32>,
    },
    Settle(usize, bool),
    Late(usize),
    Refuse(u32),
}

fn write() -> impl Strategy<Value = Write> {
    let key = prop::option::weighted(0.3, 0..3_u8);
    let item = prop::option::weighted(0.3, 0..4_u32);
    prop_oneof![
        4 => (1..=2_u32, 0..=2_u64, any::<bool>(), key, item).prop_map(
            |(device, socket, replace, key, item)| Write::Insert { device, socket, replace, key, item }
        ),
        3 => (any::<usize>(), any::<bool>()).prop_map(|(pick, success)| Write::Settle(pick, success)),
        1 => any::<usize>().prop_map(Write::Late),
        1 => (0..4_u32).prop_map(Write::Refuse),
    ]
}

const BATCH: BatchId = BatchId(Uuid::from_u128(7));

fn batch() -> Batch {
    let one = sample(1, 1);
    let target = Target {
        device: one.device,
        device_id: one.device_id,
        socket: one.socket,
    };
    Batch {
        id: BATCH,
        order: Order::new(Action::On, None, None).unwrap(),
        on_pending: OnPending::Refuse,
        send_offline: false,
        origin: Origin::Server,
        node: NodeId::default(),
        created_at: NOON,
        targets: vec![target; 4],
    }
}

/// Turns a plan into a write; `made` are the commands inserted so far, whether
/// or not they were taken.
fn concrete(write: Write, made: &mut Vec<Command>) -> CommandWrite {
    let now = NOON + Duration::from_millis(made.len() as u64);
    match write {
        Write::Insert {
            device,
            socket,
            replace,
            key,
            item,
        } => {
            let mut command = sample(device, socket);
            command.id = CommandId(Uuid::from_u128(made.len() as u128 + 1));
            command.created_at = now;
            command.batch = item.map(|item| BatchItem { batch: BATCH, item });
            made.push(command.clone());
            CommandWrite::Insert {
                command: Arc::new(command),
                on_pending: if replace {
                    OnPending::Replace
                } else {
                    OnPending::Refuse
                },
                key: key.map(|key| used(key, now)),
            }
        }
        Write::Settle(pick, success) => {
            let mut command = picked(pick, made);
            let input = if success {
                Input::Acked(AckStatus::Success, None)
            } else {
                Input::DeadlinePassed
            };
            command.progress.apply(input, now);
            CommandWrite::Settle {
                id: command.id,
                progress: command.progress,
            }
        }
        Write::Late(pick) => CommandWrite::NoteLate {
            id: picked(pick, made).id,
            late: Late {
                outcome: AckStatus::Failed,
                at: now,
            },
        },
        Write::Refuse(item) => CommandWrite::RefuseItem {
            item: BatchItem { batch: BATCH, item },
            refusal: Refusal::Offline,
        },
    }
}

fn used(key: u8, at: Timestamp) -> IdempotencyKey {
    IdempotencyKey {
        caller: "ann".into(),
        key: key.to_string(),
        fingerprint: [key; 32],
        used_at: at,
        since: at - Duration::from_millis(4),
    }
}

fn picked(pick: usize, made: &[Command]) -> Command {
    match made.len() {
        0 => sample(9, 9),
        count => made[pick % count].clone(),
    }
}

/// Makes `plan`'s turns on `store`, beside memory.
async fn compare(plan: Vec<Vec<Write>>, store: &dyn CommandStore) {
    let memory = MemoryCommands::default();
    let create = CommandWrite::CreateBatch {
        batch: Arc::new(batch()),
        key: None,
    };
    store.commit(vec![create.clone()]).await.unwrap();
    memory.commit(vec![create]).await.unwrap();
    let mut made = Vec::new();
    for turn in plan {
        let writes: Vec<_> = turn
            .into_iter()
            .map(|write| concrete(write, &mut made))
            .collect();
        let one = store.commit(writes.clone()).await.unwrap();
        let other = memory.commit(writes).await.unwrap();
        assert_eq!(one, other);
    }
    for device in [1, 2] {
        let key = DeviceKey(device);
        let one = store.of_device(key, None, 1_000).await.unwrap();
        assert_eq!(one, memory.of_device(key, None, 1_000).await.unwrap());
    }
    let one = store.batch(BATCH).await.unwrap();
    assert_eq!(one, memory.batch(BATCH).await.unwrap());
    assert!(one.is_some());
}

fn plan() -> impl Strategy<Value = Vec<Vec<Write>>> {
    prop::collection::vec(prop::collection::vec(write(), 1..8), 1..12)
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap()
}

#[test]
fn sqlite_and_memory_answer_the_same() {
    let runtime = runtime();
    proptest!(ProptestConfig::with_cases(32), |(plan in plan())| {
        let dir = tempfile::tempdir().unwrap();
        let sqlite = SqliteCommands::open(&dir.path().join("commands.db")).unwrap();
        runtime.block_on(compare(plan, &sqlite));
    });
}

fn postgres_and_memory_answer_the_same(runtime: &tokio::runtime::Runtime, database: &Postgres) {
    let store = PostgresCommands::new(database.clone());
    let empty = "TRUNCATE commands, command_batches, command_batch_items, idempotency_keys";
    proptest!(ProptestConfig::with_cases(32), |(plan in plan())| {
        runtime.block_on(async {
            database.execute(empty, &[]).await.unwrap();
            compare(plan, &store).await;
        });
    });
}

#[test]
fn plain_postgres_and_memory_answer_the_same() {
    let runtime = runtime();
    let database = runtime.block_on(testing::plain());
    postgres_and_memory_answer_the_same(&runtime, &database);
}

#[test]
fn timescale_and_memory_answer_the_same() {
    let runtime = runtime();
    let database = runtime.block_on(testing::Engine::Timescale.open());
    postgres_and_memory_answer_the_same(&runtime, &database);
}
