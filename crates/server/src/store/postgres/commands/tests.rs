//! The contract, and nodes that write at once.

use std::sync::Arc;

use dormouse_core::command::{Command, Input, OnPending, State};
use dormouse_core::contract::commands::{NOON, sample};
use dormouse_core::ports::{CommandStore, CommandWrite, CommandWritten, IdempotencyKey};
use dormouse_core::wire::AckStatus;

use super::super::testing::{Engine, on_every_engine, plain};
use super::PostgresCommands;

async fn keeps_the_contract(engine: Engine) {
    let store = PostgresCommands::new(engine.open().await);
    dormouse_core::contract::command_store(&store).await;
}
on_every_engine!(keeps_the_contract);

fn insert(command: &Command, on_pending: OnPending) -> CommandWrite {
    CommandWrite::Insert {
        command: Arc::new(command.clone()),
        on_pending,
        key: None,
    }
}

fn success(command: &Command) -> CommandWrite {
    let mut progress = command.progress.clone();
    progress.apply(Input::Acked(AckStatus::Success, None), NOON);
    CommandWrite::Settle {
        id: command.id,
        progress,
    }
}

#[tokio::test]
async fn of_nodes_that_write_at_once_one_comes_first() {
    let store = PostgresCommands::new(plain().await);
    let once = async |socket| {
        let command = sample(1, socket);
        let written = store
            .commit(vec![insert(&command, OnPending::Refuse)])
            .await;
        written.unwrap().remove(0)
    };
    for (sockets, most) in [([1, 1, 1, 1], 1), ([0, 1, 0, 2], 2), ([0, 0, 0, 0], 1)] {
        let [a, b, c, d] = sockets;
        let (a, b, c, d) = tokio::join!(once(a), once(b), once(c), once(d));
        let written = [a, b, c, d];
        let done = written.iter().filter(|it| **it == CommandWritten::Done);
        assert!((1..=most).contains(&done.count()), "{written:?}");
        let pending = store.pending().await.unwrap();
        let strips = pending.iter().filter(|it| it.socket.is_strip()).count();
        assert!(strips == 0 || pending.len() == 1, "{pending:?}");
        let over = pending.iter().map(success).collect();
        store.commit(over).await.unwrap();
    }
}

#[tokio::test]
async fn replacements_at_once_leave_one_pending_and_the_others_cancelled() {
    let store = PostgresCommands::new(plain().await);
    let commands: Vec<Command> = (0..8).map(|_| sample(1, 1)).collect();
    let replace = |at: usize| store.commit(vec![insert(&commands[at], OnPending::Replace)]);
    let (.., last) = tokio::join!(
        replace(0),
        replace(1),
        replace(2),
        replace(3),
        replace(4),
        replace(5),
        replace(6),
        replace(7)
    );
    last.unwrap();
    assert_eq!(store.pending().await.unwrap().len(), 1);
    let ids: Vec<_> = commands.iter().map(|it| it.id).collect();
    let all = store.get(&ids).await.unwrap();
    let cancelled = all
        .iter()
        .filter(|it| matches!(it.progress.state, State::Cancelled(_)));
    assert_eq!(cancelled.count(), 7);
}

/// Turns of several writes over the same devices, in opposite orders: whoever
/// waits is not waited for.
#[tokio::test]
async fn turns_in_opposite_orders_do_not_lock_each_other_out() {
    let store = PostgresCommands::new(plain().await);
    for _ in 0..10 {
        let commands: Vec<Command> = (1..=40).map(|device| sample(device, 1)).collect();
        let inserts = commands.iter().map(|it| insert(it, OnPending::Refuse));
        store.commit(inserts.collect()).await.unwrap();
        let forth: Vec<_> = commands.iter().map(success).collect();
        let back: Vec<_> = commands.iter().rev().map(success).collect();
        let (one, other) = tokio::join!(store.commit(forth), store.commit(back));
        let (one, other) = (one.unwrap(), other.unwrap());
        let done = |written: &[CommandWritten]| {
            let done = written.iter().filter(|it| **it == CommandWritten::Done);
            done.count()
        };
        assert_eq!(done(&one) + done(&other), 40);
    }
}

#[tokio::test]
async fn a_key_used_at_once_on_two_nodes_makes_one_command() {
    let store = PostgresCommands::new(plain().await);
    let with_key = async |device| {
        let write = CommandWrite::Insert {
            command: Arc::new(sample(device, 1)),
            on_pending: OnPending::Refuse,
            key: Some(IdempotencyKey {
                caller: "ann\0".into(),
                key: "again".to_owned(),
                fingerprint: [7; 32],
                used_at: NOON,
                since: NOON,
            }),
        };
        store.commit(vec![write]).await.unwrap().remove(0)
    };
    let (one, other) = tokio::join!(with_key(1), with_key(2));
    let remembered = |it: &CommandWritten| matches!(it, CommandWritten::Remembered(_));
    assert_eq!([one, other].iter().filter(|it| remembered(it)).count(), 1);
    assert_eq!(store.pending().await.unwrap().len(), 1);
}

#[tokio::test]
async fn the_index_itself_refuses_a_second_pending_command() {
    let database = plain().await;
    let store = PostgresCommands::new(database.clone());
    let command = insert(&sample(1, 1), OnPending::Refuse);
    store.commit(vec![command]).await.unwrap();
    let copy = "INSERT INTO commands SELECT gen_random_uuid(), device, device_id, socket, action,
        off_ms, timeout_ms, origin, batch, item, created_at, deadline_at, state FROM commands";
    database.execute(copy, &[]).await.unwrap_err();
}
