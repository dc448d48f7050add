//! What goes wrong one at a time.

use super::*;

#[tokio::test]
async fn every_node_knows_who_is_there_and_one_event_is_kept() {
    let mut site = Site::new(3).await;
    site.status(0, 0);
    site.pass(STEP).await;
    assert_eq!(site.states(0), [ON; 3]);
    assert_eq!(site.kept(0).await, [ONLINE]);
    let life = Some(LIFE);
    site.node(1).tracker.will(site.strips[0], life, true);
    site.pass(STEP).await;
    assert_eq!(site.states(0), [OFF; 3]);
    assert_eq!(site.kept(0).await, [ONLINE, OFFLINE]);
    for node in site.alive() {
        let counts = node.tracker.counts();
        assert_eq!((counts.online, counts.offline), (0, 1));
        let presence = node.tracker.get(site.strips[0]);
        assert_eq!(presence.reason, Some(PresenceReason::Will));
    }
}

#[tokio::test]
async fn signs_of_life_count_whichever_node_hears_them() {
    let mut site = Site::new(3).await;
    site.status(0, 0);
    for n in 0..30 {
        site.hear(n % 3, 0);
        site.pass(5 * S).await;
    }
    assert_eq!(site.kept(0).await, [ONLINE]);
    assert_eq!(site.states(0), [ON; 3]);
}

#[tokio::test]
async fn a_silence_is_declared_within_a_second_of_its_end_and_once() {
    let mut site = Site::new(3).await;
    site.status(1, 0);
    site.pass(15 * S).await;
    assert_eq!(site.states(0), [ON; 3], "three periods");
    site.pass(S).await;
    assert_eq!(site.states(0), [OFF; 3]);
    site.pass(60 * S).await;
    assert_eq!(site.kept(0).await, [ONLINE, OFFLINE]);
}

/// Kills the leader before each of its steps in turn, while a device comes,
/// leaves by its will, or falls silent.
#[tokio::test]
async fn whenever_the_leader_dies_each_change_is_kept_once() {
    for kill_at in 0..3 * STEPS {
        for silent in [false, true] {
            let mut site = Site::new(3).await;
            site.status(0, 0);
            site.pass(S).await;
            let leader = site.leader().unwrap();
            let other = (leader + 1) % 3;
            if silent {
                site.pass(Duration::from_millis(14_300)).await;
            } else {
                let life = Some(LIFE);
                site.node(other).tracker.will(site.strips[0], life, true);
                site.hear(other, 1);
            }
            for step in 0..3 * STEPS {
                if step == kill_at {
                    site.nodes[leader] = None;
                }
                if step % STEPS == 0 {
                    site.clock.advance(STEP);
                }
                for number in 0..3 {
                    site.turn(number, step).await;
                }
            }
            site.pass(10 * S).await;
            assert_eq!(site.states(0), [OFF; 2], "within ten seconds");
            assert_eq!(site.kept(0).await, [ONLINE, OFFLINE], "{kill_at}");
            if !silent {
                assert_eq!(site.kept(1).await.first(), Some(&ONLINE));
            }
            site.hear(other, 0);
            site.pass(S).await;
            assert_eq!(site.kept(0).await, [ONLINE, OFFLINE, ONLINE]);
        }
    }
}

#[tokio::test]
async fn while_the_log_is_out_of_reach_nobody_is_declared() {
    let mut site = Site::new(2).await;
    site.status(0, 0);
    site.pass(S).await;
    site.hub.set_reachable(false);
    site.pass(120 * S).await;
    assert_eq!(site.states(0), [ON; 2]);
    site.hub.set_reachable(true);
    site.pass(29 * S).await;
    assert_eq!(site.states(0), [ON; 2], "its grace");
    site.pass(2 * S).await;
    assert_eq!(site.states(0), [OFF; 2]);
    assert_eq!(site.kept(0).await, [ONLINE, OFFLINE]);
}

#[tokio::test]
async fn while_a_node_is_cut_off_from_the_broker_nobody_is_declared() {
    let mut site = Site::new(2).await;
    site.status(0, 0);
    site.pass(S).await;
    let follower = 1 - site.leader().unwrap();
    site.node(follower).tracker.link_lost();
    site.pass(40 * S).await;
    assert_eq!(site.states(0), [ON; 2]);
    site.node(follower).tracker.link_restored();
    site.pass(32 * S).await;
    assert_eq!(site.states(0), [OFF; 2]);
}

#[tokio::test]
async fn a_database_that_was_down_gets_every_change_afterwards() {
    let mut site = Site::new(2).await;
    site.status(0, 0);
    site.pass(S).await;
    site.leases.set_reachable(false);
    site.pass(10 * S).await;
    assert_eq!(site.leader(), None, "nobody leads without the database");
    let life = Some(LIFE);
    site.node(0).tracker.will(site.strips[0], life, true);
    site.pass(S).await;
    site.status(1, 0);
    site.pass(S).await;
    assert_eq!(site.kept(0).await, [ONLINE]);
    site.leases.set_reachable(true);
    site.pass(2 * S).await;
    assert_eq!(site.kept(0).await, [ONLINE, OFFLINE, ONLINE]);
}

#[tokio::test]
async fn a_node_that_starts_takes_up_what_the_others_know() {
    let mut site = Site::new(2).await;
    site.status(0, 0);
    site.hear(1, 1);
    site.pass(S).await;
    // Not kept yet when the third node starts.
    let first = &site.node(0).tracker;
    first.session_ended(site.strips[0], 7, SessionEnd::Lost);
    first.tell();
    let third = site.join().await;
    assert_eq!(site.node(third).tracker.get(site.strips[0]).state, OFF);
    assert_eq!(site.node(third).tracker.get(site.strips[1]).state, ON);
    site.pass(S).await;
    assert_eq!(site.states(0), [OFF; 3]);
    for node in [0, 1] {
        site.nodes[node] = None;
    }
    site.pass(10 * S).await;
    assert_eq!(site.kept(0).await, [ONLINE, OFFLINE]);
    assert_eq!(site.node(third).tracker.counts().online, 1);
}

#[tokio::test]
async fn a_device_is_heard_before_a_node_knows_it() {
    let mut site = Site::new(2).await;
    // The first node's directory is behind: the key is not there yet.
    let new = DeviceKey(site.strips.iter().map(|it| it.0).max().unwrap() + 1);
    site.strips.push(new);
    site.status(0, 3);
    site.pass(S).await;
    assert_eq!(site.states(3), [PresenceState::Never; 2]);
    assert_eq!(site.directory.add("strip-4", "A/1/101"), new);
    for node in site.alive() {
        node.tracker.device_changed(new);
    }
    site.pass(S).await;
    assert_eq!(site.states(3), [ON; 2]);
    assert_eq!(site.kept(3).await, [ONLINE]);
}

#[tokio::test]
async fn a_lost_log_heals_with_the_next_signs_of_life() {
    let mut site = Site::new(2).await;
    site.status(0, 0);
    site.hear(0, 1);
    site.pass(S).await;
    site.hub.lose_log();
    for _ in 0..8 {
        site.pass(5 * S).await;
        site.hear(1, 0);
    }
    site.pass(S).await;
    assert_eq!(site.states(0), [ON; 2]);
    assert_eq!(site.states(1), [OFF; 2]);
    assert_eq!(site.kept(0).await, [ONLINE]);
    assert_eq!(site.kept(1).await, [ONLINE, OFFLINE]);
}
