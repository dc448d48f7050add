//! What goes wrong in any order.

use proptest::prelude::*;

use super::*;

#[derive(Debug, Clone)]
enum Op {
    Hear(usize, usize),
    Status(usize, usize),
    Will(usize, usize),
    Turn(usize, usize),
    Pass(u64),
    Kill(usize),
    Log(bool),
    Database(bool),
}

fn op() -> impl Strategy<Value = Op> {
    let (node, strip) = (0..3_usize, 0..3_usize);
    prop_oneof![
        6 => (node.clone(), strip.clone()).prop_map(|(node, strip)| Op::Hear(node, strip)),
        3 => (node.clone(), strip.clone()).prop_map(|(node, strip)| Op::Status(node, strip)),
        3 => (node.clone(), strip).prop_map(|(node, strip)| Op::Will(node, strip)),
        16 => (node.clone(), 0..STEPS).prop_map(|(node, step)| Op::Turn(node, step)),
        4 => (1..8_000_u64).prop_map(Op::Pass),
        1 => node.prop_map(Op::Kill),
        1 => any::<bool>().prop_map(Op::Log),
        1 => any::<bool>().prop_map(Op::Database),
    ]
}

async fn trial(ops: Vec<Op>) {
    let mut site = Site::new(3).await;
    let mut playing = [0, 1, 2];
    for op in ops {
        // What happens takes time: no two things are heard in one millisecond.
        site.clock.advance(Duration::from_millis(1));
        match op {
            Op::Hear(node, strip) => site.hear(playing[node], strip),
            Op::Status(node, strip) => site.status(playing[node], strip),
            Op::Will(node, strip) => {
                let key = site.strips[strip];
                let node = site.node(playing[node]);
                node.tracker.will(key, Some(LIFE), true);
            }
            Op::Turn(node, step) => site.turn(playing[node], step).await,
            Op::Pass(ms) => site.pass(Duration::from_millis(ms)).await,
            Op::Kill(node) => {
                site.nodes[playing[node]] = None;
                // A node waits for the database before it starts.
                site.leases.set_reachable(true);
                playing[node] = site.join().await;
            }
            Op::Log(reachable) => site.hub.set_reachable(reachable),
            Op::Database(reachable) => site.leases.set_reachable(reachable),
        }
    }
    site.hub.set_reachable(true);
    site.leases.set_reachable(true);
    site.pass(40 * S).await;
    for strip in 0..3 {
        let states = site.states(strip);
        let kept = site.kept(strip).await;
        let alternate = (0..kept.len()).map(|n| [ONLINE, OFFLINE][n % 2].clone());
        assert_eq!(kept, alternate.collect::<Vec<_>>(), "each change once");
        let expected = match kept.last() {
            None => PresenceState::Never,
            Some(EventType::DeviceOnline) => ON,
            Some(_) => OFF,
        };
        assert_eq!(states, [expected; 3], "all nodes agree with what is kept");
        assert_ne!(expected, ON, "silent for longer than any grace");
    }
    let totals: Vec<_> = site.alive().map(|it| it.tracker.counts()).collect();
    assert!(totals.iter().all(|it| *it == totals[0]), "and so do counts");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn whatever_happens_each_change_is_kept_once(ops in prop::collection::vec(op(), 1..60)) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(trial(ops));
    }
}
