//! How commands become final.

use super::*;
use crate::command::Evidence;
use crate::event::EventType;

#[tokio::test]
async fn an_ack_settles_once_and_its_repeats_change_nothing() {
    let mut world = World::new();
    let id = world.sent(1, 1, Action::On).await;
    for status in [AckStatus::Success, AckStatus::Success, AckStatus::Failed] {
        world.ack(1, id, status).await;
    }
    let command = world.get(id).await;
    assert_eq!(command.progress.state.evidence(), Some(Evidence::Acked));
    assert_eq!(command.progress.late, None);
    assert_eq!(world.verdicts(id), 1);
    let relays = world.fleet.relays.lock().unwrap();
    assert_eq!(relays.len(), 1);
    assert!(relays[0].on && relays[0].origin == ann());
}

#[tokio::test]
async fn repeats_within_one_turn_change_nothing_either() {
    let mut world = World::new();
    let id = world.sent(1, 1, Action::On).await;
    for status in [AckStatus::Failed, AckStatus::Success, AckStatus::Success] {
        world.dispatcher.on_ack(ack(1, id, status), None);
    }
    world.commands.turn().await;
    world.advance(Duration::from_secs(1)).await;
    assert_eq!(world.state(id).await, StateName::Failed);
    assert_eq!(world.verdicts(id), 1);
}

#[tokio::test]
async fn an_ack_that_overtakes_the_publish_is_kept() {
    let mut world = World::new();
    let echo = world.dispatcher.clone();
    *world.sink.echoes_to.lock().unwrap() = Some(echo);
    let id = world.sent(1, 1, Action::On).await;
    world.commands.turn().await;
    assert_eq!(world.state(id).await, StateName::Success);
    assert_eq!(world.commands.pending(), 0);
}

#[tokio::test]
async fn a_silent_device_times_out_at_its_deadline_and_not_before() {
    let mut world = World::new();
    let mut long = request(2, 1, Action::On);
    long.order = Order::new(Action::On, None, Some(60_000)).unwrap();
    let short = world.sent(1, 1, Action::On).await;
    let long = world.send(long).await.unwrap().command.id;
    world.advance(Duration::from_millis(5_999)).await;
    assert_eq!(world.state(short).await, StateName::Pending);
    world.advance(Duration::from_millis(1)).await;
    assert_eq!(world.state(short).await, StateName::Timeout);
    world.advance(Duration::from_millis(53_999)).await;
    assert_eq!(world.state(long).await, StateName::Pending);
    world.advance(Duration::from_millis(1)).await;
    assert_eq!(world.state(long).await, StateName::Timeout);
    assert_eq!((world.verdicts(short), world.verdicts(long)), (1, 1));
}

#[tokio::test]
async fn a_late_ack_is_recorded_and_changes_no_state() {
    let mut world = World::new();
    let id = world.sent(1, 1, Action::On).await;
    world.advance(Duration::from_secs(6)).await;
    world.ack(1, id, AckStatus::Success).await;
    world.ack(1, id, AckStatus::Failed).await;
    let command = world.get(id).await;
    assert_eq!(command.progress.state.name(), StateName::Timeout);
    assert_eq!(command.progress.late.unwrap().outcome, AckStatus::Success);
    let changes = world.heard.changes.lock().unwrap().clone();
    let last = changes.last().unwrap();
    assert_eq!(*last, (id, StateName::Timeout, "late"));
    assert_eq!(world.fleet.relays.lock().unwrap().len(), 1);
}

#[tokio::test]
async fn an_ack_that_came_before_the_deadline_wins_over_it() {
    let mut world = World::new();
    let id = world.sent(1, 1, Action::On).await;
    world
        .dispatcher
        .on_ack(ack(1, id, AckStatus::Success), None);
    world.clock.advance(Duration::from_secs(60));
    world.commands.turn().await;
    assert_eq!(world.state(id).await, StateName::Success);
}

#[tokio::test]
async fn a_foreign_ack_changes_nothing_and_raises_an_event() {
    let mut world = World::new();
    let id = world.sent(1, 1, Action::On).await;
    world.ack(2, id, AckStatus::Success).await;
    assert_eq!(world.state(id).await, StateName::Pending);
    world.advance(Duration::from_secs(6)).await;
    world.ack(2, id, AckStatus::Success).await;
    assert_eq!(world.get(id).await.progress.late, None);
    let events = world.heard.events.lock().unwrap();
    assert_eq!(events.len(), 2);
    assert!(events.iter().all(|it| it.kind == EventType::ForeignAck));
    assert_eq!(events[0].device.as_ref().unwrap().0, DeviceKey(2));
    assert!(world.fleet.relays.lock().unwrap().is_empty());
}

#[tokio::test]
async fn an_orphan_ack_is_kept_as_an_event_and_a_flood_of_them_is_not() {
    let mut world = World::new();
    for number in 0..100 {
        let nobody = CommandId(uuid::Uuid::from_u128(number));
        world.ack(1, nobody, AckStatus::Success).await;
    }
    let events = world.heard.events.lock().unwrap();
    assert_eq!(events.len(), 3);
    assert!(events.iter().all(|it| it.kind == EventType::OrphanAck));
}

#[tokio::test]
async fn a_change_to_the_wanted_state_settles_firmware_that_echoes_no_id() {
    let mut world = World::new();
    let id = world.sent(1, 1, Action::On).await;
    world.report(1, &[(1, true, false), (2, true, true)]).await;
    assert_eq!(world.state(id).await, StateName::Pending);
    world.report(1, &[(1, true, true)]).await;
    let command = world.get(id).await;
    assert_eq!(command.progress.state.evidence(), Some(Evidence::Inferred));
    let relay = world.fleet.relays.lock().unwrap()[0].clone();
    assert_eq!((relay.on, relay.origin), (true, ann()));
}

#[tokio::test]
async fn a_periodic_report_counts_half_a_second_after_the_publish() {
    let mut world = World::new();
    let id = world.sent(1, 1, Action::Off).await;
    world.advance(Duration::from_millis(499)).await;
    world.report(1, &[(1, false, false)]).await;
    assert_eq!(world.state(id).await, StateName::Pending);
    world.advance(Duration::from_millis(1)).await;
    world.report(2, &[(1, false, false)]).await;
    assert_eq!(world.state(id).await, StateName::Pending);
    world.report(1, &[(1, false, false)]).await;
    assert_eq!(world.state(id).await, StateName::Success);
}

#[tokio::test]
async fn the_pause_of_a_cycle_settles_nothing() {
    let mut world = World::new();
    let id = world.sent(1, 1, Action::Cycle).await;
    world.report(1, &[(1, false, true)]).await;
    world.advance(Duration::from_secs(3)).await;
    world.report(1, &[(1, false, false)]).await;
    assert_eq!(world.state(id).await, StateName::Pending);
    world.report(1, &[(1, true, true)]).await;
    assert_eq!(world.state(id).await, StateName::Success);
}

#[tokio::test]
async fn an_ack_for_the_whole_strip_settles_it_for_every_socket() {
    let mut world = World::new();
    let id = world.sent(1, 0, Action::Off).await;
    world.ack(1, id, AckStatus::Success).await;
    let relay = world.fleet.relays.lock().unwrap()[0].clone();
    assert_eq!((relay.socket, relay.on), (SocketId::STRIP, false));
}

#[tokio::test]
async fn a_failed_verdict_tells_its_reason_and_what_the_relay_is() {
    let mut world = World::new();
    let id = world.sent(1, 1, Action::On).await;
    world.dispatcher.on_ack(
        Ack {
            reason: Some("relay stuck".into()),
            on: Some(false),
            ..ack(1, id, AckStatus::Failed)
        },
        None,
    );
    world.commands.turn().await;
    let command = world.get(id).await;
    assert_eq!(command.progress.state.reason().unwrap(), "relay stuck");
    assert!(!world.fleet.relays.lock().unwrap()[0].on);
}

#[tokio::test]
async fn cancelling_withdraws_the_wait_once_and_frees_the_socket() {
    let mut world = World::new();
    let id = world.sent(1, 1, Action::On).await;
    assert!(matches!(world.cancel(id).await, Ok(Cancelled::Now(_))));
    assert!(matches!(
        world.cancel(id).await,
        Ok(Cancelled::AlreadyFinal(_))
    ));
    world.sent(1, 1, Action::Off).await;
    world.ack(1, id, AckStatus::Success).await;
    let command = world.get(id).await;
    assert_eq!(command.progress.state.name(), StateName::Cancelled);
    assert_eq!(command.progress.late.unwrap().outcome, AckStatus::Success);
    assert_eq!(world.verdicts(id), 1);
    let nobody = CommandId(uuid::Uuid::nil());
    assert!(matches!(
        world.cancel(nobody).await,
        Err(CancelError::Unknown(_))
    ));
}

#[tokio::test]
async fn a_cancel_in_the_turn_of_an_ack_finds_the_command_final() {
    let mut world = World::new();
    let id = world.sent(1, 1, Action::On).await;
    let dispatcher = world.dispatcher.clone();
    dispatcher.on_ack(ack(1, id, AckStatus::Success), None);
    let (cancelled, ()) = tokio::join!(dispatcher.cancel(id, ann()), async {
        world.commands.turn().await;
        world.commands.turn().await;
    });
    assert!(matches!(cancelled, Ok(Cancelled::AlreadyFinal(_))));
    assert_eq!(world.state(id).await, StateName::Success);
}

#[tokio::test]
async fn everybody_who_waits_hears_the_verdict() {
    let mut world = World::new();
    let id = world.sent(1, 1, Action::On).await;
    let dispatcher = world.dispatcher.clone();
    let (one, two, ()) = tokio::join!(dispatcher.wait(id), dispatcher.wait(id), async {
        world.commands.turn().await;
        world.ack(1, id, AckStatus::Success).await;
    });
    for heard in [one, two] {
        let state = heard.unwrap().unwrap().progress.state.name();
        assert_eq!(state, StateName::Success);
    }
    let (after, ()) = tokio::join!(dispatcher.wait(id), world.commands.turn());
    assert!(after.unwrap().is_some());
    let nobody = CommandId(uuid::Uuid::nil());
    let (unknown, ()) = tokio::join!(dispatcher.wait(nobody), world.commands.turn());
    assert!(unknown.unwrap().is_none());
}

#[tokio::test]
async fn verdicts_wait_out_a_store_that_fails() {
    let mut world = World::new();
    let acked = world.sent(1, 1, Action::On).await;
    let silent = world.sent(1, 2, Action::On).await;
    world.store.fails.store(true, Ordering::Relaxed);
    world.ack(1, acked, AckStatus::Success).await;
    world.advance(Duration::from_secs(7)).await;
    assert_eq!(world.state(acked).await, StateName::Pending);
    world.store.fails.store(false, Ordering::Relaxed);
    world.advance(Duration::from_secs(1)).await;
    assert_eq!(world.state(acked).await, StateName::Success);
    assert_eq!(world.state(silent).await, StateName::Timeout);
    assert_eq!((world.verdicts(acked), world.verdicts(silent)), (1, 1));
}

#[tokio::test]
async fn after_a_restart_each_command_keeps_its_own_deadline() {
    let mut world = World::new();
    let mut long = request(2, 1, Action::On);
    long.order = Order::new(Action::On, None, Some(20_000)).unwrap();
    let short = world.sent(1, 1, Action::On).await;
    let long = world.send(long).await.unwrap().command.id;
    world.clock.advance(Duration::from_secs(8));
    world.restart().await;
    assert_eq!(world.commands.pending(), 2);
    world.advance(Duration::ZERO).await;
    assert_eq!(world.state(short).await, StateName::Timeout);
    world.advance(Duration::from_millis(11_999)).await;
    assert_eq!(world.state(long).await, StateName::Pending);
    world.advance(Duration::from_millis(1)).await;
    assert_eq!(world.state(long).await, StateName::Timeout);
    assert_eq!(world.published(), 2, "nothing is sent again");
}

#[tokio::test]
async fn after_a_restart_a_replayed_ack_still_counts_and_no_wait_is_longer_than_asked() {
    let mut world = World::new();
    let acked = world.sent(1, 1, Action::On).await;
    let silent = world.sent(1, 2, Action::On).await;
    // The clock was a day off and has been set right meanwhile.
    world.clock.jump_to(NOON - Duration::from_secs(86_400));
    world.restart().await;
    world
        .dispatcher
        .on_ack(ack(1, acked, AckStatus::Success), None);
    world.commands.turn().await;
    assert_eq!(world.state(acked).await, StateName::Success);
    world.advance(Duration::from_secs(6)).await;
    assert_eq!(world.state(silent).await, StateName::Timeout);
}

#[tokio::test]
async fn a_server_about_to_stop_lets_go_of_those_who_wait() {
    let mut world = World::new();
    let id = world.sent(1, 1, Action::On).await;
    let dispatcher = world.dispatcher.clone();
    let (waited, ()) = tokio::join!(dispatcher.wait(id), async {
        world.commands.turn().await;
        dispatcher.let_go();
        world.commands.turn().await;
    });
    assert!(waited.unwrap().is_none());
    let (later, ()) = tokio::join!(dispatcher.wait(id), world.commands.turn());
    assert!(later.unwrap().is_none());
    // The command itself goes its way.
    world.ack(1, id, AckStatus::Success).await;
    assert_eq!(world.state(id).await, StateName::Success);
}

/// Notes how it was resolved.
struct TestReceipt(Arc<Mutex<Vec<&'static str>>>);

impl crate::ports::journal::Receipt for TestReceipt {
    fn done(self: Box<Self>) {
        self.0.lock().unwrap().push("done");
    }

    fn refuse(self: Box<Self>, _reason: &'static str) {
        self.0.lock().unwrap().push("refused");
    }

    fn failed(self: Box<Self>) {
        self.0.lock().unwrap().push("failed");
    }
}

#[tokio::test]
async fn a_verdict_is_acknowledged_once_it_is_written() {
    let mut world = World::new();
    let heard = Arc::new(Mutex::new(Vec::new()));
    let receipt = || Some(Box::new(TestReceipt(heard.clone())) as _);
    let told = || std::mem::take(&mut *heard.lock().unwrap());
    let id = world.sent(1, 1, Action::On).await;
    let verdict = |device, id| ack(device, id, AckStatus::Success);

    world.store.fails.store(true, Ordering::Relaxed);
    world.dispatcher.on_ack(verdict(1, id), receipt());
    world.commands.turn().await;
    assert!(told().is_empty(), "not while the store fails");
    world.store.fails.store(false, Ordering::Relaxed);
    world.advance(Duration::from_secs(1)).await;
    assert_eq!(told(), ["done"]);

    // A repeat, somebody else's, nobody's.
    let nobody = CommandId(uuid::Uuid::max());
    for ack in [verdict(1, id), verdict(2, id), verdict(1, nobody)] {
        world.dispatcher.on_ack(ack, receipt());
    }
    world.commands.turn().await;
    assert_eq!(told(), ["done"; 3]);

    world.dispatcher.on_ack(verdict(1, id), receipt());
    let World {
        commands,
        dispatcher,
        ..
    } = world;
    drop(commands);
    dispatcher.on_ack(verdict(1, id), receipt());
    assert_eq!(told(), ["failed"; 2], "it comes again");
}
