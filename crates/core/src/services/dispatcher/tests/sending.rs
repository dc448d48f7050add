//! What is sent, and what is refused.

use super::*;

fn keyed(key: &str, action: Action) -> SendRequest {
    SendRequest {
        key: Some(("user:ann".into(), key.to_owned())),
        ..request(1, 1, action)
    }
}

#[tokio::test]
async fn a_command_is_written_then_published_then_told() {
    let mut world = World::new();
    let id = world.sent(1, 2, Action::On).await;
    let command = world.get(id).await;
    assert_eq!(command.progress.state.name(), StateName::Pending);
    assert_eq!(command.origin, ann());
    let published = world.sink.published.lock().unwrap()[0].clone();
    assert_eq!(published.body.cmd_id, id);
    assert_eq!(published.ttl, Duration::from_secs(6));
    let changes = world.heard.changes.lock().unwrap().clone();
    assert_eq!(changes, [(id, StateName::Pending, "sent")]);
}

#[tokio::test]
async fn nothing_is_published_that_could_not_be_written() {
    let mut world = World::new();
    world.store.fails.store(true, Ordering::Relaxed);
    let failed = world.send(request(1, 1, Action::On)).await;
    assert!(matches!(failed, Err(SendError::Port(_))));
    assert_eq!(world.published(), 0);
    world.store.fails.store(false, Ordering::Relaxed);
    // It cost the device none of its second either.
    for socket in 1..=3 {
        world.sent(1, socket, Action::On).await;
    }
}

#[tokio::test]
async fn what_the_broker_does_not_take_fails_at_once() {
    let mut world = World::new();
    world.sink.refuses.store(true, Ordering::Relaxed);
    let id = world.sent(1, 1, Action::On).await;
    world.advance(Duration::ZERO).await;
    let command = world.get(id).await;
    assert_eq!(command.progress.state.name(), StateName::Failed);
    assert_eq!(
        command.progress.state.reason().unwrap(),
        "not sent: no broker"
    );
}

#[tokio::test]
async fn unknown_devices_and_sockets_are_refused() {
    let mut world = World::new();
    let unknown = world.dispatcher.send(request(101, 1, Action::On)).await;
    assert!(matches!(unknown, Err(SendError::UnknownDevice(_))));
    let unknown = world.dispatcher.send(request(1, 5, Action::On)).await;
    assert!(matches!(unknown, Err(SendError::UnknownSocket { .. })));
    world.commands.turn().await;
    assert_eq!(world.published(), 0);
}

#[tokio::test]
async fn an_offline_device_is_refused_and_costs_nothing_unless_the_caller_insists() {
    let mut world = World::new();
    world.fleet.offline.lock().unwrap().insert(DeviceKey(1));
    for _ in 0..5 {
        let refused = world.send(request(1, 1, Action::On)).await;
        assert!(matches!(refused, Err(SendError::DeviceOffline(_))));
    }
    let insisting = SendRequest {
        send_offline: true,
        ..request(1, 1, Action::On)
    };
    world.send(insisting).await.unwrap();
}

#[tokio::test]
async fn the_fourth_within_a_second_is_told_how_long_to_wait() {
    let mut world = World::new();
    for socket in 1..=3 {
        world.sent(1, socket, Action::On).await;
        world.advance(Duration::from_millis(100)).await;
    }
    let refused = world.send(request(1, 4, Action::On)).await;
    let Err(SendError::RateLimited { retry_after }) = refused else {
        panic!("{refused:?}");
    };
    assert_eq!(retry_after, Duration::from_millis(700));
    world.sent(2, 4, Action::On).await;
    world.advance(retry_after).await;
    world.sent(1, 4, Action::On).await;
}

#[tokio::test]
async fn a_wall_clock_that_jumps_moves_neither_rate_nor_deadline() {
    let mut world = World::new();
    let id = world.sent(1, 1, Action::On).await;
    for hours in [20, 4] {
        let at = NOON - Duration::from_secs(12 * 3600) + Duration::from_secs(hours * 3600);
        world.clock.jump_to(at);
        world.commands.turn().await;
        assert_eq!(world.state(id).await, StateName::Pending);
    }
    world.sent(1, 2, Action::On).await;
    world.sent(1, 3, Action::On).await;
    let refused = world.send(request(1, 4, Action::On)).await;
    assert!(matches!(refused, Err(SendError::RateLimited { .. })));
    world.advance(Duration::from_millis(5_999)).await;
    assert_eq!(world.state(id).await, StateName::Pending);
    world.advance(Duration::from_millis(1)).await;
    assert_eq!(world.state(id).await, StateName::Timeout);
}

#[tokio::test]
async fn a_refused_second_command_costs_no_rate() {
    let mut world = World::new();
    world.sent(1, 1, Action::On).await;
    for _ in 0..4 {
        let refused = world.send(request(1, 1, Action::Off)).await;
        assert!(matches!(refused, Err(SendError::Pending(it)) if it.len() == 1));
    }
    world.sent(1, 2, Action::On).await;
    world.sent(1, 3, Action::On).await;
}

#[tokio::test]
async fn replacing_settles_the_old_one_once() {
    let mut world = World::new();
    let old = [
        world.sent(1, 1, Action::On).await,
        world.sent(1, 2, Action::On).await,
    ];
    let strip = SendRequest {
        on_pending: OnPending::Replace,
        ..request(1, 0, Action::Off)
    };
    let refused = world.send(request(1, 0, Action::Off)).await;
    assert!(matches!(refused, Err(SendError::Pending(it)) if it.len() == 2));
    let strip = world.send(strip).await.unwrap().command.id;
    for id in old {
        assert_eq!(world.state(id).await, StateName::Cancelled);
        assert_eq!(world.verdicts(id), 1);
    }
    world.advance(Duration::from_secs(10)).await;
    assert_eq!(world.state(strip).await, StateName::Timeout);
    assert!(old.iter().all(|id| world.verdicts(*id) == 1));
}

#[tokio::test]
async fn a_key_makes_asking_twice_harmless_and_free() {
    let mut world = World::new();
    let first = world.send(keyed("k", Action::On)).await.unwrap();
    for _ in 0..10 {
        let again = world.send(keyed("k", Action::On)).await.unwrap();
        assert!(again.replayed);
        assert_eq!(again.command.id, first.command.id);
    }
    world.sent(1, 2, Action::On).await;
    world.sent(1, 3, Action::On).await;
    let full = world.send(keyed("k", Action::On)).await.unwrap();
    assert!(full.replayed, "even while the device's second is used up");
    let other = world.send(keyed("k", Action::Off)).await;
    assert!(matches!(other, Err(SendError::KeyReused)));
    assert_eq!(world.published(), 3);

    world.advance(KEY_LIFE).await;
    let still = world.send(keyed("k", Action::On)).await.unwrap();
    assert!(still.replayed);
    world.advance(Duration::from_millis(1)).await;
    let anew = world.send(keyed("k", Action::On)).await.unwrap();
    assert!(!anew.replayed);
}

#[tokio::test]
async fn the_same_key_at_the_same_time_sends_one_command() {
    let mut world = World::new();
    let dispatcher = world.dispatcher.clone();
    let (one, two, ()) = tokio::join!(
        dispatcher.send(keyed("k", Action::On)),
        dispatcher.send(keyed("k", Action::On)),
        world.commands.turn(),
    );
    let (one, two) = (one.unwrap(), two.unwrap());
    assert_eq!(one.command.id, two.command.id);
    assert!(two.replayed && !one.replayed);
    assert_eq!(world.published(), 1);
    // The twin gave back what it had counted against the device.
    world.sent(1, 2, Action::On).await;
    world.sent(1, 3, Action::On).await;
}

#[tokio::test]
async fn a_request_whose_caller_went_away_is_carried_out_all_the_same() {
    let mut world = World::new();
    {
        let sending = world.dispatcher.send(request(1, 1, Action::On));
        let mut sending = std::pin::pin!(sending);
        let polled = std::future::poll_fn(|context| {
            std::task::Poll::Ready(sending.as_mut().poll(context).is_pending())
        });
        assert!(polled.await);
    }
    world.commands.turn().await;
    assert_eq!(world.published(), 1);
    world.advance(Duration::from_secs(6)).await;
    assert_eq!(world.commands.pending(), 0);
}

#[tokio::test]
async fn those_who_wait_hear_when_the_server_stops() {
    let World {
        dispatcher,
        commands,
        ..
    } = World::new();
    let (sent, ()) = tokio::join!(dispatcher.send(request(1, 1, Action::On)), async {
        drop(commands);
    });
    assert!(matches!(sent, Err(SendError::Stopping)));
    let after = dispatcher.send(request(1, 1, Action::On)).await;
    assert!(matches!(after, Err(SendError::Stopping)));
}

#[tokio::test]
async fn a_command_that_another_process_left_pending_is_taken_over() {
    let mut world = World::new();
    let stranger = crate::contract::commands::sample(1, 1);
    let insert = CommandWrite::Insert {
        command: Arc::new(stranger.clone()),
        on_pending: OnPending::Refuse,
        key: None,
    };
    world.store.inner.commit(vec![insert]).await.unwrap();
    let refused = world.send(request(1, 1, Action::On)).await;
    assert!(matches!(refused, Err(SendError::Pending(_))));
    world.advance(Duration::from_secs(6)).await;
    assert_eq!(world.state(stranger.id).await, StateName::Timeout);
}
