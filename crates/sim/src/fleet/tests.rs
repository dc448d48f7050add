use dormouse_core::wire::{Action, CommandBody, StatusBody};
use serde_json::{Value, json};

use super::*;
use crate::fault::Acks;
use crate::testbed::{Heard, Testbed};

const ID: &str = "A-302-strip01";

fn config(bed: &Testbed, credentials: Credentials, mqtt5: bool) -> FleetConfig {
    let mut config = FleetConfig::new(bed.address.clone(), vec![credentials]);
    config.scenario.period = Duration::from_millis(50);
    config.scenario.mqtt5_share = if mqtt5 { 1.0 } else { 0.0 };
    config
}

fn start(bed: &Testbed, mqtt5: bool) -> (Fleet, StripHandle) {
    let config = config(bed, Credentials::own(ID, "secret"), mqtt5);
    let fleet = Fleet::start(config, CancellationToken::new()).unwrap();
    let strip = fleet.strip(ID).unwrap().clone();
    (fleet, strip)
}

fn command(number: u128, action: Action) -> Vec<u8> {
    serde_json::to_vec(&CommandBody {
        cmd_id: dormouse_core::ids::CommandId(uuid::Uuid::from_u128(number)),
        device_id: DeviceId::parse(ID).unwrap(),
        socket_id: SocketId::parse(2).unwrap(),
        action,
        off_ms: None,
        ttl_ms: 6_000,
        expires_at: unix_ms() + 6_000,
    })
    .unwrap()
}

fn topic(channel: &str) -> String {
    format!("dorm/{ID}/{channel}")
}

fn connects(heard: &[Heard]) -> Vec<(String, String, Option<StatusBody>)> {
    let mut found = Vec::new();
    for heard in heard {
        if let Heard::Connect {
            username,
            password,
            will,
        } = heard
        {
            let will = will
                .as_ref()
                .map(|will| serde_json::from_slice(will).unwrap());
            found.push((username.clone(), password.clone(), will));
        }
    }
    found
}

async fn acks(bed: &Testbed, count: usize) -> Vec<Value> {
    bed.until(|heard| {
        let bodies = Testbed::bodies(heard, &topic("ack"));
        (bodies.len() >= count).then_some(bodies)
    })
    .await
}

async fn a_strip_lives(mqtt5: bool) {
    let bed = Testbed::start().await;
    let (fleet, strip) = start(&bed, mqtt5);
    fleet.wait_online().await;
    bed.until(|heard| (Testbed::bodies(heard, &topic("telemetry")).len() >= 2).then_some(()))
        .await;

    let heard = bed.heard();
    let (username, password, will) = connects(&heard).remove(0);
    assert_eq!((username.as_str(), password.as_str()), (ID, "secret"));
    let will = will.unwrap();
    let status = &Testbed::bodies(&heard, &topic("status"))[0];
    assert_eq!((will.online, will.conn), (false, Some(1)));
    assert_eq!(
        (&status["online"], &status["boot"]),
        (&json!(true), &json!(will.boot))
    );
    assert_eq!(status["sockets"].as_array().unwrap().len(), 4);
    assert_eq!(Testbed::bodies(&heard, &topic("event"))[0]["type"], "boot");
    for heard in &heard {
        if let Heard::Publish {
            topic,
            retain,
            qos1,
            ..
        } = heard
        {
            assert_eq!(
                (topic.ends_with("/status"), true),
                (*retain, *qos1),
                "{topic}"
            );
        }
    }

    bed.send(&topic("cmd"), command(1, Action::Off));
    assert_eq!(acks(&bed, 1).await[0]["status"], "success");
    let view = strip.wait_until(|view| view.executed == 1).await.unwrap();
    assert_eq!(view.sockets, [true, false, true, true]);
    bed.until(|heard| {
        heard
            .iter()
            .any(|heard| matches!(heard, Heard::Puback))
            .then_some(())
    })
    .await;

    fleet.stop().await;
    bed.until(|heard| {
        heard
            .iter()
            .any(|heard| matches!(heard, Heard::Disconnect))
            .then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_strip_reports_obeys_and_leaves_over_mqtt_3() {
    a_strip_lives(false).await;
}

#[tokio::test]
async fn a_strip_reports_obeys_and_leaves_over_mqtt_5() {
    a_strip_lives(true).await;
}

#[tokio::test]
async fn a_broken_link_is_mended_with_the_next_connection_number_and_a_backlog() {
    let bed = Testbed::start().await;
    let (fleet, strip) = start(&bed, true);
    fleet.wait_online().await;
    strip.drop_link(Duration::from_millis(300)).await;
    strip
        .wait_until(|view| view.online && view.conn == 2)
        .await
        .unwrap();
    let backlog = bed
        .until(|heard| {
            Testbed::bodies(heard, &topic("telemetry"))
                .into_iter()
                .find(Value::is_array)
        })
        .await;
    let stamps: Vec<i64> = backlog
        .as_array()
        .unwrap()
        .iter()
        .map(|sample| sample["ts"].as_i64().unwrap())
        .collect();
    assert!(stamps.len() >= 2 && stamps.is_sorted());
    let wills: Vec<_> = connects(&bed.heard())
        .into_iter()
        .map(|(_, _, will)| will.unwrap().conn)
        .collect();
    assert_eq!(wills, [Some(1), Some(2)]);
    fleet.stop().await;
}

#[tokio::test]
async fn a_joining_strip_waits_for_credentials_and_comes_back_with_them() {
    let bed = Testbed::start().await;
    let config = config(&bed, Credentials::join(ID, "site-key"), false);
    let fleet = Fleet::start(config, CancellationToken::new()).unwrap();
    let strip = fleet.strip(ID).unwrap();
    fleet.wait_online().await;
    bed.until(|heard| {
        let enrol = topic("enrol");
        heard
            .iter()
            .any(|h| matches!(h, Heard::Subscribe(filter) if *filter == enrol))
            .then_some(())
    })
    .await;
    bed.send(
        &topic("enrol"),
        br#"{"username":"other","password":"x"}"#.to_vec(),
    );
    bed.send(
        &topic("enrol"),
        json!({"username": ID, "password": "own"})
            .to_string()
            .into(),
    );
    strip
        .wait_until(|view| view.online && !view.joining)
        .await
        .unwrap();
    let passwords: Vec<_> = connects(&bed.heard())
        .into_iter()
        .map(|(_, p, _)| p)
        .collect();
    assert_eq!(passwords, ["site-key", "own"]);
    assert_eq!(strip.credentials(), Credentials::own(ID, "own"));
    assert_eq!(fleet.totals().enrolled, 1);
    fleet.stop().await;
}

#[tokio::test]
async fn a_frozen_strip_hears_nothing_until_it_thaws() {
    let bed = Testbed::start().await;
    let (fleet, strip) = start(&bed, false);
    fleet.wait_online().await;
    let frozen = Faults {
        frozen: true,
        ..Faults::default()
    };
    strip.set_faults(frozen).await;
    strip.press(SocketId::parse(1).unwrap()).await;
    strip.wait_until(|view| !view.sockets[0]).await.unwrap();
    bed.send(&topic("cmd"), command(1, Action::Off));
    // The press was felt after the freeze, so nothing of it can have gone out.
    assert!(
        !Testbed::bodies(&bed.heard(), &topic("event"))
            .iter()
            .any(|e| e["type"] == "button")
    );
    strip
        .set_faults(Faults {
            acks: Some(Acks::Failed),
            ..Faults::default()
        })
        .await;
    assert_eq!(acks(&bed, 1).await[0]["reason"], "relay-stuck");
    bed.until(|heard| {
        Testbed::bodies(heard, &topic("event"))
            .iter()
            .any(|e| e["type"] == "button")
            .then_some(())
    })
    .await;
    fleet.stop().await;
}

#[tokio::test]
async fn a_fleet_with_a_bad_or_repeated_id_does_not_start() {
    for (ids, expected) in [(vec!["a/b"], "a/b"), (vec!["a", "a"], "more than one")] {
        let credentials = ids
            .into_iter()
            .map(|id| Credentials::own(id, "p"))
            .collect();
        let config = FleetConfig::new("127.0.0.1:1", credentials);
        let error = Fleet::start(config, CancellationToken::new()).unwrap_err();
        assert!(error.to_string().contains(expected), "{error}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_strip_keeps_trying_with_growing_waits() {
    // Nothing listens on port 9 of the loopback interface's last address.
    let config = FleetConfig::new("127.255.255.254:9", vec![Credentials::own(ID, "p")]);
    let fleet = Fleet::start(config, CancellationToken::new()).unwrap();
    let begun = tokio::time::Instant::now();
    while fleet.totals().connect_failed < 8 {
        tokio::time::advance(Duration::from_millis(100)).await;
        tokio::task::yield_now().await;
    }
    // 1 + 2 + 4 + 8 + 16 + 30 + 30 s, each halved at most by jitter.
    let waited = begun.elapsed();
    assert!(
        (Duration::from_secs(45)..Duration::from_secs(92)).contains(&waited),
        "{waited:?}"
    );
    fleet.stop().await;
}
