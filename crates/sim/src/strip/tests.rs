use std::time::Duration;

use dormouse_core::ids::CommandId;
use dormouse_core::topic::Channel;
use dormouse_core::wire::{AckBody, AckStatus, Action, CommandBody, SampleBody, StatusBody};
use uuid::Uuid;

use super::command::Received;
use super::*;
use crate::fault::Acks;

const START_UNIX_MS: i64 = 1_767_323_045_000;

fn at(elapsed_ms: u64) -> Now {
    let unix_ms = START_UNIX_MS + i64::try_from(elapsed_ms).unwrap();
    Now {
        elapsed_ms,
        unix_ms,
        hour: 19.0,
    }
}

fn strip() -> Strip {
    let id = DeviceId::parse("A-302-strip01").unwrap();
    let build = Build {
        id,
        sockets: 3,
        period_ms: 5_000,
        has_clock: true,
        seed: 1,
    };
    Strip::new(build, 17, at(0))
}

fn command(number: u128, socket: u64, action: Action) -> CommandBody {
    CommandBody {
        cmd_id: CommandId(Uuid::from_u128(number)),
        device_id: DeviceId::parse("A-302-strip01").unwrap(),
        socket_id: SocketId::parse(socket).unwrap(),
        action,
        off_ms: None,
        ttl_ms: 6_000,
        expires_at: START_UNIX_MS + 60_000,
    }
}

fn give(strip: &mut Strip, body: &CommandBody, acks: Acks, now: Now) -> (Received, Vec<AckBody>) {
    let (received, out) = strip.command(&serde_json::to_vec(body).unwrap(), false, acks, now);
    (received, acks_in(&out))
}

fn acks_in(out: &[Outgoing]) -> Vec<AckBody> {
    out.iter()
        .filter(|out| out.channel == Channel::Ack)
        .map(|out| serde_json::from_slice(&out.payload).unwrap())
        .collect()
}

#[test]
fn a_command_is_obeyed_acknowledged_and_followed_by_a_status() {
    let mut strip = strip();
    let body = command(1, 2, Action::Off);
    let (received, out) = strip.command(
        &serde_json::to_vec(&body).unwrap(),
        false,
        Acks::Prompt,
        at(100),
    );
    assert_eq!(received, Received::Executed);
    assert_eq!(strip.sockets_on(), [true, false, true]);
    let ack = &acks_in(&out)[0];
    assert_eq!(
        (ack.cmd_id, ack.status, ack.on),
        (body.cmd_id, AckStatus::Success, Some(false))
    );
    let status: StatusBody = serde_json::from_slice(&out.last().unwrap().payload).unwrap();
    assert!(!status.sockets[1].on);
    assert!(status.seq > ack.seq, "seq rises over ack and status");
}

#[test]
fn a_repeated_command_is_answered_again_and_not_obeyed_again() {
    let mut strip = strip();
    let off = command(1, 2, Action::Off);
    give(&mut strip, &off, Acks::Prompt, at(0));
    give(&mut strip, &command(2, 2, Action::On), Acks::Prompt, at(10));
    let (received, acks) = give(&mut strip, &off, Acks::Prompt, at(20));
    assert_eq!(received, Received::Repeated);
    assert_eq!(acks[0].status, AckStatus::Success);
    assert_eq!(strip.sockets_on(), [true, true, true]);
    assert_eq!(strip.executed(), 2);
}

#[test]
fn an_expired_a_retained_and_a_foreign_command_move_nothing() {
    let mut strip = strip();
    let off = command(1, 1, Action::Off);
    let late = at(60_001);
    let (received, acks) = give(&mut strip, &off, Acks::Prompt, late);
    assert_eq!(
        (received, acks[0].reason.as_deref()),
        (Received::Declined, Some("expired"))
    );

    let bytes = serde_json::to_vec(&command(2, 1, Action::Off)).unwrap();
    assert_eq!(
        strip.command(&bytes, true, Acks::Prompt, at(0)).0,
        Received::Refused
    );
    let mut foreign = command(3, 1, Action::Off);
    foreign.device_id = DeviceId::parse("other").unwrap();
    assert_eq!(
        give(&mut strip, &foreign, Acks::Prompt, at(0)).0,
        Received::Refused
    );
    assert_eq!(
        strip.command(b"{", false, Acks::Prompt, at(0)).0,
        Received::Refused
    );
    assert_eq!(strip.sockets_on(), [true, true, true]);
}

#[test]
fn socket_zero_is_the_whole_strip() {
    let mut strip = strip();
    let (_, acks) = give(&mut strip, &command(1, 0, Action::Off), Acks::Prompt, at(0));
    assert_eq!((acks[0].socket_id.get(), acks[0].on), (0, Some(false)));
    assert_eq!(strip.sockets_on(), [false, false, false]);
}

#[test]
fn a_cycle_is_off_then_on_then_acknowledged() {
    let mut strip = strip();
    let body = CommandBody {
        off_ms: Some(2_000),
        ..command(1, 1, Action::Cycle)
    };
    let (received, acks) = give(&mut strip, &body, Acks::Prompt, at(0));
    assert_eq!((received, acks.len()), (Received::Executed, 0));
    assert_eq!(strip.sockets_on(), [false, true, true]);
    assert_eq!(strip.next_due_ms(), Some(2_000));
    assert!(strip.run_due(at(1_999)).is_empty());
    let acks = acks_in(&strip.run_due(at(2_000)));
    assert_eq!((acks[0].cmd_id, acks[0].on), (body.cmd_id, Some(true)));
    assert_eq!(strip.sockets_on(), [true, true, true]);
}

#[test]
fn a_command_during_a_cycle_ends_the_cycle() {
    let mut strip = strip();
    give(
        &mut strip,
        &command(1, 1, Action::Cycle),
        Acks::Prompt,
        at(0),
    );
    let (_, acks) = give(
        &mut strip,
        &command(2, 1, Action::Off),
        Acks::Prompt,
        at(500),
    );
    assert_eq!(acks[0].reason.as_deref(), Some("superseded"));
    assert_eq!(acks[1].status, AckStatus::Success);
    assert!(strip.run_due(at(10_000)).is_empty());
    assert_eq!(strip.sockets_on(), [false, true, true]);
}

#[test]
fn faulty_acks_come_late_twice_never_or_as_failures() {
    let mut strip = strip();
    let late = Acks::Late(Duration::from_secs(7));
    assert!(
        give(&mut strip, &command(1, 1, Action::Off), late, at(0))
            .1
            .is_empty()
    );
    assert_eq!(acks_in(&strip.run_due(at(7_000))).len(), 1);

    let twice = give(
        &mut strip,
        &command(2, 2, Action::Off),
        Acks::Duplicate,
        at(8_000),
    )
    .1;
    assert_eq!((twice.len(), &twice[0]), (2, &twice[1]));

    assert!(
        give(
            &mut strip,
            &command(3, 1, Action::On),
            Acks::Missing,
            at(9_000)
        )
        .1
        .is_empty()
    );
    assert_eq!(strip.sockets_on(), [true, false, true]);

    let failed = give(
        &mut strip,
        &command(4, 2, Action::On),
        Acks::Failed,
        at(10_000),
    )
    .1;
    assert_eq!(
        (failed[0].status, failed[0].on),
        (AckStatus::Failed, Some(false))
    );
    assert_eq!(strip.sockets_on(), [true, false, true]);
}

#[test]
fn energy_counters_only_rise_and_match_the_power() {
    let mut strip = strip();
    let (mut last_wh, mut by_power_wh) = (strip.energy_wh, 0.0);
    let first_wh = last_wh;
    for tick in 1..=720 {
        let before_w = strip.total().0;
        let (reading, _) = strip.measure(at(tick * 5_000));
        by_power_wh += before_w * 5.0 / 3_600.0;
        let now_wh = strip.energy_wh;
        assert!(now_wh >= last_wh);
        last_wh = now_wh;
        let totals = reading.body.totals;
        assert!((215.0..240.0).contains(&totals.voltage_v.unwrap()));
        assert!((0.0..=1.0).contains(&totals.power_factor.unwrap()));
        let sockets_w: f64 = reading
            .body
            .sockets
            .iter()
            .filter_map(|socket| socket.measurements.power_w)
            .sum();
        assert!((totals.power_w.unwrap() - sockets_w - OWN_WATTS).abs() < 1.0);
    }
    assert!((last_wh - first_wh - by_power_wh).abs() < 0.01);
}

#[test]
fn two_strips_of_one_seed_measure_the_same() {
    let (mut one, mut two) = (strip(), strip());
    for tick in 1..200 {
        assert_eq!(
            one.measure(at(tick * 5_000)).0,
            two.measure(at(tick * 5_000)).0
        );
    }
}

#[test]
fn a_backlog_is_an_array_and_ages_stand_in_for_a_clock() {
    let mut strip = strip();
    strip.build.has_clock = false;
    let readings = [strip.measure(at(5_000)).0, strip.measure(at(10_000)).0];
    let sent: Vec<SampleBody> = serde_json::from_slice(&telemetry(&readings, at(12_000))).unwrap();
    assert_eq!(
        sent.iter().map(|s| s.age_ms).collect::<Vec<_>>(),
        [Some(7_000), Some(2_000)]
    );
    let one: SampleBody = serde_json::from_slice(&telemetry(&readings[..1], at(12_000))).unwrap();
    assert_eq!((one.ts, one.age_ms, one.seq), (None, None, Some(1)));
}

#[test]
fn an_overload_is_reported_once_and_a_bad_one_trips_until_somebody_resets_it() {
    let mut strip = strip();
    assert_eq!(strip.guard(2_800.0, at(0)).len(), 1);
    assert!(strip.guard(2_900.0, at(5_000)).is_empty());
    assert!(strip.guard(100.0, at(10_000)).is_empty());
    assert_eq!(
        strip.guard(3_500.0, at(15_000)).len(),
        2,
        "event and status"
    );
    assert_eq!(strip.sockets_on().iter().filter(|on| !**on).count(), 1);
    let reset = strip.next_due_ms().unwrap();
    assert!(!strip.run_due(at(reset)).is_empty());
    assert_eq!(strip.sockets_on(), [true, true, true]);
}

#[test]
fn a_reboot_counts_boots_and_forgets_commands() {
    let mut strip = strip();
    strip.begin_connection();
    give(&mut strip, &command(1, 1, Action::Off), Acks::Prompt, at(0));
    strip.reboot(at(1_000));
    assert_eq!((strip.boot(), strip.conn()), (18, 0));
    assert_eq!(strip.sockets_on(), [false, true, true]);
    let will: StatusBody = serde_json::from_slice(&strip.begin_connection()).unwrap();
    assert_eq!(
        (will.online, will.boot, will.conn),
        (false, Some(18), Some(1))
    );
}

proptest::proptest! {
    #[test]
    fn nonsense_on_cmd_moves_nothing_and_is_not_answered(
        bytes in proptest::collection::vec(proptest::prelude::any::<u8>(), 0..300),
    ) {
        let mut strip = strip();
        let (received, out) = strip.command(&bytes, false, Acks::Prompt, at(0));
        proptest::prop_assert_eq!(received, Received::Refused);
        proptest::prop_assert!(out.is_empty());
        proptest::prop_assert_eq!(strip.sockets_on(), [true, true, true]);
    }

    #[test]
    fn no_command_is_obeyed_twice_whatever_comes_in_whatever_order(
        steps in proptest::collection::vec((0_u128..8, 0_u64..4, 0_u8..3, 0_u64..3_000), 1..60),
    ) {
        let mut strip = strip();
        let (mut now_ms, mut obeyed) = (0, std::collections::BTreeSet::new());
        for (number, socket, action, wait_ms) in steps {
            now_ms += wait_ms;
            strip.run_due(at(now_ms));
            let action = [Action::On, Action::Off, Action::Cycle][usize::from(action)];
            let (received, _) = give(&mut strip, &command(number, socket, action), Acks::Prompt, at(now_ms));
            if received == Received::Executed {
                proptest::prop_assert!(obeyed.insert(number), "{number} was obeyed before");
                proptest::prop_assert!(now_ms <= 60_000, "{number} was obeyed after its time");
            }
        }
        proptest::prop_assert_eq!(strip.executed(), obeyed.len() as u64);
    }
}
