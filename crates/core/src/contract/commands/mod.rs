//! The contract of [`CommandStore`].
#![expect(
    clippy::unwrap_used,
    clippy::missing_panics_doc,
    reason = "these are tests, compiled for other crates' tests too"
)]

mod batches;

use std::sync::Arc;
use std::time::Duration;

use uuid::Uuid;

use crate::clock::Timestamp;
use crate::command::{
    Cancellation, Command, Evidence, Failure, Input, Late, OnPending, Order, Progress, State,
};
use crate::event::Origin;
use crate::ids::{CommandId, DeviceId, DeviceKey, SocketId, uuid_v7};
use crate::ports::{CommandStore, CommandWrite, CommandWritten, IdempotencyKey, Made, Remembered};
use crate::wire::{AckStatus, Action};

/// When the contract takes place.
pub const NOON: Timestamp = Timestamp::from_millis(1_767_355_200_000);

/// Runs the whole contract on an empty store.
pub async fn command_store(store: &dyn CommandStore) {
    every_field_comes_back(store).await;
    one_pending_command_per_socket(store).await;
    the_whole_strip_meets_every_socket(store).await;
    replacing_cancels_and_inserts_in_one_step(store).await;
    a_command_settles_once(store).await;
    a_late_verdict_is_kept_once_and_only_on_a_final_command(store).await;
    a_devices_commands_come_newest_first(store).await;
    the_pending_ones_of_some_devices_are_found(store).await;
    a_key_is_remembered_for_its_time(store).await;
    batches::run(store).await;
    old_ones_are_forgotten_and_pending_ones_are_not(store).await;
}

async fn the_pending_ones_of_some_devices_are_found(store: &dyn CommandStore) {
    let (first, second, other) = (sample(90, 1), sample(90, 2), sample(91, 1));
    let done = sample(90, 3);
    for command in [&first, &second, &other, &done] {
        add(store, command).await;
    }
    let done = settled(&done, Input::Acked(AckStatus::Success, None));
    one(store, settle(&done)).await;
    let of = |device| [DeviceKey(device), DeviceKey(4_000_000)];
    let mut found = store.pending_of(&of(90)).await.unwrap();
    found.sort_by_key(|it| it.socket);
    assert_eq!(found, [first, second]);
    assert_eq!(store.pending_of(&of(91)).await.unwrap(), [other]);
    assert_eq!(store.pending_of(&[]).await.unwrap(), []);
}

/// A pending command that was never stored, with a fresh id.
#[must_use]
pub fn sample(device: u32, socket: u64) -> Command {
    Command {
        id: CommandId(uuid_v7(NOON)),
        device: DeviceKey(device),
        device_id: DeviceId::parse(&format!("strip-{device}")).unwrap(),
        socket: SocketId::parse(socket).unwrap(),
        order: Order::new(Action::On, None, None).unwrap(),
        origin: Origin::User {
            name: "ann".to_owned(),
        },
        batch: None,
        created_at: NOON,
        deadline_at: NOON + Duration::from_secs(6),
        progress: Progress::default(),
    }
}

fn insert(command: &Command, on_pending: OnPending) -> CommandWrite {
    CommandWrite::Insert {
        command: Arc::new(command.clone()),
        on_pending,
        key: None,
    }
}

async fn one(store: &dyn CommandStore, write: CommandWrite) -> CommandWritten {
    let mut written = store.commit(vec![write]).await.unwrap();
    assert_eq!(written.len(), 1);
    written.remove(0)
}

async fn add(store: &dyn CommandStore, command: &Command) {
    let written = one(store, insert(command, OnPending::Refuse)).await;
    assert_eq!(written, CommandWritten::Done);
}

async fn get(store: &dyn CommandStore, id: CommandId) -> Command {
    store.get(&[id]).await.unwrap().pop().unwrap()
}

fn settled(command: &Command, input: Input) -> Command {
    let mut command = command.clone();
    command.progress.apply(Input::Published, NOON);
    let at = NOON + Duration::from_secs(1);
    command.progress.apply(input, at);
    command
}

fn settle(command: &Command) -> CommandWrite {
    CommandWrite::Settle {
        id: command.id,
        progress: command.progress.clone(),
    }
}

fn busy(written: CommandWritten) -> Option<Vec<Command>> {
    if let CommandWritten::Busy(pending) = written {
        Some(pending)
    } else {
        None
    }
}

fn replaced(written: CommandWritten) -> Option<Vec<Command>> {
    if let CommandWritten::Replaced(replaced) = written {
        Some(replaced)
    } else {
        None
    }
}

async fn every_field_comes_back(store: &dyn CommandStore) {
    let replacer = CommandId(uuid_v7(NOON));
    let finals = [
        Input::Acked(AckStatus::Success, None),
        Input::Acked(AckStatus::Failed, None),
        Input::Acked(AckStatus::Failed, Some("relay stuck".to_owned())),
        Input::NotSent("no broker".to_owned()),
        Input::Observed,
        Input::DeadlinePassed,
        Input::Cancelled(Cancellation::Asked),
        Input::Cancelled(Cancellation::Replaced(replacer)),
    ];
    for (input, device) in finals.into_iter().zip(100..) {
        let mut command = sample(device, 3);
        command.order = Order::new(Action::Cycle, Some(2_500), Some(9_000)).unwrap();
        command.origin = Origin::Token {
            name: "night script".to_owned(),
        };
        add(store, &command).await;
        assert_eq!(get(store, command.id).await, command);
        let settled = settled(&command, input);
        assert_eq!(one(store, settle(&settled)).await, CommandWritten::Done);
        assert_eq!(get(store, command.id).await, settled);
    }
    let nobody = CommandId(Uuid::nil());
    assert_eq!(store.get(&[nobody]).await.unwrap(), []);
}

async fn one_pending_command_per_socket(store: &dyn CommandStore) {
    let (first, second) = (sample(1, 1), sample(1, 1));
    let other_socket = sample(1, 2);
    let other_device = sample(2, 1);
    for command in [&first, &other_socket, &other_device] {
        add(store, command).await;
    }
    let busy = one(store, insert(&second, OnPending::Refuse)).await;
    assert_eq!(busy, CommandWritten::Busy(vec![first.clone()]));
    assert_eq!(store.get(&[second.id]).await.unwrap(), []);

    let done = settled(&first, Input::DeadlinePassed);
    // In one transaction, in order: the first makes way for the second.
    let both = vec![settle(&done), insert(&second, OnPending::Refuse)];
    let written = store.commit(both).await.unwrap();
    assert_eq!(written, [CommandWritten::Done, CommandWritten::Done]);
}

async fn the_whole_strip_meets_every_socket(store: &dyn CommandStore) {
    let sockets = [sample(10, 1), sample(10, 2)];
    for command in sockets.iter().rev() {
        add(store, command).await;
    }
    let strip = sample(10, 0);
    let written = one(store, insert(&strip, OnPending::Refuse)).await;
    assert_eq!(busy(written).unwrap(), sockets);
    let strip = sample(11, 0);
    add(store, &strip).await;
    let socket = one(store, insert(&sample(11, 5), OnPending::Refuse)).await;
    assert_eq!(socket, CommandWritten::Busy(vec![strip]));
}

async fn replacing_cancels_and_inserts_in_one_step(store: &dyn CommandStore) {
    let sockets = [sample(20, 1), sample(20, 2)];
    for command in &sockets {
        add(store, command).await;
    }
    let strip = sample(20, 0);
    let written = one(store, insert(&strip, OnPending::Replace)).await;
    let replaced = replaced(written).unwrap();
    assert_eq!(replaced.len(), 2);
    for old in replaced {
        let why = Cancellation::Replaced(strip.id);
        assert_eq!(old.progress.state, State::Cancelled(why));
        assert_eq!(old.progress.settled_at, Some(strip.created_at));
        assert_eq!(get(store, old.id).await, old);
    }
    let pending = store.pending().await.unwrap();
    let of_device: Vec<_> = pending.iter().filter(|it| it.device.0 == 20).collect();
    assert_eq!(of_device, [&strip]);
}

async fn a_command_settles_once(store: &dyn CommandStore) {
    let command = sample(30, 1);
    add(store, &command).await;
    let timeout = settled(&command, Input::DeadlinePassed);
    assert_eq!(one(store, settle(&timeout)).await, CommandWritten::Done);
    let success = settled(&command, Input::Acked(AckStatus::Success, None));
    let unchanged = CommandWritten::Unchanged(Some(Box::new(timeout.clone())));
    assert_eq!(one(store, settle(&success)).await, unchanged);
    assert_eq!(get(store, command.id).await, timeout);

    let unknown = settle(&settled(&sample(30, 1), Input::Observed));
    let nothing = CommandWritten::Unchanged(None);
    assert_eq!(one(store, unknown).await, nothing);
}

async fn a_late_verdict_is_kept_once_and_only_on_a_final_command(store: &dyn CommandStore) {
    let command = sample(40, 1);
    let id = command.id;
    let note = |outcome| {
        let at = NOON + Duration::from_secs(9);
        let late = Late { outcome, at };
        CommandWrite::NoteLate { id, late }
    };
    add(store, &command).await;
    let refused = one(store, note(AckStatus::Success)).await;
    assert_eq!(
        refused,
        CommandWritten::Unchanged(Some(Box::new(command.clone())))
    );

    let timeout = settled(&command, Input::DeadlinePassed);
    one(store, settle(&timeout)).await;
    assert_eq!(
        one(store, note(AckStatus::Failed)).await,
        CommandWritten::Done
    );
    one(store, note(AckStatus::Success)).await;
    let kept = get(store, id).await;
    assert_eq!(kept.progress.late.unwrap().outcome, AckStatus::Failed);
    assert_eq!(kept.progress.state, State::Timeout);
}

async fn a_devices_commands_come_newest_first(store: &dyn CommandStore) {
    let mut ids = Vec::new();
    for number in 1..=5_u128 {
        let mut command = sample(50, 1);
        command.id = CommandId(Uuid::from_u128(number));
        add(store, &command).await;
        one(store, settle(&settled(&command, Input::Observed))).await;
        ids.push(command.id);
    }
    ids.reverse();
    let page = |before, limit| store.of_device(DeviceKey(50), before, limit);
    let found = |commands: Vec<Command>| commands.iter().map(|it| it.id).collect::<Vec<_>>();
    assert_eq!(found(page(None, 10).await.unwrap()), ids);
    assert_eq!(found(page(None, 2).await.unwrap()), ids[..2]);
    assert_eq!(found(page(Some(ids[1]), 2).await.unwrap()), ids[2..4]);
}

fn key(caller: &str, used_at: Timestamp) -> IdempotencyKey {
    IdempotencyKey {
        caller: caller.into(),
        key: "again".to_owned(),
        fingerprint: [7; 32],
        used_at,
        since: used_at - Duration::from_secs(100),
    }
}

fn insert_with(command: &Command, key: IdempotencyKey) -> CommandWrite {
    CommandWrite::Insert {
        command: Arc::new(command.clone()),
        on_pending: OnPending::Refuse,
        key: Some(key),
    }
}

async fn a_key_is_remembered_for_its_time(store: &dyn CommandStore) {
    let (first, second, third) = (sample(60, 1), sample(60, 2), sample(60, 3));
    let written = one(store, insert_with(&first, key("ann", NOON))).await;
    assert_eq!(written, CommandWritten::Done);
    let made = Remembered {
        fingerprint: [7; 32],
        made: Made::Command(first.id),
    };
    let again = one(store, insert_with(&second, key("ann", NOON))).await;
    assert_eq!(again, CommandWritten::Remembered(made));
    assert_eq!(store.get(&[second.id]).await.unwrap(), []);
    // Another caller's key is another key.
    let other = one(store, insert_with(&second, key("bob", NOON))).await;
    assert_eq!(other, CommandWritten::Done);

    let found = store.remembered("ann", "again", NOON).await.unwrap();
    assert_eq!(found, Some(made));
    let after = NOON + Duration::from_millis(1);
    assert_eq!(store.remembered("ann", "again", after).await.unwrap(), None);
    assert_eq!(store.remembered("eve", "again", NOON).await.unwrap(), None);
    // Once forgotten it may be used anew.
    let next_day = NOON + Duration::from_secs(101);
    let reused = one(store, insert_with(&third, key("ann", next_day))).await;
    assert_eq!(reused, CommandWritten::Done);

    // A refused request leaves no trace of its key.
    let refused = sample(60, 1);
    let busy = one(store, insert_with(&refused, key("zoe", NOON))).await;
    assert!(matches!(busy, CommandWritten::Busy(_)));
    assert_eq!(store.remembered("zoe", "again", NOON).await.unwrap(), None);
}

async fn old_ones_are_forgotten_and_pending_ones_are_not(store: &dyn CommandStore) {
    let (pending, old, failed) = (sample(80, 1), sample(80, 2), sample(80, 3));
    for command in [&pending, &old, &failed] {
        add(store, command).await;
    }
    one(store, settle(&settled(&old, Input::DeadlinePassed))).await;
    let refused = Input::Acked(AckStatus::Failed, None);
    let failed_now = settled(&failed, refused);
    assert_eq!(
        failed_now.progress.state,
        State::Failed(Failure::Refused(None))
    );
    assert_ne!(failed_now.progress.state, State::Success(Evidence::Acked));
    one(store, settle(&failed_now)).await;

    assert_eq!(store.purge(NOON, NOON, 1_000).await.unwrap(), 0);
    assert_eq!(get(store, old.id).await.id, old.id);
    let later = NOON + Duration::from_secs(60);
    assert!(store.purge(later, later, 1_000).await.unwrap() >= 2);
    let left = store.get(&[pending.id, old.id, failed.id]).await.unwrap();
    assert_eq!(left, [pending]);
    let bobs = store.remembered("bob", "again", NOON).await.unwrap();
    assert_eq!(bobs, None);
    let anns = store.remembered("ann", "again", NOON).await.unwrap();
    assert!(anns.is_some(), "it was used after that");
}
