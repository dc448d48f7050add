//! The contract of batches.

use std::sync::Arc;

use uuid::Uuid;

use super::{NOON, add, insert, key, one, sample, settle, settled};
use crate::command::{Batch, BatchItem, Input, ItemResult, OnPending, Order, Refusal, Target};
use crate::event::Origin;
use crate::ids::{BatchId, DeviceId, DeviceKey, SocketId, uuid_v7};
use crate::ports::nodes::NodeId;
use crate::ports::{CommandStore, CommandWrite, CommandWritten, Made};
use crate::wire::{AckStatus, Action};

pub(super) async fn run(store: &dyn CommandStore) {
    a_batch_reports_each_of_its_items(store).await;
    waiting_items_are_interrupted(store).await;
}

fn batch(device: u32, sockets: &[u64]) -> Batch {
    let target = |socket: &u64| Target {
        device: DeviceKey(device),
        device_id: DeviceId::parse(&format!("strip-{device}")).unwrap(),
        socket: SocketId::parse(*socket).unwrap(),
    };
    Batch {
        id: BatchId(uuid_v7(NOON)),
        order: Order::new(Action::Off, None, Some(8_000)).unwrap(),
        on_pending: OnPending::Replace,
        send_offline: true,
        origin: Origin::User {
            name: "ann".to_owned(),
        },
        node: NodeId(format!("node-{device}").into()),
        created_at: NOON,
        targets: sockets.iter().map(target).collect(),
    }
}

fn create(batch: &Batch) -> CommandWrite {
    CommandWrite::CreateBatch {
        batch: Arc::new(batch.clone()),
        key: Some(key(&batch.id.to_string(), NOON)),
    }
}

async fn a_batch_reports_each_of_its_items(store: &dyn CommandStore) {
    let batch = batch(70, &[1, 2, 3, 4]);
    let item = |item| BatchItem {
        batch: batch.id,
        item,
    };
    assert_eq!(one(store, create(&batch)).await, CommandWritten::Done);
    let remembered = one(store, create(&batch)).await;
    assert!(
        matches!(remembered, CommandWritten::Remembered(it) if it.made == Made::Batch(batch.id))
    );

    let mut sent = sample(70, 1);
    sent.batch = Some(item(0));
    add(store, &sent).await;
    let mut busy = sample(70, 1);
    busy.batch = Some(item(1));
    one(store, insert(&busy, OnPending::Refuse)).await;
    let refusal = Refusal::Offline;
    let refuse = |item| CommandWrite::RefuseItem { item, refusal };
    one(store, refuse(item(2))).await;
    // What was answered stays answered.
    one(store, refuse(item(0))).await;

    let done = settled(&sent, Input::Acked(AckStatus::Success, None));
    one(store, settle(&done)).await;
    let report = store.batch(batch.id).await.unwrap().unwrap();
    assert_eq!(report.batch, batch);
    assert_eq!(
        report.results,
        [
            ItemResult::Sent(Box::new(done)),
            ItemResult::Refused(Refusal::Pending),
            ItemResult::Refused(Refusal::Offline),
            ItemResult::Waiting,
        ]
    );
    let nobody = BatchId(Uuid::nil());
    assert_eq!(store.batch(nobody).await.unwrap(), None);
}

async fn waiting_items_are_interrupted(store: &dyn CommandStore) {
    let batch = batch(71, &[1, 2]);
    one(store, create(&batch)).await;
    let mut sent = sample(71, 1);
    sent.batch = Some(BatchItem {
        batch: batch.id,
        item: 0,
    });
    add(store, &sent).await;
    let other = self::batch(72, &[1]);
    one(store, create(&other)).await;
    let waiting = store.nodes_with_waiting_items().await.unwrap();
    for node in [&batch.node, &other.node] {
        let found = waiting.iter().filter(|it| *it == node);
        assert_eq!(found.count(), 1, "each node once");
    }
    let dead = [batch.node.clone(), NodeId("nobody".into())];
    assert_eq!(store.interrupt_batches(&dead).await.unwrap(), 1);
    let report = store.batch(batch.id).await.unwrap().unwrap();
    assert_eq!(report.results[0], ItemResult::Sent(Box::new(sent)));
    let interrupted = ItemResult::Refused(Refusal::Interrupted);
    assert_eq!(report.results[1], interrupted);
    assert_eq!(store.interrupt_batches(&dead).await.unwrap(), 0);
    let waiting = store.nodes_with_waiting_items().await.unwrap();
    assert!(!waiting.contains(&batch.node));
    let untouched = store.batch(other.id).await.unwrap().unwrap();
    assert_eq!(untouched.results, [ItemResult::Waiting]);
    assert_eq!(store.interrupt_batches(&[other.node]).await.unwrap(), 1);
}
