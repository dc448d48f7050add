//! The contract of [`HotState`].
#![expect(
    clippy::unwrap_used,
    reason = "a contract's failure is a test's failure"
)]

use crate::clock::Timestamp;
use crate::ids::{DeviceKey, SocketId};
use crate::ports::hot::{HotState, Latest, RING_MS};
use crate::sample::{Sample, Values};

const NOON: Timestamp = Timestamp::from_millis(1_767_268_800_000);
const END: Timestamp = Timestamp::from_millis(i64::MAX);

/// The contract of [`HotState`], on an empty one.
///
/// # Panics
/// Where `hot` breaks the contract.
pub async fn hot_state(hot: &dyn HotState) {
    an_unknown_device_has_nothing(hot).await;
    totals_come_back_in_order_whatever_the_order_they_came_in(hot).await;
    sockets_alone_add_up_to_the_total(hot).await;
    the_latest_of_each_socket_is_the_newest_not_the_last(hot).await;
    old_samples_are_swept_and_the_latest_stays(hot).await;
    a_forgotten_device_has_nothing(hot).await;
}

/// The contract of a [`HotState`] that several nodes share, on an empty one:
/// two nodes' sides of it.
///
/// # Panics
/// Where it breaks the contract.
pub async fn shared_hot_state(a: &dyn HotState, b: &dyn HotState) {
    let device = DeviceKey(2);
    for n in 0..500_i32 {
        let node = if n % 3 == 0 { a } else { b };
        let second = i64::from(n) * 5;
        node.put(device, &[sample(0, second, n), sample(1, second, n)]);
        if n % 50 == 0 {
            // Somebody else tells the same, late and again.
            a.put(device, &[sample(0, second - 5, -1), sample(0, second, -1)]);
            read(a, device, 0, 10).await;
        }
        if n % 7 == 0 {
            read(node, device, 0, 10).await;
        }
    }
    let all: Vec<i32> = (0..500).collect();
    for node in [a, b, a, b] {
        // Reading writes what the reader itself was given.
        read(node, device, 0, 10).await;
    }
    for node in [a, b] {
        let seen = read(node, device, 0, 2_500).await;
        let times = seen.len();
        assert_eq!(times, all.len(), "each moment once");
        let latest = latest(node, device).await;
        assert_eq!(latest[1].values.power_dw, Some(499), "the newest wins");
    }
}

async fn latest(hot: &dyn HotState, device: DeviceKey) -> Vec<Latest> {
    hot.latest(&[device]).await.unwrap().remove(0)
}

async fn an_unknown_device_has_nothing(hot: &dyn HotState) {
    let device = DeviceKey(1);
    assert_eq!(latest(hot, device).await, []);
    let recent = hot.recent(device, NOON, END).await.unwrap();
    assert_eq!(recent.samples, []);
    assert_eq!(recent.thinned_before, None);
}

async fn totals_come_back_in_order_whatever_the_order_they_came_in(hot: &dyn HotState) {
    let device = DeviceKey(2);
    for (second, watts) in [(0, 1), (20, 3), (10, 2), (20, 99), (30, 4)] {
        hot.put(
            device,
            &[sample(0, second, watts), sample(1, second, watts)],
        );
    }
    assert_eq!(read(hot, device, 0, 60).await, [1, 2, 3, 4]);
    assert_eq!(
        read(hot, device, 10, 30).await,
        [2, 3],
        "from is in, to is not"
    );
}

async fn sockets_alone_add_up_to_the_total(hot: &dyn HotState) {
    let device = DeviceKey(6);
    hot.put(device, &[sample(1, 0, 5), sample(2, 0, 6), sample(2, 1, 7)]);
    assert_eq!(read(hot, device, 0, 60).await, [11, 7]);
}

async fn the_latest_of_each_socket_is_the_newest_not_the_last(hot: &dyn HotState) {
    let device = DeviceKey(3);
    hot.put(device, &[sample(2, 10, 5), sample(0, 10, 6)]);
    hot.put(device, &[sample(2, 5, 7)]);
    let latest = latest(hot, device).await;
    let seen: Vec<_> = latest
        .iter()
        .map(|l| (l.socket.get(), l.values.power_dw))
        .collect();
    assert_eq!(seen, [(0, Some(6)), (2, Some(5))]);
}

async fn old_samples_are_swept_and_the_latest_stays(hot: &dyn HotState) {
    let device = DeviceKey(4);
    hot.put(device, &[sample(0, 0, 1)]);
    hot.sweep(Timestamp::from_millis(NOON.as_millis() + RING_MS + 1));
    assert_eq!(read(hot, device, 0, 60).await, Vec::<i32>::new());
    assert_eq!(latest(hot, device).await.len(), 1);
}

async fn a_forgotten_device_has_nothing(hot: &dyn HotState) {
    let device = DeviceKey(5);
    hot.put(device, &[sample(0, 0, 1)]);
    hot.forget(device);
    assert_eq!(latest(hot, device).await, []);
    assert_eq!(read(hot, device, 0, 60).await, Vec::<i32>::new());
}

async fn read(hot: &dyn HotState, device: DeviceKey, from_s: i64, to_s: i64) -> Vec<i32> {
    let at = |second: i64| Timestamp::from_millis(NOON.as_millis() + second * 1000);
    let recent = hot.recent(device, at(from_s), at(to_s)).await.unwrap();
    let powers = recent.samples.iter().filter_map(|s| s.values.power_dw);
    powers.collect()
}

fn sample(socket: u64, second: i64, power_dw: i32) -> Sample {
    Sample {
        socket: SocketId::parse(socket).unwrap(),
        ts: Timestamp::from_millis(NOON.as_millis() + second * 1000),
        values: Values {
            power_dw: Some(power_dw),
            ..Values::default()
        },
    }
}
