use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};

use axum::Extension;
use dormouse_core::access::{Actor, Grant, Role, Scope, TokenId};
use dormouse_core::clock::{ManualClock, Timestamp};
use dormouse_core::event::Origin;
use dormouse_core::ids::{DeviceId, DeviceKey, SocketId};
use dormouse_core::memory::{MemoryDirectory, MemoryEvents, MemoryIncidents};
use dormouse_core::ports::DeviceView;
use dormouse_core::ports::hot::Latest;
use dormouse_core::presence::{OfflineAfter, Presence};
use dormouse_core::sample::{Sample, Values};
use dormouse_core::services::access::Via;
use dormouse_core::services::events::EventLog;
use dormouse_core::services::fleet::FleetParts;
use dormouse_core::services::incidents::Incidents;
use dormouse_core::services::presence::{PresenceParts, PresenceTracker};
use futures_util::{SinkExt as _, StreamExt as _};
use serde_json::{Value, json};
use tokio::net::{TcpListener, TcpStream};
use tokio_tungstenite::tungstenite::Message as Frame;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, connect_async};

use super::*;

/// Every device draws 10.0 W.
struct TenWatts;

#[async_trait::async_trait]
impl DeviceView for TenWatts {
    fn presence(&self, _: DeviceKey) -> Presence {
        Presence::NEVER
    }

    async fn latest(&self, devices: &[DeviceKey]) -> Vec<Vec<Latest>> {
        let latest = Latest {
            socket: SocketId::STRIP,
            ts: Timestamp::from_millis(7),
            values: values(100),
        };
        vec![vec![latest]; devices.len()]
    }

    async fn energy_today_wh(&self, devices: &[DeviceKey]) -> Vec<Option<f64>> {
        vec![None; devices.len()]
    }
}

fn values(power_dw: i32) -> Values {
    Values {
        power_dw: Some(power_dw),
        ..Values::default()
    }
}

/// Lets callers stay until a test says otherwise.
#[derive(Default)]
struct Door(AtomicBool);

#[async_trait::async_trait]
impl Gate for Door {
    async fn still_holds(&self, _: &Principal) -> bool {
        !self.0.load(Ordering::Relaxed)
    }
}

struct Site {
    door: Arc<Door>,
    hub: Arc<LiveHub>,
    tracker: Arc<PresenceTracker>,
    fleet: Arc<Fleet>,
    stop: CancellationToken,
    address: SocketAddr,
    a: DeviceKey,
}

/// A server on a free port with two devices.
async fn site() -> Site {
    let directory = Arc::new(MemoryDirectory::default());
    let a = directory.add("a", "A/3/302");
    directory.add("b", "B/1/101");
    let clock = Arc::new(ManualClock::at(Timestamp::from_millis(1_000)));
    let hub = Arc::new(LiveHub::new(directory.clone()));
    let events = Arc::new(EventLog::new(
        Arc::new(MemoryEvents::default()),
        hub.clone(),
        clock.clone(),
    ));
    let incidents = Arc::new(Incidents::new(
        Arc::new(MemoryIncidents::default()),
        directory.clone(),
        events.clone(),
        clock.clone(),
    ));
    let tracker = Arc::new(PresenceTracker::new(PresenceParts {
        offline_after: OfflineAfter::Auto,
        directory: directory.clone(),
        events: events.clone(),
        incidents,
        clock: clock.clone(),
        nodes: None,
    }));
    let fleet = Arc::new(Fleet::new(FleetParts {
        directory,
        presence: tracker.clone(),
        readings: Arc::new(TenWatts),
        events,
        clock,
        version: "1.2.3",
    }));
    let stop = CancellationToken::new();
    let door = Arc::new(Door::default());
    let live = Live::new(hub.clone(), fleet.clone(), door.clone(), stop.clone());
    let (router, _) = router(live).split_for_parts();
    let router = router.layer(Extension(by()));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let stopping = stop.clone();
    #[expect(clippy::disallowed_methods, reason = "ends with the test's runtime")]
    tokio::spawn(async move {
        axum::serve(listener, router)
            .with_graceful_shutdown(stopping.cancelled_owned())
            .await
    });
    Site {
        door,
        hub,
        tracker,
        fleet,
        stop,
        address,
        a,
    }
}

fn by() -> By {
    let origin = Origin::Token {
        name: "test".to_owned(),
    };
    By {
        actor: Actor {
            origin: origin.clone(),
            address: None,
        },
        principal: Arc::new(Principal {
            origin,
            grant: Grant {
                role: Role::Viewer,
                scope: Scope::site(),
            },
            key: "test".into(),
            via: Via::Token(TokenId(1)),
        }),
    }
}

impl Site {
    async fn connect(&self) -> Client {
        let url = format!("ws://{}/live", self.address);
        Client(connect_async(url).await.unwrap().0)
    }

    async fn watching(&self, topics: &[&str]) -> (Client, Value) {
        let mut client = self.connect().await;
        client.subscribe(topics).await;
        let snapshot = client.next().await;
        assert_eq!(snapshot["type"], "snapshot");
        (client, snapshot)
    }

    fn measure(&self, device: &str, ts: i64) {
        let sample = Sample {
            socket: SocketId::STRIP,
            ts: Timestamp::from_millis(ts),
            values: values(2_053),
        };
        self.hub
            .telemetry(&DeviceId::parse(device).unwrap(), &[sample]);
    }
}

struct Client(WebSocketStream<MaybeTlsStream<TcpStream>>);

impl Client {
    async fn say(&mut self, text: impl Into<String>) {
        self.0.send(Frame::text(text.into())).await.unwrap();
    }

    async fn subscribe(&mut self, topics: &[&str]) {
        self.say(json!({"type": "subscribe", "topics": topics}).to_string())
            .await;
    }

    async fn frame(&mut self) -> Frame {
        let deadline = Duration::from_secs(10);
        loop {
            let next = tokio::time::timeout(deadline, self.0.next());
            let frame = next.await.expect("a frame in time").unwrap().unwrap();
            if !frame.is_ping() {
                return frame;
            }
        }
    }

    async fn next(&mut self) -> Value {
        serde_json::from_str(self.frame().await.to_text().unwrap()).unwrap()
    }
}

#[tokio::test]
async fn a_snapshot_comes_first_and_changes_follow() {
    let site = site().await;
    site.tracker.seen(site.a, Timestamp::from_millis(900));
    let (mut client, snapshot) = site.watching(&["fleet", "events"]).await;
    assert_eq!(
        snapshot["fleet"],
        json!({"devices": 2, "online": 1, "offline": 0, "never": 1, "powerW": 10.0})
    );
    let device = &snapshot["devices"][0];
    assert_eq!(device["deviceId"], "a");
    assert_eq!(device["presence"]["state"], "online");
    assert_eq!(device["presence"]["lastSeen"], "1970-01-01T00:00:00.900Z");
    assert_eq!(device["latest"], json!({"ts": 7, "powerW": 10.0}));
    assert_eq!(snapshot["events"][0]["type"], "DEVICE_ONLINE");

    site.measure("b", 5);
    assert_eq!(
        client.next().await,
        json!({"type": "telemetry", "deviceId": "b", "samples": [{"ts": 5, "powerW": 205.3}]})
    );
    site.tracker
        .session_ended(site.a, 1, dormouse_core::presence::SessionEnd::Disconnected);
    let offline = client.next().await;
    assert_eq!(offline["type"], "DEVICE_OFFLINE");
    assert_eq!(offline["deviceId"], "a");
    assert_eq!(offline["presence"]["reason"], "disconnect");
}

#[tokio::test]
async fn a_watcher_of_one_device_hears_of_no_other_until_it_subscribes_anew() {
    let site = site().await;
    let (mut client, snapshot) = site.watching(&["device:a"]).await;
    assert_eq!(snapshot["devices"].as_array().unwrap().len(), 1);
    assert_eq!(snapshot.get("fleet"), None);
    site.measure("b", 1);
    site.measure("a", 2);
    assert_eq!(client.next().await["deviceId"], "a");

    client.subscribe(&["location:B"]).await;
    let snapshot = client.next().await;
    assert_eq!(snapshot["devices"][0]["deviceId"], "b");
    site.measure("a", 3);
    site.measure("b", 4);
    assert_eq!(client.next().await["samples"][0]["ts"], 4);
}

#[tokio::test]
async fn garbage_is_answered_with_the_rule_and_harms_nothing() {
    let site = site().await;
    let (mut client, _) = site.watching(&["device:a"]).await;
    for (said, pointer) in [
        ("garbage", ""),
        (r#"{"type":"subscribe","topics":["all"]}"#, "/topics/0"),
        (r#"{"type":"unsubscribe","topics":[]}"#, "/type"),
    ] {
        client.say(said).await;
        let error = client.next().await;
        assert_eq!(
            (&error["type"], &error["pointer"]),
            (&json!("error"), &json!(pointer))
        );
        assert!(error["detail"].as_str().unwrap().len() > 5);
    }
    client.0.send(Frame::binary(vec![0, 159])).await.unwrap();
    assert_eq!(client.next().await["type"], "error");
    site.measure("a", 1);
    assert_eq!(client.next().await["type"], "telemetry");
}

#[tokio::test]
async fn a_flood_of_requests_is_closed_as_a_breach_of_policy() {
    let site = site().await;
    let mut client = site.connect().await;
    for _ in 0..100 {
        if client.0.send(Frame::text("x")).await.is_err() {
            break;
        }
    }
    let close = loop {
        if let Frame::Close(close) = client.frame().await {
            break close.unwrap();
        }
    };
    assert_eq!(close.code, CloseCode::Policy);
}

#[tokio::test]
async fn a_slow_reader_gets_the_newest_and_holds_up_nobody() {
    let site = site().await;
    let (mut slow, _) = site.watching(&["fleet"]).await;
    let (mut quick, _) = site.watching(&["device:b"]).await;
    // Far more than the sockets' buffers hold, while `slow` reads nothing.
    for ts in 0..400_000 {
        site.measure("a", ts);
        if ts % 1_000 == 0 {
            tokio::task::yield_now().await;
        }
    }
    site.measure("b", 1);
    assert_eq!(quick.next().await["deviceId"], "b");
    let mut read = 0;
    loop {
        let message = slow.next().await;
        read += 1;
        if message["deviceId"] == "a" && message["samples"][0]["ts"] == 399_999 {
            break;
        }
    }
    assert!(read < 400_000, "{read} messages were read one by one");
}

#[tokio::test]
async fn whoever_is_signed_out_is_cut_off_within_seconds() {
    let site = site().await;
    let (mut client, _) = site.watching(&["device:a"]).await;
    site.door.0.store(true, Ordering::Relaxed);
    let Frame::Close(Some(close)) = client.frame().await else {
        panic!("no close frame");
    };
    assert_eq!(close.code, CloseCode::Policy);
    assert_eq!(close.reason, "signed out");
}

#[tokio::test]
async fn stopping_closes_every_connection_as_going_away_and_waits_for_them() {
    let site = site().await;
    let (mut client, _) = site.watching(&["fleet"]).await;
    site.stop.cancel();
    let Frame::Close(Some(close)) = client.frame().await else {
        panic!("no close frame");
    };
    assert_eq!(close.code, CloseCode::Away);
}

#[tokio::test]
async fn the_totals_follow_once_a_second_and_the_loop_waits_for_connections() {
    let site = site().await;
    let live = Live::new(
        site.hub.clone(),
        site.fleet.clone(),
        site.door.clone(),
        site.stop.clone(),
    );
    let (mut client, _) = site.watching(&["fleet"]).await;
    let running = live.run();
    tokio::pin!(running);
    let message = tokio::select! {
        _ = &mut running => panic!("ended early"),
        message = client.next() => message,
    };
    assert_eq!(message["type"], "fleet");
    assert_eq!(message["devices"], 2);
    assert_eq!(site.fleet.recent_power(Duration::from_secs(60)).len(), 1);
    site.stop.cancel();
    running.await.unwrap();
}
